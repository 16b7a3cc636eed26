//! How much a client may do, and for how long: bursts, bad messages, sockets, tokens; and leaving on purpose.

use presence::{HeartbeatMode, ReadId, Reply, limits::SNAPSHOT_WAITERS_MAX};
use shared::{
    ids::SocketId,
    wire::{CloseCode, ErrorCode, HEARTBEAT_REQUEST, ServerMessage},
};

use crate::population::{GRACE_MS, Population, TOKEN_MS, id, two};

/// Alice and bob have been online for so long that a full burst of changes is allowed again.
fn two_at_rest() -> (Population, SocketId, SocketId) {
    let (mut population, alice, bob) = two();
    population.pass_ms(20_000);
    (population, alice, bob)
}

fn urls(messages: &[ServerMessage]) -> Vec<String> {
    let url = |message: &ServerMessage| {
        let ServerMessage::UpdatePresence(update) = message else { panic!("an update, not {message:?}") };
        update.url.clone()
    };
    messages.iter().map(url).collect()
}

#[test]
fn a_burst_shows_ten_changes_at_once_then_one_a_second_and_always_the_newest() {
    let (mut population, alice, bob) = two_at_rest();
    let (calls, saves) = (population.calls.len(), population.saves);
    for n in 0..25 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    let seen = population.seen(bob);
    assert_eq!(urls(&seen), (0..10).map(|n| format!("https://example.com/{n}")).collect::<Vec<_>>());
    population.pass_ms(999);
    assert_eq!(population.seen(bob), []);
    population.pass_ms(1);
    assert_eq!(urls(&population.seen(bob)), ["https://example.com/24"]);
    population.visit(alice, "https://example.com/last");
    population.pass_ms(1_000);
    assert_eq!(urls(&population.seen(bob)), ["https://example.com/last"]);
    population.pass_ms(30_000);
    assert_eq!(population.seen(bob), []);
    assert_eq!((population.calls.len(), population.saves), (calls + 12, saves));
}

#[test]
fn a_change_throttled_as_memory_was_lost_is_published_by_the_next_event() {
    let (mut population, alice, bob) = two_at_rest();
    for n in 0..15 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    let before = population.seen(bob).len();
    assert_eq!(before, 10);
    population.evict("alice");
    population.alarm("alice");
    population.pass_ms(1_000);
    assert_eq!(urls(&population.seen(bob)).last().unwrap(), "https://example.com/14");
}

#[test]
fn a_change_that_was_undone_before_its_turn_is_not_told() {
    let (mut population, alice, bob) = two_at_rest();
    for n in 0..10 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    population.seen(bob);
    population.visit(alice, "https://example.com/other");
    population.visit(alice, "https://example.com/9");
    population.pass_ms(10_000);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn too_many_messages_get_an_error_but_the_newest_still_counts_and_even_more_close_the_socket() {
    let (mut population, alice, bob) = two_at_rest();
    for n in 0..30 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    let is_complaint =
        |message: &ServerMessage| matches!(message, ServerMessage::Error { code: ErrorCode::RateLimited, .. });
    assert!(!population.seen(alice).iter().any(is_complaint));
    population.visit(alice, "https://example.com/newest");
    assert!(population.seen(alice).iter().any(is_complaint));
    population.pass_ms(9_999);
    assert_eq!(urls(&population.seen(bob)).last().unwrap(), "https://example.com/newest");
    // The window is over.
    population.pass_ms(1);
    population.visit(alice, "https://example.com/calm");
    assert!(!population.seen(alice).iter().any(is_complaint));

    for _ in 0..59 {
        assert_eq!(population.closed.get(&alice), None);
        population.visit(alice, "https://example.com/fast");
    }
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::TooFast));
}

#[test]
fn heartbeats_in_their_exact_bytes_do_not_count_as_messages() {
    let (mut population, alice, _) = two_at_rest();
    for _ in 0..100 {
        population.say(alice, HEARTBEAT_REQUEST);
    }
    assert_eq!(population.seen(alice), vec![ServerMessage::Heartbeat; 100]);
}

#[test]
fn heartbeats_in_other_bytes_are_answered_and_count_as_messages() {
    let (mut population, alice, _) = two_at_rest();
    let long = format!(r#"{{"action":"heartbeat","padding":"{}"}}"#, " ".repeat(7_000));
    for n in 0..59 {
        assert_eq!(population.closed.get(&alice), None, "{n}");
        population.say(alice, if n % 2 == 0 { &long } else { r#"{"action": "heartbeat"}"# });
        assert_eq!(population.seen(alice)[0], ServerMessage::Heartbeat);
    }
    population.say(alice, &long);
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::TooFast));
}

#[test]
fn heartbeats_do_not_count_where_the_object_answers_them() {
    let (mut population, alice, _) = two_at_rest();
    population.heartbeat_mode = HeartbeatMode::Wake;
    population.hibernate("alice");
    for _ in 0..100 {
        population.say(alice, HEARTBEAT_REQUEST);
        population.say(alice, r#"{"action": "heartbeat"}"#);
    }
    assert_eq!(population.seen(alice), vec![ServerMessage::Heartbeat; 200]);
}

/// Lets so much time pass that a loss of memory counts as sleep. Then alice's memory is lost if `memory_goes`.
fn sleep(population: &mut Population, memory_goes: bool) {
    population.pass_ms(10_000);
    if memory_goes {
        population.evict("alice");
    }
}

#[test]
fn a_user_who_keeps_connecting_and_leaving_queries_friends_ten_times_and_then_once_in_ten_seconds() {
    for memory_goes in [false, true] {
        let (mut population, alice, _) = two_at_rest();
        population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
        population.disconnect(alice);
        population.pass_ms(100_000);
        population.calls.clear();
        for _ in 0..40 {
            let socket = population.connect("alice");
            population.disconnect(socket);
        }
        assert_eq!(population.calls.len(), 10);
        for n in 11..15 {
            sleep(&mut population, memory_goes);
            for _ in 0..3 {
                let socket = population.connect("alice");
                population.disconnect(socket);
            }
            assert_eq!(population.calls.len(), n);
        }
    }
}

#[test]
fn a_get_that_would_query_friends_too_often_is_told_when_to_come_back() {
    for friend in [None, Some("bob")] {
        for memory_goes in [false, true] {
            let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
            population.connect("bob");
            for _ in 0..10 {
                assert!(matches!(population.read("alice", friend), Reply::All(_) | Reply::One(Some(_))));
            }
            let calls = population.calls.len();
            population.pass_ms(3_500);
            assert_eq!(population.read("alice", friend), Reply::TooMany { retry_after_ms: 6_500 });
            assert_eq!(population.read("alice", Some("alice")), Reply::One(None));
            assert_eq!(population.read("alice", Some("carol")), Reply::NotFriends);
            assert_eq!(population.calls.len(), calls);
            sleep(&mut population, memory_goes);
            assert!(matches!(population.read("alice", friend), Reply::All(_) | Reply::One(Some(_))));
            assert!(matches!(population.read("alice", friend), Reply::TooMany { .. }));
            assert_eq!(population.calls.len(), calls + 1);
        }
    }
}

#[test]
fn a_snapshot_that_would_query_friends_too_often_waits_even_if_memory_is_lost() {
    for memory_goes in [false, true] {
        let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
        let bob = population.connect("bob");
        population.visit(bob, "https://example.com/");
        for _ in 0..11 {
            population.read("alice", None);
        }
        let (first, second) = (population.connect("alice"), population.connect("alice"));
        population.seen(bob);
        population.pass_ms(9_999);
        if memory_goes {
            population.evict("alice");
            population.alarm("alice");
        }
        assert_eq!((population.seen(first), population.seen(second), population.seen(bob)), (vec![], vec![], vec![]));
        population.pass_ms(1);
        for socket in [first, second] {
            assert_eq!(population.snapshot(socket).presence_arr[0].page.as_ref().unwrap().url, "https://example.com/");
        }
        assert_eq!(population.update(bob).user_id, id("alice"));
        assert!(matches!(population.read("alice", None), Reply::All(_)), "what is known asks nobody");
    }
}

#[test]
fn waiting_for_answers_that_are_on_their_way_does_not_count_as_a_query() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    population.connect("bob");
    population.slow.insert(id("bob"));
    let reads: Vec<_> = (0..30).map(|_| population.begin_to_read("alice", None)).collect();
    population.answers_arrive();
    for read in reads {
        assert!(matches!(population.reply(read), Reply::All(_)));
    }
    for _ in 0..9 {
        assert!(matches!(population.read("alice", None), Reply::All(_)));
    }
    assert!(matches!(population.read("alice", None), Reply::TooMany { .. }));
}

/// The extension connects, sends one `GET`, reports pages and reconnects after each break. The web client sends a `GET` when it
/// is opened, and one every minute while nobody is connected.
#[test]
fn published_clients_ordinary_traffic_never_waits() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    population.connect("bob");
    for _ in 0..20 {
        assert!(matches!(population.read("alice", None), Reply::All(_)));
        let socket = population.connect("alice");
        assert_eq!(population.snapshot(socket).presence_arr.len(), 1);
        assert!(matches!(population.read("alice", None), Reply::All(_)));
        population.visit(socket, "https://example.com/");
        population.pass_ms(60_000);
        population.disconnect(socket);
        for _ in 0..3 {
            population.pass_ms(60_000);
            assert!(matches!(population.read("alice", None), Reply::All(_)));
        }
    }
}

#[test]
fn the_tenth_bad_message_in_a_minute_closes_the_socket_even_over_losses_of_memory() {
    let (mut population, alice, _) = two_at_rest();
    let is_refusal =
        |message: &ServerMessage| matches!(message, ServerMessage::Error { code: ErrorCode::BadMessage, .. });
    for _ in 0..9 {
        population.say(alice, r#"{"action":"dance"}"#);
        assert!(matches!(population.seen(alice).as_slice(), [only] if is_refusal(only)));
        population.pass_ms(1_000);
    }
    population.hibernate("alice");
    assert_eq!(population.closed.get(&alice), None);
    population.say(alice, "{}");
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::BadMessages));
}

#[test]
fn nine_bad_messages_a_minute_do_not_close_the_socket() {
    let (mut population, alice, _) = two_at_rest();
    for _ in 0..4 {
        for _ in 0..9 {
            population.say(alice, "[]");
        }
        population.heartbeat(alice);
        population.pass_ms(60_000);
    }
    assert_eq!(population.closed.get(&alice), None);
}

#[test]
fn one_socket_more_than_ten_closes_the_oldest_and_friends_notice_nothing() {
    let (mut population, alice, bob) = two_at_rest();
    let mut sockets = vec![alice];
    for _ in 0..9 {
        population.pass_ms(1);
        sockets.push(population.connect("alice"));
    }
    assert!(population.closed.is_empty());
    for oldest in &sockets[..2] {
        population.pass_ms(1);
        assert_eq!(population.closed.get(oldest), None);
        let newest = population.connect("alice");
        assert_eq!(population.closed.get(oldest), Some(&CloseCode::TooManySockets));
        assert_eq!(population.closed.get(&newest), None);
    }
    assert_eq!(population.closed.len(), 2);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn a_socket_ends_with_its_token_unless_a_fresh_one_comes() {
    let (mut population, alice, bob) = two_at_rest();
    let second = population.connect("alice");
    let live = |population: &mut Population, ms: i64| {
        for _ in 0..ms / 60_000 {
            for socket in [alice, second, bob] {
                population.heartbeat(socket);
            }
            population.pass_ms(60_000);
        }
    };
    live(&mut population, TOKEN_MS / 2);
    population.say(second, r#"{"action":"authenticate","token":"good"}"#);
    population.seen(second);
    live(&mut population, TOKEN_MS / 2);
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::TokenExpired));
    assert_eq!(population.closed.get(&second), None);
    live(&mut population, TOKEN_MS / 2);
    assert_eq!(population.closed.get(&second), Some(&CloseCode::TokenExpired));
}

#[test]
fn a_fresh_token_survives_hibernation() {
    let mut population = Population::new(&["alice"], &[]);
    let alice = population.connect("alice");
    population.pass_ms(60_000);
    population.say(alice, r#"{"action":"authenticate","token":"good"}"#);
    population.hibernate("alice");
    for _ in 0..TOKEN_MS / 60_000 - 1 {
        population.heartbeat(alice);
        population.alarm("alice");
        population.pass_ms(60_000);
    }
    assert_eq!(population.closed.get(&alice), None);
}

#[test]
fn a_token_that_is_not_good_is_refused_and_one_that_cannot_be_checked_may_come_again() {
    let (mut population, alice, _) = two_at_rest();
    for (token, code) in [("bad", ErrorCode::BadMessage), ("unknown", ErrorCode::Unavailable)] {
        population.say(alice, &format!(r#"{{"action":"authenticate","token":"{token}"}}"#));
        let seen = population.seen(alice);
        assert!(matches!(seen.as_slice(), [ServerMessage::Error { code: got, .. }] if *got == code), "{seen:?}");
        assert!(!format!("{seen:?}").contains(&format!("\"{token}\"")));
    }
    for _ in 0..20 {
        population.say(alice, r#"{"action":"authenticate","token":"unknown"}"#);
        population.pass_ms(1_000);
    }
    assert_eq!(population.closed.get(&alice), None, "only bad ones count");
}

#[test]
fn a_goodbye_is_seen_at_once() {
    let (mut population, alice, bob) = two_at_rest();
    let left_at = population.now;
    // This needs no alarm, which would cost a row and wake the object.
    population.say(alice, r#"{"action":"goodbye"}"#);
    let gone = ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(left_at) };
    assert_eq!(population.seen(bob), [gone]);
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::Done));
}

#[test]
fn a_goodbye_from_one_of_two_devices_leaves_the_other() {
    let (mut population, alice, bob) = two_at_rest();
    let second = population.connect("alice");
    population.visit(second, "https://example.com/second");
    population.visit(alice, "https://example.com/first");
    population.seen(bob);
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.pass_ms(GRACE_MS);
    assert_eq!(urls(&population.seen(bob)), ["https://example.com/second"]);
}

#[test]
fn a_goodbye_after_many_changes_is_seen_when_its_turn_comes() {
    let (mut population, alice, bob) = two_at_rest();
    for number in 0..10 {
        population.visit(alice, &format!("https://example.com/{number}"));
    }
    population.seen(bob);
    population.say(alice, r#"{"action":"goodbye"}"#);
    assert_eq!(population.seen(bob), []);
    let last_seen_at = Some(population.now);
    population.pass_ms(1_000);
    assert_eq!(population.seen(bob), [ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at }]);
}

#[test]
fn coming_and_saying_goodbye_all_the_time_is_shown_no_more_often_than_page_changes() {
    let (mut population, alice, bob) = two_at_rest();
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.pass_ms(0);
    for _ in 0..50 {
        let socket = population.connect("alice");
        population.say(socket, r#"{"action":"goodbye"}"#);
        population.pass_ms(0);
    }
    assert!(population.seen(bob).len() <= 12);
    for _ in 0..20 {
        let socket = population.connect("alice");
        population.say(socket, r#"{"action":"goodbye"}"#);
        population.pass_ms(1_000);
    }
    assert!(population.seen(bob).len() <= 22);
    population.pass_ms(GRACE_MS);
    assert_eq!(population.read("bob", Some("alice")), Reply::One(None));
}

#[test]
fn a_read_while_many_wait_is_answered_with_what_is_known() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let bob = population.connect("bob");
    population.visit(bob, "https://example.com/b");
    population.slow.extend([id("bob"), id("carol")]);
    let waiting: Vec<ReadId> = (0..SNAPSHOT_WAITERS_MAX).map(|_| population.begin_to_read("alice", None)).collect();
    population.answer_arrives("bob");
    let page_of_bob = |reply: Reply| {
        let Reply::All(all) = reply else { panic!("she asked for all") };
        all.presence_arr[0].page.clone().map(|page| page.url)
    };
    let page = Some("https://example.com/b".to_owned());
    assert_eq!(page_of_bob(population.read("alice", None)), page);
    population.answer_arrives("carol");
    for read in waiting {
        assert_eq!(page_of_bob(population.reply(read)), page);
    }
}

#[test]
fn a_client_that_asks_again_and_again_to_watch_gets_one_snapshot() {
    let (mut population, alice, _bob) = two();
    population.hibernate("alice");
    population.slow.insert(id("bob"));
    for _ in 0..5 {
        population.say(alice, r#"{"action":"watch","watching":false}"#);
        population.say(alice, r#"{"action":"watch","watching":true}"#);
    }
    population.answer_arrives("bob");
    let snapshots =
        population.seen(alice).into_iter().filter(|message| matches!(message, ServerMessage::PresenceSnapshot(_)));
    assert_eq!(snapshots.count(), 1);
}
