//! Runs many seeds, on all processors.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use rayon::iter::{ParallelBridge as _, ParallelIterator as _};

use crate::{checks::Violation, counts::Counts, plan, steps::Setting, world};

/// The result of many runs.
#[derive(Debug, Default)]
pub struct Report {
    pub seeds: u64,
    pub counts: Counts,
    /// Each seed that broke a rule, with the violation.
    pub broken: Vec<(u64, Violation)>,
}

/// The number of seeds with a violation after which no more are run.
const BROKEN_MAX: usize = 50;

/// Runs `seeds` seeds, beginning with `first`. After each it calls `progress` with the number of finished seeds and the
/// violation, if there was one.
pub fn seeds(
    first: u64,
    seeds: u64,
    setting_of: impl Fn(u64) -> Setting + Sync,
    progress: impl Fn(u64, Option<&(u64, Violation)>) + Sync,
) -> Report {
    let stop = AtomicBool::new(false);
    let report = Mutex::new(Report::default());
    // In their order.
    (first..first + seeds).par_bridge().for_each(|seed| {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let setting = setting_of(seed);
        let run = AssertUnwindSafe(|| world::run(&setting, &plan::draw(&setting), None, None));
        let outcome = panic::catch_unwind(run).unwrap_or_else(|cause| {
            eprintln!("seed {seed} panicked");
            panic::resume_unwind(cause)
        });
        let Ok(mut report) = report.lock() else { return };
        report.seeds += 1;
        report.counts += outcome.counts;
        let broken = outcome.violation.map(|violation| (setting.seed, violation));
        progress(report.seeds, broken.as_ref());
        report.broken.extend(broken);
        stop.fetch_or(report.broken.len() >= BROKEN_MAX, Ordering::Relaxed);
    });
    let mut report = report.into_inner().unwrap_or_default();
    report.broken.sort_by_key(|(seed, _)| *seed);
    report
}
