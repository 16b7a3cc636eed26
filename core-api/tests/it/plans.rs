//! That no call reads a large table from end to end, on data of some size: PostgreSQL's own counters tell, so what
//! is judged are the plans that it really chose, for whatever statements the calls really make.

use std::collections::BTreeMap;

use axum::http::Method;
use core_api::relay::Relay;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Executor, PgPool, postgres::PgPoolOptions};
use tokio::sync::watch;

use crate::world::{World, until};

/// As `dev/crowd.sql` makes them.
fn user_id(n: u64) -> String {
    (1_000_000_000_000_874_219 + n * 618_033_988_749 % 999_999_999_989 * 1_000_000).to_string()
}

/// Enough for reading all of a table to be dearer than a few hundred of its rows by an index.
const USERS: u64 = 20_000;

const NO_DOMAINS: &str = r#"{"allow": [], "deny": []}"#;

/// As often as it takes until PostgreSQL has compared its plan for these very parameters with one for any.
const CALLS: usize = 8;

/// Most pages of one table that a call may read. A search looks each user whom it ranks up by an index.
const PAGES_MAX: i64 = 1_000;

const LARGE_TABLES: [&str; 6] = ["circles", "friendships", "outbox", "share_recipients", "shares", "users"];

/// A table of at least so many rows is a large one.
const LARGE: i64 = 1_000;

/// What reading a table has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    whole_scans: i64,
    /// Of the table and its indexes, each as often as it was looked at.
    pages: i64,
}

/// Of each large table.
async fn readings(pool: &PgPool) -> BTreeMap<String, Reading> {
    // The pool has one connection: what it has counted, it adds to the statistics at the end of this.
    sqlx::query("select pg_stat_force_next_flush()").execute(pool).await.unwrap();
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "select relname::text, seq_scan, (heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint
        from pg_stat_user_tables join pg_statio_user_tables using (relid, relname)
        where (select reltuples from pg_class where oid = relid) >= $1",
    )
    .bind(LARGE)
    .fetch_all(pool)
    .await
    .unwrap();
    rows.into_iter().map(|(table, whole_scans, pages)| (table, Reading { whole_scans, pages })).collect()
}

/// A world with a crowd in it, and changes that wait for the relay. It has one connection.
async fn crowded(pool: &PgPool) -> World {
    let mut connection = pool.acquire().await.unwrap();
    for (name, value) in
        [("users", USERS.to_string().as_str()), ("friends", "40"), ("received", "10"), ("domains", NO_DOMAINS)]
    {
        let set = sqlx::query("select set_config('crowd.' || $1, $2, false)").bind(name).bind(value);
        set.execute(&mut *connection).await.unwrap();
    }
    // What a vacuum reads would be counted too.
    for table in LARGE_TABLES {
        let sql = format!("alter table {table} set (autovacuum_enabled = false)");
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    connection.execute(include_str!("../../../dev/crowd.sql")).await.unwrap();
    connection
        .execute(
            "insert into outbox (id, recipients, versions, kind, payload)
            select gen_random_uuid(), array['nobody'], array[0], 'user.deleted', '{}' from generate_series(1, 5000)",
        )
        .await
        .unwrap();
    connection.execute("vacuum analyze").await.unwrap();
    // A session tells what it has read within a second of the last time only when it has been idle for ten, and that
    // would be counted as read by the calls.
    connection.execute("select pg_stat_force_next_flush()").await.unwrap();
    drop(connection);
    // What a page costs that is in memory or on a solid disk already. The default is for disks that turn, and lets
    // tables of this size be read whole where larger ones would not be.
    let options = (*pool.connect_options()).clone().options([("random_page_cost", "1.1")]);
    World::new(PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap()).await
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn no_call_reads_a_large_table_from_end_to_end(pool: PgPool) {
    let world = crowded(&pool).await;
    let tables = readings(&world.pool).await;
    assert_eq!(tables.keys().collect::<Vec<_>>(), LARGE_TABLES, "what is large");

    let get = |path: &str| (Method::GET, path.to_owned(), None);
    let other = user_id(7);
    let friend = user_id(9);
    let some = (1..=20).map(user_id).collect::<Vec<_>>().join(",");
    let page = json!({"url": "https://example.org/", "title": "A page"});
    let calls: Vec<(Method, String, Option<Value>)> = vec![
        get("/users/me"),
        get(&format!("/users/id/{other}")),
        get(&format!("/users/ids/{some}")),
        get(&format!("/users/id/{other}/friends?limit=15")),
        get(&format!("/users/id/{other}/friends/count")),
        get(&format!("/users/id/{other}/mutual-friends")),
        get(&format!("/users/id/{other}/mutual-friends/count")),
        get("/users/search/name/garcia"),
        get("/users/search/name/mar"),
        get("/users/search/email/maria"),
        get(&format!("/friendship/check/{other}")),
        get("/friendship/requests"),
        get(&format!("/friendship/requests/{other}")),
        get("/friendship/all"),
        get("/friendship/search/name/a"),
        get("/friendship/search/email/a"),
        get("/friendship/blocks"),
        get("/notifications/share"),
        get("/notifications/share?is_read=false"),
        get("/notifications/share?is_read=true"),
        get("/notifications/share/sent"),
        (Method::POST, "/notifications/share".to_owned(), Some(page)),
        (Method::POST, "/notifications/share/read".to_owned(), Some(json!([{"event_id": uuid::Uuid::nil()}]))),
        (Method::POST, "/friendship/requests".to_owned(), Some(json!({"user_id2": friend}))),
    ];
    for (method, path, body) in calls {
        let before = readings(&world.pool).await;
        for n in 0..CALLS {
            // Another caller each time, for what each may do is bounded.
            let me = user_id(100 + n as u64);
            let reply = world.call(&me, method.clone(), &path, body.clone()).await;
            assert_eq!(reply.status, 200, "{method} {path}: {}", reply.text);
        }
        judge(&format!("{method} {path}"), CALLS as i64, &before, &readings(&world.pool).await);
    }

    let before = readings(&world.pool).await;
    for n in 0..CALLS {
        assert_eq!(world.social(&user_id(200 + n as u64), None).await.status, 200);
    }
    judge("GET /internal/users/{id}/social", CALLS as i64, &before, &readings(&world.pool).await);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn whoever_has_blocked_many_reads_no_more_for_it(pool: PgPool) {
    let world = crowded(&pool).await;
    let me = user_id(100);
    // Friends too, as they were when they sent what is hidden now.
    sqlx::query(
        "with blocked as (
            (select user_id from users where user_id <> $1 limit 5000)
            union
            (select friend_id from friends where user_id = $1 limit 20)
        )
        insert into blocks (blocker_id, blocked_id) select $1, user_id from blocked",
    )
    .bind(&me)
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query("vacuum analyze blocks").execute(&world.pool).await.unwrap();
    for _ in 0..10 {
        let page = json!({"url": "https://example.org/", "title": "A page"});
        assert_eq!(world.post(&me, "/notifications/share", page).await.status, 200);
    }
    for query in ["", "?is_read=false", "?is_read=true", "/sent?limit=5"] {
        let path = format!("/notifications/share{query}");
        let before = readings(&world.pool).await;
        for _ in 0..CALLS {
            assert_eq!(world.get(&me, &path).await.status, 200);
        }
        judge(&path, CALLS as i64, &before, &readings(&world.pool).await);
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_relay_finds_what_is_due_without_reading_all_that_waits(pool: PgPool) {
    let world = crowded(&pool).await;
    let looks = async || {
        let looks: i64 = sqlx::query_scalar(
            "select (seq_scan + coalesce(idx_scan, 0))::bigint from pg_stat_user_tables where relname = 'outbox'",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        looks
    };
    let before = readings(&world.pool).await;
    let looks_before = looks().await;
    let (stop, stopped) = watch::channel(false);
    // Nobody listens where this world's edge should be: a batch is found, and stays.
    let relay = tokio::spawn(Relay::new(world.app.clone(), &world.config).unwrap().run(stopped));
    until("the relay has looked", async || {
        readings(&world.pool).await;
        looks().await > looks_before
    })
    .await;
    stop.send_replace(true);
    relay.await.unwrap();
    judge("the relay", 1, &before, &readings(&world.pool).await);
}

/// Fails when so many calls have scanned a large table, or read much of one by its indexes.
#[track_caller]
fn judge(what: &str, calls: i64, before: &BTreeMap<String, Reading>, after: &BTreeMap<String, Reading>) {
    for (table, reading) in before {
        let now = after[table];
        assert_eq!(now.whole_scans, reading.whole_scans, "{what} scans all of {table}");
        let pages = (now.pages - reading.pages) / calls;
        assert!(pages <= PAGES_MAX, "{what} reads {pages} pages of {table}");
    }
}
