//! Everything that can go wrong with a request, and what the caller hears of it.
//!
//! Client errors explain what is wrong. Server errors say nothing about their cause, which is logged here, once.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use shared::api::{FieldError, PROBLEM_JSON, Problem};
use sqlx::error::DatabaseError;

/// Seconds after which a caller may try again what was unavailable.
const RETRY_AFTER_S: u64 = 2;

/// Why a request was not served.
#[derive(Debug)]
pub enum Error {
    /// 400: the request cannot be read, or makes no sense.
    Malformed { detail: &'static str, errors: Vec<FieldError> },
    /// 401: no valid token. Callers learn no more than that.
    Unauthorized,
    /// 403: the caller may not do this.
    Forbidden(&'static str),
    /// 404: no such thing.
    NotFound(&'static str),
    /// 405: known path, other method.
    MethodNotAllowed,
    /// 409: in conflict with what is stored.
    Conflict(&'static str),
    /// 429: possible again after `retry_after_s` seconds.
    TooMany { detail: &'static str, retry_after_s: u64 },
    /// 413: over [`shared::limits::BODY_BYTES_MAX`].
    TooLarge,
    /// 414: over [`shared::limits::ADDRESS_BYTES_MAX`].
    AddressTooLong,
    /// 431: over [`shared::limits::HEADERS_BYTES_MAX`].
    HeadersTooLarge,
    /// 422: well-formed, but the content is not acceptable.
    Invalid(Vec<FieldError>),
    /// 503: this core has no store for profile images.
    NoImageStore,
    /// 503: something that this service needs is away. The text is only for the log.
    Unavailable(String),
    /// 500: our fault. The text is only for the log.
    Internal(String),
}

/// The result of every handler and extractor.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A 400 that concerns one field of the path or query.
    pub fn malformed_field(field: &str, message: impl Into<String>) -> Self {
        let errors = vec![FieldError { field: field.to_owned(), message: message.into() }];
        Self::Malformed { detail: "A part of the address is malformed.", errors }
    }

    /// A 422 that concerns one field.
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooMany { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::AddressTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NoImageStore | Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(&self) -> &'static str {
        match self {
            Self::Malformed { detail, .. } | Self::TooMany { detail, .. } => detail,
            Self::Unauthorized => "A valid token is needed.",
            Self::Forbidden(detail) | Self::NotFound(detail) | Self::Conflict(detail) => detail,
            Self::MethodNotAllowed => "This address does not take that method.",
            Self::TooLarge => "The body is larger than 64 KiB.",
            Self::AddressTooLong => "The address is longer than 16 KiB.",
            Self::HeadersTooLarge => "The headers are larger than 32 KiB.",
            Self::NoImageStore => "Profile images are not set up on this server.",
            Self::Invalid(_) => "Some of the values are not acceptable.",
            Self::Unavailable(_) => "The service is not available right now. Please try again shortly.",
            Self::Internal(_) => "Something went wrong on our side.",
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = self.status();
        match &self {
            Self::Unavailable(cause) => tracing::warn!(cause, "unavailable"),
            Self::Internal(cause) => tracing::error!(cause, "internal error"),
            Self::Malformed { .. }
            | Self::Unauthorized
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed
            | Self::Conflict(_)
            | Self::TooMany { .. }
            | Self::TooLarge
            | Self::AddressTooLong
            | Self::HeadersTooLarge
            | Self::NoImageStore
            | Self::Invalid(_) => {}
        }
        let retry_after_s = if let Self::TooMany { retry_after_s, .. } = self {
            Some(retry_after_s)
        } else {
            (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S)
        };
        let mut problem = Problem::new(status.as_u16(), status.canonical_reason().unwrap_or_default(), self.detail());
        if let Self::Malformed { errors, .. } | Self::Invalid(errors) = self {
            problem.errors = errors;
        }
        // Writing strings and numbers as JSON does not fail. If it did, the status would still say what happened.
        let body = serde_json::to_vec(&problem).unwrap_or_else(|_| b"{}".to_vec());
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_JSON)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<sqlx::Error> for Error {
    /// Only the kind of error and its code reach the log: messages and details may repeat what users wrote.
    fn from(error: sqlx::Error) -> Self {
        if let sqlx::Error::Database(error) = &error {
            return from_database(error.as_ref());
        }
        let cause = format!("database: {}", kind(&error));
        let away = matches!(
            error,
            sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed
                | sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
        );
        if away { Self::Unavailable(cause) } else { Self::Internal(cause) }
    }
}

fn from_database(error: &dyn DatabaseError) -> Error {
    match error.constraint() {
        Some("users_pkey") => return Error::Conflict("You are registered already."),
        Some(EMAIL_UNIQUE) => return Error::Conflict("This e-mail address belongs to another account."),
        Some("friendships_of_two" | "blocks_of_two") => return NOT_WITH_YOURSELF,
        _ => {}
    }
    let code = error.code().unwrap_or_default();
    let cause = format!("database error {code}");
    if PASSING.iter().any(|start| code.starts_with(start)) { Error::Unavailable(cause) } else { Error::Internal(cause) }
}

/// The first characters of the SQLSTATE codes of errors that are no bug, and that pass by themselves or that an operator
/// resolves: connection lost, login or database missing, deadlock, no resources, shut down or out of time, a lock that was
/// not available, and a schema that is not migrated yet.
const PASSING: [&str; 9] = ["08", "28", "3D", "40", "53", "57", "55P03", "42P01", "42703"];

/// The constraint that an address belongs to one account only.
pub const EMAIL_UNIQUE: &str = "users_email_unique";

/// 403 for a caller with a token and no account, wherever an account is needed.
pub const NO_ACCOUNT: Error = Error::Forbidden("Register first, with POST /users/me.");

/// 403 for a caller whom an operator has suspended.
pub const SUSPENDED: Error = Error::Forbidden("This account is suspended.");

/// 404 for a user who does not exist, or whom a block hides from the caller.
pub const NO_SUCH_USER: Error = Error::NotFound("There is no such user.");

/// 400 for callers who name themselves where another user belongs.
pub const NOT_WITH_YOURSELF: Error =
    Error::Malformed { detail: "This takes somebody else than yourself.", errors: Vec::new() };

#[expect(clippy::wildcard_enum_match_arm, reason = "the library may add kinds, and few need words of their own")]
fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::PoolTimedOut => "no connection in time",
        sqlx::Error::PoolClosed => "the pool is closed",
        sqlx::Error::Io(_) => "the connection broke",
        sqlx::Error::Tls(_) => "TLS",
        sqlx::Error::RowNotFound => "row not found",
        sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } => "undecodable column",
        sqlx::Error::Encode(_) => "unencodable value",
        sqlx::Error::Protocol(_) => "protocol",
        _ => "other",
    }
}
