//! Many seeds, on all processors.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{checks::Violation, counts::Counts, plan, steps::Setting, world};

/// What came of many runs.
#[derive(Debug, Default)]
pub struct Report {
    pub seeds: u64,
    pub counts: Counts,
    /// Each seed that broke a rule, and how.
    pub broken: Vec<(u64, Violation)>,
}

/// How many broken seeds are enough to stop at.
const BROKEN_MAX: usize = 50;

/// Runs `seeds` seeds from `first` on. `progress` is told after each of how many are done, and how it broke a rule.
pub fn seeds(
    first: u64,
    seeds: u64,
    setting_of: impl Fn(u64) -> Setting + Sync,
    progress: impl Fn(u64, Option<&(u64, Violation)>) + Sync,
) -> Report {
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds || stop.load(Ordering::Relaxed) {
                return;
            }
            let setting = setting_of(first + number);
            let outcome = world::run(&setting, &plan::draw(&setting), None, None);
            let Ok(mut report) = report.lock() else { return };
            report.seeds += 1;
            report.counts += outcome.counts;
            let broken = outcome.violation.map(|violation| (setting.seed, violation));
            progress(report.seeds, broken.as_ref());
            report.broken.extend(broken);
            stop.fetch_or(report.broken.len() >= BROKEN_MAX, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut report = report.into_inner().unwrap_or_default();
    report.broken.sort_by_key(|(seed, _)| *seed);
    report
}
