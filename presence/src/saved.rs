//! What survives the loss of memory: the stored documents and the sockets' attachments.
//!
//! Old and new code read each other's during a deployment, so fields are only added, with a default.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use shared::{
    ids::{EventId, SocketId, UserId},
    internal::Social,
    limits::{RESTART_GRACE_MS_MAX, RESTART_SEQ_STEP},
    page::Page,
    time::Timestamp,
};

use crate::{
    event::Effect,
    user::{Shown, Socket, Status, Times, UserPresence},
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

impl UserPresence {
    /// The user as they were when memory was lost: from storage and from the sockets that are still open.
    pub fn restore(me: UserId, times: Times, saved: Saved, attachments: Vec<Attachment>, now: Timestamp) -> Self {
        let Saved { state, social, event_ids } = saved;
        let newest = attachments.iter().max_by_key(|attachment| attachment.seq).cloned();
        let seq = newest.as_ref().map_or(state.seq, |attachment| attachment.seq.max(state.seq));
        let sockets: BTreeMap<_, _> = attachments
            .into_iter()
            .map(|a| {
                let Attachment { heard_at, ready, idle_since, report, .. } = a;
                (a.socket, Socket { heard_at, ready, idle_since, report })
            })
            .collect();
        let grace_ms = times.grace_ms.min(RESTART_GRACE_MS_MAX);
        let mut user = Self {
            me,
            times,
            social,
            behind: None,
            load_at: None,
            event_ids: event_ids.into(),
            status: Status::Offline { last_seen_at: state.last_seen_at },
            seq,
            shown: Shown { at: now, page: None, latest: None, idle_since: None },
            order: 0,
            front: None,
            audience: state.audience,
            views: BTreeMap::new(),
            asking: BTreeSet::new(),
            readers: Vec::new(),
            effects: Vec::new(),
            save_state: false,
            sockets,
        };
        match (state.online, newest, state.leaving) {
            (false, None, _) => {}
            (_, Some(newest), _) => {
                user.status = Status::Online;
                user.shown.at = newest.at;
                user.shown.latest = newest.latest;
                user.bring_to_front();
            }
            (true, None, Some(leaving)) => {
                user.status = Status::Leaving { at: leaving.at, since: leaving.since, restarted: false };
                user.shown.latest = leaving.latest;
                user.front = leaving.front;
            }
            (true, None, None) => {
                // Friends may have heard of changes that nobody remembers, told by a clock ahead of this one.
                user.grow_seq(now);
                user.seq = user.seq.saturating_add(RESTART_SEQ_STEP);
                user.status = Status::Leaving { at: now.plus_ms(grace_ms), since: now, restarted: true };
            }
        }
        // What was shown follows from what was in front and the rules, neither of which changed meanwhile.
        user.shown.page = user.visible_page();
        user.shown.idle_since = user.idle_since();
        user
    }

    /// Lets the socket carry what it must, once per event.
    pub(crate) fn attach(&mut self, socket: SocketId) {
        let Some(open) = self.sockets.get(&socket) else { return };
        let Socket { heard_at, ready, idle_since, report } = open.clone();
        let Shown { at, latest, .. } = self.shown.clone();
        let attachment = Attachment { socket, heard_at, ready, idle_since, report, seq: self.seq, at, latest };
        // Within one event only the last one counts.
        self.effects.retain(|effect| !matches!(effect, Effect::Attach { socket: of, .. } if *of == socket));
        self.effects.push(Effect::Attach { socket, attachment });
    }

    /// What storage is to hold.
    pub(crate) fn saved_state(&self) -> SavedState {
        let leaving = match self.status {
            Status::Leaving { at, since, restarted: false } => {
                Some(Leaving { at, since, front: self.front.clone(), latest: self.shown.latest.clone() })
            }
            Status::Leaving { restarted: true, .. } | Status::Online | Status::Offline { .. } => None,
        };
        SavedState {
            online: self.is_online(),
            seq: self.seq,
            last_seen_at: self.last_seen_at(),
            audience: self.audience.clone(),
            leaving,
        }
    }
}
