//! How long a page change takes to the friend's socket, measured on the system that `cargo xtask dev` runs.
//!
//! Pairs of new friends take turns, so that nobody changes pages more often than the contract lets through at once,
//! and only one change is under way at any time: this measures the way, not the load.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use e2e::{Incoming, Live, Person, Site};
use serde_json::{Value, json};
use shared::wire::{HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE};
use tokio::time::{Instant, sleep_until};

/// Measures the time from a page change to the friend's socket.
#[derive(Debug, Parser)]
struct Options {
    /// Page changes to measure.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// Pairs of friends who take turns.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
}

/// Least time between two changes of one user.
const PACE: Duration = Duration::from_secs(1);

/// Rounds that are not counted: what is started, compiled and cached at first use.
const WARM_UP_ROUNDS: u32 = 2;

struct Pair {
    sender: Person,
    sending: Live,
    receiving: Live,
    /// Beats only when told to, for the time of a heartbeat's answer.
    beating: Live,
}

#[derive(Default)]
struct Times {
    to_friend: Vec<Duration>,
    own_echo: Vec<Duration>,
    heartbeat: Vec<Duration>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    let site = Site::of_development()?;
    eprintln!("making {} pairs of friends", options.pairs);
    let mut pairs = Vec::new();
    for _ in 0..options.pairs {
        let ((sender, sending), (_, receiving)) = site.friends_online().await?;
        let beating = sender.connect_silently().await?;
        pairs.push(Pair { sender, sending, receiving, beating });
    }
    let mut times = Times::default();
    let rounds = options.changes.div_ceil(options.pairs);
    eprintln!("{} changes in {rounds} rounds, after {WARM_UP_ROUNDS} that do not count", options.changes);
    for round in 0..rounds + WARM_UP_ROUNDS {
        let next_round = Instant::now() + PACE;
        for pair in &mut pairs {
            if times.to_friend.len() >= options.changes as usize {
                break;
            }
            let measured = pair.turn(round).await?;
            if round >= WARM_UP_ROUNDS {
                times.to_friend.push(measured.0);
                times.own_echo.push(measured.1);
                times.heartbeat.push(measured.2);
            }
        }
        sleep_until(next_round).await;
    }
    let report = json!({
        "changes": times.to_friend.len(),
        "page_change_to_friend_ms": summary(&mut times.to_friend)?,
        "page_change_to_own_echo_ms": summary(&mut times.own_echo)?,
        "heartbeat_answered_ms": summary(&mut times.heartbeat)?,
    });
    for (name, about) in [
        ("page_change_to_friend_ms", "page change to the friend's socket"),
        ("page_change_to_own_echo_ms", "reference: page change to the own echo"),
        ("heartbeat_answered_ms", "reference: heartbeat answered by the runtime"),
    ] {
        let of = |part: &str| report.get(name).and_then(|summary| summary.get(part)).unwrap_or(&Value::Null);
        eprintln!("{about:<46} p50 {:>8} ms   p99 {:>8} ms   max {:>8} ms", of("p50"), of("p99"), of("max"));
    }
    println!("{report}");
    Ok(())
}

impl Pair {
    /// One change of page and one heartbeat: the times to the friend, to the own echo and to the answer.
    async fn turn(&mut self, round: u32) -> Result<(Duration, Duration, Duration)> {
        let url = format!("https://example.com/{round}");
        let sent = Instant::now();
        self.sending.visit(&url, "A page")?;
        let to_friend = seen(&mut self.receiving, &self.sender, &url).await?.duration_since(sent);
        let own_echo = seen(&mut self.sending, &self.sender, &url).await?.duration_since(sent);
        seen(&mut self.beating, &self.sender, &url).await?;
        let sent = Instant::now();
        self.beating.send_text(HEARTBEAT_REQUEST);
        let answer = self.beating.arrival().await?;
        ensure!(answer.what == Incoming::Text(HEARTBEAT_RESPONSE.to_owned()), "not an answer: {answer:?}");
        Ok((to_friend, own_echo, answer.at.duration_since(sent)))
    }
}

/// When this page of that user was read from the socket.
async fn seen(live: &mut Live, whose: &Person, url: &str) -> Result<Instant> {
    loop {
        let arrival = live.arrival().await?;
        let Incoming::Text(text) = arrival.what else { anyhow::bail!("the socket was closed") };
        let message: Value = serde_json::from_str(&text)?;
        let of = |name: &str| message.get(name).and_then(Value::as_str);
        if of("userId") == Some(whose.id.as_str()) && of("url") == Some(url) {
            return Ok(arrival.at);
        }
    }
}

/// The nearest-rank percentiles, in milliseconds.
fn summary(times: &mut [Duration]) -> Result<Value> {
    times.sort_unstable();
    let rank = |percent: usize| times.get((times.len() * percent).div_ceil(100).saturating_sub(1));
    let ms = |time: Option<&Duration>| -> Result<f64> {
        let time = time.context("nothing was measured")?;
        Ok((time.as_secs_f64() * 100_000.0).round() / 100.0)
    };
    Ok(json!({ "p50": ms(rank(50))?, "p99": ms(rank(99))?, "max": ms(times.last())? }))
}
