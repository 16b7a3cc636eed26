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
    contacts::{Call, DueCalls, FriendState, NewTo},
    event::Effect,
};

impl UserPresence {
    /// A friend's object speaks, and is answered. A stranger's message is not taken in, and the answer says nothing of the user.
    pub(super) fn peer_spoke(&mut self, message: PeerMessage, now: Timestamp) {
        let answer = if !self.core.is_known() {
            // The user has never connected, and the core was never asked who the friends are.
            let (seq, last_seen_at, wants) = (self.published.seq(), None, Interest::Nothing);
            PeerAnswer::Offline { seq, last_seen_at, wants }
        } else if !self.contacts.contains(&message.from) {
            if self.is_absent_and_behind() {
                // The friendship may be newer than the list.
                self.load_social();
            }
            PeerAnswer::NotFriends
        } else if self.is_present() {
            self.friend_spoke(message, now)
        } else {
            // An absent user remembers nothing of friends, and queries all of them on coming online.
            self.own_answer()
        };
        self.output.push(Effect::AnswerPeer(answer));
    }

    fn friend_spoke(&mut self, message: PeerMessage, now: Timestamp) -> PeerAnswer {
        let (from, own) = (message.from.clone(), self.own());
        let queries = matches!(message.say, PeerSay::Hello { .. } | PeerSay::Peek);
        let is_bye = matches!(message.say, PeerSay::Bye { .. });
        if self.contacts.receive(&message, own, now) {
            self.take_in(message);
        } else {
            self.contacts.keep_unverified(message);
            if self.sessions.is_empty() && self.waiters.is_empty() {
                // No client wants to know now. The next one that connects queries friends of whom nothing is known.
                self.contacts.forget_known_of(&from);
            } else {
                self.contacts.query_again(&from);
                // The friend stores its goodbye until every friend has taken it in. `Again` makes it say goodbye once more, in case
                // this memory is lost before the query is answered.
                if is_bye {
                    return PeerAnswer::Again;
                }
            }
        }
        let answer = if queries { self.own_answer() } else { PeerAnswer::Taken { wants: own.interest } };
        self.contacts.interest_told(&from, own);
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

    /// Takes in what a friend says of themselves, unless something newer is known.
    fn take_in(&mut self, message: PeerMessage) {
        let PeerMessage { from, seq, wants, say, .. } = message;
        match say {
            PeerSay::Hello { presence } | PeerSay::Presence { presence } => self.learn_online(&from, seq, presence),
            PeerSay::Bye { last_seen_at } => {
                let is_news = self.learn_offline(&from, seq, Some(last_seen_at), true);
                if is_news && wants == Interest::Nothing {
                    self.contacts.friend_left(&from, self.own());
                    self.waiters.stop_waiting_for(&from);
                }
            }
            PeerSay::Peek => {}
        }
    }

    /// A friend is online and shows this.
    fn learn_online(&mut self, friend: &UserId, seq: u64, presence: Presence) {
        let sockets = match self.contacts.learn_online(friend, seq, &presence, self.own()) {
            NewTo::Nobody => return,
            NewTo::Watching => self.sessions.watching(),
            NewTo::All => {
                let sockets = self.sessions.ready();
                // Without a snapshot no client displays anybody, and before the first one all friends are queried anyway.
                if !sockets.is_empty() {
                    self.contacts.display_changed();
                }
                sockets
            }
        };
        self.output.show(sockets, presence);
    }

    /// A friend is offline. Returns whether nothing newer was known. `unasked`: the friend said it by themselves.
    fn learn_offline(&mut self, friend: &UserId, seq: u64, last_seen_at: Option<Timestamp>, unasked: bool) -> bool {
        let new_to = self.contacts.learn_offline(friend, seq, last_seen_at, unasked);
        if new_to == Some(NewTo::All) {
            let message = ServerMessage::PresenceTimeout { user_id: friend.clone(), last_seen_at };
            self.output.send(self.sessions.ready(), message);
        }
        new_to.is_some()
    }

    /// The user and this friend are friends no longer.
    pub(super) fn end_friendship(&mut self, friend: &UserId) {
        self.contacts.remove(friend);
        self.remove_from_view(friend);
    }

    /// Clients display this user offline, and nobody waits for their answer.
    fn remove_from_view(&mut self, friend: &UserId) {
        self.waiters.stop_waiting_for(friend);
        let message = ServerMessage::PresenceTimeout { user_id: friend.clone(), last_seen_at: None };
        self.output.send(self.sessions.ready(), message);
    }

    /// Calls the friends who are due, with one effect for all who hear the same. Returns who is called.
    pub(super) fn make_calls(&mut self, now: Timestamp) -> BTreeSet<UserId> {
        let DueCalls { queries, deliveries } = self.contacts.take_due(self.own(), now);
        let called = queries.iter().chain(&deliveries).cloned().collect();
        if !queries.is_empty() {
            let say = self.query_message();
            self.call(queries, say, now);
        }
        if !deliveries.is_empty()
            && let Some(say) = self.delivery_message()
        {
            self.call(deliveries, say, now);
        }
        called
    }

    /// What asks a friend how they appear. It says how the user appears too, if friends may see that and it is certain.
    fn query_message(&self) -> PeerSay {
        let page_unknown = matches!(self.status, Status::Grace { page_unknown: true, .. });
        match self.published.is_visible() && !page_unknown {
            true => PeerSay::Hello { presence: self.presence() },
            false => PeerSay::Peek,
        }
    }

    /// What tells a friend of the newest change. `None` if friends never saw the user.
    fn delivery_message(&self) -> Option<PeerSay> {
        if self.published.is_visible() {
            return Some(PeerSay::Presence { presence: self.presence() });
        }
        self.published.last_seen_at().map(|last_seen_at| PeerSay::Bye { last_seen_at })
    }

    fn call(&mut self, peers: Vec<UserId>, say: PeerSay, now: Timestamp) {
        let (seq, wants) = (self.published.seq(), self.own().interest);
        self.contacts.calls_begin(&peers, (say != PeerSay::Peek).then_some(seq), wants);
        let message = PeerMessage { from: self.me.clone(), seq, sent_at: now, wants, say };
        self.output.push(Effect::CallPeers { peers, message });
    }

    /// A friend answered a call. A message of theirs may have overtaken the answer.
    pub(super) fn peer_answered(&mut self, peer: UserId, answer: PeerAnswer, now: Timestamp) {
        let (wants, appearance) = match answer {
            PeerAnswer::Again => return self.peer_failed(&peer, now),
            PeerAnswer::NotFriends => return self.peer_denied(peer, now),
            PeerAnswer::Taken { wants } => (wants, None),
            PeerAnswer::Online { seq, presence, wants } => (wants, Some((seq, FriendState::Online(presence)))),
            PeerAnswer::Offline { seq, last_seen_at, wants } => {
                (wants, Some((seq, FriendState::Offline { last_seen_at })))
            }
        };
        let Some(call) = self.take_call(&peer) else { return };
        let own = self.own();
        self.contacts.delivered(&peer, &call, wants, own);
        let is_old = own.present && call.is_outdated();
        if let Some((seq, state)) = appearance.filter(|_| !is_old) {
            self.query_answered(&peer, seq, state, call);
        }
        self.finish_call(peer, now);
    }

    /// A friend says that they are none.
    fn peer_denied(&mut self, peer: UserId, now: Timestamp) {
        let Some(call) = self.take_call(&peer) else { return };
        // If they have spoken since, they have learned of the friendship after they answered. What the call said is still outstanding.
        if call.showed_interest() {
            return self.finish_call(peer, now);
        }
        self.contacts.reset(&peer);
        self.remove_from_view(&peer);
        self.load_social();
    }

    /// The call that was answered. `None` if there was none, or if the two are no friends any more.
    fn take_call(&mut self, peer: &UserId) -> Option<Call> {
        let call = self.contacts.remove_call(peer)?;
        self.contacts.contains(peer).then_some(call)
    }

    fn finish_call(&mut self, peer: UserId, now: Timestamp) {
        self.waiters.release_overdue(&peer, now);
        self.contacts.make_due_again(peer);
    }

    fn query_answered(&mut self, peer: &UserId, seq: u64, state: FriendState, call: Call) {
        match state {
            FriendState::Online(presence) => self.learn_online(peer, seq, presence),
            FriendState::Offline { last_seen_at } => {
                self.learn_offline(peer, seq, last_seen_at, false);
            }
        }
        if self.contacts.settle_query(peer, &call, self.own()) {
            self.waiters.stop_waiting_for(peer);
        }
        if let Some(message) = call.into_unverified() {
            self.take_in(message);
        }
    }

    /// A friend was not reached, and is called again later. Nobody waits for that.
    pub(super) fn peer_failed(&mut self, peer: &UserId, now: Timestamp) {
        if self.contacts.call_failed(peer, self.failures_forgotten(now), self.own(), now) {
            self.waiters.stop_waiting_for(peer);
        }
    }

    /// How many failures a loss of memory may have made forget, guessed from how long ago the user left. Otherwise an object that sleeps
    /// between two failures would call friends at the shortest interval for ever.
    fn failures_forgotten(&self, now: Timestamp) -> u32 {
        let left_at = self.published.last_seen_at().filter(|_| !self.is_present()).unwrap_or(now);
        let minutes = now.unix_ms().saturating_sub(left_at.unix_ms()) / 60_000;
        minutes.checked_ilog2().unwrap_or_default()
    }

    /// Sees to it that every friend is told that the user left, even if memory is lost while they are called. The wake-up that is asked for
    /// here does nothing by itself: it starts the object, and `restore_farewells` calls again those who have yet to be told. Without
    /// it, nothing might ever start an object without sockets.
    ///
    /// Calls that an alarm's own event makes need no such wake-up: the runtime repeats an alarm until its handler has ended, and that waits
    /// for them. Calls that were in flight before it do. [`Event::Woken`](crate::Event::Woken) by a tick looks the same, and needs
    /// none either: then the alarm for the end of the grace is still set.
    pub(super) fn expect_farewells(
        &mut self,
        was_present: bool,
        woken: bool,
        called: &BTreeSet<UserId>,
        now: Timestamp,
    ) {
        let mut in_flight = self.contacts.called_undelivered().peekable();
        if self.is_present() || in_flight.peek().is_none() {
            self.check_farewells_at = None;
            return;
        }
        let begins = if woken {
            in_flight.any(|friend| !called.contains(friend))
        } else {
            was_present || in_flight.any(|friend| called.contains(friend))
        };
        if self.check_farewells_at.map_or(begins, |until| until <= now) {
            // Long after any call has ended.
            self.check_farewells_at = Some(now.plus_ms(self.config.timeout_ms));
        }
    }
}
