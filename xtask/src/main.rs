//! `cargo xtask`: the commands a developer types.

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

/// Everything a developer of PageNow's backend types.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what is missing and run the whole system on this machine.
    Dev(Dev),
    /// End what `dev` runs, and wait until it has ended.
    Stop,
    /// Print a token of any user, for the running system.
    Token {
        /// Whose token: the user id, such as alice.
        user_id: String,
        /// The address in it; made from the user id when absent.
        #[arg(long)]
        email: Option<String>,
        /// What it says of the address, as JSON: true when absent; empty, it says nothing.
        #[arg(long, value_name = "JSON")]
        email_verified: Option<String>,
        /// Its life in seconds; negative for one that has ended already.
        #[arg(long, default_value_t = token::LIFE_S, allow_negative_numbers = true, value_name = "SECONDS")]
        expires_in: i64,
    },
    /// Watch a user's friends and their pages.
    Live(Live),
    /// Turn to a page as a user.
    Visit(Visit),
    /// Let two friends meet at a deployment, and say whether all works.
    Smoke(Smoke),
    /// Run all tests; arguments go to `cargo nextest run`.
    Test {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Check formatting, lints, documentation, query data and dependencies.
    Check,
    /// Write the checked data of the core's SQL queries (.sqlx) anew.
    Queries {
        /// Write instead what the queries of this release need of the schema, which the next one's migrations are held
        /// against.
        #[arg(long)]
        freeze: bool,
    },
    /// Write what the client takes from the servers anew: the types of both contracts, and what friends would be shown of
    /// pages.
    Codegen,
    /// Measure how fast the core answers, and how fast friends see a page.
    #[command(subcommand)]
    Bench(Bench),
    /// Let towns of users live through virtual days in which all goes wrong that can, and check every rule of presence;
    /// `--help` says how. Arguments go to the simulator.
    #[command(disable_help_flag = true)]
    Sim {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Say what a month costs, ours and the predecessor's, by counting an ordinary day; `--help` says how. Arguments go
    /// to the command.
    #[command(disable_help_flag = true)]
    Cost {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Fill in what only a deployment knows of the edge, for `wrangler deploy`; `--help` says what that is.
    Configure(Configure),
    /// Build the client of a deployment: archives for the stores, and the page that is deployed with the edge.
    Package(Package),
    /// Build the worker into edge-worker/build.
    BuildEdge {
        /// Also write everything that it takes to run it without Cloudflare into this folder: workerd, its configuration
        /// and the worker.
        #[arg(long, value_name = "DIR")]
        bundle: Option<PathBuf>,
        /// Compile quickly instead of as it is deployed.
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
        // These end in order, in their own ways.
        Command::Dev(dev) => dev::run(dev).await.map(|()| 0),
        Command::Live(live) => live::run(live).await.map(|()| 0),
        Command::Visit(visit) => visit::run(visit).await.map(|()| 0),
        // Puts back what was there before, whenever it ends.
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

/// Drops the work when somebody wishes an end, and with it every child.
async fn until_interrupted(work: impl Future<Output = Result<u8>>) -> Result<u8> {
    let mut wishes = Wishes::listen(false)?;
    tokio::select! {
        code = work => code,
        () = wishes.next() => Ok(dev::INTERRUPTED),
    }
}
