//! Which tokens are accepted, and how often the identity provider is asked meanwhile.

use axum::{body::Body, http::Request};
use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rsa::pkcs1::EncodeRsaPublicKey;
use serde_json::{Value, json};
use sqlx::PgPool;

use crate::world::{KEY, OTHER_KEY, Reply, World, claims, token, until};

async fn with_token(world: &World, authorization: &str) -> Reply {
    let request = Request::get("/users/me").header("authorization", authorization);
    world.send(request.body(Body::empty()).unwrap()).await
}

fn with_claim(name: &str, value: Value) -> String {
    let mut claims = claims("alice");
    claims[name] = value;
    KEY.sign(&claims)
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_token_is_taken_with_its_scheme_or_bare(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    for authorization in [format!("Bearer {}", token("alice")), format!("bearer {}", token("alice")), token("alice")] {
        assert_eq!(with_token(&world, &authorization).await.body["user_id"], "alice");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn every_kind_of_bad_token_is_answered_401(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let good = token("alice");
    let (head, signature) = good.rsplit_once('.').unwrap();
    let payload = head.split_once('.').unwrap().1;
    let hs256 = |secret: &[u8]| {
        let header = Header { kid: Some(KEY.id.to_owned()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims("alice"), &EncodingKey::from_secret(secret)).unwrap()
    };
    let public = KEY.private.to_public_key();
    let nameless = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &claims("alice"), &KEY.encoding()).unwrap();
    let forged = {
        let header = Header { kid: Some(KEY.id.to_owned()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, &claims("alice"), &OTHER_KEY.encoding()).unwrap()
    };
    let cases = [
        ("nothing", String::new()),
        ("no token", "Bearer nonsense".to_owned()),
        ("another signature", token("bob").rsplit_once('.').map(|(_, other)| format!("{head}.{other}")).unwrap()),
        ("changed claims", format!("{}.{signature}", head.replace(payload, token("bob").split('.').nth(1).unwrap()))),
        ("another key under a known id", forged),
        ("an unknown key id", OTHER_KEY.sign(&claims("alice"))),
        ("no key id", nameless),
        ("expired", with_claim("exp", json!(time::OffsetDateTime::now_utc().unix_timestamp() - 1))),
        ("another audience", with_claim("aud", json!("somebody-else"))),
        ("another issuer", with_claim("iss", json!("https://elsewhere.example"))),
        ("an access token", with_claim("token_use", json!("access"))),
        ("no use", with_claim("token_use", Value::Null)),
        ("no user", with_claim("cognito:username", Value::Null)),
        // {"alg":"none","typ":"JWT","kid":"key-1"}
        ("alg none", format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIiwia2lkIjoia2V5LTEifQ.{payload}.")),
        ("HS256 over the public key, PEM", hs256(public.to_pkcs1_pem(rsa::pkcs1::LineEnding::LF).unwrap().as_bytes())),
        ("HS256 over the public key, DER", hs256(public.to_pkcs1_der().unwrap().as_bytes())),
    ];
    for (what, token) in cases {
        let reply = with_token(&world, &token).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text);
        reply.is_problem(401);
        assert_eq!(reply.headers["www-authenticate"], "Bearer", "{what}");
    }
    world.send(Request::get("/users/me").body(Body::empty()).unwrap()).await.is_problem(401);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_token_that_was_taken_is_refused_once_it_has_expired(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    // Tokens expire at whole seconds. With one second, this one might expire before it is used.
    let token = with_claim("exp", json!(time::OffsetDateTime::now_utc().unix_timestamp() + 2));
    assert_eq!(with_token(&world, &token).await.status, 200);
    until("the token is refused", async || with_token(&world, &token).await.status == 401).await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn any_number_of_callers_cause_one_fetch_of_the_keys(pool: PgPool) {
    let world = World::new(pool).await;
    let (authorization, unknown) = (token("alice"), OTHER_KEY.sign(&claims("alice")));
    let calls = (0..20).map(|n| with_token(&world, if n % 2 == 0 { &authorization } else { &unknown }));
    for (n, reply) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(reply.status, if n % 2 == 0 { 404 } else { 401 });
    }
    assert_eq!(world.provider.fetches(), 1);
    // For ten seconds the core does not ask again, even if the provider has added the key since.
    world.provider.keys.lock().unwrap().push(OTHER_KEY.jwk());
    assert_eq!(with_token(&world, &unknown).await.status, 401);
    assert_eq!(world.provider.fetches(), 1);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_caller_who_hangs_up_does_not_allow_another_fetch(pool: PgPool) {
    let world = World::new(pool).await;
    let authorization = token("alice");
    // The call is polled once, which starts the fetch, and is then dropped.
    let call = with_token(&world, &authorization);
    assert!(tokio::time::timeout(std::time::Duration::ZERO, call).await.is_err());
    assert_eq!(with_token(&world, &authorization).await.status, 404);
    assert_eq!(world.provider.fetches(), 1);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_token_whose_key_is_known_still_opens_while_the_provider_is_away(pool: PgPool) {
    let world = World::new(pool).await;
    let authorization = token("alice");
    assert_eq!(with_token(&world, &authorization).await.status, 404);
    *world.provider.away.lock().unwrap() = true;
    assert_eq!(with_token(&world, &authorization).await.status, 404);
    assert_eq!(world.provider.fetches(), 1);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_token_whose_key_cannot_be_fetched_is_answered_503_without_a_second_fetch(pool: PgPool) {
    let world = World::new(pool).await;
    *world.provider.away.lock().unwrap() = true;
    let reply = with_token(&world, &token("alice")).await;
    reply.is_problem(503);
    assert!(reply.headers.contains_key("retry-after"));
    // The provider is not asked again at once, and the token is still not called bad.
    with_token(&world, &token("alice")).await.is_problem(503);
    assert_eq!(world.provider.fetches(), 1);
}
