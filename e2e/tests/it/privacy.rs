//! What the owner's rules hide never leaves. It is in no frame and in no answer.

use anyhow::Result;
use e2e::{Live, Person, Site};
use shared::{
    share_policy::ShareMode,
    wire::{ClientMessage, ErrorCode, PageView, PresenceUpdate, ServerMessage},
};
use uuid::Uuid;

/// Reports each of these pages, whose URL and title hold a secret, and checks that Bob sees no page. After each page Alice
/// becomes idle or active, which shows that Bob has heard of the page.
async fn hides(alice: &Live, bob: &mut Live, urls: &[&str]) -> Result<()> {
    let secret = Uuid::new_v4().simple().to_string();
    for (n, url) in urls.iter().enumerate() {
        let idle = n % 2 == 0;
        alice.visit(&url.replace("SECRET", &secret), &format!("title {secret}"))?;
        alice.say(&ClientMessage::SetIdle { idle })?;
        loop {
            let update = bob.update().await?;
            let page = (update.url.as_str(), update.title.as_str(), update.domain.as_str());
            assert_eq!(page, ("", "", ""), "{url} is shown");
            if update.idle == idle {
                break;
            }
        }
    }
    assert!(!bob.has_seen(&secret), "{:?}", bob.seen());
    alice.say(&ClientMessage::SetIdle { idle: false })?;
    if urls.len() % 2 == 1 {
        bob.update().await?;
    }
    Ok(())
}

/// Reports a page, and gives what Bob sees of it.
async fn shows(alice: &Live, bob: &mut Live, url: &str, title: &str) -> Result<PresenceUpdate> {
    alice.visit(url, title)?;
    let update = bob.update().await?;
    assert!(!update.url.is_empty(), "{url} is hidden");
    Ok(update)
}

async fn page_as_bob_asks(alice: &Person, bob: &Person) -> Result<PageView> {
    Ok(bob.page_of(&alice.id).await?.unwrap())
}

#[tokio::test]
async fn with_default_none_only_allowed_domains_are_shown() -> Result<()> {
    let site = Site::of_tests()?;
    let ((_, alice), (_, mut bob)) = site.friends_online().await?;
    let others = [
        "https://example.org/SECRET",
        "https://example.com.evil.org/SECRET",
        "https://notexample.com/SECRET",
        "https://evil.org/?u=https://example.com/SECRET",
        "https://example.com@evil.org/SECRET",
        "https://evil.org\\@example.com/SECRET",
    ];
    hides(&alice, &mut bob, &others).await?;
    let update = shows(&alice, &mut bob, "https://example.com/", "Shown").await?;
    assert_eq!((update.url.as_str(), update.title.as_str()), ("https://example.com/", "Shown"));
    Ok(())
}

#[tokio::test]
async fn with_default_all_everything_but_denied_domains_is_shown() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    alice.share(ShareMode::DefaultAll, &[], &["example.org"]).await?;
    let (mut alice_live, mut bob_live) = (alice.connect().await?, bob.connect().await?);
    alice_live.update().await?;
    hides(&alice_live, &mut bob_live, &["https://example.org/SECRET", "https://mail.example.org/SECRET"]).await?;
    let update = shows(&alice_live, &mut bob_live, "https://example.net/", "shown").await?;
    assert_eq!((update.url.as_str(), update.domain.as_str()), ("https://example.net/", "example.net"));
    Ok(())
}

/// Alice and Bob, where Alice shares everything that can be shared.
async fn one_who_shares_all() -> Result<(Live, Live)> {
    let (alice, bob) = Site::of_tests()?.friends().await?;
    alice.share(ShareMode::DefaultAll, &[], &[]).await?;
    let (mut alice_live, bob_live) = (alice.connect().await?, bob.connect().await?);
    alice_live.update().await?;
    Ok((alice_live, bob_live))
}

#[tokio::test]
async fn addresses_and_private_hosts_are_hidden_even_when_all_is_shared() -> Result<()> {
    let (alice, mut bob) = one_who_shares_all().await?;
    let hosts = [
        "http://192.168.1.1/SECRET",
        "http://93.184.215.14/SECRET",
        "http://0x5db8d70e/SECRET",
        "http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/SECRET",
        "http://localhost:3000/SECRET",
        "http://intranet/SECRET",
        "http://printer.lan/SECRET",
        "http://SECRET.local/",
    ];
    hides(&alice, &mut bob, &hosts).await?;
    shows(&alice, &mut bob, "https://example.net/", "").await.map(drop)
}

#[tokio::test]
async fn what_is_not_http_or_no_url_is_hidden_even_when_all_is_shared() -> Result<()> {
    let (alice, mut bob) = one_who_shares_all().await?;
    let others = [
        "view-source:https://example.com/SECRET",
        "chrome-extension://SECRET/page.html",
        "file:///home/SECRET",
        "ftp://example.com/SECRET",
        "javascript:SECRET",
        "data:text/plain,SECRET",
        "blob:https://example.com/SECRET",
        "about:blank#SECRET",
        "SECRET",
        "https://SECRET example.com/",
    ];
    hides(&alice, &mut bob, &others).await?;
    shows(&alice, &mut bob, "https://example.net/", "").await.map(drop)
}

#[tokio::test]
async fn a_subdomain_is_shown_under_the_domain_that_was_allowed() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    let update = shows(&alice_live, &mut bob_live, "https://a.deep.Example.COM/x", "t").await?;
    assert_eq!((update.url.as_str(), update.domain.as_str()), ("https://a.deep.example.com/x", "example.com"));
    assert_eq!(page_as_bob_asks(&alice, &bob).await?.domain, "example.com");
    Ok(())
}

#[tokio::test]
async fn credentials_and_fragment_are_removed() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    let url = "https://user:hunter2@example.com/path?q=1#private-part";
    let update = shows(&alice_live, &mut bob_live, url, "t").await?;
    assert_eq!(update.url, "https://example.com/path?q=1");
    assert_eq!(update.latest_url, update.url);
    let echo = alice_live.update().await?;
    assert_eq!(echo.url, update.url);
    assert_eq!(page_as_bob_asks(&alice, &bob).await?.url, update.url);
    assert!(!bob_live.has_seen("hunter2") && !bob_live.has_seen("private-part"));
    Ok(())
}

#[tokio::test]
async fn a_url_of_2048_characters_is_shown_and_one_of_2049_refused() -> Result<()> {
    let site = Site::of_tests()?;
    let ((_, mut alice_live), (_, mut bob_live)) = site.friends_online().await?;
    let of_length = |n: usize| format!("https://example.com/{}", "x".repeat(n - "https://example.com/".len()));
    let update = shows(&alice_live, &mut bob_live, &of_length(2_048), "fits").await?;
    assert_eq!(update.url, of_length(2_048));
    alice_live.update().await?;

    alice_live.visit(&of_length(2_049), "one too many")?;
    // The page before is no longer in front, and the socket stays open.
    let hidden = bob_live.update().await?;
    assert_eq!((hidden.url, hidden.latest_url), (String::new(), of_length(2_048)));
    assert_eq!(alice_live.update().await?.url, "");
    let ServerMessage::Error { code, .. } = alice_live.answer().await? else { panic!("it was not refused") };
    assert_eq!(code, ErrorCode::BadMessage);
    let update = shows(&alice_live, &mut bob_live, "https://example.com/next", "").await?;
    assert_eq!(update.url, "https://example.com/next");
    assert!(!bob_live.has_seen("one too many"));
    Ok(())
}

#[tokio::test]
async fn a_title_is_cut_after_300_whole_characters() -> Result<()> {
    let site = Site::of_tests()?;
    let ((_, alice_live), (_, mut bob_live)) = site.friends_online().await?;
    let update = shows(&alice_live, &mut bob_live, "https://example.com/", &"ü€😀".repeat(200)).await?;
    assert_eq!(update.title, "ü€😀".repeat(100));
    assert_eq!(update.latest_title, update.title);
    Ok(())
}

#[tokio::test]
async fn a_hidden_page_leaves_the_last_one_shown_as_the_latest() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    shows(&alice_live, &mut bob_live, "https://example.com/shown", "Shown").await?;
    for hidden in ["https://example.org/hidden", ""] {
        alice_live.visit(hidden, "Hidden")?;
        let update = bob_live.update().await?;
        assert_eq!((update.url, update.title, update.domain), (String::new(), String::new(), String::new()));
        assert_eq!((update.latest_url.as_str(), update.latest_title.as_str()), ("https://example.com/shown", "Shown"));
        assert_eq!(page_as_bob_asks(&alice, &bob).await?, PageView::default());
        shows(&alice_live, &mut bob_live, "https://example.com/shown", "Shown").await?;
    }
    assert!(!bob_live.has_seen("idden"));
    Ok(())
}

#[tokio::test]
async fn changed_settings_apply_to_the_page_in_front_at_once() -> Result<()> {
    let site = Site::of_tests()?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice_live.visit("https://docs.example.org/", "Docs")?;

    // The page is allowed while she looks at it.
    alice.share_only(&["example.com", "Docs.Example.ORG"]).await?;
    let update = bob_live.update().await?;
    assert_eq!((update.url.as_str(), update.domain.as_str()), ("https://docs.example.org/", "example.org"));
    assert_eq!(alice_live.update().await?.url, update.url);

    // The page is no longer allowed. It is not shown as the latest page either.
    alice.share_only(&["example.com"]).await?;
    let update = bob_live.update().await?;
    assert_eq!((update.url, update.latest_url), (String::new(), String::new()));
    assert_eq!((update.title, update.latest_title), (String::new(), String::new()));
    assert_eq!(page_as_bob_asks(&alice, &bob).await?, PageView::default());
    alice_live.update().await?;

    // The mode changes, and with it the list that counts.
    alice.share(ShareMode::DefaultAll, &["example.com"], &[]).await?;
    assert_eq!(bob_live.update().await?.url, "https://docs.example.org/");
    alice.share(ShareMode::DefaultAll, &["example.com"], &["example.org"]).await?;
    assert_eq!(bob_live.update().await?.url, "");

    // Her own clients hear of it too.
    let told = alice_live.find(|message| {
        let ServerMessage::SettingsUpdated { share_mode, domain_deny_array, .. } = message else { return None };
        // This is the last of the changes. The one before it has the same mode, and denies nothing.
        (share_mode == ShareMode::DefaultAll && !domain_deny_array.is_empty()).then_some(domain_deny_array)
    });
    assert_eq!(told.await?.iter().map(|domain| domain.as_str()).collect::<Vec<_>>(), ["example.org"]);
    Ok(())
}

#[tokio::test]
async fn a_new_user_shares_the_default_domains_and_nothing_else() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = (site.person("Alice").await?, site.person("Bob").await?);
    alice.befriend(&bob).await?;
    let (mut alice_live, mut bob_live) = (alice.connect().await?, bob.connect().await?);
    alice_live.update().await?;
    alice_live.visit("https://example.com/private", "Hidden")?;
    let update = shows(&alice_live, &mut bob_live, "https://arxiv.org/abs/1", "A paper").await?;
    assert_eq!(update.url, "https://arxiv.org/abs/1");
    assert!(!bob_live.has_seen("example.com"));
    Ok(())
}

/// The platform would record URLs, which hold tokens and what people search for. No client can see what it records, so the
/// configuration is checked instead.
#[test]
fn the_platform_is_told_to_record_no_request() {
    let settings = include_str!("../../../wrangler.toml");
    for told in ["redact_query_string = true", "invocation_logs = false"] {
        assert!(settings.lines().any(|line| line == told), "{told}");
    }
}
