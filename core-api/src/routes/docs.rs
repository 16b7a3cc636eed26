//! The document of the API, and a page that shows it. Everything that the page needs comes from here.

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

/// The document as JSON, written once.
#[derive(Clone)]
pub struct Written(Bytes);

impl Written {
    /// Writes the document of all routes.
    ///
    /// # Errors
    ///
    /// When the document cannot be written as JSON. With these types, that does not happen.
    pub fn new(document: &OpenApi) -> serde_json::Result<Self> {
        serde_json::to_vec(document).map(|text| Self(text.into()))
    }
}

/// This document.
///
/// It is OpenAPI 3.1, made from the code that answers.
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

/// `GET /docs/{file}`: the files of the page.
pub async fn page_file(Path(name): Path<String>) -> Result<Response> {
    file(&name)
}

fn file(name: &str) -> Result<Response> {
    // The address is relative to the page, because all paths may have a prefix. No validator of another site is asked
    // about the document.
    let config = Config::from("../openapi.json").validator_url("none");
    let file = utoipa_swagger_ui::serve(name, Arc::new(config))
        .map_err(|_| Error::Internal("the page of the document cannot be made".to_owned()))?
        .ok_or(Error::NotFound("There is nothing at this address."))?;
    Ok(([(CONTENT_TYPE, file.content_type)], file.bytes).into_response())
}
