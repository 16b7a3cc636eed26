//! Identifiers. They are parsed once, where they enter a server.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::limits::USER_ID_CHARS_MAX;

/// Who somebody is: the token's `cognito:username`, opaque text of 1 to 128 characters, such as a UUID or
/// `google_1174…`. It names the user's object, so two spellings are two users.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(
    feature = "openapi",
    schema(
        value_type = String,
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\s,\x00-\x1f\x7f-\x9f]+$",
        examples("google_117400000000000000000")
    )
)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
pub struct UserId(Arc<str>);

/// Text that cannot be a user id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a user id is 1 to {USER_ID_CHARS_MAX} characters, without spaces, commas or control characters")]
pub struct BadUserId;

impl UserId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserId {
    type Error = BadUserId;

    fn try_from(text: String) -> Result<Self, BadUserId> {
        text.parse()
    }
}

impl FromStr for UserId {
    type Err = BadUserId;

    fn from_str(text: &str) -> Result<Self, BadUserId> {
        // Commas separate ids in paths, so an id with a comma could not be looked up.
        let allowed = |c: char| !c.is_control() && !c.is_whitespace() && c != ',';
        // Nearly all ids have only these characters. The fast check matters: an object that wakes reads the ids of all friends.
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        let short = (1..=USER_ID_CHARS_MAX).contains(&text.len());
        let fits = || (1..=USER_ID_CHARS_MAX).contains(&text.chars().count()) && text.chars().all(allowed);
        if (short && text.bytes().all(plain)) || fits() { Ok(Self(text.into())) } else { Err(BadUserId) }
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl Borrow<str> for UserId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of one event for one recipient. It stays the same when the event is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

/// One share, to however many friends: the `event_id` of the REST contract. Version 7, so newer ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(examples("019aa4f0-7c00-7000-8000-000000000000")))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
pub struct ShareId(pub Uuid);

/// The id of a live socket. It is random, made when the socket opens, and kept in the socket's attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SocketId(pub Uuid);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_keep_their_spelling() {
        for text in ["google_1174", "0a1b2c3d-0000-4000-8000-000000000000", "Ünï", &"x".repeat(128)] {
            assert_eq!(text.parse::<UserId>().map(String::from), Ok(text.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn an_id_keeps_its_spelling_and_has_no_comma_or_is_refused(text in "\\PC{0,140}|.{0,4}") {
            if let Ok(id) = text.parse::<UserId>() {
                prop_assert_eq!(id.as_str(), &text);
                prop_assert!((1..=USER_ID_CHARS_MAX).contains(&text.chars().count()) && !text.contains(','));
                let json = serde_json::to_string(&id).unwrap();
                prop_assert_eq!(serde_json::from_str::<UserId>(&json).unwrap(), id);
            }
        }
    }

    #[test]
    fn what_cannot_be_an_id_is_refused() {
        for text in ["", "a b", "a,b", "a\nb", "\u{0}", &"x".repeat(129)] {
            assert_eq!(text.parse::<UserId>(), Err(BadUserId), "{text:?}");
        }
    }
}
