//! `cargo xtask check`: the checks that do not need the running system. Only PostgreSQL is started, for the queries.

use std::{
    net::ToSocketAddrs as _,
    time::{Duration, Instant},
};

use anyhow::Result;
use devstack::{
    project,
    step::{say, show},
    tools,
};
use tokio::{net::TcpStream, process::Command, time::timeout};

use crate::queries::{self, Mode};

const CLIPPY_NATIVE: &[&str] = &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
const CLIPPY_WASM: &[&str] = &[
    "clippy",
    "--package=shared",
    "--package=presence",
    "--package=edge-worker",
    "--target=wasm32-unknown-unknown",
    "--",
    "-D",
    "warnings",
];
/// The fuzz targets are a workspace of their own. No other check compiles them.
const CLIPPY_FUZZ: &[&str] =
    &["clippy", "--manifest-path=presence/fuzz/Cargo.toml", "--target-dir=target", "--locked", "--", "-D", "warnings"];
const FMT_FUZZ: &[&str] = &["fmt", "--manifest-path=presence/fuzz/Cargo.toml", "--check"];
const RUSTDOC: &[&str] = &["doc", "--workspace", "--no-deps", "--document-private-items"];

/// The outcome of one check, and how long it took.
struct Outcome {
    name: &'static str,
    result: Result<Passed>,
    took: Duration,
}

enum Passed {
    Yes,
    No,
    NotRun(&'static str),
}

/// Runs every check, even after one has failed, and prints a summary. `false`: a check failed.
pub async fn run() -> Result<bool> {
    let mut outcomes = Vec::new();
    cargo("formatting", &["fmt", "--all", "--check"], &mut outcomes).await;
    cargo("formatting of the fuzz targets", FMT_FUZZ, &mut outcomes).await;
    cargo("clippy", CLIPPY_NATIVE, &mut outcomes).await;
    clippy_for_wasm(&mut outcomes).await;
    cargo("clippy for the fuzz targets", CLIPPY_FUZZ, &mut outcomes).await;
    cargo("documentation", RUSTDOC, &mut outcomes).await;
    let begun = begin("queries in .sqlx are fresh");
    let result = queries::run(Mode::Check).await.map(|fresh| if fresh { Passed::Yes } else { Passed::No });
    outcomes.push(Outcome { name: "queries in .sqlx are fresh", result, took: begun.elapsed() });
    deny(&mut outcomes).await;
    terraform(&mut outcomes).await;

    say("\nSummary");
    let mut all = true;
    for Outcome { name, result, took } in &outcomes {
        let how = match result {
            Ok(Passed::Yes) => "passed".to_owned(),
            Ok(Passed::NotRun(why)) => format!("not run: {why}"),
            Ok(Passed::No) => "FAILED".to_owned(),
            Err(error) => format!("FAILED: {error:#}"),
        };
        all &= matches!(result, Ok(Passed::Yes | Passed::NotRun(_)));
        say(&format!("  {name:<38} {how} ({} s)", took.as_secs()));
    }
    Ok(all)
}

fn begin(name: &str) -> Instant {
    say(&format!("\nCheck: {name}"));
    Instant::now()
}

async fn cargo(name: &'static str, args: &[&str], outcomes: &mut Vec<Outcome>) {
    let begun = begin(name);
    let mut command = project::cargo();
    command.args(args).env("RUSTDOCFLAGS", "-D warnings");
    outcomes.push(Outcome { name, result: passes(name, command).await, took: begun.elapsed() });
}

async fn clippy_for_wasm(outcomes: &mut Vec<Outcome>) {
    const NAME: &str = "clippy for wasm32";
    let begun = Instant::now();
    // Rustup may be configured not to install the targets of the toolchain file.
    match tools::ensure_wasm_target().await {
        Ok(()) => cargo(NAME, CLIPPY_WASM, outcomes).await,
        Err(error) => outcomes.push(Outcome { name: NAME, result: Err(error), took: begun.elapsed() }),
    }
}

async fn passes(name: &str, command: Command) -> Result<Passed> {
    Ok(if show(name, command).await? == 0 { Passed::Yes } else { Passed::No })
}

async fn deny(outcomes: &mut Vec<Outcome>) {
    const NAME: &str = "dependencies: licences, sources, bans";
    let begun = begin(NAME);
    let result = match tools::cargo_deny().ensure().await {
        Ok(program) => {
            let mut command = project::command(program);
            command.args(["check", "bans", "licenses", "sources"]);
            passes(NAME, command).await
        }
        Err(error) => Err(error),
    };
    outcomes.push(Outcome { name: NAME, result, took: begun.elapsed() });

    const ADVISORIES: &str = "dependencies: advisories";
    let begun = begin(ADVISORIES);
    let result = match tools::cargo_deny().ensure().await {
        Ok(_) if !advisories_can_be_reached().await => {
            Ok(Passed::NotRun("github.com, which has the advisory database, cannot be reached from here"))
        }
        Ok(program) => {
            let mut command = project::command(program);
            command.args(["check", "advisories"]);
            passes(ADVISORIES, command).await
        }
        Err(error) => Err(error),
    };
    outcomes.push(Outcome { name: ADVISORIES, result, took: begun.elapsed() });
}

/// Terraform configurations: name, folder, and files of variables. Each must be accepted with these files.
const TERRAFORM: [(&str, &str, &[&str]); 4] = [
    ("Terraform: bootstrap", "terraform/bootstrap", &["example.tfvars"]),
    ("Terraform: small", "terraform", &["example.tfvars", "env/small.tfvars"]),
    ("Terraform: staging", "terraform", &["example.tfvars", "env/staging.tfvars"]),
    ("Terraform: production", "terraform", &["example.tfvars", "env/production.tfvars"]),
];

/// The environment variable that names a program which checks Terraform. The program takes a folder and Terraform's own
/// arguments. Its exit code is 0 if Terraform accepts the folder.
const TERRAFORM_CHECK: &str = "TERRAFORM_CHECK";

async fn terraform(outcomes: &mut Vec<Outcome>) {
    let program = std::env::var_os(TERRAFORM_CHECK).filter(|program| !program.is_empty());
    for (name, folder, files) in TERRAFORM {
        let begun = begin(name);
        let result = match &program {
            None => Ok(Passed::NotRun("TERRAFORM_CHECK names no program that checks a folder of Terraform")),
            Some(program) => {
                let mut command = project::command(program);
                command.arg(project::root().join(folder)).args(files.iter().map(|file| format!("-var-file={file}")));
                passes(name, command).await
            }
        };
        outcomes.push(Outcome { name, result, took: begun.elapsed() });
    }
}

async fn advisories_can_be_reached() -> bool {
    let connect = async {
        let found = tokio::task::spawn_blocking(|| ("github.com", 443).to_socket_addrs()).await;
        let Ok(Ok(mut addresses)) = found else { return false };
        match addresses.next() {
            Some(address) => TcpStream::connect(address).await.is_ok(),
            None => false,
        }
    };
    timeout(Duration::from_secs(5), connect).await.unwrap_or(false)
}
