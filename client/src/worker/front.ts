/** Decides when the server is told of the page in front. Pure: it uses no browser, no clock and no socket. */

import type { Moment } from "../scene";

/** The page in front, as the browser tells it. Where null is allowed, it means no page, or one that may not be known. */
export interface Tab {
  readonly url: string;
  readonly title: string;
}

/**
 * The title that the page gave itself, or an empty one. Without a title of its own, browsers use the page's address as title,
 * with the fragment, which is never shared.
 */
export function ownTitle({ url, title }: Tab): string {
  const text = title.trim();
  if (/\s/.test(text)) return title;
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  if (!URL.canParse(address) || !URL.canParse(url)) return title;
  const host = (of: string) => new URL(of).hostname.replace(/^www\./, "");
  return host(address) === host(url) ? "" : title;
}

/** How long a page must stay in front before friends are told. So switching through tabs tells them nothing. */
export const SETTLE_MS = 1_000;

/**
 * Waits until the page in front has settled.
 *
 * The first page settles at once. A new address settles when it has stayed for {@link SETTLE_MS}, even if its title changes in
 * between. A new title of the same address settles when it has stayed as long, so a blinking title never does.
 */
export class Settling {
  #front: Tab | null = null;
  #settled: Tab | null = null;
  #addressSince: Moment = 0;
  #titleSince: Moment = 0;

  /** The page that has settled: the last one that was in front long enough. */
  get settled(): Tab | null {
    return this.#settled;
  }

  /** The page in front now, settled or not. */
  get front(): Tab | null {
    return this.#front;
  }

  /** Takes note of the page in front. The result says when to call {@link settle}; undefined if nothing has to settle. */
  see(tab: Tab | null, now: Moment): Moment | undefined {
    // If there was no page before, the new one settles at once.
    if (this.#front === null) this.#settled = tab;
    if (tab?.url !== this.#front?.url) this.#addressSince = this.#titleSince = now;
    else if (tab?.title !== this.#front?.title) this.#titleSince = now;
    this.#front = tab;
    // If there is no page now, that settles at once.
    if (tab === null) this.#settled = null;
    return this.#due();
  }

  /** Settles the page in front if it has stayed long enough. The result says when to call this again. */
  settle(now: Moment): Moment | undefined {
    const due = this.#due();
    if (due !== undefined && due <= now) this.#settled = this.#front;
    return this.#due();
  }

  #due(): Moment | undefined {
    const { url, title } = this.#front ?? {};
    if (url === this.#settled?.url && title === this.#settled?.title) return undefined;
    return (url === this.#settled?.url ? this.#titleSince : this.#addressSince) + SETTLE_MS;
  }
}
