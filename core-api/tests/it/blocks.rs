//! Two of whom one has blocked the other do not exist for each other, and nobody else notices.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

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
        // Not even among the friends of a friend.
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
async fn nobody_blocks_themselves_the_unknown_or_whoever_has_blocked_them(pool: PgPool) {
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
