//! One user: their sockets, what of them may be seen, and when they come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use shared::{
    ids::{EventId, SocketId, UserId},
    internal::{PeerMessage, PeerSay, Presence, Social},
    limits::{FRAME_BYTES_MAX, PRESENCE_GRACE_MS, PRESENCE_TIMEOUT_MS},
    page::Page,
    time::Timestamp,
    wire::{ClientMessage, CloseCode, ErrorCode, PageView, PresenceUpdate, ServerMessage},
};

use crate::{
    event::{Effect, Event, Frame, Save},
    friends::View,
    reading::Reader,
    saved::Report,
};

/// The times that configuration may change, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Without a sign of life for this long, a socket is dead.
    pub timeout_ms: i64,
    /// Between the last socket's closing and going offline: a reconnect within it is seen by nobody.
    pub grace_ms: i64,
}

impl Default for Times {
    fn default() -> Self {
        Self { timeout_ms: PRESENCE_TIMEOUT_MS, grace_ms: PRESENCE_GRACE_MS }
    }
}

/// The state of one user's object.
#[derive(Debug)]
pub struct UserPresence {
    pub(crate) me: UserId,
    pub(crate) times: Times,

    /// Friends and settings as the core last told them. `None`: never asked.
    pub(crate) social: Option<Social>,
    /// The highest version heard of that could not be applied for want of one before it.
    pub(crate) behind: Option<u64>,
    /// When to ask the core again after it was away.
    pub(crate) load_at: Option<Timestamp>,
    pub(crate) event_ids: VecDeque<EventId>,

    pub(crate) sockets: BTreeMap<SocketId, Socket>,
    pub(crate) status: Status,
    /// The newest visible change. At least the time in milliseconds, so that it grows even when the memory
    /// of it was lost.
    pub(crate) seq: u64,
    /// What friends see while online.
    pub(crate) shown: Shown,
    /// The order of the newest report.
    pub(crate) order: u64,
    /// The page in front, before the owner's rules.
    pub(crate) front: Option<Page>,

    /// Friends who are online, as far as known: to them a change goes.
    pub(crate) audience: BTreeSet<UserId>,
    /// What is known of friends since memory began.
    pub(crate) views: BTreeMap<UserId, View>,
    /// Friends whose answer is awaited.
    pub(crate) asking: BTreeSet<UserId>,
    /// Who waits for those answers.
    pub(crate) readers: Vec<Reader>,

    /// What to do, gathered while an event is handled.
    pub(crate) effects: Vec<Effect>,
    pub(crate) save_state: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Socket {
    pub heard_at: Timestamp,
    pub ready: bool,
    pub idle_since: Option<Timestamp>,
    pub report: Option<Report>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Offline {
        last_seen_at: Option<Timestamp>,
    },
    Online,
    /// Online without a socket until the grace is over. `restarted`: the sockets were lost together with
    /// the memory of what they showed, and a wake-up ends the grace.
    Leaving {
        at: Timestamp,
        since: Timestamp,
        restarted: bool,
    },
}

/// What friends see of an online user, after the owner's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub at: Timestamp,
    pub page: Option<Page>,
    pub latest: Option<Page>,
    pub idle_since: Option<Timestamp>,
}

impl UserPresence {
    /// Takes in what happened and says what to do about it, in order.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        match event {
            Event::SocketOpened { socket } => self.socket_opened(socket, now),
            Event::FrameReceived { socket, frame } => self.frame_received(socket, frame, now),
            Event::SocketClosed { socket } => {
                if let Some(gone) = self.sockets.remove(&socket) {
                    self.socket_gone(gone, now);
                }
            }
            Event::PeerSpoke { message } => self.peer_spoke(message),
            Event::PeerAnswered { peer, answer } => self.peer_answered(peer, answer),
            Event::PeerFailed { peer } => {
                self.asking.remove(&peer);
            }
            Event::SocialLoaded { social } => self.social_loaded(social, now),
            Event::SocialFailed => self.social_failed(now),
            Event::CoreReported { events } => self.core_reported(events, now),
            Event::Read { read, friend } => self.read(read, friend),
            Event::Woken { heard } => self.woken(&heard, now),
        }
        self.serve_readers();
        if std::mem::take(&mut self.save_state) {
            // First, so that nobody is told what could be forgotten.
            self.effects.insert(0, Effect::Save(Save::State(self.saved_state())));
        }
        std::mem::take(&mut self.effects)
    }

    /// When this user wants [`Event::Woken`] at the latest; `None` when nothing is pending.
    pub fn next_wake(&self) -> Option<Timestamp> {
        let leaving = match self.status {
            Status::Leaving { at, .. } => Some(at),
            Status::Online | Status::Offline { .. } => None,
        };
        let silent = self.sockets.values().map(|socket| socket.heard_at).min();
        let silent = silent.map(|heard_at| heard_at.plus_ms(self.times.timeout_ms));
        [leaving, silent, self.load_at].into_iter().flatten().min()
    }

    /// The version of the core's answer that is kept, if any is.
    pub fn social_version(&self) -> Option<u64> {
        self.social.as_ref().map(|social| social.version)
    }

    /// Whether friends see this user online.
    pub fn is_online(&self) -> bool {
        !matches!(self.status, Status::Offline { .. })
    }

    fn socket_opened(&mut self, socket: SocketId, now: Timestamp) {
        let mut opened = Socket { heard_at: now, ready: false, idle_since: None, report: None };
        match self.status {
            Status::Online => {}
            // Until its client reports, the socket stands for those that friends believe to be there.
            Status::Leaving { restarted: false, .. } => {
                opened.report = Some(Report { order: self.order, page: self.front.clone() });
                self.save_state = true;
            }
            // Friends may see a page that nobody remembers: what is true now is newer.
            Status::Offline { .. } | Status::Leaving { restarted: true, .. } => {
                self.save_state = true;
                self.grow_seq(now);
                self.shown.at = now;
                // Every friend is to hear of it, even one whose presence is known or being asked for.
                self.views.clear();
                self.asking.clear();
            }
        }
        self.sockets.insert(socket, opened);
        self.status = Status::Online;
        self.settle(now);
        self.attach(socket);
        let waits_for = self.ask_unknown_friends();
        self.readers.push(Reader::Socket { socket, waits_for });
    }

    fn frame_received(&mut self, socket: SocketId, frame: Frame, now: Timestamp) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        open.heard_at = now;
        let bytes = match &frame {
            Frame::Text(text) => text.len(),
            Frame::Binary { bytes } => *bytes,
        };
        if bytes > FRAME_BYTES_MAX {
            return self.close(socket, CloseCode::TooBig, now);
        }
        let message = match &frame {
            Frame::Text(text) => serde_json::from_str(text).ok(),
            Frame::Binary { .. } => None,
        };
        match message {
            Some(ClientMessage::Heartbeat) => self.send(vec![socket], ServerMessage::Heartbeat),
            Some(ClientMessage::UpdatePresence { url, title }) => self.page_reported(socket, &url, &title, now),
            Some(ClientMessage::SetIdle { idle }) => self.idle_reported(socket, idle, now),
            None => self.refuse(socket, "not a message of the live channel"),
        }
        self.attach(socket);
    }

    fn page_reported(&mut self, socket: SocketId, url: &str, title: &str, now: Timestamp) {
        let Ok(page) = Page::parse(url, title) else {
            return self.refuse(socket, "url: at most 2,048 characters");
        };
        self.order = self.order.saturating_add(1);
        let order = self.order;
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.report = Some(Report { order, page });
        }
        self.bring_to_front();
        self.settle(now);
    }

    fn idle_reported(&mut self, socket: SocketId, idle: bool, now: Timestamp) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.idle_since = idle.then(|| socket.idle_since.unwrap_or(now));
        }
        self.settle(now);
    }

    fn refuse(&mut self, socket: SocketId, why: &str) {
        self.send(vec![socket], ServerMessage::Error { code: ErrorCode::BadMessage, detail: why.to_owned() });
    }

    fn close(&mut self, socket: SocketId, code: CloseCode, now: Timestamp) {
        if let Some(gone) = self.sockets.remove(&socket) {
            self.effects.push(Effect::Close { socket, code });
            self.socket_gone(gone, now);
        }
    }

    fn socket_gone(&mut self, gone: Socket, now: Timestamp) {
        let Some(newest) = self.newest_socket() else {
            let at = now.plus_ms(self.times.grace_ms);
            self.status = Status::Leaving { at, since: now, restarted: false };
            self.save_state = true;
            return;
        };
        if let Some(socket) = self.sockets.get_mut(&newest) {
            // A client that reconnects before its old socket closes has nothing to report yet, and nothing
            // has changed for its friends.
            socket.report = socket.report.take().or(gone.report);
        }
        self.bring_to_front();
        self.settle(now);
        // What only the closed one carried must outlive it.
        self.attach(newest);
    }

    /// The socket that reported last; of those that never did, any.
    fn newest_socket(&self) -> Option<SocketId> {
        let order = |socket: &Socket| socket.report.as_ref().map(|report| report.order);
        self.sockets.iter().max_by_key(|(_, socket)| order(socket)).map(|(id, _)| *id)
    }

    fn woken(&mut self, heard: &[(SocketId, Timestamp)], now: Timestamp) {
        for (socket, heard_at) in heard {
            if let Some(socket) = self.sockets.get_mut(socket) {
                socket.heard_at = socket.heard_at.max(*heard_at);
            }
        }
        let last_heard_at = self.sockets.values().map(|socket| socket.heard_at).max();
        let silent: Vec<SocketId> = self
            .sockets
            .iter()
            .filter(|(_, socket)| socket.heard_at.plus_ms(self.times.timeout_ms) <= now)
            .map(|(id, _)| *id)
            .collect();
        match (self.status, last_heard_at) {
            // Silent for longer than any grace.
            (Status::Online, Some(last_heard_at)) if silent.len() == self.sockets.len() => {
                self.sockets.clear();
                let code = CloseCode::Silent;
                self.effects.extend(silent.into_iter().map(|socket| Effect::Close { socket, code }));
                self.go_offline(last_heard_at, now);
            }
            (Status::Leaving { at, since, restarted }, _) if restarted || at <= now => self.go_offline(since, now),
            (Status::Online | Status::Leaving { .. } | Status::Offline { .. }, _) => {
                for socket in silent {
                    self.close(socket, CloseCode::Silent, now);
                }
            }
        }
        if self.load_at.is_some_and(|at| at <= now) {
            self.load_social();
        }
    }

    pub(crate) fn go_offline(&mut self, last_seen_at: Timestamp, now: Timestamp) {
        self.grow_seq(now);
        self.status = Status::Offline { last_seen_at: Some(last_seen_at) };
        self.front = None;
        self.shown = Shown { at: now, page: None, latest: None, idle_since: None };
        let peers: Vec<UserId> = std::mem::take(&mut self.audience).into_iter().collect();
        self.call(peers, PeerSay::Bye { last_seen_at });
        self.views.clear();
        self.load_at = None;
        self.save_state = true;
    }

    /// Puts the page that was reported last in front.
    pub(crate) fn bring_to_front(&mut self) {
        let newest = self.sockets.values().filter_map(|socket| socket.report.as_ref()).max_by_key(|r| r.order);
        if let Some(report) = newest {
            self.order = self.order.max(report.order);
            self.front = report.page.clone();
        }
    }

    /// The page in front, if the owner's rules let friends see it. The one place that decides.
    pub(crate) fn visible_page(&self) -> Option<Page> {
        let share = &self.social.as_ref()?.share;
        self.front.clone().filter(|page| share.shows(&page.domain))
    }

    /// The user is idle when all their sockets are, since the last of them was.
    pub(crate) fn idle_since(&self) -> Option<Timestamp> {
        let since: Option<Vec<Timestamp>> = self.sockets.values().map(|socket| socket.idle_since).collect();
        since?.into_iter().max()
    }

    /// Judges anew what friends may see, and tells them and the user's own sockets if it changed.
    pub(crate) fn settle(&mut self, now: Timestamp) {
        if !self.is_online() {
            return;
        }
        let page = self.visible_page();
        let allowed = |page: &Page| self.social.as_ref().is_some_and(|social| social.share.shows(&page.domain));
        let latest = page.clone().or_else(|| self.shown.latest.clone().filter(allowed));
        let idle_since = self.idle_since();
        let before = &self.shown;
        if (&page, &latest, idle_since) == (&before.page, &before.latest, before.idle_since) {
            return;
        }
        self.grow_seq(now);
        self.shown = Shown { at: now, page, latest, idle_since };
        match self.newest_socket() {
            Some(socket) => self.attach(socket),
            None => self.save_state = true,
        }
        let sockets = self.ready_sockets();
        self.send(sockets, update_of(&self.me, self.seq, &self.presence()));
        let peers: Vec<UserId> = self.audience.iter().cloned().collect();
        self.call(peers, PeerSay::Presence { presence: self.presence() });
    }

    pub(crate) fn grow_seq(&mut self, now: Timestamp) {
        let now_ms = u64::try_from(now.unix_ms()).unwrap_or_default();
        self.seq = now_ms.max(self.seq.saturating_add(1));
    }

    /// What friends see of this user while online.
    pub(crate) fn presence(&self) -> Presence {
        let Shown { at, page, latest, idle_since } = self.shown.clone();
        Presence { at, page, latest, idle_since }
    }

    /// When an offline user was last there.
    pub(crate) fn last_seen_at(&self) -> Option<Timestamp> {
        match self.status {
            Status::Offline { last_seen_at } => last_seen_at,
            Status::Online | Status::Leaving { .. } => None,
        }
    }

    /// The sockets that have their snapshot: before it, they get nothing else about presence.
    pub(crate) fn ready_sockets(&self) -> Vec<SocketId> {
        self.sockets.iter().filter(|(_, socket)| socket.ready).map(|(id, _)| *id).collect()
    }

    /// Marks a socket as having its snapshot; false when it is gone.
    pub(crate) fn make_ready(&mut self, socket: SocketId) -> bool {
        let Some(open) = self.sockets.get_mut(&socket) else { return false };
        open.ready = true;
        self.attach(socket);
        true
    }

    pub(crate) fn send(&mut self, sockets: Vec<SocketId>, message: ServerMessage) {
        if !sockets.is_empty() {
            self.effects.push(Effect::Send { sockets, message });
        }
    }

    pub(crate) fn call(&mut self, peers: Vec<UserId>, say: PeerSay) {
        if !peers.is_empty() {
            let message = PeerMessage { from: self.me.clone(), seq: self.seq, say };
            self.effects.push(Effect::CallPeers { peers, message });
        }
    }
}

/// The message that shows somebody's presence.
pub(crate) fn update_of(user_id: &UserId, seq: u64, presence: &Presence) -> ServerMessage {
    let page = PageView::from(presence.page.as_ref());
    let latest = PageView::from(presence.latest.as_ref());
    ServerMessage::UpdatePresence(PresenceUpdate {
        user_id: user_id.clone(),
        url: page.url,
        title: page.title,
        domain: page.domain,
        latest_url: latest.url,
        latest_title: latest.title,
        latest_domain: latest.domain,
        seq,
        at: presence.at,
        idle: presence.idle_since.is_some(),
        idle_since: presence.idle_since,
    })
}
