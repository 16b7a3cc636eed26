//! Builds the programs of the two servers. The worker is built only if one of its inputs has changed.

use std::{
    fmt::Write as _,
    fs::{self, File},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::{Context as _, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::{
    project,
    step::{self, OrStepFailed as _, Step, StepFailed},
    tools,
};

/// The environment variable that says that both servers are built. Tests then skip their own builds.
pub const BUILT: &str = "PAGENOW_BUILT";

/// The files and folders that the worker is made of, besides the tools.
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

/// The files of a built worker.
const EDGE_OUTPUTS: [&str; 2] = ["index.js", "index_bg.wasm"];

/// How a server is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Without optimisations, and with the same dependencies that the tests compile.
    Development,
    /// As the servers are deployed.
    Release,
}

impl Profile {
    /// The path of the core's program in this profile.
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
            // Built with the features of the whole workspace, as the tests build it, so that dependencies are compiled once.
            cargo.args(["build", "--workspace", "--bin", "core-api"]);
            Step {
                name: "build-core",
                about: "Building core-api (a minute the first time)",
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

/// Puts the worker of the profile into `edge-worker/build`. The last build of each profile is kept, so that switching between
/// profiles builds nothing.
pub async fn edge(profile: Profile) -> Result<()> {
    let (cargo_profile, folder) = match profile {
        Profile::Development => ("dev", "debug"),
        Profile::Release => ("edge", "edge"),
    };
    let target = project::target_dir();
    let kept = target.join("edge-worker").join(folder);
    project::make_dir(&kept)?;
    // The lock is needed because two builds at the same time would write the same folders.
    let lock_path = target.join("edge-worker.lock");
    let lock = File::create(&lock_path).with_context(|| format!("cannot write {}", lock_path.display()))?;
    project::take(&lock, "Waiting for another build of the worker").await?;

    let inputs = listing(cargo_profile)?;
    if !is_made_of(&kept, &inputs) {
        tools::ensure_npm_packages().await?;
        tools::ensure_wasm_target().await?;
        let mut cargo = project::cargo();
        cargo.args(["build", "--package", "edge-worker", "--lib", "--profile", cargo_profile]);
        cargo.args(["--target", tools::WASM_TARGET]);
        let step = Step {
            name: "build-edge",
            about: "Building the worker (a minute the first time)",
            advice: "read the compiler's words above; `cargo xtask build-edge` repeats them",
        };
        step.run(cargo).await?;
        let wasm = target.join(tools::WASM_TARGET).join(folder).join("edge_worker.wasm");
        let made = make_module(&wasm, &kept, profile).await;
        made.or_step_failed("Making a module of the worker", "`cargo xtask build-edge` repeats it")?;
        fs::write(kept.join(MADE_OF), &inputs).context("cannot write what the worker is made of")?;
    }
    let build = project::root().join("edge-worker/build");
    if !is_made_of(&build, &inputs) {
        project::remove(&build)?;
        project::make_dir(&build)?;
        for name in EDGE_OUTPUTS.iter().chain(&[MADE_OF]) {
            fs::copy(kept.join(name), build.join(name)).with_context(|| format!("cannot copy {name}"))?;
        }
    }
    Ok(())
}

/// A file beside a built worker. It lists the inputs from which the worker was built.
const MADE_OF: &str = ".made-of";

fn is_made_of(dir: &Path, inputs: &str) -> bool {
    EDGE_OUTPUTS.iter().all(|name| dir.join(name).exists())
        && fs::read_to_string(dir.join(MADE_OF)).is_ok_and(|text| text == inputs)
}

/// Makes a JavaScript module and a WebAssembly module in the folder `out` from the compiler's output.
async fn make_module(wasm: &Path, out: &Path, profile: Profile) -> Result<()> {
    project::remove(out)?;
    let bound = out.join("bound");
    project::make_dir(&bound)?;
    let (input, output) = (wasm.to_owned(), bound.clone());
    tokio::task::spawn_blocking(move || {
        let mut bindgen = Bindgen::new();
        // These options add the functions by which `edge-worker/entry.mjs` starts WebAssembly again after a crash.
        bindgen.module(true)?.reset_state_function(true).force_enable_abort_handler(true);
        bindgen.input_path(input).out_name("index").typescript(false).generate(output)
    })
    .await?
    .context("wasm-bindgen failed")?;

    // Bundles the generated JavaScript, and the worker's own modules that it imports, into one file.
    let script = out.join("index.js");
    let mut esbuild = project::command(tool("esbuild/bin/esbuild")?);
    esbuild.arg(bound.join("index.js")).args(["--bundle", "--minify", "--format=esm", "--log-level=warning"]);
    esbuild.args(["--external:./index_bg.wasm", "--external:cloudflare:*"]);
    esbuild.arg(format!("--outfile={}", script.display())).env("PATH", path_with(&tools::node().await?)?);
    step::read(esbuild).await?;
    // wrangler and workerd only know the older syntax for importing WebAssembly.
    let text = fs::read_to_string(&script).context("cannot read the bundled worker")?;
    fs::write(&script, text.replace("import source ", "import ")).context("cannot write the bundled worker")?;

    let (bound_wasm, final_wasm) = (bound.join("index_bg.wasm"), out.join("index_bg.wasm"));
    match profile {
        Profile::Development => {
            fs::rename(bound_wasm, final_wasm).context("cannot move the worker")?;
        }
        Profile::Release => {
            step::say("Optimising the worker");
            let mut wasm_opt = project::command(tool("binaryen/bin/wasm-opt")?);
            // Enables only the features that the compilers use and the runtime knows.
            wasm_opt.args(["-O", "--debuginfo"]).args(WASM_FEATURES.map(|feature| format!("--enable-{feature}")));
            wasm_opt.arg(bound_wasm).arg("-o").arg(final_wasm).env("PATH", path_with(&tools::node().await?)?);
            step::read(wasm_opt).await?;
        }
    }
    project::remove(&bound)
}

/// The features of WebAssembly that rustc and wasm-bindgen use.
const WASM_FEATURES: [&str; 7] = [
    "bulk-memory",
    "exception-handling",
    "multivalue",
    "mutable-globals",
    "nontrapping-float-to-int",
    "reference-types",
    "sign-ext",
];

/// The path of a program of an installed npm package.
fn tool(path: &str) -> Result<PathBuf> {
    let program = tools::npm_file(path);
    if !program.exists() {
        let advice = "remove the folder node_modules and run the command again";
        bail!(StepFailed::new("Building the worker", format!("{} is missing", program.display()), advice));
    }
    Ok(program)
}

/// The PATH with the folder of `node` in front, because programs of npm packages start the first `node` on the PATH.
fn path_with(node: &Path) -> Result<std::ffi::OsString> {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let first = node.parent().filter(|dir| dir.is_absolute()).map(Path::to_owned);
    Ok(std::env::join_paths(first.into_iter().chain(std::env::split_paths(&old)))?)
}

/// The text of [`MADE_OF`]: the profile, and every input of the worker with its size and its time of change.
fn listing(profile: &str) -> Result<String> {
    let mut text = format!("{profile}\n");
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
