//! Messages inside the system: between edge and core, and between objects. At every deployment, old and new versions of both
//! sides run together for minutes. So fields are only added, and readers ignore fields that they do not know.

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

/// Header with the id of a request from outside, which is in the logs of both servers. A request that an object makes on its
/// own is logged only by the core.
pub const REQUEST_ID_HEADER: &str = "x-request-id";

/// Whether a caller's request id may be used in logs and headers: 1 to [`REQUEST_ID_CHARS_MAX`] letters, digits, `-`, `_` and
/// `=`. No e-mail address, domain or token of three parts can be written with these.
pub fn is_request_id(id: &[u8]) -> bool {
    (1..=REQUEST_ID_CHARS_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(byte))
}

/// The answer to `GET /internal/users/{id}/social`: what the edge must know of a user. The version is also the `ETag`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Social {
    /// Grows with every change of the user's friends, of friends' names and pictures, and of the user's own name, picture,
    /// blocks and share settings. It also grows when the user is suspended or restored.
    pub version: u64,
    pub user: UserInfo,
    pub share: SharePolicy,
    /// An operator has suspended the user. None of their clients is let in, and friends see them offline.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// At most [`crate::limits::FRIENDS_MAX`] unless configured otherwise.
    pub friends: Vec<UserInfo>,
}

/// One change that a user's connected clients should hear of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreEvent {
    pub id: EventId,
    /// The user whose object receives it.
    pub recipient: UserId,
    /// The recipient's social version after the change, or 0 if the change does not affect the version. The version of a
    /// deletion is higher than all versions of that account, and lower than those of an account that is registered later under
    /// the same id.
    pub version: u64,
    #[serde(flatten)]
    pub change: Change,
}

/// What changed: the `kind` and `payload` of the event.
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
    /// The recipient and this user are no longer friends.
    #[serde(rename = "friend.removed")]
    FriendRemoved { user_id: UserId },
    /// The recipient's share settings have changed to these.
    #[serde(rename = "settings.updated")]
    SettingsUpdated { share: SharePolicy },
    /// A friend sent the recipient a page.
    #[serde(rename = "share.received")]
    ShareReceived { notification: ShareNotification },
    /// The recipient, or a friend of theirs, has a new name or picture.
    #[serde(rename = "user.updated")]
    UserUpdated { user: UserInfo },
    /// The recipient has read these shares, on one of their devices.
    #[serde(rename = "share.read")]
    ShareRead { event_ids: Vec<ShareId> },
    /// An operator has suspended the recipient.
    #[serde(rename = "user.suspended")]
    UserSuspended {},
    /// An operator has ended the suspension.
    #[serde(rename = "user.restored")]
    UserRestored {},
    /// The recipient's account was deleted.
    #[serde(rename = "user.deleted")]
    UserDeleted {},
}

/// The body of `POST /internal/events`, signed as Standard Webhooks specifies. The edge parses each event separately. So an
/// event of a kind that it does not know yet stays in the outbox and delays no other event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventBatch {
    /// [`CoreEvent`]s, at most [`crate::limits::EVENT_BATCH_LEN_MAX`].
    pub events: Vec<serde_json::Value>,
}

/// The answer of the edge to a batch, and of an object to its part: the events that need not be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventsTaken {
    pub taken: Vec<EventId>,
}

/// The answer to `GET /internal/counts/{id}`: what a user's object did since its worker started. It is for tests and
/// measurements, and configuration turns it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectCounts {
    /// Requests from the worker and calls of friends' objects.
    pub requests: u64,
    /// Frames that it received. The runtime answers heartbeats without it, so they do not count.
    pub frames: u64,
    /// Sockets that closed or broke.
    pub closes: u64,
    /// Times that its alarm fired.
    pub alarms: u64,
    /// Times that it came into memory.
    pub starts: u64,
    /// Calls it made to friends' objects.
    pub peer_calls: u64,
    /// Calls it made to the core.
    pub core_calls: u64,
    /// Rows it wrote: one for each stored document, and one each time it set its alarm.
    pub rows: u64,
}

/// What one user's object says to a friend's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerMessage {
    pub from: UserId,
    /// The number of the sender's newest visible change. A receiver drops a message that is not newer than what it knows.
    pub seq: u64,
    /// When it was sent, by the sender's clock. A receiver that has lost its memory since cannot tell whether it is old.
    pub sent_at: Timestamp,
    /// What the sender wants to hear from the receiver. It can raise the interest that the receiver has noted, but not lower it.
    /// Messages can overtake each other, and too high an interest only costs calls.
    pub wants: Interest,
    pub say: PeerSay,
}

/// What a user wants to hear of a friend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interest {
    /// Nothing: the user has no socket.
    Nothing,
    /// Only coming and going: none of the user's sockets watches.
    #[serde(rename = "comings")]
    Availability,
    /// Every change.
    Pages,
}

/// The content of a message. It is tagged externally, because every friend's object parses it for every page change. For an
/// internal tag, serde would first copy the whole content to find the tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerSay {
    /// I am online. The answer tells how you appear.
    Hello { presence: Presence },
    /// I turned to another page, hid it, came online, or became idle or active.
    Presence { presence: Presence },
    /// I appear offline from now on.
    Bye { last_seen_at: Timestamp },
    /// A query: how do you appear? It does not tell that I am online.
    Peek,
}

/// The answer of the receiver. Nearly every answer to a page is [`PeerAnswer::Taken`] with [`Interest::Pages`]. That one is sent
/// as no value at all, neither JSON nor null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PeerAnswer {
    /// Taken. I am online and appear like this. `wants`, here and below: all that I want to hear, until I ask for more.
    Online { seq: u64, presence: Presence, wants: Interest },
    /// Taken. I am offline. `last_seen_at` is null for a user who was never seen.
    Offline { seq: u64, last_seen_at: Option<Timestamp>, wants: Interest },
    /// Taken. I have nothing to tell.
    Taken { wants: Interest },
    /// You are not on my list of friends. Fetch your list again.
    NotFriends,
    /// Not taken. I came online or lost my memory a moment ago, and cannot tell whether this is old. Send it again later.
    Again,
}

/// How an online user appears to friends, after the owner's rules were applied: the JSON of the message that clients get. The
/// owner's object writes it once for all friends, and their objects pass it on to their sockets unchanged. If each parsed and
/// wrote it again, that would take longer than all their other work for a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Presence(Box<RawValue>);

impl Presence {
    /// Writes down what clients are shown.
    pub fn new(update: PresenceUpdate) -> Self {
        // Writing it as JSON cannot fail.
        Self(to_raw_value(&ServerMessage::UpdatePresence(update)).unwrap_or_default())
    }

    /// What clients get: JSON of [`ServerMessage::UpdatePresence`].
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The update in it. `None` if another version wrote it in a form that this one cannot read.
    pub fn read(&self) -> Option<PresenceUpdate> {
        // It is always an `UpdatePresence`. So the tag is not checked, which lets serde parse without a copy.
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
