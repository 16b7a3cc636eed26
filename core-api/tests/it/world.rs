//! What every test needs: an identity provider, a core that trusts it, and a way to call that core.

use std::{
    net::SocketAddr,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode},
    routing::get,
};
use clap::Parser;
use core_api::{
    App, bootstrap,
    config::{BootstrapConfig, Cli, Command, ServeConfig},
    database::MIGRATIONS,
    router,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, jwk::Jwk};
use rsa::{RsaPrivateKey, pkcs1::EncodeRsaPrivateKey};
use serde_json::{Value, json};
use shared::time::Timestamp;
use sqlx::{
    ConnectOptions, Connection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::net::TcpListener;
use tower::ServiceExt;

pub const ISSUER: &str = "https://issuer.example";
pub const AUDIENCE: &str = "the-client";
pub const SERVICE_SECRET: &str = "a-secret-between-edge-and-core";
pub const EVENT_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// A signing key and its id. Making one takes a moment, so all tests share two.
pub struct Key {
    pub id: &'static str,
    pub private: RsaPrivateKey,
}

pub static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("key-1"));
pub static OTHER_KEY: LazyLock<Key> = LazyLock::new(|| Key::new("key-2"));

impl Key {
    fn new(id: &'static str) -> Self {
        Self { id, private: RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).unwrap() }
    }

    pub fn encoding(&self) -> EncodingKey {
        EncodingKey::from_rsa_der(self.private.to_pkcs1_der().unwrap().as_bytes())
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.encoding(), Algorithm::RS256).unwrap();
        jwk.common.key_id = Some(self.id.to_owned());
        serde_json::to_value(jwk).unwrap()
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::RS256) };
        jsonwebtoken::encode(&header, claims, &self.encoding()).unwrap()
    }
}

/// Claims as the identity provider makes them for this user.
pub fn claims(user_id: &str) -> Value {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": "a-subject", "token_use": "id",
        "email": format!("{user_id}@example.com"), "cognito:username": user_id,
    })
}

pub fn token(user_id: &str) -> String {
    KEY.sign(&claims(user_id))
}

/// The identity provider's key set, over HTTP.
#[derive(Clone)]
pub struct Provider {
    pub keys: Arc<Mutex<Vec<Value>>>,
    pub away: Arc<Mutex<bool>>,
    pub fetches: Arc<AtomicUsize>,
    pub address: SocketAddr,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Self {
            keys: Arc::new(Mutex::new(vec![KEY.jwk()])),
            away: Arc::default(),
            fetches: Arc::default(),
            address: listener.local_addr().unwrap(),
        };
        let served = provider.clone();
        let jwks = async move || {
            served.fetches.fetch_add(1, Ordering::SeqCst);
            let status = if *served.away.lock().unwrap() { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
            (status, Json(json!({ "keys": *served.keys.lock().unwrap() })))
        };
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/jwks", get(jwks))).await });
        provider
    }

    pub fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

/// The roles of test databases. Their names differ from those of a deployment, which may be on the same server.
pub const OWNER: &str = "pagenow_test_owner";
pub const SERVING: &str = "pagenow_test_app";
pub const PASSWORD: &str = "of both roles";

/// Makes both roles and gives them their rights in the database of this pool.
async fn bootstrap(pool: &PgPool) {
    static OF_THIS_PROCESS: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    // Roles belong to the server, and other tests make them at the same moment, in other databases and processes. So the tests
    // wait for each other in the one database that they have in common.
    OF_THIS_PROCESS
        .get_or_init(|| async {
            let server: PgConnectOptions = std::env::var("DATABASE_URL").unwrap().parse().unwrap();
            let mut connection = server.connect().await.unwrap();
            let mut transaction = connection.begin().await.unwrap();
            sqlx::query("select pg_advisory_xact_lock(4721)").execute(&mut *transaction).await.unwrap();
            let made: i64 = sqlx::query_scalar("select count(*) from pg_roles where rolname in ($1, $2)")
                .bind(OWNER)
                .bind(SERVING)
                .fetch_one(&mut *transaction)
                .await
                .unwrap();
            if made < 2 {
                for role in [OWNER, SERVING] {
                    bootstrap::make_role(&mut transaction, role, PASSWORD).await.unwrap();
                }
            }
            transaction.commit().await.unwrap();
        })
        .await;
    let mut connection = pool.connect_options().connect().await.unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let config = BootstrapConfig {
        database_url: "postgres://unused".to_owned(),
        owner: OWNER.to_owned(),
        owner_password: PASSWORD.to_owned(),
        app: SERVING.to_owned(),
        app_password: PASSWORD.to_owned(),
        app_statement_ms_max: 5_000,
    };
    bootstrap::give_rights(&mut transaction, &config).await.unwrap();
    transaction.commit().await.unwrap();
}

/// A pool for another role on the same database, with as many connections.
pub fn as_role(pool: &PgPool, role: &str) -> PgPool {
    let options = PgPoolOptions::new()
        .max_connections(pool.options().get_max_connections())
        .acquire_timeout(pool.options().get_acquire_timeout());
    options.connect_lazy_with((*pool.connect_options()).clone().username(role).password(PASSWORD))
}

/// Applies the migrations up to this one, as a release of that time did.
pub async fn migrate_up_to(pool: &PgPool, last: i64) {
    let some = MIGRATIONS.iter().filter(|migration| migration.version <= last).cloned();
    Migrator::with_migrations(some.collect()).run(pool).await.unwrap();
}

/// A running core and what is around it.
pub struct World {
    /// The test's own connections, which may do anything. They set things up and look at the result.
    pub pool: PgPool,
    /// The core's connections, with the rights that the core has where it is deployed.
    pub serving: PgPool,
    pub provider: Provider,
    pub config: ServeConfig,
    pub app: Arc<App>,
    pub router: Router,
}

/// The edge's token, signed with this secret at that time.
pub fn service_token(secret: &str, at: Timestamp) -> String {
    let unsigned = shared::token::service::unsigned(at).unwrap();
    let secret = EncodingKey::from_secret(secret.as_bytes());
    let signature = jsonwebtoken::crypto::sign(unsigned.as_bytes(), &secret, Algorithm::HS256).unwrap();
    format!("{unsigned}.{signature}")
}

impl World {
    pub async fn new(pool: PgPool) -> Self {
        Self::with(pool, &[]).await
    }

    /// A core with these flags of `serve` besides the usual ones.
    pub async fn with(pool: PgPool, flags: &[&str]) -> Self {
        bootstrap(&pool).await;
        let serving = as_role(&pool, SERVING);
        Self::over(pool, serving, flags).await
    }

    /// A core that uses `serving`. `pool` is the test's own.
    pub async fn over(pool: PgPool, serving: PgPool, flags: &[&str]) -> Self {
        // Another test in this process may have installed it already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let provider = Provider::start().await;
        let jwks_url = format!("http://{}/jwks", provider.address);
        let mut arguments = vec!["core-api", "serve", "--database-url", "postgres://unused"];
        arguments.extend(["--oidc-issuer", ISSUER, "--oidc-audience", AUDIENCE, "--oidc-jwks-url", &jwks_url]);
        arguments.extend(["--event-signing-secret", EVENT_SECRET]);
        if !flags.contains(&"--service-token-secret") {
            arguments.extend(["--service-token-secret", SERVICE_SECRET]);
        }
        if !flags.contains(&"--edge-url") {
            arguments.extend(["--edge-url", "http://127.0.0.1:9"]);
        }
        arguments.extend(flags);
        let Command::Serve(config) = Cli::try_parse_from(arguments).unwrap().command else { panic!("not serve") };
        let app = App::new(&config, serving.clone()).unwrap();
        let router = router(Arc::clone(&app)).unwrap();
        Self { pool, serving, provider, config: *config, app, router }
    }

    /// Calls as that user.
    pub async fn call(&self, user_id: &str, method: Method, path: &str, body: Option<Value>) -> Reply {
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", token(user_id)));
        self.send(request.header("content-type", "application/json").body(body).unwrap()).await
    }

    pub async fn get(&self, user_id: &str, path: &str) -> Reply {
        self.call(user_id, Method::GET, path, None).await
    }

    pub async fn post(&self, user_id: &str, path: &str, body: Value) -> Reply {
        self.call(user_id, Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, user_id: &str, path: &str, body: Value) -> Reply {
        self.call(user_id, Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, user_id: &str, path: &str) -> Reply {
        self.call(user_id, Method::DELETE, path, None).await
    }

    /// What the edge gets when it asks about a user, knowing this version.
    pub async fn social(&self, user_id: &str, known: Option<&str>) -> Reply {
        let now = time::OffsetDateTime::now_utc().into();
        let token = service_token(SERVICE_SECRET, now);
        let request = Request::builder().uri(format!("/internal/users/{user_id}/social"));
        let mut request = request.header("authorization", format!("Bearer {token}"));
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Reply { status: head.status.as_u16(), headers: head.headers, body, text }
    }

    /// Registers these users: `alice` as Alice Tester.
    pub async fn register(&self, user_ids: &[&str]) {
        for user_id in user_ids {
            let first_name = format!("{}{}", user_id[..1].to_uppercase(), &user_id[1..]);
            let body = json!({"first_name": first_name, "last_name": "Tester"});
            assert_eq!(self.post(user_id, "/users/me", body).await.status, 201);
        }
    }

    /// The user's social version, counted from 1: it grows with each change of friends or settings.
    pub async fn version(&self, user_id: &str) -> i64 {
        let first = self.first_version(user_id).await;
        self.social(user_id, None).await.body["version"].as_i64().unwrap() - first + 1
    }

    /// The social version with which this user began: the time when they registered, in milliseconds.
    pub async fn first_version(&self, user_id: &str) -> i64 {
        sqlx::query_scalar("select (extract(epoch from created_at) * 1000)::bigint from users where user_id = $1")
            .bind(user_id)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Makes two registered users friends; the first asks.
    pub async fn befriend(&self, asker: &str, asked: &str) {
        self.post(asker, "/friendship/requests", json!({"user_id2": asked})).await.is_success();
        self.post(asked, "/friendship/accept", json!({"user_id1": asker})).await.is_success();
    }

    /// The events in the outbox in short form, such as `alice friend.removed 3`, sorted by recipient and version. The version
    /// counts from 1, and is 0 for events that have none.
    pub async fn told(&self) -> Vec<String> {
        let events = self.outbox().await.into_iter();
        events.map(|(recipient, kind, version, _)| format!("{recipient} {kind} {version}")).collect()
    }

    /// Empties the outbox.
    pub async fn forget_events(&self) {
        sqlx::query("delete from outbox").execute(&self.pool).await.unwrap();
    }

    /// The events in the outbox as `(recipient, kind, version, payload)`, sorted by recipient and version. The version counts
    /// from 1, and is 0 for events that have none.
    pub async fn outbox(&self) -> Vec<(String, String, i64, Value)> {
        sqlx::query_as(
            "select recipient, kind,
                case version when 0 then 0
                    else version - coalesce((extract(epoch from created_at) * 1000)::bigint, 1) + 1 end,
                payload
            from (
                select event.*, kind, payload
                from outbox, unnest(recipients, versions) as event (recipient, version)
            ) events left join users on user_id = recipient
            order by recipient, version, kind",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }
}

/// An answer.
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null if there is none, or if it is no JSON.
    pub body: Value,
    pub text: String,
}

impl Reply {
    #[track_caller]
    pub fn is_success(&self) {
        assert_eq!((self.status, &self.body), (200, &json!({"success": true})));
    }

    /// Checks that this is a problem in the form of the contract. Gives the fields that it names.
    #[track_caller]
    pub fn is_problem(&self, status: u16) -> Vec<String> {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["type"], "about:blank");
        for sentence in ["title", "detail"] {
            assert!(!self.body[sentence].as_str().unwrap().is_empty());
        }
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    }
}

/// The URL of a test's own database, for the role that may do anything.
pub fn database_url(pool: &PgPool) -> String {
    let mut url = url::Url::parse(&std::env::var("DATABASE_URL").unwrap()).unwrap();
    url.set_path(pool.connect_options().get_database().unwrap());
    url.into()
}

/// The URL for one of the two roles. It works once there is a [`World`] in the database.
pub fn url_of(role: &str, pool: &PgPool) -> String {
    let mut url = url::Url::parse(&database_url(pool)).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(PASSWORD)).unwrap();
    url.into()
}

/// Waits until the condition holds; fails after thirty seconds.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut is_so: F) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {what}");
}
