//! Which pages a user shows to friends. The owner's object applies this before anything leaves it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::page::Domain;

/// What happens to a domain that is on neither list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ShareMode {
    /// Only domains on the allow list are shown. How every user starts.
    #[default]
    DefaultNone,
    /// All domains but those on the deny list are shown.
    DefaultAll,
}

/// A user's share settings. The list that the mode does not ask for is kept for when the mode changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SharePolicy {
    pub mode: ShareMode,
    /// At most [`crate::limits::DOMAIN_LIST_LEN_MAX`] entries, as is `deny`.
    pub allow: BTreeSet<Domain>,
    pub deny: BTreeSet<Domain>,
}

impl SharePolicy {
    /// Whether friends may see pages of this domain.
    pub fn shows(&self, domain: &Domain) -> bool {
        match self.mode {
            ShareMode::DefaultNone => listed(&self.allow, domain),
            ShareMode::DefaultAll => !listed(&self.deny, domain),
        }
    }
}

fn listed(list: &BTreeSet<Domain>, domain: &Domain) -> bool {
    list.contains(domain) || domain.private_suffix().is_some_and(|suffix| list.contains(&suffix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(text: &str) -> Domain {
        Domain::parse_entry(text).unwrap()
    }

    fn policy(mode: ShareMode) -> SharePolicy {
        SharePolicy {
            mode,
            allow: ["example.com", "github.io"].map(domain).into(),
            deny: ["bank.com", "blogspot.com"].map(domain).into(),
        }
    }

    #[test]
    fn default_none_shows_what_is_allowed() {
        let policy = policy(ShareMode::DefaultNone);
        assert!(policy.shows(&domain("example.com")));
        assert!(policy.shows(&domain("someone.github.io")));
        assert!(!policy.shows(&domain("bank.com")));
        assert!(!policy.shows(&domain("elsewhere.org")));
    }

    #[test]
    fn default_all_hides_what_is_denied() {
        let policy = policy(ShareMode::DefaultAll);
        assert!(policy.shows(&domain("elsewhere.org")));
        assert!(!policy.shows(&domain("bank.com")));
        assert!(!policy.shows(&domain("diary.blogspot.com")));
    }
}
