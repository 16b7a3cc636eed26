//! The load generator: thousands of clients of the live channel, and measurements of what they receive.
//! `cargo xtask bench presence` runs it.
//!
//! It has one thread, so that on a machine with two processors the server has the other. Results go to standard output as
//! JSON, everything else to standard error.

mod clients;
mod dataset;
mod fan_out;
mod floor;
mod rate;
mod times;
mod xmpp;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use loadgen::Town;
use serde::Serialize;

use crate::clients::Server;

/// Measures servers with many clients of the live channel at once.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Where {
    /// A file with the users: JSON of a `Town`.
    #[arg(long)]
    town: PathBuf,
    /// A server to measure: NAME=ADDRESS, or NAME=ADDRESS@PROCESS. NAME=xmpp:ADDRESS if it speaks XMPP. Repeatable.
    #[arg(long = "at", required = true)]
    servers: Vec<Server>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure the time from a page change until the last friend has it. The servers take turns.
    FanOut {
        #[command(flatten)]
        at: Where,
        #[arg(long)]
        changes: usize,
        #[arg(long)]
        warm_up: usize,
        /// Pause before each round of changes, in milliseconds.
        #[arg(long)]
        rest_ms: u64,
    },
    /// Find the highest number of changes per second that arrive in time. The servers take turns.
    Rate {
        #[command(flatten)]
        at: Where,
        #[arg(long)]
        p99_ms_max: u64,
        #[arg(long)]
        seconds: u64,
        #[arg(long)]
        first_per_s: f64,
        #[arg(long)]
        most_per_s: f64,
    },
    /// Measure the memory and processor time of idle sockets.
    Idle {
        #[command(flatten)]
        at: Where,
        /// Pause before memory is read, in milliseconds.
        #[arg(long)]
        rest_ms: u64,
        #[arg(long)]
        beats_every_ms: u64,
        #[arg(long)]
        seconds: u64,
    },
    /// Connect everybody at the same moment, and measure how long it takes.
    Connect {
        #[command(flatten)]
        at: Where,
        /// Print "connected", and stay until the server closes a socket.
        #[arg(long)]
        hold: bool,
    },
    /// Run the simplest possible server, to compare with.
    Serve {
        #[arg(long)]
        town: PathBuf,
        #[arg(long)]
        port: u16,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    match Cli::parse().command {
        Command::FanOut { at, changes, warm_up, rest_ms } => {
            let plan = fan_out::Plan { changes, warm_up, rest: Duration::from_millis(rest_ms) };
            tell(&fan_out::measure(&at.servers, &read(&at.town)?, plan).await?)
        }
        Command::Rate { at, p99_ms_max, seconds, first_per_s, most_per_s } => {
            let (p99_max, time) = (Duration::from_millis(p99_ms_max), Duration::from_secs(seconds));
            let plan = rate::Plan { p99_max, time, first_per_s, most_per_s };
            tell(&rate::measure(&at.servers, &read(&at.town)?, plan).await?)
        }
        Command::Idle { at, rest_ms, beats_every_ms, seconds } => {
            let town = read(&at.town)?;
            let (rest, every) = (Duration::from_millis(rest_ms), Duration::from_millis(beats_every_ms));
            let mut found = Vec::new();
            for server in &at.servers {
                found.push(dataset::idle(server, &town, rest, every, Duration::from_secs(seconds)).await?);
            }
            tell(&found)
        }
        Command::Connect { at, hold } => {
            let town = read(&at.town)?;
            let mut found = Vec::new();
            for server in &at.servers {
                found.push(dataset::connect(server, &town, hold).await?);
            }
            tell(&found)
        }
        Command::Serve { town, port } => floor::serve(read(&town)?, port).await,
    }
}

fn read(path: &std::path::Path) -> Result<Town> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no town", path.display()))
}

fn tell(found: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(found)?);
    Ok(())
}
