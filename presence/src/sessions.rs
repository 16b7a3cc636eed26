//! The user's sockets: what each reported, whether it is alive, how fast it speaks, and which page is in front.

use std::collections::BTreeMap;

use shared::{ids::SocketId, internal::Interest, limits::SOCKETS_MAX, page::Page, time::Timestamp};

use crate::{
    limits::{BAD_MESSAGES_WINDOW_MS, FRAMES_WINDOW_MS, SILENCE_SLACK_DIVISOR},
    rate::SlidingWindow,
    stored::{Attachment, Checkpoint, Report},
};

/// All open sockets.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: BTreeMap<SocketId, Session>,
    /// The order of the newest report.
    order: u64,
    /// The page in front, before the owner's rules.
    front: Option<Page>,
    /// Without a sign of life for this long, a socket is dead.
    timeout_ms: i64,
}

/// One socket.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Session {
    opened_at: Timestamp,
    expires_at: Timestamp,
    heard_at: Timestamp,
    /// Its snapshot was sent.
    ready: bool,
    watching: bool,
    idle_since: Option<Timestamp>,
    report: Option<Report>,
    /// Messages besides heartbeats. Lost with memory, which lasts longer than the window while any come.
    messages: SlidingWindow,
    bad: SlidingWindow,
}

impl Session {
    fn silent_at(&self, timeout_ms: i64) -> Timestamp {
        self.heard_at.plus_ms(timeout_ms)
    }

    fn order(&self) -> Option<u64> {
        self.report.as_ref().map(|report| report.order)
    }
}

impl Sessions {
    /// The sockets that are still open after memory was lost.
    pub fn restore(attachments: Vec<Attachment>, timeout_ms: i64) -> Self {
        let by_id = attachments.into_iter().map(|attachment| {
            let Attachment {
                socket, opened_at, expires_at, heard_at, ready, watching, idle_since, bad, report, ..
            } = attachment;
            let (messages, bad) = (SlidingWindow::default(), SlidingWindow::of(bad));
            let session =
                Session { opened_at, expires_at, heard_at, ready, watching, idle_since, report, messages, bad };
            (socket, session)
        });
        Self { by_id: by_id.collect(), order: 0, front: None, timeout_ms }
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn ids(&self) -> Vec<SocketId> {
        self.by_id.keys().copied().collect()
    }

    /// Adds a socket. `report`: what it stands for until its client reports.
    pub fn open(&mut self, socket: SocketId, expires_at: Timestamp, report: Option<Report>, now: Timestamp) {
        let session = Session {
            opened_at: now,
            expires_at,
            heard_at: now,
            ready: false,
            watching: true,
            idle_since: None,
            report,
            messages: SlidingWindow::default(),
            bad: SlidingWindow::default(),
        };
        self.by_id.insert(socket, session);
    }

    /// The socket that must go because there are more than [`SOCKETS_MAX`]: the oldest but for `newest`.
    pub fn surplus(&self, newest: SocketId) -> Option<SocketId> {
        let oldest = self.by_id.iter().min_by_key(|(id, session)| (**id == newest, session.opened_at));
        oldest.filter(|_| self.by_id.len() > SOCKETS_MAX).map(|(id, _)| *id)
    }

    pub fn remove(&mut self, socket: SocketId) -> Option<Session> {
        self.by_id.remove(&socket)
    }

    /// Removes all sockets, and says which there were.
    pub fn remove_all(&mut self) -> Vec<SocketId> {
        std::mem::take(&mut self.by_id).into_keys().collect()
    }

    /// A socket was heard at that time. Says whether that is news. A clock that was ahead may have heard it later.
    pub fn heard(&mut self, socket: SocketId, at: Timestamp) -> bool {
        let Some(session) = self.by_id.get_mut(&socket) else { return false };
        let news = session.heard_at < at;
        session.heard_at = session.heard_at.max(at);
        news
    }

    pub fn contains(&self, socket: SocketId) -> bool {
        self.by_id.contains_key(&socket)
    }

    /// Counts a message, and says how many came within [`FRAMES_WINDOW_MS`].
    pub fn count_message(&mut self, socket: SocketId, now: Timestamp) -> usize {
        self.by_id.get_mut(&socket).map_or(0, |session| session.messages.count(now, FRAMES_WINDOW_MS))
    }

    /// Counts a bad message, and says how many came within [`BAD_MESSAGES_WINDOW_MS`].
    pub fn count_bad_message(&mut self, socket: SocketId, now: Timestamp) -> usize {
        self.by_id.get_mut(&socket).map_or(0, |session| session.bad.count(now, BAD_MESSAGES_WINDOW_MS))
    }

    /// A fresh token extends the socket's life.
    pub fn extend(&mut self, socket: SocketId, expires_at: Timestamp) {
        if let Some(session) = self.by_id.get_mut(&socket) {
            session.expires_at = expires_at;
        }
    }

    /// The client reports a page, which comes to the front.
    pub fn report(&mut self, socket: SocketId, page: Option<Page>) {
        self.order = self.order.saturating_add(1);
        let order = self.order;
        if let Some(session) = self.by_id.get_mut(&socket) {
            session.report = Some(Report { order, page });
        }
        self.select_front_page();
    }

    /// What a socket stands for that opens before the grace of the last one is over.
    pub fn report_of_last(&self) -> Report {
        Report { order: self.order, page: self.front.clone() }
    }

    /// Nobody is at this socket's device, or somebody is again: then its page comes to the front. Says whether the socket is
    /// still open.
    pub fn set_idle(&mut self, socket: SocketId, idle: bool, now: Timestamp) -> bool {
        let Some(session) = self.by_id.get_mut(&socket) else { return false };
        let came_back = !idle && session.idle_since.is_some();
        session.idle_since = idle.then(|| session.idle_since.unwrap_or(now));
        if came_back && let Some(report) = &mut session.report {
            self.order = self.order.saturating_add(1);
            report.order = self.order;
            self.select_front_page();
        }
        true
    }

    /// The client wants page changes, or not. Says whether it begins to: then what it displays is old, and it gets nothing
    /// before its next snapshot.
    pub fn set_watching(&mut self, socket: SocketId, watching: bool) -> bool {
        let Some(session) = self.by_id.get_mut(&socket) else { return false };
        let was_watching = std::mem::replace(&mut session.watching, watching);
        let begins = watching && !was_watching;
        session.ready &= !begins;
        begins
    }

    /// The socket gets its snapshot. Says whether it is still open.
    pub fn set_ready(&mut self, socket: SocketId) -> bool {
        self.by_id.get_mut(&socket).map(|session| session.ready = true).is_some()
    }

    /// The sockets that have their snapshot: before it, they get nothing else about presence.
    pub fn ready(&self) -> Vec<SocketId> {
        self.by_id.iter().filter(|(_, session)| session.ready).map(|(id, _)| *id).collect()
    }

    /// Those of them that want page changes.
    pub fn watching(&self) -> Vec<SocketId> {
        self.by_id.iter().filter(|(_, session)| session.ready && session.watching).map(|(id, _)| *id).collect()
    }

    /// The sockets without a snapshot.
    pub fn not_ready(&self) -> impl Iterator<Item = SocketId> {
        self.by_id.iter().filter(|(_, session)| !session.ready).map(|(id, _)| *id)
    }

    /// What these clients want to hear of friends.
    pub fn interest(&self) -> Interest {
        let watched = self.by_id.values().any(|session| session.watching);
        if watched { Interest::Pages } else { Interest::Availability }
    }

    /// The socket that reported last. Of those that never did, any.
    pub fn newest(&self) -> Option<SocketId> {
        self.by_id.iter().max_by_key(|(_, session)| session.order()).map(|(id, _)| *id)
    }

    /// A socket closed. Another one without a report takes over the closed one's: a client that reconnects has nothing to
    /// report yet, and nothing changed for its friends.
    pub fn inherit(&mut self, closed: Session) {
        let newest = self.newest().and_then(|newest| self.by_id.get_mut(&newest));
        if let Some(session) = newest {
            session.report = session.report.take().or(closed.report);
        }
        self.select_front_page();
    }

    /// Puts the page that was reported last in front.
    pub fn select_front_page(&mut self) {
        let newest = self.by_id.values().filter_map(|session| session.report.as_ref()).max_by_key(|r| r.order);
        if let Some(report) = newest {
            self.order = self.order.max(report.order);
            self.front = report.page.clone();
        }
    }

    /// The page in front, before the owner's rules.
    pub fn front(&self) -> Option<&Page> {
        self.front.as_ref()
    }

    /// Sets it where no socket knows it: after the last one closed.
    pub fn set_front(&mut self, page: Option<Page>) {
        self.front = page;
    }

    /// The user is idle when all sockets are, since the last of them was. `None` without sockets.
    pub fn idle_since(&self) -> Option<Option<Timestamp>> {
        if self.by_id.is_empty() {
            return None;
        }
        let since: Option<Vec<Timestamp>> = self.by_id.values().map(|session| session.idle_since).collect();
        Some(since.and_then(|since| since.into_iter().max()))
    }

    /// When the sockets were last heard.
    pub fn last_heard_at(&self) -> Option<Timestamp> {
        self.by_id.values().map(|session| session.heard_at).max()
    }

    /// The sockets that have been silent for too long.
    pub fn silent(&self, now: Timestamp) -> Vec<SocketId> {
        let silent = |session: &Session| session.silent_at(self.timeout_ms) <= now;
        self.by_id.iter().filter(|(_, session)| silent(session)).map(|(id, _)| *id).collect()
    }

    /// The sockets whose tokens have expired.
    pub fn expired(&self, now: Timestamp) -> Vec<SocketId> {
        self.by_id.iter().filter(|(_, session)| session.expires_at <= now).map(|(id, _)| *id).collect()
    }

    /// When to look for silent and expired sockets next. A little later than the timeout, since heartbeats push it on.
    pub fn look_at(&self) -> Option<Timestamp> {
        let slack_ms = self.timeout_ms.checked_div(SILENCE_SLACK_DIVISOR).unwrap_or_default();
        let look = |session: &Session| session.expires_at.min(session.silent_at(self.timeout_ms).plus_ms(slack_ms));
        self.by_id.values().map(look).min()
    }

    /// The page that this socket's attachment holds.
    pub fn reported_page(&self, socket: SocketId) -> Option<&Page> {
        self.by_id.get(&socket)?.report.as_ref()?.page.as_ref()
    }

    /// What the socket is to carry. `snapshot_sent`: or else it counts as without one.
    pub fn attachment(&self, socket: SocketId, snapshot_sent: bool, checkpoint: Checkpoint) -> Option<Attachment> {
        let Session { opened_at, expires_at, heard_at, ready, watching, idle_since, report, messages: _, bad } =
            self.by_id.get(&socket)?.clone();
        Some(Attachment {
            socket,
            opened_at,
            expires_at,
            heard_at,
            ready: ready && snapshot_sent,
            watching,
            idle_since,
            bad: bad.moments(),
            report,
            checkpoint,
        })
    }
}
