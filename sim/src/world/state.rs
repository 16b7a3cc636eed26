//! The records of a run: objects and their memory, sockets, clients, and calls and questions in flight. Their fields are
//! visible to all modules of the world.

use std::{collections::BTreeMap, rc::Rc};

use presence::{AlarmKeeper, Attachment, Frame, ReadId, Saved, TickTimer, TokenOutcome, UserPresence};
use shared::{
    ids::{SocketId, UserId},
    internal::{CoreEvent, EventsTaken, PeerAnswer, PeerMessage, Social},
    limits::FRAME_BYTES_MAX,
    page::Page,
    time::Timestamp,
    wire::{ClientMessage, PresenceSnapshot},
};

use crate::{
    checks::{Asking, Emitted, Told},
    client_view::ClientView,
    rng::SeededRng,
    steps::{Bad, Device, Ms, Setting, Tab, Who},
};

/// When a run begins, in milliseconds since 1970.
pub(super) const BEGIN_MS: i64 = 1_772_366_400_000;

/// What causes an event for an engine.
#[derive(Debug, Clone)]
pub enum Cause {
    Open { socket: SocketId, expires_at: Timestamp },
    Frame { socket: SocketId, frame: Said },
    Close { socket: SocketId },
    Peer { message: Rc<PeerMessage> },
    Answer { peer: UserId, answer: PeerAnswer },
    Failure { peer: UserId },
    Social { social: Rc<Social> },
    NoSocial,
    Core { events: Vec<CoreEvent> },
    Read { read: ReadId, of: Option<UserId> },
    Token { socket: SocketId, outcome: TokenOutcome },
    Alarm,
    Tick,
}

pub(super) struct Object {
    pub(super) memory: Option<Memory>,
    /// Grows whenever memory is lost.
    pub(super) generation: u64,
    pub(super) skew_ms: Ms,
    pub(super) saved: Saved,
    pub(super) sockets: BTreeMap<SocketId, Socket>,
    /// The time of the alarm that is set, by the object's clock when it was set.
    pub(super) alarm: Option<Timestamp>,
    /// How many alarms were set: the number of the newest.
    pub(super) alarms: u64,
    /// How late alarms were recently, summed, because memory was lost while their handler ran.
    pub(super) alarm_late_ms: Ms,
    /// When that last happened.
    pub(super) alarm_late_at: Ms,
    pub(super) crash: Option<(usize, bool)>,
    /// Memory was lost abruptly, and the object has not handled an event since.
    pub(super) mends: bool,
    pub(super) reads: BTreeMap<u64, Read>,
    /// How often the core was asked about this user.
    pub(super) asked: u64,
    /// How often their account was deleted.
    pub(super) deletions: u64,

    pub(super) told: Told,
    pub(super) emitted: Emitted,
    pub(super) asking: Asking,
    /// How often a client put a page in front, or took it away: the order of [`Socket::report`].
    pub(super) reports: u64,
    /// The last sign of life on any socket that is closed by now.
    pub(super) last_sign: Ms,
    /// Until then the user counts as watching, even without a socket that watches.
    pub(super) watched_until: Ms,
    /// Alarms and ticks since the calm time of the last quiet time began.
    pub(super) woken: u32,
    pub(super) quiet_reply: Option<PresenceSnapshot>,
}

pub(super) struct Socket {
    pub(super) device: Device,
    pub(super) attachment: Option<Attachment>,
    pub(super) opened_at: Ms,
    pub(super) last_frame: Ms,
    /// When its client vanished without closing it.
    pub(super) gone_at: Option<Ms>,
    pub(super) client_view: ClientView,
    /// How often its client has asked for another snapshot by watching again.
    pub(super) wishes: u32,
    pub(super) report: Option<(u64, Option<Page>)>,
    pub(super) idle: bool,
    pub(super) watching: bool,
    /// After a crash it is unknown whether the client's last message was taken in.
    pub(super) unsure: bool,
}

pub(super) struct Read {
    pub(super) of: Option<Who>,
    pub(super) quiet: bool,
}

/// The result of an event, for its cause.
#[derive(Default)]
pub(super) struct Done {
    pub(super) answer: Option<PeerAnswer>,
    pub(super) taken: Option<EventsTaken>,
    pub(super) crashed: bool,
}

impl Object {
    /// An object that has never handled an event.
    pub(super) fn new(skew_ms: Ms) -> Self {
        Self {
            memory: None,
            generation: 0,
            skew_ms,
            saved: Saved::default(),
            sockets: BTreeMap::new(),
            alarm: None,
            alarms: 0,
            alarm_late_ms: 0,
            alarm_late_at: -1,
            crash: None,
            mends: false,
            reads: BTreeMap::new(),
            asked: 0,
            deletions: 0,
            told: Told::default(),
            emitted: Emitted::default(),
            asking: Asking::default(),
            reports: 0,
            last_sign: 0,
            watched_until: 0,
            woken: 0,
            quiet_reply: None,
        }
    }
}

pub(super) struct Memory {
    pub(super) engine: UserPresence,
    pub(super) active_at: Ms,
    /// How many calls and timers keep the object from sleeping.
    pub(super) pending: u32,
    pub(super) pending_since: Ms,
    /// Calls that the alarm's handler waits for.
    pub(super) alarm_calls: u32,
    pub(super) alarm: AlarmKeeper,
    pub(super) tick: TickTimer,
    /// When the core last answered with the list of friends and settings.
    pub(super) told_at: Option<Timestamp>,
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Message(ClientMessage),
    OddHeartbeat,
    Bad(Bad),
}

#[derive(Default)]
pub(super) struct Client {
    pub(super) on: bool,
    pub(super) socket: Option<SocketId>,
    pub(super) attempts: u64,
    pub(super) tab: Option<(Tab, u64)>,
    pub(super) idle: bool,
    pub(super) watching: bool,
    /// The newest `seq` seen of each user, on any socket.
    pub(super) seqs: BTreeMap<Who, u64>,
}

pub(super) struct Call {
    pub(super) from: Who,
    pub(super) to: Who,
    pub(super) generation: u64,
    pub(super) message: Rc<PeerMessage>,
    pub(super) of_alarm: bool,
    /// How long the answer takes. `None`: it does not arrive in time.
    pub(super) answer_ms: Option<Ms>,
}

/// What the core said of a user.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Changed(Rc<Social>),
    Same,
    Away,
    Deleted,
}

/// A question to the core that is under way.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) generation: u64,
    /// How often the account had been deleted when the question was asked.
    pub(super) deletions: u64,
    pub(super) found: Found,
}

/// What follows once a user is admitted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    Open(Device),
    Read { of: Option<Who>, quiet: bool },
}

/// Time between two heartbeats of a client.
pub(super) const HEARTBEAT_MS: Ms = 60_000;

pub(super) fn is_page_change(frame: &Said) -> bool {
    matches!(
        frame,
        Said::Message(
            ClientMessage::UpdatePresence { .. } | ClientMessage::SetIdle { .. } | ClientMessage::Watch { .. }
        ) | Said::Bad(Bad::NoJson | Bad::Binary | Bad::TooBig)
    )
}

pub(super) fn frame_of(said: &Said) -> Frame {
    match said {
        Said::Message(message) => Frame::Text(serde_json::to_string(message).expect("messages are JSON")),
        Said::OddHeartbeat => Frame::Text(r#"{ "action": "heartbeat" }"#.to_owned()),
        Said::Bad(Bad::NoJson) => Frame::Text("hello?".to_owned()),
        Said::Bad(Bad::UnknownAction) => Frame::Text(r#"{"action":"dance"}"#.to_owned()),
        Said::Bad(Bad::Binary) => Frame::Unread { bytes: 10 },
        Said::Bad(Bad::TooBig) => Frame::Text("x".repeat(FRAME_BYTES_MAX + 1)),
    }
}

/// How far an object's clock is wrong. It changes with each abrupt loss of memory.
pub(super) fn skew(rng: SeededRng, setting: &Setting, who: Who, generation: u64) -> Ms {
    if setting.faults { rng.of(&[12, who as u64, generation]).ms(-500, 500) } else { 0 }
}
