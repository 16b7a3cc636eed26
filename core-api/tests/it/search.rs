//! Finding users.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{World, migrate_up_to};

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
    // The text is compared with the whole name. The caller is never found.
    assert_eq!(ids(&world.get("me", "/users/search/name/a%20marta").await.body).len(), 5);
    assert_eq!(world.get("me", "/users/search/name/me%20tester").await.body, json!([]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn characters_of_patterns_have_no_special_meaning(pool: PgPool) {
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
async fn a_short_text_is_looked_for_where_parts_of_names_begin_or_end_and_everywhere_among_acquaintances(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    person(&world, "begins", "Xavier", "One", false).await;
    person(&world, "ends", "Max", "Two", false).await;
    person(&world, "inside", "Alexa", "Three", false).await;
    person(&world, "friend", "Alexis", "Four", false).await;
    world.befriend("me", "friend").await;
    assert_eq!(ids(&world.get("me", "/users/search/name/x").await.body), ["friend", "begins", "ends"]);
    assert_eq!(ids(&world.get("me", "/users/search/name/ex").await.body), ["friend"]);
    assert_eq!(ids(&world.get("me", "/users/search/name/lex").await.body), ["friend", "inside"]);
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
async fn a_text_that_cannot_be_searched_for_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    for text in ["%20", "%00", &"x".repeat(101)] {
        assert_eq!(world.get("me", &format!("/users/search/name/{text}")).await.is_problem(400), ["text"], "{text}");
    }
    world.get("nobody", "/users/search/name/me").await.is_problem(403);
    world.get("nobody", "/users/search/name/xyz").await.is_problem(403);
    world.get("nobody", "/friendship/search/name/xyz").await.is_problem(403);
}

/// The ids of all users found, sorted.
async fn found(world: &World, path: &str) -> Vec<String> {
    let reply = world.get("me", path).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let mut found: Vec<String> = ids(&reply.body).into_iter().map(str::to_owned).collect();
    found.sort();
    found
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Registers these people: an id, a first name and a last name each. Then searches for each text among everybody and among
/// friends.
async fn check_names(pool: PgPool, people: &[(&str, &str, &str)], expected: &[(&str, &[&str])]) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    for (user_id, first, last) in people {
        person(&world, user_id, first, last, false).await;
    }
    for (text, expected) in expected {
        let path = format!("/users/search/name/{}", encoded(text));
        assert_eq!(found(&world, &path).await, *expected, "{text} among everybody");
    }
    for (user_id, ..) in people {
        world.befriend("me", user_id).await;
    }
    for (text, expected) in expected {
        // Among friends, a text of any length is found anywhere in a name, so others may be found too.
        let path = format!("/friendship/search/name/{}?limit=100", encoded(text));
        let found = found(&world, &path).await;
        assert!(expected.iter().all(|user_id| found.iter().any(|id| id == user_id)), "{text} among friends: {found:?}");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn case_and_composition_make_no_difference_in_any_script(pool: PgPool) {
    let people = [
        ("cyrillic", "Мария", "Петрова"),
        ("double-s", "Strauß", "Weiß"),
        ("dotted", "İrem", "Işık"),
        ("emile", "Émile", "Zola"),
        ("greek", "Οδυσσεύς", "Νίκος"),
        ("hangul", "민준", "김"),
        ("han", "文字", "中"),
        ("parted", "E\u{301}mile", "\u{1100}\u{1175}\u{11b7}"),
        ("wide", "Ｗｉｄｅ", "ﬁne"),
    ];
    let expected: [(&str, &[&str]); 24] = [
        ("мария", &["cyrillic"]),
        ("МАРИЯ П", &["cyrillic"]),
        ("strauss", &["double-s"]),
        ("STRAUSS WEISS", &["double-s"]),
        ("strauẞ", &["double-s"]),
        ("weiß", &["double-s"]),
        ("irem", &["dotted"]),
        ("IREM", &["dotted"]),
        ("ırem", &["dotted"]),
        ("işik", &["dotted"]),
        ("IŞIK", &["dotted"]),
        ("i\u{307}rem", &["dotted"]),
        ("émile", &["emile", "parted"]),
        ("E\u{301}MILE", &["emile", "parted"]),
        ("é", &["emile", "parted"]),
        ("οδυσσευσ", &[]),
        ("ΟΔΥΣΣΕΎΣ", &["greek"]),
        ("νίκοσ", &["greek"]),
        ("νίκος οδυσ", &["greek"]),
        ("김", &["hangul", "parted"]),
        ("\u{1100}\u{1175}\u{11b7}", &["hangul", "parted"]),
        ("中文字", &["han"]),
        ("wide", &["wide"]),
        ("ＦＩＮＥ", &["wide"]),
    ];
    check_names(pool, &people, &expected).await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_name_is_found_in_either_order_and_where_its_parts_begin_or_end(pool: PgPool) {
    let people = [
        ("empty", "Zoë", ""),
        ("jean", "Jean-Luc", "O'Neil"),
        ("kim", "민준", "김"),
        ("marks", "😀 Quim", "!!! 7up"),
        ("namgung", "서연", "남궁"),
    ];
    let expected: [(&str, &[&str]); 36] = [
        ("김 민준", &["kim"]),
        ("김민준", &["kim"]),
        ("민준 김", &["kim"]),
        ("민", &["kim"]),
        ("준", &["kim"]),
        ("김", &["kim"]),
        ("남", &["namgung"]),
        ("궁", &["namgung"]),
        ("남궁서연", &["namgung"]),
        ("남궁 서", &["namgung"]),
        ("j", &["jean"]),
        ("n", &["jean"]),
        ("an", &["jean"]),
        ("lu", &["jean"]),
        ("c", &["jean"]),
        ("o'", &["jean"]),
        ("il", &["jean"]),
        ("l", &["jean"]),
        ("e", &[]),
        ("ea", &[]),
        ("ei", &[]),
        ("uc", &["jean"]),
        ("o'neil jean-luc", &["jean"]),
        ("jean-luc o'neil", &["jean"]),
        ("eil jean", &["jean"]),
        ("luc o", &["jean"]),
        ("n-l", &["jean"]),
        ("ë", &["empty"]),
        ("zoë", &["empty"]),
        ("😀", &["marks"]),
        ("!!!", &["marks"]),
        ("!", &["marks"]),
        ("7", &["marks"]),
        ("p", &["marks"]),
        ("up", &["marks"]),
        ("7up 😀 quim", &["marks"]),
    ];
    check_names(pool, &people, &expected).await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_new_name_is_found_and_the_old_one_is_not_nor_anybody_who_is_gone(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    person(&world, "zed", "Before", "Hand", true).await;
    let search = async |path: &str| found(&world, path).await;
    assert_eq!(search("/users/search/name/before").await, ["zed"]);
    assert_eq!(search("/users/search/email/zed@").await, ["zed"]);
    let changed = json!({"first_name": "After", "last_name": "Hand", "share_mode": "default_none",
        "domain_allow_array": [], "domain_deny_array": [], "email_public": false, "gender_public": false,
        "school_public": false, "work_public": false, "location_public": false});
    assert_eq!(world.put("zed", "/users/me", changed).await.status, 200);
    assert_eq!(search("/users/search/name/before").await, [] as [&str; 0]);
    assert_eq!(search("/users/search/name/hand%20after").await, ["zed"]);
    assert_eq!(search("/users/search/email/zed@").await, [] as [&str; 0]);
    assert_eq!(search("/users/search/email/ZED@EXAMPLE.COM").await, ["zed"]);
    assert_eq!(world.delete("zed", "/users/me").await.status, 204);
    assert_eq!(search("/users/search/name/after").await, [] as [&str; 0]);
    let left: i64 = sqlx::query_scalar("select count(*) from search_keys where user_id = 'zed'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

/// Adds `count` users with this name. Their ids are `prefix` and a number of four digits.
async fn crowd(world: &World, prefix: &str, count: i32, first_name: &str, last_name: &str) {
    sqlx::query(
        "insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array)
        select $1 || to_char(n, 'FM0000'), $1 || n || '@example.com', $3, $4, '{}', '{}'
        from generate_series(1, $2) n",
    )
    .bind(prefix)
    .bind(count)
    .bind(first_name)
    .bind(last_name)
    .execute(&world.pool)
    .await
    .unwrap();
}

/// The ids on all pages of a search.
async fn paged(world: &World, path: &str, limit: usize) -> Vec<String> {
    let mut all = Vec::new();
    for offset in (0..=1_000).step_by(limit) {
        let page = world.get("me", &format!("{path}?limit={limit}&offset={offset}")).await.body;
        all.extend(ids(&page).into_iter().map(str::to_owned));
        if ids(&page).len() < limit {
            break;
        }
    }
    all
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn paging_through_a_frequent_name_gives_each_user_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    crowd(&world, "kim", 285, "민준", "김").await;
    for (text, limit) in [("김민준", 15), ("김", 10), ("준", 100), ("민준 김", 40)] {
        let mut all = paged(&world, &format!("/users/search/name/{}", encoded(text)), limit).await;
        assert_eq!(all.len(), 285, "{text}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 285, "{text}");
    }
    // After the ranked users come the others, sorted by id, the largest first.
    let all = paged(&world, "/users/search/name/%EA%B9%80", 100).await;
    let rest = &all[80..];
    assert!(rest.is_sorted_by(|one, next| one > next), "{rest:?}");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_search_gives_nothing_beyond_an_offset_of_a_thousand(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    crowd(&world, "z", 1_500, "Common", "Name").await;
    let search = async |paging: &str| world.get("me", &format!("/users/search/name/common?{paging}")).await.body;
    assert_eq!(paged(&world, "/users/search/name/common", 100).await.len(), 1_100);
    assert_eq!(ids(&search("limit=100&offset=1000").await).len(), 100);
    assert_eq!(search("limit=100&offset=1001").await, json!([]));
    assert_eq!(search("offset=999999999999999999999").await, json!([]));
    world.get("nobody", "/users/search/name/common?offset=1001").await.is_problem(403);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_acquaintance_comes_first_among_thousands_whose_names_begin_alike(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me", "asker"]).await;
    crowd(&world, "z", 1_000, "Ann", "Other").await;
    person(&world, "friend", "Joe", "Banner", false).await;
    world.befriend("me", "friend").await;
    for user_id in ["z0007", "z0900"] {
        world.post("me", "/friendship/requests", json!({"user_id2": user_id})).await.is_success();
    }
    let found = world.get("me", "/users/search/name/ann").await.body;
    assert_eq!(ids(&found)[..4], ["friend", "z0900", "z0007", "z0080"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn addresses_are_compared_without_regard_to_case_in_all_of_unicode(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["me"]).await;
    person(&world, "müller", "Some", "Body", false).await;
    person(&world, "straße", "Some", "Body", true).await;
    let search = async |text: &str| found(&world, &format!("/users/search/email/{}", encoded(text))).await;
    assert_eq!(search("MÜLLER@example.com").await, ["müller"]);
    assert_eq!(search("mu\u{308}ller@EXAMPLE.com").await, ["müller"]);
    assert_eq!(search("müller@example.co").await, [] as [&str; 0]);
    assert_eq!(search("STRASSE@").await, ["straße"]);
    assert_eq!(search("rass").await, ["straße"]);
    assert_eq!(search("com").await, ["straße"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_refused_registration_uses_up_no_number(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["one"]).await;
    for _ in 0..5 {
        let named = json!({"first_name": "One", "last_name": "More"});
        world.post("one", "/users/me", named).await.is_problem(409);
    }
    world.register(&["two"]).await;
    let numbers: Vec<i32> =
        sqlx::query_scalar("select number from users order by number").fetch_all(&world.pool).await.unwrap();
    assert_eq!(numbers, [1, 2]);
}

#[sqlx::test(migrations = false)]
async fn a_user_who_registered_before_there_were_keys_is_found_by_their_newest_name(pool: PgPool) {
    migrate_up_to(&pool, 9).await;
    sqlx::query(
        "insert into users (user_id, email, first_name, last_name, email_public, domain_allow_array, domain_deny_array)
        select 'old-' || n, 'old-' || n || '@example.com', 'Old', 'Number' || n, true, '{}', '{}'
        from generate_series(1, 2500) n",
    )
    .execute(&pool)
    .await
    .unwrap();
    migrate_up_to(&pool, 10).await;
    // While the new tables are filled, instances of the version before still write.
    sqlx::query("update users set first_name = 'Newer' where user_id = 'old-7'").execute(&pool).await.unwrap();
    sqlx::query("delete from users where user_id = 'old-8'").execute(&pool).await.unwrap();
    core_api::database::MIGRATIONS.run(&pool).await.unwrap();
    let world = World::new(pool.clone()).await;
    world.register(&["me"]).await;
    for (path, expected) in [
        ("name/number1000", vec!["old-1000"]),
        ("name/number2500%20old", vec!["old-2500"]),
        ("name/newer", vec!["old-7"]),
        ("name/number7%20old", vec![]),
        ("name/number8%20old", vec![]),
        ("email/old-2499@", vec!["old-2499"]),
    ] {
        assert_eq!(found(&world, &format!("/users/search/{path}")).await, expected, "{path}");
    }
    let numbers: i64 = sqlx::query_scalar("select count(distinct number) from users").fetch_one(&pool).await.unwrap();
    assert_eq!(numbers, 2_500);
}
