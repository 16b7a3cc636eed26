//! A run: its clock, the queue of events, and the result.
//!
//! The events are carried out in submodules. `devices` holds what clients do, `network` calls and answers, `objects` what
//! objects do, `runtime` what their runtime does to them, and `state` the records of all these. Three modules check:
//! `invariants` checks each action of an object at once, `liveness` looks for users who are still shown after they left, and
//! `convergence` compares in quiet times what everybody sees with the truth. `trace` records what happens, for readers.
//!
//! Deliberately absent: the rules, which are in `checks`, and the choice of steps, which is in `plan`.

mod convergence;
mod devices;
mod invariants;
mod liveness;
mod network;
mod objects;
mod runtime;
mod state;
mod trace;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    rc::Rc,
};

use presence::{Admission, Effect, TokenOutcome};
use shared::{
    ids::{SocketId, UserId},
    internal::{PeerAnswer, PeerMessage},
    wire::ClientMessage,
};

use crate::{
    checks::{Link, Verdict, Violation},
    client_view::ClientView,
    clients::SITES,
    core::{Core, id_of, who_is},
    counts::Counts,
    rng::{Draws, SeededRng},
    rules::Rule,
    steps::{Device, Ms, NetworkConditions, Place, Planned, QUIET_MS, Setting, Step, Tab, Who},
};

pub use state::{Cause, Said};
pub use trace::Trace;

use convergence::{CALM_MS, LOOK_MS};
use state::{Call, Client, Found, Object, Question, Then, skew};

/// Makes objects misbehave, to show that the checks find it.
pub struct EffectMutator {
    /// Changes the effects that an engine returns.
    pub effects: fn(Who, &Cause, &mut Vec<Effect>),
    /// Objects always set an alarm, even when the engine needs none.
    pub stray_alarms: bool,
}

enum SimEvent {
    Step(usize),
    Turn(Device, Tab),
    Connect {
        device: Device,
        attempt: u64,
    },
    Known {
        who: Who,
        question: Question,
        admission: Admission,
        then: Then,
    },
    Introduce {
        device: Device,
        socket: SocketId,
    },
    Arrive {
        call: u64,
    },
    ArriveAgain {
        to: Who,
        message: Rc<PeerMessage>,
    },
    Answer {
        call: u64,
        answer: PeerAnswer,
    },
    Fail {
        call: u64,
    },
    CoreAnswers {
        who: Who,
        question: Question,
    },
    Relay {
        who: Who,
    },
    Token {
        who: Who,
        generation: u64,
        socket: SocketId,
        outcome: TokenOutcome,
    },
    Alarm {
        who: Who,
        number: u64,
    },
    Tick {
        who: Who,
        generation: u64,
    },
    Redeploy {
        who: Who,
    },
    /// The runtime notices that a socket is closed.
    Hangs {
        who: Who,
        socket: SocketId,
    },
    Ghost {
        who: Who,
        sign: Ms,
    },
    ReadDue {
        who: Who,
        generation: u64,
        read: u64,
    },
    SnapshotDue {
        who: Who,
        generation: u64,
        socket: SocketId,
        wish: u32,
    },
    Hush,
    Calm,
    Look,
    QuietEnds,
}

struct Entry {
    at: Ms,
    number: u64,
    happening: SimEvent,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A run in progress.
pub struct World<'a> {
    setting: Setting,
    place: Place,
    rng: SeededRng,
    steps: &'a [Planned],
    mutator: Option<&'a EffectMutator>,
    now: Ms,
    queue: BinaryHeap<Reverse<Entry>>,
    next: u64,
    ids: Vec<UserId>,
    core: Core,
    objects: Vec<Object>,
    clients: BTreeMap<Device, Client>,
    links: Vec<Link>,
    calls: BTreeMap<u64, Call>,
    /// Network faults, each with its end. The newest that has not ended applies.
    conditions: Vec<(NetworkConditions, Ms)>,
    frozen: BTreeMap<SocketId, (Who, ClientView, bool)>,
    /// The trace, if it was asked for.
    trace: Option<Trace>,
    counts: Counts,
    /// The counts at the beginning of this part.
    counted: Counts,
    busy: Vec<Counts>,
    violation: Option<Violation>,
}

/// The result of a run.
#[derive(Debug)]
pub struct Outcome {
    pub counts: Counts,
    /// The counts of each part's busy time.
    pub busy: Vec<Counts>,
    pub violation: Option<Violation>,
    pub trace: Vec<String>,
}

/// Runs these steps.
pub fn run(setting: &Setting, steps: &[Planned], mutator: Option<&EffectMutator>, trace: Option<Trace>) -> Outcome {
    run_in(Place::default(), Core::new(setting), setting, steps, mutator, trace)
}

/// Runs these steps in these surroundings, with the friendships and settings of this core.
pub fn run_in(
    place: Place,
    core: Core,
    setting: &Setting,
    steps: &[Planned],
    mutator: Option<&EffectMutator>,
    trace: Option<Trace>,
) -> Outcome {
    let mut world = World::new(place, core, *setting, steps, mutator, trace);
    world.run();
    world.counts.user_days = setting.users as f64 * setting.days;
    let trace = world.trace.map(|trace| trace.lines.into()).unwrap_or_default();
    Outcome { counts: world.counts, busy: world.busy, violation: world.violation, trace }
}

impl<'a> World<'a> {
    fn new(
        place: Place,
        core: Core,
        setting: Setting,
        steps: &'a [Planned],
        mutator: Option<&'a EffectMutator>,
        trace: Option<Trace>,
    ) -> Self {
        let rng = SeededRng::new(setting.seed);
        let objects = (0..setting.users).map(|who| Object::new(skew(rng, &setting, who, 0)));
        let mut world = Self {
            setting,
            place,
            rng,
            steps,
            mutator,
            now: 0,
            queue: BinaryHeap::new(),
            next: 0,
            ids: (0..setting.users).map(id_of).collect(),
            core,
            objects: objects.collect(),
            clients: BTreeMap::new(),
            links: vec![Link::default(); setting.users * setting.users],
            calls: BTreeMap::new(),
            conditions: Vec::new(),
            frozen: BTreeMap::new(),
            trace,
            counts: Counts::default(),
            counted: Counts::default(),
            busy: Vec::new(),
            violation: None,
        };
        if let Some(first) = steps.first() {
            world.at(first.at, SimEvent::Step(0));
        }
        for part in 1..=setting.parts() {
            let end = part * setting.part_ms();
            world.at(end - QUIET_MS, SimEvent::Hush);
            world.at(end - LOOK_MS - CALM_MS, SimEvent::Calm);
            world.at(end - LOOK_MS, SimEvent::Look);
            world.at(end - 1, SimEvent::QuietEnds);
        }
        world
    }

    fn run(&mut self) {
        let end = self.setting.length_ms();
        while let Some(Reverse(entry)) = self.queue.pop() {
            if entry.at >= end || self.violation.is_some() {
                return;
            }
            self.now = entry.at;
            self.happening(entry.happening);
        }
    }

    fn at(&mut self, at: Ms, happening: SimEvent) {
        self.next += 1;
        self.queue.push(Reverse(Entry { at, number: self.next, happening }));
    }

    fn after(&mut self, ms: Ms, happening: SimEvent) {
        self.at(self.now + ms.max(0), happening);
    }

    fn judge(&mut self, who: &[Who], verdict: Verdict) {
        if let Err((rule, detail)) = verdict
            && self.violation.is_none()
            && !self.setting.ignored.has(rule)
        {
            self.violation = Some(Violation { rule, at: self.now, who: who.to_vec(), detail });
        }
    }

    fn break_rule(&mut self, rule: Rule, who: &[Who], detail: String) {
        self.judge(who, Err((rule, detail)));
    }

    /// The counts so far, including the heartbeats on sockets that are still open.
    fn counts_so_far(&self) -> Counts {
        let open = self.objects.iter().flat_map(|object| object.sockets.values());
        let heartbeats = open.map(|socket| self.heartbeats_of(socket)).sum::<u64>();
        Counts { heartbeats: self.counts.heartbeats + heartbeats, ..self.counts }
    }

    fn happening(&mut self, happening: SimEvent) {
        match happening {
            SimEvent::Step(index) => {
                let steps = self.steps;
                if let Some(next) = steps.get(index + 1) {
                    self.at(next.at, SimEvent::Step(index + 1));
                }
                if let Some(planned) = steps.get(index) {
                    self.step(&planned.step);
                }
            }
            SimEvent::Turn(device, tab) => self.turn(device, tab),
            SimEvent::Connect { device, attempt } => self.connect(device, attempt),
            SimEvent::Known { who, question, admission, then } => self.known(who, &question, admission, then),
            SimEvent::Introduce { device, socket } => self.introduce(device, socket),
            SimEvent::Arrive { call } => self.arrive(call),
            SimEvent::ArriveAgain { to, message } => {
                // The answer to a repeated message is dropped.
                self.late_wish(who_is(&message.from), to, &message);
                self.happen(to, Cause::Peer { message });
            }
            SimEvent::Answer { call, answer } => self.answer(call, Some(answer)),
            SimEvent::Fail { call } => self.answer(call, None),
            SimEvent::CoreAnswers { who, question } => {
                if self.done(who, question.generation) {
                    match self.found(who, &question) {
                        Found::Changed(social) => drop(self.happen(who, Cause::Social { social })),
                        Found::Same | Found::Deleted => {}
                        Found::Away => drop(self.happen(who, Cause::NoSocial)),
                    }
                }
            }
            SimEvent::Relay { who } => self.relay(who),
            SimEvent::Token { who, generation, socket, outcome } => {
                if self.done(who, generation) {
                    self.happen(who, Cause::Token { socket, outcome });
                }
            }
            SimEvent::Alarm { who, number } => self.alarm(who, number),
            SimEvent::Tick { who, generation } => {
                if self.done(who, generation) {
                    if let Some(memory) = &mut self.objects[who].memory {
                        memory.tick.ended();
                    }
                    self.objects[who].woken += 1;
                    self.happen(who, Cause::Tick);
                }
            }
            SimEvent::Redeploy { who } => self.redeploy(who),
            SimEvent::Hangs { who, socket } => self.close(who, socket),
            SimEvent::Ghost { who, sign } => self.look_for_ghost(who, sign),
            SimEvent::ReadDue { who, generation, read } => {
                let object = &self.objects[who];
                if object.generation == generation && object.reads.contains_key(&read) {
                    self.break_rule(Rule::EveryReaderIsAnswered, &[who], format!("read {read} waits"));
                }
            }
            SimEvent::SnapshotDue { who, generation, socket, wish } => {
                let object = &self.objects[who];
                let waits = object
                    .sockets
                    .get(&socket)
                    .is_some_and(|open| !open.client_view.ready && open.gone_at.is_none() && open.wishes == wish);
                if waits && object.generation == generation {
                    self.break_rule(Rule::EveryReaderIsAnswered, &[who], "a socket waits for its snapshot".into());
                }
            }
            SimEvent::Hush => {
                let now = self.counts_so_far();
                self.busy.push(now.since(self.counted));
                for object in &mut self.objects {
                    object.crash = None;
                }
            }
            SimEvent::Calm => {
                for object in &mut self.objects {
                    object.woken = 0;
                }
            }
            SimEvent::Look => self.look(),
            SimEvent::QuietEnds => {
                self.compare();
                self.counted = self.counts_so_far();
            }
        }
    }

    fn step(&mut self, step: &Step) {
        let whose: Vec<Who> = step.whose().into_iter().flatten().collect();
        self.note(&whose, || format!("step  {step:?}"));
        match step {
            Step::On(device) => self.switch_on(*device),
            Step::Off(device, leave) => self.switch_off(*device, *leave),
            Step::Reconnect(device) => self.reconnect(*device),
            Step::Turn(device, tab) => self.turn(*device, *tab),
            Step::Rush { device, pages, every_ms } => {
                for page in 0..*pages {
                    let tab = if page % 5 == 4 { Tab::Never(page) } else { Tab::Site(page % SITES) };
                    self.after(page as Ms * every_ms, SimEvent::Turn(*device, tab));
                }
            }
            Step::Idle(device, idle) => {
                self.client(*device).idle = *idle;
                self.say(*device, ClientMessage::SetIdle { idle: *idle });
            }
            Step::Watch(device, watching) => {
                self.client(*device).watching = *watching;
                self.say(*device, ClientMessage::Watch { watching: *watching });
            }
            Step::Invisible(device, invisible) => {
                self.say(*device, ClientMessage::SetVisibility { invisible: *invisible });
            }
            Step::Authenticate(device, good) => {
                let token = if *good { "good" } else { "bad" };
                self.say(*device, ClientMessage::Authenticate { token: token.to_owned() });
            }
            Step::OddHeartbeat(device) => self.utter(*device, Said::OddHeartbeat),
            Step::Misbehave { device, bad, times } => {
                for _ in 0..*times {
                    self.utter(*device, Said::Bad(*bad));
                }
            }
            Step::Read { reader, of } => self.ask_to_enter(*reader, Then::Read { of: *of, quiet: false }),
            Step::Befriend(..)
            | Step::Unfriend(..)
            | Step::Block(..)
            | Step::Share(..)
            | Step::Notify(_)
            | Step::Delete(_)
            | Step::Suspend(_)
            | Step::Restore(_) => self.change_core(step),
            Step::Evict(who) => {
                self.counts.evictions += 1;
                self.lose_memory(*who, true);
            }
            Step::Redeploy(who) => self.redeploy(*who),
            Step::Drop(device) => self.drop_with_memory(*device),
            Step::RedeployAll { within_ms } => {
                for who in 0..self.setting.users {
                    let ms = self.draws(&[11, who as u64, self.now as u64]).ms(0, *within_ms);
                    self.after(ms, SimEvent::Redeploy { who });
                }
            }
            Step::Crash { who, effects, sockets } => self.objects[*who].crash = Some((*effects, *sockets)),
            Step::Network { conditions, for_ms } => self.conditions.push((*conditions, self.now + for_ms)),
            Step::CoreOutage { for_ms } => {
                let until = self.now + for_ms;
                self.core.away_until = self.core.away_until.max(until);
                for who in 0..self.setting.users {
                    if self.core.waits(who) {
                        self.core.postpone(who, until);
                        self.at(until + 50, SimEvent::Relay { who });
                    }
                }
            }
        }
    }

    /// The network fault that applies now, if there is one.
    fn conditions(&self) -> Option<NetworkConditions> {
        self.conditions.iter().rev().find(|(_, until)| self.now < *until).map(|(conditions, _)| *conditions)
    }

    fn draws(&self, name: &[u64]) -> Draws {
        self.rng.of(name)
    }
}
