//! The share settings with which a new user starts: `default-domains.json`, as agreed with the published clients.

use std::collections::BTreeSet;

use serde::Deserialize;
use shared::{
    page::Domain,
    share_policy::{ShareMode, SharePolicy},
};

use crate::error::{Error, Result};

#[derive(Deserialize)]
struct DefaultDomains {
    allow: BTreeSet<Domain>,
    deny: BTreeSet<Domain>,
}

/// Reads them.
///
/// # Errors
///
/// [`Error::Internal`] when the file is broken. A test checks that it is not.
pub fn policy() -> Result<SharePolicy> {
    let domains: DefaultDomains = serde_json::from_str(include_str!("../default-domains.json"))
        .map_err(|_| Error::Internal("the default domains cannot be read".to_owned()))?;
    Ok(SharePolicy { mode: ShareMode::DefaultNone, allow: domains.allow, deny: domains.deny })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn every_entry_is_kept_as_it_is_written() {
        let lists: BTreeMap<String, Vec<String>> =
            serde_json::from_str(include_str!("../default-domains.json")).unwrap();
        for entry in lists.values().flatten() {
            assert_eq!(Domain::parse_entry(entry).unwrap().as_str(), entry);
        }
        let policy = policy().unwrap();
        assert_eq!((policy.allow.len(), policy.deny.len()), (lists["allow"].len(), lists["deny"].len()));
    }
}
