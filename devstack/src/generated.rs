//! Files that programs of ours write for the client, and that are kept beside its sources.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::project;

/// Set to `write` by `cargo xtask codegen`: then the tests that compare such files write them instead.
pub const CODEGEN: &str = "PAGENOW_CODEGEN";

/// Where they are, from the root of the repository.
const FOLDER: &str = "client/src/generated";

/// Compares a file with what it is to be, or writes it where [`CODEGEN`] says so.
///
/// # Errors
///
/// When the file holds anything else, or cannot be read or written.
pub fn settle(name: &str, text: &str) -> Result<()> {
    if std::env::var_os(CODEGEN).is_some_and(|how| how == "write") {
        return write(name, text);
    }
    let path = project::root().join(FOLDER).join(name);
    let kept = fs::read_to_string(&path).with_context(|| format!("{FOLDER}/{name} cannot be read"))?;
    ensure!(kept == text, "{FOLDER}/{name} is not what it should be: `cargo xtask codegen` writes it anew");
    Ok(())
}

/// Writes such a file.
///
/// # Errors
///
/// When it cannot be written.
pub fn write(name: &str, text: &str) -> Result<()> {
    let folder = project::root().join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("{FOLDER} cannot be made"))?;
    fs::write(folder.join(name), text).with_context(|| format!("{FOLDER}/{name} cannot be written"))
}
