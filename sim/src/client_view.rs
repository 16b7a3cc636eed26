//! What one client shows, judged by what its socket was sent.

use std::{collections::BTreeMap, rc::Rc};

use shared::{
    time::Timestamp,
    wire::{Appearance, PageView, PresenceSnapshot, PresenceUpdate},
};

use crate::steps::Who;

/// How somebody appears in a client's view.
#[derive(Debug, Clone)]
pub enum Look {
    Update(Rc<PresenceUpdate>),
    /// The entry of a snapshot with this index. Without an index, the snapshot's own user.
    Entry(Rc<PresenceSnapshot>, Option<usize>),
    Gone(Option<Timestamp>),
}

/// Somebody's appearance, whether an update, a snapshot or a time-out brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnScreen {
    pub online: bool,
    pub page: PageView,
    pub latest: PageView,
    pub idle_since: Option<Timestamp>,
    pub last_seen_at: Option<Timestamp>,
}

impl Look {
    /// Whether it shows somebody online.
    pub fn is_online(&self) -> bool {
        match self {
            Self::Update(_) => true,
            Self::Entry(snapshot, index) => entry(snapshot, *index).is_some_and(|shown| shown.page.is_some()),
            Self::Gone(_) => false,
        }
    }

    /// Everything that the client shows of them.
    pub fn appearance(&self) -> OnScreen {
        match self {
            Self::Update(update) => OnScreen::of_update(update),
            Self::Entry(snapshot, index) => {
                entry(snapshot, *index).map_or_else(|| OnScreen::offline(None), OnScreen::of_entry)
            }
            Self::Gone(last_seen_at) => OnScreen::offline(*last_seen_at),
        }
    }
}

fn entry(snapshot: &PresenceSnapshot, index: Option<usize>) -> Option<&Appearance> {
    match index {
        None => Some(&snapshot.user_presence),
        Some(index) => snapshot.presence_arr.get(index),
    }
}

impl OnScreen {
    fn offline(last_seen_at: Option<Timestamp>) -> Self {
        let nothing = PageView::default();
        Self { online: false, page: nothing.clone(), latest: nothing, idle_since: None, last_seen_at }
    }

    /// What an update shows.
    pub fn of_update(update: &PresenceUpdate) -> Self {
        let PresenceUpdate { url, title, domain, latest_url, latest_title, latest_domain, idle_since, .. } =
            update.clone();
        Self {
            online: true,
            page: PageView { url, title, domain },
            latest: PageView { url: latest_url, title: latest_title, domain: latest_domain },
            idle_since,
            last_seen_at: None,
        }
    }

    /// What a snapshot, or `GET /presence`, shows.
    pub fn of_entry(shown: &Appearance) -> Self {
        match &shown.page {
            None => Self::offline(shown.last_seen_at),
            Some(page) => Self {
                online: true,
                page: page.clone(),
                latest: shown.latest_page.clone().unwrap_or_default(),
                idle_since: shown.idle_since,
                last_seen_at: shown.last_seen_at,
            },
        }
    }
}

/// Somebody in a client's view.
#[derive(Debug, Clone)]
pub struct Seen {
    pub look: Look,
    /// The lowest `seq` that the shown state can have.
    pub seq: u64,
}

/// What one client sees.
#[derive(Debug, Clone, Default)]
pub struct ClientView {
    /// Whether the client has its snapshot.
    pub ready: bool,
    /// After a crash it is unknown what the client was shown. The next snapshot settles it.
    pub unsure: bool,
    pub seen: BTreeMap<Who, Seen>,
}

impl ClientView {
    /// Whether somebody is shown online.
    pub fn shows_online(&self, who: Who) -> bool {
        self.seen.get(&who).is_some_and(|seen| seen.look.is_online())
    }
}
