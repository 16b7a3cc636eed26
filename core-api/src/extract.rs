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
    ids::UserId,
    limits::{IDEMPOTENCY_KEY_CHARS_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, USER_IDS_LEN_MAX},
};

use utoipa::{IntoParams, ToSchema};

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

/// Bounds a text: at most so many characters, and none that PostgreSQL cannot store.
///
/// # Errors
///
/// What is wrong with it, for the caller.
pub fn bounded_text(text: &str, chars_max: usize) -> garde::Result {
    if text.contains('\0') {
        return Err(garde::Error::new("contains a character that cannot be stored"));
    }
    if text.chars().count() > chars_max {
        return Err(garde::Error::new(format!("has more than {chars_max} characters")));
    }
    Ok(())
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Most items to answer with. More than 100 is served as 100.
    #[param(minimum = 0)]
    pub limit: Option<i64>,
    /// Items left out at the start.
    #[param(minimum = 0, required = false)]
    pub offset: i64,
}

impl Paging {
    /// The limit, or the contract's usual default.
    pub fn limit_or_default(self) -> i64 {
        self.limit_or(PAGE_ITEMS_DEFAULT)
    }

    /// The limit, or this.
    pub fn limit_or(self, default: u32) -> i64 {
        self.limit.unwrap_or(i64::from(default))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let pairs = pairs(parts, state).await?;
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

/// `?is_read=true|false`: which received shares are asked for; `None`: all.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, names("is_read"))]
pub struct IsRead(
    /// Which received shares are asked for: read ones or unread ones; left out: all.
    pub Option<bool>,
);

impl<S: Send + Sync> FromRequestParts<S> for IsRead {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        flag(parts, state, "is_read").await.map(Self)
    }
}

/// `?exact`: whether the whole text must fit; so it must when the value is left out.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, names("exact"))]
pub struct Exact(
    /// Whether the whole text must fit.
    #[param(required = false)]
    pub bool,
);

impl<S: Send + Sync> FromRequestParts<S> for Exact {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(flag(parts, state, "exact").await?.unwrap_or(false)))
    }
}

/// A yes or no of the query; present without a value it is a yes.
async fn flag<S: Send + Sync>(parts: &mut Parts, state: &S, name: &'static str) -> Result<Option<bool>> {
    let pairs = pairs(parts, state).await?;
    let Some((_, text)) = pairs.iter().rfind(|(key, _)| key == name) else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "" | "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        _ => Err(Error::malformed_field(name, "is neither true nor false")),
    }
}

async fn pairs<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Vec<(String, String)>> {
    let pairs = Query::from_request_parts(parts, state).await;
    pairs.map(|Query(pairs)| pairs).map_err(|_| Error::malformed_field("query", "cannot be read"))
}

/// What a client calls a request, so that repeating it does nothing: the `Idempotency-Key` header.
#[derive(IntoParams)]
#[into_params(parameter_in = Header, names("Idempotency-Key"))]
pub struct IdempotencyKey(
    /// What the client calls this request: 1 to 255 visible ASCII characters.
    #[param(min_length = 1, max_length = 255, pattern = "^[!-~]+$", example = "a-key-of-my-own")]
    pub Option<String>,
);

/// The header's name, which is the field's in errors about it.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()));
        let message = || format!("is not 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters");
        let key = key.ok_or_else(|| Error::Malformed {
            detail: "A header is malformed.",
            errors: vec![FieldError { field: IDEMPOTENCY_KEY.to_owned(), message: message() }],
        })?;
        Ok(Self(Some(key.to_owned())))
    }
}

/// Ids separated by commas, as paths hold them: 1 to 100.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, min_length = 1, examples("alice,bob"))]
pub struct UserIds(pub Vec<UserId>);

impl FromStr for UserIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ids: Result<Vec<UserId>, _> = text.split(',').take(USER_IDS_LEN_MAX + 1).map(str::parse).collect();
        let ids = ids.map_err(|error| error.to_string())?;
        if ids.len() > USER_IDS_LEN_MAX { Err(format!("has more than {USER_IDS_LEN_MAX} ids")) } else { Ok(Self(ids)) }
    }
}

fn natural(field: &str, text: &str) -> Result<i64> {
    let number: i64 = text.parse().map_err(|_| Error::malformed_field(field, "is not a whole number"))?;
    if number < 0 { Err(Error::malformed_field(field, "must not be negative")) } else { Ok(number) }
}
