//! `cargo xtask configure`: writes the configuration for `wrangler deploy` from `wrangler.toml` and a deployment's JSON file.

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
/// `core_service_id` is the id of the Workers VPC service that leads to the core. `sign_in_origin` may be left out if the
/// issuer's sign-in page is at the issuer's own origin. `images_origin` and `sign_in_origin` are for the client, which
/// `cargo xtask package` builds from the same file.
///
/// The file holds no secret. EVENT_SIGNING_SECRETS and SERVICE_TOKEN_SECRET are set with
/// `wrangler secret put NAME --env ENVIRONMENT`.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Configure {
    /// An environment of wrangler.toml: staging or production.
    pub environment: String,
    /// The JSON file with the values of the deployment.
    #[arg(long, value_name = "FILE")]
    pub from: PathBuf,
}

/// Reads and checks the file, and writes the configuration. The exit code is 1 if the file is wrong; the faults are printed.
pub async fn run(configure: Configure) -> Result<u8> {
    tools::ensure_npm_packages().await?;
    let Configure { environment, from } = configure;
    let here = std::env::current_dir()?;
    // Written beside wrangler.toml, because the paths in both files are relative to the files themselves.
    let to = project::root().join(format!("wrangler.{environment}.json"));
    let mut node = project::command(tools::node().await?);
    node.arg(project::root().join("edge-worker/configure.mjs")).arg(&environment).arg(here.join(from)).arg(&to);
    let code = show("configure", node).await?;
    if code == 0 {
        say(&format!("Written: {}", to.display()));
    }
    Ok(u8::from(code != 0))
}
