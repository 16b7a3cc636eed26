//! Speaking to friends' objects: whom to tell and whom to ask, one call to each at a time, and again after a while
//! when it fails.
//!
//! Nothing is queued: a call says what is true when it is made. A friend who is called already, or was not reached,
//! stays among those to be told or asked until they have taken it in.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use shared::{
    ids::UserId,
    internal::{PeerAnswer, PeerMessage, PeerSay, Wants},
    limits::{PEER_RETRY_MS_MAX, PEER_RETRY_MS_MIN},
    time::Timestamp,
};

use crate::{
    event::Effect,
    user::{Status, UserPresence},
};

/// A call under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    /// The change it tells of; `None` when it only asks.
    tells: Option<u64>,
    /// The least that the friend was told meanwhile that this user wants. Nothing, too, once the user has come since, or
    /// the friendship ended.
    pub wants: Wants,
    /// What the friend said meanwhile that they want: the answer may be older.
    pub heard: Wants,
    /// The newest that they said meanwhile and that was not believed. If it is newer than their answer, it was said after
    /// this memory began, and is true.
    pub doubted: Option<PeerMessage>,
}

/// Calls that did not reach a friend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How many, one after the other.
    pub times: u32,
    /// When the next is due.
    pub retry_at: Timestamp,
}

impl UserPresence {
    /// Whoever wants to hear at least this much is to take in what changed. So is, of coming and going, whoever has yet
    /// to answer: they may have heard what they were told when they were asked.
    pub(crate) fn tell(&mut self, at_least: Wants) {
        let concerned = self.audience.iter().filter(|(_, wants)| **wants >= at_least).map(|(friend, _)| friend);
        let unanswered = self.asking.iter().filter(|_| at_least == Wants::Comings);
        for friend in concerned.chain(unanswered).cloned().collect::<Vec<_>>() {
            self.owe(at_least, &friend);
        }
    }

    /// Asks these friends how they appear. Somebody waits for it: a friend who was not reached is tried at once.
    pub(crate) fn ask(&mut self, friends: &BTreeSet<UserId>) {
        for friend in friends {
            self.note |= self.failed.remove(friend).is_some();
        }
        self.asking.extend(friends.iter().cloned());
        self.due.extend(friends.iter().cloned());
    }

    /// Calls whom it is time to call: all who are to hear the same in one effect.
    pub(crate) fn make_calls(&mut self, now: Timestamp) {
        let (mut asked, mut told) = (Vec::new(), Vec::new());
        for friend in std::mem::take(&mut self.due) {
            let later = self.failed.get(&friend).is_some_and(|failure| failure.retry_at > now);
            if later || self.calling.contains_key(&friend) {
                continue;
            }
            let tells = self.telling.contains_key(&friend);
            // Who is visible says so whenever they ask; who is not says that first, and asks then.
            if self.asking.contains(&friend) && (self.visible || !tells) {
                asked.push(friend);
            } else if tells {
                told.push(friend);
            } else {
                // They left meanwhile, or said themselves what they were to be asked.
                self.note |= self.failed.remove(&friend).is_some();
            }
        }
        // Of a user whose sockets were lost, nobody knows whether they are there still.
        let known = !matches!(self.status, Status::Leaving { restarted: true, .. });
        if self.visible && known {
            self.call(asked, |user| Some(PeerSay::Hello { presence: user.presence() }), now);
        } else {
            self.call(asked, |_| Some(PeerSay::Peek), now);
        }
        self.call(told, Self::news, now);
    }

    fn call(&mut self, peers: Vec<UserId>, say: impl FnOnce(&Self) -> Option<PeerSay>, now: Timestamp) {
        if peers.is_empty() {
            return;
        }
        let Some(say) = say(self) else { return };
        let wants = self.wants();
        let tells = (say != PeerSay::Peek).then_some(self.seq);
        let call = Call { tells, wants, heard: Wants::Nothing, doubted: None };
        self.calling.extend(peers.iter().map(|peer| (peer.clone(), call.clone())));
        let message = PeerMessage { from: self.me.clone(), seq: self.seq, sent_at: now, wants, say };
        self.effects.push(Effect::CallPeers { peers, message });
    }

    /// What came of a call. An answer may be overtaken by a later message of the same friend's.
    pub(crate) fn peer_answered(&mut self, peer: UserId, answer: PeerAnswer, now: Timestamp) {
        if answer == PeerAnswer::Again {
            return self.peer_failed(peer, now);
        }
        let Some(call) = self.calling.remove(&peer) else { return };
        self.note |= self.failed.remove(&peer).is_some();
        if !self.friends.contains(&peer) {
            return;
        }
        // What was asked before the user came, or before they were friends again, may have changed since, unheard.
        let old = self.is_here() && call.wants == Wants::Nothing;
        match answer {
            // A failure: see above.
            PeerAnswer::Again => return,
            // They have learned of the friendship meanwhile, and took nothing in before.
            PeerAnswer::NotFriends if call.heard > Wants::Nothing => {}
            PeerAnswer::NotFriends => {
                self.forget(&peer);
                return self.load_social();
            }
            PeerAnswer::Online { wants, .. } | PeerAnswer::Offline { wants, .. } if old => {
                self.took_in(&peer, &call, wants);
            }
            PeerAnswer::Taken { wants } => self.took_in(&peer, &call, wants),
            PeerAnswer::Online { seq, presence, wants } => {
                self.took_in(&peer, &call, wants);
                self.learn_online(&peer, seq, presence);
                self.answered(&peer, call);
            }
            PeerAnswer::Offline { seq, last_seen_at, wants } => {
                self.took_in(&peer, &call, wants);
                self.learn_offline(&peer, seq, last_seen_at);
                self.answered(&peer, call);
            }
        }
        self.tire_of(&peer, now);
        self.due.insert(peer);
    }

    /// A friend has taken in what a call told, and wants to hear this.
    fn took_in(&mut self, peer: &UserId, call: &Call, wants: Wants) {
        self.note_wants(peer, wants.max(call.heard));
        let Some(told) = call.tells else { return };
        self.telling.remove(peer);
        // They are owed what came since, even if nobody knew yet that they are there.
        let concerned = if told < self.came_or_left { Wants::Comings } else { Wants::Pages };
        let hears = !self.is_here() || self.audience.get(peer) >= Some(&concerned);
        if told < self.seq && hears {
            self.owe(concerned, peer);
        }
    }

    /// This friend is to take in the newest change, if they want to hear at least this much.
    pub(crate) fn owe(&mut self, at_least: Wants, friend: &UserId) {
        if !self.visible && self.last_seen_at.is_none() {
            // Friends never saw anything.
            return;
        }
        let concerned = self.telling.entry(friend.clone()).or_insert(at_least);
        *concerned = at_least.min(*concerned);
        self.due.insert(friend.clone());
    }

    /// Something is hidden. Whoever was not reached and believes it still is tried at once, and then as rarely as before.
    pub(crate) fn hurry(&mut self, now: Timestamp) {
        for (friend, failure) in &mut self.failed {
            if self.telling.contains_key(friend) {
                failure.retry_at = failure.retry_at.min(now);
                self.due.insert(friend.clone());
            }
        }
    }

    /// A friend said how they appear. They are asked again if they still believe that this user wants to hear less.
    fn answered(&mut self, peer: &UserId, call: Call) {
        if call.wants >= self.wants() {
            self.asking.remove(peer);
            self.stop_waiting_for(peer);
        }
        if let Some(message) = call.doubted {
            self.take_in(message);
        }
    }

    /// A friend was not reached: those who wait for their answer do without.
    pub(crate) fn peer_failed(&mut self, peer: UserId, now: Timestamp) {
        if self.calling.remove(&peer).is_none() {
            return;
        }
        self.stop_waiting_for(&peer);
        if !self.is_here() {
            self.asking.remove(&peer);
        }
        if !self.telling.contains_key(&peer) && !self.asking.contains(&peer) {
            return;
        }
        let times = self.failed.get(&peer).map_or_else(|| self.failures_forgotten(now), |failure| failure.times);
        let wait_ms = PEER_RETRY_MS_MIN.saturating_mul(1 << times.min(30)).min(PEER_RETRY_MS_MAX);
        let failure = Failure { times: times.saturating_add(1), retry_at: now.plus_ms(wait_ms) };
        self.failed.insert(peer, failure);
        self.note = true;
    }

    /// How many failures memory may have been lost over since the user left: who sleeps between one and the next must
    /// not begin anew for ever.
    fn failures_forgotten(&self, now: Timestamp) -> u32 {
        let left_at = self.last_seen_at.filter(|_| !self.is_here()).unwrap_or(now);
        let minutes = now.unix_ms().saturating_sub(left_at.unix_ms()) / 60_000;
        minutes.checked_ilog2().unwrap_or_default()
    }
}
