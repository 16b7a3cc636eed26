//! What the API says of itself: the document, and a page that shows it. Everything the page needs comes from here.

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Redirect, Response},
};
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::Config;

use crate::{
    error::{Error, Result},
    extract::Path,
};

/// The document, written out once.
#[derive(Clone)]
pub struct Written(Bytes);

impl Written {
    /// Writes the document of all routes.
    ///
    /// # Errors
    ///
    /// When the document cannot be JSON, which none of these types allows.
    pub fn new(document: &OpenApi) -> serde_json::Result<Self> {
        serde_json::to_vec(document).map(|text| Self(text.into()))
    }
}

/// This document.
///
/// OpenAPI 3.1, made from the code that answers.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "service",
    security(()),
    responses((status = 200, description = "The document.", body = Object))
)]
pub async fn document(Extension(Written(text)): Extension<Written>) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}

/// This document as a page.
#[utoipa::path(
    get,
    path = "/docs",
    tag = "service",
    security(()),
    responses((status = 303, description = "The page is at /docs/."))
)]
pub async fn page() -> Redirect {
    Redirect::to("/docs/")
}

/// `GET /docs/`.
pub async fn page_itself() -> Result<Response> {
    file("index.html")
}

/// `GET /docs/{file}`: what the page asks for.
pub async fn page_file(Path(name): Path<String>) -> Result<Response> {
    file(&name)
}

fn file(name: &str) -> Result<Response> {
    // As seen from the page, for there may be a prefix before all of this.
    // And nobody else is asked what they think of it.
    let config = Config::from("../openapi.json").validator_url("none");
    let file = utoipa_swagger_ui::serve(name, Arc::new(config))
        .map_err(|_| Error::Internal("the page of the document cannot be made".to_owned()))?
        .ok_or(Error::NotFound("There is nothing at this address."))?;
    Ok(([(CONTENT_TYPE, file.content_type)], file.bytes).into_response())
}
