//! Describes what the statements of a release need of the schema, so that the next release's migrations can be checked against
//! it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// The file that describes the last release, relative to the root of the checkout.
pub const LAST: &str = "migrations/last-release.json";

/// The statements of a release, and the schema that it was written for.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Each statement, with its types as PostgreSQL prepares it.
    pub statements: BTreeMap<String, Types>,
    pub schema: Schema,
}

/// The parts of a schema that matter to a program that writes its rows.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The columns of all tables, by `table.column`.
    pub columns: BTreeMap<String, Column>,
    /// The rules that refuse rows: unique indexes, checks, foreign keys and exclusion constraints.
    pub constraints: BTreeSet<Constraint>,
}

/// A rule that refuses rows. It is known by its definition, because a name does not say what is refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Constraint {
    pub table: String,
    /// The columns that the rule is about.
    pub columns: BTreeSet<String>,
    /// The definition as PostgreSQL writes it.
    pub definition: String,
}

/// The types of a statement's parameters and results.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Types {
    pub parameters: Vec<String>,
    pub results: Vec<String>,
}

/// The properties of a column that matter to a program that writes rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    pub nullable: bool,
    /// Whether a statement need not name the column: it has a default, or the database computes it.
    pub may_be_left_out: bool,
}

impl Release {
    /// Prepares and plans these statements in the database of the connection. The connection's role should be the one that
    /// serves, because planning also checks its rights, and looks up the unique index that an `on conflict` names.
    ///
    /// # Errors
    ///
    /// If a statement cannot be carried out there. The error names it.
    pub async fn of(connection: &mut PgConnection, statements: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut known = BTreeMap::new();
        for statement in statements {
            let types =
                types(connection, &statement).await.with_context(|| format!("cannot be carried out: {statement}"))?;
            known.insert(statement, types);
        }
        Ok(Self { statements: known, schema: Schema::of(connection).await? })
    }
}

impl Schema {
    /// Reads the schema of the connection's database.
    ///
    /// # Errors
    ///
    /// If the database does not answer.
    pub async fn of(connection: &mut PgConnection) -> Result<Self> {
        Ok(Self { columns: columns(connection).await?, constraints: constraints(connection).await? })
    }

    /// The differences of a newer schema with which code for this schema may fail, each in a sentence.
    pub fn misses_in(&self, newer: &Self) -> Vec<String> {
        let new =
            newer.columns.iter().filter(|(name, _)| !self.columns.contains_key(*name) && self.knows_table_of(name));
        let new = new.filter(|(_, column)| !column.nullable && !column.may_be_left_out);
        let new = new.map(|(name, _)| format!("{name} is new, and whoever does not name it cannot insert a row"));
        let kept = self.columns.iter().filter_map(|(name, before)| Some((name, before, newer.columns.get(name)?)));
        let changed = kept.filter_map(|(name, before, now)| match (before.nullable, now.nullable) {
            (false, true) => Some(format!("{name} may be null, for which old code is not prepared")),
            (true, false) => Some(format!("{name} may no longer be null, which old code may write")),
            _ if before.may_be_left_out && !now.may_be_left_out => Some(format!("{name} has lost its default")),
            _ => None,
        });
        let narrower = newer.constraints.difference(&self.constraints).filter(|new| self.may_break(new));
        let narrower = narrower.map(|Constraint { table, definition, .. }| {
            format!("{table} has a new rule, which may refuse what old code writes: {definition}")
        });
        new.chain(changed).chain(narrower).collect()
    }

    /// Whether old code writes a column of the constraint. If it is about new columns only, old code leaves their defaults.
    fn may_break(&self, constraint: &Constraint) -> bool {
        let column = |name| format!("{}.{name}", constraint.table);
        constraint.columns.iter().any(|name| self.columns.contains_key(&column(name)))
    }

    fn knows_table_of(&self, column: &str) -> bool {
        let table = |name: &str| name.split_once('.').map(|(table, _)| table.to_owned());
        self.columns.keys().any(|name| table(name) == table(column))
    }
}

async fn types(connection: &mut PgConnection, statement: &str) -> Result<Types> {
    let mut transaction = connection.begin().await?;
    // The statements are safe to run, because they come from the project's own sources.
    transaction.execute(AssertSqlSafe(format!("prepare of_release as {statement}"))).await?;
    let (parameters, results): (Vec<String>, Vec<String>) = sqlx::query_as(
        "select parameter_types::text[], coalesce(result_types::text[], '{}')
         from pg_prepared_statements where name = 'of_release'",
    )
    .fetch_one(&mut *transaction)
    .await?;
    transaction.execute("deallocate of_release").await?;
    transaction.execute(AssertSqlSafe(format!("explain (generic_plan) {statement}"))).await?;
    transaction.rollback().await?;
    Ok(Types { parameters, results })
}

async fn columns(connection: &mut PgConnection) -> Result<BTreeMap<String, Column>> {
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

async fn constraints(connection: &mut PgConnection) -> Result<BTreeSet<Constraint>> {
    // A unique constraint or a primary key is found by its index. `not null` is read with the columns.
    let rows: Vec<(String, Vec<String>, String)> = sqlx::query_as(
        "select relname::text, array(select attname::text from pg_attribute where attrelid = rule.relation
                and (attnum = any(rule.numbers) or rule.expression ~ ('\\m' || attname || '\\M'))),
            rule.definition
         from (
            select conrelid, conkey, pg_get_constraintdef(oid), ''
            from pg_constraint where contype in ('c', 'f', 'x')
            union all
            select indrelid, indkey::smallint[], regexp_replace(pg_get_indexdef(indexrelid), '^.* ON [^ ]+ ', 'unique '),
                concat(pg_get_expr(indexprs, indrelid), pg_get_expr(indpred, indrelid))
            from pg_index where indisunique
         ) as rule (relation, numbers, definition, expression)
         join pg_class on pg_class.oid = rule.relation
         where relnamespace = 'public'::regnamespace and relname <> '_sqlx_migrations'",
    )
    .fetch_all(connection)
    .await?;
    let rules = rows.into_iter();
    Ok(rules
        .map(|(table, columns, definition)| Constraint { table, columns: columns.into_iter().collect(), definition })
        .collect())
}
