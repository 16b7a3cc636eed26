//! The two roles of a database: one owns everything and applies migrations; one serves, and can change nothing but rows.
//!
//! Deliberately absent: making the database itself, and the tables, which is the migrations'.

use std::time::Duration;

use anyhow::Context as _;
use postgres_protocol::password::scram_sha_256;
use shared::limits::ADMINISTRATOR_CONNECT_MS_MAX;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, migrate::Migrate as _};
use tokio::time::timeout;

use crate::{config::BootstrapConfig, database};

/// Makes both roles where they are missing, sets their passwords, and gives each its rights.
///
/// # Errors
///
/// When the names of both roles are the same, the database cannot be reached, or the administrator may not do that.
pub async fn run(config: &BootstrapConfig) -> anyhow::Result<()> {
    anyhow::ensure!(config.owner != config.app, "the two roles must have two names");
    let options = database::connect_options(&config.database_url)?;
    let connected = timeout(Duration::from_millis(ADMINISTRATOR_CONNECT_MS_MAX), options.connect()).await;
    let mut connection =
        connected.context("the database does not answer")?.context("cannot connect to the database")?;
    let mut transaction = connection.begin().await?;
    make_role(&mut transaction, &config.owner, &config.owner_password).await?;
    make_role(&mut transaction, &config.app, &config.app_password).await?;
    give_rights(&mut transaction, config).await?;
    transaction.commit().await?;
    connection.close().await?;
    tracing::info!(owner = config.owner, app = config.app, "the roles of the database are as they should be");
    Ok(())
}

/// Makes the role, or sets its password.
///
/// # Errors
///
/// When the administrator may not do that.
pub async fn make_role(connection: &mut PgConnection, role: &str, password: &str) -> anyhow::Result<()> {
    let exists: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(role)
        .fetch_one(&mut *connection)
        .await?;
    let what = if exists { "alter" } else { "create" };
    // Not the password but what the server would make of it: statements like this one may be logged there.
    let verifier = scram_sha_256(password.as_bytes());
    execute(connection, format!("{what} role {role} login password '{verifier}'"))
        .await
        .with_context(|| format!("cannot {what} the role {role}"))
}

/// Makes the owner the owner of the database and of everything in it, and lets the role that serves read and write
/// rows, those of tables to come too. To be called in a transaction.
///
/// # Errors
///
/// When the administrator may not do that.
pub async fn give_rights(connection: &mut PgConnection, config: &BootstrapConfig) -> anyhow::Result<()> {
    let BootstrapConfig { owner, app, app_statement_ms_max, .. } = config;
    let (database, is_superuser): (String, bool) =
        sqlx::query_as("select quote_ident(current_database()), rolsuper from pg_roles where rolname = current_user")
            .fetch_one(&mut *connection)
            .await?;
    // Tables change hands only when nobody is reading them, and readers wait meanwhile.
    let mut statements = vec!["set local lock_timeout = '3s'".to_owned()];
    if !is_superuser {
        // Only a member of the role that is to own something may give it away.
        statements.push(format!("grant {owner} to current_user"));
    }
    // While the schema is still the administrator's, through the database.
    statements.push("revoke create on schema public from public".to_owned());
    statements.push(format!("revoke all on schema public from {app}"));
    statements.push(format!("grant usage on schema public to {app}"));
    statements.push(format!("revoke all on all tables in schema public from {app}"));
    // Before there are migrations, so that its rights are those below.
    connection.ensure_migrations_table(&database::MIGRATIONS.table_name).await?;
    // Which lets the owner create in the schema: a condition for being given what is there.
    statements.push(format!("alter database {database} owner to {owner}"));
    statements.extend(hand_overs(connection, owner).await?);
    statements.extend([
        format!("revoke temporary on database {database} from public"),
        format!("grant connect on database {database} to {app}"),
        format!("alter role {app} in database {database} set statement_timeout = {app_statement_ms_max}"),
        format!("grant select, insert, update, delete on all tables in schema public to {app}"),
        // Which migrations are applied is for the owner alone to say.
        format!("revoke insert, update, delete on {} from {app}", database::MIGRATIONS.table_name),
        format!("grant usage, select on all sequences in schema public to {app}"),
        format!(
            "alter default privileges for role {owner} in schema public
             grant select, insert, update, delete on tables to {app}"
        ),
        format!("alter default privileges for role {owner} in schema public grant usage, select on sequences to {app}"),
    ]);
    for statement in statements {
        execute(connection, statement).await.context("cannot give the roles their rights")?;
    }
    Ok(())
}

/// Statements that make `owner` the owner of what is in the schema already and somebody else's. What belongs to an
/// extension stays with it, and a column's sequence goes with its table.
async fn hand_overs(connection: &mut PgConnection, owner: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "select format('alter %s %s owner to %I', kind, name, $1::text)
         from (
             -- Of the database's owner since PostgreSQL 15, and of its maker where that is older.
             select 'pg_namespace'::regclass as catalog, oid, nspowner as owner, oid as namespace, 'schema' as kind,
                 nspname::text as name
             from pg_namespace where nspowner <> 'pg_database_owner'::regrole
             union all
             select 'pg_class'::regclass, oid, relowner, relnamespace,
                 case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, oid::regclass::text
             from pg_class where relkind in ('r', 'p', 'v', 'S')
             union all
             select 'pg_proc'::regclass, oid, proowner, pronamespace, 'routine', oid::regprocedure::text from pg_proc
         ) object
         where namespace = 'public'::regnamespace and owner <> (select oid from pg_roles where rolname = $1)
             and not exists (
                 select from pg_depend
                 where classid = catalog and objid = object.oid and (deptype = 'e'
                     or kind = 'sequence' and refclassid = 'pg_class'::regclass and refobjsubid > 0))",
    )
    .bind(owner)
    .fetch_all(connection)
    .await
}

async fn execute(connection: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    // Made of names that need no quotes, and of what PostgreSQL has quoted itself.
    connection.execute(AssertSqlSafe(sql)).await.map(drop)
}
