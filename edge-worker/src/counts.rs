//! What each object costs, counted for tests and measurements. CachedSocial by the worker's instance rather than by the
//! object, whose memory comes and goes. Without `COUNT_WORK` nothing is counted.

use std::{cell::RefCell, collections::BTreeMap};

use shared::{ids::UserId, internal::ObjectCounts};

use crate::config::Config;

thread_local! {
    static COUNTS: RefCell<BTreeMap<UserId, ObjectCounts>> = const { RefCell::new(BTreeMap::new()) };
}

/// Counts something, if anything is counted.
pub fn count(config: &Config, id: &UserId, add: impl FnOnce(&mut ObjectCounts)) {
    if config.counts {
        COUNTS.with_borrow_mut(|counts| add(counts.entry(id.clone()).or_default()));
    }
}

/// What the user's object has done; nothing where it never ran in this instance.
pub fn of(id: &UserId) -> ObjectCounts {
    COUNTS.with_borrow(|counts| counts.get(id).copied().unwrap_or_default())
}
