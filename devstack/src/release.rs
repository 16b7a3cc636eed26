//! What the statements of a release need of the schema: so that the next release's migrations can be held against it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// Where that of the last release is kept, below the root of the checkout.
pub const LAST: &str = "migrations/last-release.json";

/// A release's statements and the tables that it knew.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Each with its types as PostgreSQL prepares it.
    pub statements: BTreeMap<String, Types>,
    /// Of every table, by `table.column`.
    pub columns: BTreeMap<String, Column>,
}

/// The types of a statement.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Types {
    pub parameters: Vec<String>,
    pub results: Vec<String>,
}

/// What whoever writes a row has to know of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub nullable: bool,
    /// A statement need not name it: it has a default, or the database computes it.
    pub may_be_left_out: bool,
}

impl Release {
    /// These statements in the database of this connection.
    ///
    /// # Errors
    ///
    /// When one cannot be prepared there, which is then named.
    pub async fn of(connection: &mut PgConnection, statements: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut prepared = BTreeMap::new();
        for statement in statements {
            let types = types(connection, &statement).await.with_context(|| format!("cannot prepare: {statement}"))?;
            prepared.insert(statement, types);
        }
        Ok(Self { statements: prepared, columns: columns(connection).await? })
    }

    /// What this release, the one before, does not find in a schema of these columns, each in a sentence. That its
    /// statements can be prepared there shows most; this is the rest.
    pub fn misses(&self, columns: &BTreeMap<String, Column>) -> Vec<String> {
        let new = columns.iter().filter(|(name, _)| !self.columns.contains_key(*name) && self.knows_table_of(name));
        let new = new.filter(|(_, column)| !column.nullable && !column.may_be_left_out);
        let new = new.map(|(name, _)| format!("{name} is new, and whoever does not name it cannot insert a row"));
        let kept = self.columns.iter().filter_map(|(name, before)| Some((name, before, columns.get(name)?)));
        let changed = kept.filter_map(|(name, before, now)| match (before.nullable, now.nullable) {
            (false, true) => Some(format!("{name} may be null, for which old code is not prepared")),
            (true, false) => Some(format!("{name} may no longer be null, which old code may write")),
            _ if before.may_be_left_out && !now.may_be_left_out => Some(format!("{name} has lost its default")),
            _ => None,
        });
        new.chain(changed).collect()
    }

    fn knows_table_of(&self, column: &str) -> bool {
        let table = |name: &str| name.split_once('.').map(|(table, _)| table.to_owned());
        self.columns.keys().any(|name| table(name) == table(column))
    }
}

async fn types(connection: &mut PgConnection, statement: &str) -> Result<Types> {
    let mut transaction = connection.begin().await?;
    // Statements of our own sources.
    transaction.execute(AssertSqlSafe(format!("prepare of_release as {statement}"))).await?;
    let (parameters, results): (Vec<String>, Vec<String>) = sqlx::query_as(
        "select parameter_types::text[], coalesce(result_types::text[], '{}')
         from pg_prepared_statements where name = 'of_release'",
    )
    .fetch_one(&mut *transaction)
    .await?;
    transaction.execute("deallocate of_release").await?;
    transaction.rollback().await?;
    Ok(Types { parameters, results })
}

/// The columns of all tables of this database, by `table.column`.
///
/// # Errors
///
/// When the database does not answer.
pub async fn columns(connection: &mut PgConnection) -> Result<BTreeMap<String, Column>> {
    let rows: Vec<(String, bool, bool)> = sqlx::query_as(
        "select relname || '.' || attname, not attnotnull, atthasdef or attidentity <> ''
         from pg_attribute join pg_class on pg_class.oid = attrelid
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and attnum > 0 and not attisdropped
             and relname <> '_sqlx_migrations'",
    )
    .fetch_all(connection)
    .await?;
    let columns = rows.into_iter();
    Ok(columns.map(|(name, nullable, may_be_left_out)| (name, Column { nullable, may_be_left_out })).collect())
}
