//! Seeds: none of these breaks a rule, a seed always gives the same run, and a run that breaks a rule can be shortened.

use std::time::Duration;

use sim::{
    plan,
    rules::Rules,
    run, shrink,
    steps::Setting,
    world::{self, Trace},
};

use crate::net;

fn setting(seed: u64) -> Setting {
    Setting {
        seed,
        users: 5,
        days: 0.1,
        haste: 24.0,
        faults: !seed.is_multiple_of(8),
        steady: false,
        ignored: Rules::default(),
    }
}

/// Runs 50 of the seeds. The tests are split so that they run in parallel.
fn check(part: u64) {
    let report = run::seeds(part * 50, 50, setting, |_, _| {});
    let broken: Vec<String> = report.broken.iter().map(|(seed, violation)| format!("{seed}: {violation}")).collect();
    assert_eq!(broken, Vec::<String>::new());
    assert_eq!(report.seeds, 50);
    assert!(report.counts.truths > 400 && report.counts.page_calls > 400, "{:?}", report.counts);
}

#[test]
fn seeds_0_to_49_break_no_rule() {
    check(0);
}

#[test]
fn seeds_50_to_99_break_no_rule() {
    check(1);
}

#[test]
fn seeds_100_to_149_break_no_rule() {
    check(2);
}

#[test]
fn seeds_150_to_199_break_no_rule() {
    check(3);
}

#[test]
fn a_seed_always_gives_the_same_run() {
    for seed in [8, 9] {
        let setting = setting(seed);
        let told = || {
            let trace = Trace { lines_max: 100_000, ..Trace::default() };
            let outcome = world::run(&setting, &plan::draw(&setting), None, Some(trace));
            (outcome.counts, outcome.trace)
        };
        let (first, second) = (told(), told());
        assert!(first.1.len() > 1_000, "{} lines", first.1.len());
        assert_eq!(first, second);
    }
}

#[test]
fn a_run_that_breaks_a_rule_can_be_shortened() {
    let setting = setting(8);
    let steps = plan::draw(&setting);
    let violation = world::run(&setting, &steps, Some(&net::WRITES), None).violation.unwrap();
    let (fewest, still) = shrink::shrink(&setting, &steps, &violation, Some(&net::WRITES), Duration::from_secs(20));
    assert_eq!(still.rule, violation.rule);
    assert!(steps.len() > 100 && fewest.len() <= 3, "{} of {}: {fewest:?}", fewest.len(), steps.len());
}
