//! Configuration: every flag, its environment variable and its default. `--help` prints them.
//!
//! Deliberately absent: files, and reading the environment anywhere else, but for what `ALSO_READ` names.

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

/// What the libraries below read by themselves, as other programs that stand on them do.
const ALSO_READ: &str = "Also read from the environment:
  PGUSER, PGPASSWORD  who connects to PostgreSQL, where the URL does not say
  PGSSLMODE           whether the connection is encrypted, where the URL does not say (`?sslmode=`); only `verify-full`
                      makes sure that nobody else answers in the server's place
  PGSSLROOTCERT       file of the certificate authorities that may have signed the server's certificate, in PEM; without
                      it, the public ones
  RUST_LOG            which log lines, as tracing's filter writes it [default: info]";

/// The regional API over PostgreSQL: users, friendships and the events about them.
#[derive(Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Answer requests and relay events until SIGTERM or SIGINT.
    #[command(after_help = ALSO_READ)]
    Serve(Box<ServeConfig>),
    /// Apply the migrations that the database lacks, as the role that owns it, then end.
    #[command(after_help = ALSO_READ)]
    Migrate(DatabaseConfig),
    /// Make the two roles of a database: one owns it and applies migrations, one serves and changes nothing but rows.
    ///
    /// Connects as an administrator of the server, who may make roles and owns the database, or is a superuser. What is
    /// there already is kept: a second run sets the passwords that are given then, and puts rights right.
    #[command(after_help = ALSO_READ)]
    BootstrapDatabase(BootstrapConfig),
    /// After a backup was restored: let the edge take what is in the database now, though it may remember what is newer.
    ///
    /// Objects of the edge drop what is older than what they have. This makes every user's version newer than all. Run it
    /// before the core serves again, and start the edge anew, for objects ask when their user comes online.
    #[command(after_help = ALSO_READ)]
    RaiseVersions(DatabaseConfig),
    /// Bring the predecessor's users, friendships, shares and read marks into this database.
    ///
    /// What is there already stays as it is, so a run that was ended early is finished by the next. Nobody else may write to
    /// this database meanwhile; what is written to the predecessor's after the start is not seen. What is changed or left out
    /// is listed, a JSON object a line: rows are named by their ids, and neither addresses nor texts stand in it. The counts
    /// are printed at the end, and must add up.
    #[command(after_help = ALSO_READ)]
    Import(ImportConfig),
    /// Look at a user, suspend one, or take that back. Each leaves a line in the table `audit`.
    #[command(subcommand)]
    User(UserCommand),
    /// Look at the changes that wait for the edge, try some again, or drop them. What changes one leaves a line in the table
    /// `audit`.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Ask a server on this machine whether it is up; the exit code tells. For containers, where nothing else can ask.
    Healthcheck {
        /// Where the server listens
        #[arg(long, env = "LISTEN_ADDR", default_value = LISTEN_ADDR)]
        listen_addr: SocketAddr,
    },
}

/// What an operator does with a user.
#[derive(Subcommand)]
pub enum UserCommand {
    /// Print what is held about a user, as JSON. It names them: not for where output is kept as a log.
    #[command(after_help = ALSO_READ)]
    Show(OfUser),
    /// Let a user in nowhere: their sockets close, every call is answered 403 within ten seconds, and friends see them
    /// offline. Nothing of theirs is deleted, and they cannot delete their account meanwhile.
    #[command(after_help = ALSO_READ)]
    Suspend(OfUser),
    /// Take a suspension back.
    #[command(after_help = ALSO_READ)]
    Restore(OfUser),
}

/// A user, and who does what to them.
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
    /// Print the changes that have waited the longest, as JSON, without what they tell.
    #[command(after_help = ALSO_READ)]
    List {
        /// Most of them
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=WAITING_LEN_MAX as i64))]
        limit: i64,

        #[command(flatten)]
        database: DatabaseConfig,
    },
    /// Let changes be tried again at once, as if for the first time.
    #[command(after_help = ALSO_READ)]
    Requeue(OfChanges),
    /// Drop changes. The edge is not told of them: whom they concern sees them when their object asks the core next, which it
    /// does when the user comes online. Of a `user.deleted`, the edge keeps what it has of the account.
    #[command(after_help = ALSO_READ)]
    Drop(OfChanges),
}

/// Some changes, and who does what to them.
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

/// Who acts, and why: it stands in the audit table for ever.
#[derive(Args, Clone)]
pub struct Operator {
    /// Who you are
    #[arg(long, env = "OPERATOR", value_name = "NAME", value_parser = operator_name)]
    pub by: String,

    /// Why, such as the number of a ticket
    #[arg(long, value_parser = reason)]
    pub reason: String,
}

/// Where the API listens unless it is told otherwise.
const LISTEN_ADDR: &str = "127.0.0.1:8080";

/// Longest run of one statement in milliseconds, unless told otherwise.
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

    /// Longest run of one statement of the role that serves, in milliseconds; counts where its own
    /// DATABASE_STATEMENT_MS_MAX is 0
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

    /// Longest run of one statement, in milliseconds; after it the answer is 503. 0 leaves the limit to the role, for
    /// poolers that bind a connection to the client that sets anything on it, as Amazon RDS Proxy does
    #[arg(long, env = "DATABASE_STATEMENT_MS_MAX", default_value_t = STATEMENT_MS_MAX)]
    pub database_statement_ms_max: u32,
}

/// From where an import brings what, and what it tells.
#[derive(Args, Clone)]
pub struct ImportConfig {
    /// The predecessor's database, as postgres://user:password@host:port/database; it is only read
    #[arg(long, env = "IMPORT_FROM", hide_env_values = true, value_name = "URL")]
    pub from: String,

    /// Write nothing: list what would be changed and left out, and count
    #[arg(long)]
    pub dry_run: bool,

    /// File of the list, which is written anew; without it, the list goes to standard output
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

    /// Where Prometheus finds /metrics; never public
    #[arg(long, env = "METRICS_ADDR", default_value = "127.0.0.1:9100")]
    pub metrics_addr: SocketAddr,

    /// Exactly the `iss` of the tokens to take
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

    /// What a token's `email_verified` means. required: an address is taken, at registration and when it has changed,
    /// unless the token says that it is not verified; ignored: it is taken whatever the token says
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

    /// Secret of the tokens by which the edge shows itself on /internal; during a rotation two, with a space between
    /// them, either of which is taken
    #[arg(long, env = "SERVICE_TOKEN_SECRET", hide_env_values = true)]
    pub service_token_secret: String,

    #[command(flatten)]
    pub bounds: Bounds,

    #[command(flatten)]
    pub image_store: ImageStoreConfig,

    /// Days after which shares are removed, read or not; without it, none ever is
    #[arg(long, env = "SHARE_RETENTION_DAYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub share_retention_days: Option<u32>,

    /// Longest time for one request, in milliseconds; after it the answer is 503
    #[arg(long, env = "REQUEST_MS_MAX", default_value_t = 8_000)]
    pub request_ms_max: u64,

    /// Time between two looks into the outbox when nothing wakes the relay, in milliseconds
    #[arg(long, env = "OUTBOX_POLL_MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub outbox_poll_ms: u64,

    /// Longest time between two attempts to deliver an event, in milliseconds
    #[arg(long, env = "OUTBOX_RETRY_MS_MAX", default_value_t = 60_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub outbox_retry_ms_max: u64,

    /// Longest time for requests and deliveries under way to end at shutdown, in milliseconds
    #[arg(long, env = "SHUTDOWN_MS_MAX", default_value_t = 15_000)]
    pub shutdown_ms_max: u64,
}

/// Whether an address must be verified where a token says something of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EmailVerified {
    Required,
    Ignored,
}

/// Where profile images are kept. The names are those that AWS's own tools read, and ECS sets some of them.
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

    /// Another store that speaks S3's language, as scheme://host:port
    #[arg(long, env = "AWS_ENDPOINT_URL")]
    pub aws_endpoint_url: Option<Url>,

    /// Key id to sign with; without one, the task's role on ECS or the machine's on EC2
    #[arg(long, env = "AWS_ACCESS_KEY_ID", requires = "aws_secret_access_key")]
    pub aws_access_key_id: Option<String>,

    /// The key
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true, requires = "aws_access_key_id")]
    pub aws_secret_access_key: Option<String>,

    /// The session of a key that is lent
    #[arg(long, env = "AWS_SESSION_TOKEN", hide_env_values = true)]
    pub aws_session_token: Option<String>,

    /// Where ECS tells the credentials of the task's role
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

    /// Most requests of one user that wait for an answer
    #[arg(long, env = "REQUESTS_PENDING_MAX", default_value_t = REQUESTS_PENDING_MAX)]
    pub requests_pending_max: u32,

    /// Most users that one user may ask in a UTC day
    #[arg(long, env = "REQUESTS_PER_DAY_MAX", default_value_t = REQUESTS_PER_DAY_MAX)]
    pub requests_per_day_max: u32,

    /// Days in which somebody who declined is not asked again by the same user
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

/// A text that says something, on one line.
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
