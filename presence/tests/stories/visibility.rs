//! An invisible user is offline for everybody else, and still sees the others.

use presence::Reply;
use shared::{
    ids::SocketId,
    internal::{Interest, PeerAnswer, PeerSay},
    wire::ServerMessage,
};

use crate::population::{GRACE_MS, Population, id, showing, two};

const INVISIBLE: &str = r#"{"action":"set-visibility","invisible":true}"#;
const VISIBLE: &str = r#"{"action":"set-visibility","invisible":false}"#;

/// Alice and bob, where alice shows a page.
fn two_and_a_page() -> (Population, SocketId, SocketId) {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://example.com/before");
    population.seen(alice);
    population.seen(bob);
    (population, alice, bob)
}

#[test]
fn vanishing_looks_like_leaving_and_what_follows_is_seen_by_nobody() {
    let (mut population, alice, bob) = two_and_a_page();
    let vanished_at = population.now;
    population.say(alice, INVISIBLE);
    let gone = ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(vanished_at) };
    assert_eq!(population.seen(bob), std::slice::from_ref(&gone));
    assert_eq!(population.seen(alice), [gone], "the user's own devices show what friends see");
    population.pass_ms(60_000);
    population.visit(alice, "https://example.com/secret");
    population.connect("alice");
    population.say(alice, r#"{"action":"set-idle","idle":true}"#);
    population.disconnect(alice);
    population.pass_ms(GRACE_MS);
    population.connect("alice");
    assert_eq!(population.seen(bob), []);
    assert!(!format!("{:?}", population.calls).contains("secret"));
    assert_eq!(population.read("bob", Some("alice")), Reply::One(None));
    let second = population.connect("bob");
    assert_eq!(population.snapshot(second).presence_arr[0].last_seen_at, Some(vanished_at), "frozen");
}

/// Everything that bob's clients get or read of alice after she left or vanished.
fn seen_of_alice(vanish: impl FnOnce(&mut Population, SocketId)) -> String {
    let (mut population, alice, bob) = two_and_a_page();
    vanish(&mut population, alice);
    let mut all = Vec::new();
    for _ in 0..3 {
        population.pass_ms(60_000);
        population.heartbeat(bob);
        population.hibernate("bob");
        let second = population.connect("bob");
        all.extend(population.seen(second));
        population.visit(second, "https://example.com/bob");
        population.disconnect(second);
        all.extend(population.seen(bob));
        all.push(ServerMessage::Error {
            code: shared::wire::ErrorCode::BadMessage,
            detail: format!("{:?} {:?}", population.read("bob", None), population.read("bob", Some("alice"))),
        });
    }
    let [_, for_bob] = population.unfriend("alice", "bob");
    population.deliver([for_bob]);
    all.extend(population.seen(bob));
    serde_json::to_string(&all).unwrap()
}

#[test]
fn an_invisible_user_is_byte_for_byte_an_offline_one() {
    let offline = seen_of_alice(|population, alice| {
        population.say(alice, r#"{"action":"goodbye"}"#);
        population.pass_ms(0);
    });
    let invisible = seen_of_alice(|population, alice| {
        population.say(alice, INVISIBLE);
        population.visit(alice, "https://example.com/secret");
        population.hibernate("alice");
    });
    // Only numbers may differ, because alice's object sleeps for a while in one of the two stories.
    let times = |text: &str| text.matches("lastSeenAt").count();
    assert_eq!(times(&offline), times(&invisible));
    assert_eq!(offline.replace(char::is_numeric, "0"), invisible.replace(char::is_numeric, "0"));
}

#[test]
fn the_invisible_still_see_their_friends() {
    let (mut population, alice, bob) = two_and_a_page();
    population.say(alice, INVISIBLE);
    population.seen(alice);
    population.visit(bob, "https://example.com/bob");
    assert_eq!(population.update(alice).url, "https://example.com/bob");
    population.say(bob, r#"{"action":"goodbye"}"#);
    population.pass_ms(0);
    assert!(matches!(population.seen(alice).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    let bob = population.connect("bob");
    population.visit(bob, "https://example.com/again");
    let last = population.seen(alice).pop().unwrap();
    assert!(matches!(last, ServerMessage::UpdatePresence(update) if update.url == "https://example.com/again"));
}

#[test]
fn a_user_who_connects_while_invisible_sees_all_and_is_seen_by_nobody() {
    let (mut population, alice, bob) = two_and_a_page();
    population.say(alice, INVISIBLE);
    population.disconnect(alice);
    population.pass_ms(GRACE_MS);
    population.seen(bob);
    population.visit(bob, "https://example.com/bob");
    population.seen(bob);
    let alice = population.connect("alice");
    let snapshot = population.snapshot(alice);
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/bob");
    assert_eq!(snapshot.user_presence.page, None);
    assert_eq!(population.seen(bob), []);
    population.visit(bob, "https://example.com/bob2");
    assert_eq!(population.update(alice).url, "https://example.com/bob2");
}

#[test]
fn a_user_who_becomes_visible_comes_online_with_the_current_page_and_nothing_before_it() {
    let (mut population, alice, bob) = two_and_a_page();
    population.say(alice, INVISIBLE);
    population.visit(alice, "https://example.com/meanwhile");
    population.visit(alice, "https://secret.org/");
    population.seen(bob);
    population.say(alice, VISIBLE);
    let update = population.update(bob);
    assert_eq!((update.url.as_str(), update.latest_url.as_str()), ("", ""));
    population.visit(alice, "https://example.com/now");
    assert_eq!(population.update(bob).url, "https://example.com/now");
}

#[test]
fn visibility_is_kept_over_the_loss_of_memory_and_of_sockets() {
    let (mut population, alice, bob) = two_and_a_page();
    population.say(alice, INVISIBLE);
    population.seen(bob);
    population.hibernate("alice");
    population.visit(alice, "https://example.com/1");
    population.evict("alice");
    population.visit(alice, "https://example.com/2");
    population.redeploy("alice");
    let alice = population.connect("alice");
    population.visit(alice, "https://example.com/3");
    population.alarm("alice");
    assert_eq!(population.seen(bob), []);
    population.say(alice, VISIBLE);
    assert_eq!(population.update(bob).url, "https://example.com/3");
}

#[test]
fn hiding_never_waits_for_its_turn() {
    let (mut population, alice, bob) = two_and_a_page();
    for n in 0..20 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    population.seen(bob);
    population.say(alice, INVISIBLE);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
    population.say(alice, VISIBLE);
    assert_eq!(population.seen(bob), [], "to show does");
    population.pass_ms(1_000);
    assert_eq!(population.update(bob).url, "https://example.com/19");
}

#[test]
fn an_invisible_user_answers_a_hello_as_offline() {
    let (mut population, alice, _) = two_and_a_page();
    population.say(alice, INVISIBLE);
    let presence = showing("bob", "", population.now);
    let hello = population.message("bob", u64::MAX - 1, PeerSay::Hello { presence });
    let answer = population.speak("alice", hello);
    assert!(matches!(answer, PeerAnswer::Offline { wants: Interest::Pages, .. }), "{answer:?}");
}

/// Alice is invisible, dave is offline, and bob sees neither.
fn one_in_hiding_and_one_away() -> (Population, SocketId, SocketId) {
    let mut population = Population::new(&["alice", "bob", "dave"], &[("alice", "bob"), ("bob", "dave")]);
    let (alice, bob, dave) = (population.connect("alice"), population.connect("bob"), population.connect("dave"));
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    population.say(dave, r#"{"action":"goodbye"}"#);
    population.pass_ms(20_000);
    population.seen(bob);
    (population, alice, bob)
}

#[test]
fn after_a_loss_of_memory_clients_get_the_same_of_an_invisible_friend_as_of_an_offline_one() {
    let (mut population, _alice, bob) = one_in_hiding_and_one_away();
    population.visit(bob, "https://example.com/1");
    population.evict("bob");
    population.visit(bob, "https://example.com/2");
    population.pass_ms(5_000);
    let seen = population.seen(bob);
    let told = |name| seen.iter().filter(|message| format!("{message:?}").contains(name)).count();
    assert_eq!(told("alice"), told("dave"), "{seen:?}");
}

#[test]
fn nobody_hears_of_what_happens_to_an_invisible_user() {
    let (mut population, alice, bob) = one_in_hiding_and_one_away();
    population.hibernate("bob");
    population.visit(alice, "https://example.com/1");
    population.evict("alice");
    population.visit(alice, "https://example.com/2");
    population.pass_ms(5_000);
    assert_eq!(population.seen(bob), []);
}
