//! The two servers' programs, built only when something they are made of has changed.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    project,
    step::{Step, StepFailed},
    tools,
};

/// Set where both servers are built already, so that whoever would build them first need not look.
pub const BUILT: &str = "PAGENOW_BUILT";

/// What the worker is made of, besides the tools.
const EDGE_INPUTS: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "edge-worker/Cargo.toml",
    "edge-worker/src",
    "presence/Cargo.toml",
    "presence/src",
    "rust-toolchain.toml",
    "shared/Cargo.toml",
    "shared/src",
];

/// How the core is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Quickly, with what the tests compile too.
    Development,
    /// As it is deployed.
    Release,
}

impl Profile {
    /// The core's program of this profile.
    pub fn core_program(self) -> PathBuf {
        let folder = match self {
            Self::Development => "debug",
            Self::Release => "release",
        };
        project::target_dir().join(folder).join("core-api")
    }
}

/// Builds the core.
pub async fn core(profile: Profile) -> Result<()> {
    let mut cargo = project::cargo();
    let step = match profile {
        Profile::Development => {
            // With the features of the whole workspace, as the tests build it: so dependencies are compiled once.
            cargo.args(["build", "--workspace", "--bin", "core-api"]);
            Step {
                name: "build-core",
                about: "Building core-api (minutes the first time)",
                advice: "read the compiler's words above; `cargo build -p core-api` repeats them",
            }
        }
        Profile::Release => {
            cargo.args(["build", "--release", "--package", "core-api"]);
            Step {
                name: "build-core-release",
                about: "Building core-api for release (minutes the first time)",
                advice: "read the compiler's words above; `cargo build --release -p core-api` repeats them",
            }
        }
    };
    step.run(cargo).await
}

/// Builds the worker into `edge-worker/build`, unless what is there was made of the same files.
pub async fn edge() -> Result<()> {
    // Two builds at once would write the same folder.
    let lock_path = project::target_dir().join("edge-worker.lock");
    project::make_dir(&project::target_dir())?;
    let lock = File::create(&lock_path).with_context(|| format!("cannot write {}", lock_path.display()))?;
    project::take(&lock, "Waiting for another build of the worker").await?;

    let build = project::root().join("edge-worker/build");
    let made_of = build.join(".made-of");
    let inputs = listing()?;
    if build.join("index.js").exists() && fs::read_to_string(&made_of).is_ok_and(|text| text == inputs) {
        return Ok(());
    }
    tools::ensure_wasm_target().await?;
    tools::ensure_npm_packages().await?;
    let worker_build = tools::worker_build().ensure().await?;
    let wasm_bindgen = tools::wasm_bindgen()?.ensure().await?;
    let node = tools::node().await?;
    let esbuild = tools::npm_file("esbuild/bin/esbuild");
    let wasm_opt = tools::npm_file("binaryen/bin/wasm-opt");
    for tool in [&esbuild, &wasm_opt] {
        if !tool.exists() {
            let advice = "remove the folder node_modules and run the command again";
            bail!(StepFailed::new("Building the worker", format!("{} is missing", tool.display()), advice));
        }
    }
    project::remove(&made_of)?;
    let step = Step {
        name: "build-edge",
        about: "Building the worker (a minute the first time)",
        advice: "read the compiler's words above; `cargo xtask build-edge` repeats them",
    };
    let mut command = project::command(worker_build);
    command.current_dir(project::root().join("edge-worker")).args(["--profile", "edge"]);
    // Named here, the three are taken as they are; otherwise worker-build would download its own.
    command.env("WASM_BINDGEN_BIN", wasm_bindgen).env("WASM_OPT_BIN", wasm_opt).env("ESBUILD_BIN", esbuild);
    command.env("PATH", path_with(&node)?);
    step.run(command).await?;
    fs::write(&made_of, inputs).with_context(|| format!("cannot write {}", made_of.display()))
}

/// The PATH with the folder of `node` in front: npm's programs start whatever is called `node` there.
fn path_with(node: &Path) -> Result<std::ffi::OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let first = node.parent().filter(|dir| dir.is_absolute()).map(Path::to_owned);
    Ok(std::env::join_paths(first.into_iter().chain(std::env::split_paths(&old)))?)
}

/// Every input of the worker with its size and time of change.
fn listing() -> Result<String> {
    let mut text = String::new();
    for input in EDGE_INPUTS {
        list(&project::root(), Path::new(input), &mut text).with_context(|| format!("cannot read {input}"))?;
    }
    Ok(text)
}

fn list(root: &Path, path: &Path, text: &mut String) -> Result<()> {
    let full = root.join(path);
    let about = fs::metadata(&full)?;
    if about.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(&full)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            list(root, &path.join(entry.file_name()), text)?;
        }
        return Ok(());
    }
    let changed_ms = about.modified()?.duration_since(UNIX_EPOCH)?.as_millis();
    writeln!(text, "{} {} {changed_ms}", path.display(), about.len())?;
    Ok(())
}
