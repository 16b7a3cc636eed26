//! Files that this project's programs generate for the client. They are committed with its sources.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::project;

/// An environment variable. `cargo xtask codegen` sets it to `write`. Then the tests that compare such files write them instead.
pub const CODEGEN: &str = "PAGENOW_CODEGEN";

/// The folder of these files, relative to the root of the repository.
const FOLDER: &str = "client/src/generated";

/// Compares a file with the text that it must hold. If [`CODEGEN`] is `write`, writes it instead.
///
/// # Errors
///
/// If the file holds another text, or cannot be read or written.
pub fn settle(name: &str, text: &str) -> Result<()> {
    if std::env::var_os(CODEGEN).is_some_and(|how| how == "write") {
        return write(name, text);
    }
    let path = project::root().join(FOLDER).join(name);
    let kept = fs::read_to_string(&path).with_context(|| format!("{FOLDER}/{name} cannot be read"))?;
    ensure!(kept == text, "{FOLDER}/{name} is not what it should be: `cargo xtask codegen` writes it anew");
    Ok(())
}

/// Writes a file of the folder.
///
/// # Errors
///
/// If it cannot be written.
pub fn write(name: &str, text: &str) -> Result<()> {
    let folder = project::root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("{FOLDER} cannot be made"))?;
    fs::write(folder.join(name), text).with_context(|| format!("{FOLDER}/{name} cannot be written"))
}
