//! The user's sockets: what each reported, whether it is alive, how fast it sends, and which page is in front.

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
    /// The number of the newest report.
    reports: u64,
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
    /// Messages besides heartbeats. No attachment carries these: while messages come, memory lasts for longer than the window.
    messages: SlidingWindow,
    bad_messages: SlidingWindow,
}

impl Session {
    fn silent_at(&self, timeout_ms: i64) -> Timestamp {
        self.heard_at.plus_ms(timeout_ms)
    }

    fn report_number(&self) -> Option<u64> {
        self.report.as_ref().map(|report| report.number)
    }
}

impl Sessions {
    /// The sockets that are still open after memory was lost.
    pub fn restore(attachments: Vec<Attachment>, timeout_ms: i64) -> Self {
        let by_id = attachments.into_iter().map(|attachment| {
            let Attachment {
                socket,
                opened_at,
                expires_at,
                heard_at,
                ready,
                watching,
                idle_since,
                bad_messages,
                report,
                ..
            } = attachment;
            let (messages, bad_messages) = (SlidingWindow::default(), SlidingWindow::of(bad_messages));
            let session = Session {
                opened_at,
                expires_at,
                heard_at,
                ready,
                watching,
                idle_since,
                report,
                messages,
                bad_messages,
            };
            (socket, session)
        });
        Self { by_id: by_id.collect(), reports: 0, front: None, timeout_ms }
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

    /// Adds a socket. `report`: what counts as its report until its client sends one.
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
            bad_messages: SlidingWindow::default(),
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

    /// A socket was heard at that time. Returns whether that is later than known. The known time may come from a clock that was ahead.
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
        self.by_id.get_mut(&socket).map_or(0, |session| session.bad_messages.count(now, BAD_MESSAGES_WINDOW_MS))
    }

    /// A fresh token extends the socket's life.
    pub fn extend(&mut self, socket: SocketId, expires_at: Timestamp) {
        if let Some(session) = self.by_id.get_mut(&socket) {
            session.expires_at = expires_at;
        }
    }

    /// The client reports a page, which comes to the front.
    pub fn report(&mut self, socket: SocketId, page: Option<Page>) {
        self.reports = self.reports.saturating_add(1);
        let number = self.reports;
        if let Some(session) = self.by_id.get_mut(&socket) {
            session.report = Some(Report { number, page });
        }
        self.select_front_page();
    }

    /// What friends see during the grace, as a report.
    pub fn last_report(&self) -> Report {
        Report { number: self.reports, page: self.front.clone() }
    }

    /// The person left this socket's device, or came back to it: then its page comes to the front. Returns whether the socket is open.
    pub fn set_idle(&mut self, socket: SocketId, idle: bool, now: Timestamp) -> bool {
        let Some(session) = self.by_id.get_mut(&socket) else { return false };
        let came_back = !idle && session.idle_since.is_some();
        session.idle_since = idle.then(|| session.idle_since.unwrap_or(now));
        if came_back && let Some(report) = &mut session.report {
            self.reports = self.reports.saturating_add(1);
            report.number = self.reports;
            self.select_front_page();
        }
        true
    }

    /// The client wants page changes, or no longer does. Returns whether it begins to: then what it displays is old, and it needs a
    /// snapshot first.
    pub fn set_watching(&mut self, socket: SocketId, watching: bool) -> bool {
        let Some(session) = self.by_id.get_mut(&socket) else { return false };
        let was_watching = std::mem::replace(&mut session.watching, watching);
        let begins = watching && !was_watching;
        session.ready &= !begins;
        begins
    }

    /// The socket gets its snapshot. Returns whether it is open.
    pub fn set_ready(&mut self, socket: SocketId) -> bool {
        self.by_id.get_mut(&socket).map(|session| session.ready = true).is_some()
    }

    /// The sockets that have their snapshot. Others get nothing about presence yet.
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
    pub fn last_to_report(&self) -> Option<SocketId> {
        self.by_id.iter().max_by_key(|(_, session)| session.report_number()).map(|(id, _)| *id)
    }

    /// A socket closed. If no other has a report, one takes over the closed one's: a client that reconnects has not reported yet, and
    /// friends see no change.
    pub fn inherit(&mut self, closed: Session) {
        let newest = self.last_to_report().and_then(|newest| self.by_id.get_mut(&newest));
        if let Some(session) = newest {
            session.report = session.report.take().or(closed.report);
        }
        self.select_front_page();
    }

    /// The page that was reported last comes to the front.
    pub fn select_front_page(&mut self) {
        let newest = self.by_id.values().filter_map(|session| session.report.as_ref()).max_by_key(|r| r.number);
        if let Some(report) = newest {
            self.reports = self.reports.max(report.number);
            self.front = report.page.clone();
        }
    }

    /// The page in front, before the owner's rules.
    pub fn front(&self) -> Option<&Page> {
        self.front.as_ref()
    }

    /// Sets the page in front of a user without sockets.
    pub fn set_front(&mut self, page: Option<Page>) {
        self.front = page;
    }

    /// Since when the user is idle: since the last of all sockets is. The outer `None`: there are no sockets.
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

    /// When to look for silent and expired sockets next. It is a little after the timeout: a heartbeat in between postpones it.
    pub fn next_check_at(&self) -> Option<Timestamp> {
        let slack_ms = self.timeout_ms.checked_div(SILENCE_SLACK_DIVISOR).unwrap_or_default();
        let look = |session: &Session| session.expires_at.min(session.silent_at(self.timeout_ms).plus_ms(slack_ms));
        self.by_id.values().map(look).min()
    }

    /// The page that this socket's attachment holds.
    pub fn reported_page(&self, socket: SocketId) -> Option<&Page> {
        self.by_id.get(&socket)?.report.as_ref()?.page.as_ref()
    }

    /// What the socket is to carry. `snapshot_sent`: false if it is to carry that it has no snapshot yet.
    pub fn attachment(&self, socket: SocketId, snapshot_sent: bool, checkpoint: Checkpoint) -> Option<Attachment> {
        let Session { opened_at, expires_at, heard_at, ready, watching, idle_since, report, messages: _, bad_messages } =
            self.by_id.get(&socket)?.clone();
        Some(Attachment {
            socket,
            opened_at,
            expires_at,
            heard_at,
            ready: ready && snapshot_sent,
            watching,
            idle_since,
            bad_messages: bad_messages.moments(),
            report,
            checkpoint,
        })
    }
}
