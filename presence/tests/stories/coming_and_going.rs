//! Who is online, from when until when, and who hears of it.

use presence::limits::PEER_LATE_MS;
use shared::wire::{CloseCode, PageView, ServerMessage};

use crate::population::{GRACE_MS, Population, SLACK_MS, TIMEOUT_MS, TOKEN_MS, id};

fn went_offline(name: &str, at: shared::time::Timestamp) -> ServerMessage {
    ServerMessage::PresenceTimeout { user_id: id(name), last_seen_at: Some(at) }
}

#[test]
fn coming_online_shows_each_friend_to_the_other_at_once() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    let alone = population.snapshot(bob);
    assert_eq!(alone.presence_arr[0].page, None);
    assert_eq!(alone.presence_arr[0].last_seen_at, None);
    assert_eq!(alone.user_presence.page, Some(PageView::default()));
    assert_eq!(alone.version, 1);

    let alice = population.connect("alice");
    assert_eq!(population.update(bob).user_id, id("alice"));
    let snapshot = population.snapshot(alice);
    assert_eq!(snapshot.presence_arr[0].user_id, id("bob"));
    assert_eq!(snapshot.presence_arr[0].page, Some(PageView::default()));
    assert_eq!(snapshot.user_info_map.len(), 2);
}

#[test]
fn connecting_costs_one_request_per_friend_and_one_core_call() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    population.connect("alice");
    assert_eq!((population.calls.len(), population.core_calls), (2, 1));
    population.connect("alice");
    assert_eq!((population.calls.len(), population.core_calls), (2, 1), "a second socket asks nobody again");
}

#[test]
fn friends_see_a_user_leave_when_the_grace_is_over() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (population.connect("bob"), population.connect("alice"));
    population.seen(bob);
    let left_at = population.now;
    population.disconnect(alice);
    population.pass_ms(GRACE_MS - 1);
    assert_eq!(population.seen(bob), []);
    population.pass_ms(1);
    assert_eq!(population.seen(bob), [went_offline("alice", left_at)]);

    let again = population.connect("bob");
    assert_eq!(population.snapshot(again).presence_arr[0].last_seen_at, Some(left_at));
}

#[test]
fn nobody_notices_a_reconnect_within_the_grace() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (population.connect("bob"), population.connect("alice"));
    population.visit(alice, "https://example.com/a");
    population.seen(bob);
    population.disconnect(alice);
    population.pass_ms(GRACE_MS - 1);
    let alice = population.connect("alice");
    population.visit(alice, "https://example.com/a");
    population.pass_ms(GRACE_MS);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn nobody_notices_a_reconnect_within_the_grace_even_if_memory_was_lost_meanwhile() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (population.connect("bob"), population.connect("alice"));
    population.visit(alice, "https://example.com/a");
    population.seen(bob);
    population.disconnect(alice);
    population.evict("alice");
    // In the last second of the grace, another clock may already say that it is over.
    population.pass_ms(GRACE_MS - PEER_LATE_MS - 1);
    let alice = population.connect("alice");
    population.visit(alice, "https://example.com/a");
    assert_eq!(population.seen(bob), []);
    assert_eq!(population.snapshot(alice).user_presence.page.unwrap().url, "https://example.com/a");
}

#[test]
fn heartbeats_keep_a_user_online_and_store_nothing() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (population.connect("bob"), population.connect("alice"));
    population.seen(bob);
    let saves = population.saves;
    for _ in 0..10 {
        population.pass_ms(60_000);
        population.heartbeat(alice);
        population.heartbeat(bob);
    }
    assert_eq!(population.seen(bob), []);
    assert_eq!(population.saves, saves);
    assert!(population.closed.is_empty());
}

#[test]
fn heartbeats_that_are_a_little_late_cost_one_wake_up_for_every_three() {
    let mut population = Population::new(&["alice"], &[]);
    let alice = population.connect("alice");
    let wakes = population.wakes;
    for _ in 0..30 {
        population.pass_ms(60_100);
        population.heartbeat(alice);
    }
    assert!((9..=10).contains(&(population.wakes - wakes)), "{}", population.wakes - wakes);
}

#[test]
fn silence_times_out_and_closes_the_socket() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, alice) = (population.connect("bob"), population.connect("alice"));
    population.seen(bob);
    population.pass_ms(60_000);
    population.heartbeat(alice);
    let last_heard_at = population.now;
    for _ in 0..3 {
        population.heartbeat(bob);
        population.pass_ms(TIMEOUT_MS / 3);
    }
    population.pass_ms(SLACK_MS);
    assert_eq!(population.seen(bob), [went_offline("alice", last_heard_at)]);
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::Silent));
    assert_eq!(population.closed.len(), 1);
}

#[test]
fn a_dead_socket_is_closed_while_a_live_one_keeps_the_user_online() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (bob, dead, live) = (population.connect("bob"), population.connect("alice"), population.connect("alice"));
    population.visit(live, "https://example.com/live");
    population.visit(dead, "https://example.com/dead");
    population.seen(bob);
    for _ in 0..4 {
        population.pass_ms(60_000);
        population.heartbeat(live);
        population.heartbeat(bob);
    }
    population.pass_ms(SLACK_MS);
    assert_eq!(population.closed.get(&dead), Some(&CloseCode::Silent));
    assert_eq!(population.closed.len(), 1);
    assert_eq!(population.update(bob).url, "https://example.com/live");
}

#[test]
fn an_offline_user_has_nothing_pending() {
    let mut population = Population::new(&["alice"], &[]);
    let alice = population.connect("alice");
    population.disconnect(alice);
    population.pass_ms(GRACE_MS);
    let saves = population.saves;
    population.pass_ms(100 * TIMEOUT_MS);
    assert_eq!(population.saves, saves);
}

#[test]
fn a_heartbeat_in_another_spelling_is_answered_too() {
    let mut population = Population::new(&["alice"], &[]);
    let alice = population.connect("alice");
    population.seen(alice);
    population.say(alice, r#"{ "action" : "heartbeat" }"#);
    assert_eq!(population.seen(alice), [ServerMessage::Heartbeat]);
}

#[test]
fn a_silent_user_whose_token_ends_is_gone_when_silence_would_have_been_noticed() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let alice = population.connect("alice");
    let mut passed_ms = 0;
    while passed_ms + TIMEOUT_MS - 10_000 < TOKEN_MS {
        population.pass_ms(10_000);
        population.heartbeat(alice);
        passed_ms += 10_000;
    }
    let last_seen = population.now;
    let bob = population.connect("bob");
    population.seen(bob);
    population.pass_ms(TOKEN_MS - passed_ms);
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::TokenExpired));
    assert_eq!(population.seen(bob), [], "she may come back with another");
    population.pass_ms(last_seen.plus_ms(TIMEOUT_MS).unix_ms() - population.now.unix_ms());
    assert_eq!(population.seen(bob).len(), 1, "not a whole grace later");
}
