//! Who wants to see all friends at once: a socket that opened, or a `GET`. They wait until every friend of
//! whom nothing was known has answered or failed, but not while one is called again and again.

use std::collections::BTreeSet;

use shared::{
    ids::{SocketId, UserId},
    limits::{PEER_CALL_MS_MAX, READERS_MAX},
    time::Timestamp,
    wire::{PageView, PresenceSnapshot, PresenceUpdate, ServerMessage, UserPresence as Shown},
};

use crate::{
    event::{Effect, ReadId, Reply},
    friends::{TooOften, View, ViewState},
    kept::Kept,
    user::UserPresence,
};

/// Somebody who waits for answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reader {
    pub whom: Whom,
    pub since: Timestamp,
    pub waits_for: BTreeSet<UserId>,
}

impl Reader {
    /// Whether they have waited for as long as a call may take.
    fn is_tired(&self, now: Timestamp) -> bool {
        self.since.plus_ms(i64::from(PEER_CALL_MS_MAX)) <= now
    }
}

/// To whom a reading goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whom {
    Socket(SocketId),
    Get { read: ReadId, friend: Option<UserId> },
}

impl UserPresence {
    /// A `GET`. A stranger is refused at once; the user's own page needs nobody's answer. Nor is there one to wait for when
    /// many wait already: memory must not grow with what a client asks for.
    pub(crate) fn read(&mut self, read: ReadId, friend: Option<UserId>, now: Timestamp) {
        let waits_for = match &friend {
            Some(id) if *id != self.me && !self.friends.contains(id) => {
                return self.effects.push(Effect::Reply { read, reply: Reply::NotFriends });
            }
            _ if self.readers.len() >= READERS_MAX => Ok(BTreeSet::new()),
            None => self.ask_unknown_friends(now),
            Some(id) if *id == self.me || self.is_kept_up(id) => Ok(BTreeSet::new()),
            Some(id) => self.ask_for_user(BTreeSet::from([id.clone()]), now),
        };
        let waits_for = match waits_for {
            Ok(waits_for) => waits_for,
            Err(TooOften { until }) => {
                let retry_after_ms = until.unix_ms().saturating_sub(now.unix_ms());
                return self.effects.push(Effect::Reply { read, reply: Reply::TooMany { retry_after_ms } });
            }
        };
        self.readers.push(Reader { whom: Whom::Get { read, friend }, since: now, waits_for });
    }

    /// Nobody waits for this friend any more.
    pub(crate) fn stop_waiting_for(&mut self, friend: &UserId) {
        for reader in &mut self.readers {
            reader.waits_for.remove(friend);
        }
    }

    /// A call to this friend ended, perhaps without what they were asked. Whoever has waited for as long as a call may
    /// take does without, so that nobody waits for more than two.
    pub(crate) fn tire_of(&mut self, friend: &UserId, now: Timestamp) {
        for reader in self.readers.iter_mut().filter(|reader| reader.is_tired(now)) {
            reader.waits_for.remove(friend);
        }
    }

    /// The user comes, and all friends are asked anew. Whoever waits to read all waits for them, or reads what is known
    /// until now.
    pub(crate) fn renew_readers(&mut self, now: Timestamp) {
        for reader in &mut self.readers {
            if !matches!(reader.whom, Whom::Get { friend: None, .. }) {
                continue;
            }
            if reader.is_tired(now) {
                reader.waits_for.clear();
            } else {
                reader.waits_for.clone_from(&self.friends);
            }
        }
        self.serve_readers();
    }

    /// Serves whoever waits for nobody any more.
    pub(crate) fn serve_readers(&mut self) {
        let (waiting, served) =
            std::mem::take(&mut self.readers).into_iter().partition(|reader| !reader.waits_for.is_empty());
        self.readers = waiting;
        for reader in served {
            match reader.whom {
                Whom::Socket(socket) => {
                    if let Some(open) = self.sockets.get_mut(&socket) {
                        open.ready = true;
                        self.newly_ready.insert(socket);
                        let unknown = self.seen.iter().filter(|friend| !self.views.contains_key(*friend));
                        self.missed.extend(unknown.cloned());
                        let snapshot = self.snapshot();
                        self.send(vec![socket], ServerMessage::PresenceSnapshot(snapshot));
                    }
                }
                Whom::Get { read, friend: None } => {
                    let reply = Reply::All(self.snapshot());
                    self.effects.push(Effect::Reply { read, reply });
                }
                Whom::Get { read, friend: Some(id) } => {
                    let reply = if id == self.me || self.friends.contains(&id) {
                        Reply::One(self.shown(&id).page)
                    } else {
                        Reply::NotFriends
                    };
                    self.effects.push(Effect::Reply { read, reply });
                }
            }
        }
        // Friends do not tell the offline what changes, so what they were told is not kept.
        if !self.is_here() && self.readers.is_empty() {
            self.views.clear();
        }
    }

    fn snapshot(&self) -> PresenceSnapshot {
        let mut people = self.social.as_ref().and_then(Kept::people).unwrap_or_default();
        let presence_arr = people.iter().map(|friend| self.shown(&friend.user_id)).collect();
        people.extend(self.social.as_ref().map(|social| social.head.user.clone()));
        PresenceSnapshot {
            user_presence: self.shown(&self.me),
            presence_arr,
            user_info_map: people.into_iter().map(|user| (user.user_id.clone(), user)).collect(),
            version: self.social_version().unwrap_or_default(),
        }
    }

    /// How the user or a friend appears. A friend who could not be asked appears offline.
    fn shown(&self, id: &UserId) -> Shown {
        let offline = |last_seen_at| ViewState::Offline { last_seen_at };
        let state = if *id == self.me {
            if self.visible { ViewState::Online(self.presence()) } else { offline(self.last_seen_at) }
        } else {
            self.views.get(id).map_or_else(|| offline(None), |View { state, .. }| state.clone())
        };
        let user_id = id.clone();
        match state {
            ViewState::Online(presence) => {
                // Nothing, when another version wrote it: then they are there, and no more is known.
                let update = presence.read();
                let idle_since = update.as_ref().and_then(|update| update.idle_since);
                let at = update.as_ref().map(|update| update.at);
                let (page, latest) = update.map(pages_of).unwrap_or_default();
                let (page, latest_page, idle) = (Some(page), Some(latest), idle_since.is_some());
                Shown { user_id, page, latest_page, at, last_seen_at: None, idle, idle_since }
            }
            ViewState::Offline { last_seen_at } => {
                let (page, latest_page, at) = (None, None, None);
                Shown { user_id, page, latest_page, at, last_seen_at, idle: false, idle_since: None }
            }
        }
    }
}

/// The page in front and the last one that was shown.
fn pages_of(update: PresenceUpdate) -> (PageView, PageView) {
    let PresenceUpdate { url, title, domain, latest_url, latest_title, latest_domain, .. } = update;
    (PageView { url, title, domain }, PageView { url: latest_url, title: latest_title, domain: latest_domain })
}
