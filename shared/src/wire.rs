//! Messages of the live channel, and the types that they share with `GET /presence`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    api::{ShareNotification, UserFriendRequest, UserInfo, UserSummary},
    ids::{ShareId, UserId},
    page::{Domain, Page},
    share_policy::ShareMode,
    time::Timestamp,
};

/// The action of [`ClientMessage::UpdatePresence`].
pub const UPDATE_PRESENCE: &str = "update-presence";

/// The exact text of a heartbeat that the runtime answers without waking the object.
pub const HEARTBEAT_REQUEST: &str = r#"{"action":"heartbeat"}"#;

/// The exact text of the runtime's answer.
pub const HEARTBEAT_RESPONSE: &str = r#"{"type":"heartbeat"}"#;

/// The WebSocket subprotocol that browsers offer before the token. The server selects it, and never sends the token back.
pub const SUBPROTOCOL: &str = "pagenow";

/// What a client may send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum ClientMessage {
    /// A sign of life, once a minute.
    Heartbeat,
    /// The tab in front. An empty URL: a page that is not shared.
    UpdatePresence {
        url: String,
        /// Absent while the page has none.
        #[serde(default)]
        title: String,
    },
    /// Whether nobody is at this device. The user is idle when all their sockets are.
    SetIdle { idle: bool },
    /// To appear offline to everyone while still seeing friends. Kept until changed, across reconnects.
    SetVisibility { invisible: bool },
    /// Whether this socket wants page changes, besides coming, going and events. Watching again brings a snapshot.
    Watch { watching: bool },
    /// A fresh token of the same user's, which extends the socket's life.
    Authenticate { token: String },
    /// Leaving on purpose: without the grace.
    Goodbye,
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum ServerMessage {
    Heartbeat,
    UpdatePresence(PresenceUpdate),
    #[serde(rename_all = "camelCase")]
    PresenceTimeout {
        user_id: UserId,
        last_seen_at: Option<Timestamp>,
    },
    PresenceSnapshot(PresenceSnapshot),
    FriendRequest {
        user: UserFriendRequest,
    },
    #[serde(rename_all = "camelCase")]
    FriendRequestRemoved {
        user_id: UserId,
    },
    FriendAccepted {
        user: UserSummary,
    },
    #[serde(rename_all = "camelCase")]
    FriendRemoved {
        user_id: UserId,
    },
    #[serde(rename_all = "camelCase")]
    SettingsUpdated {
        share_mode: ShareMode,
        domain_allow_array: Vec<Domain>,
        domain_deny_array: Vec<Domain>,
    },
    /// A friend, or the user, has a new name or picture.
    FriendUpdated {
        user: UserInfo,
    },
    ShareNotification {
        notification: ShareNotification,
    },
    #[serde(rename_all = "camelCase")]
    ShareNotificationRead {
        event_ids: Vec<ShareId>,
    },
    Error {
        code: ErrorCode,
        detail: String,
    },
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum ErrorCode {
    /// It is none of [`ClientMessage`], or holds what none may.
    BadMessage,
    /// The client sends faster than [`crate::limits::FRAMES_PER_WINDOW_MAX`]. What it last said still counts.
    RateLimited,
    /// It could not be dealt with now; the same may work later.
    Unavailable,
}

/// Somebody came online, turned to another page, or became idle or active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PresenceUpdate {
    pub user_id: UserId,
    /// Empty, as are `title` and `domain`, when the page in front is hidden.
    pub url: String,
    pub title: String,
    pub domain: String,
    /// The last page that was shown; empty when there was none.
    pub latest_url: String,
    pub latest_title: String,
    pub latest_domain: String,
    /// Grows with every visible change of this user.
    pub seq: u64,
    /// Since when URL, title or hiding is as it is. Becoming idle or active does not change it.
    pub at: Timestamp,
    /// Nobody is at any of the user's devices.
    pub idle: bool,
    /// Since when; null while not idle.
    pub idle_since: Option<Timestamp>,
}

/// All a client needs to draw its friends, once after connecting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PresenceSnapshot {
    pub user_presence: Appearance,
    pub presence_arr: Vec<Appearance>,
    pub user_info_map: BTreeMap<UserId, UserInfo>,
    /// The social version: a client that knows an older one fetches its lists again.
    pub version: u64,
}

/// How somebody appears: `P` of the REST contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Appearance {
    pub user_id: UserId,
    /// Null while offline; all empty while online on a hidden page.
    pub page: Option<PageView>,
    /// The last page that was shown, all empty when there was none; null while offline.
    pub latest_page: Option<PageView>,
    /// Since when URL, title or hiding is as it is; null while offline.
    pub at: Option<Timestamp>,
    /// Null while online, and for somebody who never was.
    pub last_seen_at: Option<Timestamp>,
    /// Nobody is at any of the user's devices. False while offline.
    pub idle: bool,
    /// Since when; null while not idle.
    pub idle_since: Option<Timestamp>,
}

/// A page as clients get it. All three are empty for a hidden one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PageView {
    pub url: String,
    pub title: String,
    pub domain: String,
}

impl From<Option<&Page>> for PageView {
    fn from(page: Option<&Page>) -> Self {
        page.map_or_else(Self::default, |page| Self {
            url: page.url.clone(),
            title: page.title.clone(),
            domain: page.domain.as_str().to_owned(),
        })
    }
}

/// Why the server closes a socket: the code of the close frame.
///
/// If a client has never sent a frame, its TCP connection stays open for about ten seconds after both close frames, whatever the
/// code. workerd closes it only when the object goes to sleep (seen with workerd 2026-11-17). Presence is not affected, because
/// it follows the close frame. If the client sent any heartbeat or message before, the connection closes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// The client said goodbye.
    Done,
    /// A frame was larger than [`crate::limits::FRAME_BYTES_MAX`].
    TooBig,
    /// [`crate::limits::BAD_MESSAGES_MAX`] messages in a minute were invalid.
    BadMessages,
    /// The token expired, and the client sent no fresh one.
    TokenExpired,
    /// The account is deleted or suspended.
    AccountGone,
    /// The client sent no heartbeat and no message for the length of the time-out.
    Silent,
    /// The user opened more than [`crate::limits::SOCKETS_MAX`] sockets, so the oldest is closed.
    TooManySockets,
    /// The client went on sending too fast.
    TooFast,
}

impl CloseCode {
    /// The code of the close frame.
    pub fn number(self) -> u16 {
        match self {
            Self::Done => 1000,
            Self::TooBig => 1009,
            Self::BadMessages => 4400,
            Self::TokenExpired => 4401,
            Self::AccountGone => 4403,
            Self::Silent => 4408,
            Self::TooManySockets => 4409,
            Self::TooFast => 4429,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_texts_equal_what_the_types_write() {
        assert_eq!(serde_json::to_string(&ClientMessage::Heartbeat).unwrap(), HEARTBEAT_REQUEST);
        assert_eq!(serde_json::to_string(&ServerMessage::Heartbeat).unwrap(), HEARTBEAT_RESPONSE);
    }

    #[test]
    fn the_action_of_a_page_is_read_by_the_types() {
        let message = serde_json::from_str(&format!(r#"{{"action":"{UPDATE_PRESENCE}","url":""}}"#)).ok();
        assert_eq!(message, Some(ClientMessage::UpdatePresence { url: String::new(), title: String::new() }));
    }
}
