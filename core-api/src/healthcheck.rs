//! Asks whether a server on this machine is up, as an orchestrator would.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::anyhow;
use shared::limits::HEALTHCHECK_MS_MAX;

/// Calls `/healthz`. That does not use the database, so that an outage of the database does not cause restarts.
///
/// # Errors
///
/// When there is no answer within [`HEALTHCHECK_MS_MAX`], or the answer is not a success.
pub async fn run(listen_addr: SocketAddr) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_millis(HEALTHCHECK_MS_MAX)).no_proxy().build()?;
    let url = format!("http://{}/healthz", reachable(listen_addr));
    // In one line, because orchestrators keep only that.
    let no_answer = |error: reqwest::Error| anyhow!("no answer: {:#}", anyhow::Error::new(error.without_url()));
    let answer = client.get(url).send().await.map_err(no_answer)?;
    anyhow::ensure!(answer.status().is_success(), "the answer is {}", answer.status());
    Ok(())
}

/// The address at which to reach a server that listens at this one. If it listens at all addresses of the machine, that is
/// the loopback address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}
