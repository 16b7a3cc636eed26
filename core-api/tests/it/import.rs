//! The import, as an operator runs it at the cut-over, from a database with the predecessor's schema and with the data that such
//! databases hold.

use std::{collections::BTreeMap, process::Stdio};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    process::program,
    world::{SERVING, World, database_url, until, url_of},
};

const SCHEMA: &str = "
    create table user_table (
        user_id varchar primary key, email varchar unique not null, email_public bool, first_name varchar not null,
        last_name varchar not null, dob date, dob_public bool, created_at timestamp, share_mode varchar,
        domain_allow_array varchar[], domain_deny_array varchar[], gender varchar not null default '', gender_public bool,
        school varchar not null default '', school_public bool, work varchar not null default '', work_public bool,
        location varchar not null default '', location_public bool, description varchar default '',
        profile_image_uploaded_at timestamp, profile_image_extension varchar
    );
    create table friendship_table (
        user_id1 varchar references user_table, user_id2 varchar references user_table, requested_at timestamp,
        accepted_at timestamp, primary key (user_id1, user_id2)
    );
    create table share_notification_table (
        event_id uuid primary key, user_id varchar, sent_at timestamp, url varchar not null, title varchar not null,
        sent_to varchar
    );
    create table share_notification_seen_table (
        event_id uuid, user_id varchar, seen_at timestamp, primary key (event_id, user_id)
    );";

/// The predecessor's database, beside that of the test.
struct Predecessor {
    name: String,
    url: String,
    connection: PgConnection,
    server: PgPool,
}

impl Predecessor {
    async fn new(pool: &PgPool, content: &str) -> Self {
        let name = format!("predecessor_{}", Uuid::new_v4().simple());
        pool.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let mut url = url::Url::parse(&database_url(pool)).unwrap();
        url.set_path(&name);
        let options = (*pool.connect_options()).clone().database(&name);
        let mut connection = options.connect().await.unwrap();
        connection.execute(SCHEMA).await.unwrap();
        connection.execute(AssertSqlSafe(content.to_owned())).await.unwrap();
        Self { name, url: url.into(), connection, server: pool.clone() }
    }

    async fn drop(self) {
        self.connection.close().await.unwrap();
        self.server.execute(AssertSqlSafe(format!("drop database {} with (force)", self.name))).await.unwrap();
    }
}

/// What an import printed and listed.
#[derive(Debug)]
struct Imported {
    code: Option<i32>,
    said: String,
    list: Vec<Value>,
}

impl Imported {
    /// How many rows of this kind were read, imported, there already, merged and left out.
    fn counts(&self, kind: &str) -> [usize; 5] {
        let line = self.said.lines().find(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(kind) && words.clone().count() == 5
        });
        let numbers: Vec<usize> = line
            .unwrap_or_else(|| panic!("{}", self.said))
            .split_whitespace()
            .skip(1)
            .map(|n| n.parse().unwrap())
            .collect();
        numbers.try_into().unwrap()
    }

    /// What was done to a row and why, sorted.
    fn reasons(&self, id: &str) -> Vec<String> {
        let of = self.list.iter().filter(|line| line["id"] == id);
        let mut reasons: Vec<String> = of
            .map(|line| {
                let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
                format!("{} {} {}", text("what"), text("reason"), text("field")).trim().to_owned()
            })
            .collect();
        reasons.sort();
        reasons
    }
}

fn command(world: &World, from: &str, args: &[&str]) -> tokio::process::Command {
    let mut command = program(&url_of(SERVING, &world.pool), &world.provider, "import");
    command.args(args).env("IMPORT_FROM", from).stderr(Stdio::piped());
    command
}

async fn import(world: &World, from: &str, args: &[&str]) -> Imported {
    let done = command(world, from, args).output().await.unwrap();
    let list = String::from_utf8(done.stdout).unwrap();
    let list =
        list.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(|line: &Value| line["kind"].is_string());
    Imported { code: done.status.code(), said: String::from_utf8(done.stderr).unwrap(), list: list.collect() }
}

/// All rows of the tables that an import writes, without the columns that differ from run to run.
async fn content(pool: &PgPool) -> BTreeMap<String, Value> {
    let mut content = BTreeMap::new();
    for (table, without) in [
        ("users", "'{number,social_version,created_at}'"),
        ("friendships", "'{}'"),
        ("shares", "'{}'"),
        ("share_recipients", "'{}'"),
    ] {
        let sql = format!(
            "select coalesce(jsonb_agg(to_jsonb(t) - {without}::text[] order by t::text), '[]') from {table} t"
        );
        content.insert(table.to_owned(), sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(pool).await.unwrap());
    }
    content
}

/// Every oddity that the predecessor allows.
const ODD: &str = r#"
    insert into user_table (user_id, email, first_name, last_name, created_at, share_mode, domain_allow_array, domain_deny_array,
        description, dob, gender, email_public, profile_image_uploaded_at, profile_image_extension) values
    ('alice', 'Alice@example.com', 'Alice', 'Archer', '2020-01-02 03:04:05.678', 'default_none',
        '{Example.com,example.com,docs.example.org,"no domain",GITHUB.IO,München.de,NULL}', '{docs.example.org}', E'one\n\ttwo',
        '1990-02-28', 'female', true, '2020-05-05', 'png'),
    ('bob', 'bob@example.com', E' Bo\u200Bb\u202E ', '', '2020-01-03', 'default_all', '{}', '{}', '', null, '', null, null, ''),
    ('younger', 'alice@EXAMPLE.com', 'Another', 'Alice', '2021-01-01', 'default_none', null, null, null, null, '', null, null, null),
    ('carol', 'carol@example.com', E'\u3164', 'Carter', null, 'everything', null, null, null, 'infinity', '', null, null, 'bmp'),
    ('dave', 'dave@example.com', repeat('d', 120), 'D', '2020-01-04', 'default_all', '{}',
        array(select 'site' || n || '.com' from generate_series(1, 1001) n), repeat('x', 1001), '0044-03-15 BC', '', null, null, 'webp'),
    ('spa ced', 'spaced@example.com', 'S', 'P', '2020-01-05', 'default_none', '{}', '{}', '', null, '', null, null, null),
    ('mailless', '', 'M', 'L', '2020-01-06', 'default_none', '{}', '{}', '', null, '', null, null, null);

    insert into friendship_table values
    ('alice', 'bob', '2020-02-01', '2020-02-03'), ('bob', 'alice', '2020-02-02', null),
    ('carol', 'alice', '2020-03-02', null), ('alice', 'carol', '2020-03-01', null),
    ('alice', 'alice', '2020-03-01', '2020-03-01'),
    ('alice', 'dave', '2020-04-01', null),
    ('dave', 'bob', null, '2020-04-02'),
    ('younger', 'bob', '2020-04-03', '2020-04-03');

    insert into share_notification_table values
    ('00000000-0000-4000-8000-000000000001', 'alice', '2020-06-01 00:00:00.123', 'https://user:secret@example.com/a#b', E' A\u202E title ', null),
    ('00000000-0000-4000-8000-000000000002', 'alice', '2020-06-02', 'https://example.com/personal', repeat('t', 400), 'bob'),
    ('00000000-0000-4000-8000-000000000003', 'bob', '2020-06-03', 'https://example.com/' || repeat('u', 3000), 'Long', null),
    ('00000000-0000-4000-8000-000000000004', 'bob', '2020-06-04', 'javascript:alert(1)', 'Bad', 'alice'),
    ('00000000-0000-4000-8000-000000000005', 'younger', '2020-06-05', 'https://example.com/', 'Hers', null),
    ('00000000-0000-4000-8000-000000000006', 'bob', null, 'https://example.com/', 'When', 'alice'),
    ('00000000-0000-4000-8000-000000000007', 'bob', '2020-06-07', 'https://example.com/', 'Self', 'bob'),
    ('00000000-0000-4000-8000-000000000008', 'dave', '2020-06-08', 'https://example.com/none', 'Nobody', null);

    insert into share_notification_seen_table values
    ('00000000-0000-4000-8000-000000000001', 'bob', '2020-06-01 10:00:00'),
    ('00000000-0000-4000-8000-000000000001', 'carol', null),
    ('00000000-0000-4000-8000-000000000001', 'alice', null),
    ('00000000-0000-4000-8000-000000000001', 'younger', null),
    ('00000000-0000-4000-8000-000000000002', 'carol', null),
    ('00000000-0000-4000-8000-000000000003', 'alice', null),
    ('00000000-0000-4000-8000-000000000005', 'bob', '2020-06-05'),
    ('00000000-0000-4000-8000-0000000000ff', 'bob', null);"#;

fn old(n: u8) -> String {
    format!("00000000-0000-4000-8000-0000000000{n:02x}")
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn every_oddity_of_the_predecessor_is_corrected_or_left_out_and_listed(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let predecessor = Predecessor::new(&pool, ODD).await;
    let done = import(&world, &predecessor.url, &[]).await;
    assert_eq!(done.code, Some(0), "{}", done.said);
    // The numbers are: read, imported, there already, merged, left out.
    assert_eq!(done.counts("users"), [7, 4, 0, 0, 3]);
    assert_eq!(done.counts("friendships"), [8, 4, 0, 2, 2]);
    assert_eq!(done.counts("shares"), [8, 3, 0, 0, 5]);
    assert_eq!(done.counts("recipients"), [8, 2, 0, 0, 6]);
    let list = done.list.iter().map(Value::to_string).collect::<String>();
    for private in ["@", "https", "example.com", "secret", "Archer", "personal"] {
        assert!(!list.contains(private) && !done.said.contains(private), "{private}: {list} {}", done.said);
    }

    assert_eq!(done.reasons("younger"), ["left_out email_taken"]);
    assert_eq!(done.reasons("spa ced"), ["left_out bad_id"]);
    assert_eq!(done.reasons("mailless"), ["left_out bad_email"]);
    assert_eq!(
        done.reasons("alice"),
        ["changed no_site domain_allow_array", "changed part_of_site domain_allow_array"]
    );
    assert_eq!(done.reasons("bob"), ["changed cleaned first_name"]);
    assert_eq!(
        done.reasons("carol"),
        [
            "changed bad_date dob",
            "changed bad_image profile_image_extension",
            "changed bad_share_mode share_mode",
            "changed cleaned first_name",
            "changed no_name first_name"
        ]
    );
    assert_eq!(
        done.reasons("dave"),
        [
            "changed bad_date dob",
            "changed list_too_long domain_deny_array",
            "changed shortened description",
            "changed shortened first_name"
        ]
    );
    for pair in ["alice bob", "alice carol"] {
        assert_eq!(done.reasons(pair), ["merged both_directions"]);
    }
    assert_eq!(done.reasons("alice alice"), ["left_out with_themselves"]);
    assert_eq!(done.reasons("bob younger"), ["left_out user_left_out"]);
    for (n, reasons) in [
        (1, vec!["changed cleaned title", "changed cleaned url"]),
        (2, vec!["changed cleaned title"]),
        (3, vec!["left_out bad_address"]),
        (4, vec!["left_out bad_address"]),
        (5, vec!["left_out user_left_out"]),
        (6, vec!["left_out no_time"]),
        (7, vec!["left_out with_themselves"]),
        (8, vec![]),
    ] {
        assert_eq!(done.reasons(&old(n)), reasons, "{n}");
    }
    assert_eq!(done.reasons(&format!("{} alice", old(1))), ["left_out with_themselves"]);
    assert_eq!(done.reasons(&format!("{} younger", old(1))), ["left_out user_left_out"]);
    assert_eq!(done.reasons(&format!("{} carol", old(2))), ["left_out not_addressee"]);
    assert_eq!(done.reasons(&format!("{} alice", old(3))), ["left_out bad_address"]);
    assert_eq!(done.reasons(&format!("{} bob", old(0xff))), ["left_out no_share"]);
    predecessor.drop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn imported_users_find_everything_by_the_api(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let predecessor = Predecessor::new(&pool, ODD).await;
    assert_eq!(import(&world, &predecessor.url, &[]).await.code, Some(0));
    predecessor.drop().await;

    let alice = world.get("alice", "/users/me").await;
    assert_eq!(alice.status, 200);
    let alice = alice.body;
    assert_eq!(
        (&alice["first_name"], &alice["dob"], &alice["description"]),
        (&json!("Alice"), &json!("1990-02-28"), &json!("one\n\ttwo"))
    );
    assert_eq!(
        (&alice["gender"], &alice["school"], &alice["email_public"]),
        (&json!("female"), &Value::Null, &json!(true))
    );
    assert_eq!(alice["domain_allow_array"], json!(["example.com", "github.io", "xn--mnchen-3ya.de"]));
    assert_eq!(alice["domain_deny_array"], json!(["example.org"]), "to deny more than before hides more");
    assert_eq!((&alice["profile_image_extension"], &alice["share_mode"]), (&json!("png"), &json!("default_none")));
    let bob = world.get("bob", "/users/me").await.body;
    assert_eq!(
        (&bob["first_name"], &bob["last_name"], &bob["share_mode"]),
        (&json!("Bob"), &json!(""), &json!("default_all"))
    );
    let carol = world.get("carol", "/users/me").await.body;
    assert_eq!(
        (&carol["first_name"], &carol["share_mode"], &carol["dob"]),
        (&json!("Unnamed"), &json!("default_none"), &Value::Null)
    );
    let dave = world.get("dave", "/users/me").await.body;
    assert_eq!((dave["first_name"].as_str().unwrap().len(), dave["description"].as_str().unwrap().len()), (100, 1_000));
    assert_eq!(
        (dave["domain_deny_array"].as_array().unwrap().len(), &dave["share_mode"]),
        (1_000, &json!("default_none"))
    );
    assert_eq!(world.get("younger", "/users/me").await.status, 404);

    // Some were accepted in one direction only, and some asked in both.
    let friends = async |who: &str| -> Vec<String> {
        let all = world.get(who, "/friendship/all").await.body;
        let mut ids: Vec<String> =
            all.as_array().unwrap().iter().map(|f| f["user_id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    assert_eq!(friends("alice").await, ["bob", "carol"]);
    assert_eq!(friends("bob").await, ["alice", "dave"]);
    let times: Vec<(String, String, String, Option<String>)> = sqlx::query_as(
        "select user_id1, user_id2, (requested_at at time zone 'UTC')::date::text, (accepted_at at time zone 'UTC')::date::text
        from friendships order by 1, 2",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let row = |asker: &str, asked: &str, requested: &str, accepted: Option<&str>| {
        (asker.to_owned(), asked.to_owned(), requested.to_owned(), accepted.map(str::to_owned))
    };
    assert_eq!(
        times,
        [
            row("alice", "bob", "2020-02-01", Some("2020-02-03")),
            row("alice", "carol", "2020-03-01", Some("2020-03-02")),
            row("alice", "dave", "2020-04-01", None),
            row("dave", "bob", "2020-04-02", Some("2020-04-02")),
        ]
    );
    assert_eq!(world.get("dave", "/friendship/requests").await.body[0]["user_id"], "alice");
    // The triggers have filled the tables for search and for friends in common.
    assert_eq!(world.get("bob", "/users/search/name/alice").await.body[0]["user_id"], "alice");
    assert_eq!(world.get("dave", "/users/id/carol/mutual-friends/count").await.status, 200);

    let received = world.get("bob", "/notifications/share").await.body;
    let received = received.as_array().unwrap();
    assert_eq!(received.len(), 2);
    assert_eq!((&received[0]["url"], &received[0]["seen_at"]), (&json!("https://example.com/personal"), &Value::Null));
    assert_eq!(received[0]["title"].as_str().unwrap().len(), 300);
    assert_eq!((&received[1]["url"], &received[1]["title"]), (&json!("https://example.com/a#b"), &json!("A title")));
    assert!(received[1]["seen_at"].is_string());
    let unread = received[0]["event_id"].clone();
    assert_eq!(world.post("bob", "/notifications/share/read", json!([{ "event_id": unread }])).await.status, 200);
    let sent = world.get("alice", "/notifications/share/sent").await.body;
    let counts: Vec<&Value> = sent.as_array().unwrap().iter().map(|share| &share["not_seen_count"]).collect();
    assert_eq!(counts, [&json!(0), &json!(1)], "carol has not read what all were sent");
    // The order of ids is the order of times.
    let ids: Vec<(Uuid, OffsetDateTime)> =
        sqlx::query_as("select event_id, sent_at from shares order by event_id").fetch_all(&pool).await.unwrap();
    assert!(ids.windows(2).all(|two| two[0].1 <= two[1].1));
    for (id, sent_at) in ids {
        let ms = i128::try_from(id.as_u128() >> 80).unwrap();
        assert_eq!((id.get_version_num(), ms), (7, sent_at.unix_timestamp_nanos() / 1_000_000));
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_dry_run_lists_what_a_run_does_and_writes_nothing_and_a_second_run_changes_nothing(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let predecessor = Predecessor::new(&pool, ODD).await;
    let empty = content(&pool).await;
    let dry = import(&world, &predecessor.url, &["--dry-run"]).await;
    assert_eq!(dry.code, Some(0), "{}", dry.said);
    assert_eq!(content(&pool).await, empty);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.jsonl");
    let first = import(&world, &predecessor.url, &["--report", file.to_str().unwrap()]).await;
    assert_eq!(first.code, Some(0), "{}", first.said);
    let listed: Vec<Value> =
        std::fs::read_to_string(&file).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed, dry.list);
    for kind in ["users", "friendships", "shares", "recipients"] {
        assert_eq!(first.counts(kind), dry.counts(kind));
    }
    // What users have changed since the import stays.
    assert_eq!(world.put("alice", "/users/me/domain_array/allow", json!(["example.net"])).await.status, 200);
    let before = content(&pool).await;
    let again = import(&world, &predecessor.url, &[]).await;
    assert_eq!(again.code, Some(0), "{}", again.said);
    assert_eq!(content(&pool).await, before);
    for kind in ["users", "friendships", "shares", "recipients"] {
        let [read, imported, _, merged, left_out] = first.counts(kind);
        assert_eq!(again.counts(kind), [read, 0, imported, merged, left_out], "{kind}");
    }
    predecessor.drop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_import_that_is_killed_is_finished_by_the_next(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let many = "
        insert into user_table (user_id, email, first_name, last_name, created_at)
            select 'u' || n, n || '@example.com', 'User', n::text, '2020-01-01' from generate_series(1, 2000) n;
        insert into friendship_table
            select 'u' || n, 'u' || n % 2000 + 1, '2020-01-01', '2020-01-02' from generate_series(1, 2000) n;
        insert into share_notification_table
            select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n, '2020-01-01'::timestamp + n * interval '1 hour',
                'https://example.com/' || n, 'Page', null from generate_series(1, 2000) n;
        insert into share_notification_seen_table
            select ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'u' || n % 2000 + 1, case when n % 2 = 0 then '2021-01-01'::timestamp end
            from generate_series(1, 2000) n;";
    let predecessor = Predecessor::new(&pool, many).await;
    for table in ["users", "friendships", "shares"] {
        let mut under_way =
            command(&world, &predecessor.url, &[]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("something is written", async || {
            let count = AssertSqlSafe(format!("select count(*) from {table}"));
            sqlx::query_scalar::<_, i64>(count).fetch_one(&pool).await.unwrap() > 0
        })
        .await;
        under_way.kill().await.unwrap();
    }
    let done = import(&world, &predecessor.url, &[]).await;
    assert_eq!(done.code, Some(0), "{}", done.said);
    for kind in ["users", "friendships", "shares", "recipients"] {
        let [read, imported, there, merged, left_out] = done.counts(kind);
        assert_eq!((read, imported + there, merged, left_out), (2_000, 2_000, 0, 0), "{kind}");
    }
    let counted: (i64, i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from users), (select count(*) from friendships), (select count(*) from shares),
            (select count(*) from share_recipients), (select sum(not_seen_count) from shares)",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    assert_eq!(counted, (2_000, 2_000, 2_000, 2_000, 1_000));
    predecessor.drop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_user_with_more_friends_than_allowed_keeps_them_and_is_listed(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    let crowd = "
        insert into user_table (user_id, email, first_name, last_name) select 'u' || n, n || '@example.com', 'U', '' from generate_series(0, 1001) n;
        insert into friendship_table select 'u0', 'u' || n, '2020-01-01', '2020-01-02' from generate_series(1, 1001) n;";
    let predecessor = Predecessor::new(&pool, crowd).await;
    let done = import(&world, &predecessor.url, &[]).await;
    assert_eq!((done.code, done.counts("friendships")), (Some(0), [1_001, 1_001, 0, 0, 0]), "{}", done.said);
    assert!(done.reasons("u0").contains(&"changed many_friends friends".to_owned()), "{:?}", done.reasons("u0"));
    assert!(!done.reasons("u1").contains(&"changed many_friends friends".to_owned()));
    assert_eq!(world.social("u0", None).await.body["friends"].as_array().unwrap().len(), 1_001);
    predecessor.drop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_database_that_cannot_be_reached_is_named_without_its_password(pool: PgPool) {
    let world = World::new(pool.clone()).await;
    for (from, named) in [
        ("mysql://user:hunter2@127.0.0.1/db", "--from"),
        ("postgres://user:hunter2@127.0.0.1:9/db", "--from"),
        // This database does not have the predecessor's schema.
        (&format!("{}?application_name=hunter2", database_url(&pool)), "user_table"),
    ] {
        let refused = import(&world, from, &[]).await;
        assert_eq!(refused.code, Some(1), "{}", refused.said);
        assert!(refused.said.contains(named) && !refused.said.contains("hunter2"), "{}", refused.said);
    }
    let refused = import(&world, "postgres://127.0.0.1:9/db", &["--report", "/no/such/folder/list"]).await;
    assert!(refused.code == Some(1), "{}", refused.said);
}
