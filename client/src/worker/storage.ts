/** What the worker keeps. Values are JSON. */

import type { Consent, Pause, Preferences, Scene } from "../scene";
import type { BackOff } from "./connection";
import type { Pending, Tokens } from "./session";

/** What outlives the worker. */
export interface Kept {
  tokens: Tokens;
  /** Sign-ins that were begun, oldest first. */
  pending: readonly Pending[];
  consent: Consent;
  pause: Pause;
  preferences: Preferences;
  /** What was drawn last, to paint at once. Taken away at sign-out. Ends with the browser. */
  scene: Scene;
  /** Why the live channel is not open, and until when. Ends with the browser. */
  backOff: BackOff;
}

/** Each call is one read or write; the last write of a name wins. */
export interface Storage {
  get<Name extends keyof Kept>(name: Name): Promise<Kept[Name] | undefined>;
  set<Name extends keyof Kept>(name: Name, value: Kept[Name]): Promise<void>;
  remove(...names: (keyof Kept)[]): Promise<void>;
}
