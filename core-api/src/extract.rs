//! From what a caller sent to types: bodies, path parameters and paging, each refused with the field named.
//!
//! Deliberately absent: who is calling (`auth`), and bounds of particular fields, which stand with their type.

use std::{fmt::Display, str::FromStr};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
};
use garde::Validate;
use serde::de::{DeserializeOwned, IgnoredAny};
use shared::{
    api::FieldError,
    limits::{PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX},
};

use crate::error::{Error, Result};

/// Most errors told about one body. A list can have thousands of bad entries, and nobody reads so many.
const FIELD_ERRORS_MAX: usize = 20;

/// A JSON body within its bounds. The content type is not looked at, because some published clients send
/// `text/plain` or none.
pub struct Body<T>(pub T);

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
                _ => Error::Malformed { detail: "The body did not arrive whole.", errors: Vec::new() },
            }
        })?;
        let body: T = parse_json(&bytes)?;
        body.validate().map_err(|report| {
            let errors = report.iter().take(FIELD_ERRORS_MAX);
            let errors =
                errors.map(|(path, error)| FieldError { field: path.to_string(), message: error.message().to_owned() });
            Error::Invalid(errors.collect())
        })?;
        Ok(Self(body))
    }
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    const NOT_JSON: Error = Error::Malformed { detail: "The body is not JSON.", errors: Vec::new() };

    // Whether it is JSON at all comes first: a parser that looks for fields stops at the first that is missing.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|_| NOT_JSON)?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| if error.inner().is_data() { Error::Invalid(vec![wrong_shape(&error)]) } else { NOT_JSON })
}

/// Says what was expected where, never what was sent instead.
fn wrong_shape(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let parent = error.path().to_string();
    let parent = if parent == "." { String::new() } else { parent };
    let text = error.inner().to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let field = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        return FieldError { field, message: "is missing".to_owned() };
    }
    let message = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if ["invalid ", "unknown ", "duplicate "].iter().any(|start| text.starts_with(start)) => {
            "is not acceptable".to_owned()
        }
        // The words of one of our own types, which repeat nothing.
        None => text.to_owned(),
    };
    FieldError { field: parent, message }
}

/// The one parameter of a path.
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: FromStr<Err: Display>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::malformed_field("path", "is not UTF-8 once decoded"))?;
        let (field, text) =
            params.iter().next().ok_or_else(|| Error::Internal("a route without its parameter".to_owned()))?;
        text.parse().map(Self).map_err(|error: T::Err| Error::malformed_field(field, error.to_string()))
    }
}

/// Which part of a list is asked for: `?limit&offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// 0 to [`PAGE_ITEMS_MAX`]; `None` when the caller named none.
    pub limit: Option<i64>,
    /// Items left out at the start.
    pub offset: i64,
}

impl Paging {
    /// The limit, or the contract's usual default.
    pub fn limit_or_default(self) -> i64 {
        self.limit.unwrap_or(i64::from(PAGE_ITEMS_DEFAULT))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::malformed_field("query", "cannot be read"))?;
        let mut paging = Self { limit: None, offset: 0 };
        for (name, text) in &pairs {
            match name.as_str() {
                "limit" => paging.limit = Some(natural(name, text)?.min(i64::from(PAGE_ITEMS_MAX))),
                "offset" => paging.offset = natural(name, text)?,
                _ => {}
            }
        }
        Ok(paging)
    }
}

fn natural(field: &str, text: &str) -> Result<i64> {
    let number: i64 = text.parse().map_err(|_| Error::malformed_field(field, "is not a whole number"))?;
    if number < 0 { Err(Error::malformed_field(field, "must not be negative")) } else { Ok(number) }
}
