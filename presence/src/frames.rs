//! What a user's clients say.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::Value;
use shared::{
    ids::SocketId,
    json,
    limits::{
        BAD_MESSAGES_MAX, BAD_MESSAGES_WINDOW_MS, FRAME_BYTES_MAX, FRAMES_PER_WINDOW_CLOSE, FRAMES_PER_WINDOW_MAX,
        FRAMES_WINDOW_MS, URL_CHARS_MAX,
    },
    page::Page,
    time::Timestamp,
    wire::{ClientMessage, CloseCode, ErrorCode, HEARTBEAT_REQUEST, ServerMessage, UPDATE_PRESENCE},
};

use crate::{
    event::{Effect, Frame, TokenOutcome},
    saved::Report,
    user::{Haste, HeartbeatMode, Socket, Status, UserPresence},
};

const NO_MESSAGE: &str = "not a message of the live channel";

/// What a frame comes to.
#[derive(Debug, PartialEq)]
enum Said {
    Message(ClientMessage),
    /// A message about a page with wrong fields; or no JSON object, which may have been meant to be one.
    BadPage,
    /// A JSON object that is no message.
    Nothing,
}

impl Said {
    fn read(frame: Frame) -> Self {
        let Frame::Text(text) = frame else { return Self::BadPage };
        let mut text = text.into_bytes();
        json::mend_surrogates(&mut text);
        if let Ok(message) = serde_json::from_slice(&text) {
            return Self::Message(message);
        }
        match serde_json::from_slice(&text) {
            Ok(Actions { about_page: false }) => Self::Nothing,
            Ok(Actions { about_page: true }) | Err(_) => Self::BadPage,
        }
    }

    /// Whether it tells, or may tell, that the client has left the page it was on.
    fn is_about_page(&self) -> bool {
        matches!(self, Self::BadPage | Self::Message(ClientMessage::UpdatePresence { .. }))
    }
}

/// Whether any `action` of a JSON object is that of a page. Its other fields are skipped without being read, so that no
/// number and no depth in them is too large.
struct Actions {
    about_page: bool,
}

impl<'de> Deserialize<'de> for Actions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self { about_page: false })
    }
}

impl<'de> Visitor<'de> for Actions {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<M: MapAccess<'de>>(mut self, mut fields: M) -> Result<Self, M::Error> {
        while let Some(name) = fields.next_key::<String>()? {
            if name == "action" {
                self.about_page |= fields.next_value::<Value>()? == UPDATE_PRESENCE;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(self)
    }
}

impl UserPresence {
    pub(crate) fn frame_received(&mut self, socket: SocketId, frame: Frame, now: Timestamp) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        // By a clock that was ahead it may have been heard later: the alarm that is set for it does.
        open.heard_at = open.heard_at.max(now);
        self.touched.insert(socket);
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
            let beat = Effect::Send { sockets: vec![socket], message: ServerMessage::Heartbeat };
            self.effects.push(beat);
            if exact || self.times.heartbeats == HeartbeatMode::Wake {
                return;
            }
        }
        let frames = open.frames.count(now, FRAMES_WINDOW_MS);
        if frames >= FRAMES_PER_WINDOW_CLOSE {
            if said.is_about_page() {
                self.hide_page(socket, now);
            }
            return self.close(socket, CloseCode::TooFast, now);
        }
        if frames > FRAMES_PER_WINDOW_MAX {
            let why = format!("at most {FRAMES_PER_WINDOW_MAX} messages in {} seconds", FRAMES_WINDOW_MS / 1_000);
            self.complain(socket, ErrorCode::RateLimited, &why);
        }
        let message = match said {
            Said::Message(message) => message,
            Said::Nothing => return self.refuse(socket, NO_MESSAGE, now),
            Said::BadPage => return self.refuse_page(socket, NO_MESSAGE, now),
        };
        match message {
            ClientMessage::UpdatePresence { url, title } => self.page_reported(socket, &url, &title, now),
            ClientMessage::SetIdle { idle } => self.idle_reported(socket, idle, now),
            ClientMessage::SetVisibility { invisible } => self.visibility_set(invisible, now),
            ClientMessage::Watch { watching } => self.watch_set(socket, watching, now),
            ClientMessage::Authenticate { token } => self.effects.push(Effect::CheckToken { socket, token }),
            ClientMessage::Goodbye => self.goodbye(socket, now),
            ClientMessage::Heartbeat => {}
        }
    }

    fn page_reported(&mut self, socket: SocketId, url: &str, title: &str, now: Timestamp) {
        let Ok(page) = Page::parse(url, title) else {
            return self.refuse_page(socket, &format!("url: at most {URL_CHARS_MAX} characters"), now);
        };
        self.turn_to(socket, page, Haste::Paced, now);
    }

    /// The socket's client is on another page, which comes to the front.
    fn turn_to(&mut self, socket: SocketId, page: Option<Page>, haste: Haste, now: Timestamp) {
        self.order = self.order.saturating_add(1);
        let order = self.order;
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.report = Some(Report { order, page });
        }
        self.bring_to_front();
        self.settle(haste, now);
    }

    /// Nobody knows what page the socket's client is on now. The one before is no longer true, and is hidden at once.
    fn hide_page(&mut self, socket: SocketId, now: Timestamp) {
        self.turn_to(socket, None, Haste::Urgent, now);
    }

    /// The client sent what cannot be taken and may have told of another page.
    fn refuse_page(&mut self, socket: SocketId, why: &str, now: Timestamp) {
        self.hide_page(socket, now);
        self.refuse(socket, why, now);
    }

    fn idle_reported(&mut self, socket: SocketId, idle: bool, now: Timestamp) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        let came_back = !idle && open.idle_since.is_some();
        open.idle_since = idle.then(|| open.idle_since.unwrap_or(now));
        // Where somebody is again, their page is in front.
        if came_back && let Some(report) = &mut open.report {
            self.order = self.order.saturating_add(1);
            report.order = self.order;
            self.bring_to_front();
        }
        self.settle(Haste::Paced, now);
    }

    fn visibility_set(&mut self, invisible: bool, now: Timestamp) {
        self.invisible = invisible;
        self.save_state = true;
        self.settle(Haste::Paced, now);
    }

    fn watch_set(&mut self, socket: SocketId, watching: bool, now: Timestamp) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        let was_watching = std::mem::replace(&mut open.watching, watching);
        if watching && !was_watching {
            // What is known of online friends is old: until the snapshot, nothing that could contradict it.
            open.ready = false;
            self.show_all(socket, now);
        }
    }

    fn goodbye(&mut self, socket: SocketId, now: Timestamp) {
        let Some(gone) = self.sockets.remove(&socket) else { return };
        self.effects.push(Effect::Close { socket, code: CloseCode::Done });
        if self.sockets.is_empty() && self.pace.take(now) {
            return self.go_offline(now, now);
        }
        self.socket_gone(gone, now);
        // Whoever changed too often until now leaves when their turn comes.
        if let Status::Leaving { at, .. } = &mut self.status {
            *at = self.pace.next();
        }
    }

    pub(crate) fn token_checked(&mut self, socket: SocketId, outcome: TokenOutcome, now: Timestamp) {
        let Some(open) = self.sockets.get_mut(&socket) else { return };
        match outcome {
            TokenOutcome::Good { expires_at } => {
                open.expires_at = expires_at;
                self.touched.insert(socket);
            }
            TokenOutcome::Refused => self.refuse(socket, "token: not a good one of this user's", now),
            TokenOutcome::Unknown => self.complain(socket, ErrorCode::Unavailable, "token: cannot be checked now"),
        }
    }

    fn refuse(&mut self, socket: SocketId, why: &str, now: Timestamp) {
        self.complain(socket, ErrorCode::BadMessage, why);
        self.touched.insert(socket);
        let bad = |open: &mut Socket| open.bad.count(now, BAD_MESSAGES_WINDOW_MS);
        if self.sockets.get_mut(&socket).map(bad) >= Some(BAD_MESSAGES_MAX) {
            self.close(socket, CloseCode::BadMessages, now);
        }
    }

    fn complain(&mut self, socket: SocketId, code: ErrorCode, detail: &str) {
        self.send(vec![socket], ServerMessage::Error { code, detail: detail.to_owned() });
    }
}
