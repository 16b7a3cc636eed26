//! Pages that users send each other.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use sqlx::PgPool;
use tracing::{Event, Subscriber, instrument::WithSubscriber};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt},
};

use crate::world::{Reply, World, token};

fn page(n: usize) -> Value {
    json!({"url": format!("https://example.com/{n}"), "title": format!("Page {n}")})
}

fn to(friend: &str) -> Value {
    json!({"url": "https://example.com/", "title": "Look", "sent_to": friend})
}

async fn send_with_key(world: &World, user_id: &str, path: &str, key: &str, body: Value) -> Reply {
    let request = Request::post(path).header("authorization", token(user_id)).header("idempotency-key", key);
    world.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn ids(world: &World, user_id: &str, path: &str) -> Vec<Value> {
    let body = world.get(user_id, path).await.body;
    body.as_array().unwrap().iter().map(|share| share["event_id"].clone()).collect()
}

async fn share(world: &World, user_id: &str, body: Value) -> Value {
    let path = if body.get("sent_to").is_some() { "/notifications/share/personal" } else { "/notifications/share" };
    let reply = world.post(user_id, path, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let id: uuid::Uuid = reply.body.as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    reply.body
}

/// Alice has the friends bob and carol. Dave has only asked her.
async fn circle(pool: PgPool, flags: &[&str]) -> World {
    let world = World::with(pool, flags).await;
    world.register(&["alice", "bob", "carol", "dave"]).await;
    world.befriend("alice", "bob").await;
    world.befriend("carol", "alice").await;
    world.post("dave", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    world.forget_events().await;
    world
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_page_for_all_reaches_every_friend_and_nobody_else(pool: PgPool) {
    let world = circle(pool, &[]).await;
    let id = share(&world, "alice", page(1)).await;
    let mut received = world.get("bob", "/notifications/share").await.body;
    let sent_at = received[0]["sent_at"].take();
    assert!(sent_at.as_str().unwrap().ends_with('Z'));
    let expected = json!({
        "event_id": id, "user_id": "alice", "sent_at": null, "url": "https://example.com/1", "title": "Page 1",
        "seen_at": null, "first_name": "Alice", "last_name": "Tester", "profile_image_extension": null,
    });
    assert_eq!(received, json!([expected]));
    for nobody in ["alice", "dave"] {
        assert_eq!(ids(&world, nobody, "/notifications/share").await, [] as [Value; 0]);
    }
    // There is one row for both recipients, and an event for each.
    let events = world.outbox().await;
    let recipients: Vec<&str> = events.iter().map(|(recipient, ..)| recipient.as_str()).collect();
    assert_eq!(recipients, ["bob", "carol"]);
    for (_, kind, version, payload) in &events {
        let mut payload = payload.clone();
        assert_eq!(payload["notification"]["sent_at"].take(), sent_at);
        assert_eq!((kind.as_str(), *version, payload), ("share.received", 0, json!({"notification": expected})));
    }
    let rows: i64 = sqlx::query_scalar("select count(*) from outbox").fetch_one(&world.pool).await.unwrap();
    assert_eq!(rows, 1);

    let mut sent = world.get("alice", "/notifications/share/sent").await.body;
    assert_eq!(sent[0]["sent_at"].take(), sent_at);
    let expected = json!([{
        "event_id": id, "sent_at": null, "url": "https://example.com/1", "title": "Page 1", "sent_to": null,
        "not_seen_count": 2, "recipient_count": 2, "first_name": null, "last_name": null, "profile_image_extension": null,
    }]);
    assert_eq!(sent, expected);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_personal_page_reaches_one_friend(pool: PgPool) {
    let world = circle(pool, &[]).await;
    let id = share(&world, "alice", to("carol")).await;
    assert_eq!(ids(&world, "carol", "/notifications/share").await, std::slice::from_ref(&id));
    assert_eq!(ids(&world, "bob", "/notifications/share").await, [] as [Value; 0]);
    let sent = world.get("alice", "/notifications/share/sent").await.body;
    let addressee = (&sent[0]["sent_to"], &sent[0]["first_name"], &sent[0]["last_name"]);
    assert_eq!(addressee, (&json!("carol"), &json!("Carol"), &json!("Tester")));
    assert_eq!((&sent[0]["not_seen_count"], &sent[0]["recipient_count"]), (&json!(1), &json!(1)));
    assert_eq!(world.told().await, ["carol share.received 0"]);
    for stranger in ["dave", "nobody", "alice"] {
        world.post("alice", "/notifications/share/personal", to(stranger)).await.is_problem(403);
    }
    assert_eq!(ids(&world, "alice", "/notifications/share/sent").await, [id]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_page_for_all_without_a_friend_is_kept_and_told_to_nobody(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let id = share(&world, "alice", page(1)).await;
    assert_eq!(ids(&world, "alice", "/notifications/share/sent").await, [id]);
    assert_eq!(world.outbox().await, []);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn received_pages_come_newest_first_in_pages_by_whether_they_are_read(pool: PgPool) {
    let world = circle(pool, &["--shares-per-hour-max", "1000"]).await;
    let mut sent = Vec::new();
    for n in 0..105 {
        sent.push(share(&world, "alice", page(n)).await);
    }
    sent.reverse();
    let received = async |query: &str| ids(&world, "bob", &format!("/notifications/share{query}")).await;
    assert_eq!(received("").await, sent[..100]);
    assert_eq!(received("?limit=1000").await, sent[..100]);
    assert_eq!(received("?limit=3&offset=2").await, sent[2..5]);
    assert_eq!(received("?limit=0").await, sent[..0]);
    assert_eq!(received("?is_read=true").await, sent[..0]);

    let read: Vec<Value> = sent.iter().step_by(2).map(|id| json!({"event_id": id})).collect();
    world.post("bob", "/notifications/share/read", json!(read)).await.is_success();
    let read: Vec<Value> = sent.iter().step_by(2).cloned().collect();
    let unread: Vec<Value> = sent.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(received("?is_read=true&limit=100").await, read);
    assert_eq!(received("?is_read=false").await, unread);
    assert_eq!(received("?is_read=true&limit=4&offset=1").await, read[1..5]);
    assert_eq!(received("?limit=10&offset=1").await, sent[1..11]);
    assert_eq!(ids(&world, "alice", "/notifications/share/sent").await, sent[..10]);
    assert_eq!(world.get("bob", "/notifications/share?is_read=perhaps").await.is_problem(400), ["is_read"]);
    world.get("bob", "/notifications/share?offset=-1").await.is_problem(400);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn reading_is_told_to_the_readers_devices_and_keeps_the_first_time(pool: PgPool) {
    let world = circle(pool, &[]).await;
    let (first, second) = (share(&world, "alice", page(1)).await, share(&world, "alice", page(2)).await);
    let personal = share(&world, "alice", to("carol")).await;
    world.forget_events().await;
    let list = json!([{"event_id": first}, {"event_id": personal}, {"event_id": uuid::Uuid::now_v7()}]);
    world.post("bob", "/notifications/share/read", list.clone()).await.is_success();
    let seen_at = world.get("bob", "/notifications/share?is_read=true").await.body[0]["seen_at"].clone();
    assert!(seen_at.as_str().unwrap().ends_with('Z'));
    let read = ("bob".to_owned(), "share.read".to_owned(), 0, json!({"event_ids": [first]}));
    assert_eq!(world.outbox().await, std::slice::from_ref(&read));
    let counts = async |name: &str| -> Vec<i64> {
        let sent = world.get("alice", "/notifications/share/sent").await.body;
        sent.as_array().unwrap().iter().map(|share| share[name].as_i64().unwrap()).collect()
    };
    assert_eq!(counts("not_seen_count").await, [1, 2, 1]);
    assert_eq!(counts("recipient_count").await, [1, 2, 2]);

    world.post("bob", "/notifications/share/read", list).await.is_success();
    assert_eq!(world.get("bob", "/notifications/share?is_read=true").await.body[0]["seen_at"], seen_at);
    assert_eq!(world.outbox().await, [read]);
    assert_eq!(counts("not_seen_count").await, [1, 2, 1]);
    assert_eq!(ids(&world, "bob", "/notifications/share?is_read=false").await, [second]);
    world.post("bob", "/notifications/share/read", json!([])).await.is_success();
    // A deleted user is no recipient any more.
    assert_eq!(world.delete("bob", "/users/me").await.status, 204);
    assert_eq!(counts("recipient_count").await, [1, 1, 1]);
    assert_eq!(counts("not_seen_count").await, [1, 1, 1]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_share_that_is_no_page_is_refused_with_the_field_named(pool: PgPool) {
    let world = circle(pool, &[]).await;
    let long = |n: usize| format!("https://example.com/{}", "x".repeat(n - "https://example.com/".len()));
    let bad = [
        (json!({"title": "t"}), "url"),
        (json!({"url": "https://example.com/"}), "title"),
        (json!({"url": 7, "title": "t"}), "url"),
        (json!({"url": "javascript:alert(1)", "title": "t"}), "url"),
        (json!({"url": "ftp://example.com/", "title": "t"}), "url"),
        (json!({"url": "not a url", "title": "t"}), "url"),
        (json!({"url": "", "title": "t"}), "url"),
        (json!({"url": long(2_049), "title": "t"}), "url"),
        (json!({"url": "https://example.com/\u{0}", "title": "t"}), "url"),
        (json!({"url": "https://www..example.com/", "title": "t"}), "url"),
        (json!({"url": "https://me:pw@.example.com/", "title": "t"}), "url"),
        (json!({"url": "https://example.com%2e%2e/", "title": "t"}), "url"),
        (json!({"url": "https://example.com/", "title": "a\u{0}b"}), "title"),
    ];
    for (body, field) in bad {
        let reply = world.post("alice", "/notifications/share", body.clone()).await;
        assert_eq!(reply.is_problem(422), [field], "{body}");
        assert!(!reply.text.contains("example.com") && !reply.text.contains("javascript"), "{}", reply.text);
    }
    let reply = world.post("alice", "/notifications/share/personal", page(1)).await;
    assert_eq!(reply.is_problem(422), ["sent_to"]);
    share(&world, "alice", json!({"url": long(2_048), "title": "ß".repeat(300)})).await;
    let too_many: Vec<Value> = (0..1_001).map(|_| json!({"event_id": uuid::Uuid::nil()})).collect();
    // A thousand items are taken. The error for a longer list names the whole body.
    assert_eq!(world.post("bob", "/notifications/share/read", json!(too_many[..1_000])).await.status, 200);
    assert_eq!(world.post("bob", "/notifications/share/read", json!(too_many)).await.is_problem(422), [""]);
    let reply = world.post("bob", "/notifications/share/read", json!([{"event_id": "no uuid"}])).await;
    assert_eq!(reply.is_problem(422), ["[0].event_id"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_page_is_passed_on_without_credentials_and_with_a_clean_title(pool: PgPool) {
    let world = circle(pool, &[]).await;
    for (body, url, title) in [
        (
            r#"{"url": "https://me:SECRET@Example.com:8443/a%20b?c=d@e#f", "title": " \u202egnp.\u200bexe\n "}"#,
            "https://Example.com:8443/a%20b?c=d@e#f",
            "gnp.exe",
        ),
        (
            r#"{"url": "http://SECRET@localhost/#x", "title": "half \ud83d an emoji"}"#,
            "http://localhost/#x",
            "half \u{fffd} an emoji",
        ),
    ] {
        for path in ["/notifications/share", "/notifications/share/personal"] {
            let body = body.replacen('{', r#"{"sent_to": "bob", "#, 1);
            let request = Request::post(path).header("authorization", token("alice"));
            let reply = world.send(request.body(Body::from(body)).unwrap()).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            for (me, list) in [("bob", ""), ("alice", "/sent")] {
                let shown = world.get(me, &format!("/notifications/share{list}")).await.body;
                assert_eq!(
                    (&shown[0]["event_id"], &shown[0]["url"], &shown[0]["title"]),
                    (&reply.body, &json!(url), &json!(title))
                );
            }
        }
    }
    assert!(world.outbox().await.iter().all(|event| !format!("{event:?}").contains("SECRET")));
    share(&world, "alice", json!({"url": "https://example.com/", "title": "ß".repeat(301)})).await;
    assert_eq!(world.get("bob", "/notifications/share").await.body[0]["title"], "ß".repeat(300));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn one_key_sends_once_a_day(pool: PgPool) {
    let world = circle(pool, &[]).await;
    let path = "/notifications/share";
    let first = send_with_key(&world, "alice", path, "k1", page(1)).await.body;
    assert_eq!(send_with_key(&world, "alice", path, "k1", page(1)).await.body, first);
    // The first request may have reached a version that stored what it was sent, without cleaning it.
    let unclean = json!({"url": "https://me:pw@example.com/", "title": " x"});
    let cleaned = send_with_key(&world, "alice", path, "k0", unclean.clone()).await.body;
    sqlx::query("update shares set url = 'https://me:pw@example.com/', title = ' x' where idempotency_key = 'k0'")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(send_with_key(&world, "alice", path, "k0", unclean).await.body, cleaned);
    let reply = send_with_key(&world, "alice", path, "k1", page(2)).await;
    assert_eq!(reply.is_problem(422), ["Idempotency-Key"]);
    let reply = send_with_key(&world, "alice", "/notifications/share/personal", "k1", to("bob")).await;
    assert_eq!(reply.is_problem(422), ["Idempotency-Key"]);
    // Each sender has keys of their own, and another key means another share.
    let of_bob = send_with_key(&world, "bob", path, "k1", page(1)).await.body;
    let second = send_with_key(&world, "alice", path, "k2", page(1)).await.body;
    let personal = send_with_key(&world, "alice", "/notifications/share/personal", "k3", to("carol")).await.body;
    let distinct: BTreeSet<String> =
        [&first, &of_bob, &second, &personal].into_iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), 4);
    assert_eq!(ids(&world, "carol", path).await, [personal, second, cleaned, first.clone()]);

    sqlx::query("update shares set sent_at = sent_at - interval '24 hours'").execute(&world.pool).await.unwrap();
    let next_day = send_with_key(&world, "alice", path, "k1", page(2)).await.body;
    assert_ne!(next_day, first);
    for bad in ["", &"k".repeat(256), "caf\u{e9}"] {
        let reply = send_with_key(&world, "alice", path, bad, page(1)).await;
        assert_eq!(reply.is_problem(400), ["Idempotency-Key"], "{bad}");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn pages_for_all_are_bounded_by_the_hour_and_personal_ones_are_not(pool: PgPool) {
    let world = circle(pool, &["--shares-per-hour-max", "2"]).await;
    share(&world, "alice", page(1)).await;
    share(&world, "alice", page(2)).await;
    let refused = world.post("alice", "/notifications/share", page(3)).await;
    refused.is_problem(429);
    let wait_s: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((3_590..=3_600).contains(&wait_s), "{wait_s}");
    share(&world, "alice", to("bob")).await;
    share(&world, "bob", page(1)).await;
    // After an hour the first share no longer counts.
    let an_hour_ago_s = uuid::Uuid::now_v7().get_timestamp().unwrap().to_unix().0 - 3_601;
    let hour_ago = uuid::Uuid::from_u64_pair(((an_hour_ago_s * 1_000) << 16) | 0x7000, 1 << 63);
    sqlx::query(
        "update shares set event_id = $1, sent_at = sent_at - interval '3601 seconds' where url like '%/1' and sender_id = 'alice'",
    )
    .bind(hour_ago)
    .execute(&world.pool)
    .await
    .unwrap();
    share(&world, "alice", page(3)).await;
    world.post("alice", "/notifications/share", page(4)).await.is_problem(429);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn sharing_with_a_thousand_friends_takes_as_many_statements_as_with_one(pool: PgPool) {
    let world = World::with(pool.clone(), &["--shares-per-hour-max", "1000"]).await;
    world.register(&["alice", "bob", "hub"]).await;
    world.befriend("alice", "bob").await;
    sqlx::query(
        "with friend as (
            insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array)
            select 'friend-' || n, n || '@example.com', 'Friend', n::text, '{}', '{}' from generate_series(1, 1000) n
            returning user_id
        )
        insert into friendships (user_id1, user_id2, accepted_at) select 'hub', user_id, now() from friend",
    )
    .execute(&pool)
    .await
    .unwrap();
    let statements = async |user_id: &str| {
        let counter = StatementCounter::default();
        share(&world, user_id, page(1)).with_subscriber(Registry::default().with(counter.clone())).await;
        counter.0.load(Ordering::SeqCst)
    };
    let to_one = statements("alice").await;
    assert!(to_one > 0);
    assert_eq!(statements("hub").await, to_one);
    let received: i64 = sqlx::query_scalar("select count(*) from share_recipients").fetch_one(&pool).await.unwrap();
    assert_eq!(received, 1_001);
    let rows: i64 =
        sqlx::query_scalar("select count(*) from outbox where kind = 'share.received'").fetch_one(&pool).await.unwrap();
    assert_eq!(rows, 2);
}

/// Counts the statements that sqlx sends to the server.
#[derive(Clone, Default)]
struct StatementCounter(Arc<AtomicUsize>);

impl<S: Subscriber> Layer<S> for StatementCounter {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == "sqlx::query" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
