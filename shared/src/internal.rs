//! Messages inside the system: edge and core, object and object. Old and new versions of both sides overlap
//! for minutes at every deployment, so fields are only ever added, and readers ignore what they do not know.

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    api::{ShareNotification, UserFriendRequest, UserInfo, UserSummary},
    ids::{EventId, ShareId, UserId},
    limits::REQUEST_ID_CHARS_MAX,
    share_policy::SharePolicy,
    time::Timestamp,
    wire::{PresenceUpdate, ServerMessage},
};

/// Header that names a request from outside in the logs of both servers. What an object asks by itself is logged by the
/// core alone.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// Whether a caller's id of a request may stand in logs and headers: at most [`REQUEST_ID_CHARS_MAX`] letters, digits
/// and `-`, `_`, `=`, in which no address, domain or token of three parts can be written.
pub fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(byte))
}

/// `GET /internal/users/{id}/social`: what the edge must know of a user. Its version is the `ETag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Social {
    /// Grows with every change to this user's friends, their names and pictures, the user's own, blocks or share
    /// settings, and when the user is suspended or restored.
    pub version: u64,
    pub user: UserInfo,
    pub share: SharePolicy,
    /// An operator has suspended the user: nobody is let in, and friends see them offline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// At most [`crate::limits::FRIENDS_MAX`] unless configured otherwise.
    pub friends: Vec<UserInfo>,
}

/// One change that a user's connected clients should hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreEvent {
    pub id: EventId,
    /// Whose object takes it.
    pub recipient: UserId,
    /// The recipient's social version after the change; 0 for a change that leaves the version as it is. Of a deletion,
    /// more than all of that account's, and less than those of one that is registered anew under its id.
    pub version: u64,
    #[serde(flatten)]
    pub change: Change,
}

/// What changed: `kind` and `payload` of the event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "payload")]
pub enum Change {
    /// This user asks the recipient to be friends.
    #[serde(rename = "friend.requested")]
    FriendRequested { user: UserFriendRequest },
    /// This user's request to the recipient was taken back or answered.
    #[serde(rename = "friend.request-removed")]
    FriendRequestRemoved { user_id: UserId },
    /// The recipient and this user are friends now.
    #[serde(rename = "friend.accepted")]
    FriendAccepted { user: UserSummary },
    /// They no longer are.
    #[serde(rename = "friend.removed")]
    FriendRemoved { user_id: UserId },
    /// The recipient's own share settings.
    #[serde(rename = "settings.updated")]
    SettingsUpdated { share: SharePolicy },
    /// A friend sent the recipient a page.
    #[serde(rename = "share.received")]
    ShareReceived { notification: ShareNotification },
    /// The recipient, or a friend of theirs, has a new name or picture.
    #[serde(rename = "user.updated")]
    UserUpdated { user: UserInfo },
    /// The recipient has read these, on one of their devices.
    #[serde(rename = "share.read")]
    ShareRead { event_ids: Vec<ShareId> },
    /// An operator has suspended the recipient.
    #[serde(rename = "user.suspended")]
    UserSuspended {},
    /// An operator has taken that back.
    #[serde(rename = "user.restored")]
    UserRestored {},
    /// The recipient's account is gone.
    #[serde(rename = "user.deleted")]
    UserDeleted {},
}

/// `POST /internal/events`, signed as Standard Webhooks says. Each event is read by itself, so that one of a
/// kind this edge does not know yet stays in the outbox and holds up no other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventBatch {
    /// [`CoreEvent`]s, at most [`crate::limits::EVENT_BATCH_LEN_MAX`].
    pub events: Vec<serde_json::Value>,
}

/// The answer to a batch, and of each object to its part: what need not be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventsTaken {
    pub taken: Vec<EventId>,
}

/// What a user's object did since its worker started, for tests and measurements: `GET /internal/counts/{id}`, where
/// configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectCounts {
    /// Requests from the worker and calls of friends' objects.
    pub requests: u64,
    /// Frames that woke it; the heartbeats that the runtime answers are none.
    pub frames: u64,
    /// Sockets that closed or broke.
    pub closes: u64,
    /// Times that its alarm fired.
    pub alarms: u64,
    /// Times that its memory began anew.
    pub starts: u64,
    /// Calls it made to friends' objects.
    pub peer_calls: u64,
    /// Calls it made to the core.
    pub core_calls: u64,
    /// Rows it wrote: documents, and settings of its alarm.
    pub rows: u64,
}

/// What one user's object says to a friend's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerMessage {
    pub from: UserId,
    /// The sender's newest visible change. A receiver drops what is not newer than what it has.
    pub seq: u64,
    /// By the sender's clock. A receiver that lost its memory since does not know what came after.
    pub sent_at: Timestamp,
    /// What the sender wants to hear from the receiver, which may raise what was noted before and never lowers it:
    /// messages overtake each other, and to hear too much is only dear.
    pub wants: Interest,
    pub say: PeerSay,
}

/// What of a friend's somebody wants to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interest {
    /// Nobody is there.
    Nothing,
    /// Coming and going: none of their sockets watches.
    #[serde(rename = "comings")]
    Availability,
    /// Every change.
    Pages,
}

/// What is said. Read at every friend of everybody who turns a page, so it is named from outside: a tag inside would be
/// looked for in a copy of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerSay {
    /// I am online; the answer carries your presence.
    Hello { presence: Presence },
    /// I turned to another page, or from it, came online, or became idle or active.
    Presence { presence: Presence },
    /// I appear offline from now on.
    Bye { last_seen_at: Timestamp },
    /// Only asking.
    Peek,
}

/// What the receiver answers. [`PeerAnswer::Taken`] with [`Interest::Pages`], which is nearly every answer to a page, is sent as
/// nothing at all, neither JSON nor null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerAnswer {
    /// Taken, and this is how I appear. `wants`, here and below: all that I want to hear, until I say more.
    Online { seq: u64, presence: Presence, wants: Interest },
    /// Taken, and this is how I appear. `last_seen_at` is null for somebody who was never seen.
    Offline { seq: u64, last_seen_at: Option<Timestamp>, wants: Interest },
    /// Taken; nothing to tell.
    Taken { wants: Interest },
    /// You are not on my list: fetch yours anew.
    NotFriends,
    /// Not taken: I came online or lost my memory a moment ago, and cannot tell whether this is old. Say it again in a while.
    Again,
}

/// How an online user appears to friends, the owner's rules applied: the message by which clients are shown it. Written
/// by the owner's object, once for all friends, and passed on to their sockets as it is. Reading and writing it anew at
/// each would take longer than everything else that a friend's object does with a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Presence(Box<RawValue>);

impl Presence {
    /// Writes down what clients are shown.
    pub fn new(update: PresenceUpdate) -> Self {
        // Nothing in it could fail to be written.
        Self(to_raw_value(&ServerMessage::UpdatePresence(update)).unwrap_or_default())
    }

    /// What clients get: JSON of [`ServerMessage::UpdatePresence`].
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// What it says. `None` when another version wrote what this one cannot read.
    pub fn read(&self) -> Option<PresenceUpdate> {
        // It is of no other type, and without looking for that it is read in one go.
        serde_json::from_str(self.as_str()).ok()
    }
}

impl PartialEq for Presence {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Presence {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_presence_is_the_message_that_clients_get() {
        let update = PresenceUpdate {
            user_id: "alice".parse().unwrap(),
            url: "https://example.com/".to_owned(),
            title: "A \"title\"".to_owned(),
            domain: "example.com".to_owned(),
            latest_url: String::new(),
            latest_title: String::new(),
            latest_domain: String::new(),
            seq: 7,
            at: Timestamp::from_unix_ms(1),
            idle: false,
            idle_since: None,
        };
        let presence = Presence::new(update.clone());
        let message: ServerMessage = serde_json::from_str(presence.as_str()).unwrap();
        assert_eq!(message, ServerMessage::UpdatePresence(update.clone()));
        let json = serde_json::to_string(&PeerSay::Presence { presence }).unwrap();
        let PeerSay::Presence { presence } = serde_json::from_str(&json).unwrap() else { panic!("{json}") };
        assert_eq!(presence.read(), Some(update));
    }
}
