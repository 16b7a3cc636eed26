/**
 * The contract between views and worker: the scene that views draw, and the actions that they may ask for. Both sides of the port
 * import this file, and neither imports the other.
 */

import type {
  FieldError,
  ShareMode,
  ShareNotification,
  ShareNotificationSent,
  UserFriendRequest,
  UserId,
  UserInfo,
  Appearance,
  UserPrivate,
  UserSummary,
  UserUpdate,
} from "./generated/types";

/** Times are milliseconds since 1970, as `Date.now()` gives them. */
export type Moment = number;

/** The connection to the live channel. */
export type Link =
  | { readonly is: "off" }
  | { readonly is: "connecting" }
  /** The snapshot has come, so views draw what the server says now. */
  | { readonly is: "open" }
  | { readonly is: "waiting"; readonly until: Moment }
  /**
   * The server closed the channel, and it is not opened again by itself. `elsewhere`: ten newer sockets are open. `gone`: the
   * account is suspended or deleted.
   */
  | { readonly is: "stopped"; readonly why: "elsewhere" | "gone" };

/** Whether somebody is signed in, as far as the worker knows. */
export type SignIn =
  | { readonly is: "unknown" }
  | { readonly is: "out"; readonly why?: "ended" }
  | { readonly is: "busy" }
  | { readonly is: "in" };

/** A pause, in which this browser sends no page: until a moment, or until the person resumes ("resumed"). */
export type Pause = Moment | "resumed";

/** What the person agreed to. */
export interface Consent {
  /** {@link CONSENT_VERSION} when the person agreed. */
  readonly version: number;
  readonly at: Moment;
  readonly choice: "share" | "watch";
  /** The user who agreed. Absent until the person has signed in. */
  readonly by?: UserId;
}

/** The version of the question. It grows if what is shared, or with whom, changes. Then every person is asked again. */
export const CONSENT_VERSION = 1;

/** What this browser shares. */
export interface Sharing {
  /** Null until the person has chosen. */
  readonly consent: Consent | null;
  /** Whether the browser has given the extension the permission to know the page in front. Always false in the web page. */
  readonly permitted: boolean;
  readonly pause: Pause | null;
  /** The page in front of this browser. Null if there is none, it can never be shared, or the worker may not know it. */
  readonly front: Front | null;
}

export interface Front {
  readonly url: string;
  readonly title: string;
  readonly site: string;
  /** Whether the rules let friends see it. */
  readonly shown: boolean;
}

export interface Friend {
  readonly info: UserInfo;
  readonly presence: Appearance;
}

/** Everything that views draw. Only the worker makes a scene. */
export interface Scene {
  readonly signIn: SignIn;
  readonly link: Link;
  /** When the live channel last changed what is known of friends. Null before the first snapshot. */
  readonly asOf: Moment | null;
  /** Null before it is known. "new": the person has signed in, but not registered yet. */
  readonly account: UserPrivate | "new" | null;
  /** How friends see the person, as the server says. Null before the first snapshot. */
  readonly own: Appearance | null;
  readonly friends: Readonly<Record<UserId, Friend>>;
  /** Whether a snapshot has filled `friends`. */
  readonly known: boolean;
  readonly requests: readonly UserFriendRequest[];
  readonly sentRequests: readonly UserFriendRequest[];
  /** The newest shares that friends sent, at most a hundred. */
  readonly received: readonly ShareNotification[];
  readonly sharing: Sharing;
  readonly preferences: Preferences;
  /** Whether the browser has given the extension the permission to show notifications. */
  readonly mayNotify: boolean;
}

export type Language = "en" | "ko";

/** What a person chose for this browser. */
export interface Preferences {
  /** Whether the browser shows a notification for new shares and requests. */
  readonly notifications: boolean;
  /** Null: the browser's language. */
  readonly language: Language | null;
  /** Null: the system's theme. */
  readonly theme: "light" | "dark" | null;
}

/**
 * Time between two messages in which a page tells its worker that it is there. A port does not tell when its other side is gone.
 */
export const STILL_HERE_MS = 15_000;

export const EMPTY_SCENE: Scene = {
  signIn: { is: "unknown" },
  link: { is: "off" },
  asOf: null,
  account: null,
  own: null,
  friends: {},
  known: false,
  requests: [],
  sentRequests: [],
  received: [],
  sharing: { consent: null, permitted: false, pause: null, front: null },
  preferences: { notifications: false, language: null, theme: null },
  mayNotify: false,
};

/** The name of the port of a view that connects again because the worker had ended. */
export const OPEN_AGAIN = "again";

/** The actions that a view can ask for, with their arguments and results. */
export interface Actions {
  "sign-in": [args: Record<string, never>, result: null];
  /** For the web page: the address of the provider's page, and the address that the provider sent the browser back to. */
  "sign-in-address": [args: Record<string, never>, result: string];
  "sign-in-returned": [args: { readonly url: string }, result: null];
  /** The address that ends the provider's session, if the page must go there itself. */
  "sign-out": [args: Record<string, never>, result: string | null];
  register: [args: { readonly firstName: string; readonly lastName: string }, result: null];
  "agree": [args: { readonly choice: Consent["choice"] }, result: null];
  pause: [args: { readonly until: Pause | null }, result: null];
  "set-invisible": [args: { readonly invisible: boolean }, result: null];
  prefer: [args: { readonly changes: Partial<Preferences> }, result: null];
  "connect-now": [args: Record<string, never>, result: null];
  "share-site": [args: { readonly site: string; readonly shared: boolean }, result: null];
  "set-mode": [args: { readonly mode: ShareMode }, result: null];
  /** Puts a site on a list, or takes it off. */
  "list-site": [args: { readonly list: "allow" | "deny"; readonly site: string; readonly listed: boolean }, result: null];
  "would-show": [args: { readonly text: string }, result: WouldShow];
  warnings: [args: Record<string, never>, result: Readonly<Record<string, string>>];
  "update-account": [args: { readonly changes: Partial<UserUpdate> }, result: null];
  /** The picture is a file, or a `data:` address where the port can carry only JSON. */
  "set-picture": [args: { readonly picture: Blob | string; readonly extension: string }, result: null];
  "remove-picture": [args: Record<string, never>, result: null];
  pictures: [args: { readonly people: readonly { readonly id: UserId; readonly extension: string }[] }, result: Readonly<Record<UserId, string>>];
  search: [args: { readonly by: "name" | "email"; readonly text: string; readonly offset: number }, result: readonly UserSummary[]];
  profile: [args: { readonly id: UserId }, result: Profile];
  people: [args: { readonly id: UserId; readonly which: "friends" | "mutual-friends"; readonly offset: number }, result: readonly UserSummary[]];
  ask: [args: { readonly id: UserId }, result: null];
  accept: [args: { readonly id: UserId }, result: null];
  decline: [args: { readonly id: UserId }, result: null];
  /** Ends a friendship, or takes a request back. */
  end: [args: { readonly id: UserId }, result: null];
  block: [args: { readonly id: UserId; readonly blocked: boolean }, result: null];
  blocked: [args: { readonly offset: number }, result: readonly UserSummary[]];
  share: [args: { readonly url: string; readonly title: string; readonly to: UserId | null; readonly key: string }, result: null];
  sent: [args: { readonly offset: number }, result: readonly ShareNotificationSent[]];
  read: [args: { readonly events: readonly string[] }, result: null];
  export: [args: Record<string, never>, result: string];
  /** The result is the same as for `sign-out`. */
  "delete-account": [args: Record<string, never>, result: string | null];
}

export type ActionName = keyof Actions;
export type Args<Name extends ActionName> = Actions[Name][0];
export type Result<Name extends ActionName> = Actions[Name][1];

/** The answer of "Would this be shown?". */
export interface WouldShow {
  readonly shown: boolean;
  /** The site that the lists decide about. Null if the text names none. */
  readonly site: string | null;
}

/** Somebody's public profile, as the server shows it to the person. */
export interface Profile {
  readonly user: PublicUser;
  readonly friendCount: number;
  readonly mutualCount: number;
}

/** The fields of a `UserPublic` that views draw. */
export type PublicUser = UserSummary & Partial<Record<"dob" | "gender" | "school" | "work" | "location", string | null>>;

/** Why an action failed. */
export interface Failure {
  readonly why: "offline" | "refused" | "signed-out" | "sign-in-away" | "sign-in-closed" | "closed" | "no-site" | "list-full";
  /** The HTTP status, if there was an answer. */
  readonly status?: number;
  /** The server's explanation, in English. */
  readonly detail?: string;
  readonly fields?: readonly FieldError[];
}

/** From a view to the worker. */
export type Asked = { [Name in ActionName]: { readonly id: number; readonly name: Name; readonly args: Args<Name> } }[ActionName];

/** From the worker to a view. */
export type Told =
  | { readonly is: "scene"; readonly scene: Scene }
  /** The changes since the last scene: whole fields, but only single entries of `friends`. Null: no friend any more. */
  | { readonly is: "patch"; readonly changes: Partial<Omit<Scene, "friends">>; readonly friends: Readonly<Record<UserId, Friend | null>> }
  | { readonly is: "done"; readonly id: number; readonly result: unknown }
  | { readonly is: "failed"; readonly id: number; readonly failure: Failure }
  /** The worker cannot start, because it cannot read its storage. */
  | { readonly is: "broken" };

/** The patch that turns `before` into `after`. Undefined if they are the same. */
export function difference(before: Scene, after: Scene): (Told & { is: "patch" }) | undefined {
  const changes: Record<string, unknown> = {};
  for (const name of Object.keys(after) as (keyof Scene)[]) {
    if (name !== "friends" && before[name] !== after[name]) changes[name] = after[name];
  }
  const friends: Record<UserId, Friend | null> = {};
  if (before.friends !== after.friends) {
    for (const [id, friend] of Object.entries(after.friends)) if (before.friends[id] !== friend) friends[id] = friend;
    for (const id of Object.keys(before.friends)) if (!Object.hasOwn(after.friends, id)) friends[id] = null;
  }
  if (Object.keys(changes).length === 0 && Object.keys(friends).length === 0) return undefined;
  return { is: "patch", changes, friends };
}

export function patched(scene: Scene, { changes, friends }: Told & { is: "patch" }): Scene {
  const after = { ...scene, ...changes };
  if (Object.keys(friends).length === 0) return after;
  const left = { ...scene.friends };
  for (const [id, friend] of Object.entries(friends)) {
    if (friend === null) delete left[id];
    else left[id] = friend;
  }
  return { ...after, friends: left };
}

/** The number of unread shares and of friend requests. */
export function waiting(scene: Pick<Scene, "requests" | "received">): number {
  return scene.requests.length + unread(scene).length;
}

export function unread({ received }: Pick<Scene, "received">): readonly ShareNotification[] {
  return received.filter(({ seen_at }) => seen_at === null);
}

/** Whether this browser may tell the server which page is in front: the person agreed, the permission is there, and no pause. */
export function shares({ consent, permitted, pause }: Sharing, now: Moment): boolean {
  return agreed(consent) === "share" && permitted && !isPaused(pause, now);
}

/** The person's choice. Undefined if they have not chosen, or answered an older version of the question. */
export function agreed(consent: Consent | null): Consent["choice"] | undefined {
  return consent?.version === CONSENT_VERSION ? consent.choice : undefined;
}

export function isPaused(pause: Pause | null, now: Moment): boolean {
  return pause === "resumed" || (pause !== null && now < pause);
}
