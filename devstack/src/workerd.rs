//! Runs workerd by itself, without wrangler. Tests, benchmarks and self-hosted systems run the worker and its objects in this
//! way.
//!
//! Deliberately absent: rate limiters, which plain workerd does not have.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{
    child::{Child, Output},
    http::wait_until_ready,
    ports::Port,
    project,
    step::{OrStepFailed as _, StepFailed},
    tools,
};

/// The name of workerd's configuration file in a written worker's folder.
pub const CONFIG: &str = "config.capnp";

/// The variables and secrets that the worker reads from workerd's environment. The worker does not see one that is not set.
pub const VARIABLES: [&str; 11] = [
    "CORE_URL",
    "CORS_ORIGINS",
    "COUNT_WORK",
    "EVENT_SIGNING_SECRETS",
    "HEARTBEAT_MODE",
    "OIDC_AUDIENCE",
    "OIDC_ISSUER",
    "OIDC_JWKS_URL",
    "PRESENCE_GRACE_MS",
    "PRESENCE_TIMEOUT_MS",
    "SERVICE_TOKEN_SECRET",
];

/// A worker with one Durable Object class, `UserObject`, in the binding `USERS`.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Each module's name, by which other modules import it, and its file. The first module is the entry point.
    pub modules: Vec<(&'static str, PathBuf)>,
}

impl Worker {
    /// The edge's worker, as it is built in the folder `edge-worker` or a copy of it.
    pub fn ours(edge_worker: &Path) -> Self {
        let modules = ["entry.mjs", "src/frames.mjs", "build/index.js", "build/index_bg.wasm"];
        Self { modules: modules.map(|name| (name, edge_worker.join(name))).into() }
    }

    /// Writes everything that workerd needs into this folder: [`CONFIG`], and copies of the modules, so that a later build does
    /// not change them.
    ///
    /// # Errors
    ///
    /// If a module is missing, or the folder cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        for (name, path) in &self.modules {
            let copy = dir.join("modules").join(name);
            project::make_dir(copy.parent().unwrap_or(dir))?;
            fs::copy(path, &copy).with_context(|| format!("cannot read {}", path.display()))?;
        }
        let config = dir.join(CONFIG);
        fs::write(&config, self.config(&compatibility_date()?))
            .with_context(|| format!("cannot write {}", config.display()))
    }

    /// The configuration, in Cap'n Proto's text form. It holds nothing of a deployment: variables and secrets come from the
    /// environment, and the command line sets the address and the folder of the objects.
    fn config(&self, compatibility_date: &str) -> String {
        let (mut modules, mut bindings) = (String::new(), String::new());
        for (name, _) in &self.modules {
            let kind = if name.ends_with(".wasm") { "wasm" } else { "esModule" };
            let file = text(&format!("modules/{name}"));
            let _ = writeln!(modules, "    (name = {}, {kind} = embed {file}),", text(name));
        }
        for name in VARIABLES {
            let _ = writeln!(bindings, "    (name = {0}, fromEnvironment = {0}),", text(name));
        }
        format!(
            r#"using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "worker", worker = .worker),
    (name = "objects", disk = (writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", http = (), service = "worker")],
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
            date = text(compatibility_date),
        )
    }
}

/// Writes the built edge worker, its configuration and workerd itself into this folder. `DIR/workerd serve DIR/config.capnp` runs
/// it.
///
/// # Errors
///
/// If a file is missing, or the folder cannot be written.
pub fn bundle(dir: &Path) -> Result<()> {
    Worker::ours(&project::root().join("edge-worker")).write(dir)?;
    let copy = dir.join("workerd");
    fs::copy(program()?, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(())
}

/// Starts the worker that was written to `dir`, and waits until it answers on `port`. The storage of its objects is in the folder
/// `objects`. `variables` are its environment variables.
///
/// # Errors
///
/// If it ends by itself, or does not answer within half a minute.
pub async fn start(
    name: &str,
    dir: &Path,
    objects: &Path,
    port: &Port,
    variables: &[(&str, &str)],
    log: PathBuf,
) -> Result<Child> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let advice = "read its words above; `cargo xtask build-edge` builds our worker anew";
    let start = async {
        project::make_dir(objects)?;
        let objects = fs::canonicalize(objects)?;
        let mut workerd = project::command(program()?);
        workerd.arg("serve").arg(dir.join(CONFIG));
        workerd.arg("--socket-addr").arg(format!("http=127.0.0.1:{}", port.number()));
        workerd.arg("--directory-path").arg(format!("objects={}", objects.display()));
        workerd.envs(variables.iter().copied());
        let mut child = Child::start(name, workerd, Output::Log(log))?;
        wait_until_ready(&format!("{}/healthz", port.url()), &mut child, PATIENCE).await?;
        Ok::<_, anyhow::Error>(child)
    };
    start.await.or_step_failed(&format!("Starting workerd with {name}"), advice)
}

/// A text in Cap'n Proto's syntax, which is the same as JSON's.
fn text(value: &str) -> Value {
    Value::from(value)
}

fn program() -> Result<PathBuf> {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => "linux-64",
        ("linux", "aarch64") => "linux-arm64",
        ("macos", "x86_64") => "darwin-64",
        ("macos", "aarch64") => "darwin-arm64",
        (os, arch) => bail!("npm has no workerd for {os} on {arch}"),
    };
    let path = tools::npm_file(&format!("@cloudflare/workerd-{platform}/bin/workerd"));
    if !path.exists() {
        let advice = "remove the folder node_modules and run the command again";
        bail!(StepFailed::new("Looking for workerd", format!("{} is missing", path.display()), advice));
    }
    Ok(path)
}

/// The compatibility date that the worker is deployed with, so that it behaves the same here.
fn compatibility_date() -> Result<String> {
    setting("compatibility_date")
}

/// The first setting of that name in `wrangler.toml`, which is the one for development.
pub(crate) fn setting(name: &str) -> Result<String> {
    let text = fs::read_to_string(project::root().join("wrangler.toml")).context("cannot read wrangler.toml")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ")?.split('"').nth(1));
    Ok(value.with_context(|| format!("wrangler.toml names no {name}"))?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_holds_nothing_of_a_deployment() {
        let config = Worker::ours(Path::new("/checkout/edge-worker")).config("2026-01-01");
        assert!(config.contains("compatibilityDate = \"2026-01-01\""), "{config}");
        assert!(config.contains("wasm = embed \"modules/build/index_bg.wasm\""), "{config}");
        assert!(config.contains("(name = \"SERVICE_TOKEN_SECRET\", fromEnvironment = \"SERVICE_TOKEN_SECRET\")"));
        assert!(!config.contains("/checkout"), "{config}");
    }

    #[test]
    fn the_worker_runs_with_the_date_that_it_is_deployed_with() {
        assert_eq!(compatibility_date().unwrap().len(), "2026-01-01".len());
        assert!(setting("CORS_ORIGINS").unwrap().starts_with("http://localhost:"));
    }
}
