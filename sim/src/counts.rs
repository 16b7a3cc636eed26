//! What a run counts: the figures that cost money, and those that show how much was tested.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// Sums over one run or several.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Users multiplied by days.
    pub user_days: f64,
    /// Events that engines handled.
    pub events: u64,
    /// Pages that clients reported.
    pub page_changes: u64,
    /// For each page that was reported, the open sockets of friends; summed.
    pub sockets_around: u64,
    /// For each page that was reported, the friends with an open socket; summed.
    pub friends_around: u64,
    /// Requests from object to object.
    pub peer_calls: u64,
    /// Of the `peer_calls`, those that told a friend of a change while the user was online.
    pub page_calls: u64,
    /// Of the `peer_calls`, those that asked how a friend appears.
    pub asking_calls: u64,
    /// Actions of users that led to such questions.
    #[serde(default)]
    pub asking_doings: u64,
    /// Of the `asking_calls`, those to friends without a socket.
    pub vain_calls: u64,
    /// Sockets that opened.
    pub connects: u64,
    /// Messages that clients sent to objects, without the heartbeats below.
    pub frames: u64,
    /// Heartbeats that the runtime answered without waking the object.
    pub heartbeats: u64,
    /// Messages that objects sent to clients.
    pub sends: u64,
    /// Calls of `GET /presence` and `GET /presence/{id}`, including those that the checks make in quiet times.
    pub reads: u64,
    /// Questions of objects to the core.
    pub core_calls: u64,
    /// Batches of events that the core sent to objects.
    pub core_batches: u64,
    /// Rows written to store documents.
    pub rows: u64,
    /// Alarms set. Each costs a row.
    pub alarms_set: u64,
    /// Alarms that fired.
    pub alarms: u64,
    /// Times that an object came into memory.
    pub wakes: u64,
    /// Milliseconds in which objects waited for a call or a timer and could not hibernate.
    pub active_ms: u64,
    /// Faults that happened.
    pub evictions: u64,
    pub redeployments: u64,
    pub crashes: u64,
    pub failed_calls: u64,
    /// Comparisons made in quiet times.
    pub truths: u64,
}

impl Counts {
    /// What was counted since `earlier`, a count of the same run.
    pub fn since(self, earlier: Self) -> Self {
        self.zip(earlier, u64::saturating_sub, |now, before| now - before)
    }

    fn zip(self, other: Self, both: fn(u64, u64) -> u64, days: fn(f64, f64) -> f64) -> Self {
        Self {
            user_days: days(self.user_days, other.user_days),
            events: both(self.events, other.events),
            page_changes: both(self.page_changes, other.page_changes),
            sockets_around: both(self.sockets_around, other.sockets_around),
            friends_around: both(self.friends_around, other.friends_around),
            peer_calls: both(self.peer_calls, other.peer_calls),
            page_calls: both(self.page_calls, other.page_calls),
            asking_calls: both(self.asking_calls, other.asking_calls),
            asking_doings: both(self.asking_doings, other.asking_doings),
            vain_calls: both(self.vain_calls, other.vain_calls),
            connects: both(self.connects, other.connects),
            frames: both(self.frames, other.frames),
            heartbeats: both(self.heartbeats, other.heartbeats),
            sends: both(self.sends, other.sends),
            reads: both(self.reads, other.reads),
            core_calls: both(self.core_calls, other.core_calls),
            core_batches: both(self.core_batches, other.core_batches),
            rows: both(self.rows, other.rows),
            alarms_set: both(self.alarms_set, other.alarms_set),
            alarms: both(self.alarms, other.alarms),
            wakes: both(self.wakes, other.wakes),
            active_ms: both(self.active_ms, other.active_ms),
            evictions: both(self.evictions, other.evictions),
            redeployments: both(self.redeployments, other.redeployments),
            crashes: both(self.crashes, other.crashes),
            failed_calls: both(self.failed_calls, other.failed_calls),
            truths: both(self.truths, other.truths),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        *self = self.zip(other, |one, more| one + more, |one, more| one + more);
    }
}
