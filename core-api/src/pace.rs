//! How often one user may call: a number of times a minute, all at once or spread out.
//!
//! Deliberately absent: anything shared between instances. The bound keeps one client from crowding out the
//! others at an instance; what may be done at all is bounded in the database.

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock};
use shared::ids::UserId;

use crate::{
    config::Bounds,
    error::{Error, Result},
};

/// How much of their limit each user has used lately.
pub struct Pace(DefaultKeyedRateLimiter<UserId>);

impl Pace {
    /// Nobody has called yet.
    pub fn new(bounds: &Bounds) -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(bounds.calls_per_minute_max)))
    }

    /// Counts a call.
    ///
    /// # Errors
    ///
    /// [`Error::TooMany`] when it comes too soon.
    pub fn called(&self, user_id: &UserId) -> Result<()> {
        self.0.check_key(user_id).map_err(|early| {
            let wait = early.wait_time_from(self.0.clock().now());
            let detail = "You are calling faster than one client needs to.";
            Error::TooMany { detail, retry_after_s: wait.as_secs() + 1 }
        })
    }

    /// Forgets users who have not called lately. Their whole limit is free again, so this changes nothing for them.
    pub fn forget_the_idle(&self) {
        self.0.retain_recent();
        self.0.shrink_to_fit();
    }
}
