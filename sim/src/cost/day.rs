//! An ordinary day: what people with friends and browsers do when nothing goes wrong. A population of users is simulated with
//! the engine, and their actions and calls are counted.
//!
//! Deliberately absent: prices and faults.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{
    checks::Violation,
    clients::{NEVER, SITES},
    core::Core,
    counts::Counts,
    rng::{Draws, SeededRng},
    rules::Rules,
    steps::{Device, Leave, Ms, Place, Planned, Setting, Step, Tab, Who},
    world,
};

const HOUR_MS: f64 = 3_600_000.0;
const DAY_MS: Ms = 86_400_000;

/// The longest time that a user is online without a pause.
const SESSION_HOURS_MAX: f64 = 20.0;

/// How long after its last token a client sends a fresh one. Tokens last for an hour.
const TOKEN_EVERY_MS: Ms = 55 * 60_000;

/// How long a user stays away from their desk, on average.
const IDLE_MS: f64 = 600_000.0;

/// The busiest hour of a day that begins at six in the morning: eight in the evening.
const PEAK_HOUR: f64 = 14.0;

/// Assumptions about users. All are options of the command and are printed with its result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Day {
    /// Friends of a user, on average. Some have half as many, some several times as many.
    #[arg(long, value_name = "N", default_value_t = 50.0, value_parser = within(0.0, 800.0))]
    pub friends: f64,
    /// Share of users who come online on a day.
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = within(0.0, 1.0))]
    pub active: f64,
    /// Hours a day that a user who comes online is online.
    #[arg(long, value_name = "HOURS", default_value_t = 6.0, value_parser = within(0.1, 16.0))]
    pub hours: f64,
    /// Number of stretches that these hours are split into: each start of a browser begins one.
    #[arg(long, value_name = "N", default_value_t = 3.0, value_parser = within(1.0, 20.0))]
    pub sessions: f64,
    /// Devices of a user who is online, on average.
    #[arg(long, value_name = "N", default_value_t = 1.2, value_parser = within(1.0, 3.0))]
    pub sockets: f64,
    /// Users online at the busiest hour, as a multiple of the average.
    #[arg(long, value_name = "TIMES", default_value_t = 1.8, value_parser = within(1.0, 2.0))]
    pub peak: f64,
    /// Pages an hour that a user who is online turns to.
    #[arg(long, value_name = "N", default_value_t = 25.0, value_parser = within(0.0, 600.0))]
    pub pages: f64,
    /// Share of these pages that friends may see.
    #[arg(long, value_name = "SHARE", default_value_t = 0.7, value_parser = within(0.0, 1.0))]
    pub shown: f64,
    /// How often a day a user opens the popup. Their client watches only then.
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = within(0.0, 500.0))]
    pub popups: f64,
    /// Seconds that the popup stays open, on average.
    #[arg(long, value_name = "S", default_value_t = 20.0, value_parser = within(1.0, 3600.0))]
    pub popup_s: f64,
    /// Share of users whose client watches all the time, as clients without the `watch` action do.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = within(0.0, 1.0))]
    pub always_watching: f64,
    /// How often an hour a device loses its connection and connects again.
    #[arg(long, value_name = "N", default_value_t = 0.25, value_parser = within(0.0, 60.0))]
    pub reconnects: f64,
    /// How often an hour a user who is online leaves their desk.
    #[arg(long, value_name = "N", default_value_t = 0.5, value_parser = within(0.0, 60.0))]
    pub idles: f64,
    /// Calls of GET /presence a day by a user who comes online.
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = within(0.0, 1000.0))]
    pub reads: f64,
    /// Events a day that the core sends to a user's object: friend requests, pages that friends sent, changed settings.
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = within(0.0, 100.0))]
    pub events: f64,
    /// REST calls to the core a day by a user who comes online.
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = within(0.0, 10_000.0))]
    pub calls: f64,
    /// Milliseconds that a call between objects takes each way, on average.
    #[arg(long, value_name = "MS", default_value_t = 10.0, value_parser = within(1.0, 900.0))]
    pub hop_ms: f64,
}

/// Parses a number within these bounds.
fn within(least: f64, most: f64) -> impl Fn(&str) -> Result<f64, String> + Clone {
    move |text| {
        let value = text.parse().ok().filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| format!("a number from {least} to {most}"))
    }
}

/// The counts of a population's day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Lived {
    pub counts: Counts,
    /// Friends of a user on average, as they were drawn.
    pub friends: f64,
}

impl Day {
    /// The size of a population: at least `sample`, and enough for everybody's number of friends.
    pub fn population(&self, sample: usize) -> usize {
        sample.max((self.friends * 1.1) as usize + 2)
    }

    /// Simulates a population of `users` users for 32 hours. The first eight hours bring the population into its usual state
    /// and are not counted. The figures are those of the 24 hours after that, without the reads that the checks make.
    ///
    /// # Errors
    ///
    /// When a rule of presence is broken.
    pub fn live(&self, users: usize, seed: u64) -> Result<Lived, Violation> {
        // Four parts of eight hours each. The first is not counted.
        let setting = Setting {
            seed,
            users,
            days: 4.0 / 3.0,
            haste: 1.0,
            faults: false,
            steady: false,
            ignored: Rules::default(),
        };
        let friends = self.draw_friends(users, seed);
        let friends_mean = friends.iter().map(BTreeSet::len).sum::<usize>() as f64 / users.max(1) as f64;
        let mut steps = Vec::new();
        for user in 0..users {
            self.draw(&setting, user, &mut steps);
        }
        setting.place(&mut steps);
        let place = Place { hop_ms: (1, (2.0 * self.hop_ms) as Ms - 1), token_ms: (3_600_000, 3_600_000) };
        let outcome = world::run_in(place, Core::of_friends(friends), &setting, &steps, None, None);
        if let Some(violation) = outcome.violation {
            return Err(violation);
        }
        let mut counts = Counts::default();
        for part in outcome.busy.iter().skip(1) {
            counts += *part;
        }
        counts.user_days = users as f64;
        Ok(Lived { counts, friends: friends_mean })
    }

    /// Draws who is friends with whom. Every user has a random weight. The chance of a friendship grows with both weights.
    fn draw_friends(&self, users: usize, seed: u64) -> Vec<BTreeSet<Who>> {
        let mut draws = SeededRng::new(seed).of(&[50]);
        let wishes: Vec<f64> = (0..users).map(|_| 0.5 + draws.wait_ms(500_000.0) as f64 / 1_000_000.0).collect();
        let mut friends = vec![BTreeSet::new(); users];
        let share = self.share_of(&wishes);
        for a in 0..users {
            for b in a + 1..users {
                if draws.chance(share * wishes[a] * wishes[b]) {
                    friends[a].insert(b);
                    friends[b].insert(a);
                }
            }
        }
        friends
    }

    /// The factor for the product of two weights that gives users the wanted number of friends on average. It is found by
    /// bisection, because no chance can be greater than 1.
    fn share_of(&self, wishes: &[f64]) -> f64 {
        let expected = |share: f64| {
            let pairs = wishes.iter().enumerate().flat_map(|(a, one)| {
                wishes
                    .iter()
                    .enumerate()
                    .filter(move |(b, _)| *b != a)
                    .map(move |(_, other)| (share * one * other).min(1.0))
            });
            pairs.sum::<f64>() / wishes.len().max(1) as f64
        };
        let (mut least, mut most) = (0.0, 8.0);
        for _ in 0..30 {
            let middle = (least + most) / 2.0;
            if expected(middle) < self.friends { least = middle } else { most = middle }
        }
        most
    }

    /// Draws what one user does.
    fn draw(&self, setting: &Setting, user: Who, steps: &mut Vec<Planned>) {
        let end = setting.busy_ms();
        let mut draws = SeededRng::new(setting.seed).of(&[51, user as u64]);
        let always_watching = draws.chance(self.always_watching);
        let mut begin = 0;
        while begin < end {
            if draws.chance(self.active) {
                for session in self.draw_sessions(&mut draws) {
                    let session = begin + session.start..(begin + session.end).min(end);
                    if session.start < end {
                        self.draw_session(user, session, always_watching, &mut draws, steps);
                    }
                }
            }
            begin += DAY_MS;
        }
        often(&mut draws, &(0..end), DAY_MS as f64 / self.events, |_, at| {
            steps.push(Planned { at, step: Step::Notify(user) });
        });
    }

    /// The stretches of a day in which a user is online. They touch neither each other nor the ends of the day.
    fn draw_sessions(&self, draws: &mut Draws) -> Vec<std::ops::Range<Ms>> {
        let mut sessions: Vec<std::ops::Range<Ms>> = Vec::new();
        let number = self.sessions as usize + usize::from(draws.chance(self.sessions.fract()));
        let mean_ms = self.hours / self.sessions * HOUR_MS;
        for _ in 0..number {
            let length = draws.wait_ms(mean_ms).clamp(60_000, (SESSION_HOURS_MAX * HOUR_MS) as Ms);
            // If no room is found in 50 tries, the stretch is left out.
            for _ in 0..50 {
                let start = self.draw_moment(draws) - length / 2;
                let room = start - 120_000..start + length + 120_000;
                let in_day = room.start >= 0 && room.end < DAY_MS;
                if in_day && sessions.iter().all(|other| other.end < room.start || room.end < other.start) {
                    sessions.push(start..start + length);
                    break;
                }
            }
        }
        sessions
    }

    /// A random moment of the day, most likely in the evening.
    fn draw_moment(&self, draws: &mut Draws) -> Ms {
        loop {
            let at = draws.ms(0, DAY_MS - 1);
            let angle = (at as f64 / HOUR_MS - PEAK_HOUR) / 24.0 * std::f64::consts::TAU;
            if draws.chance((1.0 + (self.peak - 1.0) * angle.cos()) / self.peak) {
                return at;
            }
        }
    }

    fn draw_session(
        &self,
        user: Who,
        session: std::ops::Range<Ms>,
        always_watching: bool,
        draws: &mut Draws,
        steps: &mut Vec<Planned>,
    ) {
        let mut say = |at: Ms, step: Step| steps.push(Planned { at, step });
        let devices = self.sockets as usize + usize::from(draws.chance(self.sockets.fract()));
        for number in 0..devices {
            let device = Device { user, number };
            say(session.start, Step::On(device));
            if !always_watching {
                say(session.start + 1, Step::Watch(device, false));
            }
            let mut at = session.start + TOKEN_EVERY_MS;
            while at < session.end {
                say(at, Step::Authenticate(device, true));
                at += TOKEN_EVERY_MS;
            }
            often(draws, &session, HOUR_MS / self.reconnects, |_, at| say(at, Step::Reconnect(device)));
            let leave = [Leave::Close, Leave::Vanish, Leave::Goodbye][draws.weighted(&[6, 3, 1])];
            say(session.end, Step::Off(device, leave));
        }
        let device = Device { user, number: 0 };
        often(draws, &session, HOUR_MS / self.pages, |draws, at| {
            let shown = draws.chance(self.shown);
            let tab = if shown { Tab::Site(draws.below(SITES)) } else { Tab::Never(draws.below(NEVER.len())) };
            let number = draws.below(devices);
            say(at, Step::Turn(Device { user, number }, tab));
        });
        often(draws, &session, HOUR_MS / self.idles, |draws, at| {
            say(at, Step::Idle(device, true));
            say((at + draws.wait_ms(IDLE_MS)).min(session.end - 1), Step::Idle(device, false));
        });
        if !always_watching {
            often(draws, &session, self.hours * HOUR_MS / self.popups, |draws, at| {
                say(at, Step::Watch(device, true));
                say((at + draws.wait_ms(self.popup_s * 1_000.0)).min(session.end - 1), Step::Watch(device, false));
            });
        }
        often(draws, &session, self.hours * HOUR_MS / self.reads, |_, at| {
            say(at, Step::Read { reader: user, of: None });
        });
    }
}

/// Calls `happens` at random moments of `when`, every `mean_ms` on average. If `mean_ms` is infinite, never.
fn often(draws: &mut Draws, when: &std::ops::Range<Ms>, mean_ms: f64, mut happens: impl FnMut(&mut Draws, Ms)) {
    if !mean_ms.is_finite() {
        return;
    }
    let mut at = when.start + draws.wait_ms(mean_ms);
    while at < when.end {
        happens(draws, at);
        at += draws.wait_ms(mean_ms);
    }
}
