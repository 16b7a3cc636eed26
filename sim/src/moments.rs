//! Busy moments: a few users do much within seconds, so that their messages cross each other. In an ordinary day, users
//! hardly ever leave, come back and become invisible within the time that one answer takes.

use crate::{
    rng::{Draws, SeededRng},
    steps::{Device, Leave, Ms, NetworkConditions, Planned, Setting, Step, Tab},
};

/// The longest that a moment lasts.
const MOMENT_MS: Ms = 6_000;

/// Draws the moments in `busy_ms` of busy time. The last one of each part ends just before the quiet time, whose checks then
/// show its effects. Later activity hides most effects of the others.
pub fn draw(setting: &Setting, busy_ms: Ms, steps: &mut Vec<Planned>) {
    let mut draws = SeededRng::new(setting.seed).of(&[6]);
    let part_ms = busy_ms / setting.parts();
    for part in 0..setting.parts() {
        let begin = part * part_ms;
        let last = begin + (part_ms - MOMENT_MS - 1).max(0);
        for _ in 0..setting.users / 3 {
            draw_moment(setting, draws.ms(begin, last), &mut draws, steps);
        }
        draw_moment(setting, last, &mut draws, steps);
    }
}

fn draw_moment(setting: &Setting, begin: Ms, draws: &mut Draws, steps: &mut Vec<Planned>) {
    let conditions = [NetworkConditions::Slow, NetworkConditions::Late][draws.weighted(&[1, 3])];
    steps.push(Planned { at: begin, step: Step::Network { conditions, for_ms: MOMENT_MS } });
    for _ in 0..2 + draws.below(3) {
        let device = Device { user: draws.below(setting.users), number: 0 };
        let mut at = begin + draws.ms(0, 1_000);
        let mut say = |at: Ms, step: Step| steps.push(Planned { at: at.min(begin + MOMENT_MS), step });
        say(at, Step::On(device));
        for _ in 0..2 + draws.below(4) {
            at += draws.ms(20, 1_500);
            let tab = Tab::Site(draws.below(3));
            match draws.weighted(&[40, 20, 10, 5, 5, 5]) {
                0 => {
                    let leave = [Leave::Goodbye, Leave::Close][draws.weighted(&[3, 1])];
                    say(at, Step::Off(device, leave));
                    at += draws.ms(20, 1_500);
                    if draws.chance(0.7) {
                        say(at, Step::On(device));
                    }
                }
                1 => say(at, Step::Turn(device, tab)),
                2 => say(at, Step::Invisible(device, draws.chance(0.5))),
                3 => say(at, Step::Redeploy(device.user)),
                4 => say(at, Step::Drop(device)),
                _ => say(at, Step::Evict(device.user)),
            }
        }
    }
}
