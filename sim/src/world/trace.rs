//! A record of what happened in a run, for readers.

use std::collections::{BTreeSet, VecDeque};

use super::{World, state::BEGIN_MS};
use crate::steps::{Clock, Who};

/// The last things that happened to some or all users.
#[derive(Debug, Default)]
pub struct Trace {
    /// Whose lines are recorded. If it is empty, everybody's.
    pub whose: BTreeSet<Who>,
    /// Record only the messages to clients of all other users and the replies to their reads, without times.
    pub told_to_all_but: Option<Who>,
    pub lines_max: usize,
    pub lines: VecDeque<String>,
}

impl World<'_> {
    pub(super) fn note(&mut self, whose: &[Who], line: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace
            && trace.told_to_all_but.is_none()
            && (trace.whose.is_empty() || whose.is_empty() || whose.iter().any(|who| trace.whose.contains(who)))
        {
            trace.lines.push_back(format!("{} {}", Clock(now), line()));
            if trace.lines.len() > trace.lines_max {
                trace.lines.pop_front();
            }
        }
    }
}

/// Shortens a debug text to a readable line: constant parts are left out, and times count from the beginning of the run.
pub(super) fn brief(what: &impl std::fmt::Debug) -> String {
    let mut text = format!("{what:?}");
    for (long, short) in [
        ("SocketId(00000000-0000-0000-0000-", "s("),
        ("EventId(00000000-0000-0000-0000-", "e("),
        ("UserInfo { user_id: ", "{ "),
        (", first_name: \"A\", last_name: \"B\", profile_image_extension: None", ""),
        (", title: \"A page\", domain: Domain(…)", ""),
        (", title: \"A page\"", ""),
    ] {
        text = text.replace(long, short);
    }
    let mut line = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("Timestamp { unix_ms: ") {
        line.push_str(before);
        let (number, after) = after.split_once(" }").unwrap_or((after, ""));
        let ms = number.parse::<i64>().unwrap_or_default() - BEGIN_MS;
        line.push_str(&format!("{}", Clock(ms)));
        rest = after;
    }
    line.push_str(rest);
    if line.chars().count() > 500 {
        line = line.chars().take(500).chain(['…']).collect();
    }
    line
}
