//! The environment of a run: PostgreSQL, an OIDC provider, and the core as it is deployed. In place of the edge, a sink takes the
//! core's events.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use devstack::{
    build::Profile,
    child::{Child, Output},
    http::wait_until_ready,
    ports::Port,
    postgres::{self, Durability},
    project,
    secrets::Secrets,
    stack::{Database, Edge, Stack, StackInfo, StackOptions},
    step::OrStepFailed as _,
    tools,
};
use rustix::process::Signal;

use crate::bench::dataset::Dataset;

const START_AFRESH: &str = "remove .dev/bench to start afresh";

/// Settings of PostgreSQL: memory for all data, a cost of random reads that fits memory or a solid-state disk, and no checkpoint
/// during a measurement. All other settings are the defaults, above all those that make commits durable.
const SETTINGS: &[&str] =
    &["shared_buffers=2GB", "random_page_cost=1.1", "max_wal_size=8GB", "checkpoint_timeout=30min"];

/// The running environment.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    stack: Stack,
    /// The database that the cluster starts with, in which others are made.
    cluster_url: String,
    sink: Child,
    _lock: File,
}

impl Stage {
    /// Starts everything except the core.
    pub async fn start(reset: bool) -> Result<Self> {
        let dir = project::dev_dir().join("bench");
        project::make_dir(&dir)?;
        let lock = File::create(dir.join("lock")).context("cannot make a lock")?;
        project::take(&lock, "Waiting for another benchmark to end").await?;
        if reset {
            project::remove(&dir.join("postgres"))?;
        }
        tools::ensure_npm_packages().await?;
        let sink_port = Port::choose("the events", 0, "")?;
        let sink = start_sink(&dir, &sink_port).await?;
        let database = Database::Own { durability: Durability::Full, settings: SETTINGS };
        let options = StackOptions {
            edge: Edge::Elsewhere(sink_port.url()),
            build: Profile::Release,
            ..StackOptions::new(&dir, database)
        };
        // Lifts the limits of a single user, which the load would exceed.
        let options = options.var("SHARES_PER_HOUR_MAX", 1_000_000_000).var("CALLS_PER_MINUTE_MAX", 1_000_000_000);
        let mut stack = Stack::start(options).await.or_step_failed("Starting the core", START_AFRESH)?;
        stack.stop_core().await;
        let cluster_url = stack.info().database_url.clone();
        Ok(Self { dir, stack, cluster_url, sink, _lock: lock })
    }

    /// Loads the dataset if it is missing. The core serves from it at its next start.
    pub async fn load(&mut self, dataset: Dataset) -> Result<()> {
        let url = dataset.load(&self.cluster_url, async |url| self.stack.migrate(url).await).await?;
        dataset.tidy(&url).await?;
        self.stack.move_core_to(url).await;
        Ok(())
    }

    /// Makes an empty database of that name, in place of an existing one. The core serves from it at its next start.
    pub async fn use_empty_database(&mut self, name: &str) -> Result<()> {
        let make = async {
            postgres::drop_database(&self.cluster_url, name).await?;
            postgres::create_database(&self.cluster_url, name).await
        };
        let url = make.await.or_step_failed("Making a database", START_AFRESH)?;
        self.stack.migrate(&url).await?;
        self.stack.move_core_to(url).await;
        Ok(())
    }

    /// The secrets that edge and core share.
    pub fn secrets(&self) -> &Secrets {
        self.stack.secrets()
    }

    /// The addresses of everything. The edge's address is that of the sink.
    pub fn info(&self) -> &StackInfo {
        self.stack.info()
    }

    /// The path of a file of the run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts the core and waits until it is ready.
    pub async fn start_core(&mut self) -> Result<()> {
        // The core logs a line for each request. Without this, its log would fill the disk in the end.
        project::remove(&self.stack.logs().join("core.log"))?;
        self.stack.start_core().await
    }

    /// Ends the core as a deployment does.
    pub async fn stop_core(&mut self) {
        self.stack.stop_core().await;
    }

    /// Ends everything in order.
    pub async fn stop(self) -> Result<()> {
        self.sink.end(Signal::TERM, Duration::from_secs(2)).await;
        self.stack.stop().await
    }
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

/// The processors of this machine, to which the figures belong.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{cpus} × {}", model.map_or(std::env::consts::ARCH, |(_, model)| model))
}
