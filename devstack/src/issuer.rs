//! Runs the OpenID Connect provider of development.

use std::{path::Path, time::Duration};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::{
    child::{Child, Output},
    http::wait_until_ready,
    ports::Port,
    project,
    step::{OrStepFailed as _, say},
    tools,
};

/// The audience of tokens in development: the id of a client that exists only there.
const DEV_AUDIENCE: &str = "pagenow-dev";

/// The issuer whose tokens the servers accept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// Exactly the `iss` claim of the tokens.
    pub issuer: String,
    /// The URL of the issuer's signing keys.
    pub jwks_url: String,
    /// The client id that tokens must be meant for.
    pub audience: String,
}

/// Starts the provider and waits until it answers. Its key and log are kept in `dir`.
///
/// # Errors
///
/// If it ends by itself, or does not answer within half a minute.
pub async fn start(dir: &Path, port: &Port) -> Result<(Child, Issuer)> {
    const STEP: &str = "Starting the OIDC provider";
    const ADVICE: &str = "read its words above; `--reset` makes it a new key";
    const PATIENCE: Duration = Duration::from_secs(30);
    say(STEP);
    let mut node = project::command(tools::node().await?);
    node.arg(project::root().join("dev/oidc.mjs")).arg(port.number().to_string());
    node.arg(dir.join("oidc-key.json")).arg(DEV_AUDIENCE);
    let log = Output::Log(dir.join("logs/oidc.log"));
    let mut child = Child::start("the OIDC provider", node, log).or_step_failed(STEP, ADVICE)?;
    let issuer =
        Issuer { issuer: port.url(), jwks_url: format!("{}/jwks", port.url()), audience: DEV_AUDIENCE.to_owned() };
    wait_until_ready(&issuer.jwks_url, &mut child, PATIENCE).await.or_step_failed(STEP, ADVICE)?;
    Ok((child, issuer))
}
