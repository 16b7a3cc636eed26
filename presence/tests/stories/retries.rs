//! Rule 8: what could not be delivered is tried again, until the friend has the newest state or is away.

use presence::Reply;
use shared::{
    ids::SocketId,
    internal::{Interest, PeerMessage, PeerSay},
    share_policy::ShareMode,
    wire::ServerMessage,
};

use crate::town::{SLEEP_MS, TIMEOUT_MS, Town, id, showing, two};

#[test]
fn a_friend_who_was_not_reached_gets_the_newest_page_later_and_only_that() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.visit(alice, "https://example.com/2");
    town.pass_ms(2_000);
    town.unreachable.clear();
    town.pass_ms(2_000);
    assert_eq!(town.update(bob).url, "https://example.com/2");
    let calls = town.calls.len();
    town.pass_ms(20_000);
    assert_eq!(town.calls.len(), calls);
}

#[test]
fn retries_become_rare_but_come_once_an_hour_at_least() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    let mut made_in = |minutes: usize| {
        let calls = town.calls.len();
        for _ in 0..minutes {
            for socket in [alice, bob] {
                town.heartbeat(socket);
                town.say(socket, r#"{"action":"authenticate","token":"good"}"#);
            }
            town.pass_ms(60_000);
        }
        town.calls.len() - calls
    };
    let made = made_in(10);
    assert!((8..=10).contains(&made), "1, 2, 4 … 256 s make nine in ten minutes, not {made}");
    made_in(120);
    let made = made_in(10 * 60);
    assert!((9..=11).contains(&made), "ten in ten hours, not {made}");
}

#[test]
fn a_farewell_is_repeated_until_it_is_heard_whatever_is_lost_meanwhile() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.pass_ms(5_000);
    town.evict("alice");
    town.alarm("alice");
    assert_eq!(town.seen(bob), []);
    town.unreachable.clear();
    town.pass_ms(60_000);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    let (calls, saves) = (town.calls.len(), town.saves);
    town.heartbeat(bob);
    town.alarm("alice");
    town.pass_ms(100_000);
    assert_eq!((town.calls.len(), town.saves), (calls, saves), "then it is over");
}

#[test]
fn a_farewell_is_kept_once_and_given_up_once_however_many_are_to_hear_it() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, _bob, _carol) = (town.connect("alice"), town.connect("bob"), town.connect("carol"));
    town.unreachable.extend([id("bob"), id("carol")]);
    let saves = town.saves;
    town.say(alice, r#"{"action":"goodbye"}"#);
    let last_seen_at = Some(town.now);
    town.unreachable.remove(&id("bob"));
    town.pass_ms(10_000);
    assert_eq!(town.saves, saves + 1, "carol has yet to hear it");
    town.unreachable.clear();
    town.pass_ms(60_000);
    assert_eq!(town.saves, saves + 2);
    let state = town.saved("alice").state;
    assert_eq!((state.online, state.leaving, state.last_seen_at), (false, None, last_seen_at));
}

#[test]
fn a_farewell_that_outlives_memory_says_when_it_was() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.say(alice, r#"{"action":"goodbye"}"#);
    let last_seen_at = Some(town.now);
    town.pass_ms(1_000);
    town.evict("alice");
    town.unreachable.clear();
    town.alarm("alice");
    town.pass_ms(10_000);
    assert_eq!(town.seen(bob), [ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at }]);
}

/// Alice has come online, and does not know that bob has heard of it.
fn two_and_a_lost_answer() -> (Town, SocketId, SocketId) {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    town.seen(bob);
    town.unanswering.insert(id("bob"));
    let alice = town.connect("alice");
    assert_eq!(town.update(bob).user_id, id("alice"));
    town.unanswering.clear();
    (town, alice, bob)
}

#[test]
fn who_may_have_heard_that_somebody_came_hears_that_they_vanished() {
    let (mut town, alice, bob) = two_and_a_lost_answer();
    town.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    town.pass_ms(5_000);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn who_may_have_heard_that_somebody_came_hears_that_they_left_whatever_is_lost_meanwhile() {
    for lost in [false, true] {
        let (mut town, alice, bob) = two_and_a_lost_answer();
        town.disconnect(alice);
        if lost {
            town.evict("alice");
            town.alarm("alice");
        }
        town.pass_ms(20_000);
        let seen = town.seen(bob);
        assert!(matches!(seen.last(), Some(ServerMessage::PresenceTimeout { .. })), "{lost}: {seen:?}");
    }
}

#[test]
fn a_farewell_from_before_a_friend_came_back_cancels_nothing_they_are_still_to_hear() {
    let (mut town, alice, bob) = two();
    let last_seen_at = town.now.plus_ms(-20_000);
    let late = town.message("bob", 1_772_366_380_000, PeerSay::Bye { last_seen_at });
    town.unreachable.insert(id("bob"));
    town.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.connect("alice");
    town.speak("alice", PeerMessage { wants: Interest::Nothing, ..late });
    town.unreachable.clear();
    town.pass_ms(5_000);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_friend_whose_presence_could_not_be_had_is_asked_again() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    town.visit(bob, "https://example.com/bob");
    town.unreachable.insert(id("bob"));
    let alice = town.connect("alice");
    assert_eq!(town.snapshot(alice).presence_arr[0].page, None);
    town.unreachable.clear();
    town.pass_ms(1_000);
    assert_eq!(town.update(alice).url, "https://example.com/bob");
    town.visit(bob, "https://example.com/bob2");
    assert_eq!(town.update(alice).url, "https://example.com/bob2");
}

#[test]
fn an_object_that_lost_its_memory_in_the_midst_of_something_makes_sure_that_all_is_told() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.evict("alice");
    town.unreachable.clear();
    town.alarm("alice");
    assert_eq!(town.update(bob).url, "https://example.com/1");
}

#[test]
fn a_friend_who_was_not_reached_is_not_forgotten_in_sleep() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.sleep_until_alarm("alice");
    town.unreachable.clear();
    town.sleep_until_alarm("alice");
    assert_eq!(town.update(bob).url, "https://example.com/1");
}

#[test]
fn a_friend_who_was_reached_at_last_is_not_called_after_sleep() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.sleep_until_alarm("alice");
    town.unreachable.clear();
    town.pass_ms(60_000);
    assert_eq!(town.update(bob).url, "https://example.com/1");
    town.calls.clear();
    town.sleep_until_alarm("alice");
    assert_eq!(town.calls, []);
}

#[test]
fn a_friend_who_could_not_be_asked_is_not_forgotten_when_memory_is_lost() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    town.connect("bob");
    town.unreachable.insert(id("bob"));
    let alice = town.connect("alice");
    town.seen(alice);
    town.sleep_until_alarm("alice");
    town.unreachable.clear();
    town.sleep_until_alarm("alice");
    assert_eq!(town.update(alice).user_id, id("bob"));
}

#[test]
fn who_was_only_to_be_told_before_sleep_is_only_told_after_it() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    while town.next_wake("alice").unwrap() < town.now.plus_ms(SLEEP_MS) {
        town.pass_ms(1_000);
    }
    town.unreachable.clear();
    let calls = town.calls.len();
    town.sleep_until_alarm("alice");
    assert_eq!(town.update(bob).url, "https://example.com/1");
    let said: Vec<_> = town.calls[calls..].iter().map(|(_, message)| &message.say).collect();
    assert!(matches!(said.as_slice(), [PeerSay::Presence { .. }]), "{said:?}");
}

#[test]
fn one_friend_who_cannot_be_reached_costs_ever_less_and_the_others_nothing() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut town = Town::new(&["alice", "bob", "carol"], &friendships);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.connect("carol");
    town.seen(bob);
    town.unreachable.insert(id("carol"));
    town.visit(alice, "https://example.com/1");
    town.update(bob);
    // Less than the token is good for.
    const LONG_MS: i64 = 3_000_000;
    let (began, mut wakes) = (town.now, 0);
    while town.now < began.plus_ms(LONG_MS) {
        town.sleep_until_alarm("alice");
        wakes += 1;
    }
    // One for each time-out, and those that try again: twice as late each time.
    assert!(wakes <= LONG_MS / TIMEOUT_MS + 12, "{wakes} wake-ups");
    assert_eq!(town.seen(bob), []);
    // Whom she tells after that is told as ever, and what was on its way to them as she slept is not taken for lost.
    for number in 2..5 {
        let calls = town.calls.len();
        town.visit(alice, &format!("https://example.com/{number}"));
        assert_eq!(town.update(bob).url, format!("https://example.com/{number}"));
        assert_eq!(town.calls.len(), calls + 1);
        town.hibernate("alice");
    }
    town.visit(alice, "https://secret.org/");
    assert_eq!(town.update(bob).url, "");
    let calls = town.calls.iter().filter(|(peer, _)| *peer == id("carol")).count();
    assert!(calls <= 20, "{calls} calls");
}

#[test]
fn an_invisible_user_who_did_not_reach_a_friend_before_sleep_still_only_asks_after_it() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let alice = town.connect("alice");
    town.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.connect("bob");
    town.unreachable.insert(id("bob"));
    let alice = town.connect("alice");
    town.sleep_until_alarm("alice");
    town.unreachable.clear();
    let saves = town.saves;
    town.calls.clear();
    town.sleep_until_alarm("alice");
    assert!(matches!(town.calls.as_slice(), [(_, PeerMessage { say: PeerSay::Peek, .. })]), "{:?}", town.calls);
    assert_eq!(town.saves, saves);
    assert!(town.seen(alice).iter().any(|message| matches!(message, ServerMessage::UpdatePresence(_))));
}

#[test]
fn who_was_reached_because_somebody_read_is_not_called_after_sleep() {
    let (mut town, alice, bob) = two();
    town.say(alice, r#"{"action":"watch","watching":false}"#);
    town.visit(bob, "https://example.com/b");
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/a");
    town.pass_ms(16_000);
    town.unreachable.clear();
    town.read("alice", None);
    town.calls.clear();
    town.sleep_until_alarm("alice");
    assert_eq!(town.calls, []);
}

#[test]
fn who_said_meanwhile_that_they_left_is_not_called_after_sleep() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    town.unreachable.insert(id("bob"));
    town.connect("alice");
    town.pass_ms(16_000);
    let bye = town.message("bob", 1_772_366_416_000, PeerSay::Bye { last_seen_at: town.now });
    town.speak("alice", PeerMessage { wants: Interest::Nothing, ..bye });
    town.calls.clear();
    town.sleep_until_alarm("alice");
    assert_eq!(town.calls, []);
}

#[test]
fn a_message_older_than_the_receivers_memory_is_not_believed_but_asked_about() {
    let (mut town, alice, bob) = two();
    let presence = showing("alice", "https://example.com/old", town.now);
    let late = town.message("alice", u64::MAX / 2, PeerSay::Presence { presence });
    town.visit(alice, "https://example.com/new");
    town.seen(bob);
    town.hibernate("bob");
    town.speak("bob", late);
    let seen = town.seen(bob);
    assert!(!format!("{seen:?}").contains("old"), "{seen:?}");
    let Reply::One(Some(page)) = town.read("bob", Some("alice")) else { panic!("a page") };
    assert_eq!(page.url, "https://example.com/new");
}

#[test]
fn a_farewell_is_over_when_the_last_who_has_not_heard_it_is_no_friend_any_more() {
    let (mut town, alice, _bob) = two();
    town.unreachable.insert(id("bob"));
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.pass_ms(0);
    assert!(town.saved("alice").state.online, "bob may still believe it");
    let [for_alice, _] = town.unfriend("alice", "bob");
    town.deliver([for_alice]);
    let state = town.saved("alice").state;
    assert_eq!((state.online, state.leaving), (false, None));
}

#[test]
fn a_farewell_that_a_stranger_refuses_is_over() {
    let (mut town, alice, _bob) = two();
    let [_, for_bob] = town.unfriend("alice", "bob");
    town.deliver([for_bob]);
    town.core_is_away = true;
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.pass_ms(0);
    assert_eq!((town.saved("alice").state.online, town.saved("alice").state.leaving), (false, None));
}

#[test]
fn one_who_has_left_is_not_called_about_a_page_they_missed() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.say(bob, r#"{"action":"goodbye"}"#);
    town.unreachable.clear();
    town.calls.clear();
    town.pass_ms(60_000);
    assert_eq!(town.calls.len(), 0, "{:?}", town.calls);
}

#[test]
fn what_a_friend_says_meanwhile_settles_no_debt() {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.visit(bob, "https://example.com/bob");
    town.seen(bob);
    town.unreachable.clear();
    town.pass_ms(4_000);
    assert_eq!(town.update(bob).url, "https://example.com/1");
}

/// Alice has not reached bob for so long that her next call is far away; now she could.
fn two_and_a_long_silence() -> (Town, SocketId, SocketId) {
    let (mut town, alice, bob) = two();
    town.unreachable.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    for _ in 0..20 {
        town.heartbeat(alice);
        town.heartbeat(bob);
        town.pass_ms(60_000);
    }
    town.unreachable.clear();
    town.seen(bob);
    (town, alice, bob)
}

#[test]
fn to_hide_or_to_leave_does_not_wait_for_a_retry_that_is_far_away() {
    let (mut town, alice, bob) = two_and_a_long_silence();
    town.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));

    let (mut town, alice, bob) = two_and_a_long_silence();
    town.say(alice, r#"{"action":"goodbye"}"#);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));

    let (mut town, _alice, bob) = two_and_a_long_silence();
    let hides = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    town.deliver([hides]);
    assert_eq!(town.update(bob).url, "");
}

#[test]
fn whoever_is_heard_of_again_is_tried_at_once() {
    let (mut town, _alice, bob) = two_and_a_long_silence();
    town.visit(bob, "https://example.com/b");
    let seen = town.seen(bob);
    assert!(format!("{seen:?}").contains("https://example.com/1"), "{seen:?}");
}
