//! Authentication: finds the caller's token in the request, and checks it with the provider's keys.

use std::{cell::RefCell, rc::Rc, time::Duration};

use shared::{
    limits::JWKS_REFETCH_MS_MIN,
    time::Timestamp,
    token::{self, Claims, KeyCache, Keys, Lookup},
    wire::SUBPROTOCOL,
};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use worker::{Delay, Headers, Method, Request, Response};

use crate::{Call, answer, clock, config::Config};

/// Longest wait for the headers of the provider's key set, and again for its body, in milliseconds.
const JWKS_FETCH_MS_MAX: u32 = 3_000;

/// Time between two looks at whether another request has fetched the keys, in milliseconds. In this runtime, one request
/// cannot await the IO of another.
const JWKS_POLL_MS: u64 = 20;

#[wasm_bindgen(module = "/src/signatures.mjs")]
extern "C" {
    #[wasm_bindgen(catch, js_name = importKey)]
    async fn import_key(jwk: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(catch, js_name = isSigned)]
    async fn is_signed(key: &JsValue, message: &str, signature: &str) -> Result<JsValue, JsValue>;
}

thread_local! {
    static KEYS: RefCell<KeyCache<JsValue>> = RefCell::default();
    /// Until when requests wait for another request's fetch of the keys.
    static FETCHING_UNTIL: RefCell<Option<Timestamp>> = const { RefCell::new(None) };
}

/// Why the caller is not known.
pub enum Refusal {
    Unauthorized,
    /// The provider's keys could not be fetched.
    NoKeys,
}

impl Refusal {
    /// The answer. It does not say what is wrong with a token, because that would only help somebody who forges tokens.
    pub fn response(self) -> worker::Result<Response> {
        match self {
            Self::Unauthorized => {
                let mut response = answer::problem(401, "Unauthorized", "a valid token is needed")?;
                response.headers_mut().set("www-authenticate", "Bearer")?;
                Ok(response)
            }
            Self::NoKeys => answer::unavailable("tokens cannot be checked at the moment"),
        }
    }
}

/// The verified caller of a request.
pub async fn caller(call: &Call, request: &Request) -> Result<Claims, Refusal> {
    let token = token_of(request).ok_or(Refusal::Unauthorized)?;
    check(&token, &call.config, Some(&call.id)).await
}

/// The verified caller of a request, if the provider's keys are cached. If they are not, they are fetched in the background,
/// for later requests.
pub async fn caller_by_known_keys(call: &Call, request: &Request) -> Option<Claims> {
    let token = token_of(request)?;
    let key_id = token::key_id(&token).ok()?;
    let now = clock::now();
    match KEYS.with_borrow(|keys| keys.look_up(&key_id, now)) {
        Lookup::Key(key) => verify(&token, &key, &call.config).await.ok(),
        Lookup::Unknown => None,
        Lookup::Fetch => {
            if !is_fetching(now) {
                let (config, id) = (Rc::clone(&call.config), call.id.clone());
                call.context.wait_until(async move { fetch_keys(&config, Some(&id), now).await });
            }
            None
        }
    }
}

/// Verifies a token, and returns its claims. `request_id` is for the log; `None` if no request brought the token.
pub async fn check(token: &str, config: &Config, request_id: Option<&str>) -> Result<Claims, Refusal> {
    let key_id = token::key_id(token).map_err(|_| Refusal::Unauthorized)?;
    let key = key(config, request_id, &key_id).await?;
    verify(token, &key, config).await
}

async fn verify(token: &str, key: &JsValue, config: &Config) -> Result<Claims, Refusal> {
    let is_signed = async |message: &str, signature: &str| {
        is_signed(key, message, signature).await.is_ok_and(|signed| signed.is_truthy())
    };
    token::verify(token, &config.issuer, clock::now(), is_signed).await.map_err(|_| Refusal::Unauthorized)
}

/// The token of a request: from the `Authorization` header; else the second subprotocol, where browsers can put it without
/// writing it into a URL; else the query parameter `Authorization`, which the published extension uses.
pub fn token_of(request: &Request) -> Option<String> {
    let headers = request.headers();
    if let Some(header) = headers.get("authorization").ok().flatten() {
        return Some(token::bearer(&header).to_owned());
    }
    if let Some(text) = subprotocols(headers).nth(1).filter(|_| names_subprotocol(headers).unwrap_or(false)) {
        return Some(text);
    }
    let url = request.url().ok()?;
    let (_, value) = url.query_pairs().find(|(name, _)| name == "Authorization")?;
    Some(token::bearer(&value).to_owned())
}

/// Whether the client names our subprotocol first. The answer must then name it too.
pub fn names_subprotocol(headers: &Headers) -> worker::Result<bool> {
    Ok(subprotocols(headers).next().is_some_and(|first| first == SUBPROTOCOL))
}

fn subprotocols(headers: &Headers) -> impl Iterator<Item = String> {
    let header = headers.get("sec-websocket-protocol").ok().flatten().unwrap_or_default();
    header.split(',').map(|text| text.trim().to_owned()).collect::<Vec<_>>().into_iter()
}

async fn key(config: &Config, request_id: Option<&str>, key_id: &str) -> Result<JsValue, Refusal> {
    loop {
        let now = clock::now();
        let fetching = is_fetching(now);
        match KEYS.with_borrow(|keys| keys.look_up(key_id, now)) {
            Lookup::Key(key) => return Ok(key),
            Lookup::Fetch | Lookup::Unknown if fetching => Delay::from(Duration::from_millis(JWKS_POLL_MS)).await,
            Lookup::Fetch => fetch_keys(config, request_id, now).await,
            Lookup::Unknown if KEYS.with_borrow(KeyCache::is_empty) => return Err(Refusal::NoKeys),
            Lookup::Unknown => return Err(Refusal::Unauthorized),
        }
    }
}

/// Whether another request is fetching the keys.
fn is_fetching(now: Timestamp) -> bool {
    FETCHING_UNTIL.with_borrow(|until| until.is_some_and(|until| now < until))
}

async fn fetch_keys(config: &Config, request_id: Option<&str>, now: Timestamp) {
    KEYS.with_borrow_mut(|keys| keys.fetching(now));
    FETCHING_UNTIL.set(Some(now.plus_ms(i64::from(JWKS_FETCH_MS_MAX).min(JWKS_REFETCH_MS_MIN))));
    let warn = |message: &str| {
        worker::console_warn!(
            "{}",
            serde_json::json!({ "level": "warn", "request.id": request_id, "message": message })
        );
    };
    match Request::new(&config.jwks_url, Method::Get) {
        Ok(request) => match fetched(request).await {
            Some((keys, all)) => {
                if !all {
                    warn("some of the signing keys cannot be used");
                }
                KEYS.with_borrow_mut(|cache| cache.store(keys, now));
            }
            None => warn("the signing keys could not be fetched"),
        },
        Err(error) => worker::console_error!(
            "{}",
            serde_json::json!({ "level": "error", "request.id": request_id, "error": answer::kind_of(&error) })
        ),
    }
    FETCHING_UNTIL.set(None);
}

/// The keys that can be used, and whether these are all keys of the set. `None` if the key set could not be fetched or read.
async fn fetched(request: Request) -> Option<(Keys<JsValue>, bool)> {
    let mut response = clock::fetch_within(JWKS_FETCH_MS_MAX, request).await?.ok()?;
    if response.status_code() != 200 {
        return None;
    }
    let body = clock::within(JWKS_FETCH_MS_MAX, response.bytes()).await?.ok()?;
    let (mut keys, mut all) = (Keys::new(), true);
    for (id, jwk) in token::signing_keys(&body).ok()? {
        match import_key(&serde_json::to_string(&jwk).ok()?).await {
            Ok(key) => drop(keys.insert(id, key)),
            Err(_) => all = false,
        }
    }
    Some((keys, all))
}
