//! The core: users, friendships and the events about them, over PostgreSQL. From the internet, only the edge reaches it.
//!
//! Deliberately absent: presence and pages. No table, log or metric here knows what anybody looks at.

pub mod auth;
pub mod bootstrap;
#[cfg(test)]
mod client_types;
mod clock;
pub mod config;
pub mod database;
mod default_domains;
mod error;
mod extract;
pub mod healthcheck;
pub mod image_removals;
mod image_store;
pub mod import;
mod looks;
pub mod metrics;
mod minute;
mod observe;
mod openapi;
pub mod operate;
mod outbox;
mod pace;
pub mod relay;
mod routes;
mod serve;
mod suspensions;
pub mod upkeep;
mod user_rows;
pub mod versions;

use std::{sync::Arc, time::Duration};

use axum::{Extension, Router, extract::DefaultBodyLimit, middleware, routing::get};
use shared::{
    limits::{BODY_BYTES_MAX, SECRETS_MAX},
    token::Issuer,
};
use sqlx::PgPool;
use tokio::sync::Notify;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    auth::IdentityProvider,
    config::{Bounds, EmailVerified, ServeConfig},
    error::Error,
    image_store::ImageStore,
    metrics::Metrics,
    pace::Pace,
    routes::{
        account, blocks,
        docs::{self, Written},
        domains, friendships, health, images, internal, people, search, shares, users,
    },
    suspensions::Suspensions,
};
pub use serve::serve;

/// The state that handlers share.
pub struct App {
    pool: PgPool,
    identity: IdentityProvider,
    metrics: Metrics,
    /// Notified by `outbox::commit`. It wakes the relay.
    outbox_written: Notify,
    /// A token of the edge may be signed with any of these. There are two during a rotation.
    service_token_secrets: Vec<String>,
    bounds: Bounds,
    email_verified: EmailVerified,
    pace: Pace,
    suspensions: Suspensions,
    image_store: ImageStore,
    request_time_max: Duration,
}

impl App {
    /// The state of one process over this database.
    ///
    /// # Errors
    ///
    /// When the TLS library cannot be set up, or the configuration contradicts itself.
    pub fn new(config: &ServeConfig, pool: PgPool) -> anyhow::Result<Arc<Self>> {
        let issuer = Issuer { issuer: config.oidc_issuer.clone(), audience: config.oidc_audience.clone() };
        let http = reqwest::Client::builder().timeout(Duration::from_millis(config.oidc_fetch_ms_max)).build()?;
        // Split here and not by the parser of arguments, whose errors repeat the value.
        let service_token_secrets: Vec<String> =
            config.service_token_secret.split_whitespace().map(str::to_owned).collect();
        anyhow::ensure!(
            (1..=SECRETS_MAX).contains(&service_token_secrets.len()),
            "SERVICE_TOKEN_SECRET must be one secret, or two with a space between them"
        );
        Ok(Arc::new(Self {
            pool,
            identity: IdentityProvider::new(issuer, config.oidc_jwks_url.clone(), http),
            metrics: Metrics::new(),
            outbox_written: Notify::new(),
            service_token_secrets,
            bounds: config.bounds,
            email_verified: config.email_verified,
            pace: Pace::new(&config.bounds),
            suspensions: Suspensions::default(),
            image_store: ImageStore::new(&config.image_store)?,
            request_time_max: config.request_time_max(),
        }))
    }
}

/// Every route of the core. Those of `public_routes` are in the public document too.
///
/// # Errors
///
/// When the document cannot be written.
pub fn router(app: Arc<App>) -> anyhow::Result<Router> {
    let (public, mut document) = public_routes().split_for_parts();
    openapi::complete(&mut document);
    let router = public
        .route("/docs/", get(docs::page_itself))
        .route("/docs/{*file}", get(docs::page_file))
        .route("/internal/users/{id}/social", get(internal::social))
        .fallback(async || Error::NotFound("There is nothing at this address."))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(Extension(Written::new(&document)?))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app);
    Ok(router)
}

/// The routes that are in the public document.
fn public_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::with_openapi(openapi::frame())
        .routes(routes!(health::ping))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(docs::document))
        .routes(routes!(docs::page))
        .routes(routes!(users::me, users::register, users::update, account::delete))
        .routes(routes!(users::update_domains))
        .routes(routes!(account::export))
        .routes(routes!(images::upload_url))
        .routes(routes!(images::remove))
        .routes(routes!(people::profile))
        .routes(routes!(images::url))
        .routes(routes!(people::profiles_of))
        .routes(routes!(images::urls))
        .routes(routes!(people::friends))
        .routes(routes!(people::friend_count))
        .routes(routes!(people::mutual_friends))
        .routes(routes!(people::mutual_friend_count))
        .routes(routes!(search::by_name))
        .routes(routes!(search::by_email))
        .routes(routes!(friendships::check))
        .routes(routes!(friendships::incoming, friendships::ask))
        .routes(routes!(friendships::sent))
        .routes(routes!(friendships::outgoing, friendships::decline))
        .routes(routes!(friendships::accept))
        .routes(routes!(friendships::end))
        .routes(routes!(friendships::all))
        .routes(routes!(search::friends_by_name))
        .routes(routes!(search::friends_by_email))
        .routes(routes!(blocks::list))
        .routes(routes!(blocks::block, blocks::unblock))
        .routes(routes!(shares::received, shares::broadcast))
        .routes(routes!(shares::personal))
        .routes(routes!(shares::sent))
        .routes(routes!(shares::read))
        .routes(routes!(domains::warnings))
}
