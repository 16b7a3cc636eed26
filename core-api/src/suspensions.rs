//! The suspended users. Each instance keeps a list and reads it again when it is old, so that a call needs no statement for
//! it.
//!
//! Deliberately absent: suspending a user, which operators do (`operate`).

use std::{
    collections::HashSet,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use shared::{ids::UserId, limits::SUSPENSIONS_AGE_MS_MAX};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::error::{Result, SUSPENDED};

/// The list as this instance last read it.
#[derive(Default)]
pub struct Suspensions {
    known: RwLock<Option<Known>>,
    /// Held while the list is read, so that any number of calls read it once.
    reading: Mutex<()>,
}

#[derive(Clone)]
struct Known {
    read_at: Instant,
    ids: Arc<HashSet<String>>,
}

impl Suspensions {
    /// Checks that the user is not suspended.
    ///
    /// # Errors
    ///
    /// 403 when this user is; 503 when the list is old and cannot be read.
    pub async fn let_pass(&self, pool: &PgPool, user_id: &UserId) -> Result<()> {
        let ids = match self.recent() {
            Some(ids) => ids,
            None => self.read(pool).await?,
        };
        if ids.contains(user_id.as_str()) { Err(SUSPENDED) } else { Ok(()) }
    }

    fn recent(&self) -> Option<Arc<HashSet<String>>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let recent =
            known.as_ref().filter(|known| known.read_at.elapsed() < Duration::from_millis(SUSPENSIONS_AGE_MS_MAX));
        recent.map(|known| Arc::clone(&known.ids))
    }

    async fn read(&self, pool: &PgPool) -> Result<Arc<HashSet<String>>> {
        let _turn = self.reading.lock().await;
        if let Some(ids) = self.recent() {
            return Ok(ids);
        }
        let read_at = Instant::now();
        let ids =
            sqlx::query_scalar!("select user_id from users where suspended_at is not null").fetch_all(pool).await?;
        let ids: Arc<HashSet<String>> = Arc::new(ids.into_iter().collect());
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(Known { read_at, ids: Arc::clone(&ids) });
        Ok(ids)
    }
}
