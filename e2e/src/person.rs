//! A person with a token: what they can ask for over REST, and how they connect.

use anyhow::{Context as _, Result, ensure};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use shared::{
    ids::UserId,
    internal::ObjectCounts,
    share_policy::ShareMode,
    wire::{PageView, PresenceSnapshot},
};

use crate::{
    live::Live,
    site::{Site, TokenIn, live_request},
};

/// A user of a system, registered or not.
#[derive(Debug, Clone)]
pub struct Person {
    pub site: Site,
    pub id: UserId,
    pub first_name: String,
    pub token: String,
}

impl Person {
    /// A call with the person's token.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.site.request(method, path).bearer_auth(&self.token)
    }

    /// Makes a call that must succeed, and gives its answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let mut request = self.request(method.clone(), path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{method} {path} was answered {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{method} {path} was not answered in JSON: {text}"))
    }

    /// `POST /users/me`.
    pub async fn register(&self) -> Result<Value> {
        let names = json!({ "first_name": self.first_name, "last_name": "Test" });
        self.call(Method::POST, "/users/me", Some(names)).await
    }

    /// Asks `other` to be friends.
    pub async fn ask(&self, other: &Self) -> Result<()> {
        self.call(Method::POST, "/friendship/requests", Some(json!({ "user_id2": other.id }))).await.map(drop)
    }

    /// Accepts a request of `other`.
    pub async fn accept(&self, other: &Self) -> Result<()> {
        self.call(Method::POST, "/friendship/accept", Some(json!({ "user_id1": other.id }))).await.map(drop)
    }

    /// Makes the two friends: this person asks, and `other` accepts.
    pub async fn befriend(&self, other: &Self) -> Result<()> {
        self.ask(other).await?;
        other.accept(self).await
    }

    /// Ends the friendship.
    pub async fn unfriend(&self, other: &Self) -> Result<()> {
        let pair = json!({ "user_id1": self.id, "user_id2": other.id });
        self.call(Method::POST, "/friendship/delete", Some(pair)).await.map(drop)
    }

    /// Replaces the list of domains whose pages are shown; the share mode stays.
    pub async fn share_only(&self, allowed: &[&str]) -> Result<()> {
        self.call(Method::PUT, "/users/me/domain_array/allow", Some(json!(allowed))).await.map(drop)
    }

    /// Replaces all share settings.
    pub async fn share(&self, mode: ShareMode, allowed: &[&str], denied: &[&str]) -> Result<()> {
        let update = json!({
            "first_name": self.first_name, "last_name": "Test", "description": "",
            "share_mode": mode, "domain_allow_array": allowed, "domain_deny_array": denied,
            "gender": null, "school": null, "work": null, "location": null,
            "email_public": false, "gender_public": false, "school_public": false, "work_public": false,
            "location_public": false,
        });
        self.call(Method::PUT, "/users/me", Some(update)).await.map(drop)
    }

    /// `GET /presence`.
    pub async fn presence(&self) -> Result<PresenceSnapshot> {
        Ok(serde_json::from_value(self.call(Method::GET, "/presence", None).await?)?)
    }

    /// `GET /presence/{id}`: the page of a friend or of the person themselves, `None` while they are offline. Fails for anybody
    /// else.
    pub async fn page_of(&self, other: &UserId) -> Result<Option<PageView>> {
        Ok(serde_json::from_value(self.call(Method::GET, &format!("/presence/{other}"), None).await?)?)
    }

    /// The status of `GET /presence/{id}`.
    pub async fn may_see(&self, other: &UserId) -> Result<StatusCode> {
        Ok(self.request(Method::GET, &format!("/presence/{other}")).send().await?.status())
    }

    /// What the person's object has done since its worker started. Reading it wakes nothing.
    pub async fn counts(&self) -> Result<ObjectCounts> {
        let answer = self.site.request(Method::GET, &format!("/internal/counts/{}", self.id)).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Connects, as browsers do, and takes the snapshot.
    pub async fn connect(&self) -> Result<Live> {
        self.connect_with_snapshot().await.map(|(live, _)| live)
    }

    /// Connects as browsers do, and gives the snapshot too.
    pub async fn connect_with_snapshot(&self) -> Result<(Live, PresenceSnapshot)> {
        let (mut live, _) = Live::open(live_request(&self.site, "/ws", &self.token, TokenIn::Subprotocol)?).await?;
        let snapshot = live.snapshot().await?;
        Ok((live, snapshot))
    }

    /// Connects, takes the snapshot, and sends nothing by itself, not even heartbeats.
    pub async fn connect_silently(&self) -> Result<Live> {
        let request = live_request(&self.site, "/ws", &self.token, TokenIn::Subprotocol)?;
        let (mut live, _) = Live::open_silent(request).await?;
        live.snapshot().await?;
        Ok(live)
    }
}
