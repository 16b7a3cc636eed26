//! What survives the loss of memory: the stored documents and the sockets' attachments.
//!
//! Old and new code read each other's during a deployment, so fields are only added, with a default.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::{
    ids::{EventId, SocketId, UserId},
    internal::Social,
    page::Page,
    time::Timestamp,
};

/// All that is kept in storage for a user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    pub state: SavedState,
    pub social: Option<Social>,
    /// The newest events' ids, oldest first.
    pub event_ids: Vec<EventId>,
}

/// What changes when the user or a friend comes or goes, and never with a page.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SavedState {
    /// Whether friends were told that the user is online.
    pub online: bool,
    /// The newest visible change when this was saved; attachments may know newer ones.
    pub seq: u64,
    /// Of an offline user who ever was online.
    pub last_seen_at: Option<Timestamp>,
    /// Friends who were online too.
    pub audience: BTreeSet<UserId>,
    /// Set from the last socket's closing until a socket opens or the grace is over.
    pub leaving: Option<Leaving>,
}

/// A user without sockets whom friends still see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// When the grace is over.
    pub at: Timestamp,
    /// When the last socket closed.
    pub since: Timestamp,
    /// What friends see meanwhile.
    pub front: Option<Page>,
    pub latest: Option<Page>,
}

/// What each socket carries through hibernation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub socket: SocketId,
    pub heard_at: Timestamp,
    /// Whether its snapshot was sent.
    pub ready: bool,
    pub idle_since: Option<Timestamp>,
    /// The page its client reported last, with the order of that report among all of the user's sockets.
    /// `None` when it has not reported yet.
    pub report: Option<Report>,
    /// The user's newest visible change when this was written, and what it left behind.
    pub seq: u64,
    pub at: Timestamp,
    pub latest: Option<Page>,
}

/// A page a client reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Grows with every report of the user's.
    pub order: u64,
    /// `None`: a page that nobody may see, whatever the lists say.
    pub page: Option<Page>,
}
