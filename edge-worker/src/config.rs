//! The worker's configuration, read from its environment once per instance.

use std::{cell::OnceCell, rc::Rc};

use presence::{EngineConfig, HeartbeatMode};
use shared::token::Issuer;
use standardwebhooks::Webhook;
use worker::Env;

/// The binding of the objects' namespace.
pub const USERS: &str = "USERS";

/// The binding through which the core is reached if it has no public address.
pub const CORE: &str = "CORE";

/// The scheme of the origin of every extension in Firefox.
const FIREFOX_EXTENSIONS: &str = "moz-extension://";

/// All configuration.
pub struct Config {
    /// Where the core answers, without a trailing slash. With the `CORE` binding only its scheme matters.
    pub core_url: String,
    pub issuer: Issuer,
    /// Where the issuer's signing keys are.
    pub jwks_url: String,
    /// Origins of web pages that may call.
    cors_origins: Vec<String>,
    pub engine: EngineConfig,
    /// Whether objects count what they do, and anybody may read the counts. Off in production.
    pub counts: bool,
    /// The secrets that may have signed a batch of events. There are two during a rotation.
    pub event_signers: Vec<Webhook>,
    /// Signs the edge's tokens for the core. If the variable holds two, this is the first: the core accepts both.
    pub service_token_secret: String,
}

/// Names the variable that is missing or not valid. It never holds the value.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not set or not valid")]
pub struct BadConfig(&'static str);

thread_local! {
    static CONFIG: OnceCell<Rc<Config>> = const { OnceCell::new() };
}

impl Config {
    /// The configuration of this instance.
    ///
    /// # Errors
    ///
    /// [`BadConfig`], naming the first variable at fault.
    pub fn load(env: &Env) -> Result<Rc<Self>, BadConfig> {
        CONFIG.with(|config| {
            if let Some(config) = config.get() {
                return Ok(Rc::clone(config));
            }
            let read = Rc::new(Self::read(env)?);
            Ok(Rc::clone(config.get_or_init(|| read)))
        })
    }

    /// Whether browsers let pages of this origin call. Firefox gives each installation of an extension a random origin, so
    /// every origin of that scheme is allowed. This is safe because calls need the user's token, and cookies are not used.
    pub fn may_call(&self, origin: &str) -> bool {
        self.cors_origins.iter().any(|allowed| allowed == origin) || origin.starts_with(FIREFOX_EXTENSIONS)
    }

    fn read(env: &Env) -> Result<Self, BadConfig> {
        let text = |name: &'static str| variable(env, name).ok_or(BadConfig(name));
        let ms = |name: &'static str, default: i64| match variable(env, name) {
            None => Ok(default),
            Some(value) => value.parse().ok().filter(|ms| *ms > 0).ok_or(BadConfig(name)),
        };
        let standard = EngineConfig::default();
        let secrets = text("EVENT_SIGNING_SECRETS")?;
        let signers = secrets.split_whitespace().map(Webhook::new).collect::<Result<Vec<_>, _>>();
        Ok(Self {
            core_url: text("CORE_URL")?.trim_end_matches('/').to_owned(),
            issuer: Issuer { issuer: text("OIDC_ISSUER")?, audience: text("OIDC_AUDIENCE")? },
            jwks_url: text("OIDC_JWKS_URL")?,
            cors_origins: text("CORS_ORIGINS")
                .map(|list| list.split(',').map(|origin| origin.trim().to_owned()).collect())
                .unwrap_or_default(),
            engine: EngineConfig {
                timeout_ms: ms("PRESENCE_TIMEOUT_MS", standard.timeout_ms)?,
                grace_ms: ms("PRESENCE_GRACE_MS", standard.grace_ms)?,
                heartbeats: match text("HEARTBEAT_MODE").as_deref() {
                    Ok("auto") | Err(_) => HeartbeatMode::Auto,
                    Ok("wake") => HeartbeatMode::Wake,
                    Ok(_) => return Err(BadConfig("HEARTBEAT_MODE")),
                },
            },
            counts: match text("COUNT_WORK").as_deref() {
                Ok("true") => true,
                Ok("false") | Err(_) => false,
                Ok(_) => return Err(BadConfig("COUNT_WORK")),
            },
            event_signers: signers.map_err(|_| BadConfig("EVENT_SIGNING_SECRETS"))?,
            service_token_secret: first_word(&text("SERVICE_TOKEN_SECRET")?),
        })
    }
}

fn first_word(text: &str) -> String {
    text.split_whitespace().next().unwrap_or_default().to_owned()
}

/// A variable or a secret. An empty one counts as not set.
fn variable(env: &Env, name: &str) -> Option<String> {
    // `Env::var` cannot be used: workerd binds null for a `fromEnvironment` variable that is not set, and `Env::var` stops
    // the worker at null.
    let value = js_sys::Reflect::get(env, &name.into()).ok()?.as_string()?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}
