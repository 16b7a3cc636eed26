//! Passes REST calls on to the core, and the core's answers back.

use std::rc::Rc;

use futures_util::StreamExt;
use shared::{
    internal::REQUEST_ID_HEADER,
    limits::{BODY_BYTES_MAX, CORE_CALL_MS_MAX},
};
use worker::{
    Headers, Method, Request, RequestInit, RequestRedirect, Response, js_sys::Uint8Array, worker_sys::web_sys,
};

use crate::{Call, answer, auth, core_client, rate};

/// Headers that are not passed on: those that describe one connection (RFC 9110, section 7.6.1), and those that the runtime
/// sets itself.
const NOT_PASSED_ON: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept-encoding",
];

/// Passes a call on. It does not wait for the provider's keys, because the core checks the token. If the keys are cached, the
/// call counts for the rate limit of the token's user.
pub async fn pass_on(call: &Call, mut request: Request) -> worker::Result<Response> {
    if let Some(claims) = auth::caller_by_known_keys(call, &request).await
        && let Some(refusal) = rate::refusal(&call.env, rate::CALLS_PER_USER, claims.user_id.as_str()).await?
    {
        return Ok(refusal);
    }
    let Some(body) = body_of(&mut request).await? else {
        return answer::problem(413, "Content Too Large", "a request body has at most 65,536 bytes");
    };
    let registers = request.method() == Method::Post && request.path() == "/users/me";
    let outgoing = outgoing(call, &request, body)?;
    let Some(response) = core_client::send(&call.env, CORE_CALL_MS_MAX, outgoing).await else {
        return answer::unavailable("this part of the service is away for a moment; presence goes on");
    };
    if registers && response.status_code() == 201 {
        create_object(call, &request);
    }
    let headers = response.headers().clone();
    Ok(response.with_headers(headers))
}

/// Calls a newly registered user's object, so that the platform creates it now. An object stays near the place of its first
/// call, and this call comes from near its user.
fn create_object(call: &Call, request: &Request) {
    let Some(token) = auth::token_of(request) else { return };
    let (env, config, id) = (call.env.clone(), Rc::clone(&call.config), call.id.clone());
    call.context.wait_until(async move {
        let Ok(claims) = auth::check(&token, &config, Some(&id)).await else { return };
        let created = async { crate::object(&env, &claims.user_id)?.fetch_with_str("https://object/created").await };
        if let Err(error) = created.await {
            let line = serde_json::json!({ "level": "warn", "request.id": id, "error": answer::kind_of(&error) });
            worker::console_warn!("{line}");
        }
    });
}

fn outgoing(call: &Call, request: &Request, body: Vec<u8>) -> worker::Result<Request> {
    let url = request.url()?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let headers = Headers::new();
    for (name, value) in request.headers() {
        if !NOT_PASSED_ON.contains(&name.as_str()) && !name.starts_with("cf-") {
            headers.append(&name, &value)?;
        }
    }
    headers.set(REQUEST_ID_HEADER, &call.id)?;
    let mut init = RequestInit::new();
    init.with_headers(headers).with_redirect(RequestRedirect::Manual);
    if !body.is_empty() {
        init.with_body(Some(Uint8Array::from(body.as_slice()).into()));
    }
    let init = web_sys::RequestInit::from(&init);
    // Set on the raw object, because the `worker` crate turns methods that it does not know into GET.
    init.set_method(&request.inner().method());
    let url = format!("{}{}{query}", call.config.core_url, url.path());
    Ok(web_sys::Request::new_with_str_and_init(&url, &init)?.into())
}

/// The body, or `None` if it is longer than [`BODY_BYTES_MAX`]. The body of a `GET` or `HEAD` is ignored.
async fn body_of(request: &mut Request) -> worker::Result<Option<Vec<u8>>> {
    if matches!(request.inner().method().as_str(), "GET" | "HEAD") {
        return Ok(Some(Vec::new()));
    }
    read_at_most(request, BODY_BYTES_MAX).await
}

/// Reads a body of at most `bytes_max` bytes. `None` if it is longer: reading stops there. If `content-length` is greater
/// already, nothing is read.
pub async fn read_at_most(request: &mut Request, bytes_max: usize) -> worker::Result<Option<Vec<u8>>> {
    let mut body = Vec::new();
    if request.inner().body().is_none() {
        return Ok(Some(body));
    }
    let announced = request.headers().get("content-length")?.and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > bytes_max)) {
        return Ok(None);
    }
    let mut stream = request.stream()?;
    while let Some(chunk) = stream.next().await {
        body.extend_from_slice(&chunk?);
        if body.len() > bytes_max {
            return Ok(None);
        }
    }
    Ok(Some(body))
}
