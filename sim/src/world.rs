//! Objects, clients, the network between them and the clock: lets the steps of a plan happen.
//!
//! Deliberately absent: what is right, which is in `checks`, and what is to happen, which is in `plan`.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    rc::Rc,
};

use presence::{Attachment, Effect, Event, Frame, ReadId, Reply, Save, Saved, Times, TokenOutcome, UserPresence};
use shared::{
    ids::{SocketId, UserId},
    internal::{CoreEvent, EventsTaken, PeerAnswer, PeerMessage, PeerSay, Social, Wants},
    limits::{CORE_CALL_MS_MAX, FRAME_BYTES_MAX, PEER_CALL_MS_MAX, SOCIAL_REFRESH_MS_MAX, SOCKETS_MAX},
    page::Page,
    time::Timestamp,
    wire::{ClientMessage, CloseCode, PageView, PresenceSnapshot, ServerMessage},
};
use uuid::Uuid;

use crate::{
    checks::{self, Emitted, Link, Rule, Says, Told, Verdict, Violation},
    clients::{SITES, url_of},
    core::{Core, id_of, who_is},
    counts::Counts,
    dice::{Dice, Draws},
    plan::{Bad, Clock, Device, Leave, Ms, Planned, QUIET_MS, Setting, Step, Tab, Weather, Who},
    screen::{Appearance, Look, Screen, Seen},
};

/// When a run begins.
const BEGIN_MS: i64 = 1_772_366_400_000;

/// An object that rests for so long is put to sleep.
const SLEEP_MS: Ms = 10_000;

/// Clients send a heartbeat this often.
const HEARTBEAT_MS: Ms = 60_000;

/// How long somebody may be shown online after their last sign of life.
const GHOST_MS: Ms = 190_000;

/// The last look at all screens is so long before a quiet time's end.
const LOOK_MS: Ms = 10_000;

/// In so much time before that, nobody has anything to do.
const CALM_MS: Ms = 100_000;

/// Within this time every question and every new socket has its answer.
const ANSWER_MS: Ms = 5_000;

/// Changes what objects do, to show that the checks find it.
pub struct Doctor {
    /// Changes what an engine wants done.
    pub effects: fn(Who, &Cause, &mut Vec<Effect>),
    /// Objects set an alarm whenever they have none.
    pub stray_alarms: bool,
}

/// Why an engine is asked.
#[derive(Debug, Clone)]
pub enum Cause {
    Open { socket: SocketId, expires_at: Timestamp },
    Frame { socket: SocketId, frame: Said },
    Close { socket: SocketId },
    Peer { message: Rc<PeerMessage> },
    Answer { peer: UserId, answer: PeerAnswer },
    Failure { peer: UserId },
    Social { social: Rc<Social> },
    NoSocial,
    Core { events: Vec<CoreEvent> },
    Read { read: ReadId, of: Option<UserId> },
    Token { socket: SocketId, outcome: TokenOutcome },
    Alarm,
    Tick,
}

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Message(ClientMessage),
    OddHeartbeat,
    Bad(Bad),
}

struct Object {
    memory: Option<Memory>,
    /// Grows whenever memory is lost.
    generation: u64,
    skew_ms: Ms,
    saved: Saved,
    sockets: BTreeMap<SocketId, Socket>,
    /// When the alarm that is set fires, and which one it is.
    alarm: Option<Ms>,
    alarms: u64,
    /// For so long alarms came late lately, because memory was lost within them.
    alarm_late_ms: Ms,
    alarm_late_at: Ms,
    crash: Option<(usize, bool)>,
    /// Memory was lost in the midst of something, and nothing has been handled since.
    mends: bool,
    reads: BTreeMap<u64, Read>,
    /// How often the core was asked of this user.
    asked: u64,

    told: Told,
    emitted: Emitted,
    /// The page reports taken in.
    reports: u64,
    /// The client's last sign of life, while no socket lives.
    last_sign: Ms,
    /// Until when the user counts as watching though no socket does.
    watched_until: Ms,
    /// Alarms and ticks in a quiet time.
    woken: u32,
    quiet_reply: Option<PresenceSnapshot>,
}

struct Memory {
    engine: UserPresence,
    active_at: Ms,
    /// What keeps the object from sleeping: calls, timers.
    pending: u32,
    pending_since: Ms,
    /// Calls that the alarm's handler waits for.
    alarm_calls: u32,
    tick: Option<Ms>,
}

struct Socket {
    device: Device,
    attachment: Option<Attachment>,
    opened_at: Ms,
    last_frame: Ms,
    /// Since when nobody is at its other end.
    gone_at: Option<Ms>,
    screen: Screen,
    /// How often its client has wished for another snapshot.
    wishes: u32,
    report: Option<(u64, Option<Page>)>,
    idle: bool,
    watching: bool,
    /// A crash left it open what of its client's words was taken in.
    unsure: bool,
}

#[derive(Default)]
struct Client {
    on: bool,
    socket: Option<SocketId>,
    attempts: u64,
    tab: Option<(Tab, u64)>,
    idle: bool,
    watching: bool,
    /// The newest `seq` seen of each user, on any socket.
    seqs: BTreeMap<Who, u64>,
}

struct Read {
    of: Option<Who>,
    quiet: bool,
}

struct Call {
    from: Who,
    to: Who,
    generation: u64,
    message: Rc<PeerMessage>,
    of_alarm: bool,
    /// How long the answer takes; `None`: it does not arrive in time.
    answer_ms: Option<Ms>,
}

/// What the core said of a user.
#[derive(Debug, Clone)]
enum Found {
    Changed(Rc<Social>),
    Same,
    Away,
    Deleted,
}

/// Why the shell looked at the core.
#[derive(Debug, Clone, Copy)]
enum Then {
    Open(Device),
    Read { of: Option<Who>, quiet: bool },
}

enum Happening {
    Step(usize),
    Turn(Device, Tab),
    Connect {
        device: Device,
        attempt: u64,
    },
    Known {
        who: Who,
        generation: u64,
        found: Found,
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
        generation: u64,
        found: Found,
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
        at: Ms,
    },
    Redeploy {
        who: Who,
    },
    /// The runtime finds a socket closed.
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
    happening: Happening,
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

/// A run under way.
pub struct World<'a> {
    setting: Setting,
    dice: Dice,
    steps: &'a [Planned],
    doctor: Option<&'a Doctor>,
    now: Ms,
    queue: BinaryHeap<Reverse<Entry>>,
    next: u64,
    ids: Vec<UserId>,
    core: Core,
    objects: Vec<Object>,
    clients: BTreeMap<Device, Client>,
    links: Vec<Link>,
    calls: BTreeMap<u64, Call>,
    weather: Option<(Weather, Ms)>,
    frozen: BTreeMap<SocketId, (Who, Screen, bool)>,
    /// Lines of the trace; `None` while nobody reads it.
    trace: Option<Trace>,
    counts: Counts,
    violation: Option<Violation>,
}

/// The last things that happened to some users, or to all.
#[derive(Debug, Default)]
pub struct Trace {
    /// Empty: all.
    pub whose: BTreeSet<Who>,
    /// Tell only what clients of all but this user are sent, without the time.
    pub sent_to_all_but: Option<Who>,
    pub lines_max: usize,
    pub lines: VecDeque<String>,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    pub counts: Counts,
    pub violation: Option<Violation>,
    pub trace: Vec<String>,
}

/// Lets these steps happen.
pub fn run(setting: &Setting, steps: &[Planned], doctor: Option<&Doctor>, trace: Option<Trace>) -> Outcome {
    let mut world = World::new(*setting, steps, doctor, trace);
    world.run();
    world.counts.user_days = setting.users as f64 * setting.days;
    let trace = world.trace.map(|trace| trace.lines.into()).unwrap_or_default();
    Outcome { counts: world.counts, violation: world.violation, trace }
}

impl<'a> World<'a> {
    fn new(setting: Setting, steps: &'a [Planned], doctor: Option<&'a Doctor>, trace: Option<Trace>) -> Self {
        let dice = Dice::new(setting.seed);
        let objects = (0..setting.users).map(|who| Object {
            memory: None,
            generation: 0,
            skew_ms: skew(dice, &setting, who, 0),
            saved: Saved::default(),
            sockets: BTreeMap::new(),
            alarm: None,
            alarms: 0,
            alarm_late_ms: 0,
            alarm_late_at: -1,
            crash: None,
            mends: false,
            reads: BTreeMap::new(),
            asked: 0,
            told: Told::default(),
            emitted: Emitted::default(),
            reports: 0,
            last_sign: 0,
            watched_until: 0,
            woken: 0,
            quiet_reply: None,
        });
        let mut world = Self {
            setting,
            dice,
            steps,
            doctor,
            now: 0,
            queue: BinaryHeap::new(),
            next: 0,
            ids: (0..setting.users).map(id_of).collect(),
            core: Core::new(&setting),
            objects: objects.collect(),
            clients: BTreeMap::new(),
            links: vec![Link::default(); setting.users * setting.users],
            calls: BTreeMap::new(),
            weather: None,
            frozen: BTreeMap::new(),
            trace,
            counts: Counts::default(),
            violation: None,
        };
        if let Some(first) = steps.first() {
            world.at(first.at, Happening::Step(0));
        }
        for part in 1..=setting.parts() {
            let end = part * setting.part_ms();
            world.at(end - QUIET_MS, Happening::Hush);
            world.at(end - LOOK_MS - CALM_MS, Happening::Calm);
            world.at(end - LOOK_MS, Happening::Look);
            world.at(end - 1, Happening::QuietEnds);
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

    fn at(&mut self, at: Ms, happening: Happening) {
        self.next += 1;
        self.queue.push(Reverse(Entry { at, number: self.next, happening }));
    }

    fn after(&mut self, ms: Ms, happening: Happening) {
        self.at(self.now + ms.max(0), happening);
    }

    fn note(&mut self, whose: &[Who], line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace
            && trace.sent_to_all_but.is_none()
            && (trace.whose.is_empty() || whose.is_empty() || whose.iter().any(|who| trace.whose.contains(who)))
        {
            trace.lines.push_back(format!("{} {}", Clock(now), line()));
            if trace.lines.len() > trace.lines_max {
                trace.lines.pop_front();
            }
        }
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

    fn happening(&mut self, happening: Happening) {
        match happening {
            Happening::Step(index) => {
                let steps = self.steps;
                if let Some(next) = steps.get(index + 1) {
                    self.at(next.at, Happening::Step(index + 1));
                }
                if let Some(planned) = steps.get(index) {
                    self.step(&planned.step);
                }
            }
            Happening::Turn(device, tab) => self.turn(device, tab),
            Happening::Connect { device, attempt } => self.connect(device, attempt),
            Happening::Known { who, generation, found, then } => self.known(who, generation, found, then),
            Happening::Introduce { device, socket } => self.introduce(device, socket),
            Happening::Arrive { call } => self.arrive(call),
            Happening::ArriveAgain { to, message } => {
                // The answer of a repeat goes nowhere.
                self.late_wish(who_is(&message.from), to, &message);
                self.happen(to, Cause::Peer { message });
            }
            Happening::Answer { call, answer } => self.answer(call, Some(answer)),
            Happening::Fail { call } => self.answer(call, None),
            Happening::CoreAnswers { who, generation, found } => {
                if self.done(who, generation) {
                    match found {
                        Found::Changed(social) => drop(self.happen(who, Cause::Social { social })),
                        Found::Same | Found::Deleted => {}
                        Found::Away => drop(self.happen(who, Cause::NoSocial)),
                    }
                }
            }
            Happening::Relay { who } => self.relay(who),
            Happening::Token { who, generation, socket, outcome } => {
                if self.done(who, generation) {
                    self.happen(who, Cause::Token { socket, outcome });
                }
            }
            Happening::Alarm { who, number } => self.alarm(who, number),
            Happening::Tick { who, generation, at } => {
                if self.done(who, generation) {
                    if let Some(memory) = &mut self.objects[who].memory
                        && memory.tick == Some(at)
                    {
                        memory.tick = None;
                    }
                    self.objects[who].woken += 1;
                    self.happen(who, Cause::Tick);
                }
            }
            Happening::Redeploy { who } => self.redeploy(who),
            Happening::Hangs { who, socket } => self.close(who, socket),
            Happening::Ghost { who, sign } => self.look_for_ghost(who, sign),
            Happening::ReadDue { who, generation, read } => {
                let object = &self.objects[who];
                if object.generation == generation && object.reads.contains_key(&read) {
                    self.break_rule(Rule::EveryReaderIsAnswered, &[who], format!("read {read} waits"));
                }
            }
            Happening::SnapshotDue { who, generation, socket, wish } => {
                let object = &self.objects[who];
                let waits = object
                    .sockets
                    .get(&socket)
                    .is_some_and(|open| !open.screen.ready && open.gone_at.is_none() && open.wishes == wish);
                if waits && object.generation == generation {
                    self.break_rule(Rule::EveryReaderIsAnswered, &[who], "a socket waits for its snapshot".into());
                }
            }
            Happening::Hush => {
                for object in &mut self.objects {
                    object.crash = None;
                }
            }
            Happening::Calm => {
                for object in &mut self.objects {
                    object.woken = 0;
                }
            }
            Happening::Look => self.look(),
            Happening::QuietEnds => self.compare(),
        }
    }

    // What the plan wants.

    fn step(&mut self, step: &Step) {
        let whose: Vec<Who> = step.whose().into_iter().flatten().collect();
        self.note(&whose, || format!("step  {step:?}"));
        match step {
            Step::On(device) => self.switch_on(*device),
            Step::Off(device, leave) => self.switch_off(*device, *leave),
            Step::Turn(device, tab) => self.turn(*device, *tab),
            Step::Rush { device, pages, every_ms } => {
                for page in 0..*pages {
                    let tab = if page % 5 == 4 { Tab::Never(page) } else { Tab::Site(page % SITES) };
                    self.after(page as Ms * every_ms, Happening::Turn(*device, tab));
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
            Step::Authenticate(device) => {
                let token = if self.now % 5 == 0 { "bad" } else { "good" };
                self.say(*device, ClientMessage::Authenticate { token: token.to_owned() });
            }
            Step::OddHeartbeat(device) => self.utter(*device, Said::OddHeartbeat),
            Step::Misbehave { device, bad, times } => {
                for _ in 0..*times {
                    self.utter(*device, Said::Bad(*bad));
                }
            }
            Step::Read { reader, of } => self.know(*reader, false, Then::Read { of: *of, quiet: false }),
            Step::Befriend(..)
            | Step::Unfriend(..)
            | Step::Block(..)
            | Step::Share(..)
            | Step::Notify(_)
            | Step::Delete(_) => self.change_core(step),
            Step::Evict(who) => {
                self.counts.evictions += 1;
                self.lose_memory(*who, true);
            }
            Step::Redeploy(who) => self.redeploy(*who),
            Step::RedeployAll { within_ms } => {
                for who in 0..self.setting.users {
                    let ms = self.draws(&[11, who as u64, self.now as u64]).ms(0, *within_ms);
                    self.after(ms, Happening::Redeploy { who });
                }
            }
            Step::Crash { who, effects, sockets } => self.objects[*who].crash = Some((*effects, *sockets)),
            Step::Network { weather, for_ms } => self.weather = Some((*weather, self.now + for_ms)),
            Step::CoreOutage { for_ms } => {
                let until = self.now + for_ms;
                self.core.away_until = self.core.away_until.max(until);
                for who in 0..self.setting.users {
                    if self.core.waits(who) {
                        self.core.postpone(who, until);
                        self.at(until + 50, Happening::Relay { who });
                    }
                }
            }
        }
    }

    fn draws(&self, name: &[u64]) -> Draws {
        self.dice.of(name)
    }

    fn client(&mut self, device: Device) -> &mut Client {
        self.clients.entry(device).or_default()
    }

    // Clients.

    fn switch_on(&mut self, device: Device) {
        let mut draws = self.draws(&[20, device.user as u64, device.number as u64, self.now as u64]);
        let tab = if draws.chance(0.8) { Tab::Site(draws.below(SITES)) } else { Tab::Never(draws.below(5)) };
        let gone = self.core.people[device.user].deleted;
        let now = self.now;
        let client = self.client(device);
        if client.on || gone {
            return;
        }
        (client.on, client.idle, client.watching) = (true, false, true);
        client.tab = Some((tab, now as u64));
        client.attempts += 1;
        let attempt = client.attempts;
        self.connect(device, attempt);
    }

    fn switch_off(&mut self, device: Device, leave: Leave) {
        self.client(device).on = false;
        let Some(socket) = self.client(device).socket else { return };
        match leave {
            Leave::Vanish => {
                let now = self.now;
                self.client(device).socket = None;
                if let Some(open) = self.objects[device.user].sockets.get_mut(&socket) {
                    open.gone_at = Some(now);
                }
                self.signs_may_have_ended(device.user);
                return;
            }
            Leave::Goodbye => self.say(device, ClientMessage::Goodbye),
            Leave::Close => {}
        }
        if self.client(device).socket == Some(socket) {
            self.client(device).socket = None;
            self.close(device.user, socket);
        }
    }

    /// A client's socket closes.
    fn close(&mut self, who: Who, socket: SocketId) {
        self.touch(who);
        let now = self.now;
        let Some(closed) = self.objects[who].sockets.remove(&socket) else { return };
        if closed.gone_at.is_none() {
            self.objects[who].last_sign = now;
        }
        self.stopped_watching(who, &closed);
        self.happen(who, Cause::Close { socket });
        self.signs_may_have_ended(who);
    }

    fn connect_later(&mut self, device: Device, from_ms: Ms, to_ms: Ms) {
        let client = self.client(device);
        client.socket = None;
        if !client.on {
            return;
        }
        client.attempts += 1;
        let attempt = client.attempts;
        let ms = self.draws(&[21, device.user as u64, device.number as u64, attempt]).ms(from_ms, to_ms);
        self.after(ms, Happening::Connect { device, attempt });
    }

    fn connect(&mut self, device: Device, attempt: u64) {
        let client = self.client(device);
        if !client.on || client.socket.is_some() || client.attempts != attempt {
            return;
        }
        self.touch(device.user);
        let refresh = !self.engine(device.user).is_here();
        self.know(device.user, refresh, Then::Open(device));
    }

    /// The shell makes sure that friends and settings are known, asking the core when it must.
    fn know(&mut self, who: Who, refresh: bool, then: Then) {
        self.touch(who);
        let known = self.engine(who).social_version();
        if known.is_some() && !refresh {
            let generation = self.objects[who].generation;
            self.pend(who);
            return self.known(who, generation, Found::Same, then);
        }
        let ms_max = Ms::from(SOCIAL_REFRESH_MS_MAX);
        let (found, ms) = self.ask_core(who, known, ms_max);
        let generation = self.objects[who].generation;
        self.after(ms, Happening::Known { who, generation, found, then });
    }

    /// What the core says, and after how long.
    fn ask_core(&mut self, who: Who, known: Option<u64>, ms_max: Ms) -> (Found, Ms) {
        self.counts.core_calls += 1;
        self.pend(who);
        self.objects[who].asked += 1;
        let mut draws = self.draws(&[22, who as u64, self.objects[who].asked]);
        if self.now < self.core.away_until {
            return (Found::Away, if draws.chance(0.5) { ms_max } else { draws.ms(1, 30) });
        }
        let person = &self.core.people[who];
        let found = match person.deleted {
            true => Found::Deleted,
            false if known == Some(person.social.version) => Found::Same,
            false => Found::Changed(Rc::clone(&person.social)),
        };
        (found, draws.ms(2, if draws_bad(self.weather, self.now) { 500 } else { 30 }))
    }

    fn known(&mut self, who: Who, generation: u64, found: Found, then: Then) {
        // Whatever was lost with memory, its callers see as a failure.
        let there = self.done(who, generation);
        let registered = match (there, found) {
            (false, _) => None,
            (true, Found::Changed(social)) => {
                self.happen(who, Cause::Social { social });
                (self.objects[who].generation == generation).then_some(true)
            }
            (true, Found::Same) => Some(true),
            (true, Found::Away) => self.engine(who).social_version().map(|_| true),
            (true, Found::Deleted) => Some(false),
        };
        match (then, registered) {
            (Then::Open(device), Some(true)) => self.open(device),
            (Then::Open(device), Some(false)) => self.client(device).on = false,
            (Then::Open(device), None) => self.connect_later(device, 1_000, 8_000),
            (Then::Read { of, quiet }, Some(true)) => self.read(who, of, quiet),
            (Then::Read { .. }, _) => {}
        }
    }

    fn open(&mut self, device: Device) {
        if !self.client(device).on || self.client(device).socket.is_some() {
            return;
        }
        let who = device.user;
        self.counts.connects += 1;
        let socket = SocketId(Uuid::from_u128(u128::from(self.counts.connects)));
        let attempt = self.client(device).attempts;
        let mut draws = self.draws(&[23, who as u64, device.number as u64, attempt]);
        let (life_ms, pause_ms) = (draws.ms(600_000, 3_600_000), draws.ms(1, 40));
        let opened = Socket {
            device,
            attachment: None,
            opened_at: self.now,
            last_frame: self.now,
            gone_at: None,
            screen: Screen::default(),
            wishes: 0,
            report: None,
            idle: false,
            watching: true,
            unsure: false,
        };
        self.objects[who].sockets.insert(socket, opened);
        self.client(device).socket = Some(socket);
        let expires_at = self.local(who).plus_ms(self.life_ms(life_ms));
        let crashed = self.happen(who, Cause::Open { socket, expires_at }).crashed;
        if crashed {
            // The upgrade was never answered, though friends may have heard of it. If the socket is still there, the
            // runtime finds it closed.
            let now = self.now;
            self.objects[who].last_sign = now;
            if let Some(open) = self.objects[who].sockets.get_mut(&socket) {
                open.gone_at = Some(now);
                self.after(30, Happening::Hangs { who, socket });
            }
            self.signs_may_have_ended(who);
            return self.connect_later(device, 500, 4_000);
        }
        if self.objects[who].sockets.len() > SOCKETS_MAX {
            self.break_rule(Rule::OneAnswer, &[who], format!("more than {SOCKETS_MAX} sockets"));
        }
        self.after(pause_ms, Happening::Introduce { device, socket });
        let generation = self.objects[who].generation;
        self.after(ANSWER_MS, Happening::SnapshotDue { who, generation, socket, wish: 0 });
    }

    /// The life of a token. None ends where all is to be quiet.
    fn life_ms(&self, wish_ms: Ms) -> Ms {
        let part_ms = self.setting.part_ms();
        let left_ms = part_ms - (self.now + wish_ms) % part_ms;
        if left_ms < QUIET_MS { wish_ms + left_ms + 5_000 } else { wish_ms }
    }

    /// What a client says first on a new socket.
    fn introduce(&mut self, device: Device, socket: SocketId) {
        if self.client(device).socket != Some(socket) {
            return;
        }
        let Client { idle, watching, tab, .. } = *self.client(device);
        if !watching {
            self.say(device, ClientMessage::Watch { watching });
        }
        if idle {
            self.say(device, ClientMessage::SetIdle { idle });
        }
        if let Some((tab, n)) = tab {
            let url = url_of(tab, device.user, n);
            self.say(device, ClientMessage::UpdatePresence { url, title: "A page".to_owned() });
        }
    }

    fn turn(&mut self, device: Device, tab: Tab) {
        let n = self.now as u64;
        let client = self.client(device);
        if client.socket.is_none() {
            return;
        }
        if tab != Tab::TooLong {
            client.tab = Some((tab, n));
        }
        self.counts.page_changes += 1;
        let url = url_of(tab, device.user, n);
        self.say(device, ClientMessage::UpdatePresence { url, title: "A page".to_owned() });
    }

    fn say(&mut self, device: Device, message: ClientMessage) {
        self.utter(device, Said::Message(message));
    }

    fn utter(&mut self, device: Device, frame: Said) {
        let Some(socket) = self.client(device).socket else { return };
        let now = self.now;
        let Some(open) = self.objects[device.user].sockets.get_mut(&socket) else { return };
        open.last_frame = now;
        self.counts.frames += 1;
        self.happen(device.user, Cause::Frame { socket, frame });
    }

    fn read(&mut self, who: Who, of: Option<Who>, quiet: bool) {
        self.counts.reads += 1;
        let read = self.counts.reads;
        self.objects[who].reads.insert(read, Read { of, quiet });
        let generation = self.objects[who].generation;
        self.after(ANSWER_MS, Happening::ReadDue { who, generation, read });
        let of = of.map(|of| self.ids[of].clone());
        self.happen(who, Cause::Read { read: ReadId(read), of });
    }

    // The core.

    fn change_core(&mut self, step: &Step) {
        let mut draws = self.draws(&[30, self.now as u64]);
        for (at, who) in self.core.take(step, self.now, &mut draws) {
            self.at(at, Happening::Relay { who });
        }
        if let Step::Befriend(a, b) | Step::Unfriend(a, b) | Step::Block(a, b) = step {
            self.link(*a, *b).one_more = true;
            self.link(*b, *a).one_more = true;
        }
    }

    fn relay(&mut self, who: Who) {
        if self.now < self.core.away_until {
            let until = self.core.away_until;
            return self.at(until + 20, Happening::Relay { who });
        }
        self.next += 1;
        let mut draws = self.draws(&[31, who as u64, self.now as u64]);
        let bad = draws_bad(self.weather, self.now);
        if bad && draws.chance(0.3) {
            let ms = draws.ms(1_000, 20_000);
            return self.after(ms, Happening::Relay { who });
        }
        let events = self.core.batch(who, self.now, &mut draws, bad);
        if events.is_empty() {
            return;
        }
        self.counts.core_batches += 1;
        let taken = self.happen(who, Cause::Core { events }).taken;
        match taken {
            // The answer may be lost, and the events come again.
            Some(taken) if !(bad && draws.chance(0.3)) => self.core.taken(who, &taken.taken),
            _ => {}
        }
        if self.core.waits(who) {
            let ms = draws.ms(500, 5_000);
            self.after(ms, Happening::Relay { who });
        }
    }

    // Objects.

    fn engine(&self, who: Who) -> &UserPresence {
        &self.objects[who].memory.as_ref().expect("an object is touched before its engine is asked").engine
    }

    /// The time by an object's clock.
    fn local(&self, who: Who) -> Timestamp {
        Timestamp::from_unix_ms(BEGIN_MS + self.now + self.objects[who].skew_ms)
    }

    /// Something that keeps an object awake begins.
    fn pend(&mut self, who: Who) {
        let now = self.now;
        if let Some(memory) = &mut self.objects[who].memory {
            if memory.pending == 0 {
                memory.pending_since = now;
            }
            memory.pending += 1;
        }
    }

    /// And it ends: whether the memory that wanted it is still there.
    fn done(&mut self, who: Who, generation: u64) -> bool {
        let now = self.now;
        let object = &mut self.objects[who];
        if object.generation != generation {
            return false;
        }
        let Some(memory) = &mut object.memory else { return false };
        memory.pending = memory.pending.saturating_sub(1);
        if memory.pending == 0 {
            self.counts.active_ms += (now - memory.pending_since) as u64;
        }
        memory.active_at = now;
        true
    }

    /// Brings an object into memory. One that rested for long enough has lost what it had there.
    fn touch(&mut self, who: Who) {
        let now = self.now;
        let object = &self.objects[who];
        if object.memory.as_ref().is_some_and(|memory| memory.pending == 0 && now - memory.active_at > SLEEP_MS) {
            if object.memory.as_ref().is_some_and(|memory| memory.engine.next_tick().is_some()) {
                self.break_rule(Rule::NoTimerInAnIdleObject, &[who], "it sleeps with a tick pending".into());
            }
            self.lose_memory(who, false);
        }
        if self.objects[who].memory.is_some() {
            return;
        }
        let local = self.local(who);
        let object = &self.objects[who];
        let attachments = object.sockets.values().filter_map(|socket| socket.attachment.clone()).collect();
        let engine =
            UserPresence::restore(self.ids[who].clone(), Times::default(), object.saved.clone(), attachments, local);
        self.counts.wakes += 1;
        self.objects[who].memory =
            Some(Memory { engine, active_at: now, pending: 0, pending_since: now, alarm_calls: 0, tick: None });
        self.note(&[who], || format!("u{who} wakes"));
    }

    /// Memory is lost: `abruptly`, in the midst of whatever there is, or in sleep.
    fn lose_memory(&mut self, who: Who, abruptly: bool) {
        let now = self.now;
        let object = &mut self.objects[who];
        let Some(memory) = object.memory.take() else { return };
        object.generation += 1;
        if memory.pending > 0 {
            self.counts.active_ms += (now - memory.pending_since) as u64;
        }
        for (read, lost) in std::mem::take(&mut object.reads) {
            // Whoever asked asks again.
            if lost.quiet {
                self.objects[who].reads.insert(read, lost);
            }
        }
        if memory.alarm_calls > 0 {
            self.alarm_again(who);
        }
        let object = &mut self.objects[who];
        if abruptly {
            object.skew_ms = skew(self.dice, &self.setting, who, object.generation);
            object.mends = true;
            for peer in 0..self.setting.users {
                self.link(who, peer).one_more = true;
                self.link(peer, who).one_more = true;
            }
            self.note(&[who], || format!("u{who} loses its memory"));
        }
    }

    /// An alarm whose handler did not end comes again.
    fn alarm_again(&mut self, who: Who) {
        let again = self.now + 2_000;
        let object = &mut self.objects[who];
        if self.now - object.alarm_late_at > 60_000 {
            object.alarm_late_ms = 0;
        }
        object.alarm_late_ms += 2_500;
        object.alarm_late_at = self.now;
        if object.alarm.is_none_or(|at| at > again) {
            self.set_alarm(who, again);
        }
    }

    fn set_alarm(&mut self, who: Who, at: Ms) {
        let late_ms_max = if self.setting.steady { 0 } else { 300 };
        let late_ms = self.draws(&[40, who as u64, self.objects[who].alarms]).ms(0, late_ms_max);
        let object = &mut self.objects[who];
        object.alarm = Some(at);
        object.alarms += 1;
        let number = object.alarms;
        self.at(at.max(self.now) + late_ms, Happening::Alarm { who, number });
    }

    fn alarm(&mut self, who: Who, number: u64) {
        let object = &mut self.objects[who];
        if object.alarm.is_none() || object.alarms != number {
            return;
        }
        object.alarm = None;
        object.woken += 1;
        self.counts.alarms += 1;
        self.touch(who);
        if self.happen(who, Cause::Alarm).crashed {
            self.alarm_again(who);
        }
    }

    fn redeploy(&mut self, who: Who) {
        self.counts.redeployments += 1;
        self.note(&[who], || format!("u{who} is redeployed"));
        self.lose_memory(who, true);
        self.lose_sockets(who);
    }

    fn lose_sockets(&mut self, who: Who) {
        for (_, socket) in std::mem::take(&mut self.objects[who].sockets) {
            self.count_heartbeats(&socket);
            let sign = self.last_sign_of(&socket);
            self.objects[who].last_sign = self.objects[who].last_sign.max(sign);
            self.stopped_watching(who, &socket);
            if socket.gone_at.is_none() {
                self.connect_later(socket.device, 100, 6_000);
            }
        }
        self.signs_may_have_ended(who);
    }

    fn count_heartbeats(&mut self, socket: &Socket) {
        let until = socket.gone_at.unwrap_or(self.now);
        self.counts.heartbeats += ((until - socket.opened_at) / HEARTBEAT_MS) as u64;
    }

    /// When a socket's client was heard last.
    fn last_sign_of(&self, socket: &Socket) -> Ms {
        let until = socket.gone_at.unwrap_or(self.now);
        let heartbeat = socket.opened_at + (until - socket.opened_at) / HEARTBEAT_MS * HEARTBEAT_MS;
        heartbeat.max(socket.last_frame)
    }

    /// Lets an engine take something in and does what it says, or the beginning of it.
    fn happen(&mut self, who: Who, cause: Cause) -> Done {
        if self.violation.is_some() {
            return Done::default();
        }
        self.touch(who);
        self.counts.events += 1;
        self.note(&[who], || format!("u{who} <- {}", brief(&cause)));
        let event = self.event(who, &cause);
        let local = self.local(who);
        let now = self.now;
        let object = &mut self.objects[who];
        let memory = object.memory.as_mut().expect("it was touched");
        memory.active_at = now;
        let mut effects = memory.engine.handle(event, local);
        if let Some(doctor) = self.doctor {
            (doctor.effects)(who, &cause, &mut effects);
        }
        let weight = |effect: &Effect| if let Effect::CallPeers { peers, .. } = effect { peers.len() } else { 1 };
        let total: usize = effects.iter().map(weight).sum();
        let crash = if total > 0 { self.objects[who].crash.take() } else { None };
        let mut left = crash.map_or(usize::MAX, |(effects, _)| effects % (total + 1));
        if crash.is_some() {
            self.counts.crashes += 1;
            self.note(&[who], || format!("u{who} crashes after {left} of {total} effects"));
        }
        let mut done = Done { crashed: crash.is_some(), ..Done::default() };
        if left > 0 {
            let mut weights = 0;
            let kept = effects.iter().take_while(|effect| {
                weights += weight(effect);
                weights <= left
            });
            // What a crash did not let it keep, an object has not been told.
            let kept = left >= total || kept.into_iter().any(|effect| matches!(effect, Effect::Save(Save::Social(_))));
            if kept || !matches!(cause, Cause::Core { .. } | Cause::Social { .. }) {
                self.take_in(who, &cause, left < total);
            }
            self.check_rows(who, &cause, &effects);
        }
        let deleted = effects.iter().any(|effect| matches!(effect, Effect::Forget));
        for effect in effects {
            if left == 0 {
                break;
            }
            let weight = weight(&effect);
            self.carry_out(who, &cause, effect, left, deleted, &mut done);
            left = left.saturating_sub(weight);
        }
        if let Some((_, sockets)) = crash {
            self.lose_memory(who, true);
            if sockets {
                self.lose_sockets(who);
            }
        } else {
            self.check_screens(who, &cause);
            self.arm(who, &cause);
            self.objects[who].mends = false;
        }
        done
    }

    fn event(&mut self, who: Who, cause: &Cause) -> Event {
        match cause.clone() {
            Cause::Open { socket, expires_at } => Event::SocketOpened { socket, expires_at },
            Cause::Frame { socket, frame } => Event::FrameReceived { socket, frame: frame_of(&frame) },
            Cause::Close { socket } => Event::SocketClosed { socket },
            Cause::Peer { message } => Event::PeerSpoke { message: (*message).clone() },
            Cause::Answer { peer, answer } => Event::PeerAnswered { peer, answer },
            Cause::Failure { peer } => Event::PeerFailed { peer },
            Cause::Social { social } => Event::SocialLoaded { social: (*social).clone() },
            Cause::NoSocial => Event::SocialFailed,
            Cause::Core { events } => Event::CoreReported { events },
            Cause::Read { read, of } => Event::Read { read, friend: of },
            Cause::Token { socket, outcome } => Event::TokenChecked { socket, outcome },
            Cause::Alarm | Cause::Tick => {
                let object = &self.objects[who];
                let heard = object.sockets.iter().filter_map(|(id, socket)| {
                    let until = socket.gone_at.unwrap_or(self.now);
                    let beats = (until - socket.opened_at) / HEARTBEAT_MS;
                    let at = BEGIN_MS + socket.opened_at + beats * HEARTBEAT_MS + object.skew_ms;
                    (beats > 0).then(|| (*id, Timestamp::from_unix_ms(at)))
                });
                Event::Woken { heard: heard.collect() }
            }
        }
    }

    /// What is true of the user by what their object has taken in. `in_part`: a crash left some of it undone.
    fn take_in(&mut self, who: Who, cause: &Cause, in_part: bool) {
        let object = &mut self.objects[who];
        match cause {
            Cause::Social { social } => object.told.social(social),
            Cause::Core { events } => object.told.events(events),
            Cause::Frame { socket, frame } => {
                let Some(open) = object.sockets.get_mut(socket) else { return };
                match frame {
                    Said::Message(ClientMessage::UpdatePresence { url, title }) => {
                        if let Ok(page) = Page::parse(url, title) {
                            object.reports += 1;
                            open.report = Some((object.reports, page));
                            open.unsure = false;
                        }
                    }
                    Said::Message(ClientMessage::SetIdle { idle }) => {
                        if open.idle
                            && !idle
                            && let Some((order, _)) = &mut open.report
                        {
                            object.reports += 1;
                            *order = object.reports;
                        }
                        open.idle = *idle;
                    }
                    Said::Message(ClientMessage::Watch { watching }) => {
                        let stopped = open.watching && !watching;
                        let again = !open.watching && *watching;
                        open.watching = *watching;
                        if again {
                            open.screen.ready = false;
                            open.wishes += 1;
                            let (generation, wish) = (object.generation, open.wishes);
                            self.after(ANSWER_MS, Happening::SnapshotDue { who, generation, socket: *socket, wish });
                        }
                        if stopped {
                            self.one_more_from_friends(who);
                        }
                    }
                    Said::Message(ClientMessage::SetVisibility { invisible }) => {
                        object.told.set_invisible(*invisible);
                        self.one_more_from_friends(who);
                    }
                    Said::Message(
                        ClientMessage::Heartbeat | ClientMessage::Goodbye | ClientMessage::Authenticate { .. },
                    )
                    | Said::OddHeartbeat
                    | Said::Bad(_) => {}
                }
            }
            Cause::Open { .. }
            | Cause::Close { .. }
            | Cause::Peer { .. }
            | Cause::Answer { .. }
            | Cause::Failure { .. }
            | Cause::NoSocial
            | Cause::Read { .. }
            | Cause::Token { .. }
            | Cause::Alarm
            | Cause::Tick => {}
        }
        if in_part {
            for open in self.objects[who].sockets.values_mut() {
                open.unsure = true;
            }
        }
    }

    /// Whether what is saved is that the user came or left.
    fn comes_or_goes(&self, who: Who, effects: &[Effect]) -> bool {
        let online = self.objects[who].saved.state.online;
        effects.iter().any(|effect| matches!(effect, Effect::Save(Save::State(state)) if state.online != online))
    }

    fn save(&mut self, who: Who, save: Save) {
        self.counts.rows += 1;
        let saved = &mut self.objects[who].saved;
        match save {
            Save::State(state) => saved.state = state,
            Save::Social(social) => saved.social = Some(social),
            Save::EventIds(ids) => saved.event_ids = ids,
        }
    }

    fn carry_out(&mut self, who: Who, cause: &Cause, effect: Effect, left: usize, deleted: bool, done: &mut Done) {
        if !matches!(effect, Effect::Attach { .. } | Effect::Save(_)) {
            self.note(&[who], || format!("u{who} -> {}", brief(&effect)));
        }
        match effect {
            Effect::Save(save) => self.save(who, save),
            Effect::Forget => {
                self.objects[who].saved = Saved::default();
                self.objects[who].alarm = None;
            }
            Effect::Attach { socket, attachment } => {
                if let Some(open) = self.objects[who].sockets.get_mut(&socket) {
                    open.attachment = Some(attachment);
                }
            }
            Effect::Send { sockets, message } => self.send(who, cause, &sockets, message),
            Effect::Close { socket, code } => self.closed(who, socket, code),
            Effect::CallPeers { peers, message } => {
                let message = Rc::new(message);
                for peer in peers.iter().take(left) {
                    self.call(who, cause, who_is(peer), &message, deleted);
                }
            }
            Effect::AnswerPeer(answer) => {
                if let Cause::Peer { message } = cause {
                    self.check_answer(who, who_is(&message.from), &answer);
                }
                if done.answer.replace(answer).is_some() {
                    self.break_rule(Rule::OneAnswer, &[who], "a peer is answered twice".into());
                }
            }
            Effect::AnswerCore(taken) => done.taken = Some(taken),
            Effect::LoadSocial { known_version } => {
                let (found, ms) = self.ask_core(who, known_version, Ms::from(CORE_CALL_MS_MAX));
                let generation = self.objects[who].generation;
                self.after(ms, Happening::CoreAnswers { who, generation, found });
            }
            Effect::CheckToken { socket, token } => {
                self.pend(who);
                let outcome = match token.as_str() {
                    "good" => TokenOutcome::Good { expires_at: self.local(who).plus_ms(self.life_ms(3_600_000)) },
                    _ if self.now < self.core.away_until => TokenOutcome::Unknown,
                    _ => TokenOutcome::Refused,
                };
                let generation = self.objects[who].generation;
                let ms = self.draws(&[25, who as u64, self.now as u64]).ms(1, 200);
                self.after(ms, Happening::Token { who, generation, socket, outcome });
            }
            Effect::Reply { read, reply } => self.reply(who, read, reply),
        }
    }

    /// The object closed a socket.
    fn closed(&mut self, who: Who, socket: SocketId, code: CloseCode) {
        let Some(closed) = self.objects[who].sockets.remove(&socket) else { return };
        self.count_heartbeats(&closed);
        // To end a socket whose time is over is something to do.
        self.objects[who].woken = self.objects[who].woken.saturating_sub(1);
        let sign = self.last_sign_of(&closed);
        self.objects[who].last_sign = self.objects[who].last_sign.max(sign);
        self.stopped_watching(who, &closed);
        if closed.gone_at.is_none() {
            let device = closed.device;
            match code {
                CloseCode::Done | CloseCode::AccountGone | CloseCode::TooManySockets => {
                    let client = self.client(device);
                    (client.on, client.socket) = (false, None);
                }
                CloseCode::TokenExpired => self.connect_later(device, 10, 2_000),
                CloseCode::TooBig | CloseCode::BadMessages | CloseCode::TooFast => {
                    self.connect_later(device, 5_000, 30_000);
                }
                CloseCode::Silent => {
                    self.break_rule(Rule::NoGhost, &[who], "a living client is closed as silent".into());
                }
            }
        }
        self.signs_may_have_ended(who);
    }

    /// Sets alarm and tick as the shell does.
    fn arm(&mut self, who: Who, cause: &Cause) {
        let object = &mut self.objects[who];
        let Some(memory) = &mut object.memory else { return };
        let to_real = |at: Timestamp| at.unix_ms() - BEGIN_MS - object.skew_ms;
        let mut wake = memory.engine.next_wake().map(to_real);
        if self.doctor.is_some_and(|doctor| doctor.stray_alarms) {
            wake = wake.or(Some(self.now + 60_000));
        }
        let tick = memory.engine.next_tick().map(to_real);
        let earlier_tick = tick.filter(|at| memory.tick.is_none_or(|set| *at < set));
        if let Some(at) = earlier_tick {
            memory.tick = Some(at);
        }
        let generation = object.generation;
        let earlier_wake = wake.filter(|at| object.alarm.is_none_or(|set| *at < set));
        if let Some(at) = earlier_wake {
            self.counts.alarms_set += 1;
            // To close a socket is more than to change its page.
            let open = |socket| object.sockets.contains_key(socket);
            if matches!(cause, Cause::Frame { frame, socket } if is_page_change(frame) && open(socket)) && !object.mends
            {
                self.break_rule(Rule::NoRowForAPageChange, &[who], "an alarm is set for a page change".into());
            }
            self.set_alarm(who, at);
        }
        if let Some(at) = earlier_tick {
            self.pend(who);
            if at - self.now > 2_500 {
                self.break_rule(Rule::NoTimerInAnIdleObject, &[who], "a tick is far away".into());
            }
            self.at(at.max(self.now), Happening::Tick { who, generation, at });
        }
    }

    // Between objects.

    fn link(&mut self, from: Who, to: Who) -> &mut Link {
        &mut self.links[from * self.setting.users + to]
    }

    fn call(&mut self, from: Who, cause: &Cause, to: Who, message: &Rc<PeerMessage>, deleted: bool) {
        self.counts.peer_calls += 1;
        self.check_call(from, to, message, deleted);
        self.pend(from);
        let of_alarm = matches!(cause, Cause::Alarm);
        if of_alarm && let Some(memory) = &mut self.objects[from].memory {
            memory.alarm_calls += 1;
        }
        let (now, weather) = (self.now, self.weather);
        let link = self.link(from, to);
        link.calls += 1;
        link.under_way += 1;
        let (number, spared) = (u64::from(link.calls), link.failed_in_a_row >= 3);
        let mut draws = self.draws(&[10, from as u64, to as u64, number]);
        let (mut there_ms, mut back_ms) = if self.setting.steady { (5, 5) } else { (draws.ms(1, 12), draws.ms(1, 12)) };
        let (mut lost, mut answer_lost, mut again) = (false, false, false);
        if let Some((weather, until)) = weather
            && now < until
        {
            let (slow, late, fails) = match weather {
                Weather::Slow => (0.3, 0.04, 0.0),
                Weather::Lossy => (0.1, 0.02, 0.1),
                Weather::Stormy => (0.3, 0.1, 0.5),
            };
            if draws.chance(slow) {
                (there_ms, back_ms) = (draws.ms(1, 900), draws.ms(1, 900));
            }
            if !spared && draws.chance(late) {
                if draws.chance(0.5) { there_ms = draws.ms(500, 9_000) } else { back_ms = draws.ms(500, 9_000) }
            }
            if !spared && draws.chance(fails) {
                (lost, answer_lost) = if draws.chance(0.5) { (true, false) } else { (false, true) };
            }
            again = draws.chance(0.05);
        }
        let deadline_ms = Ms::from(PEER_CALL_MS_MAX);
        let in_time = !lost && !answer_lost && there_ms + back_ms < deadline_ms;
        self.next += 1;
        let call = self.next;
        let generation = self.objects[from].generation;
        let answer_ms = in_time.then_some(back_ms);
        self.calls.insert(call, Call { from, to, generation, message: Rc::clone(message), of_alarm, answer_ms });
        if !lost {
            self.after(there_ms, Happening::Arrive { call });
            if again {
                let ms = draws.ms(1, 5_000);
                self.after(there_ms + ms, Happening::ArriveAgain { to, message: Rc::clone(message) });
            }
        }
        if !in_time {
            self.after(deadline_ms, Happening::Fail { call });
        }
    }

    fn arrive(&mut self, call: u64) {
        let Some(Call { from, to, message, answer_ms, .. }) = self.calls.get(&call) else { return };
        let (from, to, message, answer_ms) = (*from, *to, Rc::clone(message), *answer_ms);
        self.late_wish(from, to, &message);
        let done = self.happen(to, Cause::Peer { message });
        match (done.answer, answer_ms) {
            (Some(answer), Some(ms)) => self.after(ms, Happening::Answer { call, answer }),
            (None, Some(ms)) if done.crashed => self.after(ms, Happening::Fail { call }),
            (None, Some(_)) => self.break_rule(Rule::OneAnswer, &[to, from], "a peer is not answered".into()),
            (_, None) => {}
        }
    }

    /// A message that comes late may wish for what its sender no longer wants.
    fn late_wish(&mut self, from: Who, to: Who, message: &PeerMessage) {
        let wish = message.wants == Wants::Pages && !self.watches(from);
        let link = self.link(to, from);
        // And an answer that crosses a message may be older than it: it says nothing of what is no longer wanted.
        link.one_more |= wish || link.under_way > 0;
    }

    /// Whether the user has a socket that watches, or had one until a moment ago.
    fn watches(&self, who: Who) -> bool {
        let object = &self.objects[who];
        object.sockets.values().any(|socket| socket.watching) || self.now < object.watched_until
    }

    fn answer(&mut self, call: u64, answer: Option<PeerAnswer>) {
        // A request that arrives after its deadline still needs its message.
        let Some(Call { from, to, generation, of_alarm, .. }) = self.calls.get(&call) else { return };
        let (from, to, generation, of_alarm) = (*from, *to, *generation, *of_alarm);
        if answer.is_some() {
            self.calls.remove(&call);
        }
        self.link(from, to).under_way = self.link(from, to).under_way.saturating_sub(1);
        let (now, waited_ms) = (self.now, Ms::from(PEER_CALL_MS_MAX));
        match &answer {
            Some(_) => self.link(from, to).failed_in_a_row = 0,
            None => {
                self.counts.failed_calls += 1;
                self.link(from, to).fail(now, waited_ms);
                self.link(to, from).one_more = true;
            }
        }
        if !self.done(from, generation) {
            return;
        }
        let peer = self.ids[to].clone();
        let cause = match answer {
            Some(answer) => Cause::Answer { peer, answer },
            None => Cause::Failure { peer },
        };
        self.happen(from, cause);
        if of_alarm
            && self.objects[from].generation == generation
            && let Some(memory) = &mut self.objects[from].memory
        {
            memory.alarm_calls = memory.alarm_calls.saturating_sub(1);
        }
    }

    // Looking.

    fn check_call(&mut self, from: Who, to: Who, message: &PeerMessage, deleted: bool) {
        if deleted && !matches!(message.say, PeerSay::Bye { .. }) {
            self.break_rule(Rule::StrangersGetNothing, &[from, to], "a deleted user speaks".into());
        }
        if !deleted {
            let verdict = checks::only_friends_are_told(&self.objects[from].told, to, "a call goes");
            self.judge(&[from, to], verdict);
        }
        match &message.say {
            PeerSay::Hello { presence } => {
                self.link(from, to).told(true);
                self.check_emission(from, to, message.seq, Says::Online(presence));
            }
            PeerSay::Presence { presence } => {
                self.counts.page_calls += 1;
                self.check_emission(from, to, message.seq, Says::Online(presence));
                let watches = self.watches(to);
                let verdict = self.link(from, to).page_told(to, message.seq, watches);
                self.judge(&[from, to], verdict);
            }
            PeerSay::Bye { last_seen_at } => {
                self.link(from, to).told(false);
                self.check_emission(from, to, message.seq, Says::Offline(Some(*last_seen_at)));
            }
            PeerSay::Peek => {}
        }
    }

    fn check_answer(&mut self, who: Who, peer: Who, answer: &PeerAnswer) {
        match answer {
            PeerAnswer::NotFriends => return,
            PeerAnswer::Offline { last_seen_at: None, .. } if !self.objects[who].told.is_known() => return,
            PeerAnswer::Online { seq, presence, .. } => {
                self.link(who, peer).told(true);
                self.check_emission(who, peer, *seq, Says::Online(presence));
            }
            PeerAnswer::Offline { seq, last_seen_at, .. } => {
                self.link(who, peer).told(false);
                self.check_emission(who, peer, *seq, Says::Offline(*last_seen_at));
            }
            PeerAnswer::Taken { .. } => {}
        }
        let verdict = checks::only_friends_are_told(&self.objects[who].told, peer, "an answer goes");
        self.judge(&[who, peer], verdict);
    }

    fn check_emission(&mut self, who: Who, peer: Who, seq: u64, says: Says<'_>) {
        let object = &mut self.objects[who];
        let invisible = checks::invisible_is_offline(&mut object.told, says);
        let (hidden, digest) = match says {
            Says::Online(presence) => (
                checks::hidden_stays_hidden(&object.told, &self.core.people[who].policies, presence),
                Some(checks::digest_of_presence(presence)),
            ),
            Says::Offline(_) => (Ok(()), None),
        };
        let one_state = digest.map_or(Ok(()), |digest| object.emitted.add(seq, digest));
        for verdict in [invisible, hidden, one_state] {
            self.judge(&[who, peer], verdict);
        }
    }

    fn check_rows(&mut self, who: Who, cause: &Cause, effects: &[Effect]) {
        let closes = effects.iter().any(|effect| matches!(effect, Effect::Close { .. }));
        let page_change = match cause {
            Cause::Frame { frame, .. } => is_page_change(frame),
            // Without sockets, what friends see, and who they are, is kept in storage.
            Cause::Peer { message } => {
                matches!(message.say, PeerSay::Presence { .. }) && !self.objects[who].sockets.is_empty()
            }
            Cause::Tick => !self.objects[who].sockets.is_empty() && !self.comes_or_goes(who, effects),
            Cause::Open { .. }
            | Cause::Close { .. }
            | Cause::Answer { .. }
            | Cause::Failure { .. }
            | Cause::Social { .. }
            | Cause::NoSocial
            | Cause::Core { .. }
            | Cause::Read { .. }
            | Cause::Token { .. }
            | Cause::Alarm => false,
        };
        if page_change
            && !closes
            && !self.objects[who].mends
            && effects.iter().any(|effect| matches!(effect, Effect::Save(_)))
        {
            self.break_rule(Rule::NoRowForAPageChange, &[who], "a row is written for a page change".into());
        }
        if let Cause::Peer { message } = cause
            && message.say == PeerSay::Peek
            && effects.iter().any(|effect| matches!(effect, Effect::Send { .. }))
        {
            let who = [who_is(&message.from), who];
            self.break_rule(Rule::InvisibleIsOffline, &who, "a question is seen on a screen".into());
        }
    }

    /// After an object has heard that somebody is no friend, none of its screens shows them.
    fn check_screens(&mut self, who: Who, cause: &Cause) {
        if !matches!(cause, Cause::Core { .. } | Cause::Social { .. }) {
            return;
        }
        let object = &self.objects[who];
        let shown = object.sockets.values().filter(|socket| socket.gone_at.is_none() && socket.screen.ready).find_map(
            |socket| {
                let online = socket.screen.seen.iter().filter(|(_, seen)| seen.look.is_online());
                online.map(|(of, _)| *of).find(|of| *of != who && !object.told.may_be_friends(*of))
            },
        );
        if let Some(of) = shown {
            self.break_rule(Rule::StrangersGetNothing, &[who, of], format!("u{of} stays on a screen of u{who}"));
        }
    }

    fn send(&mut self, who: Who, cause: &Cause, sockets: &[SocketId], message: ServerMessage) {
        self.counts.sends += sockets.len() as u64;
        if let Some(trace) = &mut self.trace
            && trace.sent_to_all_but.is_some_and(|but| but != who)
        {
            let text = serde_json::to_string(&message).unwrap_or_default();
            let devices = sockets.iter().filter_map(|socket| self.objects[who].sockets.get(socket));
            trace.lines.extend(devices.map(|open| format!("{} {text}", open.device)));
        }
        let looks: Vec<(Who, Look)> = match message {
            ServerMessage::UpdatePresence(update) => {
                let of = who_is(&update.user_id);
                vec![(of, Look::Update(Rc::new(update)))]
            }
            ServerMessage::PresenceTimeout { user_id, last_seen_at } => {
                vec![(who_is(&user_id), Look::Gone(last_seen_at))]
            }
            ServerMessage::PresenceSnapshot(snapshot) => {
                let snapshot = Rc::new(snapshot);
                let friends = snapshot.presence_arr.iter().enumerate();
                let mut looks: Vec<(Who, Look)> = friends
                    .map(|(index, shown)| (who_is(&shown.user_id), Look::Entry(Rc::clone(&snapshot), Some(index))))
                    .collect();
                looks.push((who, Look::Entry(Rc::clone(&snapshot), None)));
                for socket in sockets {
                    if let Some(open) = self.objects[who].sockets.get_mut(socket) {
                        open.screen = Screen { ready: true, seen: BTreeMap::new() };
                    }
                }
                looks
            }
            ServerMessage::Heartbeat
            | ServerMessage::FriendRequest { .. }
            | ServerMessage::FriendRequestRemoved { .. }
            | ServerMessage::FriendAccepted { .. }
            | ServerMessage::FriendRemoved { .. }
            | ServerMessage::SettingsUpdated { .. }
            | ServerMessage::ShareNotification { .. }
            | ServerMessage::ShareNotificationRead { .. }
            | ServerMessage::Error { .. } => return,
        };
        for (of, look) in looks {
            if look.is_online() {
                let verdict = checks::only_friends_are_shown(&self.objects[who].told, who, of, "something is shown");
                self.judge(&[who, of], verdict);
            }
            for socket in sockets {
                self.show(who, *socket, of, &look, cause);
            }
        }
    }

    /// Somebody appears on a screen.
    fn show(&mut self, who: Who, socket: SocketId, of: Who, look: &Look, _cause: &Cause) {
        let Some(open) = self.objects[who].sockets.get(&socket).filter(|open| open.gone_at.is_none()) else { return };
        if !open.screen.ready {
            return self.break_rule(Rule::SnapshotComesFirst, &[who, of], format!("u{of} is shown before"));
        }
        let device = open.device;
        let floor = self.client(device).seqs.get(&of).copied().unwrap_or_default();
        let seq = match look {
            Look::Update(update) => {
                let seq = update.seq;
                self.judge(&[who, of], checks::seq_never_goes_back(of, floor, seq));
                if of != who {
                    let verdict = self.objects[of].emitted.was_told(seq, checks::digest_of_update(update));
                    self.judge(&[who, of], verdict);
                }
                seq
            }
            Look::Entry(..) if look.is_online() && of != who => {
                let shown = look.appearance();
                let digest = checks::digest(&shown.page, &shown.latest, shown.idle_since);
                let emitted = &self.objects[of].emitted;
                match emitted.seqs_of(digest, floor) {
                    Some((newest, oldest)) => {
                        self.judge(&[who, of], checks::seq_never_goes_back(of, floor, newest));
                        oldest.max(floor)
                    }
                    None if emitted.is_whole() => {
                        self.break_rule(Rule::OneSeqOneState, &[who, of], "a snapshot shows what was not told".into());
                        floor
                    }
                    None => floor,
                }
            }
            Look::Entry(..) | Look::Gone(_) => floor,
        };
        if look.is_online() && of != who {
            let deadline = self.ghost_deadline(of, who);
            if deadline.is_some_and(|deadline| self.now > deadline) {
                self.break_rule(Rule::NoGhost, &[of, who], format!("u{who} is shown u{of} long after they left"));
            }
        }
        self.client(device).seqs.insert(of, seq);
        if let Some(open) = self.objects[who].sockets.get_mut(&socket) {
            open.screen.seen.insert(of, Seen { look: look.clone(), seq });
        }
    }

    fn reply(&mut self, who: Who, read: ReadId, reply: Reply) {
        let Some(Read { of, quiet }) = self.objects[who].reads.remove(&read.0) else {
            return self.break_rule(Rule::OneAnswer, &[who], "a question is answered twice".into());
        };
        match reply {
            Reply::All(snapshot) => {
                for shown in snapshot.presence_arr.iter().filter(|shown| shown.page.is_some()) {
                    let of = who_is(&shown.user_id);
                    let verdict = checks::only_friends_are_shown(&self.objects[who].told, who, of, "a reply tells");
                    self.judge(&[who, of], verdict);
                }
                if quiet {
                    self.objects[who].quiet_reply = Some(snapshot);
                }
            }
            Reply::One(Some(_)) => {
                let of = of.unwrap_or(who);
                let verdict = checks::only_friends_are_shown(&self.objects[who].told, who, of, "a reply tells");
                self.judge(&[who, of], verdict);
            }
            Reply::One(None) | Reply::NotFriends => {}
        }
    }

    // Ends of watching, and of life.

    fn stopped_watching(&mut self, who: Who, closed: &Socket) {
        if closed.watching {
            let now = self.now;
            let object = &mut self.objects[who];
            // The grace, and the longest that a restart adds to it.
            object.watched_until = object.watched_until.max(now + 27_000);
            self.one_more_from_friends(who);
        }
    }

    fn one_more_from_friends(&mut self, who: Who) {
        for friend in 0..self.setting.users {
            self.link(friend, who).one_more = true;
        }
    }

    fn is_alive(&self, who: Who) -> bool {
        self.objects[who].sockets.values().any(|socket| socket.gone_at.is_none())
    }

    fn last_sign(&self, who: Who) -> Ms {
        let object = &self.objects[who];
        object.sockets.values().map(|socket| self.last_sign_of(socket)).max().unwrap_or(0).max(object.last_sign)
    }

    fn signs_may_have_ended(&mut self, who: Who) {
        if !self.is_alive(who) {
            let sign = self.last_sign(who);
            self.at(sign + GHOST_MS + 50, Happening::Ghost { who, sign });
        }
    }

    /// Until when a friend may be shown somebody who gives no sign of life.
    fn ghost_deadline(&self, who: Who, friend: Who) -> Option<Ms> {
        if self.is_alive(who) {
            return None;
        }
        let sign = self.last_sign(who);
        let link = &self.links[who * self.setting.users + friend];
        let object = &self.objects[who];
        let mut deadline = sign + GHOST_MS;
        // Each failed call is seen after its time, and made again a while after that.
        if link.failed_at > sign {
            deadline = deadline.max(link.failed_at) + link.failures_ms;
        }
        if object.alarm_late_at > sign {
            deadline += object.alarm_late_ms;
        }
        Some(deadline)
    }

    fn look_for_ghost(&mut self, who: Who, sign: Ms) {
        if self.is_alive(who) || self.last_sign(who) != sign {
            return;
        }
        let mut later = None;
        for friend in self.core.people[who].friends.clone() {
            let sees = self.objects[friend]
                .sockets
                .values()
                .any(|socket| socket.gone_at.is_none() && socket.screen.ready && socket.screen.shows_online(who));
            if !sees {
                continue;
            }
            match self.ghost_deadline(who, friend) {
                Some(deadline) if deadline >= self.now => later = later.max(Some(deadline)),
                _ => {
                    let silent_s = (self.now - sign) / 1_000;
                    let detail = format!("u{friend} sees u{who}, who was last heard {silent_s} s ago");
                    self.break_rule(Rule::NoGhost, &[who, friend], detail);
                }
            }
        }
        if let Some(deadline) = later {
            self.at(deadline + 50, Happening::Ghost { who, sign });
        }
    }

    /// Near the end of a quiet time: what everybody sees is kept, and then everybody asks.
    fn look(&mut self) {
        self.frozen.clear();
        for who in 0..self.setting.users {
            let object = &self.objects[who];
            let (here, alarm, woken) = (!object.sockets.is_empty(), object.alarm, object.woken);
            if self.core.waits(who) {
                self.break_rule(Rule::QuietShowsTheTruth, &[who], "events still wait in the outbox".into());
            }
            if !here && let Some(at) = alarm {
                let detail = format!("an alarm is set for {} though nobody is there", Clock(at));
                self.break_rule(Rule::NoTimerInAnIdleObject, &[who], detail);
            }
            if woken > u32::from(here) {
                let detail = format!("in {CALM_MS} ms without events it was woken {woken} times");
                self.break_rule(Rule::NoTimerInAnIdleObject, &[who], detail);
            }
            let object = &self.objects[who];
            for (id, socket) in object.sockets.iter().filter(|(_, socket)| socket.gone_at.is_none()) {
                self.frozen.insert(*id, (who, socket.screen.clone(), socket.watching));
            }
        }
        let absent =
            self.clients.iter().find(|(_, client)| client.on && client.socket.is_none()).map(|(device, _)| *device);
        if let Some(device) = absent {
            self.break_rule(Rule::QuietShowsTheTruth, &[device.user], format!("{device} cannot connect"));
        }
        for who in 0..self.setting.users {
            self.objects[who].quiet_reply = None;
            if !self.core.people[who].deleted && self.objects[who].told.is_known() {
                self.know(who, false, Then::Read { of: None, quiet: true });
            }
        }
    }

    /// When all is quiet, what everybody sees is the truth.
    fn compare(&mut self) {
        let rule = Rule::QuietShowsTheTruth;
        let mut wrong: Vec<(Vec<Who>, String)> = Vec::new();
        let own =
            |who: Who| self.objects[who].quiet_reply.as_ref().map(|reply| Appearance::of_entry(&reply.user_presence));
        let mut truths = 0;
        for who in 0..self.setting.users {
            let (object, person) = (&self.objects[who], &self.core.people[who]);
            let Some(reply) = &object.quiet_reply else {
                if object.told.is_known() && !person.deleted {
                    wrong.push((vec![who], format!("u{who} asked and got no answer")));
                }
                continue;
            };
            if let Some(detail) = self.own_truth(who, &Appearance::of_entry(&reply.user_presence)) {
                wrong.push((vec![who], detail));
            }
            let listed: BTreeSet<Who> = reply.presence_arr.iter().map(|shown| who_is(&shown.user_id)).collect();
            if listed != person.friends {
                wrong.push((vec![who], format!("u{who} lists {listed:?} for {:?}", person.friends)));
            }
            for shown in &reply.presence_arr {
                let of = who_is(&shown.user_id);
                truths += 1;
                let seen = Appearance::of_entry(shown);
                match own(of) {
                    Some(truth) if truth != seen => {
                        wrong.push((vec![who, of], format!("u{who} reads {seen:?} of u{of}, who is {truth:?}")));
                    }
                    None if seen.online => wrong.push((vec![who, of], format!("u{who} reads that u{of} is there"))),
                    _ => {}
                }
            }
        }
        for (who, screen, watching) in self.frozen.values() {
            if !screen.ready {
                wrong.push((vec![*who], format!("a screen of u{who} has no snapshot")));
            }
            let mut all: BTreeSet<Who> = self.core.people[*who].friends.clone();
            all.extend(screen.seen.keys());
            for of in all.into_iter().filter(|of| of != who) {
                truths += 1;
                let seen = screen.seen.get(&of).map(|seen| seen.look.appearance());
                let truth = own(of).filter(|_| self.core.people[*who].friends.contains(&of));
                let (seen_online, online) =
                    (seen.as_ref().is_some_and(|seen| seen.online), truth.as_ref().is_some_and(|truth| truth.online));
                let differs = if online && *watching { seen != truth } else { seen_online != online };
                if differs {
                    wrong.push((
                        vec![*who, of],
                        format!("a screen of u{who} shows {seen:?} of u{of}, who is {truth:?}"),
                    ));
                }
            }
        }
        self.counts.truths += truths;
        if let Some((who, detail)) = wrong.into_iter().next() {
            self.break_rule(rule, &who, detail);
        }
    }

    /// Whether what a user's object says of its own user is so.
    fn own_truth(&self, who: Who, own: &Appearance) -> Option<String> {
        let object = &self.objects[who];
        let online = !object.sockets.is_empty() && !object.told.invisible;
        if own.online != online {
            return Some(format!("u{who} is shown {} and is not", if own.online { "online" } else { "offline" }));
        }
        if !online || object.sockets.values().any(|socket| socket.unsure) {
            return None;
        }
        let newest =
            object.sockets.values().filter_map(|socket| socket.report.as_ref()).max_by_key(|(order, _)| *order);
        let share = &self.core.people[who].social.share;
        let page = newest.and_then(|(_, page)| page.as_ref()).filter(|page| share.shows(&page.domain));
        let page = PageView::from(page);
        if own.page != page {
            return Some(format!("u{who} shows {:?} and is on {page:?}", own.page));
        }
        let idle = object.sockets.values().all(|socket| socket.idle);
        if own.idle_since.is_some() != idle {
            return Some(format!("u{who} is shown with idle since {:?} and is {idle}", own.idle_since));
        }
        None
    }
}

/// What came of an event for whoever caused it.
#[derive(Default)]
struct Done {
    answer: Option<PeerAnswer>,
    taken: Option<EventsTaken>,
    crashed: bool,
}

fn is_page_change(frame: &Said) -> bool {
    matches!(
        frame,
        Said::Message(
            ClientMessage::UpdatePresence { .. } | ClientMessage::SetIdle { .. } | ClientMessage::Watch { .. }
        )
    )
}

fn draws_bad(weather: Option<(Weather, Ms)>, now: Ms) -> bool {
    weather.is_some_and(|(_, until)| now < until)
}

/// How wrong an object's clock is, wherever it runs.
fn skew(dice: Dice, setting: &Setting, who: Who, generation: u64) -> Ms {
    if setting.faults { dice.of(&[12, who as u64, generation]).ms(-500, 500) } else { 0 }
}

fn frame_of(said: &Said) -> Frame {
    match said {
        Said::Message(message) => Frame::Text(serde_json::to_string(message).expect("messages are JSON")),
        Said::OddHeartbeat => Frame::Text(r#"{ "action": "heartbeat" }"#.to_owned()),
        Said::Bad(Bad::NoJson) => Frame::Text("hello?".to_owned()),
        Said::Bad(Bad::UnknownAction) => Frame::Text(r#"{"action":"dance"}"#.to_owned()),
        Said::Bad(Bad::Binary) => Frame::Binary { bytes: 10 },
        Said::Bad(Bad::TooBig) => Frame::Text("x".repeat(FRAME_BYTES_MAX + 1)),
    }
}

/// A line short enough to read: without what is in every line, and with moments since the run began.
fn brief(what: &impl std::fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    for (long, short) in [
        ("SocketId(00000000-0000-0000-0000-", "s("),
        ("EventId(00000000-0000-0000-0000-", "e("),
        ("UserInfo { user_id: ", "{ "),
        (", first_name: \"A\", last_name: \"B\", profile_image_extension: None", ""),
        (", title: \"A page\", domain: Domain(…)", ""),
        (", title: \"A page\"", ""),
    ] {
        text = text.replace(long, short);
    }
    let mut line = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("Timestamp { unix_ms: ") {
        line.push_str(before);
        let (number, after) = after.split_once(" }").unwrap_or((after, ""));
        let ms = number.parse::<i64>().unwrap_or_default() - BEGIN_MS;
        line.push_str(&format!("{}", Clock(ms)));
        rest = after;
    }
    line.push_str(rest);
    if line.chars().count() > 500 {
        line = line.chars().take(500).chain(['…']).collect();
    }
    line
}
