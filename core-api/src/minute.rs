//! One log line a minute about the state of this process, for platforms that read logs but do not scrape metrics.
//!
//! Terraform makes metrics and alarms of its fields: `terraform/eyes.tf` must have the same names.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{self, MissedTickBehavior},
};

use crate::App;

const EVERY: Duration = Duration::from_secs(60);
/// How long a line waits for the database, in milliseconds. A database that is away must not keep a process from ending.
const DATABASE_MS_MAX: u64 = 2_000;

/// Upper bounds of the classes in which latency is counted, in milliseconds. Slower answers count in the last class.
const LATENCIES_MS: [u32; 20] =
    [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000];

/// Health checks of orchestrators and load balancers. They are not counted: they are many and quick, and no user makes
/// them.
const HEALTH: [&str; 2] = ["/healthz", "/readyz"];

/// What was answered since the last line.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Answers>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Answers {
    succeeded: u64,
    refused: u64,
    failed: u64,
    /// How many answers are in each class of [`LATENCIES_MS`].
    latencies: [u64; LATENCIES_MS.len()],
}

impl Recent {
    /// Counts an answer. `route` is the pattern that matched.
    pub fn answered(&self, route: &str, status: u16, took: Duration) {
        if HEALTH.contains(&route) {
            return;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).count(status, took);
    }

    fn take(&self) -> Answers {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Answers {
    fn count(&mut self, status: u16, took: Duration) {
        let class = match status {
            500.. => &mut self.failed,
            400.. => &mut self.refused,
            _ => &mut self.succeeded,
        };
        *class = class.saturating_add(1);
        let place = LATENCIES_MS.iter().position(|ms| took <= Duration::from_millis((*ms).into()));
        let place = place.unwrap_or(LATENCIES_MS.len().saturating_sub(1));
        if let Some(count) = self.latencies.get_mut(place) {
            *count = count.saturating_add(1);
        }
    }

    /// The smallest bound of a class that at least this percentage of the answers kept; 0 when there were no answers.
    fn percentile_ms(&self, percent: u64) -> u32 {
        let all: u64 = self.latencies.iter().sum();
        let wanted = all.saturating_mul(percent).div_ceil(100);
        let mut seen: u64 = 0;
        for (count, ms) in self.latencies.iter().zip(LATENCIES_MS) {
            seen = seen.saturating_add(*count);
            if wanted > 0 && seen >= wanted {
                return ms;
            }
        }
        0
    }
}

/// Writes the line each minute, and once more at the end.
pub async fn run(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = time::interval_at(time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => tell(&app).await,
            _ = stopped.changed() => return tell(&app).await,
        }
    }
}

async fn tell(app: &App) {
    let answers = app.metrics.recent.take();
    let refreshed = time::timeout(Duration::from_millis(DATABASE_MS_MAX), app.metrics.refresh(app)).await;
    // Without an answer these are NaN, which is null in JSON. The values of an older answer would hide that there is none.
    let (outbox_events, outbox_oldest_s) = refreshed.map_or((f64::NAN, f64::NAN), |()| app.metrics.outbox());
    tracing::info!(
        answers_2xx = answers.succeeded,
        answers_4xx = answers.refused,
        answers_5xx = answers.failed,
        latency_p50_ms = answers.percentile_ms(50),
        latency_p99_ms = answers.percentile_ms(99),
        pool_connections = app.pool.size(),
        pool_idle = app.pool.num_idle(),
        outbox_events,
        outbox_oldest_s,
        "minute"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_class_and_health_checks_are_not() {
        let recent = Recent::default();
        for (route, status) in
            [("/users/me", 200), ("/users/me", 201), ("/users/me", 404), ("/users/me", 503), ("/healthz", 200)]
        {
            recent.answered(route, status, Duration::from_millis(4));
        }
        let answers = recent.take();
        assert_eq!((answers.succeeded, answers.refused, answers.failed), (2, 1, 1));
        assert_eq!(recent.take(), Answers::default());
    }

    #[test]
    fn a_percentile_is_the_bound_that_so_many_answers_kept() {
        let mut answers = Answers::default();
        assert_eq!((answers.percentile_ms(50), answers.percentile_ms(99)), (0, 0));
        for _ in 0..98 {
            answers.count(200, Duration::from_micros(1_500));
        }
        answers.count(200, Duration::from_millis(180));
        answers.count(200, Duration::from_secs(60));
        assert_eq!((answers.percentile_ms(50), answers.percentile_ms(98)), (2, 2));
        assert_eq!((answers.percentile_ms(99), answers.percentile_ms(100)), (200, 10_000));
    }
}
