//! To be invisible is to be offline for everybody else, and to see them nonetheless.

use presence::Reply;
use shared::{
    ids::SocketId,
    internal::{Interest, PeerAnswer, PeerSay},
    wire::ServerMessage,
};

use crate::town::{GRACE_MS, Town, id, showing, two};

const INVISIBLE: &str = r#"{"action":"set-visibility","invisible":true}"#;
const VISIBLE: &str = r#"{"action":"set-visibility","invisible":false}"#;

/// Alice shows a page when it begins.
fn two_and_a_page() -> (Town, SocketId, SocketId) {
    let (mut town, alice, bob) = two();
    town.visit(alice, "https://example.com/before");
    town.seen(alice);
    town.seen(bob);
    (town, alice, bob)
}

#[test]
fn vanishing_looks_like_leaving_and_what_follows_is_seen_by_nobody() {
    let (mut town, alice, bob) = two_and_a_page();
    let vanished_at = town.now;
    town.say(alice, INVISIBLE);
    let gone = ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(vanished_at) };
    assert_eq!(town.seen(bob), std::slice::from_ref(&gone));
    assert_eq!(town.seen(alice), [gone], "the user's own devices show what friends see");
    town.pass_ms(60_000);
    town.visit(alice, "https://example.com/secret");
    town.connect("alice");
    town.say(alice, r#"{"action":"set-idle","idle":true}"#);
    town.disconnect(alice);
    town.pass_ms(GRACE_MS);
    town.connect("alice");
    assert_eq!(town.seen(bob), []);
    assert!(!format!("{:?}", town.calls).contains("secret"));
    assert_eq!(town.read("bob", Some("alice")), Reply::One(None));
    let second = town.connect("bob");
    assert_eq!(town.snapshot(second).presence_arr[0].last_seen_at, Some(vanished_at), "frozen");
}

/// All that bob's clients ever get or read of alice, who is gone for good or only looks it.
fn seen_of_alice(vanish: impl FnOnce(&mut Town, SocketId)) -> String {
    let (mut town, alice, bob) = two_and_a_page();
    vanish(&mut town, alice);
    let mut all = Vec::new();
    for _ in 0..3 {
        town.pass_ms(60_000);
        town.heartbeat(bob);
        town.hibernate("bob");
        let second = town.connect("bob");
        all.extend(town.seen(second));
        town.visit(second, "https://example.com/bob");
        town.disconnect(second);
        all.extend(town.seen(bob));
        all.push(ServerMessage::Error {
            code: shared::wire::ErrorCode::BadMessage,
            detail: format!("{:?} {:?}", town.read("bob", None), town.read("bob", Some("alice"))),
        });
    }
    let [_, for_bob] = town.unfriend("alice", "bob");
    town.deliver([for_bob]);
    all.extend(town.seen(bob));
    serde_json::to_string(&all).unwrap()
}

#[test]
fn an_invisible_user_is_byte_for_byte_an_offline_one() {
    let offline = seen_of_alice(|town, alice| {
        town.say(alice, r#"{"action":"goodbye"}"#);
        town.pass_ms(0);
    });
    let invisible = seen_of_alice(|town, alice| {
        town.say(alice, INVISIBLE);
        town.visit(alice, "https://example.com/secret");
        town.hibernate("alice");
    });
    // The nap in between is the only difference, and friends' clients do not see the time.
    let times = |text: &str| text.matches("lastSeenAt").count();
    assert_eq!(times(&offline), times(&invisible));
    assert_eq!(offline.replace(char::is_numeric, "0"), invisible.replace(char::is_numeric, "0"));
}

#[test]
fn the_invisible_still_see_their_friends() {
    let (mut town, alice, bob) = two_and_a_page();
    town.say(alice, INVISIBLE);
    town.seen(alice);
    town.visit(bob, "https://example.com/bob");
    assert_eq!(town.update(alice).url, "https://example.com/bob");
    town.say(bob, r#"{"action":"goodbye"}"#);
    town.pass_ms(0);
    assert!(matches!(town.seen(alice).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    let bob = town.connect("bob");
    town.visit(bob, "https://example.com/again");
    let last = town.seen(alice).pop().unwrap();
    assert!(matches!(last, ServerMessage::UpdatePresence(update) if update.url == "https://example.com/again"));
}

#[test]
fn one_who_connects_invisible_sees_all_and_is_seen_by_nobody() {
    let (mut town, alice, bob) = two_and_a_page();
    town.say(alice, INVISIBLE);
    town.disconnect(alice);
    town.pass_ms(GRACE_MS);
    town.seen(bob);
    town.visit(bob, "https://example.com/bob");
    town.seen(bob);
    let alice = town.connect("alice");
    let snapshot = town.snapshot(alice);
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/bob");
    assert_eq!(snapshot.user_presence.page, None);
    assert_eq!(town.seen(bob), []);
    town.visit(bob, "https://example.com/bob2");
    assert_eq!(town.update(alice).url, "https://example.com/bob2");
}

#[test]
fn to_be_visible_again_is_to_come_online_with_the_page_of_now_and_nothing_before_it() {
    let (mut town, alice, bob) = two_and_a_page();
    town.say(alice, INVISIBLE);
    town.visit(alice, "https://example.com/meanwhile");
    town.visit(alice, "https://secret.org/");
    town.seen(bob);
    town.say(alice, VISIBLE);
    let update = town.update(bob);
    assert_eq!((update.url.as_str(), update.latest_url.as_str()), ("", ""));
    town.visit(alice, "https://example.com/now");
    assert_eq!(town.update(bob).url, "https://example.com/now");
}

#[test]
fn visibility_is_kept_over_the_loss_of_memory_and_of_sockets() {
    let (mut town, alice, bob) = two_and_a_page();
    town.say(alice, INVISIBLE);
    town.seen(bob);
    town.hibernate("alice");
    town.visit(alice, "https://example.com/1");
    town.evict("alice");
    town.visit(alice, "https://example.com/2");
    town.redeploy("alice");
    let alice = town.connect("alice");
    town.visit(alice, "https://example.com/3");
    town.alarm("alice");
    assert_eq!(town.seen(bob), []);
    town.say(alice, VISIBLE);
    assert_eq!(town.update(bob).url, "https://example.com/3");
}

#[test]
fn hiding_never_waits_for_its_turn() {
    let (mut town, alice, bob) = two_and_a_page();
    for n in 0..20 {
        town.visit(alice, &format!("https://example.com/{n}"));
    }
    town.seen(bob);
    town.say(alice, INVISIBLE);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    town.say(alice, VISIBLE);
    assert_eq!(town.seen(bob), [], "to show does");
    town.pass_ms(1_000);
    assert_eq!(town.update(bob).url, "https://example.com/19");
}

#[test]
fn a_friend_who_says_hello_to_an_invisible_user_hears_what_an_offline_one_says() {
    let (mut town, alice, _) = two_and_a_page();
    town.say(alice, INVISIBLE);
    let presence = showing("bob", "", town.now);
    let hello = town.message("bob", u64::MAX - 1, PeerSay::Hello { presence });
    let answer = town.speak("alice", hello);
    assert!(matches!(answer, PeerAnswer::Offline { wants: Interest::Pages, .. }), "{answer:?}");
}

/// Alice is invisible, dave is offline, and bob sees neither.
fn one_in_hiding_and_one_away() -> (Town, SocketId, SocketId) {
    let mut town = Town::new(&["alice", "bob", "dave"], &[("alice", "bob"), ("bob", "dave")]);
    let (alice, bob, dave) = (town.connect("alice"), town.connect("bob"), town.connect("dave"));
    town.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    town.say(dave, r#"{"action":"goodbye"}"#);
    town.pass_ms(20_000);
    town.seen(bob);
    (town, alice, bob)
}

#[test]
fn who_loses_memory_is_told_of_the_invisible_what_they_are_told_of_the_offline() {
    let (mut town, _alice, bob) = one_in_hiding_and_one_away();
    town.visit(bob, "https://example.com/1");
    town.evict("bob");
    town.visit(bob, "https://example.com/2");
    town.pass_ms(5_000);
    let seen = town.seen(bob);
    let told = |name| seen.iter().filter(|message| format!("{message:?}").contains(name)).count();
    assert_eq!(told("alice"), told("dave"), "{seen:?}");
}

#[test]
fn whatever_becomes_of_an_invisible_user_nobody_hears_of_it() {
    let (mut town, alice, bob) = one_in_hiding_and_one_away();
    town.hibernate("bob");
    town.visit(alice, "https://example.com/1");
    town.evict("alice");
    town.visit(alice, "https://example.com/2");
    town.pass_ms(5_000);
    assert_eq!(town.seen(bob), []);
}
