//! What PageNow's published extension and web client send, byte for byte as they write it, and what they read of the answers. The
//! tests use none of our types for messages. Whatever is added to the contract, these clients must go on working.

use anyhow::{Context as _, Result};
use e2e::{Live, Person, Site, TokenIn, live_request};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

/// A socket as the extension opens it: at the root, with the token in the address.
async fn extension_of(person: &Person) -> Result<Live> {
    let request = live_request(&person.site, "/", &person.token, TokenIn::Query)?;
    Ok(Live::open_silent(request).await?.0)
}

/// The next message of a type that the published clients know; they pass over all others.
async fn known(live: &mut Live) -> Result<Value> {
    loop {
        let message: Value = serde_json::from_str(&live.text().await?)?;
        if ["update-presence", "presence-timeout", "heartbeat"].iter().any(|kind| message["type"] == *kind) {
            return Ok(message);
        }
    }
}

/// A call as the web client makes it: the token without a scheme, and a body whose type says text.
async fn web_call(person: &Person, method: Method, path: &str, body: &str) -> Result<Value> {
    let mut request = person.site.request(method, path).header(header::AUTHORIZATION, &person.token);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, "text/plain;charset=UTF-8").body(body.to_owned());
    }
    let answer = request.send().await?;
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
    answer.json().await.with_context(|| format!("{path} was not answered in JSON"))
}

/// The fields of these names, and no others.
fn only(object: &Value, names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), object[*name].clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn the_published_extension_shows_pages_and_leaves_as_before() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let mut bob_live = extension_of(&bob).await?;
    bob_live.send_text(r#"{"action":"heartbeat"}"#);
    assert_eq!(known(&mut bob_live).await?, json!({ "type": "heartbeat" }));
    let mut alice_live = extension_of(&alice).await?;
    alice_live.send_text(r#"{"action":"update-presence","url":"https://example.com/a","title":"A"}"#);
    let read = ["userId", "url", "title", "domain", "latestUrl", "latestTitle", "latestDomain"];
    let shown = json!({
        "userId": alice.id, "url": "https://example.com/a", "title": "A", "domain": "example.com",
        "latestUrl": "https://example.com/a", "latestTitle": "A", "latestDomain": "example.com",
    });
    let mut seen = known(&mut bob_live).await?;
    while seen["url"] != "https://example.com/a" {
        assert_eq!((&seen["type"], &seen["userId"]), (&json!("update-presence"), &json!(alice.id)), "{seen}");
        seen = known(&mut bob_live).await?;
    }
    assert_eq!(only(&seen, &read), shown);
    // Alice gets her own page back, with the fields that her friend gets.
    loop {
        let echo = known(&mut alice_live).await?;
        if echo["userId"] == json!(alice.id) && echo["url"] != "" {
            assert_eq!(only(&echo, &read), shown);
            break;
        }
    }
    // For a page that is not shared, the extension sends an empty address.
    alice_live.send_text(r#"{"action":"update-presence","url":"","title":""}"#);
    let hidden = known(&mut bob_live).await?;
    let expected = json!({
        "userId": alice.id, "url": "", "title": "", "domain": "",
        "latestUrl": "https://example.com/a", "latestTitle": "A", "latestDomain": "example.com",
    });
    assert_eq!(only(&hidden, &read), expected);
    alice_live.close().await?;
    let gone = known(&mut bob_live).await?;
    assert_eq!(only(&gone, &["type", "userId"]), json!({ "type": "presence-timeout", "userId": alice.id }));
    Ok(())
}

#[tokio::test]
async fn the_published_web_client_reads_and_sends_as_before() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob, carol) = (site.newcomer("Alice").await?, site.person("Bob").await?, site.person("Carol").await?);
    // The web client registers a person when this call is answered 404.
    assert_eq!(alice.request(Method::GET, "/users/me").send().await?.status(), StatusCode::NOT_FOUND);
    let body = r#"{"first_name":"Alice","last_name":"Liddell","dob":"1990-02-28","gender":"female"}"#;
    let me = web_call(&alice, Method::POST, "/users/me", body).await?;
    assert_eq!((&me["user_id"], &me["share_mode"]), (&json!(alice.id), &json!("default_none")));
    web_call(&alice, Method::PUT, "/users/me/domain_array/allow", r#"["example.com"]"#).await?;

    let ask = format!(r#"{{"user_id2":"{}"}}"#, bob.id);
    assert_eq!(web_call(&alice, Method::POST, "/friendship/requests", &ask).await?, json!({ "success": true }));
    web_call(&carol, Method::POST, "/friendship/requests", &format!(r#"{{"user_id2":"{}"}}"#, alice.id)).await?;
    let sent = web_call(&alice, Method::GET, &format!("/friendship/requests/{}", bob.id), "").await?;
    assert_eq!((&sent["user_id1"], &sent["accepted_at"]), (&json!(alice.id), &Value::Null));
    let waiting = web_call(&bob, Method::GET, "/friendship/requests?limit=15&offset=0", "").await?;
    assert_eq!((waiting.as_array().map(Vec::len), &waiting[0]["user_id"]), (Some(1), &json!(alice.id)));
    let accept = format!(r#"{{"user_id1":"{}"}}"#, alice.id);
    assert_eq!(web_call(&bob, Method::POST, "/friendship/accept", &accept).await?, json!({ "success": true }));
    let count = web_call(&bob, Method::GET, &format!("/users/id/{}/friends/count", alice.id), "").await?;
    assert_eq!(count["count_1"], 1);

    let page = format!(r#"{{"url":"https://example.com/","title":"Look","sent_to":"{}"}}"#, bob.id);
    let id = web_call(&alice, Method::POST, "/notifications/share/personal", &page).await?;
    let unread = web_call(&bob, Method::GET, "/notifications/share?is_read=false", "").await?;
    assert_eq!((&unread[0]["event_id"], &unread[0]["seen_at"]), (&id, &Value::Null));
    let read = json!([{ "event_id": id }]).to_string();
    assert_eq!(web_call(&bob, Method::POST, "/notifications/share/read", &read).await?, json!({ "success": true }));
    let sent = web_call(&alice, Method::GET, "/notifications/share/sent?limit=10&offset=0", "").await?;
    assert_eq!((&sent[0]["sent_to"], &sent[0]["not_seen_count"]), (&json!(bob.id), &json!(0)));

    let mut live = extension_of(&alice).await?;
    live.send_text(r#"{"action":"update-presence","url":"https://example.com/","title":"Look"}"#);
    while known(&mut live).await?["url"] != "https://example.com/" {}
    let presence = web_call(&bob, Method::GET, "/presence", "").await?;
    let of_alice = &presence["presenceArr"][0];
    let view = json!({ "url": "https://example.com/", "title": "Look", "domain": "example.com" });
    assert_eq!(only(of_alice, &["userId", "page"]), json!({ "userId": alice.id, "page": view }));
    assert_eq!(presence["userInfoMap"][alice.id.as_str()]["last_name"], "Liddell");
    assert_eq!(presence["userPresence"]["page"], Value::Null, "bob is not there");
    assert_eq!(web_call(&bob, Method::GET, &format!("/presence/{}", alice.id), "").await?, view);
    Ok(())
}
