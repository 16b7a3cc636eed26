//! What things cost the real worker: requests between objects, rows and wake-ups.

use anyhow::Result;
use devstack::test_run::TIMEOUT;
use e2e::{Live, Person, Site};
use shared::{
    internal::ObjectCounts,
    wire::{ClientMessage, HEARTBEAT_REQUEST, ServerMessage},
};

/// Alice and this many friends, all online, and with nothing more in progress.
async fn crowd(site: &Site, friends: usize) -> Result<((Person, Live), Vec<(Person, Live)>)> {
    let alice = site.person("Alice").await?;
    alice.share_only(&["example.com"]).await?;
    let mut others = Vec::new();
    for _ in 0..friends {
        let other = site.person("Bob").await?;
        other.befriend(&alice).await?;
        let live = other.connect().await?;
        others.push((other, live));
    }
    let alice_live = alice.connect().await?;
    for (_, live) in &mut others {
        live.update().await?;
    }
    Ok(((alice, alice_live), others))
}

/// Calls of friends, calls of the core and frames between two counts. Alarms and rows are left out, because the clock alone
/// causes some.
fn spent(before: ObjectCounts, after: ObjectCounts) -> (u64, u64, u64) {
    (after.peer_calls - before.peer_calls, after.core_calls - before.core_calls, after.frames - before.frames)
}

#[tokio::test]
async fn heartbeats_wake_nothing() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let mut live = alice.connect_silently().await?;
    let before = alice.counts().await?;
    let begun = std::time::Instant::now();
    // These are as many as in an hour at one a minute.
    for _ in 0..60 {
        live.send_text(HEARTBEAT_REQUEST);
        assert_eq!(live.answer().await?, ServerMessage::Heartbeat);
    }
    let after = alice.counts().await?;
    // Only the alarm that looks for silence wakes the object, once per time-out.
    let alarms = u64::try_from(begun.elapsed().as_millis() / TIMEOUT.as_millis())? + 1;
    assert_eq!((after.frames, after.requests, after.starts), (before.frames, before.requests, before.starts));
    assert!(after.alarms - before.alarms <= alarms && after.rows - before.rows <= alarms, "{before:?} {after:?}");
    Ok(())
}

#[tokio::test]
async fn a_page_change_costs_one_request_per_friend_who_watches_and_no_row() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), mut others) = crowd(&site, 4).await?;
    let (_, left) = others.pop().unwrap();
    left.say(&ClientMessage::Goodbye)?;
    let (_, unwatching) = others.last_mut().unwrap();
    unwatching.say(&ClientMessage::Watch { watching: false })?;
    // When this is answered, the message before it has been handled.
    unwatching.send_text("?");
    unwatching.find(|message| matches!(message, ServerMessage::Error { .. }).then_some(())).await?;
    let (mut pages, mut before) = (0, alice.counts().await?);
    let mut turn = async |others: &mut Vec<(Person, Live)>| -> Result<ObjectCounts> {
        pages += 1;
        let url = format!("https://example.com/{pages}");
        alice_live.visit(&url, "")?;
        for (_, live) in others.iter_mut().take(2) {
            while live.update().await?.url != url {}
        }
        alice.counts().await
    };
    // Alice's object learns from the answers to the first pages who watches and who left.
    loop {
        let after = turn(&mut others).await?;
        if after.peer_calls - before.peer_calls == 2 {
            break;
        }
        before = after;
    }
    let before = alice.counts().await?;
    let begun = std::time::Instant::now();
    for _ in 0..5 {
        turn(&mut others).await?;
    }
    let after = alice.counts().await?;
    assert_eq!(spent(before, after), (10, 0, 5), "5 pages for 2 who watch: {before:?} {after:?}");
    // Nothing was written except the alarm, which is set again when it fires.
    let alarms = u64::try_from(begun.elapsed().as_millis() / TIMEOUT.as_millis())? + 1;
    assert!(after.rows - before.rows <= alarms, "{before:?} {after:?}");
    Ok(())
}

#[tokio::test]
async fn connecting_costs_one_request_per_friend_and_at_most_one_core_call() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), _others) = crowd(&site, 3).await?;
    alice_live.say(&ClientMessage::Goodbye)?;
    while alice.page_of(&alice.id).await?.is_some() {}
    let before = alice.counts().await?;
    let _live = alice.connect().await?;
    let after = alice.counts().await?;
    assert_eq!(after.peer_calls - before.peer_calls, 3);
    // There is no call if the core was asked a moment ago.
    assert!(after.core_calls - before.core_calls <= 1);
    // A second device costs no calls.
    let _second = alice.connect().await?;
    let second = alice.counts().await?;
    assert_eq!((second.peer_calls, second.core_calls), (after.peer_calls, after.core_calls));
    Ok(())
}
