//! Hibernation, and the loss of memory between any two events.

use presence::{
    CachedSocial, Effect, EngineConfig, Event, Reply, Save, Saved, SavedState, UserPresence,
    limits::{ATTACHMENT_BYTES_MAX, LOST_MEMORY_MS, RETRIES_LEN_MAX, ROSTER_LEN_MAX},
};
use proptest::prelude::*;
use serde_json::json;
use shared::{
    ids::SocketId,
    internal::{Interest, PeerAnswer, PeerMessage, PeerSay, Social},
    limits::{TITLE_CHARS_MAX, URL_CHARS_MAX},
    time::Timestamp,
    wire::{PresenceUpdate, ServerMessage},
};
use uuid::Uuid;

use crate::population::{GRACE_MS, Population, TIMEOUT_MS, TOKEN_MS, id, showing, two};

const GOODBYE: &str = r#"{"action":"goodbye"}"#;

#[test]
fn after_hibernation_everything_goes_on_as_if_nothing_had_been() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.seen(bob);
    population.visit(alice, "https://example.com/1");
    let before = population.update(bob);
    population.hibernate("alice");
    population.hibernate("bob");
    let (saves, calls) = (population.saves, population.calls.len());
    population.visit(alice, "https://secret.org/");
    let after = population.update(bob);
    assert!(after.seq > before.seq);
    assert_eq!((after.url.as_str(), after.latest_url.as_str()), ("", "https://example.com/1"));
    assert_eq!((population.saves, population.calls.len()), (saves, calls + 1));
}

#[test]
fn an_object_knows_whether_it_slept_or_lost_its_memory_while_something_was_in_progress() {
    let (mut population, alice, _bob) = two();
    population.visit(alice, "https://example.com/1");
    population.hibernate("alice");
    assert!(population.has_slept("alice"));
    population.visit(alice, "https://example.com/2");
    population.evict("alice");
    assert!(!population.has_slept("alice"), "a moment ago she turned a page");
    population.say(alice, GOODBYE);
    population.hibernate("alice");
    assert!(!population.has_slept("alice"), "nothing brought her memory back");
}

#[test]
fn a_socket_that_opens_after_hibernation_still_gets_a_whole_snapshot() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, _bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(alice, "https://example.com/1");
    population.hibernate("bob");
    let second = population.connect("bob");
    let snapshot = population.snapshot(second);
    assert_eq!(snapshot.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/1");
}

#[test]
fn a_grace_goes_on_after_memory_was_lost() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.seen(bob);
    population.disconnect(alice);
    population.pass_ms(GRACE_MS - 5_000);
    population.evict("alice");
    population.alarm("alice");
    assert_eq!(population.seen(bob), [], "the grace is not over");
    population.pass_ms(5_000);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_page_throttled_as_the_last_socket_closed_is_one_change_of_its_own_after_memory_was_lost() {
    let (mut population, alice, bob) = two();
    for number in 0..10 {
        population.visit(alice, &format!("https://example.com/{number}"));
    }
    let Some(ServerMessage::UpdatePresence(before)) = population.seen(bob).pop() else { panic!("a page") };
    assert_ne!(before.url, "https://example.com/9", "it waits for its turn");
    population.disconnect(alice);
    population.evict("alice");
    population.begin_to_read("alice", None);
    let after = population.update(bob);
    assert_eq!(after.url, "https://example.com/9");
    assert!(after.seq > before.seq);
    assert_eq!(after.at, population.now);
    // It stays one change, however often memory is lost.
    population.evict("alice");
    population.pass_ms(1);
    population.begin_to_read("alice", None);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn a_page_throttled_as_memory_was_lost_is_the_latest_too_and_own_sockets_get_it() {
    let (mut population, alice, bob) = two();
    for number in 0..10 {
        population.visit(alice, &format!("https://example.com/{number}"));
    }
    population.seen(alice);
    population.seen(bob);
    population.evict("alice");
    population.alarm("alice");
    let (seen, friends) = (population.seen(alice), population.update(bob));
    let Some(ServerMessage::UpdatePresence(own)) = seen.first() else { panic!("her own page, not {seen:?}") };
    assert_eq!(own, &friends);
    assert_eq!((own.url.as_str(), own.latest_url.as_str()), ("https://example.com/9", "https://example.com/9"));
}

#[test]
fn where_the_clock_is_behind_a_page_change_brings_no_alarm_forward() {
    let (mut population, alice, _bob) = two();
    population.visit(alice, "https://example.com/1");
    let wake = population.next_wake("alice");
    population.evict("alice");
    population.now = population.now.plus_ms(-400);
    population.visit(alice, "https://example.com/2");
    assert!(population.next_wake("alice") >= wake);
}

#[test]
fn a_page_change_after_sleep_brings_no_alarm_forward_while_the_core_is_away_and_the_list_is_old() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob")]);
    let alice = population.connect("alice");
    population.core_is_away = true;
    let [_missing, _] = population.befriend("alice", "carol");
    let [for_alice, _] = population.unfriend("alice", "bob");
    population.deliver([for_alice]);
    let wake = population.next_wake("alice");
    assert!(wake < Some(population.now.plus_ms(TIMEOUT_MS)), "the core will be asked again");
    population.hibernate("alice");
    population.visit(alice, "https://example.com/1");
    assert!(population.next_wake("alice") >= wake);
    // Still, the core is asked.
    population.core_is_away = false;
    let core_calls = population.core_calls;
    population.hibernate("alice");
    population.visit(alice, "https://example.com/2");
    assert_eq!(population.core_calls, core_calls + 1);
    assert_eq!(population.kept("alice"), Some(population.social("alice")));
}

/// Alice with this many friends, of whom only the one named friend7 is online.
fn popular(friends: usize) -> (Population, SocketId, SocketId) {
    let names: Vec<String> = (0..friends).map(|n| format!("friend{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).chain(["alice"]).collect();
    let friendships: Vec<(&str, &str)> = names.iter().map(|name| ("alice", name.as_str())).collect();
    let mut population = Population::new(&all, &friendships);
    let (alice, friend) = (population.connect("alice"), population.connect("friend7"));
    population.seen(alice);
    population.seen(friend);
    (population, alice, friend)
}

#[test]
fn a_socket_carries_the_longest_page_and_which_of_the_most_friends_are_online() {
    let (mut population, alice, friend) = popular(ROSTER_LEN_MAX);
    // These are more friends than those for whom a socket carries when to call them again.
    let unreached: Vec<String> = (10..RETRIES_LEN_MAX + 50).map(|n| format!("friend{n}")).collect();
    for name in &unreached {
        population.connect(name);
    }
    population.unreachable.extend(unreached.iter().map(|name| id(name)));
    let url = format!("https://example.com/{}", "a".repeat(URL_CHARS_MAX - 20));
    turn_to(&mut population, alice, &url, &"😀".repeat(TITLE_CHARS_MAX));
    assert_eq!(population.update(friend).url, url);
    let bytes = population.attachment_bytes(alice);
    assert!((ATTACHMENT_BYTES_MAX / 2..=ATTACHMENT_BYTES_MAX).contains(&bytes), "{bytes}");
    // Between one retry and the next.
    population.pass_ms(16_000);
    population.hibernate("alice");
    let calls = population.calls.len();
    population.visit(alice, "https://example.com/");
    assert_eq!(population.calls.len(), calls + 1, "who is there, and who was not reached, is known after sleep");
    population.unreachable.clear();
    let calls = population.calls.len();
    population.sleep_until_alarm("alice");
    let called = |name: &&String| population.calls[calls..].iter().any(|(peer, _)| *peer == id(name));
    assert_eq!(unreached.iter().filter(called).count(), unreached.len());
}

fn turn_to(population: &mut Population, socket: SocketId, url: &str, title: &str) {
    population.say(socket, &json!({ "action": "update-presence", "url": url, "title": title }).to_string());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The contents that take most room when they are written down: escapes, long characters, two different pages, hundreds of
    /// absent friends.
    #[test]
    fn a_socket_carries_its_newest_page_through_sleep_whatever_is_in_it(
        friends in prop::sample::select(vec![10, 700, ROSTER_LEN_MAX]),
        pages in prop::collection::vec(("[\\\\'a]", "[\\\\\"é😀\u{FFFD}]{1,300}", any::<bool>()), 2),
        bad in 0..6,
    ) {
        let (mut population, alice, friend) = popular(friends);
        for _ in 0..bad {
            population.say(alice, r#"{"action":"dance"}"#);
        }
        for (filler, title, hidden) in pages {
            let site = if hidden { "https://a.hidden.org/?" } else { "https://example.com/?" };
            let title: String = title.chars().cycle().take(TITLE_CHARS_MAX).collect();
            let url = format!("{site}{}", filler.repeat(URL_CHARS_MAX - site.len()));
            turn_to(&mut population, alice, &url, &title);
            let bytes = population.attachment_bytes(alice);
            prop_assert!(bytes <= ATTACHMENT_BYTES_MAX, "{}", bytes);
            let shown = population.seen(friend);
            population.hibernate("alice");
            let calls = population.calls.len();
            turn_to(&mut population, alice, &url, &title);
            prop_assert_eq!((population.seen(friend), population.calls.len()), (vec![], calls), "it is the same page still: {:?}", shown);
        }
    }
}

#[test]
fn more_friends_than_a_socket_can_carry_all_count_as_online_after_sleep() {
    let (mut population, alice, friend) = popular(ROSTER_LEN_MAX + 1);
    assert!(population.attachment_bytes(alice) < ATTACHMENT_BYTES_MAX / 2);
    population.hibernate("alice");
    population.visit(alice, "https://example.com/1");
    assert_eq!(population.update(friend).url, "https://example.com/1");
    population.seen(alice);
    population.disconnect(friend);
    population.pass_ms(GRACE_MS);
    assert!(matches!(population.seen(alice).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn answers_are_noted_once_however_many_friends_answer() {
    let attachings = |friends: usize| {
        let (mut population, alice, _) = popular(friends);
        for n in (0..friends).filter(|n| *n != 7) {
            population.connect(&format!("friend{n}"));
        }
        population.disconnect(alice);
        population.pass_ms(GRACE_MS);
        let before = population.attachings;
        let alice = population.connect("alice");
        assert!(population.snapshot(alice).presence_arr.iter().all(|friend| friend.page.is_some()));
        // Each friend's socket is written once, to note that alice came.
        population.attachings - before - friends
    };
    assert_eq!(attachings(80), attachings(8));
}

#[test]
fn what_one_answer_says_outlives_memory_while_another_is_outstanding() {
    let friendships = [("alice", "bob"), ("alice", "carol")];
    let mut population = Population::new(&["alice", "bob", "carol"], &friendships);
    let (alice, bob, _) = (population.connect("alice"), population.connect("bob"), population.connect("carol"));
    population.unreachable.insert(id("alice"));
    population.say(bob, r#"{"action":"goodbye"}"#);
    population.hibernate("alice");
    // After this alarm, her socket carries that nothing is in progress.
    population.alarm("alice");
    population.slow.extend([id("bob"), id("carol")]);
    population.begin_to_read("alice", None);
    population.seen(alice);
    population.answer_arrives("bob");
    population.evict("alice");
    population.unreachable.clear();
    population.slow.clear();
    population.alarm("alice");
    let left = |message: &ServerMessage| matches!(message, ServerMessage::PresenceTimeout { user_id, .. } if *user_id == id("bob"));
    assert!(population.seen(alice).iter().any(left));
    let Reply::All(all) = population.read("alice", None) else { panic!("she asked for all") };
    let there: Vec<bool> = all.presence_arr.iter().map(|friend| friend.page.is_some()).collect();
    assert_eq!(there, [false, true]);
}

#[test]
fn an_alarm_that_hears_nothing_new_notes_nothing() {
    let (mut population, alice, _) = two();
    population.pass_ms(60_000);
    population.heartbeat(alice);
    population.alarm("alice");
    let noted = population.attachings;
    population.alarm("alice");
    assert_eq!(population.attachings, noted);
}

#[test]
fn friends_who_come_back_at_the_same_time_ask_each_other_once() {
    // Bob's answer was on its way. Meanwhile he changed pages, or did not.
    for (answered, said) in [(7, &[7][..]), (7, &[9]), (7, &[8, 9]), (7, &[9, 8])] {
        let (mut population, alice, bob) = two();
        population.visit(alice, "https://example.com/1");
        population.visit(bob, "https://example.com/2");
        let (saved, now) = (population.saved("alice"), population.now.plus_ms(500));
        let mut alice = UserPresence::restore(id("alice"), EngineConfig::default(), saved, Vec::new(), now);
        let opened = Event::SocketOpened { socket: SocketId(Uuid::from_u128(99)), expires_at: now.plus_ms(TOKEN_MS) };
        let calls = |effects: &[Effect]| effects.iter().filter(|e| matches!(e, Effect::CallPeers { .. })).count();
        assert_eq!(calls(&alice.handle(opened, now)), 1);
        let newest = *said.iter().max().unwrap();
        let at = |seq: u64| showing("bob", if seq == newest { "https://example.com/3" } else { "" }, population.now);
        for seq in said {
            let hello = population.message("bob", *seq, PeerSay::Hello { presence: at(*seq) });
            assert_eq!(calls(&alice.handle(Event::PeerSpoke { message: hello }, now)), 0);
        }
        let presence = at(answered);
        let answer = PeerAnswer::Online { seq: answered, presence, wants: Interest::Pages };
        let effects = alice.handle(Event::PeerAnswered { peer: id("bob"), answer }, now);
        assert_eq!(calls(&effects), 0);
        let sends = |effect: &&Effect| matches!(effect, Effect::Send { .. } | Effect::Show { .. });
        let shows = |effect: &Effect| {
            matches!(effect, Effect::Send { message: ServerMessage::PresenceSnapshot(snapshot), .. }
                if snapshot.presence_arr[0].page.as_ref().is_some_and(|page| page.url == "https://example.com/3"))
        };
        assert!(effects.iter().filter(sends).all(shows), "the newest that bob said, in {effects:?}");
        assert_eq!(effects.iter().filter(sends).count(), 1);
    }
}

#[test]
fn a_farewell_to_a_friend_whose_memory_was_just_lost_is_sent_again() {
    let (mut population, alice, bob) = two();
    population.visit(bob, "https://example.com/1");
    population.seen(bob);
    population.evict("bob");
    // Bob's object queries alice's to be sure, and never gets an answer.
    population.unanswering.insert(id("alice"));
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.evict("bob");
    population.pass_ms(4_000);
    assert!(matches!(population.seen(bob).last(), Some(ServerMessage::PresenceTimeout { .. })));
}

#[test]
fn an_old_message_of_a_friend_who_was_absent_before_sleep_is_not_trusted() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let bob = population.connect("bob");
    let alice = population.connect("alice");
    population.visit(bob, "https://example.com/1");
    let Some(ServerMessage::UpdatePresence(PresenceUpdate { seq, .. })) = population.seen(alice).pop() else {
        panic!("a page")
    };
    let presence = showing("bob", "https://example.com/1", population.now);
    let old = population.message("bob", seq, PeerSay::Presence { presence });
    population.say(bob, r#"{"action":"goodbye"}"#);
    population.seen(alice);
    population.hibernate("alice");
    population.speak("alice", PeerMessage { sent_at: population.now.plus_ms(-3_600_000), ..old });
    assert_eq!(population.seen(alice), []);
}

#[test]
fn a_friend_who_came_or_vanished_as_memory_was_lost_is_shown_so() {
    let away = r#"{"action":"watch","watching":false}"#;
    let invisible = |yes: bool| format!(r#"{{"action":"set-visibility","invisible":{yes}}}"#);
    // The change may have been noted although the clients never got the message.
    let lose = |population: &mut Population, alice| {
        population.seen(alice);
        population.evict("alice");
        population.visit(alice, "https://example.com/1");
        population.seen(alice).into_iter().find(|message| format!("{message:?}").contains("bob"))
    };
    let (mut population, alice, bob) = two();
    population.say(alice, away);
    population.say(bob, &invisible(true));
    population.pass_ms(2_000);
    assert!(matches!(lose(&mut population, alice), Some(ServerMessage::PresenceTimeout { .. })));
    population.evict("alice");
    population.say(bob, &invisible(false));
    assert_eq!(population.seen(alice).len(), 1, "noted and shown");
    assert!(matches!(lose(&mut population, alice), Some(ServerMessage::UpdatePresence(_))));
}

#[test]
fn a_farewell_to_an_unreachable_friend_is_sent_ever_more_rarely_even_if_memory_is_lost_each_time() {
    let (mut population, alice, _) = two();
    population.unreachable.insert(id("bob"));
    population.say(alice, GOODBYE);
    let until = population.now.plus_ms(3_600_000);
    let mut calls = Vec::new();
    while population.now < until {
        let wake = population.next_wake("alice").unwrap();
        if wake > population.now.plus_ms(10_000) {
            population.evict("alice");
        }
        population.now = population.now.max(wake);
        population.alarm("alice");
        calls.push(population.calls.len());
    }
    assert!(calls.len() < 250, "{} in an hour", calls.len());
    let ahead = i64::try_from(population.saved("alice").state.seq).unwrap() - population.now.unix_ms();
    assert!(ahead < 120_000, "{ahead} ms ahead of the clock");
}

#[test]
fn a_loss_of_memory_while_nothing_is_in_progress_queries_nobody() {
    let (mut population, alice, _) = two();
    population.visit(alice, "https://example.com/1");
    let calls = population.calls.len();
    population.pass_ms(LOST_MEMORY_MS);
    population.evict("alice");
    population.alarm("alice");
    assert_eq!(population.calls.len(), calls);
}

#[test]
fn a_user_who_wanted_to_vanish_as_memory_was_lost_has_vanished() {
    let (mut population, _, bob) = two();
    population.pass_ms(20_000);
    population.lose_after_saving("alice", |saved| saved.state.invisible = true);
    population.alarm("alice");
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_list_is_asked_for_after_a_loss_of_memory_only_if_it_is_old() {
    let social = Population::new(&["alice"], &[]).social("alice");
    for (version, old) in [(1, true), (2, false), (3, false)] {
        let social = Some(CachedSocial::of(Social { version, ..social.clone() }));
        let state = SavedState { missing_up_to: Some(2), ..SavedState::default() };
        let saved = Saved { state, social, event_ids: Vec::new() };
        let now = Timestamp::from_unix_ms(1_772_366_400_000);
        let alice = UserPresence::restore(id("alice"), EngineConfig::default(), saved, Vec::new(), now);
        assert_eq!(alice.is_absent_and_behind(), old, "version {version}");
    }
}

#[test]
fn a_socket_carries_that_the_snapshot_was_sent_only_after_it_was() {
    let social = Some(CachedSocial::of(Population::new(&["alice"], &[]).social("alice")));
    let (saved, now) = (Saved { social, ..Saved::default() }, Timestamp::from_unix_ms(1_772_366_400_000));
    let mut alice = UserPresence::restore(id("alice"), EngineConfig::default(), saved, Vec::new(), now);
    let socket = SocketId(Uuid::from_u128(1));
    let effects = alice.handle(Event::SocketOpened { socket, expires_at: now.plus_ms(TOKEN_MS) }, now);
    let order = effects.iter().filter_map(|effect| {
        if let Effect::Attach { attachment, .. } = effect {
            return Some(if attachment.ready { "sent" } else { "to be sent" });
        }
        matches!(effect, Effect::Send { .. }).then_some("the snapshot")
    });
    assert_eq!(order.collect::<Vec<_>>(), ["to be sent", "the snapshot", "sent"]);
}

#[test]
fn a_farewell_by_a_clock_that_is_far_behind_is_heard() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.hibernate("bob");
    assert_eq!(population.seen(bob), []);
    let bye = population.message("alice", u64::MAX - 1, PeerSay::Bye { last_seen_at: population.now });
    assert_eq!(
        population.speak("bob", PeerMessage { sent_at: population.now.plus_ms(-3_600_000), ..bye }),
        PeerAnswer::Again
    );
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn a_farewell_from_before_memory_was_lost_in_a_grace_is_not_believed() {
    let (mut population, alice, _bob) = two();
    let late = population.message("bob", 1, PeerSay::Bye { last_seen_at: population.now });
    population.disconnect(alice);
    population.pass_ms(300);
    population.evict("alice");
    population.speak("alice", PeerMessage { wants: Interest::Nothing, ..late });
    let alice = population.connect("alice");
    assert!(population.snapshot(alice).presence_arr[0].page.is_some());
}

#[test]
fn a_user_who_may_have_left_by_another_clock_comes_online_again() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, bob, _carol) = (population.connect("alice"), population.connect("bob"), population.connect("carol"));
    population.unreachable.insert(id("carol"));
    population.disconnect(alice);
    population.pass_ms(GRACE_MS);
    assert!(matches!(population.seen(bob).last(), Some(ServerMessage::PresenceTimeout { .. })));
    population.evict("alice");
    population.now = population.now.plus_ms(-500);
    population.connect("alice");
    assert_eq!(population.update(bob).user_id, id("alice"));
}

#[test]
fn a_friend_is_told_what_they_missed_before_the_grace_even_if_memory_is_lost() {
    let (mut population, alice, bob) = two();
    population.unreachable.insert(id("bob"));
    population.visit(alice, "https://example.com/1");
    population.disconnect(alice);
    population.evict("alice");
    population.unreachable.clear();
    population.read("alice", Some("alice"));
    population.pass_ms(2_000);
    population.say(bob, r#"{"action":"set-visibility","invisible":true}"#);
    population.connect("alice");
    let seen = population.seen(bob);
    assert!(format!("{seen:?}").contains("https://example.com/1"), "{seen:?}");
}

#[test]
fn a_question_about_a_late_message_is_asked_again_when_memory_is_lost() {
    let (mut population, _alice, bob) = two();
    let presence = showing("alice", "https://example.com/1", population.now);
    let late = population.message("alice", 1, PeerSay::Presence { presence });
    population.hibernate("bob");
    population.visit(bob, "https://example.com/b");
    population.slow.insert(id("alice"));
    population.speak("bob", late);
    population.evict("bob");
    population.pass_ms(12_000);
    population.calls.clear();
    population.alarm("bob");
    assert!(population.calls.iter().any(|(peer, _)| *peer == id("alice")));
}

/// Without the settings, the object could show what the owner hides.
#[test]
fn friends_and_settings_that_cannot_be_read_are_an_error() {
    let kept = CachedSocial::of(Population::new(&["alice", "bob"], &[("alice", "bob")]).social("alice"));
    let text = kept.to_text().unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(CachedSocial::from_text(&text), Ok(kept));
    for place in 0..lines.len() {
        assert!(CachedSocial::from_text(&lines[..place].join("\n")).is_err(), "only {place} lines");
    }
    for bad in [["?", lines[1], lines[2]], [lines[0], "? ?", lines[2]]] {
        assert!(CachedSocial::from_text(&bad.join("\n")).is_err(), "{bad:?}");
    }
}

#[test]
fn an_event_counts_as_taken_only_after_all_its_effects() {
    let (mut population, _alice, _bob) = two();
    let [event, _] = population.unfriend("alice", "bob");
    let saved = population.saved("alice");
    let mut alice =
        UserPresence::restore(id("alice"), EngineConfig::default(), saved, population.carried("alice"), population.now);
    let effects = alice.handle(Event::CoreReported { events: vec![event] }, population.now);
    let places = |wanted: fn(&Effect) -> bool| -> Vec<usize> {
        effects.iter().enumerate().filter(|(_, effect)| wanted(effect)).map(|(place, _)| place).collect()
    };
    let kept = places(|effect| matches!(effect, Effect::Save(Save::Social(_))));
    let sent = places(|effect| matches!(effect, Effect::Send { .. }));
    let taken = places(|effect| matches!(effect, Effect::Save(Save::EventIds(_)) | Effect::AnswerCore(_)));
    assert_eq!((kept.len(), sent.len(), taken.len()), (1, 2, 2), "{effects:?}");
    assert!(kept[0] < sent[0] && sent[1] < taken[0], "{effects:?}");
}
