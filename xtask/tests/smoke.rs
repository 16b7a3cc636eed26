//! `cargo xtask smoke` as an operator runs it.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};
use devstack::stack::{Stack, StackOptions};
use e2e::{Person, Site};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{share_policy::ShareMode, wire::ClientMessage};
use tokio::io::{AsyncBufReadExt as _, BufReader};

fn smoke(site: &Site, edge_url: &str, args: &[&str]) -> Result<Output> {
    let issuer = &site.info.issuer;
    let mut smoke = Command::new(env!("CARGO_BIN_EXE_xtask"));
    smoke.args(["smoke", "--edge-url", edge_url, "--issuer", &issuer.issuer, "--client-id", &issuer.audience]);
    Ok(smoke.args(args).output()?)
}

fn report(done: &Output) -> Result<Value> {
    serde_json::from_slice(&done.stdout).with_context(|| String::from_utf8_lossy(&done.stderr).into_owned())
}

/// The one step that failed, if any, which was the last of the story.
fn failure(report: &Value) -> Option<&str> {
    let failed = report["steps"].as_array().unwrap().iter().find(|step| !step["error"].is_null())?;
    failed["name"].as_str()
}

/// With the tokens of these two.
fn smoke_of(site: &Site, anna: &Person, ben: &Person) -> tokio::process::Command {
    let mut smoke = tokio::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
    smoke.args(["smoke", "--edge-url", &site.info.edge_url]);
    smoke.env("SMOKE_TOKEN_A", &anna.token).env("SMOKE_TOKEN_B", &ben.token);
    smoke
}

async fn has_account(person: &Person) -> Result<bool> {
    Ok(person.request(Method::GET, "/users/me").send().await?.status() == StatusCode::OK)
}

#[tokio::test]
async fn two_friends_meet_at_a_deployment() -> Result<()> {
    let site = Site::of_tests()?;
    let done = smoke(&site, &site.info.edge_url, &["--json", "--origin", "http://localhost:3000"])?;
    let report = report(&done)?;
    assert!(done.status.success(), "{report}");
    assert_eq!(report["ok"], true);
    let steps = report["steps"].as_array().unwrap();
    assert!(steps.len() >= 16 && steps.iter().all(|step| step["ms"].is_u64() && step["error"].is_null()), "{report}");
    assert_eq!(steps.last().unwrap()["name"], "what was there before is put back");

    let elsewhere = smoke(&site, &site.info.edge_url, &["--json", "--origin", "https://elsewhere.example"])?;
    assert_eq!(elsewhere.status.code(), Some(1));
    assert_eq!(failure(&self::report(&elsewhere)?), Some("pages of the web origin may call"));
    Ok(())
}

#[tokio::test]
async fn accounts_that_it_made_are_deleted_and_others_are_as_they_were() -> Result<()> {
    let site = Site::of_tests()?;
    let (anna, ben) = (site.newcomer("Anna").await?, site.newcomer("Ben").await?);
    let done = smoke_of(&site, &anna, &ben).output().await?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(!has_account(&anna).await? && !has_account(&ben).await?);

    // Friends already, and invisible; pages of other sites than those of the story are shown.
    let (anna, ben) = (site.person("Anna").await?, site.person("Ben").await?);
    anna.befriend(&ben).await?;
    anna.share(ShareMode::DefaultAll, &["example.net"], &["example.com"]).await?;
    for person in [&anna, &ben] {
        let mut live = person.connect().await?;
        live.say(&ClientMessage::SetVisibility { invisible: true })?;
        live.say(&ClientMessage::Goodbye)?;
        live.closed().await?;
    }
    let before = anna.call(Method::GET, "/users/me", None).await?;
    let done = smoke_of(&site, &anna, &ben).output().await?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(anna.call(Method::GET, "/users/me", None).await?, before);
    let friends = anna.call(Method::GET, "/friendship/all", None).await?;
    assert_eq!(friends[0]["user_id"], json!(ben.id));
    for person in [&anna, &ben] {
        let (_live, snapshot) = person.connect_with_snapshot().await?;
        assert_eq!(snapshot.user_presence.page, None, "invisible no longer");
    }
    Ok(())
}

#[tokio::test]
async fn what_it_made_is_deleted_however_it_ends() -> Result<()> {
    let site = Site::of_tests()?;
    let (anna, ben) = (site.newcomer("Anna").await?, site.newcomer("Ben").await?);
    let nobody = Person { token: "nobody's".to_owned(), ..ben.clone() };
    let done = smoke_of(&site, &anna, &nobody).arg("--json").output().await?;
    assert_eq!(done.status.code(), Some(1));
    assert_eq!(failure(&report(&done)?), Some("both are registered"));
    assert!(!has_account(&anna).await?);

    let mut interrupted = smoke_of(&site, &anna, &ben).stderr(Stdio::piped()).spawn()?;
    let mut said = BufReader::new(interrupted.stderr.take().unwrap()).lines();
    while let Some(line) = said.next_line().await? {
        if line.contains("they are friends") {
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(i32::try_from(interrupted.id().unwrap())?).unwrap(),
                rustix::process::Signal::INT,
            )?;
        }
    }
    assert_eq!(interrupted.wait().await?.code(), Some(130));
    assert!(!has_account(&anna).await? && !has_account(&ben).await?);
    Ok(())
}

#[tokio::test]
async fn the_step_that_fails_is_named() -> Result<()> {
    let site = Site::of_tests()?;
    let failed = smoke(&site, "http://127.0.0.1:9", &["--json"])?;
    assert_eq!(failed.status.code(), Some(1));
    let unreachable = report(&failed)?;
    assert_eq!(unreachable["ok"], false);
    assert!(failure(&unreachable).unwrap().starts_with("the edge is up"), "{unreachable}");

    // The core answers in the edge's place: it has no live channel, and its /internal asks for a token.
    let failed = smoke(&site, &site.info.core_url, &[])?;
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr)?;
    assert!(said.contains("FAILED") && said.contains("the edge is up"), "{said}");

    // The edge answers, and the core behind it is away.
    let dir = tempfile::tempdir()?;
    let mut stack = Stack::start(StackOptions::for_test(dir.path())).await?;
    stack.stop_core().await;
    let failed = smoke(&site, &stack.info().edge_url, &["--json"])?;
    stack.stop().await?;
    assert_eq!(failed.status.code(), Some(1));
    let away = report(&failed)?;
    assert_eq!(failure(&away), Some("the core answers behind it"), "{away}");
    Ok(())
}

#[tokio::test]
async fn tokens_go_over_plain_http_to_other_machines_only_when_told_so() -> Result<()> {
    let site = Site::of_tests()?;
    let refused = smoke(&site, "http://api.example.org", &[])?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8(refused.stderr)?.contains("--insecure"));
    Ok(())
}
