//! Only friends see a user. Strangers and people who have only asked get nothing, and a friendship counts from the moment it
//! begins to the moment it ends.

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::{Live, Person, Site};
use reqwest::StatusCode;
use serde_json::Value;
use shared::{api::FriendshipState, wire::ServerMessage};

/// The longest time until the end of a friendship shows, as the contract promises.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Checks that pages of Alice reach Bob and not the outsider, neither live nor by REST.
async fn sees_nothing(outsider: &Person, alice: (&Person, &Live), bob: &mut Live) -> Result<()> {
    let (alice, alice_live) = alice;
    let (mut outsider_live, snapshot) = outsider.connect_with_snapshot().await?;
    assert!(snapshot.presence_arr.is_empty() && snapshot.user_info_map.len() == 1, "{snapshot:?}");
    for n in 0..3 {
        let url = format!("https://example.com/{n}");
        alice_live.visit(&url, "for friends")?;
        assert_eq!(bob.update().await?.url, url);
    }
    assert_eq!(outsider.may_see(&alice.id).await?, StatusCode::FORBIDDEN);
    assert_eq!(alice.may_see(&outsider.id).await?, StatusCode::FORBIDDEN);
    for (me, other) in [(outsider, alice), (alice, outsider)] {
        let all = me.presence().await?;
        assert!(all.presence_arr.iter().all(|presence| presence.user_id != other.id));
        assert!(!all.user_info_map.contains_key(&other.id));
    }
    // The next message is the outsider's own echo, so nothing of Alice came before it.
    outsider_live.visit("https://arxiv.org/", "")?;
    assert_eq!(outsider_live.update().await?.user_id, outsider.id);
    assert!(!outsider_live.has_seen(alice.id.as_str()), "{:?}", outsider_live.seen());
    assert!(!bob.has_seen(outsider.id.as_str()), "{:?}", bob.seen());
    Ok(())
}

#[tokio::test]
async fn a_stranger_sees_nothing() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (_, mut bob_live)) = site.friends_online().await?;
    let mallory = site.person("Mallory").await?;
    sees_nothing(&mallory, (&alice, &alice_live), &mut bob_live).await
}

#[tokio::test]
async fn a_friend_of_a_friend_sees_nothing() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    let carol = site.person("Carol").await?;
    bob.befriend(&carol).await?;
    let (mut carol_live, snapshot) = carol.connect_with_snapshot().await?;
    assert_eq!(snapshot.presence_arr.len(), 1);
    assert_eq!(bob_live.update().await?.user_id, carol.id);
    alice_live.visit("https://example.com/", "")?;
    assert_eq!(bob_live.update().await?.user_id, alice.id);
    assert_eq!(carol.may_see(&alice.id).await?, StatusCode::FORBIDDEN);
    carol_live.visit("https://arxiv.org/", "")?;
    assert_eq!(carol_live.update().await?.user_id, carol.id);
    assert!(!carol_live.has_seen(alice.id.as_str()));
    Ok(())
}

#[tokio::test]
async fn a_person_who_has_asked_or_was_asked_sees_nothing_before_the_answer() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (_, mut bob_live)) = site.friends_online().await?;
    let (asking, asked) = (site.person("Asking").await?, site.person("Asked").await?);
    asking.ask(&alice).await?;
    alice.ask(&asked).await?;
    sees_nothing(&asking, (&alice, &alice_live), &mut bob_live).await?;
    sees_nothing(&asked, (&alice, &alice_live), &mut bob_live).await
}

#[tokio::test]
async fn a_friendship_accepted_while_both_are_online_shows_both() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = (site.person("Alice").await?, site.person("Bob").await?);
    alice.share_only(&["example.com"]).await?;
    let (mut alice_live, mut bob_live) = (alice.connect().await?, bob.connect().await?);
    alice_live.visit("https://example.com/", "Already here")?;
    alice_live.update().await?;

    alice.ask(&bob).await?;
    bob.accept(&alice).await?;

    for (live, friend, url) in [(&mut alice_live, &bob, ""), (&mut bob_live, &alice, "https://example.com/")] {
        // The two messages come in any order.
        let (mut accepted, mut shown) = (None, None);
        while accepted.is_none() || shown.is_none() {
            let message = live.message().await?;
            if let ServerMessage::FriendAccepted { user } = message {
                let raw: Value = serde_json::from_str(live.seen().last().unwrap())?;
                assert_eq!(raw["user"]["friendship_state"], 2);
                accepted = Some(user);
            } else if let ServerMessage::UpdatePresence(update) = message {
                shown = Some(update);
            }
        }
        let (accepted, shown) = (accepted.unwrap(), shown.unwrap());
        assert_eq!((&accepted.user_id, &accepted.first_name), (&friend.id, &friend.first_name));
        assert_eq!(accepted.friendship_state, Some(FriendshipState::Accepted));
        assert_eq!((&shown.user_id, shown.url.as_str()), (&friend.id, url));
    }
    // From here on they are like any friends.
    alice_live.visit("https://example.com/next", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/next");
    assert_eq!(bob.page_of(&alice.id).await?.unwrap().url, "https://example.com/next");
    Ok(())
}

#[tokio::test]
async fn asking_back_is_accepting() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = (site.person("Alice").await?, site.person("Bob").await?);
    let (mut alice_live, mut bob_live) = (alice.connect().await?, bob.connect().await?);
    alice.ask(&bob).await?;
    bob.ask(&alice).await?;
    assert_eq!(alice_live.update().await?.user_id, bob.id);
    assert_eq!(bob_live.update().await?.user_id, alice.id);
    Ok(())
}

#[tokio::test]
async fn the_end_of_a_friendship_hides_both_from_each_other_at_once_and_for_good() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice_live.visit("https://example.com/before", "")?;
    alice_live.update().await?;
    bob_live.update().await?;

    bob.unfriend(&alice).await?;
    let ended = Instant::now();

    for (live, other) in [(&mut alice_live, &bob), (&mut bob_live, &alice)] {
        assert_eq!(live.gone().await?.0, other.id);
        let removed = live.find(|message| match message {
            ServerMessage::FriendRemoved { user_id } => Some(user_id),
            _ => None,
        });
        assert_eq!(removed.await?, other.id);
    }
    assert!(ended.elapsed() < AT_ONCE, "it took {:?}", ended.elapsed());

    // After that, each gets only their own echo.
    alice_live.visit("https://example.com/after-alice", "")?;
    assert_eq!(alice_live.update().await?.url, "https://example.com/after-alice");
    bob_live.visit("https://example.com/after-bob", "")?;
    assert_eq!(bob_live.update().await?.user_id, bob.id);
    alice_live.visit("https://example.com/after-both", "")?;
    assert_eq!(alice_live.update().await?.user_id, alice.id);
    assert!(!bob_live.has_seen("after-alice") && !alice_live.has_seen("after-bob"));
    assert_eq!(bob.may_see(&alice.id).await?, StatusCode::FORBIDDEN);
    assert_eq!(alice.may_see(&bob.id).await?, StatusCode::FORBIDDEN);
    assert!(alice.presence().await?.presence_arr.is_empty() && bob.presence().await?.presence_arr.is_empty());

    // A reconnect shows no friend either.
    let (_, snapshot) = bob.connect_with_snapshot().await?;
    assert!(snapshot.presence_arr.is_empty());
    Ok(())
}

#[tokio::test]
async fn friends_who_made_up_see_each_other_again() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice.unfriend(&bob).await?;
    assert_eq!(alice_live.gone().await?.0, bob.id);
    assert_eq!(bob_live.gone().await?.0, alice.id);
    alice.befriend(&bob).await?;
    assert_eq!(alice_live.update().await?.user_id, bob.id);
    assert_eq!(bob_live.update().await?.user_id, alice.id);
    alice_live.visit("https://example.com/again", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/again");
    Ok(())
}
