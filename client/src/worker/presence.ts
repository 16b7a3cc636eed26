/** The reducer of the live channel: it turns the server's messages into parts of the scene. Pure. */

import type { PresenceSnapshot, PresenceUpdate, ServerMessage, UserId, UserInfo, Appearance } from "../generated/types";
import type { Friend, Moment, Scene } from "../scene";

/** What the live channel has told so far. Presences and people are separate, because either may come first. */
export interface Live {
  readonly me: UserId | null;
  readonly people: Readonly<Record<UserId, UserInfo>>;
  readonly presences: Readonly<Record<UserId, Known>>;
  /** The social version of the last snapshot. -1: there was none yet. */
  readonly version: number;
}

interface Known {
  readonly presence: Appearance;
  /** The `seq` of the newest change that was taken. 0 after a snapshot, which has no `seq`. */
  readonly seq: number;
}

export const NOTHING_LIVE: Live = { me: null, people: {}, presences: {}, version: -1 };

/** The part of the scene that is made from {@link Live}. */
export type LiveScene = Pick<Scene, "own" | "friends" | "known" | "asOf">;

const offline = (userId: UserId, lastSeenAt: string | null): Appearance => ({
  userId,
  page: null,
  latestPage: null,
  at: null,
  lastSeenAt,
  idle: false,
  idleSince: null,
});

function online({ userId, url, title, domain, latestUrl, latestTitle, latestDomain, at, idle, idleSince }: PresenceUpdate): Appearance {
  const latestPage = { url: latestUrl, title: latestTitle, domain: latestDomain };
  return { userId, page: { url, title, domain }, latestPage, at, lastSeenAt: null, idle, idleSince };
}

function fromSnapshot({ userPresence, presenceArr, userInfoMap, version }: PresenceSnapshot): Live {
  const presences = Object.fromEntries([...presenceArr, userPresence].map((presence) => [presence.userId, { presence, seq: 0 }]));
  return { me: userPresence.userId, people: { ...userInfoMap }, presences, version };
}

function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  const { [key]: _, ...rest } = record;
  return rest;
}

/** The state after a message. It is the same object if the message changes nothing. */
export function reduce(live: Live, message: ServerMessage): Live {
  switch (message.type) {
    case "presence-snapshot":
      return fromSnapshot(message);
    case "update-presence": {
      const known = live.presences[message.userId];
      if (known && message.seq <= known.seq) return live;
      const now = { presence: online(message), seq: message.seq };
      return { ...live, presences: { ...live.presences, [message.userId]: now } };
    }
    case "presence-timeout": {
      const seq = live.presences[message.userId]?.seq ?? 0;
      const now = { presence: offline(message.userId, message.lastSeenAt), seq };
      return { ...live, presences: { ...live.presences, [message.userId]: now } };
    }
    case "friend-accepted": {
      const { user_id, first_name, last_name, profile_image_extension } = message.user;
      const presences = live.presences[user_id]
        ? live.presences
        : { ...live.presences, [user_id]: { presence: offline(user_id, null), seq: 0 } };
      return { ...live, people: { ...live.people, [user_id]: { user_id, first_name, last_name, profile_image_extension } }, presences };
    }
    case "friend-removed":
      return { ...live, people: without(live.people, message.userId), presences: without(live.presences, message.userId) };
    case "friend-updated":
      return Object.hasOwn(live.people, message.user.user_id)
        ? { ...live, people: { ...live.people, [message.user.user_id]: message.user } }
        : live;
    default:
      return live;
  }
}

/** The part of the scene that views draw. Friends that did not change stay the same objects. */
export function draw(live: Live, before: LiveScene, now: Moment): LiveScene {
  const friends: Record<UserId, Friend> = {};
  for (const [id, info] of Object.entries(live.people)) {
    const presence = live.presences[id]?.presence;
    if (id === live.me || presence === undefined) continue;
    const old = before.friends[id];
    friends[id] = old?.info === info && old.presence === presence ? old : { info, presence };
  }
  const own = live.me === null ? null : (live.presences[live.me]?.presence ?? null);
  return { own, friends, known: live.me !== null, asOf: now };
}

/** The inbox lists that a message changes, as they are after it. Lists that do not change are left out. */
export function reduceLists(
  scene: Pick<Scene, "requests" | "sentRequests" | "received">,
  message: ServerMessage,
  now: string,
): Partial<Pick<Scene, "requests" | "sentRequests" | "received">> {
  switch (message.type) {
    case "friend-request":
      return { requests: [message.user, ...scene.requests.filter(({ user_id }) => user_id !== message.user.user_id)] };
    case "friend-request-removed":
      return withoutPerson(scene, message.userId);
    case "friend-accepted":
      return withoutPerson(scene, message.user.user_id);
    case "share-notification": {
      const { notification } = message;
      return { received: [notification, ...scene.received.filter(({ event_id }) => event_id !== notification.event_id)].slice(0, RECEIVED_MAX) };
    }
    case "share-notification-read": {
      const read = new Set(message.eventIds);
      return {
        received: scene.received.map((share) => (read.has(share.event_id) && share.seen_at === null ? { ...share, seen_at: now } : share)),
      };
    }
    default:
      return {};
  }
}

/** The most shares that are kept. The server returns the same number at most in one answer. */
export const RECEIVED_MAX = 100;

function withoutPerson(scene: Pick<Scene, "requests" | "sentRequests">, id: UserId): Pick<Scene, "requests" | "sentRequests"> {
  const others = <T extends { user_id: UserId }>(list: readonly T[]) => list.filter(({ user_id }) => user_id !== id);
  return { requests: others(scene.requests), sentRequests: others(scene.sentRequests) };
}
