//! Finding users.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap()).collect()
}

async fn person(world: &World, user_id: &str, first_name: &str, last_name: &str, email_public: bool) {
    let names = json!({"first_name": first_name, "last_name": last_name});
    assert_eq!(world.post(user_id, "/users/me", names).await.status, 201);
    sqlx::query("update users set email_public = $2 where user_id = $1")
        .bind(user_id)
        .bind(email_public)
        .execute(&world.pool)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn results_rank_by_standing_then_mutual_friends_then_place_then_id(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me", "helper"]).await;
    for (user_id, first, last) in [
        ("a-prefix", "Marta", "Hill"),
        ("b-prefix", "Marta", "Hill"),
        ("c-inside", "Anna", "Martas"),
        ("d-suffix", "Anna", "Marta"),
        ("e-mutual", "Anna", "Martas"),
        ("f-asked", "Anna", "Martas"),
        ("g-friend", "Anna", "Martas"),
        ("h-other", "Anna", "Hill"),
    ] {
        person(&world, user_id, first, last, false).await;
    }
    world.befriend("me", "helper").await;
    world.befriend("helper", "e-mutual").await;
    world.post("f-asked", "/friendship/requests", json!({"user_id2": "me"})).await.is_success();
    world.befriend("g-friend", "me").await;
    let found = world.get("me", "/users/search/name/MARTA").await.body;
    let order = ["g-friend", "f-asked", "e-mutual", "b-prefix", "a-prefix", "d-suffix", "c-inside"];
    assert_eq!(ids(&found), order);
    let standing: Vec<(i64, i64)> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|user| (user["friendship_state"].as_i64().unwrap(), user["mutual_friend_count"].as_i64().unwrap()))
        .collect();
    assert_eq!(standing, [(2, 0), (1, 0), (0, 1), (0, 0), (0, 0), (0, 0), (0, 0)]);
    assert_eq!(ids(&world.get("me", "/users/search/name/marta?limit=2&offset=1").await.body), order[1..3]);
    assert_eq!(world.get("me", "/users/search/name/marta?limit=0").await.body, json!([]));
    // The whole name counts, and oneself never does.
    assert_eq!(ids(&world.get("me", "/users/search/name/a%20marta").await.body).len(), 5);
    assert_eq!(world.get("me", "/users/search/name/me%20tester").await.body, json!([]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn characters_of_patterns_mean_themselves(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    for (user_id, first) in
        [("percent", "100% Real"), ("under", "snake_case"), ("back", "C:\\Temp"), ("plain", "1000 Snakescase C:Temp")]
    {
        person(&world, user_id, first, "Tester", false).await;
    }
    for (text, expected) in [
        ("0%25%20r", vec!["percent"]),
        ("ke_c", vec!["under"]),
        (":%5Ct", vec!["back"]),
        ("%25", vec![]),
        ("___", vec![]),
        ("%25%25%25", vec![]),
        ("%5C%5C%5C", vec![]),
    ] {
        assert_eq!(ids(&world.get("me", &format!("/users/search/name/{text}")).await.body), expected, "{text}");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_short_text_is_looked_for_where_names_begin_and_everywhere_among_acquaintances(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    person(&world, "begins", "Xavier", "One", false).await;
    person(&world, "inside", "Max", "Two", false).await;
    person(&world, "friend", "Alex", "Three", false).await;
    world.befriend("me", "friend").await;
    assert_eq!(ids(&world.get("me", "/users/search/name/x").await.body), ["friend", "begins"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_address_is_found_whole_or_by_a_part_if_it_is_public(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    person(&world, "public-paula", "Paula", "One", true).await;
    person(&world, "private-paula", "Paula", "Two", false).await;
    world.befriend("me", "private-paula").await;
    let search = async |text: &str| world.get("me", &format!("/users/search/email/{text}")).await.body;
    assert_eq!(ids(&search("paula").await), ["public-paula"]);
    assert_eq!(ids(&search("PUBLIC-PAULA@EXAMPLE.COM").await), ["public-paula"]);
    assert_eq!(ids(&search("private-paula@example.com").await), ["private-paula"]);
    assert_eq!(ids(&search("private-paula@example.co").await), [] as [&str; 0]);
    assert_eq!(ids(&search("me@example.com").await), [] as [&str; 0]);
    let among_friends = async |query: &str| world.get("me", &format!("/friendship/search/email/{query}")).await.body;
    assert_eq!(ids(&among_friends("private-paula@example.com").await), ["private-paula"]);
    assert_eq!(among_friends("paula").await, json!([]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn friends_are_found_by_a_part_of_their_name_or_exactly(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    for n in 0..12 {
        let (user_id, last_name) = (format!("f{n:02}"), format!("Number{n:02}"));
        person(&world, &user_id, "Frida", &last_name, false).await;
        world.befriend("me", &user_id).await;
    }
    person(&world, "stranger", "Frida", "Number99", false).await;
    let search = async |query: &str| world.get("me", &format!("/friendship/search/name/{query}")).await.body;
    let all: Vec<String> = (0..12).map(|n| format!("f{n:02}")).collect();
    assert_eq!(ids(&search("frida").await), all[..10]);
    assert_eq!(ids(&search("FRIDA?limit=3&offset=10").await), all[10..]);
    assert_eq!(ids(&search("a%20number07").await), ["f07"]);
    assert_eq!(ids(&search("frida%20number07?exact").await), ["f07"]);
    assert_eq!(ids(&search("frida%20number07?exact=true").await), ["f07"]);
    assert_eq!(search("frida%20number?exact=true").await, json!([]));
    assert_eq!(ids(&search("frida%20number1?exact=false").await), ["f10", "f11"]);
    assert_eq!(search("frida").await[0]["friendship_state"], 2);
    assert_eq!(world.get("me", "/friendship/search/name/x?exact=maybe").await.is_problem(400), ["exact"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_text_that_fits_thousands_still_finds_every_acquaintance_first(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    sqlx::query(
        "insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array)
        select 'z' || n, n || '@example.com', 'Common', 'Name', '{}', '{}' from generate_series(1, 3000) n",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    for friend in ["z17", "z2990"] {
        sqlx::query("insert into friendships (user_id1, user_id2, accepted_at) values ('me', $1, now())")
            .bind(friend)
            .execute(&world.pool)
            .await
            .unwrap();
    }
    let found = world.get("me", "/users/search/name/common").await.body;
    assert_eq!((ids(&found).len(), &ids(&found)[..2]), (15, &["z2990", "z17"][..]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn what_cannot_be_searched_for_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    for text in ["%20", "%00", &"x".repeat(101)] {
        assert_eq!(world.get("me", &format!("/users/search/name/{text}")).await.is_problem(400), ["text"], "{text}");
    }
    world.get("nobody", "/users/search/name/me").await.is_problem(403);
    world.get("nobody", "/users/search/name/xyz").await.is_problem(403);
    world.get("nobody", "/friendship/search/name/xyz").await.is_problem(403);
}
