//! Opening the live channel: three places for the token, and the snapshot that comes first.

use anyhow::Result;
use e2e::{Live, Site, TokenIn, live_request};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use shared::wire::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::Error;

use crate::pages::keys;

#[tokio::test]
async fn the_snapshot_comes_first_and_shows_oneself_and_every_friend() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let carol = site.person("Carol").await?;
    alice.befriend(&carol).await?;
    let mut bob_live = bob.connect().await?;
    bob_live.visit("https://example.com/bob", "Bob's page")?;
    let shown = bob_live.update().await?;

    let (alice_live, snapshot) = alice.connect_with_snapshot().await?;

    let me = &snapshot.user_presence;
    assert_eq!(me.user_id, alice.id);
    assert_eq!(me.page.as_ref().map(|page| page.url.as_str()), Some(""));
    assert_eq!(me.last_seen_at, None);
    assert_eq!(snapshot.presence_arr.len(), 2);
    let of = |id| snapshot.presence_arr.iter().find(|presence| presence.user_id == id).unwrap();
    let (of_bob, of_carol) = (of(bob.id.clone()), of(carol.id.clone()));
    let page = of_bob.page.as_ref().unwrap();
    assert_eq!((page.url.as_str(), page.title.as_str()), ("https://example.com/bob", "Bob's page"));
    assert_eq!(of_bob.latest_page, of_bob.page);
    assert_eq!((&of_carol.page, &of_carol.latest_page, of_carol.at), (&None, &None, None));
    assert_eq!(of_bob.at, Some(shown.at));
    assert_eq!(of_carol.last_seen_at, None, "Carol has never been online");
    let names: Vec<&str> = snapshot.user_info_map.values().map(|user| user.first_name.as_str()).collect();
    assert_eq!(snapshot.user_info_map.len(), 3);
    assert!(["Alice", "Bob", "Carol"].iter().all(|name| names.contains(name)), "{names:?}");
    // Two friendships and one list of domains: each raised the version.
    assert!(snapshot.version >= 4, "{}", snapshot.version);

    let raw: Value = serde_json::from_str(&alice_live.seen()[0])?;
    assert_eq!(raw["type"], "presence-snapshot");
    assert_eq!(keys(&raw), ["presenceArr", "type", "userInfoMap", "userPresence", "version"]);
    let presence_keys = ["at", "idle", "idleSince", "lastSeenAt", "latestPage", "page", "userId"];
    assert_eq!(keys(&raw["userPresence"]), presence_keys);
    assert_eq!(keys(&raw["presenceArr"][0]), presence_keys);
    assert_eq!(keys(&raw["userPresence"]["page"]), ["domain", "title", "url"]);
    let info_keys = ["first_name", "last_name", "profile_image_extension", "user_id"];
    assert_eq!(keys(&raw["userInfoMap"][alice.id.as_str()]), info_keys);
    Ok(())
}

#[tokio::test]
async fn a_token_opens_the_channel_in_each_of_its_places() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    for path in ["/ws", "/"] {
        for place in TokenIn::ALL {
            let request = live_request(&site, path, &alice.token, place)?;
            let (mut live, answer) = Live::open(request).await?;
            let told = live.snapshot().await?;
            assert_eq!(told.user_presence.user_id, alice.id, "{path} {place:?}");
            let protocol = answer.headers().get(header::SEC_WEBSOCKET_PROTOCOL.as_str());
            let expected = (place == TokenIn::Subprotocol).then_some(SUBPROTOCOL);
            assert_eq!(protocol.map(|value| value.to_str().unwrap()), expected, "{path} {place:?}");
            assert!(!format!("{answer:?}").contains(&alice.token), "the token came back: {path} {place:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_bare_token_is_taken_without_its_scheme() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    for path in ["/presence", "/users/me"] {
        let answer = site.request(Method::GET, path).header(header::AUTHORIZATION, &alice.token).send().await?;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_person_is_let_in_only_once_they_have_registered() -> Result<()> {
    let site = Site::of_tests()?;
    let dave = site.newcomer("Dave").await?;
    assert_eq!(dave.request(Method::GET, "/users/me").send().await?.status(), StatusCode::NOT_FOUND);
    let Err(Error::Http(answer)) = Live::open(live_request(&site, "/ws", &dave.token, TokenIn::Query)?).await else {
        panic!("somebody who has not registered was let in");
    };
    assert_eq!(answer.status().as_u16(), 403);
    let answer = dave.request(Method::GET, "/presence").send().await?;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");

    dave.register().await?;
    let (_, snapshot) = dave.connect_with_snapshot().await?;
    assert_eq!(snapshot.user_presence.user_id, dave.id);
    Ok(())
}

#[tokio::test]
async fn the_channel_refuses_a_request_that_is_no_upgrade() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let answer = alice.request(Method::GET, "/ws").send().await?;
    assert_eq!(answer.status(), StatusCode::UPGRADE_REQUIRED);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    Ok(())
}
