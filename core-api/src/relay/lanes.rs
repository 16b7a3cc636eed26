//! The events of claimed rows: which wait, which are under way, and which go next.
//!
//! No recipient waits for a slow one. New changes for few recipients, new changes for many, and changes that failed lately
//! have separate places. The edge answers a batch when its slowest recipient has answered, and does not say who that was.
//! So while a batch with a recipient is under way, their other events go in a second batch for them alone. There is no
//! third.
//!
//! Deliberately absent: IO.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use shared::limits::{EVENT_BATCH_BYTES_MAX, EVENT_BATCH_LEN_MAX};
use tokio::time::Instant;
use uuid::Uuid;

use crate::relay::{delivery::Event, rows::Row};

/// Most recipients of a change that goes in [`Lane::Few`].
const FEW: usize = 10;

/// Most claimed rows of each sort (never tried, and tried before) that are held at once.
const ROWS_HELD_MAX: usize = 500;

/// For this long after a recipient failed to take an event, their events go in [`Lane::Again`]. There they do not hold up
/// new events for others.
const FAILED_LATELY: Duration = Duration::from_secs(60);

/// Most batches in a row that are halved because the edge refused them whole, as long as the edge takes no other batch.
/// After that many, the edge is at fault and not an event.
const REFUSALS_IN_A_ROW_MAX: usize = 8;

/// Room in a batch for what is around the events, in bytes.
const ENVELOPE_BYTES: usize = 64;

/// Room for everything in an event except its payload, recipient and kind, in bytes.
const EVENT_BYTES: usize = 160;

/// A class of events that has places of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Few,
    Many,
    Again,
}

impl Lane {
    pub const ALL: [Self; 3] = [Self::Few, Self::Many, Self::Again];

    /// How many of its batches may be under way.
    fn places(self) -> usize {
        match self {
            Self::Few => 8,
            Self::Many | Self::Again => 4,
        }
    }
}

/// Events that are sent in one call.
pub struct Batch {
    pub events: Vec<Event>,
    lane: Lane,
    /// Whether all of it is for one recipient, who is in another batch under way as well.
    alone: bool,
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Taken,
    NotTaken,
    /// Its recipient had others under way, and there was no room for it to wait.
    PutOff,
    /// The edge was away, or this relay stops.
    Untried,
}

/// When the remaining recipients of a row are to be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Again {
    AfterFailure,
    Soon,
    AtOnce,
}

/// A row of which all events have an outcome.
pub struct Finished {
    pub id: Uuid,
    pub attempts: i32,
    pub remaining: Vec<String>,
    pub again: Again,
}

/// A claimed row.
struct Held {
    attempts: i32,
    open: usize,
    remaining: Vec<String>,
    again: Again,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Halves of batches that were refused whole, to be sent as they are.
    halves: VecDeque<Vec<Event>>,
    under_way: usize,
}

/// All rows that this relay has claimed, and their events.
pub struct Lanes {
    held: BTreeMap<Uuid, Held>,
    few: Waiting,
    many: Waiting,
    again: Waiting,
    /// Recipients of the batches under way that are not for one recipient alone.
    busy: BTreeSet<Arc<str>>,
    /// Recipients of the batches under way that are for one recipient alone.
    alone: BTreeSet<Arc<str>>,
    failed: BTreeMap<Arc<str>, Instant>,
    /// For this long after a recipient failed to take an event, that recipient is not tried.
    rest: Duration,
    refusals: usize,
    finished: Vec<Finished>,
}

impl Lanes {
    pub fn new(rest: Duration) -> Self {
        Self {
            held: BTreeMap::new(),
            few: Waiting::default(),
            many: Waiting::default(),
            again: Waiting::default(),
            busy: BTreeSet::new(),
            alone: BTreeSet::new(),
            failed: BTreeMap::new(),
            rest,
            refusals: 0,
            finished: Vec::new(),
        }
    }

    /// How many rows can be claimed: of those never tried, and of those tried before. If too many rows are held, the
    /// events for recipients who have a batch of their own under way are put off, to make room.
    pub fn room(&mut self) -> (usize, usize) {
        let mut again_held = self.again_held();
        if again_held.max(self.held.len() - again_held) >= ROWS_HELD_MAX {
            self.put_off_busy();
            again_held = self.again_held();
        }
        let room = |held: usize| ROWS_HELD_MAX.saturating_sub(held).min(EVENT_BATCH_LEN_MAX);
        let free = |lane: Lane| self.waiting(lane).under_way < lane.places();
        let fresh = if free(Lane::Few) || free(Lane::Many) { room(self.held.len() - again_held) } else { 0 };
        let idle = free(Lane::Again) && self.again.events.len() < EVENT_BATCH_LEN_MAX;
        (fresh, if idle { room(again_held) } else { 0 })
    }

    fn again_held(&self) -> usize {
        self.held.values().filter(|held| held.attempts > 0).count()
    }

    fn put_off_busy(&mut self) {
        for lane in Lane::ALL {
            let events = std::mem::take(&mut self.waiting_mut(lane).events);
            let (busy, free): (Vec<Event>, Vec<Event>) =
                events.into_iter().partition(|event| self.alone.contains(&event.recipient));
            self.waiting_mut(lane).events.extend(free);
            busy.iter().for_each(|event| self.end(event, Outcome::PutOff));
        }
    }

    /// The rows claimed.
    pub fn held(&self) -> Vec<Uuid> {
        self.held.keys().copied().collect()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub fn add(&mut self, row: Row, now: Instant) {
        let Row { id, attempts, .. } = row;
        let events = Event::all_of(row);
        let held = Held { attempts, open: events.len(), remaining: Vec::new(), again: Again::AfterFailure };
        self.held.insert(id, held);
        let lane = match attempts {
            0 if events.len() <= FEW => Lane::Few,
            0 => Lane::Many,
            _ => Lane::Again,
        };
        for event in events {
            let lane = if self.failed_within(&event.recipient, FAILED_LATELY, now) { Lane::Again } else { lane };
            self.waiting_mut(lane).events.push_back(event);
        }
        self.finish(id);
    }

    /// The next batch of this lane, when there is one and a place for it.
    pub fn next(&mut self, lane: Lane, now: Instant) -> Option<Batch> {
        if self.waiting(lane).under_way >= lane.places() {
            return None;
        }
        let batch = match self.half(lane) {
            Some(events) => Batch { events, lane, alone: false },
            None => self.compose(lane, now),
        };
        if batch.events.is_empty() {
            return None;
        }
        let recipients = if batch.alone { &mut self.alone } else { &mut self.busy };
        recipients.extend(batch.events.iter().map(|event| Arc::clone(&event.recipient)));
        self.waiting_mut(lane).under_way += 1;
        Some(batch)
    }

    fn half(&mut self, lane: Lane) -> Option<Vec<Event>> {
        let (busy, alone) = (&self.busy, &self.alone);
        let is_free = |event: &Event| !busy.contains(&event.recipient) && !alone.contains(&event.recipient);
        let place = self.waiting(lane).halves.iter().position(|half| half.iter().all(is_free))?;
        self.waiting_mut(lane).halves.remove(place)
    }

    fn compose(&mut self, lane: Lane, now: Instant) -> Batch {
        let mut waiting = std::mem::take(&mut self.waiting_mut(lane).events);
        let mut events: Vec<Event> = Vec::new();
        let mut only: Option<Arc<str>> = None;
        let mut passed_by = VecDeque::new();
        let mut bytes = ENVELOPE_BYTES;
        while events.len() < EVENT_BATCH_LEN_MAX
            && let Some(event) = waiting.pop_front()
        {
            if self.failed_within(&event.recipient, self.rest, now) {
                self.end(&event, Outcome::NotTaken);
                continue;
            }
            if events.is_empty() && self.busy.contains(&event.recipient) && !self.alone.contains(&event.recipient) {
                only = Some(Arc::clone(&event.recipient));
            }
            let goes = match &only {
                Some(only) => event.recipient == *only,
                None => !self.busy.contains(&event.recipient) && !self.alone.contains(&event.recipient),
            };
            if !goes {
                passed_by.push_back(event);
                continue;
            }
            bytes += bytes_of(&event);
            if bytes > EVENT_BATCH_BYTES_MAX && !events.is_empty() {
                waiting.push_front(event);
                break;
            }
            events.push(event);
        }
        passed_by.append(&mut waiting);
        self.waiting_mut(lane).events = passed_by;
        Batch { events, lane, alone: only.is_some() }
    }

    /// Ends a batch that the edge answered. `taken` has the ids of the events that were taken.
    pub fn answered(&mut self, batch: Batch, taken: &BTreeSet<Uuid>, now: Instant) {
        self.leave_place(&batch);
        self.refusals = 0;
        for event in batch.events {
            if taken.contains(&event.id()) {
                self.failed.remove(&event.recipient);
                self.end(&event, Outcome::Taken);
            } else {
                self.failed.insert(Arc::clone(&event.recipient), now);
                self.end(&event, Outcome::NotTaken);
            }
        }
        self.failed.retain(|_, at| now.duration_since(*at) < FAILED_LATELY);
    }

    /// Ends a batch that the edge refused whole. One event may be the cause. As long as the edge takes other batches, the
    /// batch is split in halves to find that event.
    pub fn refused(&mut self, batch: Batch) {
        self.leave_place(&batch);
        let mut events = batch.events;
        if events.len() > 1 && self.refusals < REFUSALS_IN_A_ROW_MAX {
            self.refusals += 1;
            let second = events.split_off(events.len() / 2);
            self.again.halves.extend([events, second]);
        } else {
            events.iter().for_each(|event| self.end(event, Outcome::NotTaken));
        }
    }

    /// Ends a batch that did not reach the edge. The events that wait would not reach it either, so they are given up.
    pub fn unreachable(&mut self, batch: &Batch) {
        self.leave_place(batch);
        batch.events.iter().for_each(|event| self.end(event, Outcome::Untried));
        self.give_up_waiting();
    }

    /// Gives up all events that are not under way.
    pub fn give_up_waiting(&mut self) {
        for lane in Lane::ALL {
            let waiting = self.waiting_mut(lane);
            let (events, halves) = (std::mem::take(&mut waiting.events), std::mem::take(&mut waiting.halves));
            for event in events.into_iter().chain(halves.into_iter().flatten()) {
                self.end(&event, Outcome::Untried);
            }
        }
    }

    /// The rows that are finished by now.
    pub fn finished(&mut self) -> Vec<Finished> {
        std::mem::take(&mut self.finished)
    }

    fn leave_place(&mut self, batch: &Batch) {
        self.waiting_mut(batch.lane).under_way -= 1;
        let recipients = if batch.alone { &mut self.alone } else { &mut self.busy };
        for event in &batch.events {
            recipients.remove(&event.recipient);
        }
    }

    fn end(&mut self, event: &Event, outcome: Outcome) {
        let Some(held) = self.held.get_mut(&event.row.id) else { return };
        held.open -= 1;
        let again = match outcome {
            Outcome::Taken | Outcome::NotTaken => Again::AfterFailure,
            Outcome::PutOff => Again::Soon,
            Outcome::Untried => Again::AtOnce,
        };
        held.again = held.again.max(again);
        if outcome != Outcome::Taken {
            held.remaining.push(event.recipient.to_string());
        }
        self.finish(event.row.id);
    }

    fn finish(&mut self, id: Uuid) {
        if self.held.get(&id).is_some_and(|held| held.open == 0)
            && let Some(Held { attempts, remaining, again, .. }) = self.held.remove(&id)
        {
            self.finished.push(Finished { id, attempts, remaining, again });
        }
    }

    fn failed_within(&self, recipient: &Arc<str>, time: Duration, now: Instant) -> bool {
        self.failed.get(recipient).is_some_and(|at| now.duration_since(*at) < time)
    }

    fn waiting(&self, lane: Lane) -> &Waiting {
        match lane {
            Lane::Few => &self.few,
            Lane::Many => &self.many,
            Lane::Again => &self.again,
        }
    }

    fn waiting_mut(&mut self, lane: Lane) -> &mut Waiting {
        match lane {
            Lane::Few => &mut self.few,
            Lane::Many => &mut self.many,
            Lane::Again => &mut self.again,
        }
    }
}

/// An upper bound of the event's size as JSON. JSON takes at most six bytes for one byte of an id.
fn bytes_of(event: &Event) -> usize {
    EVENT_BYTES + event.payload_bytes + event.row.kind.len() + 6 * event.recipient.len()
}
