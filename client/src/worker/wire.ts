/** Schemas of the servers' messages and answers. Whatever is not in the contract's form is rejected here. */

import { array, boolean, exactOptional, nullable, number, object, picklist, record, safeParse, string, variant } from "valibot";
import type { GenericSchema } from "valibot";

import type {
  ServerMessage,
  ShareNotification,
  ShareNotificationSent,
  UserFriendRequest,
  UserPrivate,
  UserSummary,
} from "../generated/types";
import type { PublicUser } from "../scene";

const time = nullable(string());
const text = nullable(string());
const page = object({ url: string(), title: string(), domain: string() });
const person = { user_id: string(), first_name: string(), last_name: string(), profile_image_extension: nullable(string()) };
const listed = { ...person, description: string(), profile_image_uploaded_at: time };
const standing = { friendship_state: nullable(picklist([0, 1, 2])), mutual_friend_count: nullable(number()) };
const modes = picklist(["default_none", "default_all"]);
const request = object({ ...listed, requested_at: string() });
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
  object({ type: picklist(["friend-request"]), user: request }),
  object({ type: picklist(["friend-request-removed"]), userId: string() }),
  object({
    type: picklist(["friend-accepted"]),
    user: object({ ...listed, ...standing }),
  }),
  object({ type: picklist(["friend-removed"]), userId: string() }),
  object({
    type: picklist(["settings-updated"]),
    shareMode: modes,
    domainAllowArray: array(string()),
    domainDenyArray: array(string()),
  }),
  object({ type: picklist(["friend-updated"]), user: object(person) }),
  object({ type: picklist(["share-notification"]), notification: share }),
  object({ type: picklist(["share-notification-read"]), eventIds: array(string()) }),
  object({ type: picklist(["error"]), code: picklist(["bad-message", "rate-limited", "unavailable"]), detail: string() }),
]) satisfies GenericSchema<unknown, ServerMessage>;

/** Parses a message. Undefined if it is not in the contract, such as a message type of a later server. */
export function readMessage(data: unknown): ServerMessage | undefined {
  if (typeof data !== "string") return undefined;
  try {
    const { success, output } = safeParse(MESSAGE, JSON.parse(data));
    return success ? output : undefined;
  } catch {
    return undefined;
  }
}

/** Answers of the REST API. */
export const ACCOUNT = object({
  ...listed,
  ...standing,
  email: string(),
  email_public: boolean(),
  dob_public: boolean(),
  gender_public: boolean(),
  school_public: boolean(),
  work_public: boolean(),
  location_public: boolean(),
  share_mode: modes,
  domain_allow_array: array(string()),
  domain_deny_array: array(string()),
  dob: text,
  gender: text,
  school: text,
  work: text,
  location: text,
}) satisfies GenericSchema<unknown, UserPrivate>;

const summary = { ...listed, ...standing };
export const PEOPLE = array(object(summary)) satisfies GenericSchema<unknown, UserSummary[]>;
/** A user's public profile. Fields that the user keeps private are absent. */
export const PUBLIC_USER = object({
  ...summary,
  dob: exactOptional(text),
  gender: exactOptional(text),
  school: exactOptional(text),
  work: exactOptional(text),
  location: exactOptional(text),
}) satisfies GenericSchema<unknown, PublicUser>;
export const REQUESTS = array(request) satisfies GenericSchema<unknown, UserFriendRequest[]>;
export const SHARES = array(share) satisfies GenericSchema<unknown, ShareNotification[]>;
export const SENT = array(
  object({
    event_id: string(),
    sent_at: string(),
    url: string(),
    title: string(),
    sent_to: nullable(string()),
    not_seen_count: number(),
    recipient_count: number(),
    first_name: text,
    last_name: text,
    profile_image_extension: text,
  }),
) satisfies GenericSchema<unknown, ShareNotificationSent[]>;
export const COUNT = object({ count: number() });
/** Texts by key: warnings by site, or addresses of pictures by user. */
export const TEXTS = record(string(), string());
export const TEXT = string();
