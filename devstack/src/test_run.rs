//! Shared by `cargo xtask test` and the tests: names of environment variables, the time-outs of the shared stack, and the
//! database.

use std::{fs::File, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    ports::Port,
    postgres::{Durability, Postgres},
    project,
    step::OrStepFailed as _,
    tools,
};

/// The environment variable with the path of the `stack.json` of the stack that tests share.
pub const STACK: &str = "PAGENOW_TEST_STACK";

/// The environment variable with the path of the S3 server that tests of profile images start.
pub const S3_SERVER: &str = "PAGENOW_S3_SERVER";

/// The environment variable with the path of schemathesis, which checks the core against its OpenAPI document.
pub const SCHEMATHESIS: &str = "PAGENOW_SCHEMATHESIS";

/// The presence time-out of the shared stack. It is short, so that a test can wait for it.
pub const TIMEOUT: Duration = Duration::from_secs(4);

/// The grace of the shared stack. It is short too, but longer than a reconnect takes on a busy machine.
pub const GRACE: Duration = Duration::from_secs(2);

/// The PostgreSQL for tests: the one that `DATABASE_URL` names, or a cluster in `.dev/test`.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    /// The cluster, and the lock on its folder.
    own: Option<(Postgres, File)>,
}

impl TestDatabase {
    /// Starts the cluster in `.dev/test`, unless `DATABASE_URL` names another one. Waits until no other run uses it.
    pub async fn start() -> Result<Self> {
        if let Ok(url) = std::env::var("DATABASE_URL") {
            return Ok(Self { url, own: None });
        }
        tools::ensure_npm_packages().await?;
        let dir = test_dir();
        project::make_dir(&dir)?;
        let lock = File::create(dir.join("lock")).context("cannot make a lock")?;
        project::take(&lock, "Waiting for another run to be done with the test database").await?;
        let port = Port::choose("PostgreSQL", 0, "")?;
        let log = dir.join("logs/postgres.log");
        let advice = "remove .dev/test to start afresh, or set DATABASE_URL to a PostgreSQL of your own (15 or newer)";
        let postgres = Postgres::start(&dir.join("postgres"), &port, Durability::None, &[], log)
            .await
            .or_step_failed("Starting PostgreSQL", advice)?;
        Ok(Self { url: postgres.url().to_owned(), own: Some((postgres, lock)) })
    }

    /// The URL of a database whose user may create others.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the cluster if it was started here.
    pub async fn stop(self) {
        if let Some((postgres, _lock)) = self.own {
            postgres.stop().await;
        }
    }
}

/// The folder for everything that a run of the tests keeps.
pub fn test_dir() -> PathBuf {
    project::dev_dir().join("test")
}
