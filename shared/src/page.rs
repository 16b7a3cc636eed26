//! From what a browser says of its front tab to what could at most be shown of it.

use std::fmt;

use psl::{List, Psl, Type};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::limits::{DOMAIN_CHARS_MAX, TITLE_CHARS_MAX, URL_CHARS_MAX};

/// A page that could be shown to friends, if its owner's lists allow its domain: an http(s) URL on a public
/// host name, without credentials and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// At most [`URL_CHARS_MAX`] characters.
    pub url: String,
    /// At most [`TITLE_CHARS_MAX`] characters.
    pub title: String,
    /// The part of the host name that somebody registered.
    pub domain: Domain,
}

/// A URL longer than [`URL_CHARS_MAX`] characters, as sent or once written out in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a URL has at most {URL_CHARS_MAX} characters")]
pub struct UrlTooLong;

impl Page {
    /// Reads what a client says of its front tab. `None`: a page that is shown to nobody, whatever the
    /// lists say — not http(s), unparsable, an IP address, a single-label or private host name.
    ///
    /// # Errors
    ///
    /// [`UrlTooLong`], and then nothing of the page may be kept.
    pub fn parse(url: &str, title: &str) -> Result<Option<Self>, UrlTooLong> {
        if url.chars().count() > URL_CHARS_MAX {
            return Err(UrlTooLong);
        }
        let Ok(mut url) = Url::parse(url) else { return Ok(None) };
        if !matches!(url.scheme(), "http" | "https") {
            return Ok(None);
        }
        let Some(domain) = url.domain().and_then(Domain::of_host) else { return Ok(None) };
        url.set_fragment(None);
        // Both calls fail only for URLs that cannot have a host, and this one has.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Ok(None);
        }
        // Writing a URL out escapes characters, so it may have become longer than what was sent.
        if url.as_str().len() > URL_CHARS_MAX {
            return Err(UrlTooLong);
        }
        let title = title.chars().take(TITLE_CHARS_MAX).collect();
        Ok(Some(Self { url: url.into(), title, domain }))
    }
}

/// What a site is known by in share lists: in lower case, international names in their ASCII form. Either
/// the registrable domain (one label below a public suffix), or a suffix whose owner hands out names below
/// it (`github.io`), which then stands for all of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 253, examples("example.com")))]
pub struct Domain(String);

/// Text that names no public site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the domain name of a public site, such as example.com")]
pub struct BadDomain;

impl Domain {
    /// The registrable domain of a host name; `None` for a private name or one that nobody can register.
    fn of_host(host: &str) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let domain = List.domain(host.as_bytes())?;
        // An unlisted last label is a private network's name: localhost, printer.lan, db.internal.
        // Names below .arpa serve the network itself, home.arpa among them.
        if !domain.suffix().is_known() || host.ends_with(".arpa") {
            return None;
        }
        std::str::from_utf8(domain.as_bytes()).ok().map(|text| Self(text.to_owned()))
    }

    /// Reads an entry of an allow or deny list, such as `Docs.Example.com`, and keeps `example.com`.
    ///
    /// # Errors
    ///
    /// [`BadDomain`] when it names no public site: an address, a private name, a URL.
    pub fn parse_entry(text: &str) -> Result<Self, BadDomain> {
        if text.chars().count() > DOMAIN_CHARS_MAX {
            return Err(BadDomain);
        }
        let text = text.trim();
        if is_plain(text) {
            return Self::of_entry(text);
        }
        let Ok(Host::Domain(host)) = Host::parse(text) else { return Err(BadDomain) };
        Self::of_entry(&host)
    }

    fn of_entry(host: &str) -> Result<Self, BadDomain> {
        Self::of_host(host).or_else(|| Self::of_private_suffix(host)).ok_or(BadDomain)
    }

    fn of_private_suffix(host: &str) -> Option<Self> {
        let suffix = List.suffix(host.as_bytes())?;
        let whole = suffix.typ() == Some(Type::Private) && suffix.as_bytes().len() == host.len();
        whole.then(|| Self(host.to_owned()))
    }

    /// The wider name that also stands for this site: `github.io` for `someone.github.io`.
    pub fn private_suffix(&self) -> Option<Self> {
        let suffix = List.suffix(self.0.as_bytes())?;
        let private = suffix.typ() == Some(Type::Private) && suffix.as_bytes().len() < self.0.len();
        let text = std::str::from_utf8(suffix.as_bytes()).ok()?;
        private.then(|| Self(text.to_owned()))
    }

    /// The domain as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a host name reads as it is written: in lower-case ASCII, neither encoded nor an address. Nearly all are,
/// and a reader of lists is spared most of its time.
fn is_plain(host: &str) -> bool {
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    host.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        && last.starts_with(|c: char| c.is_ascii_lowercase())
        && !host.contains("xn--")
}

impl TryFrom<String> for Domain {
    type Error = BadDomain;

    fn try_from(text: String) -> Result<Self, BadDomain> {
        Self::parse_entry(&text)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

/// Never the name itself: what is printed for debugging ends in logs, and domains must not.
impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Domain(…)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(url: &str) -> Option<(String, String)> {
        Page::parse(url, "t").unwrap().map(|page| (page.url, page.domain.0))
    }

    #[test]
    fn credentials_and_fragment_never_leave() {
        let page = shown("https://me:secret@Docs.Example.co.uk/a?b=c#d").unwrap();
        assert_eq!(page, ("https://docs.example.co.uk/a?b=c".into(), "example.co.uk".into()));
    }

    #[test]
    fn what_is_no_public_site_is_never_shown() {
        for url in [
            "",
            "not a url",
            "view-source:https://example.com/",
            "chrome://settings",
            "file:///etc/passwd",
            "ftp://example.com/",
            "data:text/html,hi",
            "http://localhost:3000/",
            "http://intranet/",
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://[::1]/",
            "http://printer.lan/",
            "http://db.internal/",
            "http://nas.local/",
            "http://router.home.arpa/",
            "https://com/",
            "https://co.uk/",
        ] {
            assert_eq!(shown(url), None, "{url}");
        }
    }

    #[test]
    fn the_longest_url_is_2048_characters_as_sent_and_as_written_out() {
        let long = |n: usize| format!("https://example.com/{}", "a".repeat(n - 20));
        assert!(Page::parse(&long(2_048), "").unwrap().is_some());
        assert_eq!(Page::parse(&long(2_049), ""), Err(UrlTooLong));
        assert_eq!(Page::parse(&format!("https://example.com/{}", "ü".repeat(1_000)), ""), Err(UrlTooLong));
    }

    #[test]
    fn a_title_is_cut_between_characters() {
        let page = Page::parse("https://example.com", &"é".repeat(400)).unwrap().unwrap();
        assert_eq!(page.title, "é".repeat(300));
    }

    #[test]
    fn international_names_count_in_their_ascii_form() {
        assert_eq!(shown("https://www.bücher.de/").unwrap().1, "xn--bcher-kva.de");
        assert_eq!(Domain::parse_entry("BÜCHER.de").unwrap().as_str(), "xn--bcher-kva.de");
        assert_eq!(shown("https://www.пример.рф/").unwrap().1, "xn--e1afmkfd.xn--p1ai");
    }

    #[test]
    fn a_suffix_somebody_hands_out_stands_for_the_sites_below_it() {
        assert_eq!(shown("https://someone.github.io/x").unwrap().1, "someone.github.io");
        assert_eq!(Domain::parse_entry("github.io").unwrap().as_str(), "github.io");
        let site = Domain::parse_entry("someone.github.io").unwrap();
        assert_eq!(site.private_suffix().unwrap().as_str(), "github.io");
        assert_eq!(Domain::parse_entry("example.com").unwrap().private_suffix(), None);
    }

    #[test]
    fn list_entries_are_registrable_domains() {
        assert_eq!(Domain::parse_entry(" Docs.Example.COM ").unwrap().as_str(), "example.com");
        for text in ["", "com", "localhost", "10.0.0.1", "https://example.com/", "a b.com", &"a".repeat(300)] {
            assert_eq!(Domain::parse_entry(text), Err(BadDomain), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic_and_reading_twice_changes_nothing(url in ".*", title in ".*") {
            if let Ok(Some(page)) = Page::parse(&url, &title) {
                prop_assert_eq!(Page::parse(&page.url, &page.title), Ok(Some(page)));
            }
        }

        #[test]
        fn plain_host_names_are_what_the_url_standard_makes_of_them(text in "[a-z0-9.-]{0,12}(\\.|)(com|co|xn--|0x1|1|)\\.?") {
            if is_plain(&text) {
                prop_assert_eq!(Host::parse(&text), Ok(Host::Domain(text)));
            }
        }

        #[test]
        fn a_kept_entry_stays_as_it_is(text in ".*") {
            if let Ok(domain) = Domain::parse_entry(&text) {
                prop_assert_eq!(Domain::parse_entry(domain.as_str()), Ok(domain));
            }
        }
    }
}
