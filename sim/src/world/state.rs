//! What a run consists of: objects and their memory, sockets, clients, calls and questions in flight. All fields are open: these
//! are the records that the world's parts pass around.

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

/// Why an engine is asked.
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
    /// For when an alarm is set, by the clock the object had then, and which one it is.
    pub(super) alarm: Option<Timestamp>,
    pub(super) alarms: u64,
    /// For so long alarms came late lately, because memory was lost within them.
    pub(super) alarm_late_ms: Ms,
    pub(super) alarm_late_at: Ms,
    pub(super) crash: Option<(usize, bool)>,
    /// Memory was lost in the midst of something, and nothing has been handled since.
    pub(super) mends: bool,
    pub(super) reads: BTreeMap<u64, Read>,
    /// How often the core was asked of this user.
    pub(super) asked: u64,
    /// How often their account was deleted.
    pub(super) deletions: u64,

    pub(super) told: Told,
    pub(super) emitted: Emitted,
    pub(super) asking: Asking,
    /// The page reports taken in.
    pub(super) reports: u64,
    /// The client's last sign of life, while no socket lives.
    pub(super) last_sign: Ms,
    /// Until when the user counts as watching though no socket does.
    pub(super) watched_until: Ms,
    /// Alarms and ticks in a quiet time.
    pub(super) woken: u32,
    pub(super) quiet_reply: Option<PresenceSnapshot>,
}

pub(super) struct Socket {
    pub(super) device: Device,
    pub(super) attachment: Option<Attachment>,
    pub(super) opened_at: Ms,
    pub(super) last_frame: Ms,
    /// Since when nobody is at its other end.
    pub(super) gone_at: Option<Ms>,
    pub(super) client_view: ClientView,
    /// How often its client has wished for another snapshot.
    pub(super) wishes: u32,
    pub(super) report: Option<(u64, Option<Page>)>,
    pub(super) idle: bool,
    pub(super) watching: bool,
    /// A crash left it open what of its client's words was taken in.
    pub(super) unsure: bool,
}

pub(super) struct Read {
    pub(super) of: Option<Who>,
    pub(super) quiet: bool,
}

/// What came of an event for whoever caused it.
#[derive(Default)]
pub(super) struct Done {
    pub(super) answer: Option<PeerAnswer>,
    pub(super) taken: Option<EventsTaken>,
    pub(super) crashed: bool,
}

impl Object {
    /// One that was never heard of.
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
    /// What keeps the object from sleeping: calls, timers.
    pub(super) pending: u32,
    pub(super) pending_since: Ms,
    /// Calls that the alarm's handler waits for.
    pub(super) alarm_calls: u32,
    pub(super) alarm: AlarmKeeper,
    pub(super) tick: TickTimer,
    /// When the core last said what is true of friends and settings.
    pub(super) told_at: Option<Timestamp>,
}

/// What a client says.
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
    /// How long the answer takes; `None`: it does not arrive in time.
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
    /// How often the account had been deleted.
    pub(super) deletions: u64,
    pub(super) found: Found,
}

/// Why the shell looked at the core.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    Open(Device),
    Read { of: Option<Who>, quiet: bool },
}

/// Clients send a heartbeat this often.
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

/// How wrong an object's clock is, wherever it runs.
pub(super) fn skew(rng: SeededRng, setting: &Setting, who: Who, generation: u64) -> Ms {
    if setting.faults { rng.of(&[12, who as u64, generation]).ms(-500, 500) } else { 0 }
}
