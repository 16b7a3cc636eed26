//! Delivering what is in the outbox to the edge: at least once, whatever crashes, however many instances run.
//!
//! A batch stays locked while it is under way, so no two instances send the same one, and a crash frees it at
//! once. Deliberately absent: order. Events carry versions, and receivers cope with any order and repeats.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use reqwest::{Url, header::CONTENT_TYPE};
use serde_json::json;
use shared::{
    internal::{EventBatch, EventsTaken, REQUEST_ID_HEADER},
    limits::{EVENT_BATCH_BYTES_MAX, EVENT_BATCH_LEN_MAX},
};
use sqlx::{PgConnection, types::Json};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{App, clock::now, config::ServeConfig, outbox};

/// First wait after a failure, in milliseconds. It doubles with every further one.
const RETRY_MS_MIN: u64 = 500;

/// Room in a batch for what is around the events, in bytes.
const ENVELOPE_BYTES: usize = 64;

/// Shortest signing secret: 24 bytes as base64 behind the prefix, the least that Standard Webhooks allows.
const SECRET_CHARS_MIN: usize = "whsec_".len() + 32;

/// The task that delivers.
pub struct Relay {
    app: Arc<App>,
    http: reqwest::Client,
    url: Url,
    signer: Webhook,
    poll: Duration,
    retry_ms_max: u64,
}

/// What one look into the outbox came to.
enum Pass {
    /// Something was due and has been sent; there may be more.
    Sent,
    /// Nothing is due before this time has passed.
    Idle(Duration),
}

/// Why a batch was not taken. The texts are for the log.
enum Undelivered {
    /// The edge could not be reached: nothing can be held against these events.
    Unreachable(String),
    /// It was reached and did not answer as it should.
    Refused(String),
}

/// A change that is due, with those who have not taken it yet.
struct Row {
    id: Uuid,
    /// At most [`EVENT_BATCH_LEN_MAX`] of them, with their versions.
    recipients: Vec<String>,
    versions: Vec<i64>,
    /// How many there are in all.
    waiting: i32,
    kind: String,
    payload: Json<serde_json::Value>,
    attempts: i32,
}

/// One event of a batch: which change for whom.
struct Sent<'a> {
    id: Uuid,
    row: &'a Row,
    recipient: &'a str,
    version: i64,
}

/// The id of a recipient's own event. The same for every attempt, so that receivers know a repeat.
fn event_id(row: Uuid, recipient: &str) -> Uuid {
    Uuid::new_v5(&row, recipient.as_bytes())
}

impl Relay {
    /// A relay to the edge of this configuration.
    ///
    /// # Errors
    ///
    /// When the signing secret is no Standard Webhooks secret, or the edge's URL cannot have a path.
    pub fn new(app: Arc<App>, config: &ServeConfig) -> anyhow::Result<Self> {
        let secret = &config.event_signing_secret;
        let whole = secret.starts_with("whsec_") && secret.len() >= SECRET_CHARS_MIN;
        let signer = Webhook::new(secret).ok().filter(|_| whole);
        let mut url = config.edge_url.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("EDGE_URL is no http(s) URL"))?
            .pop_if_empty()
            .extend(["internal", "events"]);
        Ok(Self {
            app,
            http: reqwest::Client::builder()
                .timeout(Duration::from_millis(config.edge_call_ms_max))
                .redirect(reqwest::redirect::Policy::none())
                .build()?,
            url,
            signer: signer.context("EVENT_SIGNING_SECRET is not whsec_ and base64 of at least 24 bytes")?,
            poll: Duration::from_millis(config.outbox_poll_ms),
            retry_ms_max: config.outbox_retry_ms_max,
        })
    }

    /// Delivers until told to stop. A batch under way is finished first.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut failures = 0;
        while !*stopped.borrow() {
            let pause = match self.pass().await {
                Ok(Pass::Sent) => {
                    failures = 0;
                    continue;
                }
                Ok(Pass::Idle(pause)) => {
                    failures = 0;
                    tokio::select! {
                        () = self.app.outbox_written.notified() => continue,
                        () = tokio::time::sleep(pause) => continue,
                        _ = stopped.changed() => return,
                    }
                }
                Err(cause) => {
                    tracing::warn!(cause, failures, "events could not be relayed");
                    failures += 1;
                    self.retry_after(failures)
                }
            };
            // New events do not cut this short: while the edge is away, they would only be more calls in vain.
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    async fn pass(&self) -> Result<Pass, String> {
        let database = |error: sqlx::Error| format!("{:?}", crate::error::Error::from(error));
        let mut transaction = self.app.pool.begin().await.map_err(database)?;
        let due = due(&mut transaction).await.map_err(database)?;
        if due.is_empty() {
            return Ok(Pass::Idle(self.idle_time(&mut transaction).await.map_err(database)?));
        }
        let events = events_of(&due);
        let outdated = outbox::outdated_by_blocks(
            &mut *transaction,
            events.iter().map(|event| (event.recipient, &event.row.payload.0)),
        );
        let outdated = outdated.await.map_err(database)?;
        if !outdated.is_empty() {
            let outdated: Vec<&Sent> = outdated.iter().filter_map(|place| events.get(*place)).collect();
            remove(&mut transaction, &outdated).await.map_err(database)?;
            // Rows are as they were read no longer.
            transaction.commit().await.map_err(database)?;
            return Ok(Pass::Sent);
        }
        let (sent, delivery) = self.batch(events)?;
        let result = match delivery.send(self).await {
            Ok(taken) => {
                let (taken, left): (Vec<&Sent>, Vec<&Sent>) = sent.iter().partition(|event| taken.contains(&event.id));
                remove(&mut transaction, &taken).await.map_err(database)?;
                self.defer(&mut transaction, &left).await.map_err(database)?;
                self.app.metrics.relayed("taken", taken.len());
                self.app.metrics.relayed("left", left.len());
                Ok(Pass::Sent)
            }
            Err(Undelivered::Refused(cause)) => {
                let all: Vec<&Sent> = sent.iter().collect();
                self.defer(&mut transaction, &all).await.map_err(database)?;
                self.app.metrics.relayed("failed", sent.len());
                Err(cause)
            }
            Err(Undelivered::Unreachable(cause)) => {
                self.app.metrics.relayed("failed", sent.len());
                Err(cause)
            }
        };
        transaction.commit().await.map_err(database)?;
        result
    }

    /// Until the next event is due, but no longer than the time between two looks.
    async fn idle_time(&self, connection: &mut PgConnection) -> Result<Duration, sqlx::Error> {
        let next_in_ms = sqlx::query_scalar!(
            r#"select extract(epoch from min(next_attempt_at) - clock_timestamp())::float8 * 1000 as "ms" from outbox"#
        )
        .fetch_one(connection)
        .await?;
        // What is due already is in the hands of another instance: no reason to ask without a pause.
        let next = next_in_ms.map(|ms| Duration::from_millis((ms.max(0.0) as u64).max(RETRY_MS_MIN)));
        Ok(next.map_or(self.poll, |next| next.min(self.poll)))
    }

    /// As many of these events as fit, signed.
    fn batch<'a>(&self, due: Vec<Sent<'a>>) -> Result<(Vec<Sent<'a>>, Delivery), String> {
        let mut sent = Vec::new();
        let mut events = Vec::new();
        let mut bytes = ENVELOPE_BYTES;
        for due in due {
            let event = json!({
                "id": due.id,
                "recipient": due.recipient,
                "kind": due.row.kind,
                "version": due.version,
                "payload": due.row.payload.0,
            });
            bytes += event.to_string().len() + 1;
            if bytes > EVENT_BATCH_BYTES_MAX && !events.is_empty() {
                break;
            }
            sent.push(due);
            events.push(event);
        }
        let body = serde_json::to_string(&EventBatch { events }).map_err(|_| "a batch cannot be written")?;
        let id = Uuid::now_v7().to_string();
        let timestamp = now().unix_s();
        let signature =
            self.signer.sign(&id, timestamp, body.as_bytes()).map_err(|_| "a batch cannot be signed".to_owned())?;
        Ok((sent, Delivery { id, timestamp, signature, body }))
    }

    /// Lets the changes of these events wait, longer with every attempt.
    async fn defer(&self, connection: &mut PgConnection, events: &[&Sent<'_>]) -> Result<(), sqlx::Error> {
        let rows: BTreeMap<Uuid, &Row> = events.iter().map(|event| (event.row.id, event.row)).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let (mut ids, mut delays_ms) = (Vec::new(), Vec::new());
        for row in rows.into_values() {
            let attempt = u32::try_from(row.attempts).unwrap_or(0).saturating_add(1);
            ids.push(row.id);
            delays_ms.push(self.retry_after(attempt).as_secs_f64() * 1_000.0);
        }
        sqlx::query!(
            "update outbox set attempts = attempts + 1,
                next_attempt_at = clock_timestamp() + late.ms * interval '1 millisecond'
            from unnest($1::uuid[], $2::float8[]) as late (id, ms) where outbox.id = late.id",
            &ids,
            &delays_ms
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    /// The wait after so many failures: doubling up to the configured longest, the last half of it at random,
    /// so that instances do not fall into step.
    fn retry_after(&self, failures: u32) -> Duration {
        let doubled = RETRY_MS_MIN.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let longest = doubled.min(self.retry_ms_max);
        Duration::from_millis(longest - fastrand::u64(0..=longest / 2))
    }
}

/// The first events of these changes, as many as a batch may have.
fn events_of<'a>(due: &'a [Row]) -> Vec<Sent<'a>> {
    let of_row = |row: &'a Row| row.recipients.iter().zip(&row.versions).map(move |to| (row, to));
    let sent = due.iter().flat_map(of_row).take(EVENT_BATCH_LEN_MAX).map(|(row, (recipient, version))| Sent {
        id: event_id(row.id, recipient),
        row,
        recipient,
        version: *version,
    });
    sent.collect()
}

/// The oldest changes that are due and in nobody else's hands, locked for this transaction.
async fn due(connection: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select id, recipients[1:$1] as "recipients!", versions[1:$1] as "versions!",
            cardinality(recipients) as "waiting!", kind, payload as "payload: Json<serde_json::Value>", attempts
        from outbox where next_attempt_at <= clock_timestamp()
        order by next_attempt_at, id limit $1 for update skip locked"#,
        EVENT_BATCH_LEN_MAX as i32
    )
    .fetch_all(connection)
    .await
}

/// Strikes off who has taken a change; the last one takes the row along.
async fn remove(connection: &mut PgConnection, taken: &[&Sent<'_>]) -> Result<(), sqlx::Error> {
    let mut rows: BTreeMap<Uuid, (&Row, Vec<String>)> = BTreeMap::new();
    for event in taken {
        let (_, recipients) = rows.entry(event.row.id).or_insert((event.row, Vec::new()));
        recipients.push(event.recipient.to_owned());
    }
    let done = |row: &Row, recipients: &[String]| usize::try_from(row.waiting) == Ok(recipients.len());
    let all: Vec<Uuid> = rows.iter().filter(|(_, (row, to))| done(row, to)).map(|(id, _)| *id).collect();
    sqlx::query!("delete from outbox where id = any($1)", &all).execute(&mut *connection).await?;
    for (id, (_, recipients)) in rows.iter().filter(|(_, (row, to))| !done(row, to)) {
        sqlx::query!(
            "update outbox set (recipients, versions) = (
                select array_agg(recipient order by place), array_agg(version order by place)
                from unnest(recipients, versions) with ordinality as rest (recipient, version, place)
                where recipient <> all ($2)
            ) where id = $1",
            id,
            recipients
        )
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// One signed request to the edge.
struct Delivery {
    id: String,
    timestamp: i64,
    signature: String,
    body: String,
}

impl Delivery {
    async fn send(self, relay: &Relay) -> Result<BTreeSet<Uuid>, Undelivered> {
        let answer = relay
            .http
            .post(relay.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(REQUEST_ID_HEADER, &self.id)
            .header(HEADER_WEBHOOK_ID, &self.id)
            .header(HEADER_WEBHOOK_TIMESTAMP, self.timestamp)
            .header(HEADER_WEBHOOK_SIGNATURE, &self.signature)
            .body(self.body)
            .send()
            .await
            .map_err(|error| {
                let unreachable = error.is_connect();
                let cause = error.without_url().to_string();
                if unreachable { Undelivered::Unreachable(cause) } else { Undelivered::Refused(cause) }
            })?;
        if !answer.status().is_success() {
            return Err(Undelivered::Refused(format!("the edge answered {}", answer.status().as_u16())));
        }
        let EventsTaken { taken } =
            answer.json().await.map_err(|error| Undelivered::Refused(error.without_url().to_string()))?;
        Ok(taken.into_iter().map(|id| id.0).collect())
    }
}
