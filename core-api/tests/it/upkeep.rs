//! What instances do beside requests. They remove what is left of deleted accounts, and shares that are too old.

use std::{sync::Arc, time::Duration};

use core_api::upkeep;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgPool};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    bucket::Bucket,
    world::{World, until},
};

/// An instance's running upkeep, and what stops it.
struct Upkeep {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Upkeep {
    fn start(world: &World) -> Self {
        let (stop, stopped) = watch::channel(false);
        let upkeep = upkeep::run(Arc::clone(&world.app), world.config.share_retention_days, stopped);
        Self { stop, task: tokio::spawn(upkeep) }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(5), self.task).await.unwrap().unwrap();
    }
}

async fn count(world: &World, what: &str) -> i64 {
    let sql = format!("select count(*) from {what}");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&world.pool).await.unwrap()
}

async fn execute(world: &World, sql: &'static str) {
    sqlx::raw_sql(sql).execute(&world.pool).await.unwrap();
}

/// Makes everything due now that waits for a later attempt.
async fn hurry(world: &World) {
    execute(world, "update erasures set next_attempt_at = now()").await;
}

/// The number of rows about this user.
async fn traces(world: &World, user_id: &str) -> i64 {
    count(
        world,
        &format!(
            "(
                select 1 from users where user_id = '{user_id}'
                union all select 1 from friendships where '{user_id}' in (user_id1, user_id2)
                union all select 1 from blocks where '{user_id}' in (blocker_id, blocked_id)
                union all select 1 from declines where '{user_id}' in (asker_id, decliner_id)
                union all select 1 from shares where '{user_id}' in (sender_id, sent_to)
                union all select 1 from share_recipients where user_id = '{user_id}'
                union all select 1 from erasures where user_id = '{user_id}'
            ) traces"
        ),
    )
    .await
}

/// The number of recipients without a share, and of shares that count wrongly how many have not read them.
async fn wrong(world: &World) -> i64 {
    count(
        world,
        "(
            select 1 from share_recipients r where not exists (select from shares s where s.event_id = r.event_id)
            union all
            select 1 from shares s where not_seen_count <> (
                select count(*) from share_recipients r where r.event_id = s.event_id and r.seen_at is null
            )
        ) wrong",
    )
    .await
}

/// Alice with a crowd. She has received more requests and shares, and sent more shares, than one batch takes. There are also
/// blocks and declines in both directions.
async fn celebrity(pool: PgPool, flags: &[&str]) -> World {
    let world = World::with(pool, flags).await;
    world.register(&["alice", "bob", "carol"]).await;
    world.befriend("alice", "bob").await;
    world.befriend("carol", "alice").await;
    execute(
        &world,
        "insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array)
            select 'u' || n, n || '@example.com', 'User', n::text, '{}', '{}' from generate_series(1, 1600) n;
        insert into friendships (user_id1, user_id2) select 'u' || n, 'alice' from generate_series(1, 1200) n;
        insert into blocks (blocker_id, blocked_id) select 'alice', 'u' || n from generate_series(1201, 1300) n;
        insert into blocks (blocker_id, blocked_id) select 'u' || n, 'alice' from generate_series(1301, 1400) n;
        insert into declines (asker_id, decliner_id) select 'alice', 'u' || n from generate_series(1401, 1500) n;
        insert into declines (asker_id, decliner_id) select 'u' || n, 'alice' from generate_series(1501, 1600) n;
        create temporary table sent as
            select (lpad(to_hex((extract(epoch from now() - n * interval '1 hour') * 1000)::bigint), 12, '0')
                || '7000' || right(gen_random_uuid()::text, 17))::uuid as event_id, sender_id, sent_to
            from (
                select n, 'bob' as sender_id, null::text as sent_to from generate_series(1, 2300) n
                union all select n, 'bob', 'alice' from generate_series(1, 25) n
                union all select n, 'alice', 'bob' from generate_series(1, 15) n
                union all select n, 'alice', null from generate_series(1, 45) n
            ) sent;
        insert into shares (event_id, sender_id, sent_at, url, title, sent_to, not_seen_count)
            select event_id, sender_id, now(), 'https://example.com/', 't', sent_to, 0 from sent;
        insert into share_recipients (event_id, user_id, seen_at)
            select event_id, to_whom, case when random() < 0.5 then now() end
            from sent, unnest(array['alice', 'bob', 'carol', 'u1']) to_whom
            where to_whom <> sender_id and (sent_to is null or sent_to = to_whom);
        update shares s set not_seen_count = (
            select count(*) from share_recipients r where r.event_id = s.event_id and r.seen_at is null
        );",
    )
    .await;
    assert_eq!(wrong(&world).await, 0);
    world
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn nothing_is_left_of_an_account_that_fills_more_than_a_batch(pool: PgPool) {
    let world = celebrity(pool, &[]).await;
    assert_eq!(world.delete("alice", "/users/me").await.status, 204);
    let upkeep = Upkeep::start(&world);
    hurry(&world).await;
    until("nothing is left", async || traces(&world, "alice").await == 0).await;
    assert_eq!(wrong(&world).await, 0);
    // What bob sent to many is still there for the others.
    assert_eq!((count(&world, "shares").await, count(&world, "share_recipients").await), (2_300, 4_600));
    upkeep.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_rest_of_an_account_does_no_harm_to_the_next_one_under_its_id(pool: PgPool) {
    let world = celebrity(pool.clone(), &["--shares-per-hour-max", "1000"]).await;
    // Another transaction holds what a batch needs, for longer than a deletion waits.
    let mut other = pool.begin().await.unwrap();
    sqlx::query("select from share_recipients where user_id = 'alice' for update").execute(&mut *other).await.unwrap();
    assert_eq!(world.delete("alice", "/users/me").await.status, 204);
    assert!(traces(&world, "alice").await > 1);

    // From here on nobody finds her, and her friends have been told.
    world.get("alice", "/users/me").await.is_problem(404);
    world.get("bob", "/users/id/alice").await.is_problem(404);
    world.post("bob", "/friendship/requests", json!({"user_id2": "alice"})).await.is_problem(404);
    assert_eq!(world.get("bob", "/friendship/all").await.body, json!([]));
    let told = world.told().await;
    assert!(told.iter().any(|event| event.starts_with("bob friend.removed")), "{told:?}");

    world.register(&["alice"]).await;
    world.put("alice", "/friendship/blocks/u1201", Value::Null).await.is_success();
    world.put("u1401", "/friendship/blocks/alice", Value::Null).await.is_success();
    world.befriend("alice", "bob").await;
    world.post("carol", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    let page = json!({"url": "https://example.com/new", "title": "new"});
    for sender in ["alice", "bob"] {
        assert_eq!(world.post(sender, "/notifications/share", page.clone()).await.status, 200);
    }
    let personal = json!({"url": "https://example.com/new", "title": "new", "sent_to": "alice"});
    assert_eq!(world.post("bob", "/notifications/share/personal", personal).await.status, 200);
    other.rollback().await.unwrap();
    hurry(&world).await;
    let upkeep = [Upkeep::start(&world), Upkeep::start(&world)];
    until("the erasure is done", async || count(&world, "erasures").await == 0).await;
    for upkeep in upkeep {
        upkeep.stop().await;
    }
    assert_eq!(wrong(&world).await, 0);
    let blocks: Vec<(String, String)> = sqlx::query_as(
        "select blocker_id, blocked_id from blocks where 'alice' in (blocker_id, blocked_id) order by 1",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(blocks, [pair("alice", "u1201"), pair("u1401", "alice")]);
    assert_eq!(world.get("alice", "/friendship/requests?limit=100").await.body[0]["user_id"], "carol");
    assert_eq!(world.get("alice", "/friendship/requests?limit=100").await.body.as_array().unwrap().len(), 1);
    assert_eq!(world.get("alice", "/notifications/share").await.body.as_array().unwrap().len(), 2);
    assert_eq!(world.get("alice", "/notifications/share/sent").await.body.as_array().unwrap().len(), 1);
    assert_eq!(count(&world, "declines where 'alice' in (asker_id, decliner_id)").await, 0);
    let friends = world.get("alice", "/friendship/all").await.body;
    assert!(friends.as_array().unwrap().iter().any(|friend| friend["user_id"] == "bob"));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_account_that_an_older_version_deletes_is_removed_completely(pool: PgPool) {
    let world = celebrity(pool, &[]).await;
    // These are the statements of that version. The last one relied on foreign keys.
    execute(
        &world,
        "with counted as (
            select event_id from shares
            where event_id in (select event_id from share_recipients where user_id = 'alice' and seen_at is null)
            order by event_id for no key update
        )
        update shares s set not_seen_count = not_seen_count - 1 from counted where s.event_id = counted.event_id;
        delete from share_recipients
        where user_id = 'alice' or event_id in (select event_id from shares where sender_id = 'alice');
        delete from friendships where user_id1 = 'alice' or user_id2 = 'alice';
        delete from users where user_id = 'alice'",
    )
    .await;
    assert!(count(&world, "blocks where 'alice' in (blocker_id, blocked_id)").await > 0);
    // What is left does not count between the next account under this id and others.
    world.register(&["alice"]).await;
    for (table, one, other) in [
        ("blocks", "blocker_id", "blocked_id"),
        ("declines", "asker_id", "decliner_id"),
        ("friendships", "user_id1", "user_id2"),
    ] {
        assert_eq!(count(&world, &format!("{table} where 'alice' in ({one}, {other})")).await, 0, "{table}");
    }
    world.put("alice", "/friendship/blocks/u1201", Value::Null).await.is_success();
    world.post("u1", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    hurry(&world).await;
    let upkeep = Upkeep::start(&world);
    until("the erasure is done", async || count(&world, "erasures").await == 0).await;
    upkeep.stop().await;
    // Three rows are left: her account, her block and the request.
    assert_eq!((traces(&world, "alice").await, wrong(&world).await), (3, 0));
}

async fn upload(world: &World, user_id: &str, extension: &str) {
    let path = format!("/users/me/profile-image-upload-url?image_ext={extension}");
    let url = world.get(user_id, &path).await.body.as_str().unwrap().to_owned();
    let put = reqwest::Client::new().put(url).header("content-type", format!("image/{extension}")).body("a picture");
    assert!(put.send().await.unwrap().status().is_success());
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn images_that_the_store_could_not_remove_are_removed_later_and_the_next_accounts_stay(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = World::with(pool.clone(), &bucket.flags()).await;
    let without_store = World::with(pool, &bucket.flags_with_another_secret()).await;
    world.register(&["alice", "bob"]).await;
    for (user_id, extension) in [("alice", "png"), ("alice", "webp"), ("bob", "png")] {
        upload(&world, user_id, extension).await;
    }
    for user_id in ["alice", "bob"] {
        assert_eq!(without_store.delete(user_id, "/users/me").await.status, 204);
        without_store.get(user_id, "/users/me").await.is_problem(404);
    }
    assert_eq!(bucket.objects(), ["alice.png", "alice.webp", "bob.png"]);
    world.register(&["alice"]).await;
    upload(&world, "alice", "png").await;
    hurry(&world).await;
    let upkeep = Upkeep::start(&world);
    until("the others are removed", async || bucket.objects() == ["alice.png"]).await;
    until("nothing is left to do", async || count(&world, "erasures").await == 0).await;
    upkeep.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn shares_are_removed_after_the_configured_days_and_never_if_none_are_configured(pool: PgPool) {
    let keeping = World::new(pool.clone()).await;
    let world = World::with(pool, &["--share-retention-days", "30"]).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    sqlx::query(
        "insert into shares (event_id, sender_id, sent_at, url, title, not_seen_count)
        select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7000' || '8000' || lpad(to_hex(n), 12, '0'))::uuid,
            'alice', at, 'https://example.com/', 't', 1
        from (
            select n, now() - interval '31 days' as at from generate_series(1, 35) n
            union all select n, now() - interval '29 days' from generate_series(36, 40) n
        ) old",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    execute(&world, "insert into share_recipients (event_id, user_id) select event_id, 'bob' from shares").await;
    let upkeep = Upkeep::start(&keeping);
    tokio::time::sleep(Duration::from_millis(200)).await;
    upkeep.stop().await;
    assert_eq!(count(&world, "shares").await, 40);

    let upkeep = [Upkeep::start(&world), Upkeep::start(&world)];
    until("the old ones are gone", async || count(&world, "shares").await == 5).await;
    for upkeep in upkeep {
        upkeep.stop().await;
    }
    assert_eq!((count(&world, "share_recipients").await, wrong(&world).await), (5, 0));
    assert_eq!(world.get("bob", "/notifications/share").await.body.as_array().unwrap().len(), 5);
}
