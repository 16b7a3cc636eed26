/** Decides which pages may be shown. The edge applies the same rules (shared/src/page.rs, share_policy.rs) again. */

import { parse } from "tldts";

import { TITLE_CHARS_MAX, URL_CHARS_MAX } from "../generated/constants";
import type { PageView, ShareMode } from "../generated/types";
import { clean } from "../text";

/** A person's share settings. */
export interface Rules {
  readonly mode: ShareMode;
  readonly allow: readonly string[];
  readonly deny: readonly string[];
}

/** The most characters of a host name. Longer names cannot be looked up (RFC 1035). */
const HOST_CHARS_MAX = 253;
/** How often a host name is parsed at most. It is parsed again until parsing does not change it. */
const HOST_READINGS_MAX = 4;
const SUFFIXES = { allowPrivateDomains: true, extractHostname: false, validateHostname: false } as const;

/** The page as friends would see it at most. Undefined: a page that friends never see, whatever the lists say. */
export function readPage(address: string, title: string): PageView | undefined {
  // The limit counts characters, not UTF-16 code units, of which a character has at most two.
  if (address.length > 2 * URL_CHARS_MAX || Array.from(address).length > URL_CHARS_MAX || !URL.canParse(address)) return undefined;
  const url = new URL(address);
  if (url.protocol !== "https:" && url.protocol !== "http:") return undefined;
  const host = normalHost(url.hostname);
  const domain = host === undefined ? undefined : domainOf(host);
  if (host === undefined || domain === undefined) return undefined;
  url.hostname = host;
  url.username = "";
  url.password = "";
  url.hash = "";
  if (url.hostname !== host || url.href.length > URL_CHARS_MAX) return undefined;
  return { url: url.href, title: cleanTitle(title), domain };
}

/** The page if these rules let friends see it. */
export function shownPage(rules: Rules, address: string, title: string): PageView | undefined {
  const page = readPage(address, title);
  return page && allows(rules, page) ? page : undefined;
}

function allows(rules: Rules, page: PageView): boolean {
  // An unknown mode is treated as the strictest: only sites of the allow list are shown.
  if (rules.mode !== "default_all") {
    const suffix = privateSuffix(page.domain);
    return rules.allow.includes(page.domain) || (suffix !== undefined && rules.allow.includes(suffix));
  }
  // An entry of the deny list hides its name and every name below it. The public suffix list does not matter here.
  const labels = new URL(page.url).hostname.split(".");
  return !labels.some((_, first) => rules.deny.includes(labels.slice(first).join(".")));
}

/** The site that an entry of a list names. Undefined if it does not name a public site. */
export function readEntry(text: string): string | undefined {
  const trimmed = text.trim();
  if (trimmed.length > HOST_CHARS_MAX || /[\s/\\?#@:[\]]/.test(trimmed)) return undefined;
  const host = normalHost(trimmed);
  if (host === undefined) return undefined;
  return domainOf(host) ?? (parse(host, SUFFIXES).isPrivate && parse(host, SUFFIXES).publicSuffix === host ? host : undefined);
}

function cleanTitle(title: string): string {
  return Array.from(clean(title)).slice(0, TITLE_CHARS_MAX).join("").trimEnd();
}

/**
 * The normal form of a host name: parsed until parsing does not change it, without a dot at the end. Undefined for IP addresses,
 * for names with an empty label, and for names that are not valid.
 */
function normalHost(text: string): string | undefined {
  let host = text;
  for (let reading = 0; reading < HOST_READINGS_MAX; reading += 1) {
    if (!URL.canParse(`http://${host}/`)) return undefined;
    const read = new URL(`http://${host}/`).hostname.replace(/\.$/, "");
    if (read.startsWith("[") || /^[\d.]*$/.test(read) || read.endsWith(".")) return undefined;
    if (read === host) {
      return host.length <= HOST_CHARS_MAX && !host.split(".").includes("") ? host : undefined;
    }
    host = read;
  }
  return undefined;
}

/** The registrable domain of a host name. Undefined for names outside the public suffix list, and for public suffixes. */
function domainOf(host: string): string | undefined {
  const { domain, isIcann, isPrivate } = parse(host, SUFFIXES);
  if (!domain || !(isIcann || isPrivate) || host.endsWith(".arpa")) return undefined;
  return domain;
}

/** The private suffix above a site, which an allow list may name too: `github.io` for `someone.github.io`. */
function privateSuffix(domain: string): string | undefined {
  const { isPrivate, publicSuffix } = parse(domain, SUFFIXES);
  return isPrivate && publicSuffix !== null && publicSuffix !== domain ? publicSuffix : undefined;
}
