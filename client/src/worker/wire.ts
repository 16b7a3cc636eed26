/** What the live channel says, read at the door: what is not in the contract's form goes no further. */

import { array, boolean, nullable, number, object, picklist, record, safeParse, string, variant } from "valibot";
import type { GenericSchema } from "valibot";

import type { ServerMessage } from "../generated/types";

const time = nullable(string());
const page = object({ url: string(), title: string(), domain: string() });
const person = { user_id: string(), first_name: string(), last_name: string(), profile_image_extension: nullable(string()) };
const listed = { ...person, description: string(), profile_image_uploaded_at: time };
const presence = object({
  userId: string(),
  page: nullable(page),
  latestPage: nullable(page),
  at: time,
  lastSeenAt: time,
  idle: boolean(),
  idleSince: time,
});
const share = object({ ...person, event_id: string(), sent_at: string(), url: string(), title: string(), seen_at: time });

const MESSAGE = variant("type", [
  object({ type: picklist(["heartbeat"]) }),
  object({
    type: picklist(["update-presence"]),
    userId: string(),
    url: string(),
    title: string(),
    domain: string(),
    latestUrl: string(),
    latestTitle: string(),
    latestDomain: string(),
    seq: number(),
    at: string(),
    idle: boolean(),
    idleSince: time,
  }),
  object({ type: picklist(["presence-timeout"]), userId: string(), lastSeenAt: time }),
  object({
    type: picklist(["presence-snapshot"]),
    userPresence: presence,
    presenceArr: array(presence),
    userInfoMap: record(string(), object(person)),
    version: number(),
  }),
  object({ type: picklist(["friend-request"]), user: object({ ...listed, requested_at: string() }) }),
  object({ type: picklist(["friend-request-removed"]), userId: string() }),
  object({
    type: picklist(["friend-accepted"]),
    user: object({ ...listed, friendship_state: nullable(picklist([0, 1, 2])), mutual_friend_count: nullable(number()) }),
  }),
  object({ type: picklist(["friend-removed"]), userId: string() }),
  object({
    type: picklist(["settings-updated"]),
    shareMode: picklist(["default_none", "default_all"]),
    domainAllowArray: array(string()),
    domainDenyArray: array(string()),
  }),
  object({ type: picklist(["friend-updated"]), user: object(person) }),
  object({ type: picklist(["share-notification"]), notification: share }),
  object({ type: picklist(["share-notification-read"]), eventIds: array(string()) }),
  object({ type: picklist(["error"]), code: picklist(["bad-message", "rate-limited", "unavailable"]), detail: string() }),
]) satisfies GenericSchema<unknown, ServerMessage>;

/** A message of the contract; undefined for anything else, such as a type that a later server says. */
export function readMessage(data: unknown): ServerMessage | undefined {
  if (typeof data !== "string") return undefined;
  try {
    const { success, output } = safeParse(MESSAGE, JSON.parse(data));
    return success ? output : undefined;
  } catch {
    return undefined;
  }
}
