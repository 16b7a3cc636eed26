//! The bounds that the two servers, their clients and their tests share, with their units in their names. One that is
//! about a single place, such as how often a server looks at something, stands there.

/// Longest user id, in characters. Amazon Cognito user names end at 128.
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

/// Most sockets one user has open at once; one more closes the oldest (4409).
pub const SOCKETS_MAX: usize = 10;

/// Most messages on one socket in a window, heartbeats aside; more are answered with an error.
pub const FRAMES_PER_WINDOW_MAX: usize = 30;

/// This many in a window, heartbeats aside, close the socket (4429).
pub const FRAMES_PER_WINDOW_CLOSE: usize = 60;

/// This many messages that are none, within a minute, close the socket (4400).
pub const BAD_MESSAGES_MAX: usize = 10;

/// Largest REST request body, in bytes, at the edge and at the core alike.
pub const BODY_BYTES_MAX: usize = 64 * 1_024;

/// Longest address of a request, path and query together, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 16 * 1_024;

/// Largest sum of a request's header names and values, in bytes.
pub const HEADERS_BYTES_MAX: usize = 32 * 1_024;

/// Most items of a list that are left out at its start, each of which is read; beyond so many there is nothing.
pub const PAGE_OFFSET_MAX: i64 = 10_000;

/// Largest profile image that clients send and that the store of a self-hosted machine takes, in bytes. The URL of an upload cannot
/// bound it.
pub const PROFILE_IMAGE_BYTES_MAX: usize = 2_000_000;

/// Default for how long the URL of a profile image works, in seconds; configuration of the core may change it.
pub const PROFILE_IMAGE_URL_S: u64 = 3_600;

/// Longest value of `x-request-id` taken over from a caller, in characters; a longer one is replaced.
pub const REQUEST_ID_CHARS_MAX: usize = 128;

/// Longest bearer token, in bytes. Cognito's are about 1 KiB; the bound keeps the signature check cheap.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;

/// Default for the most friends a user may have; configuration of the core may change it.
pub const FRIENDS_MAX: usize = 1_000;

/// Most upgrades to the live channel of one user in a minute, at each of the platform's places. `wrangler.toml` says it to
/// the platform.
pub const UPGRADES_PER_MINUTE_MAX: u32 = 30;

/// Default for the most REST requests of one user in a minute, at each of the edge's places and at each instance of the core; configuration may
/// change it. A client that shows everything there is makes about ten at its start.
pub const CALLS_PER_MINUTE_MAX: u32 = 600;

/// Most users whom one user has blocked: a call that lists or searches users reads all of these, to leave them out.
pub const BLOCKS_MAX: i64 = 1_000;

/// Default for the most requests of one user that wait for an answer; configuration of the core may change it.
pub const REQUESTS_PENDING_MAX: u32 = 100;

/// Default for the most users one user may ask in a UTC day; configuration of the core may change it.
pub const REQUESTS_PER_DAY_MAX: u32 = 200;

/// Default for the days in which somebody who declined is not asked again by the same user; configuration of the
/// core may change it.
pub const DECLINE_REST_DAYS: u32 = 7;

/// Default for the most shares to all friends in an hour; configuration of the core may change it.
pub const SHARES_PER_HOUR_MAX: u32 = 60;

/// How old an instance's list of suspended users may be, in milliseconds: as long as it may take until all of them refuse
/// somebody, with the time of one statement on top.
pub const SUSPENSIONS_AGE_MS_MAX: u64 = 5_000;

/// Most users that are suspended at once: every instance holds their ids in memory.
pub const SUSPENDED_MAX: i64 = 10_000;

/// Longest name of an operator, in characters.
pub const OPERATOR_CHARS_MAX: usize = 100;

/// Longest reason that an operator gives, in characters.
pub const REASON_CHARS_MAX: usize = 1_000;

/// Most waiting changes that operators name or are shown at once.
pub const WAITING_LEN_MAX: usize = 1_000;

/// Rows of the predecessor that a cut-over writes by one statement.
pub const IMPORT_ROWS_PER_BATCH: usize = 500;

/// Longest run of such a statement, in milliseconds, whatever the limit of calls is.
pub const IMPORT_STATEMENT_MS_MAX: u32 = 120_000;

/// Users whose version is raised by one statement, after a backup was restored.
pub const RAISED_VERSIONS_PER_BATCH: i64 = 1_000;

/// Most rows that one step of removing a deleted account takes.
pub const ERASED_ROWS_PER_BATCH: i64 = 1_000;

/// Most shares that are removed at once, each with its recipients, of whom there are as many as a user has friends.
pub const ERASED_SHARES_PER_BATCH: i64 = 10;

/// Longest time for which a call that deletes an account waits for the last of it to be gone, in milliseconds. What is
/// left then goes later.
pub const ERASURE_MS_AT_ONCE: u64 = 3_000;

/// Wait before the removal of a deleted account that is not finished is taken up again, in seconds. It doubles each
/// time.
pub const ERASURE_RETRY_S_MIN: f64 = 30.0;

/// Longest wait before it is taken up once more, in seconds.
pub const ERASURE_RETRY_S_MAX: f64 = 3_600.0;

/// Most rows that an export reads at once.
pub const EXPORT_ROWS_PER_PAGE: i64 = 200;

/// Most changes of a user's name, or of the kind of their picture, in an hour: all friends are told of each.
pub const LOOKS_CHANGES_PER_HOUR_MAX: usize = 5;

/// An hour, in milliseconds.
pub const MS_PER_HOUR: i64 = 3_600_000;

/// How long the key of a share keeps a repeat of it from being sent, in hours.
pub const IDEMPOTENCY_HOURS: i64 = 24;

/// Longest `Idempotency-Key`, in characters.
pub const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Most shares marked as read in one call.
pub const SHARES_READ_LEN_MAX: usize = 1_000;

/// Most users looked up in one call.
pub const USER_IDS_LEN_MAX: usize = 100;

/// Longest text to search for, in characters.
pub const SEARCH_CHARS_MAX: usize = 100;

/// Most index entries whose users a search ranks, besides acquaintances: what every search costs grows with them.
pub const SEARCH_CANDIDATES_MAX: i64 = 80;

/// Most index entries that a search reads for pages that its ranked users do not fill. More than [`SEARCH_OFFSET_MAX`]
/// and [`PAGE_ITEMS_MAX`] together, because one user may have several.
pub const SEARCH_ENTRIES_MAX: i64 = 2_500;

/// Largest offset of a search among everybody; beyond it there is nobody.
pub const SEARCH_OFFSET_MAX: i64 = 1_000;

/// Most requests that wait for the caller, the newest, whose senders a search looks through as acquaintances.
pub const SEARCH_REQUESTS_MAX: i64 = 1_000;

/// Received shares on a page when the caller names no limit.
pub const SHARES_PAGE_ITEMS_DEFAULT: u32 = 100;

/// Sent shares, and friends found, on a page when the caller names no limit.
pub const SHORT_PAGE_ITEMS_DEFAULT: u32 = 10;

/// Items on a page of a list when the caller names no limit.
pub const PAGE_ITEMS_DEFAULT: u32 = 15;

/// Most items on a page of a list; a larger limit is served as this.
pub const PAGE_ITEMS_MAX: u32 = 100;

/// Longest first or last name, in characters.
pub const NAME_CHARS_MAX: usize = 100;

/// Longest of a profile's free-text fields, in characters.
pub const PROFILE_TEXT_CHARS_MAX: usize = 1_000;

/// Longest e-mail address, in characters (RFC 5321).
pub const EMAIL_CHARS_MAX: usize = 254;

/// Least time between two fetches of the JSON Web Key Set, in milliseconds.
pub const JWKS_REFETCH_MS_MIN: i64 = 10_000;

/// Age at which a key set is fetched anew even when every key asked for is in it, in milliseconds.
pub const JWKS_AGE_MS_MAX: i64 = 3_600_000;

/// Life of a token by which the edge shows itself to the core, in seconds.
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

/// Time for which a connecting client waits for the core when its user is cached already, in milliseconds.
pub const SOCIAL_REFRESH_MS_MAX: u32 = 2_000;

/// Default time without a sign of life after which a user counts as offline, in milliseconds.
pub const PRESENCE_TIMEOUT_MS: i64 = 180_000;

/// Default time between the last socket closing and the user counting as offline, in milliseconds.
pub const PRESENCE_GRACE_MS: i64 = 15_000;

/// Longest wait for a connection of the administrator who makes the database's roles, in milliseconds.
pub const ADMINISTRATOR_CONNECT_MS_MAX: u64 = 10_000;

/// Longest name of a database role, in bytes: PostgreSQL's own bound.
pub const ROLE_NAME_BYTES_MAX: usize = 63;

/// Most secrets that are valid at once, which is what a rotation needs.
pub const SECRETS_MAX: usize = 2;

/// Longest wait of the core's own health check for an answer, in milliseconds.
pub const HEALTHCHECK_MS_MAX: u64 = 3_000;
