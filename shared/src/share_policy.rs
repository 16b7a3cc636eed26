//! Which pages a user shows to friends. The owner's object applies it before it tells anybody of a page.

use std::{collections::BTreeSet, iter};

use serde::{Deserialize, Serialize};

use crate::page::{Domain, Page};

/// What happens to a domain that is on neither list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub enum ShareMode {
    /// Only domains on the allow list are shown. How every user starts.
    #[default]
    DefaultNone,
    /// All domains but those on the deny list are shown.
    DefaultAll,
}

/// A user's share settings. The list that the mode does not use is kept, because the mode may change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SharePolicy {
    pub mode: ShareMode,
    /// At most [`crate::limits::DOMAIN_LIST_LEN_MAX`] entries, as is `deny`.
    pub allow: BTreeSet<Domain>,
    pub deny: BTreeSet<Domain>,
}

impl SharePolicy {
    /// Whether friends may see this page. An entry of the allow list shows one site. If the entry is a private suffix, such as
    /// `github.io`, it shows all sites directly below it instead. An entry of the deny list hides its host and every host below
    /// it, even if the public suffix list says that those are other sites.
    pub fn shows(&self, page: &Page) -> bool {
        match self.mode {
            ShareMode::DefaultNone => allows(&self.allow, &page.domain),
            ShareMode::DefaultAll => !denies(&self.deny, page.host()),
        }
    }
}

fn allows(list: &BTreeSet<Domain>, domain: &Domain) -> bool {
    list.contains(domain) || domain.private_suffix().is_some_and(|suffix| list.contains(&suffix))
}

fn denies(list: &BTreeSet<Domain>, host: &str) -> bool {
    let parents = host.match_indices('.').filter_map(|(dot, _)| host.get(dot.saturating_add(1)..));
    iter::once(host).chain(parents).any(|name| list.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domains(texts: &[&str]) -> BTreeSet<Domain> {
        texts.iter().map(|text| Domain::parse_entry(text).unwrap()).collect()
    }

    fn shows(policy: &SharePolicy, url: &str) -> bool {
        policy.shows(&Page::parse(url, "").unwrap().unwrap())
    }

    fn policy(mode: ShareMode) -> SharePolicy {
        let (allow, deny) = (
            domains(&["example.com", "github.io", "amazonaws.com"]),
            domains(&["docs.bank.com", "blogspot.com", "amazonaws.com"]),
        );
        SharePolicy { mode, allow, deny }
    }

    #[test]
    fn default_none_shows_what_is_allowed() {
        let policy = policy(ShareMode::DefaultNone);
        for url in ["https://www.example.com/", "https://someone.github.io/", "https://console.amazonaws.com/"] {
            assert!(shows(&policy, url), "{url}");
        }
        for url in [
            "https://bank.com/",
            "https://elsewhere.org/",
            "https://bucket.s3.amazonaws.com/",
            "https://notexample.com/",
        ] {
            assert!(!shows(&policy, url), "{url}");
        }
    }

    #[test]
    fn default_all_hides_what_is_denied_and_all_below_it() {
        let policy = policy(ShareMode::DefaultAll);
        for url in ["https://elsewhere.org/", "https://notbank.com/", "https://bank.com.example.org/"] {
            assert!(shows(&policy, url), "{url}");
        }
        for url in [
            "https://bank.com/",
            "https://a.b.bank.com:8443/x?y",
            "https://diary.blogspot.com/",
            "https://bucket.s3.amazonaws.com/",
            "https://a.bucket.s3.eu-central-1.amazonaws.com/",
        ] {
            assert!(!shows(&policy, url), "{url}");
        }
    }

    #[test]
    fn entries_from_another_suffix_list_are_kept_and_deny_but_allow_nothing() {
        let lists = r#""allow":["docs.example.com","not a domain"],"deny":["docs.example.com","not a domain"]"#;
        let read =
            |mode: &str| serde_json::from_str::<SharePolicy>(&format!(r#"{{"mode":"{mode}",{lists}}}"#)).unwrap();
        let (none, all) = (read("default_none"), read("default_all"));
        assert!(serde_json::to_string(&none).unwrap().contains(lists));
        for url in ["https://docs.example.com/", "https://example.com/"] {
            assert!(!shows(&none, url), "{url}");
        }
        assert!(!shows(&all, "https://a.docs.example.com/"));
        assert!(shows(&all, "https://example.com/"));
    }

    #[test]
    fn every_spelling_of_a_denied_host_is_hidden() {
        let policy =
            SharePolicy { mode: ShareMode::DefaultAll, allow: BTreeSet::new(), deny: domains(&["example.com"]) };
        for url in [
            "https://example.com./",
            "https://EXAMPLE.com",
            "https://example%2Ecom/",
            "https://ex%41mple.com%2e/",
            "https://ｅｘａｍｐｌｅ．ｃｏｍ/",
            "https://example。com。/",
            "https://ex\u{AD}ample.com/",
            "https:\\\\example.com\\",
            "https:example.com",
            "https://ex\tample.\ncom/",
            "http://a@b:c@www.example.com.:80/",
        ] {
            assert!(!Page::parse(url, "").unwrap().is_some_and(|page| policy.shows(&page)), "{url}");
        }
    }
}
