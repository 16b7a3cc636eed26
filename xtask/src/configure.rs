//! `cargo xtask configure`: one file of JSON and `wrangler.toml` become what `wrangler deploy` takes.

use std::path::PathBuf;

use anyhow::Result;
use devstack::{
    project,
    step::{say, show},
    tools,
};

/// Writes wrangler.ENVIRONMENT.json, from which the edge is deployed:
///
///   wrangler deploy --config wrangler.ENVIRONMENT.json --env ENVIRONMENT
///
/// FILE is a JSON object, such as
///
/// ```json
/// {
///   "edge_host": "api.example.org",
///   "core_service_id": "0199c2a0-0000-7000-8000-000000000000",
///   "oidc_issuer": "https://id.example.org/pool",
///   "oidc_audience": "client",
///   "oidc_jwks_url": "https://id.example.org/pool/keys",
///   "cors_origins": ["https://web.example.org"],
///   "images_origin": "https://images.s3.eu-central-1.amazonaws.com",
///   "sign_in_origin": "https://us.auth.eu-central-1.amazoncognito.com"
/// }
/// ```
///
/// The last may be left out where the issuer's sign-in page has its origin. `cargo xtask package` builds the client from the same
/// file, the page into the folder that is deployed with the edge.
/// In it `core_service_id` is the Workers VPC service that leads to the core. It holds no secret: EVENT_SIGNING_SECRETS and
/// SERVICE_TOKEN_SECRET are set with `wrangler secret put --env ENVIRONMENT`.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Configure {
    /// An environment of wrangler.toml: staging or production.
    pub environment: String,
    /// What only the deployment knows.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

/// Reads, checks and writes it. The exit code is 1 when something in the file is wrong, which is then named.
pub async fn run(configure: Configure) -> Result<u8> {
    tools::ensure_npm_packages().await?;
    let Configure { environment, from } = configure;
    let here = std::env::current_dir()?;
    // Beside wrangler.toml: the paths in both are relative to where they stand.
    let to = project::root().join(format!("wrangler.{environment}.json"));
    let mut node = project::command(tools::node().await?);
    node.arg(project::root().join("edge-worker/configure.mjs")).arg(&environment).arg(here.join(from)).arg(&to);
    let code = show("configure", node).await?;
    if code == 0 {
        say(&format!("Written: {}", to.display()));
    }
    Ok(u8::from(code != 0))
}
