import { expect, test } from "vitest";

import type { Friend } from "../src/scene";
import { arrange, frozen } from "../src/views/order";

const collator = new Intl.Collator("en");
const page = (url: string) => ({ url, title: "", domain: "" });
const friend = (id: string, url: string | null, since: string): Friend => ({
  info: { user_id: id, first_name: id, last_name: "", profile_image_extension: null },
  presence: {
    userId: id, page: url === null ? null : page(url), latestPage: null, idle: false, idleSince: null,
    at: url === null ? null : since, lastSeenAt: url === null ? since : null,
  },
});
const friends = (...list: Friend[]) => Object.fromEntries(list.map((one) => [one.info.user_id, one]));
const own = friend("me", "https://here.example/", "2026-01-01T00:00:00Z").presence;

test("newest pages come first, friends on the same page form a group, and offline friends are sorted by when they left", () => {
  const placed = arrange({
    own,
    friends: friends(
      friend("old", "https://a.example/", "2026-01-01T00:00:00Z"),
      friend("gone", null, "2026-01-01T00:00:09Z"),
      friend("here", "https://here.example/", "2026-01-01T00:00:00Z"),
      friend("hidden", "", "2026-01-01T00:00:05Z"),
      friend("never", null, ""),
      friend("new", "https://b.example/", "2026-01-01T00:00:07Z"),
    ),
  }, collator);
  const of = (group: string) => placed.filter((one) => one.group === group).map(({ id }) => id);
  expect([of("together"), of("online"), of("offline")]).toEqual([["here"], ["new", "hidden", "old"], ["gone", "never"]]);
});

test("while the person's own page is hidden, no friend is on the same page", () => {
  const hidden = { ...own, page: page("") };
  expect(arrange({ own: hidden, friends: friends(friend("b", "", "2026-01-01T00:00:00Z")) }, collator)).toEqual([{ id: "b", group: "online" }]);
});

test("a frozen list keeps its order, adds new friends at the end, and drops removed ones", () => {
  const before = [{ id: "a", group: "online" }, { id: "b", group: "online" }, { id: "c", group: "offline" }] as const;
  const after = [{ id: "c", group: "online" }, { id: "b", group: "offline" }, { id: "d", group: "online" }] as const;
  expect(frozen(before, after).map(({ id, group }) => `${id} ${group}`)).toEqual(["b online", "c offline", "d online"]);
});
