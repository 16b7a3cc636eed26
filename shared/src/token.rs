//! Tokens that say who is calling: users' OIDC ID tokens, and the service tokens of the edge.
//!
//! Deliberately absent: fetching keys, checking users' signatures and making the edge's, which each host does in its own way,
//! and reading the time. [`KeyCache`] says when keys must be fetched. Its owner fetches them.

use std::collections::HashMap;

pub use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation,
    dangerous::insecure_decode_claims,
    jwk::{AlgorithmParameters, JwkSet, PublicKeyUse},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    ids::UserId,
    limits::{JWKS_AGE_MS_MAX, JWKS_REFETCH_MS_MIN, SERVICE_TOKEN_LIFE_S, TOKEN_BYTES_MAX},
    time::Timestamp,
};

/// The identity provider whose tokens are accepted, and the client that they must be issued for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// Must equal the token's `iss` exactly.
    pub issuer: String,
    /// Our client id. Must be among the token's `aud`.
    pub audience: String,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    pub user_id: UserId,
    /// The e-mail address from the provider; null if the token has none.
    pub email: Option<String>,
    /// Whether the provider has verified that the address is the user's; null if the token has no such claim.
    pub email_verified: Option<bool>,
    pub expires_at: Timestamp,
}

/// Why a token was refused. Callers are told only that it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a token this service takes")]
    Malformed,
    #[error("the signature, issuer or audience is wrong")]
    Refused,
    #[error("expired")]
    Expired,
    #[error("no ID token")]
    WrongUse,
}

/// The bearer token of an `Authorization` header, with the scheme or without. The presence pages of the web client send it
/// without.
pub fn bearer(header: &str) -> &str {
    match header.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => header.trim(),
    }
}

/// The id of the key with which a token claims to be signed.
///
/// # Errors
///
/// [`TokenError::Malformed`] for a text that is not a token, is too long, names no key, or names another algorithm than RS256.
pub fn key_id(token: &str) -> Result<String, TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    // The algorithm is fixed, here and where the signature is checked. A token must not choose it.
    if header.alg != Algorithm::RS256 {
        return Err(TokenError::Malformed);
    }
    header.kid.ok_or(TokenError::Malformed)
}

/// Checks a token's signature, issuer, audience, use and expiry. `is_signed` gets the signed text, and the signature in
/// base64url. It must return whether the signature is RS256 of that text by the key that [`key_id`] returned.
///
/// # Errors
///
/// The first thing that is wrong with the token.
pub async fn verify(
    token: &str,
    issuer: &Issuer,
    now: Timestamp,
    is_signed: impl AsyncFnOnce(&str, &str) -> bool,
) -> Result<Claims, TokenError> {
    #[derive(Deserialize)]
    struct IdToken {
        iss: String,
        aud: Audience,
        exp: f64,
        token_use: Option<String>,
        email: Option<String>,
        #[serde(default, deserialize_with = "said")]
        email_verified: Option<Value>,
        #[serde(rename = "cognito:username")]
        username: UserId,
    }

    /// Reads a claim that is null as `Some`, so that only a missing claim is `None`.
    fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
        Value::deserialize(deserializer).map(Some)
    }

    /// One audience or several (RFC 7519, section 4.1.3).
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Audience {
        One(String),
        Many(Vec<String>),
    }

    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    if !is_signed(message, signature).await {
        return Err(TokenError::Refused);
    }
    // Claims are read only after the signature was checked.
    let claims: IdToken = insecure_decode_claims(token).map_err(|_| TokenError::Refused)?;
    let for_us = match claims.aud {
        Audience::One(audience) => audience == issuer.audience,
        Audience::Many(audiences) => audiences.contains(&issuer.audience),
    };
    if claims.iss != issuer.issuer || !for_us {
        return Err(TokenError::Refused);
    }
    if claims.token_use.as_deref() != Some("id") {
        return Err(TokenError::WrongUse);
    }
    let expires_at = Timestamp::from_unix_ms((claims.exp * 1_000.0) as i64);
    if expires_at <= now {
        return Err(TokenError::Expired);
    }
    // Amazon Cognito writes the claim as text if the address comes from another provider. Any other value counts as false.
    let email_verified = claims.email_verified.map(|said| said == true || said == "true");
    Ok(Claims { user_id: claims.username, email: claims.email, email_verified, expires_at })
}

/// The RSA signing keys in a JSON Web Key Set, each with its id. Keys without an id are left out.
///
/// # Errors
///
/// If the text is not a key set.
pub fn signing_keys(json: &[u8]) -> Result<Vec<(String, Jwk)>, serde_json::Error> {
    let set: JwkSet = serde_json::from_slice(json)?;
    let usable = set.keys.into_iter().filter_map(|jwk| {
        let rsa = matches!(jwk.algorithm, AlgorithmParameters::RSA(_));
        let signs = !matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption));
        let id = jwk.common.key_id.clone().filter(|_| rsa && signs)?;
        Some((id, jwk))
    });
    Ok(usable.collect())
}

/// The provider's signing keys, by key id.
pub type Keys<K> = HashMap<String, K>;

/// Keys that are kept between requests. They are fetched again when a token names an unknown key, so that a rotation works at
/// once. At least [`JWKS_REFETCH_MS_MIN`] passes between two fetches, so that invented key ids cause no load on the provider.
#[derive(Clone)]
pub struct KeyCache<K> {
    keys: Keys<K>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

/// What [`KeyCache::look_up`] found.
pub enum Lookup<K> {
    Key(K),
    /// The caller must call [`KeyCache::fetching`], fetch the key set, give it to [`KeyCache::store`], and look up again.
    Fetch,
    /// The key is not in the last key set, and it is too early to fetch again.
    Unknown,
}

impl<K> Default for KeyCache<K> {
    fn default() -> Self {
        Self { keys: Keys::new(), fetched_at: None, tried_at: None }
    }
}

impl<K: Clone> KeyCache<K> {
    /// Looks up a key. An old key is still returned while it is too early to fetch again.
    pub fn look_up(&self, key_id: &str, now: Timestamp) -> Lookup<K> {
        let may_fetch = self.tried_at.is_none_or(|at| now >= at.plus_ms(JWKS_REFETCH_MS_MIN));
        let fresh = self.is_fresh(now);
        match self.keys.get(key_id) {
            Some(key) if fresh || !may_fetch => Lookup::Key(key.clone()),
            _ if may_fetch => Lookup::Fetch,
            _ => Lookup::Unknown,
        }
    }

    /// Whether the keys are younger than [`JWKS_AGE_MS_MAX`].
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.fetched_at.is_some_and(|at| now < at.plus_ms(JWKS_AGE_MS_MAX))
    }

    /// Whether no key set was ever stored. Then no token can be checked.
    pub fn is_empty(&self) -> bool {
        self.fetched_at.is_none()
    }

    /// Notes that a fetch begins. For [`JWKS_REFETCH_MS_MIN`] no other is asked for, whether this one succeeds or not.
    pub fn fetching(&mut self, now: Timestamp) {
        self.tried_at = Some(now);
    }

    /// Stores the keys of a fetch that succeeded.
    pub fn store(&mut self, keys: Keys<K>, now: Timestamp) {
        self.keys = keys;
        self.fetched_at = Some(now);
    }
}

/// The token with which the edge calls `/internal/*` of the core: HS256 with a secret that both have, valid for 60 s.
pub mod service {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::{
        Algorithm, DecodingKey, Deserialize, Header, SERVICE_TOKEN_LIFE_S, Serialize, Timestamp, TokenError, Validation,
    };

    const ISSUER: &str = "edge";
    const AUDIENCE: &str = "core-internal";

    #[derive(Serialize, Deserialize)]
    struct ServiceToken {
        iss: String,
        aud: String,
        iat: i64,
        exp: i64,
    }

    /// The part of a token that is signed. The token is this part, a dot, and its HS256 signature in base64url.
    ///
    /// # Errors
    ///
    /// [`TokenError::Malformed`] if the library cannot write JSON, which does not happen with these claims.
    pub fn unsigned(now: Timestamp) -> Result<String, TokenError> {
        let claims = ServiceToken {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            iat: now.unix_s(),
            exp: now.unix_s() + SERVICE_TOKEN_LIFE_S,
        };
        Ok(format!("{}.{}", part(&Header::new(Algorithm::HS256))?, part(&claims)?))
    }

    fn part(content: &impl Serialize) -> Result<String, TokenError> {
        let json = serde_json::to_vec(content).map_err(|_| TokenError::Malformed)?;
        Ok(URL_SAFE_NO_PAD.encode(json))
    }

    /// Checks a token. One with a longer life than [`SERVICE_TOKEN_LIFE_S`] is refused.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong with the token.
    pub fn verify(secret: &str, token: &str, now: Timestamp) -> Result<(), TokenError> {
        let mut rules = Validation::new(Algorithm::HS256);
        // Expiry is checked below, against the time that the caller gives.
        rules.validate_exp = false;
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        let key = DecodingKey::from_secret(secret.as_bytes());
        let claims = jsonwebtoken::decode::<ServiceToken>(token, &key, &rules).map_err(|_| TokenError::Refused)?.claims;
        if claims.exp.saturating_sub(claims.iat) > SERVICE_TOKEN_LIFE_S {
            return Err(TokenError::Refused);
        }
        if claims.exp <= now.unix_s() { Err(TokenError::Expired) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use jsonwebtoken::EncodingKey;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_772_366_400_000;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(NOW + ms)
    }

    #[test]
    fn a_bearer_token_comes_with_its_scheme_or_bare() {
        assert_eq!(bearer("Bearer a.b.c"), "a.b.c");
        assert_eq!(bearer("bearer a.b.c"), "a.b.c");
        assert_eq!(bearer("a.b.c"), "a.b.c");
    }

    proptest! {
        #[test]
        fn a_text_that_is_no_token_is_refused_without_panic(text in "\\PC{0,60}|[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}") {
            let text = bearer(&text);
            prop_assert!(key_id(text).is_err());
            prop_assert!(verified(text, true).is_err());
            prop_assert!(service::verify("secret", text, at(0)).is_err());
        }

        #[test]
        fn only_a_header_with_rs256_gives_a_key_id(
            alg in prop::sample::select(vec!["RS256", "RS512", "HS256", "ES256", "none", ""]),
            kid in prop::option::of("[a-z]{0,5}"),
            typ in prop::option::of("JWT|x"),
        ) {
            let header = json!({"alg": alg, "kid": kid, "typ": typ}).to_string();
            let token = format!("{}.e30.x", base64url(header.as_bytes()));
            prop_assert_eq!(key_id(&token).ok(), kid.filter(|_| alg == "RS256"));
        }

        #[test]
        fn a_key_set_is_read_whatever_else_is_in_it(
            keys in prop::collection::vec(("RSA|EC|oct|x", "[a-z]{1,3}", "[A-Za-z0-9_-]{0,8}", prop::option::of("sig|enc")), 0..5),
            text in "\\PC{0,80}",
        ) {
            let keys = keys.iter().map(|(kty, kid, n, usage)| {
                json!({"kty": kty, "kid": kid, "n": n, "e": "AQAB", "k": n, "use": usage})
            });
            let set = json!({ "keys": keys.collect::<Vec<_>>() }).to_string();
            let usable = |keys: Vec<(String, Jwk)>| keys.iter().all(|(kid, _)| set.contains(&format!("\"kid\":\"{kid}\",\"kty\":\"RSA\"")));
            prop_assert!(signing_keys(set.as_bytes()).ok().is_none_or(usable));
            prop_assert!(signing_keys(text.as_bytes()).ok().is_none_or(|keys| keys.is_empty()));
        }
    }

    fn base64url(bytes: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1)));
        let bits: Vec<usize> = bits.collect();
        let six = |bits: &[usize]| (0..6).fold(0, |sum, n| sum * 2 + bits.get(n).copied().unwrap_or(0));
        bits.chunks(6).map(|bits| char::from(ALPHABET[six(bits)])).collect()
    }

    /// The result for a token whose signature is valid or not.
    fn verified(token: &str, signed: bool) -> Result<Claims, TokenError> {
        let issuer = Issuer { issuer: "the-issuer".to_owned(), audience: "the-client".to_owned() };
        let verifying = std::pin::pin!(verify(token, &issuer, at(0), async |_, _| signed));
        match verifying.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => unreachable!("nothing here waits"),
        }
    }

    /// A valid token, with these claims changed.
    fn token_with(changes: Value) -> String {
        let mut claims = json!({
            "iss": "the-issuer", "aud": "the-client", "exp": NOW / 1_000 + 60, "token_use": "id",
            "cognito:username": "alice", "email": "alice@example.com",
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        format!("e30.{}.c2ln", base64url(claims.to_string().as_bytes()))
    }

    #[test]
    fn a_token_gives_its_user_and_its_expiry() {
        let user_id = UserId::try_from("alice".to_owned()).unwrap();
        let email = Some("alice@example.com".to_owned());
        let claims = Claims { user_id, email, email_verified: None, expires_at: at(60_000) };
        for changes in [json!({}), json!({"aud": ["another", "the-client"]})] {
            assert_eq!(verified(&token_with(changes), true), Ok(claims.clone()));
        }
        assert_eq!(verified(&token_with(json!({"email": null})), true), Ok(Claims { email: None, ..claims }));
    }

    #[test]
    fn a_token_says_whether_its_address_is_verified() {
        let verified = |said: Value| {
            verified(&token_with(json!({ "email_verified": said })), true).map(|claims| claims.email_verified)
        };
        for yes in [json!(true), json!("true")] {
            assert_eq!(verified(yes.clone()), Ok(Some(true)), "{yes}");
        }
        for no in [json!(false), json!("false"), json!(null), json!(1), json!("True"), json!(""), json!([true])] {
            assert_eq!(verified(no.clone()), Ok(Some(false)), "{no}");
        }
    }

    #[test]
    fn a_token_with_anything_wrong_is_refused() {
        let refused = [
            json!({"iss": "another"}),
            json!({"iss": null}),
            json!({"aud": "another"}),
            json!({"aud": ["another"]}),
            json!({"aud": []}),
            json!({"aud": null}),
            json!({"exp": null}),
            json!({"cognito:username": ""}),
        ];
        for changes in refused {
            assert_eq!(verified(&token_with(changes.clone()), true), Err(TokenError::Refused), "{changes}");
        }
        for changes in [json!({"token_use": "access"}), json!({"token_use": null})] {
            assert_eq!(verified(&token_with(changes), true), Err(TokenError::WrongUse));
        }
        assert_eq!(verified(&token_with(json!({"exp": NOW / 1_000})), true), Err(TokenError::Expired));
        assert_eq!(verified(&token_with(json!({})), false), Err(TokenError::Refused));
    }

    #[test]
    fn a_service_token_is_valid_for_sixty_seconds_and_only_with_its_secret() {
        let unsigned = service::unsigned(at(0)).unwrap();
        let secret = EncodingKey::from_secret(b"secret");
        let signature = jsonwebtoken::crypto::sign(unsigned.as_bytes(), &secret, Algorithm::HS256).unwrap();
        let token = format!("{unsigned}.{signature}");
        assert_eq!(service::verify("secret", &token, at(59_000)), Ok(()));
        assert_eq!(service::verify("secret", &token, at(60_000)), Err(TokenError::Expired));
        assert_eq!(service::verify("another", &token, at(0)), Err(TokenError::Refused));
    }

    #[test]
    fn an_unknown_key_causes_a_fetch_at_most_every_ten_seconds() {
        let mut cache = KeyCache::<&str>::default();
        assert!(matches!(cache.look_up("a", at(0)), Lookup::Fetch));
        cache.fetching(at(0));
        cache.store(Keys::default(), at(0));
        assert!(matches!(cache.look_up("a", at(9_999)), Lookup::Unknown));
        assert!(matches!(cache.look_up("a", at(10_000)), Lookup::Fetch));
    }

    #[test]
    fn an_old_key_is_used_while_it_is_too_early_to_fetch() {
        let mut cache = KeyCache::default();
        let keys = Keys::from([("a".to_owned(), "key")]);
        cache.fetching(at(0));
        cache.store(keys, at(0));
        assert!(matches!(cache.look_up("a", at(JWKS_AGE_MS_MAX - 1)), Lookup::Key(_)));
        assert!(matches!(cache.look_up("a", at(JWKS_AGE_MS_MAX)), Lookup::Fetch));
        cache.fetching(at(JWKS_AGE_MS_MAX));
        assert!(matches!(cache.look_up("a", at(JWKS_AGE_MS_MAX + 1)), Lookup::Key(_)));
    }
}
