//! What a run took: the figures that cost money, and those that say how much was tried.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Sums over a run, or over many.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Users times days lived.
    pub user_days: f64,
    /// Events that engines handled.
    pub events: u64,
    /// Pages that clients reported.
    pub page_changes: u64,
    /// Requests from object to object.
    pub peer_calls: u64,
    /// Of those, the ones that told of a change while online.
    pub page_calls: u64,
    /// Sockets that opened.
    pub connects: u64,
    /// Messages that clients sent to objects, but for the heartbeats below.
    pub frames: u64,
    /// Heartbeats that the runtime answered.
    pub heartbeats: u64,
    /// Messages that objects sent to clients.
    pub sends: u64,
    /// Calls of `GET /presence`.
    pub reads: u64,
    /// Questions to the core.
    pub core_calls: u64,
    /// Batches of events from the core.
    pub core_batches: u64,
    /// Rows of documents written.
    pub rows: u64,
    /// Alarms set, each a row.
    pub alarms_set: u64,
    /// Alarms that fired.
    pub alarms: u64,
    /// Times that memory began anew.
    pub wakes: u64,
    /// Milliseconds for which objects could not hibernate, as their runtime charges them.
    pub active_ms: u64,
    /// Faults that were met.
    pub evictions: u64,
    pub redeployments: u64,
    pub crashes: u64,
    pub failed_calls: u64,
    /// Comparisons made in quiet times.
    pub truths: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.user_days += other.user_days;
        self.events += other.events;
        self.page_changes += other.page_changes;
        self.peer_calls += other.peer_calls;
        self.page_calls += other.page_calls;
        self.connects += other.connects;
        self.frames += other.frames;
        self.heartbeats += other.heartbeats;
        self.sends += other.sends;
        self.reads += other.reads;
        self.core_calls += other.core_calls;
        self.core_batches += other.core_batches;
        self.rows += other.rows;
        self.alarms_set += other.alarms_set;
        self.alarms += other.alarms;
        self.wakes += other.wakes;
        self.active_ms += other.active_ms;
        self.evictions += other.evictions;
        self.redeployments += other.redeployments;
        self.crashes += other.crashes;
        self.failed_calls += other.failed_calls;
        self.truths += other.truths;
    }
}
