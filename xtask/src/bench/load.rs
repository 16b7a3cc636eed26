//! The load: requests that are made beforehand, and sent by wrk.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use devstack::{
    project,
    step::{self, OrStepFailed as _},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use serde::{Deserialize, Serialize};

use crate::bench::{
    CONNECTIONS,
    calls::{Call, NAMES},
    dataset::{Dataset, user_id},
};

/// The number of requests in a file. wrk sends them again and again.
const REQUESTS: usize = 20_000;

/// The users who call. They are spread evenly over all users.
#[derive(Debug, Clone)]
pub struct Callers {
    pub dataset: Dataset,
    pub count: u64,
    /// The token of each caller, in order.
    pub tokens: Vec<String>,
}

impl Callers {
    /// The distance between two callers in the list of users.
    pub fn step(&self) -> u64 {
        self.dataset.users / self.count
    }

    /// The ids of `count` callers.
    pub fn ids(dataset: Dataset, count: u64) -> Vec<String> {
        (0..count).map(|place| user_id(1 + place * (dataset.users / count))).collect()
    }
}

/// The text of a file of requests, as `dev/wrk.lua` reads it. It is the same at every run.
pub fn requests(call: &Call, callers: &Callers) -> String {
    let mut random = StdRng::seed_from_u64(1);
    let mut text = String::new();
    for _ in 0..REQUESTS {
        let user = user_id(random.random_range(1..=callers.dataset.users));
        let name = NAMES.choose(&mut random).copied().unwrap_or_default();
        let token = callers.tokens.choose(&mut random).map(String::as_str).unwrap_or_default();
        let path = call.path.replace("{user}", &user).replace("{name}", name);
        text.push_str(&[call.method, &path, token, call.body].join("\t"));
        text.push('\n');
    }
    text
}

/// The figures that wrk reports.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Seen {
    pub requests: u64,
    pub duration_us: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    /// Answers with a status of 400 or more.
    pub refused: u64,
    /// Connections and answers that failed.
    pub broken: u64,
}

impl Seen {
    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 * 1e6 / self.duration_us as f64
    }
}

/// Fails if wrk is missing. The error says what to do.
pub async fn ensure_wrk() -> Result<()> {
    let mut wrk = project::command("sh");
    wrk.args(["-c", "command -v wrk"]);
    let advice = "install it: `apt-get install wrk` on Debian, `brew install wrk` on macOS";
    step::read(wrk).await.map(drop).or_step_failed("Looking for wrk", advice)
}

/// Sends the requests of a file to the server for that long, again and again.
pub async fn send(url: &str, requests: &Path, time: Duration) -> Result<Seen> {
    let mut wrk = project::command("wrk");
    wrk.args(["--threads", "1", "--connections", &CONNECTIONS.to_string(), "--timeout", "10"]);
    wrk.args(["--duration", &time.as_secs().max(1).to_string()]);
    wrk.arg("--script").arg(project::root().join("dev/wrk.lua")).arg(url).arg(requests);
    let told = step::read(wrk).await;
    told.and_then(|told| parse(&told)).or_step_failed("Sending requests with wrk", "see what it says above")
}

fn parse(told: &str) -> Result<Seen> {
    let line = told.lines().find(|line| line.starts_with('{')).context("wrk told no figures")?;
    serde_json::from_str(line).context("wrk told other figures than dev/wrk.lua writes")
}
