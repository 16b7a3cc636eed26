//! Heartbeats, silence, and the grace after the last socket has closed.

use std::time::Duration;

use anyhow::Result;
use devstack::test_run::{GRACE, TIMEOUT};
use e2e::Site;
use reqwest::Method;
use shared::wire::{ClientMessage, HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE, ServerMessage};
use tokio::time::{Instant, sleep};

/// The code with which a silent socket is closed.
const SILENT: Option<u16> = Some(4408);

#[tokio::test]
async fn heartbeats_alone_keep_a_user_online() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let mut bob_live = bob.connect().await?;
    let mut alice_live = alice.connect_silently().await?;
    bob_live.update().await?;

    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT * 2 {
        alice_live.send_text(HEARTBEAT_REQUEST);
        assert_eq!(alice_live.answer().await?, ServerMessage::Heartbeat);
        assert_eq!(alice_live.seen().last().unwrap(), HEARTBEAT_RESPONSE);
        sleep(TIMEOUT / 5).await;
    }
    // Bob has heard nothing meanwhile.
    alice_live.visit("https://example.com/", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/");
    Ok(())
}

#[tokio::test]
async fn a_heartbeat_in_another_spelling_counts_as_well() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let mut bob_live = bob.connect().await?;
    let mut alice_live = alice.connect_silently().await?;
    bob_live.update().await?;
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT * 3 / 2 {
        alice_live.send_text("{ \"action\": \"heartbeat\" }");
        assert_eq!(alice_live.answer().await?, ServerMessage::Heartbeat);
        assert_eq!(alice_live.seen().last().unwrap(), HEARTBEAT_RESPONSE);
        sleep(TIMEOUT / 5).await;
    }
    alice_live.visit("https://example.com/", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/");
    Ok(())
}

#[tokio::test]
async fn silence_times_out_and_friends_are_told_when_the_user_was_last_seen() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let mut bob_live = bob.connect().await?;
    let mut alice_live = alice.connect_silently().await?;
    bob_live.update().await?;
    alice_live.visit("https://example.com/", "")?;
    let shown = bob_live.update().await?;
    let heard = Instant::now();

    let (who, last_seen_at) = bob_live.gone().await?;
    assert_eq!(who, alice.id);
    assert!(heard.elapsed() >= TIMEOUT - Duration::from_millis(500), "too early: {:?}", heard.elapsed());
    // The visit was the last sign of life.
    assert_eq!(last_seen_at, Some(shown.at));
    assert_eq!(alice_live.closed().await?, SILENT);

    let all = bob.presence().await?;
    let of_alice = &all.presence_arr[0];
    assert_eq!((&of_alice.page, &of_alice.latest_page, of_alice.idle), (&None, &None, false));
    assert_eq!(of_alice.last_seen_at, last_seen_at);
    assert_eq!(bob.page_of(&alice.id).await?, None);
    assert_eq!(alice.presence().await?.user_presence.last_seen_at, last_seen_at);
    let (_, snapshot) = bob.connect_with_snapshot().await?;
    assert_eq!(snapshot.presence_arr[0].last_seen_at, last_seen_at);
    Ok(())
}

#[tokio::test]
async fn a_silent_socket_is_closed_while_the_user_stays_online_through_another() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, beating), (_, mut bob_live)) = site.friends_online().await?;
    let mut silent = alice.connect_silently().await?;
    silent.visit("https://example.com/silent", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/silent");
    assert_eq!(silent.closed().await?, SILENT);
    beating.visit("https://example.com/beating", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/beating");
    Ok(())
}

#[tokio::test]
async fn closing_the_last_socket_shows_after_the_grace() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, first), (bob, mut bob_live)) = site.friends_online().await?;
    let second = alice.connect().await?;
    first.close().await?;
    second.visit("https://example.com/", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/", "one socket is enough");

    let closing = Instant::now();
    second.close().await?;
    // She is shown as online until the grace is over.
    assert_eq!(bob.page_of(&alice.id).await?.unwrap().url, "https://example.com/");
    let (who, last_seen_at) = bob_live.gone().await?;
    assert_eq!(who, alice.id);
    assert!(last_seen_at.is_some());
    assert!(closing.elapsed() >= GRACE, "too early: {:?}", closing.elapsed());
    assert_eq!(bob.page_of(&alice.id).await?, None);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_without_a_close_frame_ends_presence_as_well() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (_, mut bob_live)) = site.friends_online().await?;
    drop(alice_live);
    assert_eq!(bob_live.gone().await?.0, alice.id);
    Ok(())
}

#[tokio::test]
async fn a_reconnect_within_the_grace_is_seen_by_nobody() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice_live.visit("https://example.com/before", "Before")?;
    let before = bob_live.update().await?;

    alice_live.close().await?;
    let (alice_live, snapshot) = alice.connect_with_snapshot().await?;
    // Nothing has changed in her own snapshot either.
    assert_eq!(snapshot.user_presence.page.unwrap().url, before.url);
    assert_eq!(bob.page_of(&alice.id).await?.unwrap().url, before.url);
    // The client reports the page that is shown already, so there is still nothing to tell.
    alice_live.visit("https://example.com/before", "Before")?;
    // Wait until after the moment at which she would have left without the reconnect.
    sleep(GRACE * 3 / 2).await;
    alice_live.visit("https://example.com/after", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/after");
    Ok(())
}

#[tokio::test]
async fn idleness_ends_with_the_connection() -> Result<()> {
    let site = Site::of_tests()?;
    let ((_, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice_live.say(&ClientMessage::SetIdle { idle: true })?;
    assert!(bob_live.update().await?.idle);
    alice_live.close().await?;
    bob_live.gone().await?;
    assert!(!bob.presence().await?.presence_arr[0].idle);
    Ok(())
}

#[tokio::test]
async fn somebody_offline_sees_who_is_online_when_they_ask() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let mut alice_live = alice.connect().await?;
    alice_live.visit("https://example.com/", "Here")?;
    alice_live.update().await?;
    let seen = bob.presence().await?;
    assert_eq!(seen.user_presence.page, None, "asking is not being online");
    assert_eq!(seen.presence_arr[0].page.as_ref().unwrap().title, "Here");
    assert_eq!(bob.page_of(&alice.id).await?.unwrap().title, "Here");
    // Alice did not hear of him either.
    assert_eq!(alice.call(Method::GET, &format!("/presence/{}", bob.id), None).await?, serde_json::Value::Null);
    alice_live.visit("https://example.com/next", "")?;
    assert_eq!(alice_live.update().await?.user_id, alice.id);
    Ok(())
}
