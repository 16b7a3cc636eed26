//! What the core tells the live channel besides friendships: requests, shares, blocks and the end of an account.

use anyhow::Result;
use e2e::{Live, Person, Site};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    api::ShareNotification,
    ids::{ShareId, UserId},
    share_policy::ShareMode,
    wire::ServerMessage,
};

async fn share(live: &mut Live) -> Result<ShareNotification> {
    live.find(|message| match message {
        ServerMessage::ShareNotification { notification } => Some(notification),
        _ => None,
    })
    .await
}

async fn request_removed(live: &mut Live) -> Result<UserId> {
    live.find(|message| match message {
        ServerMessage::FriendRequestRemoved { user_id } => Some(user_id),
        _ => None,
    })
    .await
}

#[tokio::test]
async fn a_request_shows_at_once_and_goes_when_it_is_taken_back_or_answered_elsewhere() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = (site.person("Alice").await?, site.person("Bob").await?);
    let (mut first, mut second) = (bob.connect().await?, bob.connect().await?);
    for taken_back in [true, false] {
        alice.ask(&bob).await?;
        for live in [&mut first, &mut second] {
            let asked = live
                .find(|message| match message {
                    ServerMessage::FriendRequest { user } => Some(user),
                    _ => None,
                })
                .await?;
            assert_eq!((&asked.user_id, &asked.first_name), (&alice.id, &alice.first_name));
            let raw: Value = serde_json::from_str(live.seen().last().unwrap())?;
            let listed = bob.call(Method::GET, "/friendship/requests", None).await?;
            assert_eq!(raw, json!({"type": "friend-request", "user": listed[0]}));
        }
        if taken_back {
            alice.unfriend(&bob).await?;
        } else {
            bob.call(Method::DELETE, &format!("/friendship/requests/{}", alice.id), None).await?;
        }
        for live in [&mut first, &mut second] {
            assert_eq!(request_removed(live).await?, alice.id);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_shared_page_reaches_every_socket_and_being_read_on_one_shows_on_the_others() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut first)) = site.friends_online().await?;
    let mut second = bob.connect().await?;
    let page = json!({"url": "https://elsewhere.org/path#part", "title": "Look at this"});
    let id: ShareId = serde_json::from_value(alice.call(Method::POST, "/notifications/share", Some(page)).await?)?;
    for live in [&mut first, &mut second] {
        let share = share(live).await?;
        assert_eq!((share.event_id, &share.user_id), (id, &alice.id));
        let raw: Value = serde_json::from_str(live.seen().last().unwrap())?;
        let listed = bob.call(Method::GET, "/notifications/share", None).await?;
        assert_eq!(raw, json!({"type": "share-notification", "notification": listed[0]}));
    }
    bob.call(Method::POST, "/notifications/share/read", Some(json!([{"event_id": id}]))).await?;
    for live in [&mut first, &mut second] {
        let read = live
            .find(|message| match message {
                ServerMessage::ShareNotificationRead { event_ids } => Some(event_ids),
                _ => None,
            })
            .await?;
        assert_eq!(read, [id]);
    }
    // The sender's own sockets hear nothing of the share: their next update is about something else.
    alice_live.visit("https://example.com/", "")?;
    alice_live.update().await?;
    assert!(!alice_live.has_seen("share-notification"));
    Ok(())
}

#[tokio::test]
async fn every_socket_hears_of_requests_of_friends_and_of_settings() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = (site.person("Alice").await?, site.person("Bob").await?);
    let mut sockets = [alice.connect().await?, alice.connect().await?];
    // Each change is made only when the sockets have heard of the one before, so their order is known.
    bob.ask(&alice).await?;
    for live in &mut sockets {
        let asked =
            |message| if let ServerMessage::FriendRequest { user } = message { Some(user.user_id) } else { None };
        assert_eq!(live.find(asked).await?, bob.id);
    }
    alice.accept(&bob).await?;
    for live in &mut sockets {
        let (mut answered, mut accepted) = (None, None);
        while answered.is_none() || accepted.is_none() {
            let message = live.message().await?;
            if let ServerMessage::FriendRequestRemoved { user_id } = message {
                answered = Some(user_id);
            } else if let ServerMessage::FriendAccepted { user } = message {
                accepted = Some(user.user_id);
            }
        }
        assert_eq!((answered, accepted), (Some(bob.id.clone()), Some(bob.id.clone())));
    }
    alice.share_only(&["example.org"]).await?;
    for live in &mut sockets {
        let settings = |message| match message {
            ServerMessage::SettingsUpdated { domain_allow_array, .. } => Some(domain_allow_array),
            _ => None,
        };
        assert_eq!(
            live.find(settings).await?.iter().map(|domain| domain.as_str()).collect::<Vec<_>>(),
            ["example.org"]
        );
    }
    bob.unfriend(&alice).await?;
    for live in &mut sockets {
        let removed =
            |message| if let ServerMessage::FriendRemoved { user_id } = message { Some(user_id) } else { None };
        assert_eq!(live.find(removed).await?, bob.id);
    }
    Ok(())
}

#[tokio::test]
async fn a_block_cuts_both_at_once_and_for_good() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice.call(Method::PUT, &format!("/friendship/blocks/{}", bob.id), None).await?;
    assert_eq!(alice_live.gone().await?, (bob.id.clone(), None));
    assert_eq!(bob_live.gone().await?, (alice.id.clone(), None));
    assert_eq!(bob.may_see(&alice.id).await?, StatusCode::FORBIDDEN);
    assert_eq!(alice.may_see(&bob.id).await?, StatusCode::FORBIDDEN);
    bob_live.visit("https://example.com/secret", "")?;
    bob_live.update().await?;
    alice_live.visit("https://example.com/", "")?;
    alice_live.update().await?;
    assert!(!alice_live.has_seen("secret"));
    let asked = bob.request(Method::POST, "/friendship/requests").json(&json!({"user_id2": alice.id})).send().await?;
    assert_eq!(asked.status(), StatusCode::NOT_FOUND);
    Ok(())
}

#[tokio::test]
async fn a_deleted_account_loses_its_sockets_and_its_place_among_friends() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    let mut other_device = alice.connect().await?;
    let deleted = alice.request(Method::DELETE, "/users/me").send().await?;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_eq!(alice_live.closed().await?, Some(4403));
    assert_eq!(other_device.closed().await?, Some(4403));
    assert_eq!(bob_live.gone().await?.0, alice.id);
    let removed = |message| match message {
        ServerMessage::FriendRemoved { user_id } => Some(user_id),
        _ => None,
    };
    if !bob_live.has_seen("friend-removed") {
        assert_eq!(bob_live.find(removed).await?, alice.id);
    }
    assert_eq!(bob.presence().await?.presence_arr.len(), 0);
    let refused = alice.request(Method::GET, "/presence").send().await?;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    // A person who registers again under the same id is a new user, and starts with nothing.
    alice.register().await?;
    let (_live, snapshot) = alice.connect_with_snapshot().await?;
    assert_eq!((snapshot.presence_arr.len(), snapshot.user_presence.last_seen_at), (0, None));
    Ok(())
}

#[tokio::test]
async fn a_new_name_is_told_to_friends_and_to_the_user_and_is_in_the_next_read() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    let renamed = Person { first_name: "Alicia".to_owned(), ..alice.clone() };
    renamed.share(ShareMode::DefaultNone, &["example.com"], &[]).await?;
    for live in [&mut alice_live, &mut bob_live] {
        let user = live.find(|message| match message {
            ServerMessage::FriendUpdated { user } => Some(user),
            _ => None,
        });
        let user = user.await?;
        assert_eq!((&user.user_id, user.first_name.as_str()), (&alice.id, "Alicia"));
    }
    for reader in [&alice, &bob] {
        assert_eq!(reader.presence().await?.user_info_map[&alice.id].first_name, "Alicia");
    }
    Ok(())
}
