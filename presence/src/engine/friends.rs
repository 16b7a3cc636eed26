//! What friends' objects say, and the calls to them.

use std::collections::BTreeSet;

use shared::{
    ids::UserId,
    internal::{Interest, PeerAnswer, PeerMessage, PeerSay, Presence},
    time::Timestamp,
    wire::ServerMessage,
};

use super::{Status, UserPresence};
use crate::{
    contacts::{Call, DueCalls, NewTo},
    event::Effect,
};

impl UserPresence {
    /// A friend's object speaks. Nothing is taken from, or told to, anyone who is not on the list.
    pub(super) fn peer_spoke(&mut self, message: PeerMessage, now: Timestamp) {
        let answer = if !self.core.is_known() {
            // The user has never been here: there is nothing to tell, not even who the friends are.
            let (seq, last_seen_at, wants) = (self.published.seq(), None, Interest::Nothing);
            PeerAnswer::Offline { seq, last_seen_at, wants }
        } else if !self.contacts.contains(&message.from) {
            if self.is_behind() {
                // Who takes this user for a friend may be one by now.
                self.load_social();
            }
            PeerAnswer::NotFriends
        } else if self.is_present() {
            self.friend_spoke(message, now)
        } else {
            // An absent user keeps nothing of friends. They query when they want to know.
            self.own_answer()
        };
        self.output.push(Effect::AnswerPeer(answer));
    }

    fn friend_spoke(&mut self, message: PeerMessage, now: Timestamp) -> PeerAnswer {
        let (from, own) = (message.from.clone(), self.own());
        let queries = matches!(message.say, PeerSay::Hello { .. } | PeerSay::Peek);
        let leaves = matches!(message.say, PeerSay::Bye { .. });
        if self.contacts.receive(&message, own, now) {
            self.take_in(message);
        } else {
            self.contacts.keep_unverified(message);
            if self.sessions.is_empty() && self.waiters.is_empty() {
                // Nobody waits for it. Who connects queries all friends of whom nothing is known.
                self.contacts.forget_known_of(&from);
            } else {
                self.contacts.query_again(&from);
                // The friend keeps its goodbye in storage until every friend has taken it. `Again` makes it repeat the goodbye, so that it
                // is heard even if this memory is lost.
                if leaves {
                    return PeerAnswer::Again;
                }
            }
        }
        let answer = if queries { self.own_answer() } else { PeerAnswer::Taken { wants: own.interest } };
        self.contacts.was_answered(&from, own);
        answer
    }

    fn own_answer(&self) -> PeerAnswer {
        let (seq, wants) = (self.published.seq(), self.own().interest);
        if self.published.is_visible() {
            PeerAnswer::Online { seq, presence: self.presence(), wants }
        } else {
            PeerAnswer::Offline { seq, last_seen_at: self.published.last_seen_at(), wants }
        }
    }

    /// What a friend says is true, unless something newer is known.
    fn take_in(&mut self, message: PeerMessage) {
        let PeerMessage { from, seq, wants, say, .. } = message;
        match say {
            PeerSay::Hello { presence } | PeerSay::Presence { presence } => self.learn_online(&from, seq, presence),
            PeerSay::Bye { last_seen_at } => {
                if self.learn_offline(&from, seq, Some(last_seen_at), true) && wants == Interest::Nothing {
                    self.contacts.left(&from, self.own());
                    self.waiters.stop_waiting_for(&from);
                }
            }
            PeerSay::Peek => {}
        }
    }

    /// A friend is online and shows this. Clients that watch are told of a change, all others that the friend came.
    fn learn_online(&mut self, friend: &UserId, seq: u64, presence: Presence) {
        let sockets = match self.contacts.learn_online(friend, seq, &presence, self.own()) {
            NewTo::Nobody => return,
            NewTo::Watching => self.sessions.watching(),
            NewTo::All => {
                let sockets = self.sessions.ready();
                // Whom no client displays yet need not be remembered: for the first snapshot all are queried who may be online.
                if !sockets.is_empty() {
                    self.contacts.display_changed();
                }
                sockets
            }
        };
        self.output.show(sockets, presence);
    }

    /// A friend is offline. Says whether that is news. `says_so`: they told it themselves, unasked.
    fn learn_offline(&mut self, friend: &UserId, seq: u64, last_seen_at: Option<Timestamp>, says_so: bool) -> bool {
        let learned = self.contacts.learn_offline(friend, seq, last_seen_at, says_so);
        if learned == Some(true) {
            let message = ServerMessage::PresenceTimeout { user_id: friend.clone(), last_seen_at };
            self.output.send(self.sessions.ready(), message);
        }
        learned.is_some()
    }

    /// Somebody is a friend no longer, and disappears from every client.
    pub(super) fn end_friendship(&mut self, friend: &UserId) {
        self.contacts.remove(friend);
        self.disappear(friend);
    }

    /// Nobody waits for them, and clients show them offline.
    fn disappear(&mut self, friend: &UserId) {
        self.waiters.stop_waiting_for(friend);
        let message = ServerMessage::PresenceTimeout { user_id: friend.clone(), last_seen_at: None };
        self.output.send(self.sessions.ready(), message);
    }

    /// Calls the friends whose turn it is: all who are to hear the same in one effect. Returns who was called.
    pub(super) fn make_calls(&mut self, now: Timestamp) -> BTreeSet<UserId> {
        let DueCalls { queries, deliveries } = self.contacts.take_due(self.own(), now);
        let called = queries.iter().chain(&deliveries).cloned().collect();
        // Of a user whose sockets were lost, nobody knows whether they are still there.
        let is_sure = !matches!(self.status, Status::Grace { sockets_lost: true, .. });
        let query = |user: &Self| match user.published.is_visible() && is_sure {
            true => Some(PeerSay::Hello { presence: user.presence() }),
            false => Some(PeerSay::Peek),
        };
        self.call(queries, query, now);
        self.call(deliveries, Self::news, now);
        called
    }

    /// How friends are told of what they see. Nothing if they never saw anything.
    fn news(&self) -> Option<PeerSay> {
        if self.published.is_visible() {
            return Some(PeerSay::Presence { presence: self.presence() });
        }
        self.published.last_seen_at().map(|last_seen_at| PeerSay::Bye { last_seen_at })
    }

    fn call(&mut self, peers: Vec<UserId>, say: impl FnOnce(&Self) -> Option<PeerSay>, now: Timestamp) {
        if peers.is_empty() {
            return;
        }
        let Some(say) = say(self) else { return };
        let (seq, wants) = (self.published.seq(), self.own().interest);
        self.contacts.called(&peers, (say != PeerSay::Peek).then_some(seq), wants);
        let message = PeerMessage { from: self.me.clone(), seq, sent_at: now, wants, say };
        self.output.push(Effect::CallPeers { peers, message });
    }

    /// What came of a call. A later message of the same friend's may have overtaken the answer.
    pub(super) fn peer_answered(&mut self, peer: UserId, answer: PeerAnswer, now: Timestamp) {
        if answer == PeerAnswer::Again {
            return self.peer_failed(&peer, now);
        }
        let Some(call) = self.contacts.call_answered(&peer) else { return };
        if !self.contacts.contains(&peer) {
            return;
        }
        let own = self.own();
        match answer {
            // As a failure, above.
            PeerAnswer::Again => return,
            // They have learned of the friendship meanwhile, and took nothing in before.
            PeerAnswer::NotFriends if call.friend_spoke() => {}
            PeerAnswer::NotFriends => {
                self.contacts.reset(&peer);
                self.disappear(&peer);
                return self.load_social();
            }
            PeerAnswer::Online { wants, .. } | PeerAnswer::Offline { wants, .. }
                if own.present && call.is_outdated() =>
            {
                self.contacts.delivered(&peer, &call, wants, own);
            }
            PeerAnswer::Taken { wants } => self.contacts.delivered(&peer, &call, wants, own),
            PeerAnswer::Online { seq, presence, wants } => {
                self.contacts.delivered(&peer, &call, wants, own);
                self.learn_online(&peer, seq, presence);
                self.query_answered(&peer, call);
            }
            PeerAnswer::Offline { seq, last_seen_at, wants } => {
                self.contacts.delivered(&peer, &call, wants, own);
                self.learn_offline(&peer, seq, last_seen_at, false);
                self.query_answered(&peer, call);
            }
        }
        self.waiters.tire_of(&peer, now);
        self.contacts.reconsider(peer);
    }

    fn query_answered(&mut self, peer: &UserId, call: Call) {
        if self.contacts.query_answered(peer, &call, self.own()) {
            self.waiters.stop_waiting_for(peer);
        }
        if let Some(message) = call.into_unverified() {
            self.take_in(message);
        }
    }

    /// A friend was not reached: those who wait for their answer do without.
    pub(super) fn peer_failed(&mut self, peer: &UserId, now: Timestamp) {
        if self.contacts.call_failed(peer, self.failures_forgotten(now), self.own(), now) {
            self.waiters.stop_waiting_for(peer);
        }
    }

    /// How many failures may have been forgotten since the user left: an object that sleeps between one and the next must not
    /// begin anew for ever.
    fn failures_forgotten(&self, now: Timestamp) -> u32 {
        let left_at = self.published.last_seen_at().filter(|_| !self.is_present()).unwrap_or(now);
        let minutes = now.unix_ms().saturating_sub(left_at.unix_ms()) / 60_000;
        minutes.checked_ilog2().unwrap_or_default()
    }

    /// Schedules a wake-up that checks whether friends got the goodbye: without sockets, nothing else need wake an object that loses
    /// its memory while it calls them. Calls that an alarm makes need none, since the runtime repeats the alarm until they have ended.
    /// Calls that began before the alarm do. A tick counts as an alarm here; the alarm for the end of the grace is still set then.
    pub(super) fn expect_farewells(
        &mut self,
        was_present: bool,
        woken: bool,
        called: &BTreeSet<UserId>,
        now: Timestamp,
    ) {
        let mut in_flight = self.contacts.called_undelivered().peekable();
        if self.is_present() || in_flight.peek().is_none() {
            self.farewells_until = None;
            return;
        }
        let begins = if woken {
            in_flight.any(|friend| !called.contains(friend))
        } else {
            was_present || in_flight.any(|friend| called.contains(friend))
        };
        if self.farewells_until.map_or(begins, |until| until <= now) {
            self.farewells_until = Some(now.plus_ms(self.times.timeout_ms));
        }
    }
}
