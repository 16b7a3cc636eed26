//! The metrics of this process for Prometheus, on a port of their own.
//!
//! Deliberately absent: anything about single users; labels have few values.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{Router, extract::State, http::header::CONTENT_TYPE, response::IntoResponse, routing::get};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{App, error::Error, minute::Recent};

/// Upper bounds of the duration buckets, in seconds.
const DURATION_BUCKETS_S: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Relayed {
    result: &'static str,
}

/// All metrics of this process.
pub struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    durations: Family<Asked, Histogram>,
    relayed: Family<Relayed, Counter>,
    outbox_events: Gauge<f64, AtomicU64>,
    outbox_oldest_s: Gauge<f64, AtomicU64>,
    connections: Gauge,
    connections_idle: Gauge,
    /// For the log line of `minute`.
    pub(crate) recent: Recent,
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("core");
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(DURATION_BUCKETS_S)),
            relayed: Family::default(),
            outbox_events: Gauge::default(),
            outbox_oldest_s: Gauge::default(),
            connections: Gauge::default(),
            connections_idle: Gauge::default(),
            recent: Recent::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests answered", metrics.requests.clone());
        registry.register("http_request_seconds", "Time to answer a request", metrics.durations.clone());
        registry.register(
            "outbox_relayed",
            "Events by what became of an attempt to deliver them",
            metrics.relayed.clone(),
        );
        registry.register("outbox_events", "Events waiting to be delivered", metrics.outbox_events.clone());
        registry.register("outbox_oldest_seconds", "Age of the oldest waiting event", metrics.outbox_oldest_s.clone());
        registry.register("database_connections", "Database connections held", metrics.connections.clone());
        registry.register("database_connections_idle", "Of these, unused right now", metrics.connections_idle.clone());
        Self { registry, ..metrics }
    }

    /// Counts an answered request. `route` is the pattern that matched, never the path.
    pub fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        self.recent.answered(route, status, took);
        let route = route.to_owned();
        self.durations.get_or_create(&Asked { method, route: route.clone() }).observe(took.as_secs_f64());
        self.requests.get_or_create(&Answered { method, route, status }).inc();
    }

    /// Counts events by the result of a call: the edge took them, it left them for later, or the call failed.
    pub fn relayed(&self, result: &'static str, events: usize) {
        self.relayed.get_or_create(&Relayed { result }).inc_by(events as u64);
    }

    /// Reads the values that are only worth reading on demand. If the database does not answer, its values are `NaN`.
    pub(crate) async fn refresh(&self, app: &App) {
        self.connections.set(i64::from(app.pool.size()));
        self.connections_idle.set(i64::try_from(app.pool.num_idle()).unwrap_or(i64::MAX));
        let outbox = sqlx::query!(
            r#"select coalesce(sum(cardinality(recipients)), 0)::float8 as "events!",
                coalesce(extract(epoch from clock_timestamp() - min(created_at)), 0)::float8 as "oldest_s!"
            from outbox"#
        )
        .fetch_one(&app.pool)
        .await;
        let (events, oldest_s) = outbox.map_or((f64::NAN, f64::NAN), |row| (row.events, row.oldest_s));
        self.outbox_events.set(events);
        self.outbox_oldest_s.set(oldest_s);
    }

    /// How many events wait, and for how many seconds the oldest, as [`Metrics::refresh`] found them.
    pub(crate) fn outbox(&self) -> (f64, f64) {
        (self.outbox_events.get(), self.outbox_oldest_s.get())
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// The routes of the metrics port.
pub fn router(app: Arc<App>) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(app)
}

async fn scrape(State(app): State<Arc<App>>) -> Result<impl IntoResponse, Error> {
    app.metrics.refresh(&app).await;
    let mut text = String::new();
    encode(&mut text, &app.metrics.registry).map_err(|_| Error::Internal("metrics cannot be written".to_owned()))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text))
}
