//! What an import did: a list of what it changed and left out, progress, and counts that must add up.
//!
//! Deliberately absent: addresses, names and texts. Rows are named by their ids.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use serde::Serialize;

use super::convert::{Change, Reason};

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    User,
    Friendship,
    Share,
    Recipient,
}

impl Kind {
    const ALL: [Self; 4] = [Self::User, Self::Friendship, Self::Share, Self::Recipient];

    fn plural(self) -> &'static str {
        match self {
            Self::User => "users",
            Self::Friendship => "friendships",
            Self::Share => "shares",
            Self::Recipient => "recipients",
        }
    }
}

/// The counts of rows of one kind. Each row that was read is in exactly one of the other counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    read: usize,
    imported: usize,
    already: usize,
    merged: usize,
    left_out: usize,
}

/// A line of the list.
#[derive(Serialize)]
struct Line<'a> {
    kind: Kind,
    id: &'a str,
    what: &'static str,
    reason: Reason,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'static str>,
}

/// Time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

pub struct Report {
    list: Box<dyn Write + Send>,
    counts: BTreeMap<Kind, Counts>,
    changes: BTreeMap<(Kind, Reason), usize>,
    under_way: Option<(Kind, i64)>,
    told_at: Instant,
}

impl Report {
    /// Begins the list in this file, which is overwritten, or on standard output.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn begin(path: Option<&Path>) -> anyhow::Result<Self> {
        let list: Box<dyn Write + Send> = match path {
            Some(path) => Box::new(BufWriter::new(File::create(path).context("--report cannot be written")?)),
            None => Box::new(BufWriter::new(io::stdout())),
        };
        let counts = Kind::ALL.into_iter().map(|kind| (kind, Counts::default())).collect();
        Ok(Self { list, counts, changes: BTreeMap::new(), under_way: None, told_at: Instant::now() })
    }

    /// Says that rows of this kind are read from now on, and how many there are.
    pub fn begin_kind(&mut self, kind: Kind, total: i64) {
        self.under_way = Some((kind, total));
        self.tell();
    }

    pub fn read(&mut self, kind: Kind) {
        self.of(kind).read += 1;
        if self.told_at.elapsed() >= PROGRESS {
            self.tell();
        }
    }

    pub fn imported(&mut self, kind: Kind, rows: usize) {
        self.of(kind).imported += rows;
    }

    pub fn already(&mut self, kind: Kind) {
        self.of(kind).already += 1;
    }

    /// # Errors
    ///
    /// When the list cannot be written, here and below.
    pub fn merged(&mut self, kind: Kind, id: &str, reason: Reason) -> anyhow::Result<()> {
        self.of(kind).merged += 1;
        self.line(Line { kind, id, what: "merged", reason, field: None })
    }

    pub fn left_out(&mut self, kind: Kind, id: &str, reason: Reason) -> anyhow::Result<()> {
        self.of(kind).left_out += 1;
        self.line(Line { kind, id, what: "left_out", reason, field: None })
    }

    pub fn changed(&mut self, kind: Kind, id: &str, change: Change) -> anyhow::Result<()> {
        let Change { reason, field } = change;
        self.line(Line { kind, id, what: "changed", reason, field: Some(field) })
    }

    /// Prints the counts.
    ///
    /// # Errors
    ///
    /// When the counts do not add up, or the list cannot be written.
    pub fn end(mut self, dry_run: bool) -> anyhow::Result<()> {
        self.list.flush().context("the list cannot be written")?;
        if dry_run {
            eprintln!("A dry run: nothing was written. Of the rows, so many would be");
        }
        eprintln!("{:>12} {:>12} {:>12} {:>12} {:>12} {:>12}", "", "read", "imported", "there", "merged", "left out");
        for (kind, counts) in &self.counts {
            let Counts { read, imported, already, merged, left_out } = counts;
            eprintln!("{:>12} {read:>12} {imported:>12} {already:>12} {merged:>12} {left_out:>12}", kind.plural());
        }
        for ((kind, reason), rows) in &self.changes {
            eprintln!("{rows:>12} {}: {}", kind.plural(), reason.words());
        }
        for (kind, counts) in &self.counts {
            let sum = counts.imported + counts.already + counts.merged + counts.left_out;
            ensure!(sum == counts.read, "the counts of {} do not add up", kind.plural());
        }
        Ok(())
    }

    fn of(&mut self, kind: Kind) -> &mut Counts {
        self.counts.entry(kind).or_default()
    }

    fn line(&mut self, line: Line<'_>) -> anyhow::Result<()> {
        *self.changes.entry((line.kind, line.reason)).or_default() += 1;
        let write = |list: &mut dyn Write| {
            serde_json::to_writer(&mut *list, &line)?;
            list.write_all(b"\n")
        };
        write(&mut self.list).context("the list cannot be written")
    }

    fn tell(&mut self) {
        self.told_at = Instant::now();
        if let Some((kind, total)) = self.under_way {
            eprintln!("{}: {} of {total}", kind.plural(), self.of(kind).read);
        }
    }
}
