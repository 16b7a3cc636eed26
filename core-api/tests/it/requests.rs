//! What is true of every request: bodies, errors and ids.

use axum::{
    body::Body,
    http::{Method, Request},
};
use sqlx::PgPool;

use crate::world::{Reply, World, token};

async fn post_raw(world: &World, content_type: Option<&str>, body: impl Into<Body>) -> Reply {
    let mut request = Request::post("/users/me").header("authorization", token("alice"));
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    world.send(request.body(body.into()).unwrap()).await
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn json_is_taken_under_any_content_type(pool: PgPool) {
    let world = World::new(pool).await;
    let body = r#"{"first_name": "A", "last_name": "T", "something": ["else"]}"#;
    assert_eq!(post_raw(&world, Some("text/plain;charset=UTF-8"), body).await.status, 201);
    post_raw(&world, None, body).await.is_problem(409);
    post_raw(&world, Some("application/x-www-form-urlencoded"), body).await.is_problem(409);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_body_that_is_no_json_is_400_and_one_of_another_shape_422(pool: PgPool) {
    let world = World::new(pool).await;
    let deep = "[".repeat(60_000);
    let no_json: [&[u8]; 6] =
        [b"", b"{", b"{\"first_name\": \"\xff\"}", b"{} {}", b"{\"first_name\": \"\\ud80\"}", deep.as_bytes()];
    for body in no_json {
        post_raw(&world, None, body.to_vec()).await.is_problem(400);
    }
    for body in ["null", "[]", "7", "\"text\"", "{}"] {
        assert_eq!(post_raw(&world, None, body).await.is_problem(422).len(), 1, "{body}");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_body_has_at_most_64_kib(pool: PgPool) {
    let world = World::new(pool).await;
    let padded = |length: usize| {
        let body = r#"{"first_name": "A", "last_name": "T", "pad": ""}"#;
        body.replace(r#""pad": ""#, &format!(r#""pad": "{}"#, "x".repeat(length - body.len())))
    };
    post_raw(&world, None, padded(65_537)).await.is_problem(413);
    // A body without a stated length is refused too.
    let chunks = padded(65_537).into_bytes().chunks(1_000).map(<[u8]>::to_vec).collect::<Vec<_>>();
    let chunks = futures_util::stream::iter(chunks.into_iter().map(Ok::<_, std::io::Error>));
    post_raw(&world, None, Body::from_stream(chunks)).await.is_problem(413);
    assert_eq!(post_raw(&world, None, padded(65_536)).await.status, 201);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn unknown_paths_and_methods_are_problems_too(pool: PgPool) {
    let world = World::new(pool).await;
    for path in ["/", "/nothing", "/users", "/users/id/", "/friendship/requests/a/b", "/internal/nothing"] {
        world.get("alice", path).await.is_problem(404);
    }
    let reply = world.call("alice", Method::PATCH, "/users/me", None).await;
    reply.is_problem(405);
    let allow = reply.headers["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("PUT") && allow.contains("POST"), "{allow}");
    world.call("alice", Method::DELETE, "/ping", None).await.is_problem(405);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn every_answer_names_its_request(pool: PgPool) {
    let world = World::new(pool).await;
    let id = async |path: &str, id: Option<&[u8]>| {
        let request = Request::get(path);
        let request = id.into_iter().fold(request, |request, id| request.header("x-request-id", id));
        let reply = world.send(request.body(Body::empty()).unwrap()).await;
        reply.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    for path in ["/ping", "/nothing", "/users/me"] {
        assert_eq!(id(path, Some(b"from-the-edge-1")).await, "from-the-edge-1");
        let own = id(path, None).await;
        assert_eq!(uuid::Uuid::parse_str(&own).unwrap().get_version_num(), 7);
    }
    let long = [b'x'; 129];
    for unusable in [&b""[..], b"two words", b"a@example.org", b"caf\xc3\xa9", &long] {
        assert_ne!(id("/ping", Some(unusable)).await.as_bytes(), unusable);
    }
    assert_eq!(id("/ping", Some(&long[..128])).await.as_bytes(), &long[..128]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_address_has_at_most_16_kib_and_headers_32(pool: PgPool) {
    let world = World::new(pool).await;
    let address = |length: usize| format!("/ping?{}", "x".repeat(length - 6));
    assert_eq!(world.get("alice", &address(16_384)).await.status, 200);
    for path in [address(16_385), format!("/users/id/{}", "x".repeat(16_384))] {
        let reply = world.get("alice", &path).await;
        reply.is_problem(414);
        assert!(reply.headers.contains_key("x-request-id"));
    }
    let with_header = async |length: usize| {
        let request = Request::get("/ping").header("name", "x".repeat(length - 4));
        world.send(request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(with_header(32_768).await.status, 200);
    with_header(32_769).await.is_problem(431);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_query_is_read_if_it_makes_sense_and_otherwise_refused_by_name(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let paths = [
        "/friendship/requests",
        "/friendship/sent-requests",
        "/users/id/alice/friends",
        "/friendship/search/name/a",
        "/notifications/share",
    ];
    for path in paths {
        for query in ["limit=0", "limit=1000000&offset=99999999999999999999", "cache=1&cache=2", "", "%ff=%00"] {
            assert_eq!(
                world.get("alice", &format!("{path}?{query}")).await.body,
                serde_json::json!([]),
                "{path}?{query}"
            );
        }
        for (query, field) in [
            ("limit=ten", "limit"),
            ("limit=", "limit"),
            ("limit=-1", "limit"),
            ("offset=-1", "offset"),
            ("offset=1.5", "offset"),
            ("limit=1&limit=1", "limit"),
            ("offset=1&limit=1&offset=2", "offset"),
        ] {
            assert_eq!(world.get("alice", &format!("{path}?{query}")).await.is_problem(400), [field], "{path}?{query}");
        }
    }
    for (path, field) in [
        ("/friendship/search/name/a?exact=maybe", "exact"),
        ("/friendship/search/name/a?exact=1&exact=1", "exact"),
        ("/notifications/share?is_read=2", "is_read"),
    ] {
        assert_eq!(world.get("alice", path).await.is_problem(400), [field], "{path}");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn private_answers_are_not_stored_and_no_type_is_guessed(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let open = async |path: &str| world.send(Request::get(path).body(Body::empty()).unwrap()).await;
    let private = [
        world.get("alice", "/users/me").await,
        world.get("alice", "/users/me/export").await,
        world.get("alice", "/users/id/alice/profile-image-url?image_ext=png").await,
        world.get("alice", "/users/id/nobody").await,
        world.post("alice", "/users/me", serde_json::json!({})).await,
        world.get("alice", "/no/such/path").await,
        world.get("alice", &format!("/users/id/{}", "x".repeat(20_000))).await,
        world.social("alice", None).await,
        open("/users/me").await,
        open("/readyz").await,
    ];
    for reply in private {
        assert_eq!(reply.headers["cache-control"], "no-store", "{}", reply.text);
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{}", reply.text);
        assert!(!reply.headers.contains_key("content-security-policy"), "{}", reply.text);
    }
    for path in ["/openapi.json", "/docs", "/docs/", "/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js"] {
        let reply = open(path).await;
        assert_eq!(reply.headers["cache-control"], "no-cache", "{path}");
        assert_eq!(reply.headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(reply.headers.contains_key("content-security-policy"), path != "/openapi.json", "{path}");
    }
}
