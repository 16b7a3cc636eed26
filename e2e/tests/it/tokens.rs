//! Which tokens are refused: at the live channel, in the edge's own answers and at the core behind it.

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use devstack::token::{self, TokenRequest};
use e2e::{Live, Person, Site, TokenIn, live_request};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::JwkSet};
use reqwest::{Method, StatusCode, header};
use rsa::{
    BigUint, RsaPrivateKey, RsaPublicKey,
    pkcs1::{EncodeRsaPrivateKey as _, EncodeRsaPublicKey as _, LineEnding},
    pkcs8::EncodePublicKey as _,
};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Error, client::IntoClientRequest as _};

/// The provider's public key, which a forger has too.
struct Published {
    kid: String,
    key: RsaPublicKey,
    modulus: String,
}

impl Published {
    async fn of(site: &Site) -> Result<Self> {
        let set = devstack::http::client()?.get(&site.info.issuer.jwks_url).send().await?.text().await?;
        let raw: Value = serde_json::from_str(&set)?;
        serde_json::from_value::<JwkSet>(raw.clone())?;
        let part = |name: &str| raw["keys"][0][name].as_str().unwrap().to_owned();
        let number = |text: &str| BigUint::from_bytes_be(&URL_SAFE_NO_PAD.decode(text).unwrap());
        let key = RsaPublicKey::new(number(&part("n")), number(&part("e")))?;
        Ok(Self { kid: part("kid"), key, modulus: part("n") })
    }
}

fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn encoded(json: &Value) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

/// Checks that every place that takes a token refuses this one in the same way.
async fn opens_nothing(site: &Site, what: &str, token: &str) -> Result<()> {
    for path in ["/presence", "/users/me", "/friendship/all"] {
        let answer = site.request(Method::GET, path).bearer_auth(token).send().await?;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{what} at {path}");
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer", "{what} at {path}");
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json", "{what} at {path}");
        let problem: Value = answer.json().await?;
        assert_eq!(problem["status"], 401, "{what} at {path}");
    }
    for place in TokenIn::ALL {
        let Err(Error::Http(answer)) = Live::open(live_request(site, "/ws", token, place)?).await else {
            panic!("{what} opened the live channel in the {place:?}");
        };
        assert_eq!(answer.status().as_u16(), 401, "{what} in the {place:?}");
        assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{what} in the {place:?}");
    }
    Ok(())
}

async fn alice() -> Result<(Site, Person, TokenRequest)> {
    let site = Site::of_tests()?;
    let alice = site.person("Alice").await?;
    // The unchanged token is good, so a token below is refused only for what is wrong with it.
    alice.connect().await?;
    let request = TokenRequest::new(alice.id.as_str());
    Ok((site, alice, request))
}

#[tokio::test]
async fn without_a_token_nothing_opens() -> Result<()> {
    let site = Site::of_tests()?;
    for path in ["/presence", "/presence/somebody", "/users/me", "/friendship/all"] {
        let answer = site.request(Method::GET, path).send().await?;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], "Bearer", "{path}");
    }
    for path in ["/ws", "/", "/ws?Authorization="] {
        let request = format!("{}{path}", site.info.edge_url.replacen("http", "ws", 1)).into_client_request()?;
        let Err(Error::Http(answer)) = Live::open(request).await else { panic!("{path} opened without a token") };
        assert_eq!(answer.status().as_u16(), 401, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn a_text_that_is_no_token_opens_nothing() -> Result<()> {
    let site = Site::of_tests()?;
    for garbage in ["garbage", "a.b.c", "..", "eyJhbGciOiJSUzI1NiJ9.e30."] {
        opens_nothing(&site, garbage, garbage).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_expired_token_opens_nothing() -> Result<()> {
    let (site, _, request) = alice().await?;
    let expired = token::mint(&site.info, &TokenRequest { expires_in_s: -1, ..request }).await?;
    opens_nothing(&site, "an expired token", &expired).await
}

#[tokio::test]
async fn a_token_for_another_client_opens_nothing() -> Result<()> {
    let (site, _, request) = alice().await?;
    let audience = Some("somebody-else".to_owned());
    let other = token::mint(&site.info, &TokenRequest { audience, ..request }).await?;
    opens_nothing(&site, "another audience", &other).await
}

#[tokio::test]
async fn a_token_of_another_issuer_or_another_key_opens_nothing() -> Result<()> {
    let (site, alice, request) = alice().await?;
    let issuer = Some("https://issuer.example".to_owned());
    let theirs = token::mint(&site.info, &TokenRequest { issuer, ..request }).await?;
    assert_eq!(payload(&theirs)["iss"], "https://issuer.example");
    opens_nothing(&site, "our key, another issuer", &theirs).await?;

    let own = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048)?;
    let own = EncodingKey::from_rsa_der(own.to_pkcs1_der()?.as_bytes());
    let published = Published::of(&site).await?;
    for kid in [published.kid, "another-key".to_owned()] {
        let header = Header { kid: Some(kid), ..Header::new(Algorithm::RS256) };
        let forged = jsonwebtoken::encode(&header, &payload(&alice.token), &own)?;
        opens_nothing(&site, "our claims, another key", &forged).await?;
    }
    Ok(())
}

#[tokio::test]
async fn an_access_token_opens_nothing() -> Result<()> {
    let (site, _, request) = alice().await?;
    let token_use = Some("access".to_owned());
    let access = token::mint(&site.info, &TokenRequest { token_use, ..request }).await?;
    opens_nothing(&site, "an access token", &access).await
}

#[tokio::test]
async fn a_token_changed_after_signing_opens_nothing() -> Result<()> {
    let (site, alice, _) = alice().await?;
    let mut parts = alice.token.split('.');
    let (head, _, signature) = (parts.next().unwrap(), parts.next(), parts.next().unwrap());
    let mut claims = payload(&alice.token);
    claims["cognito:username"] = json!("somebody-else");
    opens_nothing(&site, "changed claims", &format!("{head}.{}.{signature}", encoded(&claims))).await
}

#[tokio::test]
async fn a_token_that_says_it_needs_no_signature_opens_nothing() -> Result<()> {
    let (site, alice, _) = alice().await?;
    let kid = Published::of(&site).await?.kid;
    let claims = encoded(&payload(&alice.token));
    for alg in ["none", "None", "NONE", "nOnE"] {
        let header = encoded(&json!({ "alg": alg, "typ": "JWT", "kid": kid }));
        opens_nothing(&site, alg, &format!("{header}.{claims}.")).await?;
    }
    let signature = alice.token.rsplit('.').next().unwrap();
    let header = encoded(&json!({ "alg": "none", "typ": "JWT", "kid": kid }));
    opens_nothing(&site, "none with a signature", &format!("{header}.{claims}.{signature}")).await
}

#[tokio::test]
async fn a_token_signed_with_the_public_key_as_a_secret_opens_nothing() -> Result<()> {
    let (site, alice, _) = alice().await?;
    let Published { kid, key, modulus } = Published::of(&site).await?;
    let secrets: [(&str, Vec<u8>); 6] = [
        ("SPKI PEM", key.to_public_key_pem(LineEnding::LF)?.into_bytes()),
        ("SPKI DER", key.to_public_key_der()?.into_vec()),
        ("PKCS#1 PEM", key.to_pkcs1_pem(LineEnding::LF)?.into_bytes()),
        ("PKCS#1 DER", key.to_pkcs1_der()?.into_vec()),
        ("modulus as text", modulus.clone().into_bytes()),
        ("modulus", URL_SAFE_NO_PAD.decode(modulus)?),
    ];
    for (what, secret) in secrets {
        let header = Header { kid: Some(kid.clone()), ..Header::new(Algorithm::HS256) };
        let forged = jsonwebtoken::encode(&header, &payload(&alice.token), &EncodingKey::from_secret(&secret))?;
        opens_nothing(&site, what, &forged).await?;
    }
    Ok(())
}
