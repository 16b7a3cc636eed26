//! A panic in the worker. Users notice nothing of it, except in the call in which it happened.

use anyhow::Result;
use devstack::{
    http,
    ports::Port,
    project,
    secrets::Secrets,
    stack::StackInfo,
    test_run,
    workerd::{self, Worker},
};
use e2e::Site;

#[tokio::test]
async fn after_a_panic_the_worker_starts_again_and_objects_go_on_from_storage() -> Result<()> {
    // Our worker in a workerd of its own. Its core is the one that all tests share.
    let shared_site = Site::of_tests()?;
    let secrets = Secrets::load_or_make(&test_run::test_dir().join("stack/secrets.json"))?;
    let dir = tempfile::tempdir()?;
    let mut worker = Worker::ours(&project::root().join("edge-worker"));
    worker.modules.insert(0, ("crash.mjs", project::root().join("e2e/tests/it/crash.mjs")));
    worker.write(dir.path())?;
    let port = Port::choose("the worker", 0, "")?;
    let StackInfo { core_url, issuer, .. } = &shared_site.info;
    let variables = [
        ("CORE_URL", core_url.as_str()),
        ("OIDC_ISSUER", &issuer.issuer),
        ("OIDC_JWKS_URL", &issuer.jwks_url),
        ("OIDC_AUDIENCE", &issuer.audience),
        ("EVENT_SIGNING_SECRETS", &secrets.event_signing_secret),
        ("SERVICE_TOKEN_SECRET", &secrets.service_token_secret),
    ];
    let log = dir.path().join("edge.log");
    let child = workerd::start("the worker", dir.path(), &dir.path().join("objects"), &port, &variables, log).await?;
    let site = Site::of(StackInfo { edge_url: port.url(), ..shared_site.info.clone() })?;
    let instance = async || {
        let answer = http::client()?.get(format!("{}/instance", port.url())).send().await?;
        anyhow::Ok(answer.json::<u32>().await?)
    };

    let ((_alice, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    alice_live.visit("https://example.com/before", "Before")?;
    assert_eq!(bob_live.update().await?.title, "Before");
    let before = instance().await?;

    http::client()?.get(format!("{}/crash", port.url())).send().await?.error_for_status()?;
    // The runtime holds the sockets, so they stay open.
    alice_live.visit("https://example.com/after", "After")?;
    assert_eq!(bob_live.update().await?.title, "After");
    assert_ne!(instance().await?, before, "it went on with the broken one");
    assert_eq!(bob.presence().await?.presence_arr.len(), 1);

    child.kill().await;
    Ok(())
}
