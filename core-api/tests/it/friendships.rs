//! Friendships and requests, one caller at a time. Simultaneous calls are in `races`.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::World;

/// Takes a time out of an answer after checking its form: UTC with a literal `Z`.
#[track_caller]
fn take_time(body: &mut Value, field: &str) {
    let time = body[field].take();
    let time = time.as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
}

async fn ask(world: &World, asker: &str, asked: &str) {
    world.post(asker, "/friendship/requests", json!({"user_id2": asked})).await.is_success();
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_request_waits_for_the_one_who_was_asked(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    ask(&world, "alice", "bob").await;

    let mut sent = world.get("alice", "/friendship/requests/bob").await.body;
    take_time(&mut sent, "requested_at");
    let friendship = json!({"user_id1": "alice", "user_id2": "bob", "requested_at": null, "accepted_at": null});
    assert_eq!(sent, friendship);
    for (caller, other) in [("alice", "bob"), ("bob", "alice")] {
        let mut checked = world.get(caller, &format!("/friendship/check/{other}")).await.body;
        take_time(&mut checked, "requested_at");
        assert_eq!(checked, friendship);
    }
    assert_eq!(world.get("bob", "/friendship/requests/alice").await.text, "null");

    let mut waiting = world.get("bob", "/friendship/requests").await.body;
    take_time(&mut waiting[0], "requested_at");
    let expected = json!([{
        "user_id": "alice", "first_name": "Alice", "last_name": "Tester", "description": "",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "requested_at": null,
    }]);
    assert_eq!(waiting, expected);
    assert_eq!(world.get("alice", "/friendship/requests").await.body, json!([]));
    assert_eq!(world.get("bob", "/friendship/all").await.body, json!([]));
    let alice = waiting[0].clone();
    let (recipient, kind, version, mut payload) = world.outbox().await.remove(0);
    take_time(&mut payload["user"], "requested_at");
    assert_eq!((recipient.as_str(), kind.as_str(), version), ("bob", "friend.requested", 0));
    assert_eq!(payload, json!({ "user": alice }));
    assert_eq!(world.told().await.len(), 1);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn sent_requests_are_listed_newest_first_until_they_are_answered(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol", "dave", "erin", "frank"]).await;
    for asked in ["bob", "carol", "dave", "erin"] {
        ask(&world, "alice", asked).await;
    }
    // A received request is not listed.
    ask(&world, "frank", "alice").await;
    let sent = async |query: &str| {
        let list = world.get("alice", &format!("/friendship/sent-requests{query}")).await.body;
        let ids = list.as_array().unwrap().iter().map(|request| request["user_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(sent("").await, ["erin", "dave", "carol", "bob"]);
    assert_eq!(sent("?limit=2&offset=1").await, ["dave", "carol"]);
    let mut first = world.get("alice", "/friendship/sent-requests?limit=1").await.body;
    take_time(&mut first[0], "requested_at");
    let expected = json!([{
        "user_id": "erin", "first_name": "Erin", "last_name": "Tester", "description": "",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "requested_at": null,
    }]);
    assert_eq!(first, expected);
    assert_eq!(world.get("bob", "/friendship/sent-requests").await.body, json!([]));

    world.post("erin", "/friendship/accept", json!({"user_id1": "alice"})).await.is_success();
    world.delete("dave", "/friendship/requests/alice").await.is_success();
    world.put("carol", "/friendship/blocks/alice", Value::Null).await.is_success();
    assert_eq!(sent("").await, ["bob"]);
    let pair = json!({"user_id1": "alice", "user_id2": "bob"});
    world.post("alice", "/friendship/delete", pair).await.is_success();
    assert_eq!(sent("").await, [""; 0]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn accepting_makes_friends_and_tells_both(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;

    let summary = |user_id: &str, first_name: &str| {
        json!({
            "user_id": user_id, "first_name": first_name, "last_name": "Tester", "description": "",
            "profile_image_uploaded_at": null, "profile_image_extension": null, "friendship_state": 2,
            "mutual_friend_count": null,
        })
    };
    let (alice, bob) = (summary("alice", "Alice"), summary("bob", "Bob"));
    assert_eq!(world.get("alice", "/friendship/all").await.body, json!([bob]));
    assert_eq!(world.get("bob", "/friendship/all").await.body, json!([alice]));
    let mut checked = world.get("bob", "/friendship/check/alice").await.body;
    take_time(&mut checked, "requested_at");
    take_time(&mut checked, "accepted_at");
    let expected = json!({"user_id1": "alice", "user_id2": "bob", "requested_at": null, "accepted_at": null});
    assert_eq!(checked, expected);
    assert_eq!(world.get("alice", "/friendship/requests/bob").await.text, "null");
    assert_eq!(world.get("bob", "/friendship/requests").await.body, json!([]));

    let kind = "friend.accepted".to_owned();
    let told = [
        ("alice".to_owned(), kind.clone(), 2, json!({"user": bob})),
        ("bob".to_owned(), kind, 2, json!({"user": alice})),
    ];
    let events = world.outbox().await;
    let accepted: Vec<_> = events.iter().filter(|(_, kind, ..)| kind == "friend.accepted").cloned().collect();
    assert_eq!(accepted, told);
    // The other devices of the user who was asked remove the request.
    let settled = events.iter().find(|(_, kind, ..)| kind == "friend.request-removed").unwrap();
    assert_eq!((settled.0.as_str(), &settled.3), ("bob", &json!({"user_id": "alice"})));
    assert_eq!(events.len(), 4);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn asking_or_accepting_again_changes_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    ask(&world, "alice", "bob").await;
    let first = world.get("alice", "/friendship/check/bob").await.body;
    ask(&world, "alice", "bob").await;
    assert_eq!(world.get("alice", "/friendship/check/bob").await.body, first);
    world.befriend("alice", "bob").await;
    let accepted = world.get("alice", "/friendship/check/bob").await.body;
    world.post("bob", "/friendship/accept", json!({"user_id1": "alice"})).await.is_success();
    ask(&world, "alice", "bob").await;
    ask(&world, "bob", "alice").await;
    assert_eq!(world.get("alice", "/friendship/check/bob").await.body, accepted);
    let told =
        ["alice friend.accepted 2", "bob friend.request-removed 0", "bob friend.requested 0", "bob friend.accepted 2"];
    assert_eq!(world.told().await, told);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn asking_somebody_who_has_asked_accepts_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    ask(&world, "alice", "bob").await;
    ask(&world, "bob", "alice").await;
    let friendship = world.get("bob", "/friendship/check/alice").await.body;
    assert_eq!(friendship["user_id1"], "alice");
    assert!(friendship["accepted_at"].is_string());
    let accepted: Vec<_> = world.told().await.into_iter().filter(|told| told.contains("accepted")).collect();
    assert_eq!(accepted, ["alice friend.accepted 2", "bob friend.accepted 2"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn requests_that_make_no_sense_are_refused(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    world.post("alice", "/friendship/requests", json!({"user_id2": "alice"})).await.is_problem(400);
    world.post("alice", "/friendship/requests", json!({"user_id2": "nobody"})).await.is_problem(404);
    let reply = world.post("alice", "/friendship/requests", json!({})).await;
    assert_eq!(reply.is_problem(422), ["user_id2"]);
    let reply = world.post("alice", "/friendship/requests", json!({"user_id2": "a\u{0}b"})).await;
    assert_eq!(reply.is_problem(422), ["user_id2"]);
    world.post("alice", "/friendship/accept", json!({"user_id1": "bob"})).await.is_problem(404);
    world.post("alice", "/friendship/accept", json!({"user_id1": "alice"})).await.is_problem(404);
    world.post("alice", "/friendship/accept", json!({"user_id1": "nobody"})).await.is_problem(404);
    assert_eq!(world.get("alice", "/friendship/check/alice").await.text, "null");
    assert_eq!(world.get("alice", "/friendship/check/bob").await.text, "null");
    // Nobody accepts their own request.
    ask(&world, "alice", "bob").await;
    world.post("alice", "/friendship/accept", json!({"user_id1": "bob"})).await.is_problem(404);
    assert_eq!(world.get("alice", "/friendship/all").await.body, json!([]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn only_members_have_friendships(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    for path in ["check/alice", "requests", "sent-requests", "requests/alice", "all"] {
        world.get("stranger", &format!("/friendship/{path}")).await.is_problem(403);
    }
    world.post("stranger", "/friendship/requests", json!({"user_id2": "alice"})).await.is_problem(403);
    world.post("stranger", "/friendship/accept", json!({"user_id1": "alice"})).await.is_problem(403);
    let pair = json!({"user_id1": "stranger", "user_id2": "alice"});
    world.post("stranger", "/friendship/delete", pair).await.is_problem(403);
    world.delete("stranger", "/friendship/requests/alice").await.is_problem(403);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn declining_removes_the_request_and_nothing_else(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    world.delete("bob", "/friendship/requests/alice").await.is_problem(404);
    ask(&world, "alice", "bob").await;
    world.delete("alice", "/friendship/requests/bob").await.is_problem(404);
    world.delete("bob", "/friendship/requests/alice").await.is_success();
    assert_eq!(world.get("alice", "/friendship/check/bob").await.text, "null");
    world.delete("bob", "/friendship/requests/alice").await.is_problem(404);
    assert_eq!(world.told().await, ["bob friend.request-removed 0", "bob friend.requested 0"]);
    world.befriend("bob", "alice").await;
    for (caller, other) in [("bob", "alice"), ("alice", "bob")] {
        world.delete(caller, &format!("/friendship/requests/{other}")).await.is_problem(404);
    }
    assert_eq!(world.get("alice", "/friendship/all").await.body[0]["user_id"], "bob");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn unfriending_tells_both_and_can_be_repeated(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    // Either of the two may end it, with the ids in either order.
    let pair = json!({"user_id1": "bob", "user_id2": "alice"});
    world.post("bob", "/friendship/delete", pair.clone()).await.is_success();
    assert_eq!(world.get("alice", "/friendship/check/bob").await.text, "null");
    let removed: Vec<_> = world.outbox().await.into_iter().filter(|event| event.1 == "friend.removed").collect();
    let kind = "friend.removed".to_owned();
    let told = [
        ("alice".to_owned(), kind.clone(), 3, json!({"user_id": "bob"})),
        ("bob".to_owned(), kind, 3, json!({"user_id": "alice"})),
    ];
    assert_eq!(removed, told);
    world.forget_events().await;
    world.post("bob", "/friendship/delete", pair).await.is_success();
    assert_eq!(world.outbox().await, []);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn taking_back_a_request_is_told_to_the_user_who_was_asked(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    ask(&world, "alice", "bob").await;
    world.post("alice", "/friendship/delete", json!({"user_id1": "alice", "user_id2": "bob"})).await.is_success();
    assert_eq!(world.get("bob", "/friendship/requests").await.body, json!([]));
    assert_eq!(world.told().await, ["bob friend.request-removed 0", "bob friend.requested 0"]);
    assert_eq!(world.version("bob").await, 1);
    // Nothing was declined, so alice may ask again.
    ask(&world, "alice", "bob").await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn nobody_ends_the_friendship_of_others(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol"]).await;
    world.befriend("alice", "bob").await;
    let pair = |one: &str, other: &str| json!({"user_id1": one, "user_id2": other});
    world.post("carol", "/friendship/delete", pair("alice", "bob")).await.is_problem(403);
    world.post("carol", "/friendship/delete", pair("carol", "carol")).await.is_problem(400);
    world.post("alice", "/friendship/delete", pair("alice", "nobody")).await.is_success();
    assert_eq!(world.get("alice", "/friendship/all").await.body[0]["user_id"], "bob");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn requests_come_newest_first_and_in_pages(pool: PgPool) {
    let world = World::new(pool).await;
    let names: Vec<String> = (0..17).map(|n| format!("u{n:02}")).collect();
    world.register(&["alice"]).await;
    for name in &names {
        world.register(&[name]).await;
        ask(&world, name, "alice").await;
    }
    let page = async |query: &str| -> Vec<String> {
        let body = world.get("alice", &format!("/friendship/requests{query}")).await.body;
        body.as_array().unwrap().iter().map(|user| user["user_id"].as_str().unwrap().to_owned()).collect()
    };
    let newest: Vec<String> = names.iter().rev().cloned().collect();
    assert_eq!(page("").await, newest[..15]);
    assert_eq!(page("?limit=1000").await, newest);
    assert_eq!(page("?limit=2&offset=3&other=1").await, newest[3..5]);
    assert_eq!(page("?offset=100").await, newest[..0]);
    assert_eq!(page("?limit=0").await, newest[..0]);
    for (query, field) in
        [("limit=-1", "limit"), ("offset=-1", "offset"), ("limit=many", "limit"), ("offset=", "offset")]
    {
        assert_eq!(world.get("alice", &format!("/friendship/requests?{query}")).await.is_problem(400), [field]);
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn all_friends_come_by_name_and_all_at_once(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["hub"]).await;
    for n in (0..20).rev() {
        let name = format!("u{n:02}");
        world.register(&[&name]).await;
        if n % 2 == 0 { world.befriend("hub", &name).await } else { world.befriend(&name, "hub").await }
    }
    let names = async |query: &str| -> Vec<String> {
        let body = world.get("hub", &format!("/friendship/all{query}")).await.body;
        body.as_array().unwrap().iter().map(|user| user["first_name"].as_str().unwrap().to_owned()).collect()
    };
    let expected: Vec<String> = (0..20).map(|n| format!("U{n:02}")).collect();
    assert_eq!(names("").await, expected);
    assert_eq!(names("?limit=5&offset=10").await, expected[10..15]);
    assert_eq!(names("?limit=0").await, expected[..0]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn one_friend_too_many_is_a_conflict_for_either_side(pool: PgPool) {
    let world = World::with(pool, &["--friends-max", "1"]).await;
    world.register(&["alice", "bob", "carol"]).await;
    world.befriend("alice", "bob").await;
    ask(&world, "carol", "alice").await;
    ask(&world, "bob", "carol").await;
    world.post("alice", "/friendship/accept", json!({"user_id1": "carol"})).await.is_problem(409);
    world.post("carol", "/friendship/accept", json!({"user_id1": "bob"})).await.is_problem(409);
    world.post("carol", "/friendship/requests", json!({"user_id2": "bob"})).await.is_problem(409);
    assert_eq!(world.get("carol", "/friendship/all").await.body, json!([]));
    let accepted: Vec<_> = world.told().await.into_iter().filter(|told| told.contains("accepted")).collect();
    assert_eq!(accepted, ["alice friend.accepted 2", "bob friend.accepted 2"]);
}
