//! The engine's whole conversation with its shell: what happened, and what to do about it.

use shared::{
    ids::{EventId, SocketId, UserId},
    internal::{CoreEvent, EventsTaken, PeerAnswer, PeerMessage, Presence, Social},
    time::Timestamp,
    wire::{CloseCode, PageView, PresenceSnapshot, ServerMessage},
};

use crate::{
    cached_social::CachedSocial,
    stored::{Attachment, SavedState},
};

/// Something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A client connected. Its user is registered: the core's answer is kept, from an [`Event::SocialLoaded`] or from storage.
    /// `expires_at`: when the token that it opened with expires.
    SocketOpened { socket: SocketId, expires_at: Timestamp },
    /// A client said something other than the heartbeat bytes that the runtime answers by itself.
    FrameReceived { socket: SocketId, frame: Frame },
    /// A socket is gone: either side closed it, or it broke.
    SocketClosed { socket: SocketId },
    /// A friend's object speaks. Exactly one [`Effect::AnswerPeer`] comes back.
    PeerSpoke { message: PeerMessage },
    /// What came of an [`Effect::CallPeers`], for each peer.
    PeerAnswered { peer: UserId, answer: PeerAnswer },
    /// That peer could not be reached in time.
    PeerFailed { peer: UserId },
    /// What came of an [`Effect::LoadSocial`], or of the shell's own look before a socket opens.
    SocialLoaded { social: Social },
    /// The core was away.
    SocialFailed,
    /// Changes the core reports. Exactly one [`Effect::AnswerCore`] comes back.
    CoreReported { events: Vec<CoreEvent> },
    /// `GET /presence`, or `GET /presence/{id}` when `friend` is given. Exactly one [`Effect::Reply`]
    /// comes back, though perhaps after later events.
    Read { read: ReadId, friend: Option<UserId> },
    /// What came of an [`Effect::CheckToken`].
    TokenChecked { socket: SocketId, outcome: TokenOutcome },
    /// The moment of [`crate::UserPresence::next_wake`] or of [`crate::UserPresence::next_tick`] has come, or
    /// any other. `heard` is when each socket's last heartbeat was answered by the runtime.
    Woken { heard: Vec<(SocketId, Timestamp)> },
}

/// When an object is to be woken, and why. The shell needs the moment alone; the reason is for traces and failing stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wake {
    pub at: Timestamp,
    pub reason: WakeReason,
}

/// Why an object is to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeReason {
    /// The user has no sockets, and goes offline.
    GraceEnds,
    /// A socket has been silent for too long, or its token expires.
    SocketsEnd,
    /// A friend who was not reached is called again.
    RetryDue,
    /// Friends may be queried again, for which a snapshot waits.
    QueriesAllowed,
    /// The core is asked again.
    CoreDue,
    /// Friends may not have heard that the user left.
    FarewellsDue,
}

/// One WebSocket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    /// Binary, or text of more than [`shared::limits::FRAME_BYTES_MAX`] bytes. Never valid: only its size matters, of which
    /// text has at least this.
    Unread {
        bytes: usize,
    },
}

/// Whether a token extends a socket's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOutcome {
    /// It is a good one of this user's.
    Good {
        expires_at: Timestamp,
    },
    Refused,
    /// The keys to check it with cannot be had now.
    Unknown,
}

/// Names one pending `GET`, so that its reply finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadId(pub u64);

/// Something to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Send this to each of these sockets.
    Send { sockets: Vec<SocketId>, message: ServerMessage },
    /// Send each of these sockets this, as it is.
    Show { sockets: Vec<SocketId>, presence: Presence },
    /// Close the socket. The engine has forgotten it already.
    Close { socket: SocketId, code: CloseCode },
    /// Say this to each of these users' objects, and report what came of each.
    CallPeers { peers: Vec<UserId>, message: PeerMessage },
    /// Answer the peer that spoke.
    AnswerPeer(PeerAnswer),
    /// Tell the core what it need not send again.
    AnswerCore(EventsTaken),
    /// See whether this token is a good one of this user's, and report with [`Event::TokenChecked`].
    CheckToken { socket: SocketId, token: String },
    /// Fetch [`Social`] from the core, unless it still has this version.
    LoadSocial { known_version: Option<u64> },
    /// Answer a pending `GET`.
    Reply { read: ReadId, reply: Reply },
    /// Keep this in storage in place of what was kept before.
    Save(Save),
    /// Keep nothing in storage: the user is no more.
    Forget,
    /// Keep this with the socket in place of what was kept before. Costs no row.
    Attach { socket: SocketId, attachment: Attachment },
}

/// One of the three things kept in storage.
#[derive(Debug, Clone, PartialEq)]
pub enum Save {
    State(SavedState),
    Social(CachedSocial),
    EventIds(Vec<EventId>),
}

/// What a `GET` is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    All(PresenceSnapshot),
    /// The page of the one asked for; `None` while offline.
    One(Option<PageView>),
    /// The one asked for is no friend.
    NotFriends,
    /// Friends would have to be asked, and were asked too often lately. They may be again after this time.
    TooMany {
        retry_after_ms: i64,
    },
}
