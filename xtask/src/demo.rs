//! The demo users: alice and bob are friends, and carol has sent alice a friend request. They are made through the public REST
//! API, as any client would make them. At later starts, the friendship and the request are made again if that is allowed.

use anyhow::{Result, bail};
use devstack::{
    http,
    stack::StackInfo,
    step::OrStepFailed as _,
    token::{self, TokenRequest},
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

/// Registers the three users, and makes the friendship and the request.
pub async fn make_users(info: &StackInfo) -> Result<()> {
    let advice = "read .dev/logs/edge.log and .dev/logs/core.log; `--reset` starts afresh";
    make(info).await.or_step_failed("Making the demo users", advice)
}

async fn make(info: &StackInfo) -> Result<()> {
    let demo = Demo { client: http::client()?, info };
    for (user, first_name, last_name) in
        [("alice", "Alice", "Archer"), ("bob", "Bob", "Builder"), ("carol", "Carol", "Cook")]
    {
        let names = json!({ "first_name": first_name, "last_name": last_name });
        // A conflict means that the user was registered at an earlier start.
        demo.post(user, "/users/me", names, &[StatusCode::CREATED, StatusCode::CONFLICT]).await?;
    }
    // A request is refused if one user has blocked the other, or declined a moment ago. The developer did that, so it stays.
    let ok = [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::TOO_MANY_REQUESTS];
    demo.post("alice", "/friendship/requests", json!({ "user_id2": "bob" }), &ok).await?;
    demo.post("bob", "/friendship/accept", json!({ "user_id1": "alice" }), &ok).await?;
    demo.post("carol", "/friendship/requests", json!({ "user_id2": "alice" }), &ok).await
}

struct Demo<'a> {
    client: Client,
    info: &'a StackInfo,
}

impl Demo<'_> {
    async fn post(&self, user: &str, path: &str, body: Value, expected: &[StatusCode]) -> Result<()> {
        let token = token::mint(self.info, &TokenRequest::new(user)).await?;
        let call = self.client.post(format!("{}{path}", self.info.edge_url)).bearer_auth(token).json(&body);
        let answer = call.send().await?;
        let status = answer.status();
        if !expected.contains(&status) {
            bail!("POST {path} as {user} answered {status}: {}", answer.text().await.unwrap_or_default());
        }
        Ok(())
    }
}
