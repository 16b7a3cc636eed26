//! The data for the measurements: made by `dev/dataset.sql`, loaded once per size, and kept.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use devstack::{
    postgres, project,
    step::{OrStepFailed as _, StepFailed, say},
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// The size of a dataset.
#[derive(Debug, Clone, Copy)]
pub struct Dataset {
    pub users: u64,
    /// Friends of a user, on average.
    pub friends: u64,
    /// Shares that a user has received, on average.
    pub received: u64,
}

/// The dataset of an ordinary run: half a million friendships, 20,000 requests, 200,000 received shares.
pub const ORDINARY: Dataset = Dataset { users: 10_000, friends: 100, received: 20 };

/// The dataset of `--large`: ten million friendships, two million requests, twenty million received shares.
pub const LARGE: Dataset = Dataset { users: 1_000_000, friends: 20, received: 20 };

/// The id of the nth user is `FIRST + n * STRIDE % PRIME * GAP`, as in `dev/dataset.sql`. The formula has only numbers, so that
/// pgbench can compute it.
pub const FIRST: u64 = 1_000_000_000_000_874_219;
pub const STRIDE: u64 = 618_033_988_749;
pub const PRIME: u64 = 999_999_999_989;
pub const GAP: u64 = 1_000_000;

/// The id of the nth user, from 1 to the number of users.
pub fn user_id(n: u64) -> String {
    (FIRST + n * STRIDE % PRIME * GAP).to_string()
}

impl Dataset {
    /// The name of its database.
    pub fn database(&self) -> String {
        format!("crowd_{}", self.users)
    }

    /// The URL of the dataset's database in the cluster. The database is made, migrated by `migrate`, and filled if it is
    /// missing, unfinished, or from other migrations than today's.
    pub async fn load(&self, cluster: &str, migrate: impl AsyncFnOnce(&str) -> Result<()>) -> Result<String> {
        let name = self.database();
        let made_of = fingerprint().or_step_failed("Reading the migrations", "see that the checkout is whole")?;
        let mut connection = PgConnection::connect(cluster).await.context("cannot connect to the database")?;
        let kept: Option<(Option<String>,)> =
            sqlx::query_as("select shobj_description(oid, 'pg_database') from pg_database where datname = $1")
                .bind(&name)
                .fetch_optional(&mut connection)
                .await?;
        if kept.as_ref().is_some_and(|(kept,)| kept.as_ref() == Some(&made_of)) {
            connection.close().await?;
            let mut url = url::Url::parse(cluster)?;
            url.set_path(&name);
            return Ok(url.to_string());
        }
        if kept.is_some() {
            say("The data kept is unfinished, or from before a change of the migrations: making it anew");
            postgres::drop_database(cluster, &name).await?;
        }
        let minutes = if self.users > ORDINARY.users { "many minutes, once" } else { "half a minute, once" };
        say(&format!("Loading {} users ({minutes})", self.users));
        let url = postgres::create_database(cluster, &name).await?;
        migrate(&url).await?;
        self.fill(&url).await.or_step_failed("Loading the data", "correct dev/dataset.sql, which makes it")?;
        // The mark is set last, so that only a complete database has it.
        connection.execute(AssertSqlSafe(format!("comment on database {name} is '{made_of}'"))).await?;
        connection.close().await?;
        Ok(url)
    }

    async fn fill(&self, url: &str) -> Result<()> {
        let script = read("dev/dataset.sql")?;
        let mut connection = PgConnection::connect(url).await?;
        for (name, value) in [
            ("dataset.users", self.users.to_string()),
            ("dataset.friends", self.friends.to_string()),
            ("dataset.received", self.received.to_string()),
            ("dataset.domains", read("core-api/default-domains.json")?),
            ("maintenance_work_mem", "512MB".to_owned()),
            ("work_mem", "256MB".to_owned()),
        ] {
            let set = sqlx::query("select set_config($1, $2, false)").bind(name).bind(value);
            set.execute(&mut connection).await?;
        }
        for section in script.split("\n-- # ").skip(1) {
            let (title, sql) = section.split_once('\n').unwrap_or((section, ""));
            let begun = Instant::now();
            connection.execute(AssertSqlSafe(sql)).await.with_context(|| format!("in the section {title}"))?;
            say(&format!("  {title} ({:.1} s)", begun.elapsed().as_secs_f32()));
        }
        let begun = Instant::now();
        connection.execute("vacuum analyze").await?;
        say(&format!("  Vacuum ({:.1} s)", begun.elapsed().as_secs_f32()));
        connection.close().await?;
        Ok(())
    }

    /// Removes what earlier measurements have written, so that every run finds the same data.
    pub async fn tidy(&self, url: &str) -> Result<()> {
        /// The UUIDv7 of the first moment of 2026. All shares of the dataset have lower ids.
        const FIRST_OF_2026: &str = "019b76da-a800-0000-0000-000000000000";
        let mut connection = PgConnection::connect(url).await?;
        for table in ["share_recipients", "shares"] {
            let sql = format!("delete from {table} where event_id >= '{FIRST_OF_2026}'");
            connection.execute(AssertSqlSafe(sql)).await?;
        }
        connection.execute("truncate outbox").await?;
        for table in ["share_recipients", "shares", "outbox"] {
            connection.execute(AssertSqlSafe(format!("vacuum analyze {table}"))).await?;
        }
        let ids = [1, self.users / 2, self.users].map(user_id);
        let known: i64 = sqlx::query_scalar("select count(*) from users where user_id = any($1)")
            .bind(ids.as_slice())
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        if known != 3 {
            let why = "users are missing whose ids this program computes";
            bail!(StepFailed::new("Looking at the data", why, "run the command again with --reset"));
        }
        Ok(())
    }
}

/// A hash of everything that the data depend on.
fn fingerprint() -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for path in ["dev/dataset.sql", "core-api/default-domains.json"] {
        read(path)?.hash(&mut hasher);
    }
    let migrations = fs::read_dir(project::root().join("migrations"))?;
    let mut paths: Vec<_> = migrations.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "sql")) {
        fs::read_to_string(path)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(project::root().join(path)).with_context(|| format!("cannot read {path}"))
}
