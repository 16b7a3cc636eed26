//! Limits on what one user may ask of others and of the service.

use serde_json::json;
use sqlx::PgPool;

use crate::world::{Reply, World};

async fn ask(world: &World, asker: &str, asked: &str) -> Reply {
    world.post(asker, "/friendship/requests", json!({"user_id2": asked})).await
}

#[track_caller]
fn wait_s(reply: &Reply) -> u64 {
    reply.is_problem(429);
    reply.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn unanswered_requests_are_bounded_and_an_answer_makes_room(pool: PgPool) {
    let world = World::with(pool, &["--requests-pending-max", "2"]).await;
    world.register(&["alice", "u1", "u2", "u3"]).await;
    ask(&world, "alice", "u1").await.is_success();
    ask(&world, "alice", "u2").await.is_success();
    ask(&world, "alice", "u3").await.is_problem(409);
    // The request exists already, so asking again changes nothing and is allowed.
    ask(&world, "alice", "u1").await.is_success();
    ask(&world, "u3", "alice").await.is_success();
    ask(&world, "alice", "u3").await.is_success();
    assert_eq!(world.get("alice", "/users/id/u3").await.body["friendship_state"], 2, "accepting is not asking");
    world.post("u1", "/friendship/accept", json!({"user_id1": "alice"})).await.is_success();
    world.register(&["u4"]).await;
    ask(&world, "alice", "u4").await.is_success();
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn requests_are_bounded_by_the_day_even_those_taken_back(pool: PgPool) {
    let world = World::with(pool, &["--requests-per-day-max", "2"]).await;
    world.register(&["alice", "u1", "u2"]).await;
    for asked in ["u1", "u2"] {
        ask(&world, "alice", asked).await.is_success();
        let pair = json!({"user_id1": "alice", "user_id2": asked});
        world.post("alice", "/friendship/delete", pair).await.is_success();
    }
    let refused = ask(&world, "alice", "u1").await;
    assert!((1..=86_400).contains(&wait_s(&refused)));
    assert_eq!(world.get("u1", "/friendship/requests").await.body, json!([]));
    sqlx::query("update users set requests_counted_on = requests_counted_on - 1").execute(&world.pool).await.unwrap();
    ask(&world, "alice", "u1").await.is_success();
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_declined_user_may_not_ask_again_for_a_week_but_may_be_asked(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol"]).await;
    ask(&world, "alice", "bob").await.is_success();
    world.delete("bob", "/friendship/requests/alice").await.is_success();
    let refused = ask(&world, "alice", "bob").await;
    let week_s = 7 * 86_400;
    assert!((week_s - 60..=week_s).contains(&wait_s(&refused)));
    ask(&world, "carol", "bob").await.is_success();
    ask(&world, "bob", "alice").await.is_success();
    world.post("alice", "/friendship/accept", json!({"user_id1": "bob"})).await.is_success();
    // They have been friends since, so the old decline no longer counts.
    let pair = json!({"user_id1": "alice", "user_id2": "bob"});
    world.post("bob", "/friendship/delete", pair.clone()).await.is_success();
    ask(&world, "alice", "bob").await.is_success();
    // The call that ends a friendship can also decline a request.
    world.post("bob", "/friendship/delete", pair).await.is_success();
    wait_s(&ask(&world, "alice", "bob").await);
    sqlx::query("update declines set declined_at = declined_at - interval '7 days'")
        .execute(&world.pool)
        .await
        .unwrap();
    ask(&world, "alice", "bob").await.is_success();
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_user_who_calls_too_fast_must_wait_and_others_need_not(pool: PgPool) {
    let world = World::with(pool, &["--calls-per-minute-max", "5"]).await;
    world.register(&["alice", "bob"]).await;
    for _ in 0..4 {
        assert_eq!(world.get("alice", "/users/me").await.status, 200);
    }
    let refused = world.get("alice", "/users/me").await;
    assert!((1..=13).contains(&wait_s(&refused)));
    assert_eq!(world.get("bob", "/users/me").await.status, 200);
}
