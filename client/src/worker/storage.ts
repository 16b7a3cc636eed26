/** What the worker keeps. Values are JSON. */

import type { Consent, Pause, Preferences, Scene } from "../scene";
import type { Pending, Tokens } from "./session";

/** What outlives the browser. */
export interface Kept {
  tokens: Tokens;
  /** A sign-in that was begun. */
  pending: Pending;
  consent: Consent;
  pause: Pause;
  preferences: Preferences;
  /** What was drawn last, to paint at once. Taken away at sign-out. */
  scene: Scene;
}

/** Each call is one read or write; the last write of a name wins. */
export interface Storage {
  get<Name extends keyof Kept>(name: Name): Promise<Kept[Name] | undefined>;
  set<Name extends keyof Kept>(name: Name, value: Kept[Name]): Promise<void>;
  remove(...names: (keyof Kept)[]): Promise<void>;
}
