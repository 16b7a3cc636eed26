//! Rate limits by the platform's rate limiters. Each limiter is a binding, and its limit is in `wrangler.toml`. Without the
//! binding, as in plain workerd, there is no limit.
//!
//! Deliberately absent: counters of our own. The platform counts in each of its locations separately, in fixed windows.

use worker::{Env, Response};

use crate::answer;

/// Upgrades to the live channel, by user.
pub const UPGRADES_PER_USER: &str = "UPGRADES_PER_USER";

/// REST calls, by user.
pub const CALLS_PER_USER: &str = "CALLS_PER_USER";

/// Requests of any kind, by network address. The limit is high, because many people may share an address.
pub const REQUESTS_PER_ADDRESS: &str = "REQUESTS_PER_ADDRESS";

/// The longest window of a limiter, in milliseconds. After it, a caller may try again.
const WINDOW_MS: i64 = 60_000;

/// The answer 429 if this limiter says that the key was used too often, else `None`. The key is a user's id or a network
/// address.
///
/// # Errors
///
/// When the answer cannot be made.
pub async fn refusal(env: &Env, limiter: &str, key: &str) -> worker::Result<Option<Response>> {
    let Ok(limiter) = env.rate_limiter(limiter) else { return Ok(None) };
    // If the limiter does not answer, the call is allowed.
    let allowed = limiter.limit(key.to_owned()).await.map_or(true, |outcome| outcome.success);
    if allowed { Ok(None) } else { answer::too_many("too many requests; try again in a minute", WINDOW_MS).map(Some) }
}
