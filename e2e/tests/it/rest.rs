//! REST through the one public origin. Answers of the core come through unchanged, and internal routes cannot be reached.

use anyhow::Result;
use e2e::{Person, Site};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::{
    Method, RequestBuilder, Response, StatusCode, Url,
    header::{self, HeaderName},
};
use serde_json::{Value, json};
use shared::limits::{
    BODY_BYTES_MAX, CALLS_PER_MINUTE_MAX, EVENT_BATCH_BYTES_MAX, REQUEST_ID_CHARS_MAX, UPGRADES_PER_MINUTE_MAX,
};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use uuid::Uuid;

const REQUEST_ID: &str = "x-request-id";

/// Two origins that may call. `wrangler.toml` names the first for development. The second is that of an extension in Firefox,
/// which is different in every installation.
const ALLOWED_ORIGINS: [&str; 2] = ["http://localhost:3000", "moz-extension://6b0f7d0c-92a5-4d8e-8b1e-0f3c5f1a2b4d"];

/// Origins that may not call, although some begin like those that may.
const FOREIGN_ORIGINS: [&str; 3] =
    ["https://evil.example", "https://moz-extension.example", "chrome-extension://abcdef"];

const ALLOW_LIST: &str = "/users/me/domain_array/allow";

async fn is_problem(answer: Response, status: StatusCode) -> Result<Value> {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = answer.json().await?;
    assert_eq!(problem["status"], status.as_u16());
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{problem}");
    Ok(problem)
}

#[tokio::test]
async fn json_is_taken_whatever_the_content_type_says() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let types = [Some("application/json"), Some("text/plain"), Some("text/plain;charset=UTF-8"), None];
    for (n, content_type) in types.into_iter().enumerate() {
        let domain = format!("example{n}.com");
        let mut request = alice.request(Method::PUT, ALLOW_LIST).body(json!([domain]).to_string());
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let answer = request.send().await?;
        assert_eq!(answer.status(), StatusCode::OK, "{content_type:?}");
        let me: Value = answer.json().await?;
        assert_eq!(me["domain_allow_array"], json!([domain]), "{content_type:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_body_of_64_kib_is_taken_and_a_longer_one_is_not() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    // Blanks after the JSON do not change what it says.
    let of_length = |bytes: usize| {
        let json = r#"["example.com"]"#;
        format!("{json}{}", " ".repeat(bytes - json.len()))
    };
    let answer = alice.request(Method::PUT, ALLOW_LIST).body(of_length(BODY_BYTES_MAX)).send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    for bytes in [BODY_BYTES_MAX + 1, 65 * 1_024] {
        // Each request has a connection of its own, because the server closes one on which it refused a body before its end.
        let request = alice.request(Method::PUT, ALLOW_LIST).header(header::CONNECTION, "close");
        let answer = request.body(of_length(bytes)).send().await?;
        is_problem(answer, StatusCode::PAYLOAD_TOO_LARGE).await?;
    }
    Ok(())
}

/// What an answer says, without the headers in which the edge's answer may differ from the core's.
async fn said(request: RequestBuilder) -> Result<(StatusCode, Vec<(HeaderName, String)>, String)> {
    const OF_THIS_ANSWER: [&str; 7] = [
        "connection",
        "content-length",
        "date",
        "strict-transport-security",
        "transfer-encoding",
        "vary",
        "x-request-id",
    ];
    let answer = request.send().await?;
    let mut headers: Vec<(HeaderName, String)> = answer
        .headers()
        .iter()
        .filter(|(name, _)| !OF_THIS_ANSWER.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.to_str().unwrap().to_owned()))
        .collect();
    headers.sort_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
    Ok((answer.status(), headers, answer.text().await?))
}

#[tokio::test]
async fn method_path_query_body_status_and_headers_come_through_unchanged() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let carol = site.person("Carol").await?;
    carol.ask(&alice).await?;
    let names = r#"{"first_name":"Alice","last_name":"Test"}"#.to_owned();
    let pair = |one: &Person, other: &Person| json!({ "user_id1": one.id, "user_id2": other.id }).to_string();
    let calls = [
        (200, Method::GET, "/ping".to_owned(), None),
        (200, Method::GET, "/readyz".to_owned(), None),
        (200, Method::GET, "/users/me".to_owned(), None),
        (200, Method::GET, format!("/users/id/{}", bob.id), None),
        (404, Method::GET, "/users/id/nobody".to_owned(), None),
        (200, Method::GET, "/friendship/all".to_owned(), None),
        (200, Method::GET, "/friendship/all?limit=1&offset=1".to_owned(), None),
        (200, Method::GET, "/friendship/requests".to_owned(), None),
        (200, Method::GET, "/friendship/requests?limit=0".to_owned(), None),
        (400, Method::GET, "/friendship/requests?limit=-1".to_owned(), None),
        (200, Method::GET, format!("/friendship/check/{}", bob.id), None),
        (404, Method::DELETE, format!("/friendship/requests/{}", bob.id), None),
        (404, Method::POST, "/friendship/accept".to_owned(), Some(json!({ "user_id1": "nobody" }).to_string())),
        (403, Method::POST, "/friendship/delete".to_owned(), Some(pair(&bob, &carol))),
        (409, Method::POST, "/users/me".to_owned(), Some(names)),
        (400, Method::PUT, "/users/me".to_owned(), Some("{".to_owned())),
        (422, Method::PUT, "/users/me".to_owned(), Some("{}".to_owned())),
        (400, Method::PUT, "/users/me/domain_array/other".to_owned(), Some("[]".to_owned())),
        (200, Method::PUT, "/users/me/domain_array/deny".to_owned(), Some(r#"["example.org"]"#.to_owned())),
        (405, Method::PATCH, "/users/me".to_owned(), None),
        (404, Method::GET, "/no/such/thing".to_owned(), None),
    ];
    for (status, method, path, body) in calls {
        let what = format!("{method} {path}");
        let call = |request: RequestBuilder| request.bearer_auth(&alice.token).body(body.clone().unwrap_or_default());
        let straight = said(call(site.core_request(method.clone(), &path))).await?;
        let through = said(call(site.request(method, &path))).await?;
        assert_eq!(straight.0.as_u16(), status, "{what}: {}", straight.2);
        assert_eq!(through, straight, "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn the_document_and_the_page_that_shows_it_come_through_whole() -> Result<()> {
    let site = Site::of_tests()?;
    let document: Value = site.request(Method::GET, "/openapi.json").send().await?.json().await?;
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    assert!(document["paths"]["/users/me"]["get"].is_object());

    let page = site.request(Method::GET, "/docs").send().await?.error_for_status()?;
    let address = page.url().clone();
    let page = page.text().await?;
    let parts: Vec<&str> =
        page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")).collect();
    assert!(parts.len() >= 3, "what the page is made of: {parts:?}");
    for part in parts {
        let path = address.join(part)?.path().to_owned();
        let through = said(site.request(Method::GET, &path)).await?;
        assert_eq!(through.0, StatusCode::OK, "{path}");
        assert!(!through.2.is_empty(), "{path}");
        assert_eq!(through, said(site.core_request(Method::GET, &path)).await?, "{path}");
        // The page finds the document here, as a browser resolves the address.
        if part.ends_with("swagger-initializer.js") {
            assert!(through.2.contains("../openapi.json"), "{}", through.2);
            assert_eq!(address.join("../openapi.json")?.path(), "/openapi.json");
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_page_is_served_at_its_own_address_and_at_no_other() -> Result<()> {
    let site = Site::of_tests()?;
    let navigated = |path: &str| site.request(Method::GET, path).header("sec-fetch-mode", "navigate").send();
    let page = navigated("/app/").await?;
    assert_eq!(page.status(), StatusCode::OK);
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str()?;
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert_eq!(page.headers()[header::CACHE_CONTROL], "no-cache");
    let page = page.text().await?;
    for path in ["/", "/docs/", "/openapi.json", "/users/me"] {
        let answer = navigated(path).await?;
        assert!(answer.headers().contains_key(REQUEST_ID), "{path} is the worker's");
        assert_ne!(answer.text().await?, page, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn an_id_of_any_characters_reaches_edge_and_core_alike() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let odd = site.newcomer_called("Odd", &format!("goo|gle_/ü?#%2F{}", Uuid::new_v4())).await?;
    odd.register().await?;
    odd.share_only(&["example.com"]).await?;
    alice.befriend(&odd).await?;
    let mut live = odd.connect().await?;
    live.visit("https://example.com/odd", "")?;
    live.update().await?;

    let mut url: Url = site.info.edge_url.parse()?;
    url.path_segments_mut().unwrap().extend(["users", "id", odd.id.as_str()]);
    let profile = alice.call(Method::GET, url.path(), None).await?;
    assert_eq!(profile["user_id"], odd.id.as_str());
    url.path_segments_mut().unwrap().clear().extend(["presence", odd.id.as_str()]);
    let page = alice.call(Method::GET, url.path(), None).await?;
    assert_eq!(page["url"], "https://example.com/odd");
    Ok(())
}

#[tokio::test]
async fn a_request_id_is_taken_over_or_made() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    // Answers of the edge and of the core, a refusal, and a path that neither knows.
    for path in ["/presence", "/users/me", "/presence/nobody", "/no/such/thing", "/healthz"] {
        let given = Uuid::new_v4().to_string();
        let answer = alice.request(Method::GET, path).header(REQUEST_ID, &given).send().await?;
        let ids: Vec<_> = answer.headers().get_all(REQUEST_ID).iter().collect();
        assert_eq!(ids, [given.as_str()], "{path}");

        let mut made = Vec::new();
        let too_long = "x".repeat(REQUEST_ID_CHARS_MAX + 1);
        let unfit = [None, Some("two words"), Some("https://example.org/"), Some("a@example.org"), Some(&too_long)];
        for unfit in unfit {
            let mut request = alice.request(Method::GET, path);
            if let Some(unfit) = unfit {
                request = request.header(REQUEST_ID, unfit);
            }
            let answer = request.send().await?;
            let id = answer.headers()[REQUEST_ID].to_str()?.to_owned();
            assert!(!id.is_empty() && Some(id.as_str()) != unfit, "{path} {unfit:?}");
            made.push(id);
        }
        made.sort();
        made.dedup();
        assert_eq!(made.len(), unfit.len(), "each request has an id of its own");
    }
    Ok(())
}

#[tokio::test]
async fn browsers_at_an_allowed_origin_may_call_and_others_may_not() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    for path in ["/users/me", "/presence", "/friendship/requests"] {
        let preflight = |origin: &str| {
            let request = site.request(Method::OPTIONS, path).header(header::ORIGIN, origin);
            let request = request.header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT");
            request.header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type").send()
        };
        for origin in ALLOWED_ORIGINS {
            let answer = preflight(origin).await?;
            assert!(answer.status().is_success(), "{path}");
            let of = |name: HeaderName| answer.headers()[name].to_str().unwrap().to_ascii_lowercase();
            assert_eq!(of(header::ACCESS_CONTROL_ALLOW_ORIGIN), origin);
            let lists = |list: &str, item: &str| list.split(',').any(|one| one.trim() == item);
            for method in ["get", "post", "put", "delete"] {
                assert!(lists(&of(header::ACCESS_CONTROL_ALLOW_METHODS), method), "{path} {method}");
            }
            for name in ["authorization", "content-type"] {
                assert!(lists(&of(header::ACCESS_CONTROL_ALLOW_HEADERS), name), "{path} {name}");
            }
            assert!(of(header::ACCESS_CONTROL_MAX_AGE).parse::<u32>()? > 0, "preflights are cached");
            assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS), "no cookie counts");
        }
        for origin in FOREIGN_ORIGINS {
            let answer = preflight(origin).await?;
            assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{path} {origin}");
        }

        // A page must be able to read refusals as well.
        for request in [alice.request(Method::GET, path), site.request(Method::GET, path)] {
            let from = |origin: &str| request.try_clone().unwrap().header(header::ORIGIN, origin).send();
            for origin in ALLOWED_ORIGINS {
                let answer = from(origin).await?;
                let allowed: Vec<_> = answer.headers().get_all(header::ACCESS_CONTROL_ALLOW_ORIGIN).iter().collect();
                assert_eq!(allowed, [origin], "{path}");
                let varies = answer.headers().get_all(header::VARY).iter().any(|value| value == "Origin");
                assert!(varies, "caches must tell origins apart: {path}");
            }
            for origin in FOREIGN_ORIGINS {
                let answer = from(origin).await?;
                assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN), "{path} {origin}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn internal_routes_cannot_be_reached_from_outside() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let social = format!("internal/users/{}/social", alice.id);
    // The route exists at the core, for callers with the right token.
    let answer = site.core_request(Method::GET, &format!("/{social}")).bearer_auth(&alice.token).send().await?;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    for path in [
        format!("/{social}"),
        format!("//{social}"),
        format!("/{social}/"),
        format!("/./{social}"),
        format!("/users/../{social}"),
        format!("/%69nternal/users/{}/social", alice.id),
        "/internal".to_owned(),
        "/internal/events".to_owned(),
    ] {
        // The answer does not tell whether the route exists.
        let answer = alice.request(Method::GET, &path).send().await?;
        is_problem(answer, StatusCode::NOT_FOUND).await?;
    }
    Ok(())
}

#[tokio::test]
async fn events_that_the_core_did_not_sign_are_refused_and_change_nothing() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, mallory) = (site.person("Alice").await?, site.person("Mallory").await?);
    alice.connect().await?;
    mallory.connect().await?;
    let summary = |person: &Person| {
        json!({
            "user_id": person.id, "first_name": "M", "last_name": "M", "description": "",
            "profile_image_uploaded_at": null, "profile_image_extension": null, "friendship_state": 2,
            "mutual_friend_count": null,
        })
    };
    // Events that the objects would take if they were signed.
    let event = async |recipient: &Person, friend: &Person| {
        let version = recipient.presence().await?.version + 1;
        anyhow::Ok(json!({
            "id": Uuid::now_v7(), "recipient": recipient.id, "version": version, "kind": "friend.accepted",
            "payload": { "user": summary(friend) },
        }))
    };
    let body = json!({ "events": [event(&alice, &mallory).await?, event(&mallory, &alice).await?] }).to_string();
    let id = Uuid::now_v7().to_string();
    let now = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs())?;
    let forger = Webhook::new("whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")?;
    let signature = forger.sign(&id, now, body.as_bytes())?;
    let batch = || site.request(Method::POST, "/internal/events").body(body.clone());
    let signed = |signature: &str| {
        let request = batch().header(HEADER_WEBHOOK_ID, &id).header(HEADER_WEBHOOK_TIMESTAMP, now);
        request.header(HEADER_WEBHOOK_SIGNATURE, signature)
    };
    for request in [
        batch(),
        batch().bearer_auth(&alice.token),
        signed(""),
        signed("v1,"),
        signed("v1,bm90IGEgc2lnbmF0dXJl"),
        signed(&signature),
        signed(&format!("{signature} {signature}")),
    ] {
        is_problem(request.send().await?, StatusCode::UNAUTHORIZED).await?;
    }
    assert_eq!(mallory.may_see(&alice.id).await?, StatusCode::FORBIDDEN);
    assert!(alice.presence().await?.presence_arr.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_edge_says_that_it_is_up() -> Result<()> {
    let answer = Site::of_tests()?.request(Method::GET, "/healthz").send().await?;
    assert_eq!(answer.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn head_answers_as_get_does_without_the_body() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    let stranger = site.person("Carol").await?;
    for (path, status) in [
        ("/presence".to_owned(), 200),
        (format!("/presence/{}", bob.id), 200),
        (format!("/presence/{}", stranger.id), 403),
        ("/ws".to_owned(), 426),
        ("/healthz".to_owned(), 200),
        ("/users/me".to_owned(), 200),
        ("/ping".to_owned(), 200),
        ("/no/such/thing".to_owned(), 404),
    ] {
        let get = alice.request(Method::GET, &path).send().await?;
        let head = alice.request(Method::HEAD, &path).send().await?;
        assert_eq!((head.status().as_u16(), get.status().as_u16()), (status, status), "{path}");
        let content_type = |answer: &Response| answer.headers().get(header::CONTENT_TYPE).cloned();
        assert_eq!(content_type(&head), content_type(&get), "{path}");
        assert_eq!(head.text().await?, "", "{path}");
        assert_ne!(get.text().await?, "", "{path}");
    }
    // With the headers of an upgrade, the runtime tells the worker that this is GET, and refuses the caller itself.
    let upgrade = alice.request(Method::HEAD, "/ws").header(header::UPGRADE, "websocket");
    let upgrade = upgrade.header(header::CONNECTION, "Upgrade").header("sec-websocket-version", "13");
    let answer = upgrade.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==").send().await?;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(site.request(Method::HEAD, "/presence").send().await?.status(), StatusCode::UNAUTHORIZED);
    Ok(())
}

#[tokio::test]
async fn a_body_with_get_or_head_is_ignored() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    for method in [Method::GET, Method::HEAD] {
        for path in ["/users/me", "/presence", "/healthz", "/friendship/all"] {
            for body in [r#"{"a":1}"#.to_owned(), "x".repeat(BODY_BYTES_MAX + 1)] {
                // Each request has a connection of its own, because nothing reads these bodies.
                let request = alice.request(method.clone(), path).header(header::CONNECTION, "close");
                let answer = request.body(body).send().await?;
                assert_eq!(answer.status(), StatusCode::OK, "{method} {path}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_unknown_method_is_answered_405_with_those_that_exist() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    let propfind = Method::from_bytes(b"PROPFIND")?;
    for (method, path, allow) in [
        (propfind.clone(), "/users/me", "DELETE,GET,HEAD,POST,PUT"),
        (Method::PATCH, "/users/me", "DELETE,GET,HEAD,POST,PUT"),
        (Method::from_bytes(b"SEARCH")?, "/friendship/all", "GET,HEAD"),
        (propfind.clone(), "/presence", "GET,HEAD"),
        (Method::POST, "/presence", "GET,HEAD"),
        (Method::DELETE, "/presence/somebody", "GET,HEAD"),
        (Method::PUT, "/ws", "GET,HEAD"),
        (Method::POST, "/healthz", "GET,HEAD"),
        (Method::GET, "/friendship/accept", "POST"),
    ] {
        let answer = alice.request(method.clone(), path).send().await?;
        let header = answer.headers().get(header::ALLOW).map(|value| value.to_str().unwrap_or_default().to_owned());
        let mut allowed: Vec<&str> = header.as_deref().unwrap_or_default().split(',').map(str::trim).collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
        is_problem(answer, StatusCode::METHOD_NOT_ALLOWED).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_answer_has_security_headers_and_is_not_stored() -> Result<()> {
    let site = Site::of_tests()?;
    let (alice, bob) = site.friends().await?;
    for path in [
        "/users/me",
        "/presence",
        &format!("/presence/{}", bob.id),
        "/friendship/all",
        "/no/such/thing",
        "/healthz",
        "/ws",
    ] {
        let answer = alice.request(Method::GET, path).send().await?;
        let value = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!(value("x-content-type-options"), "nosniff", "{path}");
        assert!(value("strict-transport-security").starts_with("max-age="), "{path}");
        assert_eq!(value("cache-control"), "no-store", "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn the_body_of_a_batch_that_cannot_be_signed_is_not_read() -> Result<()> {
    let site = Site::of_tests()?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let plausible = [
        (HEADER_WEBHOOK_ID, "1".to_owned()),
        (HEADER_WEBHOOK_TIMESTAMP, now.to_string()),
        (HEADER_WEBHOOK_SIGNATURE, "v1,AAAA".to_owned()),
    ];
    let altered = |name: &str, value: &str| {
        let mut headers = plausible.clone();
        headers.iter_mut().filter(|(of, _)| *of == name).for_each(|(_, old)| *old = value.to_owned());
        headers.to_vec()
    };
    let cases = [
        (Vec::new(), StatusCode::UNAUTHORIZED),
        (plausible[1..].to_vec(), StatusCode::UNAUTHORIZED),
        (plausible[..2].to_vec(), StatusCode::UNAUTHORIZED),
        (altered(HEADER_WEBHOOK_TIMESTAMP, &(now - 400).to_string()), StatusCode::UNAUTHORIZED),
        (altered(HEADER_WEBHOOK_TIMESTAMP, &(now + 400).to_string()), StatusCode::UNAUTHORIZED),
        (altered(HEADER_WEBHOOK_TIMESTAMP, "soon"), StatusCode::UNAUTHORIZED),
        (altered(HEADER_WEBHOOK_SIGNATURE, "AAAA"), StatusCode::UNAUTHORIZED),
        // These headers may be right, so the body is read, and it is too long.
        (plausible.to_vec(), StatusCode::PAYLOAD_TOO_LARGE),
    ];
    for (headers, status) in cases {
        let mut request = site.request(Method::POST, "/internal/events").header(header::CONNECTION, "close");
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        let answer = request.body("x".repeat(EVENT_BATCH_BYTES_MAX + 1)).send().await?;
        is_problem(answer, status).await?;
    }
    Ok(())
}

/// Checks that at least this many requests are let through, and that some are refused. The platform sets the windows, and one may
/// end in between. So twice as many requests and one more are made.
async fn is_limited_to(per_minute: u32, request: impl Fn() -> RequestBuilder) -> Result<()> {
    let calls = (0..=2 * per_minute).map(|_| request().send());
    let answers: Vec<Response> = stream::iter(calls).buffer_unordered(16).try_collect().await?;
    let refused = answers.iter().filter(|answer| answer.status() == StatusCode::TOO_MANY_REQUESTS);
    let after =
        refused.map(|answer| answer.headers()[header::RETRY_AFTER].to_str()?.parse::<u64>().map_err(Into::into));
    let after: Vec<u64> = after.collect::<Result<_>>()?;
    assert!(!after.is_empty() && after.iter().all(|seconds| (1..=60).contains(seconds)), "{after:?}");
    assert!(answers.len() - after.len() >= per_minute as usize, "too few were let through");
    Ok(())
}

#[tokio::test]
async fn one_users_calls_are_limited_and_nobody_elses() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.newcomer("Alice").await?;
    let bob = site.person("Bob").await?;
    // From here on the edge knows the provider's keys.
    assert_eq!(bob.presence().await?.presence_arr, []);
    // A window may end right before the last request. Then the next window is filled.
    let mut filled = 0;
    let answer = loop {
        is_limited_to(CALLS_PER_MINUTE_MAX, || alice.request(Method::GET, "/ping")).await?;
        let answer = alice.request(Method::GET, "/presence").send().await?;
        filled += 1;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS || filled == 3 {
            break answer;
        }
    };
    is_problem(answer, StatusCode::TOO_MANY_REQUESTS).await?;
    // Calls without a token and preflights count for no user.
    assert_eq!(site.request(Method::GET, "/ping").send().await?.status(), StatusCode::OK);
    assert_eq!(alice.request(Method::OPTIONS, "/users/me").send().await?.status(), StatusCode::NO_CONTENT);
    assert_eq!(bob.request(Method::GET, "/users/me").send().await?.status(), StatusCode::OK);
    Ok(())
}

#[tokio::test]
async fn one_users_upgrades_are_limited() -> Result<()> {
    let site = Site::of_tests()?;
    let alice = site.newcomer("Alice").await?;
    // Alice is not registered, so an upgrade is refused, but only after it was counted.
    let upgrade = || {
        let request = alice.request(Method::GET, "/ws").header(header::UPGRADE, "websocket");
        let request = request.header(header::CONNECTION, "Upgrade").header("sec-websocket-version", "13");
        request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    is_limited_to(UPGRADES_PER_MINUTE_MAX, upgrade).await
}

#[test]
fn the_platform_is_told_the_limits() {
    let settings = include_str!("../../../wrangler.toml");
    for (name, limit) in [("UPGRADES_PER_USER", UPGRADES_PER_MINUTE_MAX), ("CALLS_PER_USER", CALLS_PER_MINUTE_MAX)] {
        let (_, after) = settings.split_once(&format!("name = \"{name}\"")).expect("it is bound");
        let simple = after.lines().find(|line| line.starts_with("simple")).expect("it has a limit");
        assert_eq!(simple, format!("simple = {{ limit = {limit}, period = 60 }}"));
    }
}
