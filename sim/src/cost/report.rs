//! The result: tables in Markdown for readers, and records for programs.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};

use crate::{
    cost::{
        day::{Day, Lived},
        environments::Environment,
        estimate::{self, Estimate, Part},
        prices,
    },
    counts::Counts,
};

/// A number of friends that is too large to simulate in a reasonable time. Its costs are extrapolated.
const FRIENDS_FAR: f64 = 500.0;

/// The counts from which all tables are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The number of users that the estimate is for.
    pub users: f64,
    pub day: Day,
    /// Populations that were simulated for this day, each from another seed.
    pub populations: Vec<Population>,
    /// Populations with other numbers of friends, in growing order.
    pub growth: Vec<Population>,
}

/// One population's day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Population {
    pub seed: u64,
    pub sample: usize,
    /// The wanted number of friends of a user, on average.
    pub friends: f64,
    pub lived: Lived,
}

/// The estimates for our system and for its predecessor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimates {
    pub ours: Estimate,
    pub predecessor: Estimate,
}

impl Measured {
    /// All populations of the day together.
    pub fn lived(&self) -> Lived {
        let mut counts = Counts::default();
        for population in &self.populations {
            counts += population.lived.counts;
        }
        let friends = self.populations.iter().map(|population| population.lived.friends).sum::<f64>()
            / self.populations.len().max(1) as f64;
        Lived { counts, friends }
    }

    /// What a month costs.
    pub fn estimates(&self) -> Estimates {
        self.estimates_of(&self.lived())
    }

    fn estimates_of(&self, lived: &Lived) -> Estimates {
        Estimates {
            ours: estimate::ours(&self.day, lived, self.users),
            predecessor: estimate::predecessor(&self.day, lived, self.users),
        }
    }

    fn per_1000(&self, usd: f64) -> f64 {
        if self.users > 0.0 { usd / self.users * 1_000.0 } else { 0.0 }
    }

    /// The tables, as Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let estimates = self.estimates();
        self.write_assumptions(out)?;
        self.write_counts(out)?;
        self.write_parts(out, &estimates)?;
        self.write_growth(out)?;
        self.write_changes(out)?;
        write_idle(out)?;
        write_lines(out, "Ours, line by line", &estimates.ours)?;
        write_lines(out, "The predecessor's, line by line", &estimates.predecessor)?;
        write_prices(out)
    }

    fn write_assumptions(&self, out: &mut String) -> fmt::Result {
        let Day {
            friends,
            active,
            hours,
            sessions,
            sockets,
            peak,
            pages,
            shown,
            popups,
            popup_s,
            always_watching,
            reconnects,
            idles,
            reads,
            events,
            calls,
            hop_ms,
        } = self.day;
        let lived = self.lived();
        let online = lived.counts.friends_around as f64 / lived.counts.page_changes.max(1) as f64;
        writeln!(out, "## What is assumed\n")?;
        writeln!(out, "| option | value | |\n|---|--:|---|")?;
        for (option, value, what) in [
            ("--friends", friends, "friends of a user, on average"),
            ("--active", active, "share of users who come online on a day"),
            ("--hours", hours, "hours online"),
            ("--sessions", sessions, "stretches in which they are"),
            ("--sockets", sockets, "devices of somebody online"),
            ("--peak", peak, "times the average are online at the busiest hour"),
            ("--pages", pages, "pages turned to in an hour online"),
            ("--shown", shown, "share of them that friends may see"),
            ("--popups", popups, "times a day the popup is opened"),
            ("--popup-s", popup_s, "seconds it stays open; only then a client watches"),
            ("--always-watching", always_watching, "share of users whose client watches all the time"),
            ("--reconnects", reconnects, "times an hour a connection breaks and is made again"),
            ("--idles", idles, "times an hour somebody leaves their desk"),
            ("--reads", reads, "calls of `GET /presence` a day"),
            ("--events", events, "events a day that the core has for a user, online or not"),
            ("--calls", calls, "REST calls to the core a day"),
            ("--hop-ms", hop_ms, "milliseconds that a call between objects takes each way"),
        ] {
            writeln!(out, "| `{option}` | {value} | {what} |")?;
        }
        let (populations, sample) =
            (self.populations.len(), self.populations.first().map_or(0, |population| population.sample));
        writeln!(
            out,
            "\nLived by {populations} populations of {sample} users, and scaled up. When somebody turns to a page, {online:.1} of \
             their {:.1} friends ({:.0} %) are online.\n",
            lived.friends,
            100.0 * online / lived.friends.max(1.0)
        )
    }

    fn write_counts(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## A user's day, as counted\n")?;
        writeln!(out, "| a user and day | mean | least and most of the populations |\n|---|--:|---|")?;
        let lived = self.lived();
        type Figure = fn(&Counts) -> f64;
        let figures: [(&str, Figure); 18] = [
            ("pages turned to", |c| c.page_changes as f64),
            ("minutes of open sockets", |c| c.heartbeats as f64),
            ("sockets opened", |c| c.connects as f64),
            ("messages from clients, heartbeats aside", |c| c.frames as f64),
            ("requests between objects", |c| c.peer_calls as f64),
            ("of those, to tell of a page", |c| c.page_calls as f64),
            ("of those, to ask how a friend appears", |c| c.asking_calls as f64),
            ("of those, a friend who is not there", |c| c.vain_calls as f64),
            ("requests that objects are charged for", estimate::object_requests),
            ("GB-s that objects are charged for", estimate::object_gb_s),
            ("alarms set, each a row", |c| c.alarms_set as f64),
            ("alarms fired, each a request", |c| c.alarms as f64),
            ("rows of documents written", |c| c.rows as f64),
            ("times an object woke", |c| c.wakes as f64),
            ("calls from objects to the core", |c| c.core_calls as f64),
            ("batches of events from the core", |c| c.core_batches as f64),
            ("messages to clients", |c| c.sends as f64),
            ("events that engines handled", |c| c.events as f64),
        ];
        for (name, figure) in figures {
            let mean = figure(&lived.counts) / lived.counts.user_days.max(1.0);
            let each = self
                .populations
                .iter()
                .map(|population| figure(&population.lived.counts) / population.lived.counts.user_days.max(1.0));
            let (least, most) = each.fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
            writeln!(out, "| {name} | {mean:.2} | {least:.2} to {most:.2} |")?;
        }
        let ours =
            self.populations.iter().map(|population| self.per_1000(self.estimates_of(&population.lived).ours.usd()));
        let (least, most) = ours.fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(one), most.max(one)));
        writeln!(
            out,
            "\nBy the counts of each population alone, 1,000 users cost from ${least:.2} to ${most:.2} a month.\n"
        )
    }

    fn write_parts(&self, out: &mut String, estimates: &Estimates) -> fmt::Result {
        let Estimates { ours, predecessor } = estimates;
        writeln!(out, "## A month of {} users, in $ per 1,000 users\n", grouped(self.users))?;
        writeln!(out, "| ours | $ | the predecessor's | $ | ours is |\n|---|--:|---|--:|--:|")?;
        for part in Part::ALL {
            let (name, name_before) = part.names();
            let (usd, before) = (self.per_1000(ours.usd_of(part)), self.per_1000(predecessor.usd_of(part)));
            writeln!(out, "| {name} | {usd:.2} | {name_before} | {before:.2} | {} |", share(usd, before))?;
        }
        let (usd, before) = (ours.usd(), predecessor.usd());
        writeln!(
            out,
            "| **all** | **{:.2}** | **all** | **{:.2}** | **{}** |",
            self.per_1000(usd),
            self.per_1000(before),
            share(usd, before)
        )?;
        let reached = if usd <= before / 10.0 { "is reached" } else { "is **not** reached" };
        writeln!(
            out,
            "\nIn all ${} against ${} a month. The goal, a tenth of the predecessor's, {reached}.",
            grouped(usd),
            grouped(before)
        )?;
        let mut dearest: Vec<_> = ours.lines.iter().collect();
        dearest.sort_by(|one, other| other.usd.total_cmp(&one.usd));
        let dearest: Vec<String> = dearest
            .iter()
            .take(3)
            .map(|line| format!("{} ({:.0} %)", line.what, 100.0 * line.usd / usd.max(f64::MIN_POSITIVE)))
            .collect();
        writeln!(out, "What dominates ours: {}.\n", dearest.join(", "))
    }

    fn write_growth(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## How it grows with friends, in $ per 1,000 users and month\n")?;
        writeln!(
            out,
            "| friends | online at a page | requests between objects a day | ours | the predecessor's | ours is |"
        )?;
        writeln!(out, "|--:|--:|--:|--:|--:|--:|")?;
        for population in &self.growth {
            let Lived { counts, friends } = population.lived;
            let Estimates { ours, predecessor } = self.estimates_of(&population.lived);
            writeln!(
                out,
                "| {friends:.1} | {:.1} | {:.0} | {:.2} | {:.2} | {} |",
                counts.friends_around as f64 / counts.page_changes.max(1) as f64,
                counts.peer_calls as f64 / counts.user_days.max(1.0),
                self.per_1000(ours.usd()),
                self.per_1000(predecessor.usd()),
                share(ours.usd(), predecessor.usd())
            )?;
        }
        writeln!(out)?;
        let [.., less, more] = self.growth.as_slice() else { return Ok(()) };
        let by = more.lived.friends - less.lived.friends;
        if by <= 0.0 {
            return Ok(());
        }
        let more_friends = more.lived.friends;
        // Costs grow linearly with friends, except for included quantities and the sizes of machines.
        let (before, after) = (self.estimates_of(&less.lived), self.estimates_of(&more.lived));
        let line = |less: f64, more: f64| more + (more - less) / by * (FRIENDS_FAR - more_friends);
        let ours = line(self.per_1000(before.ours.usd()), self.per_1000(after.ours.usd()));
        let theirs = line(self.per_1000(before.predecessor.usd()), self.per_1000(after.predecessor.usd()));
        writeln!(
            out,
            "By the line through the last two, {FRIENDS_FAR} friends would cost ${ours:.2} against ${theirs:.2}: {}.\n",
            share(ours, theirs)
        )
    }
}

impl Measured {
    fn write_changes(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "## What would change it\n")?;
        writeln!(out, "| ours, if | $ per 1,000 users and month | of the predecessor's |\n|---|--:|--:|")?;
        let lived = self.lived();
        let before = self.estimates().predecessor.usd();
        let not_in_vain = |c: Counts| Counts {
            peer_calls: c.peer_calls - c.vain_calls,
            wakes: c.wakes.saturating_sub(c.vain_calls),
            // Each such call is an event at both ends: the message, and its answer.
            events: c.events.saturating_sub(2 * c.vain_calls),
            ..c
        };
        let fewer_alarms = |c: Counts| Counts {
            alarms: c.alarms / 2,
            alarms_set: c.alarms_set / 2,
            wakes: c.wakes.saturating_sub(c.alarms / 2),
            events: c.events.saturating_sub(c.alarms / 2),
            ..c
        };
        for (what, counts) in [
            ("heartbeats are not charged, as the price list may be read", Counts { heartbeats: 0, ..lived.counts }),
            ("no friend who is not there were asked how they appear", not_in_vain(lived.counts)),
            ("there were half as many alarms", fewer_alarms(lived.counts)),
            ("both", fewer_alarms(not_in_vain(lived.counts))),
        ] {
            let usd = estimate::ours(&self.day, &Lived { counts, ..lived }, self.users).usd();
            writeln!(out, "| {what} | {:.2} | {} |", self.per_1000(usd), share(usd, before))?;
        }
        writeln!(out)
    }
}

/// The costs of each environment of `terraform/env` that nobody uses.
fn write_idle(out: &mut String) -> fmt::Result {
    writeln!(out, "## What an environment costs before its first user, in $ a month\n")?;
    let estimates = Environment::all().map(|(name, environment)| (name, estimate::idle(&environment)));
    let one_zone = estimate::idle(&Environment { nat_gateways: 1.0, ..Environment::production() });
    writeln!(
        out,
        "| | {} |\n|---|--:|--:|--:|",
        estimates.each_ref().map(|(name, _)| format!("`{name}`")).join(" | ")
    )?;
    let costs =
        |part: &Part| estimates.iter().any(|(_, estimate)| estimate.lines.iter().any(|line| line.part == *part));
    for part in Part::ALL.into_iter().filter(costs) {
        let (name, _) = part.names();
        let usd = estimates.each_ref().map(|(_, estimate)| format!("{:.2}", estimate.usd_of(part)));
        writeln!(out, "| {name} | {} |", usd.join(" | "))?;
    }
    let all = estimates.each_ref().map(|(_, estimate)| format!("**{:.2}**", estimate.usd()));
    writeln!(out, "| **all** | {} |\n", all.join(" | "))?;
    writeln!(out, "`production` with one NAT gateway costs ${:.2}.\n", one_zone.usd())
}

fn write_lines(out: &mut String, title: &str, estimate: &Estimate) -> fmt::Result {
    writeln!(out, "## {title}\n\n| | a month | included | $ |\n|---|--:|--:|--:|")?;
    for line in &estimate.lines {
        let (quantity, included) = (grouped(line.quantity), grouped(line.included));
        writeln!(out, "| {}, {} | {quantity} | {included} | {} |", line.what, line.unit, grouped(line.usd))?;
    }
    writeln!(out, "| **all** | | | **{}** |\n", grouped(estimate.usd()))
}

fn write_prices(out: &mut String) -> fmt::Result {
    writeln!(out, "## Prices\n\n| | $ | for | included a month | source |\n|---|--:|--:|--:|---|")?;
    for price in prices::ALL {
        let mut units = format!("{} {}", grouped(price.units), price.unit);
        if let Some((from, usd)) = price.beyond {
            write!(units, "; {usd} beyond {}", grouped(from))?;
        }
        writeln!(out, "| {} | {} | {units} | {} | {} |", price.what, price.usd, grouped(price.included), price.source)?;
    }
    Ok(())
}

/// One figure as a share of another.
fn share(usd: f64, before: f64) -> String {
    if before > 0.0 { format!("{:.1} %", 100.0 * usd / before) } else { "–".to_owned() }
}

/// A rounded figure with commas between its thousands.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let first = digits.len() % 3;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && index % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
