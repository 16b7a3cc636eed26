//! What survives the loss of memory: the documents in storage and the sockets' attachments.
//!
//! During a roll-out, two versions of this program read what the other wrote. So fields are only added, each with a default, and a
//! field that was renamed keeps its stored name. Nothing here imports the engine.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use shared::{
    ids::{EventId, SocketId, UserId},
    internal::Interest,
    page::Page,
    time::Timestamp,
};

use crate::cached_social::CachedSocial;

/// All that storage keeps for a user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    pub state: SavedState,
    pub social: Option<CachedSocial>,
    /// The newest events' ids, oldest first.
    pub event_ids: Vec<EventId>,
}

/// The user's state as storage holds it. It changes when the user comes or goes, or when an event of the core's is missing. While
/// sockets are open, no page is stored here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    /// Whether some friend may see the user online.
    #[serde(rename = "online")]
    pub may_be_seen_online: bool,
    /// Whether the user wants to appear offline.
    pub invisible: bool,
    /// The newest visible change when this was saved. Attachments may know newer ones.
    pub seq: u64,
    /// When friends last saw the user leave; `None` if they never did.
    pub last_seen_at: Option<Timestamp>,
    /// The highest version heard of while an earlier one was missing. It counts only while the stored friends and settings
    /// are older.
    #[serde(rename = "behind")]
    pub missing_up_to: Option<u64>,
    /// The version of settings that were applied while an earlier version was missing. 0: none were.
    pub settings_version: u64,
    /// When a whole burst of queries is allowed again. See [`crate::limits::QUERIES_BURST`].
    #[serde(rename = "asks_full_at")]
    pub queries_full_at: Timestamp,
    /// Set from the last socket's closing until a socket opens, or until every friend concerned has been told that the user left.
    #[serde(rename = "leaving")]
    pub departure: Option<Departure>,
}

/// A user without sockets: during the grace friends see them as before, and after it some friends may have yet to be told that they
/// left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// When the grace ends. 0: it is over, and the newest change is that the user left.
    #[serde(rename = "at")]
    pub ends_at: Timestamp,
    /// When the last socket closed.
    pub since: Timestamp,
    /// The page in front, before the owner's rules.
    pub front: Option<Page>,
    pub latest: Option<Page>,
    pub shown_at: Timestamp,
    pub idle_since: Option<Timestamp>,
    /// Some friends have yet to be told of the newest change, or it is throttled.
    #[serde(default, rename = "held")]
    pub change_pending: bool,
    /// During the grace, the friends who see the user, and what they want to hear. After it, those who have yet to be told.
    #[serde(rename = "audience")]
    pub subscribers: BTreeMap<UserId, Interest>,
}

impl Departure {
    /// The grace is over, and these friends have yet to be told.
    pub(crate) fn over(since: Timestamp, subscribers: BTreeMap<UserId, Interest>) -> Self {
        let (front, latest, idle_since) = (None, None, None);
        Self {
            ends_at: GRACE_OVER,
            since,
            front,
            latest,
            shown_at: since,
            idle_since,
            change_pending: false,
            subscribers,
        }
    }

    /// Whether the grace is over, and friends are being told that the user left.
    pub fn is_over(&self) -> bool {
        self.ends_at == GRACE_OVER
    }
}

/// In place of when the grace ends.
const GRACE_OVER: Timestamp = Timestamp::EPOCH;

/// What each socket carries while the object sleeps. If the socket with the newest checkpoint is lost, friends are queried and told
/// anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub socket: SocketId,
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
    pub heard_at: Timestamp,
    /// Whether its snapshot was sent.
    pub ready: bool,
    pub watching: bool,
    pub idle_since: Option<Timestamp>,
    /// When it sent bad messages lately, oldest first.
    #[serde(default, rename = "bad")]
    pub bad_messages: Vec<Timestamp>,
    /// What its client reported last; `None` if nothing yet.
    pub report: Option<Report>,
    #[serde(rename = "note")]
    pub checkpoint: Checkpoint,
}

/// A page that a client reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Grows with every report of any of the user's clients.
    #[serde(rename = "order")]
    pub number: u64,
    /// `None`: a page that no friend may see, whatever the lists say.
    pub page: Option<Page>,
}

/// What a socket carries of the user as a whole. Of several sockets' checkpoints, the newest counts: the one with the highest number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    #[serde(rename = "order")]
    pub number: u64,
    /// When this was written: at most [`crate::limits::ACTIVITY_EVERY_MS`] before the object's last event.
    pub active_at: Timestamp,
    /// The number of the user's newest visible change.
    pub seq: u64,
    /// Since when the page that friends see, or that it is hidden, is as it is.
    pub at: Timestamp,
    /// The last page that friends saw.
    pub latest: Option<Page>,
    /// How many sockets there were. Every opening is written to all sockets, so if fewer are left, one closed while the
    /// object had no memory.
    #[serde(default)]
    pub sockets: usize,
    /// When a whole burst of queries is allowed again.
    #[serde(default, rename = "asks_full_at")]
    pub queries_full_at: Timestamp,
    /// Whether friends see the user.
    pub visible: bool,
    /// Some friends have yet to be told of the newest change or to answer a query, or a change is throttled. Friends who were not
    /// reached do not count: they are in `retries`.
    #[serde(rename = "untold")]
    pub unsettled: bool,
    /// When friends who were not reached are called again, in the order of their ids. Beyond
    /// [`crate::limits::RETRIES_LEN_MAX`], the last one stands for all others.
    #[serde(default, rename = "failures")]
    pub retries: Vec<Retry>,
    #[serde(rename = "roll")]
    pub roster: Roster,
}

/// Calls that did not reach a friend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many calls failed, one after the other.
    pub times: u32,
    /// When the next is due.
    #[serde(rename = "retry_at")]
    pub at: Timestamp,
}

/// What is known of every friend, in the order of their ids: one byte each, and six for when some were last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The social version whose list of friends this follows.
    pub version: u64,
    /// A byte for each friend (`RosterEntry`). Empty for more friends than [`crate::limits::ROSTER_LEN_MAX`]: then any of them may
    /// be online.
    #[serde(rename = "digits")]
    pub entries: String,
    /// When the friends who are plainly absent (`RosterEntry`) were last seen, at most
    /// [`crate::limits::ABSENT_LEN_MAX`] of them: base64 of six bytes each. 0: unknown, to be queried; 1: never; otherwise
    /// milliseconds since 1970.
    #[serde(default, rename = "absent", skip_serializing_if = "String::is_empty")]
    pub last_seen: String,
}

/// How much base64 one absent friend takes, in bytes.
pub(crate) const ABSENT_BYTES: usize = 8;

/// In place of a time in [`Roster::last_seen`].
const UNKNOWN: u64 = 0;
const NEVER_SEEN: u64 = 1;

impl Roster {
    /// Writes the entries and, as far as there are any, when absent friends were last seen.
    pub fn write(
        version: u64,
        entries: impl Iterator<Item = RosterEntry>,
        absent: impl Iterator<Item = LastSeen>,
    ) -> Self {
        let entries = entries.map(|entry| char::from(entry.to_byte())).collect();
        let bytes: Vec<u8> = absent.flat_map(|seen| seen.to_u64().to_be_bytes().into_iter().skip(2)).collect();
        Self { version, entries, last_seen: STANDARD_NO_PAD.encode(bytes) }
    }

    /// The entries, in the order of the friends' ids. An absent friend's entry comes with when they were last seen.
    pub fn read(&self) -> impl Iterator<Item = (RosterEntry, LastSeen)> {
        let times = STANDARD_NO_PAD.decode(&self.last_seen).unwrap_or_default();
        let mut next = 0;
        self.entries.bytes().map(move |byte| {
            let entry = RosterEntry::of_byte(byte);
            let mut seen = LastSeen::Unknown;
            if entry.is_plainly_absent() {
                seen = times.get(next..).and_then(|rest| rest.first_chunk()).map_or(seen, LastSeen::of_bytes);
                next += 6;
            }
            (entry, seen)
        })
    }
}

/// When a friend was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastSeen {
    Unknown,
    Never,
    At(Timestamp),
}

impl LastSeen {
    fn to_u64(self) -> u64 {
        match self {
            Self::Unknown => UNKNOWN,
            Self::Never => NEVER_SEEN,
            Self::At(at) => u64::try_from(at.unix_ms()).unwrap_or(UNKNOWN),
        }
    }

    fn of_bytes([a, b, c, d, e, f]: &[u8; 6]) -> Self {
        match u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]) {
            UNKNOWN => Self::Unknown,
            NEVER_SEEN => Self::Never,
            ms => i64::try_from(ms).map_or(Self::Unknown, |ms| Self::At(Timestamp::from_unix_ms(ms))),
        }
    }
}

/// One friend in a [`Roster`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RosterEntry {
    /// What they want to hear.
    pub interest: Interest,
    /// Which of the user's clients display them as online.
    pub displayed: Displayed,
    /// They were not reached, and are to be queried again.
    pub query_again: bool,
    /// They were not reached, and are to be told of the newest change again.
    pub deliver_again: bool,
}

/// Which of the user's clients display a friend as online.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Displayed {
    Nowhere,
    /// Some do. Others got their snapshot before this friend's answer.
    Partly,
    Everywhere,
}

impl RosterEntry {
    /// Nobody displays them as online, and nothing is to be repeated.
    pub fn is_plainly_absent(self) -> bool {
        self.displayed == Displayed::Nowhere && !self.query_again && !self.deliver_again
    }

    /// A printable ASCII character from `0` on: three times three times four cases.
    fn to_byte(self) -> u8 {
        let interest = match self.interest {
            Interest::Nothing => 0,
            Interest::Availability => 1,
            Interest::Pages => 2,
        };
        let displayed = match self.displayed {
            Displayed::Nowhere => 0,
            Displayed::Everywhere => 3,
            Displayed::Partly => 6,
        };
        b'0' + interest + displayed + 9 * u8::from(self.query_again) + 18 * u8::from(self.deliver_again)
    }

    fn of_byte(byte: u8) -> Self {
        let number = byte.saturating_sub(b'0');
        let interest = match number % 3 {
            1 => Interest::Availability,
            2 => Interest::Pages,
            _ => Interest::Nothing,
        };
        let displayed = match number % 9 / 3 {
            1 => Displayed::Everywhere,
            2 => Displayed::Partly,
            _ => Displayed::Nowhere,
        };
        let repeats = number / 9;
        // Above 3 is none of ours. To repeat both is safe.
        Self { interest, displayed, query_again: repeats == 1 || repeats >= 3, deliver_again: repeats >= 2 }
    }
}
