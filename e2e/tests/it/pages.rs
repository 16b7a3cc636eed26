//! A reported page: who hears of it, and every field of what they hear.

use anyhow::Result;
use e2e::Site;
use reqwest::Method;
use serde_json::{Value, json};
use shared::wire::{ClientMessage, PageView, PresenceSnapshot};

/// The names of an object's fields, in alphabetical order.
pub fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn view(url: &str, title: &str, domain: &str) -> PageView {
    PageView { url: url.to_owned(), title: title.to_owned(), domain: domain.to_owned() }
}

#[tokio::test]
async fn a_page_reaches_the_friend_and_the_users_other_socket_with_every_field() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut laptop), (bob, mut bob_live)) = site.friends_online().await?;
    let mut phone = alice.connect().await?;

    laptop.visit("https://www.example.com/a?b=c", "A title")?;
    let update = bob_live.update().await?;
    let raw: Value = serde_json::from_str(bob_live.seen().last().unwrap())?;
    assert_eq!(
        keys(&raw),
        [
            "at",
            "domain",
            "idle",
            "idleSince",
            "latestDomain",
            "latestTitle",
            "latestUrl",
            "seq",
            "title",
            "type",
            "url",
            "userId"
        ]
    );
    let mut expected = json!({
        "type": "update-presence", "userId": alice.id,
        "url": "https://www.example.com/a?b=c", "title": "A title", "domain": "example.com",
        "latestUrl": "https://www.example.com/a?b=c", "latestTitle": "A title", "latestDomain": "example.com",
        "idle": false, "idleSince": null,
    });
    expected["seq"] = raw["seq"].clone();
    expected["at"] = raw["at"].clone();
    assert_eq!(raw, expected);
    assert!(raw["at"].as_str().unwrap().ends_with('Z'), "{}", raw["at"]);

    // Both of her sockets get exactly the same update as echo.
    assert_eq!(laptop.update().await?, update);
    assert_eq!(phone.update().await?, update);

    // REST says the same, to both of them.
    let page = view("https://www.example.com/a?b=c", "A title", "example.com");
    assert_eq!(bob.page_of(&alice.id).await?, Some(page.clone()));
    assert_eq!(alice.page_of(&alice.id).await?, Some(page.clone()));
    let of_alice = bob.presence().await?.presence_arr;
    assert_eq!(of_alice.len(), 1);
    assert_eq!((&of_alice[0].user_id, &of_alice[0].page), (&alice.id, &Some(page.clone())));
    assert_eq!(of_alice[0].latest_page, Some(page.clone()));
    assert_eq!(alice.presence().await?.user_presence.page, Some(page));
    Ok(())
}

#[tokio::test]
async fn rest_answers_what_the_snapshot_says() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice_live.visit("https://example.com/", "Home")?;
    alice_live.update().await?;
    bob_live.update().await?;
    let (_, snapshot) = bob.connect_with_snapshot().await?;
    let answer = bob.call(Method::GET, "/presence", None).await?;
    let raw = ["presenceArr", "userInfoMap", "userPresence"];
    assert!(raw.iter().all(|key| answer.get(key).is_some()), "{answer}");
    assert_eq!(serde_json::from_value::<PresenceSnapshot>(answer)?, snapshot);
    assert_eq!(snapshot.presence_arr[0].user_id, alice.id);
    Ok(())
}

#[tokio::test]
async fn the_newest_page_of_any_socket_is_in_front_and_the_one_before_returns_when_it_closes() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut laptop), (_, mut bob_live)) = site.friends_online().await?;
    let phone = alice.connect().await?;
    laptop.visit("https://example.com/laptop", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/laptop");
    laptop.update().await?;
    phone.visit("https://example.com/phone", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/phone");
    assert_eq!(laptop.update().await?.url, "https://example.com/phone");

    phone.close().await?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/laptop");
    assert_eq!(laptop.update().await?.url, "https://example.com/laptop");
    Ok(())
}

#[tokio::test]
async fn seq_grows_with_every_change_and_the_newest_state_comes_last() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    // These are as many changes as may go out at once.
    let pages: Vec<String> = (0..10).map(|n| format!("https://example.com/{n}")).collect();
    for page in &pages {
        alice_live.visit(page, "")?;
    }
    let mut last = bob_live.update().await?;
    while last.url != pages[9] {
        let next = bob_live.update().await?;
        assert!(next.seq > last.seq && next.at >= last.at, "{last:?} was followed by {next:?}");
        let place = |url: &str| pages.iter().position(|page| page == url).unwrap();
        assert!(place(&next.url) > place(&last.url), "an older page came after a newer one");
        last = next;
    }
    assert_eq!(bob.page_of(&alice.id).await?.map(|page| page.url), Some(pages[9].clone()));
    Ok(())
}

#[tokio::test]
async fn seq_goes_on_growing_after_going_offline() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (_, mut bob_live)) = site.friends_online().await?;
    alice_live.visit("https://example.com/before", "")?;
    let before = bob_live.update().await?;
    alice_live.close().await?;
    assert_eq!(bob_live.gone().await?.0, alice.id);
    let alice_live = alice.connect().await?;
    let back = bob_live.update().await?;
    assert!(back.seq > before.seq);
    assert_eq!((back.url.as_str(), back.latest_url.as_str()), ("", ""), "pages are forgotten when going offline");
    alice_live.visit("https://example.com/after", "")?;
    let after = bob_live.update().await?;
    assert!(after.seq > back.seq);
    assert_eq!(after.url, "https://example.com/after");
    Ok(())
}

#[tokio::test]
async fn a_user_is_idle_while_all_their_sockets_are() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, laptop), (_, mut bob_live)) = site.friends_online().await?;
    let phone = alice.connect().await?;
    laptop.say(&ClientMessage::SetIdle { idle: true })?;
    // The phone is still in use, so the next update does not say that she is idle.
    laptop.visit("https://example.com/", "")?;
    let update = bob_live.update().await?;
    assert!(!update.idle && update.idle_since.is_none() && !update.url.is_empty(), "{update:?}");
    phone.say(&ClientMessage::SetIdle { idle: true })?;
    let update = bob_live.update().await?;
    assert!(update.idle && update.idle_since.is_some(), "{update:?}");
    phone.say(&ClientMessage::SetIdle { idle: false })?;
    let update = bob_live.update().await?;
    assert!(!update.idle && update.idle_since.is_none(), "{update:?}");
    Ok(())
}
