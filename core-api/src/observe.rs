//! What is done around every request: its id, deadline, largest size, log line and metrics, and the headers that protect its
//! answer.
//!
//! Deliberately absent: paths, queries and bodies. What is logged is the pattern of the route that matched.

use std::{any::Any, sync::Arc, time::Instant};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{
        HeaderMap, HeaderValue, Method,
        header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use shared::{
    internal::{REQUEST_ID_HEADER, is_request_id},
    limits::{ADDRESS_BYTES_MAX, HEADERS_BYTES_MAX},
};
use tracing::{Instrument, field::Empty};
use uuid::Uuid;

use crate::{App, error::Error};

/// The middleware.
pub async fn observe(
    State(app): State<Arc<App>>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = known_method(request.method());
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!(
        "request",
        request.id = id.to_str().unwrap_or_default(),
        http.method = method,
        http.route = route,
        user.id = Empty
    );
    let served = async {
        let response = match oversize(&request) {
            Some(error) => error.into_response(),
            None => {
                let served = tokio::time::timeout(app.request_time_max, next.run(request)).await;
                served.unwrap_or_else(|_| Error::Unavailable("request timed out".to_owned()).into_response())
            }
        };
        let (status, took) = (response.status().as_u16(), started.elapsed());
        app.metrics.answered(method, route, status, took);
        tracing::info!(http.status = status, duration_ms = took.as_secs_f64() * 1_000.0, "answered");
        response
    };
    let mut response = served.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID_HEADER, id);
    protect(route, response.headers_mut());
    response
}

/// Sets the headers that say what browsers and caches may do with an answer. Only the answers that describe the API are the
/// same for everybody. All others are for the caller alone, or true only now.
fn protect(route: &str, headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let page = matches!(route, "/docs" | "/docs/" | "/docs/{*file}");
    if page {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
    }
    // What describes the API changes with a deployment.
    let keep = if page || route == "/openapi.json" { "no-cache" } else { "no-store" };
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(keep));
}

/// The content security policy of the page that shows the document. The page needs its own files, the document, and calls
/// to the API at its own origin. Its style sheet has images in it, and its logo has a style in it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The error if the address or the headers of a request are too large. Its body is not looked at here.
fn oversize(request: &Request) -> Option<Error> {
    let address_bytes = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    let headers_bytes: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if address_bytes > ADDRESS_BYTES_MAX {
        Some(Error::AddressTooLong)
    } else {
        (headers_bytes > HEADERS_BYTES_MAX).then_some(Error::HeadersTooLarge)
    }
}

/// The answer when a handler panics. The panic hook has logged the place. The message is neither logged nor sent.
pub fn panicked(_: Box<dyn Any + Send>) -> Response {
    Error::Internal("a handler panicked".to_owned()).into_response()
}

/// The caller's id of the request if it is safe in logs and headers, otherwise a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    headers.get(REQUEST_ID_HEADER).filter(|id| is_request_id(id.as_bytes())).cloned().unwrap_or_else(|| {
        // The text of a UUID is always a valid header value.
        HeaderValue::try_from(Uuid::now_v7().to_string()).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// The method, or `other` if it is not one of these: labels must have few values.
fn known_method(method: &Method) -> &'static str {
    let known = [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PATCH];
    let names = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"];
    known.iter().zip(names).find(|(one, _)| *one == method).map_or("other", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::StatusCode, routing::get};
    use shared::api::PROBLEM_JSON;
    use tower::ServiceExt;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_without_its_message() {
        let broken = || async {
            if true {
                panic!("secret")
            }
        };
        let router = Router::new().route("/", get(broken)).layer(CatchPanicLayer::custom(panicked));
        let response = router.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.headers()["content-type"], PROBLEM_JSON);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        assert!(!String::from_utf8_lossy(&body).contains("secret"));
    }
}
