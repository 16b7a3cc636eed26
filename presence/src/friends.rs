//! What is known of friends, and what they know of this user.

use std::collections::BTreeSet;

use shared::{
    ids::UserId,
    internal::{PeerAnswer, PeerMessage, PeerSay, Presence, Wants},
    time::Timestamp,
    wire::ServerMessage,
};

use crate::{event::Effect, user::UserPresence};

/// What is known of a friend. One whom clients see online, but who has no view, shows who knows what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    /// Of the change that made it so: what is not newer is dropped. 0: nobody remembers.
    pub seq: u64,
    pub state: ViewState,
    /// The friend tells of every change since. One who does not is asked before anybody sees it again.
    pub kept_up: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ViewState {
    Online(Presence),
    Offline { last_seen_at: Option<Timestamp> },
}

/// What the user does asked friends more often than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// When they may be asked again.
    pub until: Timestamp,
}

impl UserPresence {
    /// A friend's object speaks. Nothing is taken from, or told to, anyone who is not on the list.
    pub(crate) fn peer_spoke(&mut self, message: PeerMessage, now: Timestamp) {
        let answer = if self.social.is_none() {
            // Never been here, so there is nothing to tell, not even who the friends are.
            PeerAnswer::Offline { seq: self.seq, last_seen_at: None, wants: Wants::Nothing }
        } else if !self.friends.contains(&message.from) {
            if self.is_behind() {
                // Whoever takes this user for a friend may be one by now.
                self.load_social();
            }
            PeerAnswer::NotFriends
        } else {
            self.friend_spoke(message, now)
        };
        self.effects.push(Effect::AnswerPeer(answer));
    }

    fn friend_spoke(&mut self, message: PeerMessage, now: Timestamp) -> PeerAnswer {
        // Only those who are here keep an audience and views; the others ask when they want to know.
        if !self.is_here() {
            return self.own_answer();
        }
        let PeerMessage { from, sent_at, wants, say, .. } = &message;
        let asks = matches!(say, PeerSay::Hello { .. } | PeerSay::Peek);
        let leaves = matches!(say, PeerSay::Bye { .. });
        let own_wants = self.wants();
        if let Some(failure) = self.failed.get_mut(from) {
            // Whoever speaks can be reached again, as it seems.
            failure.retry_at = failure.retry_at.min(now);
            self.due.insert(from.clone());
        }
        if let Some(call) = self.calling.get_mut(from) {
            call.heard = call.heard.max(*wants);
            // The friend goes by what they are answered now, which may be less than the call said.
            call.wants = call.wants.min(own_wants);
        }
        // What they want less of, only an answer says: this may be old.
        if *wants > self.audience.get(from).copied().unwrap_or(Wants::Nothing) {
            self.note_wants(from, *wants);
        }
        // Older than this memory: newer ones may have come before it, so only the friend can tell what is true.
        let remembers = self.views.get(from).is_some_and(|view| view.seq > 0);
        let doubts = !remembers && *sent_at < self.believes_from;
        let from = from.clone();
        if !doubts {
            self.take_in(message);
        } else {
            if let Some(call) = self.calling.get_mut(&from)
                && call.doubted.as_ref().is_none_or(|before| before.seq < message.seq)
            {
                call.doubted = Some(message);
            }
            if self.sockets.is_empty() && self.readers.is_empty() {
                // Nobody waits for it: whoever connects asks all friends of whom nothing is known.
                self.views.remove(&from);
            } else {
                self.ask(&BTreeSet::from([from.clone()]));
                self.note = true;
                // Whoever leaves sees to it that all hear of it, should this memory be lost before they answer.
                if leaves {
                    return PeerAnswer::Again;
                }
            }
        }
        let answer = if asks { self.own_answer() } else { PeerAnswer::Taken { wants: self.wants() } };
        if self.wants() < Wants::Pages
            && let Some(view) = self.views.get_mut(&from)
        {
            view.kept_up = matches!(view.state, ViewState::Offline { .. });
        }
        answer
    }

    /// What a friend says is true, unless something newer is known.
    pub(crate) fn take_in(&mut self, message: PeerMessage) {
        let PeerMessage { from, seq, wants, say, .. } = message;
        match say {
            PeerSay::Hello { presence } | PeerSay::Presence { presence } => self.learn_online(&from, seq, presence),
            PeerSay::Bye { last_seen_at } => {
                if !self.views.contains_key(&from) {
                    // Memory may have been lost between keeping that they left and showing it.
                    self.seen.insert(from.clone());
                }
                if self.learn_offline(&from, seq, Some(last_seen_at)) && wants == Wants::Nothing {
                    self.note_wants(&from, wants);
                    self.asking.remove(&from);
                    self.stop_waiting_for(&from);
                    self.due.insert(from);
                }
            }
            PeerSay::Peek => {}
        }
    }

    fn own_answer(&self) -> PeerAnswer {
        let (seq, wants) = (self.seq, self.wants());
        if self.visible {
            PeerAnswer::Online { seq, presence: self.presence(), wants }
        } else {
            PeerAnswer::Offline { seq, last_seen_at: self.last_seen_at, wants }
        }
    }

    /// A friend wants to hear this.
    pub(crate) fn note_wants(&mut self, friend: &UserId, after: Wants) {
        if !self.is_here() {
            return;
        }
        let before = self.audience.get(friend).copied().unwrap_or(Wants::Nothing);
        if self.telling.get(friend).is_some_and(|concerned| *concerned > after) {
            // Whoever comes, or watches again, asks.
            self.telling.remove(friend);
        }
        if after == Wants::Nothing {
            self.audience.remove(friend);
        } else if after != before {
            self.audience.insert(friend.clone(), after);
        }
        self.note |= after != before;
    }

    /// A friend is online, showing this. Clients who watch hear of a change; the others, that the friend came.
    pub(crate) fn learn_online(&mut self, friend: &UserId, seq: u64, presence: Presence) {
        let kept_up = self.wants() == Wants::Pages;
        match self.views.get_mut(friend) {
            Some(view) if seq < view.seq => return,
            Some(view) if seq == view.seq && matches!(view.state, ViewState::Online(_)) => {
                return view.kept_up |= kept_up;
            }
            Some(_) | None => {}
        }
        if self.is_here() {
            self.show_friend(friend, presence.clone());
        }
        self.views.insert(friend.clone(), View { seq, state: ViewState::Online(presence), kept_up });
    }

    /// Shows a friend who is online: to every client when they come, else to those who watch.
    fn show_friend(&mut self, friend: &UserId, presence: Presence) {
        let unseen = self.seen.insert(friend.clone());
        let missed = self.missed.remove(friend);
        // Lost in the midst of something, memory may have kept that they came before it showed it.
        let unshown = self.unsure && !self.views.contains_key(friend);
        if !(unseen || missed || unshown) {
            return self.show(self.watching_sockets(), presence);
        }
        let to = self.ready_sockets();
        // Whom no client sees yet, nobody need remember: for the first snapshot all who may be there are asked again.
        self.note |= !to.is_empty();
        self.show(to, presence);
    }

    /// A friend is offline, unless something newer is known.
    pub(crate) fn learn_offline(&mut self, friend: &UserId, seq: u64, last_seen_at: Option<Timestamp>) -> bool {
        if self.views.get(friend).is_some_and(|view| seq <= view.seq) {
            return false;
        }
        self.missed.remove(friend);
        let unknown = !self.views.contains_key(friend);
        // Lost in the midst of something, memory may have kept that they left before it showed it.
        if self.seen.remove(friend) || (unknown && self.unsure) {
            self.note = true;
            let message = ServerMessage::PresenceTimeout { user_id: friend.clone(), last_seen_at };
            self.send(self.ready_sockets(), message);
        }
        let state = ViewState::Offline { last_seen_at };
        // Of a friend who was never seen, nothing is newer than what they answered but what follows.
        let view = View { seq: seq.max(1), state: state.clone(), kept_up: true };
        // Even of one whom nobody saw come, sleep must not bring back when they had left before.
        self.note |= self.views.insert(friend.clone(), view).is_none_or(|before| before.state != state);
        true
    }

    /// Somebody is a friend no longer, as it seems: they go off the screen, whether they were seen there or not, and
    /// nothing of them is kept.
    pub(crate) fn forget(&mut self, friend: &UserId) {
        self.note = true;
        self.audience.remove(friend);
        self.seen.remove(friend);
        if !self.friends.contains(friend) {
            self.views.remove(friend);
        } else if let Some(view) = self.views.get_mut(friend) {
            // Until the core says so: nothing older that is still on its way brings them back.
            view.state = ViewState::Offline { last_seen_at: None };
            view.kept_up = false;
        }
        self.missed.remove(friend);
        self.telling.remove(friend);
        self.asking.remove(friend);
        self.failed.remove(friend);
        if let Some(call) = self.calling.get_mut(friend) {
            // Should they be friends again before the answer comes, it may be old.
            call.wants = Wants::Nothing;
            call.doubted = None;
        }
        self.stop_waiting_for(friend);
        self.send(self.ready_sockets(), ServerMessage::PresenceTimeout { user_id: friend.clone(), last_seen_at: None });
    }

    /// Asks the friends of whom too little is known, and says who they are.
    ///
    /// # Errors
    ///
    /// As [`Self::ask_for_user`].
    pub(crate) fn ask_unknown_friends(&mut self, now: Timestamp) -> Result<BTreeSet<UserId>, TooOften> {
        let unknown = self.friends.iter().filter(|id| !self.is_kept_up(id)).cloned().collect();
        self.ask_for_user(unknown, now)
    }

    /// Asks these friends for something that the user did, and says who they are. To wait for answers that are on their way
    /// is free.
    ///
    /// # Errors
    ///
    /// When the user's doings asked friends too often lately. Then nobody is asked.
    pub(crate) fn ask_for_user(
        &mut self,
        friends: BTreeSet<UserId>,
        now: Timestamp,
    ) -> Result<BTreeSet<UserId>, TooOften> {
        let under_way = |id| self.asking.contains(id) && (self.calling.contains_key(id) || self.due.contains(id));
        if friends.iter().all(under_way) {
            return Ok(friends);
        }
        if !self.asks.take(now) {
            return Err(TooOften { until: self.asks.next() });
        }
        // Or else whoever loses their memory could ask as often as ever.
        self.note = true;
        self.ask(&friends);
        Ok(friends)
    }

    /// Whether this friend tells of every change.
    pub(crate) fn is_kept_up(&self, friend: &UserId) -> bool {
        self.views.get(friend).is_some_and(|view| view.kept_up)
    }
}
