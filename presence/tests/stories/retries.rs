//! What could not be delivered is tried again until the friend has the newest state or is away.

use presence::Reply;
use shared::{
    ids::SocketId,
    internal::{Interest, PeerMessage, PeerSay},
    share_policy::ShareMode,
    wire::ServerMessage,
};

use crate::population::{Population, SLEEP_MS, TIMEOUT_MS, id, showing, two};

#[test]
fn a_friend_who_was_not_reached_gets_the_newest_page_later_and_only_that() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.visit(alice, "https://example.com/2");
    population.pass_ms(2_000);
    population.unreachable.clear();
    population.pass_ms(2_000);
    assert_eq!(population.update(bob).url, "https://example.com/2");
    let calls = population.calls.len();
    population.pass_ms(20_000);
    assert_eq!(population.calls.len(), calls);
}

#[test]
fn retries_become_rare_but_come_once_an_hour_at_least() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    let mut made_in = |minutes: usize| {
        let calls = population.calls.len();
        for _ in 0..minutes {
            for socket in [alice, bob] {
                population.heartbeat(socket);
                population.say(socket, r#"{"action":"authenticate","token":"good"}"#);
            }
            population.pass_ms(60_000);
        }
        population.calls.len() - calls
    };
    let made = made_in(10);
    assert!((8..=10).contains(&made), "1, 2, 4 … 256 s make nine in ten minutes, not {made}");
    made_in(120);
    let made = made_in(10 * 60);
    assert!((9..=11).contains(&made), "ten in ten hours, not {made}");
}

#[test]
fn a_farewell_is_repeated_until_it_is_answered_even_if_memory_is_lost() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.pass_ms(5_000);
    population.evict("alice");
    population.alarm("alice");
    assert_eq!(population.seen(bob), []);
    population.unreachable.clear();
    population.pass_ms(60_000);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    let (calls, saves) = (population.calls.len(), population.saves);
    population.heartbeat(bob);
    population.alarm("alice");
    population.pass_ms(100_000);
    assert_eq!((population.calls.len(), population.saves), (calls, saves), "then it is over");
}

#[test]
fn a_farewell_is_stored_once_and_removed_once_however_many_friends_must_hear_it() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, _bob, _carol) = (population.connect("alice"), population.connect("bob"), population.connect("carol"));
    population.unreachable.extend([id("bob"), id("carol")]);
    let saves = population.saves;
    population.say(alice, r#"{"action":"goodbye"}"#);
    let last_seen_at = Some(population.now);
    population.unreachable.remove(&id("bob"));
    population.pass_ms(10_000);
    assert_eq!(population.saves, saves + 1, "carol has yet to hear it");
    population.unreachable.clear();
    population.pass_ms(60_000);
    assert_eq!(population.saves, saves + 2);
    let state = population.saved("alice").state;
    assert_eq!((state.may_be_seen_online, state.departure, state.last_seen_at), (false, None, last_seen_at));
}

#[test]
fn a_farewell_that_outlives_memory_says_when_it_was() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.say(alice, r#"{"action":"goodbye"}"#);
    let last_seen_at = Some(population.now);
    population.pass_ms(1_000);
    population.evict("alice");
    population.unreachable.clear();
    population.alarm("alice");
    population.pass_ms(10_000);
    assert_eq!(population.seen(bob), [ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at }]);
}

/// Alice has come online, and does not know that bob has heard of it.
fn two_and_a_lost_answer() -> (Population, SocketId, SocketId) {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    population.seen(bob);
    population.unanswering.insert(id("bob"));
    let alice = population.connect("alice");
    assert_eq!(population.update(bob).user_id, id("alice"));
    population.unanswering.clear();
    (population, alice, bob)
}

#[test]
fn a_friend_who_may_have_heard_that_the_user_came_hears_that_they_vanished() {
    let (mut population, alice, bob) = two_and_a_lost_answer();
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    population.pass_ms(5_000);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_friend_who_may_have_heard_that_the_user_came_hears_that_they_left_even_if_memory_is_lost() {
    for lost in [false, true] {
        let (mut population, alice, bob) = two_and_a_lost_answer();
        population.disconnect(alice);
        if lost {
            population.evict("alice");
            population.alarm("alice");
        }
        population.pass_ms(20_000);
        let seen = population.seen(bob);
        assert!(matches!(seen.last(), Some(ServerMessage::PresenceTimeout { .. })), "{lost}: {seen:?}");
    }
}

#[test]
fn an_old_farewell_of_a_friend_cancels_nothing_that_they_must_still_hear() {
    let (mut population, alice, bob) = two();
    let last_seen_at = population.now.plus_ms(-20_000);
    let late = population.message("bob", 1_772_366_380_000, PeerSay::Bye { last_seen_at });
    population.unreachable.insert(id("bob"));
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.connect("alice");
    population.speak("alice", PeerMessage { wants: Interest::Nothing, ..late });
    population.unreachable.clear();
    population.pass_ms(5_000);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_friend_who_could_not_be_queried_is_queried_again() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    population.visit(bob, "https://example.com/bob");
    population.unreachable.insert(id("bob"));
    let alice = population.connect("alice");
    assert_eq!(population.snapshot(alice).presence_arr[0].page, None);
    population.unreachable.clear();
    population.pass_ms(1_000);
    assert_eq!(population.update(alice).url, "https://example.com/bob");
    population.visit(bob, "https://example.com/bob2");
    assert_eq!(population.update(alice).url, "https://example.com/bob2");
}

#[test]
fn an_object_that_lost_its_memory_while_something_was_in_progress_tells_its_friends_again() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.evict("alice");
    population.unreachable.clear();
    population.alarm("alice");
    assert_eq!(population.update(bob).url, "https://example.com/1");
}

#[test]
fn a_friend_who_was_not_reached_is_not_forgotten_in_sleep() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.sleep_until_alarm("alice");
    population.unreachable.clear();
    population.sleep_until_alarm("alice");
    assert_eq!(population.update(bob).url, "https://example.com/1");
}

#[test]
fn a_friend_who_was_reached_at_last_is_not_called_after_sleep() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.sleep_until_alarm("alice");
    population.unreachable.clear();
    population.pass_ms(60_000);
    assert_eq!(population.update(bob).url, "https://example.com/1");
    population.calls.clear();
    population.sleep_until_alarm("alice");
    assert_eq!(population.calls, []);
}

#[test]
fn a_friend_who_could_not_be_queried_is_not_forgotten_in_sleep() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    population.connect("bob");
    population.unreachable.insert(id("bob"));
    let alice = population.connect("alice");
    population.seen(alice);
    population.sleep_until_alarm("alice");
    population.unreachable.clear();
    population.sleep_until_alarm("alice");
    assert_eq!(population.update(alice).user_id, id("bob"));
}

#[test]
fn a_friend_with_an_outstanding_delivery_before_sleep_is_not_queried_after_it() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    while population.next_wake("alice").unwrap() < population.now.plus_ms(SLEEP_MS) {
        population.pass_ms(1_000);
    }
    population.unreachable.clear();
    let calls = population.calls.len();
    population.sleep_until_alarm("alice");
    assert_eq!(population.update(bob).url, "https://example.com/1");
    let said: Vec<_> = population.calls[calls..].iter().map(|(_, message)| &message.say).collect();
    assert!(matches!(said.as_slice(), [PeerSay::Presence { .. }]), "{said:?}");
}

#[test]
fn an_unreachable_friend_costs_ever_fewer_calls_and_the_other_friends_nothing() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut population = Population::new(&["alice", "bob", "carol"], &friendships);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.connect("carol");
    population.seen(bob);
    population.unreachable.insert(id("carol"));
    population.visit(alice, "https://example.com/1");
    population.update(bob);
    // This is shorter than the lifetime of the token.
    const LONG_MS: i64 = 3_000_000;
    let (began, mut wakes) = (population.now, 0);
    while population.now < began.plus_ms(LONG_MS) {
        population.sleep_until_alarm("alice");
        wakes += 1;
    }
    // One wake-up for each time-out, and one for each retry. Each retry waits twice as long as the one before.
    assert!(wakes <= LONG_MS / TIMEOUT_MS + 12, "{wakes} wake-ups");
    assert_eq!(population.seen(bob), []);
    // After that, bob still gets every page in one call. What was sent before alice slept is not taken for lost.
    for number in 2..5 {
        let calls = population.calls.len();
        population.visit(alice, &format!("https://example.com/{number}"));
        assert_eq!(population.update(bob).url, format!("https://example.com/{number}"));
        assert_eq!(population.calls.len(), calls + 1);
        population.hibernate("alice");
    }
    population.visit(alice, "https://secret.org/");
    assert_eq!(population.update(bob).url, "");
    let calls = population.calls.iter().filter(|(peer, _)| *peer == id("carol")).count();
    assert!(calls <= 20, "{calls} calls");
}

#[test]
fn an_invisible_user_who_did_not_reach_a_friend_before_sleep_still_only_asks_after_it() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let alice = population.connect("alice");
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.connect("bob");
    population.unreachable.insert(id("bob"));
    let alice = population.connect("alice");
    population.sleep_until_alarm("alice");
    population.unreachable.clear();
    let saves = population.saves;
    population.calls.clear();
    population.sleep_until_alarm("alice");
    assert!(
        matches!(population.calls.as_slice(), [(_, PeerMessage { say: PeerSay::Peek, .. })]),
        "{:?}",
        population.calls
    );
    assert_eq!(population.saves, saves);
    assert!(population.seen(alice).iter().any(|message| matches!(message, ServerMessage::UpdatePresence(_))));
}

#[test]
fn a_friend_who_was_reached_by_a_read_is_not_called_after_sleep() {
    let (mut population, alice, bob) = two();
    population.say(alice, r#"{"action":"watch","watching":false}"#);
    population.visit(bob, "https://example.com/b");
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/a");
    population.pass_ms(16_000);
    population.unreachable.clear();
    population.read("alice", None);
    population.calls.clear();
    population.sleep_until_alarm("alice");
    assert_eq!(population.calls, []);
}

#[test]
fn a_friend_who_said_meanwhile_that_they_left_is_not_called_after_sleep() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    population.unreachable.insert(id("bob"));
    population.connect("alice");
    population.pass_ms(16_000);
    let bye = population.message("bob", 1_772_366_416_000, PeerSay::Bye { last_seen_at: population.now });
    population.speak("alice", PeerMessage { wants: Interest::Nothing, ..bye });
    population.calls.clear();
    population.sleep_until_alarm("alice");
    assert_eq!(population.calls, []);
}

#[test]
fn a_message_older_than_the_receivers_memory_is_not_trusted_and_its_sender_is_queried() {
    let (mut population, alice, bob) = two();
    let presence = showing("alice", "https://example.com/old", population.now);
    let late = population.message("alice", u64::MAX / 2, PeerSay::Presence { presence });
    population.visit(alice, "https://example.com/new");
    population.seen(bob);
    population.hibernate("bob");
    population.speak("bob", late);
    let seen = population.seen(bob);
    assert!(!format!("{seen:?}").contains("old"), "{seen:?}");
    let Reply::One(Some(page)) = population.read("bob", Some("alice")) else { panic!("a page") };
    assert_eq!(page.url, "https://example.com/new");
}

#[test]
fn a_farewell_is_over_when_the_last_who_has_not_heard_it_is_no_friend_any_more() {
    let (mut population, alice, _bob) = two();
    population.unreachable.insert(id("bob"));
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.pass_ms(0);
    assert!(population.saved("alice").state.may_be_seen_online, "bob may still believe it");
    let [for_alice, _] = population.unfriend("alice", "bob");
    population.deliver([for_alice]);
    let state = population.saved("alice").state;
    assert_eq!((state.may_be_seen_online, state.departure), (false, None));
}

#[test]
fn a_farewell_that_a_stranger_refuses_is_over() {
    let (mut population, alice, _bob) = two();
    let [_, for_bob] = population.unfriend("alice", "bob");
    population.deliver([for_bob]);
    population.core_is_away = true;
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.pass_ms(0);
    assert_eq!(
        (population.saved("alice").state.may_be_seen_online, population.saved("alice").state.departure),
        (false, None)
    );
}

#[test]
fn a_friend_who_has_left_is_not_called_about_a_page_they_missed() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.say(bob, r#"{"action":"goodbye"}"#);
    population.unreachable.clear();
    population.calls.clear();
    population.pass_ms(60_000);
    assert_eq!(population.calls.len(), 0, "{:?}", population.calls);
}

#[test]
fn a_message_from_a_friend_does_not_settle_a_delivery_to_them() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.visit(bob, "https://example.com/bob");
    population.seen(bob);
    population.unreachable.clear();
    population.pass_ms(4_000);
    assert_eq!(population.update(bob).url, "https://example.com/1");
}

/// Alice has not reached bob for so long that her next retry is far away. Now he could be reached.
fn two_and_a_long_silence() -> (Population, SocketId, SocketId) {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    for _ in 0..20 {
        population.heartbeat(alice);
        population.heartbeat(bob);
        population.pass_ms(60_000);
    }
    population.unreachable.clear();
    population.seen(bob);
    (population, alice, bob)
}

#[test]
fn hiding_or_leaving_does_not_wait_for_a_retry_that_is_far_away() {
    let (mut population, alice, bob) = two_and_a_long_silence();
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));

    let (mut population, alice, bob) = two_and_a_long_silence();
    population.say(alice, r#"{"action":"goodbye"}"#);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));

    let (mut population, _alice, bob) = two_and_a_long_silence();
    let hides = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    population.deliver([hides]);
    assert_eq!(population.update(bob).url, "");
}

#[test]
fn a_friend_who_sends_a_message_is_called_at_once() {
    let (mut population, _alice, bob) = two_and_a_long_silence();
    population.visit(bob, "https://example.com/b");
    let seen = population.seen(bob);
    assert!(format!("{seen:?}").contains("https://example.com/1"), "{seen:?}");
}
