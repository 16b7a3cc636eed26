//! Requests to the core, and the one question that an object asks it: the user's friends and settings.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use shared::{
    ids::UserId,
    internal::{REQUEST_ID_HEADER, Social},
    token::service,
};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use worker::{Env, Fetcher, Method, Request, Response};

use crate::{
    answer, clock,
    config::{CORE, Config},
};

#[wasm_bindgen(module = "/src/signatures.mjs")]
extern "C" {
    #[wasm_bindgen(catch)]
    async fn sign(secret: &str, message: &str) -> Result<JsValue, JsValue>;
}

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sends a request to the core: through the private binding if there is one, else to its address. `None` if the core does
/// not send the headers of an answer within `ms_max` milliseconds.
pub async fn send(env: &Env, ms_max: u32, request: Request) -> Option<Response> {
    let outcome = match env.service(CORE) {
        Ok(core) => clock::within(ms_max, through(&core, request)).await,
        Err(_) => clock::fetch_within(ms_max, request).await,
    };
    outcome?.ok()
}

async fn through(core: &Fetcher, request: Request) -> worker::Result<Response> {
    core.fetch_request(request).await
}

/// What the core says of a user.
pub enum Answer {
    Changed(Social),
    /// The core still has `known_version`.
    Same,
    NotRegistered,
    /// The core did not answer in time, or its answer is not one of the above.
    Away,
}

/// Asks the core for a user's friends and settings.
pub async fn social(env: &Env, config: &Config, id: &UserId, known_version: Option<u64>, ms_max: u32) -> Answer {
    let request = match social_request(config, id, known_version).await {
        Ok(request) => request,
        Err(error) => {
            // Signing failed. That does not happen with a secret that the core accepts.
            worker::console_error!("{}", serde_json::json!({ "level": "error", "error": answer::kind_of(&error) }));
            return Answer::Away;
        }
    };
    let Some(mut response) = send(env, ms_max, request).await else { return Answer::Away };
    match response.status_code() {
        200 => match clock::within(ms_max, response.json::<Social>()).await {
            Some(Ok(social)) => Answer::Changed(social),
            Some(Err(_)) | None => Answer::Away,
        },
        304 => Answer::Same,
        404 => Answer::NotRegistered,
        _ => Answer::Away,
    }
}

async fn social_request(config: &Config, id: &UserId, known_version: Option<u64>) -> worker::Result<Request> {
    let id = utf8_percent_encode(id.as_str(), UNRESERVED);
    let url = format!("{}/internal/users/{id}/social", config.core_url);
    let mut request = Request::new(&url, Method::Get)?;
    let unsigned = service::unsigned(clock::now()).map_err(|error| worker::Error::RustError(error.to_string()))?;
    let signature = sign(&config.service_token_secret, &unsigned).await?.as_string().unwrap_or_default();
    let headers = request.headers_mut()?;
    headers.set("authorization", &format!("Bearer {unsigned}.{signature}"))?;
    headers.set(REQUEST_ID_HEADER, &uuid::Uuid::new_v4().to_string())?;
    if let Some(version) = known_version {
        headers.set("if-none-match", &format!("\"{version}\""))?;
    }
    Ok(request)
}
