//! The rules that a run is held to, by name.

/// What is promised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Rule {
    /// Nothing of a page that its owner's settings hide leaves the owner's object.
    HiddenStaysHidden,
    /// Nobody but a friend is told anything, and nothing of anybody but a friend is shown.
    StrangersGetNothing,
    /// An invisible user does nothing that an offline one would not.
    InvisibleIsOffline,
    /// Nobody hears that a suspended user is there.
    SuspendedIsOffline,
    /// Nobody is shown online for longer than the time-out and ten seconds after their last sign of life.
    NoGhost,
    /// No client sees an older state of anybody after a newer one.
    SeqNeverGoesBack,
    /// One `seq` of a user's is one state, and nothing is shown that its owner did not tell.
    OneSeqOneState,
    /// Before its snapshot a socket hears nothing of presence.
    SnapshotComesFirst,
    /// Whoever asks is answered in time, if only with what is known.
    EveryReaderIsAnswered,
    /// Whatever one user does, friends are asked ten times at once and then once in ten seconds.
    FriendsAreAskedSeldom,
    /// When all is quiet, everybody sees what is true.
    QuietShowsTheTruth,
    /// A page change goes to friends who watch, to each once.
    RequestsPerPageChange,
    /// Nothing is written for a page change.
    NoRowForAPageChange,
    /// Whoever rests has nothing pending, and is woken by nothing but the time-out's alarm.
    NoTimerInAnIdleObject,
    /// A user's shell and engine agree: one answer to one question, no more sockets than allowed.
    OneAnswer,
}

/// A set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules(u32);

impl Rules {
    /// Whether the rule is among them.
    pub fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().fold(0, |set, rule| set | (1 << rule as u32)))
    }
}
