//! How often somebody may call, by the platform's rate limiters. Each is a binding with its limit in `wrangler.toml`; where
//! there is none, as in plain workerd, there is no limit.
//!
//! Deliberately absent: numbers of our own. The platform counts in each of its places for itself, in fixed windows.

use worker::{Env, Response};

use crate::answer;

/// Upgrades to the live channel, by user.
pub const UPGRADES_PER_USER: &str = "UPGRADES_PER_USER";

/// REST calls, by user.
pub const CALLS_PER_USER: &str = "CALLS_PER_USER";

/// Requests of any kind, by network address: loose, since many people may share one.
pub const REQUESTS_PER_ADDRESS: &str = "REQUESTS_PER_ADDRESS";

/// The longest window of a limiter, after which a caller may try again, in milliseconds.
const WINDOW_MS: i64 = 60_000;

/// The answer to a caller who called too often by this limiter: the key is a user's id or a network address.
///
/// # Errors
///
/// When the answer cannot be made.
pub async fn refusal(env: &Env, limiter: &str, key: &str) -> worker::Result<Option<Response>> {
    let Ok(limiter) = env.rate_limiter(limiter) else { return Ok(None) };
    // A limiter that does not answer limits nobody.
    let allowed = limiter.limit(key.to_owned()).await.map_or(true, |outcome| outcome.success);
    if allowed { Ok(None) } else { answer::too_many("too many requests; try again in a minute", WINDOW_MS).map(Some) }
}
