//! `cargo xtask`: the command line of the developer's commands.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};
use devstack::{
    build::{self, Profile},
    step::say,
    token::{self, TokenRequest},
    workerd,
};
use xtask::{
    bench::{self, Bench},
    check, codegen,
    configure::{self, Configure},
    dev::{self, Dev, Wishes},
    live::{self, Live},
    package::{self, Package},
    queries::{self, Mode},
    simulate,
    smoke::{self, Smoke},
    test,
    visit::{self, Visit},
};

/// The commands for developing, testing, measuring and deploying PageNow.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install missing tools, and run the whole system on this machine.
    Dev(Dev),
    /// Stop the system that `dev` runs, and wait until it has ended.
    Stop,
    /// Print an ID token for any user of the running system.
    Token {
        /// The user's id, such as alice.
        user_id: String,
        /// The token's e-mail address [default: made from the user id]
        #[arg(long)]
        email: Option<String>,
        /// The token's `email_verified` claim, as JSON; an empty value leaves it out [default: true]
        #[arg(long, value_name = "JSON")]
        email_verified: Option<String>,
        /// The token's life in seconds; if it is negative, the token has expired already.
        #[arg(long, default_value_t = token::LIFE_S, allow_negative_numbers = true, value_name = "SECONDS")]
        expires_in: i64,
    },
    /// Show a user's friends and their pages live in this terminal.
    Live(Live),
    /// Come online as a user, on the given page, and print what friends see.
    Visit(Visit),
    /// Check a deployment: two users become friends, and see each other's pages live.
    Smoke(Smoke),
    /// Run all tests, with the database and the system that they need; arguments go to `cargo nextest run`.
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check formatting, lints, documentation, the data of SQL queries, dependencies and Terraform.
    Check,
    /// Regenerate .sqlx, the data of the core's SQL queries, with which the core compiles without a database.
    Queries {
        /// Write migrations/last-release.json instead: what this release's queries need of the schema. Tests check the next
        /// release's migrations against it.
        #[arg(long)]
        freeze: bool,
    },
    /// Regenerate the client's files that come from the servers: types, constants, and test vectors of the share rules.
    Codegen,
    /// Measure how fast the core answers, or how fast friends see a page change.
    #[command(subcommand)]
    Bench(Bench),
    /// Simulate days of many users with failures of every kind, and check every rule of presence; arguments go to the
    /// simulator, also `--help`.
    #[command(disable_help_flag = true)]
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Estimate the monthly cost of this system and of its predecessor, from a simulated day; arguments go to the estimator,
    /// also `--help`.
    #[command(disable_help_flag = true)]
    Cost {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Write the configuration from which `wrangler deploy` deploys the edge; `--help` describes its input.
    Configure(Configure),
    /// Build the client for a deployment: archives for the browsers' stores, and the page that is deployed with the edge.
    Package(Package),
    /// Build the edge's worker into edge-worker/build.
    BuildEdge {
        /// Also write into this folder everything that is needed to run the worker without Cloudflare: workerd, its
        /// configuration and the worker.
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
        /// Compile without optimisations, which is faster.
        #[arg(long, conflicts_with = "bundle")]
        development: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("\n{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<u8> {
    match command {
        // These handle signals themselves, and end their children in order.
        Command::Dev(dev) => dev::run(dev).await.map(|()| 0),
        Command::Live(live) => live::run(live).await.map(|()| 0),
        Command::Visit(visit) => visit::run(visit).await.map(|()| 0),
        // Handles signals itself: it restores the former state even if it is interrupted.
        Command::Smoke(smoke) => smoke::run(smoke).await,
        Command::Stop => dev::stop().await.map(|()| 0),
        Command::Token { user_id, email, email_verified, expires_in } => {
            let info = dev::running_stack()?;
            let request =
                TokenRequest { email, email_verified, expires_in_s: expires_in, ..TokenRequest::new(user_id) };
            println!("{}", token::mint(&info, &request).await?);
            Ok(0)
        }
        Command::Test { args } => {
            Ok(test::run(&args).await?.map_or(dev::INTERRUPTED, |code| u8::try_from(code).unwrap_or(1)))
        }
        Command::Check => until_interrupted(async { Ok(u8::from(!check::run().await?)) }).await,
        Command::Queries { freeze: true } => until_interrupted(async { queries::freeze().await.map(|()| 0) }).await,
        Command::Queries { freeze: false } => {
            until_interrupted(async { Ok(u8::from(!queries::run(Mode::Write).await?)) }).await
        }
        Command::Codegen => until_interrupted(async { codegen::run().await.map(|()| 0) }).await,
        Command::Bench(bench) => until_interrupted(async { bench::run(bench).await.map(|()| 0) }).await,
        Command::Sim { args } => until_interrupted(simulate::run("sim", args)).await,
        Command::Cost { args } => until_interrupted(simulate::run("cost", args)).await,
        Command::Configure(configure) => until_interrupted(configure::run(configure)).await,
        Command::Package(package) => until_interrupted(async { package::run(package).await.map(|()| 0) }).await,
        Command::BuildEdge { bundle, development } => {
            let profile = if development { Profile::Development } else { Profile::Release };
            until_interrupted(build_edge(profile, bundle)).await
        }
    }
}

async fn build_edge(profile: Profile, bundle: Option<PathBuf>) -> Result<u8> {
    build::edge(profile).await?;
    if let Some(dir) = bundle {
        workerd::bundle(&dir)?;
        say(&format!("Written: {}", dir.display()));
    }
    Ok(0)
}

/// Runs the work to its end, or until a signal asks for an end. Then the work is dropped, and with it every child.
async fn until_interrupted(work: impl Future<Output = Result<u8>>) -> Result<u8> {
    let mut wishes = Wishes::listen(false)?;
    tokio::select! {
        code = work => code,
        () = wishes.next() => Ok(dev::INTERRUPTED),
    }
}
