//! `cargo xtask smoke`: checks any deployment with a short story of two friends, step by step.
//!
//! Deliberately absent: load, and anything that an ordinary client cannot do.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use devstack::{
    stack::{Issuer, StackInfo},
    step::say,
    token::{self, TokenRequest},
};
use e2e::{Live, Person, Site, TokenIn, live_request};
use reqwest::{Method, StatusCode, header, header::HeaderValue};
use serde::Serialize;
use serde_json::{Value, json};
use shared::{
    api::FriendshipState,
    wire::{ClientMessage, ServerMessage},
};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;
use url::{Host, Url};

use crate::dev::{INTERRUPTED, Wishes, running_stack};

/// Checks a deployment with two users: they become friends, connect, see each other's pages, send a page, and leave.
///
/// Each step is timed. The first step that fails ends the check, with exit code 1. In the end, also after Ctrl-C, the former
/// state is restored: accounts that did not exist are deleted, and existing accounts get back their share settings, their
/// visibility and their friendship. One trace stays with two existing accounts: the page that was sent, marked as read.
///
/// Without tokens, the users sign in at an issuer that gives a token for any name, as the one of `cargo xtask dev` does.
#[derive(Debug, clap::Args)]
pub struct Smoke {
    /// The deployment's public origin, such as <https://api.example.org> [default: what `cargo xtask dev` runs]
    #[arg(long, value_name = "URL")]
    edge_url: Option<Url>,
    /// ID token of the first user.
    #[arg(long, env = "SMOKE_TOKEN_A", hide_env_values = true, requires = "token_b", value_name = "TOKEN")]
    token_a: Option<String>,
    /// ID token of the second user.
    #[arg(long, env = "SMOKE_TOKEN_B", hide_env_values = true, requires = "token_a", value_name = "TOKEN")]
    token_b: Option<String>,
    /// Issuer that gives a token for any name [default: the one that `cargo xtask dev` runs]
    #[arg(long, requires = "client_id", conflicts_with = "token_a", value_name = "URL")]
    issuer: Option<String>,
    /// Client id that the issuer's tokens must be meant for.
    #[arg(long, requires = "issuer", value_name = "ID")]
    client_id: Option<String>,
    /// Also check that pages of this web origin may call, such as <https://web.example.org>.
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// Longest time for all steps, in seconds. One step may take 30 at most.
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=3_600), value_name = "SECONDS")]
    timeout: u64,
    /// Print the steps as one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Allow plain http to another machine. Anybody on the way can then read everything, including the tokens.
    #[arg(long)]
    insecure: bool,
}

/// Longest time for one step.
const STEP_MAX: Duration = Duration::from_secs(30);

/// The result of a check, as JSON.
#[derive(Debug, Serialize)]
struct Report {
    edge_url: String,
    ok: bool,
    total_ms: u128,
    /// Why the story ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    steps: Vec<Step>,
}

/// One step that was taken, and why it failed if it did.
#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the story. The exit code is 1 if a step failed, and [`INTERRUPTED`] if a signal ended it.
pub async fn run(smoke: Smoke) -> Result<u8> {
    let site = smoke.site()?;
    let (edge_url, begun) = (site.info.edge_url.clone(), Instant::now());
    let mut wishes = Wishes::listen(false)?;
    let mut steps = Steps { done: Vec::new(), shown: !smoke.json };
    let mut before = Before::default();
    let story = tokio::select! {
        told = timeout(Duration::from_secs(smoke.timeout), steps.story(&smoke, site, &mut before)) => {
            told.unwrap_or_else(|_| Err(anyhow!("not told after {} s", smoke.timeout))).map_err(|error| (1, error))
        }
        () = wishes.next() => Err((INTERRUPTED, anyhow!("interrupted"))),
    };
    let restored = tokio::select! {
        restored = steps.step("what was there before is put back", before.put_back()) => restored,
        () = wishes.next() => return Ok(INTERRUPTED),
    };
    let (ok, total_ms) = (story.is_ok() && restored.is_ok(), begun.elapsed().as_millis());
    if smoke.json {
        let error = story.as_ref().err().map(|(_, error)| format!("{error:#}"));
        let report = Report { edge_url, ok, total_ms, error, steps: steps.done };
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else if let Err((_, error)) = &story {
        say(&format!("It FAILED after {total_ms} ms: {error:#}"));
    } else {
        say(&format!("{} after {total_ms} ms", if ok { "All is well" } else { "It FAILED" }));
    }
    Ok(story.err().map_or(u8::from(!ok), |(code, _)| code))
}

impl Smoke {
    fn site(&self) -> Result<Site> {
        let running = match (&self.edge_url, &self.token_a, &self.issuer) {
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) => None,
            _ => Some(running_stack()?),
        };
        let nobody = || Issuer { issuer: String::new(), jwks_url: String::new(), audience: String::new() };
        let mut info = running.unwrap_or_else(|| StackInfo {
            edge_url: String::new(),
            core_url: String::new(),
            issuer: nobody(),
            database_url: String::new(),
        });
        if let Some(url) = &self.edge_url {
            let own = match url.host() {
                Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
                Some(Host::Ipv4(ip)) => ip.is_loopback(),
                Some(Host::Ipv6(ip)) => ip.is_loopback(),
                None => bail!("--edge-url names no host"),
            };
            ensure!(
                url.scheme() == "https" || url.scheme() == "http" && (own || self.insecure),
                "--edge-url must begin with https://; --insecure lets tokens go over plain http"
            );
            info.edge_url = url.as_str().trim_end_matches('/').to_owned();
        }
        if let (Some(issuer), Some(client_id)) = (&self.issuer, &self.client_id) {
            info.issuer = Issuer { issuer: issuer.clone(), audience: client_id.clone(), ..nobody() };
        }
        Site::of(info)
    }

    /// A user with the given token, or with a new one. With a given token, the id is not right until [`Before::register`] has
    /// asked for the account.
    async fn person(&self, site: &Site, first_name: &str, given: Option<&String>) -> Result<Person> {
        let id = format!("smoke-{}-{:08x}", first_name.to_lowercase(), rand::random::<u32>());
        let token = match given {
            Some(token) => token.clone(),
            None => token::mint(&site.info, &TokenRequest::new(id.clone())).await?,
        };
        Ok(Person { site: site.clone(), id: id.parse()?, first_name: first_name.to_owned(), token })
    }
}

struct Steps {
    done: Vec<Step>,
    shown: bool,
}

impl Steps {
    /// Runs a step, and records its duration and its error.
    async fn step<T>(&mut self, name: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let late = || anyhow!("nothing after {} s", STEP_MAX.as_secs());
        let outcome = timeout(STEP_MAX, work).await.unwrap_or_else(|_| Err(late()));
        let ms = begun.elapsed().as_millis();
        let error = outcome.as_ref().err().map(|error| format!("{error:#}"));
        if self.shown {
            match &error {
                None => say(&format!("{ms:>7} ms  {name}")),
                Some(error) => say(&format!("{ms:>7} ms  {name}: FAILED\n            {error}")),
            }
        }
        self.done.push(Step { name, ms, error });
        outcome
    }

    async fn story(&mut self, smoke: &Smoke, site: Site, before: &mut Before) -> Result<()> {
        self.step("the edge is up, and says how its answers are to be treated", is_up(&site)).await?;
        self.step("the core answers behind it", reaches_core(&site)).await?;
        self.step("nobody gets in without a token", is_closed(&site)).await?;
        if let Some(origin) = &smoke.origin {
            self.step("pages of the web origin may call", lets_in(&site, origin)).await?;
        }
        let tokens = async {
            let anna = smoke.person(&site, "Anna", smoke.token_a.as_ref()).await?;
            Ok((anna, smoke.person(&site, "Ben", smoke.token_b.as_ref()).await?))
        };
        let (mut anna, mut ben) = self.step("both have tokens", tokens).await?;
        let register = async {
            before.register(&mut anna).await?;
            before.register(&mut ben).await?;
            ensure!(anna.id != ben.id, "both tokens are of one user");
            Ok(())
        };
        self.step("both are registered", register).await?;
        self.step("they are friends", before.befriend(&anna, &ben)).await?;
        let settings = async {
            before.show_only_example_com(&anna).await?;
            before.be_visible(&anna).await?;
            before.be_visible(&ben).await
        };
        self.step("Anna shows pages of example.com, and both are visible", settings).await?;
        let connect = async {
            let (live, snapshot) = ben.connect_with_snapshot().await?;
            ensure!(snapshot.user_info_map.contains_key(&anna.id), "Ben's snapshot does not know Anna");
            Ok(live)
        };
        let mut bens = self.step("Ben connects, and finds Anna among his friends", connect).await?;
        let connect = async {
            let live = anna.connect().await?;
            comes(&anna, &mut bens).await?;
            Ok(live)
        };
        let annas = self.step("Anna connects, and Ben sees her come", connect).await?;
        self.step("Ben sees her page", sees(&annas, &mut bens, "https://example.com/smoke", "A page")).await?;
        let hidden = sees(&annas, &mut bens, "https://example.org/hidden", "");
        self.step("Ben does not see a page that she does not show", hidden).await?;
        let hide = async {
            annas.say(&ClientMessage::SetVisibility { invisible: true })?;
            goes(&anna, &mut bens).await?;
            annas.say(&ClientMessage::SetVisibility { invisible: false })?;
            comes(&anna, &mut bens).await
        };
        self.step("Anna becomes invisible and visible again, and Ben sees her go and come", hide).await?;
        self.step("Anna sends Ben a page, and he reads it", send_page(&anna, &ben, &mut bens)).await?;
        let leave = async {
            annas.say(&ClientMessage::Goodbye)?;
            goes(&anna, &mut bens).await
        };
        self.step("Anna leaves, and Ben sees her go", leave).await
    }
}

/// The former state of everything that the story has changed or is about to change.
#[derive(Default)]
struct Before {
    /// The users who had no account.
    unregistered: Vec<Person>,
    /// Both users, if they were not friends.
    strangers: Option<(Person, Person)>,
    /// A user with their former allow list and deny list.
    lists: Option<(Person, Value, Value)>,
    invisible: Vec<Person>,
}

impl Before {
    /// Registers the person if they are not registered, and learns their id.
    async fn register(&mut self, person: &mut Person) -> Result<()> {
        let answer = person.request(Method::GET, "/users/me").send().await?;
        let me = match answer.status() {
            StatusCode::OK => answer.json().await?,
            StatusCode::NOT_FOUND => {
                self.unregistered.push(person.clone());
                person.register().await?;
                person.call(Method::GET, "/users/me", None).await?
            }
            status => bail!("GET /users/me was answered {status}"),
        };
        let id = text_of(&me, "user_id")?;
        person.id = id.parse()?;
        Ok(())
    }

    async fn befriend(&mut self, anna: &Person, ben: &Person) -> Result<()> {
        match friendship(anna, ben).await? {
            FriendshipState::Accepted => Ok(()),
            FriendshipState::Pending => {
                bail!("one has asked the other to be friends already, which could not be put back")
            }
            FriendshipState::None => {
                self.strangers = Some((anna.clone(), ben.clone()));
                anna.befriend(ben).await
            }
        }
    }

    async fn show_only_example_com(&mut self, person: &Person) -> Result<()> {
        let me = person.call(Method::GET, "/users/me", None).await?;
        let list = |name| me.get(name).cloned().with_context(|| format!("GET /users/me names no {name}"));
        self.lists = Some((person.clone(), list("domain_allow_array")?, list("domain_deny_array")?));
        // One of the two lists decides, depending on the person's mode.
        set_lists(person, json!(["example.com"]), json!(["example.org"])).await
    }

    /// Makes the person visible, and records if they were invisible.
    async fn be_visible(&mut self, person: &Person) -> Result<()> {
        let (live, snapshot) = person.connect_with_snapshot().await?;
        if snapshot.user_presence.page.is_none() {
            self.invisible.push(person.clone());
        }
        set_invisible(live, false).await
    }

    /// Restores the former state. If one part fails, the others are still restored. The error names all that failed.
    async fn put_back(self) -> Result<()> {
        let mut failed = Vec::new();
        let mut attempt = |outcome: Result<()>| failed.extend(outcome.err().map(|error| format!("{error:#}")));
        if let Some((anna, ben)) = &self.strangers {
            attempt(be_strangers(anna, ben).await);
        }
        if let Some((anna, allow, deny)) = self.lists {
            attempt(set_lists(&anna, allow, deny).await);
        }
        for person in &self.invisible {
            attempt(async { set_invisible(person.connect().await?, true).await }.await);
        }
        for person in &self.unregistered {
            attempt(delete_account(person).await);
        }
        ensure!(failed.is_empty(), "{}", failed.join("; "));
        Ok(())
    }
}

fn text_of<'a>(object: &'a Value, field: &str) -> Result<&'a str> {
    object.get(field).and_then(Value::as_str).with_context(|| format!("GET /users/me names no {field}"))
}

async fn friendship(anna: &Person, ben: &Person) -> Result<FriendshipState> {
    let profile = anna.call(Method::GET, &format!("/users/id/{}", ben.id), None).await?;
    let state = profile.get("friendship_state").cloned().context("a profile names no friendship_state")?;
    Ok(serde_json::from_value(state)?)
}

async fn be_strangers(anna: &Person, ben: &Person) -> Result<()> {
    match friendship(anna, ben).await? {
        FriendshipState::None => Ok(()),
        FriendshipState::Pending | FriendshipState::Accepted => anna.unfriend(ben).await,
    }
}

async fn set_lists(person: &Person, allow: Value, deny: Value) -> Result<()> {
    person.call(Method::PUT, "/users/me/domain_array/allow", Some(allow)).await?;
    person.call(Method::PUT, "/users/me/domain_array/deny", Some(deny)).await.map(drop)
}

/// Sends the message, and leaves. The server's close shows that it has handled all messages before.
async fn set_invisible(mut live: Live, invisible: bool) -> Result<()> {
    live.say(&ClientMessage::SetVisibility { invisible })?;
    live.say(&ClientMessage::Goodbye)?;
    live.closed().await.map(drop)
}

async fn delete_account(person: &Person) -> Result<()> {
    let status = person.request(Method::DELETE, "/users/me").send().await?.status();
    ensure!(status.is_success() || status == StatusCode::NOT_FOUND, "DELETE /users/me was answered {status}");
    Ok(())
}

async fn is_up(site: &Site) -> Result<()> {
    let answer = site.request(Method::GET, "/healthz").send().await?;
    ensure!(answer.status() == StatusCode::OK, "GET /healthz was answered {}", answer.status());
    let header = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let nosniff = header(header::X_CONTENT_TYPE_OPTIONS) == Some("nosniff");
    ensure!(nosniff, "answers lack `x-content-type-options: nosniff`");
    let secured = header(header::STRICT_TRANSPORT_SECURITY).is_some_and(|value| value.starts_with("max-age="));
    ensure!(secured, "answers lack `strict-transport-security`");
    Ok(())
}

async fn reaches_core(site: &Site) -> Result<()> {
    let status = site.request(Method::GET, "/openapi.json").send().await?.status();
    ensure!(status == StatusCode::OK, "GET /openapi.json was answered {status}");
    Ok(())
}

async fn is_closed(site: &Site) -> Result<()> {
    for (path, expected) in [
        ("/users/me", [StatusCode::UNAUTHORIZED].as_slice()),
        ("/presence", &[StatusCode::UNAUTHORIZED]),
        // A request without an upgrade is refused before its token is checked.
        ("/ws", &[StatusCode::UPGRADE_REQUIRED]),
        // The edge answers 404; a firewall rule in front of it may answer 403.
        ("/internal/users/anybody/social", &[StatusCode::NOT_FOUND, StatusCode::FORBIDDEN]),
    ] {
        let status = site.request(Method::GET, path).send().await?.status();
        let wanted: Vec<String> = expected.iter().map(StatusCode::to_string).collect();
        ensure!(
            expected.contains(&status),
            "GET {path} without a token was answered {status}, not {}",
            wanted.join(" or ")
        );
    }
    match Live::open(live_request(site, "/ws", "", TokenIn::Header)?).await {
        Ok(_) => bail!("the live channel opens without a token"),
        Err(tungstenite::Error::Http(answer)) if answer.status() == StatusCode::UNAUTHORIZED => Ok(()),
        Err(tungstenite::Error::Http(answer)) => bail!("an upgrade without a token was answered {}", answer.status()),
        Err(error) => Err(error.into()),
    }
}

async fn lets_in(site: &Site, origin: &str) -> Result<()> {
    let preflight = site.request(Method::OPTIONS, "/users/me").header(header::ORIGIN, origin);
    let preflight = preflight.header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT");
    let preflight = preflight.header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type");
    let call = site.request(Method::GET, "/users/me").header(header::ORIGIN, origin);
    for request in [preflight, call] {
        let answer = request.send().await?;
        let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        ensure!(allowed.is_some_and(|value| value == origin), "{origin} is not among the origins that may call");
    }
    Ok(())
}

async fn comes(anna: &Person, bens: &mut Live) -> Result<()> {
    ensure!(bens.update().await?.user_id == anna.id, "somebody else came");
    Ok(())
}

async fn goes(anna: &Person, bens: &mut Live) -> Result<()> {
    ensure!(bens.gone().await?.0 == anna.id, "somebody else went");
    Ok(())
}

/// Anna turns to the page, and Ben must see the title. If the title is empty, he must not see the page.
async fn sees(annas: &Live, bens: &mut Live, url: &str, title: &str) -> Result<()> {
    annas.visit(url, "A page")?;
    let seen = bens.update().await?;
    let expected = if title.is_empty() { "" } else { url };
    ensure!(seen.title == title && seen.url == expected, "he sees something else");
    Ok(())
}

async fn send_page(anna: &Person, ben: &Person, bens: &mut Live) -> Result<()> {
    let page = json!({ "url": "https://example.com/sent", "title": "Sent", "sent_to": ben.id });
    let id = anna.call(Method::POST, "/notifications/share/personal", Some(page)).await?;
    bens.find(|message| {
        let ServerMessage::ShareNotification { notification } = message else { return None };
        (json!(notification.event_id) == id).then_some(())
    })
    .await?;
    ben.call(Method::POST, "/notifications/share/read", Some(json!([{ "event_id": id }]))).await.map(drop)
}
