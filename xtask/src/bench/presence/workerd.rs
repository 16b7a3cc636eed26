//! workerd by itself, without wrangler in front: a worker and its objects as the configuration of this run has them.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use devstack::{
    child::{Child, Output},
    http::wait_until_ready,
    ports::Port,
    project,
    step::{OrStepFailed as _, StepFailed},
    tools,
};
use rustix::process::Signal;
use serde_json::Value;

/// A worker with one class of objects, `UserObject`, in the binding `USERS`.
#[derive(Debug)]
pub struct Worker {
    pub name: &'static str,
    /// The name that others import it by, and the file, of each module; the first is what is loaded.
    pub modules: Vec<(&'static str, PathBuf)>,
    /// Variables and secrets.
    pub vars: Vec<(String, String)>,
}

/// A running worker.
#[derive(Debug)]
pub struct Workerd {
    child: Child,
    port: Port,
    objects: PathBuf,
}

impl Workerd {
    /// Starts the worker in this folder and waits until it answers. Its objects are new unless `keep` says to go on
    /// with those that are there.
    pub async fn start(worker: &Worker, dir: &Path, keep: bool) -> Result<Self> {
        let dir = dir.join(worker.name);
        let advice = "read its words above; `cargo xtask build-edge` builds our worker anew";
        Self::start_in(worker, &dir, keep)
            .await
            .or_step_failed(&format!("Starting workerd with {}", worker.name), advice)
    }

    async fn start_in(worker: &Worker, dir: &Path, keep: bool) -> Result<Self> {
        let objects = objects_dir(dir).join(worker.name);
        if !keep {
            project::remove(dir)?;
            project::remove(&objects)?;
        }
        project::make_dir(&objects)?;
        let port = Port::choose("a worker", 0, "")?;
        let config = dir.join("config.capnp");
        project::write_private(&config, &worker.config(dir, &objects, &port)?)?;
        let mut workerd = project::command(program()?);
        workerd.arg("serve").arg(config);
        let log = Output::Log(dir.join("workerd.log"));
        let mut child = Child::start(worker.name, workerd, log)?;
        wait_until_ready(&format!("{}/healthz", port.url()), &mut child, Duration::from_secs(30)).await?;
        Ok(Self { child, port, objects })
    }

    /// Where it listens: an address and a port.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        self.port.url()
    }

    /// The number of its process.
    pub fn process(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it in order, and its objects with it.
    pub async fn stop(self) {
        self.child.end(Signal::TERM, Duration::from_secs(10)).await;
        // What is left is removed at the next start.
        let _ = project::remove(&self.objects);
    }

    /// Ends it as a crash does. Its objects stay.
    pub async fn kill(self) {
        self.child.kill().await;
    }
}

impl Worker {
    /// The configuration, in Cap'n Proto's text form. What is to be embedded is copied beside it, so that a build
    /// meanwhile changes nothing.
    fn config(&self, dir: &Path, objects: &Path, port: &Port) -> Result<String> {
        let mut modules = String::new();
        for (name, path) in &self.modules {
            let copy = dir.join("modules").join(name);
            project::make_dir(copy.parent().unwrap_or(dir))?;
            fs::copy(path, &copy).with_context(|| format!("cannot read {}", path.display()))?;
            let kind = if name.ends_with(".wasm") { "wasm" } else { "esModule" };
            let _ =
                writeln!(modules, "    (name = {}, {kind} = embed {}),", text(name), text(&format!("modules/{name}")));
        }
        let mut bindings = String::new();
        for (name, value) in &self.vars {
            let _ = writeln!(bindings, "    (name = {}, text = {}),", text(name), text(value));
        }
        Ok(format!(
            r#"using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "objects", disk = (path = {objects}, writable = true)),
    (name = "internet", network = (allow = ["public", "private"])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "worker")],
);

const worker :Workerd.Worker = (
  modules = [
{modules}  ],
  compatibilityDate = {date},
  bindings = [
    (name = "USERS", durableObjectNamespace = "UserObject"),
{bindings}  ],
  durableObjectNamespaces = [(className = "UserObject", uniqueKey = "UserObject", enableSql = true)],
  durableObjectStorage = (localDisk = "objects"),
);
"#,
            objects = text(&objects.to_string_lossy()),
            port = port.number(),
            date = text(&compatibility_date()?),
        ))
    }
}

/// Where objects keep what they write: in memory, where the machine has a folder there. workerd waits for the disk on
/// the one thread that all objects share, which is not so where they are deployed; it would hide what they cost.
fn objects_dir(dir: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.join("pagenow-bench") } else { dir.join("objects") }
}

/// A text as Cap'n Proto writes it, which is as JSON does.
fn text(value: &str) -> Value {
    Value::from(value)
}

fn program() -> Result<PathBuf> {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-64",
        ("macos", "aarch64") => "darwin-arm64",
        (os, arch) => anyhow::bail!("npm has no workerd for {os} on {arch}"),
    };
    let path = tools::npm_file(&format!("@cloudflare/workerd-{platform}/bin/workerd"));
    if !path.exists() {
        let advice = "remove the folder node_modules and run the command again";
        anyhow::bail!(StepFailed::new("Looking for workerd", format!("{} is missing", path.display()), advice));
    }
    Ok(path)
}

fn wrangler_toml() -> Result<String> {
    fs::read_to_string(project::root().join("wrangler.toml")).context("cannot read wrangler.toml")
}

fn compatibility_date() -> Result<String> {
    let text = wrangler_toml()?;
    let date = assignments(&text).find_map(|(name, value)| (name == "compatibility_date").then(|| value.to_owned()));
    date.context("wrangler.toml names no compatibility date")
}

/// The variables that every environment shares.
pub fn shared_vars() -> Result<Vec<(String, String)>> {
    let text = wrangler_toml()?;
    let (_, after) = text.split_once("[vars]").context("wrangler.toml has no variables")?;
    let section = after.split("\n[").next().unwrap_or(after);
    Ok(assignments(section).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Lines of the form `name = "value"`.
fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| {
        let (name, value) = line.split_once(" = ")?;
        let value = value.strip_prefix('"')?.split('"').next()?;
        Some((name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_from_wrangler_toml_what_the_worker_runs_with() {
        assert_eq!(compatibility_date().unwrap().len(), "2026-01-01".len());
        let vars = shared_vars().unwrap();
        assert!(vars.iter().any(|(name, value)| name == "HEARTBEAT_MODE" && value == "auto"), "{vars:?}");
    }
}
