//! What a run of the tests shares with its tests: names of environment variables, the time-outs of the shared stack, and
//! the database.

use std::{fs::File, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    ports::Port,
    postgres::{Durability, Postgres},
    project,
    step::OrStepFailed as _,
    tools,
};

/// Names the `stack.json` of the stack that tests share.
pub const STACK: &str = "PAGENOW_TEST_STACK";

/// Names the program of the S3 server that tests of profile images start.
pub const S3_SERVER: &str = "PAGENOW_S3_SERVER";

/// Names the program that holds the core against its document.
pub const SCHEMATHESIS: &str = "PAGENOW_SCHEMATHESIS";

/// The presence time-out of the shared stack, short enough for a test to wait out.
pub const TIMEOUT: Duration = Duration::from_secs(4);

/// Its grace: as short, but longer than a reconnect takes on a machine with much else to do.
pub const GRACE: Duration = Duration::from_secs(2);

/// A PostgreSQL for tests: the one `DATABASE_URL` names, or a cluster kept in `.dev/test`.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
    /// The cluster, and the lock on its folder.
    own: Option<(Postgres, File)>,
}

impl TestDatabase {
    /// Starts the cluster where `DATABASE_URL` names none. Waits until no other run uses it.
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

    /// A database whose user may make others.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Ends the cluster, if it is ours.
    pub async fn stop(self) {
        if let Some((postgres, _lock)) = self.own {
            postgres.stop().await;
        }
    }
}

/// Everything that a run of the tests keeps.
pub fn test_dir() -> PathBuf {
    project::dev_dir().join("test")
}
