//! How often something may happen.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shared::{
    limits::{ASK_EVERY_MS, ASKS_AT_ONCE, CHANGE_EVERY_MS, CHANGES_AT_ONCE},
    time::Timestamp,
};

/// So many at once, then one every so often: the generic cell rate algorithm, of which one moment is the whole state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    at_once: i64,
    every_ms: i64,
    /// When as many are allowed at once as ever.
    full_at: Timestamp,
}

impl Pace {
    /// Of visible changes: [`CHANGES_AT_ONCE`], then one every [`CHANGE_EVERY_MS`].
    pub fn of_changes() -> Self {
        Self { at_once: CHANGES_AT_ONCE, every_ms: CHANGE_EVERY_MS, full_at: Timestamp::from_unix_ms(0) }
    }

    /// Of asking friends: [`ASKS_AT_ONCE`], then once every [`ASK_EVERY_MS`]. `full_at`: when as many are allowed at once as
    /// ever. A clock that was far ahead when that was kept must not hold anybody back for longer than asking could.
    pub fn of_asks(full_at: Timestamp, now: Timestamp) -> Self {
        let full_at = full_at.min(now.plus_ms(ASKS_AT_ONCE.saturating_mul(ASK_EVERY_MS)));
        Self { at_once: ASKS_AT_ONCE, every_ms: ASK_EVERY_MS, full_at }
    }

    /// When as many are allowed at once as ever.
    pub fn full_at(&self) -> Timestamp {
        self.full_at
    }

    /// When the next one is allowed.
    pub fn next(&self) -> Timestamp {
        self.full_at.plus_ms(-self.every_ms.saturating_mul(self.at_once.saturating_sub(1)))
    }

    /// Counts one, if it is allowed.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let allowed = self.next() <= now;
        if allowed {
            self.full_at = self.full_at.max(now).plus_ms(self.every_ms);
        }
        allowed
    }
}

/// When something happened lately.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lately(VecDeque<Timestamp>);

impl Lately {
    /// Counts one more, and says how many there were within the window. Its caller sees to it that they do not
    /// become more and more.
    pub(crate) fn count(&mut self, now: Timestamp, window_ms: i64) -> usize {
        let start = now.plus_ms(-window_ms);
        self.0.retain(|at| *at > start);
        self.0.push_back(now);
        self.0.len()
    }
}
