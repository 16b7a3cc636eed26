//! Looks for fewer steps that still break a rule. It leaves out all steps of a user, then smaller and smaller pieces of the
//! list, and keeps each shorter list that breaks the same rule.

use std::time::{Duration, Instant};

use crate::{
    checks::Violation,
    rules::Rule,
    steps::{Planned, Setting},
    world::{self, EffectMutator},
};

/// The shortest list found within `time_max`, and the violation in it.
pub fn shrink(
    setting: &Setting,
    steps: &[Planned],
    violation: &Violation,
    mutator: Option<&EffectMutator>,
    time_max: Duration,
) -> (Vec<Planned>, Violation) {
    let began = Instant::now();
    let mut best =
        (steps.iter().filter(|step| step.at <= violation.at).cloned().collect::<Vec<_>>(), violation.clone());
    for user in 0..setting.users {
        let without: Vec<Planned> =
            best.0.iter().filter(|planned| !planned.step.whose().contains(&Some(user))).cloned().collect();
        try_one(setting, without, violation.rule, mutator, &mut best);
        if began.elapsed() > time_max {
            return best;
        }
    }
    let mut piece = (best.0.len() / 2).max(1);
    loop {
        let mut at = 0;
        let before = best.0.len();
        while at < best.0.len() {
            let mut without = best.0.clone();
            without.drain(at..(at + piece).min(without.len()));
            if !try_one(setting, without, violation.rule, mutator, &mut best) {
                at += piece;
            }
            if began.elapsed() > time_max {
                return best;
            }
        }
        if piece == 1 && best.0.len() == before {
            return best;
        }
        piece = (piece / 2).max(1);
    }
}

fn try_one(
    setting: &Setting,
    steps: Vec<Planned>,
    rule: Rule,
    mutator: Option<&EffectMutator>,
    best: &mut (Vec<Planned>, Violation),
) -> bool {
    if steps.len() >= best.0.len() {
        return false;
    }
    match world::run(setting, &steps, mutator, None).violation {
        Some(violation) if violation.rule == rule => {
            *best = (steps, violation);
            true
        }
        _ => false,
    }
}
