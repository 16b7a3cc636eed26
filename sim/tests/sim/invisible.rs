//! Compares two runs: in one a user is invisible, in the other absent. All other users' clients are sent the same messages,
//! and reads return the same, byte for byte. One difference is allowed. The questions of an invisible user keep a friend's
//! object awake, as anybody's do, so what that object does after sleep may come one request later, or once more.

use std::collections::BTreeMap;

use sim::{
    plan,
    rules::Rules,
    steps::{Device, Leave, Planned, Setting, Step, Tab},
    world::{self, Trace},
};

const SHY: usize = 1;
const DEVICE: Device = Device { user: SHY, number: 0 };

/// What all devices but the shy user's were sent, and what all other users read, each in order.
fn told(setting: &Setting, others: &[Planned], shy: Vec<(i64, Step)>) -> BTreeMap<String, Vec<String>> {
    let shy = shy.into_iter().map(|(at, step)| Planned { at, step });
    let mut steps: Vec<Planned> = others.iter().cloned().chain(shy).collect();
    steps.sort_by_key(|planned| planned.at);
    let trace = Trace { told_to_all_but: Some(SHY), ..Trace::default() };
    let outcome = world::run(setting, &steps, None, Some(trace));
    assert_eq!(outcome.violation, None);
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in outcome.trace {
        let (whom, text) = line.split_once(' ').unwrap();
        let told = told.entry(whom.to_owned()).or_default();
        // After sleep, an object shows a message again, because it no longer knows that it has shown it before.
        let of_others =
            text.contains(r#""type":"update-presence""#) && !text.contains(&format!(r#""userId":"u{SHY}""#));
        if !(of_others && told.iter().any(|before| before == text)) {
            told.push(text.to_owned());
        }
    }
    told
}

#[test]
fn an_invisible_user_looks_the_same_to_others_as_an_absent_one() {
    let (mut compared, mut read) = (0, 0);
    for seed in 0..20 {
        let setting =
            Setting { seed, users: 5, days: 0.1, haste: 24.0, faults: false, steady: true, ignored: Rules::default() };
        // Steps of others that concern the shy user are left out. They would make or end friendships with them.
        let mut others = plan::draw(&setting);
        others.retain(|planned| !planned.step.whose().contains(&Some(SHY)));
        let hides_at = 60_000;
        let beginning = vec![(1_000, Step::On(DEVICE)), (20_000, Step::Turn(DEVICE, Tab::Site(1)))];
        let mut absent = beginning.clone();
        absent.push((hides_at, Step::Off(DEVICE, Leave::Goodbye)));
        let mut invisible = beginning;
        invisible.extend([
            (hides_at, Step::Invisible(DEVICE, true)),
            (70_000, Step::Turn(DEVICE, Tab::Site(2))),
            (80_000, Step::Idle(DEVICE, true)),
            (95_000, Step::Watch(DEVICE, false)),
            (110_000, Step::Watch(DEVICE, true)),
            (120_000, Step::Read { reader: SHY, of: None }),
            (150_000, Step::Off(DEVICE, Leave::Close)),
            (155_000, Step::On(DEVICE)),
            (170_000, Step::Turn(DEVICE, Tab::Site(3))),
            (200_000, Step::Off(DEVICE, Leave::Vanish)),
            (230_000, Step::On(DEVICE)),
            (240_000, Step::Rush { device: DEVICE, pages: 20, every_ms: 100 }),
        ]);
        for reader in (0..setting.users).filter(|reader| *reader != SHY) {
            for at in [65_000, 100_000, 165_000, 220_000, 250_000] {
                others.push(Planned { at, step: Step::Read { reader, of: None } });
                others.push(Planned { at: at + 2_500, step: Step::Read { reader, of: Some(SHY) } });
            }
        }
        let (absent, invisible) = (told(&setting, &others, absent), told(&setting, &others, invisible));
        compared += absent.values().map(Vec::len).sum::<usize>();
        read += absent.iter().filter(|(whom, _)| !whom.contains('/')).map(|(_, replies)| replies.len()).sum::<usize>();
        assert_eq!(absent.keys().collect::<Vec<_>>(), invisible.keys().collect::<Vec<_>>());
        for (whom, told) in &absent {
            for (expected, text) in told.iter().zip(&invisible[whom]) {
                assert_eq!(text, expected, "seed {seed}, {whom}");
            }
            assert_eq!(invisible[whom].len(), told.len(), "seed {seed}, {whom}");
        }
    }
    assert!(compared > 1_000, "{compared} messages");
    assert!(read > 500, "{read} replies");
}
