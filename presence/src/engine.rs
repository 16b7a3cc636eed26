//! One user: what every event means. The state is in parts, each of which owns its own; here is how they work together.

mod clients;
mod core;
mod friends;
mod memory;

use shared::{
    ids::{SocketId, UserId},
    internal::{Interest, Presence},
    limits::{PRESENCE_GRACE_MS, PRESENCE_TIMEOUT_MS},
    page::Page,
    time::Timestamp,
    wire::{CloseCode, ServerMessage},
};

use crate::{
    contacts::{Contacts, Own},
    core_replica::CoreReplica,
    event::{Effect, Event, Wake, WakeReason},
    output::Output,
    published::{Change, Published, Urgency},
    sessions::{Session, Sessions},
    waiters::{Recipient, SnapshotWaiters},
};

/// Who answers heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeartbeatMode {
    /// The runtime, those in the exact bytes of [`shared::wire::HEARTBEAT_REQUEST`]. Others wake the object and count as
    /// messages.
    #[default]
    Auto,
    /// The object, all of them: for a runtime whose record of when it answered cannot be trusted.
    Wake,
}

/// What configuration may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Without a sign of life for this long, a socket is dead. In milliseconds, as is the grace.
    pub timeout_ms: i64,
    /// Between the last socket's closing and going offline: a reconnect within it is seen by nobody.
    pub grace_ms: i64,
    /// Who answers heartbeats.
    pub heartbeats: HeartbeatMode,
}

impl Default for Times {
    fn default() -> Self {
        Self { timeout_ms: PRESENCE_TIMEOUT_MS, grace_ms: PRESENCE_GRACE_MS, heartbeats: HeartbeatMode::default() }
    }
}

/// The state of one user's object.
#[derive(Debug)]
pub struct UserPresence {
    me: UserId,
    times: Times,
    status: Status,
    /// Sockets, what each reported, and the page in front.
    sessions: Sessions,
    /// What friends may see of the user.
    published: Published,
    /// Friends, and the calls to them.
    contacts: Contacts,
    /// Friends and settings as the core told them.
    core: CoreReplica,
    /// Who waits for friends' answers.
    waiters: SnapshotWaiters,
    /// When to look whether friends took in that the user left, in case memory is lost while they are told.
    farewells_until: Option<Timestamp>,
    /// What to do about the event that is being handled.
    output: Output,
}

/// Whether the user has sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// None, and the grace is over.
    Absent,
    Connected,
    /// None since `since`, until `ends_at`. `sockets_lost`: they were lost together with the memory of what they showed, and a
    /// wake-up ends the grace.
    Grace {
        ends_at: Timestamp,
        since: Timestamp,
        sockets_lost: bool,
    },
}

impl UserPresence {
    /// Takes in what happened and says what to do about it, in order.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        let answered = matches!(event, Event::PeerAnswered { .. } | Event::PeerFailed { .. });
        let (woken, was_present) = (matches!(event, Event::Woken { .. }), self.is_present());
        match event {
            Event::SocketOpened { socket, expires_at } => self.socket_opened(socket, expires_at, now),
            Event::FrameReceived { socket, frame } => self.frame_received(socket, frame, now),
            Event::TokenChecked { socket, outcome } => self.token_checked(socket, outcome, now),
            Event::SocketClosed { socket } => {
                if let Some(closed) = self.sessions.remove(socket) {
                    self.socket_closed(closed, now);
                }
            }
            Event::PeerSpoke { message } => self.peer_spoke(message, now),
            Event::PeerAnswered { peer, answer } => self.peer_answered(peer, answer, now),
            Event::PeerFailed { peer } => self.peer_failed(&peer, now),
            Event::SocialLoaded { social } => self.social_loaded(social, now),
            Event::SocialFailed => self.social_failed(now),
            Event::CoreReported { events } => self.core_reported(events, now),
            Event::Read { read, friend } => self.read(read, friend, now),
            Event::Woken { heard } => self.woken(&heard, now),
        }
        self.serve_waiters();
        let called = self.make_calls(now);
        self.expect_farewells(was_present, woken, &called, now);
        if self.contacts.take_changed() {
            self.output.checkpoint();
        }
        if answered {
            self.output.defer_checkpoint(self.contacts.has_calls());
        }
        self.finish(now)
    }

    /// When this user wants [`Event::Woken`] at the latest, whatever becomes of memory, and why. `None` when nothing is
    /// pending.
    pub fn next_wake(&self) -> Option<Wake> {
        let grace_ends_at = match self.status {
            Status::Grace { ends_at, .. } => Some(ends_at),
            Status::Connected | Status::Absent => None,
        };
        let next_snapshot_at = self.postponed_sockets().next().map(|_| self.contacts.next_query_at());
        let reasons = [
            (grace_ends_at, WakeReason::GraceEnds),
            (self.sessions.look_at(), WakeReason::SocketsEnd),
            (self.contacts.next_retry_at(), WakeReason::RetryDue),
            (next_snapshot_at, WakeReason::QueriesAllowed),
            (self.core.load_at(), WakeReason::CoreDue),
            (self.farewells_until, WakeReason::FarewellsDue),
        ];
        let wakes = reasons.into_iter().filter_map(|(at, reason)| Some(Wake { at: at?, reason }));
        wakes.min_by_key(|wake| wake.at)
    }

    /// When this user wants [`Event::Woken`] too, as long as memory lasts: within [`crate::limits::CHANGE_EVERY_MS`]. What it
    /// is for is made up for after a loss of memory.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.published.is_throttled().then(|| self.published.next_change_at())
    }

    /// The version of the core's answer that is kept, if any is.
    pub fn social_version(&self) -> Option<u64> {
        self.core.version()
    }

    /// The version that the core need not send again. None where nothing is kept, or names that cannot be read: another
    /// version of this program wrote them. Looks at every name.
    pub fn known_version(&self) -> Option<u64> {
        self.core.known_version()
    }

    /// Whether friends and settings are known to be old while the user is absent. They are not asked for until somebody needs
    /// them.
    pub fn is_behind(&self) -> bool {
        self.core.behind().is_some() && !self.is_present()
    }

    /// Whether an operator has suspended the user, as far as is known: nobody is to be let in.
    pub fn is_suspended(&self) -> bool {
        self.core.is_suspended()
    }

    /// Right after [`Self::restore`]: whether sockets brought back a memory that slept while nothing was in progress. Then an
    /// alarm is presumably set for [`Self::next_wake`] or earlier.
    pub fn has_slept(&self) -> bool {
        !self.sessions.is_empty() && !self.contacts.is_recovering()
    }

    /// Whether the user has sockets, or had until a moment ago.
    pub fn is_present(&self) -> bool {
        self.status != Status::Absent
    }

    fn woken(&mut self, heard: &[(SocketId, Timestamp)], now: Timestamp) {
        for (socket, heard_at) in heard {
            if self.sessions.heard(*socket, *heard_at) {
                // Otherwise sleep would bring back what was heard before, and an alarm for it.
                self.output.touch([*socket]);
            }
        }
        self.close_ended(now);
        if let Status::Grace { ends_at, since, sockets_lost } = self.status
            && (sockets_lost || ends_at <= now)
        {
            // It counts as a change, though it is not throttled.
            self.published.take_turn(now);
            self.go_offline(since, now);
        }
        if self.core.load_at().is_some_and(|at| at <= now) {
            self.load_social();
        }
        self.contacts.retry_due(now);
        if self.published.is_throttled() {
            self.publish(Urgency::Throttled, now);
        }
        for socket in self.postponed_sockets().collect::<Vec<_>>() {
            self.send_snapshot(socket, now);
        }
    }

    /// The page in front, if friends may see it.
    fn visible_page(&self) -> Option<Page> {
        self.sessions.front().filter(|page| self.core.shows(page)).cloned()
    }

    /// Since when the user is idle. Without sockets they are as they were.
    fn idle_since(&self) -> Option<Timestamp> {
        self.sessions.idle_since().unwrap_or(self.published.shown().idle_since)
    }

    /// Judges anew what friends may see. If it changed, friends and the user's own sockets are told.
    fn publish(&mut self, urgency: Urgency, now: Timestamp) {
        let (present, page, idle_since) = (self.is_present(), self.visible_page(), self.idle_since());
        let change = self.published.update(present, page, idle_since, |page| self.core.shows(page), urgency, now);
        let concerned = match change {
            Change::None => return,
            Change::Throttled => return self.output.checkpoint(),
            Change::Shown { came } => {
                let sockets = if came { self.sessions.ready() } else { self.sessions.watching() };
                self.output.show(sockets, self.presence());
                if came { Interest::Availability } else { Interest::Pages }
            }
            Change::Vanished => {
                let message = ServerMessage::PresenceTimeout { user_id: self.me.clone(), last_seen_at: Some(now) };
                self.output.send(self.sessions.ready(), message);
                Interest::Availability
            }
        };
        self.output.checkpoint();
        if concerned == Interest::Availability {
            self.output.save_state();
        }
        self.contacts.announce(concerned, self.own());
        if urgency == Urgency::Immediate || change == Change::Vanished {
            self.contacts.retry_now(now);
        }
    }

    /// The user is absent from now on. Friends who see them are told. Storage calls them leaving until all have heard.
    fn go_offline(&mut self, last_seen_at: Timestamp, now: Timestamp) {
        self.status = Status::Absent;
        let vanished = self.published.leave(last_seen_at, now);
        let waiters = &self.waiters;
        let own = own(self.status, &self.sessions, &self.published);
        self.contacts.go_offline(vanished, |friend| waiters.is_awaited(friend), own, now);
        self.sessions.set_front(None);
        self.core.stop_loading();
        self.output.save_state();
    }

    /// What friends see of this user while visible.
    fn presence(&self) -> Presence {
        self.published.presence(&self.me)
    }

    /// What of the user decides what friends are told.
    fn own(&self) -> Own {
        own(self.status, &self.sessions, &self.published)
    }

    /// Gives a socket its snapshot as soon as all is known that it takes. Where friends were queried too often lately, it
    /// waits until they may be again.
    fn send_snapshot(&mut self, socket: SocketId, now: Timestamp) {
        if let Ok(waits_for) = self.contacts.query_for_user(self.contacts.not_fresh(), now) {
            self.waiters.add(Recipient::Socket(socket), waits_for, now);
        }
    }

    /// The sockets whose snapshots wait until friends may be queried again.
    fn postponed_sockets(&self) -> impl Iterator<Item = SocketId> {
        self.sessions.not_ready().filter(|socket| !self.waiters.has_socket(*socket))
    }

    fn close(&mut self, socket: SocketId, code: CloseCode, now: Timestamp) {
        if let Some(closed) = self.sessions.remove(socket) {
            self.output.close(socket, code);
            self.socket_closed(closed, now);
        }
    }

    fn socket_closed(&mut self, closed: Session, now: Timestamp) {
        if self.sessions.is_empty() {
            // Friends do not see an invisible user leave.
            if !self.published.is_visible() {
                return self.go_offline(now, now);
            }
            let ends_at = now.plus_ms(self.times.grace_ms);
            self.status = Status::Grace { ends_at, since: now, sockets_lost: false };
            return self.output.save_state();
        }
        self.sessions.inherit(closed);
        // What only the closed one carried must outlive it.
        self.output.checkpoint();
        self.publish(Urgency::Throttled, now);
    }

    /// Closes the sockets that are silent and those whose tokens have expired.
    fn close_ended(&mut self, now: Timestamp) {
        let last_heard_at = self.sessions.last_heard_at();
        let silent = self.sessions.silent(now);
        if let Some(last_heard_at) = last_heard_at.filter(|_| silent.len() == self.sessions.len()) {
            // Silent for longer than any grace.
            for socket in self.sessions.remove_all() {
                self.output.close(socket, CloseCode::Silent);
            }
            return self.go_offline(last_heard_at, now);
        }
        for socket in silent {
            self.close(socket, CloseCode::Silent, now);
        }
        for socket in self.sessions.expired(now) {
            self.close(socket, CloseCode::TokenExpired, now);
        }
        if let (Some(last_heard_at), Status::Grace { ends_at, .. }) = (last_heard_at, &mut self.status) {
            // A socket that was silent already is not given a grace on top.
            *ends_at = (*ends_at).min(last_heard_at.plus_ms(self.times.timeout_ms));
        }
    }

    /// Closes all sockets: the user is let in no more. Friends see them leave.
    fn expel(&mut self, now: Timestamp) {
        for socket in self.sessions.remove_all() {
            self.output.close(socket, CloseCode::AccountGone);
        }
        if self.is_present() {
            self.go_offline(now, now);
        }
    }
}

fn own(status: Status, sessions: &Sessions, published: &Published) -> Own {
    let present = status != Status::Absent;
    Own {
        present,
        interest: if present { sessions.interest() } else { Interest::Nothing },
        visible: published.is_visible(),
        seq: published.seq(),
        transition_seq: published.transition_seq(),
        ever_seen: published.is_visible() || published.last_seen_at().is_some(),
    }
}
