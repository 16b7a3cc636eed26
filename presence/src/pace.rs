//! How often something may happen.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use shared::{
    limits::{CHANGE_EVERY_MS, CHANGES_AT_ONCE},
    time::Timestamp,
};

/// At most [`CHANGES_AT_ONCE`] at once, then one every [`CHANGE_EVERY_MS`]: the generic cell rate algorithm, of which
/// one moment is the whole state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// When as many are allowed at once as ever.
    full_at: Timestamp,
}

impl Default for Pace {
    fn default() -> Self {
        Self { full_at: Timestamp::from_unix_ms(0) }
    }
}

impl Pace {
    /// When the next one is allowed.
    pub fn next(&self) -> Timestamp {
        self.full_at.plus_ms(-CHANGE_EVERY_MS.saturating_mul(CHANGES_AT_ONCE.saturating_sub(1)))
    }

    /// Counts one, if it is allowed.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let allowed = self.next() <= now;
        if allowed {
            self.full_at = self.full_at.max(now).plus_ms(CHANGE_EVERY_MS);
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
