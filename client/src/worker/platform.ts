/** What the engine needs from its environment, which is an extension or a web page. */

import type { Language, Pause } from "../scene";
import type { Tab } from "./front";
import type { Storage } from "./storage";

export interface Platform {
  readonly storage: Storage;
  /** The address that the provider sends the browser back to. */
  readonly redirect: string;
  /** Whether this environment can know the page in front. The web page cannot, and must not report itself. */
  readonly sharesPages: boolean;
  /** Shows the provider's page in a window. Resolves to the address that the provider sent the browser back to. */
  authorize(address: string): Promise<string>;
  /** Visits the address that ends the provider's session, and resolves to null. If only a page can visit it, resolves to it. */
  endSession(address: string): Promise<string | null>;
  /** Called before each heartbeat. Keeps the worker alive where a socket alone does not. */
  keepAwake(): void;
  /** Switches the calls of `Engine.wake` every half minute on or off. In an extension they go on after the worker was ended. */
  keepWaking(on: boolean): void;
  /** Whether the extension has the permission to know the page in front. */
  permitted(): Promise<boolean>;
  /** Whether the extension has the permission to show notifications. */
  mayNotify(): Promise<boolean>;
  /** Whether the person is away from this device. */
  idle(): Promise<boolean>;
  /** The page in front. Null if there is none, or it may not be known. */
  front(): Promise<Tab | null>;
  badge(waiting: number, pause: Pause | null): void;
  notify(notice: Notice, language: Language | null): void;
}

/** A notification of the browser. */
export interface Notice {
  readonly id: string;
  readonly kind: "share" | "request";
  readonly firstName: string;
  readonly lastName: string;
  /** Already cleaned (`text.ts`). */
  readonly text: string;
}
