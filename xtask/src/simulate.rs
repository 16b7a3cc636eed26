//! `cargo xtask sim`: builds the simulator with optimisations and runs it.

use anyhow::{Context as _, Result};

use crate::project;

/// Runs the simulator with these arguments, and says how it ended: 0 when no rule was broken.
pub async fn run(args: Vec<String>) -> Result<u8> {
    let mut cargo = project::cargo();
    cargo.args(["run", "--release", "--package", "sim", "--"]).args(args).kill_on_drop(true);
    let status = cargo.status().await.context("cannot run cargo")?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
