//! Rule 8: deployments, and sockets that are lost without a word.

use presence::Reply;
use shared::{
    internal::{PeerAnswer, PeerSay},
    share_policy::ShareMode,
    wire::ServerMessage,
};

use crate::town::{TIMEOUT_MS, Town, id, two};

const GOODBYE: &str = r#"{"action":"goodbye"}"#;

#[test]
fn a_user_who_reconnects_after_a_deployment_shows_what_is_true_now() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(alice, "https://example.com/old");
    town.seen(bob);
    town.redeploy("alice");
    let alice = town.connect("alice");
    assert_eq!(town.update(bob).url, "");
    town.visit(alice, "https://example.com/new");
    assert_eq!(town.update(bob).url, "https://example.com/new");
}

#[test]
fn a_user_who_never_comes_back_after_a_deployment_is_gone_at_the_next_alarm() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (_alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.seen(bob);
    town.pass_ms(TIMEOUT_MS - 1);
    town.heartbeat(bob);
    town.redeploy("alice");
    town.alarm("alice");
    assert!(
        matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { user_id, .. }] if *user_id == id("alice"))
    );
}

#[test]
fn a_friend_who_spoke_between_a_deployment_and_the_reconnect_still_hears_what_is_true_now() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(alice, "https://example.com/old");
    town.redeploy("alice");
    town.visit(bob, "https://example.com/bob");
    town.seen(bob);
    town.connect("alice");
    assert_eq!(town.update(bob).url, "");
}

#[test]
fn a_list_that_was_caught_up_with_between_a_deployment_and_the_reconnect_is_asked_for_no_more() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob")]);
    town.connect("alice");
    town.core_is_away = true;
    let [_missing, _] = town.befriend("alice", "carol");
    let [for_alice, _] = town.unfriend("alice", "bob");
    town.deliver([for_alice]);
    town.redeploy("alice");
    let social = town.social("alice");
    town.load("alice", social);
    town.core_is_away = false;
    town.evict("alice");
    let alice = town.connect("alice");
    town.pass_ms(5_000);
    let core_calls = town.core_calls;
    for _ in 0..3 {
        town.hibernate("alice");
        town.visit(alice, "https://example.com/");
        town.pass_ms(5_000);
    }
    assert_eq!(town.core_calls, core_calls);
}

#[test]
fn friends_who_come_back_after_a_deployment_ask_each_of_them_once() {
    let names = ["alice", "bob", "chris", "dana"];
    let pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)].map(|(a, b)| (names[a], names[b]));
    let mut town = Town::new(&names, &pairs);
    for name in names {
        town.connect(name);
    }
    town.pass_ms(5_000);
    for name in names {
        town.redeploy(name);
    }
    town.calls.clear();
    for name in names {
        town.connect(name);
    }
    assert_eq!(town.calls.len(), 2 * pairs.len());
    for name in names {
        let Reply::All(all) = town.read(name, None) else { panic!("a snapshot") };
        assert!(all.presence_arr.iter().all(|friend| friend.page.is_some()), "{all:?}");
    }
}

#[test]
fn what_was_in_front_on_a_socket_that_went_with_memory_is_shown_no_more() {
    let (mut town, first, bob) = two();
    town.visit(first, "https://example.com/1");
    let second = town.connect("alice");
    town.visit(second, "https://example.com/2");
    town.connect("alice");
    town.pass_ms(20_000);
    town.seen(bob);
    town.lose(second);
    town.alarm("alice");
    assert_eq!(town.update(bob).url, "https://example.com/1");
}

#[test]
fn what_only_a_socket_knew_that_went_with_memory_is_shown_no_more() {
    let (mut town, first, bob) = two();
    town.visit(first, "https://example.com/1");
    town.redeploy("alice");
    let first = town.connect("alice");
    town.visit(first, "https://example.com/1");
    town.pass_ms(20_000);
    town.seen(bob);
    let second = town.connect("alice");
    town.visit(second, "https://example.com/2");
    let told = town.update(bob);
    assert_eq!(told.url, "https://example.com/2");
    town.pass_ms(20_000);
    town.lose(second);
    town.alarm("alice");
    let after = town.update(bob);
    assert_eq!(after.url, "https://example.com/1");
    assert!(after.seq > told.seq);
}

#[test]
fn a_friend_of_whom_only_a_lost_socket_knew_hears_that_the_user_left() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let first = town.connect("alice");
    let second = town.connect("alice");
    town.visit(second, "https://example.com/2");
    let bob = town.connect("bob");
    town.pass_ms(20_000);
    town.seen(bob);
    town.lose(second);
    town.alarm("alice");
    town.visit(first, "https://example.com/1");
    assert!(!town.seen(bob).is_empty());
    town.say(first, GOODBYE);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_page_that_was_shown_last_stays_forgotten_though_a_lost_socket_knew_that_it_may_be_seen_no_more() {
    let (mut town, first, bob) = two();
    let second = town.connect("alice");
    town.visit(first, "https://github.com/1");
    town.visit(second, "https://github.com/2");
    town.visit(first, "");
    town.visit(second, "");
    let hides = town.set_share("alice", ShareMode::DefaultNone, &["example.com"], &[]);
    town.deliver([hides]);
    town.seen(bob);
    town.pass_ms(20_000);
    town.lose(second);
    town.alarm("alice");
    assert_eq!(town.update(bob).latest_url, "");
}

#[test]
fn whoever_vanished_on_a_socket_that_went_with_memory_was_seen_last_then() {
    let (mut town, _first, bob) = two();
    let second = town.connect("alice");
    town.visit(second, "https://example.com/2");
    town.seen(bob);
    town.say(second, r#"{"action":"set-visibility","invisible":true}"#);
    let vanished = town.seen(bob);
    assert!(matches!(vanished.as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    town.pass_ms(20_000);
    town.lose(second);
    town.alarm("alice");
    assert!(town.seen(bob).iter().all(|message| *message == vanished[0]));
    let Reply::All(own) = town.read("alice", None) else { panic!("alice reads of all") };
    let [ServerMessage::PresenceTimeout { last_seen_at, .. }] = vanished[..] else { panic!("alice vanished") };
    assert_eq!((own.user_presence.page, own.user_presence.last_seen_at), (None, last_seen_at));
}

#[test]
fn whoever_reads_after_a_deployment_and_has_not_come_back_is_not_shown_to_have() {
    let (mut town, _alice, bob) = two();
    town.redeploy("alice");
    let Reply::All(all) = town.read("alice", None) else { panic!("she reads of all") };
    assert!(all.presence_arr[0].page.is_some());
    assert_eq!(town.seen(bob), []);
}

#[test]
fn whoever_said_goodbye_has_left_by_any_clock() {
    let (mut town, alice, bob) = two();
    town.slow.insert(id("bob"));
    town.say(alice, GOODBYE);
    town.redeploy("alice");
    town.seen(bob);
    town.now = town.now.plus_ms(-400);
    town.begin_to_read("alice", None);
    assert_eq!(town.seen(bob), []);
}

#[test]
fn whoever_was_active_on_a_socket_that_went_with_memory_is_idle() {
    let (mut town, first, bob) = two();
    town.visit(first, "https://example.com/1");
    town.say(first, r#"{"action":"set-idle","idle":true}"#);
    let second = town.connect("alice");
    assert!(!town.seen(bob).is_empty(), "active again");
    town.pass_ms(20_000);
    town.lose(second);
    town.alarm("alice");
    assert!(town.update(bob).idle);
}

#[test]
fn whoever_vanished_and_lost_all_stays_where_they_were_seen_last() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.unreachable.insert(id("bob"));
    town.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    let last_seen_at = Some(town.now);
    town.seen(bob);
    town.pass_ms(1_000);
    town.redeploy("alice");
    let carol = town.connect("carol");
    let of_alice = &town.snapshot(carol).presence_arr[0];
    assert_eq!((of_alice.page.clone(), of_alice.last_seen_at), (None, last_seen_at));
    town.unreachable.clear();
    town.alarm("alice");
    town.pass_ms(4_000);
    assert_eq!(town.seen(bob), [ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at }]);
}

#[test]
fn what_is_missing_in_the_list_is_not_forgotten_by_losing_memory_twice() {
    // Alice has not come back yet, or has left and a friend has yet to hear it.
    for leaves in [false, true] {
        let (mut town, alice, _bob) = two();
        if leaves {
            town.unreachable.insert(id("bob"));
            town.say(alice, r#"{"action":"goodbye"}"#);
        } else {
            town.redeploy("alice");
        }
        town.core_is_away = true;
        town.change_silently("alice", |social| social.user.first_name = "Alicia".to_owned());
        let event = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
        town.deliver([event]);
        assert_eq!(town.saved("alice").state.behind, Some(3));
        let seq = town.saved("alice").state.seq;
        town.evict("alice");
        town.core_is_away = false;
        town.connect("alice");
        town.pass_ms(30_000);
        assert_eq!(town.kept("alice").unwrap().user.first_name, "Alicia");
        assert!(town.saved("alice").state.seq >= seq);
    }
}

#[test]
fn without_sockets_storage_knows_the_newest_change_that_was_told() {
    // Alice has not come back yet, or has left and a friend has yet to hear it.
    for leaves in [false, true] {
        let (mut town, alice, _bob) = two();
        town.unreachable.insert(id("bob"));
        town.visit(alice, "https://example.com/1");
        if leaves {
            town.say(alice, r#"{"action":"goodbye"}"#);
            town.evict("alice");
            town.alarm("alice");
        } else {
            town.redeploy("alice");
        }
        let question = town.message("bob", 1, PeerSay::Peek);
        let (PeerAnswer::Online { seq, .. } | PeerAnswer::Offline { seq, .. }) = town.speak("alice", question) else {
            panic!("alice is a friend");
        };
        assert!(town.saved("alice").state.seq >= seq);
    }
}

#[test]
fn a_friendship_made_between_a_deployment_and_the_reconnect_shows_both() {
    let mut town = Town::new(&["bob", "carol"], &[]);
    town.connect("bob");
    town.redeploy("bob");
    let events = town.befriend("carol", "bob");
    town.deliver(events);
    let carol = town.connect("carol");
    town.seen(carol);
    let bob = town.connect("bob");
    assert!(town.snapshot(bob).presence_arr[0].page.is_some(), "carol is there");
    assert_eq!(town.update(carol).user_id, id("bob"));
}
