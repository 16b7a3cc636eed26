/** What the engine needs of the place it runs in: an extension, or a web page. */

import type { Language, Pause } from "../scene";
import type { Tab } from "./front";
import type { Storage } from "./storage";

export interface Platform {
  readonly storage: Storage;
  /** Where the provider sends the browser back to. */
  readonly redirect: string;
  /** Whether pages in front can be known here at all. The web page knows none: it would become the newest page itself. */
  readonly sharesPages: boolean;
  /** Shows the provider's page in a window, and gives the address that it sent the browser back to. */
  authorize(address: string): Promise<string>;
  /** Visits the address that ends the provider's session, or gives it back where only a page can. */
  endSession(address: string): Promise<string | null>;
  /** Before each heartbeat. */
  keepAwake(): void;
  /** Whether to call `Engine.wake` every half minute, also after the worker was ended. */
  keepWaking(on: boolean): void;
  /** Whether the person let the extension know the page in front. */
  permitted(): Promise<boolean>;
  /** Whether the browser lets the extension announce things. */
  mayNotify(): Promise<boolean>;
  /** Whether nobody is at this device. */
  idle(): Promise<boolean>;
  /** The page in front; null where there is none. */
  front(): Promise<Tab | null>;
  badge(waiting: number, pause: Pause | null): void;
  notify(notice: Notice, language: Language | null): void;
}

/** What the browser announces. */
export interface Notice {
  readonly id: string;
  readonly kind: "share" | "request";
  readonly firstName: string;
  readonly lastName: string;
  /** Cleaned. */
  readonly text: string;
}
