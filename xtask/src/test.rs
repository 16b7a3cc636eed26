//! `cargo xtask test`: runs all tests, with one PostgreSQL and one shared stack for all of them.

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use devstack::{
    build::{self, Profile},
    child::{Child, Output},
    project,
    stack::{Database, Edge, Stack, StackOptions},
    step::{self, OrStepFailed as _, Step},
    test_run::{GRACE, S3_SERVER, SCHEMATHESIS, STACK, TIMEOUT, TestDatabase, test_dir},
    tools,
};
use rustix::process::Signal;
use tokio::process::Command;

use crate::dev::Wishes;

/// Runs the tests. `args` go to nextest. Returns nextest's exit code, or `None` if a signal ended the run.
pub async fn run(args: &[String]) -> Result<Option<i32>> {
    let mut wishes = Wishes::listen(false)?;
    let prepared = tokio::select! {
        prepared = prepare(args.is_empty()) => prepared?,
        () = wishes.next() => return Ok(None),
    };
    let Prepared { nextest, s3_server, schemathesis, database, stack } = prepared;
    let stack_file = test_dir().join("stack.json");
    project::write_private(&stack_file, &serde_json::to_string_pretty(stack.info())?)?;
    let mut cargo = project::command(nextest);
    cargo.args(["nextest", "run", "--workspace"]).args(of_the_workspace(args)).env("SQLX_OFFLINE", "true");
    cargo.env("DATABASE_URL", database.url()).env(STACK, &stack_file).env(S3_SERVER, s3_server);
    cargo.env(SCHEMATHESIS, schemathesis).env(build::BUILT, "1");
    let code = run_tests(cargo, &mut wishes).await;
    project::remove(&stack_file)?;
    stack.stop().await?;
    database.stop().await;
    code
}

struct Prepared {
    nextest: PathBuf,
    s3_server: PathBuf,
    schemathesis: PathBuf,
    database: TestDatabase,
    stack: Stack,
}

async fn prepare(doc_tests: bool) -> Result<Prepared> {
    tools::ensure_npm_packages().await?;
    let nextest = nextest().await?;
    let s3_server = tools::s3_server().ensure().await?;
    let schemathesis = tools::schemathesis().await?;
    let database = TestDatabase::start().await?;
    build_all().await?;
    // Arguments select tests of nextest, so these others run only without arguments.
    if doc_tests {
        run_doc_tests().await?;
        run_script_tests().await?;
        run_client_tests().await?;
    }
    let dir = test_dir().join("stack");
    project::remove(&dir)?;
    // The worker runs in wrangler, because the tests of rate limits need its rate limiters.
    let options = StackOptions {
        edge: Edge::Wrangler { rebuild: None },
        ..StackOptions::new(dir, Database::NewIn(database.url().to_owned()))
    }
    .var("PRESENCE_TIMEOUT_MS", TIMEOUT.as_millis())
    .var("PRESENCE_GRACE_MS", GRACE.as_millis())
    .var("COUNT_WORK", true);
    let stack = Stack::start_built(options).await?;
    Ok(Prepared { nextest, s3_server, schemathesis, database, stack })
}

async fn run_tests(cargo: Command, wishes: &mut Wishes) -> Result<Option<i32>> {
    let mut runner = Child::start("the tests", cargo, Output::Shown)?;
    let status = tokio::select! {
        status = runner.wait() => Some(status?),
        () = wishes.next() => None,
    };
    if status.is_none() {
        // If nextest were killed, it would leave the tests running, because each has its own process group.
        runner.end(Signal::TERM, Duration::from_secs(30)).await;
    }
    Ok(status.map(|status| status.code().unwrap_or(1)))
}

/// The arguments with a filter in place of `--package`. If cargo itself selected packages, it would compile them and all their
/// dependencies again, with other features than for the whole workspace.
fn of_the_workspace(args: &[String]) -> Vec<String> {
    let (mut packages, mut filters, mut others) = (Vec::new(), Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let joined = arg.split_once('=').filter(|_| arg.starts_with("--"));
        let (name, value) = joined.map_or((arg.as_str(), None), |(name, value)| (name, Some(value.to_owned())));
        let values = match name {
            "-p" | "--package" => &mut packages,
            "-E" | "--filterset" | "--filter-expr" => &mut filters,
            "--" => {
                others.push(arg.clone());
                others.extend(args.by_ref().cloned());
                break;
            }
            _ => {
                others.push(arg.clone());
                continue;
            }
        };
        values.extend(value.or_else(|| args.next().cloned()));
    }
    let packages = packages.iter().map(|package| format!("package({package})")).collect::<Vec<_>>().join(" + ");
    let filters = filters.iter().map(|filter| format!("({filter})")).collect::<Vec<_>>().join(" + ");
    let filter = match (packages.is_empty(), filters.is_empty()) {
        (true, true) => return others,
        (true, false) => filters,
        (false, true) => packages,
        (false, false) => format!("({packages}) & ({filters})"),
    };
    [vec!["-E".to_owned(), filter], others].concat()
}

/// Examples in the documentation, which nextest does not run.
async fn run_doc_tests() -> Result<()> {
    let mut cargo = project::cargo();
    cargo.args(["test", "--workspace", "--doc", "--quiet"]);
    let step = Step {
        name: "doc-tests",
        about: "Running the examples in the documentation",
        advice: "`cargo test --workspace --doc` repeats them",
    };
    step.run(cargo).await
}

/// The tests of JavaScript code: the worker's and development's.
const SCRIPT_TESTS: [&str; 2] = ["*/tests/*.test.mjs", "dev/*.test.mjs"];

async fn run_script_tests() -> Result<()> {
    let mut node = project::command(tools::node().await?);
    node.args(["--test", "--test-timeout=30000"]).args(SCRIPT_TESTS);
    node.current_dir(project::root());
    let step = Step {
        name: "script-tests",
        about: "Running the tests of what is JavaScript",
        advice: "`node --test '*/tests/*.test.mjs' 'dev/*.test.mjs'` repeats them",
    };
    step.run(node).await
}

/// The client's types and unit tests.
async fn run_client_tests() -> Result<()> {
    for (script, about) in [("typecheck", "Checking the client's types"), ("test", "Running the tests of the client")] {
        let mut npm = project::command("npm");
        npm.args(["run", script, "--workspace", "client"]);
        let advice = format!("`npm run {script} --workspace client` repeats them");
        Step { name: "client-tests", about, advice: &advice }.run(npm).await?;
    }
    Ok(())
}

/// The nextest on the PATH, or else an own installation.
async fn nextest() -> Result<PathBuf> {
    let mut version = project::command("cargo-nextest");
    version.args(["nextest", "--version"]);
    if step::read(version).await.is_ok() {
        return Ok("cargo-nextest".into());
    }
    tools::nextest().ensure().await
}

/// Builds everything that the tests need, as nextest will ask for it. If the parts were built one by one, many crates would be
/// compiled twice.
async fn build_all() -> Result<()> {
    build::edge(Profile::Release).await?;
    let mut cargo = project::cargo();
    cargo.args(["build", "--workspace", "--bins", "--tests"]);
    let step = Step {
        name: "build-tests",
        about: "Building the tests (minutes the first time)",
        advice: "read the compiler's words above; `cargo build --workspace --bins --tests` repeats them",
    };
    step.run(cargo).await.or_step_failed("Building the tests", "correct what the compiler names")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str], expected: &[&str]) {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        assert_eq!(of_the_workspace(&args), expected);
    }

    #[test]
    fn packages_become_a_filter_and_the_rest_stays() {
        check(&[], &[]);
        check(&["privacy", "--no-capture"], &["privacy", "--no-capture"]);
        check(&["-p", "e2e", "privacy"], &["-E", "package(e2e)", "privacy"]);
        check(&["--package=e2e", "-p", "presence"], &["-E", "package(e2e) + package(presence)"]);
        check(&["-E", "test(a)", "--filterset=test(b)"], &["-E", "(test(a)) + (test(b))"]);
        check(&["-p", "e2e", "-E", "not test(/^a/)"], &["-E", "(package(e2e)) & ((not test(/^a/)))"]);
        check(&["--", "-p", "as-it-is"], &["--", "-p", "as-it-is"]);
    }
}
