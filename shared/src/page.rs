//! Parses what a browser reports of its front tab into the most that friends could be shown of it.

use std::{borrow::Borrow, fmt};

use psl::{List, Psl, Type};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::{
    limits::{DOMAIN_CHARS_MAX, TITLE_CHARS_MAX, URL_CHARS_MAX},
    text::{self, Lines},
};

/// How often a host name is parsed until parsing changes nothing more. Each time removes one layer of encoding. Real names have
/// at most one.
const HOST_READINGS_MAX: usize = 4;

/// A page that friends may be shown if its owner's lists allow it: an http(s) URL on a public host name, without credentials and
/// fragment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// At most [`URL_CHARS_MAX`] characters, normalised by the URL standard. Its host is as described at [`Page::host`].
    pub url: String,
    /// At most [`TITLE_CHARS_MAX`] characters, [cleaned](text::clean).
    pub title: String,
    /// The registrable domain of the host.
    pub domain: Domain,
}

/// A URL longer than [`URL_CHARS_MAX`] characters, as it was sent or after it was normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a URL has at most {URL_CHARS_MAX} characters")]
pub struct UrlTooLong;

impl Page {
    /// Parses what a client reports of its front tab. `None`: the page is never shown, whatever the lists say. Its URL is not
    /// http(s), cannot be parsed, or its host is an IP address or a single-label or private name.
    ///
    /// # Errors
    ///
    /// [`UrlTooLong`]. Then no part of the page may be kept.
    pub fn parse(url: &str, title: &str) -> Result<Option<Self>, UrlTooLong> {
        if url.chars().count() > URL_CHARS_MAX {
            return Err(UrlTooLong);
        }
        let Ok(mut url) = Url::parse(url) else { return Ok(None) };
        if !matches!(url.scheme(), "http" | "https") {
            return Ok(None);
        }
        let Some(host) = url.domain().and_then(normal_host) else { return Ok(None) };
        let Some(domain) = Domain::of_host(&host) else { return Ok(None) };
        url.set_fragment(None);
        // The first two calls fail only for URLs that cannot have a host, the third only for text that is not a host.
        if url.set_username("").is_err() || url.set_password(None).is_err() || url.set_host(Some(&host)).is_err() {
            return Ok(None);
        }
        // Normalising escapes characters, so the URL may be longer now than it was sent.
        if url.as_str().len() > URL_CHARS_MAX {
            return Err(UrlTooLong);
        }
        Ok(Some(Self { url: url.into(), title: clean_title(title), domain }))
    }

    /// The host name of the URL: lower-case ASCII, without a dot at its end.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
        // Pages that an older version stored may still have the dot.
        host.strip_suffix('.').unwrap_or(host)
    }
}

/// A page's title as others are shown it: [cleaned](text::clean), then cut to [`TITLE_CHARS_MAX`] characters.
pub fn clean_title(title: &str) -> String {
    let cut: String = text::clean(title, Lines::Removed).chars().take(TITLE_CHARS_MAX).collect();
    // The cut may leave white space at the end.
    cut.trim_end().to_owned()
}

/// Why an address cannot be sent to friends. The texts are shown after the name of the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    #[error("has more than {URL_CHARS_MAX} characters")]
    TooLong,
    #[error("is no http or https address")]
    NotWeb,
    #[error("has a host name with an empty part")]
    EmptyLabel,
}

/// Checks an address that a user sends to friends: http(s), on any host. Credentials are removed from it. Everything else, the
/// fragment included, stays as it was written if it can be kept so. Otherwise the address is normalised.
///
/// # Errors
///
/// [`BadAddress`] says what is wrong with it.
pub fn address_to_share(text: &str) -> Result<String, BadAddress> {
    if text.chars().count() > URL_CHARS_MAX {
        return Err(BadAddress::TooLong);
    }
    let mut url = Url::parse(text).map_err(|_| BadAddress::NotWeb)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadAddress::NotWeb);
    }
    if url.domain().is_some_and(|host| has_empty_label(host.strip_suffix('.').unwrap_or(host))) {
        return Err(BadAddress::EmptyLabel);
    }
    if url.username().is_empty() && url.password().is_none() {
        return Ok(text.to_owned());
    }
    // Both calls fail only for URLs that cannot have a host. An http(s) URL has one.
    url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| BadAddress::NotWeb)?;
    let shared = cut_credentials(text).filter(|cut| Url::parse(cut).as_ref() == Ok(&url)).unwrap_or_else(|| url.into());
    // Normalising may have made it longer.
    if shared.chars().count() > URL_CHARS_MAX { Err(BadAddress::TooLong) } else { Ok(shared) }
}

/// The address without the part of its authority up to the last `@`.
fn cut_credentials(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once(':')?;
    let authority_at = rest.find(|c| !matches!(c, '/' | '\\'))?;
    let (slashes, rest) = rest.split_at_checked(authority_at)?;
    let authority_end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let host_at = rest.get(..authority_end)?.rfind('@')?.checked_add(1)?;
    Some(format!("{scheme}:{slashes}{}", rest.get(host_at..)?))
}

/// A host name as the URL standard normalises it, without a dot at its end. It is parsed until nothing changes. `None` for an IP
/// address, a name with an empty label, and a name longer than [`DOMAIN_CHARS_MAX`].
fn normal_host(text: &str) -> Option<String> {
    let mut host = text.to_owned();
    for _ in 0..HOST_READINGS_MAX {
        let Ok(Host::Domain(read)) = Host::parse(&host) else { return None };
        // Without its dot, the text may be an IP address, so it is parsed again.
        let read = read.strip_suffix('.').unwrap_or(&read).to_owned();
        if read == host {
            return (host.len() <= DOMAIN_CHARS_MAX && !has_empty_label(&host)).then_some(host);
        }
        if read.ends_with('.') {
            return None;
        }
        host = read;
    }
    None
}

fn has_empty_label(host: &str) -> bool {
    host.split('.').any(str::is_empty)
}

/// What a site is known by in share lists: in lower case, international names in their ASCII form. Either
/// the registrable domain (one label below a public suffix), or a suffix whose owner hands out names below
/// it (`github.io`), which then stands for all of them.
///
/// What is deserialised was accepted once, perhaps by a version with another public suffix list, and is kept as it is. No
/// page has a domain that does not read back as itself, so such an entry of an allow list allows nothing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(min_length = 1, max_length = 253, examples("example.com")))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "string"))]
pub struct Domain(String);

/// Text that names no public site.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the domain name of a public site, such as example.com")]
pub struct BadDomain;

impl Domain {
    /// The registrable domain of a normalised host name. `None` for a private name, or one that nobody can register.
    fn of_host(host: &str) -> Option<Self> {
        let domain = List.domain(host.as_bytes())?;
        // A last label that is not on the list belongs to a private network: localhost, printer.lan, db.internal. Names below
        // .arpa, such as home.arpa, are for the infrastructure of networks.
        if !domain.suffix().is_known() || host.ends_with(".arpa") {
            return None;
        }
        std::str::from_utf8(domain.as_bytes()).ok().map(|text| Self(text.to_owned()))
    }

    /// Parses an entry of an allow or deny list. `Docs.Example.com` becomes `example.com`.
    ///
    /// # Errors
    ///
    /// [`BadDomain`] if it does not name a public site, such as an IP address, a private name or a URL.
    pub fn parse_entry(text: &str) -> Result<Self, BadDomain> {
        if text.chars().count() > DOMAIN_CHARS_MAX {
            return Err(BadDomain);
        }
        let text = text.trim();
        let host = if is_plain(text) {
            text.strip_suffix('.').unwrap_or(text).to_owned()
        } else {
            normal_host(text).ok_or(BadDomain)?
        };
        Self::of_host(&host).or_else(|| Self::of_private_suffix(&host)).ok_or(BadDomain)
    }

    /// Takes an entry of a stored list without a check. It was checked when it was stored.
    pub fn stored(text: &str) -> Self {
        Self(text.to_owned())
    }

    fn of_private_suffix(host: &str) -> Option<Self> {
        let suffix = List.suffix(host.as_bytes())?;
        let whole = suffix.typ() == Some(Type::Private) && suffix.as_bytes().len() == host.len();
        whole.then(|| Self(host.to_owned()))
    }

    /// The private suffix that this site is below, if there is one: `github.io` for `someone.github.io`. A list entry with it
    /// stands for this site too.
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

/// Whether parsing a host name would change nothing but a dot at its end: it is in lower-case ASCII, not encoded, and not an IP
/// address. Nearly all names are so, and this check saves most of the time of parsing a list.
fn is_plain(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    !has_empty_label(host)
        && host.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'))
        && last.starts_with(|c: char| c.is_ascii_lowercase())
        && !host.contains("xn--")
}

/// Domains compare like their texts, so a part of a host name can be looked up in a set of domains.
impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Leaves out the name: debug texts end up in logs, and domains must not.
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
    fn credentials_and_fragment_are_removed() {
        let page = shown("https://me:secret@Docs.Example.co.uk/a?b=c#d").unwrap();
        assert_eq!(page, ("https://docs.example.co.uk/a?b=c".into(), "example.co.uk".into()));
    }

    #[test]
    fn a_page_that_is_not_on_a_public_site_is_never_shown() {
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
    fn the_longest_url_is_2048_characters_as_sent_and_as_normalised() {
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
    fn a_private_suffix_stands_for_the_sites_below_it() {
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

    #[test]
    fn a_host_has_one_spelling() {
        for host in [
            "example.com.",
            "EXAMPLE.com",
            "ex%61mple.com",
            "example%2ecom%2E",
            "ｅｘａｍｐｌｅ。com",
            "ex\u{AD}ample.com。",
        ] {
            let (url, domain) = shown(&format!("https://{host}/a")).unwrap();
            assert_eq!((url.as_str(), domain.as_str()), ("https://example.com/a", "example.com"), "{host}");
            assert_eq!(Domain::parse_entry(host).unwrap().as_str(), "example.com", "{host}");
        }
    }

    #[test]
    fn a_host_with_an_empty_label_is_no_site() {
        for host in
            ["example.com..", "www..example.com", ".example.com", "example。。com", "example.com%2e%2e", "..", "."]
        {
            assert_eq!(shown(&format!("https://{host}/")), None, "{host}");
            assert_eq!(Domain::parse_entry(host), Err(BadDomain), "{host}");
        }
        let long = format!("{}.com", "a".repeat(DOMAIN_CHARS_MAX));
        assert_eq!(shown(&format!("https://{long}/")), None);
        assert_eq!(Domain::parse_entry(&long), Err(BadDomain));
    }

    #[test]
    fn a_title_is_cleaned_before_it_is_cut() {
        let title = |title: &str| Page::parse("https://example.com", title).unwrap().unwrap().title;
        assert_eq!(title(" \u{202E}gnp\u{0}.\u{200B}exe \u{FEFF}"), "gnp.exe");
        assert_eq!(title(&"\u{200B}a".repeat(TITLE_CHARS_MAX)), "a".repeat(TITLE_CHARS_MAX));
        assert_eq!(title(&format!("{} b", "a".repeat(TITLE_CHARS_MAX - 1))), "a".repeat(TITLE_CHARS_MAX - 1));
    }

    #[test]
    fn a_shared_address_keeps_all_but_credentials() {
        for (text, shared) in [
            ("https://Example.com/a b?c=ü#d@e", "https://Example.com/a b?c=ü#d@e"),
            ("https://me:secret@Example.com:8443/A%20b?q=a@b#f", "https://Example.com:8443/A%20b?q=a@b#f"),
            ("http://token@host/", "http://host/"),
            ("https://a@b:c@d@example.com?x@y", "https://example.com?x@y"),
            ("https:\\\\me:pw@example.com\\x", "https:\\\\example.com\\x"),
            ("https:me:pw@example.com/x", "https:example.com/x"),
            ("https://example.com/#https://u:p@x/", "https://example.com/#https://u:p@x/"),
            ("https://m\te:s\necret@example.com/", "https://example.com/"),
            ("https://[::1]/", "https://[::1]/"),
            ("https://localhost./", "https://localhost./"),
        ] {
            assert_eq!(address_to_share(text).as_deref(), Ok(shared), "{text}");
        }
        for (text, why) in [
            ("https://a..example.com/", BadAddress::EmptyLabel),
            ("https://u:p@example.com../", BadAddress::EmptyLabel),
            ("https://.example.com/", BadAddress::EmptyLabel),
            ("javascript:alert(1)", BadAddress::NotWeb),
            ("/relative", BadAddress::NotWeb),
            (&format!("https://example.com/{}", "a".repeat(URL_CHARS_MAX)), BadAddress::TooLong),
        ] {
            assert_eq!(address_to_share(text), Err(why), "{text}");
        }
    }

    /// Host names in spellings that could be meant to evade a list.
    fn spellings() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "example",
            "EXAMPLE",
            "a",
            "b",
            "xn--",
            "xn--bcher-kva",
            "ß",
            "ü",
            "％",
            "%2e",
            "%2E",
            "%25",
            "%61",
            "ａ",
            "。",
            "．",
            ".",
            ".",
            "-",
            "_",
            "\u{AD}",
            "\u{200D}",
            "\u{200B}",
            "0x1",
            "1",
            "*",
            "com",
            ".com",
            ".co.uk",
            ".github.io",
            ".s3.amazonaws.com",
            ".kawasaki.jp",
            ".ck",
            ".рф",
            "\t",
            "ﬀ",
            "İ",
            "ς",
        ]);
        prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn the_domain_of_a_page_reads_back_as_itself(host in spellings()) {
            if let Ok(Some(page)) = Page::parse(&format!("https://{host}/"), "") {
                let domain = page.domain.clone();
                prop_assert_eq!(Domain::parse_entry(domain.as_str()), Ok(domain.clone()));
                let again = Page::parse(&format!("https://{}/", domain.as_str()), "").unwrap().unwrap();
                prop_assert_eq!(&again.domain, &domain);
                prop_assert_eq!(Page::parse(&page.url, ""), Ok(Some(page.clone())));
                let url = Url::parse(&page.url).unwrap();
                prop_assert_eq!(url.host_str(), Some(page.host()));
                let below = page.host().strip_suffix(domain.as_str());
                prop_assert!(below.is_some_and(|below| below.is_empty() || below.ends_with('.')));
                if let Some(suffix) = domain.private_suffix() {
                    prop_assert_eq!(Domain::parse_entry(suffix.as_str()), Ok(suffix.clone()));
                }
            }
        }

        #[test]
        fn an_entry_reads_back_as_itself(host in spellings()) {
            if let Ok(domain) = Domain::parse_entry(&host) {
                prop_assert_eq!(Domain::parse_entry(domain.as_str()), Ok(domain));
            }
        }

        #[test]
        fn a_shared_address_has_no_credentials_and_is_the_same_otherwise(text in "https?:[/\\\\]{0,3}[a-z@:\t%./?#\\\\]{0,20}") {
            if let Ok(shared) = address_to_share(&text) {
                let (mut before, after) = (Url::parse(&text).unwrap(), Url::parse(&shared).unwrap());
                prop_assert!(after.username().is_empty() && after.password().is_none());
                before.set_username("").unwrap();
                before.set_password(None).unwrap();
                prop_assert_eq!(before, after);
            }
        }

        #[test]
        fn any_text_is_read_without_panic_and_reading_twice_changes_nothing(url in ".*", title in ".*") {
            if let Ok(Some(page)) = Page::parse(&url, &title) {
                prop_assert_eq!(Page::parse(&page.url, &page.title), Ok(Some(page)));
            }
        }

        #[test]
        fn the_url_standard_changes_nothing_in_plain_host_names(text in "[a-z0-9.-]{0,12}(\\.|)(com|co|xn--|0x1|1|)\\.?") {
            if is_plain(&text) {
                let host = text.strip_suffix('.').unwrap_or(&text).to_owned();
                prop_assert_eq!(Host::parse(&text), Ok(Host::Domain(text)));
                prop_assert_eq!(normal_host(&host), Some(host));
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
