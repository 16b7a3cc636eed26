//! Two users do not exist for each other while one has blocked the other, and nobody else notices.

use axum::{body::Body, http::Request};
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    bucket::Bucket,
    outbox::{Receiver, Running, delivered},
    permissions::TABLE,
    world::{World, token},
};

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_block_ends_the_friendship_and_hides_each_from_the_other(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol"]).await;
    for (one, other) in [("alice", "bob"), ("bob", "carol"), ("carol", "alice")] {
        world.befriend(one, other).await;
    }
    world.forget_events().await;
    world.put("alice", "/friendship/blocks/bob", Value::Null).await.is_success();
    assert_eq!(world.told().await, ["alice friend.removed 4", "bob friend.removed 4"]);

    for (me, other) in [("alice", "bob"), ("bob", "alice")] {
        for path in ["", "/friends", "/friends/count", "/mutual-friends", "/mutual-friends/count"] {
            world.get(me, &format!("/users/id/{other}{path}")).await.is_problem(404);
        }
        assert_eq!(ids(&world.get(me, &format!("/users/ids/carol,{other}")).await.body), ["carol"]);
        for kind in ["name", "email"] {
            let found = world.get(me, &format!("/users/search/{kind}/{other}@example.com")).await.body;
            assert_eq!(ids(&found), [] as [&str; 0]);
        }
        assert_eq!(world.get(me, &format!("/users/search/name/{other}")).await.body, json!([]));
        assert_eq!(world.get(me, &format!("/friendship/check/{other}")).await.text, "null");
        assert_eq!(world.get(me, &format!("/friendship/requests/{other}")).await.text, "null");
        world.post(me, "/friendship/requests", json!({"user_id2": other})).await.is_problem(404);
        world.post(me, "/friendship/accept", json!({"user_id1": other})).await.is_problem(404);
        assert_eq!(ids(&world.get(me, "/friendship/all").await.body), ["carol"]);
        // They do not see each other among the friends of a friend either.
        assert_eq!(ids(&world.get(me, "/users/id/carol/friends").await.body), [me]);
        assert_eq!(world.get(me, "/users/id/carol/friends/count").await.body, json!({"count": 1, "count_1": 1}));
        assert_eq!(world.social(me, None).await.body["friends"].as_array().unwrap().len(), 1);
    }
    assert_eq!(ids(&world.get("carol", "/users/id/carol/friends").await.body), ["alice", "bob"]);
    let blocked = world.get("alice", "/friendship/blocks").await.body;
    assert_eq!((ids(&blocked), &blocked[0]["first_name"]), (vec!["bob"], &json!("Bob")));
    assert_eq!(world.get("bob", "/friendship/blocks").await.body, json!([]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_block_settles_a_request_either_way_round(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol"]).await;
    world.post("bob", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    world.post("alice", "/friendship/requests", json!({"user_id2": "carol"})).await.is_success();
    world.forget_events().await;
    for other in ["bob", "carol"] {
        world.put("alice", &format!("/friendship/blocks/{other}"), Value::Null).await.is_success();
    }
    assert_eq!(world.told().await, ["alice friend.request-removed 0", "carol friend.request-removed 0"]);
    assert_eq!(world.get("alice", "/friendship/requests").await.body, json!([]));
    assert_eq!(world.get("carol", "/friendship/requests").await.body, json!([]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn taking_a_block_back_makes_each_visible_again_but_not_friends(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    let version = async || world.version("alice").await;
    let before = version().await;
    for _ in 0..2 {
        world.put("alice", "/friendship/blocks/bob", Value::Null).await.is_success();
        assert_eq!(version().await, before + 1, "once");
    }
    for _ in 0..2 {
        world.delete("alice", "/friendship/blocks/bob").await.is_success();
        assert_eq!(version().await, before + 2, "once");
    }
    assert_eq!(world.get("bob", "/users/id/alice").await.body["friendship_state"], 0);
    assert_eq!(world.get("alice", "/friendship/blocks").await.body, json!([]));
    world.post("bob", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_user_cannot_block_themselves_an_unknown_user_or_one_who_has_blocked_them(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    world.put("alice", "/friendship/blocks/alice", Value::Null).await.is_problem(400);
    world.put("alice", "/friendship/blocks/nobody", Value::Null).await.is_problem(404);
    world.put("bob", "/friendship/blocks/alice", Value::Null).await.is_success();
    // The answer must not give the block away.
    world.put("alice", "/friendship/blocks/bob", Value::Null).await.is_problem(404);
    world.delete("alice", "/friendship/blocks/bob").await.is_success();
    world.delete("alice", "/friendship/blocks/nobody").await.is_success();
    world.get("alice", "/users/id/bob").await.is_problem(404);
}

/// The calls that end the block and the account. They are made last.
const ENDINGS: [(&str, &str); 2] = [("DELETE", "/friendship/blocks/{id}"), ("DELETE", "/users/me")];

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn after_a_block_no_call_and_no_event_shows_the_one_to_the_other(pool: PgPool) {
    let (bucket, edge) = (Bucket::start().await, Receiver::start().await);
    let edge_url = format!("http://{}", edge.address);
    let flags = [bucket.flags(), vec!["--edge-url", &edge_url, "--outbox-poll-ms", "50"]].concat();
    let world = World::with(pool, &flags).await;
    // The name and the address contain the id too.
    let pair = ["aline-one", "bertil-two"];
    world.register(&[pair[0], pair[1], "carol"]).await;
    world.befriend(pair[0], pair[1]).await;
    let mut ids = Vec::new();
    for (me, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
        world.befriend(me, "carol").await;
        let page = json!({"url": "https://example.com/", "title": "For all"});
        ids.push(json!({"event_id": world.post(me, "/notifications/share", page).await.body}));
        let page = json!({"url": "https://example.com/", "title": "For one", "sent_to": other});
        ids.push(json!({"event_id": world.post(me, "/notifications/share/personal", page).await.body}));
    }
    world.put(pair[0], &format!("/friendship/blocks/{}", pair[1]), Value::Null).await.is_success();

    let relay = Running::start(&world);
    delivered(&world).await;
    relay.stop().await;
    let events = edge.events();
    for (me, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
        let mine = events.iter().filter(|event| event["recipient"] == me);
        let naming: Vec<_> = mine.filter(|event| event.to_string().to_lowercase().contains(other)).collect();
        // The two are told of the end of their friendship, as of any other end.
        let removed = json!({"user_id": other});
        assert!(!naming.is_empty() && naming.iter().all(|event| event["payload"] == removed), "{naming:#?}");
    }
    let carols = events.iter().filter(|event| event["recipient"] == "carol" && event["kind"] == "share.received");
    assert_eq!(carols.count(), 2, "to others they are as before");

    let rows = TABLE.iter().filter(|(method, path, ..)| !ENDINGS.contains(&(*method, *path)));
    let last = ENDINGS.iter().flat_map(|ending| TABLE.iter().filter(|row| (row.0, row.1) == *ending));
    for (method, path, query, body, _) in rows.chain(last) {
        for (me, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            // A user may know whom they have blocked.
            let lists_own_blocks = matches!((*method, *path), ("GET", "/friendship/blocks" | "/users/me/export"));
            if lists_own_blocks && me == pair[0] {
                continue;
            }
            let body = body.replace("OWNER", other).replace("CALLER", me);
            let body = if path.ends_with("/share/read") { json!(ids).to_string() } else { body };
            for named in [other, "carol"] {
                let text = if named == other { other } else { "tester" };
                let path = path.replace("{id}", named).replace("{ids}", named).replace("{text}", text);
                let address = format!("{}{query}", path.replace("{list}", "allow"));
                let request = Request::builder().method(*method).uri(&address).header("authorization", token(me));
                let reply = world.send(request.body(Body::from(body.clone())).unwrap()).await;
                assert!(reply.status < 500, "{method} {address}: {}", reply.text);
                assert!(!reply.text.to_lowercase().contains(other), "{method} {address}: {}", reply.text);
            }
        }
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn shares_between_two_users_are_hidden_while_one_blocks_the_other(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol"]).await;
    for (one, other) in [("alice", "bob"), ("bob", "carol"), ("carol", "alice")] {
        world.befriend(one, other).await;
    }
    for me in ["alice", "bob"] {
        let other = if me == "alice" { "bob" } else { "alice" };
        for (path, sent_to) in [("", None), ("/personal", Some(other)), ("/personal", Some("carol"))] {
            let title = format!("{me}{}", sent_to.unwrap_or_default());
            let page = json!({"url": "https://example.com/", "title": title, "sent_to": sent_to});
            assert_eq!(world.post(me, &format!("/notifications/share{path}"), page).await.status, 200);
        }
    }
    let page = json!({"url": "https://example.com/", "title": "carol"});
    assert_eq!(world.post("carol", "/notifications/share", page).await.status, 200);
    let received = async |me: &str, query: &str| {
        let list = world.get(me, &format!("/notifications/share{query}")).await.body;
        let titles = list.as_array().unwrap().iter().map(|share| share["title"].as_str().unwrap().to_owned());
        titles.collect::<Vec<_>>()
    };
    let sent = async |me: &str| {
        let list = world.get(me, "/notifications/share/sent").await.body;
        let counts = list.as_array().unwrap().iter().map(|share| {
            (
                share["title"].as_str().unwrap().to_owned(),
                (share["not_seen_count"].as_i64().unwrap(), share["recipient_count"].as_i64().unwrap()),
            )
        });
        counts.collect::<Vec<_>>()
    };
    let all = async || {
        let mut all = Vec::new();
        for me in ["alice", "bob", "carol"] {
            let lists =
                [received(me, "").await, received(me, "?is_read=false").await, received(me, "?is_read=true").await];
            all.push((lists, sent(me).await));
        }
        all
    };
    // Alice has read one of the shares that bob sent.
    let of_bob = world.get("alice", "/notifications/share").await.body;
    let ids: Vec<Value> =
        of_bob.as_array().unwrap().iter().map(|share| json!({"event_id": share["event_id"]})).collect();
    world.post("alice", "/notifications/share/read", json!(ids[1..2])).await.is_success();
    let before = all().await;
    let counted =
        |list: &[(&str, (i64, i64))]| list.iter().map(|(title, n)| ((*title).to_owned(), *n)).collect::<Vec<_>>();
    assert_eq!(sent("bob").await, counted(&[("bobcarol", (1, 1)), ("bobalice", (0, 1)), ("bob", (2, 2))]));

    // It does not matter which of the two blocks, or if both do. The same shares are gone, and come back.
    for blockers in [&["alice"][..], &["bob"], &["alice", "bob"]] {
        for (blocker, path) in [("alice", "/friendship/blocks/bob"), ("bob", "/friendship/blocks/alice")] {
            if blockers.contains(&blocker) {
                let reply = world.put(blocker, path, Value::Null).await;
                assert!(matches!(reply.status, 200 | 404), "{}", reply.text);
            }
        }
        for me in ["alice", "bob"] {
            assert_eq!(received(me, "").await, ["carol"]);
            assert_eq!(received(me, "?is_read=false").await, ["carol"]);
            assert_eq!(received(me, "?is_read=true").await, [""; 0]);
            assert_eq!(received(me, "?limit=1&offset=1").await, [""; 0]);
            assert_eq!(sent(me).await, counted(&[(&format!("{me}carol"), (1, 1)), (me, (1, 1))]));
        }
        // A user cannot mark a hidden share as read, as if it had never been sent to them.
        world.forget_events().await;
        world.post("alice", "/notifications/share/read", json!(ids[2..])).await.is_success();
        assert_eq!(world.outbox().await, []);
        assert_eq!(sent("carol").await, counted(&[("carol", (2, 2))]));
        for (blocker, path) in [("alice", "/friendship/blocks/bob"), ("bob", "/friendship/blocks/alice")] {
            world.delete(blocker, path).await.is_success();
        }
        assert_eq!(all().await, before);
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_share_to_all_stays_without_its_only_recipient(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    let page = json!({"url": "https://example.com/", "title": "For all"});
    world.post("alice", "/notifications/share", page).await;
    world.put("bob", "/friendship/blocks/alice", Value::Null).await.is_success();
    let sent = world.get("alice", "/notifications/share/sent").await.body;
    assert_eq!(sent[0]["title"], "For all");
    assert_eq!((&sent[0]["not_seen_count"], &sent[0]["recipient_count"]), (&json!(0), &json!(0)));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn one_block_too_many_is_a_conflict_until_another_is_taken_back(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me", "last"]).await;
    for sql in [
        "insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array)
        select 'u' || n, n || '@example.com', 'Some', 'Body', '{}', '{}' from generate_series(1, 1000) n",
        "insert into blocks (blocker_id, blocked_id) select 'me', 'u' || n from generate_series(1, 1000) n",
    ] {
        sqlx::query(sql).execute(&world.pool).await.unwrap();
    }
    world.put("me", "/friendship/blocks/last", json!(null)).await.is_problem(409);
    world.put("me", "/friendship/blocks/u1", json!(null)).await.is_success();
    world.delete("me", "/friendship/blocks/u1").await.is_success();
    world.put("me", "/friendship/blocks/last", json!(null)).await.is_success();
}
