//! Sends one batch of events to the edge: serializes, signs and posts it, and reads the answer.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anyhow::Context;
use reqwest::{Url, header::CONTENT_TYPE};
use serde_json::json;
use shared::internal::{EventBatch, EventsTaken, REQUEST_ID_HEADER};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};
use uuid::Uuid;

use crate::{clock::now, config::ServeConfig, relay::rows::Row};

/// Shortest signing secret: 24 bytes as base64 behind the prefix, the least that Standard Webhooks allows.
const SECRET_CHARS_MIN: usize = "whsec_".len() + 32;

/// A change for one of its recipients.
#[derive(Clone)]
pub struct Event {
    pub row: Arc<Row>,
    pub recipient: Arc<str>,
    pub version: i64,
    pub payload_bytes: usize,
}

impl Event {
    /// The events of a row, one for each recipient.
    pub fn all_of(row: Row) -> Vec<Self> {
        let payload_bytes = row.payload.0.to_string().len();
        let row = Arc::new(row);
        let to = row.recipients.iter().zip(&row.versions);
        let event = |(recipient, version): (&String, &i64)| Self {
            row: Arc::clone(&row),
            recipient: recipient.as_str().into(),
            version: *version,
            payload_bytes,
        };
        to.map(event).collect()
    }

    /// The event's id. It is the same for every attempt, so that receivers recognize a repeat.
    pub fn id(&self) -> Uuid {
        Uuid::new_v5(&self.row.id, self.recipient.as_bytes())
    }
}

/// Why a batch was not taken. The texts are for the log.
pub enum Undelivered {
    /// The edge could not be reached, or the database could not be read before. These events are not the cause.
    Unreachable(String),
    /// The edge was reached, but did not answer as it should.
    Refused(String),
}

/// The edge's address, and what signs the batches for it.
pub struct Edge {
    http: reqwest::Client,
    url: Url,
    signer: Webhook,
}

impl Edge {
    /// The edge of this configuration.
    ///
    /// # Errors
    ///
    /// When the signing secret is no Standard Webhooks secret, or the edge's URL cannot have a path.
    pub fn new(config: &ServeConfig) -> anyhow::Result<Self> {
        let secret = &config.event_signing_secret;
        let whole = secret.starts_with("whsec_") && secret.len() >= SECRET_CHARS_MIN;
        let signer = Webhook::new(secret).ok().filter(|_| whole);
        let mut url = config.edge_url.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow::anyhow!("EDGE_URL is no http(s) URL"))?
            .pop_if_empty()
            .extend(["internal", "events"]);
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(config.edge_call_ms_max))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let signer = signer.context("EVENT_SIGNING_SECRET is not whsec_ and base64 of at least 24 bytes")?;
        Ok(Self { http, url, signer })
    }

    /// Sends these events. Returns the ids of those that were taken.
    ///
    /// # Errors
    ///
    /// When the edge is not reached, or does not answer as it should.
    pub async fn send(&self, events: &[Event]) -> Result<BTreeSet<Uuid>, Undelivered> {
        let events = events.iter().map(|event| {
            json!({
                "id": event.id(),
                "recipient": &*event.recipient,
                "kind": event.row.kind,
                "version": event.version,
                "payload": event.row.payload.0,
            })
        });
        let body = serde_json::to_string(&EventBatch { events: events.collect() });
        let body = body.map_err(|_| Undelivered::Refused("a batch cannot be written".to_owned()))?;
        let id = Uuid::now_v7().to_string();
        let timestamp = now().unix_s();
        let signature = self.signer.sign(&id, timestamp, body.as_bytes());
        let signature = signature.map_err(|_| Undelivered::Refused("a batch cannot be signed".to_owned()))?;
        let answer = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(REQUEST_ID_HEADER, &id)
            .header(HEADER_WEBHOOK_ID, &id)
            .header(HEADER_WEBHOOK_TIMESTAMP, timestamp)
            .header(HEADER_WEBHOOK_SIGNATURE, &signature)
            .body(body)
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
