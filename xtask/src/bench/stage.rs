//! What a run needs around it: PostgreSQL, an identity provider, something that takes events, and the core itself
//! as it is deployed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use devstack::{
    child::{Child, Output},
    http::wait_until_ready,
    ports::Port,
    postgres::{self, Durability, Postgres},
    project,
    secrets::Secrets,
    stack::{self, StackInfo},
    step::{OrStepFailed as _, Step, say},
    tools,
};
use rustix::process::Signal;

use crate::bench::crowd::Crowd;

const START_AFRESH: &str = "remove .dev/bench to start afresh";

/// Settings of PostgreSQL: room for the data in its own memory, a price of pages that are there or on a solid disk,
/// and no checkpoint within a measurement. Everything else, what makes commits durable above all, is as it comes.
const SETTINGS: [&str; 4] =
    ["shared_buffers=2GB", "random_page_cost=1.1", "max_wal_size=8GB", "checkpoint_timeout=30min"];

/// Everything but the core, running.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    core: Port,
    metrics: Port,
    secrets: Secrets,
    info: StackInfo,
    postgres: Postgres,
    oidc: Child,
    sink: Child,
    _lock: File,
}

impl Stage {
    /// Starts it all. The database it names is the cluster's own, with nothing in it.
    pub async fn start(reset: bool) -> Result<Self> {
        let dir = project::dev_dir().join("bench");
        project::make_dir(&dir)?;
        let lock = File::create(dir.join("lock")).context("cannot make a lock")?;
        project::take(&lock, "Waiting for another benchmark to end").await?;
        tools::ensure_npm_packages().await?;
        build_core().await?;
        project::remove(&dir.join("logs"))?;
        if reset {
            project::remove(&dir.join("postgres"))?;
        }
        say("Starting PostgreSQL, the OIDC provider and what takes events");
        let port = |what| Port::choose(what, 0, "");
        let (core, metrics, sink_port) = (port("the core")?, port("the metrics")?, port("the events")?);
        let (postgres_port, oidc_port) = (port("PostgreSQL")?, port("the OIDC provider")?);
        let log = dir.join("logs/postgres.log");
        let postgres = Postgres::start(&dir.join("postgres"), &postgres_port, Durability::Full, &SETTINGS, log)
            .await
            .or_step_failed("Starting PostgreSQL", START_AFRESH)?;
        let (oidc, issuer) = stack::start_oidc(&dir, &oidc_port).await?;
        let sink = start_sink(&dir, &sink_port).await?;
        Ok(Self {
            info: StackInfo {
                edge_url: sink_port.url(),
                core_url: core.url(),
                issuer: issuer.issuer,
                jwks_url: issuer.jwks_url,
                audience: issuer.audience,
                database_url: postgres.url().to_owned(),
            },
            secrets: Secrets::load_or_make(&dir.join("secrets.json"))?,
            dir,
            core,
            metrics,
            postgres,
            oidc,
            sink,
            _lock: lock,
        })
    }

    /// Loads the crowd where it is not there yet, and lets the core have it.
    pub async fn load(&mut self, crowd: Crowd) -> Result<()> {
        self.info.database_url = crowd.load(self.postgres.url(), async |url| self.migrate(url).await).await?;
        crowd.tidy(&self.info.database_url).await
    }

    /// Makes an empty database of that name, in place of one that may be there, and lets the core have it.
    pub async fn use_empty_database(&mut self, name: &str) -> Result<()> {
        let make = async {
            postgres::drop_database(self.postgres.url(), name).await?;
            postgres::create_database(self.postgres.url(), name).await
        };
        let url = make.await.or_step_failed("Making a database", START_AFRESH)?;
        self.migrate(&url).await?;
        self.info.database_url = url;
        Ok(())
    }

    /// What edge and core know each other by.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Where everything is. The edge is what takes events.
    pub fn info(&self) -> &StackInfo {
        &self.info
    }

    /// A file of a run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    async fn migrate(&self, url: &str) -> Result<()> {
        let mut command = self.core_command("migrate");
        command.env("DATABASE_URL", url);
        let mut child = Child::start("core-api migrate", command, Output::Log(self.dir.join("logs/migrate.log")))?;
        let status = child.wait().await?;
        if status.success() {
            return Ok(());
        }
        Err(anyhow::anyhow!(child.obituary(status))).or_step_failed("Running the migrations", "read its words above")
    }

    fn core_command(&self, what: &str) -> tokio::process::Command {
        let info = &self.info;
        let mut core = project::command(core_program());
        core.arg(what).env("RUST_LIB_BACKTRACE", "0");
        core.env("DATABASE_URL", &info.database_url);
        core.env("LISTEN_ADDR", format!("127.0.0.1:{}", self.core.number()));
        core.env("METRICS_ADDR", format!("127.0.0.1:{}", self.metrics.number()));
        core.env("OIDC_ISSUER", &info.issuer).env("OIDC_JWKS_URL", &info.jwks_url);
        core.env("OIDC_AUDIENCE", &info.audience).env("EDGE_URL", &info.edge_url);
        core.env("EVENT_SIGNING_SECRET", &self.secrets.event_signing_secret);
        core.env("SERVICE_TOKEN_SECRET", &self.secrets.service_token_secret);
        // What keeps single users from doing this.
        core.env("SHARES_PER_HOUR_MAX", "1000000000").env("CALLS_PER_MINUTE_MAX", "1000000000");
        core
    }

    /// Starts the core and waits until it is ready.
    pub async fn start_core(&self) -> Result<Child> {
        let log = self.dir.join("logs/core.log");
        // A line per request: what the last core wrote would fill the disk in time.
        project::remove(&log)?;
        let advice = "read its words above; `core-api serve --help` explains its configuration";
        let start = async {
            let mut child = Child::start("core-api", self.core_command("serve"), Output::Log(log))?;
            let ready = format!("{}/readyz", self.info.core_url);
            wait_until_ready(&ready, &mut child, Duration::from_secs(60)).await?;
            anyhow::Ok(child)
        };
        start.await.or_step_failed("Starting core-api", advice)
    }

    /// Ends it all in order.
    pub async fn stop(self) {
        self.oidc.end(Signal::TERM, Duration::from_secs(2)).await;
        self.sink.end(Signal::TERM, Duration::from_secs(2)).await;
        self.postgres.stop().await;
    }
}

/// Ends the core as a deployment does.
pub async fn stop_core(core: Child) {
    core.end(Signal::TERM, Duration::from_secs(30)).await;
}

fn core_program() -> PathBuf {
    project::target_dir().join("release/core-api")
}

async fn build_core() -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["build", "--release", "--package", "core-api"]);
    let step = Step {
        name: "build-core-release",
        about: "Building core-api for release (minutes the first time)",
        advice: "read the compiler's words above; `cargo build --release -p core-api` repeats them",
    };
    step.run(cargo).await
}

async fn start_sink(dir: &Path, port: &Port) -> Result<Child> {
    let mut node = project::command(tools::node().await?);
    node.arg(project::root().join("dev/event-sink.mjs")).arg(port.number().to_string());
    let start = async {
        let mut child = Child::start("what takes events", node, Output::Log(dir.join("logs/sink.log")))?;
        wait_until_ready(&port.url(), &mut child, Duration::from_secs(30)).await?;
        anyhow::Ok(child)
    };
    start.await.or_step_failed("Starting what takes events", "read its words above")
}

/// The versions and the machine that figures belong to.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{cpus} × {}", model.map_or(std::env::consts::ARCH, |(_, model)| model))
}
