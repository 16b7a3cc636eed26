import { expect, test } from "vitest";

import type { ServerMessage } from "../src/generated/types";
import { readMessage } from "../src/worker/wire";

const WHEN = "2026-01-02T03:04:05.000Z";
const info = { user_id: "bob", first_name: "Bob", last_name: "", profile_image_extension: null };
const listed = { ...info, description: "", profile_image_uploaded_at: null };
const presence = { userId: "bob", page: null, latestPage: null, at: null, lastSeenAt: null, idle: false, idleSince: null };

/** One message of each type of the contract. */
const MESSAGES: ServerMessage[] = [
  { type: "heartbeat" },
  {
    type: "update-presence", userId: "bob", url: "", title: "", domain: "", latestUrl: "", latestTitle: "", latestDomain: "",
    seq: 3, at: WHEN, idle: true, idleSince: WHEN,
  },
  { type: "presence-timeout", userId: "bob", lastSeenAt: null },
  {
    type: "presence-snapshot", userPresence: { ...presence, userId: "alice", page: { url: "", title: "", domain: "" } },
    presenceArr: [presence], userInfoMap: { bob: info }, version: 7,
  },
  { type: "friend-request", user: { ...listed, requested_at: WHEN } },
  { type: "friend-request-removed", userId: "bob" },
  { type: "friend-accepted", user: { ...listed, friendship_state: 1, mutual_friend_count: 2 } },
  { type: "friend-removed", userId: "bob" },
  { type: "settings-updated", shareMode: "default_all", domainAllowArray: [], domainDenyArray: ["example.com"] },
  { type: "friend-updated", user: info },
  { type: "share-notification", notification: { ...info, event_id: "e", sent_at: WHEN, url: "https://a.example/", title: "", seen_at: null } },
  { type: "share-notification-read", eventIds: ["e"] },
  { type: "error", code: "unavailable", detail: "" },
];

test("every message of the contract is read, and fields that a later server adds are ignored", () => {
  for (const message of MESSAGES) {
    expect(readMessage(JSON.stringify(message))).toEqual(message);
    expect(readMessage(JSON.stringify({ ...message, added: { later: true } }))).toEqual(message);
  }
});

test("a message that lacks a field, or has a value of another type, is rejected", () => {
  for (const message of MESSAGES) {
    for (const field of Object.keys(message)) {
      const { [field]: _, ...rest } = message as Record<string, unknown>;
      expect(readMessage(JSON.stringify(rest)), `${message.type} without ${field}`).toBeUndefined();
      expect(readMessage(JSON.stringify({ ...message, [field]: { an: "object" } })), `${message.type}, ${field}`).toBeUndefined();
    }
  }
});

test("anything that is not a message is rejected", () => {
  for (const data of ["", "{", "[]", "null", "7", '"text"', "{}", '{"type":"unheard-of"}', '{"type":7}', '{"type":"share-notification","notification":null}']) {
    expect(readMessage(data)).toBeUndefined();
  }
  expect(readMessage(new ArrayBuffer(8))).toBeUndefined();
});
