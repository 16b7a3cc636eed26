//! Who does not watch is not told of pages, and costs nothing while pages change.

use shared::wire::ServerMessage;

use crate::town::{Town, id, two};

const AWAY: &str = r#"{"action":"watch","watching":false}"#;
const WATCH: &str = r#"{"action":"watch","watching":true}"#;

#[test]
fn a_user_who_stops_watching_tells_nobody_and_is_left_out_after_one_more_page() {
    let (mut town, alice, bob) = two();
    let calls = town.calls.len();
    town.say(bob, AWAY);
    assert_eq!(town.calls.len(), calls);
    town.visit(alice, "https://example.com/1");
    assert_eq!(town.calls.len(), calls + 1);
    for n in 2..8 {
        town.visit(alice, &format!("https://example.com/{n}"));
    }
    assert_eq!(town.calls.len(), calls + 1);
    assert_eq!(town.seen(bob), []);
}

#[test]
fn being_left_out_outlives_hibernation() {
    let (mut town, alice, bob) = two();
    town.say(bob, AWAY);
    town.visit(alice, "https://example.com/1");
    town.hibernate("alice");
    town.hibernate("bob");
    let (calls, saves) = (town.calls.len(), town.saves);
    town.visit(alice, "https://example.com/2");
    assert_eq!((town.calls.len(), town.saves), (calls, saves));
    town.say(alice, r#"{"action":"goodbye"}"#);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]), "of that they hear");
}

#[test]
fn watching_again_outlives_hibernation() {
    let (mut town, alice, bob) = two();
    town.say(bob, AWAY);
    town.visit(alice, "https://example.com/1");
    town.say(bob, WATCH);
    town.seen(bob);
    town.hibernate("alice");
    town.visit(alice, "https://example.com/2");
    assert_eq!(town.update(bob).url, "https://example.com/2");
}

#[test]
fn whoever_watches_again_is_up_to_date_from_then_on() {
    let (mut town, alice, bob) = two();
    town.say(alice, AWAY);
    town.visit(bob, "https://example.com/1");
    town.say(alice, WATCH);
    let calls = town.calls.len();
    town.connect("alice");
    assert_eq!(town.calls.len(), calls, "nothing has changed since");
}

#[test]
fn whoever_left_the_user_out_without_news_is_asked_too() {
    let (mut town, alice, bob) = two();
    town.visit(bob, "https://example.com/1");
    town.say(alice, AWAY);
    // Bob's object lost its memory, asks who is there, and hears that alice does not watch.
    town.evict("bob");
    town.alarm("bob");
    town.seen(alice);
    town.visit(bob, "https://example.com/2");
    town.say(alice, WATCH);
    assert_eq!(town.snapshot(alice).presence_arr[0].page.as_ref().unwrap().url, "https://example.com/2");
}

#[test]
fn who_reappears_before_sleep_does_not_come_again_after_it() {
    let (mut town, away, bob) = two();
    town.say(away, AWAY);
    let alice = town.connect("alice");
    town.say(bob, r#"{"action":"set-visibility","invisible":true}"#);
    town.say(bob, r#"{"action":"set-visibility","invisible":false}"#);
    town.hibernate("alice");
    town.seen(away);
    town.seen(alice);
    town.visit(bob, "https://example.com/1");
    assert_eq!(town.update(alice).url, "https://example.com/1");
    assert_eq!(town.seen(away), []);
}

#[test]
fn watching_again_brings_a_fresh_snapshot_and_then_every_page() {
    let (mut town, alice, bob) = two();
    town.say(bob, AWAY);
    for n in 1..4 {
        town.visit(alice, &format!("https://example.com/{n}"));
    }
    town.say(bob, WATCH);
    let snapshot = town.snapshot(bob);
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/3");
    town.visit(alice, "https://example.com/4");
    assert_eq!(town.update(bob).url, "https://example.com/4");
    town.say(bob, WATCH);
    assert_eq!(town.seen(bob), [], "it watches already");
}

#[test]
fn watching_again_asks_only_friends_who_left_the_user_out() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, bob, _carol) = (town.connect("alice"), town.connect("bob"), town.connect("carol"));
    town.say(alice, AWAY);
    town.visit(bob, "https://example.com/bob");
    let calls = town.calls.len();
    town.seen(alice);
    town.say(alice, WATCH);
    assert_eq!(town.calls.len(), calls + 1);
    town.snapshot(alice);
}

#[test]
fn who_does_not_watch_still_sees_friends_come_and_go() {
    let (mut town, alice, bob) = two();
    town.say(bob, AWAY);
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.pass_ms(0);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    let alice = town.connect("alice");
    assert_eq!(town.update(bob).url, "");
    town.visit(alice, "https://example.com/");
    assert_eq!(town.seen(bob), []);
}

#[test]
fn of_two_sockets_only_the_one_that_watches_gets_pages() {
    let (mut town, alice, bob) = two();
    let second = town.connect("bob");
    town.seen(second);
    town.say(bob, AWAY);
    town.visit(alice, "https://example.com/");
    assert_eq!(town.seen(bob), []);
    assert_eq!(town.update(second).url, "https://example.com/");
    town.visit(second, "https://example.com/own");
    assert_eq!(town.seen(bob), []);
    assert_eq!(town.update(second).url, "https://example.com/own");
}

#[test]
fn one_who_comes_online_is_told_nothing_more_than_who_watches() {
    let (mut town, alice, bob) = two();
    town.say(bob, AWAY);
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.pass_ms(0);
    let alice = town.connect("alice");
    let calls = town.calls.len();
    town.visit(alice, "https://example.com/");
    assert_eq!(town.calls.len(), calls, "bob said with his answer that he does not watch");
}

#[test]
fn nobody_watches_during_the_grace() {
    let (mut town, alice, bob) = two();
    town.disconnect(bob);
    for n in 1..4 {
        town.visit(alice, &format!("https://example.com/{n}"));
    }
    let calls = town.calls.len();
    town.visit(alice, "https://example.com/4");
    assert_eq!(town.calls.len(), calls);
    let bob = town.connect("bob");
    assert_eq!(town.snapshot(bob).presence_arr[0].page.as_ref().unwrap().url, "https://example.com/4");
}

#[test]
fn whoever_watches_again_after_sleep_asks_only_those_who_are_there() {
    let mut town =
        Town::new(&["alice", "bob", "carol", "dave"], &[("alice", "bob"), ("alice", "carol"), ("alice", "dave")]);
    let (carol, bob) = (town.connect("carol"), town.connect("bob"));
    let alice = town.connect("alice");
    town.say(alice, AWAY);
    town.say(carol, r#"{"action":"goodbye"}"#);
    let left_at = town.now;
    for _ in 0..2 {
        town.hibernate("alice");
        town.visit(alice, "https://example.com/");
    }
    town.hibernate("alice");
    town.visit(bob, "https://example.com/bob");
    town.seen(alice);
    let calls = town.calls.len();
    town.say(alice, WATCH);
    let asked: Vec<_> = town.calls.iter().skip(calls).map(|(peer, _)| peer.clone()).collect();
    assert_eq!(asked, [id("bob")]);
    let snapshot = town.snapshot(alice);
    let of = |name: &str| snapshot.presence_arr.iter().find(|friend| friend.user_id == id(name)).unwrap();
    assert_eq!(of("bob").page.as_ref().unwrap().url, "https://example.com/bob");
    assert_eq!((of("carol").page.clone(), of("carol").last_seen_at), (None, Some(left_at)));
    assert_eq!((of("dave").page.clone(), of("dave").last_seen_at), (None, None));
}

#[test]
fn an_absent_friend_who_comes_back_after_sleep_is_shown() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let alice = town.connect("alice");
    town.seen(alice);
    town.hibernate("alice");
    town.connect("bob");
    assert_eq!(town.update(alice).user_id, id("bob"));
}
