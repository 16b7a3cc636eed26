//! The two roles of a database, and what each may do.

use clap::Parser;
use core_api::{
    config::{Cli, Command},
    database,
};
use serde_json::json;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool, postgres::PgConnectOptions};

use crate::{
    process::{Server, program},
    world::{Provider, SERVING, World, database_url, token, url_of},
};

/// Runs `bootstrap-database` with these roles and passwords.
async fn bootstrap(url: &str, names: [&str; 2], passwords: [&str; 2]) -> std::process::Output {
    let mut command = program(url, &Provider::start().await, "bootstrap-database");
    command.args(["--owner", names[0], "--app", names[1]]);
    command.env("DATABASE_OWNER_PASSWORD", passwords[0]).env("DATABASE_APP_PASSWORD", passwords[1]);
    command.output().await.unwrap()
}

/// Names of roles that no other test on the server uses.
fn names() -> [String; 2] {
    let unique = uuid::Uuid::new_v4().simple();
    ["owner", "app"].map(|role| format!("{role}_{unique}"))
}

fn url_for(pool: &PgPool, role: &str, password: &str) -> String {
    let mut url = url::Url::parse(&database_url(pool)).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some(password)).unwrap();
    url.into()
}

async fn drop_roles(pool: &PgPool, roles: &[&str]) {
    for role in roles {
        for statement in [
            format!("reassign owned by {role} to current_user"),
            format!("drop owned by {role} cascade"),
            format!("drop role {role}"),
        ] {
            sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await.unwrap();
        }
    }
}

#[sqlx::test(migrations = false)]
async fn one_role_migrates_and_the_other_serves_and_cannot_change_the_schema(pool: PgPool) {
    // The clients of this test need it. The program installs its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let names = names();
    let [owner, app] = names.each_ref().map(String::as_str);
    let made = bootstrap(&database_url(&pool), [owner, app], ["the owner's", "the app's"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let log = String::from_utf8(made.stdout).unwrap();
    assert!(!log.contains("the owner's") && !log.contains("the app's"), "{log}");

    let provider = Provider::start().await;
    let [as_owner, as_app] =
        [(owner, "the owner's"), (app, "the app's")].map(|(role, word)| url_for(&pool, role, word));
    assert!(!program(&as_app, &provider, "migrate").status().await.unwrap().success());
    assert!(program(&as_owner, &provider, "migrate").status().await.unwrap().success());
    let server = Server::start(program(&as_app, &provider, "serve")).await;
    let client = reqwest::Client::new();
    let call = client.post(format!("{}/users/me", server.url)).header("authorization", token("alice"));
    let body = json!({"first_name": "Alice", "last_name": "Tester"}).to_string();
    assert_eq!(call.body(body).send().await.unwrap().status(), 201);
    server.stop().await;

    // As on many platforms, the URL holds no secrets, and variables hold the user and the password.
    let mut apart = url::Url::parse(&as_owner).unwrap();
    apart.set_username("").unwrap();
    apart.set_password(None).unwrap();
    for (role, password, succeeds) in [(owner, "the owner's", true), (app, "the app's", false)] {
        let mut migrate = program(apart.as_str(), &provider, "migrate");
        migrate.env("PGUSER", role).env("PGPASSWORD", password);
        assert_eq!(migrate.status().await.unwrap().success(), succeeds);
    }

    let options: PgConnectOptions = as_app.parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    for statement in [
        "create table mine (id int)",
        "create temporary table mine (id int)",
        "alter table users add column mine int",
        "drop table users",
        "truncate users",
        "create schema mine",
        "create function mine() returns int language sql as 'select 1'",
        "create index on users (first_name)",
        "alter role current_user createrole",
        "update _sqlx_migrations set success = false",
    ] {
        let refused = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap_err();
        // insufficient_privilege
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), "42501", "{statement}");
    }
    connection.close().await.unwrap();
    drop_roles(&pool, &[app, owner]).await;
}

#[sqlx::test(migrator = "database::MIGRATIONS")]
async fn roles_take_over_a_database_that_was_there_before_them_and_new_passwords_later(pool: PgPool) {
    let names = names();
    let [owner, app] = names.each_ref().map(String::as_str);
    World::new(pool.clone()).await.register(&["alice"]).await;
    // The server decides whether it asks for a password. What it would compare with can be seen here.
    let kept = async |role| {
        let kept = sqlx::query_scalar("select rolpassword from pg_authid where rolname = $1").bind(role);
        kept.fetch_one(&pool).await.unwrap()
    };
    let mut before = [String::new(), String::new()];
    for passwords in [["one", "two"], ["three", "four"]] {
        let made = bootstrap(&database_url(&pool), [owner, app], passwords).await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let after: [String; 2] = [kept(owner).await, kept(app).await];
        assert!(after.iter().all(|kept| kept.starts_with("SCRAM-SHA-256$") && !before.contains(kept)));
        before = after;
    }
    let options: PgConnectOptions = url_for(&pool, app, "four").parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    let seen: Vec<String> = sqlx::query_scalar("select user_id from users").fetch_all(&mut connection).await.unwrap();
    assert_eq!(seen, ["alice"]);
    // This is the limit where the core leaves it to the role.
    let limit: String = sqlx::query_scalar("show statement_timeout").fetch_one(&mut connection).await.unwrap();
    assert_eq!(limit, "5s");
    connection.close().await.unwrap();
    let others: i64 = sqlx::query_scalar(
        "select count(*) from pg_class join pg_roles owner on owner.oid = relowner
         where relnamespace = 'public'::regnamespace and rolname <> $1",
    )
    .bind(owner)
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(others, 0);
    drop_roles(&pool, &[app, owner]).await;
}

/// As on Amazon RDS and elsewhere, the administrator may make roles and databases, and is no superuser.
#[sqlx::test(migrations = false)]
async fn an_administrator_who_is_no_superuser_can_make_them(pool: PgPool) {
    let [owner, app] = names();
    let administrator = app.replacen("app", "administrator", 1);
    let database = pool.connect_options().get_database().unwrap().to_owned();
    for statement in [
        format!("create role {administrator} login createrole createdb password 'administrator'"),
        format!("alter database \"{database}\" owner to {administrator}"),
    ] {
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&pool).await.unwrap();
    }
    let url = url_for(&pool, &administrator, "administrator");
    for _ in 0..2 {
        let made = bootstrap(&url, [&owner, &app], ["one", "two"]).await;
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let provider = Provider::start().await;
    assert!(program(&url_for(&pool, &owner, "one"), &provider, "migrate").status().await.unwrap().success());
    let options: PgConnectOptions = url_for(&pool, &app, "two").parse().unwrap();
    let mut connection = options.connect().await.unwrap();
    sqlx::query("select from users").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    drop_roles(&pool, &[&app, &owner, &administrator]).await;
}

#[sqlx::test(migrator = "database::MIGRATIONS")]
async fn the_limit_of_statements_is_left_to_the_role_where_it_is_0(pool: PgPool) {
    World::new(pool.clone()).await;
    let url = url_of(SERVING, &pool);
    for (ms_max, limit) in [("0", ("5000", "database user")), ("700", ("700", "session"))] {
        let arguments = ["core-api", "migrate", "--database-url", &url, "--database-statement-ms-max", ms_max];
        let Command::Migrate(config) = Cli::try_parse_from(arguments).unwrap().command else { panic!("not migrate") };
        // A value set on the connection would have the source `session`, even if it were the same value.
        let now: (String, String) =
            sqlx::query_as("select setting, source from pg_settings where name = 'statement_timeout'")
                .fetch_one(&database::pool(&config).unwrap())
                .await
                .unwrap();
        assert_eq!((now.0.as_str(), now.1.as_str()), limit);
    }
    let mut command = program(&url, &Provider::start().await, "serve");
    command.env("DATABASE_STATEMENT_MS_MAX", "0");
    Server::start_after(&["the limit of statements is left to the database role"], command).await.stop().await;
}
