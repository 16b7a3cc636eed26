//! Tests of the costs: estimates equal sums computed by hand, simulated days match their options, and `docs/cost.md` is up
//! to date.

use clap::Parser;
use sim::{
    cost::{
        day::{Day, Lived},
        environments::Environment,
        estimate::{self, Estimate, Part},
        prices,
        report::{Measured, Population},
    },
    counts::Counts,
};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    day: Day,
}

fn day(options: &[&str]) -> Day {
    Options::parse_from([&["cost"], options].concat()).day
}

fn complaint(options: &[&str]) -> String {
    Options::try_parse_from([&["cost"], options].concat()).err().map(|error| error.to_string()).unwrap()
}

fn assert_near(value: f64, wanted: f64) {
    assert!((value - wanted).abs() <= wanted.abs() * 1e-9 + 1e-9, "{value} is not {wanted}");
}

fn usd_of(estimate: &Estimate, price: prices::Price) -> f64 {
    estimate.lines.iter().find(|line| line.what == price.what).unwrap().usd
}

/// One user's day with a thousand of everything.
fn thousands() -> Lived {
    let n = 1_000;
    let counts = Counts {
        user_days: 1.0,
        events: n,
        page_changes: n,
        sockets_around: n,
        friends_around: n,
        peer_calls: n,
        connects: n,
        frames: n,
        heartbeats: n,
        reads: n,
        core_calls: n,
        core_batches: n,
        rows: n,
        alarms_set: n,
        alarms: n,
        wakes: n,
        active_ms: n,
        ..Counts::default()
    };
    Lived { counts, friends: 50.0 }
}

#[test]
fn what_is_included_is_free_and_the_rest_is_not() {
    assert_near(prices::WORKER_REQUESTS.usd(9_000_000.0), 0.0);
    assert_near(prices::WORKER_REQUESTS.usd(12_000_000.0), 0.60);
    assert_near(prices::OBJECT_DURATION.usd(1_400_000.0), 12.50);
    assert_near(prices::NAT_HOURS.usd(1_460.0), 65.70);
}

#[test]
fn messages_beyond_a_thousand_millions_are_cheaper() {
    assert_near(prices::GATEWAY_MESSAGES.usd(1e9), 1_000.0);
    assert_near(prices::GATEWAY_MESSAGES.usd(3e9), 2_600.0);
}

#[test]
fn twenty_messages_are_one_request() {
    let counts = Counts { peer_calls: 7, alarms: 2, connects: 1, frames: 30, heartbeats: 10, ..Counts::default() };
    assert_near(estimate::object_requests(&counts), 12.0);
}

#[test]
fn an_object_is_charged_for_waiting_handling_and_waking() {
    // A second of waiting, two thousand events of half a millisecond, four hundred wake-ups of five.
    let counts = Counts { active_ms: 1_000, events: 2_000, wakes: 400, ..Counts::default() };
    assert_near(estimate::object_gb_s(&counts), 4.0 * 0.128);
}

#[test]
fn a_month_of_our_system_costs_what_a_sum_by_hand_says() {
    // 1,000 users, each with a thousand of everything on each of 365 / 12 days: 30,416,666.67 of each.
    let ours = estimate::ours(&day(&["--calls", "0"]), &thousands(), 1_000.0);
    let each = 1e6 * 365.0 / 12.0;
    // Calls, alarms, connections, reads, batches, and two thousand messages at a twentieth.
    assert_near(usd_of(&ours, prices::OBJECT_REQUESTS), (5.1 * each - 1e6) * 0.15e-6);
    // Documents and alarms.
    assert_near(usd_of(&ours, prices::ROWS_WRITTEN), (2.0 * each - 50e6) * 1e-6);
    // Connections, reads, and batches on their way in.
    assert_near(usd_of(&ours, prices::WORKER_REQUESTS), (3.0 * each - 10e6) * 0.3e-6);
    // 22 KB each are within the 5 GB that are included.
    assert_near(usd_of(&ours, prices::OBJECT_STORAGE), 0.0);
}

#[test]
fn a_month_of_the_predecessor_costs_what_a_sum_by_hand_says() {
    let before = estimate::predecessor(&day(&["--calls", "0"]), &thousands(), 1_000.0);
    let each = 1e6 * 365.0 / 12.0;
    // Heartbeats, page changes, and as many sockets that hear of one.
    assert_near(usd_of(&before, prices::GATEWAY_MESSAGES), 3.0 * each * 1e-6);
    assert_near(usd_of(&before, prices::GATEWAY_MINUTES), each * 0.25e-6);
    // Heartbeats, page changes, connections that open and that close, and a sweep every three minutes.
    assert_near(usd_of(&before, prices::LAMBDA_REQUESTS), (4.0 * each + 14_600.0) * 0.2e-6);
}

/// An environment with one of each machine, of the smallest size.
fn least() -> Environment {
    Environment {
        nat_gateways: 1.0,
        balancer: false,
        core_cpu: 256.0,
        core_memory_mb: 512.0,
        core_tasks_min: 1.0,
        tunnel_tasks: 1.0,
        database_instances: 1.0,
        database_acu_min: 0.5,
        database_proxy: false,
        interface_endpoints: false,
    }
}

#[test]
fn an_environment_that_nobody_uses_costs_what_a_sum_by_hand_says() {
    let estimate = estimate::idle(&least());
    // Two tasks of a quarter of a vCPU and half a GB; a private DNS zone; six secrets, a key, three metrics, seven alarms.
    assert_near(estimate.usd_of(Part::Core), 730.0 * (0.5 * 0.03238 + 0.00356) + 0.5 + 2.4 + 1.0 + 0.9 + 0.7);
    assert_near(estimate.usd_of(Part::Database), 43.8);
    assert_near(estimate.usd_of(Part::Network), 730.0 * (0.045 + 0.005));
    assert_near(estimate.usd_of(Part::Requests), 5.0);
}

#[test]
fn every_addition_to_an_environment_costs_its_price() {
    let usd = |environment: Environment| estimate::idle(&environment).usd();
    let than = usd(least());
    assert_near(usd(Environment { database_proxy: true, ..least() }) - than, 87.6);
    assert_near(usd(Environment { interface_endpoints: true, ..least() }) - than, 73.0);
    assert_near(usd(Environment { nat_gateways: 2.0, ..least() }) - than, 36.5);
    // A reader is as large as the writer, and has an alarm for its lag.
    assert_near(usd(Environment { database_instances: 2.0, ..least() }) - than, 43.8 + 0.1);
    // The balancer replaces the private DNS zone.
    assert_near(usd(Environment { balancer: true, ..least() }) - than, 730.0 * 0.0225 - 0.5);
}

#[test]
fn the_environments_cost_what_their_files_say_they_do() {
    let said = |file: &str| -> f64 {
        let (_, after) = file.lines().next().unwrap().split_once("about $").unwrap();
        after.split(' ').next().unwrap().parse().unwrap()
    };
    for (name, environment) in Environment::all() {
        let file = std::fs::read_to_string(format!("../terraform/env/{name}.tfvars")).unwrap();
        let (usd, said) = (estimate::idle(&environment).usd(), said(&file));
        assert!((usd - said).abs() <= 2.5, "{name} costs {usd}, and says {said}");
    }
}

#[test]
fn a_file_without_a_size_has_no_price() {
    let told = Environment::read("nat_gateways = 1").unwrap_err().to_string();
    assert!(told.contains("balancer"), "{told}");
}

#[test]
fn without_users_no_request_is_charged() {
    for estimate in [estimate::ours(&day(&[]), &thousands(), 0.0), estimate::predecessor(&day(&[]), &thousands(), 0.0)]
    {
        assert_eq!(estimate.usd_of(Part::Duration), 0.0);
        // The plan costs the same whether it is used or not.
        assert!(estimate.usd_of(Part::Requests) <= prices::PLAN.usd);
        assert!(estimate.lines.iter().all(|line| line.usd.is_finite() && line.usd >= 0.0));
    }
}

#[test]
fn more_of_anything_is_never_cheaper() {
    let (day, lived) = (day(&[]), thousands());
    let users = 1_000_000.0;
    type Change = fn(&mut Counts);
    let more: [Change; 14] = [
        |c| c.events *= 2,
        |c| c.page_changes *= 2,
        |c| c.sockets_around *= 2,
        |c| c.friends_around *= 2,
        |c| c.peer_calls *= 2,
        |c| c.connects *= 2,
        |c| c.frames *= 2,
        |c| c.heartbeats *= 2,
        |c| c.reads *= 2,
        |c| c.core_calls *= 2,
        |c| c.core_batches *= 2,
        |c| c.rows *= 2,
        |c| c.alarms *= 2,
        |c| c.wakes *= 2,
    ];
    let estimates = |lived: &Lived, users| {
        (estimate::ours(&day, lived, users).usd(), estimate::predecessor(&day, lived, users).usd())
    };
    let (ours, before) = estimates(&lived, users);
    for change in more {
        let mut dearer = lived;
        change(&mut dearer.counts);
        let (ours_now, before_now) = estimates(&dearer, users);
        assert!(ours_now >= ours && before_now >= before);
        assert!(ours_now > ours || before_now > before, "it costs nothing");
    }
    let (ours_now, before_now) = estimates(&lived, 2.0 * users);
    assert!(ours_now > ours && before_now > before);
}

#[test]
fn an_ordinary_day_breaks_no_rule_and_is_always_the_same() {
    let day = day(&["--friends", "8"]);
    let lived = day.live(30, 1).unwrap();
    assert!(lived.counts.peer_calls > 0 && lived.counts.page_calls > 0);
    assert_eq!(day.live(30, 1).unwrap(), lived);
}

#[test]
fn a_day_matches_its_options() {
    let day = day(&["--friends", "6", "--active", "1", "--hours", "5", "--pages", "30", "--sockets", "1.5"]);
    let Lived { counts, friends } = day.live(60, 1).unwrap();
    let a_day = |count: u64| count as f64 / counts.user_days;
    let about = |value: f64, wanted: f64| assert!((value / wanted - 1.0).abs() < 0.15, "{value} is not about {wanted}");
    about(friends, 6.0);
    about(a_day(counts.page_changes), 5.0 * 30.0);
    about(a_day(counts.heartbeats), 5.0 * 60.0 * 1.5);
    // Of the friends, 5 in 24 are online on average. When a page is turned to, it is more: most are turned to in the evening.
    let around = counts.friends_around as f64 / counts.page_changes as f64;
    let on_average = friends * 5.0 / 24.0;
    assert!((1.1..1.5).contains(&(around / on_average)), "{around} are online, {on_average} on average");
}

#[test]
fn users_who_stay_away_cause_nothing_that_is_counted() {
    let Lived { counts, .. } = day(&["--friends", "4", "--active", "0", "--events", "0"]).live(20, 1).unwrap();
    assert_eq!(Counts { user_days: 0.0, ..counts }, Counts::default());
}

#[test]
fn a_value_out_of_bounds_is_refused_by_name() {
    for (option, value) in [
        ("--hours", "17"),
        ("--friends", "-1"),
        ("--active", "1.1"),
        ("--sockets", "0"),
        ("--pages", "many"),
        ("--peak", "NaN"),
    ] {
        let told = complaint(&[&format!("{option}={value}")]);
        assert!(told.contains(option) && told.contains("a number from"), "{told}");
    }
}

#[test]
fn the_page_about_costs_is_up_to_date() {
    let measured: Measured = serde_json::from_str(include_str!("../../../docs/cost.json")).unwrap();
    let page = include_str!("../../../docs/cost.md");
    assert!(page.contains(&measured.tables()), "make docs/cost.md anew: cargo xtask cost --json docs/cost.json");
}

#[test]
fn the_tables_tell_the_goal_and_the_spread() {
    let lived = thousands();
    let population = |seed, lived| Population { seed, sample: 1, friends: 50.0, lived };
    let mut other = lived;
    other.counts.peer_calls = 3_000;
    let measured = Measured {
        users: 1e6,
        day: day(&[]),
        populations: vec![population(1, lived), population(2, other)],
        growth: vec![],
    };
    let tables = measured.tables();
    assert!(tables.contains("| requests between objects | 2000.00 | 1000.00 to 3000.00 |"), "{tables}");
    assert!(tables.contains("The goal, a tenth of the predecessor's, is **not** reached."), "{tables}");
}
