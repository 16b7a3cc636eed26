//! Paths in the checkout, and helpers for files and commands.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::step::say;

/// The root of the checkout this program was built from.
pub fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The folder for everything that development keeps: data, keys and logs. Git ignores it.
pub fn dev_dir() -> PathBuf {
    root().join(".dev")
}

/// The log file of a step, such as an installation or a build.
pub fn log_file(name: &str) -> PathBuf {
    dev_dir().join("logs").join(format!("{name}.log"))
}

/// The folder for everything that cargo builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A command that runs in the root of the checkout.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    // Removes the variables in which cargo describes this program's package. Another cargo would take them for a change, and
    // compile crates that read them (ring, and everything that depends on it) again each time.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// The cargo that runs this program, or else the one on the PATH.
///
/// Queries are checked against the data in `.sqlx`, even if `DATABASE_URL` is set: the database that it names may not have been
/// migrated yet.
pub fn cargo() -> Command {
    let mut cargo = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("SQLX_OFFLINE", "true");
    cargo
}

/// Takes the lock as soon as it is free. If it is not free at once, prints the text `waiting`.
pub async fn take(lock: &File, waiting: &str) -> Result<()> {
    // The lock is polled, because a thread that waits for it could not be cancelled.
    const PAUSE: Duration = Duration::from_millis(200);
    let mut said = false;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => {
                if !std::mem::replace(&mut said, true) {
                    say(waiting);
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot take a lock"),
        }
    }
}

/// Makes the folder and its parent folders if they are missing.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))
}

/// Writes a file that only its owner may read. A reader sees either the whole old text or the whole new one.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&new, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a file, or a folder with everything in it. If it does not exist, nothing happens.
pub fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
