//! `cargo xtask smoke`: the story of two friends against any deployment, step by step.
//!
//! Deliberately absent: anything that a client cannot do, and load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use devstack::{
    stack::{Issuer, StackInfo},
    step::say,
    token::{self, TokenRequest},
};
use e2e::{Live, Person, Site};
use reqwest::{Method, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use shared::wire::{ClientMessage, ServerMessage};
use tokio::time::timeout;
use url::{Host, Url};

use crate::dev::running_stack;

/// Two users meet at a deployment: they become friends, connect, see each other's pages or do not, send a page, and go.
///
/// Each step is timed; the first that fails ends it, with exit code 1. What was there before is as it was afterwards: accounts
/// that did not exist are deleted, share settings and friendship put back.
///
/// Without tokens, the users sign in at an issuer that gives tokens for a name, as development's does.
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
    /// Issuer that gives tokens for a name [default: that of what `cargo xtask dev` runs]
    #[arg(long, requires = "client_id", conflicts_with = "token_a", value_name = "URL")]
    issuer: Option<String>,
    /// Client id that the tokens are to be meant for.
    #[arg(long, requires = "issuer", value_name = "ID")]
    client_id: Option<String>,
    /// Print the steps as one JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Speak plain http to another machine, which anybody on the way can read, the tokens too.
    #[arg(long)]
    insecure: bool,
}

/// Longest time for one step.
const STEP_MAX: Duration = Duration::from_secs(30);

/// What happened.
#[derive(Debug, Serialize)]
struct Report {
    edge_url: String,
    ok: bool,
    total_ms: u128,
    steps: Vec<Step>,
}

/// One step, and why it failed if it did.
#[derive(Debug, Serialize)]
struct Step {
    name: &'static str,
    ms: u128,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs the story. The exit code is 1 when a step failed.
pub async fn run(smoke: Smoke) -> Result<u8> {
    let site = smoke.site()?;
    let (edge_url, begun) = (site.info.edge_url.clone(), Instant::now());
    let mut steps = Steps { done: Vec::new(), shown: !smoke.json };
    let story = steps.story(&smoke, site).await;
    let report = Report { edge_url, ok: story.is_ok(), total_ms: begun.elapsed().as_millis(), steps: steps.done };
    if smoke.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say(&format!("{} after {} ms", if report.ok { "All is well" } else { "It FAILED" }, report.total_ms));
    }
    Ok(u8::from(!report.ok))
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

    /// Whoever the token is of: who they are is known once they have asked for themselves.
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
    /// Takes a step; its error is remembered with it.
    async fn step<T>(&mut self, name: &'static str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        let late = || anyhow::anyhow!("nothing after {} s", STEP_MAX.as_secs());
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

    async fn story(&mut self, smoke: &Smoke, site: Site) -> Result<()> {
        self.step("the edge is up, and says how its answers are to be treated", is_up(&site)).await?;
        self.step("nobody gets in without a token", is_closed(&site)).await?;
        let tokens = async {
            let anna = smoke.person(&site, "Anna", smoke.token_a.as_ref()).await?;
            Ok((anna, smoke.person(&site, "Ben", smoke.token_b.as_ref()).await?))
        };
        let (mut anna, mut ben) = self.step("both have tokens", tokens).await?;
        let register = async { Ok([Account::of(&mut anna).await?, Account::of(&mut ben).await?]) };
        let accounts = self.step("both are registered", register).await?;
        let told = self.friends(&anna, &ben).await;
        let [annas, bens] = accounts;
        let put_back = async {
            annas.put_back(&anna).await?;
            bens.put_back(&ben).await
        };
        let restored = self.step("what was there before is put back", put_back).await;
        told.and(restored)
    }

    async fn friends(&mut self, anna: &Person, ben: &Person) -> Result<()> {
        let were_friends = are_friends(anna, ben).await?;
        if !were_friends {
            self.step("they become friends", anna.befriend(ben)).await?;
        }
        let told = self.pages(anna, ben).await;
        if were_friends {
            return told;
        }
        told.and(self.step("they are friends no longer", anna.unfriend(ben)).await)
    }

    async fn pages(&mut self, anna: &Person, ben: &Person) -> Result<()> {
        self.step("Anna shows pages of example.com", anna.share_only(&["example.com"])).await?;
        let connect = async {
            let (live, snapshot) = ben.connect_with_snapshot().await?;
            ensure!(snapshot.user_info_map.contains_key(&anna.id), "Ben's snapshot does not know Anna");
            Ok(live)
        };
        let mut bens = self.step("Ben connects, and finds Anna among his friends", connect).await?;
        let connect = async {
            let live = anna.connect().await?;
            let came = bens.update().await?;
            ensure!(came.user_id == anna.id, "somebody else came");
            Ok(live)
        };
        let annas = self.step("Anna connects, and Ben sees her come", connect).await?;
        self.step("Ben sees her page", sees(&annas, &mut bens, "https://example.com/smoke", "A page")).await?;
        let hidden = sees(&annas, &mut bens, "https://example.org/hidden", "");
        self.step("Ben does not see a page that she does not show", hidden).await?;
        self.step("Anna sends Ben a page, and he reads it", send_page(anna, ben, &mut bens)).await?;
        let leave = async {
            annas.say(&ClientMessage::Goodbye)?;
            ensure!(bens.gone().await?.0 == anna.id, "somebody else went");
            Ok(())
        };
        self.step("Anna leaves, and Ben sees her go", leave).await
    }
}

/// How an account was before.
struct Account {
    existed: bool,
    allowed: Value,
}

impl Account {
    /// Registers the person unless they are, and learns their id.
    async fn of(person: &mut Person) -> Result<Self> {
        let answer = person.request(Method::GET, "/users/me").send().await?;
        let (existed, me) = match answer.status() {
            StatusCode::OK => (true, answer.json().await?),
            StatusCode::NOT_FOUND => {
                person.register().await?;
                (false, person.call(Method::GET, "/users/me", None).await?)
            }
            status => bail!("GET /users/me was answered {status}"),
        };
        let id = me.get("user_id").and_then(Value::as_str).context("GET /users/me names no user_id")?;
        person.id = id.parse()?;
        Ok(Self { existed, allowed: me.get("domain_allow_array").cloned().unwrap_or_else(|| json!([])) })
    }

    async fn put_back(self, person: &Person) -> Result<()> {
        if self.existed {
            person.call(Method::PUT, "/users/me/domain_array/allow", Some(self.allowed)).await.map(drop)
        } else {
            let answer = person.request(Method::DELETE, "/users/me").send().await?;
            ensure!(answer.status().is_success(), "DELETE /users/me was answered {}", answer.status());
            Ok(())
        }
    }
}

async fn is_up(site: &Site) -> Result<()> {
    let answer = site.request(Method::GET, "/healthz").send().await?;
    ensure!(answer.status() == StatusCode::OK, "GET /healthz was answered {}", answer.status());
    let header = answer.headers().get(header::X_CONTENT_TYPE_OPTIONS);
    ensure!(header.is_some_and(|value| value == "nosniff"), "answers lack `x-content-type-options: nosniff`");
    Ok(())
}

async fn is_closed(site: &Site) -> Result<()> {
    for path in ["/users/me", "/presence", "/ws"] {
        let answer = site.request(Method::GET, path).send().await?;
        let refused = matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::UPGRADE_REQUIRED);
        ensure!(refused, "GET {path} without a token was answered {}", answer.status());
    }
    let inside = site.request(Method::GET, "/internal/users/anybody/social").send().await?;
    ensure!(inside.status() == StatusCode::NOT_FOUND, "/internal was answered {}", inside.status());
    Ok(())
}

async fn are_friends(anna: &Person, ben: &Person) -> Result<bool> {
    let profile = anna.call(Method::GET, &format!("/users/id/{}", ben.id), None).await?;
    // 2: friends.
    Ok(profile.get("friendship_state").and_then(Value::as_u64) == Some(2))
}

/// Anna turns to that page, and Ben sees that title, which is empty where he must not see the page.
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
