//! A running system, as its clients know it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use devstack::{
    http, project,
    stack::StackInfo,
    test_run::STACK,
    token::{self, TokenRequest},
};
use reqwest::{Client, Method, RequestBuilder};
use shared::wire::SUBPROTOCOL;
use tokio_tungstenite::tungstenite::{
    client::IntoClientRequest as _, handshake::client::Request, http::HeaderValue, http::header,
};
use uuid::Uuid;

use crate::{Live, Person};

/// Where a system runs, and the client that calls it.
#[derive(Debug, Clone)]
pub struct Site {
    pub info: StackInfo,
    http: Client,
}

/// The folder of the client that was built for the stack that all tests of one run share.
pub fn client_of_tests() -> Result<PathBuf> {
    let file = std::env::var_os(STACK).context("this test needs `cargo xtask test`")?;
    Ok(Path::new(&file).with_extension("").join("client"))
}

impl Site {
    /// The stack that all tests of one run share.
    pub fn of_tests() -> Result<Self> {
        let file = std::env::var_os(STACK);
        let file =
            file.context("this test needs the running system: `cargo xtask test` starts it and runs the tests")?;
        Self::of(StackInfo::read(Path::new(&file))?)
    }

    /// The stack that `cargo xtask dev` runs.
    pub fn of_development() -> Result<Self> {
        let info = StackInfo::read(&project::dev_dir().join("stack.json"));
        Self::of(info.context("nothing runs: `cargo xtask dev` starts it")?)
    }

    /// The stack described by `info`.
    pub fn of(info: StackInfo) -> Result<Self> {
        Ok(Self { info, http: http::client()? })
    }

    /// A call to the public origin without a token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.info.edge_url))
    }

    /// A call directly to the core, which no client outside tests can reach.
    pub fn core_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.info.core_url))
    }

    /// A person with a token who has not registered. Both the id and the e-mail address are new.
    pub async fn newcomer(&self, first_name: &str) -> Result<Person> {
        self.newcomer_called(first_name, &Uuid::new_v4().to_string()).await
    }

    /// A person as [`Self::newcomer`] makes one, with an id that the caller chooses and that must be new.
    pub async fn newcomer_called(&self, first_name: &str, user_id: &str) -> Result<Person> {
        let request =
            TokenRequest { email: Some(format!("{}@example.com", Uuid::new_v4())), ..TokenRequest::new(user_id) };
        let token = token::mint(&self.info, &request).await?;
        Ok(Person { site: self.clone(), id: user_id.parse()?, first_name: first_name.to_owned(), token })
    }

    /// A person who has just registered.
    pub async fn person(&self, first_name: &str) -> Result<Person> {
        let person = self.newcomer(first_name).await?;
        person.register().await?;
        Ok(person)
    }

    /// Two registered people who are friends and share pages of example.com and no others.
    pub async fn friends(&self) -> Result<(Person, Person)> {
        let (alice, bob) = (self.person("Alice").await?, self.person("Bob").await?);
        alice.befriend(&bob).await?;
        alice.share_only(&["example.com"]).await?;
        bob.share_only(&["example.com"]).await?;
        Ok((alice, bob))
    }

    /// The same two, both connected. Each has been told that the other is online.
    pub async fn friends_online(&self) -> Result<((Person, Live), (Person, Live))> {
        let (alice, bob) = self.friends().await?;
        let mut alice_live = alice.connect().await?;
        let bob_live = bob.connect().await?;
        let came = alice_live.update().await?;
        anyhow::ensure!(came.user_id == bob.id && came.url.is_empty(), "not Bob coming online: {came:?}");
        Ok(((alice, alice_live), (bob, bob_live)))
    }
}

/// Where a client puts its token when it asks for the live channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenIn {
    /// `?Authorization=`, as the published extension does.
    Query,
    /// The `Authorization` header.
    Header,
    /// The second subprotocol, as browsers can.
    Subprotocol,
}

impl TokenIn {
    /// Every place that there is.
    pub const ALL: [Self; 3] = [Self::Query, Self::Header, Self::Subprotocol];
}

/// Asks for the live channel at `path`, which is `/ws` or `/`.
pub fn live_request(site: &Site, path: &str, token: &str, place: TokenIn) -> Result<Request> {
    let url = format!("{}{path}", site.info.edge_url.replacen("http", "ws", 1));
    let url = if place == TokenIn::Query { format!("{url}?Authorization={token}") } else { url };
    let mut request = url.into_client_request()?;
    match place {
        TokenIn::Query => {}
        TokenIn::Header => {
            let value = HeaderValue::try_from(format!("Bearer {token}"))?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        TokenIn::Subprotocol => {
            let value = HeaderValue::try_from(format!("{SUBPROTOCOL}, {token}"))?;
            request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
    }
    Ok(request)
}
