//! The core: users, friendships and the events about them, over PostgreSQL. Nothing on the internet reaches
//! it but the edge.
//!
//! Deliberately absent: presence and pages. No table, log or metric here knows what anybody looks at.

pub mod auth;
mod clock;
pub mod config;
pub mod database;
mod default_domains;
mod error;
mod extract;
pub mod metrics;
mod observe;
mod outbox;
pub mod relay;
mod routes;
mod serve;
mod user_rows;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    routing::{get, post, put},
};
use shared::{limits::BODY_BYTES_MAX, token::Issuer};
use sqlx::PgPool;
use tokio::sync::Notify;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    auth::IdentityProvider,
    config::{Bounds, ServeConfig},
    error::Error,
    metrics::Metrics,
    routes::{account, blocks, domains, friendships, health, internal, people, search, shares, users},
};
pub use serve::serve;

/// What handlers share.
pub struct App {
    pool: PgPool,
    identity: IdentityProvider,
    metrics: Metrics,
    /// Told after every commit that has written events.
    outbox_written: Notify,
    service_token_secret: String,
    bounds: Bounds,
    request_time_max: Duration,
}

impl App {
    /// The state of one process over this database.
    ///
    /// # Errors
    ///
    /// When the TLS library cannot be set up.
    pub fn new(config: &ServeConfig, pool: PgPool) -> anyhow::Result<Arc<Self>> {
        let issuer = Issuer { issuer: config.oidc_issuer.clone(), audience: config.oidc_audience.clone() };
        let http = reqwest::Client::builder().timeout(Duration::from_millis(config.oidc_fetch_ms_max)).build()?;
        Ok(Arc::new(Self {
            pool,
            identity: IdentityProvider::new(issuer, config.oidc_jwks_url.clone(), http),
            metrics: Metrics::new(),
            outbox_written: Notify::new(),
            service_token_secret: config.service_token_secret.clone(),
            bounds: config.bounds,
            request_time_max: config.request_time_max(),
        }))
    }
}

/// Every route of the core.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/ping", get(health::ping))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/users/me", get(users::me).post(users::register).put(users::update).delete(account::delete))
        .route("/users/me/domain_array/{list}", put(users::update_domains))
        .route("/users/me/export", get(account::export))
        .route("/users/id/{id}", get(people::profile))
        .route("/users/ids/{ids}", get(people::profiles_of))
        .route("/users/id/{id}/friends", get(people::friends))
        .route("/users/id/{id}/friends/count", get(people::friend_count))
        .route("/users/id/{id}/mutual-friends", get(people::mutual_friends))
        .route("/users/id/{id}/mutual-friends/count", get(people::mutual_friend_count))
        .route("/users/search/name/{text}", get(search::by_name))
        .route("/users/search/email/{text}", get(search::by_email))
        .route("/friendship/check/{id}", get(friendships::check))
        .route("/friendship/requests", get(friendships::incoming).post(friendships::ask))
        .route("/friendship/requests/{id}", get(friendships::outgoing).delete(friendships::decline))
        .route("/friendship/accept", post(friendships::accept))
        .route("/friendship/delete", post(friendships::end))
        .route("/friendship/all", get(friendships::all))
        .route("/friendship/search/name/{text}", get(search::friends_by_name))
        .route("/friendship/search/email/{text}", get(search::friends_by_email))
        .route("/friendship/blocks", get(blocks::list))
        .route("/friendship/blocks/{id}", put(blocks::block).delete(blocks::unblock))
        .route("/notifications/share", get(shares::received).post(shares::broadcast))
        .route("/notifications/share/personal", post(shares::personal))
        .route("/notifications/share/sent", get(shares::sent))
        .route("/notifications/share/read", post(shares::read))
        .route("/domains/share/warnings", get(domains::warnings))
        .route("/internal/users/{id}/social", get(internal::social))
        .fallback(async || Error::NotFound("There is nothing at this address."))
        .method_not_allowed_fallback(async || Error::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(observe::panicked))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe::observe))
        .with_state(app)
}
