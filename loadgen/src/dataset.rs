//! The costs of many idle sockets, and of many that connect at once.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use loadgen::{Connected, Idle, Town};
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    clients::{Clients, Heard, Server},
    times::times,
};

/// Measures idle sockets. The server rests for `rest`, everybody connects, and all rest for `rest` again. Then they only send
/// heartbeats, each every `beats_every`, for `time`.
pub async fn idle(server: &Server, town: &Town, rest: Duration, beats_every: Duration, time: Duration) -> Result<Idle> {
    let process = server.process.context("whose memory is to be measured?")?;
    // By then the server has freed the memory that it needed only to start.
    sleep(rest).await;
    let before = Usage::of(process)?;
    let begun = Instant::now();
    let mut clients = Clients::connect(server, town, 32).await?;
    let connected_s = begun.elapsed().as_secs_f64();
    sleep(rest).await;
    let still = Usage::of(process)?;
    let sockets = town.people.len();
    let each = beats_every.div_f64(sockets as f64);
    let begun = Instant::now();
    let mut sent = 0_usize;
    while begun.elapsed() < time {
        clients.beat(sent % sockets).await?;
        clients.next_of(|heard| heard == Heard::Heartbeat, Duration::from_secs(5)).await?;
        sent += 1;
        sleep_until(begun + each.mul_f64(sent as f64)).await;
    }
    let after = Usage::of(process)?;
    let elapsed_s = begun.elapsed().as_secs_f64();
    Ok(Idle {
        server: server.name.clone(),
        sockets,
        kib_each: (still.resident_kib - before.resident_kib) / sockets as f64,
        connected_s,
        connecting_cpu_ms_each: (still.cpu_s - before.cpu_s) * 1_000.0 / sockets as f64,
        cpu_percent: (after.cpu_s - still.cpu_s) * 100.0 / elapsed_s,
        heartbeats_per_s: sent as f64 / elapsed_s,
    })
}

/// Connects everybody at the same moment, and waits until the last has their snapshot. With `hold`, it then stays until a
/// socket closes, a day at most.
pub async fn connect(server: &Server, town: &Town, hold: bool) -> Result<Connected> {
    let begun = Instant::now();
    let (mut clients, taken) = Clients::storm(server, town).await?;
    let all_s = begun.elapsed().as_secs_f64();
    if hold {
        println!("connected");
        let day = Instant::now() + Duration::from_secs(86_400);
        while clients.next(day).await.is_ok_and(|report| report.is_some()) {}
    }
    let times = times(taken);
    Ok(Connected { server: server.name.clone(), sockets: town.people.len(), all_s, times })
}

/// Memory and processor time of a process.
#[derive(Debug, Clone, Copy)]
struct Usage {
    resident_kib: f64,
    /// Processor time since it started.
    cpu_s: f64,
}

impl Usage {
    fn of(process: u32) -> Result<Self> {
        let read = |name: &str| {
            fs::read_to_string(format!("/proc/{process}/{name}")).context("this measurement needs Linux's /proc")
        };
        let status = read("status")?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let resident_kib = resident.trim().trim_end_matches(" kB").parse()?;
        // The sum over all threads, in nanoseconds. Threads that have ended do not count.
        let mut cpu_ns = 0.0;
        for task in fs::read_dir(format!("/proc/{process}/task"))? {
            let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
            cpu_ns += text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default();
        }
        Ok(Self { resident_kib, cpu_s: cpu_ns / 1e9 })
    }
}
