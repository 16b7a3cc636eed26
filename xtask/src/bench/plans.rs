//! Writes PostgreSQL's plans of the most frequent statements of the core, which are kept beside the migrations.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use devstack::{project, step::say};
use shared::limits::{SEARCH_CANDIDATES_MAX, SEARCH_ENTRIES_MAX, SEARCH_REQUESTS_MAX};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::bench::{
    calls::{CALLS, Sql},
    dataset::{Dataset, user_id},
    limit::Kept,
};

/// Writes `migrations/plans/NAME.txt` for every call.
pub async fn write(url: &str, dataset: Dataset) -> Result<()> {
    let all = Kept::all()?;
    let dir = project::root().join("migrations/plans");
    project::make_dir(&dir)?;
    for call in CALLS {
        let mut text = format!(
            "{} {}, on {} users: each statement as the core prepares it, and how PostgreSQL carries it out when it \
             no longer looks at the parameters.\n",
            call.method, call.path, dataset.users
        );
        let mut connection = PgConnection::connect(url).await?;
        let mut transaction = connection.begin().await?;
        run("set local plan_cache_mode = force_generic_plan", &mut transaction).await?;
        for (place, part) in call.sql.iter().enumerate() {
            let Sql::Query(query) = part else { continue };
            let kept = Kept::find(&all, query)?;
            let values: Vec<String> = query.values.iter().map(|value| example(value, dataset)).collect();
            let name = format!("statement_{place}");
            run(&format!("prepare {name} as {}", kept.query), &mut transaction).await?;
            let explain = format!("explain (analyze, buffers) execute {name}({})", kept.arguments(&values)?);
            // The first run reads the data into memory, and its writes are rolled back. The plan comes from the second run.
            run("savepoint before", &mut transaction).await?;
            run(&explain, &mut transaction).await?;
            run("rollback to before", &mut transaction).await?;
            let plan: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(explain)).fetch_all(&mut *transaction).await.context("no plan")?;
            let _ = write!(text, "\n{}\n\n{}\n", kept.query, plan.join("\n"));
        }
        transaction.rollback().await?;
        connection.close().await?;
        let path = dir.join(format!("{}.txt", call.name));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("  {}", path.display()));
    }
    Ok(())
}

async fn run(sql: &str, connection: &mut PgConnection) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.with_context(|| sql.to_owned())?;
    Ok(())
}

/// The value with an example in place of each variable of pgbench.
fn example(value: &str, dataset: Dataset) -> String {
    let quoted = |n: u64| format!("'{}'", user_id(n));
    let middle = dataset.users / 2;
    value
        .replace(":me", &quoted(middle))
        .replace(":other", &quoted(middle + 1))
        .replace(":name", "'garcia'")
        .replace(":event_id", "'01a20106-1eee-759f-8453-926a96e927d4'")
        .replace(":hour_ago", "'01a200cf-305e-7000-8000-000000000000'")
        .replace(":sent_at", "'2026-11-22 12:00:00Z'")
        .replace(":candidates", &SEARCH_CANDIDATES_MAX.to_string())
        .replace(":entries", &SEARCH_ENTRIES_MAX.to_string())
        .replace(":requests", &SEARCH_REQUESTS_MAX.to_string())
        .replace(":default", "15")
        .replace(":many", "100")
        .replace(":none", "0")
}
