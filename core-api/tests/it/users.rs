//! Accounts and profiles.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{World, token};

fn default_domains() -> Value {
    serde_json::from_str(include_str!("../../default-domains.json")).unwrap()
}

/// An update with every field that published clients send.
fn update() -> Value {
    json!({
        "first_name": "Alicia", "last_name": "Liddell", "description": "Curious.", "share_mode": "default_all",
        "domain_allow_array": ["b.example.com", "example.org"], "domain_deny_array": ["bank.com"],
        "gender": "f", "school": "Oxford", "work": null, "location": "Wonderland", "email_public": true,
        "gender_public": false, "school_public": true, "work_public": true, "location_public": false,
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn without(mut body: Value, field: &str) -> Value {
    body.as_object_mut().unwrap().remove(field);
    body
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn registering_takes_id_and_email_from_the_token_and_starts_with_the_default_lists(pool: PgPool) {
    let world = World::new(pool).await;
    let body =
        json!({"first_name": " Alice ", "last_name": "Tester", "dob": "2000-02-29", "gender": "f", "email": "x@y.z"});
    let reply = world.post("alice", "/users/me", body).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let expected = json!({
        "user_id": "alice", "first_name": "Alice", "last_name": "Tester", "description": "",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "friendship_state": null,
        "mutual_friend_count": null, "dob": "2000-02-29", "gender": "f", "school": null, "work": null,
        "location": null, "email": "alice@example.com", "email_public": false, "dob_public": false,
        "gender_public": false, "school_public": false, "work_public": false, "location_public": false,
        "share_mode": "default_none", "domain_allow_array": default_domains()["allow"],
        "domain_deny_array": default_domains()["deny"],
    });
    // The file keeps its order, the API sorts.
    let sorted = |mut user: Value| {
        for list in ["domain_allow_array", "domain_deny_array"] {
            user[list].as_array_mut().unwrap().sort_by_key(|domain| domain.as_str().unwrap().to_owned());
        }
        user
    };
    assert_eq!(sorted(reply.body.clone()), sorted(expected));
    assert_eq!(world.get("alice", "/users/me").await.body, reply.body);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn whoever_is_not_registered_gets_404_for_their_account(pool: PgPool) {
    let world = World::new(pool).await;
    world.get("alice", "/users/me").await.is_problem(404);
    world.put("alice", "/users/me", update()).await.is_problem(404);
    world.put("alice", "/users/me/domain_array/allow", json!([])).await.is_problem(404);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn registering_twice_or_with_a_taken_email_is_a_conflict(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let body = json!({"first_name": "A", "last_name": "T"});
    let again = world.post("alice", "/users/me", body.clone()).await;
    again.is_problem(409);
    assert_eq!(again.body["detail"], "You are registered already.");
    let same_email = world.post("ALICE", "/users/me", body).await;
    same_email.is_problem(409);
    assert_eq!(same_email.body["detail"], "This e-mail address belongs to another account.");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn registration_names_every_field_that_is_wrong(pool: PgPool) {
    let world = World::new(pool).await;
    let cases = [
        (json!({"first_name": "  ", "last_name": "x".repeat(101)}), vec!["first_name", "last_name"]),
        (json!({"first_name": "A\u{0}", "last_name": ""}), vec!["first_name"]),
        (json!({"first_name": "A", "last_name": "", "dob": "2001-02-29"}), vec!["dob"]),
        (json!({"first_name": "A", "last_name": "", "gender": "x".repeat(1_001)}), vec!["gender"]),
        (json!({"first_name": "A"}), vec!["last_name"]),
        (json!({"first_name": 5, "last_name": ""}), vec!["first_name"]),
    ];
    for (body, fields) in cases {
        assert_eq!(world.post("alice", "/users/me", body).await.is_problem(422), fields);
    }
    assert_eq!(
        world
            .post("alice", "/users/me", json!({"first_name": "É".repeat(100), "last_name": "", "dob": ""}))
            .await
            .status,
        201
    );
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_token_without_email_cannot_register(pool: PgPool) {
    let world = World::new(pool).await;
    let token = crate::world::KEY.sign(&without(crate::world::claims("alice"), "email"));
    let request = axum::http::Request::post("/users/me").header("authorization", token);
    let body = json!({"first_name": "A", "last_name": "T"}).to_string();
    assert_eq!(world.send(request.body(body.into()).unwrap()).await.is_problem(422), ["email"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_update_replaces_the_profile_and_normalises_the_lists(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let body = with(update(), "domain_deny_array", json!([" WWW.Bank.com", "bank.com", "BÜCHER.de"]));
    let reply = world.put("alice", "/users/me", body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let expected = json!({
        "user_id": "alice", "first_name": "Alicia", "last_name": "Liddell", "description": "Curious.",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "friendship_state": null,
        "mutual_friend_count": null, "dob": null, "gender": "f", "school": "Oxford", "work": null,
        "location": "Wonderland", "email": "alice@example.com", "email_public": true, "dob_public": false,
        "gender_public": false, "school_public": true, "work_public": true, "location_public": false,
        "share_mode": "default_all", "domain_allow_array": ["example.com", "example.org"],
        "domain_deny_array": ["bank.com", "xn--bcher-kva.de"],
    });
    assert_eq!(reply.body, expected);
    assert_eq!(world.get("alice", "/users/me").await.body, expected);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_date_of_birth_stays_unless_an_update_names_it(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let born = with(with(update(), "dob", json!("1990-12-31")), "dob_public", json!(true));
    assert_eq!(world.put("alice", "/users/me", born).await.body["dob"], "1990-12-31");
    let kept = world.put("alice", "/users/me", update()).await.body;
    assert_eq!((&kept["dob"], &kept["dob_public"]), (&json!("1990-12-31"), &json!(true)));
    let forgotten = world.put("alice", "/users/me", with(update(), "dob", Value::Null)).await.body;
    assert_eq!((&forgotten["dob"], &forgotten["dob_public"]), (&Value::Null, &json!(true)));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_update_names_every_field_that_is_wrong_and_changes_nothing(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let before = world.get("alice", "/users/me").await.body;
    let many: Vec<_> = (0..1_001).map(|n| format!("a{n}.com")).collect();
    let several = with(with(update(), "first_name", json!("")), "work", json!("x\u{0}"));
    let cases = [
        (several, vec!["first_name", "work"]),
        (with(update(), "share_mode", json!("everything")), vec!["share_mode"]),
        (without(update(), "share_mode"), vec!["share_mode"]),
        (with(update(), "email_public", json!("yes")), vec!["email_public"]),
        (with(update(), "dob", json!("31.12.1990")), vec!["dob"]),
        (with(update(), "domain_allow_array", json!(many)), vec!["domain_allow_array"]),
        (
            with(update(), "domain_allow_array", json!(["a.com", "localhost", "b.com", "10.0.0.1", "https://c.com/"])),
            vec!["domain_allow_array[1]", "domain_allow_array[3]", "domain_allow_array[4]"],
        ),
        (with(update(), "domain_deny_array", json!(["a.com", 7])), vec!["domain_deny_array[1]"]),
    ];
    for (body, fields) in cases {
        assert_eq!(world.put("alice", "/users/me", body).await.is_problem(422), fields);
    }
    assert_eq!(world.get("alice", "/users/me").await.body, before);
    assert_eq!(world.outbox().await, []);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn error_messages_never_repeat_what_was_sent(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    for field in ["share_mode", "email_public", "domain_allow_array", "dob"] {
        let reply = world.put("alice", "/users/me", with(update(), field, json!("s3cret, expected nothing"))).await;
        assert_eq!(reply.is_problem(422), [field]);
        assert!(!reply.text.contains("s3cret"), "{}", reply.text);
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn each_list_can_be_replaced_alone(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let deny = world.get("alice", "/users/me").await.body["domain_deny_array"].clone();
    let reply = world.put("alice", "/users/me/domain_array/allow", json!(["Docs.Example.com", "github.io"])).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    assert_eq!(reply.body["domain_allow_array"], json!(["example.com", "github.io"]));
    assert_eq!(reply.body["domain_deny_array"], deny);
    let reply = world.put("alice", "/users/me/domain_array/deny", json!([])).await;
    assert_eq!(reply.body["domain_deny_array"], json!([]));
    assert_eq!(reply.body["domain_allow_array"], json!(["example.com", "github.io"]));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_list_that_is_none_is_refused(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    assert_eq!(world.put("alice", "/users/me/domain_array/maybe", json!([])).await.is_problem(400), ["list"]);
    let reply = world.put("alice", "/users/me/domain_array/allow", json!(["a.com", "nowhere"])).await;
    assert_eq!(reply.is_problem(422), ["[1]"]);
    world.put("alice", "/users/me/domain_array/allow", json!({"a.com": true})).await.is_problem(422);
    let most: Vec<_> = (0..1_000).map(|n| format!("a{n}.com")).collect();
    assert_eq!(world.put("alice", "/users/me/domain_array/allow", json!(most)).await.status, 200);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_change_of_the_share_settings_is_told_and_another_update_is_not(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    assert_eq!(world.version("alice").await, 1);
    world.put("alice", "/users/me", update()).await;
    let share = json!({"mode": "default_all", "allow": ["example.com", "example.org"], "deny": ["bank.com"]});
    let told = ("alice".to_owned(), "settings.updated".to_owned(), 2, json!({"share": share}));
    assert_eq!(world.outbox().await, std::slice::from_ref(&told));
    world.put("alice", "/users/me", with(update(), "first_name", json!("Al"))).await;
    world.put("alice", "/users/me/domain_array/deny", json!(["www.bank.com"])).await;
    assert_eq!(world.outbox().await, std::slice::from_ref(&told));
    world.put("alice", "/users/me/domain_array/deny", json!([])).await;
    let share = json!({"mode": "default_all", "allow": ["example.com", "example.org"], "deny": []});
    let then = ("alice".to_owned(), "settings.updated".to_owned(), 3, json!({"share": share}));
    assert_eq!(world.outbox().await, [told, then]);
    assert_eq!(world.version("alice").await, 3);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_profile_shows_others_what_its_owner_made_public_and_never_the_email(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    let body = with(with(update(), "dob", json!("1990-12-31")), "dob_public", json!(true));
    world.put("alice", "/users/me", body).await;
    let expected = json!({
        "user_id": "alice", "first_name": "Alicia", "last_name": "Liddell", "description": "Curious.",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "friendship_state": 0,
        "mutual_friend_count": 0, "dob": "1990-12-31", "gender": null, "school": "Oxford", "work": null,
        "location": null,
    });
    assert_eq!(world.get("bob", "/users/id/alice").await.body, expected);
    world.get("bob", "/users/id/nobody").await.is_problem(404);
    assert_eq!(world.get("bob", "/users/id/no%20id").await.is_problem(400), ["id"]);
    assert_eq!(world.get("bob", "/users/id/%FF").await.is_problem(400), ["path"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_profile_tells_how_the_caller_stands_to_it(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol", "dave"]).await;
    world.befriend("alice", "bob").await;
    world.befriend("carol", "alice").await;
    world.befriend("bob", "carol").await;
    world.post("dave", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    let standing = async |caller: &str, other: &str| {
        let body = world.get(caller, &format!("/users/id/{other}")).await.body;
        (body["friendship_state"].clone(), body["mutual_friend_count"].clone())
    };
    assert_eq!(standing("alice", "bob").await, (json!(2), json!(1)));
    assert_eq!(standing("bob", "alice").await, (json!(2), json!(1)));
    assert_eq!(standing("alice", "dave").await, (json!(1), json!(0)));
    assert_eq!(standing("dave", "alice").await, (json!(1), json!(0)));
    assert_eq!(standing("dave", "bob").await, (json!(0), json!(0)));
    assert_eq!(standing("alice", "alice").await, (Value::Null, Value::Null));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn ids_with_unusual_characters_work_everywhere(pool: PgPool) {
    let world = World::new(pool).await;
    let id = "google_117/4?#%ü";
    let request = axum::http::Request::post("/users/me").header("authorization", token(id));
    let body = json!({"first_name": "G", "last_name": ""}).to_string();
    assert_eq!(world.send(request.body(body.into()).unwrap()).await.status, 201);
    let reply = world.get(id, "/users/id/google_117%2F4%3F%23%25%C3%BC").await;
    assert_eq!(reply.body["user_id"], id);
}
