//! What the core reports: at least once, in any order, and perhaps late.

use presence::{CachedSocial, Effect, EngineConfig, Event, Reply, Saved, UserPresence};
use serde_json::json;
use shared::{
    api::{ShareNotification, UserFriendRequest},
    ids::{EventId, ShareId, SocketId},
    internal::{Change, CoreEvent, Interest, PeerAnswer, PeerSay},
    share_policy::ShareMode,
    wire::{CloseCode, PageView, ServerMessage},
};
use uuid::Uuid;

use crate::population::{GRACE_MS, Population, id, two};

#[test]
fn a_friendship_made_while_both_are_online_shows_both_at_once() {
    let mut population = Population::new(&["alice", "bob"], &[]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(alice, "https://example.com/a");
    population.visit(bob, "https://example.com/b");
    population.seen(alice);
    population.seen(bob);
    let events = population.befriend("alice", "bob");
    population.deliver(events);
    for (socket, friend, url) in [(alice, "bob", "https://example.com/b"), (bob, "alice", "https://example.com/a")] {
        let seen = population.seen(socket);
        assert!(
            seen.iter()
                .any(|message| matches!(message, ServerMessage::FriendAccepted { user } if user.user_id == id(friend)))
        );
        assert!(
            seen.iter().any(|message| matches!(message, ServerMessage::UpdatePresence(update) if update.url == url)),
            "{seen:?}"
        );
    }
}

#[test]
fn an_unfriending_cuts_both_sides_at_once_and_nothing_follows() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.seen(alice);
    population.seen(bob);
    let events = population.unfriend("alice", "bob");
    population.deliver(events);
    for (socket, friend) in [(alice, "bob"), (bob, "alice")] {
        let gone = ServerMessage::PresenceTimeout { user_id: id(friend), last_seen_at: None };
        assert_eq!(population.seen(socket), [gone, ServerMessage::FriendRemoved { user_id: id(friend) }]);
    }
    let calls = population.calls.len();
    population.visit(alice, "https://example.com/");
    assert_eq!(population.seen(bob), []);
    assert_eq!(population.calls.len(), calls);
}

#[test]
fn a_repeated_event_does_nothing_even_after_memory_was_lost() {
    let mut population = Population::new(&["alice", "bob"], &[]);
    let alice = population.connect("alice");
    let [event, _] = population.befriend("alice", "bob");
    population.deliver([event.clone()]);
    population.seen(alice);
    population.hibernate("alice");
    population.deliver([event]);
    assert_eq!(population.seen(alice), []);
}

#[test]
fn a_gap_between_versions_makes_the_list_be_fetched() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(bob, "https://example.com/b");
    let [_lost, for_bob] = population.befriend("alice", "bob");
    population.deliver([for_bob]);
    population.seen(alice);
    let core_calls = population.core_calls;
    let events = population.befriend("alice", "carol");
    population.deliver(events);
    assert_eq!(population.core_calls, core_calls + 1);
    assert!(
        population
            .seen(alice)
            .iter()
            .any(|message| matches!(message, ServerMessage::UpdatePresence(update) if update.user_id == id("bob")))
    );
}

#[test]
fn a_friendship_that_ended_before_its_beginning_was_heard_of_stays_ended() {
    let mut population = Population::new(&["alice", "bob"], &[]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.core_is_away = true;
    let began = population.befriend("alice", "bob");
    let ended = population.unfriend("alice", "bob");
    population.deliver(ended);
    population.deliver(began);
    population.seen(bob);
    population.visit(alice, "https://example.com/");
    assert_eq!(population.seen(bob), []);
}

#[test]
fn an_absent_user_whose_list_is_old_learns_of_a_friendship_when_the_friend_speaks() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[]);
    let alice = population.connect("alice");
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.core_is_away = true;
    let [_missing, _] = population.befriend("alice", "carol");
    let events = population.befriend("alice", "bob");
    population.deliver(events);
    population.core_is_away = false;
    let bob = population.connect("bob");
    assert_eq!(population.kept("alice"), Some(population.social("alice")));
    population.connect("alice");
    assert!(population.seen(bob).iter().any(|message| matches!(message, ServerMessage::UpdatePresence(_))));
}

#[test]
fn however_many_changes_come_at_once_the_list_is_kept_once() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[]);
    population.connect("alice");
    let [bob, _] = population.befriend("alice", "bob");
    let [carol, _] = population.befriend("alice", "carol");
    let saves = population.saves;
    population.deliver_together([bob, carol]);
    assert_eq!(population.kept("alice").unwrap().friends.len(), 2);
    assert_eq!(population.saves, saves + 2, "the list, and which events were taken");
}

/// The core writes the settings with entries that this build's public suffix list does not know, or would shorten.
#[test]
fn settings_with_entries_of_another_suffix_list_are_taken_kept_and_never_show_more() {
    let (mut population, alice, bob) = two();
    let mut told = |version: u64, mode: &str| {
        population.change_silently("alice", |social| social.version = version);
        let share = json!({
            "mode": mode,
            "allow": ["docs.example.com", "site.of-another-list", "example.org"],
            "deny": ["docs.example.com", "site.of-another-list"],
        });
        let event = json!({
            "id": Uuid::from_u128(u128::from(version)), "recipient": "alice", "version": version,
            "kind": "settings.updated", "payload": { "share": share },
        });
        population.deliver([serde_json::from_value(event).unwrap()]);
        // The object reads the stored settings again. They were stored unchanged.
        population.hibernate("alice");
        let kept = serde_json::to_value(population.kept("alice").unwrap().share).unwrap();
        assert_eq!(kept["deny"], share["deny"]);
        population.seen(bob);
        let mut shown = Vec::new();
        for url in ["https://example.com/", "https://docs.example.com/", "https://example.org/"] {
            population.visit(alice, url);
            shown.extend(population.seen(bob).into_iter().map(|message| {
                let ServerMessage::UpdatePresence(update) = message else { panic!("an update, not {message:?}") };
                update.url
            }));
        }
        shown.retain(|url| !url.is_empty());
        shown
    };
    assert_eq!(told(2, "default_none"), ["https://example.org/"]);
    assert_eq!(told(3, "default_all"), ["https://example.com/", "https://example.org/"]);
}

fn names_seen(population: &mut Population, socket: SocketId) -> Vec<(String, String)> {
    let name = |message| {
        let ServerMessage::FriendUpdated { user } = message else { return None };
        Some((user.user_id.to_string(), user.first_name))
    };
    population.seen(socket).into_iter().filter_map(name).collect()
}

fn name_in_snapshot(population: &mut Population, reader: &str, of: &str) -> String {
    let Reply::All(all) = population.read(reader, None) else { panic!("she asked for all") };
    all.user_info_map[&id(of)].first_name.clone()
}

#[test]
fn a_new_name_is_shown_to_friends_and_to_oneself_at_once_and_in_every_snapshot_after() {
    let (mut population, alice, bob) = two();
    let events = population.rename("alice", "Alicia");
    population.deliver(events.clone());
    for (name, socket) in [("alice", alice), ("bob", bob)] {
        assert_eq!(names_seen(&mut population, socket), [("alice".to_owned(), "Alicia".to_owned())]);
        population.hibernate(name);
        assert_eq!(name_in_snapshot(&mut population, name, "alice"), "Alicia");
    }
    let core_calls = population.core_calls;
    population.deliver(events);
    assert_eq!(
        (names_seen(&mut population, bob), population.core_calls),
        (vec![], core_calls),
        "a repeat says nothing"
    );
}

#[test]
fn new_names_that_arrive_out_of_order_end_as_the_newest() {
    for memory_goes in [false, true] {
        let (mut population, _alice, bob) = two();
        let first = population.rename("alice", "Old").remove(0);
        let second = population.rename("alice", "New").remove(0);
        assert_eq!(first.recipient, id("bob"));
        population.deliver([second]);
        assert_eq!(names_seen(&mut population, bob).last().unwrap().1, "New", "the gap is fetched");
        if memory_goes {
            population.evict("bob");
        }
        population.deliver([first]);
        assert!(names_seen(&mut population, bob).iter().all(|(_, name)| name == "New"));
        assert_eq!(name_in_snapshot(&mut population, "bob", "alice"), "New");
    }
}

#[test]
fn while_the_core_is_away_no_name_is_shown_that_may_be_an_older_one() {
    let (mut population, _alice, bob) = two();
    let [_missing, older, newer] = ["Missing", "Old", "New"].map(|name| population.rename("alice", name).remove(0));
    population.core_is_away = true;
    population.deliver([newer, older]);
    assert_eq!(names_seen(&mut population, bob), [], "nobody can tell which is the newer one");
    population.core_is_away = false;
    population.pass_ms(presence::limits::SOCIAL_RETRY_MS);
    assert_eq!(names_seen(&mut population, bob), [("alice".to_owned(), "New".to_owned())]);
}

#[test]
fn a_late_answer_of_the_core_brings_no_old_name_back() {
    let (mut population, _alice, bob) = two();
    let before = population.social("bob");
    let events = population.rename("alice", "Alicia");
    population.deliver(events);
    population.seen(bob);
    population.load("bob", before);
    assert_eq!(names_seen(&mut population, bob), []);
    assert_eq!(name_in_snapshot(&mut population, "bob", "alice"), "Alicia");
}

#[test]
fn a_name_that_no_event_told_of_is_shown_with_the_next_answer_of_the_core() {
    let (mut population, _alice, bob) = two();
    population.rename("alice", "Alicia");
    let social = population.social("bob");
    population.load("bob", social);
    assert_eq!(names_seen(&mut population, bob), [("alice".to_owned(), "Alicia".to_owned())]);
}

#[test]
fn a_new_name_that_was_kept_and_not_shown_is_shown_when_its_event_comes_again() {
    let (mut population, _alice, bob) = two();
    let event = population.rename("alice", "Alicia").remove(0);
    let social = population.social("bob");
    population.lose_after_saving("bob", |saved| saved.social = Some(CachedSocial::of(social)));
    population.deliver([event]);
    assert_eq!(names_seen(&mut population, bob), [("alice".to_owned(), "Alicia".to_owned())]);
}

#[test]
fn an_answer_older_than_an_event_is_not_taken_in_even_if_nothing_was_known() {
    let mut population = Population::new(&["alice"], &[]);
    let older = population.social("alice");
    let closed = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    population.deliver([closed]);
    population.load("alice", older);
    assert_eq!(population.kept("alice"), None);
    population.connect("alice");
    assert_eq!(population.kept("alice"), Some(population.social("alice")));
}

#[test]
fn clients_are_told_the_current_settings_however_late_an_event_comes() {
    let (mut population, alice, _bob) = two();
    let (open, closed) = (
        population.set_share("alice", ShareMode::DefaultAll, &[], &[]),
        population.set_share("alice", ShareMode::DefaultNone, &[], &[]),
    );
    population.deliver([closed, open]);
    let seen = population.seen(alice);
    let mode = |message: &ServerMessage| {
        if let ServerMessage::SettingsUpdated { share_mode, .. } = message { Some(*share_mode) } else { None }
    };
    let modes = seen.iter().filter_map(mode);
    assert_eq!(modes.collect::<Vec<_>>(), [ShareMode::DefaultNone, ShareMode::DefaultNone]);
}

#[test]
fn clients_hear_nothing_of_a_friendship_that_has_changed_again_since() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob")]);
    let alice = population.connect("alice");
    let ([began, _], [ended, _]) = (population.befriend("alice", "carol"), population.unfriend("alice", "carol"));
    let ([parted, _], [again, _]) = (population.unfriend("alice", "bob"), population.befriend("alice", "bob"));
    let social = population.social("alice");
    population.load("alice", social);
    population.seen(alice);
    population.deliver([ended, began, again, parted]);
    let seen = population.seen(alice);
    let tells = |message: &&ServerMessage| {
        matches!(message, ServerMessage::FriendAccepted { .. } | ServerMessage::FriendRemoved { .. })
    };
    let [ServerMessage::FriendRemoved { user_id }, ServerMessage::FriendAccepted { user }] =
        seen.iter().filter(tells).collect::<Vec<_>>()[..]
    else {
        panic!("an end and a beginning, not {seen:?}")
    };
    assert_eq!((user_id, &user.user_id), (&id("carol"), &id("bob")));
}

#[test]
fn an_event_that_was_taken_before_is_not_stored_again() {
    let (mut population, _alice, _bob) = two();
    let event = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    population.deliver([event.clone()]);
    let saves = population.saves;
    population.deliver([event]);
    assert_eq!(population.saves, saves);
}

#[test]
fn settings_older_than_those_taken_in_do_not_come_back_while_the_user_is_gone() {
    let deployed: fn(&mut Population, SocketId) = |population, _| population.redeploy("alice");
    let unheard: fn(&mut Population, SocketId) = |population, alice| {
        population.unreachable.insert(id("bob"));
        population.disconnect(alice);
        population.pass_ms(GRACE_MS);
    };
    for go in [deployed, unheard] {
        let (mut population, alice, bob) = two();
        population.visit(alice, "https://example.com/1");
        population.core_is_away = true;
        let open = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
        let closed = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
        go(&mut population, alice);
        population.deliver([closed]);
        population.evict("alice");
        population.deliver([open]);
        population.unreachable.clear();
        population.pass_ms(5_000);
        population.seen(bob);
        let alice = population.connect("alice");
        population.visit(alice, "https://example.com/2");
        assert_eq!(population.update(bob).url, "");
    }
}

#[test]
fn settings_that_arrive_out_of_order_end_as_the_newest() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(alice, "https://example.com/");
    population.seen(bob);
    population.core_is_away = true;
    let open = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let closed = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    population.deliver([closed, open]);
    assert_eq!(population.update(bob).url, "");
}

#[test]
fn settings_count_even_if_a_later_change_of_another_kind_came_first() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(alice, "https://example.com/");
    population.seen(bob);
    population.core_is_away = true;
    let closed = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    let [removed, _] = population.unfriend("alice", "carol");
    population.deliver([removed, closed]);
    assert_eq!(population.update(bob).url, "");
}

#[test]
fn settings_older_than_those_taken_in_do_not_come_back_after_memory_went() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.visit(alice, "https://example.com/");
    population.core_is_away = true;
    let open = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let closed = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    population.deliver([closed]);
    population.evict("alice");
    population.seen(bob);
    population.deliver([open]);
    population.evict("bob");
    let second = population.connect("bob");
    assert_eq!(population.snapshot(second).presence_arr[0].page.as_ref().unwrap().url, "");
}

#[test]
fn an_old_list_is_fetched_again_when_the_core_is_back() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[]);
    let (alice, _bob) = (population.connect("alice"), population.connect("bob"));
    population.core_is_away = true;
    let [_lost, for_bob] = population.befriend("alice", "bob");
    let events = population.befriend("alice", "carol");
    population.deliver([for_bob]);
    population.deliver(events);
    population.seen(alice);
    population.core_is_away = false;
    population.heartbeat(alice);
    population.pass_ms(30_000);
    let seen = population.seen(alice);
    assert!(
        seen.iter()
            .any(|message| matches!(message, ServerMessage::UpdatePresence(update) if update.user_id == id("bob"))),
        "{seen:?}"
    );
}

#[test]
fn with_the_core_away_presence_goes_on_from_what_is_kept() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let first = population.connect("alice");
    population.disconnect(first);
    population.pass_ms(60_000);
    let bob = population.connect("bob");
    population.seen(bob);
    population.core_is_away = true;
    let alice = population.connect("alice");
    assert_eq!(population.snapshot(alice).presence_arr[0].page, Some(PageView::default()));
    assert_eq!(population.update(bob).user_id, id("alice"));
}

#[test]
fn an_event_for_someone_who_never_was_here_costs_nothing_more() {
    let mut population = Population::new(&["alice", "bob"], &[]);
    let events = population.befriend("alice", "bob");
    population.deliver(events);
    assert_eq!((population.core_calls, population.calls.len()), (0, 0));
    let bob = population.connect("bob");
    assert_eq!(population.snapshot(bob).presence_arr.len(), 1);
}

#[test]
fn requests_and_shares_are_passed_on_to_every_socket_of_their_recipient() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (first, second, bob) = (population.connect("alice"), population.connect("alice"), population.connect("bob"));
    let user: UserFriendRequest = serde_json::from_value(json!({
        "user_id": "carol", "first_name": "Carol", "last_name": "Test", "description": "",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "requested_at": "2026-03-01T12:00:00Z",
    }))
    .unwrap();
    let share = ShareId(Uuid::from_u128(7));
    let notification: ShareNotification = serde_json::from_value(json!({
        "event_id": share, "user_id": "bob", "sent_at": "2026-03-01T12:00:00Z", "url": "https://example.com/",
        "title": "Look", "seen_at": null, "first_name": "Bob", "last_name": "Test", "profile_image_extension": null,
    }))
    .unwrap();
    for socket in [first, second, bob] {
        population.seen(socket);
    }
    let (core_calls, calls) = (population.core_calls, population.calls.len());
    for (change, told) in [
        (Change::FriendRequested { user: user.clone() }, ServerMessage::FriendRequest { user }),
        (
            Change::FriendRequestRemoved { user_id: id("carol") },
            ServerMessage::FriendRequestRemoved { user_id: id("carol") },
        ),
        (
            Change::ShareReceived { notification: notification.clone() },
            ServerMessage::ShareNotification { notification },
        ),
        (Change::ShareRead { event_ids: vec![share] }, ServerMessage::ShareNotificationRead { event_ids: vec![share] }),
    ] {
        let event = population.passing_event("alice", change);
        population.deliver([event.clone(), event]);
        for socket in [first, second] {
            assert_eq!(population.seen(socket), std::slice::from_ref(&told), "once");
        }
    }
    assert_eq!(population.seen(bob), []);
    assert_eq!((population.core_calls, population.calls.len()), (core_calls, calls));
}

#[test]
fn an_account_that_is_gone_leaves_at_once_and_leaves_nothing_behind() {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (first, second, bob) = (population.connect("alice"), population.connect("alice"), population.connect("bob"));
    population.visit(first, "https://example.com/");
    population.seen(bob);
    let event = population.delete("alice");
    population.deliver([event.clone()]);
    for socket in [first, second] {
        assert_eq!(population.closed.get(&socket), Some(&CloseCode::AccountGone));
    }
    let gone = ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(population.now) };
    assert_eq!(population.seen(bob), [gone]);
    assert_eq!(population.saved("alice"), Saved::default());
    // A repeat of the event brings nothing back either.
    population.deliver([event]);
    assert_eq!(population.saved("alice"), Saved::default());
    let peek = population.message("bob", 1, PeerSay::Peek);
    assert_eq!(
        population.speak("alice", peek),
        PeerAnswer::Offline { seq: 0, last_seen_at: None, wants: Interest::Nothing }
    );
}

#[test]
fn a_suspended_user_leaves_at_once_and_is_there_again_when_restored() {
    let (mut population, first, bob) = two();
    let second = population.connect("alice");
    population.visit(first, "https://example.com/");
    population.seen(bob);
    let suspended = population.suspend("alice", true);
    population.deliver([suspended.clone()]);
    for socket in [first, second] {
        assert_eq!(population.closed.get(&socket), Some(&CloseCode::AccountGone));
    }
    let gone = ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(population.now) };
    assert_eq!(population.seen(bob), [gone]);
    assert_eq!(population.read("bob", Some("alice")), Reply::One(None));
    // A socket that was being let in at that moment is closed, and bob hears nothing of it.
    let late = population.connect("alice");
    assert_eq!(population.closed.get(&late), Some(&CloseCode::AccountGone));
    assert_eq!(population.seen(bob), []);

    let restored = population.suspend("alice", false);
    population.deliver([restored]);
    let back = population.connect("alice");
    population.visit(back, "https://example.com/again");
    assert_eq!(population.seen(bob).len(), 2, "she comes, and shows her page");
    // A repeat of the suspension is recognised by its version, even under another id.
    population.deliver([CoreEvent { id: EventId(Uuid::from_u128(1 << 100)), ..suspended }]);
    assert_eq!(population.closed.get(&back), None);
}

#[test]
fn a_suspension_counts_even_if_a_change_before_it_is_missing_and_a_restoration_does_not() {
    let (mut population, alice, bob) = two();
    population.change_silently("alice", |_| {});
    let suspended = population.suspend("alice", true);
    population.core_is_away = true;
    population.deliver([suspended]);
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::AccountGone));
    assert!(matches!(population.seen(bob)[..], [ServerMessage::PresenceTimeout { .. }]));

    let restored = population.suspend("alice", false);
    population.deliver([restored]);
    let early = population.connect("alice");
    assert_eq!(population.closed.get(&early), Some(&CloseCode::AccountGone), "it may have been suspended again before");
    population.core_is_away = false;
    let back = population.connect("alice");
    assert_eq!(population.closed.get(&back), None);
}

#[test]
fn a_suspension_that_only_an_answer_of_the_core_tells_closes_the_sockets() {
    let (mut population, alice, bob) = two();
    population.change_silently("alice", |social| social.suspended = true);
    let social = population.social("alice");
    population.load("alice", social);
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::AccountGone));
    assert!(matches!(population.seen(bob)[..], [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn sockets_of_a_suspended_user_that_outlived_memory_are_closed() {
    let (population, alice, _bob) = two();
    let mut saved = population.saved("alice");
    let social = population.social("alice");
    saved.social = Some(CachedSocial::of(shared::internal::Social { suspended: true, ..social }));
    let mut alices =
        UserPresence::restore(id("alice"), EngineConfig::default(), saved, population.carried("alice"), population.now);
    let effects = alices.handle(Event::Woken { heard: Vec::new() }, population.now);
    assert!(effects.contains(&Effect::Close { socket: alice, code: CloseCode::AccountGone }));
    assert!(effects.iter().any(|effect| {
        matches!(effect, Effect::CallPeers { message, .. } if matches!(message.say, PeerSay::Bye { .. }))
    }));
    assert!(!alices.is_present());
}

#[test]
fn an_answer_of_the_core_from_before_a_removal_brings_nobody_back() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob")]);
    let alice = population.connect("alice");
    let old = population.social("alice");
    // The event before the one that removes bob is missing.
    let [_missing, _] = population.befriend("alice", "carol");
    population.core_is_away = true;
    let [for_alice, _] = population.unfriend("alice", "bob");
    population.deliver([for_alice]);
    population.seen(alice);
    let calls = population.calls.len();
    population.load("alice", shared::internal::Social { version: old.version + 1, ..old });
    assert_eq!(population.read("alice", Some("bob")), Reply::NotFriends);
    assert_eq!(population.calls.len(), calls, "nothing is said to one who was taken away");
    // Now the core gives its newest answer.
    population.core_is_away = false;
    population.pass_ms(2_000);
    assert_ne!(population.read("alice", Some("carol")), Reply::NotFriends);
    assert_eq!(population.read("alice", Some("bob")), Reply::NotFriends);
}

#[test]
fn a_read_that_waits_while_the_account_is_deleted_is_answered() {
    let (mut population, _alice, _bob) = two();
    population.hibernate("alice");
    population.slow.insert(id("bob"));
    let (all, one) = (population.begin_to_read("alice", None), population.begin_to_read("alice", Some("bob")));
    let gone = population.delete("alice");
    population.deliver([gone]);
    let Reply::All(all) = population.reply(all) else { panic!("she asked for all") };
    assert!(all.presence_arr.is_empty());
    assert_eq!(population.reply(one), Reply::NotFriends);
}

#[test]
fn an_account_registered_again_does_not_miss_changes_of_the_account_before() {
    let (mut population, _alice, _bob) = two();
    let anew = population.social("alice");
    population.core_is_away = true;
    population.change_silently("alice", |_| {});
    let event = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let gone = population.delete("alice");
    population.deliver_together([event, gone]);
    population.load("alice", anew.clone());
    assert_eq!(population.kept("alice"), Some(anew));
}

#[test]
fn an_account_that_is_deleted_before_anything_is_known_of_it_is_forgotten_too() {
    // A request to the core about the account may be in progress now, and may have been answered before the deletion.
    let mut population = Population::new(&["alice"], &[]);
    let gone = population.delete("alice");
    let mut alice =
        UserPresence::restore(id("alice"), EngineConfig::default(), Saved::default(), Vec::new(), population.now);
    let effects = alice.handle(Event::CoreReported { events: vec![gone] }, population.now);
    assert!(effects.contains(&Effect::Forget));
}

#[test]
fn a_friend_made_while_the_user_and_the_core_were_away_is_listed_in_the_first_read() {
    let mut population = Population::new(&["alice", "carol"], &[]);
    population.read("alice", None);
    population.core_is_away = true;
    population.change_silently("alice", |_| {});
    let [for_alice, _] = population.befriend("alice", "carol");
    population.deliver([for_alice]);
    population.core_is_away = false;
    for core_calls in [population.core_calls + 1, population.core_calls + 1] {
        let Reply::All(all) = population.read("alice", None) else { panic!("she reads of all") };
        assert_eq!(all.presence_arr.len(), 1);
        assert_eq!(population.core_calls, core_calls);
    }
}

#[test]
fn a_late_event_that_an_answer_of_the_core_covers_costs_no_call() {
    let (mut population, _alice, _bob) = two();
    let late = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    population.change_silently("alice", |_| {});
    let newest = population.social("alice");
    population.load("alice", newest);
    let calls = population.core_calls;
    population.deliver([late]);
    assert_eq!(population.core_calls, calls);
    assert!(population.saved("alice").state.missing_up_to.is_none());
    // An event with exactly the version of the core's answer costs no call either.
    let late = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    let newest = population.social("alice");
    population.load("alice", newest);
    population.deliver([late]);
    assert_eq!(population.core_calls, calls);
}

#[test]
fn a_friendship_that_ended_and_began_again_while_nobody_was_there_costs_no_call() {
    let (mut population, alice, _bob) = two();
    population.say(alice, r#"{"action":"goodbye"}"#);
    let [ended, _] = population.unfriend("alice", "bob");
    population.befriend("alice", "bob");
    let newest = population.social("alice");
    population.load("alice", newest);
    population.calls.clear();
    population.deliver([ended]);
    assert_eq!(population.calls, []);
}

#[test]
fn a_gap_that_was_fetched_is_forgotten() {
    let (mut population, alice, bob) = two();
    population.change_silently("alice", |_| {});
    let event = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    population.deliver([event]);
    let calls = population.core_calls;
    population.hibernate("alice");
    population.visit(alice, "https://elsewhere.org/");
    assert_eq!(population.update(bob).url, "https://elsewhere.org/");
    assert_eq!(population.core_calls, calls);
}

#[test]
fn with_the_core_away_settings_are_those_of_the_newest_event() {
    let (mut population, alice, bob) = two();
    population.core_is_away = true;
    population.change_silently("alice", |_| {});
    let all = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let none = population.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    population.deliver([all]);
    population.visit(alice, "https://example.com/");
    assert_eq!(population.update(bob).url, "https://example.com/");
    population.deliver([none]);
    assert_eq!(population.update(bob).url, "");
}

#[test]
fn an_absent_user_is_not_woken_for_an_old_list() {
    let (mut population, alice, _bob) = two();
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.core_is_away = true;
    population.change_silently("alice", |_| {});
    let event = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    population.deliver([event]);
    assert_eq!(population.next_wake("alice"), None, "whoever asks next fetches it");
    let old = population.kept("alice").unwrap();
    population.load("alice", old);
    assert_eq!(population.next_wake("alice"), None);
}

#[test]
fn an_old_answer_of_the_core_is_dropped_without_a_second_question() {
    let (mut population, _alice, _bob) = two();
    let wake = population.next_wake("alice");
    let mut old = population.social("alice");
    old.version = 0;
    population.load("alice", old);
    assert_eq!(population.next_wake("alice"), wake);
}

#[test]
fn a_repeat_of_a_deletion_does_not_touch_the_account_registered_since() {
    let (mut population, _alice, _bob) = two();
    let gone = population.delete("alice");
    population.deliver([gone.clone()]);
    // The versions of the new account begin above those of the old one.
    population.change_silently("alice", |_| {});
    let alice = population.connect("alice");
    population.deliver([gone]);
    assert_eq!(population.closed.get(&alice), None);
    assert!(population.kept("alice").is_some());
}

#[test]
fn a_friend_whose_friendship_ended_and_began_again_unnoticed_is_queried() {
    let (mut population, alice, bob) = two();
    let [for_alice, late] = population.unfriend("alice", "bob");
    population.deliver([for_alice]);
    population.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    let [for_alice, for_bob] = population.befriend("alice", "bob");
    population.deliver([for_alice, for_bob]);
    population.seen(bob);
    population.deliver([late]);
    assert!(matches!(population.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

fn make_names_unreadable(saved: &mut Saved) {
    let text = saved.social.as_ref().unwrap().to_text().unwrap();
    let (read, _) = text.rsplit_once('\n').unwrap();
    saved.social = Some(CachedSocial::from_text(&format!("{read}\n?")).unwrap());
}

#[test]
fn a_list_whose_names_cannot_be_read_is_fetched_when_it_changes() {
    let (mut population, alice, _bob) = two();
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.lose_after_saving("alice", make_names_unreadable);
    let event = population.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    population.deliver([event]);
    assert_eq!(population.kept("alice"), Some(population.social("alice")));
    assert_eq!(population.kept("alice").unwrap().friends.len(), 1);
}

#[test]
fn names_that_cannot_be_read_are_fetched_when_somebody_is_to_see_them() {
    let (mut population, alice, _bob) = two();
    population.say(alice, r#"{"action":"goodbye"}"#);
    population.lose_after_saving("alice", make_names_unreadable);
    let Reply::All(snapshot) = population.read("alice", None) else { panic!("she is registered") };
    assert_eq!(snapshot.user_info_map.len(), 2);
    // Once as she comes online, and once on a second device.
    for _ in 0..2 {
        population.lose_after_saving("alice", make_names_unreadable);
        let device = population.connect("alice");
        assert_eq!(population.snapshot(device).user_info_map.len(), 2);
    }
}
