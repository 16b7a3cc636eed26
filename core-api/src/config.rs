//! Configuration: every flag, its environment variable and its default. `--help` prints them.
//!
//! Deliberately absent: configuration files, and reading the environment anywhere else, except for what `ALSO_READ` names.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use shared::{
    ids::UserId,
    limits::{
        CALLS_PER_MINUTE_MAX, DECLINE_REST_DAYS, FRIENDS_MAX, OPERATOR_CHARS_MAX, PROFILE_IMAGE_URL_S,
        REASON_CHARS_MAX, REQUESTS_PENDING_MAX, REQUESTS_PER_DAY_MAX, ROLE_NAME_BYTES_MAX, SHARES_PER_HOUR_MAX,
        WAITING_LEN_MAX,
    },
};
use url::Url;
use uuid::Uuid;

/// Variables that are read not by this file but by the libraries for PostgreSQL and logging.
const ALSO_READ: &str = "Also read from the environment:
  PGUSER, PGPASSWORD  user and password for PostgreSQL, where the URL has none
  PGSSLMODE           whether the connection is encrypted, where the URL does not say (`?sslmode=`); only `verify-full`
                      makes sure that it is the right server that answers
  PGSSLROOTCERT       PEM file of the certificate authorities that may have signed the server's certificate; without it,
                      the public ones
  RUST_LOG            which lines are logged, in the syntax of tracing's filter [default: info]";

/// The regional API over PostgreSQL: users, friendships and the events about them.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Subcommand)]
pub enum Command {
    /// Answer requests and relay events until SIGTERM or SIGINT.
    #[command(after_help = ALSO_READ)]
    Serve(Box<ServeConfig>),
    /// Apply the migrations that the database lacks, as the role that owns it, then end.
    #[command(after_help = ALSO_READ)]
    Migrate(DatabaseConfig),
    /// Create the two roles of a database: one owns it and applies migrations, the other serves and can change only rows.
    ///
    /// Connects as an administrator of the server, who is a superuser, or may create roles and owns the database. Roles
    /// that exist are kept: a second run sets the passwords that are given then, and grants the rights again.
    #[command(after_help = ALSO_READ)]
    BootstrapDatabase(BootstrapConfig),
    /// After a backup was restored: make the edge take what is in the database now, although it may remember newer versions.
    ///
    /// Objects of the edge drop what is older than what they have. This command raises every user's version above all that
    /// they may have. Run it before the core serves again, and restart the edge: objects ask when their user comes online.
    #[command(after_help = ALSO_READ)]
    RaiseVersions(DatabaseConfig),
    /// Import the predecessor's users, friendships, shares and read marks into this database.
    ///
    /// Rows that are there already stay as they are, so if a run stops early, the next run finishes it. Nobody else may
    /// write to this database meanwhile. What is written to the predecessor's database after the start is not seen. A list
    /// says what is changed or left out, one JSON object a line. It names rows by their ids, and has no addresses or texts.
    /// The counts are printed at the end. If they do not add up, the command fails.
    #[command(after_help = ALSO_READ)]
    Import(ImportConfig),
    /// Show a user, suspend one, or take a suspension back. What was done is noted in the table `audit`.
    #[command(subcommand)]
    User(UserCommand),
    /// List the changes that wait for the edge, try some again, or drop them. The last two are noted in the table `audit`.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Ask a server on this machine whether it is up; the exit code is 0 if it is. For containers, which have no other
    /// program for that.
    Healthcheck {
        /// Where the server listens
        #[arg(long, env = "LISTEN_ADDR", default_value = LISTEN_ADDR)]
        listen_addr: SocketAddr,
    },
}

/// What an operator does with a user.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Print what is stored about a user, as JSON. It has their name and address: do not use it where output is kept as a log.
    #[command(after_help = ALSO_READ)]
    Show(OfUser),
    /// Suspend a user: within ten seconds their sockets close, every call is answered 403, and friends see them offline.
    /// Nothing of theirs is deleted, and meanwhile they cannot delete their account.
    #[command(after_help = ALSO_READ)]
    Suspend(OfUser),
    /// Take a suspension back.
    #[command(after_help = ALSO_READ)]
    Restore(OfUser),
}

/// A user, and the operator who acts on them.
#[derive(Args, Clone)]
pub struct OfUser {
    /// The user's id: the `cognito:username` of their tokens
    #[arg(value_name = "USER_ID")]
    pub user_id: UserId,

    #[command(flatten)]
    pub operator: Operator,

    #[command(flatten)]
    pub database: DatabaseConfig,
}

/// What an operator does with the outbox.
#[derive(Subcommand)]
pub enum OutboxCommand {
    /// Print the changes that have waited the longest, as JSON, without their contents.
    #[command(after_help = ALSO_READ)]
    List {
        /// Most changes to print
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=WAITING_LEN_MAX as i64))]
        limit: i64,

        #[command(flatten)]
        database: DatabaseConfig,
    },
    /// Try changes again at once, as if they had never been tried.
    #[command(after_help = ALSO_READ)]
    Requeue(OfChanges),
    /// Drop changes. The edge is not told of them: a recipient sees the result only when their object next asks the core,
    /// which it does when they come online. If a `user.deleted` is dropped, the edge keeps what it has of the account.
    #[command(after_help = ALSO_READ)]
    Drop(OfChanges),
}

/// Some changes, and the operator who acts on them.
#[derive(Args, Clone)]
pub struct OfChanges {
    /// Their ids, as `outbox list` prints them
    #[arg(value_name = "ID", required = true, num_args = 1..=WAITING_LEN_MAX)]
    pub ids: Vec<Uuid>,

    #[command(flatten)]
    pub operator: Operator,

    #[command(flatten)]
    pub database: DatabaseConfig,
}

/// Who acts, and why. The audit table keeps both for ever.
#[derive(Args, Clone)]
pub struct Operator {
    /// Who you are
    #[arg(long, env = "OPERATOR", value_name = "NAME", value_parser = operator_name)]
    pub by: String,

    /// Why, such as the number of a ticket
    #[arg(long, value_parser = reason)]
    pub reason: String,
}

/// The default of where the API listens.
const LISTEN_ADDR: &str = "127.0.0.1:8080";

/// The default of the longest run of one statement, in milliseconds.
const STATEMENT_MS_MAX: u32 = 5_000;

/// The roles of a database.
#[derive(Args, Clone)]
pub struct BootstrapConfig {
    /// The database as the administrator reaches it: postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Role that owns the database and everything in it
    #[arg(long, env = "DATABASE_OWNER", default_value = "pagenow_owner", value_parser = role_name)]
    pub owner: String,

    /// Its password
    #[arg(long, env = "DATABASE_OWNER_PASSWORD", hide_env_values = true, value_parser = non_empty)]
    pub owner_password: String,

    /// Role that serves
    #[arg(long, env = "DATABASE_APP", default_value = "pagenow_app", value_parser = role_name)]
    pub app: String,

    /// Its password
    #[arg(long, env = "DATABASE_APP_PASSWORD", hide_env_values = true, value_parser = non_empty)]
    pub app_password: String,

    /// Longest run of one statement of the role that serves, in milliseconds; applies where that role connects with
    /// DATABASE_STATEMENT_MS_MAX=0
    #[arg(long, env = "DATABASE_APP_STATEMENT_MS_MAX", default_value_t = STATEMENT_MS_MAX)]
    pub app_statement_ms_max: u32,
}

/// Where the data is and how long it may keep a request waiting.
#[derive(Args, Clone)]
pub struct DatabaseConfig {
    /// PostgreSQL, as postgres://user:password@host:port/database?sslmode=verify-full
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: String,

    /// Most connections held at once
    #[arg(long, env = "DATABASE_CONNECTIONS_MAX", default_value_t = 10, value_parser = clap::value_parser!(u32).range(2..))]
    pub database_connections_max: u32,

    /// Longest wait for a connection, in milliseconds; after it the answer is 503
    #[arg(long, env = "DATABASE_ACQUIRE_MS_MAX", default_value_t = 3_000)]
    pub database_acquire_ms_max: u64,

    /// Longest run of one statement, in milliseconds; after it the answer is 503. 0 leaves the limit to the role. That is for
    /// poolers such as Amazon RDS Proxy, which bind a connection to a client that changes a setting on it
    #[arg(long, env = "DATABASE_STATEMENT_MS_MAX", default_value_t = STATEMENT_MS_MAX)]
    pub database_statement_ms_max: u32,
}

/// What an import reads, and where its list goes.
#[derive(Args, Clone)]
pub struct ImportConfig {
    /// The predecessor's database, as postgres://user:password@host:port/database; it is only read
    #[arg(long, env = "IMPORT_FROM", hide_env_values = true, value_name = "URL")]
    pub from: String,

    /// Write nothing: list what would be changed and left out, and count
    #[arg(long)]
    pub dry_run: bool,

    /// File for the list, which is overwritten; without it, the list goes to standard output
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    #[command(flatten)]
    pub database: DatabaseConfig,
}

/// Everything `serve` needs.
#[derive(Args, Clone)]
pub struct ServeConfig {
    #[command(flatten)]
    pub database: DatabaseConfig,

    /// Where the API listens
    #[arg(long, env = "LISTEN_ADDR", default_value = LISTEN_ADDR)]
    pub listen_addr: SocketAddr,

    /// Where Prometheus finds /metrics; must never be public
    #[arg(long, env = "METRICS_ADDR", default_value = "127.0.0.1:9100")]
    pub metrics_addr: SocketAddr,

    /// The `iss` that tokens must have, exactly
    #[arg(long, env = "OIDC_ISSUER")]
    pub oidc_issuer: String,

    /// The client id that tokens must be meant for (`aud`)
    #[arg(long, env = "OIDC_AUDIENCE")]
    pub oidc_audience: String,

    /// Where the issuer publishes its signing keys
    #[arg(long, env = "OIDC_JWKS_URL")]
    pub oidc_jwks_url: Url,

    /// Longest wait for the signing keys, in milliseconds
    #[arg(long, env = "OIDC_FETCH_MS_MAX", default_value_t = 3_000)]
    pub oidc_fetch_ms_max: u64,

    /// What a token's `email_verified` means. required: an address is accepted, at registration and when it has changed,
    /// unless the token says that it is not verified; ignored: it is always accepted
    #[arg(long, env = "EMAIL_VERIFIED", value_enum, default_value_t = EmailVerified::Required)]
    pub email_verified: EmailVerified,

    /// Base of the edge's own routes; events go to <EDGE_URL>/internal/events
    #[arg(long, env = "EDGE_URL")]
    pub edge_url: Url,

    /// Longest wait for the edge to take a batch of events, in milliseconds
    #[arg(long, env = "EDGE_CALL_MS_MAX", default_value_t = 10_000)]
    pub edge_call_ms_max: u64,

    /// Standard Webhooks secret that signs events (whsec_…)
    #[arg(long, env = "EVENT_SIGNING_SECRET", hide_env_values = true)]
    pub event_signing_secret: String,

    /// Secret of the tokens with which the edge authenticates on /internal; during a rotation two, with a space between
    /// them, either of which is accepted
    #[arg(long, env = "SERVICE_TOKEN_SECRET", hide_env_values = true)]
    pub service_token_secret: String,

    #[command(flatten)]
    pub bounds: Bounds,

    #[command(flatten)]
    pub image_store: ImageStoreConfig,

    /// Days after which shares are removed, read or not; without it, they are kept
    #[arg(long, env = "SHARE_RETENTION_DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub share_retention_days: Option<u32>,

    /// Longest time for one request, in milliseconds; after it the answer is 503
    #[arg(long, env = "REQUEST_MS_MAX", default_value_t = 8_000)]
    pub request_ms_max: u64,

    /// Time between two reads of the outbox when nothing wakes the relay, in milliseconds
    #[arg(long, env = "OUTBOX_POLL_MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub outbox_poll_ms: u64,

    /// Longest time between two attempts to deliver an event, in milliseconds
    #[arg(long, env = "OUTBOX_RETRY_MS_MAX", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub outbox_retry_ms_max: u64,

    /// Longest time that requests and deliveries under way have to end at shutdown, in milliseconds
    #[arg(long, env = "SHUTDOWN_MS_MAX", default_value_t = 15_000)]
    pub shutdown_ms_max: u64,
}

/// Whether an address is refused if its token says that it is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmailVerified {
    Required,
    Ignored,
}

/// Where profile images are stored. The variables that begin with `AWS_` are those that AWS's own tools read; ECS sets some
/// of them.
#[derive(Args, Clone)]
pub struct ImageStoreConfig {
    /// S3 bucket of the profile images; without one, calls about them are answered 503
    #[arg(long, env = "PROFILE_IMAGES_BUCKET", value_parser = non_empty)]
    pub profile_images_bucket: Option<String>,

    /// How long the URL of an image works, in seconds
    #[arg(long, env = "PROFILE_IMAGE_URL_S", default_value_t = PROFILE_IMAGE_URL_S, value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub profile_image_url_s: u64,

    /// Region of the bucket
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    pub aws_region: String,

    /// Another store that has S3's API, as scheme://host:port
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    pub aws_endpoint_url: Option<Url>,

    /// Access key id to sign with; without one, the role of the task on ECS or of the machine on EC2 is used
    #[arg(long, env = "AWS_ACCESS_KEY_ID", requires = "aws_secret_access_key")]
    pub aws_access_key_id: Option<String>,

    /// Secret access key
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true, requires = "aws_access_key_id")]
    pub aws_secret_access_key: Option<String>,

    /// Session token of temporary credentials
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
    pub aws_session_token: Option<String>,

    /// Where ECS serves the credentials of the task's role
    #[arg(long, env = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", hide_env_values = true)]
    pub aws_container_credentials_relative_uri: Option<String>,
}

/// How much one user may have and do.
#[derive(Args, Clone, Copy)]
pub struct Bounds {
    /// Most REST requests of one user in a minute, at each instance
    #[arg(long, env = "CALLS_PER_MINUTE_MAX", default_value_t = NonZeroU32::new(CALLS_PER_MINUTE_MAX).unwrap_or(NonZeroU32::MAX))]
    pub calls_per_minute_max: NonZeroU32,

    /// Most friends a user may have
    #[arg(long, env = "FRIENDS_MAX", default_value_t = FRIENDS_MAX as u32, value_parser = clap::value_parser!(u32).range(1..))]
    pub friends_max: u32,

    /// Most requests for friendship of one user that wait for an answer
    #[arg(long, env = "REQUESTS_PENDING_MAX", default_value_t = REQUESTS_PENDING_MAX)]
    pub requests_pending_max: u32,

    /// Most requests for friendship that one user may make in a UTC day
    #[arg(long, env = "REQUESTS_PER_DAY_MAX", default_value_t = REQUESTS_PER_DAY_MAX)]
    pub requests_per_day_max: u32,

    /// Days for which a user cannot ask somebody again who has declined
    #[arg(long, env = "DECLINE_REST_DAYS", default_value_t = DECLINE_REST_DAYS)]
    pub decline_rest_days: u32,

    /// Most shares to all friends that one user may send in an hour
    #[arg(long, env = "SHARES_PER_HOUR_MAX", default_value_t = SHARES_PER_HOUR_MAX)]
    pub shares_per_hour_max: u32,
}

impl ServeConfig {
    /// [`Self::request_ms_max`] as a duration.
    pub fn request_time_max(&self) -> Duration {
        Duration::from_millis(self.request_ms_max)
    }
}

/// A name that needs no quotes in SQL, within PostgreSQL's own bound.
fn role_name(text: &str) -> Result<String, &'static str> {
    let of_a_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let begins = text.bytes().next().is_some_and(|first| of_a_name(first) && !first.is_ascii_digit());
    match begins && text.bytes().all(of_a_name) && text.len() <= ROLE_NAME_BYTES_MAX {
        true => Ok(text.to_owned()),
        false => Err("must be at most 63 lower-case letters, digits and underscores, and not begin with a digit"),
    }
}

fn operator_name(text: &str) -> Result<String, String> {
    line(text, OPERATOR_CHARS_MAX)
}

fn reason(text: &str) -> Result<String, String> {
    line(text, REASON_CHARS_MAX)
}

/// A text on one line that is not empty.
fn line(text: &str, chars_max: usize) -> Result<String, String> {
    let text = text.trim();
    match !text.is_empty() && text.chars().count() <= chars_max && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(format!("must be 1 to {chars_max} characters on one line")),
    }
}

fn non_empty(text: &str) -> Result<String, &'static str> {
    if text.is_empty() { Err("must not be empty") } else { Ok(text.to_owned()) }
}
