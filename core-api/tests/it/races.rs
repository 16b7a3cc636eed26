//! The same changes at once, many times over: whatever the order, the end is one of the allowed ones.

use axum::http::Method;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{Reply, World};

const ROUNDS: usize = 20;

async fn at_once(world: &World, one: (&str, &str, Value), other: (&str, &str, Value)) -> (Reply, Reply) {
    let call = |(user_id, path, body): (&str, &str, Value)| {
        let (user_id, path) = (user_id.to_owned(), path.to_owned());
        async move { world.call(&user_id, Method::POST, &path, Some(body)).await }
    };
    tokio::join!(call(one), call(other))
}

async fn count(world: &World, what: &'static str) -> i64 {
    sqlx::query_scalar(what).fetch_one(&world.pool).await.unwrap()
}

async fn start_over(world: &World) {
    for what in ["delete from friendships", "delete from outbox", "update users set requests_counted = 0"] {
        sqlx::query(what).execute(&world.pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn opposite_requests_at_once_become_one_friendship(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    for _ in 0..ROUNDS {
        let path = "/friendship/requests";
        let (one, other) =
            at_once(&world, ("alice", path, json!({"user_id2": "bob"})), ("bob", path, json!({"user_id2": "alice"})))
                .await;
        one.is_success();
        other.is_success();
        assert_eq!(count(&world, "select count(*) from friendships").await, 1);
        assert_eq!(count(&world, "select count(*) from friendships where accepted_at >= requested_at").await, 1);
        assert_eq!(count(&world, "select count(*) from outbox where kind = 'friend.accepted'").await, 2);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn accepting_twice_at_once_tells_each_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    for _ in 0..ROUNDS {
        world.post("alice", "/friendship/requests", json!({"user_id2": "bob"})).await.is_success();
        let accept = || ("bob", "/friendship/accept", json!({"user_id1": "alice"}));
        let (one, other) = at_once(&world, accept(), accept()).await;
        one.is_success();
        other.is_success();
        assert_eq!(count(&world, "select count(*) from outbox where kind = 'friend.accepted'").await, 2);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn accepting_and_taking_back_at_once_leaves_nothing_half_done(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    for _ in 0..ROUNDS {
        world.post("alice", "/friendship/requests", json!({"user_id2": "bob"})).await.is_success();
        let pair = json!({"user_id1": "alice", "user_id2": "bob"});
        let accept = ("bob", "/friendship/accept", json!({"user_id1": "alice"}));
        let (accepted, ended) = at_once(&world, accept, ("alice", "/friendship/delete", pair)).await;
        ended.is_success();
        assert_eq!(count(&world, "select count(*) from friendships").await, 0);
        // Either it was accepted first and then ended, and both heard of both, or it was gone.
        let about_friends = "select count(*) from outbox where kind in ('friend.accepted', 'friend.removed')";
        let told = count(&world, about_friends).await;
        assert!(matches!((accepted.status, told), (200, 4) | (404, 0)), "{} {told}", accepted.status);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_last_place_for_a_friend_is_given_once(pool: PgPool) {
    let world = World::with(pool, &["--friends-max", "1"]).await;
    world.register(&["alice", "bob", "carol"]).await;
    for _ in 0..ROUNDS {
        for asker in ["bob", "carol"] {
            world.post(asker, "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
        }
        let accept = |asker: &str| ("alice", "/friendship/accept", json!({"user_id1": asker}));
        let (one, other) = at_once(&world, accept("bob"), accept("carol")).await;
        let mut statuses = [one.status, other.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409]);
        assert_eq!(count(&world, "select count(*) from friends where user_id = 'alice'").await, 1);
        start_over(&world).await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn registering_twice_at_once_makes_one_account(pool: PgPool) {
    let world = World::new(pool).await;
    let register = || ("alice", "/users/me", json!({"first_name": "Alice", "last_name": "Tester"}));
    let (one, other) = at_once(&world, register(), register()).await;
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
}
