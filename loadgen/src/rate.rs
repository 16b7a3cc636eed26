//! How many page changes per second a server handles before they arrive late.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result};
use loadgen::{Group, Rate, RateStep, Town};
use tokio::time::{Instant, sleep};

use crate::{
    clients::{Clients, Heard, Server},
    times::times,
};

/// How to measure.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The longest time that 99 of 100 changes may take. With more, the rate does not pass.
    pub p99_max: Duration,
    /// How long each rate is tried.
    pub time: Duration,
    pub first_per_s: f64,
    pub most_per_s: f64,
}

/// Factor from one rate to the next until one fails. The search ends when they differ by its fourth root or less.
const STEP: f64 = 1.4;

/// How often a rate that does not pass is tried before it counts as failed.
const TRIES: usize = 2;

/// The search for the highest rate of one server.
struct Search {
    clients: Clients,
    passed_per_s: f64,
    failed_per_s: Option<f64>,
    steps: Vec<RateStep>,
}

/// Finds the highest rate of each server. The servers take turns, one rate at a time.
pub async fn measure(servers: &[Server], town: &Town, plan: Plan) -> Result<Vec<Rate>> {
    let group = town.groups.first().context("there is no group")?;
    let mut searches = Vec::new();
    for server in servers {
        eprintln!("  connecting {} users to {}", town.people.len(), server.name);
        let clients = Clients::connect(server, town, 16).await?;
        searches.push(Search { clients, passed_per_s: 0.0, failed_per_s: None, steps: Vec::new() });
    }
    let mut change = 0;
    loop {
        let mut searching = false;
        for search in &mut searches {
            let Some(per_s) = search.next(&plan) else { continue };
            searching = true;
            let mut passed = false;
            for _ in 0..TRIES {
                search.clients.keep_alive().await?;
                sleep(Duration::from_secs(2)).await;
                let step = search.run(group, per_s, &plan, &mut change).await?;
                eprintln!(
                    "  {:<8} {:>6.1}/s  p99 {:>8.1} ms{}",
                    search.clients.name,
                    per_s,
                    step.times.p99_ms,
                    if step.lost > 0 { format!(", {} lost", step.lost) } else { String::new() }
                );
                passed = step.passed;
                search.steps.push(step);
                if passed {
                    break;
                }
            }
            match passed {
                true => search.passed_per_s = per_s,
                false => search.failed_per_s = Some(per_s),
            }
        }
        if !searching {
            break;
        }
    }
    let mut found = Vec::new();
    for Search { clients, passed_per_s, failed_per_s, steps } in searches {
        found.push(Rate {
            server: clients.name.clone(),
            friends: group.audience.len(),
            changes_per_s: passed_per_s,
            at_least: failed_per_s.is_none(),
            steps,
        });
    }
    Ok(found)
}

impl Search {
    /// The rate to try next; `None` if the highest rate is known closely enough.
    fn next(&self, plan: &Plan) -> Option<f64> {
        match self.failed_per_s {
            None if self.passed_per_s == 0.0 => Some(plan.first_per_s),
            None if self.passed_per_s >= plan.most_per_s => None,
            None => Some((self.passed_per_s * STEP).min(plan.most_per_s)),
            // No rate has passed yet.
            Some(failed) if self.passed_per_s == 0.0 => (failed > 1.0).then_some(failed / 2.0),
            Some(failed) if failed / self.passed_per_s <= STEP.powf(0.26) => None,
            Some(failed) => Some((failed * self.passed_per_s).sqrt()),
        }
    }

    /// Makes changes at this rate, whether or not the server keeps up.
    async fn run(&mut self, group: &Group, per_s: f64, plan: &Plan, change: &mut u64) -> Result<RateStep> {
        let everybody: BTreeSet<usize> = group.audience.iter().copied().collect();
        let mut under_way: BTreeMap<u64, (Instant, usize)> = BTreeMap::new();
        let mut taken = Vec::new();
        let begun = Instant::now();
        let mut sent = 0_u32;
        let end = begun + plan.time + plan.p99_max * 4;
        loop {
            let next = begun + Duration::from_secs_f64(f64::from(sent) / per_s);
            let all_sent = next >= begun + plan.time;
            if all_sent && under_way.is_empty() {
                break;
            }
            let until = if all_sent { end } else { next };
            match self.clients.next(until).await? {
                Some(report) => {
                    let Heard::Change(number) = report.heard else { continue };
                    if !everybody.contains(&report.who) {
                        continue;
                    }
                    let Some((due, missing)) = under_way.get_mut(&number) else { continue };
                    *missing = missing.saturating_sub(1);
                    if *missing == 0 {
                        taken.push(report.at - *due);
                        under_way.remove(&number);
                    }
                }
                None if all_sent => break,
                None => {
                    *change += 1;
                    let place = usize::try_from(*change)? % group.changers.len();
                    let changer = group.changers.get(place).context("a group without changers")?;
                    // The time counts from when the change was due. A server that delays the load generator gains nothing.
                    under_way.insert(*change, (next, everybody.len()));
                    self.clients.change(*changer, *change).await?;
                    sent += 1;
                }
            }
        }
        let lost = under_way.len();
        let times = times(taken);
        let late = times.p99_ms > plan.p99_max.as_secs_f64() * 1_000.0;
        Ok(RateStep { changes_per_s: per_s, times, lost, passed: !late && lost * 100 <= times.count })
    }
}
