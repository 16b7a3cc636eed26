//! The results of `bench presence`, as a table for people and as JSON.

use std::fmt::Write as _;

use loadgen::{Connected, FanOut, Idle, Rate};
use serde::Serialize;

use super::{BEFORE, EJABBERD, FLOOR, LEAST, OURS};

/// The results of all users reconnecting at once.
#[derive(Debug, Clone, Serialize)]
pub struct Reconnected {
    #[serde(flatten)]
    pub connected: Connected,
    /// Requests to objects. `None` for servers without objects.
    pub object_requests: Option<u64>,
}

/// The results of a whole run. A figure that was not asked for is empty. A figure that was measured repeatedly has every result.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub machine: String,
    pub warm: Vec<FanOut>,
    pub hibernated: Vec<FanOut>,
    pub rate: Vec<Rate>,
    pub idle: Vec<Idle>,
    pub reconnect: Vec<Reconnected>,
    /// What was not measured, and how it could be, each in a sentence.
    pub not_measured: Vec<String>,
}

/// One line of the table: one figure of every server.
struct Line {
    name: String,
    ours: Option<f64>,
    before: Option<f64>,
    least: Option<f64>,
    floor: Option<f64>,
    ejabberd: Option<f64>,
    more_is_better: bool,
}

/// One figure of a result: its name, and a function that reads it.
type Part<T> = (&'static str, fn(&T) -> Option<f64>);

impl Report {
    /// The table for people.
    pub fn table(&self) -> String {
        let mut text = format!("On {}\n\n", self.machine);
        let heads = [OURS, BEFORE, LEAST, FLOOR, EJABBERD, "to before", "to least", "to floor"];
        let _ = write!(text, "{:<58}", "");
        for head in heads {
            let _ = write!(text, "{head:>10}");
        }
        text.push('\n');
        for line in self.lines() {
            let figure = |figure: Option<f64>| figure.map_or("-".to_owned(), short);
            let ratio = |to: Option<f64>| Some(line.ours? / to.filter(|to| *to != 0.0)?);
            let to_least = ratio(line.least);
            let behind = to_least.is_some_and(|ratio| if line.more_is_better { ratio < 1.0 } else { ratio > 1.0 });
            let ratio_text = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
            let _ = writeln!(
                text,
                "{:<58}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{}",
                line.name,
                figure(line.ours),
                figure(line.before),
                figure(line.least),
                figure(line.floor),
                figure(line.ejabberd),
                ratio_text(ratio(line.before)),
                ratio_text(to_least),
                ratio_text(ratio(line.floor)),
                if behind { "  behind" } else { "" }
            );
        }
        let unbeaten: Vec<&str> = self.rate.iter().filter(|rate| rate.at_least).map(|rate| &*rate.server).collect();
        if !unbeaten.is_empty() {
            let _ = writeln!(text, "\nTook as many changes per second as were tried: {}", unbeaten.join(", "));
        }
        for words in &self.not_measured {
            let _ = writeln!(text, "\n{words}");
        }
        text
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (state, found) in [("warm", &self.warm), ("hibernated", &self.hibernated)] {
            for size in sizes(found) {
                let of = |server: &str, figure: fn(&FanOut) -> Option<f64>| {
                    found.iter().find(|one| one.server == server && one.friends == size).and_then(figure)
                };
                let figures: [Part<FanOut>; 2] =
                    [("p50", |one| Some(one.times.p50_ms)), ("p99", |one| Some(one.times.p99_ms))];
                for (part, figure) in figures {
                    let name = format!("a change to {size} friends, {state}, {part} ms");
                    lines.push(Line::new(name, false, |server| of(server, figure)));
                }
            }
        }
        if let Some(one) = self.rate.first() {
            let of = |server: &str| self.rate.iter().find(|rate| rate.server == server).map(|rate| rate.changes_per_s);
            lines.push(Line::new(format!("changes to {} friends per second, in time", one.friends), true, of));
        }
        if let Some(Idle { sockets, .. }) = self.idle.first() {
            let figures: [Part<Idle>; 4] = [
                ("memory each, KiB", |idle| Some(idle.kib_each)),
                ("connecting, s", |idle| Some(idle.connected_s)),
                ("connecting, processor ms each", |idle| Some(idle.connecting_cpu_ms_each)),
                ("only heartbeats, % of a processor", |idle| Some(idle.cpu_percent)),
            ];
            for (part, figure) in figures {
                let of =
                    |server: &str| middle(self.idle.iter().filter(|idle| idle.server == server).filter_map(figure));
                lines.push(Line::new(format!("{sockets} idle sockets, {part}"), false, of));
            }
        }
        if let Some(one) = self.reconnect.first() {
            let figures: [Part<Reconnected>; 3] = [
                ("all have snapshots, s", |one| Some(one.connected.all_s)),
                ("half have snapshots, ms", |one| Some(one.connected.times.p50_ms)),
                ("object requests", |one| one.object_requests.map(|requests| requests as f64)),
            ];
            for (part, figure) in figures {
                let all = |server: &str| {
                    let all = self.reconnect.iter().filter(|one| one.connected.server == server).filter_map(figure);
                    middle(all)
                };
                lines.push(Line::new(format!("{} reconnect at once, {part}", one.connected.sockets), false, all));
            }
        }
        lines
    }
}

impl Line {
    fn new(name: String, more_is_better: bool, of: impl Fn(&str) -> Option<f64>) -> Self {
        Self {
            name,
            ours: of(OURS),
            before: of(BEFORE),
            least: of(LEAST),
            floor: of(FLOOR),
            ejabberd: of(EJABBERD),
            more_is_better,
        }
    }
}

fn sizes(found: &[FanOut]) -> Vec<usize> {
    let mut sizes: Vec<usize> = found.iter().map(|one| one.friends).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// The median of the values. `None` if there are none.
fn middle(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| crate::bench::report::median(values))
}

/// A figure with three significant digits, or with two decimal places if it is below 10.
fn short(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        medium if medium >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use loadgen::Times;

    use super::*;

    #[test]
    fn the_table_names_servers_that_took_the_highest_rate_tried() {
        let rate = |server: &str, at_least: bool| Rate {
            server: server.to_owned(),
            friends: 150,
            changes_per_s: 36.0,
            at_least,
            steps: Vec::new(),
        };
        let table = Report { rate: vec![rate(OURS, false), rate(FLOOR, true)], ..Report::default() }.table();
        assert!(table.ends_with("as were tried: floor\n"), "{table}");
    }

    #[test]
    fn the_table_says_what_was_not_measured() {
        let table = Report { not_measured: vec!["that: not measured".to_owned()], ..Report::default() }.table();
        assert!(table.ends_with("\n\nthat: not measured\n"), "{table}");
    }

    #[test]
    fn the_table_marks_lines_in_which_the_edge_is_behind_the_minimal_worker() {
        let found = |server: &str, p50_ms: f64| FanOut {
            server: server.to_owned(),
            friends: 150,
            times: Times { count: 1, p50_ms, p99_ms: 40.0, max_ms: 40.0 },
        };
        let warm = vec![found(OURS, 30.0), found(LEAST, 20.0), found(FLOOR, 5.0), found(EJABBERD, 8.25)];
        let table = Report { warm, ..Report::default() }.table();
        let line = |part: &str| table.lines().find(|line| line.contains(part)).unwrap().to_owned();
        let slower = line("p50");
        assert!(slower.contains("30.0") && slower.contains("1.50") && slower.contains("6.00"), "{slower}");
        assert!(slower.contains("8.25"), "{slower}");
        assert!(slower.ends_with("behind"), "{slower}");
        assert!(!line("p99").ends_with("behind"));
    }
}
