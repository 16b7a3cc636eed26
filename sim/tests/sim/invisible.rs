//! An invisible user and an absent one, side by side: what everybody else's clients are sent, and read by request, is
//! the same, byte for byte. Only what a friend's object does after sleep can come a request later, or once more, for
//! others: what an invisible user asks, as what anybody asks, keeps it awake.

use std::collections::BTreeMap;

use sim::{
    plan,
    rules::Rules,
    steps::{Device, Leave, Planned, Setting, Step, Tab},
    world::{self, Trace},
};

const SHY: usize = 1;
const DEVICE: Device = Device { user: SHY, number: 0 };

/// What each device but the shy user's was sent, and each other user read, in order.
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
        // After sleep, an object shows what it hears without knowing that it has before.
        let of_others =
            text.contains(r#""type":"update-presence""#) && !text.contains(&format!(r#""userId":"u{SHY}""#));
        if !(of_others && told.iter().any(|before| before == text)) {
            told.push(text.to_owned());
        }
    }
    told
}

#[test]
fn nobody_can_tell_an_invisible_user_from_an_absent_one() {
    let (mut compared, mut read) = (0, 0);
    for seed in 0..20 {
        let setting =
            Setting { seed, users: 5, days: 0.1, haste: 24.0, faults: false, steady: true, ignored: Rules::default() };
        // Others make or end no friendship with the shy user: to see a friend's settings is not to see them there.
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
