//! `cargo xtask bench`: measures how fast the core answers, compared with the limit that PostgreSQL sets. The module `presence`
//! measures how fast friends see each other's page changes.
//!
//! Everything runs on this machine and shares its processors: the load generator, the core and PostgreSQL, or, for the limit,
//! pgbench and PostgreSQL. So only figures of the same run can be compared.

mod calls;
mod dataset;
mod limit;
mod load;
mod plans;
mod presence;
mod report;
mod stage;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use devstack::{
    project,
    step::{StepFailed, say},
    token::{self, TokenRequest},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sqlx::{Connection as _, PgConnection};

use crate::bench::{
    calls::{CALLS, Call, Sql},
    dataset::Dataset,
    limit::{Kept, Pgbench, YARDSTICK_PER_S},
    load::{Callers, Seen},
    presence::Presence,
    report::{Figures, Report, Round, TokenCheck},
    stage::Stage,
};

/// Connections of wrk and of pgbench. Each has one request at a time.
const CONNECTIONS: u32 = 32;

/// How long the core answers before the measurement begins, and how long the machine's own speed is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// The number of users who call.
const CALLERS: u64 = 2_000;

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Measure the core's release build, call by call, compared with pgbench running the same statements on the same data.
    ///
    /// Needs wrk and pgbench (`apt-get install wrk postgresql` on Debian). Keeps its data in .dev/bench.
    Core(Core),
    /// Measure the edge in workerd, compared with a minimal worker and a minimal server that do the same without rules.
    ///
    /// All of it takes about half an hour. Keeps its data in .dev/bench.
    Presence(Presence),
}

/// The options of `bench core`.
#[derive(Debug, Args)]
pub struct Core {
    /// Use data with a million users and ten million friendships, instead of ten thousand and half a million.
    #[arg(long)]
    large: bool,
    /// Seconds of each measurement. Each call takes two measurements of pgbench and two of the core.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Where to write the figures as JSON [default: .dev/bench/core-USERS.json]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure only this call. Repeatable.
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(CALLS.iter().map(|call| call.name)))]
    only: Vec<String>,
    /// Measure nothing; write PostgreSQL's plans of the statements to migrations/plans.
    #[arg(long, conflicts_with_all = ["json", "only"])]
    plans: bool,
    /// Delete the kept data, and load them again.
    #[arg(long)]
    reset: bool,
}

/// Measures, prints the table and writes the JSON.
pub async fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Core(core) => run_core(core).await,
        Bench::Presence(presence) => presence::run(presence).await,
    }
}

async fn run_core(core: Core) -> Result<()> {
    // Checked before the builds, which take minutes.
    let pgbench = Pgbench::find().await?;
    load::ensure_wrk().await?;
    let dataset = if core.large { dataset::LARGE } else { dataset::ORDINARY };
    let mut stage = Stage::start(core.reset).await?;
    let result = match stage.load(dataset).await {
        Ok(()) => measure_core(&core, &mut stage, pgbench, dataset).await,
        Err(error) => Err(error),
    };
    stage.stop().await?;
    result
}

async fn measure_core(core: &Core, stage: &mut Stage, pgbench: Pgbench, dataset: Dataset) -> Result<()> {
    match core.plans {
        true => plans::write(&stage.info().database_url, dataset).await,
        false => Measurement { stage, pgbench, dataset, core }.run().await,
    }
}

struct Measurement<'a> {
    stage: &'a mut Stage,
    pgbench: Pgbench,
    dataset: Dataset,
    core: &'a Core,
}

impl Measurement<'_> {
    async fn run(mut self) -> Result<()> {
        const ROUNDS: usize = 2;
        let all = Kept::all()?;
        let callers = self.callers().await?;
        let yardstick = self.stage.file("yardstick.sql");
        project::write_private(&yardstick, &limit::yardstick(&callers))?;
        let mut figures = Vec::new();
        for call in
            CALLS.iter().filter(|call| self.core.only.is_empty() || self.core.only.iter().any(|name| name == call.name))
        {
            say(&format!("{} {}", call.method, call.path));
            let script = self.stage.file(&format!("{}.sql", call.name));
            project::write_private(&script, &limit::script(call, &all, &callers)?)?;
            let requests = self.stage.file("requests.txt");
            project::write_private(&requests, &load::requests(call, &callers))?;
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let url = &self.stage.info().database_url;
                let machine = self.pgbench.rate(url, &yardstick, WARM_UP).await? / YARDSTICK_PER_S;
                let limit_per_s = self.pgbench.rate(url, &script, self.time()).await?;
                say(&format!("  pgbench {limit_per_s:.0}/s"));
                self.tidy(call).await?;
                let seen = self.answers(call, &requests).await?;
                say(&format!("  core    {:.0}/s, p99 {:.1} ms", seen.rate(), seen.p99_us as f64 / 1_000.0));
                self.tidy(call).await?;
                rounds.push(Round { machine, limit_per_s, seen });
            }
            figures.push(Figures::of(call, rounds));
        }
        let token_check =
            if self.core.only.is_empty() { Some(self.token_check(&figures, &callers).await?) } else { None };
        let report = Report {
            machine: stage::machine(),
            users: self.dataset.users,
            connections: CONNECTIONS,
            seconds: self.core.seconds,
            calls: figures,
            token_check,
        };
        let default = || self.stage.file(&format!("core-{}.json", self.dataset.users));
        let path = self.core.json.clone().unwrap_or_else(default);
        std::fs::write(&path, serde_json::to_string_pretty(&report)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        println!("\n{}", report.table());
        say(&format!("The same as JSON: {}", path.display()));
        Ok(())
    }

    fn time(&self) -> Duration {
        Duration::from_secs(self.core.seconds)
    }

    async fn tidy(&self, call: &Call) -> Result<()> {
        if call.writes { self.dataset.tidy(&self.stage.info().database_url).await } else { Ok(()) }
    }

    /// Gets the tokens of all callers.
    async fn callers(&self) -> Result<Callers> {
        const AT_ONCE: usize = 8;
        /// Longer than any run.
        const LIFE_S: i64 = 7 * 86_400;
        say(&format!("Signing in {CALLERS} users"));
        let ids = Callers::ids(self.dataset, CALLERS);
        let mint = |id: String| async move {
            let request = TokenRequest { expires_in_s: LIFE_S, ..TokenRequest::new(id) };
            token::mint(self.stage.info(), &request).await
        };
        let tokens = stream::iter(ids).map(mint).buffered(AT_ONCE).try_collect().await?;
        Ok(Callers { dataset: self.dataset, count: CALLERS, tokens })
    }

    /// Starts the core, lets it answer the requests of a file, and stops it.
    async fn answers(&mut self, call: &Call, requests: &std::path::Path) -> Result<Seen> {
        let before = self.transactions().await?;
        self.stage.start_core().await?;
        let url = &self.stage.info().core_url;
        let warm_up = load::send(url, requests, WARM_UP).await;
        let seen = load::send(url, requests, self.time()).await;
        self.stage.stop_core().await;
        let (warm_up, seen) = (warm_up?, seen?);
        let failed = seen.refused + seen.broken + warm_up.refused + warm_up.broken;
        if failed > 0 {
            let why = format!("{failed} of {} requests did not succeed", seen.requests + warm_up.requests);
            let advice = format!("read {}", self.stage.file("logs/core.log").display());
            bail!(StepFailed::new("Measuring the core", why, advice));
        }
        if call.writes {
            // The transactions cannot be compared, because an unknown number of them is the relay's.
            say(&format!("  {} changes waited for the relay at the end", self.waiting().await?));
            return Ok(seen);
        }
        // The core's connections are closed, so PostgreSQL has counted all their transactions.
        let ran = (self.transactions().await? - before) as f64 / (seen.requests + warm_up.requests) as f64;
        let listed = transactions(call.sql) as f64;
        if (ran / listed - 1.0).abs() > 0.1 {
            let why = format!("the core ran {ran:.2} transactions a request, and the list names {listed}");
            let advice = "list what the core asks of the database in xtask/src/bench/calls.rs, or else the limit is \
                          that of something else";
            bail!(StepFailed::new("Comparing the core with its limit", why, advice));
        }
        Ok(seen)
    }

    /// The number of transactions that were ever committed in the database.
    async fn transactions(&self) -> Result<i64> {
        let mut connection = PgConnection::connect(&self.stage.info().database_url).await?;
        let count = sqlx::query_scalar("select xact_commit from pg_stat_database where datname = current_database()");
        let count = count.fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(count)
    }

    /// The number of events that wait in the outbox.
    async fn waiting(&self) -> Result<i64> {
        let mut connection = PgConnection::connect(&self.stage.info().database_url).await?;
        let count = sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(count)
    }

    /// Measures the cost of checking a token. It compares two kinds of requests that the core refuses without SQL: one kind
    /// before the check, the other right after it.
    async fn token_check(&mut self, figures: &[Figures], callers: &Callers) -> Result<TokenCheck> {
        say("The check of a token");
        // This user id is too long. The core finds that out after it has checked the token.
        let path = format!("/users/id/{}", "x".repeat(200));
        let lines = |token: &dyn Fn(&str) -> String| {
            let lines: Vec<String> =
                callers.tokens.iter().map(|of| format!("GET\t{path}\t{}\t\n", token(of))).collect();
            lines.concat()
        };
        let mut rates = [0.0, 0.0];
        let files = [lines(&|token| token.to_owned()), lines(&|_| "none".to_owned())];
        self.stage.start_core().await?;
        for (rate, text) in rates.iter_mut().zip(files) {
            let requests = self.stage.file("requests.txt");
            project::write_private(&requests, &text)?;
            load::send(&self.stage.info().core_url, &requests, WARM_UP).await?;
            let seen = load::send(&self.stage.info().core_url, &requests, self.time()).await?;
            anyhow::ensure!(seen.refused == seen.requests, "an answer was no refusal");
            say(&format!("  core    {:.0}/s", seen.rate()));
            *rate = seen.rate();
        }
        self.stage.stop_core().await;
        let [checked_per_s, unchecked_per_s] = rates;
        let check_s = 1.0 / checked_per_s - 1.0 / unchecked_per_s;
        let me = figures.iter().find(|figures| figures.name == "me");
        let share_of_request = me.map(|me| check_s * me.requests_per_s);
        Ok(TokenCheck { checked_per_s, unchecked_per_s, check_us: check_s * 1e6, share_of_request })
    }
}

/// The number of transactions of these statements. A statement outside a transaction counts as one.
fn transactions(sql: &[Sql]) -> usize {
    let (mut count, mut inside) = (0, false);
    for part in sql {
        match part {
            Sql::Begin => inside = true,
            Sql::Commit => {
                inside = false;
                count += 1;
            }
            Sql::DrawShare => {}
            Sql::Query(_) => count += usize::from(!inside),
        }
    }
    count
}
