//! Which faults happen, and when. Hibernation is not one of them: every object that rests hibernates.

use crate::{
    rng::{Draws, SeededRng},
    steps::{Device, Ms, NetworkConditions, Planned, Setting, Step},
};

const DAY_MS: f64 = 86_400_000.0;

/// Draws all faults in `busy_ms` of busy time.
pub fn draw(setting: &Setting, busy_ms: Ms, steps: &mut Vec<Planned>) {
    let mut draws = SeededRng::new(setting.seed).of(&[3]);
    let day_ms = DAY_MS / setting.haste;
    let user_day_ms = day_ms / setting.users.max(1) as f64;
    let who = |draws: &mut Draws| draws.below(setting.users);
    let mut often = |mean_ms: f64, step: &dyn Fn(&mut Draws) -> Step| {
        let mut at = draws.wait_ms(mean_ms);
        while at < busy_ms {
            steps.push(Planned { at, step: step(&mut draws) });
            at += draws.wait_ms(mean_ms);
        }
    };
    often(user_day_ms / 10.0, &|draws| Step::Evict(who(draws)));
    often(user_day_ms / 4.0, &|draws| Step::Redeploy(who(draws)));
    often(user_day_ms / 4.0, &|draws| Step::Drop(Device { user: who(draws), number: draws.below(3) }));
    often(user_day_ms / 15.0, &|draws| Step::Crash {
        who: who(draws),
        effects: draws.below(8),
        sockets: draws.chance(0.6),
    });
    often(day_ms / 2.0, &|draws| Step::RedeployAll { within_ms: draws.ms(0, 10_000) });
    often(day_ms / 2.0, &|draws| Step::CoreOutage { for_ms: draws.wait_ms(day_ms / 24.0) });
    often(day_ms / 8.0, &|draws| Step::Network {
        conditions: [NetworkConditions::Slow, NetworkConditions::Lossy, NetworkConditions::Stormy][draws.below(3)],
        for_ms: draws.wait_ms(day_ms / 16.0),
    });
}
