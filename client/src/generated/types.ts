// Written by `cargo xtask codegen` from the servers' own types. Do not edit.

/**
 * The body that names whose request is accepted.
 */
export type Accept = { user_id1: UserId, };

/**
 * The body that marks shares as read: at most 1,000 of them.
 */
export type AllSeen = Array<Seen>;

/**
 * How somebody appears: `P` of the REST contract.
 */
export type Appearance = { userId: UserId,
/**
 * Null while offline; all empty while online on a hidden page.
 */
page: PageView | null,
/**
 * The last page that was shown, all empty when there was none; null while offline.
 */
latestPage: PageView | null,
/**
 * Since when URL, title or hiding is as it is; null while offline.
 */
at: Timestamp | null,
/**
 * Null while online, and for somebody who never was.
 */
lastSeenAt: Timestamp | null,
/**
 * Nobody is at any of the user's devices. False while offline.
 */
idle: boolean,
/**
 * Since when; null while not idle.
 */
idleSince: Timestamp | null, };

/**
 * The body that names whom to ask.
 */
export type Ask = { user_id2: UserId, };

/**
 * A page to send to all friends.
 */
export type Broadcast = {
/**
 * http(s), at most 2,048 characters. Credentials are taken out of it.
 */
url: string,
/**
 * What nobody would see of it is taken out, and it is cut at 300 characters.
 */
title: string, };

/**
 * What a client may send.
 */
export type ClientMessage = { "action": "heartbeat" } | { "action": "update-presence", url: string,
/**
 * Absent while the page has none.
 */
title: string, } | { "action": "set-idle", idle: boolean, } | { "action": "set-visibility", invisible: boolean, } | { "action": "watch", watching: boolean, } | { "action": "authenticate", token: string, } | { "action": "goodbye" };

/**
 * How many there are.
 */
export type Count = { count: number,
/**
 * The same number, where an old client looks for it.
 */
count_1: number, };

/**
 * What a site is known by in share lists: in lower case, international names in their ASCII form. Either
 * the registrable domain (one label below a public suffix), or a suffix whose owner hands out names below
 * it (`github.io`), which then stands for all of them.
 *
 * What is deserialised was accepted once, perhaps by a version with another public suffix list, and is kept as it is. No
 * page has a domain that does not read back as itself, so such an entry of an allow list allows nothing.
 */
export type Domain = string;

/**
 * The body that replaces a list: at most 1,000 host names of public sites.
 */
export type DomainEntries = Array<string>;

/**
 * The body that names a pair, in either order.
 */
export type Ended = { user_id1: UserId, user_id2: UserId, };

/**
 * Why a message was not taken.
 */
export type ErrorCode = "bad-message" | "rate-limited" | "unavailable";

/**
 * One thing wrong with one field of a request.
 */
export type FieldError = {
/**
 * The field's path, such as `domain_allow_array[3]`.
 */
field: string,
/**
 * What is wrong with it, to be read after its name.
 */
message: string, };

/**
 * A friendship or the request for one: one per pair of users, whoever asked.
 */
export type Friendship = {
/**
 * Who asked.
 */
user_id1: UserId, user_id2: UserId, requested_at: Timestamp,
/**
 * Null while pending.
 */
accepted_at: Timestamp | null, };

/**
 * How the caller stands to somebody, as the published clients number it.
 */
export type FriendshipState = 0 | 1 | 2;

/**
 * The body of a registration.
 */
export type NewUser = {
/**
 * 1 to 100 characters besides spaces around them, one of which can be seen. Control characters, and those that
 * change the direction of text, are refused; others that nobody sees are taken out.
 */
first_name: string,
/**
 * The same, but for that it may be empty.
 */
last_name: string,
/**
 * Date of birth, `YYYY-MM-DD`; empty means none.
 */
dob?: string | null,
/**
 * At most 1,000 characters. Control characters and what nobody sees are taken out.
 */
gender?: string | null, };

/**
 * A page as clients get it. All three are empty for a hidden one.
 */
export type PageView = { url: string, title: string, domain: string, };

/**
 * A page to send to one friend.
 */
export type Personal = {
/**
 * http(s), at most 2,048 characters. Credentials are taken out of it.
 */
url: string,
/**
 * What nobody would see of it is taken out, and it is cut at 300 characters.
 */
title: string,
/**
 * The friend.
 */
sent_to: UserId, };

/**
 * All a client needs to draw its friends, once after connecting.
 */
export type PresenceSnapshot = { userPresence: Appearance, presenceArr: Array<Appearance>, userInfoMap: { [key in UserId]: UserInfo },
/**
 * The social version: a client that knows an older one fetches its lists again.
 */
version: number, };

/**
 * Somebody came online, turned to another page, or became idle or active.
 */
export type PresenceUpdate = { userId: UserId,
/**
 * Empty, as are `title` and `domain`, when the page in front is hidden.
 */
url: string, title: string, domain: string,
/**
 * The last page that was shown; empty when there was none.
 */
latestUrl: string, latestTitle: string, latestDomain: string,
/**
 * Grows with every visible change of this user.
 */
seq: number,
/**
 * Since when URL, title or hiding is as it is. Becoming idle or active does not change it.
 */
at: Timestamp,
/**
 * Nobody is at any of the user's devices.
 */
idle: boolean,
/**
 * Since when; null while not idle.
 */
idleSince: Timestamp | null, };

/**
 * RFC 9457 problem details: the body of every error, as `application/problem+json`.
 */
export type Problem = {
/**
 * Always `about:blank`: the status says what kind of problem it is (RFC 9457, section 4.2.1).
 */
type: string,
/**
 * The status in words, as HTTP has them.
 */
title: string,
/**
 * The HTTP status, once more.
 */
status: number,
/**
 * A plain sentence for whoever made the request. Never a token, an address, a URL or SQL.
 */
detail: string,
/**
 * What is wrong with which field, when input was invalid.
 */
errors?: Array<FieldError>, };

/**
 * Names one share in a list.
 */
export type Seen = { event_id: ShareId, };

/**
 * What the server sends.
 */
export type ServerMessage = { "type": "heartbeat" } | { "type": "update-presence" } & PresenceUpdate | { "type": "presence-timeout", userId: UserId, lastSeenAt: Timestamp | null, } | { "type": "presence-snapshot" } & PresenceSnapshot | { "type": "friend-request", user: UserFriendRequest, } | { "type": "friend-request-removed", userId: UserId, } | { "type": "friend-accepted", user: UserSummary, } | { "type": "friend-removed", userId: UserId, } | { "type": "settings-updated", shareMode: ShareMode, domainAllowArray: Array<Domain>, domainDenyArray: Array<Domain>, } | { "type": "friend-updated", user: UserInfo, } | { "type": "share-notification", notification: ShareNotification, } | { "type": "share-notification-read", eventIds: Array<ShareId>, } | { "type": "error", code: ErrorCode, detail: string, };

/**
 * One share, to however many friends: the `event_id` of the REST contract. Version 7, so newer ones are greater.
 */
export type ShareId = string;

/**
 * What happens to a domain that is on neither list.
 */
export type ShareMode = "default_none" | "default_all";

/**
 * A page that somebody sent to the caller.
 */
export type ShareNotification = { event_id: ShareId,
/**
 * Who sent it, as are the names and the image below.
 */
user_id: UserId, sent_at: Timestamp,
/**
 * http or https, at most 2,048 characters.
 */
url: string,
/**
 * At most 300 characters.
 */
title: string,
/**
 * When the caller first marked it as read; null before.
 */
seen_at: Timestamp | null, first_name: string, last_name: string, profile_image_extension: string | null, };

/**
 * A page that the caller sent.
 */
export type ShareNotificationSent = { event_id: ShareId, sent_at: Timestamp,
/**
 * http or https, at most 2,048 characters.
 */
url: string,
/**
 * At most 300 characters.
 */
title: string,
/**
 * The addressee when it went to one friend; null when it went to all.
 */
sent_to: UserId | null,
/**
 * Recipients who have not read it.
 */
not_seen_count: number,
/**
 * All recipients, as far as the caller can see them.
 */
recipient_count: number,
/**
 * The addressee's, as is the rest; null when there is none.
 */
first_name: string | null, last_name: string | null, profile_image_extension: string | null, };

/**
 * The answer of calls that change something and have nothing else to say.
 */
export type Success = {
/**
 * Always true: what did not succeed is a problem.
 */
success: boolean, };

/**
 * A moment: milliseconds since 1970-01-01T00:00:00Z. In JSON it is RFC 3339 in UTC with a literal `Z`,
 * because clients append `Z` to whatever lacks it. The default is that of 1970.
 */
export type Timestamp = string;

/**
 * Somebody who asks to be the caller's friend, or whom the caller has asked.
 */
export type UserFriendRequest = { user_id: UserId,
/**
 * 1 to 100 characters.
 */
first_name: string,
/**
 * At most 100 characters.
 */
last_name: string,
/**
 * At most 1,000 characters.
 */
description: string,
/**
 * When the profile image was last announced; null without one.
 */
profile_image_uploaded_at: Timestamp | null,
/**
 * png, jpg, jpeg, webp or gif; null without an image.
 */
profile_image_extension: string | null, requested_at: Timestamp, };

/**
 * Who somebody is: the token's `cognito:username`, opaque text of 1 to 128 characters, such as a UUID or
 * `google_1174…`. It names the user's object, so two spellings are two users.
 */
export type UserId = string;

/**
 * Enough of a user to draw them in a list of presences.
 */
export type UserInfo = { user_id: UserId, first_name: string, last_name: string,
/**
 * png, jpg, jpeg, webp or gif; null without an image.
 */
profile_image_extension: string | null, };

/**
 * A user's own account: everything, unmasked.
 */
export type UserPrivate = {
/**
 * As the identity provider has it, at most 254 characters.
 */
email: string,
/**
 * Whether a search for a part of the address finds the user; one for the whole of it always does.
 */
email_public: boolean, dob_public: boolean, gender_public: boolean, school_public: boolean, work_public: boolean, location_public: boolean, share_mode: ShareMode,
/**
 * At most 1,000 sites, as in the other list. Only the list that the mode asks for has an effect.
 */
domain_allow_array: Array<Domain>, domain_deny_array: Array<Domain>,
/**
 * Date of birth, `YYYY-MM-DD`.
 */
dob: string | null,
/**
 * At most 1,000 characters, as the three below.
 */
gender: string | null, school: string | null, work: string | null, location: string | null, user_id: UserId,
/**
 * 1 to 100 characters.
 */
first_name: string,
/**
 * At most 100 characters.
 */
last_name: string,
/**
 * At most 1,000 characters.
 */
description: string,
/**
 * When the profile image was last announced; null without one.
 */
profile_image_uploaded_at: Timestamp | null,
/**
 * png, jpg, jpeg, webp or gif; null without an image.
 */
profile_image_extension: string | null,
/**
 * The caller's standing towards this user; null where the call does not ask.
 */
friendship_state: FriendshipState | null,
/**
 * Friends that the caller and this user share; null where the call does not ask.
 */
mutual_friend_count: number | null, };

/**
 * A user as lists show them.
 */
export type UserSummary = { user_id: UserId,
/**
 * 1 to 100 characters.
 */
first_name: string,
/**
 * At most 100 characters.
 */
last_name: string,
/**
 * At most 1,000 characters.
 */
description: string,
/**
 * When the profile image was last announced; null without one.
 */
profile_image_uploaded_at: Timestamp | null,
/**
 * png, jpg, jpeg, webp or gif; null without an image.
 */
profile_image_extension: string | null,
/**
 * The caller's standing towards this user; null where the call does not ask.
 */
friendship_state: FriendshipState | null,
/**
 * Friends that the caller and this user share; null where the call does not ask.
 */
mutual_friend_count: number | null, };

/**
 * The body of an update: everything is replaced, except that an absent `dob` or `dob_public` stays as it is,
 * because published clients know neither. What comes back as it is stored is always accepted.
 */
export type UserUpdate = {
/**
 * As at registration.
 */
first_name: string,
/**
 * As at registration.
 */
last_name: string,
/**
 * At most 1,000 characters. Control characters, line feeds and tabs aside, and what nobody sees are taken out.
 */
description: string | null, share_mode: ShareMode,
/**
 * At most 1,000 host names of public sites. Each is kept as its registrable domain.
 */
domain_allow_array: Array<string>,
/**
 * At most 1,000 host names of public sites. Each is kept as its registrable domain.
 */
domain_deny_array: Array<string>,
/**
 * At most 1,000 characters, as the three below. Control characters and what nobody sees are taken out.
 */
gender: string | null, school: string | null, work: string | null, location: string | null, email_public: boolean, gender_public: boolean, school_public: boolean, work_public: boolean, location_public: boolean,
/**
 * Date of birth, `YYYY-MM-DD`. Left out it stays as it is; null or empty removes it.
 */
dob?: string | null,
/**
 * Left out it stays as it is.
 */
dob_public?: boolean, };
