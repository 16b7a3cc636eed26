//! The limit of the core's rate: how fast pgbench runs the same statements on the same database.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use devstack::{
    project,
    step::{self, OrStepFailed as _, StepFailed},
};
use serde::Deserialize;
use shared::limits::{SEARCH_CANDIDATES_MAX, SEARCH_ENTRIES_MAX, SEARCH_REQUESTS_MAX};

use crate::bench::{
    CONNECTIONS,
    calls::{Call, NAMES, Query, Sql},
    dataset::{FIRST, GAP, PRIME, STRIDE},
    load::Callers,
};

/// A query in `.sqlx`, where the compiler has put it.
#[derive(Debug, Clone, Deserialize)]
pub struct Kept {
    /// Its text, with `$1`, `$2`, … for parameters.
    pub query: String,
    describe: Describe,
}

#[derive(Debug, Clone, Deserialize)]
struct Describe {
    parameters: Parameters,
}

#[derive(Debug, Clone, Deserialize)]
struct Parameters {
    #[serde(rename = "Left")]
    types: Vec<String>,
}

impl Kept {
    /// All queries of the core.
    pub fn all() -> Result<Vec<Self>> {
        let read = || {
            let mut all = Vec::new();
            for entry in fs::read_dir(project::root().join(".sqlx"))? {
                let path = entry?.path();
                let text = fs::read_to_string(&path)?;
                all.push(serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?);
            }
            anyhow::Ok(all)
        };
        read().or_step_failed("Reading the core's queries", "`cargo xtask queries` writes .sqlx anew")
    }

    /// The query that this names.
    pub fn find<'a>(all: &'a [Self], query: &Query) -> Result<&'a Self> {
        let mut found = all.iter().filter(|kept| query.holds.iter().all(|part| kept.query.contains(part)));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (none_or_one, _) => {
                let how = if none_or_one.is_none() { "no query holds" } else { "more than one query holds" };
                let why = format!("{how} {:?}", query.holds);
                let advice = "correct the list of calls in xtask/src/bench/calls.rs; are the core's queries in .sqlx?";
                bail!(StepFailed::new("Looking for a query of the core", why, advice))
            }
        }
    }

    /// The values as arguments of a prepared statement, each cast to its parameter's type.
    pub fn arguments(&self, values: &[String]) -> Result<String> {
        let typed = values.iter().zip(&self.describe.parameters.types);
        let typed: Vec<String> =
            typed.map(|(value, kind)| Ok(format!("{value}::{}", sql_type(kind)?))).collect::<Result<_>>()?;
        Ok(typed.join(", "))
    }

    /// The query's text with values in place of parameters, each cast to its parameter's type.
    pub fn with(&self, values: &[String]) -> Result<String> {
        let types = &self.describe.parameters.types;
        anyhow::ensure!(types.len() == values.len(), "{} values for {} parameters", values.len(), types.len());
        let mut text = self.query.clone();
        // The last parameter is replaced first, because `$10` begins with `$1`.
        for (index, (value, kind)) in values.iter().zip(types).enumerate().rev() {
            text = text.replace(&format!("${}", index + 1), &format!("{value}::{}", sql_type(kind)?));
        }
        Ok(text)
    }
}

/// PostgreSQL's name of a type in `.sqlx`.
fn sql_type(kind: &str) -> Result<String> {
    if let Some(element) = kind.strip_suffix("Array") {
        return Ok(format!("{}[]", sql_type(element)?));
    }
    let name = match kind {
        "Bool" => "boolean",
        "Float8" => "float8",
        "Int4" => "integer",
        "Int8" => "bigint",
        "Jsonb" => "jsonb",
        "Text" => "text",
        "Timestamptz" => "timestamptz",
        "Uuid" => "uuid",
        other => bail!("{other} is missing in the list of types"),
    };
    Ok(name.to_owned())
}

/// The path of pgbench.
#[derive(Debug)]
pub struct Pgbench(PathBuf);

impl Pgbench {
    /// Looks for pgbench on the PATH, and in the folder where Debian keeps the programs of PostgreSQL.
    pub async fn find() -> Result<Self> {
        let servers = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let mut kept: Vec<PathBuf> = servers.map(|server| server.path().join("bin/pgbench")).collect();
        kept.sort();
        kept.insert(0, "pgbench".into());
        for program in kept {
            let mut version = project::command(&program);
            version.arg("--version");
            if step::read(version).await.is_ok() {
                return Ok(Self(program));
            }
        }
        let why = "it is neither on the PATH nor below /usr/lib/postgresql";
        let advice = "install PostgreSQL 15 or newer, which brings it: `apt-get install postgresql` on Debian, `brew \
                      install postgresql` on macOS. No server of it need run";
        Err(StepFailed::new("Looking for pgbench", why, advice).into())
    }

    /// Runs the script for that long, with prepared statements. Returns its transactions per second.
    pub async fn rate(&self, url: &str, script: &Path, time: Duration) -> Result<f64> {
        let url = url::Url::parse(url)?;
        let mut pgbench = project::command(&self.0);
        pgbench.args(["--no-vacuum", "--protocol=prepared", "--jobs=2", "--random-seed=1"]);
        pgbench.arg(format!("--client={CONNECTIONS}")).arg(format!("--time={}", time.as_secs().max(1)));
        pgbench.arg("--file").arg(script);
        pgbench.arg(format!("--host={}", url.host_str().unwrap_or_default()));
        pgbench.arg(format!("--port={}", url.port().unwrap_or(5_432)));
        pgbench.arg(format!("--username={}", url.username())).arg(url.path().trim_start_matches('/'));
        pgbench.env("PGPASSWORD", url.password().unwrap_or_default()).env("PGCONNECT_TIMEOUT", "10");
        let told = step::read(pgbench).await;
        let advice = format!("the statements are in {}", script.display());
        told.and_then(|told| parse(&told)).or_step_failed("Measuring the limit with pgbench", &advice)
    }
}

fn parse(told: &str) -> Result<f64> {
    let number = |start: &str| told.lines().find_map(|line| line.strip_prefix(start)?.split_whitespace().next());
    if let Some(failed) = number("number of failed transactions: ").filter(|failed| *failed != "0") {
        bail!("{failed} transactions failed");
    }
    number("tps = ").and_then(|rate| rate.parse().ok()).context("pgbench told no rate")
}

/// The script for pgbench that measures the machine: it reads one user by id, as the predecessor's `GET /users/me` does.
pub fn yardstick(callers: &Callers) -> String {
    let mut lines = variables(callers);
    lines.push("select * from users where user_id = :me::text;".to_owned());
    lines.join("\n") + "\n"
}

/// Transactions per second of [`yardstick`] on the two processor cores where the predecessor was measured.
pub const YARDSTICK_PER_S: f64 = 28_000.0;

/// pgbench's variables for the statements: the caller, another user, the place of a name, and bounds.
fn variables(callers: &Callers) -> Vec<String> {
    let id = |n: &str| format!("{FIRST} + :{n} * {STRIDE} % {PRIME} * {GAP}");
    vec![
        format!("\\set caller 1 + random(0, {}) * {}", callers.count - 1, callers.step()),
        format!("\\set me {}", id("caller")),
        format!("\\set any random(1, {})", callers.dataset.users),
        format!("\\set other {}", id("any")),
        format!("\\set place random(1, {})", NAMES.len()),
        "\\set default 15".to_owned(),
        "\\set many 100".to_owned(),
        format!("\\set candidates {SEARCH_CANDIDATES_MAX}"),
        format!("\\set entries {SEARCH_ENTRIES_MAX}"),
        format!("\\set requests {SEARCH_REQUESTS_MAX}"),
        "\\set none 0".to_owned(),
    ]
}

/// The statements of a call as a script for pgbench.
pub fn script(call: &Call, all: &[Kept], callers: &Callers) -> Result<String> {
    let mut lines = variables(callers);
    // Variables of pgbench are numbers.
    let name = format!("((array['{}'])[:place])", NAMES.join("','"));
    for part in call.sql {
        lines.push(match part {
            Sql::Begin => "begin;".to_owned(),
            Sql::Commit => "commit;".to_owned(),
            Sql::DrawShare => "select uuidv7() as event_id, uuidv7(interval '-1 hour') as hour_ago, \
                               clock_timestamp() as sent_at \\gset"
                .to_owned(),
            Sql::Query(query) => {
                let values: Vec<_> = query.values.iter().map(|value| value.replace(":name", &name)).collect();
                format!("{};", Kept::find(all, query)?.with(&values)?)
            }
        });
    }
    Ok(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::calls::CALLS;

    #[test]
    fn parameters_become_values_of_their_types() {
        let kept = r#"{"query": "select $1, $10, $2", "describe": {"parameters": {"Left": ["Text", "Int8", "Int8",
            "Int8", "Int8", "Int8", "Int8", "Int8", "Int8", "UuidArray"]}}}"#;
        let kept: Kept = serde_json::from_str(kept).unwrap();
        let values: Vec<String> = (1..=10).map(|n| format!(":v{n}")).collect();
        assert_eq!(kept.with(&values).unwrap(), "select :v1::text, :v10::uuid[], :v2::bigint");
        assert!(kept.with(&values[1..]).is_err());
    }

    #[test]
    fn every_statement_of_the_calls_is_one_of_the_core() {
        let all = Kept::all().unwrap();
        for call in CALLS {
            for part in call.sql {
                if let Sql::Query(query) = part {
                    let kept = Kept::find(&all, query).unwrap();
                    let values: Vec<String> = query.values.iter().map(|value| (*value).to_owned()).collect();
                    kept.with(&values).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_rate_is_read_and_failures_are_not_passed_over() {
        let told = "number of failed transactions: 0 (0.000%)\ntps = 12345.678 (without initial connection time)";
        assert_eq!(parse(told).unwrap(), 12_345.678);
        assert!(parse(&told.replace(": 0 ", ": 7 ")).is_err());
        assert!(parse("pgbench (PostgreSQL) 18").is_err());
    }
}
