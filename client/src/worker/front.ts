/** The page in front, and when the server is told of it. Pure: it knows no browser, no clock and no socket. */

import type { Moment } from "../scene";

/** What the browser says is in front. Null: no page, or one that may not be known. */
export interface Tab {
  readonly url: string;
  readonly title: string;
}

/**
 * The title that the page gave itself. Browsers call a page that gives none, or has yet to, by its address, fragment and all, which is never shared.
 */
export function ownTitle({ url, title }: Tab): string {
  const text = title.trim();
  if (/\s/.test(text)) return title;
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `https://${text}`;
  if (!URL.canParse(address) || !URL.canParse(url)) return title;
  const host = (of: string) => new URL(of).hostname.replace(/^www\./, "");
  return host(address) === host(url) ? "" : title;
}

/** How long a page must stay in front before friends are told, so that switching through tabs tells nobody. */
export const SETTLE_MS = 1_000;

/**
 * Waits until the page in front has settled.
 *
 * The first page is told at once. A new address is told when it has stayed for {@link SETTLE_MS}, whatever its title does meanwhile. A new title of the same
 * address is told when it has stayed as long, so a title that blinks is never told.
 */
export class Settling {
  #front: Tab | null = null;
  #settled: Tab | null = null;
  #addressSince: Moment = 0;
  #titleSince: Moment = 0;

  /** What was in front long enough. */
  get settled(): Tab | null {
    return this.#settled;
  }

  /** What is in front now, settled or not. */
  get front(): Tab | null {
    return this.#front;
  }

  /** The browser shows this now. When to call {@link settle}; undefined where nothing waits. */
  see(tab: Tab | null, now: Moment): Moment | undefined {
    // After nothing, there is nothing to wait for.
    if (this.#front === null) this.#settled = tab;
    if (tab?.url !== this.#front?.url) this.#addressSince = this.#titleSince = now;
    else if (tab?.title !== this.#front?.title) this.#titleSince = now;
    this.#front = tab;
    // To show nothing never waits.
    if (tab === null) this.#settled = null;
    return this.#due();
  }

  /** Takes what has stayed long enough. When to call again. */
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
