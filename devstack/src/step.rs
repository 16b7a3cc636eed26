//! The steps of a command. A step's name is printed before it starts, its output is shown from time to time, and its error says
//! what to do.

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

/// The error of a step that failed. Its text is for a person at a terminal.
#[derive(Debug, thiserror::Error)]
#[error("{step} failed\n  why: {why}\n  what to do: {advice}")]
pub struct StepFailed {
    pub step: String,
    pub why: String,
    pub advice: String,
}

impl StepFailed {
    /// Takes the step's name, the reason of the failure, and advice for the person at the terminal.
    pub fn new(step: impl Into<String>, why: impl Display, advice: impl Into<String>) -> Self {
        Self { step: step.into(), why: why.to_string(), advice: advice.into() }
    }
}

/// Turns any error into the failure of a step.
pub trait OrStepFailed<T> {
    /// Adds the step's name and advice to an error.
    fn or_step_failed(self, step: &str, advice: &str) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> OrStepFailed<T> for Result<T, E> {
    fn or_step_failed(self, step: &str, advice: &str) -> Result<T> {
        self.map_err(|error| {
            let error: anyhow::Error = error.into();
            // An error that names a step already is passed on unchanged.
            if error.is::<StepFailed>() {
                return error;
            }
            StepFailed::new(step, format!("{error:#}"), advice).into()
        })
    }
}

/// A step that runs a program to its end, with the output in a log.
#[derive(Debug)]
pub struct Step<'a> {
    /// The step's short name, which is also the log's name.
    pub name: &'a str,
    /// What the step does, and how long it takes if that is long.
    pub about: &'a str,
    /// What to do if it fails.
    pub advice: &'a str,
}

impl Step<'_> {
    /// Prints what is done, and runs the program. Meanwhile, prints the last line of its output from time to time.
    pub async fn run(&self, command: Command) -> Result<()> {
        /// Time between two such lines.
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

/// Runs a program whose output is shown, such as a linter or a test runner. Returns its exit code.
pub async fn show(name: &str, command: Command) -> Result<i32> {
    let mut child = Child::start(name, command, Output::Shown)?;
    let status = child.wait().await?;
    Ok(status.code().unwrap_or(1))
}

/// Runs a program, and returns its standard output.
pub async fn read(mut command: Command) -> Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("cannot run `{program}`"))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        anyhow::bail!("`{program}` ended with {}: {why}", output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Prints a line for the person at the terminal to stderr. The result that a command was asked for goes to stdout.
pub fn say(line: &str) {
    eprintln!("{line}");
}

fn last_line(log: &std::path::Path) -> String {
    const CHARS_MAX: usize = 100;
    let quoted = quote_log(log);
    let line = quoted.lines().last().unwrap_or_default();
    line.trim_start_matches([' ', '|']).chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}
