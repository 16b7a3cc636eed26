//! The program itself, as an operator runs it: environment, log, signals.

use std::{
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use devstack::project;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    task::JoinHandle,
};

use crate::world::{AUDIENCE, EVENT_SECRET, ISSUER, OWNER, Provider, SERVICE_SECRET, SERVING, World, token, url_of};

/// The program, with an environment that holds only what it needs.
pub fn program(database_url: &str, provider: &Provider, what: &str) -> Command {
    let jwks_url = format!("http://{}/jwks", provider.address);
    let mut command = Command::new(env!("CARGO_BIN_EXE_core-api"));
    command.arg(what).env_clear().kill_on_drop(true).stdout(Stdio::piped());
    command.envs(BTreeMap::from([
        ("DATABASE_URL", database_url),
        ("LISTEN_ADDR", "127.0.0.1:0"),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("OIDC_ISSUER", ISSUER),
        ("OIDC_AUDIENCE", AUDIENCE),
        ("OIDC_JWKS_URL", &jwks_url),
        ("EDGE_URL", "http://127.0.0.1:9"),
        ("EVENT_SIGNING_SECRET", EVENT_SECRET),
        ("SERVICE_TOKEN_SECRET", SERVICE_SECRET),
    ]));
    command
}

/// A running server, and its log.
pub struct Server {
    child: Child,
    /// Reads all the time, because a server whose log nobody reads stops when the pipe is full.
    log: JoinHandle<String>,
    pub url: String,
    metrics_url: String,
}

impl Server {
    pub async fn start(command: Command) -> Self {
        Self::start_after(&[], command).await
    }

    /// Starts a server that logs these messages before it listens.
    pub async fn start_after(said_first: &[&str], mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for words in said_first {
            let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
            assert_eq!(line["message"], *words);
        }
        let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(line["message"], "listening");
        let url = |field: &str| format!("http://{}", line[field].as_str().unwrap());
        let log = tokio::spawn(async move {
            let mut log = String::new();
            while let Some(line) = lines.next_line().await.unwrap() {
                log.push_str(&line);
                log.push('\n');
            }
            log
        });
        Self { child, log, url: url("http.address"), metrics_url: url("metrics.address") }
    }

    async fn status(&self, method: reqwest::Method, path: &str, body: Value) -> u16 {
        let request = reqwest::Client::new().request(method, format!("{}{path}", self.url));
        let request = request.header("authorization", token("alice")).body(body.to_string());
        request.send().await.unwrap().status().as_u16()
    }

    /// Asks it to stop as an orchestrator does. Gives the rest of its log.
    pub async fn stop(mut self) -> String {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let log = self.log.await.unwrap();
        let ended = tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{ended}");
        log
    }
}

#[sqlx::test(migrations = false)]
async fn the_program_migrates_serves_logs_without_what_users_wrote_and_stops_when_asked(pool: PgPool) {
    // The clients of this test need it. The program installs its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Provider::start().await;
    World::new(pool.clone()).await;
    for _ in 0..2 {
        assert!(program(&url_of(OWNER, &pool), &provider, "migrate").status().await.unwrap().success());
    }
    let server = Server::start(program(&url_of(SERVING, &pool), &provider, "serve")).await;
    let (get, post, put) = (reqwest::Method::GET, reqwest::Method::POST, reqwest::Method::PUT);
    assert_eq!(server.status(get.clone(), "/readyz", Value::Null).await, 200);
    let body = json!({"first_name": "Alice", "last_name": "Tester"});
    assert_eq!(server.status(post, "/users/me", body).await, 201);
    let list = "/users/me/domain_array/allow";
    assert_eq!(server.status(put.clone(), list, json!(["private.example.com"])).await, 200);
    assert_eq!(server.status(get, "/users/id/somebody?secret=1", Value::Null).await, 404);
    let metrics = reqwest::get(format!("{}/metrics", server.metrics_url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains(r#"route="/users/id/{id}",status="404""#), "{metrics}");
    sqlx::query("drop table outbox").execute(&pool).await.unwrap();
    assert_eq!(server.status(put, list, json!(["private.example.org"])).await, 503);

    let log = server.stop().await;
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answered: Vec<&Value> = lines.iter().filter(|line| line["message"] == "answered").collect();
    let told: Vec<_> = answered.iter().map(|line| (&line["span"]["http.route"], &line["http.status"])).collect();
    let expected = [
        (&json!("/readyz"), &json!(200)),
        (&json!("/users/me"), &json!(201)),
        (&json!("/users/me/domain_array/{list}"), &json!(200)),
        (&json!("/users/id/{id}"), &json!(404)),
        (&json!("/users/me/domain_array/{list}"), &json!(503)),
    ];
    assert_eq!(told, expected);
    assert!(answered.iter().all(|line| line["span"]["request.id"].is_string()));
    assert!(answered[1..].iter().all(|line| line["span"]["user.id"] == "alice"));
    let causes = lines.iter().filter(|line| line["cause"] == "database error 42P01" && !line["span"].is_null());
    assert_eq!(causes.count(), 1);
    // The line for the last minute is written when the process ends, at the latest. It tells nothing of the outbox, whose table
    // was dropped.
    let minute = lines.iter().rfind(|line| line["message"] == "minute").unwrap();
    let counted = ["answers_2xx", "answers_4xx", "answers_5xx"].map(|field| minute[field].as_u64().unwrap());
    assert_eq!(counted, [2, 1, 1]);
    assert!(minute["latency_p50_ms"].as_u64().unwrap() >= 1 && minute["pool_connections"].as_u64().unwrap() >= 1);
    let eyes = std::fs::read_to_string(project::root().join("terraform/eyes.tf")).unwrap();
    let (_, fields) = eyes.split_once("minute = toset([").unwrap();
    let fields: Vec<&str> =
        fields.split_once(']').unwrap().0.split(", ").map(|field| field.trim_matches('"')).collect();
    assert!(fields.len() >= 3 && fields.iter().all(|field| minute.get(*field).is_some()), "{fields:?} of {minute}");
    assert!(minute["outbox_oldest_s"].is_null() && minute["outbox_events"].is_null(), "{minute}");
    for secret in ["example.com", "private", "somebody", "secret", "Tester", "eyJ", "insert into", "select", "whsec"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[sqlx::test(migrations = false)]
async fn the_line_of_a_minute_repeats_no_values_of_the_outbox_if_the_database_does_not_answer(pool: PgPool) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Provider::start().await;
    World::new(pool.clone()).await;
    assert!(program(&url_of(OWNER, &pool), &provider, "migrate").status().await.unwrap().success());
    let server = Server::start(program(&url_of(SERVING, &pool), &provider, "serve")).await;
    // From here on the process knows values of the outbox, which it could repeat.
    reqwest::get(format!("{}/metrics", server.metrics_url)).await.unwrap();
    let mut held = pool.begin().await.unwrap();
    sqlx::query("lock table outbox in access exclusive mode").execute(&mut *held).await.unwrap();
    let log = server.stop().await;
    held.rollback().await.unwrap();
    let mut lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let minute = lines.rfind(|line| line["message"] == "minute").unwrap();
    assert!(minute["outbox_oldest_s"].is_null() && minute["outbox_events"].is_null(), "{minute}");
}

/// The texts between backquotes in the runbook that begin with this word.
fn runbook_queries(first_word: &str) -> Vec<String> {
    let runbook = std::fs::read_to_string(project::root().join("docs/runbook.md")).unwrap();
    let spans = runbook.split('`').skip(1).step_by(2);
    spans.filter(|span| span.split_whitespace().next() == Some(first_word)).map(str::to_owned).collect()
}

#[sqlx::test(migrations = false)]
async fn the_queries_of_the_runbook_name_what_the_log_and_the_database_have(pool: PgPool) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Provider::start().await;
    World::new(pool.clone()).await;
    assert!(program(&url_of(OWNER, &pool), &provider, "migrate").status().await.unwrap().success());
    let server = Server::start(program(&url_of(SERVING, &pool), &provider, "serve")).await;
    assert_eq!(server.status(reqwest::Method::GET, "/users/id/somebody", Value::Null).await, 403);
    let log = server.stop().await;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let answered = lines.into_iter().find(|line| line["message"] == "answered").unwrap();

    let of_log = runbook_queries("filter");
    assert!(of_log.len() >= 2, "{of_log:?}");
    for query in of_log {
        let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '"')));
        let fields: Vec<&str> = words.filter(|word| *word == "message" || word.contains(['.', '_'])).collect();
        assert!(fields.len() >= 3, "{query}");
        for field in fields {
            // Logs Insights uses the same name for a field of an object and for a field whose own name has a dot.
            let within = field.split_once('.').and_then(|(object, field)| answered.get(object)?.get(field));
            assert!(answered.get(field).or(within).is_some(), "{field} of {query} is not in {answered}");
        }
    }

    let of_database = runbook_queries("select");
    assert!(!of_database.is_empty());
    let serving = PgPool::connect(&url_of(SERVING, &pool)).await.unwrap();
    for query in of_database {
        let rows = sqlx::query(sqlx::AssertSqlSafe(query.clone())).fetch_all(&serving).await;
        assert!(rows.is_ok_and(|rows| !rows.is_empty()), "{query}");
    }
    serving.close().await;
}

#[tokio::test]
async fn a_configuration_that_makes_no_sense_is_named_and_the_program_ends() {
    let provider = Provider::start().await;
    let url = "postgres://postgres@127.0.0.1:9/postgres";
    for (name, value) in [
        ("EVENT_SIGNING_SECRET", "whsec_short"),
        ("EDGE_URL", "mailto:nobody"),
        ("DATABASE_URL", "nowhere"),
        ("SERVICE_TOKEN_SECRET", ""),
        ("SERVICE_TOKEN_SECRET", "one two three"),
        ("DATABASE_STATEMENT_MS_MAX", "-1"),
    ] {
        let output = program(url, &provider, "serve").env(name, value).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap().to_lowercase();
        assert!(!output.status.success());
        assert!(!said.contains("one two three") && !said.contains("whsec_short"), "{said}");
        assert!(said.contains(&name.to_lowercase()) || said.contains(&name.to_lowercase().replace('_', "-")), "{said}");
    }
}

#[tokio::test]
async fn help_names_every_variable_that_a_platform_gives() {
    let provider = Provider::start().await;
    for (command, names) in [
        ("serve", &["DATABASE_URL", "SERVICE_TOKEN_SECRET", "LISTEN_ADDR"][..]),
        ("migrate", &["DATABASE_URL"]),
        ("bootstrap-database", &["DATABASE_URL", "DATABASE_OWNER_PASSWORD", "DATABASE_APP_PASSWORD"]),
    ] {
        let output = program("postgres://given:elsewhere@127.0.0.1/x", &provider, command).arg("--help").output().await;
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        for name in ["PGUSER", "PGPASSWORD", "PGSSLMODE", "PGSSLROOTCERT", "RUST_LOG"].iter().chain(names) {
            assert!(said.contains(name), "{command} --help does not name {name}");
        }
        assert!(!said.contains("elsewhere") && !said.contains(SERVICE_SECRET), "{said}");
    }
}

/// Runs `healthcheck` for a server that listens at this address. Gives whether it succeeds, and what it says.
async fn healthcheck(listen_addr: &str) -> (bool, String) {
    let mut command = program("postgres://nowhere", &Provider::start().await, "healthcheck");
    let output = command.env("LISTEN_ADDR", listen_addr).output().await.unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn the_health_check_asks_whether_the_server_is_up_and_nothing_of_the_database() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let provider = Provider::start().await;
    for (listen, at) in [("127.0.0.1:0", "127.0.0.1"), ("0.0.0.0:0", "0.0.0.0"), ("[::]:0", "[::]")] {
        let mut command = program("postgres://postgres@127.0.0.1:9/postgres", &provider, "serve");
        command.env("LISTEN_ADDR", listen).env("DATABASE_ACQUIRE_MS_MAX", "200");
        let server = Server::start(command).await;
        let port = server.url.rsplit(':').next().unwrap();
        assert_eq!(healthcheck(&format!("{at}:{port}")).await, (true, String::new()), "{listen}");
        server.stop().await;
    }
}

#[tokio::test]
async fn the_health_check_fails_in_one_line_where_nothing_answers_or_something_else_does() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let other = Provider::start().await.address;
    for (address, why) in
        [(silent.local_addr().unwrap(), "no answer"), (gone, "no answer"), (other, "the answer is 404 Not Found")]
    {
        let begun = Instant::now();
        let (is_content, said) = healthcheck(&address.to_string()).await;
        assert!(!is_content && said.contains(why) && said.trim().lines().count() == 1, "{said}");
        assert!(begun.elapsed() < Duration::from_secs(6));
    }
}
