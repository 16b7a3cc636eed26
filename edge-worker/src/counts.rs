//! Counts of what each object does, for tests and measurements. The worker's instance keeps them, because an object loses
//! its memory when it sleeps. Without `COUNT_WORK` nothing is counted.

use std::{cell::RefCell, collections::BTreeMap};

use shared::{ids::UserId, internal::ObjectCounts};

use crate::config::Config;

thread_local! {
    static COUNTS: RefCell<BTreeMap<UserId, ObjectCounts>> = const { RefCell::new(BTreeMap::new()) };
}

/// Changes the counts of a user's object, if `COUNT_WORK` is on.
pub fn count(config: &Config, id: &UserId, add: impl FnOnce(&mut ObjectCounts)) {
    if config.counts {
        COUNTS.with_borrow_mut(|counts| add(counts.entry(id.clone()).or_default()));
    }
}

/// The counts of the user's object. All are zero if it never ran in this instance.
pub fn of(id: &UserId) -> ObjectCounts {
    COUNTS.with_borrow(|counts| counts.get(id).copied().unwrap_or_default())
}
