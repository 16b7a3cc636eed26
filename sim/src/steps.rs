//! The steps that a run consists of. No step depends on another, so a failing run can be shortened by leaving steps out.
//!
//! Deliberately absent: which steps happen when, which `plan` draws, and their effects, which are in `world`.

use std::fmt;

use crate::rules::Rules;

/// Milliseconds since the run began.
pub type Ms = i64;

/// A user, by number.
pub type Who = usize;

/// One of a user's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    pub user: Who,
    pub number: usize,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u{}/{}", self.user, self.number)
    }
}

/// How a device leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// It closes its socket.
    Close,
    /// It vanishes without closing its socket. The socket stays open until its heartbeats are missed.
    Vanish,
    /// It says goodbye and closes its socket: the user leaves on purpose.
    Goodbye,
}

/// What a browser's front tab may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// A page of the nth public site.
    Site(usize),
    /// The same, but its URL also has credentials and a fragment, which no friend may ever see.
    Dressed(usize),
    /// A page that is never shown: on an IP address, on a private host name, or of another scheme. The nth of `NEVER`.
    Never(usize),
    /// The client sends an empty URL: the page is not shared.
    Empty,
    /// A URL over the length limit, which is refused.
    TooLong,
}

/// Kinds of messages that the server refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    NoJson,
    UnknownAction,
    Binary,
    TooBig,
}

/// How a network misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetworkConditions {
    /// Some calls are slow, so they overtake each other, and some arrive twice. A few miss the deadline; none is dropped.
    Slow,
    /// One call in ten fails.
    Lossy,
    /// Half of all calls fail.
    Stormy,
    /// Half of all calls are late in one direction, by up to nine seconds. None is dropped.
    Late,
}

/// One thing that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    // What clients do.
    On(Device),
    Off(Device, Leave),
    /// Its socket closes, and it connects again.
    Reconnect(Device),
    Turn(Device, Tab),
    /// The device turns to `pages` pages, one every `every_ms` milliseconds.
    Rush {
        device: Device,
        pages: usize,
        every_ms: Ms,
    },
    Idle(Device, bool),
    Watch(Device, bool),
    Invisible(Device, bool),
    /// It sends a token, valid if true.
    Authenticate(Device, bool),
    /// A heartbeat that is not spelled as the runtime expects it.
    OddHeartbeat(Device),
    Misbehave {
        device: Device,
        bad: Bad,
        times: usize,
    },
    /// `GET /presence`, or `GET /presence/{id}`.
    Read {
        reader: Who,
        of: Option<Who>,
    },

    // Changes in the core, caused by REST calls and by operators.
    Befriend(Who, Who),
    Unfriend(Who, Who),
    /// The first blocks the second, which ends a friendship too.
    Block(Who, Who),
    /// The user changes to the nth choice of share settings.
    Share(Who, usize),
    /// A friend request to this user is taken back. Their clients hear of it, and no version changes.
    Notify(Who),
    Delete(Who),
    /// An operator suspends the user.
    Suspend(Who),
    /// An operator ends the suspension.
    Restore(Who),

    // What goes wrong.
    /// Memory is lost.
    Evict(Who),
    /// Memory and sockets are lost.
    Redeploy(Who),
    /// Memory is lost, and this device's socket with it.
    Drop(Device),
    /// Every object loses memory and sockets, each at a random moment within `within_ms`.
    RedeployAll {
        within_ms: Ms,
    },
    /// The object crashes while it handles the next event that has effects: memory is lost, with `sockets` the sockets too.
    /// `effects` says how many effects are carried out before that, modulo their number plus one. A call to each peer counts
    /// as one.
    Crash {
        who: Who,
        effects: usize,
        sockets: bool,
    },
    Network {
        conditions: NetworkConditions,
        for_ms: Ms,
    },
    CoreOutage {
        for_ms: Ms,
    },
}

impl Step {
    /// The users whom the step concerns. None for a step that concerns everybody.
    pub fn whose(&self) -> [Option<Who>; 2] {
        match self {
            Self::On(device)
            | Self::Off(device, _)
            | Self::Reconnect(device)
            | Self::Turn(device, _)
            | Self::Rush { device, .. }
            | Self::Idle(device, _)
            | Self::Watch(device, _)
            | Self::Invisible(device, _)
            | Self::Authenticate(device, _)
            | Self::OddHeartbeat(device)
            | Self::Drop(device)
            | Self::Misbehave { device, .. } => [Some(device.user), None],
            Self::Read { reader, of } => [Some(*reader), *of],
            Self::Befriend(a, b) | Self::Unfriend(a, b) | Self::Block(a, b) => [Some(*a), Some(*b)],
            Self::Share(who, _)
            | Self::Notify(who)
            | Self::Delete(who)
            | Self::Suspend(who)
            | Self::Restore(who)
            | Self::Evict(who)
            | Self::Redeploy(who)
            | Self::Crash { who, .. } => [Some(*who), None],
            Self::RedeployAll { .. } | Self::Network { .. } | Self::CoreOutage { .. } => [None, None],
        }
    }
}

/// A step and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    pub at: Ms,
    pub step: Step,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", Clock(self.at), self.step)
    }
}

/// Formats a moment of a run for readers: days, hours, minutes and seconds since it began.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub Ms);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, ms) = (self.0.div_euclid(1_000), self.0.rem_euclid(1_000));
        write!(f, "{}d {:02}:{:02}:{:02}.{ms:03}", s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60)
    }
}

/// Everything that determines a run, except its steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    pub seed: u64,
    pub users: usize,
    /// How many days of activity the run holds.
    pub days: f64,
    /// How many times more often than in real life clients, core and faults act. Time-outs and heartbeats keep their
    /// length. At 24, the activity of a day takes an hour.
    pub haste: f64,
    /// Whether faults happen.
    pub faults: bool,
    /// Whether every call between objects takes the same time, and alarms are never late.
    pub steady: bool,
    /// Rules that are not checked. Ignoring a broken rule shows whether others are broken too.
    pub ignored: Rules,
}

/// The surroundings of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The shortest and the longest time that a call between objects takes each way.
    pub hop_ms: (Ms, Ms),
    /// The shortest and the longest time from a client's connecting until its token expires.
    pub token_ms: (Ms, Ms),
}

impl Default for Place {
    /// Tokens expire 10 to 60 minutes after a client connects, so sockets end often.
    fn default() -> Self {
        Self { hop_ms: (1, 12), token_ms: (600_000, 3_600_000) }
    }
}

/// Length of the quiet time at the end of each part of a run. Nothing goes wrong in it and nobody does anything, so that
/// time-outs, retries and the core's outbox finish.
pub const QUIET_MS: Ms = 330_000;

impl Setting {
    /// The length of the run, quiet times included.
    pub fn length_ms(&self) -> Ms {
        self.part_ms() * self.parts()
    }

    /// The length of one part: some busy time, then [`QUIET_MS`].
    pub fn part_ms(&self) -> Ms {
        self.busy_ms() / self.parts() + QUIET_MS
    }

    /// The number of parts: three for each day.
    pub fn parts(&self) -> Ms {
        ((self.days * 3.0) as Ms).max(1)
    }

    /// The busy time of all parts together.
    pub fn busy_ms(&self) -> Ms {
        (self.days * 86_400_000.0 / self.haste) as Ms
    }

    /// Converts a moment counted in busy time to a moment of the run, which also counts the quiet times before it.
    pub fn moment(&self, busy_ms: Ms) -> Ms {
        let part = (self.busy_ms() / self.parts()).max(1);
        busy_ms + busy_ms / part * QUIET_MS
    }

    /// Time left from a moment of the run until its part becomes quiet.
    pub fn busy_left_ms(&self, at: Ms) -> Ms {
        self.part_ms() - QUIET_MS - at % self.part_ms()
    }

    /// Converts the steps' times from busy time to the run's time, sorts them, and ends faults before the quiet time.
    pub fn place(&self, steps: &mut [Planned]) {
        for planned in steps.iter_mut() {
            planned.at = self.moment(planned.at);
            let left = self.busy_left_ms(planned.at).max(0);
            if let Step::Network { for_ms, .. } | Step::CoreOutage { for_ms } = &mut planned.step {
                *for_ms = (*for_ms).min(left);
            }
        }
        steps.sort_by_key(|planned| planned.at);
    }
}
