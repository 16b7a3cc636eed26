//! The results of `bench core`, as a table for people and as JSON.

use std::fmt::Write as _;

use serde::Serialize;

use crate::bench::{calls::Call, limit::YARDSTICK_PER_S, load::Seen};

/// One round of measurements of a call: pgbench, and the core right after it.
#[derive(Debug, Clone, Serialize)]
pub struct Round {
    /// The speed of this machine at that time, relative to the machine where the predecessor was measured.
    pub machine: f64,
    pub limit_per_s: f64,
    pub seen: Seen,
}

/// The results of one call: the median of its rounds.
#[derive(Debug, Serialize)]
pub struct Figures {
    pub name: &'static str,
    pub call: String,
    pub requests_per_s: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// How often per second pgbench runs the same statements.
    pub limit_per_s: f64,
    pub ratio: f64,
    pub ratio_wanted: Option<f64>,
    /// Requests per second of the predecessor: measured on its machine, and estimated for this one by pgbench.
    pub predecessor_per_s: f64,
    pub predecessor_here_per_s: f64,
    /// The core's rate, divided by the predecessor's estimated rate here.
    pub times_ahead: f64,
    pub times_ahead_wanted: f64,
    pub rounds: Vec<Round>,
}

/// The cost of checking a token.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TokenCheck {
    /// Answers per second that need a checked token and nothing else.
    pub checked_per_s: f64,
    /// Answers per second that end before the check.
    pub unchecked_per_s: f64,
    pub check_us: f64,
    /// The check's part of the time of a whole `GET /users/me`.
    pub share_of_request: Option<f64>,
}

/// The results of a whole run.
#[derive(Debug, Serialize)]
pub struct Report {
    pub machine: String,
    pub users: u64,
    pub connections: u32,
    pub seconds: u64,
    pub calls: Vec<Figures>,
    pub token_check: Option<TokenCheck>,
}

impl Figures {
    /// The median of these rounds.
    pub fn of(call: &Call, rounds: Vec<Round>) -> Self {
        let middle = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
        let requests_per_s = middle(|round| round.seen.rate());
        let limit_per_s = middle(|round| round.limit_per_s);
        let predecessor_here_per_s = call.predecessor_per_s * middle(|round| round.machine);
        Self {
            name: call.name,
            call: format!("{} {}", call.method, call.path),
            requests_per_s,
            p50_ms: middle(|round| round.seen.p50_us as f64 / 1_000.0),
            p99_ms: middle(|round| round.seen.p99_us as f64 / 1_000.0),
            limit_per_s,
            ratio: requests_per_s / limit_per_s,
            ratio_wanted: call.ratio_wanted,
            predecessor_per_s: call.predecessor_per_s,
            predecessor_here_per_s,
            times_ahead: requests_per_s / predecessor_here_per_s,
            times_ahead_wanted: call.times_ahead_wanted,
            rounds,
        }
    }

    /// Whether all goals are reached.
    pub fn is_reached(&self) -> bool {
        self.times_ahead >= self.times_ahead_wanted && self.ratio_wanted.is_none_or(|wanted| self.ratio >= wanted)
    }
}

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = format!(
            "{} users, {} connections, {} s a turn, on {}\n\n",
            self.users, self.connections, self.seconds, self.machine
        );
        let heads = ["req/s", "p50 ms", "p99 ms", "limit/s", "ratio", "wanted", "before/s", "ahead", "wanted"];
        let _ = write!(text, "{:<40}", "call");
        for head in heads {
            let _ = write!(text, "{head:>10}");
        }
        text.push('\n');
        for figures in &self.calls {
            let ratio_wanted = figures.ratio_wanted.map_or("-".to_owned(), |wanted| format!("{wanted:.2}"));
            let _ = writeln!(
                text,
                "{:<40}{:>10.0}{:>10.2}{:>10.2}{:>10.0}{:>10.2}{:>10}{:>10.1}{:>9.1}x{:>9.0}x{}",
                figures.call,
                figures.requests_per_s,
                figures.p50_ms,
                figures.p99_ms,
                figures.limit_per_s,
                figures.ratio,
                ratio_wanted,
                figures.predecessor_here_per_s,
                figures.times_ahead,
                figures.times_ahead_wanted,
                if figures.is_reached() { "" } else { "  missed" }
            );
        }
        let _ = writeln!(
            text,
            "\nbefore/s: what the predecessor would answer here. It was measured where pgbench read {YARDSTICK_PER_S} users a \
             second by id, and its figures are scaled by what pgbench reads here at the time."
        );
        if let Some(check) = &self.token_check {
            let share = check.share_of_request.map(|share| format!(", {:.1} % of a GET /users/me", share * 100.0));
            let _ = writeln!(text, "\nChecking a known token: {:.1} µs{}", check.check_us, share.unwrap_or_default());
        }
        text
    }
}

/// The median: the middle value, or the mean of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or(f64::NAN);
    (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_few_values() {
        assert_eq!(median(vec![3.0]), 3.0);
        assert_eq!(median(vec![5.0, 1.0]), 3.0);
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert!(median(Vec::new()).is_nan());
    }
}
