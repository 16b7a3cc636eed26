//! Whether this process is there, and whether it can serve.

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::Serialize;

use crate::{
    App, database,
    error::{Error, Result},
};

/// The body of a healthy answer.
#[derive(Serialize)]
pub struct Status {
    status: &'static str,
}

/// `GET /ping`.
pub async fn ping() -> Json<&'static str> {
    Json("pong")
}

/// `GET /healthz`: the process is up. Asks nothing else, so that a database outage restarts nobody.
pub async fn healthz() -> Json<Status> {
    Json(Status { status: "ok" })
}

/// `GET /readyz`: PostgreSQL answers and has every migration of this binary.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<Json<Status>> {
    if database::is_migrated(&app.pool).await? {
        Ok(Json(Status { status: "ready" }))
    } else {
        Err(Error::Unavailable("migrations are missing".to_owned()))
    }
}
