//! Whether the process reports its state correctly, and what it does without its database.

use std::time::{Duration, Instant};

use axum::{body::Body, http::Request};
use clap::Parser;
use core_api::{
    config::{Cli, Command},
    database::{self, MIGRATIONS},
    metrics,
};
use serde_json::json;
use sqlx::{PgPool, postgres::PgPoolOptions};
use tower::ServiceExt;

use crate::world::{OWNER, SERVING, World, as_role, url_of};

async fn open(world: &World, path: &str) -> crate::world::Reply {
    world.send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[sqlx::test(migrations = false)]
async fn the_core_is_ready_once_every_migration_is_applied(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    assert_eq!(open(&world, "/ping").await.text, "\"pong\"");
    assert_eq!(open(&world, "/healthz").await.status, 200);
    open(&world, "/readyz").await.is_problem(503);
    world.get("alice", "/users/me").await.is_problem(503);
    MIGRATIONS.run(&as_role(&pool, OWNER)).await.unwrap();
    assert_eq!(open(&world, "/readyz").await.status, 200);
    sqlx::query("delete from _sqlx_migrations where version = 3").execute(&pool).await.unwrap();
    open(&world, "/readyz").await.is_problem(503);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn the_version_before_migrates_and_serves_on_the_schema_of_a_later_one(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9999, 'of a later version', true, '\\x00', 0)",
    )
    .execute(&pool)
    .await
    .unwrap();
    let arguments = ["core-api", "migrate", "--database-url", &url_of(OWNER, &pool)];
    let Command::Migrate(config) = Cli::try_parse_from(arguments).unwrap().command else { panic!("not migrate") };
    database::migrate(&config).await.unwrap();
    assert_eq!(open(&world, "/readyz").await.status, 200);
}

#[tokio::test]
async fn without_postgres_everything_that_needs_it_is_503_in_time() {
    let nowhere = "postgres://postgres@127.0.0.1:9/postgres";
    let arguments = ["core-api", "migrate", "--database-url", nowhere, "--database-acquire-ms-max", "300"];
    let Command::Migrate(config) = Cli::try_parse_from(arguments).unwrap().command else { panic!("not migrate") };
    let nobody = database::pool(&config).unwrap();
    let world = World::over(nobody.clone(), nobody, &[]).await;
    assert_eq!(open(&world, "/healthz").await.status, 200);
    let started = Instant::now();
    for reply in [
        open(&world, "/readyz").await,
        world.get("alice", "/users/me").await,
        world.post("alice", "/friendship/requests", json!({"user_id2": "bob"})).await,
        world.social("alice", None).await,
    ] {
        reply.is_problem(503);
        assert!(reply.headers.contains_key("retry-after"));
    }
    assert!(started.elapsed() < Duration::from_secs(4));
    assert!(database::migrate(&config).await.is_err());
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn an_exhausted_pool_is_503_until_a_connection_is_free(pool: PgPool) {
    let small = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_millis(200));
    let small = small.connect_with((*pool.connect_options()).clone()).await.unwrap();
    let world = World::new(small).await;
    world.register(&["alice"]).await;
    let held = world.serving.acquire().await.unwrap();
    world.get("alice", "/users/me").await.is_problem(503);
    drop(held);
    assert_eq!(world.get("alice", "/users/me").await.status, 200);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn a_request_that_takes_too_long_is_503_and_changes_nothing(pool: PgPool) {
    // Only `hasty` has the short limit. So only the request that must wait is cut off, however slow this machine is.
    let world = World::new(pool.clone()).await;
    let hasty = World::with(pool.clone(), &["--request-ms-max", "300"]).await;
    world.register(&["alice"]).await;
    let before = world.get("alice", "/users/me").await.body;
    let mut other = pool.begin().await.unwrap();
    sqlx::query("select from users for update").execute(&mut *other).await.unwrap();
    hasty.put("alice", "/users/me/domain_array/allow", json!([])).await.is_problem(503);
    other.rollback().await.unwrap();
    assert_eq!(world.get("alice", "/users/me").await.body, before);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn connections_of_the_core_end_statements_that_run_too_long(pool: PgPool) {
    World::new(pool.clone()).await;
    let url = url_of(SERVING, &pool);
    let arguments = ["core-api", "migrate", "--database-url", &url, "--database-statement-ms-max", "200"];
    let Command::Migrate(config) = Cli::try_parse_from(arguments).unwrap().command else { panic!("not migrate") };
    let world = World::over(pool.clone(), database::pool(&config).unwrap(), &[]).await;
    world.register(&["alice"]).await;
    let mut other = pool.begin().await.unwrap();
    sqlx::query("select from users for update").execute(&mut *other).await.unwrap();
    let started = Instant::now();
    world.put("alice", "/users/me/domain_array/allow", json!([])).await.is_problem(503);
    assert!(started.elapsed() < Duration::from_secs(4));
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn connections_that_the_database_cut_are_replaced(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.register(&["alice"]).await;
    let mut own = pool.acquire().await.unwrap();
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and pid <> pg_backend_pid()",
    )
    .execute(&mut *own)
    .await
    .unwrap();
    assert_eq!(world.get("alice", "/users/me").await.status, 200);
}

#[sqlx::test(migrator = "MIGRATIONS")]
async fn metrics_count_requests_by_route_and_describe_the_outbox(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    world.get("alice", "/users/id/nobody").await.is_problem(404);
    world.get("alice", "/no/such/path").await.is_problem(404);
    world.put("alice", "/users/me/domain_array/allow", json!([])).await;
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = metrics::router(world.app.clone()).oneshot(request).await.unwrap();
    let text = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    for line in [
        r#"core_http_requests_total{method="GET",route="/users/id/{id}",status="404"} 1"#,
        r#"core_http_requests_total{method="GET",route="unmatched",status="404"} 1"#,
        r#"core_http_request_seconds_count{method="POST",route="/users/me"} 1"#,
        "core_outbox_events 1.0",
        "core_outbox_oldest_seconds ",
        "core_database_connections ",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(!text.contains("nobody") && !text.contains("/no/such"));
    // The port of the API does not serve metrics.
    open(&world, "/metrics").await.is_problem(404);
}
