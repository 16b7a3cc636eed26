//! The edge: the one public origin. It checks the caller's token, answers the live channel and `/presence` through the
//! caller's own object, takes the core's events, and passes everything else on to the core.
//!
//! Deliberately absent: presence rules (they are in `presence`), SQL, and trust in any header that says who the caller is.
//!
//! Unless a function says otherwise, it returns a `worker::Error` when the runtime refuses to make or read a request, an
//! answer or a header. The caller gets 500, and never sees the error's text.

mod answer;
mod auth;
mod clock;
mod config;
mod core_client;
mod counts;
mod effects;
mod events;
mod peers;
mod proxy;
mod rate;
mod raw_state;
mod storage;
mod user_object;

use answer::{finish, problem};
use config::Config;
use shared::{ids::UserId, internal::is_request_id};
use worker::{Context, Env, Headers, Method, Request, Response, event};

pub use user_object::UserObject;

/// Answers every request from outside.
#[event(fetch)]
async fn fetch(request: Request, env: Env, context: Context) -> worker::Result<Response> {
    let started = clock::now();
    let config = match Config::load(&env) {
        Ok(config) => config,
        Err(error) => {
            worker::console_error!("{}", serde_json::json!({ "level": "error", "error": error.to_string() }));
            return problem(500, "Internal Server Error", "this service is not configured");
        }
    };
    let call =
        Call { id: request_id(request.headers()), origin: request.headers().get("origin")?, config, env, context };
    let method = request.inner().method();
    let route = Route::of(&method, &request);
    let outcome = call.answer(&route, request).await;
    let response = outcome.or_else(|error| {
        let line = serde_json::json!({ "level": "error", "request.id": call.id, "route": route.name(), "error": answer::kind_of(&error) });
        worker::console_error!("{line}");
        problem(500, "Internal Server Error", "something went wrong here")
    })?;
    let line = serde_json::json!({
        "level": "info",
        "request.id": call.id,
        "route": route.name(),
        "method": method_name(&method),
        "status": response.status_code(),
        "duration_ms": clock::now().unix_ms() - started.unix_ms(),
    });
    worker::console_log!("{line}");
    finish(if method == "HEAD" { without_body(response)? } else { response }, &call)
}

/// The name of a method in logs. A method that a caller made up is "other", because it may hold any text.
fn method_name(method: &str) -> &str {
    if METHODS.contains(&method) { method } else { "other" }
}

/// Methods that clients use.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The answer to `HEAD`: status and headers as for `GET`, without the body.
fn without_body(response: Response) -> worker::Result<Response> {
    let bare = Response::empty()?.with_status(response.status_code());
    Ok(bare.with_headers(response.headers().clone()))
}

/// The context that every step of one request needs.
pub(crate) struct Call {
    /// The request's id, in every log line about it, here and in the core.
    pub id: String,
    /// The `Origin` header, if the caller is a browser.
    pub origin: Option<String>,
    pub config: std::rc::Rc<Config>,
    pub env: Env,
    pub context: Context,
}

/// The routes of the edge.
enum Route {
    /// `OPTIONS`: a browser asks what it may send (CORS).
    Preflight,
    Health,
    /// `GET /ws` or `GET /` with an upgrade to a WebSocket.
    Live,
    /// `GET /ws` without an upgrade, or `HEAD /ws`.
    UpgradeRequired,
    /// `GET /presence`, or `GET /presence/{friend}`.
    Presence {
        friend: Option<String>,
    },
    /// `POST /internal/events`, from the core.
    Events,
    /// `GET /internal/counts/{id}`: the counts of an object, if `COUNT_WORK` is on.
    Counts {
        id: String,
    },
    /// Any other path below `/internal`. Nothing there is public.
    Internal,
    /// A route of the edge with a method that it does not take, or a method that the runtime cannot pass on.
    NotAllowed {
        allow: &'static str,
    },
    /// Everything else is the core's.
    Core,
}

impl Route {
    fn of(method: &str, request: &Request) -> Self {
        let path = request.path();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let upgrade = request.headers().get("upgrade").ok().flatten();
        let upgrading = upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
        match (method, segments.as_slice()) {
            ("OPTIONS", _) => Self::Preflight,
            ("GET" | "HEAD", ["healthz"]) => Self::Health,
            ("GET", ["ws"]) if upgrading => Self::Live,
            ("GET" | "HEAD", ["ws"]) => Self::UpgradeRequired,
            ("GET", []) if upgrading => Self::Live,
            ("GET" | "HEAD", ["presence"]) => Self::Presence { friend: None },
            ("GET" | "HEAD", ["presence", friend]) => Self::Presence { friend: Some((*friend).to_owned()) },
            (_, ["healthz" | "ws" | "presence"] | ["presence", _]) => Self::NotAllowed { allow: "GET, HEAD" },
            ("POST", ["internal", "events"]) => Self::Events,
            ("GET", ["internal", "counts", id]) => Self::Counts { id: (*id).to_owned() },
            (_, ["internal", ..]) => Self::Internal,
            // The runtime cannot make a request with these methods, so the core cannot be asked.
            ("CONNECT" | "TRACE" | "TRACK", _) => Self::NotAllowed { allow: "GET, HEAD, POST, PUT, DELETE" },
            _ => Self::Core,
        }
    }

    /// The route's name in logs. The path is never logged, because it may hold names and e-mail addresses.
    fn name(&self) -> &'static str {
        match self {
            Self::Preflight => "preflight",
            Self::Health => "health",
            Self::Live | Self::UpgradeRequired => "live",
            Self::Presence { .. } => "presence",
            Self::Events => "events",
            Self::Counts { .. } => "counts",
            Self::Internal => "internal",
            Self::NotAllowed { .. } => "not-allowed",
            Self::Core => "core",
        }
    }
}

impl Call {
    async fn answer(&self, route: &Route, request: Request) -> worker::Result<Response> {
        // Not for events: the core sends all of them from a few addresses.
        if !matches!(route, Route::Events)
            && let Some(address) = request.headers().get("cf-connecting-ip")?
            && let Some(refusal) = rate::refusal(&self.env, rate::REQUESTS_PER_ADDRESS, &address).await?
        {
            return Ok(refusal);
        }
        match route {
            Route::Preflight => Response::empty().map(|response| response.with_status(204)),
            Route::Health => Response::ok("ok"),
            Route::Live => self.live(&request).await,
            Route::UpgradeRequired => upgrade_required(),
            Route::Presence { friend } => self.presence(friend.as_deref(), &request).await,
            Route::Events => events::take(self, request).await,
            Route::Counts { id } => match id.parse() {
                Ok(id) if self.config.counts => Response::from_json(&counts::of(&id)),
                _ => problem(404, "Not Found", "there is nothing here"),
            },
            Route::Internal => problem(404, "Not Found", "there is nothing here"),
            Route::NotAllowed { allow } => {
                let mut response = problem(405, "Method Not Allowed", "this address takes other methods")?;
                response.headers_mut().set("allow", allow)?;
                Ok(response)
            }
            Route::Core => proxy::pass_on(self, request).await,
        }
    }

    async fn live(&self, request: &Request) -> worker::Result<Response> {
        let claims = match auth::caller(self, request).await {
            Ok(claims) => claims,
            Err(refusal) => return refusal.response(),
        };
        if let Some(refusal) = rate::refusal(&self.env, rate::UPGRADES_PER_USER, claims.user_id.as_str()).await? {
            return Ok(refusal);
        }
        let mut inner = Request::new("https://object/live", Method::Get)?;
        let headers = inner.headers_mut()?;
        headers.set("upgrade", "websocket")?;
        headers.set(user_object::EXPIRES_AT_HEADER, &claims.expires_at.unix_ms().to_string())?;
        if auth::names_subprotocol(request.headers())? {
            headers.set("sec-websocket-protocol", shared::wire::SUBPROTOCOL)?;
        }
        object(&self.env, &claims.user_id)?.fetch_with_request(inner).await
    }

    async fn presence(&self, friend: Option<&str>, request: &Request) -> worker::Result<Response> {
        let claims = match auth::caller(self, request).await {
            Ok(claims) => claims,
            Err(refusal) => return refusal.response(),
        };
        if let Some(refusal) = rate::refusal(&self.env, rate::CALLS_PER_USER, claims.user_id.as_str()).await? {
            return Ok(refusal);
        }
        let mut url = url::Url::parse("https://object/presence")?;
        if let Some(text) = friend {
            let id =
                percent_encoding::percent_decode_str(text).decode_utf8().ok().and_then(|id| id.parse::<UserId>().ok());
            let Some(id) = id else {
                return answer::invalid(400, "Bad Request", "id", &shared::ids::BadUserId.to_string());
            };
            url.query_pairs_mut().append_pair("friend", id.as_str());
        }
        object(&self.env, &claims.user_id)?.fetch_with_str(url.as_str()).await
    }
}

fn upgrade_required() -> worker::Result<Response> {
    let mut response = problem(426, "Upgrade Required", "this is a WebSocket: ask for an upgrade")?;
    response.headers_mut().set("upgrade", "websocket")?;
    Ok(response)
}

/// The stub of a user's object. Creating it does not wake the object.
pub(crate) fn object(env: &Env, id: &UserId) -> worker::Result<worker::Stub> {
    env.durable_object(config::USERS)?.get_by_name(id.as_str())
}

/// The caller's request id if it is valid, else a new one.
fn request_id(headers: &Headers) -> String {
    let given = headers.get(shared::internal::REQUEST_ID_HEADER).ok().flatten();
    given.filter(|id| is_request_id(id.as_bytes())).unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}
