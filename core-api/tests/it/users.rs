//! Accounts and profiles.

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::{
    bucket::Bucket,
    world::{KEY, Reply, World, claims, token},
};

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
    // The file has an order of its own, and the API sorts.
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
async fn a_caller_who_is_not_registered_gets_404_for_their_account(pool: PgPool) {
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
    let token = KEY.sign(&without(claims("alice"), "email"));
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
async fn an_unknown_or_invalid_list_is_refused(pool: PgPool) {
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
    let update = || with(with(update(), "first_name", json!("Alice")), "last_name", json!("Tester"));
    world.put("alice", "/users/me", update()).await;
    let share = json!({"mode": "default_all", "allow": ["example.com", "example.org"], "deny": ["bank.com"]});
    let told = ("alice".to_owned(), "settings.updated".to_owned(), 2, json!({"share": share}));
    assert_eq!(world.outbox().await, std::slice::from_ref(&told));
    world.put("alice", "/users/me", with(update(), "work", json!("none"))).await;
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

/// Calls with a token that has these claims besides the usual ones. If `body` is null, there is none.
async fn call_with(world: &World, user_id: &str, method: &str, said: Value, body: Value) -> Reply {
    let mut claims = claims(user_id);
    for (claim, value) in said.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    let request = axum::http::Request::builder().method(method).uri("/users/me");
    let request = request.header("authorization", KEY.sign(&claims));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    world.send(request.body(body.into()).unwrap()).await
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn nobody_registers_with_an_address_that_is_not_verified(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let body = json!({"first_name": "A", "last_name": "T"});
    for no in [json!(false), json!("false"), json!("no"), json!(null), json!(0)] {
        let said = json!({"email": "owner@example.com", "email_verified": no});
        assert_eq!(call_with(&world, "mallory", "POST", said, body.clone()).await.is_problem(422), ["email"], "{no}");
    }
    for email in [json!(""), json!(null), json!("x".repeat(255)), json!("a\u{0}b@example.com")] {
        let said = json!({"email": email, "email_verified": true});
        assert_eq!(call_with(&world, "mallory", "POST", said, body.clone()).await.is_problem(422), ["email"]);
    }
    for (user_id, yes) in [("bool", json!(true)), ("text", json!("true"))] {
        assert_eq!(call_with(&world, user_id, "POST", json!({"email_verified": yes}), body.clone()).await.status, 201);
    }
    let lenient = World::with(pool, &["--email-verified", "ignored"]).await;
    assert_eq!(call_with(&lenient, "anybody", "POST", json!({"email_verified": false}), body).await.status, 201);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_address_follows_the_token_if_it_is_verified_and_free(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.register(&["alice", "bob"]).await;
    let email = async |user_id: &str, method: &str, said: Value| {
        let body = if method == "PUT" { update() } else { Value::Null };
        let reply = call_with(&world, user_id, method, said, body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.body["email"].as_str().unwrap().to_owned()
    };
    assert_eq!(email("alice", "GET", json!({"email": "new@example.com"})).await, "new@example.com");
    assert_eq!(
        email("alice", "PUT", json!({"email": "New@example.com", "email_verified": "true"})).await,
        "New@example.com"
    );
    // The old address stays if the new one is unverified, missing, or somebody else's in upper or lower case.
    for said in [
        json!({"email": "other@example.com", "email_verified": false}),
        json!({"email": null}),
        json!({"email": ""}),
        json!({"email": "BOB@example.com"}),
    ] {
        for method in ["GET", "PUT"] {
            assert_eq!(email("alice", method, said.clone()).await, "New@example.com", "{said}");
        }
    }
    assert_eq!(email("bob", "GET", json!({})).await, "bob@example.com");
    // An address is free once its owner has called with another one.
    let register = json!({"first_name": "C", "last_name": ""});
    let said = json!({"email": "bob@example.com"});
    call_with(&world, "carol", "POST", said.clone(), register.clone()).await.is_problem(409);
    assert_eq!(email("bob", "GET", json!({"email": "bob@example.org"})).await, "bob@example.org");
    assert_eq!(call_with(&world, "carol", "POST", said, register).await.status, 201);
    // Nothing is written if the address is the same, or belongs to somebody else.
    let row = async || -> String {
        sqlx::query_scalar("select xmin::text from users where user_id = 'bob'").fetch_one(&pool).await.unwrap()
    };
    let before = row().await;
    email("bob", "GET", json!({"email": "bob@example.org"})).await;
    email("bob", "GET", json!({"email": "New@example.com"})).await;
    assert_eq!(row().await, before);
}

/// Names as they are sent and as they are shown. `None`: the name is refused.
const NAMES: [(&str, Option<&str>); 22] = [
    (" Zoe\u{308}\n", Some("Zo\u{eb}")),
    ("\u{1112}\u{1161}\u{11ab}", Some("\u{d55c}")),
    ("A\u{200b}l\u{2060}i\u{feff}c\u{ad}e", Some("Alice")),
    ("\u{1F469}\u{200D}\u{1F52C}", Some("\u{1F469}\u{200D}\u{1F52C}")),
    ("\u{645}\u{6cc}\u{200c}\u{62e}", Some("\u{645}\u{6cc}\u{200c}\u{62e}")),
    ("O'Brien-Smith Jr.", Some("O'Brien-Smith Jr.")),
    ("\u{200b}", None),
    ("\u{3164}", None),
    ("\u{2800}", None),
    ("\u{2060}", None),
    ("\u{ad}", None),
    ("\u{202e}", None),
    ("\u{200d}", None),
    ("\u{115f}\u{1160}", None),
    ("\u{ffa0}", None),
    ("\u{e0061}", None),
    ("Ali\nce", None),
    ("Ali\tce", None),
    ("Ali\u{7f}ce", None),
    ("Ali\u{2028}ce", None),
    ("Ali\u{202e}ce", None),
    ("\u{200f}Alice", None),
];

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_name_is_one_that_others_can_see(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    for (n, (sent, shown)) in NAMES.into_iter().enumerate() {
        sqlx::query("update users set looks_changed_ms = '{}'").execute(&world.pool).await.unwrap();
        let new = format!("new-{n}");
        let replies = [
            world.post(&new, "/users/me", json!({"first_name": sent, "last_name": sent})).await,
            world
                .put("alice", "/users/me", with(with(update(), "first_name", json!(sent)), "last_name", json!(sent)))
                .await,
        ];
        for reply in replies {
            match shown {
                Some(shown) => {
                    assert!(reply.status < 300, "{sent:?}: {}", reply.text);
                    assert_eq!((&reply.body["first_name"], &reply.body["last_name"]), (&json!(shown), &json!(shown)));
                }
                // If every character is taken out, the name is empty, and only a last name may be empty.
                None => {
                    let fields = reply.is_problem(422);
                    assert!(fields == ["first_name", "last_name"] || fields == ["first_name"], "{sent:?} {fields:?}");
                }
            }
        }
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn texts_are_cleaned_and_never_refused_for_what_is_in_them(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let odd = " a\u{301}\u{202e}b\u{200b}c\td\ne\u{1}\r\u{2028}\u{fffe} ";
    let mut body = update();
    for field in ["description", "gender", "school", "work", "location"] {
        body[field] = json!(odd);
    }
    let reply = world.put("alice", "/users/me", body.clone()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    for field in ["gender", "school", "work", "location"] {
        assert_eq!(reply.body[field], "\u{e1}bcde", "{field}");
    }
    assert_eq!(reply.body["description"], "\u{e1}bc\td\ne");
    // Half of an emoji, as an escape in JSON.
    let text = body.to_string().replace("Alicia", "\\ud83d Al");
    let request = axum::http::Request::put("/users/me").header("authorization", token("alice"));
    let reply = world.send(request.body(text.into()).unwrap()).await;
    assert_eq!((reply.status, &reply.body["first_name"]), (200, &json!("\u{fffd} Al")), "{}", reply.text);
    for field in ["description", "gender", "school", "work", "location"] {
        let body = with(body.clone(), field, json!("a\u{0}"));
        assert_eq!(world.put("alice", "/users/me", body).await.is_problem(422), [field]);
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn stored_values_can_be_sent_back_unchanged_whatever_the_rules_are_today(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    sqlx::query(
        "update users set first_name = U&'\\3164', last_name = U&'Zoe\\0308 ', description = U&' \\202E', gender = U&'\\200B',
            domain_allow_array = '{docs.example.com,not a site}', domain_deny_array = '{example.com,localhost}'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let before = world.get("alice", "/users/me").await.body;
    assert_eq!(world.put("alice", "/users/me", before.clone()).await.body, before);
    assert_eq!(world.outbox().await, []);
    // Stored entries may also stand beside a new one, which is read as usual.
    let reply =
        world.put("alice", "/users/me/domain_array/deny", json!(["localhost", "www.bank.com", "example.com"])).await;
    assert_eq!(reply.body["domain_deny_array"], json!(["bank.com", "example.com", "localhost"]), "{}", reply.text);
    assert_eq!(reply.body["domain_allow_array"], before["domain_allow_array"]);
    let reply = world.put("alice", "/users/me/domain_array/allow", json!(["localhost"])).await;
    assert_eq!(reply.is_problem(422), ["[0]"], "stored in the other list");
    let other = with(before, "first_name", json!("\u{2800}"));
    assert_eq!(world.put("alice", "/users/me", other).await.is_problem(422), ["first_name"]);
}

/// The events that tell a change of alice's name or picture to her and her friends.
async fn looks_told(world: &World) -> Vec<(String, i64, Value)> {
    let events = world.outbox().await.into_iter().filter(|(_, kind, ..)| kind == "user.updated");
    events.map(|(recipient, _, version, payload)| (recipient, version, payload["user"].clone())).collect()
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_new_name_or_picture_is_told_to_the_user_and_all_friends(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = World::with(pool, &bucket.flags()).await;
    world.register(&["alice", "bob", "carol", "dave"]).await;
    world.befriend("bob", "alice").await;
    world.befriend("alice", "carol").await;
    world.post("dave", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    world.put("alice", "/users/me", update()).await;
    let before = [world.version("alice").await, world.version("bob").await, world.version("carol").await];
    let extension = "/users/me/profile-image-upload-url?image_ext=";
    let user = |first_name: &str, extension: Value| json!({"user_id": "alice", "first_name": first_name, "last_name": "Liddell", "profile_image_extension": extension});
    let changes = [
        ("PUT", "/users/me".to_owned(), with(update(), "first_name", json!("Al")), Some(user("Al", Value::Null))),
        ("PUT", "/users/me".to_owned(), with(update(), "first_name", json!(" Al\u{200b}")), None),
        ("PUT", "/users/me".to_owned(), with(with(update(), "first_name", json!("Al")), "work", json!("none")), None),
        ("GET", format!("{extension}png"), Value::Null, Some(user("Al", json!("png")))),
        ("GET", format!("{extension}png"), Value::Null, None),
        ("GET", format!("{extension}gif"), Value::Null, Some(user("Al", json!("gif")))),
        ("DELETE", "/users/me/profile-image".to_owned(), Value::Null, Some(user("Al", Value::Null))),
        ("DELETE", "/users/me/profile-image".to_owned(), Value::Null, None),
    ];
    let mut grown = 0;
    for (method, path, body, told) in changes {
        world.forget_events().await;
        let body = Some(body).filter(|body| !body.is_null());
        assert_eq!(world.call("alice", method.parse().unwrap(), &path, body).await.status, 200, "{method} {path}");
        grown += i64::from(told.is_some());
        let recipients = ["alice", "bob", "carol"].into_iter().zip(before);
        let expected = recipients
            .map(|(recipient, version)| told.clone().map(|user| (recipient.to_owned(), version + grown, user)));
        assert_eq!(looks_told(&world).await, expected.flatten().collect::<Vec<_>>(), "{method} {path}");
        // The newest social document says the same.
        let [own, friends] = [world.social("alice", None).await.body, world.social("bob", None).await.body];
        assert_eq!(world.version("bob").await, before[1] + grown);
        assert_eq!(own["user"], friends["friends"][0]);
        if let Some(told) = told {
            assert_eq!(own["user"], told);
        }
    }
    assert_eq!(world.version("dave").await, 1);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_sixth_new_name_or_picture_within_an_hour_is_refused_and_nothing_of_it_stored(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = World::with(pool.clone(), &bucket.flags()).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("bob", "alice").await;
    let upload = "/users/me/profile-image-upload-url?image_ext=png";
    let named = |name: &str| with(update(), "first_name", json!(name));
    for name in ["One", "Two", "Three"] {
        assert_eq!(world.put("alice", "/users/me", named(name)).await.status, 200);
    }
    assert_eq!(world.get("alice", upload).await.status, 200);
    world.delete("alice", "/users/me/profile-image").await.is_success();
    world.forget_events().await;
    let before = world.get("alice", "/users/me").await.body;
    let again = with(with(named("Six"), "work", json!("elsewhere")), "share_mode", json!("default_none"));
    for reply in [world.put("alice", "/users/me", again).await, world.get("alice", upload).await] {
        reply.is_problem(429);
        let wait_s: u64 = reply.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((3_580..=3_600).contains(&wait_s), "{wait_s}");
    }
    assert_eq!(world.get("alice", "/users/me").await.body, before);
    assert_eq!(world.outbox().await, []);
    // A field of which others keep no copy can still be changed.
    assert_eq!(world.put("alice", "/users/me", with(named("Three"), "work", json!("elsewhere"))).await.status, 200);
    world.delete("alice", "/users/me/profile-image").await.is_success();
    // The first change is an hour old now, so one more is allowed.
    sqlx::query("update users set looks_changed_ms[1] = looks_changed_ms[1] - 3600000 where user_id = 'alice'")
        .execute(&pool)
        .await
        .unwrap();
    assert_eq!(world.get("alice", upload).await.status, 200);
    let refused = world.delete("alice", "/users/me/profile-image").await;
    refused.is_problem(429);
    assert_eq!(world.get("alice", "/users/me").await.body["profile_image_extension"], "png");
}
