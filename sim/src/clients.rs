//! What users and their browsers do in a day.

use crate::{
    rng::{Draws, SeededRng},
    steps::{Bad, Device, Leave, Ms, Planned, Setting, Step, Tab, Who},
};

/// How many public sites there are. Pages are on these.
pub const SITES: usize = 6;

const HOUR_MS: f64 = 3_600_000.0;

/// How a user behaves.
struct Habits {
    devices: usize,
    /// Becomes invisible now and then.
    shy: bool,
    /// Opens more sockets than allowed, and sends messages that the server refuses.
    rude: bool,
    /// Has a client that watches only while its popup is open.
    popup: bool,
}

/// Draws what one user does in `busy_ms` of busy time.
pub fn draw(setting: &Setting, user: Who, busy_ms: Ms, steps: &mut Vec<Planned>) {
    let mut draws = SeededRng::new(setting.seed).of(&[1, user as u64]);
    let rude = draws.chance(0.04);
    let habits = Habits {
        devices: if rude { 12 } else { 1 + draws.weighted(&[6, 3, 1]) },
        shy: draws.chance(0.2),
        rude,
        popup: draws.chance(0.4),
    };
    for number in 0..habits.devices {
        draw_device(setting, &habits, Device { user, number }, busy_ms, &mut draws, steps);
    }
    let mut at = 0;
    loop {
        at += draws.wait_ms(3.0 * HOUR_MS / setting.haste);
        if at >= busy_ms {
            return;
        }
        let of = draws.chance(0.5).then(|| draws.below(setting.users));
        steps.push(Planned { at, step: Step::Read { reader: user, of } });
    }
}

fn draw_device(
    setting: &Setting,
    habits: &Habits,
    device: Device,
    busy_ms: Ms,
    draws: &mut Draws,
    steps: &mut Vec<Planned>,
) {
    let haste = setting.haste;
    let mut at = draws.wait_ms(2.0 * HOUR_MS / haste);
    while at < busy_ms {
        // A device that is on at the end stays on, so that the last quiet time has online users to check.
        let until = at + draws.wait_ms(2.5 * HOUR_MS / haste).max(500);
        steps.push(Planned { at, step: Step::On(device) });
        draw_session(setting, habits, device, at..until.min(busy_ms), draws, steps);
        if until < busy_ms {
            let leave = [Leave::Close, Leave::Vanish, Leave::Goodbye][draws.weighted(&[6, 3, 2])];
            steps.push(Planned { at: until, step: Step::Off(device, leave) });
        }
        let short = draws.chance(0.3);
        at = until + if short { draws.ms(50, 30_000) } else { draws.wait_ms(2.0 * HOUR_MS / haste) };
    }
}

fn draw_session(
    setting: &Setting,
    habits: &Habits,
    device: Device,
    session: std::ops::Range<Ms>,
    draws: &mut Draws,
    steps: &mut Vec<Planned>,
) {
    let mut at = session.start + draws.ms(10, 300);
    let mut say = |at: Ms, step: Step| steps.push(Planned { at, step });
    if habits.popup {
        say(session.start + 1, Step::Watch(device, false));
    }
    loop {
        at += draws.wait_ms(80_000.0 / setting.haste);
        if at >= session.end {
            return;
        }
        match draws.weighted(&[100, 6, 6, 2, 3, 2, 1]) {
            0 => say(at, Step::Turn(device, draw_tab(draws))),
            1 => say(at, Step::Idle(device, draws.chance(0.6))),
            2 => {
                // The popup opens, and closes again.
                say(at, Step::Watch(device, true));
                let closed_at = at + draws.ms(500, 60_000);
                if habits.popup && closed_at < session.end {
                    say(closed_at, Step::Watch(device, false));
                }
            }
            3 => say(at, Step::Rush { device, pages: draws.ms(3, 25) as usize, every_ms: draws.ms(10, 600) }),
            4 if habits.shy => say(at, Step::Invisible(device, draws.chance(0.6))),
            5 if draws.chance(0.5) => say(at, Step::Authenticate(device, at % 5 != 0)),
            5 => say(at, Step::OddHeartbeat(device)),
            6 if habits.rude => {
                let bad = [Bad::NoJson, Bad::UnknownAction, Bad::Binary, Bad::TooBig][draws.below(4)];
                let times = if draws.chance(0.2) { 12 } else { 1 };
                say(at, Step::Misbehave { device, bad, times });
            }
            _ => {}
        }
    }
}

fn draw_tab(draws: &mut Draws) -> Tab {
    match draws.weighted(&[60, 10, 20, 8, 1]) {
        0 => Tab::Site(draws.below(SITES)),
        1 => Tab::Dressed(draws.below(SITES)),
        2 => Tab::Never(draws.below(NEVER.len())),
        3 => Tab::Empty,
        _ => Tab::TooLong,
    }
}

/// Pages that no friend may see, whatever the lists say. Each holds the word "never", by which the checks find a leak.
pub const NEVER: [&str; 5] = [
    "http://10.0.0.1/never",
    "chrome://never/settings",
    "http://localhost:3000/never",
    "https://printer.lan/never",
    "file:///home/never.txt",
];

/// The URL of a tab. `user` and `n` make the URLs of public sites unique.
pub fn url_of(tab: Tab, user: Who, n: u64) -> String {
    match tab {
        Tab::Site(site) => format!("https://site{site}.com/u{user}/{n}"),
        Tab::Dressed(site) => format!("https://never:never@www.site{site}.com/u{user}/{n}#never"),
        Tab::Never(which) => NEVER[which % NEVER.len()].to_owned(),
        Tab::Empty => String::new(),
        Tab::TooLong => format!("https://site0.com/{}", "never".repeat(500)),
    }
}
