//! Parts of the system sleep, stop, crash and come back. The tests check what works meanwhile, and what is right afterwards.
//!
//! Each test has a stack of its own.

use std::{collections::BTreeMap, fs};

use anyhow::{Result, ensure};
use devstack::{
    secrets::Secrets,
    stack::{Stack, StackOptions},
};
use e2e::{Live, PATIENCE, Person, Site, TokenIn, live_request};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use shared::wire::{CloseCode, HEARTBEAT_REQUEST, ServerMessage};
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::{
    sync::watch,
    time::{Duration, Instant, sleep, timeout},
};
use tokio_tungstenite::tungstenite::Error;

/// A stack for one test. Clients have time to come back after a part restarts, before they count as gone.
struct OwnStack {
    stack: Stack,
    site: Site,
    _dir: TempDir,
}

impl OwnStack {
    async fn start() -> Result<Self> {
        Self::start_with_timeout(30_000).await
    }

    /// Starts a stack in which a client that says nothing for this many milliseconds is gone.
    async fn start_with_timeout(timeout_ms: u32) -> Result<Self> {
        Self::start_with(|options| options.var("PRESENCE_TIMEOUT_MS", timeout_ms).var("COUNT_WORK", true)).await
    }

    async fn start_with(vars: impl FnOnce(StackOptions) -> StackOptions) -> Result<Self> {
        // Without the shared stack, this fails with a sentence that says how to run the tests.
        Site::of_tests()?;
        let dir = tempfile::tempdir()?;
        let options =
            StackOptions::for_test(dir.path()).var("PRESENCE_GRACE_MS", 3_000).var("OUTBOX_RETRY_MS_MAX", 1_000);
        let options = vars(options);
        let stack = Stack::start(options).await?;
        let site = Site::of(stack.info().clone())?;
        Ok(Self { stack, site, _dir: dir })
    }

    /// A call directly to the core, for when the edge is down.
    async fn core_call(&self, person: &Person, path: &str, body: Value) -> Result<()> {
        let answer = self.site.core_request(Method::POST, path).bearer_auth(&person.token).json(&body).send().await?;
        ensure!(answer.status().is_success(), "{path} was answered {}", answer.status());
        Ok(())
    }

    /// Makes two people friends while the edge is down, so that the events about it have to wait.
    async fn befriend_behind_the_edge(&self, one: &Person, other: &Person) -> Result<()> {
        self.core_call(one, "/friendship/requests", json!({ "user_id2": other.id })).await?;
        self.core_call(other, "/friendship/accept", json!({ "user_id1": one.id })).await
    }
}

async fn is_unavailable(answer: Response) -> Result<()> {
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers()[header::RETRY_AFTER].to_str()?.parse::<u32>()? > 0);
    assert!(!answer.headers()["x-request-id"].is_empty());
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = answer.json().await?;
    assert_eq!(problem["status"], 503);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_crashed_comes_back_with_friends_settings_and_presence() -> Result<()> {
    let mut own = OwnStack::start().await?;
    let ((alice, mut alice_live), (bob, mut bob_live)) = own.site.friends_online().await?;
    let carol = own.site.person("Carol").await?;
    alice.befriend(&carol).await?;
    let carol_live = carol.connect().await?;
    assert_eq!(alice_live.update().await?.user_id, carol.id);
    alice_live.visit("https://example.com/before", "Before")?;
    let before = bob_live.update().await?;

    own.stack.kill_worker().await;
    alice_live.closed().await?;
    bob_live.closed().await?;
    drop(carol_live);
    // The core is not there either to say who is friends with whom.
    own.stack.stop_core().await;
    own.stack.start_worker().await?;

    let (mut alice_live, snapshot) = alice.connect_with_snapshot().await?;
    let friends: Vec<_> = snapshot.presence_arr.iter().map(|presence| presence.user_id.clone()).collect();
    assert_eq!(friends.len(), 2);
    assert!(friends.contains(&bob.id) && friends.contains(&carol.id));
    let (mut bob_live, snapshot) = bob.connect_with_snapshot().await?;
    let of_alice = &snapshot.presence_arr[0];
    assert_eq!((&of_alice.user_id, of_alice.last_seen_at), (&alice.id, None), "she is there");

    // Her settings have come back too.
    alice_live.visit("https://example.org/hidden", "Hidden")?;
    alice_live.visit("https://example.com/after", "After")?;
    let mut after = bob_live.update().await?;
    while after.url.is_empty() {
        after = bob_live.update().await?;
    }
    assert_eq!((after.user_id, after.url.as_str()), (alice.id.clone(), "https://example.com/after"));
    assert!(after.seq > before.seq);
    assert!(!bob_live.has_seen("idden"));

    // Carol has not come back, so she soon counts as offline.
    let gone = alice_live.find(|message| match message {
        ServerMessage::PresenceTimeout { user_id, last_seen_at } => Some((user_id, last_seen_at)),
        _ => None,
    });
    let (who, last_seen_at) = gone.await?;
    assert_eq!(who, carol.id);
    assert!(last_seen_at.is_some());
    own.stack.stop().await
}

#[tokio::test]
async fn presence_goes_on_while_the_core_is_stopped() -> Result<()> {
    let mut own = OwnStack::start().await?;
    let ((alice, alice_live), (bob, mut bob_live)) = own.site.friends_online().await?;
    let unseen = own.site.person("Unseen").await?;
    own.stack.stop_core().await;

    alice_live.visit("https://example.com/", "Without the core")?;
    assert_eq!(bob_live.update().await?.title, "Without the core");
    assert_eq!(bob.page_of(&alice.id).await?.unwrap().title, "Without the core");
    alice_live.close().await?;
    assert_eq!(bob_live.gone().await?.0, alice.id);
    let (alice_live, snapshot) = alice.connect_with_snapshot().await?;
    assert_eq!(snapshot.presence_arr[0].user_id, bob.id);
    assert_eq!(bob_live.update().await?.user_id, alice.id);
    alice_live.visit("https://example.com/back", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/back");

    is_unavailable(alice.request(Method::GET, "/users/me").send().await?).await?;
    let body = json!({ "user_id2": bob.id });
    is_unavailable(alice.request(Method::POST, "/friendship/requests").json(&body).send().await?).await?;
    // The edge knows nothing of this person, so it cannot say who their friends are.
    is_unavailable(unseen.request(Method::GET, "/presence").send().await?).await?;
    let request = live_request(&own.site, "/ws", &unseen.token, TokenIn::Subprotocol)?;
    let Err(Error::Http(answer)) = Live::open(request).await else { panic!("somebody unknown was let in") };
    assert_eq!(answer.status().as_u16(), 503);
    assert!(answer.headers().contains_key("retry-after"));

    own.stack.start_core().await?;
    alice.call(Method::GET, "/users/me", None).await?;
    unseen.connect().await?;
    own.stack.stop().await
}

#[tokio::test]
async fn an_event_outlives_a_crash_of_the_core() -> Result<()> {
    let mut own = OwnStack::start().await?;
    let (alice, bob) = (own.site.person("Alice").await?, own.site.person("Bob").await?);
    // From here on the edge knows both, and lets them in without the core.
    alice.connect().await?.close().await?;
    bob.connect().await?.close().await?;
    own.stack.kill_worker().await;
    own.befriend_behind_the_edge(&alice, &bob).await?;
    own.stack.kill_core().await;

    own.stack.start_worker().await?;
    let (mut alice_live, snapshot) = alice.connect_with_snapshot().await?;
    assert!(snapshot.presence_arr.is_empty(), "the news must not have come yet");
    let mut bob_live = bob.connect().await?;
    own.stack.start_core().await?;
    for (live, friend) in [(&mut alice_live, &bob), (&mut bob_live, &alice)] {
        let accepted = live.find(|message| match message {
            ServerMessage::FriendAccepted { user } => Some(user.user_id),
            _ => None,
        });
        assert_eq!(accepted.await?, friend.id);
    }
    assert_eq!(alice.presence().await?.presence_arr[0].user_id, bob.id);
    own.stack.stop().await
}

#[tokio::test]
async fn an_event_waits_for_a_worker_that_crashed() -> Result<()> {
    let mut own = OwnStack::start().await?;
    let (alice, bob) = (own.site.person("Alice").await?, own.site.person("Bob").await?);
    alice.connect().await?.close().await?;
    bob.connect().await?.close().await?;
    own.stack.kill_worker().await;
    own.befriend_behind_the_edge(&alice, &bob).await?;
    own.stack.start_worker().await?;

    // A read does not ask the core about a user whom the edge knows. Only the event can have brought the friend.
    let begun = Instant::now();
    for (me, friend) in [(&alice, &bob), (&bob, &alice)] {
        while !me.presence().await?.user_info_map.contains_key(&friend.id) {
            ensure!(begun.elapsed() < PATIENCE, "the event has not arrived");
            sleep(Duration::from_millis(50)).await;
        }
    }
    let (_alice_live, _bob_live) = (alice.connect().await?, bob.connect().await?);
    assert!(alice.page_of(&bob.id).await?.is_some() && bob.page_of(&alice.id).await?.is_some());
    own.stack.stop().await
}

#[tokio::test]
async fn a_sleeping_object_is_woken_by_a_page_by_a_friend_and_by_a_close() -> Result<()> {
    // The time-out is so long that no alarm wakes an object during the test.
    let own = OwnStack::start_with_timeout(600_000).await?;
    let ((alice, alice_live), (bob, mut bob_live)) = own.site.friends_online().await?;
    let slept = async || -> Result<()> {
        let before = [alice.counts().await?.starts, bob.counts().await?.starts];
        // The runtime puts an object to sleep after ten quiet seconds.
        sleep(Duration::from_secs(12)).await;
        alice_live.visit(&format!("https://example.com/{}", before[0]), "")?;
        while [alice.counts().await?.starts, bob.counts().await?.starts] != before.map(|starts| starts + 1) {
            // No message says when the objects have started again.
            sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    };
    timeout(PATIENCE + Duration::from_secs(12), slept()).await??;
    assert!(bob_live.update().await?.url.starts_with("https://example.com/"));

    let elsewhere = alice.connect().await?;
    sleep(Duration::from_secs(12)).await;
    let before = alice.counts().await?;
    // This socket breaks without a close frame. The other one stays, and friends hear nothing.
    drop(elsewhere);
    while alice.counts().await?.closes == before.closes {
        sleep(Duration::from_millis(50)).await;
    }
    let after = alice.counts().await?;
    assert_eq!((after.starts, after.peer_calls), (before.starts + 1, before.peer_calls));

    let starts = after.starts;
    sleep(Duration::from_secs(12)).await;
    alice_live.close().await?;
    assert_eq!(bob_live.gone().await?.0, alice.id);
    assert_eq!(alice.counts().await?.starts, starts + 1, "it slept before it heard the close");
    own.stack.stop().await
}

#[tokio::test]
async fn heartbeats_that_wake_the_object_keep_a_user_online_and_its_counts_are_not_served() -> Result<()> {
    const TIMEOUT_MS: u32 = 4_000;
    let vars = |options: StackOptions| options.var("PRESENCE_TIMEOUT_MS", TIMEOUT_MS).var("HEARTBEAT_MODE", "wake");
    let own = OwnStack::start_with(vars).await?;
    let ((alice, alice_live), (_bob, mut bob_live)) = own.site.friends_online().await?;
    let mut silent = alice.connect_silently().await?;
    silent.send_text(HEARTBEAT_REQUEST);
    assert_eq!(silent.answer().await?, ServerMessage::Heartbeat);
    // This socket sends nothing more, and is closed for its silence. Her other socket sends only heartbeats for just as long, and
    // stays open.
    assert_eq!(silent.closed().await?, Some(CloseCode::Silent.number()));
    alice_live.visit("https://example.com/still", "")?;
    assert_eq!(bob_live.update().await?.url, "https://example.com/still");
    assert!(!bob_live.has_seen("presence-timeout"), "{:?}", bob_live.seen());

    let counts = alice.request(Method::GET, &format!("/internal/counts/{}", alice.id)).send().await?;
    assert_eq!(counts.status(), StatusCode::NOT_FOUND);
    own.stack.stop().await
}

/// Two people who are new to both servers connect, become friends, and hear of it. For this the edge has asked the core, and the
/// core has told the edge.
async fn newcomers_become_friends(site: &Site) -> Result<()> {
    let (alice, bob) = (site.person("Alice").await?, site.person("Bob").await?);
    let (mut alice_live, mut bob_live) = (alice.connect().await?, bob.connect().await?);
    alice.befriend(&bob).await?;
    for (live, friend) in [(&mut alice_live, &bob), (&mut bob_live, &alice)] {
        let accepted = live.find(|message| match message {
            ServerMessage::FriendAccepted { user } => Some(user.user_id),
            _ => None,
        });
        assert_eq!(accepted.await?, friend.id);
    }
    Ok(())
}

/// Lets new people come, one after the other, until nobody receives `served` any more. Each makes calls for which the edge must
/// ask the core, and the core must tell the edge. `served` counts the people whose calls all succeeded. Gives how many calls were
/// answered with each status.
async fn people_coming(site: &Site, host: &Person, served: watch::Sender<u32>) -> Result<BTreeMap<StatusCode, u32>> {
    let mut answers = BTreeMap::new();
    while !served.is_closed() {
        let guest = site.newcomer("Guest").await?;
        let calls = [
            guest.request(Method::POST, "/users/me").json(&json!({ "first_name": "Guest", "last_name": "Test" })),
            guest.request(Method::GET, "/presence"),
            guest.request(Method::POST, "/friendship/requests").json(&json!({ "user_id2": host.id })),
        ];
        let mut refused = false;
        for call in calls {
            // There is no answer while the worker is replaced. The person may not be registered then, so their other calls are
            // left out.
            let Ok(answer) = call.send().await else {
                refused = true;
                break;
            };
            *answers.entry(answer.status()).or_default() += 1;
            refused = !answer.status().is_success();
            if refused {
                break;
            }
        }
        served.send_modify(|count| *count += u32::from(!refused));
    }
    Ok(answers)
}

/// How many people must be served after each step of a rotation.
const GUESTS: u32 = 3;

/// Waits until all calls of [`GUESTS`] more people have succeeded.
async fn more_are_served(served: &mut watch::Receiver<u32>) -> Result<()> {
    let goal = *served.borrow_and_update() + GUESTS;
    timeout(PATIENCE, served.wait_for(|count| *count >= goal)).await??;
    Ok(())
}

#[tokio::test]
async fn rotating_both_secrets_under_load_refuses_nothing() -> Result<()> {
    let mut own = OwnStack::start().await?;
    let (old, new) = (own.stack.secrets().clone(), Secrets::random());
    let both = |one: &str, other: &str| format!("{one} {other}");
    let (site, host) = (own.site.clone(), own.site.person("Host").await?);
    let (serve, mut served) = watch::channel(0);
    let rotate = async {
        // Each side knows both secrets before the other uses the new one.
        own.stack.give_core(&Secrets {
            event_signing_secret: old.event_signing_secret.clone(),
            service_token_secret: both(&old.service_token_secret, &new.service_token_secret),
        });
        own.stack.stop_core().await;
        own.stack.start_core().await?;
        newcomers_become_friends(&site).await?;
        more_are_served(&mut served).await?;

        own.stack.give_worker(Secrets {
            event_signing_secret: both(&old.event_signing_secret, &new.event_signing_secret),
            // The worker signs with the first one.
            service_token_secret: both(&new.service_token_secret, &old.service_token_secret),
        });
        own.stack.kill_worker().await;
        own.stack.start_worker().await?;
        newcomers_become_friends(&site).await?;
        more_are_served(&mut served).await?;

        own.stack.give_core(&new);
        own.stack.stop_core().await;
        own.stack.start_core().await?;
        newcomers_become_friends(&site).await?;
        more_are_served(&mut served).await?;

        own.stack.give_worker(new.clone());
        own.stack.kill_worker().await;
        own.stack.start_worker().await?;
        newcomers_become_friends(&site).await?;
        more_are_served(&mut served).await?;
        drop(served);
        Ok(())
    };
    let ((), answers) = tokio::try_join!(rotate, people_coming(&site, &host, serve))?;

    let away = answers.get(&StatusCode::SERVICE_UNAVAILABLE).copied().unwrap_or_default();
    let good: u32 = answers.iter().filter(|(status, _)| status.is_success()).map(|(_, count)| count).sum();
    assert_eq!(good + away, answers.values().sum::<u32>(), "{answers:?}");
    // A server repeats a call that the other refused, and clients do not see it. So the log of the core is read.
    let log = fs::read_to_string(own.stack.logs().join("core.log"))?;
    let answered = |status: u16| {
        let lines = log.lines().filter(|line| line.contains("/internal/users/{id}/social"));
        lines.filter(|line| line.contains(&format!("\"http.status\":{status},"))).count()
    };
    // After each of the four steps guests came, and their objects asked the core.
    assert!(answered(200) >= 4 * GUESTS as usize, "{}", answered(200));
    assert_eq!(answered(401), 0);
    assert!(!log.contains("the edge answered 401"));
    own.stack.stop().await
}

#[tokio::test]
async fn after_a_backup_is_restored_objects_that_remember_more_take_what_was_restored() -> Result<()> {
    let mut own = OwnStack::start().await?;
    let (alice, bob) = own.site.friends().await?;
    let carol = own.site.person("Carol").await?;
    let mut database = PgConnection::connect(&own.stack.info().database_url).await?;
    let backup: Vec<(String, i64)> =
        sqlx::query_as("select user_id, social_version from users").fetch_all(&mut database).await?;
    // After the backup Alice and Carol become friends. Their objects remember it.
    alice.befriend(&carol).await?;
    for person in [&alice, &carol] {
        person.connect().await?.close().await?;
    }
    own.stack.stop_core().await;
    sqlx::query("delete from friendships where $1 in (user_id1, user_id2)")
        .bind(carol.id.as_str())
        .execute(&mut database)
        .await?;
    for (user_id, version) in backup {
        let restore = sqlx::query("update users set social_version = $2 where user_id = $1");
        restore.bind(user_id).bind(version).execute(&mut database).await?;
    }
    database.close().await?;
    own.stack.operate(&["raise-versions"]).await?;
    own.stack.kill_worker().await;
    own.stack.start_core().await?;
    own.stack.start_worker().await?;

    // An object asks the core when its user comes online after the grace, but not within ten seconds of the last time.
    let taken = async {
        loop {
            let (live, snapshot) = alice.connect_with_snapshot().await?;
            live.close().await?;
            if !snapshot.user_info_map.contains_key(&carol.id) {
                return anyhow::Ok(snapshot);
            }
            sleep(Duration::from_secs(5)).await;
        }
    };
    let snapshot = timeout(Duration::from_secs(40), taken).await??;
    assert!(snapshot.user_info_map.contains_key(&bob.id), "{:?}", snapshot.user_info_map);
    own.stack.stop().await
}

#[tokio::test]
async fn a_suspended_user_is_let_in_nowhere_and_is_as_before_when_restored() -> Result<()> {
    let own = OwnStack::start().await?;
    let (alice, bob) = own.site.friends().await?;
    let mut bobs = bob.connect().await?;
    let mut alices = alice.connect().await?;
    bobs.update().await?;
    alices.visit("https://example.com/", "A page")?;
    bobs.update().await?;

    let operator = ["--by", "a test", "--reason", "to see what happens"];
    let operate =
        async |what: &str| own.stack.operate(&[&["user", what, alice.id.as_str()], &operator[..]].concat()).await;
    operate("suspend").await?;
    assert_eq!(alices.closed().await?, Some(CloseCode::AccountGone.number()));
    assert_eq!(bobs.gone().await?.0, alice.id);
    assert_eq!(bob.page_of(&alice.id).await?, None);
    let refused = async {
        while alice.request(Method::GET, "/users/me").send().await?.status() != StatusCode::FORBIDDEN {
            sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(10), refused).await??;
    for path in ["/users/me", "/friendship/all", "/presence", &format!("/presence/{}", bob.id)] {
        assert_eq!(alice.request(Method::GET, path).send().await?.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(alice.request(Method::DELETE, "/users/me").send().await?.status(), StatusCode::FORBIDDEN);
    for place in TokenIn::ALL {
        let Err(Error::Http(answer)) = Live::open(live_request(&own.site, "/ws", &alice.token, place)?).await else {
            panic!("a suspended user is let in")
        };
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }

    operate("restore").await?;
    let restored = async {
        while alice.request(Method::GET, "/presence").send().await?.status() != StatusCode::OK {
            sleep(Duration::from_millis(200)).await;
        }
        while alice.request(Method::GET, "/users/me").send().await?.status() != StatusCode::OK {
            sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    timeout(Duration::from_secs(15), restored).await??;
    let (alices, snapshot) = alice.connect_with_snapshot().await?;
    assert!(snapshot.user_info_map.contains_key(&bob.id));
    assert_eq!(bobs.update().await?.user_id, alice.id);
    alices.visit("https://example.com/again", "A page")?;
    assert_eq!(bobs.update().await?.url, "https://example.com/again");
    own.stack.stop().await
}
