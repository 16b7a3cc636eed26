//! An HTTP client for commands and tests.

use std::{
    sync::Once,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::child::Child;

/// A client that gives up on a call after ten seconds.
pub fn client() -> Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // This fails if another part of the process has installed one already. Any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let client = reqwest::Client::builder().timeout(Duration::from_secs(10)).no_proxy();
    client.build().context("cannot make an HTTP client")
}

/// Waits until `url` answers with a status of success. Fails if the child ends first, or if it takes longer than `patience`.
pub async fn wait_until_ready(url: &str, child: &mut Child, patience: Duration) -> Result<()> {
    let client = client()?;
    let begun = Instant::now();
    loop {
        let answer = client.get(url).timeout(Duration::from_secs(5)).send().await;
        if answer.as_ref().is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        if let Some(status) = child.ended()? {
            bail!("{}", child.exit_report(status));
        }
        if begun.elapsed() > patience {
            let last = match answer {
                Ok(answer) => format!("it answers {}", answer.status()),
                Err(error) => format!("{:#}", anyhow::Error::new(error)),
            };
            bail!("{} is not ready after {} s ({last})\n{}", child.name(), patience.as_secs(), child.log_end());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
