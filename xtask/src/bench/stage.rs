//! What a run needs around it: PostgreSQL, an identity provider and the core as it is deployed, with somebody in the
//! edge's place who takes events.

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

/// Settings of PostgreSQL: room for the data in its own memory, a price of pages that are there or on a solid disk,
/// and no checkpoint within a measurement. Everything else, what makes commits durable above all, is as it comes.
const SETTINGS: &[&str] =
    &["shared_buffers=2GB", "random_page_cost=1.1", "max_wal_size=8GB", "checkpoint_timeout=30min"];

/// Everything around a run.
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
    /// Starts it all, but for the core.
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
        // What keeps single users from doing this.
        let options = options.var("SHARES_PER_HOUR_MAX", 1_000_000_000).var("CALLS_PER_MINUTE_MAX", 1_000_000_000);
        let mut stack = Stack::start(options).await.or_step_failed("Starting the core", START_AFRESH)?;
        stack.stop_core().await;
        let cluster_url = stack.info().database_url.clone();
        Ok(Self { dir, stack, cluster_url, sink, _lock: lock })
    }

    /// Loads the dataset where it is not there yet, and lets the core have it.
    pub async fn load(&mut self, dataset: Dataset) -> Result<()> {
        let url = dataset.load(&self.cluster_url, async |url| self.stack.migrate(url).await).await?;
        dataset.tidy(&url).await?;
        self.stack.move_core_to(url).await;
        Ok(())
    }

    /// Makes an empty database of that name, in place of one that may be there, and lets the core have it.
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

    /// What edge and core know each other by.
    pub fn secrets(&self) -> &Secrets {
        self.stack.secrets()
    }

    /// Where everything is. The edge is what takes events.
    pub fn info(&self) -> &StackInfo {
        self.stack.info()
    }

    /// A file of a run.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Starts the core and waits until it is ready.
    pub async fn start_core(&mut self) -> Result<()> {
        // A line per request: what the last core wrote would fill the disk in time.
        project::remove(&self.stack.logs().join("core.log"))?;
        self.stack.start_core().await
    }

    /// Ends the core as a deployment does.
    pub async fn stop_core(&mut self) {
        self.stack.stop_core().await;
    }

    /// Ends it all in order.
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

/// The versions and the machine that figures belong to.
pub fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!("{cpus} × {}", model.map_or(std::env::consts::ARCH, |(_, model)| model))
}
