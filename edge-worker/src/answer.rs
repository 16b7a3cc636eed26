//! The edge's answers: problem documents (RFC 9457), and the headers that every answer carries.

use shared::{
    api::{FieldError, PROBLEM_JSON, Problem},
    internal::REQUEST_ID_HEADER,
};
use worker::{Error, Response};

use crate::Call;

/// Seconds after which a client may try again when the core or the key provider is away.
const RETRY_AFTER_S: &str = "5";

/// An error answer.
pub fn problem(status: u16, title: &str, detail: &str) -> worker::Result<Response> {
    send(&Problem::new(status, title, detail))
}

/// An error answer about one field of the request.
pub fn invalid(status: u16, title: &str, field: &str, message: &str) -> worker::Result<Response> {
    let mut problem = Problem::new(status, title, format!("{field}: {message}"));
    problem.errors.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    send(&problem)
}

/// The answer 503: something that the answer needs, such as the core, is away for now.
pub fn unavailable(detail: &str) -> worker::Result<Response> {
    let mut response = problem(503, "Service Unavailable", detail)?;
    response.headers_mut().set("retry-after", RETRY_AFTER_S)?;
    Ok(response)
}

/// The answer 429: the caller did this too often, and may do it again after `retry_after_ms` milliseconds.
pub fn too_many(detail: &str, retry_after_ms: i64) -> worker::Result<Response> {
    let mut response = problem(429, "Too Many Requests", detail)?;
    let retry_after_s = retry_after_ms.saturating_add(999) / 1_000;
    response.headers_mut().set("retry-after", &retry_after_s.max(1).to_string())?;
    Ok(response)
}

fn send(problem: &Problem) -> worker::Result<Response> {
    let mut response = Response::from_json(problem)?.with_status(problem.status);
    response.headers_mut().set("content-type", PROBLEM_JSON)?;
    Ok(response)
}

/// The kind of an error, for logs. The error's text is not logged, because it may hold a URL.
pub fn kind_of(error: &Error) -> &'static str {
    error.into()
}

/// Tells browsers to reach this host only by TLS for a year, in seconds (RFC 6797).
const TRANSPORT_SECURITY: &str = "max-age=31536000";

/// Adds the headers that every answer carries: the request's id, security headers, and CORS headers if the caller's origin
/// is allowed. An answer without `cache-control` is about a user, so it gets `no-store`.
pub fn finish(response: Response, call: &Call) -> worker::Result<Response> {
    // The object answers an upgrade. Browsers do not check CORS for WebSockets, and its headers must not be changed here.
    if response.status_code() == 101 {
        return Ok(response);
    }
    let headers = response.headers().clone();
    headers.set(REQUEST_ID_HEADER, &call.id)?;
    headers.set("x-content-type-options", "nosniff")?;
    headers.set("strict-transport-security", TRANSPORT_SECURITY)?;
    if !headers.has("cache-control")? {
        headers.set("cache-control", "no-store")?;
    }
    headers.append("vary", "Origin")?;
    if let Some(origin) = call.origin.as_ref().filter(|origin| call.config.may_call(origin)) {
        headers.set("access-control-allow-origin", origin)?;
        headers.set("access-control-allow-methods", "GET, POST, PUT, DELETE")?;
        headers.set("access-control-allow-headers", "Authorization, Content-Type, Idempotency-Key")?;
        headers.set("access-control-expose-headers", "X-Request-Id, Retry-After")?;
        headers.set("access-control-max-age", "86400")?;
    }
    Ok(response.with_headers(headers))
}
