//! Rule 5 and the order of what friends say: only friends, both ways, and never an older state after a
//! newer one.

use presence::{Effect, Event, ReadId, Reply, Times, UserPresence};
use shared::{
    ids::SocketId,
    internal::{Interest, PeerAnswer, PeerMessage, PeerSay},
    limits::PEER_LATE_MS,
    wire::{PageView, ServerMessage},
};
use uuid::Uuid;

use crate::town::{GRACE_MS, TOKEN_MS, Town, id, showing, two};

#[test]
fn a_stranger_gets_nothing_and_learns_nothing() {
    let mut town = Town::new(&["alice", "bob", "eve"], &[("alice", "bob")]);
    let (alice, eve) = (town.connect("alice"), town.connect("eve"));
    town.seen(alice);
    town.seen(eve);
    town.visit(alice, "https://example.com/");
    assert_eq!(town.seen(eve), []);
    let say = PeerSay::Hello { presence: showing("eve", "https://example.com/eve", town.now) };
    let message = town.message("eve", 9, say);
    town.seen(alice);
    assert_eq!(town.speak("alice", message), PeerAnswer::NotFriends);
    assert_eq!(town.seen(alice), []);
    assert_eq!(town.read("eve", Some("alice")), Reply::NotFriends);
}

#[test]
fn someone_who_never_was_here_tells_nothing_to_anybody() {
    let mut town = Town::new(&["alice"], &[]);
    let message = town.message("eve", 1, PeerSay::Peek);
    assert_eq!(
        town.speak("alice", message),
        PeerAnswer::Offline { seq: 0, last_seen_at: None, wants: Interest::Nothing }
    );
    assert_eq!(town.saves, 0);
}

#[test]
fn one_who_learns_that_they_are_no_friend_fetches_the_list_anew() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.seen(alice);
    let [_, for_bob] = town.unfriend("alice", "bob");
    town.deliver([for_bob]);
    assert!(matches!(town.seen(bob).last(), Some(ServerMessage::FriendRemoved { .. })));
    // Alice's event is late; her next page tells her.
    town.visit(alice, "https://example.com/");
    assert!(town.seen(alice).contains(&ServerMessage::PresenceTimeout { user_id: id("bob"), last_seen_at: None }));
    assert_eq!(town.seen(bob), []);
    assert_eq!(town.read("alice", Some("bob")), Reply::NotFriends);
}

#[test]
fn one_who_seems_to_be_no_friend_is_not_brought_back_by_an_old_message() {
    let (mut town, alice, bob) = two();
    town.visit(alice, "https://example.com/1");
    let seq = town.update(bob).seq;
    let old = PeerSay::Presence { presence: showing("alice", "https://example.com/1", town.now) };
    let old = town.message("alice", seq, old);
    town.visit(alice, "https://example.com/2");
    let [for_alice, _] = town.unfriend("alice", "bob");
    town.deliver([for_alice]);
    town.core_is_away = true;
    town.visit(bob, "https://example.com/bob");
    assert_eq!(
        town.seen(bob).last(),
        Some(&ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: None })
    );
    town.speak("bob", old);
    assert_eq!(town.seen(bob), []);
}

#[test]
fn an_older_state_never_follows_a_newer_one() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = town.connect("bob");
    town.pass_ms(PEER_LATE_MS);
    town.seen(bob);
    let speak = |town: &mut Town, say, seq| {
        let message = town.message("alice", seq, say);
        town.speak("bob", message);
    };
    let now = town.now;
    let at = |url: &str| PeerSay::Presence { presence: showing("alice", url, now) };
    speak(&mut town, at("https://example.com/2"), 2);
    town.seen(bob);
    speak(&mut town, at("https://example.com/1"), 1);
    speak(&mut town, at("https://example.com/2"), 2);
    assert_eq!(town.seen(bob), []);
    let left = town.now;
    speak(&mut town, PeerSay::Bye { last_seen_at: left }, 3);
    assert_eq!(town.seen(bob), [ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(left) }]);
    speak(&mut town, at("https://example.com/2"), 2);
    assert_eq!(town.seen(bob), [], "a late update must not raise the dead");
}

#[test]
fn a_second_farewell_is_told_to_nobody() {
    let (mut town, alice, bob) = two();
    town.say(alice, r#"{"action":"goodbye"}"#);
    assert_eq!(town.seen(bob).len(), 1);
    let again = town.message("alice", u64::MAX - 1, PeerSay::Bye { last_seen_at: town.now });
    town.speak("bob", PeerMessage { wants: Interest::Nothing, ..again });
    assert_eq!(town.seen(bob), []);
}

#[test]
fn when_somebody_left_whom_nobody_saw_come_is_known_after_sleep_too() {
    let (mut town, alice, _) = two();
    town.say(alice, r#"{"action":"goodbye"}"#);
    let left = town.now.plus_ms(3_000);
    let again = town.message("alice", u64::MAX - 1, PeerSay::Bye { last_seen_at: left });
    town.speak("bob", PeerMessage { wants: Interest::Nothing, ..again });
    town.hibernate("bob");
    let Reply::All(all) = town.read("bob", None) else { panic!("bob has friends") };
    assert_eq!(all.presence_arr[0].last_seen_at, Some(left));
}

#[test]
fn a_late_farewell_takes_nobody_out_of_the_audience() {
    let (mut town, alice, bob) = two();
    let late = town.message("bob", 1, PeerSay::Bye { last_seen_at: town.now });
    town.speak("alice", PeerMessage { wants: Interest::Nothing, ..late });
    town.visit(alice, "https://example.com/1");
    assert_eq!(town.update(bob).url, "https://example.com/1");
}

#[test]
fn the_offline_are_dropped_from_the_audience() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.disconnect(bob);
    town.pass_ms(GRACE_MS);
    let calls = town.calls.len();
    town.visit(alice, "https://example.com/");
    assert_eq!(town.calls.len(), calls);
}

#[test]
fn a_friend_who_cannot_be_reached_holds_up_no_snapshot() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    town.connect("bob");
    town.unreachable.insert(id("bob"));
    let alice = town.connect("alice");
    assert_eq!(town.snapshot(alice).presence_arr[0].page, None);
}

#[test]
fn one_who_is_offline_sees_friends_by_asking_and_keeps_nothing_of_it() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.disconnect(bob);
    town.pass_ms(GRACE_MS);
    for n in ["1", "2"] {
        town.visit(alice, &format!("https://example.com/{n}"));
        let Reply::One(Some(page)) = town.read("bob", Some("alice")) else { panic!("a page") };
        assert_eq!(page.url, format!("https://example.com/{n}"));
    }
    town.seen(alice);
    let Reply::All(all) = town.read("bob", None) else { panic!("a snapshot") };
    assert_eq!(all.user_presence.page, None);
    assert!(all.user_presence.last_seen_at.is_some());
    assert_eq!(town.seen(alice), [], "asking is not coming online");
}

#[test]
fn a_friend_whose_version_writes_what_this_one_cannot_read_is_there_and_no_more() {
    let (town, _, _) = two();
    let now = town.now;
    let mut bob = UserPresence::restore(id("bob"), Times::default(), town.saved("bob"), Vec::new(), now);
    bob.handle(Event::SocketOpened { socket: SocketId(Uuid::from_u128(99)), expires_at: now.plus_ms(TOKEN_MS) }, now);
    let presence = serde_json::from_str(r#"{"type":"update-presence","userId":"alice"}"#).unwrap();
    let answer = PeerAnswer::Online { seq: u64::MAX / 2, presence, wants: Interest::Pages };
    bob.handle(Event::PeerAnswered { peer: id("alice"), answer }, now);
    let all = bob.handle(Event::Read { read: ReadId(1), friend: None }, now);
    let [Effect::Reply { reply: Reply::All(all), .. }] = all.as_slice() else { panic!("a snapshot, not {all:?}") };
    assert_eq!(all.presence_arr[0].page, Some(PageView::default()));
}
