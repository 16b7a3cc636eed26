//! The share settings a new user starts with: `default-domains.json`, as agreed with the published clients.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

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
/// [`Error::Internal`] when the file is broken, which a test keeps from happening.
pub fn policy() -> Result<SharePolicy> {
    let domains: DefaultDomains = serde_json::from_str(include_str!("../default-domains.json"))
        .map_err(|_| Error::Internal("the default domains cannot be read".to_owned()))?;
    Ok(SharePolicy { mode: ShareMode::DefaultNone, allow: domains.allow, deny: domains.deny })
}

/// Reads an entry of a stored list. Nearly all entries are still those that everybody starts with, and those are
/// known already; the public suffix list is asked about others.
pub fn read_entry(text: &str) -> Option<Domain> {
    static KNOWN: LazyLock<HashMap<String, Domain>> = LazyLock::new(|| {
        let known = policy().map(|policy| policy.allow.into_iter().chain(policy.deny).collect::<Vec<_>>());
        known.unwrap_or_default().into_iter().map(|domain| (domain.as_str().to_owned(), domain)).collect()
    });
    KNOWN.get(text).cloned().or_else(|| Domain::parse_entry(text).ok())
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
        for entry in lists.values().flatten() {
            assert_eq!(read_entry(entry).unwrap().as_str(), entry);
        }
        assert_eq!(read_entry("Docs.Example.COM").unwrap().as_str(), "example.com");
        assert_eq!(read_entry("localhost"), None);
        let policy = policy().unwrap();
        assert_eq!((policy.allow.len(), policy.deny.len()), (lists["allow"].len(), lists["deny"].len()));
    }
}
