use clap::Parser;
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    day: sim::cost::day::Day,
    #[arg(long, default_value_t = 400)]
    sample: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}
fn main() {
    let a = Args::parse();
    let t = std::time::Instant::now();
    match a.day.live(a.sample, a.seed) {
        Ok(l) => {
            println!("{l:#?} {:?}", t.elapsed());
            let c = l.counts;
            let d = c.user_days;
            println!(
                "peer {} page {} ask {} vain {} conn {} frames {} hb {} core {} rows {} alarms_set {} alarms {} wakes {} active_s {} ev {}",
                c.peer_calls as f64 / d,
                c.page_calls as f64 / d,
                c.asking_calls as f64 / d,
                c.vain_calls as f64 / d,
                c.connects as f64 / d,
                c.frames as f64 / d,
                c.heartbeats as f64 / d,
                c.core_calls as f64 / d,
                c.rows as f64 / d,
                c.alarms_set as f64 / d,
                c.alarms as f64 / d,
                c.wakes as f64 / d,
                c.active_ms as f64 / 1e3 / d,
                c.events as f64 / d
            );
            println!("friends around {}", c.friends_around as f64 / c.page_changes as f64);
        }
        Err(v) => println!("{v}"),
    }
}
