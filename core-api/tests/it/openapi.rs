//! The document of the API lists what the router answers, and people can look at it.

use std::collections::BTreeSet;

use axum::{
    body::Body,
    http::{Method, Request},
};
use serde_json::Value;
use sqlx::PgPool;

use crate::world::{Reply, World};

async fn document(world: &World) -> Value {
    let reply = without_token(world, Method::GET, "/openapi.json").await;
    assert_eq!((reply.status, &reply.headers["content-type"]), (200, &"application/json".parse().unwrap()));
    reply.body
}

async fn without_token(world: &World, method: Method, path: &str) -> Reply {
    world.send(Request::builder().method(method).uri(path).body(Body::empty()).unwrap()).await
}

/// Every path in the router, for any method. The router shows them only in its debug output.
fn registered(world: &World) -> BTreeSet<String> {
    let told = format!("{:?}", world.router);
    let (own, _fallbacks) = told.split_once(", fallback_router: ").unwrap();
    let paths = own.split("RouteId(").filter_map(|piece| piece.split_once("): \"")?.1.split('"').next());
    paths.map(str::to_owned).collect()
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_document_lists_exactly_the_routes_that_are_answered(pool: PgPool) {
    let world = World::new(pool).await;
    let document = document(&world).await;
    let paths = document["paths"].as_object().unwrap();
    let documented: BTreeSet<String> = paths.keys().cloned().collect();
    let beside = |path: &String| path.starts_with("/internal/") || path.starts_with("/docs/");
    let public: BTreeSet<String> = registered(&world).into_iter().filter(|path| !beside(path)).collect();
    assert_eq!(documented, public);

    for (path, operations) in paths {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let operation = &operations[method.as_str().to_lowercase()];
            let reply = without_token(&world, method.clone(), &path.replace(['{', '}'], "")).await;
            let expected: &[u16] = match (operation, &operation["security"]) {
                (Value::Null, _) => &[405],
                (_, Value::Null) => &[401],
                (_, _) => &[200, 303],
            };
            assert!(expected.contains(&reply.status), "{method} {path}: {} {}", reply.status, reply.text);
        }
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn every_operation_says_what_it_does_and_every_error_is_a_problem(pool: PgPool) {
    let document = document(&World::new(pool).await).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].as_str().unwrap().ends_with('.'), "{name}");
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{name}: its id is taken");
            let tag = &operation["tags"][0];
            assert!(document["tags"].as_array().unwrap().iter().any(|known| known["name"] == *tag), "{name}: {tag}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                let content = &response["content"]["application/problem+json"]["schema"]["$ref"];
                let problem = *content == "#/components/schemas/Problem";
                assert_eq!(problem, status.starts_with(['4', '5']), "{name}: {status}");
            }
        }
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn everything_that_the_document_refers_to_is_in_it(pool: PgPool) {
    let document = document(&World::new(pool).await).await;
    let text = document.to_string();
    let references: BTreeSet<&str> =
        text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(references.contains("/components/schemas/UserId"));
    for reference in references {
        assert!(document.pointer(reference).is_some(), "{reference} is missing");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_page_of_the_document_needs_nothing_from_elsewhere(pool: PgPool) {
    let world = World::new(pool).await;
    let get = async |path: &str| without_token(&world, Method::GET, path).await;
    let moved = get("/docs").await;
    assert_eq!((moved.status, &moved.headers["location"]), (303, &"/docs/".parse().unwrap()));
    let page = get("/docs/").await;
    assert_eq!((page.status, &page.headers["content-type"]), (200, &"text/html".parse().unwrap()));
    let named = page.text.split(['"', '\'']).filter_map(|text| text.strip_prefix("./"));
    let files: Vec<&str> = named.filter(|name| name.ends_with(".js") || name.ends_with(".css")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for name in files {
        let file = get(&format!("/docs/{name}")).await;
        let kind = file.headers["content-type"].to_str().unwrap();
        assert_eq!((file.status, kind.ends_with("css")), (200, name.ends_with("css")), "{name}: {kind}");
    }
    assert!(!page.text.contains("src=\"http") && !page.text.contains("href=\"http"), "{}", page.text);
    assert!(get("/docs/swagger-initializer.js").await.text.contains("\"../openapi.json\""));
    get("/docs/nothing").await.is_problem(404);
    // The page's policy allows nothing from elsewhere, and no script in the page itself.
    let policy = page.headers["content-security-policy"].to_str().unwrap().to_owned();
    let directives: Vec<Vec<&str>> = policy.split(';').map(|one| one.split_whitespace().collect()).collect();
    let sources = |name: &str| directives.iter().find(|one| one[0] == name).map(|one| one[1..].to_vec());
    assert_eq!(sources("default-src"), Some(vec!["'none'"]));
    assert_eq!(sources("script-src"), Some(vec!["'self'"]));
    assert_eq!(sources("frame-ancestors"), Some(vec!["'none'"]));
    let known = ["'none'", "'self'", "'unsafe-inline'", "data:"];
    assert!(directives.iter().flat_map(|one| &one[1..]).all(|source| known.contains(source)), "{policy}");
    let scripts: Vec<&str> = page.text.split("<script").skip(1).collect();
    assert!(
        !scripts.is_empty() && scripts.iter().all(|script| script.trim_start().starts_with("src=")),
        "{}",
        page.text
    );
    assert!(get("/docs/swagger-initializer.js").await.text.contains("\"validatorUrl\": \"none\""));
}
