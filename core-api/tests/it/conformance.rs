//! Schemathesis tests the running program against its own document. Whatever is sent, the document describes the answer, and the
//! answer is never a server error.

use std::{path::Path, time::Duration};

use serde_json::json;
use sqlx::PgPool;
use tokio::process::Command;

use crate::{
    bucket::Bucket,
    process::{Server, program},
    world::{Provider, SERVING, World, token, url_of},
};

/// The variable that names the program. `cargo xtask test` installs the program and sets this.
const PROGRAM: &str = "PAGENOW_SCHEMATHESIS";

/// The id that the document gives as an example. Some of the calls use it.
const EXAMPLE: &str = "google_117400000000000000000";

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_running_program_does_what_its_document_says(pool: PgPool) {
    let bucket = Bucket::start().await;
    let url = url_of(SERVING, &pool);
    let world = World::new(pool).await;
    world.register(&["alice", EXAMPLE]).await;
    world.post(EXAMPLE, "/friendship/requests", json!({"user_id2": "alice"})).await.is_success();

    let provider = Provider::start().await;
    let mut command = program(&url, &provider, "serve");
    for bound in ["CALLS_PER_MINUTE_MAX", "REQUESTS_PER_DAY_MAX", "SHARES_PER_HOUR_MAX"] {
        command.env(bound, "1000000");
    }
    let server = Server::start(bucket.configure(command)).await;

    // The other calls need the account, so its deletion comes last.
    let all_but_the_end = ["--exclude-operation-id", "users_delete"];
    let the_end = ["--include-operation-id", "users_delete"];
    for selection in [all_but_the_end, the_end] {
        check(&server.url, &selection).await;
    }
    server.stop().await;
}

async fn check(url: &str, selection: &[&str]) {
    let program = std::env::var(PROGRAM).unwrap_or_else(|_| panic!("{PROGRAM} names no schemathesis"));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemathesis.toml");
    // Schemathesis leaves files in its working directory.
    let folder = std::env::temp_dir().join(format!("core-api-conformance-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let mut schemathesis = Command::new(program);
    schemathesis.arg("--config-file").arg(config).args(["run", &format!("{url}/openapi.json")]).args(selection);
    let authorization = format!("Authorization: Bearer {}", token("alice"));
    schemathesis.args(["--header", &authorization, "--no-color"]).current_dir(&folder).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(110), schemathesis.output()).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let output = output.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    // The output holds bodies that were sent, which can be very long.
    let said: Vec<String> = said.lines().map(|line| line.chars().take(500).collect()).collect();
    assert!(output.status.success(), "{}", said.join("\n"));
}
