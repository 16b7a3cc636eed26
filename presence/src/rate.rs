//! How often something may happen.

use std::collections::VecDeque;

use crate::limits::{CHANGE_EVERY_MS, CHANGES_BURST, QUERIES_BURST, QUERY_EVERY_MS};
use shared::time::Timestamp;

/// Allows a burst, then one every so often: the generic cell rate algorithm, whose whole state is one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateLimiter {
    burst: i64,
    every_ms: i64,
    /// When a whole burst is allowed again.
    full_at: Timestamp,
}

impl RateLimiter {
    /// For visible changes: [`CHANGES_BURST`], then one every [`CHANGE_EVERY_MS`].
    pub fn of_changes() -> Self {
        Self { burst: CHANGES_BURST, every_ms: CHANGE_EVERY_MS, full_at: Timestamp::EPOCH }
    }

    /// For queries of all friends: [`QUERIES_BURST`], then one every [`QUERY_EVERY_MS`]. `full_at` is when a whole burst is
    /// allowed again. It is cut to the longest wait there can be, in case the clock that wrote it was far ahead.
    pub fn of_queries(full_at: Timestamp, now: Timestamp) -> Self {
        let full_at = full_at.min(now.plus_ms(QUERIES_BURST.saturating_mul(QUERY_EVERY_MS)));
        Self { burst: QUERIES_BURST, every_ms: QUERY_EVERY_MS, full_at }
    }

    /// When a whole burst is allowed again.
    pub fn full_at(&self) -> Timestamp {
        self.full_at
    }

    /// When the next one is allowed.
    pub fn next(&self) -> Timestamp {
        self.full_at.plus_ms(-self.every_ms.saturating_mul(self.burst.saturating_sub(1)))
    }

    /// Counts one if it is allowed, and says whether it is.
    pub fn take(&mut self, now: Timestamp) -> bool {
        let allowed = self.next() <= now;
        if allowed {
            self.full_at = self.full_at.max(now).plus_ms(self.every_ms);
        }
        allowed
    }
}

/// The moments within a window at which something happened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SlidingWindow(VecDeque<Timestamp>);

impl SlidingWindow {
    /// The window that was stored as these moments, oldest first.
    pub fn of(moments: Vec<Timestamp>) -> Self {
        Self(moments.into())
    }

    /// The moments, oldest first.
    pub fn moments(&self) -> Vec<Timestamp> {
        self.0.iter().copied().collect()
    }

    /// Adds one and says how many are within the window. The caller bounds the number: it closes the socket.
    pub fn count(&mut self, now: Timestamp, window_ms: i64) -> usize {
        let start = now.plus_ms(-window_ms);
        self.0.retain(|at| *at > start);
        self.0.push_back(now);
        self.0.len()
    }
}
