//! One process: its listeners, the relay and the other tasks, and how they end together.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinSet,
};

use crate::{App, config::ServeConfig, database, image_removals, metrics, minute, relay::Relay, router, upkeep};

/// Answers requests and relays events until SIGTERM or SIGINT, then lets what is under way end.
///
/// # Errors
///
/// When an address cannot be listened on, the configuration makes no sense, or a part ends by itself.
pub async fn serve(config: ServeConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let pool = database::pool(&config.database)?;
    let app = App::new(&config, pool.clone())?;
    let relay = Relay::new(Arc::clone(&app), &config)?;
    let (api, metrics_port) =
        (listen("LISTEN_ADDR", config.listen_addr).await?, listen("METRICS_ADDR", config.metrics_addr).await?);
    if config.database.database_statement_ms_max == 0 {
        tracing::info!("the limit of statements is left to the database role");
    }
    tracing::info!(http.address = %api.local_addr()?, metrics.address = %metrics_port.local_addr()?, "listening");

    let (stop, stopped) = watch::channel(false);
    let mut parts = JoinSet::new();
    parts.spawn(answer(api, router(Arc::clone(&app))?, stopped.clone()));
    parts.spawn(answer(metrics_port, metrics::router(Arc::clone(&app)), stopped.clone()));
    parts.spawn(tidy(Arc::clone(&app), stopped.clone()));
    let upkeep = upkeep::run(Arc::clone(&app), config.share_retention_days, stopped.clone());
    parts.spawn(async move {
        upkeep.await;
        Ok(())
    });
    let lines = minute::run(Arc::clone(&app), stopped.clone());
    parts.spawn(async move {
        lines.await;
        Ok(())
    });
    let removals = image_removals::run(app, stopped.clone());
    parts.spawn(async move {
        removals.await;
        Ok(())
    });
    parts.spawn(async move {
        relay.run(stopped).await;
        Ok(())
    });
    let ended = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        ended = parts.join_next() => ended,
    };
    tracing::info!("stopping");
    stop.send_replace(true);
    let rest = async {
        while let Some(part) = parts.join_next().await {
            part.context("a part of the server panicked")??;
        }
        pool.close().await;
        anyhow::Ok(())
    };
    let rest = tokio::time::timeout(Duration::from_millis(config.shutdown_ms_max), rest).await;
    if let Some(part) = ended {
        part.context("a part of the server panicked")??;
        anyhow::bail!("a part of the server ended by itself");
    }
    match rest {
        Ok(result) => result,
        Err(_) => {
            tracing::warn!("stopped with requests under way");
            Ok(())
        }
    }
}

/// Every minute, frees the memory that the limit of calls holds for users who have not called lately.
async fn tidy(app: Arc<App>, mut stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(60)) => app.pace.forget_the_idle(),
            _ = stopped.changed() => return Ok(()),
        }
    }
}

async fn listen(name: &str, address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {name} {address}"))
}

async fn answer(listener: TcpListener, router: Router, mut stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
    let stop = async move {
        // An error means that the sender is gone. Then this stops too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    axum::serve(listener, router).with_graceful_shutdown(stop).await.context("the listener failed")
}
