//! Bounds on how often one user can make friends' objects be asked, whatever the user does.

use sim::{
    core::Core,
    rules::Rules,
    steps::{Device, Leave, Planned, Setting, Step},
    world,
};

const ALICE: Device = Device { user: 0, number: 0 };

/// Alice repeats these steps `times` times. Checks that the calls to her friends stay within the promised rate.
fn check(doing: &[Step], times: i64, every_ms: i64) {
    let setting =
        Setting { seed: 1, users: 40, days: 0.01, haste: 1.0, faults: false, steady: true, ignored: Rules::default() };
    let friends = Core::new(&setting).people[ALICE.user].friends.len() as u64;
    let begin = [Step::On(ALICE), Step::Invisible(ALICE, true), Step::Off(ALICE, Leave::Close)];
    let begin = begin.into_iter().zip(0..).map(|(step, n)| Planned { at: 1_000 + n * 1_000, step });
    let again = (0..times).flat_map(|n| doing.iter().map(move |step| (n, step.clone())));
    let again = again.zip(0..).map(|((_, step), n)| Planned { at: 200_000 + n * every_ms, step });
    let outcome = world::run(&setting, &begin.chain(again).collect::<Vec<_>>(), None, None);
    assert_eq!(outcome.violation, None);
    let seconds = times as u64 * doing.len() as u64 * every_ms as u64 / 1_000;
    // One for coming online at the beginning, then the burst of ten, one in ten seconds, and one to round up.
    let allowed = 1 + 10 + seconds / 10 + 1;
    let calls = outcome.counts.asking_calls;
    println!(
        "{:?}: {} doings asked, {calls} calls of {} allowed",
        doing[0],
        outcome.counts.asking_doings,
        allowed * friends
    );
    assert!(friends > 20 && calls >= 10 * friends, "{calls} calls to {friends} friends");
    assert!(calls <= allowed * friends, "{calls} calls to {friends} friends");
}

#[test]
fn friends_are_asked_seldom_when_a_user_keeps_connecting_and_closing() {
    check(&[Step::On(ALICE), Step::Off(ALICE, Leave::Close)], 400, 600);
}

#[test]
fn friends_are_asked_seldom_when_a_user_keeps_reading() {
    check(&[Step::Read { reader: ALICE.user, of: None }], 400, 300);
}

#[test]
fn friends_are_asked_seldom_when_a_user_keeps_reading_and_coming_and_going() {
    let read = Step::Read { reader: ALICE.user, of: None };
    check(&[read.clone(), Step::On(ALICE), read, Step::Off(ALICE, Leave::Goodbye)], 200, 400);
}
