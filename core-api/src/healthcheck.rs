//! Whether a server on this machine is up, asked as an orchestrator would.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::anyhow;
use shared::limits::HEALTHCHECK_MS_MAX;

/// Asks for `/healthz`. It asks nothing of the database, so that an outage of that restarts nobody.
///
/// # Errors
///
/// When there is no answer within [`HEALTHCHECK_MS_MAX`], or it is no success.
pub async fn run(listen_addr: SocketAddr) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().timeout(Duration::from_millis(HEALTHCHECK_MS_MAX)).no_proxy().build()?;
    let url = format!("http://{}/healthz", reachable(listen_addr));
    // In one line, which is what orchestrators keep of it.
    let no_answer = |error: reqwest::Error| anyhow!("no answer: {:#}", anyhow::Error::new(error.without_url()));
    let answer = client.get(url).send().await.map_err(no_answer)?;
    anyhow::ensure!(answer.status().is_success(), "the answer is {}", answer.status());
    Ok(())
}

/// Where to reach what listens there: a server that listens at all addresses of the machine does so at its own too.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}
