//! What happens while a friend's answer is on its way.

use presence::Reply;
use shared::{
    ids::SocketId,
    internal::{Interest, PeerMessage, PeerSay},
    limits::PEER_CALL_MS_MAX,
    share_policy::ShareMode,
    wire::ServerMessage,
};

use crate::town::{GRACE_MS, TIMEOUT_MS, Town, id, two};

const NOT_WATCHING: &str = r#"{"action":"watch","watching":false}"#;
const WATCHING: &str = r#"{"action":"watch","watching":true}"#;
const GOODBYE: &str = r#"{"action":"goodbye"}"#;
const INVISIBLE: &str = r#"{"action":"set-visibility","invisible":true}"#;

/// The same two, where nothing was said yet and bob does not watch, of which alice's object has not heard.
fn bob_looks_away() -> (Town, SocketId, SocketId) {
    let (mut town, alice, bob) = two();
    town.say(bob, NOT_WATCHING);
    town.calls.clear();
    (town, alice, bob)
}

#[test]
fn a_page_turned_meanwhile_follows_the_answer() {
    let (mut town, alice, bob) = two();
    town.slow.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    assert_eq!(town.update(bob).url, "https://example.com/1");
    town.visit(alice, "https://example.com/2");
    town.visit(alice, "https://example.com/3");
    assert_eq!(town.seen(bob), [], "one call to each friend at a time");
    town.answers_arrive();
    assert_eq!(town.update(bob).url, "https://example.com/3");
}

#[test]
fn a_page_turned_meanwhile_is_not_for_one_whose_answer_says_that_they_do_not_watch() {
    let (mut town, alice, _bob) = bob_looks_away();
    town.slow.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.visit(alice, "https://example.com/2");
    town.answers_arrive();
    assert_eq!(town.calls.len(), 1);
}

#[test]
fn one_who_does_not_watch_hears_of_a_coming_and_no_more() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    town.say(bob, NOT_WATCHING);
    town.calls.clear();
    town.slow.insert(id("bob"));
    let alice = town.connect("alice");
    town.visit(alice, "https://example.com/1");
    town.answers_arrive();
    assert_eq!(town.calls.len(), 1);
}

#[test]
fn vanishing_meanwhile_is_for_one_who_does_not_watch_too() {
    let (mut town, alice, bob) = bob_looks_away();
    town.seen(bob);
    town.slow.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.say(alice, INVISIBLE);
    town.answers_arrive();
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn one_who_learns_of_the_friendship_meanwhile_is_no_stranger() {
    let mut town = Town::new(&["alice", "bob"], &[]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(bob, "https://example.com/bob");
    town.slow.insert(id("bob"));
    let [for_alice, for_bob] = town.befriend("alice", "bob");
    town.deliver([for_alice]);
    town.deliver([for_bob]);
    town.seen(alice);
    town.answers_arrive();
    let gone = ServerMessage::PresenceTimeout { user_id: id("bob"), last_seen_at: None };
    assert!(!town.seen(alice).contains(&gone));
    town.seen(bob);
    town.visit(alice, "https://example.com/alice");
    assert_eq!(town.update(bob).url, "https://example.com/alice");
}

#[test]
fn whoever_watches_meanwhile_is_told_of_pages_from_then_on() {
    let (mut town, alice, bob) = two();
    town.say(alice, NOT_WATCHING);
    town.visit(bob, "https://example.com/1");
    town.seen(alice);
    // Bob is asked after a loss of memory, by an object that does not want pages yet.
    town.slow.insert(id("bob"));
    town.evict("alice");
    town.alarm("alice");
    town.say(alice, WATCHING);
    town.answers_arrive();
    town.snapshot(alice);
    town.visit(bob, "https://example.com/2");
    assert_eq!(town.update(alice).url, "https://example.com/2");
}

#[test]
fn an_answer_from_before_a_short_absence_is_asked_for_again() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    town.visit(bob, "https://example.com/1");
    town.slow.insert(id("bob"));
    let alice = town.connect("alice");
    town.say(alice, r#"{"action":"goodbye"}"#);
    // Nobody is there to be told of this.
    town.visit(bob, "https://example.com/2");
    let alice = town.connect("alice");
    town.answers_arrive();
    let Some(ServerMessage::PresenceSnapshot(snapshot)) = town.seen(alice).pop() else { panic!("a snapshot") };
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/2");
}

#[test]
fn nobody_waits_for_a_slow_friend_for_longer_than_two_calls_take() {
    let call_ms = i64::from(PEER_CALL_MS_MAX);
    let (mut town, alice, bob) = two();
    town.slow.insert(id("bob"));
    town.say(alice, GOODBYE);
    town.pass_ms(call_ms / 10);
    let alice = town.connect("alice");
    town.say(alice, INVISIBLE);
    town.pass_ms(call_ms * 8 / 10);
    town.answers_so_far_arrive();
    // Bob hears first that alice vanished, and is asked then.
    town.pass_ms(call_ms * 9 / 10);
    // To ask once more begins nothing anew.
    town.say(alice, r#"{"action":"watch","watching":false}"#);
    town.say(alice, r#"{"action":"watch","watching":true}"#);
    assert_eq!(town.seen(alice), []);
    town.pass_ms(call_ms / 10);
    town.answers_so_far_arrive();
    assert!(town.snapshot(alice).presence_arr[0].page.is_none());
    town.answers_arrive();
    assert_eq!(town.update(alice).user_id, id("bob"));
    drop(town.seen(bob));
}

#[test]
fn a_farewell_from_before_the_user_came_is_not_believed_though_a_fast_clock_dates_it_later() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    town.connect("bob");
    town.unreachable.insert(id("bob"));
    let alice = town.connect("alice");
    town.snapshot(alice);
    town.unreachable.clear();
    let bye = town.message("bob", 5, PeerSay::Bye { last_seen_at: town.now });
    town.speak("alice", PeerMessage { sent_at: town.now.plus_ms(500), wants: Interest::Nothing, ..bye });
    assert_eq!(town.update(alice).user_id, id("bob"));
}

#[test]
fn who_watches_again_while_an_answer_is_on_its_way_hears_what_was_not_told_meanwhile() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    town.visit(bob, "https://example.com/1");
    town.slow.insert(id("bob"));
    let alice = town.connect("alice");
    town.say(alice, r#"{"action":"watch","watching":false}"#);
    // Bob hears that nobody watches, and keeps what follows to himself.
    town.visit(bob, "https://example.com/2");
    town.visit(bob, "https://example.com/3");
    let second = town.connect("alice");
    town.answers_arrive();
    let snapshot = town.snapshot(second);
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/3");
}

#[test]
fn an_answer_from_before_a_short_absence_is_shown_to_nobody_though_there_is_no_other() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    town.visit(bob, "https://example.com/1");
    town.slow.insert(id("bob"));
    let alice = town.connect("alice");
    town.pass_ms(1_000);
    town.visit(bob, "https://example.com/2");
    town.say(alice, GOODBYE);
    let alice = town.connect("alice");
    town.unreachable.insert(id("bob"));
    town.answers_arrive();
    assert!(town.snapshot(alice).presence_arr[0].page.is_none(), "what is newest is not known");
    town.unreachable.clear();
    town.pass_ms(1_000);
    assert_eq!(town.update(alice).url, "https://example.com/2");
}

#[test]
fn what_was_doubted_while_nobody_was_connected_is_not_undone_by_an_older_answer() {
    let (mut town, alice, bob) = two();
    town.visit(bob, "https://example.com/1");
    town.slow.insert(id("bob"));
    town.evict("alice");
    town.alarm("alice");
    town.disconnect(alice);
    town.visit(bob, "https://example.com/2");
    let alice = town.connect("alice");
    town.answers_arrive();
    let seen = town.seen(alice);
    assert!(format!("{:?}", seen.last()).contains("https://example.com/2"), "{seen:?}");
}

#[test]
fn who_comes_while_a_get_waits_for_somebody_else_is_shown_in_it() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    town.connect("carol");
    town.connect("alice");
    town.redeploy("alice");
    town.slow.insert(id("carol"));
    let read = town.begin_to_read("alice", None);
    town.connect("bob");
    town.answers_arrive();
    let Reply::All(all) = town.reply(read) else { panic!("a snapshot") };
    assert!(all.presence_arr.iter().all(|friend| friend.page.is_some()), "{all:?}");
}

#[test]
fn a_farewell_that_is_on_its_way_as_memory_goes_is_said_again() {
    let (mut town, alice, _) = two();
    town.slow.insert(id("bob"));
    town.say(alice, GOODBYE);
    // One that was set for something else.
    town.alarm("alice");
    let wake = town.next_wake("alice").expect("nobody knows yet whether bob has heard it");
    assert!(wake <= town.now.plus_ms(TIMEOUT_MS));
    town.now = wake;
    town.alarm("alice");
    let wake = town.next_wake("alice").expect("nor do they now");
    assert!(wake > town.now);
    town.redeploy("alice");
    let calls = town.calls.len();
    town.now = wake;
    town.alarm("alice");
    assert_eq!(town.calls.len(), calls + 1);
    town.answers_arrive();
    assert_eq!(town.next_wake("alice"), None);
}

#[test]
fn a_farewell_that_waits_for_another_call_to_end_is_not_forgotten_either() {
    type Leaves = fn(&mut Town, SocketId);
    let with_a_word: Leaves = |town, alice| {
        town.visit(alice, "https://example.com/1");
        town.say(alice, GOODBYE);
    };
    let in_hiding: Leaves = |town, alice| {
        town.say(alice, INVISIBLE);
        town.disconnect(alice);
    };
    for leaves in [with_a_word, in_hiding] {
        let (mut town, alice, _) = two();
        town.slow.insert(id("bob"));
        leaves(&mut town, alice);
        town.alarm("alice");
        assert!(town.next_wake("alice").is_some_and(|wake| wake <= town.now.plus_ms(TIMEOUT_MS)));
    }
}

#[test]
fn an_alarm_that_says_farewell_sets_no_other() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut town = Town::new(&["alice", "bob", "carol"], &friendships);
    let (alice, _bob) = (town.connect("alice"), town.connect("bob"));
    town.slow.extend([id("bob"), id("carol")]);
    town.disconnect(alice);
    town.now = town.now.plus_ms(GRACE_MS);
    town.alarm("alice");
    assert_eq!(town.next_wake("alice"), None, "the runtime repeats one that did not end");
    town.begin_to_read("alice", Some("carol"));
    assert_eq!(town.next_wake("alice"), None, "a question is no farewell");
}

#[test]
fn whoever_left_before_memory_went_is_there_for_nobody_whatever_comes_first() {
    let (mut town, alice, bob) = two();
    town.slow.insert(id("bob"));
    town.say(alice, GOODBYE);
    town.redeploy("alice");
    town.seen(bob);
    town.begin_to_read("alice", None);
    assert!(!town.seen(bob).iter().any(|message| matches!(message, ServerMessage::UpdatePresence(_))));
}

#[test]
fn a_farewell_of_an_alarms_that_waits_for_another_call_to_end_sets_one() {
    let (mut town, alice, bob) = two();
    town.visit(alice, "https://example.com/1");
    town.slow.insert(id("bob"));
    town.disconnect(alice);
    town.now = town.now.plus_ms(GRACE_MS - 500);
    let hides = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    town.deliver([hides]);
    town.now = town.now.plus_ms(500);
    town.alarm("alice");
    let wake = town.next_wake("alice").expect("an alarm is set");
    town.evict("alice");
    town.slow.clear();
    town.seen(bob);
    town.now = wake;
    town.alarm("alice");
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_farewell_that_waits_for_another_call_to_end_sets_an_alarm() {
    let (mut town, alice, bob) = two();
    town.slow.insert(id("bob"));
    town.visit(alice, "https://example.com/1");
    town.say(alice, r#"{"action":"goodbye"}"#);
    let wake = town.next_wake("alice").expect("an alarm is set");
    town.evict("alice");
    town.slow.clear();
    town.seen(bob);
    town.now = wake;
    town.alarm("alice");
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn an_answer_from_before_a_friendship_ended_says_nothing_once_there_is_another() {
    let (mut town, _alice, bob) = two();
    town.visit(bob, "https://example.com/b");
    town.slow.insert(id("bob"));
    town.evict("alice");
    town.alarm("alice");
    let events = town.unfriend("alice", "bob");
    town.deliver(events);
    town.say(bob, INVISIBLE);
    let events = town.befriend("alice", "bob");
    town.deliver(events);
    town.answers_arrive();
    assert_eq!(town.read("alice", Some("bob")), Reply::One(None));
}

#[test]
fn who_reads_as_their_user_comes_reads_what_friends_answered_before() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut town = Town::new(&["alice", "bob", "carol"], &friendships);
    town.connect("bob");
    town.slow.insert(id("carol"));
    let read = town.begin_to_read("alice", None);
    town.slow.insert(id("bob"));
    town.connect("alice");
    town.pass_ms(i64::from(PEER_CALL_MS_MAX));
    town.answer_arrives("carol");
    town.answer_arrives("bob");
    let Reply::All(all) = town.reply(read) else { panic!("she asked for all") };
    assert!(all.presence_arr[0].page.is_some(), "{all:?}");
}

#[test]
fn who_has_waited_for_long_as_their_user_comes_reads_what_is_known() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut town = Town::new(&["alice", "bob", "carol"], &friendships);
    town.connect("bob");
    town.slow.insert(id("carol"));
    let read = town.begin_to_read("alice", None);
    town.pass_ms(i64::from(PEER_CALL_MS_MAX));
    town.slow.insert(id("bob"));
    town.connect("alice");
    let Reply::All(all) = town.reply(read) else { panic!("she asked for all") };
    assert!(all.presence_arr[0].page.is_some(), "{all:?}");
}
