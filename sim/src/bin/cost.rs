//! `cargo xtask cost`: simulates an ordinary day and estimates what a month of such days costs.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{CommandFactory as _, FromArgMatches as _, Parser, builder::RangedU64ValueParser};
use rayon::iter::{ParallelBridge as _, ParallelIterator as _};
use serde::Serialize;
use sim::cost::{
    day::Day,
    report::{Estimates, Measured, Population},
};

/// Estimates the costs of a month: an ordinary day is simulated with the engine, counted and priced.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask cost", bin_name = "cargo xtask cost")]
struct Args {
    /// Number of users to estimate for.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = whole(0, USERS_MAX))]
    users: u64,
    /// Users in each simulated population. A population has at least a tenth more users than a user has friends on average.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = whole(20, 2_000))]
    sample: u64,
    /// Number of populations to simulate, each from its own seed.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = whole(1, 100))]
    seeds: u64,
    /// Simulate the day with these numbers of friends too. `none` leaves that table empty. The time grows with the square of
    /// the number.
    #[arg(long, value_name = "N,…", default_value = "10,25,50,100,200", value_parser = numbers)]
    growth: Numbers,
    /// Users of each of those populations.
    #[arg(long, value_name = "N", default_value_t = 150, value_parser = whole(20, 2_000))]
    growth_sample: u64,
    /// Simulate nothing. Price the counts in this file, which `--json` wrote, at the present prices.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Also write counts and estimates to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    day: Day,
}

/// More users than there are people in the world.
const USERS_MAX: u64 = 10_000_000_000;

/// Parses a whole number within these bounds.
fn whole(least: u64, most: u64) -> RangedU64ValueParser {
    RangedU64ValueParser::new().range(least..=most)
}

#[derive(Debug, Clone)]
struct Numbers(Vec<u32>);

fn numbers(text: &str) -> Result<Numbers, String> {
    if text == "none" {
        return Ok(Numbers(Vec::new()));
    }
    let number = |part: &str| part.trim().parse().ok().filter(|number| (1..=800).contains(number));
    let parts: Option<Vec<u32>> = text.split(',').map(number).collect();
    parts.map(Numbers).ok_or_else(|| "numbers from 1 to 800, separated by commas".to_owned())
}

#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    measured: &'a Measured,
    estimates: Estimates,
}

fn main() -> ExitCode {
    // A negative number is reported as out of bounds, not as an unknown option.
    let command = Args::command().mut_args(|arg| arg.allow_negative_numbers(true));
    let args = Args::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let measured = match &args.from {
        Some(path) => {
            let read = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            serde_json::from_slice(&read).with_context(|| format!("{} holds no counts", path.display()))?
        }
        None => measure(args)?,
    };
    print!("{}", measured.tables());
    if let Some(path) = &args.json {
        let json = Json { measured: &measured, estimates: measured.estimates() };
        let text = serde_json::to_string_pretty(&json)?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Measured> {
    let day = args.day;
    let mut wishes: Vec<(Day, u64, u64)> = (1..=args.seeds).map(|seed| (day, args.sample, seed)).collect();
    let growth = args.growth.0.iter().map(|friends| Day { friends: f64::from(*friends), ..day });
    wishes.extend(growth.map(|day| (day, args.growth_sample, 1)));
    let mut populations = live(&wishes)?;
    let growth = populations.split_off(usize::try_from(args.seeds)?);
    Ok(Measured { users: args.users as f64, day, populations, growth })
}

/// Simulates all populations on all processors, beginning with those that take longest.
fn live(wishes: &[(Day, u64, u64)]) -> Result<Vec<Population>> {
    let began = Instant::now();
    let mut order: Vec<usize> = (0..wishes.len()).collect();
    order.sort_by(|one, other| {
        let friends = |index: &usize| wishes.get(*index).map_or(0.0, |(day, ..)| day.friends);
        friends(other).total_cmp(&friends(one))
    });
    let done = AtomicUsize::new(0);
    let live = |index: usize| {
        let (day, sample, seed) = wishes.get(index)?;
        let (sample, seed) = (day.population(usize::try_from(*sample).unwrap_or(usize::MAX)), *seed);
        let population = day.live(sample, seed).map(|lived| Population { seed, sample, friends: day.friends, lived });
        let (done, all) = (done.fetch_add(1, Ordering::Relaxed) + 1, wishes.len());
        eprintln!("{done} of {all} populations, {} s", began.elapsed().as_secs());
        Some((index, population))
    };
    let mut lived: Vec<_> = order.into_iter().par_bridge().filter_map(live).collect();
    lived.sort_by_key(|(index, _)| *index);
    let populations = lived
        .into_iter()
        .map(|(_, population)| population.map_err(|violation| anyhow!("a rule is broken: {violation}")));
    populations.collect()
}
