//! One user: their sockets, what of them may be seen, and when they come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::{
    ids::{EventId, SocketId, UserId},
    internal::{PeerSay, Presence, Wants},
    limits::{
        ACTIVE_NOTE_MS, PEER_LATE_MS, PRESENCE_GRACE_MS, PRESENCE_TIMEOUT_MS, SILENCE_SLACK_DIVISOR, SOCIAL_AGAIN_MS,
        SOCKETS_MAX,
    },
    page::Page,
    time::Timestamp,
    wire::{CloseCode, PageView, PresenceUpdate, ServerMessage},
};

use crate::{
    calls::{Call, Failure},
    event::{Effect, Event, Save},
    friends::View,
    kept::Kept,
    pace::{Lately, Pace},
    reading::{Reader, Whom},
    saved::{Report, SavedState},
};

/// Who answers heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeartbeatMode {
    /// The runtime, those in the exact bytes of [`shared::wire::HEARTBEAT_REQUEST`]. Others wake the object, and count as
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
    pub(crate) me: UserId,
    pub(crate) times: Times,
    /// Memory was lost in the midst of something.
    pub(crate) unsure: bool,
    /// What was said before this may have been followed by what was forgotten since.
    pub(crate) believes_from: Timestamp,

    /// Friends and settings as the core last told them. `None`: never asked.
    pub(crate) social: Option<Kept>,
    /// The friends among them.
    pub(crate) friends: BTreeSet<UserId>,
    /// The highest version heard of that could not be applied for want of one before it.
    pub(crate) behind: Option<u64>,
    /// The version of the newest settings that were taken in while something before them was missing. 0: none were.
    pub(crate) settings_version: u64,
    /// When to ask the core again: after it was away or knew less than its events, and soon after a socket opened.
    pub(crate) load_at: Option<Timestamp>,
    pub(crate) event_ids: VecDeque<EventId>,

    pub(crate) sockets: BTreeMap<SocketId, Socket>,
    pub(crate) status: Status,
    /// The user wants to appear offline.
    pub(crate) invisible: bool,
    /// Friends are told that the user is online.
    pub(crate) visible: bool,
    /// When friends last saw the user; frozen until they are seen to leave once more.
    pub(crate) last_seen_at: Option<Timestamp>,
    /// The newest visible change. At least the time in milliseconds, so that it grows even when the memory
    /// of it was lost.
    pub(crate) seq: u64,
    /// The change by which the user last came or left.
    pub(crate) came_or_left: u64,
    /// It is ahead of the clock by much, which storage does not know.
    pub(crate) leapt: bool,
    /// What friends see while the user is visible.
    pub(crate) shown: Shown,
    /// The order of the newest report.
    pub(crate) order: u64,
    /// The page in front, before the owner's rules.
    pub(crate) front: Option<Page>,
    pub(crate) pace: Pace,
    /// How often what the user does may ask friends.
    pub(crate) asks: Pace,
    /// A change waits for its turn.
    pub(crate) held: bool,

    /// Friends who are there, as far as known, and what they want to hear.
    pub(crate) audience: BTreeMap<UserId, Wants>,
    /// Friends whom this user's clients see online.
    pub(crate) seen: BTreeSet<UserId>,
    /// Those of them whom a client sees offline, for want of their answer when it got its snapshot.
    pub(crate) missed: BTreeSet<UserId>,
    /// What is known of friends since memory began.
    pub(crate) views: BTreeMap<UserId, View>,
    /// Friends who have yet to take in the newest visible change; and whom it concerns, those who want to hear at least
    /// this much.
    pub(crate) telling: BTreeMap<UserId, Wants>,
    /// Friends who have yet to say how they appear.
    pub(crate) asking: BTreeSet<UserId>,
    /// Calls under way: one per friend at most.
    pub(crate) calling: BTreeMap<UserId, Call>,
    /// Friends whom the last call did not reach.
    pub(crate) failed: BTreeMap<UserId, Failure>,
    /// Friends whom it may be time to call.
    pub(crate) due: BTreeSet<UserId>,
    /// When to look whether the farewells under way were heard, should memory be lost meanwhile.
    pub(crate) farewells_until: Option<Timestamp>,
    /// Who waits for answers.
    pub(crate) readers: Vec<Reader>,

    /// What to do, gathered while an event is handled.
    pub(crate) effects: Vec<Effect>,
    pub(crate) save_social: bool,
    pub(crate) save_state: bool,
    /// The state that storage holds.
    pub(crate) saved: SavedState,
    /// Sockets that are to carry what is new.
    pub(crate) touched: BTreeSet<SocketId>,
    /// What any socket must carry for the user has changed.
    pub(crate) note: bool,
    /// It has, by answers alone, while others are still to come.
    pub(crate) note_later: bool,
    /// How often sockets were given something to carry.
    pub(crate) noted: u64,
    /// Sockets carry that something is still to be told or asked.
    pub(crate) noted_untold: bool,
    /// The last moment of activity that a socket carries.
    pub(crate) active_at: Timestamp,
    /// Sockets that got their snapshot in this event.
    pub(crate) newly_ready: BTreeSet<SocketId>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Socket {
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
    pub heard_at: Timestamp,
    pub ready: bool,
    pub watching: bool,
    pub idle_since: Option<Timestamp>,
    pub report: Option<Report>,
    /// Messages but heartbeats. Lost with memory: nothing was said for longer than their window then.
    pub frames: Lately,
    pub bad: Lately,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Without sockets.
    Away,
    Here,
    /// Without a socket until the grace is over. `restarted`: the sockets were lost together with the memory of
    /// what they showed, and a wake-up ends the grace.
    Leaving {
        at: Timestamp,
        since: Timestamp,
        restarted: bool,
    },
}

/// What friends see of a visible user, after the owner's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Since when the page, or that it is hidden, is as it is.
    pub at: Timestamp,
    pub page: Option<Page>,
    pub latest: Option<Page>,
    pub idle_since: Option<Timestamp>,
}

impl Shown {
    pub fn nothing(at: Timestamp) -> Self {
        Self { at, page: None, latest: None, idle_since: None }
    }
}

/// Whether a visible change may wait for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// Bursts are held back to their newest.
    Paced,
    /// The user hides something.
    Urgent,
}

impl UserPresence {
    /// Takes in what happened and says what to do about it, in order.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        let answers = matches!(event, Event::PeerAnswered { .. } | Event::PeerFailed { .. });
        let (woken, was_here) = (matches!(event, Event::Woken { .. }), self.is_here());
        match event {
            Event::SocketOpened { socket, expires_at } => self.socket_opened(socket, expires_at, now),
            Event::FrameReceived { socket, frame } => self.frame_received(socket, frame, now),
            Event::TokenChecked { socket, outcome } => self.token_checked(socket, outcome, now),
            Event::SocketClosed { socket } => {
                if let Some(gone) = self.sockets.remove(&socket) {
                    self.socket_gone(gone, now);
                }
            }
            Event::PeerSpoke { message } => self.peer_spoke(message, now),
            Event::PeerAnswered { peer, answer } => self.peer_answered(peer, answer, now),
            Event::PeerFailed { peer } => self.peer_failed(peer, now),
            Event::SocialLoaded { social } => self.social_loaded(social, now),
            Event::SocialFailed => self.social_failed(now),
            Event::CoreReported { events } => self.core_reported(events, now),
            Event::Read { read, friend } => self.read(read, friend, now),
            Event::Woken { heard } => self.woken(&heard, now),
        }
        self.serve_readers();
        self.make_calls(now);
        self.expect_farewells(was_here, woken, now);
        if answers {
            self.put_off_note();
        }
        self.finish(now)
    }

    /// What an answer tells of who is there waits for the others, so that a call to many is noted once: until then
    /// sockets carry that something is under way, and that all who were called may be there.
    fn put_off_note(&mut self) {
        let under_way = self.noted_untold && !self.calling.is_empty();
        let note = self.note || self.note_later;
        (self.note, self.note_later) = (note && !under_way, note && under_way);
    }

    /// When this user wants [`Event::Woken`] at the latest, whatever becomes of memory; `None` when nothing is
    /// pending.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let leaving = match self.status {
            Status::Leaving { at, .. } => Some(at),
            Status::Here | Status::Away => None,
        };
        let slack_ms = self.times.timeout_ms.checked_div(SILENCE_SLACK_DIVISOR).unwrap_or_default();
        let look_at = |socket| self.silent_at(socket).plus_ms(slack_ms);
        let ends = self.sockets.values().map(|socket| socket.expires_at.min(look_at(socket)));
        let idle = |friend: &UserId| !self.calling.contains_key(friend);
        let retry = self.failed.iter().filter(|(id, _)| idle(id)).map(|(_, failure)| failure.retry_at);
        let turn = self.waiting_sockets().next().map(|_| self.asks.next());
        leaving.into_iter().chain(ends).chain(retry).chain(turn).chain(self.load_at).chain(self.farewells_until).min()
    }

    /// When this user wants [`Event::Woken`] too, as long as memory lasts: within [`shared::limits::CHANGE_EVERY_MS`].
    /// What it is for is made up for after a loss of memory.
    pub fn next_tick(&self) -> Option<Timestamp> {
        self.held.then(|| self.pace.next())
    }

    /// The version of the core's answer that is kept, if any is.
    pub fn social_version(&self) -> Option<u64> {
        self.social.as_ref().map(|social| social.head.version)
    }

    /// The version that the core need not send again. None where nothing is kept, or names that cannot be read: another
    /// version of this program wrote them. Looks at every name.
    pub fn known_version(&self) -> Option<u64> {
        self.social.as_ref().filter(|social| social.people().is_some()).map(|social| social.head.version)
    }

    /// Whether friends and settings are known to be old while nobody is here, for whom they would be asked for.
    pub fn is_behind(&self) -> bool {
        self.behind.is_some() && !self.is_here()
    }

    /// Whether an operator has suspended the user, as far as is known: nobody is to be let in.
    pub fn is_suspended(&self) -> bool {
        self.social.as_ref().is_some_and(|social| social.head.suspended)
    }

    /// Right after [`Self::restore`]: whether sockets brought back a memory that slept, in the midst of nothing. Then an
    /// alarm should be set for [`Self::next_wake`] or earlier.
    pub fn has_slept(&self) -> bool {
        !self.sockets.is_empty() && !self.unsure
    }

    /// Whether the user has sockets, or had until a moment ago.
    pub fn is_here(&self) -> bool {
        self.status != Status::Away
    }

    /// Puts what must outlive memory first, so that nobody is told what could be forgotten.
    fn finish(&mut self, now: Timestamp) -> Vec<Effect> {
        let made_good = self.noted_untold && !self.has_untold();
        if made_good || self.active_at.plus_ms(ACTIVE_NOTE_MS) <= now {
            self.note = true;
        }
        if std::mem::take(&mut self.note) {
            self.note_later = false;
            // Without sockets, storage carries it.
            self.save_state = true;
            self.touched.extend(self.newest_socket());
        }
        // All who were to hear that the user left, or vanished, have heard it, or are friends no longer.
        let all_know = self.saved.online && !self.visible && self.telling.is_empty();
        let mut effects = Vec::new();
        if std::mem::take(&mut self.save_state) || all_know {
            let state = self.saved_state();
            // While sockets are open, they carry the newest change and how often friends were asked. Only a change that is
            // ahead of the clock could not be told from the time when they are lost.
            let seq = if self.leapt { state.seq } else { self.saved.seq };
            let asks_full_at = if self.sockets.is_empty() { state.asks_full_at } else { self.saved.asks_full_at };
            if (SavedState { seq, asks_full_at, ..state.clone() }) != self.saved {
                self.leapt = false;
                self.saved = state.clone();
                effects.push(Effect::Save(Save::State(state)));
            }
        }
        let newly_ready = std::mem::take(&mut self.newly_ready);
        for socket in std::mem::take(&mut self.touched) {
            effects.extend(self.attachment(socket, !newly_ready.contains(&socket), now));
        }
        // After the change that was judged by them, or it would be another one by the friends and settings of now.
        if std::mem::take(&mut self.save_social) {
            effects.extend(self.social.clone().map(|social| Effect::Save(Save::Social(social))));
        }
        effects.append(&mut self.effects);
        // A snapshot that was sent and forgotten comes again; one that was not sent would be missing.
        for socket in newly_ready {
            effects.extend(self.attachment(socket, true, now));
        }
        effects
    }

    fn socket_opened(&mut self, socket: SocketId, expires_at: Timestamp, now: Timestamp) {
        if self.is_suspended() {
            return self.effects.push(Effect::Close { socket, code: CloseCode::AccountGone });
        }
        let mut report = None;
        match self.status {
            Status::Here => {}
            // Until its client reports, the socket stands for those that friends believe to be there.
            Status::Leaving { restarted: false, .. } => {
                report = Some(Report { order: self.order, page: self.front.clone() });
            }
            // Friends may see a page that nobody remembers: what is true now is newer.
            Status::Leaving { restarted: true, .. } => {
                self.grow_seq(now);
                self.shown = Shown::nothing(now);
                self.tell(Wants::Comings);
            }
            Status::Away => {
                self.renew_readers(now);
                // Every friend is to hear of it, even one who was asked a moment ago. Who has yet to hear of the user's
                // going hears of their coming instead.
                self.views.clear();
                // What was asked before may be answered only now, and friends have left this user out since.
                self.calling.values_mut().for_each(|call| call.wants = Wants::Nothing);
                // What they said until now went by unheard, and may still come, dated by any clock.
                self.believes_from = now.plus_ms(PEER_LATE_MS);
                if self.asks.next() > now {
                    // Nor are they asked once more now. Whoever waits for them reads what is known.
                    self.asking.clear();
                    self.readers.iter_mut().for_each(|reader| reader.waits_for.clear());
                }
            }
        }
        let opened = Socket {
            opened_at: now,
            expires_at,
            heard_at: now,
            ready: false,
            watching: true,
            idle_since: None,
            report,
            frames: Lately::default(),
            bad: Lately::default(),
        };
        self.sockets.insert(socket, opened);
        self.status = Status::Here;
        if self.behind.is_some() {
            self.load_at = Some(now.plus_ms(SOCIAL_AGAIN_MS));
        }
        self.save_state = true;
        self.touched.extend(self.sockets.keys());
        if self.sockets.len() > SOCKETS_MAX {
            let oldest = self.sockets.iter().min_by_key(|(id, open)| (**id == socket, open.opened_at));
            if let Some(oldest) = oldest.map(|(id, _)| *id) {
                self.close(oldest, CloseCode::TooManySockets, now);
            }
        }
        self.settle(Haste::Paced, now);
        self.show_all(socket, now);
    }

    /// Gives a socket its snapshot as soon as all is known that it takes. Where friends were asked too often lately, it waits
    /// for its turn.
    pub(crate) fn show_all(&mut self, socket: SocketId, now: Timestamp) {
        let Ok(waits_for) = self.ask_unknown_friends(now) else { return };
        let whom = Whom::Socket(socket);
        // However often a client asks, it waits once.
        let since = self.readers.iter().find(|reader| reader.whom == whom).map_or(now, |reader| reader.since);
        self.readers.retain(|reader| reader.whom != whom);
        self.readers.push(Reader { whom, since, waits_for });
    }

    /// The socket that reported last; of those that never did, any.
    pub(crate) fn newest_socket(&self) -> Option<SocketId> {
        let order = |socket: &Socket| socket.report.as_ref().map(|report| report.order);
        self.sockets.iter().max_by_key(|(_, socket)| order(socket)).map(|(id, _)| *id)
    }

    fn woken(&mut self, heard: &[(SocketId, Timestamp)], now: Timestamp) {
        for (socket, heard_at) in heard {
            if let Some(open) = self.sockets.get_mut(socket)
                && open.heard_at < *heard_at
            {
                open.heard_at = *heard_at;
                // Or else sleep would bring back what was heard before, and an alarm for it.
                self.touched.insert(*socket);
            }
        }
        self.close_ended(now);
        if let Status::Leaving { at, since, restarted } = self.status
            && (restarted || at <= now)
        {
            // It counts as a change, whoever had to wait for it.
            self.pace.take(now);
            self.go_offline(since, now);
        }
        if self.load_at.is_some_and(|at| at <= now) {
            self.load_social();
        }
        self.due.extend(self.failed.iter().filter(|(_, failure)| failure.retry_at <= now).map(|(id, _)| id.clone()));
        if self.held {
            self.settle(Haste::Paced, now);
        }
        for socket in self.waiting_sockets().collect::<Vec<_>>() {
            self.show_all(socket, now);
        }
    }

    /// The sockets whose snapshots wait until friends may be asked again.
    fn waiting_sockets(&self) -> impl Iterator<Item = SocketId> {
        let is_served = |socket: SocketId| self.readers.iter().any(|reader| reader.whom == Whom::Socket(socket));
        self.sockets.iter().filter(move |(id, open)| !open.ready && !is_served(**id)).map(|(id, _)| *id)
    }

    /// Puts the page that was reported last in front.
    pub(crate) fn bring_to_front(&mut self) {
        let newest = self.sockets.values().filter_map(|socket| socket.report.as_ref()).max_by_key(|r| r.order);
        if let Some(report) = newest {
            self.order = self.order.max(report.order);
            self.front = report.page.clone();
        }
    }

    /// Whether the owner's rules let friends see the page. The one place that decides.
    pub(crate) fn may_be_seen(&self, page: &Page) -> bool {
        self.social.as_ref().is_some_and(|social| social.head.share.shows(page))
    }

    /// The page in front, if friends may see it.
    pub(crate) fn visible_page(&self) -> Option<Page> {
        self.front.clone().filter(|page| self.may_be_seen(page))
    }

    /// The user is idle when all their sockets are, since the last of them was. Without sockets they are as they were.
    pub(crate) fn idle_since(&self) -> Option<Timestamp> {
        if self.sockets.is_empty() {
            return self.shown.idle_since;
        }
        let since: Option<Vec<Timestamp>> = self.sockets.values().map(|socket| socket.idle_since).collect();
        since?.into_iter().max()
    }

    /// Judges anew what friends may see, and tells them and the user's own sockets if it changed.
    pub(crate) fn settle(&mut self, haste: Haste, now: Timestamp) {
        let visible = self.is_here() && !self.invisible;
        self.held = false;
        let (was_visible, before) = (self.visible, &self.shown);
        if !visible && !was_visible {
            return;
        }
        let page = self.visible_page();
        let kept = before.latest.clone().filter(|page| was_visible && self.may_be_seen(page));
        let latest = page.clone().or(kept);
        let idle_since = self.idle_since();
        let same = (&page, &latest, idle_since) == (&before.page, &before.latest, before.idle_since);
        if visible == was_visible && same {
            return;
        }
        // To hide never waits, though it counts.
        if !self.pace.take(now) && haste == Haste::Paced && visible {
            self.held = true;
            self.note = true;
            return;
        }
        self.grow_seq(now);
        self.note = true;
        self.visible = visible;
        if visible {
            // Idleness alone changes nothing of the page, whose age clients show.
            let at = if was_visible && page == self.shown.page { self.shown.at } else { now };
            self.shown = Shown { at, page, latest, idle_since };
            let to = if was_visible { self.watching_sockets() } else { self.ready_sockets() };
            self.show(to, self.presence());
        } else {
            self.shown = Shown::nothing(now);
            self.last_seen_at = Some(now);
            let message = ServerMessage::PresenceTimeout { user_id: self.me.clone(), last_seen_at: Some(now) };
            self.send(self.ready_sockets(), message);
        }
        if visible != was_visible {
            self.came_or_left = self.seq;
            self.save_state = true;
        }
        self.tell(if visible == was_visible { Wants::Pages } else { Wants::Comings });
        if haste == Haste::Urgent || !visible {
            self.hurry(now);
        }
    }

    pub(crate) fn grow_seq(&mut self, now: Timestamp) {
        let now_ms = u64::try_from(now.unix_ms()).unwrap_or_default();
        self.seq = now_ms.max(self.seq.saturating_add(1));
    }

    /// What friends see of this user while visible.
    pub(crate) fn presence(&self) -> Presence {
        let Shown { at, page, latest, idle_since } = &self.shown;
        let (page, latest) = (PageView::from(page.as_ref()), PageView::from(latest.as_ref()));
        Presence::new(PresenceUpdate {
            user_id: self.me.clone(),
            url: page.url,
            title: page.title,
            domain: page.domain,
            latest_url: latest.url,
            latest_title: latest.title,
            latest_domain: latest.domain,
            seq: self.seq,
            at: *at,
            idle: idle_since.is_some(),
            idle_since: *idle_since,
        })
    }

    /// How friends are told of what they see; nothing when they never saw anything.
    pub(crate) fn news(&self) -> Option<PeerSay> {
        if self.visible {
            return Some(PeerSay::Presence { presence: self.presence() });
        }
        self.last_seen_at.map(|last_seen_at| PeerSay::Bye { last_seen_at })
    }

    /// What this user wants to hear of friends.
    pub(crate) fn wants(&self) -> Wants {
        if !self.is_here() {
            Wants::Nothing
        } else if self.sockets.values().any(|socket| socket.watching) {
            Wants::Pages
        } else {
            Wants::Comings
        }
    }

    /// The sockets that have their snapshot: before it, they get nothing else about presence.
    pub(crate) fn ready_sockets(&self) -> Vec<SocketId> {
        self.sockets.iter().filter(|(_, socket)| socket.ready).map(|(id, _)| *id).collect()
    }

    /// Those of them that want page changes.
    pub(crate) fn watching_sockets(&self) -> Vec<SocketId> {
        self.sockets.iter().filter(|(_, socket)| socket.ready && socket.watching).map(|(id, _)| *id).collect()
    }

    pub(crate) fn send(&mut self, sockets: Vec<SocketId>, message: ServerMessage) {
        if !sockets.is_empty() {
            self.effects.push(Effect::Send { sockets, message });
        }
    }

    pub(crate) fn show(&mut self, sockets: Vec<SocketId>, presence: Presence) {
        if !sockets.is_empty() {
            self.effects.push(Effect::Show { sockets, presence });
        }
    }
}
