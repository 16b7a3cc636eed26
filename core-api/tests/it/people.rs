//! Other users: profiles, their friends, and friends in common.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}

/// Hub has the friends ann, bea and cid; alice is friends with ann and bea, and has asked cid.
async fn circle(pool: PgPool) -> World {
    let world = World::new(pool).await;
    world.register(&["hub", "alice", "ann", "bea", "cid", "dan"]).await;
    for (one, other) in [("hub", "ann"), ("bea", "hub"), ("hub", "cid"), ("alice", "ann"), ("bea", "alice")] {
        world.befriend(one, other).await;
    }
    world.post("alice", "/friendship/requests", json!({"user_id2": "cid"})).await.is_success();
    world
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn friends_of_somebody_come_by_name_with_the_callers_standing(pool: PgPool) {
    let world = circle(pool).await;
    let friends = world.get("alice", "/users/id/hub/friends").await.body;
    assert_eq!(ids(&friends), ["ann", "bea", "cid"]);
    let states: Vec<&Value> = friends.as_array().unwrap().iter().map(|user| &user["friendship_state"]).collect();
    assert_eq!(states, [2, 2, 1]);
    let expected = json!({
        "user_id": "ann", "first_name": "Ann", "last_name": "Tester", "description": "",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "friendship_state": 2,
        "mutual_friend_count": null,
    });
    assert_eq!(friends[0], expected);
    // If the caller is among somebody's friends, their own entry has no friendship state.
    assert_eq!(world.get("ann", "/users/id/hub/friends").await.body[0]["friendship_state"], Value::Null);
    assert_eq!(ids(&world.get("alice", "/users/id/hub/friends?limit=1&offset=1").await.body), ["bea"]);
    assert_eq!(world.get("alice", "/users/id/hub/friends?limit=0").await.body, json!([]));
    assert_eq!(world.get("alice", "/users/id/dan/friends").await.body, json!([]));
    world.get("alice", "/users/id/nobody/friends").await.is_problem(404);
    world.get("nobody", "/users/id/hub/friends").await.is_problem(403);
    world.get("nobody", "/users/id/dan/friends").await.is_problem(403);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn friends_in_common_are_listed_and_counted(pool: PgPool) {
    let world = circle(pool).await;
    let mutual = world.get("alice", "/users/id/hub/mutual-friends").await.body;
    assert_eq!((ids(&mutual), &mutual[0]["friendship_state"]), (vec!["ann", "bea"], &json!(2)));
    let count = |n: i64| json!({"count": n, "count_1": n});
    for (path, expected) in [
        ("hub/mutual-friends/count", 2),
        ("hub/friends/count", 3),
        ("dan/friends/count", 0),
        ("dan/mutual-friends/count", 0),
        ("alice/friends/count", 2),
    ] {
        assert_eq!(world.get("alice", &format!("/users/id/{path}")).await.body, count(expected), "{path}");
    }
    for path in ["mutual-friends", "mutual-friends/count", "friends/count"] {
        world.get("alice", &format!("/users/id/nobody/{path}")).await.is_problem(404);
    }
    assert_eq!(world.get("alice", "/users/id/dan/mutual-friends").await.body, json!([]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn many_profiles_come_in_the_order_asked_for_without_the_unknown(pool: PgPool) {
    let world = circle(pool).await;
    let found = world.get("alice", "/users/ids/hub,nobody,cid,alice,hub").await.body;
    assert_eq!(ids(&found), ["hub", "cid", "alice"]);
    let standing: Vec<(&Value, &Value)> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (&user["friendship_state"], &user["mutual_friend_count"]))
        .collect();
    assert_eq!(standing, [(&json!(0), &json!(2)), (&json!(1), &json!(0)), (&Value::Null, &Value::Null)]);
    assert_eq!(found[0], world.get("alice", "/users/id/hub").await.body);
    assert!(found[0].get("email").is_none());

    let many = |n: usize| (0..n).map(|n| format!("u{n}")).collect::<Vec<_>>().join(",");
    assert_eq!(world.get("alice", &format!("/users/ids/{}", many(100))).await.body, json!([]));
    assert_eq!(world.get("alice", &format!("/users/ids/{}", many(101))).await.is_problem(400), ["ids"]);
    for bad in ["hub,", ",", "hub,,cid", "a%20b", &"x".repeat(129)] {
        assert_eq!(world.get("alice", &format!("/users/ids/{bad}")).await.is_problem(400), ["ids"], "{bad}");
    }
    world.get("nobody", "/users/ids/hub").await.is_problem(403);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn domains_to_warn_of_are_told(pool: PgPool) {
    let world = World::new(pool).await;
    let warnings = world.get("anyone", "/domains/share/warnings").await.body;
    let domains: Vec<&String> = warnings.as_object().unwrap().keys().collect();
    assert_eq!(domains, ["google.com", "messenger.com", "notion.so"]);
    assert!(warnings.as_object().unwrap().values().all(|sentence| sentence.as_str().unwrap().ends_with('.')));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn friends_in_common_are_counted_right_through_every_change(pool: PgPool) {
    let world = World::with(pool, &["--decline-rest-days", "0"]).await;
    let names: Vec<String> = (0..6).map(|n| format!("u{n}")).collect();
    for name in &names {
        world.register(&[name]).await;
    }
    // A fixed walk through the pairs. At each pair something happens that changes who is whose friend.
    for step in 0..60_usize {
        let (one, other) = (&names[step % 6], &names[(step * step + 1 + step / 6) % 6]);
        if one == other {
            continue;
        }
        match step % 5 {
            0..3 => world.befriend(one, other).await,
            3 => {
                let pair = json!({"user_id1": one, "user_id2": other});
                world.post(one, "/friendship/delete", pair).await.is_success();
            }
            _ => {
                assert_eq!(world.delete(one, "/users/me").await.status, 204);
                world.register(&[one]).await;
            }
        }
        let wrong: i64 = sqlx::query_scalar(
            "select count(*) from circles c where friends <> coalesce((
                select sort(array_agg(o.number)) from friends f join users o on o.user_id = f.friend_id
                where f.user_id = c.user_id), '{}')",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert_eq!(wrong, 0, "after step {step}");
    }
    let friendships: i64 = sqlx::query_scalar("select count(*) from friends").fetch_one(&world.pool).await.unwrap();
    assert!(friendships > 0);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn every_list_of_people_is_in_alphabetical_order(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me", "hub"]).await;
    let in_order = [
        ("n8", "adam", "Zed"),
        ("n3", "Bea", "éclair"),
        ("n5", "Bea", "Eclipse"),
        ("n1", "Émile", "Ende"),
        ("n6", "Emilia", "Ende"),
        ("n4", "Zed", ""),
        ("n9", "Мария", "Ende"),
        ("n2", "민준", "엔데"),
    ];
    let expected = in_order.map(|(user_id, ..)| user_id);
    for (user_id, first_name, last_name) in in_order {
        let names = json!({"first_name": first_name, "last_name": last_name});
        assert_eq!(world.post(user_id, "/users/me", names).await.status, 201);
        world.befriend("me", user_id).await;
        world.befriend("hub", user_id).await;
        let public = "update users set email_public = true where user_id = $1";
        sqlx::query(public).bind(user_id).execute(&world.pool).await.unwrap();
    }
    let list =
        async |path: &str| ids(&world.get("me", path).await.body).into_iter().map(str::to_owned).collect::<Vec<_>>();
    for path in
        ["/users/id/hub/friends", "/users/id/hub/mutual-friends", "/friendship/all", "/friendship/search/email/example"]
    {
        assert_eq!(list(path).await, expected, "{path}");
        assert_eq!(list(&format!("{path}?limit=3&offset=2")).await, expected[2..5], "{path}");
    }
    assert_eq!(list("/friendship/search/name/end").await, ["n1", "n6", "n9"]);
    for user_id in expected {
        world.put("me", &format!("/friendship/blocks/{user_id}"), json!(null)).await.is_success();
    }
    assert_eq!(list("/friendship/blocks").await, expected);
}
