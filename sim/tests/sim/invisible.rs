//! An invisible user and an absent one, side by side: what everybody else's clients are sent is the same, byte for
//! byte.

use std::collections::BTreeMap;

use sim::{
    checks::Rules,
    plan::{Device, Leave, Planned, Setting, Step, Tab},
    world::{self, Trace},
};

const SHY: usize = 1;
const DEVICE: Device = Device { user: SHY, number: 0 };

/// What each device but the shy user's was sent, in order.
fn sent(setting: &Setting, others: &[Planned], shy: Vec<(i64, Step)>) -> BTreeMap<String, Vec<String>> {
    let shy = shy.into_iter().map(|(at, step)| Planned { at, step });
    let mut steps: Vec<Planned> = others.iter().cloned().chain(shy).collect();
    steps.sort_by_key(|planned| planned.at);
    let trace = Trace { sent_to_all_but: Some(SHY), ..Trace::default() };
    let outcome = world::run(setting, &steps, None, Some(trace));
    assert_eq!(outcome.violation, None);
    let mut sent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in outcome.trace {
        let (device, text) = line.split_once(' ').unwrap();
        sent.entry(device.to_owned()).or_default().push(text.to_owned());
    }
    sent
}

#[test]
fn nobody_can_tell_an_invisible_user_from_an_absent_one() {
    let mut compared = 0;
    for seed in 0..20 {
        let setting =
            Setting { seed, users: 5, days: 0.1, haste: 24.0, faults: false, steady: true, ignored: Rules::default() };
        // Others make or end no friendship with the shy user: to see a friend's settings is not to see them there.
        let mut others = setting.draw();
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
        let (absent, invisible) = (sent(&setting, &others, absent), sent(&setting, &others, invisible));
        compared += absent.values().map(Vec::len).sum::<usize>();
        assert_eq!(absent.keys().collect::<Vec<_>>(), invisible.keys().collect::<Vec<_>>());
        for (device, sent) in &absent {
            for (expected, message) in sent.iter().zip(&invisible[device]) {
                assert_eq!(message, expected, "seed {seed}, device {device}");
            }
            assert_eq!(invisible[device].len(), sent.len(), "seed {seed}, device {device}");
        }
    }
    assert!(compared > 1_000, "{compared} messages");
}
