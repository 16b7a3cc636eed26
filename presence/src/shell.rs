//! What the shell around an engine decides: when its one alarm is moved, when a timer runs, and when the core is asked before
//! somebody is let in.
//!
//! The worker and the simulator drive the same three machines, so that what is simulated is what runs. Deliberately absent: IO.
//! Each step says what to do, and the shell reports what came of it.

use shared::time::Timestamp;

use crate::{
    engine::UserPresence,
    limits::{ALARM_LATE_MS, SOCIAL_FRESH_MS},
};

/// Keeps an object's one alarm at, or before, the moment at which the engine wants to be woken.
///
/// An earlier alarm is left alone. It finds nothing to do and is set anew, which costs less than to move it with every sign of life.
#[derive(Debug, Clone, Copy)]
pub struct AlarmKeeper(Alarm);

/// What is known of the alarm.
#[derive(Debug, Clone, Copy)]
enum Alarm {
    /// Nothing since memory began. The runtime has to be asked.
    Unknown,
    /// The object has slept. Before that, an alarm was set for this moment or an earlier one.
    Presumed(Timestamp),
    /// It is set for this moment; `None`: no alarm is set.
    Set(Option<Timestamp>),
}

/// What to do about the alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlarmStep {
    Leave,
    /// It is not known. Ask the runtime when it is set, and go on with [`AlarmKeeper::found`].
    Look,
    Set(Timestamp),
}

impl AlarmKeeper {
    /// Right after [`UserPresence::restore`]. `was_absent`: there were no sockets, and storage held that friends believe the user
    /// to be offline. Such a user has no alarm, or one that finds nothing to do. To look first would end the transaction in
    /// which the alarm is set together with what is stored of somebody who comes.
    pub fn restored(engine: &UserPresence, was_absent: bool) -> Self {
        Self(match engine.next_wake() {
            _ if was_absent => Alarm::Set(None),
            Some(wake) if engine.has_slept() => Alarm::Presumed(wake.at),
            _ => Alarm::Unknown,
        })
    }

    /// After every event. `wake`: when the engine wants to be woken. `by_friends`: only friends spoke. Then a presumed alarm is
    /// enough, since to look would take longer than everything else. After other events the keeper looks: heartbeats postpone the
    /// wake-up again and again, and a missing alarm would never be noticed.
    pub fn next(&mut self, wake: Option<Timestamp>, by_friends: bool, now: Timestamp) -> AlarmStep {
        let Some(wake) = wake else { return AlarmStep::Leave };
        let step = match self.0 {
            Alarm::Set(Some(at)) if is_in_time(at, wake, now) => return AlarmStep::Leave,
            Alarm::Presumed(at) if by_friends && is_in_time(at, wake, now) => return AlarmStep::Leave,
            Alarm::Set(_) => AlarmStep::Set(wake),
            Alarm::Presumed(_) | Alarm::Unknown => AlarmStep::Look,
        };
        // Until it is done, no other event does it too.
        self.0 = Alarm::Set(Some(wake));
        step
    }

    /// Before the alarm is set. `set`: when it is set, if it was looked for. `wake`: when the engine wants to be woken by now, which may
    /// have changed while it was looked for.
    pub fn found(&mut self, set: Option<Timestamp>, wake: Option<Timestamp>, now: Timestamp) -> AlarmStep {
        let Some(wake) = wake else {
            self.0 = Alarm::Unknown;
            return AlarmStep::Leave;
        };
        if set.is_some_and(|at| is_in_time(at, wake, now)) {
            self.0 = Alarm::Set(set);
            return AlarmStep::Leave;
        }
        self.0 = Alarm::Set(Some(wake));
        AlarmStep::Set(wake)
    }

    /// The alarm fired, or storage was emptied: none is set.
    pub fn gone(&mut self) {
        self.0 = Alarm::Set(None);
    }

    /// It could not be set.
    pub fn failed(&mut self) {
        self.0 = Alarm::Unknown;
    }

    /// Whether the next step would set the alarm without looking.
    pub fn is_known(&self) -> bool {
        matches!(self.0, Alarm::Set(_))
    }
}

/// Whether an alarm for that moment wakes the object in time. The runtime gives up one that has failed for too long.
fn is_in_time(at: Timestamp, wake: Timestamp, now: Timestamp) -> bool {
    at <= wake && at.plus_ms(ALARM_LATE_MS) >= now
}

/// Runs one timer at a time for what cannot wait for the alarm, which would cost a row.
#[derive(Debug, Clone, Copy, Default)]
pub struct TickTimer {
    runs: bool,
}

impl TickTimer {
    /// After every event: when the timer that is to be started ends. `None` while one runs, or none is wanted.
    pub fn start(&mut self, engine: &UserPresence) -> Option<Timestamp> {
        let at = engine.next_tick().filter(|_| !self.runs)?;
        self.runs = true;
        Some(at)
    }

    /// The timer has ended, and the engine is woken.
    pub fn ended(&mut self) {
        self.runs = false;
    }
}

/// Decides whether somebody is let in who connects or reads, and whether the core is asked before.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// What is kept is to be compared with the core's.
    refresh: bool,
    questions: u8,
    away: bool,
}

/// An answer that an event has overtaken on its way is not taken in. The second is as new as the event.
const QUESTIONS_MAX: u8 = 2;

/// What to do with somebody who wants to be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdmissionStep {
    /// Ask the core, unless it still has this version; then go on, or with [`Admission::core_away`] before.
    AskCore {
        known_version: Option<u64>,
    },
    LetIn,
    /// An operator has suspended the user.
    Suspended,
    /// Friends and settings are not known, and the core is away.
    Unknown,
}

impl Admission {
    /// A client connects. The core is asked when names are missing, and when the user comes online, unless it said a moment ago
    /// (`told_at`) what is true: its events tell what has changed since.
    pub fn of_client(engine: &UserPresence, told_at: Option<Timestamp>, now: Timestamp) -> Self {
        let told_lately = told_at.is_some_and(|at| now < at.plus_ms(SOCIAL_FRESH_MS));
        let comes = !engine.is_present() && !told_lately;
        Self { refresh: comes || engine.known_version().is_none(), questions: 0, away: false }
    }

    /// A `GET` of everybody, or of one friend, who is shown without a name.
    pub fn of_reader(engine: &UserPresence, of_one: bool) -> Self {
        let names_missing = !of_one && engine.known_version().is_none();
        Self { refresh: engine.is_absent_and_behind() || names_missing, questions: 0, away: false }
    }

    /// The next step, until somebody is let in or not.
    pub fn next(&mut self, engine: &UserPresence) -> AdmissionStep {
        let knows = engine.social_version().is_some();
        let wants = !knows || (self.refresh && self.questions == 0);
        if wants && self.questions < QUESTIONS_MAX && !self.away {
            self.questions += 1;
            return AdmissionStep::AskCore { known_version: engine.known_version() };
        }
        match knows {
            _ if engine.is_suspended() => AdmissionStep::Suspended,
            true => AdmissionStep::LetIn,
            false => AdmissionStep::Unknown,
        }
    }

    /// The core did not answer in time. What is kept serves.
    pub fn core_away(&mut self) {
        self.away = true;
    }
}
