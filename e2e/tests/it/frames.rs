//! Frames that are not as they should be. They are refused, and the socket stays open wherever it can.

use anyhow::Result;
use e2e::Site;
use serde_json::Value;
use shared::{
    limits::FRAME_BYTES_MAX,
    wire::{ErrorCode, ServerMessage},
};

#[tokio::test]
async fn a_frame_that_is_no_message_is_refused_and_the_socket_stays_open() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    alice.share_only(&["example.com"]).await?;
    let mut live = alice.connect().await?;
    let bad = [
        "{\"action\":",
        "",
        "hello",
        "null",
        "[]",
        "{\"action\":\"fly-to-the-moon\"}",
        "{\"action\":\"update-presence\"}",
        "{\"action\":\"update-presence\",\"url\":7,\"title\":\"t\"}",
    ];
    for text in bad {
        live.send_text(text);
        let ServerMessage::Error { code, detail } = live.answer().await? else { panic!("taken: {text}") };
        assert_eq!(code, ErrorCode::BadMessage, "{text}");
        assert!(!detail.is_empty(), "{text}");
    }
    live.send_binary(&b"{\"action\":\"heartbeat\"}"[..]);
    let answer = live.answer().await?;
    assert!(matches!(answer, ServerMessage::Error { code: ErrorCode::BadMessage, .. }), "a binary frame: {answer:?}");
    let raw: Value = serde_json::from_str(live.seen().last().unwrap())?;
    assert_eq!((&raw["type"], &raw["code"]), (&"error".into(), &"bad-message".into()));

    live.visit("https://example.com/", "Still here")?;
    assert_eq!(live.update().await?.title, "Still here");
    Ok(())
}

#[tokio::test]
async fn unknown_fields_are_ignored() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    alice.share_only(&["example.com"]).await?;
    let mut live = alice.connect().await?;
    live.send_text(r#"{"title":"t","later":[1],"url":"https://example.com/","action":"update-presence"}"#);
    assert_eq!(live.update().await?.url, "https://example.com/");
    Ok(())
}

#[tokio::test]
async fn a_frame_over_8_kib_closes_the_socket_and_one_of_8_kib_does_not() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    alice.share_only(&["example.com"]).await?;
    let mut live = alice.connect().await?;
    let of_size = |bytes: usize| {
        let message = r#"{"action":"update-presence","url":"https://example.com/","title":""}"#;
        let (head, tail) = message.split_at(message.len() - 2);
        format!("{head}{}{tail}", "x".repeat(bytes - message.len()))
    };
    live.send_text(of_size(FRAME_BYTES_MAX));
    assert_eq!(live.update().await?.title, "x".repeat(300));

    live.send_text(of_size(9 * 1_024));
    assert_eq!(live.closed().await?, Some(1009));

    let mut live = alice.connect().await?;
    live.send_binary(vec![0; FRAME_BYTES_MAX + 1]);
    assert_eq!(live.closed().await?, Some(1009));
    Ok(())
}

#[tokio::test]
async fn one_socket_closed_for_its_frames_leaves_the_others_alone() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut good), (_, mut bob_live)) = site.friends_online().await?;
    let mut bad = alice.connect().await?;
    bad.send_text("x".repeat(9 * 1_024));
    assert_eq!(bad.closed().await?, Some(1009));
    good.visit("https://example.com/", "")?;
    assert_eq!(good.update().await?.url, "https://example.com/");
    assert_eq!(bob_live.update().await?.url, "https://example.com/");
    Ok(())
}

#[tokio::test]
async fn an_unreadable_frame_hides_the_page_from_friends_and_a_reconnect_does_not_bring_it_back() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (_, mut bob_live)) = site.friends_online().await?;
    for text in [
        r#"{"action":"update-presence","url":7}"#.to_owned(),
        "hello".to_owned(),
        // The runtime takes frames of up to 32 MiB.
        "x".repeat(31 * 1_024 * 1_024),
    ] {
        alice_live.visit("https://example.com/before", "Before")?;
        while bob_live.update().await?.url.is_empty() {}
        alice_live.send_text(text);
        let hidden = bob_live.update().await?;
        assert_eq!((hidden.url.as_str(), hidden.latest_url.as_str()), ("", "https://example.com/before"));
    }
    assert_eq!(alice_live.closed().await?, Some(1009));
    let (alice_live, snapshot) = alice.connect_with_snapshot().await?;
    assert_eq!(snapshot.user_presence.page.map(|page| page.url), Some(String::new()));
    alice_live.send_text(r#"{"action":"update-presence","url":"https://example.com/","title":"\ude00 half"}"#);
    assert_eq!(bob_live.update().await?.title, "\u{FFFD} half");
    Ok(())
}
