//! Who is calling. Handlers ask by taking a [`Caller`], [`Member`] or [`Edge`] as an argument.
//!
//! Deliberately absent: how tokens are checked (`shared::token`), and trust in any header but the token.

use std::sync::Arc;

use axum::{
    extract::FromRequestParts,
    http::{header::AUTHORIZATION, request::Parts},
};
use jsonwebtoken::{Algorithm, DecodingKey};
use quick_cache::sync::Cache;
use reqwest::Url;
use sha2::{Digest as _, Sha256};
use shared::{
    ids::UserId,
    limits::{EMAIL_CHARS_MAX, TOKEN_BYTES_MAX},
    time::Timestamp,
    token::{self, Claims, Issuer, KeyCache, Keys, Lookup},
};
use tokio::sync::Mutex;

use crate::{
    App,
    clock::now,
    config::EmailVerified,
    error::{Error, NO_ACCOUNT, Result},
    extract::bounded_text,
};

/// The holder of a valid user token, registered or not, who is not suspended.
#[derive(Debug, Clone)]
pub struct Caller {
    pub user_id: UserId,
    /// As the identity provider has it.
    email: Option<String>,
    /// Whether the provider says that the address is verified, if it says anything.
    email_verified: Option<bool>,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let Claims { user_id, email, email_verified, .. } = app.identity.verify(bearer(parts)?).await?;
        tracing::Span::current().record("user.id", user_id.as_str());
        app.pace.called(&user_id)?;
        app.suspensions.let_pass(&app.pool, &user_id).await?;
        Ok(Self { user_id, email, email_verified })
    }
}

impl Caller {
    /// The e-mail address in the caller's token.
    ///
    /// # Errors
    ///
    /// 422 when the token has no address that can be stored, or when it says that the address is not verified and the
    /// configuration requires that it is.
    pub fn own_email(&self, app: &App) -> Result<&str> {
        let email = self.email.as_deref().filter(|email| !email.is_empty());
        let email = email.filter(|email| bounded_text(email, EMAIL_CHARS_MAX).is_ok());
        let email = email.ok_or_else(|| Error::invalid_field("email", "the token carries no usable e-mail address"))?;
        match app.email_verified {
            EmailVerified::Required if self.email_verified == Some(false) => {
                Err(Error::invalid_field("email", "the token says that the e-mail address is not verified"))
            }
            EmailVerified::Required | EmailVerified::Ignored => Ok(email),
        }
    }

    /// The rows that were found for this caller. If there are none, the caller may have no account. Only then the account
    /// is looked up, so that reads of members rarely need a statement for it.
    ///
    /// # Errors
    ///
    /// 403 when nothing was found and the caller has no account.
    pub async fn found<T>(&self, app: &App, rows: Vec<T>) -> Result<Vec<T>> {
        if rows.is_empty() {
            require_account(app, &self.user_id).await?;
        }
        Ok(rows)
    }
}

/// A caller who has an account.
#[derive(Debug, Clone)]
pub struct Member(pub UserId);

impl FromRequestParts<Arc<App>> for Member {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let Caller { user_id, .. } = Caller::from_request_parts(parts, app).await?;
        require_account(app, &user_id).await?;
        Ok(Self(user_id))
    }
}

async fn require_account(app: &App, user_id: &UserId) -> Result<()> {
    let registered = sqlx::query_scalar!(
        r#"select exists (select from users where user_id = $1) as "registered!""#,
        user_id.as_str()
    )
    .fetch_one(&app.pool)
    .await?;
    if registered { Ok(()) } else { Err(NO_ACCOUNT) }
}

/// The edge itself, which shows its service token. A user's token is refused.
pub struct Edge;

impl FromRequestParts<Arc<App>> for Edge {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self> {
        let (token, now) = (bearer(parts)?, now());
        let is_signed_by = |secret: &String| token::service::verify(secret, token, now).is_ok();
        if app.service_token_secrets.iter().any(is_signed_by) { Ok(Self) } else { Err(Error::Unauthorized) }
    }
}

fn bearer(parts: &Parts) -> Result<&str> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(Error::Unauthorized)?;
    header.to_str().map(token::bearer).map_err(|_| Error::Unauthorized)
}

/// The identity provider and its signing keys as last fetched.
pub struct IdentityProvider {
    issuer: Issuer,
    jwks_url: Url,
    http: reqwest::Client,
    /// Held while a fetch is under way, so that any number of requests cause one fetch.
    fetching: Arc<Mutex<()>>,
    keys: Arc<std::sync::RwLock<KnownKeys>>,
}

/// Most tokens whose claims are remembered, about 300 bytes each.
const TOKENS_REMEMBERED_MAX: usize = 20_000;

/// The claims of tokens that were found valid, by the hash of the whole token. Checking a signature costs more than all
/// else in most requests. The tokens themselves are not kept.
type Remembered = Cache<[u8; 32], Claims>;

struct KnownKeys {
    cache: KeyCache<DecodingKey>,
    /// The tokens that were found valid with these keys. New keys come with a new cache. So a call that still checks a
    /// token with the old keys writes it to the old cache, which is not read any more.
    remembered: Arc<Remembered>,
    /// Whether the last fetch failed. Then a key that is not here may exist.
    provider_away: bool,
}

impl Default for KnownKeys {
    fn default() -> Self {
        Self { cache: KeyCache::default(), remembered: Self::nothing(), provider_away: false }
    }
}

impl KnownKeys {
    fn nothing() -> Arc<Remembered> {
        Arc::new(Cache::new(TOKENS_REMEMBERED_MAX))
    }

    fn store(&mut self, keys: Keys<DecodingKey>, now: Timestamp) {
        self.cache.store(keys, now);
        self.remembered = Self::nothing();
    }
}

impl IdentityProvider {
    /// `http` has the time-out of a fetch.
    pub fn new(issuer: Issuer, jwks_url: Url, http: reqwest::Client) -> Self {
        Self { issuer, jwks_url, http, fetching: Arc::default(), keys: Arc::default() }
    }

    async fn verify(&self, token: &str) -> Result<Claims> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Error::Unauthorized);
        }
        let hash = Sha256::digest(token).into();
        if let Some(claims) = self.remembered(&hash) {
            return Ok(claims);
        }
        let key_id = token::key_id(token).map_err(|_| Error::Unauthorized)?;
        let (key, remembered) = self.key(&key_id).await?;
        let is_signed = async |message: &str, signature: &str| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, Algorithm::RS256).unwrap_or(false)
        };
        let claims = token::verify(token, &self.issuer, now(), is_signed).await.map_err(|_| Error::Unauthorized)?;
        remembered.insert(hash, claims.clone());
        Ok(claims)
    }

    /// The claims of a token that was found valid before, as long as it has not expired and the keys need not be fetched
    /// again.
    fn remembered(&self, hash: &[u8; 32]) -> Option<Claims> {
        let now = now();
        let known = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.remembered.get(hash).filter(|claims| now < claims.expires_at && known.cache.is_fresh(now))
    }

    async fn key(&self, key_id: &str) -> Result<(DecodingKey, Arc<Remembered>)> {
        if let Some(known) = self.known(key_id) {
            return known;
        }
        let turn = Arc::clone(&self.fetching).lock_owned().await;
        // A call that was before this one in the queue may have fetched the key.
        if let Some(known) = self.known(key_id) {
            return known;
        }
        // A task of its own: a caller who hangs up does not end the fetch, and so no other fetch begins.
        let fetch = fetch(self.http.clone(), self.jwks_url.clone());
        let keys = Arc::clone(&self.keys);
        let task = tokio::spawn(async move {
            let _turn = turn;
            let started = now();
            let fetched = fetch.await;
            let mut known = keys.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            known.cache.fetching(started);
            known.provider_away = fetched.is_err();
            match fetched {
                Ok(fetched) => known.store(fetched, started),
                Err(cause) => tracing::warn!(cause, "the signing keys could not be fetched"),
            }
        });
        task.await.map_err(|_| Error::Internal("the task that fetches signing keys ended early".to_owned()))?;
        self.known(key_id)
            .unwrap_or_else(|| Err(Error::Unavailable("fetching the signing keys took too long".to_owned())))
    }

    /// The key or the error, if it is known without asking the provider. `None`: the provider has to be asked.
    fn known(&self, key_id: &str) -> Option<Result<(DecodingKey, Arc<Remembered>)>> {
        let known = self.keys.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        match known.cache.look_up(key_id, now()) {
            Lookup::Key(key) => Some(Ok((key, Arc::clone(&known.remembered)))),
            Lookup::Fetch => None,
            Lookup::Unknown if known.provider_away => {
                Some(Err(Error::Unavailable("no signing keys: the identity provider is away".to_owned())))
            }
            Lookup::Unknown => Some(Err(Error::Unauthorized)),
        }
    }
}

/// Most bytes of a key set that are read. Real ones have a few KiB.
const KEY_SET_BYTES_MAX: usize = 256 * 1_024;

async fn fetch(http: reqwest::Client, url: Url) -> Result<Keys<DecodingKey>, String> {
    let cause = |error: reqwest::Error| error.without_url().to_string();
    let mut response = http.get(url).send().await.and_then(reqwest::Response::error_for_status).map_err(cause)?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(cause)? {
        body.extend_from_slice(&chunk);
        if body.len() > KEY_SET_BYTES_MAX {
            return Err("the answer is too long to be a key set".to_owned());
        }
    }
    let keys = token::signing_keys(&body).map_err(|_| "the answer is no key set".to_owned())?;
    Ok(keys.into_iter().filter_map(|(id, jwk)| Some((id, DecodingKey::from_jwk(&jwk).ok()?))).collect())
}

#[cfg(test)]
mod tests {
    use shared::limits::JWKS_AGE_MS_MAX;

    use super::*;

    const HASH: [u8; 32] = [1; 32];

    fn provider() -> IdentityProvider {
        // Another test of this process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let issuer = Issuer { issuer: "https://issuer.example".to_owned(), audience: "the-client".to_owned() };
        IdentityProvider::new(issuer, Url::parse("http://127.0.0.1:9/").unwrap(), reqwest::Client::new())
    }

    fn claims(lives_ms: i64) -> Claims {
        let user_id = UserId::try_from("alice".to_owned()).unwrap();
        Claims { user_id, email: None, email_verified: None, expires_at: now().plus_ms(lives_ms) }
    }

    #[test]
    fn claims_are_remembered_only_until_the_token_expires() {
        let provider = provider();
        let mut known = provider.keys.write().unwrap();
        known.store(Keys::default(), now());
        known.remembered.insert(HASH, claims(60_000));
        known.remembered.insert([2; 32], claims(0));
        drop(known);
        assert!(provider.remembered(&HASH).is_some());
        assert_eq!(provider.remembered(&[2; 32]), None);
        assert_eq!(provider.remembered(&[3; 32]), None);
    }

    #[test]
    fn new_keys_forget_all_claims_also_those_of_a_check_under_way() {
        let provider = provider();
        provider.keys.write().unwrap().store(Keys::default(), now());
        let under_way = Arc::clone(&provider.keys.read().unwrap().remembered);
        under_way.insert(HASH, claims(60_000));
        assert!(provider.remembered(&HASH).is_some());
        provider.keys.write().unwrap().store(Keys::default(), now());
        under_way.insert(HASH, claims(60_000));
        assert_eq!(provider.remembered(&HASH), None);
    }

    #[test]
    fn nothing_is_remembered_once_the_keys_are_due_to_be_fetched() {
        let provider = provider();
        let mut known = provider.keys.write().unwrap();
        known.store(Keys::default(), now().plus_ms(-JWKS_AGE_MS_MAX));
        known.remembered.insert(HASH, claims(60_000));
        drop(known);
        assert_eq!(provider.remembered(&HASH), None);
    }
}
