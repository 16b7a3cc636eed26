//! What a client's frame says.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use shared::{
    json,
    wire::{ClientMessage, UPDATE_PRESENCE},
};

use crate::event::Frame;

/// What a frame comes to.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Message(ClientMessage),
    /// A message about a page with wrong fields, or no JSON object, which may have been meant to be one.
    BadPage,
    /// A JSON object that is no message.
    Nothing,
}

impl Said {
    pub fn read(frame: Frame) -> Self {
        let Frame::Text(text) = frame else { return Self::BadPage };
        let mut text = text.into_bytes();
        json::mend_surrogates(&mut text);
        if let Ok(message) = serde_json::from_slice(&text) {
            return Self::Message(message);
        }
        match serde_json::from_slice(&text) {
            Ok(Actions { about_page: false }) => Self::Nothing,
            Ok(Actions { about_page: true }) | Err(_) => Self::BadPage,
        }
    }

    /// Whether it tells, or may tell, that the client has left the page it was on.
    pub fn is_about_page(&self) -> bool {
        matches!(self, Self::BadPage | Self::Message(ClientMessage::UpdatePresence { .. }))
    }
}

/// Whether any `action` of a JSON object is that of a page. Its other fields are skipped without being read, so that no
/// number and no depth in them is too large.
struct Actions {
    about_page: bool,
}

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self { about_page: false })
    }
}

impl<'de> Visitor<'de> for Actions {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut fields: M) -> Result<Self, M::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if name == "action" {
                self.about_page |= fields.next_value::<Value>()? == UPDATE_PRESENCE;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(self)
    }
}
