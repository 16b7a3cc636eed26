//! `core-api`: `--help` lists its commands.

use anyhow::anyhow;
use clap::Parser;
use core_api::{
    bootstrap,
    config::{Cli, Command},
    database, healthcheck, serve, versions,
};
use tracing_subscriber::EnvFilter;

/// Answering is mostly making texts of rows and JSON of texts, which is where allocators differ.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    // One JSON object a line. tracing-subscriber's own JSON reads a span's fields anew for every line, which takes twice
    // as long.
    json_subscriber::fmt()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    // Where, not what: the message of a panic may repeat what somebody sent.
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
        Command::RaiseVersions(config) => versions::raise(&database::pool(&config)?).await,
        Command::Healthcheck { listen_addr } => healthcheck::run(listen_addr).await,
    }
}
