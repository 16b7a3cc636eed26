//! The bounds that the two servers, their clients and their tests share, with units in their names. A bound that concerns only
//! one module is defined in that module.

/// Longest user id, in characters. It is the limit of Amazon Cognito's user names.
pub const USER_ID_CHARS_MAX: usize = 128;

/// Longest URL a page may have, in characters; a longer one is refused.
pub const URL_CHARS_MAX: usize = 2_048;

/// A title is cut to this many characters, on a character boundary.
pub const TITLE_CHARS_MAX: usize = 300;

/// Longest host name, in characters (RFC 1035).
pub const DOMAIN_CHARS_MAX: usize = 253;

/// Most entries in each of a user's allow and deny lists.
pub const DOMAIN_LIST_LEN_MAX: usize = 1_000;

/// Largest frame a client may send on the live channel, in bytes; a larger one closes the socket (1009).
pub const FRAME_BYTES_MAX: usize = 8 * 1_024;

/// Most sockets that one user has open at once. One more closes the oldest (4409).
pub const SOCKETS_MAX: usize = 10;

/// Most messages on one socket in a window of 10 s, not counting heartbeats. Each further one is answered with an error.
pub const FRAMES_PER_WINDOW_MAX: usize = 30;

/// This many messages in a window of 10 s, not counting heartbeats, close the socket (4429).
pub const FRAMES_PER_WINDOW_CLOSE: usize = 60;

/// This many invalid messages within a minute close the socket (4400).
pub const BAD_MESSAGES_MAX: usize = 10;

/// Largest REST request body, in bytes, at the edge and at the core alike.
pub const BODY_BYTES_MAX: usize = 64 * 1_024;

/// Longest path and query of a request together, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 16 * 1_024;

/// Largest sum of a request's header names and values, in bytes.
pub const HEADERS_BYTES_MAX: usize = 32 * 1_024;

/// Largest offset in a list. The database reads every item that is skipped. Beyond this offset a page is empty.
pub const PAGE_OFFSET_MAX: i64 = 10_000;

/// Largest profile image, in bytes. Clients and the image store of a self-hosted machine enforce it, because the signed URL of an
/// upload cannot.
pub const PROFILE_IMAGE_BYTES_MAX: usize = 2_000_000;

/// Default time for which the URL of a profile image is valid, in seconds. Configuration of the core may change it.
pub const PROFILE_IMAGE_URL_S: u64 = 3_600;

/// Longest value of `x-request-id` taken over from a caller, in characters; a longer one is replaced.
pub const REQUEST_ID_CHARS_MAX: usize = 128;

/// Longest bearer token, in bytes. Cognito's are about 1 KiB; the bound keeps the signature check cheap.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;

/// Default for the most friends a user may have; configuration of the core may change it.
pub const FRIENDS_MAX: usize = 1_000;

/// Most upgrades to the live channel of one user in a minute, at each location of the platform. `wrangler.toml` sets it for the
/// platform's rate limiter.
pub const UPGRADES_PER_MINUTE_MAX: u32 = 30;

/// Default for the most REST requests of one user in a minute, at each location of the edge and at each instance of the core.
/// Configuration may change it. A client that shows everything makes about ten when it starts.
pub const CALLS_PER_MINUTE_MAX: u32 = 600;

/// Most users that one user may block. A call that lists or searches users reads all of them, to leave them out.
pub const BLOCKS_MAX: i64 = 1_000;

/// Default for the most friend requests of one user that wait for an answer. Configuration of the core may change it.
pub const REQUESTS_PENDING_MAX: u32 = 100;

/// Default for the most friend requests that one user may send in a UTC day. Configuration of the core may change it.
pub const REQUESTS_PER_DAY_MAX: u32 = 200;

/// Default number of days in which a user who declined a friend request gets no other from the same user. Configuration of the
/// core may change it.
pub const DECLINE_REST_DAYS: u32 = 7;

/// Default for the most shares to all friends in an hour; configuration of the core may change it.
pub const SHARES_PER_HOUR_MAX: u32 = 60;

/// Oldest list of suspended users that an instance of the core uses, in milliseconds. After a suspension, all instances refuse
/// the user within this time and the time of one statement.
pub const SUSPENSIONS_AGE_MS_MAX: u64 = 5_000;

/// Most users that are suspended at once. Every instance of the core holds their ids in memory.
pub const SUSPENDED_MAX: i64 = 10_000;

/// Longest name of an operator, in characters.
pub const OPERATOR_CHARS_MAX: usize = 100;

/// Longest reason that an operator gives, in characters.
pub const REASON_CHARS_MAX: usize = 1_000;

/// Most waiting changes that an operator can name, or is shown, at once.
pub const WAITING_LEN_MAX: usize = 1_000;

/// Rows of the predecessor that one statement of a cut-over writes.
pub const IMPORT_ROWS_PER_BATCH: usize = 500;

/// Longest run of such a statement, in milliseconds. It replaces the limit for the statements of calls.
pub const IMPORT_STATEMENT_MS_MAX: u32 = 120_000;

/// Users whose version one statement raises after a backup was restored.
pub const RAISED_VERSIONS_PER_BATCH: i64 = 1_000;

/// Most rows that one step of the removal of a deleted account removes.
pub const ERASED_ROWS_PER_BATCH: i64 = 1_000;

/// Most shares that are removed at once, each with its recipients. A share has as many recipients as its sender has friends.
pub const ERASED_SHARES_PER_BATCH: i64 = 10;

/// Longest time for which a call that deletes an account waits for the removal to finish, in milliseconds. Whatever is left then
/// is removed later.
pub const ERASURE_MS_AT_ONCE: u64 = 3_000;

/// First wait before an unfinished removal of a deleted account is continued, in seconds. The wait doubles each time.
pub const ERASURE_RETRY_S_MIN: f64 = 30.0;

/// Longest wait before such a removal is continued, in seconds.
pub const ERASURE_RETRY_S_MAX: f64 = 3_600.0;

/// Most rows that an export reads at once.
pub const EXPORT_ROWS_PER_PAGE: i64 = 200;

/// Most changes of a user's name, or of the kind of their picture, in an hour. All friends are told of each.
pub const LOOKS_CHANGES_PER_HOUR_MAX: usize = 5;

/// An hour, in milliseconds.
pub const MS_PER_HOUR: i64 = 3_600_000;

/// How long an idempotency key prevents that a share is sent twice, in hours.
pub const IDEMPOTENCY_HOURS: i64 = 24;

/// Longest `Idempotency-Key`, in characters.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Most shares marked as read in one call.
pub const SHARES_READ_LEN_MAX: usize = 1_000;

/// Most users looked up in one call.
pub const USER_IDS_LEN_MAX: usize = 100;

/// Longest text to search for, in characters.
pub const SEARCH_CHARS_MAX: usize = 100;

/// Most index entries whose users a search ranks, besides acquaintances. The cost of every search grows with them.
pub const SEARCH_CANDIDATES_MAX: i64 = 80;

/// Most index entries that a search reads for pages that its ranked users do not fill. One user may have several entries, so it
/// is more than [`SEARCH_OFFSET_MAX`] and [`PAGE_ITEMS_MAX`] together.
pub const SEARCH_ENTRIES_MAX: i64 = 2_500;

/// Largest offset of a search among all users. Beyond it a page is empty.
pub const SEARCH_OFFSET_MAX: i64 = 1_000;

/// Most pending requests to the caller whose senders count as acquaintances in a search. The newest count.
pub const SEARCH_REQUESTS_MAX: i64 = 1_000;

/// Received shares on a page if the caller gives no limit.
pub const SHARES_PAGE_ITEMS_DEFAULT: u32 = 100;

/// Sent shares, or friends found, on a page if the caller gives no limit.
pub const SHORT_PAGE_ITEMS_DEFAULT: u32 = 10;

/// Items on a page of any other list if the caller gives no limit.
pub const PAGE_ITEMS_DEFAULT: u32 = 15;

/// Most items on a page of a list. A larger limit is treated as this.
pub const PAGE_ITEMS_MAX: u32 = 100;

/// Longest first or last name, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Longest of a profile's free-text fields, in characters.
pub const PROFILE_TEXT_CHARS_MAX: usize = 1_000;

/// Longest e-mail address, in characters (RFC 5321).
pub const EMAIL_CHARS_MAX: usize = 254;

/// Least time between two fetches of the JSON Web Key Set, in milliseconds.
pub const JWKS_REFETCH_MS_MIN: i64 = 10_000;

/// Age at which a key set is fetched again even if it has every key that is looked up, in milliseconds.
pub const JWKS_AGE_MS_MAX: i64 = 3_600_000;

/// Life of a token with which the edge authenticates itself to the core, in seconds.
pub const SERVICE_TOKEN_LIFE_S: i64 = 60;

/// Most events in one batch from the core to the edge.
pub const EVENT_BATCH_LEN_MAX: usize = 100;

/// Largest body of one batch of events, in bytes. A `settings.updated` with two full lists is about 60 KiB.
pub const EVENT_BATCH_BYTES_MAX: usize = 8 * 1_024 * 1_024;

/// How far the time at which a batch of events was signed may be from now, in seconds (Standard Webhooks).
pub const EVENT_SIGNED_AGO_S_MAX: u64 = 300;

/// Time after which a call to another object counts as failed, in milliseconds.
pub const PEER_CALL_MS_MAX: u32 = 2_000;

/// Time after which a call from the edge to the core counts as failed, in milliseconds.
pub const CORE_CALL_MS_MAX: u32 = 10_000;

/// Longest time for which a connecting client waits for the core if its object already knows the user, in milliseconds.
pub const SOCIAL_REFRESH_MS_MAX: u32 = 2_000;

/// Default time without a sign of life after which a user counts as offline, in milliseconds.
pub const PRESENCE_TIMEOUT_MS: i64 = 180_000;

/// Default time between the last socket closing and the user counting as offline, in milliseconds.
pub const PRESENCE_GRACE_MS: i64 = 15_000;

/// Longest wait for the administrator's connection that creates the database's roles, in milliseconds.
pub const ADMINISTRATOR_CONNECT_MS_MAX: u64 = 10_000;

/// Longest name of a database role, in bytes: PostgreSQL's own bound.
pub const ROLE_NAME_BYTES_MAX: usize = 63;

/// Most secrets that are valid at once. A rotation needs the old and the new one.
pub const SECRETS_MAX: usize = 2;

/// Longest wait of the core's `healthcheck` command for an answer, in milliseconds.
pub const HEALTHCHECK_MS_MAX: u64 = 3_000;
