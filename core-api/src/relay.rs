//! Delivers the events in the outbox to the edge at least once, whatever crashes and however many instances run.
//!
//! A row is claimed for a while. The claim is renewed while the row's events are under way, and the row is settled when
//! each of them has an outcome. So two instances do not send the same row, no database connection is held meanwhile, and
//! what a crash leaves behind is due again soon.
//!
//! Deliberately absent: order. Events carry versions, and receivers cope with any order and with repeats.

mod delivery;
mod lanes;
mod rows;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet, time::Instant};
use uuid::Uuid;

use crate::{
    App,
    config::ServeConfig,
    outbox,
    relay::{
        delivery::{Edge, Event, Undelivered},
        lanes::{Again, Batch, Finished, Lane, Lanes},
        rows::Settled,
    },
};

/// First wait after a failure, in milliseconds. It doubles with every further one.
const RETRY_MS_MIN: u64 = 500;

/// How long a claim lasts. Events that were under way at a crash are sent again after it.
const LEASE: Duration = Duration::from_secs(10);

/// Time between two renewals of claims.
pub const RENEWAL: Duration = Duration::from_secs(3);

/// The task that delivers.
pub struct Relay {
    app: Arc<App>,
    edge: Arc<Edge>,
    poll: Duration,
    retry_ms_max: u64,
}

/// A batch that is no longer under way, and how the call ended.
struct Ended {
    batch: Batch,
    result: Result<BTreeSet<Uuid>, Undelivered>,
}

/// The state of one run of the task.
struct Run {
    lanes: Lanes,
    under_way: JoinSet<Ended>,
    /// When to read the outbox next.
    look_at: Instant,
    /// At the last look, no more rows of at least one sort could be claimed.
    crowded: bool,
    renew_at: Instant,
    /// Failed attempts to reach the edge since it was last reached.
    unreached: u32,
    /// Failed attempts to read the outbox since it was last read.
    unread: u32,
    /// No batch is sent and no row is claimed before this moment.
    paused_until: Instant,
}

impl Relay {
    /// A relay to the edge of this configuration.
    ///
    /// # Errors
    ///
    /// When the signing secret is no Standard Webhooks secret, or the edge's URL cannot have a path.
    pub fn new(app: Arc<App>, config: &ServeConfig) -> anyhow::Result<Self> {
        Ok(Self {
            app,
            edge: Arc::new(Edge::new(config)?),
            poll: Duration::from_millis(config.outbox_poll_ms),
            retry_ms_max: config.outbox_retry_ms_max,
        })
    }

    /// Delivers until told to stop. Batches under way are finished first.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let now = Instant::now();
        let mut run = Run {
            // Not longer than the shortest wait of a row after a failure.
            lanes: Lanes::new(Duration::from_millis(RETRY_MS_MIN.min(self.retry_ms_max) / 2)),
            under_way: JoinSet::new(),
            look_at: now,
            crowded: false,
            renew_at: now + RENEWAL,
            unreached: 0,
            unread: 0,
            paused_until: now,
        };
        loop {
            let stopping = *stopped.borrow();
            if stopping {
                run.lanes.give_up_waiting();
            } else {
                self.begin(&mut run).await;
            }
            self.settle(&mut run).await;
            if stopping && run.under_way.is_empty() {
                return;
            }
            if !run.lanes.is_empty() && run.renew_at <= Instant::now() {
                self.renew(&mut run).await;
            }
            let wake_at = match (stopping, run.lanes.is_empty()) {
                (true, _) => run.renew_at,
                (false, true) => run.look_at.max(run.paused_until),
                (false, false) => run.look_at.max(run.paused_until).min(run.renew_at),
            };
            tokio::select! {
                Some(ended) = run.under_way.join_next() => match ended {
                    Ok(ended) => self.end(&mut run, ended),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                () = tokio::time::sleep_until(wake_at) => {}
                // New events do not shorten a pause: while the edge is away, they would only cause more failed calls.
                () = self.app.outbox_written.notified(), if !stopping => run.look_at = Instant::now(),
                _ = stopped.changed(), if !stopping => {}
            }
        }
    }

    /// Sends the batches for which there are places, and claims more rows if it is time for that.
    async fn begin(&self, run: &mut Run) {
        let now = Instant::now();
        if now < run.paused_until {
            return;
        }
        self.send(run, now);
        if now < run.look_at {
            return;
        }
        let (fresh, again) = match run.lanes.room() {
            // One batch is enough to find out whether the edge is back.
            _ if run.unreached > 0 && !run.under_way.is_empty() => (0, 0),
            (fresh, again) if run.unreached > 0 => (fresh.min(1), again.min(1)),
            room => room,
        };
        run.crowded = fresh == 0 || again == 0;
        if fresh == 0 && again == 0 {
            run.look_at = now + self.poll;
            return;
        }
        match self.look(run, fresh, again).await {
            Ok(()) => {
                run.unread = 0;
                self.send(run, Instant::now());
            }
            Err(error) => {
                let cause = format!("{:?}", crate::error::Error::from(error));
                tracing::warn!(cause, failures = run.unread, "the outbox could not be read");
                run.unread = run.unread.saturating_add(1);
                run.paused_until = Instant::now() + self.retry_after(run.unread);
            }
        }
    }

    fn send(&self, run: &mut Run, now: Instant) {
        for lane in Lane::ALL {
            while (run.unreached == 0 || run.under_way.is_empty())
                && let Some(batch) = run.lanes.next(lane, now)
            {
                let (app, edge) = (Arc::clone(&self.app), Arc::clone(&self.edge));
                run.under_way.spawn(async move {
                    let result = deliver(&app, &edge, &batch.events).await;
                    Ended { batch, result }
                });
            }
        }
    }

    /// Claims at most `fresh` rows that were never tried and at most `again` rows that were. If neither limit is reached,
    /// asks when the next row is due.
    async fn look(&self, run: &mut Run, fresh: usize, again: usize) -> Result<(), sqlx::Error> {
        if run.lanes.is_empty() {
            run.renew_at = Instant::now() + RENEWAL;
        }
        let claimed = rows::claim(&self.app.pool, fresh, again, LEASE).await?;
        let tried = claimed.iter().filter(|row| row.attempts > 0).count();
        let more = claimed.len() - tried == fresh && fresh > 0 || tried == again && again > 0;
        let now = Instant::now();
        for row in claimed {
            run.lanes.add(row, now);
        }
        if !more {
            let wait = match rows::next_due_ms(&self.app.pool).await? {
                None => self.poll,
                // The row is due but was not claimed: another version of the program, which locks rows, has it, or there
                // was no place for it. Do not ask again without a pause.
                Some(ms) if ms <= 0.0 => Duration::from_millis(RETRY_MS_MIN),
                Some(ms) => Duration::from_millis(ms as u64 + 1),
            };
            run.look_at = Instant::now() + wait.min(self.poll);
        }
        Ok(())
    }

    fn end(&self, run: &mut Run, Ended { batch, result }: Ended) {
        let sent = batch.events.len();
        let now = Instant::now();
        if run.crowded {
            run.look_at = now;
        }
        match result {
            Ok(taken) => {
                let taken_len = batch.events.iter().filter(|event| taken.contains(&event.id())).count();
                self.app.metrics.relayed("taken", taken_len);
                self.app.metrics.relayed("left", sent - taken_len);
                run.unreached = 0;
                run.lanes.answered(batch, &taken, now);
            }
            Err(Undelivered::Refused(cause)) => {
                tracing::warn!(cause, events = sent, "events could not be relayed");
                self.app.metrics.relayed("failed", sent);
                run.unreached = 0;
                run.lanes.refused(batch);
            }
            Err(Undelivered::Unreachable(cause)) => {
                tracing::warn!(cause, failures = run.unreached, "events could not be sent");
                self.app.metrics.relayed("failed", sent);
                run.lanes.unreachable(&batch);
                // Several batches that were under way at the same time count as one failure.
                if run.paused_until <= now {
                    run.unreached = run.unreached.saturating_add(1);
                    run.paused_until = now + self.retry_after(run.unreached);
                    run.look_at = now;
                }
            }
        }
    }

    /// Stores what became of finished rows. If that fails, their claims run out, and they are sent again.
    async fn settle(&self, run: &mut Run) {
        let settled: Vec<Settled> = run.lanes.finished().into_iter().map(|row| self.settled(row)).collect();
        if settled.is_empty() {
            return;
        }
        let waits = settled.iter().filter(|row| !row.remaining.is_empty()).map(|row| row.wait);
        let next = waits.min().map(|wait| wait + Duration::from_millis(1));
        if let Err(error) = rows::settle(&self.app.pool, &settled).await {
            let cause = format!("{:?}", crate::error::Error::from(error));
            tracing::warn!(cause, rows = settled.len(), "what was relayed could not be written down");
        }
        if let Some(wait) = next {
            run.look_at = run.look_at.min(Instant::now() + wait);
        }
    }

    fn settled(&self, Finished { id, attempts, remaining, again }: Finished) -> Settled {
        let attempt = u32::try_from(attempts).unwrap_or(0).saturating_add(1);
        let wait = match again {
            Again::AfterFailure => self.retry_after(attempt),
            Again::Soon => self.retry_after(1),
            Again::AtOnce => Duration::ZERO,
        };
        Settled { id, remaining, wait, attempted: again == Again::AfterFailure }
    }

    async fn renew(&self, run: &mut Run) {
        run.renew_at = Instant::now() + RENEWAL;
        if let Err(error) = rows::renew(&self.app.pool, &run.lanes.held(), LEASE).await {
            let cause = format!("{:?}", crate::error::Error::from(error));
            tracing::warn!(cause, "claims could not be renewed");
        }
    }

    /// The wait after this many failures. It doubles with each, up to the configured maximum. Up to half of it is taken off
    /// at random, so that instances do not retry in step.
    fn retry_after(&self, failures: u32) -> Duration {
        let doubled = RETRY_MS_MIN.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let longest = doubled.min(self.retry_ms_max);
        Duration::from_millis(longest - fastrand::u64(0..=longest / 2))
    }
}

/// Sends these events, except those that show a user whom a block hides from the recipient by now: these are dropped.
/// Returns the ids of the events that need not be sent again.
async fn deliver(app: &App, edge: &Edge, events: &[Event]) -> Result<BTreeSet<Uuid>, Undelivered> {
    let shown = events.iter().map(|event| (&*event.recipient, &event.row.payload.0));
    let outdated = outbox::outdated_by_blocks(&app.pool, shown).await;
    let outdated = outdated.map_err(|_| Undelivered::Unreachable("blocks could not be read".to_owned()))?;
    let (over, rest): (Vec<_>, Vec<_>) = events.iter().enumerate().partition(|(place, _)| outdated.contains(place));
    let over = over.into_iter().map(|(_, event)| event.id());
    if rest.is_empty() {
        return Ok(over.collect());
    }
    let rest: Vec<Event> = rest.into_iter().map(|(_, event)| event.clone()).collect();
    let mut taken = edge.send(&rest).await?;
    taken.extend(over);
    Ok(taken)
}
