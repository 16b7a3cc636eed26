//! The end of an account, and what is kept about it.

use std::collections::{BTreeMap, BTreeSet};

use axum::{body::Body, http::Request};
use futures_util::StreamExt;
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower::ServiceExt;

use crate::world::{World, token};

/// Alice, who has done everything that leaves a row. She has friends, a sent request, a decline and a block. There are shares to
/// all, to one and from others, read and unread.
async fn busy(pool: PgPool) -> World {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol", "dave", "erin", "frank"]).await;
    world.befriend("alice", "bob").await;
    world.befriend("carol", "alice").await;
    let ask = async |asker: &str, asked: &str| {
        world.post(asker, "/friendship/requests", json!({"user_id2": asked})).await.is_success();
    };
    ask("alice", "dave").await;
    ask("erin", "alice").await;
    ask("frank", "alice").await;
    world.delete("alice", "/friendship/requests/frank").await.is_success();
    world.put("alice", "/friendship/blocks/frank", Value::Null).await.is_success();
    ask("alice", "erin").await;
    let profile = json!({
        "first_name": "Alice", "last_name": "Uniquename", "description": "All about me", "share_mode": "default_all",
        "domain_allow_array": ["example.com"], "domain_deny_array": [], "gender": "g", "school": "s", "work": "w",
        "location": "l", "email_public": true, "gender_public": true, "school_public": true, "work_public": true,
        "location_public": true, "dob": "2000-01-02", "dob_public": true,
    });
    assert_eq!(world.put("alice", "/users/me", profile).await.status, 200);
    let page = |n: i32| json!({"url": format!("https://example.com/{n}"), "title": "t"});
    let personal = |n: i32, to: &str| json!({"url": format!("https://example.com/{n}"), "title": "t", "sent_to": to});
    for (sender, path, body) in [
        ("alice", "/notifications/share", page(1)),
        ("alice", "/notifications/share/personal", personal(2, "bob")),
        ("bob", "/notifications/share", page(3)),
        ("bob", "/notifications/share/personal", personal(4, "alice")),
        ("carol", "/notifications/share", page(5)),
    ] {
        assert_eq!(world.post(sender, path, body).await.status, 200);
    }
    let received = world.get("alice", "/notifications/share").await.body;
    let newest = json!([{"event_id": received[0]["event_id"]}]);
    world.post("alice", "/notifications/share/read", newest).await.is_success();
    world
}

/// Every table except the migrations' own.
async fn tables(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select table_name::text from information_schema.tables
        where table_schema = 'public' and table_type = 'BASE TABLE' and table_name <> '_sqlx_migrations'",
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn nothing_is_left_of_a_deleted_account(pool: PgPool) {
    let world = busy(pool.clone()).await;
    world.forget_events().await;
    let version = world.social("alice", None).await.body["version"].as_i64();
    let reply = world.delete("alice", "/users/me").await;
    assert_eq!((reply.status, reply.text.as_str()), (204, ""));
    // The events about the deletion name her until they are delivered. Then they are gone too.
    world.forget_events().await;
    for table in tables(&pool).await {
        let rows: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select t::text from {table} t")))
            .fetch_all(&pool)
            .await
            .unwrap();
        for row in rows {
            for trace in ["alice", "Alice", "Uniquename"] {
                assert!(!row.contains(trace), "{table}: {row}");
            }
        }
    }
    let recipients: i64 = sqlx::query_scalar(
        "select count(*) from share_recipients r where not exists (select from shares s where s.event_id = r.event_id)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(recipients, 0, "of shares that are gone");
    world.get("alice", "/users/me").await.is_problem(404);
    world.get("bob", "/users/id/alice").await.is_problem(404);
    assert_eq!(world.get("bob", "/friendship/all").await.body, json!([]));
    // What others sent to many stays, with one reader less.
    let sent = world.get("bob", "/notifications/share/sent").await.body;
    assert_eq!((sent.as_array().unwrap().len(), &sent[0]["not_seen_count"]), (1, &json!(0)));
    // She may register again as a new user, whose version is newer than every earlier event.
    world.register(&["alice"]).await;
    assert!(world.social("alice", None).await.body["version"].as_i64() > version);
    assert_eq!(world.get("alice", "/friendship/all").await.body, json!([]));
    assert_eq!(world.get("alice", "/users/me").await.body["description"], "");
    world.delete("nobody", "/users/me").await.is_problem(404);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn friends_and_users_who_were_asked_hear_of_a_deletion_and_so_does_the_account(pool: PgPool) {
    let world = busy(pool).await;
    let version = world.version("bob").await;
    let last = world.social("alice", None).await.body["version"].as_i64().unwrap();
    world.forget_events().await;
    assert_eq!(world.delete("alice", "/users/me").await.status, 204);
    let told = [
        format!("alice user.deleted {}", last + 1),
        format!("bob friend.removed {}", version + 1),
        format!("carol friend.removed {}", world.version("carol").await),
        "dave friend.request-removed 0".to_owned(),
        format!("erin friend.removed {}", world.version("erin").await),
    ];
    assert_eq!(world.told().await, told);
    let of_alice = json!({"user_id": "alice"});
    assert!(world.outbox().await.iter().skip(1).all(|(.., payload)| *payload == of_alice));
    assert_eq!(world.version("bob").await, version + 1);
    world.social("alice", None).await.is_problem(404);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_export_holds_every_column(pool: PgPool) {
    let world = busy(pool.clone()).await;
    let export = world.get("alice", "/users/me/export").await.body;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select table_name::text, column_name::text from information_schema.columns c
        where table_schema = 'public' and table_name = any($1)",
    )
    .bind(tables(&pool).await)
    .fetch_all(&pool)
    .await
    .unwrap();
    let mut schema: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (table, column) in columns {
        schema.entry(table).or_default().insert(column);
    }
    // These tables are left out. Events wait for moments, and tell only what is in the other tables. What users are found by is
    // made of those. Images are removed once more within hours. Erasures hold what is left of deleted accounts. The audit belongs
    // to the operators: it holds what they did and why, and may name others.
    for derived in ["outbox", "search_keys", "search_texts", "image_removals", "erasures", "audit"] {
        assert!(schema.remove(derived).is_some(), "{derived}");
    }
    let parts = [
        ("users", "user"),
        ("circles", "circle"),
        ("friendships", "friendships"),
        ("blocks", "blocks"),
        ("declines", "declines"),
        ("shares", "shares_sent"),
        ("share_recipients", "shares_received"),
    ];
    assert_eq!(schema.len(), parts.len(), "a table that the export does not know: {:?}", schema.keys());
    for (table, part) in parts {
        let rows = export[part].as_array().cloned().unwrap_or_else(|| vec![export[part].clone()]);
        assert!(!rows.is_empty(), "{part}");
        for row in rows {
            let held: BTreeSet<String> = row.as_object().unwrap().keys().cloned().collect();
            assert!(schema[table].is_subset(&held), "{part} lacks {:?}", schema[table].difference(&held));
        }
    }
    assert_eq!(export["user"]["email"], "alice@example.com");
    assert_eq!(export["friendships"].as_array().unwrap().len(), 4);
    assert_eq!(export["shares_sent"].as_array().unwrap().len(), 2);
    let received = export["shares_received"].as_array().unwrap();
    assert_eq!(received.len(), 3);
    assert_eq!((&received[0]["sender_id"], &received[0]["url"]), (&json!("bob"), &json!("https://example.com/3")));
    for at in [&export["user"]["created_at"], &export["friendships"][0]["requested_at"], &received[0]["sent_at"]] {
        assert!(at.as_str().unwrap().ends_with('Z'), "{at}");
    }
    // What alice did is not in frank's export.
    let frank = world.get("frank", "/users/me/export").await.body;
    assert_eq!((&frank["blocks"], &frank["declines"]), (&json!([]), &json!([])));
    world.get("nobody", "/users/me/export").await.is_problem(404);
}

/// Shares from bob and carol in turn to alice, and from alice to all or to one of them.
async fn fill(world: &World, received: i32, sent: i32) {
    world.register(&["alice", "bob", "carol"]).await;
    world.befriend("alice", "bob").await;
    world.befriend("alice", "carol").await;
    for (sql, many) in [
        (
            "with sent as (
                insert into shares (event_id, sender_id, sent_at, url, title, not_seen_count)
                select gen_random_uuid(), case n % 2 when 0 then 'bob' else 'carol' end, now(),
                    'https://example.com/' || n, 'words of ' || case n % 2 when 0 then 'bob' else 'carol' end, 1
                from generate_series(1, $1) n returning event_id
            )
            insert into share_recipients (event_id, user_id, seen_at)
            select event_id, 'alice', case when random() < 0.5 then now() end from sent",
            received,
        ),
        (
            "with sent as (
                insert into shares (event_id, sender_id, sent_at, url, title, sent_to, not_seen_count)
                select gen_random_uuid(), 'alice', now(), 'https://example.com/mine/' || n, 'my own words',
                    case n % 3 when 0 then 'bob' when 1 then 'carol' end, case n % 3 when 2 then 2 else 1 end
                from generate_series(1, $1) n returning event_id, sent_to
            )
            insert into share_recipients (event_id, user_id)
            select event_id, to_whom from sent, unnest(array['bob', 'carol']) to_whom
            where sent_to is null or sent_to = to_whom",
            sent,
        ),
    ] {
        sqlx::query(sql).bind(many).execute(&world.pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_export_of_many_pages_holds_each_row_once(pool: PgPool) {
    let world = World::new(pool).await;
    // Exactly two pages of what was received, and more than two of what was sent.
    fill(&world, 400, 630).await;
    let export = world.get("alice", "/users/me/export").await.body;
    for (part, expected) in [("friendships", 2), ("blocks", 0), ("shares_sent", 630), ("shares_received", 400)] {
        let rows = export[part].as_array().unwrap();
        let distinct: BTreeSet<String> =
            rows.iter().map(|row| row["event_id"].to_string() + &row.to_string()).collect();
        assert_eq!((rows.len(), distinct.len()), (expected, expected), "{part}");
    }
    let in_order = |part: &str| export[part].as_array().unwrap().is_sorted_by_key(|row| row["event_id"].to_string());
    assert!(in_order("shares_sent") && in_order("shares_received"));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_client_that_reads_an_export_slowly_holds_no_connection(pool: PgPool) {
    let one = PgPoolOptions::new().max_connections(1).acquire_timeout(std::time::Duration::from_secs(5));
    let world = World::new(one.connect_with((*pool.connect_options()).clone()).await.unwrap()).await;
    fill(&world, 500, 500).await;
    let request = Request::get("/users/me/export").header("authorization", token("alice")).body(Body::empty());
    let response = world.router.clone().oneshot(request.unwrap()).await.unwrap();
    let mut pages = response.into_body().into_data_stream();
    let mut text = Vec::new();
    while let Some(page) = pages.next().await {
        text.extend_from_slice(&page.unwrap());
        assert_eq!(world.get("bob", "/users/me").await.status, 200);
    }
    let export: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(export["shares_received"].as_array().unwrap().len(), 500);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn after_a_block_an_export_keeps_the_users_own_texts_and_does_not_name_the_other(pool: PgPool) {
    let world = World::new(pool).await;
    fill(&world, 500, 90).await;
    world.post("bob", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    let counts = |export: &Value| {
        let sent = export["shares_sent"].as_array().unwrap();
        sent.iter().map(|row| row["not_seen_count"].as_i64().unwrap()).sum::<i64>()
    };
    let before = world.get("alice", "/users/me/export").await.body;
    assert_eq!(counts(&before), 30 + 30 + 60);
    // It does not matter which of the two has blocked the other.
    for (blocker, blocked) in [("bob", "alice"), ("alice", "bob")] {
        world.put(blocker, &format!("/friendship/blocks/{blocked}"), Value::Null).await.is_success();
        let reply = world.get("alice", "/users/me/export").await;
        let (mut export, text) = (reply.body, reply.text);
        if blocker == "alice" {
            // Her own list names whom she has blocked, as the call for it does.
            assert_eq!(export["blocks"][0]["blocked_id"], "bob");
            export["blocks"] = json!([]);
        }
        assert!(!export.to_string().contains("bob"), "{text}");
        let sent = export["shares_sent"].as_array().unwrap();
        assert_eq!(sent.len(), 90);
        assert!(sent.iter().all(|row| row["title"] == "my own words"));
        assert_eq!(sent.iter().filter(|row| row["sent_to"] == "carol").count(), 30);
        assert_eq!(export["shares_received"].as_array().unwrap().len(), 250);
        let to_all = sent.iter().filter(|row| row["not_seen_count"] == 1 && row["sent_to"] == json!(null));
        assert!(to_all.count() >= 30, "the other is in no count");
        world.delete(blocker, &format!("/friendship/blocks/{blocked}")).await.is_success();
        let after = world.get("alice", "/users/me/export").await.body;
        assert_eq!((counts(&after), after["shares_received"].as_array().unwrap().len()), (120, 500));
    }
}
