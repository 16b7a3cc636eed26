//! The presence engine: everything one user's object decides, as a pure function of what happened and when.
//!
//! [`UserPresence::handle`] takes an [`Event`] and the time and returns [`Effect`]s for the shell to carry
//! out, in order; [`UserPresence::next_wake`] says when it wants to be woken, and [`UserPresence::next_tick`] when, too,
//! if memory lasts. The same code runs in the worker and in tests.
//!
//! Deliberately absent: IO, async, clocks, randomness, panics, and any knowledge of Durable Objects beyond a few facts:
//! memory may vanish between two effects, sleep takes it after 10 s of quiet, a socket carries a small attachment, an
//! alarm may fire twice. What must survive goes out as [`Effect::Save`] and [`Effect::Attach`] and comes back through
//! [`UserPresence::restore`].

mod calls;
mod core_events;
mod endings;
mod event;
mod frames;
mod friends;
mod kept;
mod pace;
mod reading;
mod saved;
mod user;

pub use calls::Failure;
pub use event::{Effect, Event, Frame, ReadId, Reply, Save, TokenOutcome};
pub use kept::{Kept, Unreadable};
pub use pace::Lately;
pub use saved::{Attachment, Leaving, Note, Report, Roll, Saved, SavedState};
pub use user::{HeartbeatMode, Times, UserPresence};
