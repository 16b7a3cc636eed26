//! What may happen in a run: a list of steps, each by itself, so that a failing run can be made shorter by leaving steps out.
//!
//! Deliberately absent: which of them happen when, which `plan` draws, and what comes of them, which is the world's.

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
    /// It is gone without a word: the socket stays until somebody misses its heartbeats.
    Vanish,
    /// It says that it means it.
    Goodbye,
}

/// What a browser's front tab may show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// A page of the nth public site.
    Site(usize),
    /// The same, with credentials and a fragment that nobody may ever see.
    Dressed(usize),
    /// An address, a private name, another scheme: never shown.
    Never(usize),
    /// Not shared, says the client.
    Empty,
    /// A URL over the bound: refused.
    TooLong,
}

/// What bad messages look like.
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
    /// Slow at times, out of order, and some messages twice; nothing lost.
    Slow,
    /// A call in ten fails.
    Lossy,
    /// Half of all calls fail.
    Stormy,
    /// Half of all calls take seconds, one way or the other; nothing else is lost.
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
    /// That many pages, each some milliseconds after the one before.
    Rush {
        device: Device,
        pages: usize,
        every_ms: Ms,
    },
    Idle(Device, bool),
    Watch(Device, bool),
    Invisible(Device, bool),
    /// With a good token, or another.
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

    // What the core is told, by REST calls.
    Befriend(Who, Who),
    Unfriend(Who, Who),
    /// The first blocks the second, which ends a friendship too.
    Block(Who, Who),
    /// Other share settings: the nth choice.
    Share(Who, usize),
    /// A friend request, or a page sent: clients hear of it, and nothing else changes.
    Notify(Who),
    Delete(Who),
    /// An operator lets a user in nowhere, or takes that back.
    Suspend(Who),
    Restore(Who),

    // What goes wrong.
    /// Memory is lost.
    Evict(Who),
    /// Memory and sockets are lost.
    Redeploy(Who),
    /// Memory is lost, and this device's socket with it.
    Drop(Device),
    /// All objects' memory and sockets are lost, within so many milliseconds.
    RedeployAll {
        within_ms: Ms,
    },
    /// Memory, and with `sockets` those too, are lost within the next event: after so many of its effects, a call
    /// to each peer being one.
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
    /// Whom it happens to; nobody for what happens to all.
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

/// A moment of a run, for people: days, hours, minutes, seconds.
#[derive(Debug, Clone, Copy)]
pub struct Clock(pub Ms);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, ms) = (self.0.div_euclid(1_000), self.0.rem_euclid(1_000));
        write!(f, "{}d {:02}:{:02}:{:02}.{ms:03}", s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60)
    }
}

/// All that decides a run, but for the steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    pub seed: u64,
    pub users: usize,
    /// How much is lived: the doings of so many days.
    pub days: f64,
    /// How many times faster than in life clients, core and faults act; time-outs and heartbeats stay. A day at 24
    /// is over in an hour.
    pub haste: f64,
    /// Whether anything goes wrong.
    pub faults: bool,
    /// Whether every call between objects takes the same time, and alarms are never late.
    pub steady: bool,
    /// Rules that are not looked at, to find what else is broken.
    pub ignored: Rules,
}

/// What kind of place a run is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// How long a call between objects takes, each way, at least and at most.
    pub hop_ms: (Ms, Ms),
    /// How long tokens last from when a client connects with them.
    pub token_ms: (Ms, Ms),
}

impl Default for Place {
    /// Where tokens are old and ends of sockets many.
    fn default() -> Self {
        Self { hop_ms: (1, 12), token_ms: (600_000, 3_600_000) }
    }
}

/// Time at the end of each part of a run in which nothing goes wrong and nobody does anything: time-outs, retries
/// and the core's outbox come to an end.
pub const QUIET_MS: Ms = 330_000;

impl Setting {
    /// The length of the run, quiet times included.
    pub fn length_ms(&self) -> Ms {
        self.part_ms() * self.parts()
    }

    /// A run has some parts, each ending in [`QUIET_MS`].
    pub fn part_ms(&self) -> Ms {
        self.busy_ms() / self.parts() + QUIET_MS
    }

    pub fn parts(&self) -> Ms {
        ((self.days * 3.0) as Ms).max(1)
    }

    /// The time in which somebody does something.
    pub fn busy_ms(&self) -> Ms {
        (self.days * 86_400_000.0 / self.haste) as Ms
    }

    /// When a moment of busy time is in the run.
    pub fn moment(&self, busy_ms: Ms) -> Ms {
        let part = (self.busy_ms() / self.parts()).max(1);
        busy_ms + busy_ms / part * QUIET_MS
    }

    /// Time left from a moment of the run until its part becomes quiet.
    pub fn busy_left_ms(&self, at: Ms) -> Ms {
        self.part_ms() - QUIET_MS - at % self.part_ms()
    }

    /// Moves steps from busy time to their moments of the run, in order.
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
