//! From the counts of a population's day to the costs of a month for any number of users: for our system, and for its
//! predecessor with the same users.
//!
//! Figures that are assumed and not counted are constants here, each with its reason. Where several assumptions are
//! reasonable, the predecessor gets the cheaper one.

use serde::Serialize;

use crate::{
    cost::{
        day::{Day, Lived},
        environments::{self, Environment},
        prices::{self, Price},
    },
    counts::Counts,
};

/// Hours in a month.
pub const MONTH_HOURS: f64 = 730.0;
const MONTH_DAYS: f64 = MONTH_HOURS / 24.0;
const DAY_S: f64 = 86_400.0;

/// Number of incoming WebSocket messages that are charged as one request to the object.
const MESSAGES_PER_REQUEST: f64 = 20.0;

/// Memory that an object is charged for, in GB, however much it uses.
const OBJECT_GB: f64 = 0.128;

/// Time for which an event keeps an object busy, in milliseconds. A call to an object in memory was measured at 0.1 ms, the
/// call itself included.
const HANDLE_MS: f64 = 0.5;

/// Time in which an object comes into memory after sleep, in milliseconds. More than ten times that of a call to an object
/// in memory was measured.
const WAKE_MS: f64 = 5.0;

/// CPU time of the Worker for a request, in milliseconds. Most of it checks the signature of a token.
const WORKER_MS: f64 = 1.0;

/// Rows that an object reads when it wakes: its three documents, the schema, the alarm.
const ROWS_PER_WAKE: f64 = 6.0;

/// Storage of an object without friends, in bytes: an empty database.
const OBJECT_BYTES: f64 = 12_288.0;
/// Storage of an object for each friend, in bytes: name and id.
const OBJECT_BYTES_PER_FRIEND: f64 = 200.0;

/// Storage of the core for a user, in bytes, with indexes.
const ROW_BYTES: f64 = 4_096.0;
/// Storage of the core for each friend of a user, in bytes: half of a friendship.
const ROW_BYTES_PER_FRIEND: f64 = 200.0;
const DATABASE_GB_MIN: f64 = 20.0;

/// Calls a second that one vCPU of the core carries: half of what was measured for `GET /users/id/{id}/friends` on two vCPU,
/// which also ran the database and the load. It is the most expensive of the everyday calls.
const CALLS_PER_CPU_S: f64 = 1_180.0;
/// The same for the predecessor's server, measured in the same way.
const CALLS_PER_CPU_S_BEFORE: f64 = 210.0;

/// CPU time of the database for a call, in milliseconds: 2,976 calls a second were measured on two vCPU.
const CALL_DATABASE_MS: f64 = 0.7;

/// CPU time of the database for a connection that is made for one query, in milliseconds: fork, TLS and password check.
const CONNECTION_MS: f64 = 5.0;

/// The highest utilisation that sizes are planned for, at the busiest hour.
const BUSY_MAX: f64 = 0.6;

/// The step in which Aurora's capacity grows, in Aurora capacity units.
const ACU_STEP: f64 = 0.5;
/// Capacity units for one vCPU. A unit has 2 GiB, and memory-optimised instances have 8 GiB for each vCPU.
const ACU_PER_CPU: f64 = 4.0;

/// Blocks that Aurora reads or writes for a call. Most calls find everything in memory, and a change is one write.
const IO_PER_CALL: f64 = 1.0;

/// The least number of the predecessor's tasks, of one vCPU each.
const TASKS_MIN: f64 = 2.0;
/// Memory of such a task, in GB.
const TASK_GB: f64 = 2.0;
/// The smallest size of the predecessor's database, in vCPU.
const DATABASE_CPU_MIN: f64 = 2.0;

/// NAT gateways of the predecessor: one in each of its two zones.
const NAT_GATEWAYS: f64 = 2.0;

/// The answer to a call, in bytes, with its headers.
const CALL_BYTES: f64 = 3_000.0;
/// The answer to a poll that finds nothing, in bytes, with its headers.
const POLL_BYTES: f64 = 600.0;
/// A message about presence, in bytes, with its headers.
const MESSAGE_BYTES: f64 = 600.0;

/// Memory of each of the predecessor's Lambdas, in GB: the least that AWS offers.
const LAMBDA_GB: f64 = 0.128;
/// Time of a heartbeat, in seconds: it writes to Redis.
const HEARTBEAT_S: f64 = 0.010;
/// Time of a page change, in seconds: it connects to the database, queries it, and looks up friends in Redis.
const UPDATE_S: f64 = 0.040;
/// Time of a page change for each socket of a friend, in seconds: it posts to the socket.
const UPDATE_S_PER_SOCKET: f64 = 0.005;
const CONNECT_S: f64 = 0.040;
/// Time of a sweep for each user online, in seconds: it looks at every one of them.
const SWEEP_S_PER_USER: f64 = 0.000_1;
const SWEEPS_PER_DAY: f64 = 480.0;

/// The predecessor's clients ask for notifications once a minute, as often as they send a heartbeat.
const POLLS_PER_HEARTBEAT: f64 = 1.0;

/// Bytes in Redis for a user.
const CACHE_BYTES: f64 = 1_024.0;
const CACHE_GB_MIN: f64 = 0.1;

/// One line of an estimate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// The part that it belongs to: a row of the table.
    pub part: Part,
    pub what: &'static str,
    /// The quantity of a month, including what the plan includes.
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

    /// Its name in our architecture, and in the predecessor's.
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

/// The costs of a month.
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

    /// The sum, in dollars.
    pub fn usd(&self) -> f64 {
        self.lines.iter().map(|line| line.usd).sum()
    }

    /// The sum of one part, in dollars.
    pub fn usd_of(&self, part: Part) -> f64 {
        self.lines.iter().filter(|line| line.part == part).map(|line| line.usd).sum()
    }
}

/// Requests to objects in a population's day: calls between friends, alarms, sockets, reads, batches of events, and messages
/// of clients. Heartbeats are counted as messages, although they may be free.
pub fn object_requests(counts: &Counts) -> f64 {
    let whole = counts.peer_calls + counts.alarms + counts.connects + counts.reads + counts.core_batches;
    whole as f64 + (counts.frames + counts.heartbeats) as f64 / MESSAGES_PER_REQUEST
}

/// Gigabyte-seconds of objects in a population's day: waiting for answers, handling events, coming into memory.
pub fn object_gb_s(counts: &Counts) -> f64 {
    let busy_ms = counts.active_ms as f64 + counts.events as f64 * HANDLE_MS + counts.wakes as f64 * WAKE_MS;
    busy_ms / 1_000.0 * OBJECT_GB
}

/// The costs of our system: a month of `users` users with such days.
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
    // A capacity unit carries one GB an hour. Of its dimensions, this is the first to be used up.
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

/// The costs of a month of an environment that nobody uses.
pub fn idle(environment: &Environment) -> Estimate {
    let mut estimate = Estimate::new();
    estimate.add(Part::Requests, prices::PLAN, 1.0);
    machines(&mut estimate, environment, Cpus { core: 0.0, database: 0.0 });
    estimate
}

/// The vCPU that the busiest hour needs.
#[derive(Debug, Clone, Copy)]
struct Cpus {
    core: f64,
    database: f64,
}

fn cpus(day: &Day, calls: f64) -> Cpus {
    let calls_s = calls / MONTH_DAYS / DAY_S * day.peak / BUSY_MAX;
    Cpus { core: calls_s / CALLS_PER_CPU_S, database: calls_s * CALL_DATABASE_MS / 1_000.0 }
}

/// Adds everything that runs all the time, sized for the busiest hour but not below the environment's minimum.
fn machines(estimate: &mut Estimate, environment: &Environment, busy: Cpus) {
    let Environment { nat_gateways, balancer, database_proxy, interface_endpoints, .. } = *environment;
    let cpu = environment.core_cpu / 1_024.0;
    let cores = (busy.core / cpu).ceil().max(environment.core_tasks_min);
    // The tunnel's tasks carry the same calls as the core, and need no more CPU for them.
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
    // A reader that can take over is as large as the writer.
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

/// The costs of the predecessor for the same users. Its clients poll, and are sent every page of every friend online.
pub fn predecessor(day: &Day, lived: &Lived, users: f64) -> Estimate {
    let counts = &lived.counts;
    let monthly = |counted: f64| counted / counts.user_days * users * MONTH_DAYS;
    let (minutes, updates) = (monthly(counts.heartbeats as f64), monthly(counts.page_changes as f64));
    let (connects, told) = (monthly(counts.connects as f64), monthly(counts.sockets_around as f64));
    let around = monthly(counts.friends_around as f64);
    let sweeps = if users > 0.0 { SWEEPS_PER_DAY * MONTH_DAYS } else { 0.0 };
    // Users online, on average.
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
    // A capacity unit carries one GB an hour. Of its dimensions, this is the first to be used up.
    let balanced_gb = (calls * CALL_BYTES + polls * POLL_BYTES) / 1e9;
    estimate.add(Part::Core, prices::BALANCER_UNITS, balanced_gb.max(MONTH_HOURS));
    // Its answers do not pass the NAT gateways.
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

/// Adds the predecessor's tasks and database, sized for the busiest hour. Each of `queries` makes its own connection.
fn core_before(estimate: &mut Estimate, day: &Day, lived: &Lived, users: f64, calls: f64, queries: f64) {
    let at_peak = |a_month: f64| a_month / MONTH_DAYS / DAY_S * day.peak / BUSY_MAX;
    let tasks = (at_peak(calls) / CALLS_PER_CPU_S_BEFORE).ceil().max(TASKS_MIN);
    estimate.add(Part::Core, prices::TASK_CPU, tasks * MONTH_HOURS);
    estimate.add(Part::Core, prices::TASK_MEMORY, tasks * TASK_GB * MONTH_HOURS);
    let busy_s = at_peak(calls) * CALL_DATABASE_MS / 1_000.0 + at_peak(queries) * CONNECTION_MS / 1_000.0;
    // Each size of a database has twice the vCPU of the one below.
    let cpus = busy_s.max(DATABASE_CPU_MIN).log2().ceil().exp2();
    estimate.add(Part::Database, prices::DATABASE_CPU, cpus * MONTH_HOURS);
    estimate.add(Part::Database, prices::DATABASE_STORAGE, database_gb(lived, users).max(DATABASE_GB_MIN));
}
