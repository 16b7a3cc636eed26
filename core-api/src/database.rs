//! The connection pool, the migrations inside this binary, and whether the database is ready for it.
//!
//! Deliberately absent: queries. Each is beside its caller.

use std::{str::FromStr, time::Duration};

use anyhow::Context;
use sqlx::{
    ConnectOptions, Connection as _, PgPool, Postgres, Transaction,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::config::DatabaseConfig;

/// Every migration, as it was when this binary was built.
pub static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// Longest life of a connection. Old ones are closed, so that load spreads again after a failover.
const CONNECTION_LIFE: Duration = Duration::from_secs(30 * 60);

/// A connection that was idle for longer than this is tested before it is used. To test one that was used more lately would
/// mean a test between every two statements. If a connection breaks in between, the answer is 503.
const REST_UNTESTED: Duration = Duration::from_secs(1);

/// A pool that connects when first used, so that the server can start while the database is away.
///
/// # Errors
///
/// When the URL is not one of PostgreSQL.
pub fn pool(config: &DatabaseConfig) -> anyhow::Result<PgPool> {
    let statement_ms_max = config.database_statement_ms_max;
    let pool = PgPoolOptions::new()
        .max_connections(config.database_connections_max)
        .acquire_timeout(Duration::from_millis(config.database_acquire_ms_max))
        .max_lifetime(CONNECTION_LIFE)
        .test_before_acquire(false)
        .before_acquire(|connection, about| {
            Box::pin(async move {
                if about.idle_for > REST_UNTESTED {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        // A statement of its own, because connection poolers refuse it as a start-up parameter.
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if statement_ms_max > 0 {
                    let limit = sqlx::query("select set_config('statement_timeout', $1, false)");
                    limit.bind(statement_ms_max.to_string()).execute(connection).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(connect_options(&config.database_url)?);
    Ok(pool)
}

/// How to connect to the database of this URL.
///
/// # Errors
///
/// When it is not one of PostgreSQL.
pub fn connect_options(url: &str) -> anyhow::Result<PgConnectOptions> {
    // The error of a bad URL may repeat the URL, which has a password in it.
    let options = PgConnectOptions::from_str(url).ok().context("DATABASE_URL is no PostgreSQL URL")?;
    // Statements are not logged: they have in them what users wrote.
    Ok(options.application_name("core-api").disable_statement_logging())
}

/// A transaction that reads or removes a list page by page, in the order of its index. Bitmap scans are off in it: if
/// PostgreSQL believed that the list was short, it would look up the whole list with one, for every page.
///
/// # Errors
///
/// When the database does not answer.
pub async fn paging(pool: &PgPool) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query("set local enable_bitmapscan = off").execute(&mut *transaction).await?;
    Ok(transaction)
}

/// Applies the migrations that are missing. It does not fail if a newer version has applied later ones: going back from that
/// version starts with this command.
///
/// # Errors
///
/// When the database cannot be reached, a migration fails, or one that was applied has been changed since.
pub async fn migrate(config: &DatabaseConfig) -> anyhow::Result<()> {
    let mut connection = pool(config)?.acquire().await.context("the database does not answer")?;
    // A migration may take longer than any request should.
    sqlx::query("set statement_timeout = 0").execute(&mut *connection).await?;
    let mut migrations = Migrator::with_migrations(MIGRATIONS.iter().cloned().collect());
    migrations.set_ignore_missing(true);
    migrations.run(&mut *connection).await.context("the migrations did not go through")
}

/// Whether the database answers and every migration of this binary is applied. Later ones may be applied too: while a new
/// version is rolled out, the old one goes on.
///
/// # Errors
///
/// When the database cannot be reached.
pub async fn is_migrated(pool: &PgPool) -> Result<bool, sqlx::Error> {
    let applied: Vec<i64> =
        match sqlx::query_scalar("select version from _sqlx_migrations where success").fetch_all(pool).await {
            Ok(applied) => applied,
            // No migration has ever run.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => return Ok(false),
            Err(error) => return Err(error),
        };
    Ok(MIGRATIONS.iter().all(|migration| applied.contains(&migration.version)))
}
