//! Receives the core's events: checks the signature of a batch, and hands each recipient's events to their object.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use http::{HeaderMap, HeaderName, HeaderValue};
use shared::{
    ids::{EventId, UserId},
    internal::{CoreEvent, EventBatch, EventsTaken},
    limits::{EVENT_BATCH_BYTES_MAX, EVENT_BATCH_LEN_MAX, EVENT_SIGNED_AGO_S_MAX, PEER_CALL_MS_MAX},
    time::Timestamp,
};
use worker::{Headers, Method, Request, RequestInit, Response, Stub};

use crate::{Call, answer, clock, object, proxy};

/// Takes a batch, and answers with the ids of the events that were taken. Events that an object did not take, or that this
/// version cannot parse, are left out. The core sends them again.
pub async fn take(call: &Call, mut request: Request) -> worker::Result<Response> {
    // Checked before the body is read, because anybody may send one.
    let headers = signature_headers(request.headers());
    if !may_be_signed(&headers, clock::now()) {
        return answer::problem(401, "Unauthorized", "the batch is not signed by the core");
    }
    let Some(body) = proxy::read_at_most(&mut request, EVENT_BATCH_BYTES_MAX).await? else {
        return answer::problem(413, "Content Too Large", "a batch of events has at most 8 MiB");
    };
    if !call.config.event_signers.iter().any(|signer| signer.verify(&body, &headers).is_ok()) {
        return answer::problem(401, "Unauthorized", "the batch is not signed by the core");
    }
    let Ok(batch) = serde_json::from_slice::<EventBatch>(&body) else {
        return answer::problem(400, "Bad Request", "not a batch of events");
    };
    if batch.events.len() > EVENT_BATCH_LEN_MAX {
        return answer::invalid(422, "Unprocessable Entity", "events", "at most 100 at once");
    }
    let sent = batch.events.len();
    let mut by_recipient: BTreeMap<UserId, Vec<CoreEvent>> = BTreeMap::new();
    for event in batch.events {
        if let Ok(event) = serde_json::from_value::<CoreEvent>(event) {
            by_recipient.entry(event.recipient.clone()).or_default().push(event);
        }
    }
    let handed = by_recipient.into_iter().map(|(recipient, events)| async move {
        clock::within(PEER_CALL_MS_MAX, hand_over(object(&call.env, &recipient), &events)).await
    });
    let taken: Vec<EventId> = join_all(handed).await.into_iter().flatten().flatten().flatten().collect();
    if taken.len() < sent {
        let line = serde_json::json!({ "level": "warn", "request.id": call.id, "message": "events were not taken", "events": sent - taken.len() });
        worker::console_warn!("{line}");
    }
    Response::from_json(&EventsTaken { taken })
}

async fn hand_over(object: worker::Result<Stub>, events: &[CoreEvent]) -> worker::Result<Vec<EventId>> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(serde_json::to_string(events)?.into()));
    let request = Request::new_with_init("https://object/events", &init)?;
    let mut response = object?.fetch_with_request(request).await?;
    Ok(response.json::<EventsTaken>().await?.taken)
}

/// Whether the headers of a signed batch are present, and its timestamp is at most [`EVENT_SIGNED_AGO_S_MAX`] seconds away
/// from `now`. The library checks the headers only together with the body.
fn may_be_signed(headers: &HeaderMap, now: Timestamp) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let at_s = text(standardwebhooks::HEADER_WEBHOOK_TIMESTAMP).and_then(|at| at.parse::<i64>().ok());
    let signature = text(standardwebhooks::HEADER_WEBHOOK_SIGNATURE);
    text(standardwebhooks::HEADER_WEBHOOK_ID).is_some()
        && at_s.is_some_and(|at_s| at_s.abs_diff(now.unix_s()) <= EVENT_SIGNED_AGO_S_MAX)
        && signature.is_some_and(|all| all.split(' ').any(|one| one.starts_with("v1,")))
}

/// The three headers of Standard Webhooks, as the library expects them.
fn signature_headers(headers: &Headers) -> HeaderMap {
    [
        standardwebhooks::HEADER_WEBHOOK_ID,
        standardwebhooks::HEADER_WEBHOOK_TIMESTAMP,
        standardwebhooks::HEADER_WEBHOOK_SIGNATURE,
    ]
    .into_iter()
    .filter_map(|name| {
        let value = headers.get(name).ok().flatten()?;
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    })
    .collect()
}
