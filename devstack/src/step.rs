//! One step of a command: it is named before it starts, seen while it runs, and explains itself when it fails.

use std::{
    fmt::Display,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::{
    child::{Child, Output, quote_log},
    project,
};

/// A step that could not be done. Its text is for a person at a terminal.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed\n  why: {why}\n  what to do: {advice}")]
pub struct StepFailed {
    pub step: String,
    pub why: String,
    pub advice: String,
}

impl StepFailed {
    /// That step, why it failed, and what the person at the terminal can do about it.
    pub fn new(step: impl Into<String>, why: impl Display, advice: impl Into<String>) -> Self {
        Self { step: step.into(), why: why.to_string(), advice: advice.into() }
    }
}

/// Explains any error as the failure of a step.
pub trait OrStepFailed<T> {
    /// Names the step and what can be done.
    fn or_step_failed(self, step: &str, advice: &str) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrStepFailed<T> for Result<T, E> {
    fn or_step_failed(self, step: &str, advice: &str) -> Result<T> {
        self.map_err(|error| {
            let error: anyhow::Error = error.into();
            // What explains itself already is passed on as it is.
            if error.is::<StepFailed>() {
                return error;
            }
            StepFailed::new(step, format!("{error:#}"), advice).into()
        })
    }
}

/// A program run to its end, its output kept in a log.
#[derive(Debug)]
pub struct Step<'a> {
    /// Names the log too.
    pub name: &'a str,
    /// What is done, and how long it takes when that is long.
    pub about: &'a str,
    /// What to do when it fails.
    pub advice: &'a str,
}

impl Step<'_> {
    /// Runs the program and says so, with a line of its output now and then.
    pub async fn run(&self, command: Command) -> Result<()> {
        /// How often a running step shows a sign of life.
        const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
        say(self.about);
        let log = self.log();
        project::remove(&log)?;
        let begun = Instant::now();
        let mut child = Child::start(self.name, command, Output::Log(log.clone()))?;
        let status = loop {
            match tokio::time::timeout(SIGN_OF_LIFE, child.wait()).await {
                Ok(status) => break status?,
                Err(_) => say(&format!("  {} s: {}", begun.elapsed().as_secs(), last_line(&log))),
            }
        };
        if !status.success() {
            return Err(StepFailed::new(self.about, child.exit_report(status), self.advice).into());
        }
        Ok(())
    }

    fn log(&self) -> PathBuf {
        project::log_file(self.name)
    }
}

/// Runs a program whose output is for the reader: a linter's, a test runner's. Its exit code comes back.
pub async fn show(name: &str, command: Command) -> Result<i32> {
    let mut child = Child::start(name, command, Output::Shown)?;
    let status = child.wait().await?;
    Ok(status.code().unwrap_or(1))
}

/// Runs a program for what it prints.
pub async fn read(mut command: Command) -> Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        anyhow::bail!("`{program}` ended with {}: {why}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Tells the person at the terminal. What a command is asked for goes to stdout; this does not.
pub fn say(line: &str) {
    eprintln!("{line}");
}

fn last_line(log: &std::path::Path) -> String {
    const CHARS_MAX: usize = 100;
    let quoted = quote_log(log);
    let line = quoted.lines().last().unwrap_or_default();
    line.trim_start_matches([' ', '|']).chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}
