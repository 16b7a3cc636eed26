//! `cargo xtask codegen`: regenerates the client's files that come from the servers. A test of the core writes the types of both
//! contracts. This module writes the test vectors of the share rules.

use std::collections::BTreeSet;

use anyhow::Result;
use devstack::{
    generated::{self, CODEGEN},
    project,
    step::{Step, say},
};
use serde_json::{Value, json};
use shared::{
    page::{Domain, Page, address_to_share},
    share_policy::{ShareMode, SharePolicy},
};

const VECTORS: &str = "policy-vectors.json";

/// Writes all files.
pub async fn run() -> Result<()> {
    generated::write(VECTORS, &vectors()?)?;
    let mut cargo = project::cargo();
    // With the features of the whole workspace, as the tests build it.
    cargo.args(["test", "--workspace", "--lib", "--", "types_for_the_client_are_fresh"]);
    cargo.env(CODEGEN, "write").env("SQLX_OFFLINE", "true");
    let step = Step {
        name: "codegen",
        about: "Writing the client's types",
        advice: "read the compiler's words above; `cargo xtask codegen` repeats it",
    };
    step.run(cargo).await?;
    say("Written: client/src/generated");
    Ok(())
}

/// The test vectors: pages with the expected result of parsing, and share settings with the pages that friends would see. The
/// client must come to the same results. Only where its public suffix list differs may it hide more.
fn vectors() -> Result<String> {
    let urls = urls();
    let pages: Vec<Value> = urls.iter().map(|(url, title)| page(url, title)).collect();
    let policies: Vec<Value> = policies().iter().map(|policy| judged(policy, &urls)).collect();
    let entries: Vec<Value> = ENTRIES
        .iter()
        .map(|entry| json!({ "entry": entry, "domain": Domain::parse_entry(entry).ok().map(|domain| domain.as_str().to_owned()) }))
        .collect();
    let addresses: Vec<Value> = ADDRESSES
        .iter()
        .map(|address| json!({ "address": address, "shared": address_to_share(address).ok() }))
        .collect();
    let all = json!({
        "about": "Written by `cargo xtask codegen` from shared/src/page.rs and shared/src/share_policy.rs. Do not edit.",
        "pages": pages,
        "policies": policies,
        "entries": entries,
        "addresses": addresses,
    });
    Ok(format!("{}\n", serde_json::to_string_pretty(&all)?))
}

/// The expected result of parsing a page: what friends would see at most.
fn page(url: &str, title: &str) -> Value {
    match Page::parse(url, title) {
        Ok(Some(Page { url: shown, title: cleaned, domain })) => json!({
            "url": url, "title": title, "becomes": "page",
            "page": { "url": shown, "title": cleaned, "domain": domain.as_str() },
        }),
        Ok(None) => json!({ "url": url, "title": title, "becomes": "hidden" }),
        Err(_) => json!({ "url": url, "title": title, "becomes": "refused" }),
    }
}

/// A policy, and those of the pages that it shows. It hides all others.
fn judged(policy: &SharePolicy, urls: &[(String, String)]) -> Value {
    let is_shown = |url: &str| Page::parse(url, "").ok().flatten().is_some_and(|page| policy.shows(&page));
    let mut shown: Vec<&str> = urls.iter().map(|(url, _)| url.as_str()).filter(|url| is_shown(url)).collect();
    // One address is in the list many times, with different titles.
    shown.dedup();
    let texts = |list: &BTreeSet<Domain>| list.iter().map(|domain| domain.as_str().to_owned()).collect::<Vec<_>>();
    json!({ "mode": policy.mode, "allow": texts(&policy.allow), "deny": texts(&policy.deny), "shows": shown })
}

fn policies() -> Vec<SharePolicy> {
    let lists: [&[&str]; 8] = [
        &[],
        &["example.com"],
        &["example.co.uk", "xn--bcher-kva.de", "xn--e1afmkfd.xn--p1ai"],
        &["github.io", "blogspot.com"],
        &["someone.github.io", "bucket.s3.amazonaws.com"],
        &["amazonaws.com"],
        // Entries that another version, with another public suffix list, may have stored.
        &["docs.example.com", "com", "co.uk", "uk", "not a domain", ""],
        &["EXAMPLE.com", "example.com.", "bücher.de", "*.example.com", "https://example.com/"],
    ];
    let list = |texts: &[&str]| texts.iter().map(|text| Domain::stored(text)).collect::<BTreeSet<_>>();
    let of = |mode, allow: &[&str], deny: &[&str]| SharePolicy { mode, allow: list(allow), deny: list(deny) };
    let mut policies = Vec::new();
    for texts in lists {
        policies.push(of(ShareMode::DefaultNone, texts, &[]));
        policies.push(of(ShareMode::DefaultAll, &[], texts));
    }
    // The list that the mode does not use has no effect.
    policies.push(of(ShareMode::DefaultNone, &["example.com"], &["example.com"]));
    policies.push(of(ShareMode::DefaultAll, &["example.com"], &["example.com"]));
    policies
}

/// Addresses with titles: all of [`URLS`] and [`TITLES`], and some that are too long to be written here.
fn urls() -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = URLS.iter().map(|url| ((*url).to_owned(), "A title".to_owned())).collect();
    let of_length = |chars: usize, filler: &str| {
        let start = "https://example.com/";
        format!("{start}{}", filler.repeat(chars.saturating_sub(start.len())))
    };
    for (chars, filler) in [(2_048, "a"), (2_049, "a"), (500, "ü"), (1_000, "ü"), (2_048, "ü"), (1_000, "한")] {
        all.push((of_length(chars, filler), "A title".to_owned()));
    }
    all.extend(TITLES.iter().map(|title| ("https://example.com/title".to_owned(), (*title).to_owned())));
    for (character, count) in [("é", 299), ("é", 300), ("é", 301), ("😀", 300), ("😀", 301), ("a ", 151)] {
        all.push(("https://example.com/title".to_owned(), character.repeat(count)));
    }
    all
}

const URLS: &[&str] = &[
    // Sites, and other parts of an address than the host.
    "https://example.com",
    "https://example.com/",
    "http://example.com/a?b=c#d",
    "https://www.example.com/a/../b/./c",
    "https://docs.example.com/",
    "https://a.docs.example.com/",
    "https://notexample.com/",
    "https://example.com.evil.org/",
    "https://example.org/?u=https://example.com/",
    "https://example.org/example.com",
    "https://example.org/#https://example.com/",
    "https://example.com/a b?c d#e f",
    "https://example.com/%zz?%zz",
    "https://example.com/ü?ü=ü",
    "https://example.com/?q=<script>\"'`{}|^",
    "https://example.com/\u{202e}gpj.exe",
    // Ports.
    "https://example.com:443/",
    "http://example.com:80/",
    "https://example.com:8443/x?y",
    "https://example.com:0/",
    "https://example.com:65535/",
    "https://example.com:65536/",
    "https://example.com:port/",
    "https://example.com:/",
    // Credentials.
    "https://me:secret@example.com/",
    "https://me@example.com/",
    "https://:secret@example.com/",
    "https://@example.com/",
    "https://example.com@evil.org/",
    "https://example.com:443@evil.org/",
    "https://evil.org@example.com/",
    "https://a@b:c@www.example.com.:80/",
    "https://evil.org\\@example.com/",
    "https://example.com\\@evil.org/",
    "https://me:secret@docs.example.co.uk/a?b=c#d",
    // Spellings of a host.
    "https://EXAMPLE.com/",
    "https://example.com./",
    "https://example.com../",
    "https://.example.com/",
    "https://www..example.com/",
    "https://ex%61mple.com/",
    "https://example%2ecom%2E/",
    "https://example%252ecom/",
    "https://ex%41mple.com%2e/",
    "https://ｅｘａｍｐｌｅ．ｃｏｍ/",
    "https://example。com。/",
    "https://ex\u{ad}ample.com/",
    "https://ex\u{200b}ample.com/",
    "https://ex\tample.\ncom/",
    " https://example.com/ ",
    "\u{0}https://example.com/",
    "https:\\\\example.com\\",
    "https:example.com",
    "https:/example.com",
    "https:///example.com",
    "HTTPS://example.com/",
    "//example.com/",
    "example.com",
    "https://exa mple.com/",
    "https://example .com/",
    "https://exam<ple.com/",
    "https://-example.com/",
    "https://example-.com/",
    "https://ex_ample.com/",
    "https://my_site.example.com/",
    "https://*.example.com/",
    // International names.
    "https://bücher.de/",
    "https://www.BÜCHER.de/",
    "https://xn--bcher-kva.de/",
    "https://xn--BCHER-kva.de/",
    "https://www.пример.рф/",
    "https://xn--e1afmkfd.xn--p1ai/",
    "https://faß.de/",
    "https://한국.kr/",
    "https://뉴스.한국/",
    "https://аррӏе.com/",
    "https://xn--a/",
    "https://xn--zzzzzzz.com/",
    "https://bu\u{308}cher.de/",
    "https://ⅷ.example.com/",
    // Public suffixes, and private suffixes.
    "https://example.co.uk/",
    "https://www.example.co.uk/",
    "https://co.uk/",
    "https://uk/",
    "https://com/",
    "https://com./",
    "https://a.b.example.k12.ca.us/",
    "https://city.kawasaki.jp/",
    "https://foo.kawasaki.jp/",
    "https://a.foo.kawasaki.jp/",
    "https://www.ck/",
    "https://example.ck/",
    "https://a.example.ck/",
    "https://github.io/",
    "https://someone.github.io/x",
    "https://a.someone.github.io/",
    "https://github.com/someone",
    "https://blogspot.com/",
    "https://diary.blogspot.com/",
    "https://amazonaws.com/",
    "https://console.amazonaws.com/",
    "https://s3.amazonaws.com/",
    "https://bucket.s3.amazonaws.com/",
    "https://a.bucket.s3.amazonaws.com/",
    "https://a.bucket.s3.eu-central-1.amazonaws.com/",
    "https://x.compute.amazonaws.com/",
    "https://project.pages.dev/",
    "https://preview.project.pages.dev/",
    "https://app.vercel.app/",
    "https://app.herokuapp.com/",
    "https://me.name/",
    "https://example.unlisted/",
    "https://example.test/",
    "https://example.onion/",
    // IP addresses and private names.
    "http://127.0.0.1/",
    "http://10.0.0.1:8080/",
    "http://192.168.1.1./",
    "http://8.8.8.8/",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://2130706433/",
    "http://017700000001/",
    "http://1.2.3/",
    "http://1.2.3.4.5/",
    "http://256.1.1.1/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://[::1]/",
    "http://[2001:db8::1]:8080/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::1/",
    "http://localhost/",
    "http://localhost:3000/",
    "http://localhost./",
    "http://app.localhost/",
    "http://intranet/",
    "http://printer.lan/",
    "http://db.internal/",
    "http://nas.local/",
    "http://router.home.arpa/",
    "http://1.168.192.in-addr.arpa/",
    "http://fritz.box/",
    "http://server.corp/",
    // Texts that are not the address of a web page.
    "",
    "not a url",
    "https://",
    "https://?x",
    "https://#x",
    "about:blank",
    "about:reader?url=https://example.com/",
    "chrome://settings/",
    "chrome-extension://abcdefghijklmnopabcdefghijklmnop/popup.html",
    "moz-extension://6b0f7d0c-92a5-4d8e-8b1e-0f3c5f1a2b4d/popup.html",
    "edge://newtab/",
    "view-source:https://example.com/",
    "blob:https://example.com/6b0f7d0c-92a5-4d8e-8b1e-0f3c5f1a2b4d",
    "filesystem:https://example.com/temporary/x",
    "data:text/html,https://example.com/",
    "javascript:location='https://example.com/'",
    "file:///etc/passwd",
    "ftp://example.com/",
    "ws://example.com/",
    "wss://example.com/",
    "mailto:me@example.com",
    "httpss://example.com/",
];

const TITLES: &[&str] = &[
    "",
    "  spaces \t\n around ",
    "two  inner   spaces",
    "a\u{0}b\u{7}c\u{7f}d\u{85}e",
    "line\nfeed\r\nand\ttab\u{2028}and\u{2029}end",
    "\u{202e}gnp.exe\u{202c}",
    "\u{2066}isolated\u{2069} \u{200f}mark\u{200e}",
    "zero\u{200b}width\u{2060}joiner\u{feff}soft\u{ad}hyphen",
    "<img src=x onerror=alert(1)>",
    "You are now friends",
    "e\u{301} is not composed",
    "👨\u{200d}👩\u{200d}👧 family",
    "\u{200d}leading joiner",
    "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f} flag",
    "می\u{200c}خواهم",
    "half of a pair \u{fffd}",
    "\u{1f1f0}\u{1f1f7} 한국어 제목",
];

const ENTRIES: &[&str] = &[
    "example.com",
    " Docs.Example.COM ",
    "example.com.",
    "example.com..",
    ".example.com",
    "www..example.com",
    "BÜCHER.de",
    "xn--bcher-kva.de",
    "пример.рф",
    "ｅｘａｍｐｌｅ。com",
    "ex%61mple.com",
    "github.io",
    "someone.github.io",
    "a.someone.github.io",
    "amazonaws.com",
    "s3.amazonaws.com",
    "bucket.s3.amazonaws.com",
    "example.co.uk",
    "co.uk",
    "com",
    "",
    " ",
    "localhost",
    "printer.lan",
    "db.internal",
    "home.arpa",
    "10.0.0.1",
    "[::1]",
    "0x7f.1",
    "https://example.com/",
    "example.com/path",
    "example.com:443",
    "me@example.com",
    "a b.com",
    "*.example.com",
    "exa_mple.com",
];

const ADDRESSES: &[&str] = &[
    "https://example.com/a?b#c",
    "http://localhost:3000/#x",
    "http://127.0.0.1/",
    "https://me:secret@Example.com:8443/a%20b?c=d@e#f",
    "https://me@example.com",
    "https://example.com/@me",
    "https:\\\\me:secret@example.com\\a",
    "https://www..example.com/",
    "https://example.com./",
    "https://example.com../",
    "ftp://example.com/",
    "javascript:alert(1)",
    "data:text/html,hi",
    "not a url",
    "",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_vectors_for_the_client_are_fresh() {
        generated::settle(VECTORS, &vectors().unwrap()).unwrap();
    }

    #[test]
    fn policy_vectors_hold_pages_that_are_shown_hidden_and_refused_by_every_mode() {
        let all: Value = serde_json::from_str(&vectors().unwrap()).unwrap();
        let pages = all["pages"].as_array().unwrap();
        for kind in ["page", "hidden", "refused"] {
            assert!(pages.iter().filter(|page| page["becomes"] == kind).count() >= 2, "{kind}");
        }
        for mode in ["default_none", "default_all"] {
            let of_mode = || all["policies"].as_array().unwrap().iter().filter(|policy| policy["mode"] == mode);
            assert!(of_mode().any(|policy| !policy["shows"].as_array().unwrap().is_empty()), "{mode}");
            assert!(of_mode().all(|policy| policy["shows"].as_array().unwrap().len() < pages.len()), "{mode}");
        }
        for list in ["entries", "addresses"] {
            let taken = if list == "entries" { "domain" } else { "shared" };
            let taken = all[list].as_array().unwrap().iter().filter(|one| !one[taken].is_null()).count();
            assert!(taken > 0 && taken < all[list].as_array().unwrap().len(), "{list}");
        }
    }
}
