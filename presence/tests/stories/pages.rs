//! Which page is shown, which fields of it, and in which order.

use presence::{Frame, Reply};
use shared::{
    ids::SocketId,
    share_policy::ShareMode,
    wire::{CloseCode, ErrorCode, PageView, PresenceSnapshot, ServerMessage},
};

use crate::population::{Population, id, two};

#[test]
fn a_page_change_reaches_the_friend_and_every_own_socket_with_all_its_fields() {
    let (mut population, alice, bob) = two();
    let other = population.connect("alice");
    population.seen(other);
    population.pass_ms(5_000);
    population.visit(alice, "https://user:pass@www.example.com/a?b=c#d");
    let update = population.update(bob);
    assert_eq!(update.user_id, id("alice"));
    assert_eq!(update.url, "https://www.example.com/a?b=c");
    assert_eq!((update.title.as_str(), update.domain.as_str()), ("A title", "example.com"));
    assert_eq!(update.latest_url, update.url);
    assert_eq!((update.latest_title.as_str(), update.latest_domain.as_str()), ("A title", "example.com"));
    assert_eq!(update.at, population.now);
    assert_eq!((update.idle, update.idle_since), (false, None));
    assert_eq!(population.update(alice), update);
    assert_eq!(population.update(other), update);
}

#[test]
fn a_page_change_costs_one_request_per_online_friend_and_no_row() {
    let mut population = Population::new(&["alice", "bob", "carol"], &[("alice", "bob"), ("alice", "carol")]);
    let (alice, _bob) = (population.connect("alice"), population.connect("bob"));
    let (calls, saves, core_calls) = (population.calls.len(), population.saves, population.core_calls);
    population.visit(alice, "https://example.com/");
    assert_eq!((population.calls.len(), population.saves, population.core_calls), (calls + 1, saves, core_calls));
}

#[test]
fn a_page_change_is_noted_only_where_it_was_made() {
    let (mut population, alice, _) = two();
    let attachings = population.attachings;
    population.visit(alice, "https://example.com/");
    assert_eq!(population.attachings, attachings + 2, "before it is told and after");
}

#[test]
fn a_hidden_page_leaves_the_last_shown_one_and_nothing_of_itself() {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://example.com/shown");
    population.seen(bob);
    for hidden in
        ["https://secret.org/x", "", "http://10.0.0.1/", "http://localhost/", "view-source:https://example.com/"]
    {
        population.pass_ms(2_000);
        population.visit(alice, "https://example.com/shown");
        population.seen(bob);
        population.visit(alice, hidden);
        let update = population.update(bob);
        assert_eq!((update.url.as_str(), update.title.as_str(), update.domain.as_str()), ("", "", ""), "{hidden}");
        assert_eq!(update.latest_url, "https://example.com/shown");
    }
    assert!(!format!("{:?}", population.calls).contains("secret"));
}

#[test]
fn a_change_from_one_hidden_page_to_another_is_not_told() {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://secret.org/1");
    population.visit(alice, "https://secret.org/2");
    assert_eq!(population.seen(bob), []);
}

#[test]
fn with_default_all_only_denied_domains_are_hidden() {
    let (mut population, alice, bob) = two();
    let event = population.set_share("alice", ShareMode::DefaultAll, &[], &["bank.com"]);
    population.deliver([event]);
    population.visit(alice, "https://anything.org/");
    assert_eq!(population.update(bob).domain, "anything.org");
    population.visit(alice, "https://login.bank.com/");
    assert_eq!(population.update(bob).url, "");
}

#[test]
fn new_settings_apply_to_the_page_in_front_and_forget_the_latest_if_it_is_no_longer_allowed() {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://example.com/x");
    population.seen(bob);
    population.seen(alice);
    let event = population.set_share("alice", ShareMode::DefaultNone, &["github.com"], &[]);
    population.deliver([event.clone(), event]);
    let update = population.update(bob);
    assert_eq!((update.url.as_str(), update.latest_url.as_str()), ("", ""));
    assert!(matches!(
        population.seen(alice).as_slice(),
        [ServerMessage::UpdatePresence(_), ServerMessage::SettingsUpdated { share_mode: ShareMode::DefaultNone, .. }]
    ));

    let event = population.set_share("alice", ShareMode::DefaultNone, &["example.com"], &[]);
    population.deliver([event]);
    assert_eq!(population.update(bob).url, "https://example.com/x");
}

#[test]
fn the_socket_that_reported_last_is_in_front_until_it_closes() {
    let (mut population, laptop, bob) = two();
    let phone = population.connect("alice");
    population.visit(laptop, "https://example.com/laptop");
    population.visit(phone, "https://example.com/phone");
    population.seen(bob);
    population.disconnect(phone);
    assert_eq!(population.update(bob).url, "https://example.com/laptop");
}

#[test]
fn the_page_of_a_socket_that_is_no_longer_idle_comes_to_the_front() {
    let (mut population, first, bob) = two();
    let second = population.connect("alice");
    population.visit(first, "https://example.com/first");
    population.visit(second, "https://example.com/second");
    population.seen(bob);
    for message in [r#"{"action":"set-idle","idle":false}"#, r#"{"action":"set-idle","idle":true}"#] {
        population.say(first, message);
        population.say(first, message);
        assert_eq!(population.seen(bob), [], "nobody came back to the first");
    }
    population.say(first, r#"{"action":"set-idle","idle":false}"#);
    assert_eq!(population.update(bob).url, "https://example.com/first");
}

#[test]
fn a_new_socket_that_has_not_reported_hides_nothing() {
    let (mut population, old, bob) = two();
    population.visit(old, "https://example.com/x");
    population.seen(bob);
    population.connect("alice");
    population.disconnect(old);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn every_change_has_a_higher_seq_even_within_one_millisecond() {
    let (mut population, alice, bob) = two();
    let seqs: Vec<u64> = (0..5)
        .map(|n| {
            population.visit(alice, &format!("https://example.com/{n}"));
            population.update(bob).seq
        })
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
}

#[test]
fn a_user_is_idle_when_all_their_sockets_are() {
    let (mut population, laptop, bob) = two();
    let phone = population.connect("alice");
    population.say(laptop, r#"{"action":"set-idle","idle":true}"#);
    assert_eq!(population.seen(bob), []);
    population.pass_ms(1_000);
    let since = population.now;
    population.say(phone, r#"{"action":"set-idle","idle":true}"#);
    let update = population.update(bob);
    assert_eq!((update.idle, update.idle_since), (true, Some(since)));
    population.say(laptop, r#"{"action":"set-idle","idle":false}"#);
    assert!(!population.update(bob).idle);
}

/// Lets a socket stop watching and watch again. Gives the fresh snapshot.
fn look_again(population: &mut Population, socket: SocketId) -> PresenceSnapshot {
    population.say(socket, r#"{"action":"watch","watching":false}"#);
    population.seen(socket);
    population.say(socket, r#"{"action":"watch","watching":true}"#);
    population.snapshot(socket)
}

#[test]
fn a_snapshot_tells_since_when_each_page_is_as_it_is() {
    let (mut population, alice, bob) = two();
    let of_alice = |population: &mut Population| look_again(population, bob).presence_arr.remove(0).at;
    population.pass_ms(5_000);
    population.visit(alice, "https://example.com/");
    let shown_at = population.now;
    for idle in [true, false] {
        population.pass_ms(5_000);
        population.say(alice, &format!(r#"{{"action":"set-idle","idle":{idle}}}"#));
        population.hibernate("alice");
        assert_eq!(of_alice(&mut population), Some(shown_at), "the page is the same");
    }
    population.pass_ms(5_000);
    population.visit(alice, "");
    let hidden_at = population.now;
    assert_eq!(of_alice(&mut population), Some(hidden_at));
    population.pass_ms(5_000);
    population.visit(alice, "https://secret.org/");
    assert_eq!(of_alice(&mut population), Some(hidden_at), "it is as hidden as before");
    assert_eq!(look_again(&mut population, alice).user_presence.at, Some(hidden_at));
    population.say(alice, r#"{"action":"goodbye"}"#);
    assert_eq!(of_alice(&mut population), None);
}

#[test]
fn a_frame_that_is_no_message_is_refused_and_changes_nothing() {
    let (mut population, alice, bob) = two();
    let long = serde_json::json!({ "action": "update-presence", "url": format!("https://example.com/{}", "a".repeat(2_029)), "title": "t" });
    for text in ["", "not json", "[]", r#"{"action":"fly"}"#, r#"{"action":"update-presence"}"#, &long.to_string()] {
        population.say(alice, text);
        assert!(
            matches!(population.seen(alice).as_slice(), [ServerMessage::Error { code: ErrorCode::BadMessage, .. }]),
            "{text}"
        );
    }
    population.say_frame(alice, Frame::Unread { bytes: 3 });
    assert!(matches!(population.seen(alice).as_slice(), [ServerMessage::Error { .. }]));
    assert_eq!(population.seen(bob), []);
}

#[test]
fn a_frame_over_8_kib_closes_the_socket() {
    let (mut population, alice, _) = two();
    let longest = format!("{:8192}", r#"{"action":"heartbeat"}"#);
    population.seen(alice);
    population.say(alice, &longest);
    assert_eq!(population.seen(alice), [ServerMessage::Heartbeat]);
    let (mut population, alice, _) = two();
    let fits = format!(r#"{{"action":"heartbeat","x":"{}"}}"#, "a".repeat(8_192 - 30));
    population.say(alice, &fits);
    assert_eq!(population.seen(alice), [ServerMessage::Heartbeat]);
    population.say(alice, &" ".repeat(8_193));
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::TooBig));
    assert_eq!(population.seen(alice), []);
}

/// Frames that may have reported another page and cannot be read.
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
        let (mut population, alice, bob) = two();
        population.visit(alice, "https://example.com/before");
        population.seen(bob);
        population.seen(alice);
        population.say_frame(alice, frame.clone());
        let update = population.update(bob);
        assert_eq!((update.url.as_str(), update.title.as_str(), update.domain.as_str()), ("", "", ""), "{frame:?}");
        assert_eq!(update.latest_url, "https://example.com/before");
        assert!(matches!(
            population.seen(alice).as_slice(),
            [ServerMessage::UpdatePresence(own), ServerMessage::Error { code: ErrorCode::BadMessage, .. }] if *own == update
        ));
        // A socket that opens before the grace is over does not bring the page back.
        population.disconnect(alice);
        let again = population.connect("alice");
        population.hibernate("alice");
        assert_eq!(population.seen(bob), []);
        assert_eq!(population.snapshot(again).user_presence.page, Some(PageView::default()));
    }
}

#[test]
fn a_page_that_cannot_be_read_is_hidden_however_often_pages_changed_before() {
    let (mut population, alice, bob) = two();
    for n in 0..20 {
        population.visit(alice, &format!("https://example.com/{n}"));
    }
    population.seen(bob);
    population.say(alice, "not json");
    assert_eq!(population.update(bob).url, "");
    population.pass_ms(10_000);
    assert_eq!(population.seen(bob), []);
}

#[test]
fn a_frame_that_is_too_big_hides_the_page_before_it_closes_the_socket() {
    for frame in [Frame::Text(" ".repeat(8_193)), Frame::Unread { bytes: 8_193 }] {
        let (mut population, alice, bob) = two();
        population.visit(alice, "https://example.com/before");
        population.seen(bob);
        population.say_frame(alice, frame);
        assert_eq!(population.update(bob).url, "");
        assert_eq!(population.closed.get(&alice), Some(&CloseCode::TooBig));
        let again = population.connect("alice");
        assert_eq!(population.seen(bob), []);
        assert_eq!(population.snapshot(again).user_presence.page, Some(PageView::default()));
    }
}

#[test]
fn a_page_that_comes_too_fast_hides_the_one_before_as_its_socket_is_closed() {
    for last in ["not json", r#"{"action":"update-presence","url":"https://bank.com/","title":""}"#] {
        let (mut population, alice, bob) = two();
        population.visit(alice, "https://example.com/before");
        population.seen(bob);
        for _ in 0..58 {
            population.say(alice, r#"{"action":"set-idle","idle":true}"#);
        }
        population.pass_ms(1_000);
        population.seen(bob);
        population.say(alice, last);
        assert_eq!(population.closed.get(&alice), Some(&CloseCode::TooFast));
        assert_eq!(population.update(bob).url, "");
        let again = population.connect("alice");
        assert_eq!(population.snapshot(again).user_presence.page, Some(PageView::default()));
    }
}

#[test]
fn a_message_about_no_page_that_comes_too_fast_closes_its_socket_and_leaves_the_page_for_the_grace() {
    let (mut population, alice, bob) = two();
    population.visit(alice, "https://example.com/");
    population.seen(bob);
    population.pass_ms(1_000);
    while !population.closed.contains_key(&alice) {
        population.say(alice, r#"{"action":"watch","watching":true}"#);
    }
    assert_eq!(population.closed.get(&alice), Some(&CloseCode::TooFast));
    assert_eq!(population.seen(bob), []);
    let again = population.connect("alice");
    assert_eq!(population.snapshot(again).user_presence.page.unwrap().url, "https://example.com/");
}

#[test]
fn a_bad_message_that_reports_no_page_leaves_the_page_shown() {
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
        let (mut population, alice, bob) = two();
        population.visit(alice, "https://example.com/before");
        population.seen(bob);
        population.seen(alice);
        population.say(alice, text);
        assert!(
            matches!(population.seen(alice).as_slice(), [ServerMessage::Error { code: ErrorCode::BadMessage, .. }]),
            "{text}"
        );
        assert_eq!(population.seen(bob), []);
    }
}

#[test]
fn half_an_emoji_in_a_title_is_replaced_and_the_page_is_shown() {
    let (mut population, alice, bob) = two();
    population.say(
        alice,
        r#"{"action":"update-presence","url":"https://example.com/","title":"\ude00 private \ud83d\ude00 \ud83d"}"#,
    );
    assert_eq!(population.update(bob).title, "\u{FFFD} private 😀 \u{FFFD}");
}

#[test]
fn a_title_is_shown_without_invisible_characters() {
    let (mut population, alice, bob) = two();
    population.say(
        alice,
        r#"{"action":"update-presence","url":"https://example.com/","title":" \u202egpj\u0000.\u200bexe\n"}"#,
    );
    assert_eq!(population.update(bob).title, "gpj.exe");
}

#[test]
fn a_denied_domain_is_hidden_with_all_its_subdomains() {
    let (mut population, alice, bob) = two();
    let event = population.set_share("alice", ShareMode::DefaultAll, &[], &["amazonaws.com", "docs.bank.com"]);
    population.deliver([event]);
    population.visit(alice, "https://example.com/");
    population.seen(bob);
    for url in ["https://bucket.s3.amazonaws.com/x", "https://www.bank.com./", "https://bank。com"] {
        population.visit(alice, url);
        assert_eq!(population.update(bob).url, "", "{url}");
        population.visit(alice, "https://example.com/");
        population.seen(bob);
        population.pass_ms(5_000);
    }
}

#[test]
fn a_get_shows_what_the_live_channel_shows() {
    let (mut population, alice, _) = two();
    population.visit(alice, "https://example.com/x");
    let calls = population.calls.len();
    let view = PageView { url: "https://example.com/x".into(), title: "A title".into(), domain: "example.com".into() };
    assert_eq!(population.read("bob", Some("alice")), Reply::One(Some(view.clone())));
    assert_eq!(population.read("alice", Some("alice")), Reply::One(Some(view)));
    assert_eq!(population.read("bob", Some("carol")), Reply::NotFriends);
    let Reply::All(all) = population.read("bob", None) else { panic!("a snapshot") };
    assert_eq!(all.presence_arr[0].page.as_ref().unwrap().url, "https://example.com/x");
    assert_eq!(population.calls.len(), calls, "nobody is asked what they tell anyway");
}
