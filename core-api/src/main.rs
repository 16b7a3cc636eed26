//! `core-api`: `--help` lists its commands.

use anyhow::{anyhow, ensure};
use clap::Parser;
use core_api::{
    bootstrap,
    config::{Cli, Command, OutboxCommand, UserCommand},
    database, healthcheck, import,
    operate::{self, Outcome},
    serve, versions,
};
use serde::Serialize;
use tracing_subscriber::EnvFilter;
use uuid::Uuid;

/// Most of the work of an answer is to make strings from rows and JSON from strings. Its speed depends on the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    // One JSON object a line. tracing-subscriber's own JSON reads a span's fields again for every line, which takes twice
    // as long.
    json_subscriber::fmt()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    // Only the place is logged: the message of a panic may repeat what a user sent.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(panic.location = place, "panic");
    }));
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider is installed already"))?;
    match cli.command {
        Command::Serve(config) => serve(*config).await,
        Command::Migrate(config) => database::migrate(&config).await,
        Command::BootstrapDatabase(config) => bootstrap::run(&config).await,
        Command::Import(config) => import::run(&config).await,
        Command::User(command) => user(command).await,
        Command::Outbox(command) => outbox(command).await,
        Command::RaiseVersions(config) => versions::raise(&database::pool(&config)?).await,
        Command::Healthcheck { listen_addr } => healthcheck::run(listen_addr).await,
    }
}

async fn user(command: UserCommand) -> anyhow::Result<()> {
    match command {
        UserCommand::Show(of) => {
            print(&operate::show(&database::pool(&of.database)?, &of.user_id, &of.operator).await?)
        }
        UserCommand::Suspend(of) => {
            let outcome = operate::suspend(&database::pool(&of.database)?, &of.user_id, &of.operator).await?;
            say(outcome, "the user is suspended", "the user was suspended already");
            Ok(())
        }
        UserCommand::Restore(of) => {
            let outcome = operate::restore(&database::pool(&of.database)?, &of.user_id, &of.operator).await?;
            say(outcome, "the user is restored", "the user was not suspended");
            Ok(())
        }
    }
}

async fn outbox(command: OutboxCommand) -> anyhow::Result<()> {
    match command {
        OutboxCommand::List { limit, database } => print(&operate::waiting(&database::pool(&database)?, limit).await?),
        OutboxCommand::Requeue(of) => {
            let found = operate::requeue(&database::pool(&of.database)?, &of.ids, &of.operator).await?;
            all_of(&of.ids, &found, "will be tried again")
        }
        OutboxCommand::Drop(of) => {
            let found = operate::drop_waiting(&database::pool(&of.database)?, &of.ids, &of.operator).await?;
            all_of(&of.ids, &found, "are dropped")
        }
    }
}

fn print(answer: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(answer)?);
    Ok(())
}

fn say(outcome: Outcome, done: &str, was_so: &str) {
    match outcome {
        Outcome::Done => eprintln!("{done}"),
        Outcome::WasSo => eprintln!("{was_so}"),
    }
}

/// Prints how many of the named changes were found. Fails if some were not found: they were delivered, or never existed.
fn all_of(named: &[Uuid], found: &[Uuid], what: &str) -> anyhow::Result<()> {
    eprintln!("{} of {} changes {what}", found.len(), named.len());
    let missing: Vec<String> = named.iter().filter(|id| !found.contains(id)).map(Uuid::to_string).collect();
    ensure!(missing.is_empty(), "these wait no more: {}", missing.join(", "));
    Ok(())
}
