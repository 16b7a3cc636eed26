//! Rules 1 and 4: who is online, from when until when, and who hears of it.

use shared::{
    limits::PEER_LATE_MS,
    wire::{CloseCode, PageView, ServerMessage},
};

use crate::town::{GRACE_MS, SLACK_MS, TIMEOUT_MS, TOKEN_MS, Town, id};

fn went_offline(name: &str, at: shared::time::Timestamp) -> ServerMessage {
    ServerMessage::PresenceTimeout { user_id: id(name), last_seen_at: Some(at) }
}

#[test]
fn coming_online_shows_each_friend_to_the_other_at_once() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    let alone = town.snapshot(bob);
    assert_eq!(alone.presence_arr[0].page, None);
    assert_eq!(alone.presence_arr[0].last_seen_at, None);
    assert_eq!(alone.user_presence.page, Some(PageView::default()));
    assert_eq!(alone.version, 1);

    let alice = town.connect("alice");
    assert_eq!(town.update(bob).user_id, id("alice"));
    let snapshot = town.snapshot(alice);
    assert_eq!(snapshot.presence_arr[0].user_id, id("bob"));
    assert_eq!(snapshot.presence_arr[0].page, Some(PageView::default()));
    assert_eq!(snapshot.user_info_map.len(), 2);
}

#[test]
fn connecting_costs_one_request_per_friend_and_one_core_call() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    town.connect("alice");
    assert_eq!((town.calls.len(), town.core_calls), (2, 1));
    town.connect("alice");
    assert_eq!((town.calls.len(), town.core_calls), (2, 1), "a second socket asks nobody again");
}

#[test]
fn friends_see_a_user_leave_when_the_grace_is_over() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (town.connect("bob"), town.connect("alice"));
    town.seen(bob);
    let left_at = town.now;
    town.disconnect(alice);
    town.pass_ms(GRACE_MS - 1);
    assert_eq!(town.seen(bob), []);
    town.pass_ms(1);
    assert_eq!(town.seen(bob), [went_offline("alice", left_at)]);

    let again = town.connect("bob");
    assert_eq!(town.snapshot(again).presence_arr[0].last_seen_at, Some(left_at));
}

#[test]
fn nobody_notices_a_reconnect_within_the_grace() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (town.connect("bob"), town.connect("alice"));
    town.visit(alice, "https://example.com/a");
    town.seen(bob);
    town.disconnect(alice);
    town.pass_ms(GRACE_MS - 1);
    let alice = town.connect("alice");
    town.visit(alice, "https://example.com/a");
    town.pass_ms(GRACE_MS);
    assert_eq!(town.seen(bob), []);
}

#[test]
fn nobody_notices_a_reconnect_within_the_grace_even_if_memory_was_lost_meanwhile() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (town.connect("bob"), town.connect("alice"));
    town.visit(alice, "https://example.com/a");
    town.seen(bob);
    town.disconnect(alice);
    town.evict("alice");
    // Within the last second, nobody could tell by which clock the grace is over.
    town.pass_ms(GRACE_MS - PEER_LATE_MS - 1);
    let alice = town.connect("alice");
    town.visit(alice, "https://example.com/a");
    assert_eq!(town.seen(bob), []);
    assert_eq!(town.snapshot(alice).user_presence.page.unwrap().url, "https://example.com/a");
}

#[test]
fn heartbeats_keep_a_user_online_and_wake_nobody_more_than_once_per_time_out() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (town.connect("bob"), town.connect("alice"));
    town.seen(bob);
    let saves = town.saves;
    for _ in 0..10 {
        town.pass_ms(60_000);
        town.heartbeat(alice);
        town.heartbeat(bob);
    }
    assert_eq!(town.seen(bob), []);
    assert_eq!(town.saves, saves);
    assert!(town.closed.is_empty());
}

#[test]
fn heartbeats_that_are_a_little_late_cost_one_look_in_three() {
    let mut town = Town::new(&["alice"], &[]);
    let alice = town.connect("alice");
    let wakes = town.wakes;
    for _ in 0..30 {
        town.pass_ms(60_100);
        town.heartbeat(alice);
    }
    assert!((9..=10).contains(&(town.wakes - wakes)), "{}", town.wakes - wakes);
}

#[test]
fn silence_times_out_and_closes_the_socket() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (town.connect("bob"), town.connect("alice"));
    town.seen(bob);
    town.pass_ms(60_000);
    town.heartbeat(alice);
    let last_heard_at = town.now;
    for _ in 0..3 {
        town.heartbeat(bob);
        town.pass_ms(TIMEOUT_MS / 3);
    }
    town.pass_ms(SLACK_MS);
    assert_eq!(town.seen(bob), [went_offline("alice", last_heard_at)]);
    assert_eq!(town.closed.get(&alice), Some(&CloseCode::Silent));
    assert_eq!(town.closed.len(), 1);
}

#[test]
fn a_dead_socket_is_closed_while_a_live_one_keeps_the_user_online() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, dead, live) = (town.connect("bob"), town.connect("alice"), town.connect("alice"));
    town.visit(live, "https://example.com/live");
    town.visit(dead, "https://example.com/dead");
    town.seen(bob);
    for _ in 0..4 {
        town.pass_ms(60_000);
        town.heartbeat(live);
        town.heartbeat(bob);
    }
    town.pass_ms(SLACK_MS);
    assert_eq!(town.closed.get(&dead), Some(&CloseCode::Silent));
    assert_eq!(town.closed.len(), 1);
    assert_eq!(town.update(bob).url, "https://example.com/live");
}

#[test]
fn an_offline_user_has_nothing_pending() {
    let mut town = Town::new(&["alice"], &[]);
    let alice = town.connect("alice");
    town.disconnect(alice);
    town.pass_ms(GRACE_MS);
    let saves = town.saves;
    town.pass_ms(100 * TIMEOUT_MS);
    assert_eq!(town.saves, saves);
}

#[test]
fn the_slow_spellings_of_a_heartbeat_are_answered_too() {
    let mut town = Town::new(&["alice"], &[]);
    let alice = town.connect("alice");
    town.seen(alice);
    town.say(alice, r#"{ "action" : "heartbeat" }"#);
    assert_eq!(town.seen(alice), [ServerMessage::Heartbeat]);
}

#[test]
fn whoever_is_silent_as_their_token_ends_is_gone_when_silence_would_have_been_noticed() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let alice = town.connect("alice");
    let mut passed_ms = 0;
    while passed_ms + TIMEOUT_MS - 10_000 < TOKEN_MS {
        town.pass_ms(10_000);
        town.heartbeat(alice);
        passed_ms += 10_000;
    }
    let last_seen = town.now;
    let bob = town.connect("bob");
    town.seen(bob);
    town.pass_ms(TOKEN_MS - passed_ms);
    assert_eq!(town.closed.get(&alice), Some(&CloseCode::TokenExpired));
    assert_eq!(town.seen(bob), [], "she may come back with another");
    town.pass_ms(last_seen.plus_ms(TIMEOUT_MS).unix_ms() - town.now.unix_ms());
    assert_eq!(town.seen(bob).len(), 1, "not a whole grace later");
}
