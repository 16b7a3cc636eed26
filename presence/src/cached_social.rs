//! Friends and settings as storage keeps them.
//!
//! An object that wakes needs the friends' ids and the settings at once, and everybody's names only when somebody is to
//! see them. To read those each time would take longer than all else an object does with a friend's page, so they stay
//! text until then.
//!
//! Deliberately absent: a number for the form. Later versions may add what has a default. Names that cannot be read are
//! asked for anew when somebody is to see them; without the rest, which holds what its owner hides, the object does not
//! start.

use serde::{Deserialize, Serialize};
use shared::{api::UserInfo, ids::UserId, internal::Social, share_policy::SharePolicy};

/// [`Social`], with everybody's names unread.
#[derive(Debug, Clone, PartialEq)]
pub struct CachedSocial {
    head: Head,
    /// In order: sets are made of them many times faster than of any other.
    friends: Vec<UserId>,
    /// JSON of all friends' [`UserInfo`], in the core's order.
    people: String,
}

/// What does not grow with the number of friends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub version: u64,
    pub user: UserInfo,
    pub share: SharePolicy,
    #[serde(default)]
    pub suspended: bool,
}

/// Text that is none that [`CachedSocial::to_text`] writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("friends and settings cannot be read")]
pub struct Unreadable;

impl CachedSocial {
    /// What storage keeps of this answer of the core's.
    pub fn of(social: Social) -> Self {
        let Social { version, user, share, suspended, friends: people } = social;
        let mut friends: Vec<UserId> = people.iter().map(|friend| friend.user_id.clone()).collect();
        friends.sort();
        let head = Head { version, user, share, suspended };
        // Names that could not be written cannot be read either: then they are asked for anew.
        Self { head, friends, people: serde_json::to_string(&people).unwrap_or_default() }
    }

    /// What does not grow with the number of friends.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// The friends' ids, in order.
    pub(crate) fn friends(&self) -> &[UserId] {
        &self.friends
    }

    /// All of it. `None` when another version wrote the names, and this one cannot read them.
    pub fn read(&self) -> Option<Social> {
        let Head { version, user, share, suspended } = self.head.clone();
        Some(Social { version, user, share, suspended, friends: self.people()? })
    }

    /// Everybody's names and pictures.
    pub(crate) fn people(&self) -> Option<Vec<UserInfo>> {
        serde_json::from_str(&self.people).ok()
    }

    /// Whether everybody has the same name and picture in both, as far as the texts tell.
    pub(crate) fn has_names_of(&self, other: &Self) -> bool {
        self.people == other.people && self.head.user == other.head.user
    }

    /// Three lines: JSON, the friends' ids with commas between them, JSON.
    ///
    /// # Errors
    ///
    /// When the first line cannot be written. Then what is stored must stay.
    pub fn to_text(&self) -> serde_json::Result<String> {
        let head = serde_json::to_string(&self.head)?;
        let friends = self.friends.iter().map(UserId::as_str).collect::<Vec<_>>().join(",");
        Ok(format!("{head}\n{friends}\n{}", self.people))
    }

    /// Reads such text.
    ///
    /// # Errors
    ///
    /// When the first two lines are none that this version reads. The third is looked at by those who need it.
    pub fn from_text(text: &str) -> Result<Self, Unreadable> {
        let (head, rest) = text.split_once('\n').ok_or(Unreadable)?;
        let (friends, people) = rest.split_once('\n').ok_or(Unreadable)?;
        let head = serde_json::from_str(head).map_err(|_| Unreadable)?;
        let friends: Result<Vec<UserId>, _> = friends.split_terminator(',').map(str::parse).collect();
        Ok(Self { head, friends: friends.map_err(|_| Unreadable)?, people: people.to_owned() })
    }
}
