//! What the user's own clients do.

use std::collections::BTreeSet;

use shared::{
    ids::{SocketId, UserId},
    internal::Interest,
    limits::{BAD_MESSAGES_MAX, FRAME_BYTES_MAX, FRAMES_PER_WINDOW_CLOSE, FRAMES_PER_WINDOW_MAX, URL_CHARS_MAX},
    page::Page,
    time::Timestamp,
    wire::{
        Appearance, ClientMessage, CloseCode, ErrorCode, HEARTBEAT_REQUEST, PageView, PresenceSnapshot, PresenceUpdate,
        ServerMessage,
    },
};

use super::{HeartbeatMode, Status, UserPresence};
use crate::{
    contacts::{FriendState, TooOften},
    event::{Effect, Frame, ReadId, Reply, TokenOutcome},
    limits::{FRAMES_WINDOW_MS, PEER_LATE_MS, SOCIAL_AGAIN_MS},
    messages::Said,
    published::Urgency,
    waiters::Recipient,
};

const NO_MESSAGE: &str = "not a message of the live channel";

impl UserPresence {
    pub(super) fn socket_opened(&mut self, socket: SocketId, expires_at: Timestamp, now: Timestamp) {
        if self.is_suspended() {
            return self.output.close(socket, CloseCode::AccountGone);
        }
        let mut report = None;
        match self.status {
            Status::Connected => {}
            // Friends see what the last socket reported. The new one takes that over until its client reports.
            Status::Grace { page_unknown: false, .. } => report = Some(self.sessions.last_report()),
            // Friends may see a page that was forgotten. That the page is hidden is a newer change.
            Status::Grace { page_unknown: true, .. } => {
                self.published.advance_seq(now);
                self.published.show_nothing(now);
                self.contacts.announce(Interest::Availability, self.own());
            }
            Status::Absent => self.come_online(now),
        }
        self.sessions.open(socket, expires_at, report, now);
        self.status = Status::Connected;
        if self.core.missing_up_to().is_some() {
            self.core.load_later(now.plus_ms(SOCIAL_AGAIN_MS));
        }
        self.output.request_state_save();
        self.output.request_attachments(self.sessions.ids());
        if let Some(oldest) = self.sessions.surplus(socket) {
            self.close(oldest, CloseCode::TooManySockets, now);
        }
        self.publish(Urgency::Throttled, now);
        self.send_snapshot(socket, now);
    }

    fn come_online(&mut self, now: Timestamp) {
        self.status = Status::Connected;
        // All friends are queried now. Requests that wait for friends wait for these answers.
        self.waiters.wait_anew_for(&self.contacts.ids(), now);
        self.serve_waiters();
        // Friends' messages may be on their way that were sent to the absent user. Their clocks may be ahead.
        if !self.contacts.come_online(now.plus_ms(PEER_LATE_MS), now) {
            // The rate limit allows no query now. Requests that wait are served with what is known.
            self.waiters.stop_all_waiting();
        }
    }

    pub(super) fn frame_received(&mut self, socket: SocketId, frame: Frame, now: Timestamp) {
        if !self.sessions.contains(socket) {
            return;
        }
        self.sessions.heard(socket, now);
        self.output.request_attachments([socket]);
        let bytes = match &frame {
            Frame::Text(text) => text.len(),
            Frame::Unread { bytes } => *bytes,
        };
        if bytes > FRAME_BYTES_MAX {
            self.hide_page(socket, now);
            return self.close(socket, CloseCode::TooBig, now);
        }
        let exact = matches!(&frame, Frame::Text(text) if text == HEARTBEAT_REQUEST);
        let said = Said::read(frame);
        if said == Said::Message(ClientMessage::Heartbeat) {
            self.output.send(vec![socket], ServerMessage::Heartbeat);
            if exact || self.config.heartbeats == HeartbeatMode::Wake {
                return;
            }
        }
        let messages = self.sessions.count_message(socket, now);
        if messages >= FRAMES_PER_WINDOW_CLOSE {
            if said.is_about_page() {
                self.hide_page(socket, now);
            }
            return self.close(socket, CloseCode::TooFast, now);
        }
        if messages > FRAMES_PER_WINDOW_MAX {
            let why = format!("at most {FRAMES_PER_WINDOW_MAX} messages in {} seconds", FRAMES_WINDOW_MS / 1_000);
            self.complain(socket, ErrorCode::RateLimited, &why);
        }
        match said {
            Said::Message(message) => self.message_received(socket, message, now),
            Said::Nothing => self.refuse(socket, NO_MESSAGE, now),
            Said::BadPage => self.refuse_page(socket, NO_MESSAGE, now),
        }
    }

    fn message_received(&mut self, socket: SocketId, message: ClientMessage, now: Timestamp) {
        match message {
            ClientMessage::UpdatePresence { url, title } => match Page::parse(&url, &title) {
                Ok(page) => self.page_reported(socket, page, Urgency::Throttled, now),
                Err(_) => self.refuse_page(socket, &format!("url: at most {URL_CHARS_MAX} characters"), now),
            },
            ClientMessage::SetIdle { idle } => {
                if self.sessions.set_idle(socket, idle, now) {
                    self.publish(Urgency::Throttled, now);
                }
            }
            ClientMessage::SetVisibility { invisible } => {
                self.published.set_invisible(invisible);
                self.output.request_state_save();
                self.publish(Urgency::Throttled, now);
            }
            ClientMessage::Watch { watching } => {
                if self.sessions.set_watching(socket, watching) {
                    self.send_snapshot(socket, now);
                }
            }
            ClientMessage::Authenticate { token } => self.output.push(Effect::CheckToken { socket, token }),
            ClientMessage::Goodbye => self.goodbye(socket, now),
            ClientMessage::Heartbeat => {}
        }
    }

    /// The socket's client is on another page, which comes to the front.
    fn page_reported(&mut self, socket: SocketId, page: Option<Page>, urgency: Urgency, now: Timestamp) {
        self.sessions.report(socket, page);
        self.publish(urgency, now);
    }

    /// The socket's client has left its page for one that is not known. The page is hidden at once.
    fn hide_page(&mut self, socket: SocketId, now: Timestamp) {
        self.page_reported(socket, None, Urgency::Immediate, now);
    }

    /// The client sent something invalid that may have been about another page.
    fn refuse_page(&mut self, socket: SocketId, why: &str, now: Timestamp) {
        self.hide_page(socket, now);
        self.refuse(socket, why, now);
    }

    fn goodbye(&mut self, socket: SocketId, now: Timestamp) {
        let Some(closed) = self.sessions.remove(socket) else { return };
        self.output.close(socket, CloseCode::Done);
        if self.sessions.is_empty() && self.published.count_change(now) {
            return self.go_offline(now, now);
        }
        self.socket_closed(closed, now);
        // The rate limit of changes is reached: the user leaves when it allows the next one.
        if let Status::Grace { ends_at, .. } = &mut self.status {
            *ends_at = self.published.next_change_at();
        }
    }

    pub(super) fn token_checked(&mut self, socket: SocketId, outcome: TokenOutcome, now: Timestamp) {
        if !self.sessions.contains(socket) {
            return;
        }
        match outcome {
            TokenOutcome::Good { expires_at } => {
                self.sessions.extend(socket, expires_at);
                self.output.request_attachments([socket]);
            }
            TokenOutcome::Refused => self.refuse(socket, "token: not a good one of this user's", now),
            TokenOutcome::Unknown => self.complain(socket, ErrorCode::Unavailable, "token: cannot be checked now"),
        }
    }

    fn refuse(&mut self, socket: SocketId, why: &str, now: Timestamp) {
        self.complain(socket, ErrorCode::BadMessage, why);
        self.output.request_attachments([socket]);
        if self.sessions.count_bad_message(socket, now) >= BAD_MESSAGES_MAX {
            self.close(socket, CloseCode::BadMessages, now);
        }
    }

    fn complain(&mut self, socket: SocketId, code: ErrorCode, detail: &str) {
        self.output.send(vec![socket], ServerMessage::Error { code, detail: detail.to_owned() });
    }

    /// A `GET` of everybody, or of one user. A stranger's is refused at once.
    pub(super) fn read(&mut self, read: ReadId, friend: Option<UserId>, now: Timestamp) {
        let waits_for = match &friend {
            Some(id) if *id != self.me && !self.contacts.contains(id) => {
                return self.output.push(Effect::Reply { read, reply: Reply::NotFriends });
            }
            _ if self.waiters.is_full() => Ok(BTreeSet::new()),
            None => self.contacts.query_for_user(self.contacts.not_fresh(), now),
            Some(id) if *id == self.me || self.contacts.is_fresh(id) => Ok(BTreeSet::new()),
            Some(id) => self.contacts.query_for_user(BTreeSet::from([id.clone()]), now),
        };
        match waits_for {
            Ok(waits_for) => self.waiters.add(Recipient::Get { read, friend }, waits_for, now),
            Err(TooOften { until }) => {
                let retry_after_ms = until.unix_ms().saturating_sub(now.unix_ms());
                self.output.push(Effect::Reply { read, reply: Reply::TooMany { retry_after_ms } });
            }
        }
    }

    /// Serves those whose friends have all answered.
    pub(super) fn serve_waiters(&mut self) {
        for recipient in self.waiters.take_served() {
            match recipient {
                Recipient::Socket(socket) => {
                    if self.sessions.set_ready(socket) {
                        self.output.snapshot_sent(socket);
                        self.contacts.snapshot_sent();
                        self.output.send(vec![socket], ServerMessage::PresenceSnapshot(self.snapshot()));
                    }
                }
                Recipient::Get { read, friend: None } => {
                    self.output.push(Effect::Reply { read, reply: Reply::All(self.snapshot()) });
                }
                Recipient::Get { read, friend: Some(id) } => {
                    let is_known = id == self.me || self.contacts.contains(&id);
                    let reply = if is_known { Reply::One(self.appearance(&id).page) } else { Reply::NotFriends };
                    self.output.push(Effect::Reply { read, reply });
                }
            }
        }
        if !self.is_present() && self.waiters.is_empty() {
            self.contacts.forget_known();
        }
    }

    fn snapshot(&self) -> PresenceSnapshot {
        let (mut people, user) = self.core.people();
        let presence_arr = people.iter().map(|friend| self.appearance(&friend.user_id)).collect();
        people.extend(user);
        PresenceSnapshot {
            user_presence: self.appearance(&self.me),
            presence_arr,
            user_info_map: people.into_iter().map(|user| (user.user_id.clone(), user)).collect(),
            version: self.core.version().unwrap_or_default(),
        }
    }

    /// How the user or a friend appears. A friend of whom nothing is known appears offline.
    fn appearance(&self, id: &UserId) -> Appearance {
        let state = if *id != self.me {
            self.contacts.state(id).cloned().unwrap_or(FriendState::Offline { last_seen_at: None })
        } else if self.published.is_visible() {
            FriendState::Online(self.presence())
        } else {
            FriendState::Offline { last_seen_at: self.published.last_seen_at() }
        };
        let user_id = id.clone();
        match state {
            FriendState::Online(presence) => {
                // Another version of this program may have sent what this one cannot read. Then the page appears hidden.
                let update = presence.read();
                let idle_since = update.as_ref().and_then(|update| update.idle_since);
                let at = update.as_ref().map(|update| update.at);
                let (page, latest) = update.map(pages_of).unwrap_or_default();
                let (page, latest_page, idle) = (Some(page), Some(latest), idle_since.is_some());
                Appearance { user_id, page, latest_page, at, last_seen_at: None, idle, idle_since }
            }
            FriendState::Offline { last_seen_at } => {
                let (page, latest_page, at) = (None, None, None);
                Appearance { user_id, page, latest_page, at, last_seen_at, idle: false, idle_since: None }
            }
        }
    }
}

/// The page in front and the last one that was shown.
fn pages_of(update: PresenceUpdate) -> (PageView, PageView) {
    let PresenceUpdate { url, title, domain, latest_url, latest_title, latest_domain, .. } = update;
    (PageView { url, title, domain }, PageView { url: latest_url, title: latest_title, domain: latest_domain })
}
