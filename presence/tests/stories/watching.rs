//! A user who does not watch is not told of pages, and costs nothing while pages change.

use shared::wire::ServerMessage;

use crate::population::{Population, id, two};

const AWAY: &str = r#"{"action":"watch","watching":false}"#;
const WATCH: &str = r#"{"action":"watch","watching":true}"#;

#[test]
fn a_user_who_stops_watching_tells_nobody_and_is_left_out_after_one_more_page() {
    let (mut population, alice, bob) = two();
    let calls = population.calls.len();
    population.say(bob, AWAY);
    assert_eq!(population.calls.len(), calls);
    population.visit(alice, "https://example.com/1");
    assert_eq!(population.calls.len(), calls + 1);
    for n in 2..8 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    assert_eq!(population.calls.len(), calls + 1);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn being_left_out_outlives_hibernation() {
    let (mut population, alice, bob) = two();
    population.say(bob, AWAY);
    population.visit(alice, "https://example.com/1");
    population.hibernate("alice");
    population.hibernate("bob");
    let (calls, saves) = (population.calls.len(), population.saves);
    population.visit(alice, "https://example.com/2");
    assert_eq!((population.calls.len(), population.saves), (calls, saves));
    population.say(alice, r#"{"action":"goodbye"}"#);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]), "of that they hear");
}

#[test]
fn watching_again_outlives_hibernation() {
    let (mut population, alice, bob) = two();
    population.say(bob, AWAY);
    population.visit(alice, "https://example.com/1");
    population.say(bob, WATCH);
    population.seen(bob);
    population.hibernate("alice");
    population.visit(alice, "https://example.com/2");
    assert_eq!(population.update(bob).url, "https://example.com/2");
}

#[test]
fn a_user_who_watches_again_is_up_to_date_from_then_on() {
    let (mut population, alice, bob) = two();
    population.say(alice, AWAY);
    population.visit(bob, "https://example.com/1");
    population.say(alice, WATCH);
    let calls = population.calls.len();
    population.connect("alice");
    assert_eq!(population.calls.len(), calls, "nothing has changed since");
}

#[test]
fn a_friend_who_learned_from_a_query_that_the_user_does_not_watch_is_queried_too() {
    let (mut population, alice, bob) = two();
    population.visit(bob, "https://example.com/1");
    population.say(alice, AWAY);
    // Bob's object lost its memory. It queries alice, and learns that she does not watch.
    population.evict("bob");
    population.alarm("bob");
    population.seen(alice);
    population.visit(bob, "https://example.com/2");
    population.say(alice, WATCH);
    assert_eq!(population.snapshot(alice).presence_arr[0].page.as_ref().unwrap().url, "https://example.com/2");
}

#[test]
fn a_friend_who_reappeared_before_sleep_does_not_come_again_after_it() {
    let (mut population, away, bob) = two();
    population.say(away, AWAY);
    let alice = population.connect("alice");
    population.say(bob, r#"{"action":"set-visibility","invisible":true}"#);
    population.say(bob, r#"{"action":"set-visibility","invisible":false}"#);
    population.hibernate("alice");
    population.seen(away);
    population.seen(alice);
    population.visit(bob, "https://example.com/1");
    assert_eq!(population.update(alice).url, "https://example.com/1");
    assert_eq!(population.seen(away), []);
}

#[test]
fn watching_again_brings_a_fresh_snapshot_and_then_every_page() {
    let (mut population, alice, bob) = two();
    population.say(bob, AWAY);
    for n in 1..4 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    population.say(bob, WATCH);
    let snapshot = population.snapshot(bob);
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/3");
    population.visit(alice, "https://example.com/4");
    assert_eq!(population.update(bob).url, "https://example.com/4");
    population.say(bob, WATCH);
    assert_eq!(population.seen(bob), [], "it watches already");
}

#[test]
fn watching_again_queries_only_friends_who_left_the_user_out() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, bob, _carol) = (population.connect("alice"), population.connect("bob"), population.connect("carol"));
    population.say(alice, AWAY);
    population.visit(bob, "https://example.com/bob");
    let calls = population.calls.len();
    population.seen(alice);
    population.say(alice, WATCH);
    assert_eq!(population.calls.len(), calls + 1);
    population.snapshot(alice);
}

#[test]
fn a_user_who_does_not_watch_still_sees_friends_come_and_go() {
    let (mut population, alice, bob) = two();
    population.say(bob, AWAY);
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.pass_ms(0);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    let alice = population.connect("alice");
    assert_eq!(population.update(bob).url, "");
    population.visit(alice, "https://example.com/");
    assert_eq!(population.seen(bob), []);
}

#[test]
fn of_two_sockets_only_the_one_that_watches_gets_pages() {
    let (mut population, alice, bob) = two();
    let second = population.connect("bob");
    population.seen(second);
    population.say(bob, AWAY);
    population.visit(alice, "https://example.com/");
    assert_eq!(population.seen(bob), []);
    assert_eq!(population.update(second).url, "https://example.com/");
    population.visit(second, "https://example.com/own");
    assert_eq!(population.seen(bob), []);
    assert_eq!(population.update(second).url, "https://example.com/own");
}

#[test]
fn a_user_who_comes_online_learns_from_the_answers_who_watches() {
    let (mut population, alice, bob) = two();
    population.say(bob, AWAY);
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.pass_ms(0);
    let alice = population.connect("alice");
    let calls = population.calls.len();
    population.visit(alice, "https://example.com/");
    assert_eq!(population.calls.len(), calls, "bob said with his answer that he does not watch");
}

#[test]
fn nobody_watches_during_the_grace() {
    let (mut population, alice, bob) = two();
    population.disconnect(bob);
    for n in 1..4 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    let calls = population.calls.len();
    population.visit(alice, "https://example.com/4");
    assert_eq!(population.calls.len(), calls);
    let bob = population.connect("bob");
    assert_eq!(population.snapshot(bob).presence_arr[0].page.as_ref().unwrap().url, "https://example.com/4");
}

#[test]
fn a_user_who_watches_again_after_sleep_queries_only_friends_who_are_online() {
    let mut population =
        Population::new(&["alice", "bob", "carol", "dave"], &[("alice", "bob"), ("alice", "carol"), ("alice", "dave")]);
    let (carol, bob) = (population.connect("carol"), population.connect("bob"));
    let alice = population.connect("alice");
    population.say(alice, AWAY);
    population.say(carol, r#"{"action":"goodbye"}"#);
    let left_at = population.now;
    for _ in 0..2 {
        population.hibernate("alice");
        population.visit(alice, "https://example.com/");
    }
    population.hibernate("alice");
    population.visit(bob, "https://example.com/bob");
    population.seen(alice);
    let calls = population.calls.len();
    population.say(alice, WATCH);
    let asked: Vec<_> = population.calls.iter().skip(calls).map(|(peer, _)| peer.clone()).collect();
    assert_eq!(asked, [id("bob")]);
    let snapshot = population.snapshot(alice);
    let of = |name: &str| snapshot.presence_arr.iter().find(|friend| friend.user_id == id(name)).unwrap();
    assert_eq!(of("bob").page.as_ref().unwrap().url, "https://example.com/bob");
    assert_eq!((of("carol").page.clone(), of("carol").last_seen_at), (None, Some(left_at)));
    assert_eq!((of("dave").page.clone(), of("dave").last_seen_at), (None, None));
}

#[test]
fn an_absent_friend_who_comes_back_after_sleep_is_shown() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let alice = population.connect("alice");
    population.seen(alice);
    population.hibernate("alice");
    population.connect("bob");
    assert_eq!(population.update(alice).user_id, id("bob"));
}
