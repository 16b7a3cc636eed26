//! `cargo xtask sim`: runs seeds and reports which rules were broken.

use std::{
    collections::BTreeMap,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum, builder::RangedU64ValueParser};
use sim::{
    plan,
    rules::Rule,
    run::{self, Report},
    shrink,
    steps::{Clock, Setting},
    world::{self, Trace},
};

/// Lets populations of users live through virtual days, and checks every rule of presence. Messages are lost, late, doubled
/// and reordered, objects lose their memory at any moment, clocks differ, and the core is sometimes unreachable.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask sim", bin_name = "cargo xtask sim")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// Run only this seed, and print how it breaks a rule if it does.
    #[arg(long)]
    seed: Option<u64>,
    /// The first of the seeds.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Users in each run.
    #[arg(long, default_value_t = 12, value_parser = RangedU64ValueParser::<usize>::new().range(1..=2_000))]
    users: usize,
    /// Days of activity in each run.
    #[arg(long, default_value_t = 1.0, value_parser = |text: &str| within(text, 0.01, 365.0))]
    days: f64,
    /// How many times more often than in real life everybody acts. Time-outs keep their length.
    #[arg(long, default_value_t = 24.0, value_parser = |text: &str| within(text, 1.0, 1_000.0))]
    haste: f64,
    /// Run without faults.
    #[arg(long)]
    no_faults: bool,
    /// Do not check this rule. Repeatable.
    #[arg(long, value_enum)]
    ignore: Vec<Rule>,
    /// How many lines to print of what happened before a rule was broken.
    #[arg(long, default_value_t = 80)]
    lines: usize,
    /// Seconds to spend on looking for fewer steps that break the same rule.
    #[arg(long, default_value_t = 60)]
    shrink_s: u64,
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("must be a number from {least} to {most}"))
}

impl Args {
    /// The other options of this call, with which a seed has to be run again.
    fn others(&self) -> String {
        let mut others = format!(" --users {} --days {} --haste {}", self.users, self.days, self.haste);
        if self.no_faults {
            others.push_str(" --no-faults");
        }
        for rule in self.ignore.iter().filter_map(ValueEnum::to_possible_value) {
            others.extend([" --ignore ", rule.get_name()]);
        }
        others
    }

    fn setting(&self, seed: u64) -> Setting {
        // One seed in eight runs without faults.
        let faults = !self.no_faults && !seed.is_multiple_of(8);
        Setting {
            seed,
            users: self.users,
            days: self.days,
            haste: self.haste,
            faults,
            steady: false,
            ignored: self.ignore.iter().copied().collect(),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(seed) = args.seed {
        return tell(&args, seed);
    }
    let began = Instant::now();
    let report = run::seeds(
        args.first,
        args.seeds,
        |seed| args.setting(seed),
        |done, broken| {
            if let Some((seed, violation)) = broken {
                println!("seed {seed}: {violation}");
            }
            if done % 50 == 0 {
                eprintln!("{done} of {} seeds, {} s", args.seeds, began.elapsed().as_secs());
            }
        },
    );
    print_table(&report, began.elapsed());
    if let Some((seed, _)) = report.broken.first() {
        println!("\nTo see how: cargo xtask sim --seed {seed}{}", args.others());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// How many of the last steps are printed. More would not be read.
const STEPS_SHOWN: usize = 60;

fn print_table(report: &Report, took: Duration) {
    let counts = report.counts;
    let rows: [(&str, u64); 20] = [
        ("seeds", report.seeds),
        ("user-days", counts.user_days as u64),
        ("events", counts.events),
        ("page changes", counts.page_changes),
        ("requests between objects", counts.peer_calls),
        ("of those, for page changes", counts.page_calls),
        ("requests that failed", counts.failed_calls),
        ("sockets opened", counts.connects),
        ("messages to clients", counts.sends),
        ("heartbeats", counts.heartbeats),
        ("calls to the core", counts.core_calls),
        ("rows written", counts.rows),
        ("alarms set", counts.alarms_set),
        ("alarms fired", counts.alarms),
        ("wake-ups", counts.wakes),
        ("evictions", counts.evictions),
        ("redeployments", counts.redeployments),
        ("crashes within an event", counts.crashes),
        ("truths compared", counts.truths),
        ("violations", report.broken.len() as u64),
    ];
    for (name, value) in rows {
        println!("{name:<28}{value:>14}");
    }
    println!("{:<28}{:>12.1} s", "took", took.as_secs_f64());
    let mut by_rule: BTreeMap<String, usize> = BTreeMap::new();
    for (_, violation) in &report.broken {
        *by_rule.entry(format!("{:?}", violation.rule)).or_default() += 1;
    }
    for (rule, count) in by_rule {
        println!("  {rule:<26}{count:>14}");
    }
}

/// Runs one seed. If it breaks a rule, prints how, with as few steps as can be found.
fn tell(args: &Args, seed: u64) -> ExitCode {
    let setting = args.setting(seed);
    let steps = plan::draw(&setting);
    let outcome = world::run(&setting, &steps, None, None);
    let Some(violation) = outcome.violation else {
        println!("seed {seed}: {} steps, {} events, no rule broken", steps.len(), outcome.counts.events);
        return ExitCode::SUCCESS;
    };
    println!("seed {seed}: {violation}");
    let (fewest, violation) = shrink::shrink(&setting, &steps, &violation, None, Duration::from_secs(args.shrink_s));
    println!("\nThe fewest steps found ({} of {}):", fewest.len(), steps.len());
    for planned in fewest.iter().rev().take(STEPS_SHOWN).rev() {
        println!("  {planned}");
    }
    let whose = violation.who.iter().copied().collect();
    let trace = Trace { whose, lines_max: args.lines, ..Trace::default() };
    let told = world::run(&setting, &fewest, None, Some(trace));
    println!("\nWhat happened to those concerned, last:");
    for line in told.trace {
        println!("  {line}");
    }
    println!("\n{} {:?}: {}", Clock(violation.at), violation.rule, violation.detail);
    ExitCode::FAILURE
}
