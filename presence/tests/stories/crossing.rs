//! What happens while a friend's answer is on its way.

use presence::Reply;
use shared::{
    ids::SocketId,
    internal::{Interest, PeerMessage, PeerSay},
    limits::PEER_CALL_MS_MAX,
    share_policy::ShareMode,
    wire::ServerMessage,
};

use crate::population::{GRACE_MS, Population, TIMEOUT_MS, id, two};

const NOT_WATCHING: &str = r#"{"action":"watch","watching":false}"#;
const WATCHING: &str = r#"{"action":"watch","watching":true}"#;
const GOODBYE: &str = r#"{"action":"goodbye"}"#;
const INVISIBLE: &str = r#"{"action":"set-visibility","invisible":true}"#;

/// Alice and bob, where bob has stopped watching and alice's object does not know it yet.
fn bob_looks_away() -> (Population, SocketId, SocketId) {
    let (mut population, alice, bob) = two();
    population.say(bob, NOT_WATCHING);
    population.calls.clear();
    (population, alice, bob)
}

#[test]
fn a_page_reported_meanwhile_is_sent_after_the_answer() {
    let (mut population, alice, bob) = two();
    population.slow.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    assert_eq!(population.update(bob).url, "https://example.com/1");
    population.visit(alice, "https://example.com/2");
    population.visit(alice, "https://example.com/3");
    assert_eq!(population.seen(bob), [], "one call to each friend at a time");
    population.answers_arrive();
    assert_eq!(population.update(bob).url, "https://example.com/3");
}

#[test]
fn a_page_reported_meanwhile_is_not_sent_if_the_answer_says_that_the_friend_does_not_watch() {
    let (mut population, alice, _bob) = bob_looks_away();
    population.slow.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.visit(alice, "https://example.com/2");
    population.answers_arrive();
    assert_eq!(population.calls.len(), 1);
}

#[test]
fn a_friend_who_does_not_watch_hears_only_that_the_user_came() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    population.say(bob, NOT_WATCHING);
    population.calls.clear();
    population.slow.insert(id("bob"));
    let alice = population.connect("alice");
    population.visit(alice, "https://example.com/1");
    population.answers_arrive();
    assert_eq!(population.calls.len(), 1);
}

#[test]
fn a_friend_who_does_not_watch_hears_that_the_user_vanished_meanwhile() {
    let (mut population, alice, bob) = bob_looks_away();
    population.seen(bob);
    population.slow.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.say(alice, INVISIBLE);
    population.answers_arrive();
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_friend_who_learns_of_the_friendship_meanwhile_is_not_taken_for_a_stranger() {
    let mut population = Population::new(&["alice", "bob"], &[]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(bob, "https://example.com/bob");
    population.slow.insert(id("bob"));
    let [for_alice, for_bob] = population.befriend("alice", "bob");
    population.deliver([for_alice]);
    population.deliver([for_bob]);
    population.seen(alice);
    population.answers_arrive();
    let gone = ServerMessage::PresenceTimeout { user_id: id("bob"), last_seen_at: None };
    assert!(!population.seen(alice).contains(&gone));
    population.seen(bob);
    population.visit(alice, "https://example.com/alice");
    assert_eq!(population.update(bob).url, "https://example.com/alice");
}

#[test]
fn a_user_who_begins_to_watch_meanwhile_is_told_of_pages_from_then_on() {
    let (mut population, alice, bob) = two();
    population.say(alice, NOT_WATCHING);
    population.visit(bob, "https://example.com/1");
    population.seen(alice);
    // After a loss of memory, alice's object queries bob while it does not want pages yet.
    population.slow.insert(id("bob"));
    population.evict("alice");
    population.alarm("alice");
    population.say(alice, WATCHING);
    population.answers_arrive();
    population.snapshot(alice);
    population.visit(bob, "https://example.com/2");
    assert_eq!(population.update(alice).url, "https://example.com/2");
}

#[test]
fn a_friend_who_answered_before_a_short_absence_is_queried_again() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    population.visit(bob, "https://example.com/1");
    population.slow.insert(id("bob"));
    let alice = population.connect("alice");
    population.say(alice, r#"{"action":"goodbye"}"#);
    // Alice has left, so nobody is told of this page.
    population.visit(bob, "https://example.com/2");
    let alice = population.connect("alice");
    population.answers_arrive();
    let Some(ServerMessage::PresenceSnapshot(snapshot)) = population.seen(alice).pop() else { panic!("a snapshot") };
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/2");
}

#[test]
fn nobody_waits_for_a_slow_friend_for_longer_than_two_calls_take() {
    let call_ms = i64::from(PEER_CALL_MS_MAX);
    let (mut population, alice, bob) = two();
    population.slow.insert(id("bob"));
    population.say(alice, GOODBYE);
    population.pass_ms(call_ms / 10);
    let alice = population.connect("alice");
    population.say(alice, INVISIBLE);
    population.pass_ms(call_ms * 8 / 10);
    population.answers_so_far_arrive();
    // Bob is told first that alice vanished, and is queried after that.
    population.pass_ms(call_ms * 9 / 10);
    // To ask once more does not start the wait again.
    population.say(alice, r#"{"action":"watch","watching":false}"#);
    population.say(alice, r#"{"action":"watch","watching":true}"#);
    assert_eq!(population.seen(alice), []);
    population.pass_ms(call_ms / 10);
    population.answers_so_far_arrive();
    assert!(population.snapshot(alice).presence_arr[0].page.is_none());
    population.answers_arrive();
    assert_eq!(population.update(alice).user_id, id("bob"));
    drop(population.seen(bob));
}

#[test]
fn a_farewell_from_before_the_user_came_is_not_trusted_even_if_a_fast_clock_dates_it_later() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    population.connect("bob");
    population.unreachable.insert(id("bob"));
    let alice = population.connect("alice");
    population.snapshot(alice);
    population.unreachable.clear();
    let bye = population.message("bob", 5, PeerSay::Bye { last_seen_at: population.now });
    population.speak("alice", PeerMessage { sent_at: population.now.plus_ms(500), wants: Interest::Nothing, ..bye });
    assert_eq!(population.update(alice).user_id, id("bob"));
}

#[test]
fn a_user_who_watches_again_while_an_answer_is_on_its_way_gets_what_was_not_sent_meanwhile() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    population.visit(bob, "https://example.com/1");
    population.slow.insert(id("bob"));
    let alice = population.connect("alice");
    population.say(alice, r#"{"action":"watch","watching":false}"#);
    // Bob learns from the answer to this page that nobody watches, and does not send the next one.
    population.visit(bob, "https://example.com/2");
    population.visit(bob, "https://example.com/3");
    let second = population.connect("alice");
    population.answers_arrive();
    let snapshot = population.snapshot(second);
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/3");
}

#[test]
fn an_answer_from_before_a_short_absence_is_not_shown_even_if_there_is_no_other() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    population.visit(bob, "https://example.com/1");
    population.slow.insert(id("bob"));
    let alice = population.connect("alice");
    population.pass_ms(1_000);
    population.visit(bob, "https://example.com/2");
    population.say(alice, GOODBYE);
    let alice = population.connect("alice");
    population.unreachable.insert(id("bob"));
    population.answers_arrive();
    assert!(population.snapshot(alice).presence_arr[0].page.is_none(), "what is newest is not known");
    population.unreachable.clear();
    population.pass_ms(1_000);
    assert_eq!(population.update(alice).url, "https://example.com/2");
}

#[test]
fn a_page_told_while_nobody_was_connected_is_not_undone_by_an_older_answer() {
    let (mut population, alice, bob) = two();
    population.visit(bob, "https://example.com/1");
    population.slow.insert(id("bob"));
    population.evict("alice");
    population.alarm("alice");
    population.disconnect(alice);
    population.visit(bob, "https://example.com/2");
    let alice = population.connect("alice");
    population.answers_arrive();
    let seen = population.seen(alice);
    assert!(format!("{:?}", seen.last()).contains("https://example.com/2"), "{seen:?}");
}

#[test]
fn a_friend_who_comes_while_a_get_waits_for_another_friend_is_shown_in_its_reply() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    population.connect("carol");
    population.connect("alice");
    population.redeploy("alice");
    population.slow.insert(id("carol"));
    let read = population.begin_to_read("alice", None);
    population.connect("bob");
    population.answers_arrive();
    let Reply::All(all) = population.reply(read) else { panic!("a snapshot") };
    assert!(all.presence_arr.iter().all(|friend| friend.page.is_some()), "{all:?}");
}

#[test]
fn a_farewell_without_an_answer_is_sent_again_after_memory_was_lost() {
    let (mut population, alice, _) = two();
    population.slow.insert(id("bob"));
    population.say(alice, GOODBYE);
    // An alarm fires that was set for something else.
    population.alarm("alice");
    let wake = population.next_wake("alice").expect("nobody knows yet whether bob has heard it");
    assert!(wake <= population.now.plus_ms(TIMEOUT_MS));
    population.now = wake;
    population.alarm("alice");
    let wake = population.next_wake("alice").expect("nor do they now");
    assert!(wake > population.now);
    population.redeploy("alice");
    let calls = population.calls.len();
    population.now = wake;
    population.alarm("alice");
    assert_eq!(population.calls.len(), calls + 1);
    population.answers_arrive();
    assert_eq!(population.next_wake("alice"), None);
}

#[test]
fn a_farewell_that_waits_for_another_call_to_end_is_not_forgotten_either() {
    type Leaves = fn(&mut Population, SocketId);
    let with_a_word: Leaves = |population, alice| {
        population.visit(alice, "https://example.com/1");
        population.say(alice, GOODBYE);
    };
    let in_hiding: Leaves = |population, alice| {
        population.say(alice, INVISIBLE);
        population.disconnect(alice);
    };
    for leaves in [with_a_word, in_hiding] {
        let (mut population, alice, _) = two();
        population.slow.insert(id("bob"));
        leaves(&mut population, alice);
        population.alarm("alice");
        assert!(population.next_wake("alice").is_some_and(|wake| wake <= population.now.plus_ms(TIMEOUT_MS)));
    }
}

#[test]
fn an_alarm_that_sends_farewells_sets_no_other_alarm() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut population = Population::new(&["alice", "bob", "carol"], &friendships);
    let (alice, _bob) = (population.connect("alice"), population.connect("bob"));
    population.slow.extend([id("bob"), id("carol")]);
    population.disconnect(alice);
    population.now = population.now.plus_ms(GRACE_MS);
    population.alarm("alice");
    assert_eq!(population.next_wake("alice"), None, "the runtime repeats one that did not end");
    population.begin_to_read("alice", Some("carol"));
    assert_eq!(population.next_wake("alice"), None, "a question is no farewell");
}

#[test]
fn a_user_who_left_before_memory_was_lost_is_shown_to_nobody_after_it() {
    let (mut population, alice, bob) = two();
    population.slow.insert(id("bob"));
    population.say(alice, GOODBYE);
    population.redeploy("alice");
    population.seen(bob);
    population.begin_to_read("alice", None);
    assert!(!population.seen(bob).iter().any(|message| matches!(message, ServerMessage::UpdatePresence(_))));
}

#[test]
fn an_alarm_whose_farewell_waits_for_another_call_to_end_sets_another_alarm() {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://example.com/1");
    population.slow.insert(id("bob"));
    population.disconnect(alice);
    population.now = population.now.plus_ms(GRACE_MS - 500);
    let hides = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    population.deliver([hides]);
    population.now = population.now.plus_ms(500);
    population.alarm("alice");
    let wake = population.next_wake("alice").expect("an alarm is set");
    population.evict("alice");
    population.slow.clear();
    population.seen(bob);
    population.now = wake;
    population.alarm("alice");
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_farewell_that_waits_for_another_call_to_end_sets_an_alarm() {
    let (mut population, alice, bob) = two();
    population.slow.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.say(alice, r#"{"action":"goodbye"}"#);
    let wake = population.next_wake("alice").expect("an alarm is set");
    population.evict("alice");
    population.slow.clear();
    population.seen(bob);
    population.now = wake;
    population.alarm("alice");
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn an_answer_from_before_a_friendship_ended_is_ignored_in_the_next_friendship() {
    let (mut population, _alice, bob) = two();
    population.visit(bob, "https://example.com/b");
    population.slow.insert(id("bob"));
    population.evict("alice");
    population.alarm("alice");
    let events = population.unfriend("alice", "bob");
    population.deliver(events);
    population.say(bob, INVISIBLE);
    let events = population.befriend("alice", "bob");
    population.deliver(events);
    population.answers_arrive();
    assert_eq!(population.read("alice", Some("bob")), Reply::One(None));
}

#[test]
fn a_read_that_waits_as_the_user_comes_online_gets_what_friends_answered_before() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut population = Population::new(&["alice", "bob", "carol"], &friendships);
    population.connect("bob");
    population.slow.insert(id("carol"));
    let read = population.begin_to_read("alice", None);
    population.slow.insert(id("bob"));
    population.connect("alice");
    population.pass_ms(i64::from(PEER_CALL_MS_MAX));
    population.answer_arrives("carol");
    population.answer_arrives("bob");
    let Reply::All(all) = population.reply(read) else { panic!("she asked for all") };
    assert!(all.presence_arr[0].page.is_some(), "{all:?}");
}

#[test]
fn a_read_that_has_waited_for_long_as_the_user_comes_online_gets_what_is_known() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut population = Population::new(&["alice", "bob", "carol"], &friendships);
    population.connect("bob");
    population.slow.insert(id("carol"));
    let read = population.begin_to_read("alice", None);
    population.pass_ms(i64::from(PEER_CALL_MS_MAX));
    population.slow.insert(id("bob"));
    population.connect("alice");
    let Reply::All(all) = population.reply(read) else { panic!("she asked for all") };
    assert!(all.presence_arr[0].page.is_some(), "{all:?}");
}
