//! `cargo xtask smoke` as an operator runs it.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::{Command, Output};

use anyhow::Result;
use e2e::Site;
use serde_json::Value;

fn smoke(site: &Site, edge_url: &str, args: &[&str]) -> Result<Output> {
    let issuer = &site.info.issuer;
    let mut smoke = Command::new(env!("CARGO_BIN_EXE_xtask"));
    smoke.args(["smoke", "--edge-url", edge_url, "--issuer", &issuer.issuer, "--client-id", &issuer.audience]);
    Ok(smoke.args(args).output()?)
}

#[tokio::test]
async fn two_friends_meet_at_a_deployment_and_leave_nothing_behind() -> Result<()> {
    let site = Site::of_tests()?;
    let done = smoke(&site, &site.info.edge_url, &["--json"])?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let report: Value = serde_json::from_slice(&done.stdout)?;
    assert_eq!(report["ok"], true);
    let steps = report["steps"].as_array().unwrap();
    assert!(steps.len() >= 13 && steps.iter().all(|step| step["ms"].is_u64() && step["error"].is_null()), "{report}");
    assert_eq!(steps.last().unwrap()["name"], "what was there before is put back");
    Ok(())
}

#[tokio::test]
async fn the_step_that_fails_is_named() -> Result<()> {
    let site = Site::of_tests()?;
    let failed = smoke(&site, "http://127.0.0.1:9", &["--json"])?;
    assert_eq!(failed.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&failed.stdout)?;
    assert_eq!(report["ok"], false);
    assert_eq!(report["steps"].as_array().unwrap().len(), 1);
    assert!(report["steps"][0]["name"].as_str().unwrap().starts_with("the edge is up"), "{report}");
    assert!(!report["steps"][0]["error"].as_str().unwrap().is_empty());

    // The core answers in the edge's place: it has no live channel, and its /internal asks for a token.
    let failed = smoke(&site, &site.info.core_url, &[])?;
    assert_eq!(failed.status.code(), Some(1));
    let said = String::from_utf8(failed.stderr)?;
    assert!(said.contains("FAILED") && said.contains("nobody gets in without a token"), "{said}");
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
