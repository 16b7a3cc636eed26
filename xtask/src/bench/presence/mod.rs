//! `cargo xtask bench presence`: measures how fast friends see a page change, and what sockets cost. The edge is compared with a
//! minimal worker that does the same without rules, with a minimal server, and with Debian's ejabberd if it is installed.
//!
//! Everything runs on this machine and shares its processors, so only figures of the same run can be compared. The servers take
//! turns, change by change where possible, so that other work of the machine affects all of them alike.

mod ejabberd;
mod report;
mod towns;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use devstack::{
    build::{self, Profile},
    child::{Child, Output},
    http,
    ports::Port,
    project,
    step::{self, OrStepFailed as _, Step, StepFailed, say},
    tools,
    workerd::{self, Worker},
};
use loadgen::{Connected, Town};
use rustix::process::Signal;
use serde::de::DeserializeOwned;
use shared::internal::ObjectCounts;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::bench::{
    presence::{
        ejabberd::{Ejabberd, Installed},
        report::{Reconnected, Report},
    },
    stage::{self, Stage},
};

/// The edge, as it is deployed.
const OURS: &str = "ours";
/// Another build of the edge, which `--against` names.
const BEFORE: &str = "before";
/// The minimal worker, `dev/bench/least.mjs`.
const LEAST: &str = "least";
/// The minimal server, `loadgen serve`.
const FLOOR: &str = "floor";
/// ejabberd, an XMPP server. Its users show their pages as their status.
const EJABBERD: &str = "ejabberd";

/// The figures that can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    /// Time from a page change until the last friend has it.
    Warm,
    /// The same time while all objects hibernate.
    Hibernated,
    /// The most page changes per second that still arrive in time.
    Rate,
    /// Memory and processor time of idle sockets.
    Idle,
    /// Time for all users to reconnect at once after a restart of the server.
    Reconnect,
}

/// The options of `bench presence`.
#[derive(Debug, Args)]
pub struct Presence {
    /// Measure only this figure. Repeatable.
    #[arg(long, value_name = "FIGURE")]
    only: Vec<Figure>,
    /// Numbers of friends to which a page change is sent.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [10, 50, 150, 500],
        value_parser = sizes_parser())]
    friends: Vec<u64>,
    /// Page changes that are measured for `warm`, per server and number of friends.
    #[arg(long, value_name = "N", default_value_t = 200)]
    changes: u64,
    /// Page changes that are measured for `hibernated`, per server and number of friends; each takes 12 seconds of quiet.
    #[arg(long, value_name = "N", default_value_t = 20)]
    hibernated_changes: u64,
    /// Friends of each user who turns pages for `rate`.
    #[arg(long, value_name = "N", default_value_t = 150)]
    rate_friends: u64,
    /// Users who turn pages for `rate`. The edge lets each through with one change a second.
    #[arg(long, value_name = "N", default_value_t = 150)]
    rate_users: u64,
    /// The 99th percentile up to which changes count as in time, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 250)]
    late_ms: u64,
    /// Seconds for which each number of changes per second is tried.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    rate_seconds: u64,
    /// Sockets for `idle`, each of another user.
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    sockets: u64,
    /// Seconds for which these sockets only send heartbeats.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    idle_seconds: u64,
    /// Users who reconnect at once for `reconnect`.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    reconnecting: u64,
    /// Friends of each user for `idle` and `reconnect`, all of them connected.
    #[arg(long, value_name = "N", default_value_t = 20)]
    crowd_friends: u64,
    /// How often `idle` and `reconnect` are measured for each server.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    turns: u64,
    /// A folder with another build of the edge to compare with: a copy of `edge-worker` with `entry.mjs`, `src` and `build`.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
    /// Where to write the figures as JSON [default: .dev/bench/presence.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Parses a number of friends. The core allows a thousand at most.
fn sizes_parser() -> clap::builder::RangedU64ValueParser {
    clap::value_parser!(u64).range(1..=1_000)
}

/// Time without calls after which the runtime hibernates objects, and a little more.
const REST: Duration = Duration::from_millis(12_000);

/// The number of users who turn pages in turn, so that none of them reaches the rate limit.
const CHANGERS: usize = 10;

/// Measures, prints the table and writes the JSON.
pub async fn run(presence: Presence) -> Result<()> {
    let mut stage = Stage::start(false).await?;
    let result = measure(&presence, &mut stage).await;
    stage.stop().await?;
    result
}

async fn measure(presence: &Presence, stage: &mut Stage) -> Result<()> {
    build::edge(Profile::Release).await?;
    build_loadgen().await?;
    let least = bundle_least(stage).await?;
    stage.use_empty_database("presence").await?;
    stage.start_core().await?;
    let bench = Measurement { presence, stage, least, ejabberd: Installed::find() };
    let report = bench.run().await;
    stage.stop_core().await;
    let report = report?;
    let path = presence.json.clone().unwrap_or_else(|| stage.file("presence.json"));
    std::fs::write(&path, serde_json::to_string_pretty(&report)?)
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("\n{}", report.table());
    say(&format!("The same as JSON: {}", path.display()));
    Ok(())
}

struct Measurement<'a> {
    presence: &'a Presence,
    stage: &'a Stage,
    /// The minimal worker in one file.
    least: PathBuf,
    /// The installed ejabberd, if there is one.
    ejabberd: Option<Installed>,
}

/// A server under measurement.
enum Server {
    Worker(&'static str, Child, Port),
    Floor(Child, Port),
    Ejabberd(Ejabberd),
}

impl Measurement<'_> {
    async fn run(&self) -> Result<Report> {
        let mut report = Report { machine: stage::machine(), ..Report::default() };
        if self.ejabberd.is_none() {
            report.not_measured.push(format!("{EJABBERD}: not measured; `apt-get install ejabberd` adds it"));
        }
        if self.is_wanted(Figure::Warm) {
            say("From a page change until the last friend has it, warm");
            report.warm = self.fan_out(&self.servers(), self.presence.changes, 20, Duration::ZERO).await?;
        }
        if self.is_wanted(Figure::Hibernated) {
            say("The same, hibernated");
            // Only the objects of workers hibernate. The minimal server is measured too, to show what the wake adds.
            let mut servers = self.servers();
            servers.retain(|name| *name != EJABBERD);
            report.hibernated = self.fan_out(&servers, self.presence.hibernated_changes, 1, REST).await?;
        }
        if self.is_wanted(Figure::Rate) {
            say("Page changes per second");
            report.rate = self.rate().await?;
        }
        if self.is_wanted(Figure::Idle) {
            say("Idle sockets");
            report.idle = self.idle().await?;
        }
        if self.is_wanted(Figure::Reconnect) {
            say("Reconnecting at once");
            report.reconnect = self.reconnect().await?;
        }
        Ok(report)
    }

    fn servers(&self) -> Vec<&'static str> {
        let before = self.presence.against.is_some().then_some(BEFORE);
        let ejabberd = self.ejabberd.is_some().then_some(EJABBERD);
        [OURS].into_iter().chain(before).chain([LEAST, FLOOR]).chain(ejabberd).collect()
    }

    fn is_wanted(&self, figure: Figure) -> bool {
        self.presence.only.is_empty() || self.presence.only.contains(&figure)
    }

    async fn fan_out(
        &self,
        servers: &[&'static str],
        changes: u64,
        warm_up: u64,
        rest: Duration,
    ) -> Result<Vec<loadgen::FanOut>> {
        let sizes: Vec<usize> = self.presence.friends.iter().filter_map(|size| usize::try_from(*size).ok()).collect();
        let town = towns::settle(towns::onlookers(&sizes, CHANGERS), self.stage).await?;
        let args = [("--changes", changes), ("--warm-up", warm_up), ("--rest-ms", millis(rest))];
        self.side_by_side(servers, "fan-out", &town, &args).await
    }

    async fn rate(&self) -> Result<Vec<loadgen::Rate>> {
        let (friends, users) =
            (usize::try_from(self.presence.rate_friends)?, usize::try_from(self.presence.rate_users)?);
        let town = towns::settle(towns::onlookers(&[friends], users), self.stage).await?;
        // The edge lets through one change a second from each user. This is a little less than that for all users.
        let most = self.presence.rate_users * 9 / 10;
        let args = [
            ("--p99-ms-max", self.presence.late_ms),
            ("--seconds", self.presence.rate_seconds),
            ("--first-per-s", most.min(10)),
            ("--most-per-s", most),
        ];
        self.side_by_side(&self.servers(), "rate", &town, &args).await
    }

    async fn idle(&self) -> Result<Vec<loadgen::Idle>> {
        let town = towns::settle(self.circle(self.presence.sockets)?, self.stage).await?;
        let args =
            [("--rest-ms", millis(REST)), ("--beats-every-ms", 60_000), ("--seconds", self.presence.idle_seconds)];
        let mut found = Vec::new();
        for _ in 0..self.presence.turns {
            for name in self.servers() {
                let server = self.start(name, &town, false, false).await?;
                let told: Result<Vec<loadgen::Idle>> = self.loadgen("idle", &town, &args, &[&server]).await;
                server.stop().await;
                found.extend(told?);
            }
        }
        Ok(found)
    }

    async fn reconnect(&self) -> Result<Vec<Reconnected>> {
        let town = towns::settle(self.circle(self.presence.reconnecting)?, self.stage).await?;
        let mut found = Vec::new();
        for _ in 0..self.presence.turns {
            for name in self.servers() {
                say(&format!("  {name}"));
                found.push(self.reconnect_to(name, &town).await?);
            }
        }
        Ok(found)
    }

    /// Connects all users, restarts the server as a deployment does, and lets all users reconnect.
    async fn reconnect_to(&self, name: &'static str, town: &Path) -> Result<Reconnected> {
        let server = self.start(name, town, false, true).await?;
        let mut loadgen = self.loadgen_command("connect", town, &[], &[&server]);
        loadgen.arg("--hold").stdout(Stdio::piped()).kill_on_drop(true);
        let mut loadgen = loadgen.spawn().context("cannot run the loadgen")?;
        let mut lines = BufReader::new(loadgen.stdout.take().context("the loadgen says nothing")?).lines();
        let connected = lines.next_line().await?.is_some_and(|line| line == "connected");
        server.kill().await;
        loadgen.wait().await?;
        if !connected {
            bail!(StepFailed::new("Connecting everybody", "somebody could not", "read the loadgen's words above"));
        }
        let server = self.start(name, town, true, true).await?;
        let told: Result<Vec<Connected>> = self.loadgen("connect", town, &[], &[&server]).await;
        let object_requests = self.object_requests(&server, town).await;
        server.stop().await;
        let connected = told?.pop().context("the loadgen found nothing")?;
        Ok(Reconnected { connected, object_requests: object_requests? })
    }

    async fn object_requests(&self, server: &Server, town: &Path) -> Result<Option<u64>> {
        let client = http::client()?;
        let Server::Worker(name, _, port) = server else { return Ok(None) };
        if *name == LEAST {
            let answer = client.get(format!("{}/requests", port.url())).send().await?;
            return Ok(Some(answer.error_for_status()?.json().await?));
        }
        let town: Town = serde_json::from_str(&std::fs::read_to_string(town)?)?;
        let mut requests = 0;
        for citizen in town.people {
            let answer = client.get(format!("{}/internal/counts/{}", port.url(), citizen.id)).send().await?;
            let counts: ObjectCounts = answer.error_for_status()?.json().await?;
            requests += counts.requests;
        }
        Ok(Some(requests))
    }

    fn circle(&self, people: u64) -> Result<Town> {
        Ok(towns::circle(usize::try_from(people)?, usize::try_from(self.presence.crowd_friends)?))
    }

    /// Lets the loadgen measure all these servers in one run, in which they take turns.
    async fn side_by_side<T: DeserializeOwned>(
        &self,
        names: &[&'static str],
        what: &str,
        town: &Path,
        args: &[(&str, u64)],
    ) -> Result<T> {
        let mut servers = Vec::new();
        for name in names {
            servers.push(self.start(name, town, false, false).await?);
        }
        let all: Vec<&Server> = servers.iter().collect();
        let told = self.loadgen(what, town, args, &all).await;
        for server in servers {
            server.stop().await;
        }
        told
    }

    async fn loadgen<T: DeserializeOwned>(
        &self,
        what: &str,
        town: &Path,
        args: &[(&str, u64)],
        servers: &[&Server],
    ) -> Result<T> {
        let mut loadgen = self.loadgen_command(what, town, args, servers);
        loadgen.stdout(Stdio::piped()).kill_on_drop(true);
        let output = loadgen.spawn().context("cannot run the loadgen")?.wait_with_output().await?;
        if !output.status.success() {
            let advice = format!("read its words above, and the logs under {}", self.stage.file("").display());
            bail!(StepFailed::new("Measuring with the loadgen", output.status, advice));
        }
        serde_json::from_slice(&output.stdout).context("the loadgen told something else than was asked")
    }

    fn loadgen_command(
        &self,
        what: &str,
        town: &Path,
        args: &[(&str, u64)],
        servers: &[&Server],
    ) -> tokio::process::Command {
        let mut loadgen = project::command(loadgen_program());
        loadgen.arg(what).arg("--town").arg(town).stdin(Stdio::null());
        for server in servers {
            loadgen.arg("--at").arg(server.name_address_process());
        }
        for (name, value) in args {
            loadgen.arg(name).arg(value.to_string());
        }
        loadgen
    }

    async fn start(&self, name: &'static str, town: &Path, keep: bool, counts: bool) -> Result<Server> {
        let dir = self.stage.file("servers");
        if name == FLOOR {
            let port = Port::choose("the least server", 0, "")?;
            let mut command = project::command(loadgen_program());
            command.arg("serve").arg("--town").arg(town).arg("--port").arg(port.number().to_string());
            let mut child = Child::start(name, command, Output::Log(dir.join("floor.log")))?;
            wait_for_port(&port, &mut child).await?;
            return Ok(Server::Floor(child, port));
        }
        if let (EJABBERD, Some(installed)) = (name, &self.ejabberd) {
            return Ok(Server::Ejabberd(installed.start(&dir.join(name), town, keep).await?));
        }
        let worker = match (name, &self.presence.against) {
            (LEAST, _) => Worker { modules: vec![("least.mjs", self.least.clone())] },
            (BEFORE, Some(dir)) => Worker::ours(dir),
            _ => Worker::ours(&project::root().join("edge-worker")),
        };
        let (dir, objects) = (dir.join(name), objects_dir(&dir).join(name));
        if !keep {
            project::remove(&dir)?;
            project::remove(&objects)?;
        }
        worker.write(&dir)?;
        let (info, secrets) = (self.stage.info(), self.stage.secrets());
        let counts = counts.to_string();
        let variables = [
            ("CORE_URL", info.core_url.as_str()),
            ("OIDC_ISSUER", &info.issuer.issuer),
            ("OIDC_JWKS_URL", &info.issuer.jwks_url),
            ("OIDC_AUDIENCE", &info.issuer.audience),
            ("EVENT_SIGNING_SECRETS", &secrets.event_signing_secret),
            ("SERVICE_TOKEN_SECRET", &secrets.service_token_secret),
            ("COUNT_WORK", &counts),
        ];
        let port = Port::choose("a worker", 0, "")?;
        let child = workerd::start(name, &dir, &objects, &port, &variables, dir.join("workerd.log")).await?;
        Ok(Server::Worker(name, child, port))
    }
}

/// The folder for the objects' storage. It is in memory if /dev/shm exists. workerd waits for the disk on the one thread that all
/// objects share. Where the edge is deployed this is not so, and the wait would hide the cost of the objects.
fn objects_dir(dir: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.join("pagenow-bench") } else { dir.join("objects") }
}

impl Server {
    /// The server as the loadgen's option `--at` takes it: NAME=ADDRESS@PROCESS.
    fn name_address_process(&self) -> String {
        let (name, address, process) = match self {
            Self::Worker(name, child, port) => (*name, address(port), child.id()),
            Self::Floor(child, port) => (FLOOR, address(port), child.id()),
            Self::Ejabberd(ejabberd) => (EJABBERD, ejabberd.address(), ejabberd.process()),
        };
        match process {
            Some(process) => format!("{name}={address}@{process}"),
            None => format!("{name}={address}"),
        }
    }

    async fn stop(self) {
        match self {
            Self::Worker(_, child, _) => child.end(Signal::TERM, Duration::from_secs(10)).await,
            Self::Floor(child, _) => child.end(Signal::TERM, Duration::from_secs(2)).await,
            Self::Ejabberd(ejabberd) => ejabberd.stop().await,
        }
    }

    async fn kill(self) {
        match self {
            Self::Worker(_, child, _) | Self::Floor(child, _) => child.kill().await,
            Self::Ejabberd(ejabberd) => ejabberd.kill().await,
        }
    }
}

fn address(port: &Port) -> String {
    format!("127.0.0.1:{}", port.number())
}

/// Waits until the child listens on the port. Fails if the child ends first, or takes longer than 30 seconds.
async fn wait_for_port(port: &Port, child: &mut Child) -> Result<()> {
    const TRIES: u32 = 600;
    for _ in 0..TRIES {
        if tokio::net::TcpStream::connect(("127.0.0.1", port.number())).await.is_ok() {
            return Ok(());
        }
        if let Some(status) = child.ended()? {
            bail!("{}", child.exit_report(status));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("nothing listens on port {}\n{}", port.number(), child.log_end())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn loadgen_program() -> PathBuf {
    project::target_dir().join("release/loadgen")
}

async fn build_loadgen() -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["build", "--release", "--package", "loadgen"]);
    let step = Step {
        name: "build-loadgen",
        about: "Building the loadgen of clients for release (a minute the first time)",
        advice: "read the compiler's words above; `cargo build --release -p loadgen` repeats them",
    };
    step.run(cargo).await
}

/// Bundles the minimal worker and its library into one module.
async fn bundle_least(stage: &Stage) -> Result<PathBuf> {
    let bundled = stage.file("least.mjs");
    let mut esbuild = project::command(tools::npm_file("esbuild/bin/esbuild"));
    esbuild.arg("dev/bench/least.mjs").args(["--bundle", "--format=esm", "--external:cloudflare:workers"]);
    esbuild.args(["--conditions=workerd", "--log-level=warning"]).arg(format!("--outfile={}", bundled.display()));
    let advice = "remove the folder node_modules and run the command again";
    step::read(esbuild).await.or_step_failed("Bundling dev/bench/least.mjs", advice)?;
    Ok(bundled)
}
