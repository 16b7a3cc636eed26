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
    #[expect(dead_code, reason = "no measured call writes yet")]
    Begin,
    #[expect(dead_code, reason = "no measured call writes yet")]
    Commit,
    Query(Query),
}

/// A statement, and what its parameters are.
#[derive(Debug)]
pub struct Query {
    /// The one query of `.sqlx` that holds all of these.
    pub holds: &'static [&'static str],
    /// SQL for each parameter. `:me` is the id of the caller, `:other` that of any user, `:name` one of [`NAMES`],
    /// `:default`, `:many` and `:none` are numbers: 15, 100 and 0.
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
            holds: &["select user_id", "email_public, dob_public", "from users where user_id = $1"],
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
            holds: &["f.user_id2 = $1 and f.accepted_at is null"],
            values: &[":me", ":default", ":none"],
        })],
        writes: false,
        predecessor_per_s: 960.0,
        times_ahead_wanted: 10.0,
        ratio_wanted: Some(0.4),
    },
];
