//! Rules 2, 3 and 6: which page is shown, what of it, and in which order.

use presence::{Frame, Reply};
use shared::{
    ids::SocketId,
    share_policy::ShareMode,
    wire::{CloseCode, ErrorCode, PageView, PresenceSnapshot, ServerMessage},
};

use crate::town::{Town, id, two};

#[test]
fn a_page_change_reaches_the_friend_and_every_own_socket_with_all_its_fields() {
    let (mut town, alice, bob) = two();
    let other = town.connect("alice");
    town.seen(other);
    town.pass_ms(5_000);
    town.visit(alice, "https://user:pass@www.example.com/a?b=c#d");
    let update = town.update(bob);
    assert_eq!(update.user_id, id("alice"));
    assert_eq!(update.url, "https://www.example.com/a?b=c");
    assert_eq!((update.title.as_str(), update.domain.as_str()), ("A title", "example.com"));
    assert_eq!(update.latest_url, update.url);
    assert_eq!((update.latest_title.as_str(), update.latest_domain.as_str()), ("A title", "example.com"));
    assert_eq!(update.at, town.now);
    assert_eq!((update.idle, update.idle_since), (false, None));
    assert_eq!(town.update(alice), update);
    assert_eq!(town.update(other), update);
}

#[test]
fn a_page_change_costs_one_request_per_online_friend_and_no_row() {
    let mut town = Town::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, _bob) = (town.connect("alice"), town.connect("bob"));
    let (calls, saves, core_calls) = (town.calls.len(), town.saves, town.core_calls);
    town.visit(alice, "https://example.com/");
    assert_eq!((town.calls.len(), town.saves, town.core_calls), (calls + 1, saves, core_calls));
}

#[test]
fn a_page_change_is_noted_by_whoever_made_it_alone() {
    let (mut town, alice, _) = two();
    let attachings = town.attachings;
    town.visit(alice, "https://example.com/");
    assert_eq!(town.attachings, attachings + 2, "before it is told and after");
}

#[test]
fn a_hidden_page_leaves_the_last_shown_one_and_nothing_of_itself() {
    let (mut town, alice, bob) = two();
    town.visit(alice, "https://example.com/shown");
    town.seen(bob);
    for hidden in
        ["https://secret.org/x", "", "http://10.0.0.1/", "http://localhost/", "view-source:https://example.com/"]
    {
        town.pass_ms(2_000);
        town.visit(alice, "https://example.com/shown");
        town.seen(bob);
        town.visit(alice, hidden);
        let update = town.update(bob);
        assert_eq!((update.url.as_str(), update.title.as_str(), update.domain.as_str()), ("", "", ""), "{hidden}");
        assert_eq!(update.latest_url, "https://example.com/shown");
    }
    assert!(!format!("{:?}", town.calls).contains("secret"));
}

#[test]
fn from_one_hidden_page_to_another_nothing_is_said() {
    let (mut town, alice, bob) = two();
    town.visit(alice, "https://secret.org/1");
    town.visit(alice, "https://secret.org/2");
    assert_eq!(town.seen(bob), []);
}

#[test]
fn with_default_all_only_denied_domains_are_hidden() {
    let (mut town, alice, bob) = two();
    let event = town.set_share("alice", ShareMode::DefaultAll, &[], &["bank.com"]);
    town.deliver([event]);
    town.visit(alice, "https://anything.org/");
    assert_eq!(town.update(bob).domain, "anything.org");
    town.visit(alice, "https://login.bank.com/");
    assert_eq!(town.update(bob).url, "");
}

#[test]
fn settings_judge_the_page_in_front_anew_and_forget_the_latest_when_it_is_no_longer_allowed() {
    let (mut town, alice, bob) = two();
    town.visit(alice, "https://example.com/x");
    town.seen(bob);
    town.seen(alice);
    let event = town.set_share("alice", ShareMode::DefaultNone, &["github.com"], &[]);
    town.deliver([event.clone(), event]);
    let update = town.update(bob);
    assert_eq!((update.url.as_str(), update.latest_url.as_str()), ("", ""));
    assert!(matches!(
        town.seen(alice).as_slice(),
        [ServerMessage::UpdatePresence(_), ServerMessage::SettingsUpdated { share_mode: ShareMode::DefaultNone, .. }]
    ));

    let event = town.set_share("alice", ShareMode::DefaultNone, &["example.com"], &[]);
    town.deliver([event]);
    assert_eq!(town.update(bob).url, "https://example.com/x");
}

#[test]
fn the_socket_that_reported_last_is_in_front_until_it_closes() {
    let (mut town, laptop, bob) = two();
    let phone = town.connect("alice");
    town.visit(laptop, "https://example.com/laptop");
    town.visit(phone, "https://example.com/phone");
    town.seen(bob);
    town.disconnect(phone);
    assert_eq!(town.update(bob).url, "https://example.com/laptop");
}

#[test]
fn where_somebody_is_again_their_page_is_in_front() {
    let (mut town, first, bob) = two();
    let second = town.connect("alice");
    town.visit(first, "https://example.com/first");
    town.visit(second, "https://example.com/second");
    town.seen(bob);
    for message in [r#"{"action":"set-idle","idle":false}"#, r#"{"action":"set-idle","idle":true}"#] {
        town.say(first, message);
        town.say(first, message);
        assert_eq!(town.seen(bob), [], "nobody came back to the first");
    }
    town.say(first, r#"{"action":"set-idle","idle":false}"#);
    assert_eq!(town.update(bob).url, "https://example.com/first");
}

#[test]
fn a_new_socket_that_has_not_reported_hides_nothing() {
    let (mut town, old, bob) = two();
    town.visit(old, "https://example.com/x");
    town.seen(bob);
    town.connect("alice");
    town.disconnect(old);
    assert_eq!(town.seen(bob), []);
}

#[test]
fn every_change_has_a_higher_seq_even_within_one_millisecond() {
    let (mut town, alice, bob) = two();
    let seqs: Vec<u64> = (0..5)
        .map(|n| {
            town.visit(alice, &format!("https://example.com/{n}"));
            town.update(bob).seq
        })
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
}

#[test]
fn a_user_is_idle_when_all_their_sockets_are() {
    let (mut town, laptop, bob) = two();
    let phone = town.connect("alice");
    town.say(laptop, r#"{"action":"set-idle","idle":true}"#);
    assert_eq!(town.seen(bob), []);
    town.pass_ms(1_000);
    let since = town.now;
    town.say(phone, r#"{"action":"set-idle","idle":true}"#);
    let update = town.update(bob);
    assert_eq!((update.idle, update.idle_since), (true, Some(since)));
    town.say(laptop, r#"{"action":"set-idle","idle":false}"#);
    assert!(!town.update(bob).idle);
}

/// A fresh snapshot of a socket.
fn look_again(town: &mut Town, socket: SocketId) -> PresenceSnapshot {
    town.say(socket, r#"{"action":"watch","watching":false}"#);
    town.seen(socket);
    town.say(socket, r#"{"action":"watch","watching":true}"#);
    town.snapshot(socket)
}

#[test]
fn a_snapshot_tells_since_when_each_page_is_as_it_is() {
    let (mut town, alice, bob) = two();
    let of_alice = |town: &mut Town| look_again(town, bob).presence_arr.remove(0).at;
    town.pass_ms(5_000);
    town.visit(alice, "https://example.com/");
    let shown_at = town.now;
    for idle in [true, false] {
        town.pass_ms(5_000);
        town.say(alice, &format!(r#"{{"action":"set-idle","idle":{idle}}}"#));
        town.hibernate("alice");
        assert_eq!(of_alice(&mut town), Some(shown_at), "the page is the same");
    }
    town.pass_ms(5_000);
    town.visit(alice, "");
    let hidden_at = town.now;
    assert_eq!(of_alice(&mut town), Some(hidden_at));
    town.pass_ms(5_000);
    town.visit(alice, "https://secret.org/");
    assert_eq!(of_alice(&mut town), Some(hidden_at), "it is as hidden as before");
    assert_eq!(look_again(&mut town, alice).user_presence.at, Some(hidden_at));
    town.say(alice, r#"{"action":"goodbye"}"#);
    assert_eq!(of_alice(&mut town), None);
}

#[test]
fn what_is_no_message_is_refused_and_changes_nothing() {
    let (mut town, alice, bob) = two();
    let long = serde_json::json!({ "action": "update-presence", "url": format!("https://example.com/{}", "a".repeat(2_029)), "title": "t" });
    for text in ["", "not json", "[]", r#"{"action":"fly"}"#, r#"{"action":"update-presence"}"#, &long.to_string()] {
        town.say(alice, text);
        assert!(
            matches!(town.seen(alice).as_slice(), [ServerMessage::Error { code: ErrorCode::BadMessage, .. }]),
            "{text}"
        );
    }
    town.say_frame(alice, Frame::Unread { bytes: 3 });
    assert!(matches!(town.seen(alice).as_slice(), [ServerMessage::Error { .. }]));
    assert_eq!(town.seen(bob), []);
}

#[test]
fn a_frame_over_8_kib_closes_the_socket() {
    let (mut town, alice, _) = two();
    let longest = format!("{:8192}", r#"{"action":"heartbeat"}"#);
    town.seen(alice);
    town.say(alice, &longest);
    assert_eq!(town.seen(alice), [ServerMessage::Heartbeat]);
    let (mut town, alice, _) = two();
    let fits = format!(r#"{{"action":"heartbeat","x":"{}"}}"#, "a".repeat(8_192 - 30));
    town.say(alice, &fits);
    assert_eq!(town.seen(alice), [ServerMessage::Heartbeat]);
    town.say(alice, &" ".repeat(8_193));
    assert_eq!(town.closed.get(&alice), Some(&CloseCode::TooBig));
    assert_eq!(town.seen(alice), []);
}

/// What may have told of another page and cannot be taken.
fn unreadable_pages() -> Vec<Frame> {
    let url = |chars: usize| format!("https://example.com/{}", "a".repeat(chars - 20));
    let texts = [
        String::new(),
        "not json".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        r#"{"action":"update-presence","url":"https://example.com/x""#.to_owned(),
        r#"{"action":"update-presence"}"#.to_owned(),
        r#"{"action":"update-presence","url":null,"title":""}"#.to_owned(),
        r#"{"action":"update-presence","url":"https://example.com/x","title":7}"#.to_owned(),
        r#"{"action":"update-presence","url":"https://a.com/","url":"https://b.com/"}"#.to_owned(),
        r#"{"action":"update-presence","url":"https://a.com/","action":"dance"}"#.to_owned(),
        r#"{"action":"update-presence","url":"https://a.com/","n":1e999}"#.to_owned(),
        serde_json::json!({ "action": "update-presence", "url": url(2_049) }).to_string(),
        serde_json::json!({ "action": "update-presence", "url": format!("https://example.com/{}", "ü".repeat(2_000)) })
            .to_string(),
    ];
    texts.into_iter().map(Frame::Text).chain([Frame::Unread { bytes: 3 }]).collect()
}

#[test]
fn a_page_that_cannot_be_read_hides_the_one_before() {
    for frame in unreadable_pages() {
        let (mut town, alice, bob) = two();
        town.visit(alice, "https://example.com/before");
        town.seen(bob);
        town.seen(alice);
        town.say_frame(alice, frame.clone());
        let update = town.update(bob);
        assert_eq!((update.url.as_str(), update.title.as_str(), update.domain.as_str()), ("", "", ""), "{frame:?}");
        assert_eq!(update.latest_url, "https://example.com/before");
        assert!(matches!(
            town.seen(alice).as_slice(),
            [ServerMessage::UpdatePresence(own), ServerMessage::Error { code: ErrorCode::BadMessage, .. }] if *own == update
        ));
        // Nor does a socket that opens before the grace is over bring it back.
        town.disconnect(alice);
        let again = town.connect("alice");
        town.hibernate("alice");
        assert_eq!(town.seen(bob), []);
        assert_eq!(town.snapshot(again).user_presence.page, Some(PageView::default()));
    }
}

#[test]
fn a_page_that_cannot_be_read_is_hidden_however_often_pages_changed_before() {
    let (mut town, alice, bob) = two();
    for n in 0..20 {
        town.visit(alice, &format!("https://example.com/{n}"));
    }
    town.seen(bob);
    town.say(alice, "not json");
    assert_eq!(town.update(bob).url, "");
    town.pass_ms(10_000);
    assert_eq!(town.seen(bob), []);
}

#[test]
fn a_frame_that_is_too_big_hides_the_page_before_it_closes_the_socket() {
    for frame in [Frame::Text(" ".repeat(8_193)), Frame::Unread { bytes: 8_193 }] {
        let (mut town, alice, bob) = two();
        town.visit(alice, "https://example.com/before");
        town.seen(bob);
        town.say_frame(alice, frame);
        assert_eq!(town.update(bob).url, "");
        assert_eq!(town.closed.get(&alice), Some(&CloseCode::TooBig));
        let again = town.connect("alice");
        assert_eq!(town.seen(bob), []);
        assert_eq!(town.snapshot(again).user_presence.page, Some(PageView::default()));
    }
}

#[test]
fn a_page_that_comes_too_fast_hides_the_one_before_as_its_socket_is_closed() {
    for last in ["not json", r#"{"action":"update-presence","url":"https://bank.com/","title":""}"#] {
        let (mut town, alice, bob) = two();
        town.visit(alice, "https://example.com/before");
        town.seen(bob);
        for _ in 0..58 {
            town.say(alice, r#"{"action":"set-idle","idle":true}"#);
        }
        town.pass_ms(1_000);
        town.seen(bob);
        town.say(alice, last);
        assert_eq!(town.closed.get(&alice), Some(&CloseCode::TooFast));
        assert_eq!(town.update(bob).url, "");
        let again = town.connect("alice");
        assert_eq!(town.snapshot(again).user_presence.page, Some(PageView::default()));
    }
}

#[test]
fn a_message_that_tells_of_no_page_leaves_it_alone() {
    for text in [
        "{}",
        r#"{"action":"fly","url":"https://example.com/x"}"#,
        r#"{"action":7}"#,
        r#"{"action":"dance","n":1e999}"#,
        &format!(r#"{{"action":"dance","n":{}{}}}"#, "[".repeat(500), "]".repeat(500)),
        r#"{"action":"set-idle","idle":"yes"}"#,
        r#"{"action":"watch"}"#,
        r#"{"action":"set-visibility","invisible":null}"#,
        r#"{"action":"authenticate"}"#,
        r#"{"action":"authenticate","token":"bad"}"#,
    ] {
        let (mut town, alice, bob) = two();
        town.visit(alice, "https://example.com/before");
        town.seen(bob);
        town.seen(alice);
        town.say(alice, text);
        assert!(
            matches!(town.seen(alice).as_slice(), [ServerMessage::Error { code: ErrorCode::BadMessage, .. }]),
            "{text}"
        );
        assert_eq!(town.seen(bob), []);
    }
}

#[test]
fn half_an_emoji_in_a_title_is_replaced_and_the_page_is_shown() {
    let (mut town, alice, bob) = two();
    town.say(
        alice,
        r#"{"action":"update-presence","url":"https://example.com/","title":"\ude00 private \ud83d\ude00 \ud83d"}"#,
    );
    assert_eq!(town.update(bob).title, "\u{FFFD} private 😀 \u{FFFD}");
}

#[test]
fn a_title_is_shown_without_what_nobody_sees() {
    let (mut town, alice, bob) = two();
    town.say(
        alice,
        r#"{"action":"update-presence","url":"https://example.com/","title":" \u202egpj\u0000.\u200bexe\n"}"#,
    );
    assert_eq!(town.update(bob).title, "gpj.exe");
}

#[test]
fn what_is_denied_is_hidden_with_all_below_it() {
    let (mut town, alice, bob) = two();
    let event = town.set_share("alice", ShareMode::DefaultAll, &[], &["amazonaws.com", "docs.bank.com"]);
    town.deliver([event]);
    town.visit(alice, "https://example.com/");
    town.seen(bob);
    for url in ["https://bucket.s3.amazonaws.com/x", "https://www.bank.com./", "https://bank。com"] {
        town.visit(alice, url);
        assert_eq!(town.update(bob).url, "", "{url}");
        town.visit(alice, "https://example.com/");
        town.seen(bob);
        town.pass_ms(5_000);
    }
}

#[test]
fn a_get_shows_what_the_live_channel_shows() {
    let (mut town, alice, _) = two();
    town.visit(alice, "https://example.com/x");
    let calls = town.calls.len();
    let view = PageView { url: "https://example.com/x".into(), title: "A title".into(), domain: "example.com".into() };
    assert_eq!(town.read("bob", Some("alice")), Reply::One(Some(view.clone())));
    assert_eq!(town.read("alice", Some("alice")), Reply::One(Some(view)));
    assert_eq!(town.read("bob", Some("carol")), Reply::NotFriends);
    let Reply::All(all) = town.read("bob", None) else { panic!("a snapshot") };
    assert_eq!(all.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/x");
    assert_eq!(town.calls.len(), calls, "nobody is asked what they tell anyway");
}
