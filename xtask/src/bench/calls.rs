//! What is measured: calls of the API, each with the statements that the core runs for it.
//!
//! Deliberately absent: SQL. The statements are named by what they hold, and taken from `.sqlx`, where the compiler
//! has put them; a call whose statements are listed wrongly is found out while it is measured.

/// One call of the API.
#[derive(Debug)]
pub struct Call {
    /// Names it on the command line and in the report.
    pub name: &'static str,
    pub method: &'static str,
    /// `{user}` becomes the id of any user, `{name}` one of [`NAMES`].
    pub path: &'static str,
    pub body: &'static str,
    /// What the core asks of the database, in its order.
    pub sql: &'static [Sql],
    /// Whether it changes the data.
    pub writes: bool,
    /// What the predecessor answered on two cores, in requests per second: the better of one process and two.
    pub predecessor_per_s: f64,
    /// How many times as much is wanted.
    pub times_ahead_wanted: f64,
    /// The part of pgbench's rate that is wanted.
    pub ratio_wanted: Option<f64>,
}

/// A part of what the core asks of the database.
#[derive(Debug)]
pub enum Sql {
    Begin,
    Commit,
    /// Draws what the core draws for a share: `:event_id`, `:hour_ago` and `:sent_at`. It costs pgbench a round trip
    /// that the core does not make, which its other variables, being numbers, would not spare.
    DrawShare,
    Query(Query),
}

/// A statement, and what its parameters are.
#[derive(Debug)]
pub struct Query {
    /// The one query of `.sqlx` that holds all of these.
    pub holds: &'static [&'static str],
    /// SQL for each parameter. `:me` is the id of the caller, `:other` that of any user, `:name` one of [`NAMES`],
    /// `:default`, `:many` and `:none` are numbers, 15, 100 and 0; `:candidates`, `:entries` and `:requests` the bounds
    /// of a search.
    pub values: &'static [&'static str],
}

/// What is searched for: whole names and the beginnings and insides of some, frequent and rare.
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
