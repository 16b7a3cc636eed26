//! The data of the core's SQL queries (`.sqlx`), with which the core compiles without a database. The data are made from a
//! database with today's migrations. They are then written to `.sqlx`, or compared with it.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use devstack::{
    postgres, project,
    release::{LAST, Release},
    step::{OrStepFailed as _, Step, say},
    test_run::TestDatabase,
};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, migrate::Migrator};

/// Writes what the statements of this release need of the schema. Tests check the next release's migrations against it.
pub async fn freeze() -> Result<()> {
    let database = TestDatabase::start().await?;
    let frozen = freeze_in(database.url()).await;
    database.stop().await;
    let path = project::root().join(LAST);
    let mut text = serde_json::to_string_pretty(&frozen?)?;
    text.push('\n');
    fs::write(&path, text).with_context(|| format!("cannot write {LAST}"))?;
    say(&format!("Written: {LAST}"));
    Ok(())
}

async fn freeze_in(cluster: &str) -> Result<Release> {
    let name = format!("release_{:016x}", rand::random::<u64>());
    let url = postgres::create_database(cluster, &name).await?;
    migrate(&url).await.or_step_failed("Running the migrations", "correct the migration")?;
    let kept = read(&project::root().join(".sqlx"))?;
    let statements = kept.values().filter_map(|data| Some(data.get("query")?.as_str()?.to_owned()));
    let mut connection = PgConnection::connect(&url).await?;
    let release = Release::of(&mut connection, statements).await;
    connection.close().await?;
    postgres::drop_database(cluster, &name).await?;
    release
}

/// Whether to compare or to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Check,
    Write,
}

/// Compiles the core against a database that the migrations have made, which writes the data of its queries. Then compares them
/// with `.sqlx`, or writes them there. `false`: they differ.
pub async fn run(mode: Mode) -> Result<bool> {
    let scratch = project::dev_dir().join(format!("queries-{}", std::process::id()));
    project::make_dir(&scratch)?;
    let database = TestDatabase::start().await?;
    let compiled = compile(database.url(), &scratch).await;
    database.stop().await;
    let result = compiled.and_then(|()| settle(mode, &scratch));
    project::remove(&scratch)?;
    result
}

fn settle(mode: Mode, scratch: &Path) -> Result<bool> {
    let kept_dir = project::root().join(".sqlx");
    let (fresh, kept) = (read(scratch)?, read(&kept_dir)?);
    if fresh == kept {
        say(&format!("{} queries are as they should be", fresh.len()));
        return Ok(true);
    }
    if mode == Mode::Write {
        project::remove(&kept_dir)?;
        project::make_dir(&kept_dir)?;
        for name in fresh.keys() {
            fs::copy(scratch.join(name), kept_dir.join(name)).with_context(|| format!("cannot write .sqlx/{name}"))?;
        }
        say(&format!("{} queries are written to .sqlx", fresh.len()));
        return Ok(true);
    }
    for name in kept.keys().filter(|name| !fresh.contains_key(*name)) {
        say(&format!("  .sqlx/{name}: no query uses it"));
    }
    for (name, data) in fresh.iter().filter(|(name, data)| kept.get(*name) != Some(*data)) {
        let what = if kept.contains_key(name) { "differs from the database" } else { "is missing" };
        say(&format!("  .sqlx/{name}: {what}: {}", data.get("query").unwrap_or(&Value::Null)));
    }
    say("`cargo xtask queries` writes them anew");
    Ok(false)
}

async fn compile(cluster: &str, scratch: &Path) -> Result<()> {
    let name = format!("queries_{:016x}", rand::random::<u64>());
    let url = postgres::create_database(cluster, &name).await?;
    migrate(&url).await.or_step_failed("Running the migrations", "correct the migration")?;
    let mut cargo = project::cargo();
    // The whole workspace is compiled, because then the libraries that clippy has compiled can be used again.
    cargo.args(["check", "--workspace", "--all-targets"]);
    // The core's build script depends on this variable, so with a new folder every query is expanded again.
    cargo.env("SQLX_OFFLINE", "false").env("DATABASE_URL", &url).env("SQLX_OFFLINE_DIR", scratch);
    let step = Step {
        name: "queries",
        about: "Checking the core's queries against PostgreSQL",
        advice: "correct the query, or the migration",
    };
    step.run(cargo).await?;
    postgres::drop_database(cluster, &name).await
}

async fn migrate(url: &str) -> Result<()> {
    // The migrations are read from the folder at run time. Those in the core cannot be used, because it may not compile yet.
    let migrations = Migrator::new(project::root().join("migrations")).await?;
    let mut connection = PgConnection::connect(url).await?;
    migrations.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn read(dir: &Path) -> Result<BTreeMap<String, Value>> {
    let mut queries = BTreeMap::new();
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(queries),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", dir.display())),
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("query-") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let data = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
            queries.insert(name, data);
        }
    }
    Ok(queries)
}
