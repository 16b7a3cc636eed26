//! What is told to the loadgen and what it tells: the town it lives in, and what it has seen.
//!
//! Deliberately absent: sockets. They are the program's, which is built with optimisations; the benchmark that conducts it needs
//! only the words.

use serde::{Deserialize, Serialize};

/// The users that take part in a measurement.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Town {
    pub people: Vec<Citizen>,
    pub groups: Vec<Group>,
}

/// One user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Citizen {
    pub id: String,
    /// Good for longer than any measurement.
    pub token: String,
    /// Their friends' places among the people.
    pub friends: Vec<usize>,
}

/// Users who turn pages, one at a time, and friends of all of them who look on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    pub changers: Vec<usize>,
    pub audience: Vec<usize>,
}

/// Times in milliseconds, nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// From a page change until the last friend has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FanOut {
    pub server: String,
    pub friends: usize,
    pub times: Times,
}

/// The most changes per second that a server takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rate {
    pub server: String,
    pub friends: usize,
    pub changes_per_s: f64,
    /// Whether no more were tried.
    pub at_least: bool,
    pub steps: Vec<RateStep>,
}

/// One rate that was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RateStep {
    pub changes_per_s: f64,
    /// Of those that reached everybody.
    pub times: Times,
    /// Changes that did not reach everybody in time.
    pub lost: usize,
    pub passed: bool,
}

/// What sockets cost on which nothing happens.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    pub server: String,
    pub sockets: usize,
    /// Resident memory that came with them, each.
    pub kib_each: f64,
    /// Time until all were connected and had their snapshots.
    pub connected_s: f64,
    /// Processor time the server took for that, each.
    pub connecting_cpu_ms_each: f64,
    /// Share of one processor while only heartbeats flow.
    pub cpu_percent: f64,
    pub heartbeats_per_s: f64,
}

/// Everybody connecting at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connected {
    pub server: String,
    pub sockets: usize,
    /// From the first attempt until the last had the snapshot.
    pub all_s: f64,
    /// Each one's, from the first attempt.
    pub times: Times,
}
