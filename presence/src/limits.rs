//! The bounds of the engine alone, with their units in their names. Those that others share are in [`shared::limits`].

/// Length of the window in which messages on a socket are counted, in milliseconds.
pub const FRAMES_WINDOW_MS: i64 = 10_000;

/// Length of the window in which bad messages on a socket are counted, in milliseconds.
pub const BAD_MESSAGES_WINDOW_MS: i64 = 60_000;

/// Most visible changes of one user that friends are told of at once. From then on it is one every [`CHANGE_EVERY_MS`], always
/// the newest.
pub const CHANGES_BURST: i64 = 10;

/// Time between visible changes that keep coming, in milliseconds.
pub const CHANGE_EVERY_MS: i64 = 1_000;

/// Most queries of friends at once that what one user does may cause. From then on it is one every [`QUERY_EVERY_MS`].
pub const QUERIES_BURST: i64 = 10;

/// Time between queries that keep coming, in milliseconds.
pub const QUERY_EVERY_MS: i64 = 10_000;

/// How many of the newest event ids an object remembers in order to drop repeats.
pub const EVENT_IDS_REMEMBERED: usize = 256;

/// Most sockets and requests of one user that wait for friends' answers, each for twice
/// [`PEER_CALL_MS_MAX`](shared::limits::PEER_CALL_MS_MAX) at most. Further requests are answered with what is known. Sockets may
/// wait beyond that, each once: [`SOCKETS_MAX`](shared::limits::SOCKETS_MAX).
pub const SNAPSHOT_WAITERS_MAX: usize = 100;

/// Wait before a failed call to another object is repeated, in milliseconds. It doubles each time.
pub const PEER_RETRY_MS_MIN: i64 = 1_000;

/// Longest wait before a failed call is repeated, in milliseconds.
pub const PEER_RETRY_MS_MAX: i64 = 3_600_000;

/// How far the clocks of two hosts may differ, in milliseconds; less than [`PEER_CALL_MS_MAX`](shared::limits::PEER_CALL_MS_MAX). A
/// message is trusted if its date is at least: after sleep, the wake-up minus this; after the user came online or memory was lost
/// while something was in progress, that moment plus this.
pub const PEER_LATE_MS: i64 = 1_000;

/// Most that a socket carries, in bytes of JSON. The runtime lets it carry 16,384 bytes, a few of which describe the rest.
pub const ATTACHMENT_BYTES_MAX: usize = 16_320;

/// How much of that is kept for everything but pages and friends, in bytes.
pub const ATTACHMENT_REST_BYTES: usize = 2_048;

/// Most friends in the roster that a socket carries, one byte each.
pub const ROSTER_LEN_MAX: usize = 2_000;

/// Most absent friends of whom a socket carries when they were last seen, 8 bytes each. It is fewer where long pages leave less
/// room. The others are queried when somebody wants to know.
pub const ABSENT_LEN_MAX: usize = 600;

/// Of how many friends who were not reached each socket carries when to call them again.
pub const RETRIES_LEN_MAX: usize = 10;

/// How old the last moment of activity is at most that an object's sockets carry, in milliseconds. To write it at every event
/// would cost time.
pub const ACTIVITY_EVERY_MS: i64 = 5_000;

/// An alarm that has not fired so long after its time may not be set at all. In milliseconds.
pub const ALARM_LATE_MS: i64 = 5_000;

/// An object whose memory begins within this time of its last written activity did not sleep: it was lost while something was in
/// progress, since the runtime lets objects sleep after 10 s of quiet. In milliseconds, more than [`ACTIVITY_EVERY_MS`] and
/// [`PEER_CALL_MS_MAX`](shared::limits::PEER_CALL_MS_MAX) together.
pub const LOST_MEMORY_MS: i64 = 9_000;

/// How long a connecting client's object takes the core's last answer for new, in milliseconds: a client that comes and goes all
/// the time must not cause a question each time.
pub const SOCIAL_FRESH_MS: i64 = 10_000;

/// The alarm for a silent socket is set later than its timeout, by the timeout divided by this: 2 seconds of the default. A heartbeat
/// that arrives in between postpones the next alarm, which costs a row, by a whole timeout.
pub const SILENCE_SLACK_DIVISOR: i64 = 90;

/// Longest grace for a user whose sockets were lost with their object, in milliseconds. With the timeout before it, nobody is
/// shown online for more than 190 s after their last sign of life.
pub const RESTART_GRACE_MS_MAX: i64 = 10_000;

/// How long an object whose friend list is known to be old waits before it asks a core that was away again, in milliseconds.
pub const SOCIAL_RETRY_MS: i64 = 30_000;

/// How long it waits when the core's answer was older than what it knows, or when a socket opens meanwhile, in milliseconds.
pub const SOCIAL_AGAIN_MS: i64 = 1_000;

/// How far `seq` skips ahead when changes may have been told of and forgotten: more than the changes made since it was last
/// stored, and more milliseconds than the clocks of two hosts differ by.
pub const RESTART_SEQ_STEP: u64 = 60_000;
