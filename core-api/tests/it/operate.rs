//! What operators do with commands of the program, and what running instances make of it.

use serde_json::{Value, json};
use shared::limits::SUSPENDED_MAX;
use sqlx::PgPool;
use tokio::time::{Duration, Instant, sleep};
use uuid::Uuid;

use crate::{
    process::{Server, program},
    world::{SERVING, World, token, until, url_of},
};

const BY: [&str; 4] = ["--by", "Olga Operator", "--reason", "ticket 17"];

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command as the role that serves.
async fn run(world: &World, args: &[&str]) -> Ran {
    let mut command = program(&url_of(SERVING, &world.pool), &world.provider, args[0]);
    command.args(&args[1..]).stderr(std::process::Stdio::piped());
    let done = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code(), out: text(done.stdout), err: text(done.stderr) }
}

async fn audit(world: &World) -> Vec<(String, String, String, String)> {
    sqlx::query_as("select operator, action, subject, reason from audit order by id")
        .fetch_all(&world.pool)
        .await
        .unwrap()
}

fn line(action: &str, subject: &str) -> (String, String, String, String) {
    (BY[1].to_owned(), action.to_owned(), subject.to_owned(), BY[3].to_owned())
}

async fn status(server: &Server, user_id: &str) -> u16 {
    let request = reqwest::Client::new().get(format!("{}/users/me", server.url));
    request.header("authorization", format!("Bearer {}", token(user_id))).send().await.unwrap().status().as_u16()
}

/// Waits until both servers answer alice with this status, for ten seconds at most.
async fn until_answered(servers: &[Server; 2], expected: u16) {
    let begun = Instant::now();
    for server in servers {
        while status(server, "alice").await != expected {
            assert!(begun.elapsed() < Duration::from_secs(10), "not {expected} after ten seconds");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_suspended_user_is_refused_by_every_instance_until_restored(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.register(&["alice", "bob"]).await;
    world.forget_events().await;
    let url = url_of(SERVING, &pool);
    let servers = [
        Server::start(program(&url, &world.provider, "serve")).await,
        Server::start(program(&url, &world.provider, "serve")).await,
    ];
    for server in &servers {
        assert_eq!(status(server, "alice").await, 200);
    }
    let version = world.social("alice", None).await.body["version"].as_u64().unwrap();

    let suspended = run(&world, &[&["user", "suspend", "alice"], &BY[..]].concat()).await;
    assert_eq!((suspended.code, suspended.err.trim()), (Some(0), "the user is suspended"));
    let again = run(&world, &[&["user", "suspend", "alice"], &BY[..]].concat()).await;
    assert_eq!((again.code, again.err.trim()), (Some(0), "the user was suspended already"));
    until_answered(&servers, 403).await;
    assert_eq!(status(&servers[0], "bob").await, 200);
    let social = world.social("alice", None).await.body;
    assert_eq!((&social["suspended"], &social["version"]), (&json!(true), &json!(version + 1)));

    let restored = run(&world, &[&["user", "restore", "alice"], &BY[..]].concat()).await;
    assert_eq!((restored.code, restored.err.trim()), (Some(0), "the user is restored"));
    until_answered(&servers, 200).await;
    let again = run(&world, &[&["user", "restore", "alice"], &BY[..]].concat()).await;
    assert_eq!((again.code, again.err.trim()), (Some(0), "the user was not suspended"));
    assert_eq!(world.social("alice", None).await.body["suspended"], Value::Null);

    // Each change is told once, under the version that it made. The events wait, because there is no edge.
    let events: Vec<(String, Vec<String>, Vec<i64>)> =
        sqlx::query_as("select kind, recipients, versions from outbox order by id").fetch_all(&pool).await.unwrap();
    let event = |kind: &str, more: u64| (kind.to_owned(), vec!["alice".to_owned()], vec![(version + more) as i64]);
    assert_eq!(events, [event("user.suspended", 1), event("user.restored", 2)]);
    assert_eq!(audit(&world).await, [line("user.suspend", "alice"), line("user.restore", "alice")]);
    for server in servers {
        server.stop().await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_suspended_user_can_do_nothing_and_loses_nothing(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    let before: Value = sqlx::query_scalar(
        "select to_jsonb(u) - 'suspended_at' - 'social_version' from users u where user_id = 'alice'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(run(&world, &[&["user", "suspend", "alice"], &BY[..]].concat()).await.code, Some(0));
    until("the list is read again", async || world.get("alice", "/users/me").await.status == 403).await;
    for (method, path) in
        [("GET", "/users/me/export"), ("DELETE", "/users/me"), ("GET", "/users/id/bob"), ("POST", "/users/me")]
    {
        let body = (method == "POST").then(|| json!({"first_name": "Alice", "last_name": "Again"}));
        let answer = world.call("alice", method.parse().unwrap(), path, body).await;
        assert_eq!(
            (answer.status, &answer.body["detail"]),
            (403, &json!("This account is suspended.")),
            "{method} {path}"
        );
    }
    let after: Value = sqlx::query_scalar(
        "select to_jsonb(u) - 'suspended_at' - 'social_version' from users u where user_id = 'alice'",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(before, after);
    // Others still see their friend.
    assert_eq!(world.get("bob", "/friendship/all").await.body[0]["user_id"], "alice");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn what_is_held_about_a_user_is_shown_with_what_operators_did(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    assert_eq!(run(&world, &[&["user", "suspend", "alice"], &BY[..]].concat()).await.code, Some(0));
    let shown = run(&world, &[&["user", "show", "alice"], &BY[..]].concat()).await;
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    let held: Value = serde_json::from_str(&shown.out).unwrap();
    assert_eq!(
        (&held["user_id"], &held["email"], &held["friends"]),
        (&json!("alice"), &json!("alice@example.com"), &json!(1))
    );
    assert!(held["suspended_at"].is_string());
    assert_eq!(held["audit"].as_array().unwrap().len(), 1);
    assert_eq!(held["audit"][0]["action"], "user.suspend");
    // Looking at a user is recorded too.
    assert_eq!(audit(&world).await.last(), Some(&line("user.show", "alice")));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_command_that_makes_no_sense_is_refused_by_name_and_leaves_no_line(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.register(&["alice"]).await;
    let long = "x".repeat(1_001);
    for (args, named) in [
        (vec!["user", "suspend", "nobody", "--by", "me", "--reason", "why"], "there is no such user"),
        (vec!["user", "restore", "nobody", "--by", "me", "--reason", "why"], "there is no such user"),
        (vec!["user", "show", "nobody", "--by", "me", "--reason", "why"], "there is no such user"),
        (vec!["user", "suspend", "al ice", "--by", "me", "--reason", "why"], "USER_ID"),
        (vec!["user", "suspend", "alice", "--by", "me"], "--reason"),
        (vec!["user", "suspend", "alice", "--reason", "why"], "--by"),
        (vec!["user", "suspend", "alice", "--by", " ", "--reason", "why"], "--by"),
        (vec!["user", "suspend", "alice", "--by", "me", "--reason", "two\nlines"], "--reason"),
        (vec!["user", "suspend", "alice", "--by", "me", "--reason", &long], "--reason"),
        (vec!["outbox", "drop", "--by", "me", "--reason", "why"], "ID"),
        (vec!["outbox", "drop", "7", "--by", "me", "--reason", "why"], "ID"),
        (
            vec!["outbox", "requeue", "00000000-0000-7000-8000-000000000000", "--by", "me", "--reason", "why"],
            "wait no more",
        ),
        (vec!["outbox", "list", "--limit", "0"], "--limit"),
    ] {
        let refused = run(&world, &args).await;
        assert!(refused.code.is_some_and(|code| code != 0), "{args:?}");
        assert!(refused.err.contains(named), "{args:?}: {}", refused.err);
    }
    assert_eq!(audit(&world).await, []);
    let suspended = sqlx::query(
        "insert into users (user_id, email, first_name, last_name, domain_allow_array, domain_deny_array, suspended_at)
        select 's' || n, n || '@example.org', 'A', 'B', '{}', '{}', now() from generate_series(1, $1) n",
    );
    suspended.bind(SUSPENDED_MAX).execute(&pool).await.unwrap();
    let refused = run(&world, &[&["user", "suspend", "alice"], &BY[..]].concat()).await;
    assert!(refused.code != Some(0) && refused.err.contains("which is the bound"), "{}", refused.err);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn changes_that_wait_are_listed_tried_again_and_dropped(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    for id in &ids {
        sqlx::query("insert into outbox (id, recipients, versions, kind, payload, attempts, next_attempt_at)
            values ($1, '{alice,bob}', '{0,0}', 'share.received', '{\"url\": \"https://secret.example\"}', 7, now() + interval '1 hour')")
            .bind(id).execute(&pool).await.unwrap();
    }
    let listed = run(&world, &["outbox", "list", "--limit", "2"]).await;
    let rows: Vec<Value> = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(
        rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>(),
        [ids[0].to_string(), ids[1].to_string()]
    );
    assert_eq!(
        (&rows[0]["kind"], &rows[0]["recipients"], &rows[0]["attempts"]),
        (&json!("share.received"), &json!(2), &json!(7))
    );
    assert!(!listed.out.contains("secret.example") && !listed.out.contains("alice"), "{}", listed.out);

    let [first, second, third] = [&ids[0], &ids[1], &ids[2]].map(Uuid::to_string);
    let requeued = run(&world, &[&["outbox", "requeue", &first], &BY[..]].concat()).await;
    assert_eq!((requeued.code, requeued.err.trim()), (Some(0), "1 of 1 changes will be tried again"));
    let due: (i32, bool) =
        sqlx::query_as("select attempts, next_attempt_at <= clock_timestamp() from outbox where id = $1")
            .bind(ids[0])
            .fetch_one(&pool)
            .await
            .unwrap();
    assert_eq!(due, (0, true));

    let dropped =
        run(&world, &[&["outbox", "drop", &second, &third, &Uuid::now_v7().to_string()], &BY[..]].concat()).await;
    assert_eq!(dropped.code, Some(1));
    assert!(
        dropped.err.contains("2 of 3 changes are dropped") && dropped.err.contains("wait no more"),
        "{}",
        dropped.err
    );
    let left: Vec<Uuid> = sqlx::query_scalar("select id from outbox").fetch_all(&pool).await.unwrap();
    assert_eq!(left, [ids[0]]);
    let mut lines = audit(&world).await;
    lines.sort();
    let mut expected = [line("outbox.requeue", &first), line("outbox.drop", &second), line("outbox.drop", &third)];
    expected.sort();
    assert_eq!(lines, expected);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_role_that_serves_adds_lines_to_the_audit_and_changes_none(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    world.register(&["alice"]).await;
    run(&world, &[&["user", "show", "alice"], &BY[..]].concat()).await;
    for change in ["update audit set reason = 'another'", "delete from audit", "truncate audit"] {
        let error = sqlx::query(change).execute(&world.serving).await.unwrap_err();
        assert_eq!(error.as_database_error().unwrap().code().as_deref(), Some("42501"), "{change}");
    }
    assert_eq!(audit(&world).await.len(), 1);
    // The owner of the table may, because lines may have to be removed some day.
    sqlx::query("delete from audit").execute(&pool).await.unwrap();
}
