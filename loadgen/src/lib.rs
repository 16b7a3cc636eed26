//! The input and output of the load generator: a town of users, and what was measured.
//!
//! Deliberately absent: sockets. They are in the program, which is built with optimisations. `cargo xtask bench presence`,
//! which runs it, needs only these types.

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
    /// Valid for longer than any measurement.
    pub token: String,
    /// Friends, by their place in [`Town::people`].
    pub friends: Vec<usize>,
}

/// Users who turn to pages, one at a time, and an audience of users who are friends of all of them. Both by place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Group {
    pub changers: Vec<usize>,
    pub audience: Vec<usize>,
}

/// Percentiles of times, in milliseconds, by nearest rank.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    pub count: usize,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// The time from a page change until the last friend has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FanOut {
    pub server: String,
    pub friends: usize,
    pub times: Times,
}

/// The highest number of changes per second that a server handles in time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rate {
    pub server: String,
    pub friends: usize,
    pub changes_per_s: f64,
    /// Whether the highest rate that was tried passed, so that the true limit may be higher.
    pub at_least: bool,
    pub steps: Vec<RateStep>,
}

/// One rate that was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RateStep {
    pub changes_per_s: f64,
    /// Times of the changes that reached everybody.
    pub times: Times,
    /// Changes that did not reach everybody in time.
    pub lost: usize,
    pub passed: bool,
}

/// The costs of idle sockets.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    pub server: String,
    pub sockets: usize,
    /// Resident memory of the server for each socket, in KiB.
    pub kib_each: f64,
    /// Seconds until all were connected and had their snapshots.
    pub connected_s: f64,
    /// Processor time that the server needed for that, for each socket.
    pub connecting_cpu_ms_each: f64,
    /// Percentage of one processor while there are only heartbeats.
    pub cpu_percent: f64,
    pub heartbeats_per_s: f64,
}

/// Everybody connects at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connected {
    pub server: String,
    pub sockets: usize,
    /// Seconds from the first attempt until the last had their snapshot.
    pub all_s: f64,
    /// The time of each, from the first attempt of all until they had their snapshot.
    pub times: Times,
}
