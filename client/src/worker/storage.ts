/** The worker's storage. Values are JSON. */

import type { Consent, Pause, Preferences, Scene } from "../scene";
import type { BackOff } from "./connection";
import type { Pending, Tokens } from "./session";

/** The values that outlive the worker, by name. */
export interface Kept {
  tokens: Tokens;
  /** Sign-ins that were begun and have not returned, oldest first. */
  pending: readonly Pending[];
  consent: Consent;
  pause: Pause;
  preferences: Preferences;
  /**
   * The last scene, which views paint at once. Removed at sign-out. It does not outlive the browser; the page does not store it.
   */
  scene: Scene;
  /** Why the live channel is not open, and until when. It does not outlive the browser; the page does not store it. */
  backOff: BackOff;
}

/** Each call is one read or write; the last write of a name wins. */
export interface Storage {
  get<Name extends keyof Kept>(name: Name): Promise<Kept[Name] | undefined>;
  set<Name extends keyof Kept>(name: Name, value: Kept[Name]): Promise<void>;
  remove(...names: (keyof Kept)[]): Promise<void>;
}
