//! Whether this process is there, and whether it can serve.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    App, database,
    error::{Error, Result},
};

/// The state of this process.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// `ok` or `ready`.
    #[schema(examples("ok"))]
    status: &'static str,
}

/// Whether the process answers.
#[utoipa::path(
    get,
    path = "/ping",
    tag = "service",
    security(()),
    responses((status = 200, description = "Always pong.", body = String, content_type = "application/json", example = json!("pong")))
)]
pub async fn ping() -> Json<&'static str> {
    Json("pong")
}

/// Whether the process is up.
///
/// It does not use the database, so that an outage of the database does not cause restarts.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    security(()),
    responses((status = 200, description = "The process is up.", body = Status))
)]
pub async fn healthz() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// Whether requests can be served.
///
/// That is, whether PostgreSQL answers and has every migration of this program.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    security(()),
    responses((status = 200, description = "Requests can be served.", body = Status))
)]
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Status>> {
    if database::is_migrated(&app.pool).await? {
        Ok(Json(Status { status: "ready" }))
    } else {
        Err(Error::Unavailable("migrations are missing".to_owned()))
    }
}
