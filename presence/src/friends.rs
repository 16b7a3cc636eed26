//! What this user and their friends tell each other, and who counts as a friend.

use std::collections::BTreeSet;

use shared::{
    ids::UserId,
    internal::{Change, CoreEvent, EventsTaken, PeerAnswer, PeerMessage, PeerSay, Presence, Social},
    limits::{EVENT_IDS_REMEMBERED, SOCIAL_RETRY_MS},
    time::Timestamp,
    wire::{CloseCode, ServerMessage},
};

use crate::{
    event::{Effect, Save},
    saved::Saved,
    user::{UserPresence, update_of},
};

/// What is known of a friend. One who is in the audience but has no view is online, showing who knows what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// Of the change that made it so: what is not newer is dropped.
    pub seq: u64,
    pub state: ViewState,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ViewState {
    Online(Presence),
    Offline { last_seen_at: Option<Timestamp> },
}

impl UserPresence {
    /// A friend's object speaks. Nothing is taken from, or told to, anyone who is not on the list.
    pub(crate) fn peer_spoke(&mut self, message: PeerMessage) {
        let PeerMessage { from, seq, say } = message;
        let answer = if self.social.is_none() {
            // Never been here, so there is nothing to tell, not even who the friends are.
            PeerAnswer::Offline { seq: self.seq, last_seen_at: None }
        } else if !self.is_friend(&from) {
            PeerAnswer::NotFriends
        } else {
            self.friend_spoke(from, seq, say)
        };
        self.effects.push(Effect::AnswerPeer(answer));
    }

    fn friend_spoke(&mut self, from: UserId, seq: u64, say: PeerSay) -> PeerAnswer {
        match say {
            PeerSay::Peek => return self.own_answer(),
            // Only the online keep an audience and views; the offline ask when they want to know.
            PeerSay::Hello { .. } | PeerSay::Presence { .. } | PeerSay::Bye { .. } if !self.is_online() => {
                return self.own_answer();
            }
            PeerSay::Hello { presence } => {
                self.learn_online(from, seq, presence);
                return self.own_answer();
            }
            PeerSay::Presence { presence } => self.learn_online(from, seq, presence),
            PeerSay::Bye { last_seen_at } => self.learn_offline(from, seq, Some(last_seen_at)),
        }
        PeerAnswer::Taken
    }

    fn own_answer(&self) -> PeerAnswer {
        if self.is_online() {
            PeerAnswer::Online { seq: self.seq, presence: self.presence() }
        } else {
            PeerAnswer::Offline { seq: self.seq, last_seen_at: self.last_seen_at() }
        }
    }

    /// What came of a call. An answer may be overtaken by a later message of the same friend's.
    pub(crate) fn peer_answered(&mut self, peer: UserId, answer: PeerAnswer) {
        self.asking.remove(&peer);
        if !self.is_friend(&peer) {
            return;
        }
        match answer {
            PeerAnswer::Taken => {}
            PeerAnswer::Online { seq, presence } => self.learn_online(peer, seq, presence),
            PeerAnswer::Offline { seq, last_seen_at } => self.learn_offline(peer, seq, last_seen_at),
            PeerAnswer::NotFriends => {
                self.forget(&peer);
                self.load_social();
            }
        }
    }

    fn learn_online(&mut self, friend: UserId, seq: u64, presence: Presence) {
        if self.is_news(&friend, seq) {
            let sockets = self.ready_sockets();
            self.send(sockets, update_of(&friend, seq, &presence));
            self.views.insert(friend.clone(), View { seq, state: ViewState::Online(presence) });
        }
        let online = matches!(self.views.get(&friend), Some(View { state: ViewState::Online(_), .. }));
        if online && self.is_online() && self.audience.insert(friend) {
            self.save_state = true;
        }
    }

    fn learn_offline(&mut self, friend: UserId, seq: u64, last_seen_at: Option<Timestamp>) {
        if !self.is_news(&friend, seq) {
            return;
        }
        self.show_offline(&friend, last_seen_at);
        self.views.insert(friend, View { seq, state: ViewState::Offline { last_seen_at } });
    }

    fn is_news(&self, friend: &UserId, seq: u64) -> bool {
        self.views.get(friend).is_none_or(|view| seq > view.seq)
    }

    /// Takes a friend out of the audience and, if this user's clients see them online, off the screen.
    fn show_offline(&mut self, friend: &UserId, last_seen_at: Option<Timestamp>) {
        let heard = self.audience.remove(friend);
        let seen = matches!(self.views.get(friend), Some(View { state: ViewState::Online(_), .. }));
        self.save_state |= heard;
        if heard || seen {
            let sockets = self.ready_sockets();
            self.send(sockets, ServerMessage::PresenceTimeout { user_id: friend.clone(), last_seen_at });
        }
    }

    /// Somebody is a friend no longer: they go off the screen, and nothing of them is kept.
    fn forget(&mut self, friend: &UserId) {
        self.show_offline(friend, None);
        self.views.remove(friend);
        self.asking.remove(friend);
    }

    /// Asks the friends of whom nothing is known yet, and says who has been asked and not answered.
    pub(crate) fn ask_unknown_friends(&mut self) -> BTreeSet<UserId> {
        let unknown: BTreeSet<UserId> = self.friends().filter(|id| !self.views.contains_key(*id)).cloned().collect();
        self.ask(&unknown);
        unknown
    }

    pub(crate) fn ask(&mut self, friends: &BTreeSet<UserId>) {
        let peers: Vec<UserId> = friends.difference(&self.asking).cloned().collect();
        self.asking.extend(peers.iter().cloned());
        // Who is online says so whenever they ask: it mends what the friend may have missed.
        let say = if self.is_online() { PeerSay::Hello { presence: self.presence() } } else { PeerSay::Peek };
        self.call(peers, say);
    }

    pub(crate) fn is_friend(&self, id: &UserId) -> bool {
        self.friends().any(|friend| friend == id)
    }

    fn friends(&self) -> impl Iterator<Item = &UserId> {
        self.social.iter().flat_map(|social| &social.friends).map(|friend| &friend.user_id)
    }

    pub(crate) fn load_social(&mut self) {
        self.load_at = None;
        // A gap means that what is kept is old, whatever version it says.
        let known_version = self.social_version();
        self.effects.push(Effect::LoadSocial { known_version });
    }

    /// The core was away: while somebody watches and the list is known to be old, ask again.
    pub(crate) fn social_failed(&mut self, now: Timestamp) {
        if self.is_online() && self.behind.is_some() {
            self.load_at = Some(now.plus_ms(SOCIAL_RETRY_MS));
        }
    }

    /// The core's answer. One that was overtaken by an event is dropped.
    pub(crate) fn social_loaded(&mut self, social: Social, now: Timestamp) {
        if self.social_version().is_some_and(|version| social.version < version) {
            return;
        }
        if self.behind.is_some_and(|version| version <= social.version) {
            self.behind = None;
        }
        self.adopt(social, now);
    }

    /// Takes over friends and settings, and lets everybody concerned see the difference.
    fn adopt(&mut self, social: Social, now: Timestamp) {
        let before: BTreeSet<UserId> = self.friends().cloned().collect();
        if self.social.as_ref() != Some(&social) {
            self.effects.push(Effect::Save(Save::Social(social.clone())));
        }
        self.social = Some(social);
        let after: BTreeSet<UserId> = self.friends().cloned().collect();
        for lost in before.difference(&after) {
            self.forget(lost);
        }
        self.settle(now);
        if self.is_online() {
            self.ask(&after.difference(&before).cloned().collect());
        }
    }

    /// Changes the core reports. They come at least once and in any order.
    pub(crate) fn core_reported(&mut self, mut events: Vec<CoreEvent>, now: Timestamp) {
        let taken = events.iter().map(|event| event.id).collect();
        events.retain(|event| !self.event_ids.contains(&event.id));
        events.sort_by_key(|event| event.version);
        if !events.is_empty() {
            self.event_ids.extend(events.iter().map(|event| event.id));
            let old = self.event_ids.len().saturating_sub(EVENT_IDS_REMEMBERED);
            self.event_ids.drain(..old);
        }
        for event in events {
            self.change_reported(event.version, event.change, now);
        }
        if self.social.is_some() {
            self.effects.push(Effect::Save(Save::EventIds(self.event_ids.iter().copied().collect())));
        }
        self.effects.push(Effect::AnswerCore(EventsTaken { taken }));
    }

    fn change_reported(&mut self, version: u64, change: Change, now: Timestamp) {
        // Nothing is kept of this user yet: the first connection asks the core for all of it.
        let Some(mut social) = self.social.clone() else { return };
        if change == (Change::UserDeleted {}) {
            return self.account_deleted(now);
        }
        if version > social.version {
            let next = version == social.version.saturating_add(1) && self.behind.is_none_or(|v| v <= version);
            let newest = self.behind.is_none_or(|v| v < version);
            match &change {
                Change::FriendAccepted { user } if next => {
                    social.friends.retain(|friend| friend.user_id != user.user_id);
                    social.friends.push(user.clone().into());
                }
                // With a change missing in between, this friendship may have ended again already.
                Change::FriendAccepted { .. } => {}
                // To take away is right even too early.
                Change::FriendRemoved { user_id } => social.friends.retain(|friend| friend.user_id != *user_id),
                Change::SettingsUpdated { share } if next || newest => social.share = share.clone(),
                Change::SettingsUpdated { .. } => {}
                // Clients alone keep these; the last is dealt with above.
                Change::FriendRequested { .. }
                | Change::FriendRequestRemoved { .. }
                | Change::ShareReceived { .. }
                | Change::ShareRead { .. }
                | Change::UserDeleted {} => {}
            }
            if next {
                social.version = version;
                self.behind = None;
            } else {
                self.behind = self.behind.max(Some(version));
            }
            self.adopt(social, now);
            if self.behind.is_some() {
                self.load_social();
            }
        }
        if let Some(message) = message_of(change) {
            let sockets = self.ready_sockets();
            self.send(sockets, message);
        }
    }

    /// The user is no more: friends see them leave, and nothing of them stays. Who comes back under the same id
    /// is somebody new.
    fn account_deleted(&mut self, now: Timestamp) {
        for socket in std::mem::take(&mut self.sockets).into_keys() {
            self.effects.push(Effect::Close { socket, code: CloseCode::AccountGone });
        }
        if self.is_online() {
            self.go_offline(now, now);
        }
        let effects = std::mem::take(&mut self.effects);
        let readers = std::mem::take(&mut self.readers);
        *self = Self::restore(self.me.clone(), self.times, Saved::default(), Vec::new(), now);
        self.effects = effects;
        self.readers = readers;
        self.effects.push(Effect::Forget);
    }
}

/// What the sockets are told of a change; nothing when they are closed with it.
fn message_of(change: Change) -> Option<ServerMessage> {
    let message = match change {
        Change::FriendRequested { user } => ServerMessage::FriendRequest { user },
        Change::FriendRequestRemoved { user_id } => ServerMessage::FriendRequestRemoved { user_id },
        Change::FriendAccepted { user } => ServerMessage::FriendAccepted { user },
        Change::FriendRemoved { user_id } => ServerMessage::FriendRemoved { user_id },
        Change::SettingsUpdated { share } => ServerMessage::SettingsUpdated {
            share_mode: share.mode,
            domain_allow_array: share.allow.into_iter().collect(),
            domain_deny_array: share.deny.into_iter().collect(),
        },
        Change::ShareReceived { notification } => ServerMessage::ShareNotification { notification },
        Change::ShareRead { event_ids } => ServerMessage::ShareNotificationRead { event_ids },
        Change::UserDeleted {} => return None,
    };
    Some(message)
}
