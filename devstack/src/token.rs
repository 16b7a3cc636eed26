//! Gets tokens from the OIDC provider of a running stack, over HTTP as any client does.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{
    http,
    stack::StackInfo,
    step::{OrStepFailed as _, StepFailed},
};

/// The default life of a token, in seconds.
pub const LIFE_S: i64 = 3_600;

/// A request for a token: the user, and the token's claims.
#[derive(Debug, Clone)]
pub struct TokenRequest {
    pub user_id: String,
    /// `None`: an address made from the user id. Empty: the token has no address.
    pub email: Option<String>,
    /// The claim `email_verified`, as JSON. `None`: true. Empty: the token has no such claim.
    pub email_verified: Option<String>,
    /// Seconds from now until the token expires. If it is negative, the token has expired already.
    pub expires_in_s: i64,
    /// The client id that the token is meant for. `None`: the stack's own.
    pub audience: Option<String>,
    /// The claim `iss`. `None`: the provider itself.
    pub issuer: Option<String>,
    /// The claim `token_use`. `None`: that of an ID token.
    pub token_use: Option<String>,
}

impl TokenRequest {
    /// A request for an ordinary token of the user.
    pub fn new(user_id: impl Into<String>) -> Self {
        Self {
            user_id: user_id.into(),
            email: None,
            email_verified: None,
            expires_in_s: LIFE_S,
            audience: None,
            issuer: None,
            token_use: None,
        }
    }
}

#[derive(Deserialize)]
struct Discovery {
    token_endpoint: String,
}

#[derive(Deserialize)]
struct Answer {
    id_token: String,
}

/// Gets a token from the stack's provider. Providers other than development's refuse.
pub async fn mint(info: &StackInfo, request: &TokenRequest) -> Result<String> {
    ask(info, request).await.or_step_failed(
        &format!("Getting a token from {}", info.issuer.issuer),
        "see that the stack runs (`cargo xtask dev`); a provider of your own gives tokens its own way: sign in \
         there and hand the token over with --token",
    )
}

async fn ask(info: &StackInfo, request: &TokenRequest) -> Result<String> {
    let client = http::client()?;
    let discovery = format!("{}/.well-known/openid-configuration", info.issuer.issuer.trim_end_matches('/'));
    let discovery: Discovery = client.get(discovery).send().await?.error_for_status()?.json().await?;
    let email = request.email.clone().unwrap_or_else(|| format!("{}@example.com", request.user_id));
    let other =
        [("issuer", &request.issuer), ("token_use", &request.token_use), ("email_verified", &request.email_verified)];
    let other = other.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
    let form: String = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "password")
        .append_pair("scope", "openid email")
        .append_pair("client_id", request.audience.as_deref().unwrap_or(&info.issuer.audience))
        .append_pair("username", &request.user_id)
        .append_pair("email", &email)
        .append_pair("expires_in", &request.expires_in_s.to_string())
        .extend_pairs(other)
        .finish();
    let call = client.post(discovery.token_endpoint).header("content-type", "application/x-www-form-urlencoded");
    let answer = call.body(form).send().await?;
    let status = answer.status();
    if !status.is_success() {
        let why = format!("it answered {status}");
        return Err(StepFailed::new("Getting a token", why, "see what the provider allows").into());
    }
    let answer: Answer = answer.json().await.context("its answer holds no ID token")?;
    Ok(answer.id_token)
}
