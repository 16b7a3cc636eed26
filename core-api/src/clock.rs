//! The one place where the time of this machine is read. What is stored gets its time from the database.

use shared::time::Timestamp;
use time::OffsetDateTime;

/// Now.
pub fn now() -> Timestamp {
    OffsetDateTime::now_utc().into()
}
