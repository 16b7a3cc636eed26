//! Deployments, and sockets that are lost without a close.

use presence::Reply;
use shared::{
    internal::{PeerAnswer, PeerSay},
    share_policy::ShareMode,
    wire::ServerMessage,
};

use crate::population::{Population, TIMEOUT_MS, id, two};

const GOODBYE: &str = r#"{"action":"goodbye"}"#;

#[test]
fn a_user_who_reconnects_after_a_deployment_shows_what_is_true_now() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(alice, "https://example.com/old");
    population.seen(bob);
    population.redeploy("alice");
    let alice = population.connect("alice");
    assert_eq!(population.update(bob).url, "");
    population.visit(alice, "https://example.com/new");
    assert_eq!(population.update(bob).url, "https://example.com/new");
}

#[test]
fn a_user_who_never_comes_back_after_a_deployment_is_gone_at_the_next_alarm() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (_alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.seen(bob);
    population.pass_ms(TIMEOUT_MS - 1);
    population.heartbeat(bob);
    population.redeploy("alice");
    population.alarm("alice");
    assert!(
        matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { user_id, .. }] if *user_id == id("alice"))
    );
}

#[test]
fn a_friend_who_spoke_between_a_deployment_and_the_reconnect_still_hears_what_is_true_now() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(alice, "https://example.com/old");
    population.redeploy("alice");
    population.visit(bob, "https://example.com/bob");
    population.seen(bob);
    population.connect("alice");
    assert_eq!(population.update(bob).url, "");
}

#[test]
fn a_list_that_was_caught_up_with_between_a_deployment_and_the_reconnect_is_asked_for_no_more() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob")]);
    population.connect("alice");
    population.core_is_away = true;
    let [_missing, _] = population.befriend("alice", "carol");
    let [for_alice, _] = population.unfriend("alice", "bob");
    population.deliver([for_alice]);
    population.redeploy("alice");
    let social = population.social("alice");
    population.load("alice", social);
    population.core_is_away = false;
    population.evict("alice");
    let alice = population.connect("alice");
    population.pass_ms(5_000);
    let core_calls = population.core_calls;
    for _ in 0..3 {
        population.hibernate("alice");
        population.visit(alice, "https://example.com/");
        population.pass_ms(5_000);
    }
    assert_eq!(population.core_calls, core_calls);
}

#[test]
fn friends_who_come_back_after_a_deployment_ask_each_of_them_once() {
    let names = ["alice", "bob", "chris", "dana"];
    let pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)].map(|(a, b)| (names[a], names[b]));
    let mut population = Population::new(&names, &pairs);
    for name in names {
        population.connect(name);
    }
    population.pass_ms(5_000);
    for name in names {
        population.redeploy(name);
    }
    population.calls.clear();
    for name in names {
        population.connect(name);
    }
    assert_eq!(population.calls.len(), 2 * pairs.len());
    for name in names {
        let Reply::All(all) = population.read(name, None) else { panic!("a snapshot") };
        assert!(all.presence_arr.iter().all(|friend| friend.page.is_some()), "{all:?}");
    }
}

#[test]
fn the_page_of_a_socket_lost_with_memory_is_no_longer_shown() {
    let (mut population, first, bob) = two();
    population.visit(first, "https://example.com/1");
    let second = population.connect("alice");
    population.visit(second, "https://example.com/2");
    population.connect("alice");
    population.pass_ms(20_000);
    population.seen(bob);
    population.lose(second);
    population.alarm("alice");
    assert_eq!(population.update(bob).url, "https://example.com/1");
}

#[test]
fn a_change_that_only_a_socket_lost_with_memory_knew_is_followed_by_a_higher_seq() {
    let (mut population, first, bob) = two();
    population.visit(first, "https://example.com/1");
    population.redeploy("alice");
    let first = population.connect("alice");
    population.visit(first, "https://example.com/1");
    population.pass_ms(20_000);
    population.seen(bob);
    let second = population.connect("alice");
    population.visit(second, "https://example.com/2");
    let told = population.update(bob);
    assert_eq!(told.url, "https://example.com/2");
    population.pass_ms(20_000);
    population.lose(second);
    population.alarm("alice");
    let after = population.update(bob);
    assert_eq!(after.url, "https://example.com/1");
    assert!(after.seq > told.seq);
}

#[test]
fn a_friend_of_whom_only_a_lost_socket_knew_hears_that_the_user_left() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let first = population.connect("alice");
    let second = population.connect("alice");
    population.visit(second, "https://example.com/2");
    let bob = population.connect("bob");
    population.pass_ms(20_000);
    population.seen(bob);
    population.lose(second);
    population.alarm("alice");
    population.visit(first, "https://example.com/1");
    assert!(!population.seen(bob).is_empty());
    population.say(first, GOODBYE);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_latest_page_that_is_no_longer_allowed_stays_forgotten_when_the_newest_socket_is_lost() {
    let (mut population, first, bob) = two();
    let second = population.connect("alice");
    population.visit(first, "https://github.com/1");
    population.visit(second, "https://github.com/2");
    population.visit(first, "");
    population.visit(second, "");
    let hides = population.set_share("alice", ShareMode::DefaultNone, &["example.com"], &[]);
    population.deliver([hides]);
    population.seen(bob);
    population.pass_ms(20_000);
    population.lose(second);
    population.alarm("alice");
    assert_eq!(population.update(bob).latest_url, "");
}

#[test]
fn a_user_who_vanished_on_a_socket_lost_with_memory_was_last_seen_at_that_moment() {
    let (mut population, _first, bob) = two();
    let second = population.connect("alice");
    population.visit(second, "https://example.com/2");
    population.seen(bob);
    population.say(second, r#"{"action":"set-visibility","invisible":true}"#);
    let vanished = population.seen(bob);
    assert!(matches!(vanished.as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    population.pass_ms(20_000);
    population.lose(second);
    population.alarm("alice");
    assert!(population.seen(bob).iter().all(|message| *message == vanished[0]));
    let Reply::All(own) = population.read("alice", None) else { panic!("alice reads of all") };
    let [ServerMessage::PresenceTimeout { last_seen_at, .. }] = vanished[..] else { panic!("alice vanished") };
    assert_eq!((own.user_presence.page, own.user_presence.last_seen_at), (None, last_seen_at));
}

#[test]
fn a_read_after_a_deployment_does_not_show_that_the_user_is_back() {
    let (mut population, _alice, bob) = two();
    population.redeploy("alice");
    let Reply::All(all) = population.read("alice", None) else { panic!("she reads of all") };
    assert!(all.presence_arr[0].page.is_some());
    assert_eq!(population.seen(bob), []);
}

#[test]
fn a_user_who_said_goodbye_has_left_even_if_a_clock_is_behind() {
    let (mut population, alice, bob) = two();
    population.slow.insert(id("bob"));
    population.say(alice, GOODBYE);
    population.redeploy("alice");
    population.seen(bob);
    population.now = population.now.plus_ms(-400);
    population.begin_to_read("alice", None);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn a_user_whose_active_socket_was_lost_with_memory_is_idle() {
    let (mut population, first, bob) = two();
    population.visit(first, "https://example.com/1");
    population.say(first, r#"{"action":"set-idle","idle":true}"#);
    let second = population.connect("alice");
    assert!(!population.seen(bob).is_empty(), "active again");
    population.pass_ms(20_000);
    population.lose(second);
    population.alarm("alice");
    assert!(population.update(bob).idle);
}

#[test]
fn a_user_who_vanished_keeps_the_time_when_they_were_last_seen_after_a_deployment() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.unreachable.insert(id("bob"));
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    let last_seen_at = Some(population.now);
    population.seen(bob);
    population.pass_ms(1_000);
    population.redeploy("alice");
    let carol = population.connect("carol");
    let of_alice = &population.snapshot(carol).presence_arr[0];
    assert_eq!((of_alice.page.clone(), of_alice.last_seen_at), (None, last_seen_at));
    population.unreachable.clear();
    population.alarm("alice");
    population.pass_ms(4_000);
    assert_eq!(population.seen(bob), [ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at }]);
}

#[test]
fn a_gap_in_the_list_is_not_forgotten_when_memory_is_lost_twice() {
    // Alice has not come back yet, or has left and a friend has yet to hear it.
    for leaves in [false, true] {
        let (mut population, alice, _bob) = two();
        if leaves {
            population.unreachable.insert(id("bob"));
            population.say(alice, r#"{"action":"goodbye"}"#);
        } else {
            population.redeploy("alice");
        }
        population.core_is_away = true;
        population.change_silently("alice", |social| social.user.first_name = "Alicia".to_owned());
        let event = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
        population.deliver([event]);
        assert_eq!(population.saved("alice").state.missing_up_to, Some(3));
        let seq = population.saved("alice").state.seq;
        population.evict("alice");
        population.core_is_away = false;
        population.connect("alice");
        population.pass_ms(30_000);
        assert_eq!(population.kept("alice").unwrap().user.first_name, "Alicia");
        assert!(population.saved("alice").state.seq >= seq);
    }
}

#[test]
fn without_sockets_storage_knows_the_newest_change_that_was_told() {
    // Alice has not come back yet, or has left and a friend has yet to hear it.
    for leaves in [false, true] {
        let (mut population, alice, _bob) = two();
        population.unreachable.insert(id("bob"));
        population.visit(alice, "https://example.com/1");
        if leaves {
            population.say(alice, r#"{"action":"goodbye"}"#);
            population.evict("alice");
            population.alarm("alice");
        } else {
            population.redeploy("alice");
        }
        let question = population.message("bob", 1, PeerSay::Peek);
        let (PeerAnswer::Online { seq, .. } | PeerAnswer::Offline { seq, .. }) = population.speak("alice", question)
        else {
            panic!("alice is a friend");
        };
        assert!(population.saved("alice").state.seq >= seq);
    }
}

#[test]
fn a_friendship_made_between_a_deployment_and_the_reconnect_shows_both() {
    let mut population = Population::new(&["bob", "carol"], &[]);
    population.connect("bob");
    population.redeploy("bob");
    let events = population.befriend("carol", "bob");
    population.deliver(events);
    let carol = population.connect("carol");
    population.seen(carol);
    let bob = population.connect("bob");
    assert!(population.snapshot(bob).presence_arr[0].page.is_some(), "carol is there");
    assert_eq!(population.update(carol).user_id, id("bob"));
}
