import { expect, test } from "vitest";

import type { PresenceSnapshot, PresenceUpdate, ServerMessage, Appearance } from "../src/generated/types";
import { EMPTY_SCENE, type Scene, difference, patched, waiting } from "../src/scene";
import { NOTHING_LIVE, draw, reduce, reduceLists } from "../src/worker/presence";

const PAGE = { url: "https://example.com/", title: "A page", domain: "example.com" };
const NOTHING = { url: "", title: "", domain: "" };

const presence = (userId: string, fields: Partial<Appearance> = {}): Appearance => ({
  userId, page: PAGE, latestPage: PAGE, at: "2026-01-01T00:00:00Z", lastSeenAt: null, idle: false, idleSince: null, ...fields,
});
const info = (user_id: string) => ({ user_id, first_name: user_id, last_name: "", profile_image_extension: null });
const summary = (user_id: string) => ({ ...info(user_id), description: "", profile_image_uploaded_at: null, friendship_state: 2, mutual_friend_count: null }) as const;

const snapshot = (friends: Appearance[], own = presence("me")): ServerMessage & PresenceSnapshot => ({
  type: "presence-snapshot",
  userPresence: own,
  presenceArr: friends,
  userInfoMap: Object.fromEntries([own, ...friends].map(({ userId }) => [userId, info(userId)])),
  version: 3,
});
const update = (userId: string, seq: number, title: string): ServerMessage & PresenceUpdate => ({
  type: "update-presence", userId, ...PAGE, title, latestUrl: "", latestTitle: "", latestDomain: "", seq, at: "2026-01-01T00:00:01Z", idle: false, idleSince: null,
});

const scene = (...messages: ServerMessage[]): Scene => {
  const live = messages.reduce(reduce, NOTHING_LIVE);
  return { ...EMPTY_SCENE, ...draw(live, EMPTY_SCENE, 1) };
};

test("a snapshot is drawn with the person apart from the friends", () => {
  const drawn = scene(snapshot([presence("bob"), presence("carol", { page: null })]));
  expect(drawn.own?.userId).toBe("me");
  expect(Object.keys(drawn.friends)).toEqual(["bob", "carol"]);
  expect(drawn.friends["carol"]?.presence.page).toBeNull();
});

test("an older change after a newer one is not drawn", () => {
  const drawn = scene(snapshot([presence("bob")]), update("bob", 7, "newer"), update("bob", 6, "older"), update("bob", 7, "again"));
  expect(drawn.friends["bob"]?.presence.page?.title).toBe("newer");
});

test("a new snapshot replaces everything that came before", () => {
  const drawn = scene(snapshot([presence("bob")]), update("bob", 7, "old"), snapshot([presence("bob", { page: NOTHING })]), update("bob", 2, "new"));
  expect(drawn.friends["bob"]?.presence.page?.title).toBe("new");
});

test("a friend who leaves has no page any more, and one who is removed is gone", () => {
  const left = scene(snapshot([presence("bob")]), { type: "presence-timeout", userId: "bob", lastSeenAt: "2026-01-01T00:00:02Z" });
  expect(left.friends["bob"]?.presence).toMatchObject({ page: null, latestPage: null, lastSeenAt: "2026-01-01T00:00:02Z" });
  expect(scene(snapshot([presence("bob")]), { type: "friend-removed", userId: "bob" }).friends).toEqual({});
});

test("a new friend is drawn whether the friendship or the page is told first", () => {
  const accepted: ServerMessage = { type: "friend-accepted", user: summary("dana") };
  const page = update("dana", 1, "hers");
  for (const drawn of [scene(snapshot([]), accepted, page), scene(snapshot([]), page, accepted)]) {
    expect(drawn.friends["dana"]?.presence.page?.title).toBe("hers");
  }
});

test("a page of a user who is not a friend is not drawn", () => {
  expect(scene(snapshot([]), update("stranger", 1, "theirs")).friends).toEqual({});
});

test("a message of an unknown type changes nothing", () => {
  const before = reduce(NOTHING_LIVE, snapshot([presence("bob")]));
  expect(reduce(before, { type: "news-of-tomorrow" } as unknown as ServerMessage)).toBe(before);
});

test("a patch holds only friends that changed, and a patched scene equals the whole one", () => {
  const first = reduce(NOTHING_LIVE, snapshot([presence("bob"), presence("carol")]));
  const before = { ...EMPTY_SCENE, ...draw(first, EMPTY_SCENE, 1) };
  const after = { ...before, ...draw(reduce(reduce(first, update("bob", 1, "next")), { type: "friend-removed", userId: "carol" }), before, 1) };
  const patch = difference(before, after);
  expect(Object.keys(patch?.friends ?? {})).toEqual(["bob", "carol"]);
  expect(patch?.friends["carol"]).toBeNull();
  expect(patched(before, patch ?? expect.fail("nothing changed"))).toEqual(after);
  expect(difference(after, after)).toBeUndefined();
});

const share = (event_id: string, seen_at: string | null = null) => ({
  event_id, user_id: "bob", sent_at: "2026-01-01T00:00:00Z", url: "https://example.com/", title: "", seen_at, first_name: "Bob", last_name: "", profile_image_extension: null,
});
const request = (user_id: string) => ({ ...info(user_id), description: "", profile_image_uploaded_at: null, requested_at: "2026-01-01T00:00:00Z" });
const lists = (...messages: ServerMessage[]) =>
  messages.reduce((drawn, message) => ({ ...drawn, ...reduceLists(drawn, message, "2026-01-02T00:00:00Z") }), EMPTY_SCENE);

test("the badge counts unread shares and requests, and is cleared when they are read or answered on any device", () => {
  const full = lists(
    { type: "share-notification", notification: share("1") },
    { type: "share-notification", notification: share("2") },
    { type: "share-notification", notification: share("2") },
    { type: "friend-request", user: request("dana") },
  );
  expect(waiting(full)).toBe(3);
  const read = reduceLists(full, { type: "share-notification-read", eventIds: ["1", "2"] }, "2026-01-02T00:00:00Z");
  expect(waiting({ ...full, ...read })).toBe(1);
  const answered = reduceLists({ ...full, ...read }, { type: "friend-request-removed", userId: "dana" }, "2026-01-02T00:00:00Z");
  expect(waiting({ ...full, ...read, ...answered })).toBe(0);
});
