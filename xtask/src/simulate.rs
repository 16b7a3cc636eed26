//! `cargo xtask sim` and `cargo xtask cost`: build the simulator with optimisations, and run it.

use anyhow::{Context as _, Result};
use devstack::project;

/// Runs one of the simulator's binaries, `sim` or `cost`, with these arguments. Returns its exit code, which is 0 if no rule was
/// broken.
pub async fn run(binary: &str, args: Vec<String>) -> Result<u8> {
    let mut cargo = project::cargo();
    cargo.args(["run", "--release", "--package", "sim", "--bin", binary, "--"]).args(args).kill_on_drop(true);
    let status = cargo.status().await.context("cannot run cargo")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
