//! Events on their way to the edge. The receiver stands for the edge: it checks signatures with the library of the Standard
//! Webhooks specification, and decides what it takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use core_api::{App, relay::Relay};
use serde_json::{Value, json};
use shared::internal::{CoreEvent, EventBatch};
use sqlx::{PgPool, postgres::PgPoolOptions};
use standardwebhooks::Webhook;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinHandle,
};

use crate::world::{EVENT_SECRET, World, until};

/// How the receiver answers a batch.
type Answer = Arc<dyn Fn(&[Value]) -> Response + Send + Sync>;

/// How long the receiver waits for an object that does not answer. It is longer than the edge waits, so that a slow machine is
/// not taken for an event that had to wait.
const SATURATED: Duration = Duration::from_secs(4);

#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    /// The recipient who makes a batch wait for [`SATURATED`], and whose events are not taken.
    saturated: Arc<Mutex<Option<String>>>,
    batches: Arc<Mutex<Vec<Vec<Value>>>>,
    /// One permit per answer that may be given.
    may_answer: Arc<Semaphore>,
}

fn taken(events: &[Value]) -> Response {
    let ids: Vec<&Value> = events.iter().map(|event| &event["id"]).collect();
    json!({ "taken": ids }).to_string().into_response()
}

impl Receiver {
    /// A receiver that does not listen yet, on an address that is free.
    async fn absent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(Arc::new(taken))),
            saturated: Arc::default(),
            batches: Arc::default(),
            may_answer: Arc::new(Semaphore::new(1_000_000)),
        }
    }

    pub async fn start() -> Self {
        let receiver = Self::absent().await;
        receiver.listen().await;
        receiver
    }

    async fn listen(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let router = Router::new()
            .route("/internal/events", post(receive))
            .route("/elsewhere", post(stray))
            .layer(DefaultBodyLimit::disable());
        let router = router.with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    fn answers(&self, answer: impl Fn(&[Value]) -> Response + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(answer);
    }

    fn batches(&self) -> Vec<Vec<Value>> {
        self.batches.lock().unwrap().clone()
    }

    fn batch_lengths(&self) -> Vec<usize> {
        self.batches().iter().map(Vec::len).collect()
    }

    pub fn events(&self) -> Vec<Value> {
        self.batches().concat()
    }

    async fn world(&self, pool: PgPool) -> World {
        let url = format!("http://{}", self.address);
        let flags = ["--edge-url", &url, "--outbox-poll-ms", "50", "--outbox-retry-ms-max", "50"];
        World::with(pool, &flags).await
    }
}

async fn receive(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> Response {
    if Webhook::new(EVENT_SECRET).unwrap().verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let EventBatch { events } = serde_json::from_slice(&body).unwrap();
    receiver.batches.lock().unwrap().push(events.clone());
    receiver.may_answer.acquire().await.unwrap().forget();
    let saturated = receiver.saturated.lock().unwrap().clone();
    let others: Vec<Value> = events
        .iter()
        .filter(|event| Some(event["recipient"].as_str().unwrap()) != saturated.as_deref())
        .cloned()
        .collect();
    if others.len() < events.len() {
        tokio::time::sleep(SATURATED).await;
    }
    let answer = Arc::clone(&*receiver.answer.lock().unwrap());
    answer(&others)
}

/// The target of a redirect. Nothing should ever arrive here, so a batch that does is counted and not taken.
async fn stray(State(receiver): State<Receiver>) -> StatusCode {
    receiver.batches.lock().unwrap().push(vec![Value::Null]);
    StatusCode::INTERNAL_SERVER_ERROR
}

/// A running relay, and what stops it.
pub struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    pub fn start(world: &World) -> Self {
        Self::of(Arc::clone(&world.app), world)
    }

    fn of(app: Arc<App>, world: &World) -> Self {
        let relay = Relay::new(app, &world.config).unwrap();
        let (stop, stopped) = watch::channel(false);
        Self { stop, task: tokio::spawn(relay.run(stopped)) }
    }

    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}

async fn is_empty(world: &World) -> bool {
    let waiting: i64 = sqlx::query_scalar("select count(*) from outbox").fetch_one(&world.pool).await.unwrap();
    waiting == 0
}

pub async fn delivered(world: &World) {
    until("the outbox is empty", async || is_empty(world).await).await;
}

/// Adds this many settings events to the outbox, each for another user.
async fn fill(world: &World, events: i32) {
    sqlx::query(
        "insert into outbox (id, recipients, versions, kind, payload)
        select gen_random_uuid(), array['user-' || n], array[n], 'settings.updated',
            '{\"share\": {\"mode\": \"default_none\", \"allow\": [], \"deny\": []}}'
        from generate_series(1, $1) as n",
    )
    .bind(events)
    .execute(&world.pool)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_new_friendship_reaches_the_edge_at_once_signed_and_in_the_agreed_form(pool: PgPool) {
    let receiver = Receiver::start().await;
    let url = format!("http://{}/", receiver.address);
    // Polling is so rare that it cannot be what delivers.
    let world = World::with(pool, &["--edge-url", &url, "--outbox-poll-ms", "600000"]).await;
    let relay = Running::start(&world);
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    delivered(&world).await;
    let mut events = receiver.events();
    events.sort_by_key(|event| event["recipient"].to_string());
    let summary = json!({
        "user_id": "bob", "first_name": "Bob", "last_name": "Tester", "description": "",
        "profile_image_uploaded_at": null, "profile_image_extension": null, "friendship_state": 2,
        "mutual_friend_count": null,
    });
    let expected = json!({
        "id": events[0]["id"], "recipient": "alice", "kind": "friend.accepted",
        "version": world.first_version("alice").await + 1,
        "payload": {"user": summary},
    });
    assert_eq!((events.len(), &events[0]), (4, &expected));
    for event in events {
        let read: CoreEvent = serde_json::from_value(event.clone()).unwrap();
        assert_eq!(read.id.0.get_version_num(), 5);
        assert_eq!(serde_json::to_value(&read).unwrap(), event);
    }
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn events_written_while_the_edge_is_away_arrive_later(pool: PgPool) {
    let receiver = Receiver::absent().await;
    let world = receiver.world(pool).await;
    let relay = Running::start(&world);
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    // Once the failure is counted, the relay has tried in vain.
    until("a failed attempt", async || metrics(&world).await.contains(r#"core_outbox_relayed_total{result="failed"}"#))
        .await;
    assert!(!is_empty(&world).await);
    receiver.listen().await;
    delivered(&world).await;
    assert_eq!(receiver.events().len(), 4);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_event_that_the_edge_did_not_take_is_sent_again_and_delays_no_other(pool: PgPool) {
    let receiver = Receiver::start().await;
    let stubborn = Arc::new(Mutex::new(3));
    receiver.answers(move |events| {
        let mut refusals = stubborn.lock().unwrap();
        let (refused, accepted): (Vec<_>, Vec<_>) =
            events.iter().cloned().partition(|event| event["recipient"] == "user-2" && *refusals > 0);
        *refusals -= refused.len().min(*refusals);
        taken(&accepted)
    });
    let world = receiver.world(pool).await;
    fill(&world, 3).await;
    let relay = Running::start(&world);
    delivered(&world).await;
    let batches = receiver.batch_lengths();
    assert_eq!(batches, [3, 1, 1, 1]);
    let repeated = receiver.events();
    assert!(repeated[3..].iter().all(|event| event["recipient"] == "user-2" && event["id"] == repeated[3]["id"]));
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_whole_batch_that_is_never_taken_holds_up_no_other(pool: PgPool) {
    let receiver = Receiver::start().await;
    let refused: Mutex<Option<Vec<Value>>> = Mutex::default();
    receiver.answers(move |events| {
        let ids = || events.iter().map(|event| event["id"].clone()).collect();
        let mut refused = refused.lock().unwrap();
        let refused = refused.get_or_insert_with(ids);
        taken(&events.iter().filter(|event| !refused.contains(&event["id"])).cloned().collect::<Vec<_>>())
    });
    let world = receiver.world(pool).await;
    fill(&world, 150).await;
    let relay = Running::start(&world);
    until("the others have arrived", async || world.outbox().await.len() == 100).await;
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_batch_that_the_edge_answers_wrongly_is_sent_again(pool: PgPool) {
    let receiver = Receiver::start().await;
    let world = receiver.world(pool).await;
    fill(&world, 1).await;
    let answers: [fn() -> Response; 4] = [
        || StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        || StatusCode::NO_CONTENT.into_response(),
        || "not json".into_response(),
        || (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response(),
    ];
    let turn = Mutex::new(answers.into_iter());
    receiver.answers(move |events| turn.lock().unwrap().next().map_or_else(|| taken(events), |answer| answer()));
    let relay = Running::start(&world);
    delivered(&world).await;
    assert_eq!(receiver.events().len(), 5);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_edge_cannot_delete_what_it_was_not_sent(pool: PgPool) {
    let receiver = Receiver::start().await;
    let world = receiver.world(pool).await;
    fill(&world, 2).await;
    let later: uuid::Uuid = sqlx::query_scalar(
        "update outbox set next_attempt_at = now() + interval '1 hour' where recipients[1] = 'user-1' returning id",
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    let unsent = uuid::Uuid::new_v5(&later, b"user-1");
    receiver.answers(move |events| json!({"taken": [events[0]["id"], later, unsent]}).to_string().into_response());
    let relay = Running::start(&world);
    let left =
        async || sqlx::query_scalar::<_, uuid::Uuid>("select id from outbox").fetch_all(&world.pool).await.unwrap();
    until("the event that was sent is gone", async || left().await.len() < 2).await;
    assert_eq!(left().await, [later]);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_full_outbox_goes_out_in_batches_shared_by_two_instances_without_repeats(pool: PgPool) {
    let receiver = Receiver::start().await;
    let world = receiver.world(pool).await;
    fill(&world, 450).await;
    let other = App::new(&world.config, world.serving.clone()).unwrap();
    let relays = [Running::start(&world), Running::of(other, &world)];
    delivered(&world).await;
    let batches = receiver.batches();
    assert!(batches.iter().all(|batch| batch.len() <= 100));
    let mut ids: Vec<String> = batches.concat().iter().map(|event| event["id"].to_string()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), receiver.events().len()), (450, 450));
    for relay in relays {
        relay.stop().await;
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_change_for_many_is_sent_again_only_to_those_who_refused_it_at_first(pool: PgPool) {
    let receiver = Receiver::start().await;
    let refused: Mutex<BTreeSet<String>> = Mutex::default();
    receiver.answers(move |events| {
        let mut refused = refused.lock().unwrap();
        let first_time = |event: &&Value| {
            let recipient = event["recipient"].as_str().unwrap();
            !(recipient.ends_with('7') && refused.insert(recipient.to_owned()))
        };
        taken(&events.iter().filter(first_time).cloned().collect::<Vec<_>>())
    });
    let world = receiver.world(pool).await;
    sqlx::query(
        "insert into outbox (id, recipients, versions, kind, payload)
        select gen_random_uuid(), array_agg('user-' || n), array_agg(n + 1000), 'friend.removed',
            '{\"user_id\": \"alice\"}'
        from generate_series(1, 250) as n",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let relay = Running::start(&world);
    delivered(&world).await;
    let events = receiver.events();
    assert_eq!(events.len(), 250 + 25, "a tenth is sent twice");
    let distinct: BTreeMap<String, String> =
        events.iter().map(|event| (event["id"].to_string(), event["recipient"].to_string())).collect();
    let recipients: BTreeSet<&String> = distinct.values().collect();
    assert_eq!((distinct.len(), recipients.len()), (250, 250));
    for event in &events {
        let n: i64 = event["recipient"].as_str().unwrap().strip_prefix("user-").unwrap().parse().unwrap();
        assert_eq!((&event["version"], &event["payload"]), (&json!(n + 1000), &json!({"user_id": "alice"})));
    }
    assert!(receiver.batch_lengths().iter().all(|length| *length <= 100));
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_batch_keeps_within_its_bytes(pool: PgPool) {
    let receiver = Receiver::start().await;
    let world = receiver.world(pool).await;
    fill(&world, 3).await;
    // Each is three MiB long, so no more than two fit into eight.
    sqlx::query("update outbox set payload = jsonb_build_object('share', repeat('x', 3 * 1024 * 1024))")
        .execute(&world.pool)
        .await
        .unwrap();
    let relay = Running::start(&world);
    delivered(&world).await;
    let mut batches = receiver.batch_lengths();
    batches.sort_unstable();
    assert_eq!(batches, [1, 2]);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_crash_while_a_batch_is_under_way_loses_nothing(pool: PgPool) {
    let receiver = Receiver { may_answer: Arc::new(Semaphore::new(0)), ..Receiver::absent().await };
    receiver.listen().await;
    let world = receiver.world(pool).await;
    fill(&world, 3).await;
    let relay = Running::start(&world);
    until("a batch is under way", async || receiver.batches().len() == 1).await;
    relay.task.abort();
    assert!(relay.task.await.unwrap_err().is_cancelled());
    assert!(!is_empty(&world).await);
    receiver.may_answer.add_permits(1_000);
    let restarted = App::new(&world.config, world.serving.clone()).unwrap();
    let relay = Running::of(restarted, &world);
    delivered(&world).await;
    assert_eq!(receiver.events().len(), 6);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn stopping_lets_the_batch_under_way_end(pool: PgPool) {
    let receiver = Receiver { may_answer: Arc::new(Semaphore::new(0)), ..Receiver::absent().await };
    receiver.listen().await;
    let world = receiver.world(pool).await;
    fill(&world, 3).await;
    let relay = Running::start(&world);
    until("a batch is under way", async || receiver.batches().len() == 1).await;
    relay.stop.send_replace(true);
    receiver.may_answer.add_permits(1);
    tokio::time::timeout(Duration::from_secs(5), relay.task).await.unwrap().unwrap();
    assert!(is_empty(&world).await);
    assert_eq!(receiver.events().len(), 3);
}

/// Writes one change for this many users.
async fn broadcast(world: &World, recipients: i32) {
    sqlx::query(
        "insert into outbox (id, recipients, versions, kind, payload)
        select gen_random_uuid(), array_agg('user-' || n order by n), array_agg(0::bigint), 'friend.removed',
            '{\"user_id\": \"alice\"}'
        from generate_series(1, $1) as n",
    )
    .bind(recipients)
    .execute(&world.pool)
    .await
    .unwrap();
}

/// A core whose relay has the default waits.
async fn unhurried(receiver: &Receiver, pool: PgPool) -> World {
    let url = format!("http://{}", receiver.address);
    World::with(pool, &["--edge-url", &url]).await
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn one_recipient_of_a_thousand_who_never_takes_a_change_delays_no_other(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.answers(|events| {
        taken(&events.iter().filter(|event| event["recipient"] != "user-7").cloned().collect::<Vec<_>>())
    });
    let world = unhurried(&receiver, pool).await;
    broadcast(&world, 1_000).await;
    let relay = Running::start(&world);
    let waiting =
        async || world.outbox().await.into_iter().map(|(recipient, ..)| recipient).collect::<Vec<_>>() == ["user-7"];
    until("all others have taken it", waiting).await;
    // Each of the others got it once, and none of them after the second attempt for `user-7`.
    let recipients: Vec<Value> = receiver.events().iter().map(|event| event["recipient"].clone()).collect();
    let attempts: Vec<usize> = (0..recipients.len()).filter(|place| recipients[*place] == "user-7").collect();
    assert_eq!(recipients.len() - attempts.len(), 999);
    assert!(attempts.get(1).is_none_or(|second| *second >= 1_000), "{attempts:?}");
    // The one that fails is tried again, under the same id. New events for others do not wait for it.
    until("it is tried again", async || receiver.events().len() > 1_001).await;
    let ids: BTreeSet<String> = receiver.events().iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 1_000);
    broadcast(&world, 3).await;
    until("what is new has arrived", async || world.outbox().await.len() == 1).await;
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_saturated_recipient_delays_nobody_elses_unfriending(pool: PgPool) {
    let receiver = Receiver::start().await;
    *receiver.saturated.lock().unwrap() = Some("user-500".to_owned());
    let world = unhurried(&receiver, pool).await;
    world.register(&["alice", "bob"]).await;
    world.befriend("alice", "bob").await;
    let relay = Running::start(&world);
    delivered(&world).await;
    for round in 0..4 {
        // One change for many, the saturated one among them, and many changes for that one alone.
        broadcast(&world, 1_000).await;
        sqlx::query(
            "insert into outbox (id, recipients, versions, kind, payload)
            select gen_random_uuid(), array['user-500'], array[0], 'friend.removed', '{\"user_id\": \"carol\"}'
            from generate_series(1, 300)",
        )
        .execute(&world.pool)
        .await
        .unwrap();
        let pair = json!({"user_id1": "alice", "user_id2": "bob"});
        world.post("alice", "/friendship/delete", pair).await.is_success();
        let begun = Instant::now();
        let seen = async || {
            let batches = receiver.batches.lock().unwrap();
            let bobs = |event: &&Value| event["recipient"] == "bob" && event["kind"] == "friend.removed";
            batches.iter().flatten().filter(bobs).count() > round
        };
        until("the unfriending has arrived", seen).await;
        assert!(begun.elapsed() < SATURATED, "round {round}: {:?}", begun.elapsed());
        world.befriend("alice", "bob").await;
    }
    *receiver.saturated.lock().unwrap() = None;
    delivered(&world).await;
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_event_for_which_the_edge_refuses_whole_batches_delays_no_other(pool: PgPool) {
    let receiver = Receiver::start().await;
    receiver.answers(|events| {
        if events.iter().any(|event| event["recipient"] == "user-5") {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        taken(events)
    });
    let world = unhurried(&receiver, pool).await;
    fill(&world, 50).await;
    broadcast(&world, 300).await;
    let relay = Running::start(&world);
    let waiting = async || world.outbox().await.iter().all(|(recipient, ..)| recipient == "user-5");
    until("all others have arrived", waiting).await;
    assert!(!is_empty(&world).await);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn no_connection_is_held_while_batches_are_under_way(pool: PgPool) {
    let receiver = Receiver { may_answer: Arc::new(Semaphore::new(0)), ..Receiver::absent().await };
    receiver.listen().await;
    let one = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(5));
    let one = one.connect_with((*pool.connect_options()).clone()).await.unwrap();
    let world = receiver.world(one).await;
    fill(&world, 3).await;
    broadcast(&world, 500).await;
    let relay = Running::start(&world);
    until("several batches are under way", async || receiver.batches().len() >= 4).await;
    assert_eq!(world.get("alice", "/users/me").await.status, 404);
    receiver.may_answer.add_permits(1_000);
    delivered(&world).await;
    assert_eq!(receiver.events().len(), 503);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_change_for_a_thousand_is_claimed_once_and_removed_once(pool: PgPool) {
    let receiver = Receiver::start().await;
    // The one connection adds its counts to the statistics at the end of the statement that asks for that.
    let one = PgPoolOptions::new().max_connections(1).connect_with((*pool.connect_options()).clone()).await.unwrap();
    let world = receiver.world(one).await;
    broadcast(&world, 1_000).await;
    let relay = Running::start(&world);
    delivered(&world).await;
    relay.stop().await;
    assert_eq!(receiver.events().len(), 1_000);
    sqlx::query("select pg_stat_force_next_flush()").execute(&world.serving).await.unwrap();
    let (updated, deleted): (i64, i64) =
        sqlx::query_as("select n_tup_upd, n_tup_del from pg_stat_user_tables where relname = 'outbox'")
            .fetch_one(&world.serving)
            .await
            .unwrap();
    assert_eq!((updated, deleted), (1, 1));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_claim_is_renewed_while_its_batch_is_under_way(pool: PgPool) {
    let receiver = Receiver { may_answer: Arc::new(Semaphore::new(0)), ..Receiver::absent().await };
    receiver.listen().await;
    let world = receiver.world(pool).await;
    fill(&world, 1).await;
    let relay = Running::start(&world);
    until("a batch is under way", async || receiver.batches().len() == 1).await;
    let claimed_until = async || {
        sqlx::query_scalar::<_, time::OffsetDateTime>("select next_attempt_at from outbox")
            .fetch_one(&world.pool)
            .await
            .unwrap()
    };
    let first = claimed_until().await;
    until("the claim is renewed", async || claimed_until().await > first).await;
    receiver.may_answer.add_permits(1);
    delivered(&world).await;
    assert_eq!(receiver.events().len(), 1);
    relay.stop().await;
}

/// How a version of the core claims rows that keeps them locked while their batch is in progress.
const LOCKING: &str = "select id from outbox where next_attempt_at <= clock_timestamp()
    order by next_attempt_at, id limit 2 for update skip locked";

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn beside_an_instance_that_locks_rows_each_event_is_sent_by_one(pool: PgPool) {
    let receiver = Receiver { may_answer: Arc::new(Semaphore::new(0)), ..Receiver::absent().await };
    receiver.listen().await;
    let world = receiver.world(pool).await;
    fill(&world, 5).await;
    let mut other = world.pool.begin().await.unwrap();
    let locked: Vec<uuid::Uuid> = sqlx::query_scalar(LOCKING).fetch_all(&mut *other).await.unwrap();
    assert_eq!(locked.len(), 2);
    let relay = Running::start(&world);
    until("the others are under way", async || receiver.events().len() == 3).await;
    // As long as these are in progress, the other instance does not get them.
    let mut third = world.pool.begin().await.unwrap();
    let due: Vec<uuid::Uuid> = sqlx::query_scalar(LOCKING).fetch_all(&mut *third).await.unwrap();
    assert!(due.is_empty());
    drop(third);
    sqlx::query("delete from outbox where id = any($1)").bind(&locked[..1]).execute(&mut *other).await.unwrap();
    other.commit().await.unwrap();
    // What the other instance did not deliver is left for the next claim.
    receiver.may_answer.add_permits(1_000);
    delivered(&world).await;
    assert_eq!(receiver.events().len(), 4);
    relay.stop().await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn stopping_releases_what_was_claimed_and_not_sent_yet(pool: PgPool) {
    let receiver = Receiver { may_answer: Arc::new(Semaphore::new(0)), ..Receiver::absent().await };
    receiver.listen().await;
    let world = receiver.world(pool).await;
    broadcast(&world, 1_000).await;
    let relay = Running::start(&world);
    until("all places are taken", async || receiver.batches().len() == 4).await;
    relay.stop.send_replace(true);
    receiver.may_answer.add_permits(4);
    relay.task.await.unwrap();
    let left = world.outbox().await.len();
    assert_eq!((receiver.events().len(), left), (400, 600));
    let (due, attempts): (bool, i32) =
        sqlx::query_as("select next_attempt_at <= now(), attempts from outbox").fetch_one(&world.pool).await.unwrap();
    assert!(due && attempts == 0, "for the next instance, at once");
}

async fn metrics(world: &World) -> String {
    use tower::ServiceExt;
    let request = axum::http::Request::get("/metrics").body(axum::body::Body::empty()).unwrap();
    let response = core_api::metrics::router(Arc::clone(&world.app)).oneshot(request).await.unwrap();
    let text = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    String::from_utf8(text.to_vec()).unwrap()
}
