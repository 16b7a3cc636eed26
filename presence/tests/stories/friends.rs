//! Only friends see each other, in both directions, and never an older state after a newer one.

use presence::{Effect, EngineConfig, Event, ReadId, Reply, UserPresence, limits::PEER_LATE_MS};
use shared::{
    ids::SocketId,
    internal::{Interest, PeerAnswer, PeerMessage, PeerSay},
    wire::{PageView, ServerMessage},
};
use uuid::Uuid;

use crate::population::{GRACE_MS, Population, TOKEN_MS, id, showing, two};

#[test]
fn a_stranger_gets_nothing_and_learns_nothing() {
    let mut population = Population::new(&["alice", "bob", "eve"], &[("alice", "bob")]);
    let (alice, eve) = (population.connect("alice"), population.connect("eve"));
    population.seen(alice);
    population.seen(eve);
    population.visit(alice, "https://example.com/");
    assert_eq!(population.seen(eve), []);
    let say = PeerSay::Hello { presence: showing("eve", "https://example.com/eve", population.now) };
    let message = population.message("eve", 9, say);
    population.seen(alice);
    assert_eq!(population.speak("alice", message), PeerAnswer::NotFriends);
    assert_eq!(population.seen(alice), []);
    assert_eq!(population.read("eve", Some("alice")), Reply::NotFriends);
}

#[test]
fn a_user_who_never_was_online_answers_as_offline_and_stores_nothing() {
    let mut population = Population::new(&["alice"], &[]);
    let message = population.message("eve", 1, PeerSay::Peek);
    assert_eq!(
        population.speak("alice", message),
        PeerAnswer::Offline { seq: 0, last_seen_at: None, wants: Interest::Nothing }
    );
    assert_eq!(population.saves, 0);
}

#[test]
fn a_user_who_is_answered_that_they_are_no_friend_fetches_the_list_again() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.seen(alice);
    let [_, for_bob] = population.unfriend("alice", "bob");
    population.deliver([for_bob]);
    assert!(matches!(population.seen(bob).last(), Some(ServerMessage::FriendRemoved { .. })));
    // Alice's event is late. She learns of it from the answer to her next page.
    population.visit(alice, "https://example.com/");
    assert!(
        population.seen(alice).contains(&ServerMessage::PresenceTimeout { user_id: id("bob"), last_seen_at: None })
    );
    assert_eq!(population.seen(bob), []);
    assert_eq!(population.read("alice", Some("bob")), Reply::NotFriends);
}

#[test]
fn a_friend_who_seemed_to_be_none_is_queried_again_even_if_they_queried_meanwhile() {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://example.com/");
    population.say(bob, r#"{"action":"watch","watching":false}"#);
    let [for_alice, _] = population.unfriend("alice", "bob");
    population.deliver([for_alice]);
    population.core_is_away = true;
    population.visit(bob, "https://example.com/bob");
    population.core_is_away = false;
    // They are friends again, but only alice's object knows it yet. She is invisible, so her query does not say that she is
    // online.
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    let left_at = population.now;
    let [for_alice, _] = population.befriend("alice", "bob");
    population.deliver([for_alice]);
    let Reply::All(everybody) = population.read("bob", None) else { panic!("bob is told nothing") };
    assert_eq!(everybody.presence_arr[0].last_seen_at, Some(left_at));
}

#[test]
fn a_friend_who_seems_to_be_none_is_not_brought_back_by_an_old_message() {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://example.com/1");
    let seq = population.update(bob).seq;
    let old = PeerSay::Presence { presence: showing("alice", "https://example.com/1", population.now) };
    let old = population.message("alice", seq, old);
    population.visit(alice, "https://example.com/2");
    let [for_alice, _] = population.unfriend("alice", "bob");
    population.deliver([for_alice]);
    population.core_is_away = true;
    population.visit(bob, "https://example.com/bob");
    assert_eq!(
        population.seen(bob).last(),
        Some(&ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: None })
    );
    population.speak("bob", old);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn an_older_state_never_follows_a_newer_one() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    population.pass_ms(PEER_LATE_MS);
    population.seen(bob);
    let speak = |population: &mut Population, say, seq| {
        let message = population.message("alice", seq, say);
        population.speak("bob", message);
    };
    let now = population.now;
    let at = |url: &str| PeerSay::Presence { presence: showing("alice", url, now) };
    speak(&mut population, at("https://example.com/2"), 2);
    population.seen(bob);
    speak(&mut population, at("https://example.com/1"), 1);
    speak(&mut population, at("https://example.com/2"), 2);
    assert_eq!(population.seen(bob), []);
    let left = population.now;
    speak(&mut population, PeerSay::Bye { last_seen_at: left }, 3);
    assert_eq!(
        population.seen(bob),
        [ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(left) }]
    );
    speak(&mut population, at("https://example.com/2"), 2);
    assert_eq!(population.seen(bob), [], "a late update must not raise the dead");
}

#[test]
fn a_second_farewell_is_told_to_nobody() {
    let (mut population, alice, bob) = two();
    population.say(alice, r#"{"action":"goodbye"}"#);
    assert_eq!(population.seen(bob).len(), 1);
    let again = population.message("alice", u64::MAX - 1, PeerSay::Bye { last_seen_at: population.now });
    population.speak("bob", PeerMessage { wants: Interest::Nothing, ..again });
    assert_eq!(population.seen(bob), []);
}

#[test]
fn the_time_of_a_second_farewell_is_known_after_sleep_too() {
    let (mut population, alice, _) = two();
    population.say(alice, r#"{"action":"goodbye"}"#);
    let left = population.now.plus_ms(3_000);
    let again = population.message("alice", u64::MAX - 1, PeerSay::Bye { last_seen_at: left });
    population.speak("bob", PeerMessage { wants: Interest::Nothing, ..again });
    population.hibernate("bob");
    let Reply::All(all) = population.read("bob", None) else { panic!("bob has friends") };
    assert_eq!(all.presence_arr[0].last_seen_at, Some(left));
}

#[test]
fn a_late_farewell_does_not_remove_a_subscriber() {
    let (mut population, alice, bob) = two();
    let late = population.message("bob", 1, PeerSay::Bye { last_seen_at: population.now });
    population.speak("alice", PeerMessage { wants: Interest::Nothing, ..late });
    population.visit(alice, "https://example.com/1");
    assert_eq!(population.update(bob).url, "https://example.com/1");
}

#[test]
fn a_friend_who_goes_offline_is_no_longer_a_subscriber() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.disconnect(bob);
    population.pass_ms(GRACE_MS);
    let calls = population.calls.len();
    population.visit(alice, "https://example.com/");
    assert_eq!(population.calls.len(), calls);
}

#[test]
fn a_friend_who_cannot_be_reached_holds_up_no_snapshot() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    population.connect("bob");
    population.unreachable.insert(id("bob"));
    let alice = population.connect("alice");
    assert_eq!(population.snapshot(alice).presence_arr[0].page, None);
}

#[test]
fn a_user_who_is_offline_sees_friends_by_reading_and_keeps_nothing_of_it() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.disconnect(bob);
    population.pass_ms(GRACE_MS);
    for n in ["1", "2"] {
        population.visit(alice, &format!("https://example.com/{n}"));
        let Reply::One(Some(page)) = population.read("bob", Some("alice")) else { panic!("a page") };
        assert_eq!(page.url, format!("https://example.com/{n}"));
    }
    population.seen(alice);
    let Reply::All(all) = population.read("bob", None) else { panic!("a snapshot") };
    assert_eq!(all.user_presence.page, None);
    assert!(all.user_presence.last_seen_at.is_some());
    assert_eq!(population.seen(alice), [], "asking is not coming online");
}

#[test]
fn a_friend_whose_presence_this_version_cannot_read_is_online_without_a_page() {
    let (population, _, _) = two();
    let now = population.now;
    let mut bob = UserPresence::restore(id("bob"), EngineConfig::default(), population.saved("bob"), Vec::new(), now);
    bob.handle(Event::SocketOpened { socket: SocketId(Uuid::from_u128(99)), expires_at: now.plus_ms(TOKEN_MS) }, now);
    let presence = serde_json::from_str(r#"{"type":"update-presence","userId":"alice"}"#).unwrap();
    let answer = PeerAnswer::Online { seq: u64::MAX / 2, presence, wants: Interest::Pages };
    bob.handle(Event::PeerAnswered { peer: id("alice"), answer }, now);
    let all = bob.handle(Event::Read { read: ReadId(1), friend: None }, now);
    let [Effect::Reply { reply: Reply::All(all), .. }] = all.as_slice() else { panic!("a snapshot, not {all:?}") };
    assert_eq!(all.presence_arr[0].page, Some(PageView::default()));
}
