//! The presence engine: everything one user's object decides, as a pure function of what happened and when.
//!
//! [`UserPresence::handle`] takes an [`Event`] and the time and returns [`Effect`]s for the shell to carry out, in order.
//! [`UserPresence::next_wake`] says when the object must be woken; an alarm does that, which outlives memory.
//! [`UserPresence::next_tick`] says when it should be woken earlier; a timer does that, which does not. The same code runs in the
//! worker and in tests.
//!
//! Deliberately absent: IO, async, clocks, randomness, panics, and any knowledge of Durable Objects beyond a few facts:
//! memory may vanish between two effects, sleep takes it after 10 s of quiet, a socket carries a small attachment, an
//! alarm may fire twice. What must survive goes out as [`Effect::Save`] and [`Effect::Attach`] and comes back through
//! [`UserPresence::restore`].

#![warn(clippy::field_scoped_visibility_modifiers)]

mod cached_social;
mod contacts;
mod core_replica;
mod engine;
mod event;
pub mod limits;
mod messages;
mod output;
mod published;
mod rate;
mod sessions;
mod shell;
mod stored;
mod waiters;

pub use cached_social::{CachedSocial, Unreadable};
pub use engine::{EngineConfig, HeartbeatMode, UserPresence};
pub use event::{Effect, Event, Frame, ReadId, Reply, Save, TokenOutcome, Wake, WakeReason};
pub use shell::{Admission, AdmissionStep, AlarmKeeper, AlarmStep, TickTimer};
pub use stored::{Attachment, Checkpoint, Departure, Report, Retry, Roster, Saved, SavedState};
