//! The time from a page change until the last friend has it.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, bail};
use loadgen::{FanOut, Group, Town};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    clients::{Clients, Heard, Server},
    times::times,
};

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Changes per server and group that are measured.
    pub changes: usize,
    /// Changes before them that are not measured.
    pub warm_up: usize,
    /// Pause before every round of changes.
    pub rest: Duration,
}

/// Pause after each change, so that its server is done with it before the next.
const PAUSE: Duration = Duration::from_millis(30);

/// Least time between two rounds in which the same user turns to a page.
const PACE: Duration = Duration::from_millis(1_050);

/// Longest wait for a change to reach everybody.
const WAIT_MAX: Duration = Duration::from_secs(20);

/// Connects a town to each of these servers. In every round, each server takes its turn with one change per group.
pub async fn measure(servers: &[Server], town: &Town, plan: Plan) -> Result<Vec<FanOut>> {
    let mut all = Vec::new();
    for server in servers {
        eprintln!("  connecting {} users to {}", town.people.len(), server.name);
        all.push(Clients::connect(server, town, 16).await?);
    }
    // Messages that coming online causes arrive in this time.
    sleep(Duration::from_secs(2)).await;
    let mut taken = vec![vec![Vec::new(); town.groups.len()]; servers.len()];
    let mut change = 0;
    let mut rounds_begun: Vec<Instant> = Vec::new();
    for round in 0..plan.warm_up + plan.changes {
        // A user who turned to a page rests for `PACE` before their next turn.
        let changers = town.groups.iter().map(|group| group.changers.len()).min().context("there are no groups")?;
        if let Some(last) = round.checked_sub(changers).and_then(|before| rounds_begun.get(before)) {
            sleep_until(*last + PACE).await;
        }
        for clients in &mut all {
            clients.keep_alive().await?;
        }
        sleep(plan.rest).await;
        rounds_begun.push(Instant::now());
        if round % 20 == 0 || !plan.rest.is_zero() {
            eprintln!("  round {} of {}", round + 1, plan.warm_up + plan.changes);
        }
        // Another server is first in each round.
        for turn in 0..servers.len() {
            let turn = (turn + round) % servers.len();
            let (Some(clients), Some(taken)) = (all.get_mut(turn), taken.get_mut(turn)) else { continue };
            for (group, taken) in town.groups.iter().zip(taken) {
                change += 1;
                let time = one(clients, group, round, change).await?;
                if round >= plan.warm_up {
                    taken.push(time);
                }
                sleep(PAUSE).await;
            }
        }
    }
    let mut found = Vec::new();
    for (server, taken) in servers.iter().zip(taken) {
        for (group, taken) in town.groups.iter().zip(taken) {
            found.push(FanOut { server: server.name.clone(), friends: group.audience.len(), times: times(taken) });
        }
    }
    Ok(found)
}

/// Makes one change and waits until everybody has it. Returns how long that took.
async fn one(clients: &mut Clients, group: &Group, round: usize, change: u64) -> Result<Duration> {
    let changer = group.changers.get(round % group.changers.len()).context("a group without changers")?;
    let mut missing: BTreeSet<usize> = group.audience.iter().copied().collect();
    let begun = Instant::now();
    clients.change(*changer, change).await?;
    while !missing.is_empty() {
        let Some(report) = clients.next(begun + WAIT_MAX).await? else {
            bail!("{}: {} friends were not told of a change", clients.name, missing.len());
        };
        if report.heard == Heard::Change(change) {
            missing.remove(&report.who);
            if missing.is_empty() {
                return Ok(report.at - begun);
            }
        }
    }
    bail!("a group without an audience")
}
