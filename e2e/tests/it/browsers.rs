//! The client in real browsers, against a stack of its own. The stories are in client/e2e.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use devstack::{
    project,
    stack::{Edge, Ports, Stack, StackOptions},
    test_run::S3_SERVER,
    tools,
};
use e2e::Site;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// Carries out what a story asks for on its control connection.
async fn obey(stack: &mut Stack, mut story: TcpStream) -> Result<()> {
    let (read, mut write) = story.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        match line.as_str() {
            "restart edge" => {
                stack.kill_worker().await;
                stack.start_worker().await?;
            }
            other => anyhow::bail!("a story asks for {other:?}"),
        }
        write.write_all(b"done\n").await?;
    }
    Ok(())
}

/// Runs one file of stories on a stack of its own.
async fn run(file: &str) -> Result<()> {
    Site::of_tests()?;
    let dir = tempfile::tempdir()?;
    let options = StackOptions {
        // The stories need the page, which workerd alone does not serve.
        edge: Edge::Wrangler { rebuild: None },
        ports: Ports { images: Some(0), ..Ports::default() },
        ..StackOptions::for_test(dir.path())
    };
    let mut stack = Stack::start(options.var("PRESENCE_GRACE_MS", 2_000).var("PRESENCE_TIMEOUT_MS", 60_000)).await?;
    let store = std::env::var_os(S3_SERVER).context("`cargo xtask test` names the image store")?;
    stack.start_image_store(Path::new(&store))?;
    let control = TcpListener::bind("127.0.0.1:0").await?;
    let mut node = project::command(tools::node().await?);
    node.args(["--test", "--test-reporter=spec", "--test-timeout=240000"]).arg(Path::new("client/e2e").join(file));
    node.current_dir(project::root()).stdin(Stdio::null()).kill_on_drop(true);
    node.env("PAGENOW_ORIGIN", &stack.info().edge_url).env("PAGENOW_CLIENT", stack.client());
    let issuer = &stack.info().issuer;
    node.env("PAGENOW_ISSUER", &issuer.issuer).env("PAGENOW_CLIENT_ID", &issuer.audience);
    node.env("PAGENOW_PICTURES", project::target_dir().join("pictures"));
    node.env("PAGENOW_CONTROL", control.local_addr()?.port().to_string());
    let mut story = node.spawn().context("cannot start Node.js")?;
    let status = loop {
        tokio::select! {
            status = story.wait() => break status?,
            accepted = control.accept() => obey(&mut stack, accepted?.0).await?,
        }
    };
    ensure!(status.success(), "the stories of {file} ended with {status}");
    stack.stop().await
}

#[tokio::test]
async fn two_people_meet_with_the_extension() -> Result<()> {
    run("extension.test.mjs").await
}

#[tokio::test]
async fn the_browsers_own_question_is_answered_with_no_and_with_yes() -> Result<()> {
    run("prompt.test.mjs").await
}

#[tokio::test]
async fn every_screen_is_accessible_in_both_languages_and_themes() -> Result<()> {
    run("screens.test.mjs").await
}

#[tokio::test]
async fn the_web_page_and_bad_days() -> Result<()> {
    run("web.test.mjs").await
}

#[tokio::test]
async fn the_extension_in_firefox() -> Result<()> {
    run("firefox.test.mjs").await
}
