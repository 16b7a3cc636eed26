//! What the edge asks of the core.

use axum::{body::Body, http::Request};
use core_api::versions;
use serde_json::json;
use sqlx::PgPool;

use crate::world::{SERVICE_SECRET, World, service_token, token};

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_social_document_holds_friends_and_share_settings(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob", "carol", "dave"]).await;
    world.befriend("carol", "alice").await;
    world.befriend("alice", "bob").await;
    world.post("dave", "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();
    world.put("alice", "/users/me/domain_array/allow", json!(["example.com"])).await;
    world.put("alice", "/users/me/domain_array/deny", json!(["bank.com"])).await;
    let info = |user_id: &str, first_name: &str| {
        json!({
            "user_id": user_id, "first_name": first_name, "last_name": "Tester", "profile_image_extension": null,
        })
    };
    let reply = world.social("alice", None).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let version = world.first_version("alice").await + 4;
    let expected = json!({
        "version": version, "user": info("alice", "Alice"),
        "share": {"mode": "default_none", "allow": ["example.com"], "deny": ["bank.com"]},
        "friends": [info("bob", "Bob"), info("carol", "Carol")],
    });
    assert_eq!(reply.body, expected);
    assert_eq!(reply.headers["etag"], format!("\"{version}\""));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_known_version_is_answered_304_until_it_grows(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice", "bob"]).await;
    let first = world.first_version("alice").await;
    let [tag, next] = [first, first + 1].map(|version| format!("\"{version}\""));
    for known in [&tag, &format!("W/{tag}"), &format!("\"7\", {tag}"), "*"] {
        let reply = world.social("alice", Some(known)).await;
        assert_eq!((reply.status, reply.text.as_str()), (304, ""), "{known}");
        assert_eq!(reply.headers["etag"], tag);
    }
    world.befriend("alice", "bob").await;
    assert_eq!(world.social("alice", Some(&tag)).await.body["version"], first + 1);
    assert_eq!(world.social("alice", Some(&next)).await.status, 304);
    world.social("nobody", Some("*")).await.is_problem(404);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn each_kind_of_token_opens_only_its_own_routes(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let now = shared::time::Timestamp::from(time::OffsetDateTime::now_utc());
    let service = service_token(SERVICE_SECRET, now);
    let get = async |path: &str, token: Option<String>| {
        let request = Request::get(path);
        let request = token.into_iter().fold(request, |request, token| request.header("authorization", token));
        world.send(request.body(Body::empty()).unwrap()).await
    };
    let social = "/internal/users/alice/social";
    assert_eq!(get(social, Some(service.clone())).await.status, 200);
    let strange = [
        None,
        Some(token("alice")),
        Some(service_token("another secret", now)),
        Some(service_token(SERVICE_SECRET, now.plus_ms(-60_000))),
    ];
    for token in strange {
        let reply = get(social, token).await;
        reply.is_problem(401);
        assert_eq!(reply.headers["www-authenticate"], "Bearer");
    }
    get("/users/me", Some(service)).await.is_problem(401);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn during_a_rotation_tokens_of_either_secret_are_taken(pool: PgPool) {
    let world = World::with(pool, &["--service-token-secret", "old-secret new-secret"]).await;
    world.register(&["alice"]).await;
    let now = time::OffsetDateTime::now_utc().into();
    for (secret, status) in
        [("old-secret", 200), ("new-secret", 200), ("old-secret new-secret", 401), (SERVICE_SECRET, 401)]
    {
        let request = Request::get("/internal/users/alice/social");
        let request = request.header("authorization", format!("Bearer {}", service_token(secret, now)));
        assert_eq!(world.send(request.body(Body::empty()).unwrap()).await.status, status, "{secret}");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn raised_versions_are_newer_than_any_that_the_edge_remembers(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    // These are some batches, and a user who changed so often that the version is ahead of the clock.
    sqlx::raw_sql(
        "insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array, social_version)
         select 'user-' || n, n || '@example.com', 'U', 'N', '{}', '{}', 1 from generate_series(1, 2500) n;
         update users set social_version = 9e15 where user_id = 'alice'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let now = time::OffsetDateTime::now_utc().unix_timestamp() * 1_000;
    versions::raise(&world.serving).await.unwrap();
    let raised: i64 = sqlx::query_scalar("select count(*) from users where social_version >= $1")
        .bind(now)
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(raised, 2_501);
    assert_eq!(world.social("alice", None).await.body["version"], 9_000_000_000_000_001_u64);
}
