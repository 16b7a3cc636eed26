//! The rules of the live channel through the real worker: leaving on purpose, invisibility, watching, tokens and their
//! end, and how much a client may do.

use std::time::Duration;

use anyhow::Result;
use devstack::{
    test_run::GRACE,
    token::{self, TokenRequest},
};
use e2e::{Live, Site, TokenIn, live_request};
use shared::{
    limits::{BAD_MESSAGES_MAX, FRAMES_PER_WINDOW_CLOSE, SOCKETS_MAX},
    wire::{ClientMessage, ErrorCode, ServerMessage},
};
use tokio::time::Instant;

/// Sends a bad message and waits for the error. Then everything that was sent before has been handled.
async fn answers(live: &mut Live) -> Result<()> {
    live.send_text("?");
    live.find(|message| matches!(message, ServerMessage::Error { .. }).then_some(())).await
}

#[tokio::test]
async fn a_goodbye_is_seen_at_once() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    let leaving = Instant::now();
    alice_live.say(&ClientMessage::Goodbye)?;
    let (who, last_seen_at) = bob_live.gone().await?;
    assert_eq!(who, alice.id);
    assert!(leaving.elapsed() < GRACE, "with the grace: {:?}", leaving.elapsed());
    assert!(last_seen_at.is_some());
    assert_eq!(alice_live.closed().await?, Some(1000));
    assert_eq!(bob.page_of(&alice.id).await?, None);
    Ok(())
}

#[tokio::test]
async fn the_invisible_are_offline_for_everybody_and_still_see_their_friends() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice_live.visit("https://example.com/before", "")?;
    bob_live.update().await?;
    alice_live.say(&ClientMessage::SetVisibility { invisible: true })?;
    let (_, vanished_at) = bob_live.gone().await?;
    alice_live.visit("https://example.com/unseen", "")?;

    bob_live.visit("https://example.com/bob", "")?;
    let seen = alice_live.find(|message| match message {
        ServerMessage::UpdatePresence(update) if update.user_id == bob.id => Some(update.url),
        _ => None,
    });
    assert_eq!(seen.await?, "https://example.com/bob");

    // She stays invisible over a reconnect, and the time at which she vanished stays too.
    alice_live.close().await?;
    let (alice_live, snapshot) = alice.connect_with_snapshot().await?;
    assert_eq!(snapshot.presence_arr[0].page.as_ref().map(|page| page.url.as_str()), Some("https://example.com/bob"));
    alice_live.visit("https://example.com/unseen", "")?;
    let all = bob.presence().await?;
    assert_eq!((&all.presence_arr[0].page, all.presence_arr[0].last_seen_at), (&None, vanished_at));
    assert_eq!(bob.page_of(&alice.id).await?, None);

    alice_live.say(&ClientMessage::SetVisibility { invisible: false })?;
    while bob_live.update().await?.url != "https://example.com/unseen" {}
    let texts: Vec<_> = bob_live.seen().iter().filter(|text| text.contains("unseen")).collect();
    assert_eq!(texts.len(), 1, "nothing was shown before: {texts:?}");
    Ok(())
}

#[tokio::test]
async fn a_user_who_does_not_watch_gets_no_pages_until_they_watch_again() -> Result<()> {
    let site = Site::of_tests()?;
    let ((_, alice_live), (_, mut bob_live)) = site.friends_online().await?;
    bob_live.say(&ClientMessage::Watch { watching: false })?;
    answers(&mut bob_live).await?;
    for page in ["1", "2", "3"] {
        alice_live.visit(&format!("https://example.com/{page}"), "")?;
    }
    bob_live.visit("https://example.com/bob", "")?;
    bob_live.say(&ClientMessage::Watch { watching: true })?;
    let snapshot = loop {
        match bob_live.answer().await? {
            ServerMessage::PresenceSnapshot(snapshot) => break snapshot,
            ServerMessage::UpdatePresence(update) => panic!("a page: {}", update.url),
            _ => {}
        }
    };
    let page = snapshot.presence_arr[0].page.as_ref().map(|page| page.url.as_str());
    // Alice's pages and Bob's wish to watch again take different ways, so the last page may come after the snapshot.
    if page != Some("https://example.com/3") {
        while bob_live.update().await?.url != "https://example.com/3" {}
    }
    alice_live.visit("https://example.com/4", "")?;
    while bob_live.update().await?.url != "https://example.com/4" {}
    Ok(())
}

#[tokio::test]
async fn a_socket_ends_with_its_token_unless_a_fresh_one_comes() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let short = TokenRequest { expires_in_s: 4, ..TokenRequest::new(alice.id.as_str()) };
    let open = async || -> Result<Live> {
        let token = token::mint(&site.info, &short).await?;
        let (mut live, _) = Live::open(live_request(&site, "/ws", &token, TokenIn::Query)?).await?;
        live.snapshot().await?;
        Ok(live)
    };
    let (mut ends, mut goes_on) = (open().await?, open().await?);
    goes_on.say(&ClientMessage::Authenticate { token: alice.token.clone() })?;
    assert_eq!(ends.closed().await?, Some(4401));
    answers(&mut goes_on).await
}

#[tokio::test]
async fn a_token_of_somebody_else_does_not_extend_a_socket() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = (site.person("Alice").await?, site.person("Bob").await?);
    let mut live = alice.connect().await?;
    for token in [bob.token.as_str(), "a.b.c", ""] {
        live.say(&ClientMessage::Authenticate { token: token.to_owned() })?;
        let answer = live.answer().await?;
        assert!(matches!(answer, ServerMessage::Error { code: ErrorCode::BadMessage, .. }), "{answer:?}");
    }
    assert!(!live.has_seen(&bob.token));
    Ok(())
}

#[tokio::test]
async fn an_eleventh_socket_closes_the_first() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let mut first = alice.connect().await?;
    let mut others = Vec::new();
    for _ in 0..SOCKETS_MAX {
        others.push(alice.connect().await?);
    }
    assert_eq!(first.closed().await?, Some(4409));
    for mut live in others {
        answers(&mut live).await?;
    }
    Ok(())
}

#[tokio::test]
async fn bad_messages_and_floods_close_the_socket_each_with_its_code() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    alice.share_only(&["example.com"]).await?;
    let mut rude = alice.connect().await?;
    for _ in 0..BAD_MESSAGES_MAX {
        rude.send_text("{}");
    }
    assert_eq!(rude.closed().await?, Some(4400));
    let mut fast = alice.connect().await?;
    for page in 0..FRAMES_PER_WINDOW_CLOSE {
        fast.visit(&format!("https://example.com/{page}"), "")?;
    }
    assert_eq!(fast.closed().await?, Some(4429));
    assert!(fast.has_seen("rate-limited"));
    Ok(())
}

#[tokio::test]
async fn a_burst_ends_with_the_newest_page() -> Result<()> {
    let site = Site::of_tests()?;
    let ((_, alice_live), (_, mut bob_live)) = site.friends_online().await?;
    for page in 0..25 {
        alice_live.visit(&format!("https://example.com/{page}"), "")?;
    }
    let begun = Instant::now();
    let mut updates = 0;
    while bob_live.update().await?.url != "https://example.com/24" {
        updates += 1;
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert!(updates <= 11, "{updates} before the newest");
    Ok(())
}
