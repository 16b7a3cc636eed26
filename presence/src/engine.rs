//! One user's presence: what every event means.
//!
//! The state is in parts, each private to its own module: [`Sessions`], [`Published`], [`Contacts`], [`CoreReplica`],
//! [`SnapshotWaiters`], [`Output`]. This module and those below it ask the parts and combine their answers.

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
    published::{PublishResult, Published, Urgency},
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

/// What a deployment may configure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineConfig {
    /// A socket that was silent for this long is dead. In milliseconds.
    pub timeout_ms: i64,
    /// How long the user stays online after the last socket closed, in milliseconds. Friends do not notice a reconnect within it.
    pub grace_ms: i64,
    /// Who answers heartbeats.
    pub heartbeats: HeartbeatMode,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { timeout_ms: PRESENCE_TIMEOUT_MS, grace_ms: PRESENCE_GRACE_MS, heartbeats: HeartbeatMode::default() }
    }
}

/// The state of one user's object.
#[derive(Debug)]
pub struct UserPresence {
    me: UserId,
    config: EngineConfig,
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
    /// When to look whether friends have been told that the user left, in case memory is lost while they are called.
    check_farewells_at: Option<Timestamp>,
    /// What to do about the event that is being handled.
    output: Output,
}

/// Whether the user has sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// The user has none, and the grace is over.
    Absent,
    /// The user has at least one.
    Connected,
    /// The last one closed a moment ago, and friends still see the user.
    Grace {
        ends_at: Timestamp,
        /// When the last one closed.
        since: Timestamp,
        /// The sockets were lost together with memory, and with them what friends see. The next wake-up ends the grace: it comes after a
        /// few seconds, in which a client may connect.
        page_unknown: bool,
    },
}

impl UserPresence {
    /// Takes in what happened and says what to do about it, in order.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        let is_call_result = matches!(event, Event::PeerAnswered { .. } | Event::PeerFailed { .. });
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
        // In this order: snapshots hold what the event has changed, calls say what is true after it, farewells are those of the calls, and
        // what is written at the end knows all of it.
        self.serve_waiters();
        let called = self.make_calls(now);
        self.expect_farewells(was_present, woken, &called, now);
        if self.contacts.take_roster_is_old() {
            self.output.request_checkpoint();
        }
        if is_call_result {
            self.output.defer_checkpoint(self.contacts.has_calls());
        }
        self.finish(now)
    }

    /// When the shell must send [`Event::Woken`] at the latest, and why. This wake-up must come even if memory is lost. `None` if
    /// nothing is pending.
    pub fn next_wake(&self) -> Option<Wake> {
        let grace_ends_at = match self.status {
            Status::Grace { ends_at, .. } => Some(ends_at),
            Status::Connected | Status::Absent => None,
        };
        let next_snapshot_at = self.postponed_sockets().next().map(|_| self.contacts.next_query_at());
        let reasons = [
            (grace_ends_at, WakeReason::GraceEnds),
            (self.sessions.next_check_at(), WakeReason::SocketsEnd),
            (self.contacts.next_retry_at(), WakeReason::RetryDue),
            (next_snapshot_at, WakeReason::QueriesAllowed),
            (self.core.load_at(), WakeReason::CoreDue),
            (self.check_farewells_at, WakeReason::FarewellsDue),
        ];
        let wakes = reasons.into_iter().filter_map(|(at, reason)| Some(Wake { at: at?, reason }));
        wakes.min_by_key(|wake| wake.at)
    }

    /// When the shell should send [`Event::Woken`] besides, if memory lasts: a throttled change may be published then. It is within
    /// [`crate::limits::CHANGE_EVERY_MS`]. After a loss of memory, [`Self::restore`] publishes the change.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.published.is_throttled().then(|| self.published.next_change_at())
    }

    /// The version of the core's answer that is kept, if any is.
    pub fn social_version(&self) -> Option<u64> {
        self.core.version()
    }

    /// The version that the core need not send again. `None` if nothing is kept, or if another version of this program wrote names
    /// that this one cannot read. Reads every name.
    pub fn known_version(&self) -> Option<u64> {
        self.core.known_version()
    }

    /// Whether the user is absent, and friends and settings are known to be old. The core is asked when somebody needs them.
    pub fn is_absent_and_behind(&self) -> bool {
        self.core.missing_up_to().is_some() && !self.is_present()
    }

    /// Whether an operator has suspended the user, as far as is known. A suspended user is not let in.
    pub fn is_suspended(&self) -> bool {
        self.core.is_suspended()
    }

    /// Right after [`Self::restore`]: whether the object has slept with sockets open and nothing in progress. Then an alarm is
    /// presumably set for [`Self::next_wake`] or earlier.
    pub fn has_slept(&self) -> bool {
        !self.sessions.is_empty() && !self.contacts.is_recovering()
    }

    /// Whether the user has sockets, or had a moment ago.
    pub fn is_present(&self) -> bool {
        self.status != Status::Absent
    }

    fn woken(&mut self, heard: &[(SocketId, Timestamp)], now: Timestamp) {
        for (socket, heard_at) in heard {
            if self.sessions.heard(*socket, *heard_at) {
                // After sleep, the time in the attachment counts. An old one would wake the object too early.
                self.output.request_attachments([*socket]);
            }
        }
        self.close_ended(now);
        if let Status::Grace { ends_at, since, page_unknown } = self.status
            && (page_unknown || ends_at <= now)
        {
            // Going offline counts for the rate limit of changes, but is never throttled.
            self.published.count_change(now);
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

    /// Since when the user is idle. Without sockets, what friends see stays.
    fn idle_since(&self) -> Option<Timestamp> {
        self.sessions.idle_since().unwrap_or(self.published.shown().idle_since)
    }

    /// Decides what friends may see now. If that differs from what they see, friends and the user's own sockets are told.
    fn publish(&mut self, urgency: Urgency, now: Timestamp) {
        let (present, page, idle_since) = (self.is_present(), self.visible_page(), self.idle_since());
        let result = self.published.update(present, page, idle_since, |page| self.core.shows(page), urgency, now);
        let concerned = match result {
            PublishResult::Unchanged => return,
            PublishResult::Throttled => return self.output.request_checkpoint(),
            PublishResult::Shown { came } => {
                let sockets = if came { self.sessions.ready() } else { self.sessions.watching() };
                self.output.show(sockets, self.presence());
                if came { Interest::Availability } else { Interest::Pages }
            }
            PublishResult::Vanished => {
                let message = ServerMessage::PresenceTimeout { user_id: self.me.clone(), last_seen_at: Some(now) };
                self.output.send(self.sessions.ready(), message);
                Interest::Availability
            }
        };
        self.output.request_checkpoint();
        self.contacts.announce(concerned, self.own());
        if urgency == Urgency::Immediate || result == PublishResult::Vanished {
            self.contacts.retry_now(now);
        }
    }

    /// The user is absent from now on, and friends who see them are told. Storage keeps a [`crate::Departure`] until all were.
    fn go_offline(&mut self, last_seen_at: Timestamp, now: Timestamp) {
        self.status = Status::Absent;
        let vanished = self.published.go_offline(last_seen_at, now);
        let waiters = &self.waiters;
        let own = own(self.status, &self.sessions, &self.published);
        self.contacts.go_offline(vanished, |friend| waiters.is_awaited(friend), own, now);
        self.sessions.set_front(None);
        self.core.clear_load_at();
        self.output.request_state_save();
    }

    /// What friends see of this user while visible.
    fn presence(&self) -> Presence {
        self.published.presence(&self.me)
    }

    /// The user's own state, as far as it decides what friends are told.
    fn own(&self) -> Own {
        own(self.status, &self.sessions, &self.published)
    }

    /// Queries the friends of whom nothing fresh is known. The socket gets its snapshot when they have answered. If the rate limit
    /// allows no query now, the snapshot is postponed: a wake-up comes back here.
    fn send_snapshot(&mut self, socket: SocketId, now: Timestamp) {
        if let Ok(waits_for) = self.contacts.query_for_user(self.contacts.not_fresh(), now) {
            self.waiters.add(Recipient::Socket(socket), waits_for, now);
        }
    }

    /// The sockets whose snapshots are postponed until the rate limit allows a query.
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
            // Friends do not see an invisible user: no grace is needed.
            if !self.published.is_visible() {
                return self.go_offline(now, now);
            }
            let ends_at = now.plus_ms(self.config.grace_ms);
            self.status = Status::Grace { ends_at, since: now, page_unknown: false };
            return self.output.request_state_save();
        }
        self.sessions.inherit(closed);
        // The closed socket may have carried the newest checkpoint.
        self.output.request_checkpoint();
        self.publish(Urgency::Throttled, now);
    }

    /// Closes the sockets that are silent and those whose tokens have expired.
    fn close_ended(&mut self, now: Timestamp) {
        let last_heard_at = self.sessions.last_heard_at();
        let silent = self.sessions.silent(now);
        if let Some(last_heard_at) = last_heard_at.filter(|_| silent.len() == self.sessions.len()) {
            // All were silent for longer than any grace.
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
            // The timeout counts from the last sign of life, and the grace does not prolong it.
            *ends_at = (*ends_at).min(last_heard_at.plus_ms(self.config.timeout_ms));
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
