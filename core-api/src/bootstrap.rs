//! The two roles of a database: one owns everything and applies migrations; one serves, and can change nothing but rows.
//!
//! Deliberately absent: creating the database itself, and the tables, which migrations create.

use std::time::Duration;

use anyhow::Context as _;
use postgres_protocol::password::scram_sha_256;
use shared::limits::ADMINISTRATOR_CONNECT_MS_MAX;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, PgConnection, migrate::Migrate as _};
use tokio::time::timeout;

use crate::{config::BootstrapConfig, database};

/// Creates the roles that are missing, sets both passwords, and gives each role its rights.
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

/// Creates the role. If it exists, sets its password.
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
    // Not the password but the verifier that the server would store for it: the server may log this statement.
    let verifier = scram_sha_256(password.as_bytes());
    execute(connection, format!("{what} role {role} login password '{verifier}'"))
        .await
        .with_context(|| format!("cannot {what} the role {role}"))
}

/// Makes the owner the owner of the database, of its public schema and of everything in that. Lets the role that serves
/// read and write rows, also in tables that are created later. To be called in a transaction.
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
    // A change of owner waits until nobody reads the table, and new readers wait meanwhile. So it must not wait long.
    let mut statements = vec!["set local lock_timeout = '3s'".to_owned()];
    if !is_superuser {
        // To give something to a role, one must be a member of that role.
        statements.push(format!("grant {owner} to current_user"));
    }
    // These run while the schema is still the administrator's, as the owner of the database.
    statements.push("revoke create on schema public from public".to_owned());
    statements.push(format!("revoke all on schema public from {app}"));
    statements.push(format!("grant usage on schema public to {app}"));
    statements.push(format!("revoke all on all tables in schema public from {app}"));
    // The table of migrations is created before any migration, so that the rights below apply to it.
    connection.ensure_migrations_table(&database::MIGRATIONS.table_name).await?;
    // As the owner of the database, the role may create in the schema. Only then it can be given what is there.
    statements.push(format!("alter database {database} owner to {owner}"));
    statements.extend(hand_overs(connection, owner).await?);
    statements.extend([
        format!("revoke temporary on database {database} from public"),
        format!("grant connect on database {database} to {app}"),
        format!("alter role {app} in database {database} set statement_timeout = {app_statement_ms_max}"),
        format!("grant select, insert, update, delete on all tables in schema public to {app}"),
        // Only the owner records which migrations are applied.
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

/// Statements that make `owner` the owner of the public schema and of everything in it that another role owns. What belongs
/// to an extension is left out. So is a column's sequence, which gets its new owner with its table.
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
    // The names of roles need no quotes, PostgreSQL has quoted the other names itself, and a verifier has no quotes in it.
    connection.execute(AssertSqlSafe(sql)).await.map(drop)
}
