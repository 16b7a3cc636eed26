//! No call reads a large table from end to end, or much of it, on data of some size. PostgreSQL's own counters tell, so the plans
//! that it really chose are judged, for the statements that the calls really make. No statement of the core is left out: the
//! prepared ones are compared with `.sqlx`, where the compiler keeps all.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{Method, Request},
    routing::post,
};
use core_api::{
    config::Operator,
    image_removals,
    import::target,
    metrics, operate,
    relay::{RENEWAL, Relay},
    upkeep, versions,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use shared::ids::UserId;
use sqlx::{AssertSqlSafe, Executor, PgPool, postgres::PgPoolOptions};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use tower::ServiceExt;
use uuid::Uuid;

use crate::{
    bucket::Bucket,
    world::{OWNER, World, as_role, token, until},
};

/// The id of the nth user, as `dev/dataset.sql` makes it.
fn user_id(n: u64) -> String {
    (1_000_000_000_000_874_219 + n * 618_033_988_749 % 999_999_999_989 * 1_000_000).to_string()
}

/// So many users that it costs more to read all of a table than to read a few hundred of its rows by an index.
const USERS: u64 = 20_000;

const NO_DOMAINS: &str = r#"{"allow": [], "deny": []}"#;

/// Names, each of which one user in twenty has.
const NAMES: [(&str, &str); 5] = [("!!!", "-.-"), ("😀", "👍🏽"), ("Мария", "Петрова"), ("민준", "김"), ("文字", "中")];

/// How often each call is made. After so many calls, PostgreSQL has compared its plan for the given parameters with one for any
/// parameters.
const CALLS: u64 = 8;

/// Most pages of one table that a call may read. A search reads each user whom it ranks by an index.
const PAGES_MAX: i64 = 1_000;

/// The same for the last page of a search. It reads one page for every entry of the index, where the table was not vacuumed
/// since.
const LAST_PAGE_PAGES_MAX: i64 = 3_000;

const LARGE_TABLES: [&str; 8] =
    ["circles", "friendships", "outbox", "search_keys", "search_texts", "share_recipients", "shares", "users"];

/// A table with at least this many rows is a large one.
const LARGE: i64 = 1_000;

/// The key with which each caller sent a share long ago.
const OLD_KEY: &str = "a-key-of-long-ago";

/// The recipient whose events the edge does not take.
const REFUSING: &str = "refusing";

/// How much of a table was read so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    whole_scans: i64,
    /// Pages of the table and its indexes, each counted as often as it was read.
    pages: i64,
}

/// How much of each large table was read so far.
async fn readings(pool: &PgPool) -> BTreeMap<String, Reading> {
    // The pool has one connection. It adds its counts to the statistics at the end of this statement.
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

/// The user who makes the nth call of each kind. These few users are no neighbours of each other in the dataset.
fn caller(n: u64) -> u64 {
    1_000 + n * 100
}

/// A world with the users of the dataset, and changes that wait for the relay. It has one connection.
async fn crowded(pool: &PgPool, flags: &[&str]) -> World {
    let mut connection = pool.acquire().await.unwrap();
    for (name, value) in
        [("users", USERS.to_string().as_str()), ("friends", "40"), ("received", "10"), ("domains", NO_DOMAINS)]
    {
        let set = sqlx::query("select set_config('dataset.' || $1, $2, false)").bind(name).bind(value);
        set.execute(&mut *connection).await.unwrap();
    }
    // What a vacuum reads would be counted too.
    for table in LARGE_TABLES {
        let sql = format!("alter table {table} set (autovacuum_enabled = false)");
        connection.execute(AssertSqlSafe(sql)).await.unwrap();
    }
    connection.execute(include_str!("../../../dev/dataset.sql")).await.unwrap();
    for (place, (first, last)) in NAMES.into_iter().enumerate() {
        let named = sqlx::query("update users set first_name = $1, last_name = $2 where number % 20 = $3");
        named.bind(first).bind(last).bind(place as i32 + 1).execute(&mut *connection).await.unwrap();
    }
    for n in 0..CALLS {
        let shared = sqlx::query(
            "insert into shares (event_id, sender_id, sent_at, url, title, not_seen_count, idempotency_key)
            values (gen_random_uuid(), $1, '2025-01-01', 'https://example.org/', 'Old', 0, $2)",
        );
        shared.bind(user_id(caller(n))).bind(OLD_KEY).execute(&mut *connection).await.unwrap();
    }
    connection
        .execute(
            "insert into outbox (id, recipients, versions, kind, payload)
            select gen_random_uuid(), case when n % 100 = 0 then array['nobody', 'refusing'] else array['nobody'] end,
                case when n % 100 = 0 then array[0, 0] else array[0] end, 'user.deleted',
                jsonb_build_object('padding', repeat('.', 500))
            from generate_series(1, 20000) n",
        )
        .await
        .unwrap();
    connection.execute("vacuum analyze").await.unwrap();
    // A session reports what it has read only if the last report is a second old, or after it was idle for ten seconds. Such a
    // late report would count as read by the calls.
    connection.execute("select pg_stat_force_next_flush()").await.unwrap();
    drop(connection);
    // This is what a page costs that is in memory or on a solid-state disk. The default is for rotating disks. It lets PostgreSQL
    // read tables of this size as a whole where it would not read larger ones. No statement is prepared twice or dropped from the
    // cache.
    let options = (*pool.connect_options()).clone().options([("random_page_cost", "1.1")]);
    let options = options.statement_cache_capacity(1_000);
    let one = PgPoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let world = World::with(one, flags).await;
    // Only the session itself can tell in time what it has prepared and read.
    World { pool: world.serving.clone(), ..world }
}

/// Paths and bodies of calls, in an order in which each finds what it needs. ME is the caller, who changes. ASKER and ASKER2 have
/// asked the caller. OTHER and OTHERS stay the same, and OTHER is no neighbour of a caller.
const CALLS_OF_MEMBERS: &[(&str, &str, &str)] = &[
    ("GET", "/users/me", ""),
    ("GET", "/users/id/OTHER", ""),
    ("GET", "/users/id/nobody", ""),
    ("GET", "/users/ids/OTHERS", ""),
    ("GET", "/users/id/OTHER/friends?limit=15", ""),
    ("GET", "/users/id/OTHER/friends?limit=100&offset=1000000000", ""),
    ("GET", "/users/id/OTHER/friends/count", ""),
    ("GET", "/users/id/OTHER/mutual-friends", ""),
    ("GET", "/users/id/OTHER/mutual-friends/count", ""),
    ("GET", "/users/id/OTHER/profile-image-url?image_ext=png", ""),
    ("GET", "/users/ids/OTHER/profile-image-url?image_ext_arr=png", ""),
    ("GET", "/users/me/profile-image-upload-url?image_ext=png", ""),
    ("DELETE", "/users/me/profile-image", ""),
    (
        "PUT",
        "/users/me",
        r#"{"first_name": "New", "last_name": "Name", "share_mode": "default_all", "email_public": true,
        "domain_allow_array": [], "domain_deny_array": [], "gender_public": true, "school_public": true,
        "work_public": true, "location_public": true}"#,
    ),
    ("PUT", "/users/me/domain_array/deny", r#"["example.com"]"#),
    ("GET", "/friendship/check/OTHER", ""),
    ("GET", "/friendship/requests", ""),
    ("GET", "/friendship/requests?offset=1000000000", ""),
    ("GET", "/friendship/sent-requests", ""),
    ("GET", "/friendship/sent-requests?offset=1000000000", ""),
    ("GET", "/friendship/requests/OTHER", ""),
    ("POST", "/friendship/requests", r#"{"user_id2": "OTHER"}"#),
    ("POST", "/friendship/accept", r#"{"user_id1": "ASKER"}"#),
    ("DELETE", "/friendship/requests/ASKER2", ""),
    ("GET", "/friendship/all", ""),
    ("GET", "/friendship/all?offset=1000000000", ""),
    ("GET", "/friendship/search/name/a", ""),
    ("GET", "/friendship/search/email/a", ""),
    ("POST", "/notifications/share", r#"{"url": "https://example.org/", "title": "A page"}"#),
    (
        "POST",
        "/notifications/share/personal",
        r#"{"url": "https://example.org/", "title": "A page", "sent_to": "ASKER"}"#,
    ),
    ("GET", "/notifications/share", ""),
    ("GET", "/notifications/share?is_read=false", ""),
    ("GET", "/notifications/share?is_read=true", ""),
    ("GET", "/notifications/share?offset=1000000000", ""),
    ("GET", "/notifications/share/sent", ""),
    ("GET", "/notifications/share/sent?offset=1000000000", ""),
    ("POST", "/friendship/delete", r#"{"user_id1": "ME", "user_id2": "ASKER"}"#),
    ("PUT", "/friendship/blocks/OTHER", ""),
    ("GET", "/friendship/blocks", ""),
    ("DELETE", "/friendship/blocks/OTHER", ""),
];

/// What people may type: frequent and rare, in several scripts, without a letter, and of one character.
const TEXTS: [&str; 18] = [
    "garcia",
    "mar",
    "maria garcia",
    "!!!",
    "-.-",
    "!",
    "мария",
    "петрова м",
    "김민준",
    "김",
    "준",
    "中文字",
    "中",
    "a",
    "ma",
    "😀",
    "qqq",
    "👍🏽",
];

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn no_statement_reads_much_of_a_large_table_whatever_is_asked(pool: PgPool) {
    let edge = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let edge_url = format!("http://{}", edge.local_addr().unwrap());
    let batches = Arc::new(AtomicU64::new(0));
    let routes = Router::new().route("/internal/events", post(take)).with_state(Arc::clone(&batches));
    tokio::spawn(async move { axum::serve(edge, routes).await });
    let bucket = Bucket::start().await;
    let world = crowded(&pool, &[&bucket.flags()[..], &["--edge-url", &edge_url]].concat()).await;
    let tables = readings(&world.pool).await;
    assert_eq!(tables.keys().collect::<Vec<_>>(), LARGE_TABLES, "what is large");

    for (method, path, body) in CALLS_OF_MEMBERS {
        let method: Method = method.parse().unwrap();
        called(&world, &format!("{method} {path}"), async |n| {
            let body = (!body.is_empty()).then(|| serde_json::from_str(&filled(body, caller(n))).unwrap());
            world.call(&user_id(caller(n)), method.clone(), &filled(path, caller(n)), body).await.status
        })
        .await;
    }
    for text in TEXTS {
        let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        for (by, paging) in
            [("name", ""), ("name", "?limit=100&offset=1000"), ("email", ""), ("name", "?offset=1000000000")]
        {
            let path = format!("/users/search/{by}/{encoded}{paging}");
            let what = format!("a search by {by} for {text} {paging}");
            called(&world, &what, async |n| world.get(&user_id(caller(n)), &path).await.status).await;
        }
    }
    called(&world, "a share with a key", async |n| {
        let request = Request::post("/notifications/share").header("idempotency-key", OLD_KEY);
        let request = request.header("authorization", format!("Bearer {}", token(&user_id(caller(n)))));
        let page = json!({"url": "https://example.org/", "title": "A page"}).to_string();
        world.send(request.body(Body::from(page)).unwrap()).await.status
    })
    .await;
    called(&world, "reading a share", async |n| {
        let me = user_id(caller(n));
        let unread = world.get(&me, "/notifications/share?is_read=false").await.body;
        let read = json!([{ "event_id": unread[0]["event_id"] }]);
        world.post(&me, "/notifications/share/read", read).await.status
    })
    .await;
    called(&world, "a registration", async |n| {
        let named = json!({"first_name": "Maria", "last_name": "García"});
        world.post(&format!("new-{n}"), "/users/me", named).await.status
    })
    .await;
    called(&world, "GET /internal/users/{id}/social", async |n| world.social(&user_id(caller(n)), None).await.status)
        .await;
    called(&world, "GET /users/me/export", async |n| world.get(&user_id(caller(n)), "/users/me/export").await.status)
        .await;
    called(&world, "DELETE /users/me", async |n| world.delete(&user_id(caller(n)), "/users/me").await.status).await;

    sqlx::query("update image_removals set removed_at = removed_at - interval '1 day'")
        .execute(&world.pool)
        .await
        .unwrap();
    let (stop, stopped) = watch::channel(false);
    let removals = tokio::spawn(image_removals::run(Arc::clone(&world.app), stopped));
    until("the images are removed once more", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from image_removals").fetch_one(&world.pool).await.unwrap();
        left == 0
    })
    .await;
    stop.send_replace(true);
    removals.await.unwrap();

    // This reads all that waits. It is called by those who run the service, so it is not judged.
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    assert_eq!(metrics::router(world.app.clone()).oneshot(request).await.unwrap().status(), 200);

    // This reads all users, a batch at a time, and is not judged either.
    versions::raise(&world.pool).await.unwrap();

    // The commands of operators.
    let operator = Operator { by: "a test".to_owned(), reason: "to count".to_owned() };
    let user_of = |n| user_id(caller(n) + 1).parse::<UserId>().unwrap();
    called(&world, "showing, suspending and restoring a user", async |n| {
        operate::show(&world.pool, &user_of(n), &operator).await.unwrap();
        for _ in 0..2 {
            operate::suspend(&world.pool, &user_of(n), &operator).await.unwrap();
        }
        operate::restore(&world.pool, &user_of(n), &operator).await.unwrap();
        200
    })
    .await;
    called(&world, "listing, requeueing and dropping what waits", async |_| {
        let waiting = operate::waiting(&world.pool, 10).await.unwrap();
        let ids: Vec<Uuid> = waiting.iter().map(|waiting| waiting.id).collect();
        operate::requeue(&world.pool, &ids, &operator).await.unwrap();
        assert_eq!(operate::drop_waiting(&world.pool, &ids, &operator).await.unwrap().len(), ids.len());
        200
    })
    .await;

    // What an import reads from this schema. It writes with one statement a batch, into tables that it fills.
    called(&world, "a batch of an import", async |n| {
        let (me, other) = (user_id(caller(n) + 1), user_id(caller(n) + 2));
        let pair = if me < other { (me.clone(), other) } else { (other, me.clone()) };
        let mut connection = world.pool.acquire().await.unwrap();
        target::wait_for_turn(&mut connection).await.unwrap();
        let absent = Uuid::now_v7();
        assert_eq!(target::addresses(&mut connection, &["nobody@example.com".to_owned()]).await.unwrap().len(), 1);
        assert!(target::users_there(&mut connection, std::slice::from_ref(&me)).await.unwrap().contains(&me));
        target::pairs_there(&mut connection, &[pair]).await.unwrap();
        assert!(target::shares_there(&mut connection, &[absent]).await.unwrap().is_empty());
        assert_eq!(target::insert_users(&mut connection, &[]).await.unwrap(), 0);
        assert_eq!(target::insert_friendships(&mut connection, &[]).await.unwrap(), 0);
        assert_eq!(target::insert_shares(&mut connection, &[]).await.unwrap(), 0);
        200
    })
    .await;

    // The relay runs while much waits, and when nothing waits any more.
    let before = readings(&world.pool).await;
    let relayed = relayed_until(&world, async || batches.load(Ordering::SeqCst) >= CALLS).await;
    assert!(relayed, "{} batches are too few to judge", batches.load(Ordering::SeqCst));
    // A batch has a hundred rows, and each is claimed and settled by its place in every index. So a tenth of a batch counts as
    // one call.
    let tenths = 10 * batches.load(Ordering::SeqCst);
    judge("a tenth of a batch of the relay", tenths, &before, &readings(&world.pool).await);
    world.forget_events().await;
    // For an event that shows a user, the relay looks for that user among the blocked.
    world.post("new-0", "/friendship/requests", json!({"user_id2": user_id(7)})).await.is_success();
    // Much is left of an account, and its turn ends before all is removed. No share is old enough to be removed.
    sqlx::query(
        "with left_over as (
            insert into shares (event_id, sender_id, sent_at, url, title, not_seen_count)
            select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'gone', now(), 'https://example.com/', '', 0
            from generate_series(1, 5000) n
        )
        insert into erasures (user_id, erased_at, last_event_id, next_attempt_at)
        values ('gone', now(), '00000000-0000-7000-8000-999999999999', now())",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for ends_early in [true, false] {
        let (stop, stopped) = watch::channel(false);
        let upkeep = tokio::spawn(upkeep::run(world.app.clone(), Some(20_000), stopped));
        until("the account has its turn", async || {
            let sql = "select count(*) from erasures where attempts > 0 or not $1";
            sqlx::query_scalar::<_, i64>(sql).bind(ends_early).fetch_one(&world.pool).await.unwrap() > 0
        })
        .await;
        if !ends_early {
            // What is still missing then is named below.
            let _ = relayed_until(&world, async || unmade(&world.pool).await.is_empty()).await;
        }
        stop.send_replace(true);
        upkeep.await.unwrap();
    }

    let unmade = unmade(&world.pool).await;
    assert!(unmade.is_empty(), "statements of the core that nothing here makes, or no more: {unmade:#?}");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_user_whom_many_have_blocked_reads_no_more_for_it(pool: PgPool) {
    let world = crowded(&pool, &[]).await;
    let me = user_id(caller(0));
    // Some of those who block are friends, as they were when they sent what is hidden now. Any number of other users may block
    // somebody.
    sqlx::query(
        "with blocking as (
            (select user_id from users where user_id <> $1 limit 5000)
            union
            (select friend_id from friends where user_id = $1 limit 20)
        )
        insert into blocks (blocker_id, blocked_id) select user_id, $1 from blocking",
    )
    .bind(&me)
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query("vacuum analyze blocks").execute(&as_role(&world.pool, OWNER)).await.unwrap();
    for _ in 0..10 {
        let page = json!({"url": "https://example.org/", "title": "A page"});
        assert_eq!(world.post(&me, "/notifications/share", page).await.status, 200);
    }
    for query in ["", "?is_read=false", "?is_read=true", "/sent?limit=5"] {
        let path = format!("/notifications/share{query}");
        called(&world, &path, async |_| world.get(&me, &path).await.status).await;
    }
    // A user who has not blocked the caller.
    let friend: String = sqlx::query_scalar(
        "select user_id from users where user_id <> $1 and not exists (
            select from blocks where blocker_id = users.user_id
        ) order by user_id limit 1",
    )
    .bind(&me)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    for path in [
        format!("/users/id/{friend}"),
        format!("/users/ids/{friend},{me}"),
        format!("/users/id/{friend}/friends"),
        format!("/users/id/{friend}/friends/count"),
        format!("/users/id/{friend}/mutual-friends"),
        format!("/users/id/{friend}/mutual-friends/count"),
        format!("/friendship/check/{friend}"),
        "/friendship/all".to_owned(),
        "/friendship/requests".to_owned(),
        "/users/search/name/maria".to_owned(),
        "/users/search/name/a".to_owned(),
        "/users/search/email/maria".to_owned(),
    ] {
        called(&world, &path, async |_| world.get(&me, &path).await.status).await;
    }
}

/// Runs the relay until the condition holds, for thirty seconds at most. Returns whether it held.
async fn relayed_until(world: &World, mut is_so: impl AsyncFnMut() -> bool) -> bool {
    let (stop, stopped) = watch::channel(false);
    let relay = tokio::spawn(Relay::new(world.app.clone(), &world.config).unwrap().run(stopped));
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let held = timeout(Duration::from_secs(30), wait).await.is_ok();
    stop.send_replace(true);
    relay.await.unwrap();
    held
}

/// Makes a call [`CALLS`] times, and judges how much it reads.
async fn called(world: &World, what: &str, call: impl AsyncFn(u64) -> u16) {
    let before = readings(&world.pool).await;
    for n in 0..CALLS {
        let status = call(n).await;
        assert!((200..300).contains(&status) || status == 404 && what.contains("nobody"), "{what}: {status}");
    }
    judge(what, CALLS, &before, &readings(&world.pool).await);
}

/// Fails if these calls have scanned a large table, or have read many pages of one by its indexes.
#[track_caller]
fn judge(what: &str, calls: u64, before: &BTreeMap<String, Reading>, after: &BTreeMap<String, Reading>) {
    for (table, reading) in before {
        let now = after[table];
        assert_eq!(now.whole_scans, reading.whole_scans, "{what} scans all of {table}");
        let pages = (now.pages - reading.pages) / i64::try_from(calls.max(1)).unwrap();
        let pages_max = if what.ends_with("offset=1000") { LAST_PAGE_PAGES_MAX } else { PAGES_MAX };
        assert!(pages <= pages_max, "{what} reads {pages} pages of {table}");
    }
}

/// A path or body of [`CALLS_OF_MEMBERS`] for this caller.
fn filled(text: &str, me: u64) -> String {
    let others = (1..=20).map(user_id).collect::<Vec<_>>().join(",");
    let text = text.replace("OTHERS", &others).replace("OTHER", &user_id(7)).replace("ME", &user_id(me));
    text.replace("ASKER2", &user_id(me - 3)).replace("ASKER", &user_id(me - 1))
}

/// The statements of the core that this connection has not prepared.
async fn unmade(pool: &PgPool) -> Vec<String> {
    let made: Vec<String> =
        sqlx::query_scalar("select statement from pg_prepared_statements").fetch_all(pool).await.unwrap();
    let kept = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.sqlx")).unwrap().map(|entry| {
        let kept: Value = serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        kept["query"].as_str().unwrap().to_owned()
    });
    kept.filter(|statement| !made.contains(statement)).collect()
}

/// The edge's side of `/internal/events`.
async fn take(State(batches): State<Arc<AtomicU64>>, Json(batch): Json<Value>) -> Json<Value> {
    batches.fetch_add(1, Ordering::SeqCst);
    let events = batch["events"].as_array().unwrap().iter();
    // The edge takes so long for this batch that the relay renews its claims.
    if events.clone().any(|event| event["kind"] == "friend.requested") {
        tokio::time::sleep(RENEWAL + Duration::from_secs(1)).await;
    }
    let taken: Vec<&Value> = events.filter(|event| event["recipient"] != REFUSING).map(|event| &event["id"]).collect();
    Json(json!({ "taken": taken }))
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn ending_accounts_exporting_them_and_removing_old_shares_reads_no_large_table_from_end_to_end(pool: PgPool) {
    let world = crowded(&pool, &[]).await;
    let users = |from: u64| (from..from + CALLS).map(user_id);

    let before = readings(&world.pool).await;
    for me in users(300) {
        assert_eq!(world.get(&me, "/users/me/export").await.status, 200);
    }
    judge("GET /users/me/export", CALLS, &before, &readings(&world.pool).await);

    // A deletion also changes the rows of forty friends, so it may read as much as two calls.
    let before = readings(&world.pool).await;
    for me in users(400) {
        assert_eq!(world.delete(&me, "/users/me").await.status, 204);
    }
    judge("DELETE /users/me", 2 * CALLS, &before, &readings(&world.pool).await);
    let left: i64 = sqlx::query_scalar("select count(*) from erasures").fetch_one(&world.pool).await.unwrap();
    assert_eq!(left, 0);

    // These are three batches. One more look finds none.
    sqlx::query(
        "insert into shares (event_id, sender_id, sent_at, url, title, not_seen_count)
        select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $1, 'epoch', 'https://example.com/', '', 0
        from generate_series(1, 25) n",
    )
    .bind(user_id(1))
    .execute(&world.pool)
    .await
    .unwrap();
    let before = readings(&world.pool).await;
    let (stop, stopped) = watch::channel(false);
    let work = tokio::spawn(upkeep::run(world.app.clone(), Some(20_000), stopped));
    until("they are gone", async || {
        let old = "select count(*) from shares where event_id < '00000000-0000-7000-8000-999999999999'";
        sqlx::query_scalar::<_, i64>(old).fetch_one(&world.pool).await.unwrap() == 0
    })
    .await;
    stop.send_replace(true);
    work.await.unwrap();
    judge("removing old shares", 1, &before, &readings(&world.pool).await);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_page_of_an_export_reads_no_more_if_there_are_many(pool: PgPool) {
    let world = crowded(&pool, &[]).await;
    // PostgreSQL believes that this user has received some ten shares, as all others have. It also believes that the disk
    // rotates.
    for setting in ["set random_page_cost = 4", "set plan_cache_mode = force_custom_plan"] {
        sqlx::query(setting).execute(&world.pool).await.unwrap();
    }
    let me = user_id(500);
    let shares: i32 = 20_000;
    sqlx::query(
        "with sent as (
            insert into shares (event_id, sender_id, sent_at, url, title, not_seen_count)
            select ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, $1, 'epoch', 'https://example.com/', '', 1
            from generate_series(1, $3) n returning event_id
        )
        insert into share_recipients (event_id, user_id) select event_id, $2 from sent",
    )
    .bind(user_id(501))
    .bind(&me)
    .bind(shares)
    .execute(&world.pool)
    .await
    .unwrap();
    let before = readings(&world.pool).await["share_recipients"];
    let export = world.get(&me, "/users/me/export").await.body;
    assert!(export["shares_received"].as_array().unwrap().len() >= shares as usize);
    let pages = readings(&world.pool).await["share_recipients"].pages - before.pages;
    assert!(pages < 5_000, "{pages} pages");
}
