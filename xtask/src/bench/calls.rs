//! The calls of the API that are measured, each with the statements that the core runs for it.
//!
//! Deliberately absent: SQL. A statement is named by parts of its text, and taken from `.sqlx`, where the compiler has put it.
//! For calls that only read, the measurement checks that the core runs as many transactions as are listed.

/// One call of the API.
#[derive(Debug)]
pub struct Call {
    /// The call's name on the command line and in the report.
    pub name: &'static str,
    pub method: &'static str,
    /// `{user}` becomes the id of any user, `{name}` one of [`NAMES`].
    pub path: &'static str,
    pub body: &'static str,
    /// What the core asks of the database, in this order.
    pub sql: &'static [Sql],
    /// Whether it changes the data.
    pub writes: bool,
    /// Requests per second that the predecessor answered on two processor cores, with one process or two, whichever was faster.
    pub predecessor_per_s: f64,
    /// The goal: how many times as fast as the predecessor the core must be.
    pub times_ahead_wanted: f64,
    /// The goal: the ratio of the core's rate to pgbench's.
    pub ratio_wanted: Option<f64>,
}

/// A part of what the core asks of the database.
#[derive(Debug)]
pub enum Sql {
    Begin,
    Commit,
    /// Makes the values that the core makes for a share: `:event_id`, `:hour_ago` and `:sent_at`. The database must make them for
    /// pgbench, whose own variables are numbers. This costs pgbench a round trip that the core does not make.
    DrawShare,
    Query(Query),
}

/// A statement, and the values of its parameters.
#[derive(Debug)]
pub struct Query {
    /// Parts of the statement's text. Exactly one query of `.sqlx` holds all of them.
    pub holds: &'static [&'static str],
    /// SQL for each parameter. `:me` is the id of the caller, `:other` that of any user, `:name` one of [`NAMES`],
    /// `:default`, `:many` and `:none` are numbers, 15, 100 and 0; `:candidates`, `:entries` and `:requests` the bounds
    /// of a search.
    pub values: &'static [&'static str],
}

/// The texts that are searched for: frequent and rare names, and parts of names.
pub const NAMES: [&str; 16] = [
    "maria", "garcia", "ngu", "son", "kim", "fatima", "mart", "ova", "singh", "okafor", "lex", "sara", "brien",
    "siobhan", "chen", "rob",
];

/// Every call that is measured, reads first.
pub const CALLS: &[Call] = &[
    Call {
        name: "me",
        method: "GET",
        path: "/users/me",
        body: "",
        sql: &[Sql::Query(Query {
            holds: &["select user_id", "email_public, dob_public, ", "from users where user_id = $1"],
            values: &[":me"],
        })],
        writes: false,
        predecessor_per_s: 1_240.0,
        times_ahead_wanted: 10.0,
        ratio_wanted: Some(0.4),
    },
    Call {
        name: "requests",
        method: "GET",
        path: "/friendship/requests",
        body: "",
        sql: &[Sql::Query(Query {
            holds: &["where user_id2 = $1 and accepted_at is null", "order by f.requested_at desc"],
            values: &[":me", ":default", ":none"],
        })],
        writes: false,
        predecessor_per_s: 960.0,
        times_ahead_wanted: 10.0,
        ratio_wanted: Some(0.4),
    },
    Call {
        name: "unread",
        method: "GET",
        path: "/notifications/share?is_read=false",
        body: "",
        sql: &[Sql::Query(Query {
            holds: &["null::timestamptz as seen_at", "where user_id = $1 and seen_at is null"],
            values: &[":me", ":many", ":none"],
        })],
        writes: false,
        predecessor_per_s: 940.0,
        times_ahead_wanted: 10.0,
        ratio_wanted: Some(0.4),
    },
    Call {
        name: "friends",
        method: "GET",
        path: "/users/id/{user}/friends?limit=15",
        body: "",
        sql: &[Sql::Query(Query {
            holds: &["null::bigint as mutual_friend_count"],
            values: &[":other", ":me", ":default", ":none"],
        })],
        writes: false,
        predecessor_per_s: 420.0,
        times_ahead_wanted: 10.0,
        ratio_wanted: Some(0.4),
    },
    Call {
        name: "search",
        method: "GET",
        path: "/users/search/name/{name}",
        body: "",
        sql: &[Sql::Query(Query {
            holds: &["with sought as materialized", "from search_keys"],
            values: &[":me", ":name", "false", ":candidates", ":entries", ":requests", ":default", ":none"],
        })],
        writes: false,
        predecessor_per_s: 4.0,
        times_ahead_wanted: 300.0,
        ratio_wanted: None,
    },
    Call {
        name: "share",
        method: "POST",
        path: "/notifications/share",
        body: r#"{"url":"https://example.org/articles/today","title":"What became of an article"}"#,
        sql: &[
            Sql::DrawShare,
            Sql::Begin,
            Sql::Query(Query {
                holds: &["select first_name, last_name, profile_image_extension from users", "for no key update"],
                values: &[":me"],
            }),
            Sql::Query(Query {
                holds: &["sender_id = $1 and sent_to is null and event_id >= $2"],
                values: &[":me", ":hour_ago", ":many"],
            }),
            Sql::Query(Query {
                holds: &["insert into share_recipients", "insert into outbox", "insert into shares"],
                values: &[
                    ":event_id",
                    ":me",
                    ":sent_at",
                    "'https://example.org/articles/today'",
                    "'What became of an article'",
                    "null",
                    "null",
                    "'share.received'",
                    r#"'{"notification": {"event_id": "01a20106-1eee-759f-8453-926a96e927d4", "user_id": "1282479209967874219", "sent_at": "2026-01-01T00:00:00Z", "url": "https://example.org/articles/today", "title": "What became of an article", "seen_at": null, "first_name": "Maria", "last_name": "Garcia", "profile_image_extension": "png"}}'"#,
                ],
            }),
            Sql::Commit,
        ],
        writes: true,
        predecessor_per_s: 80.0,
        times_ahead_wanted: 10.0,
        ratio_wanted: None,
    },
];
