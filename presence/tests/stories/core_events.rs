//! What the core reports: at least once, in any order, and perhaps late.

use presence::{CachedSocial, Effect, Event, Reply, Saved, Times, UserPresence};
use serde_json::json;
use shared::{
    api::{ShareNotification, UserFriendRequest},
    ids::{EventId, ShareId, SocketId},
    internal::{Change, CoreEvent, Interest, PeerAnswer, PeerSay},
    share_policy::ShareMode,
    wire::{CloseCode, PageView, ServerMessage},
};
use uuid::Uuid;

use crate::town::{GRACE_MS, Town, id, two};

#[test]
fn a_friendship_made_while_both_are_online_shows_both_at_once() {
    let mut town = Town::new(&["alice", "bob"], &[]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(alice, "https://example.com/a");
    town.visit(bob, "https://example.com/b");
    town.seen(alice);
    town.seen(bob);
    let events = town.befriend("alice", "bob");
    town.deliver(events);
    for (socket, friend, url) in [(alice, "bob", "https://example.com/b"), (bob, "alice", "https://example.com/a")] {
        let seen = town.seen(socket);
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
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.seen(alice);
    town.seen(bob);
    let events = town.unfriend("alice", "bob");
    town.deliver(events);
    for (socket, friend) in [(alice, "bob"), (bob, "alice")] {
        let gone = ServerMessage::PresenceTimeout { user_id: id(friend), last_seen_at: None };
        assert_eq!(town.seen(socket), [gone, ServerMessage::FriendRemoved { user_id: id(friend) }]);
    }
    let calls = town.calls.len();
    town.visit(alice, "https://example.com/");
    assert_eq!(town.seen(bob), []);
    assert_eq!(town.calls.len(), calls);
}

#[test]
fn a_repeated_event_does_nothing_even_after_memory_was_lost() {
    let mut town = Town::new(&["alice", "bob"], &[]);
    let alice = town.connect("alice");
    let [event, _] = town.befriend("alice", "bob");
    town.deliver([event.clone()]);
    town.seen(alice);
    town.hibernate("alice");
    town.deliver([event]);
    assert_eq!(town.seen(alice), []);
}

#[test]
fn a_gap_between_versions_makes_the_list_be_fetched() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(bob, "https://example.com/b");
    let [_lost, for_bob] = town.befriend("alice", "bob");
    town.deliver([for_bob]);
    town.seen(alice);
    let core_calls = town.core_calls;
    let events = town.befriend("alice", "carol");
    town.deliver(events);
    assert_eq!(town.core_calls, core_calls + 1);
    assert!(
        town.seen(alice)
            .iter()
            .any(|message| matches!(message, ServerMessage::UpdatePresence(update) if update.user_id == id("bob")))
    );
}

#[test]
fn a_friendship_that_ended_before_its_beginning_was_heard_of_stays_ended() {
    let mut town = Town::new(&["alice", "bob"], &[]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.core_is_away = true;
    let began = town.befriend("alice", "bob");
    let ended = town.unfriend("alice", "bob");
    town.deliver(ended);
    town.deliver(began);
    town.seen(bob);
    town.visit(alice, "https://example.com/");
    assert_eq!(town.seen(bob), []);
}

#[test]
fn an_absent_user_whose_list_is_old_learns_of_a_friendship_when_the_friend_speaks() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[]);
    let alice = town.connect("alice");
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.core_is_away = true;
    let [_missing, _] = town.befriend("alice", "carol");
    let events = town.befriend("alice", "bob");
    town.deliver(events);
    town.core_is_away = false;
    let bob = town.connect("bob");
    assert_eq!(town.kept("alice"), Some(town.social("alice")));
    town.connect("alice");
    assert!(town.seen(bob).iter().any(|message| matches!(message, ServerMessage::UpdatePresence(_))));
}

#[test]
fn however_many_changes_come_at_once_the_list_is_kept_once() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[]);
    town.connect("alice");
    let [bob, _] = town.befriend("alice", "bob");
    let [carol, _] = town.befriend("alice", "carol");
    let saves = town.saves;
    town.deliver_together([bob, carol]);
    assert_eq!(town.kept("alice").unwrap().friends.len(), 2);
    assert_eq!(town.saves, saves + 2, "the list, and which events were taken");
}

/// As the core writes them, with entries that this build's public suffix list knows nothing of, or would shorten.
#[test]
fn settings_with_entries_of_another_suffix_list_are_taken_kept_and_never_show_more() {
    let (mut town, alice, bob) = two();
    let mut told = |version: u64, mode: &str| {
        town.change_silently("alice", |social| social.version = version);
        let share = json!({
            "mode": mode,
            "allow": ["docs.example.com", "site.of-another-list", "example.org"],
            "deny": ["docs.example.com", "site.of-another-list"],
        });
        let event = json!({
            "id": Uuid::from_u128(u128::from(version)), "recipient": "alice", "version": version,
            "kind": "settings.updated", "payload": { "share": share },
        });
        town.deliver([serde_json::from_value(event).unwrap()]);
        // What is kept is read again, and clients are told of it as it is.
        town.hibernate("alice");
        let kept = serde_json::to_value(town.kept("alice").unwrap().share).unwrap();
        assert_eq!(kept["deny"], share["deny"]);
        town.seen(bob);
        let mut shown = Vec::new();
        for url in ["https://example.com/", "https://docs.example.com/", "https://example.org/"] {
            town.visit(alice, url);
            shown.extend(town.seen(bob).into_iter().map(|message| {
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

fn names_seen(town: &mut Town, socket: SocketId) -> Vec<(String, String)> {
    let name = |message| {
        let ServerMessage::FriendUpdated { user } = message else { return None };
        Some((user.user_id.to_string(), user.first_name))
    };
    town.seen(socket).into_iter().filter_map(name).collect()
}

fn name_in_snapshot(town: &mut Town, reader: &str, of: &str) -> String {
    let Reply::All(all) = town.read(reader, None) else { panic!("she asked for all") };
    all.user_info_map[&id(of)].first_name.clone()
}

#[test]
fn a_new_name_is_shown_to_friends_and_to_oneself_at_once_and_in_every_snapshot_after() {
    let (mut town, alice, bob) = two();
    let events = town.rename("alice", "Alicia");
    town.deliver(events.clone());
    for (name, socket) in [("alice", alice), ("bob", bob)] {
        assert_eq!(names_seen(&mut town, socket), [("alice".to_owned(), "Alicia".to_owned())]);
        town.hibernate(name);
        assert_eq!(name_in_snapshot(&mut town, name, "alice"), "Alicia");
    }
    let core_calls = town.core_calls;
    town.deliver(events);
    assert_eq!((names_seen(&mut town, bob), town.core_calls), (vec![], core_calls), "a repeat says nothing");
}

#[test]
fn new_names_that_arrive_out_of_order_end_as_the_newest() {
    for memory_goes in [false, true] {
        let (mut town, _alice, bob) = two();
        let first = town.rename("alice", "Old").remove(0);
        let second = town.rename("alice", "New").remove(0);
        assert_eq!(first.recipient, id("bob"));
        town.deliver([second]);
        assert_eq!(names_seen(&mut town, bob).last().unwrap().1, "New", "the gap is fetched");
        if memory_goes {
            town.evict("bob");
        }
        town.deliver([first]);
        assert!(names_seen(&mut town, bob).iter().all(|(_, name)| name == "New"));
        assert_eq!(name_in_snapshot(&mut town, "bob", "alice"), "New");
    }
}

#[test]
fn a_late_answer_of_the_core_brings_no_old_name_back() {
    let (mut town, _alice, bob) = two();
    let before = town.social("bob");
    let events = town.rename("alice", "Alicia");
    town.deliver(events);
    town.seen(bob);
    town.load("bob", before);
    assert_eq!(names_seen(&mut town, bob), []);
    assert_eq!(name_in_snapshot(&mut town, "bob", "alice"), "Alicia");
}

#[test]
fn a_name_that_no_event_told_of_is_shown_with_the_next_answer_of_the_core() {
    let (mut town, _alice, bob) = two();
    town.rename("alice", "Alicia");
    let social = town.social("bob");
    town.load("bob", social);
    assert_eq!(names_seen(&mut town, bob), [("alice".to_owned(), "Alicia".to_owned())]);
}

#[test]
fn a_new_name_that_was_kept_and_not_shown_is_shown_when_its_event_comes_again() {
    let (mut town, _alice, bob) = two();
    let event = town.rename("alice", "Alicia").remove(0);
    let social = town.social("bob");
    town.lose_after_saving("bob", |saved| saved.social = Some(CachedSocial::of(social)));
    town.deliver([event]);
    assert_eq!(names_seen(&mut town, bob), [("alice".to_owned(), "Alicia".to_owned())]);
}

#[test]
fn an_answer_older_than_what_was_heard_meanwhile_is_not_taken_in_though_nothing_was_known() {
    let mut town = Town::new(&["alice"], &[]);
    let older = town.social("alice");
    let closed = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    town.deliver([closed]);
    town.load("alice", older);
    assert_eq!(town.kept("alice"), None);
    town.connect("alice");
    assert_eq!(town.kept("alice"), Some(town.social("alice")));
}

#[test]
fn clients_are_told_of_the_settings_of_now_however_late_an_event_comes() {
    let (mut town, alice, _bob) = two();
    let (open, closed) = (
        town.set_share("alice", ShareMode::DefaultAll, &[], &[]),
        town.set_share("alice", ShareMode::DefaultNone, &[], &[]),
    );
    town.deliver([closed, open]);
    let seen = town.seen(alice);
    let mode = |message: &ServerMessage| {
        if let ServerMessage::SettingsUpdated { share_mode, .. } = message { Some(*share_mode) } else { None }
    };
    let modes = seen.iter().filter_map(mode);
    assert_eq!(modes.collect::<Vec<_>>(), [ShareMode::DefaultNone, ShareMode::DefaultNone]);
}

#[test]
fn clients_hear_nothing_of_a_friendship_that_has_changed_again_since() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob")]);
    let alice = town.connect("alice");
    let ([began, _], [ended, _]) = (town.befriend("alice", "carol"), town.unfriend("alice", "carol"));
    let ([parted, _], [again, _]) = (town.unfriend("alice", "bob"), town.befriend("alice", "bob"));
    let social = town.social("alice");
    town.load("alice", social);
    town.seen(alice);
    town.deliver([ended, began, again, parted]);
    let seen = town.seen(alice);
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
fn events_that_were_taken_before_are_written_no_more() {
    let (mut town, _alice, _bob) = two();
    let event = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    town.deliver([event.clone()]);
    let saves = town.saves;
    town.deliver([event]);
    assert_eq!(town.saves, saves);
}

#[test]
fn settings_older_than_those_taken_in_do_not_come_back_while_the_user_is_gone() {
    let deployed: fn(&mut Town, SocketId) = |town, _| town.redeploy("alice");
    let unheard: fn(&mut Town, SocketId) = |town, alice| {
        town.unreachable.insert(id("bob"));
        town.disconnect(alice);
        town.pass_ms(GRACE_MS);
    };
    for go in [deployed, unheard] {
        let (mut town, alice, bob) = two();
        town.visit(alice, "https://example.com/1");
        town.core_is_away = true;
        let open = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
        let closed = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
        go(&mut town, alice);
        town.deliver([closed]);
        town.evict("alice");
        town.deliver([open]);
        town.unreachable.clear();
        town.pass_ms(5_000);
        town.seen(bob);
        let alice = town.connect("alice");
        town.visit(alice, "https://example.com/2");
        assert_eq!(town.update(bob).url, "");
    }
}

#[test]
fn settings_that_arrive_out_of_order_end_as_the_newest() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(alice, "https://example.com/");
    town.seen(bob);
    town.core_is_away = true;
    let open = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let closed = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    town.deliver([closed, open]);
    assert_eq!(town.update(bob).url, "");
}

#[test]
fn settings_count_though_a_later_change_of_another_kind_came_first() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(alice, "https://example.com/");
    town.seen(bob);
    town.core_is_away = true;
    let closed = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    let [removed, _] = town.unfriend("alice", "carol");
    town.deliver([removed, closed]);
    assert_eq!(town.update(bob).url, "");
}

#[test]
fn settings_older_than_those_taken_in_do_not_come_back_after_memory_went() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (town.connect("alice"), town.connect("bob"));
    town.visit(alice, "https://example.com/");
    town.core_is_away = true;
    let open = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let closed = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    town.deliver([closed]);
    town.evict("alice");
    town.seen(bob);
    town.deliver([open]);
    town.evict("bob");
    let second = town.connect("bob");
    assert_eq!(town.snapshot(second).presence_arr[0].page.as_ref().unwrap().url, "");
}

#[test]
fn an_old_list_is_fetched_again_when_the_core_is_back() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[]);
    let (alice, _bob) = (town.connect("alice"), town.connect("bob"));
    town.core_is_away = true;
    let [_lost, for_bob] = town.befriend("alice", "bob");
    let events = town.befriend("alice", "carol");
    town.deliver([for_bob]);
    town.deliver(events);
    town.seen(alice);
    town.core_is_away = false;
    town.heartbeat(alice);
    town.pass_ms(30_000);
    let seen = town.seen(alice);
    assert!(
        seen.iter()
            .any(|message| matches!(message, ServerMessage::UpdatePresence(update) if update.user_id == id("bob"))),
        "{seen:?}"
    );
}

#[test]
fn with_the_core_away_presence_goes_on_from_what_is_kept() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let first = town.connect("alice");
    town.disconnect(first);
    town.pass_ms(60_000);
    let bob = town.connect("bob");
    town.seen(bob);
    town.core_is_away = true;
    let alice = town.connect("alice");
    assert_eq!(town.snapshot(alice).presence_arr[0].page, Some(PageView::default()));
    assert_eq!(town.update(bob).user_id, id("alice"));
}

#[test]
fn an_event_for_someone_who_never_was_here_costs_nothing_more() {
    let mut town = Town::new(&["alice", "bob"], &[]);
    let events = town.befriend("alice", "bob");
    town.deliver(events);
    assert_eq!((town.core_calls, town.calls.len()), (0, 0));
    let bob = town.connect("bob");
    assert_eq!(town.snapshot(bob).presence_arr.len(), 1);
}

#[test]
fn requests_and_shares_are_passed_on_to_every_socket_of_their_recipient() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (first, second, bob) = (town.connect("alice"), town.connect("alice"), town.connect("bob"));
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
        town.seen(socket);
    }
    let (core_calls, calls) = (town.core_calls, town.calls.len());
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
        let event = town.passing_event("alice", change);
        town.deliver([event.clone(), event]);
        for socket in [first, second] {
            assert_eq!(town.seen(socket), std::slice::from_ref(&told), "once");
        }
    }
    assert_eq!(town.seen(bob), []);
    assert_eq!((town.core_calls, town.calls.len()), (core_calls, calls));
}

#[test]
fn an_account_that_is_gone_leaves_at_once_and_leaves_nothing_behind() {
    let mut town = Town::new(&["alice", "bob"], &[("alice", "bob")]);
    let (first, second, bob) = (town.connect("alice"), town.connect("alice"), town.connect("bob"));
    town.visit(first, "https://example.com/");
    town.seen(bob);
    let event = town.delete("alice");
    town.deliver([event.clone()]);
    for socket in [first, second] {
        assert_eq!(town.closed.get(&socket), Some(&CloseCode::AccountGone));
    }
    let gone = ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(town.now) };
    assert_eq!(town.seen(bob), [gone]);
    assert_eq!(town.saved("alice"), Saved::default());
    // Nor does a repeat bring anything back.
    town.deliver([event]);
    assert_eq!(town.saved("alice"), Saved::default());
    let peek = town.message("bob", 1, PeerSay::Peek);
    assert_eq!(town.speak("alice", peek), PeerAnswer::Offline { seq: 0, last_seen_at: None, wants: Interest::Nothing });
}

#[test]
fn a_suspended_user_leaves_at_once_and_is_there_again_when_restored() {
    let (mut town, first, bob) = two();
    let second = town.connect("alice");
    town.visit(first, "https://example.com/");
    town.seen(bob);
    let suspended = town.suspend("alice", true);
    town.deliver([suspended.clone()]);
    for socket in [first, second] {
        assert_eq!(town.closed.get(&socket), Some(&CloseCode::AccountGone));
    }
    let gone = ServerMessage::PresenceTimeout { user_id: id("alice"), last_seen_at: Some(town.now) };
    assert_eq!(town.seen(bob), [gone]);
    assert_eq!(town.read("bob", Some("alice")), Reply::One(None));
    // Whoever asks, she is offline; and a socket that was on its way in is closed.
    let late = town.connect("alice");
    assert_eq!(town.closed.get(&late), Some(&CloseCode::AccountGone));
    assert_eq!(town.seen(bob), []);

    let restored = town.suspend("alice", false);
    town.deliver([restored]);
    let back = town.connect("alice");
    town.visit(back, "https://example.com/again");
    assert_eq!(town.seen(bob).len(), 2, "she comes, and shows her page");
    // A repeat is known.
    town.deliver([CoreEvent { id: EventId(Uuid::from_u128(1 << 100)), ..suspended }]);
    assert_eq!(town.closed.get(&back), None);
}

#[test]
fn a_suspension_is_believed_though_a_change_before_it_is_missing_and_a_restoration_is_not() {
    let (mut town, alice, bob) = two();
    town.change_silently("alice", |_| {});
    let suspended = town.suspend("alice", true);
    town.core_is_away = true;
    town.deliver([suspended]);
    assert_eq!(town.closed.get(&alice), Some(&CloseCode::AccountGone));
    assert!(matches!(town.seen(bob)[..], [ServerMessage::PresenceTimeout { .. }]));

    let restored = town.suspend("alice", false);
    town.deliver([restored]);
    let early = town.connect("alice");
    assert_eq!(town.closed.get(&early), Some(&CloseCode::AccountGone), "it may have been suspended again before");
    town.core_is_away = false;
    let back = town.connect("alice");
    assert_eq!(town.closed.get(&back), None);
}

#[test]
fn a_suspension_that_only_the_core_s_answer_tells_closes_the_sockets() {
    let (mut town, alice, bob) = two();
    town.change_silently("alice", |social| social.suspended = true);
    let social = town.social("alice");
    town.load("alice", social);
    assert_eq!(town.closed.get(&alice), Some(&CloseCode::AccountGone));
    assert!(matches!(town.seen(bob)[..], [ServerMessage::PresenceTimeout { .. }]));
}

#[test]
fn sockets_that_a_lost_memory_left_open_are_closed_when_a_suspended_user_is_remembered() {
    let (town, alice, _bob) = two();
    let mut saved = town.saved("alice");
    let social = town.social("alice");
    saved.social = Some(CachedSocial::of(shared::internal::Social { suspended: true, ..social }));
    let mut alices = UserPresence::restore(id("alice"), Times::default(), saved, town.carried("alice"), town.now);
    let effects = alices.handle(Event::Woken { heard: Vec::new() }, town.now);
    assert!(effects.contains(&Effect::Close { socket: alice, code: CloseCode::AccountGone }));
    assert!(effects.iter().any(|effect| {
        matches!(effect, Effect::CallPeers { message, .. } if matches!(message.say, PeerSay::Bye { .. }))
    }));
    assert!(!alices.is_present());
}

#[test]
fn an_answer_of_the_core_that_a_removal_overtook_brings_nobody_back() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob")]);
    let alice = town.connect("alice");
    let old = town.social("alice");
    // One change is missing before the one that takes bob away.
    let [_missing, _] = town.befriend("alice", "carol");
    town.core_is_away = true;
    let [for_alice, _] = town.unfriend("alice", "bob");
    town.deliver([for_alice]);
    town.seen(alice);
    let calls = town.calls.len();
    town.load("alice", shared::internal::Social { version: old.version + 1, ..old });
    assert_eq!(town.read("alice", Some("bob")), Reply::NotFriends);
    assert_eq!(town.calls.len(), calls, "nothing is said to one who was taken away");
    // The newer answer comes.
    town.core_is_away = false;
    town.pass_ms(2_000);
    assert_ne!(town.read("alice", Some("carol")), Reply::NotFriends);
    assert_eq!(town.read("alice", Some("bob")), Reply::NotFriends);
}

#[test]
fn who_reads_while_their_account_goes_is_answered() {
    let (mut town, _alice, _bob) = two();
    town.hibernate("alice");
    town.slow.insert(id("bob"));
    let (all, one) = (town.begin_to_read("alice", None), town.begin_to_read("alice", Some("bob")));
    let gone = town.delete("alice");
    town.deliver([gone]);
    let Reply::All(all) = town.reply(all) else { panic!("she asked for all") };
    assert!(all.presence_arr.is_empty());
    assert_eq!(town.reply(one), Reply::NotFriends);
}

#[test]
fn whoever_registers_anew_is_not_behind_what_the_account_before_knew_of() {
    let (mut town, _alice, _bob) = two();
    let anew = town.social("alice");
    town.core_is_away = true;
    town.change_silently("alice", |_| {});
    let event = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let gone = town.delete("alice");
    town.deliver_together([event, gone]);
    town.load("alice", anew.clone());
    assert_eq!(town.kept("alice"), Some(anew));
}

#[test]
fn an_account_that_is_deleted_before_anything_is_known_of_it_is_forgotten_too() {
    // The core may be asked about it at this moment, and have answered before.
    let mut town = Town::new(&["alice"], &[]);
    let gone = town.delete("alice");
    let mut alice = UserPresence::restore(id("alice"), Times::default(), Saved::default(), Vec::new(), town.now);
    let effects = alice.handle(Event::CoreReported { events: vec![gone] }, town.now);
    assert!(effects.contains(&Effect::Forget));
}

#[test]
fn a_friend_made_while_nobody_was_there_and_the_core_was_away_is_listed_for_the_first_who_reads() {
    let mut town = Town::new(&["alice", "carol"], &[]);
    town.read("alice", None);
    town.core_is_away = true;
    town.change_silently("alice", |_| {});
    let [for_alice, _] = town.befriend("alice", "carol");
    town.deliver([for_alice]);
    town.core_is_away = false;
    for core_calls in [town.core_calls + 1, town.core_calls + 1] {
        let Reply::All(all) = town.read("alice", None) else { panic!("she reads of all") };
        assert_eq!(all.presence_arr.len(), 1);
        assert_eq!(town.core_calls, core_calls);
    }
}

#[test]
fn what_the_core_has_told_already_costs_no_call_when_its_event_comes_late() {
    let (mut town, _alice, _bob) = two();
    let late = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    town.change_silently("alice", |_| {});
    let newest = town.social("alice");
    town.load("alice", newest);
    let calls = town.core_calls;
    town.deliver([late]);
    assert_eq!(town.core_calls, calls);
    assert!(town.saved("alice").state.behind.is_none());
    // Nor does the one that is as new as what was told.
    let late = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    let newest = town.social("alice");
    town.load("alice", newest);
    town.deliver([late]);
    assert_eq!(town.core_calls, calls);
}

#[test]
fn a_friendship_that_ended_and_began_again_while_nobody_was_there_costs_no_call() {
    let (mut town, alice, _bob) = two();
    town.say(alice, r#"{"action":"goodbye"}"#);
    let [ended, _] = town.unfriend("alice", "bob");
    town.befriend("alice", "bob");
    let newest = town.social("alice");
    town.load("alice", newest);
    town.calls.clear();
    town.deliver([ended]);
    assert_eq!(town.calls, []);
}

#[test]
fn a_gap_that_was_fetched_is_forgotten() {
    let (mut town, alice, bob) = two();
    town.change_silently("alice", |_| {});
    let event = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    town.deliver([event]);
    let calls = town.core_calls;
    town.hibernate("alice");
    town.visit(alice, "https://elsewhere.org/");
    assert_eq!(town.update(bob).url, "https://elsewhere.org/");
    assert_eq!(town.core_calls, calls);
}

#[test]
fn with_the_core_away_settings_are_those_of_the_newest_event() {
    let (mut town, alice, bob) = two();
    town.core_is_away = true;
    town.change_silently("alice", |_| {});
    let all = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    let none = town.set_share("alice", ShareMode::DefaultNone, &[], &[]);
    town.deliver([all]);
    town.visit(alice, "https://example.com/");
    assert_eq!(town.update(bob).url, "https://example.com/");
    town.deliver([none]);
    assert_eq!(town.update(bob).url, "");
}

#[test]
fn nobody_wakes_for_an_old_list_while_away() {
    let (mut town, alice, _bob) = two();
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.core_is_away = true;
    town.change_silently("alice", |_| {});
    let event = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    town.deliver([event]);
    assert_eq!(town.next_wake("alice"), None, "whoever asks next fetches it");
    let old = town.kept("alice").unwrap();
    town.load("alice", old);
    assert_eq!(town.next_wake("alice"), None);
}

#[test]
fn an_old_answer_of_the_core_is_dropped_without_a_second_question() {
    let (mut town, _alice, _bob) = two();
    let wake = town.next_wake("alice");
    let mut old = town.social("alice");
    old.version = 0;
    town.load("alice", old);
    assert_eq!(town.next_wake("alice"), wake);
}

#[test]
fn a_repeat_of_a_deletion_leaves_the_account_registered_anew_alone() {
    let (mut town, _alice, _bob) = two();
    let gone = town.delete("alice");
    town.deliver([gone.clone()]);
    // Its versions begin beyond those of before.
    town.change_silently("alice", |_| {});
    let alice = town.connect("alice");
    town.deliver([gone]);
    assert_eq!(town.closed.get(&alice), None);
    assert!(town.kept("alice").is_some());
}

#[test]
fn who_was_no_friend_for_a_while_without_anybody_noticing_is_asked_how_they_are() {
    let (mut town, alice, bob) = two();
    let [for_alice, late] = town.unfriend("alice", "bob");
    town.deliver([for_alice]);
    town.say(alice, r#"{"action":"set-visibility","invisible":true}"#);
    let [for_alice, for_bob] = town.befriend("alice", "bob");
    town.deliver([for_alice, for_bob]);
    town.seen(bob);
    town.deliver([late]);
    assert!(matches!(town.seen(bob).as_slice(), [ServerMessage::PresenceTimeout { .. }]));
}

fn make_names_unreadable(saved: &mut Saved) {
    let text = saved.social.as_ref().unwrap().to_text();
    let (read, _) = text.rsplit_once('\n').unwrap();
    saved.social = Some(CachedSocial::from_text(&format!("{read}\n?")).unwrap());
}

#[test]
fn a_list_whose_names_cannot_be_read_is_fetched_when_it_changes() {
    let (mut town, alice, _bob) = two();
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.lose_after_saving("alice", make_names_unreadable);
    let event = town.set_share("alice", ShareMode::DefaultAll, &[], &[]);
    town.deliver([event]);
    assert_eq!(town.kept("alice"), Some(town.social("alice")));
    assert_eq!(town.kept("alice").unwrap().friends.len(), 1);
}

#[test]
fn names_that_cannot_be_read_are_fetched_when_somebody_is_to_see_them() {
    let (mut town, alice, _bob) = two();
    town.say(alice, r#"{"action":"goodbye"}"#);
    town.lose_after_saving("alice", make_names_unreadable);
    let Reply::All(snapshot) = town.read("alice", None) else { panic!("she is registered") };
    assert_eq!(snapshot.user_info_map.len(), 2);
    // As she comes, and on one more device of hers.
    for _ in 0..2 {
        town.lose_after_saving("alice", make_names_unreadable);
        let device = town.connect("alice");
        assert_eq!(town.snapshot(device).user_info_map.len(), 2);
    }
}
