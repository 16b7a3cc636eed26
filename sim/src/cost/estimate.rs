//! What a population's counts cost so many users in a month: ours, and the predecessor's for the same people.
//!
//! What is not counted but assumed is a constant here, with its reason. Where a choice is free, the predecessor gets
//! the cheaper one.

use serde::Serialize;

use crate::{
    cost::{
        day::{Day, Lived},
        environments::{self, Environment},
        prices::{self, Price},
    },
    counts::Counts,
};

/// Hours of a month.
pub const MONTH_HOURS: f64 = 730.0;
const MONTH_DAYS: f64 = MONTH_HOURS / 24.0;
const DAY_S: f64 = 86_400.0;

/// Incoming messages of a WebSocket that are charged as one request of its object.
const MESSAGES_PER_REQUEST: f64 = 20.0;

/// An object is charged as if it had 128 MB, whatever it takes.
const OBJECT_GB: f64 = 0.128;

/// Handling an event keeps an object busy for this long, in milliseconds: a warm hop was measured at 0.1, with the
/// call itself.
const HANDLE_MS: f64 = 0.5;

/// Beginning anew after sleep takes this long, in milliseconds: ten times a warm hop and more was measured.
const WAKE_MS: f64 = 5.0;

/// The Worker's own work for a request, in milliseconds of CPU: above all, the signature of a token.
const WORKER_MS: f64 = 1.0;

/// Rows that an object reads when it wakes: its three documents, the schema, the alarm.
const ROWS_PER_WAKE: f64 = 6.0;

/// What an object keeps, in bytes: an empty database, and for each friend their name and id.
const OBJECT_BYTES: f64 = 12_288.0;
const OBJECT_BYTES_PER_FRIEND: f64 = 200.0;

/// What the core keeps of a user, in bytes, with indexes; and for each friend: half of a friendship.
const ROW_BYTES: f64 = 4_096.0;
const ROW_BYTES_PER_FRIEND: f64 = 200.0;
const DATABASE_GB_MIN: f64 = 20.0;

/// Calls a second that a vCPU carries: half of `GET /users/id/{id}/friends`, the dearest of the everyday calls, as
/// measured on two vCPU for both servers, with the database and the load on the same two.
const CALLS_PER_CPU_S: f64 = 1_180.0;
const CALLS_PER_CPU_S_BEFORE: f64 = 210.0;

/// Time of the database's CPU for a call, in milliseconds: 2,976 a second were measured on two vCPU.
const CALL_DATABASE_MS: f64 = 0.7;

/// A connection made for one query: fork, TLS and password at the server.
const CONNECTION_MS: f64 = 5.0;

/// Nothing is planned to be busier than this at the busiest hour.
const BUSY_MAX: f64 = 0.6;

/// Aurora's capacity comes in such steps, and a unit has a quarter of a vCPU: memory-optimised instances have four units,
/// of 2 GiB each, for one.
const ACU_STEP: f64 = 0.5;
const ACU_PER_CPU: f64 = 4.0;

/// Blocks that Aurora reads or writes for a call: most calls find all in memory, and a change is one write.
const IO_PER_CALL: f64 = 1.0;

/// The predecessor has two tasks at least, of one vCPU and so many GB.
const TASKS_MIN: f64 = 2.0;
const TASK_GB: f64 = 2.0;
const DATABASE_CPU_MIN: f64 = 2.0;

/// Each of its two zones has a NAT gateway.
const NAT_GATEWAYS: f64 = 2.0;

/// The answer to a call, a poll that finds nothing, and a message about presence, in bytes, with their headers.
const CALL_BYTES: f64 = 3_000.0;
const POLL_BYTES: f64 = 600.0;
const MESSAGE_BYTES: f64 = 600.0;

/// Memory of a Lambda of the predecessor's in GB, the least there is, and how long each takes, in seconds: a heartbeat
/// writes to Redis; a page change makes a connection to the database and asks it, looks friends up in Redis and posts
/// to each of their sockets; a sweep looks at everybody.
const LAMBDA_GB: f64 = 0.128;
const HEARTBEAT_S: f64 = 0.010;
const UPDATE_S: f64 = 0.040;
const UPDATE_S_PER_SOCKET: f64 = 0.005;
const CONNECT_S: f64 = 0.040;
const SWEEP_S_PER_USER: f64 = 0.000_1;
const SWEEPS_PER_DAY: f64 = 480.0;

/// Clients of the predecessor's asked for notifications once a minute.
const POLLS_PER_HEARTBEAT: f64 = 1.0;

/// Bytes in Redis for a user.
const CACHE_BYTES: f64 = 1_024.0;
const CACHE_GB_MIN: f64 = 0.1;

/// One line of an estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// What it is a part of: the rows of the table.
    pub part: Part,
    pub what: &'static str,
    /// Of a month, before what is included.
    pub quantity: f64,
    pub unit: &'static str,
    pub included: f64,
    pub usd: f64,
}

/// Parts that both architectures have, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    Requests,
    Duration,
    State,
    Core,
    Database,
    Network,
}

impl Part {
    pub const ALL: [Self; 6] = [Self::Requests, Self::Duration, Self::State, Self::Core, Self::Database, Self::Network];

    /// What it is in our architecture, and in the predecessor's.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Requests => ("edge requests", "API Gateway messages, minutes"),
            Self::Duration => ("edge duration", "Lambda"),
            Self::State => ("edge storage, alarms", "Redis"),
            Self::Core => ("core compute, tunnel", "FastAPI on Fargate, balancer"),
            Self::Database => ("database", "database"),
            Self::Network => ("network", "network"),
        }
    }
}

/// What a month costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    pub lines: Vec<Line>,
}

impl Estimate {
    fn new() -> Self {
        Self { lines: Vec::new() }
    }

    fn add(&mut self, part: Part, price: Price, quantity: f64) {
        let Price { what, unit, included, .. } = price;
        self.lines.push(Line { part, what, quantity, unit, included, usd: price.usd(quantity) });
    }

    /// All of it, in dollars.
    pub fn usd(&self) -> f64 {
        self.lines.iter().map(|line| line.usd).sum()
    }

    /// One part of it, in dollars.
    pub fn usd_of(&self, part: Part) -> f64 {
        self.lines.iter().filter(|line| line.part == part).map(|line| line.usd).sum()
    }
}

/// Requests to objects in a population's day: calls between friends, alarms, sockets, reads, events, and messages of clients,
/// heartbeats among them, which may be free.
pub fn object_requests(counts: &Counts) -> f64 {
    let whole = counts.peer_calls + counts.alarms + counts.connects + counts.reads + counts.core_batches;
    whole as f64 + (counts.frames + counts.heartbeats) as f64 / MESSAGES_PER_REQUEST
}

/// Gigabyte-seconds of objects in a population's day: waiting for answers, handling events, beginning anew.
pub fn object_gb_s(counts: &Counts) -> f64 {
    let busy_ms = counts.active_ms as f64 + counts.events as f64 * HANDLE_MS + counts.wakes as f64 * WAKE_MS;
    busy_ms / 1_000.0 * OBJECT_GB
}

/// Ours: a month of so many users who live such days.
pub fn ours(day: &Day, lived: &Lived, users: f64) -> Estimate {
    let counts = &lived.counts;
    let monthly = |counted: f64| counted / counts.user_days * users * MONTH_DAYS;
    let calls = users * day.active * day.calls * MONTH_DAYS;
    let asked = monthly(counts.core_calls as f64);
    let told = monthly(counts.core_batches as f64);
    let worker = monthly((counts.connects + counts.reads) as f64) + calls + told;
    let mut estimate = Estimate::new();
    estimate.add(Part::Requests, prices::PLAN, 1.0);
    estimate.add(Part::Requests, prices::WORKER_REQUESTS, worker);
    estimate.add(Part::Requests, prices::WORKER_CPU, worker * WORKER_MS);
    estimate.add(Part::Requests, prices::OBJECT_REQUESTS, monthly(object_requests(counts)));
    estimate.add(Part::Duration, prices::OBJECT_DURATION, monthly(object_gb_s(counts)));
    estimate.add(Part::State, prices::ROWS_WRITTEN, monthly((counts.rows + counts.alarms_set) as f64));
    estimate.add(Part::State, prices::ROWS_READ, monthly(counts.wakes as f64 * ROWS_PER_WAKE));
    estimate.add(Part::State, prices::OBJECT_STORAGE, users * object_bytes(lived) / 1e9);
    let environment = Environment::production();
    machines(&mut estimate, &environment, cpus(day, calls + asked + told));
    // One unit carries a GB an hour, the first dimension to be used up.
    let bytes = (calls + asked) * CALL_BYTES;
    if environment.balancer {
        estimate.add(Part::Core, prices::BALANCER_UNITS, bytes / 1e9);
    }
    estimate.add(Part::Database, prices::AURORA_STORAGE, database_gb(lived, users));
    estimate.add(Part::Database, prices::AURORA_IO, (calls + asked + told) * IO_PER_CALL);
    estimate.add(Part::Network, prices::NAT_DATA, bytes / 1e9);
    estimate.add(Part::Network, prices::DATA_OUT, bytes / 1e9);
    estimate
}

/// What a month of an environment costs before anybody uses it.
pub fn idle(environment: &Environment) -> Estimate {
    let mut estimate = Estimate::new();
    estimate.add(Part::Requests, prices::PLAN, 1.0);
    machines(&mut estimate, environment, Cpus { core: 0.0, database: 0.0 });
    estimate
}

/// vCPU that the busiest hour takes.
#[derive(Debug, Clone, Copy)]
struct Cpus {
    core: f64,
    database: f64,
}

fn cpus(day: &Day, calls: f64) -> Cpus {
    let calls_s = calls / MONTH_DAYS / DAY_S * day.peak / BUSY_MAX;
    Cpus { core: calls_s / CALLS_PER_CPU_S, database: calls_s * CALL_DATABASE_MS / 1_000.0 }
}

/// What runs all the time, at sizes that carry the busiest hour, the least of the environment's at least.
fn machines(estimate: &mut Estimate, environment: &Environment, busy: Cpus) {
    let Environment { nat_gateways, balancer, database_proxy, interface_endpoints, .. } = *environment;
    let cpu = environment.core_cpu / 1_024.0;
    let cores = (busy.core / cpu).ceil().max(environment.core_tasks_min);
    // The tunnel's ends carry what the core does, and need no more for it.
    let tunnels = (busy.core / environments::TUNNEL_CPU).ceil().max(environment.tunnel_tasks);
    let gb = cores * environment.core_memory_mb / 1_024.0 + tunnels * environments::TUNNEL_GB;
    estimate.add(Part::Core, prices::TASK_CPU, (cores * cpu + tunnels * environments::TUNNEL_CPU) * MONTH_HOURS);
    estimate.add(Part::Core, prices::TASK_MEMORY, gb * MONTH_HOURS);
    if balancer {
        estimate.add(Part::Core, prices::BALANCER_HOURS, MONTH_HOURS);
    } else {
        estimate.add(Part::Core, prices::NAMESPACE, 1.0);
    }
    estimate.add(Part::Core, prices::SECRET, environments::SECRETS);
    estimate.add(Part::Core, prices::KEY, environments::KEYS);
    estimate.add(Part::Core, prices::METRIC, environments::METRICS);
    estimate.add(Part::Core, prices::ALARM, environments::ALARMS + f64::from(environment.database_instances > 1.0));
    // A reader that may take over grows with the writer.
    let acu = (busy.database * ACU_PER_CPU / ACU_STEP).ceil() * ACU_STEP;
    let capacity = environment.database_instances * acu.max(environment.database_acu_min);
    estimate.add(Part::Database, prices::AURORA_CAPACITY, capacity * MONTH_HOURS);
    if database_proxy {
        let charged = capacity.max(environments::PROXY_ACU_MIN);
        estimate.add(Part::Database, prices::PROXY_CAPACITY, charged * MONTH_HOURS);
    }
    estimate.add(Part::Network, prices::NAT_HOURS, nat_gateways * MONTH_HOURS);
    estimate.add(Part::Network, prices::ADDRESS_HOURS, nat_gateways * MONTH_HOURS);
    if interface_endpoints {
        let endpoints = environments::ENDPOINTS * environments::ENDPOINT_ZONES;
        estimate.add(Part::Network, prices::ENDPOINT_HOURS, endpoints * MONTH_HOURS);
    }
}

fn database_gb(lived: &Lived, users: f64) -> f64 {
    users * (ROW_BYTES + lived.friends * ROW_BYTES_PER_FRIEND) / 1e9
}

/// The predecessor's: the same people with its clients, which poll, and hear of every page of every friend online.
pub fn predecessor(day: &Day, lived: &Lived, users: f64) -> Estimate {
    let counts = &lived.counts;
    let monthly = |counted: f64| counted / counts.user_days * users * MONTH_DAYS;
    let (minutes, updates) = (monthly(counts.heartbeats as f64), monthly(counts.page_changes as f64));
    let (connects, told) = (monthly(counts.connects as f64), monthly(counts.sockets_around as f64));
    let around = monthly(counts.friends_around as f64);
    let sweeps = if users > 0.0 { SWEEPS_PER_DAY * MONTH_DAYS } else { 0.0 };
    // Everybody who is online, on average.
    let online = minutes / (MONTH_HOURS * 60.0);
    let polls = minutes * POLLS_PER_HEARTBEAT;
    let calls = users * day.active * day.calls * MONTH_DAYS;
    let mut estimate = Estimate::new();
    estimate.add(Part::Requests, prices::GATEWAY_MESSAGES, minutes + updates + told);
    estimate.add(Part::Requests, prices::GATEWAY_MINUTES, minutes);
    estimate.add(Part::Duration, prices::LAMBDA_REQUESTS, minutes + updates + 2.0 * connects + sweeps);
    let lambda_s = minutes * HEARTBEAT_S
        + updates * UPDATE_S
        + told * UPDATE_S_PER_SOCKET
        + 2.0 * connects * CONNECT_S
        + sweeps * online * SWEEP_S_PER_USER;
    estimate.add(Part::Duration, prices::LAMBDA_DURATION, lambda_s * LAMBDA_GB);
    estimate.add(Part::State, prices::CACHE_UNITS, minutes + 2.0 * updates + around + sweeps * online);
    let cache_gb = (users * CACHE_BYTES / 1e9).max(CACHE_GB_MIN);
    estimate.add(Part::State, prices::CACHE_STORAGE, cache_gb * MONTH_HOURS);
    core_before(&mut estimate, day, lived, users, calls + polls, updates);
    estimate.add(Part::Core, prices::BALANCER_HOURS, MONTH_HOURS);
    // One unit carries a GB an hour, the first dimension to be used up.
    let balanced_gb = (calls * CALL_BYTES + polls * POLL_BYTES) / 1e9;
    estimate.add(Part::Core, prices::BALANCER_UNITS, balanced_gb.max(MONTH_HOURS));
    // What it sends does not leave by the gateways.
    estimate.add(Part::Network, prices::NAT_HOURS, NAT_GATEWAYS * MONTH_HOURS);
    estimate.add(
        Part::Network,
        prices::DATA_OUT,
        (calls * CALL_BYTES + polls * POLL_BYTES + told * MESSAGE_BYTES) / 1e9,
    );
    estimate
}

fn object_bytes(lived: &Lived) -> f64 {
    OBJECT_BYTES + lived.friends * OBJECT_BYTES_PER_FRIEND
}

/// The predecessor's tasks and database, at sizes that carry the busiest hour. `queries`: those with a connection each.
fn core_before(estimate: &mut Estimate, day: &Day, lived: &Lived, users: f64, calls: f64, queries: f64) {
    let at_peak = |a_month: f64| a_month / MONTH_DAYS / DAY_S * day.peak / BUSY_MAX;
    let tasks = (at_peak(calls) / CALLS_PER_CPU_S_BEFORE).ceil().max(TASKS_MIN);
    estimate.add(Part::Core, prices::TASK_CPU, tasks * MONTH_HOURS);
    estimate.add(Part::Core, prices::TASK_MEMORY, tasks * TASK_GB * MONTH_HOURS);
    let busy_s = at_peak(calls) * CALL_DATABASE_MS / 1_000.0 + at_peak(queries) * CONNECTION_MS / 1_000.0;
    // Sizes double.
    let cpus = busy_s.max(DATABASE_CPU_MIN).log2().ceil().exp2();
    estimate.add(Part::Database, prices::DATABASE_CPU, cpus * MONTH_HOURS);
    estimate.add(Part::Database, prices::DATABASE_STORAGE, database_gb(lived, users).max(DATABASE_GB_MIN));
}
