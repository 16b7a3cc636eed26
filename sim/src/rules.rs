//! The names of the rules that every run is checked against. The checks themselves are in `checks` and `world`.

/// A promise about presence that every run checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Rule {
    /// No part of a page that its owner's settings hide leaves the owner's object.
    HiddenStaysHidden,
    /// An object tells only friends anything, and shows its clients only friends.
    StrangersGetNothing,
    /// An invisible user appears to friends exactly as an offline one.
    InvisibleIsOffline,
    /// No other object is told that a suspended user is online.
    SuspendedIsOffline,
    /// A user is shown online for at most the time-out plus ten seconds after their last sign of life.
    NoGhost,
    /// No client sees an older state of anybody after a newer one.
    SeqNeverGoesBack,
    /// Each `seq` of a user stands for one state, and a client is shown only states that the user's object told.
    OneSeqOneState,
    /// A socket gets its snapshot before any other message about presence.
    SnapshotComesFirst,
    /// Every read and every new socket is answered in time, even if only with what is known then.
    EveryReaderIsAnswered,
    /// Whatever one user does, their object queries friends at most ten times at once, and then once in ten seconds.
    FriendsAreAskedSeldom,
    /// At the end of a quiet time, everybody sees the truth.
    QuietShowsTheTruth,
    /// A page change is told once to each friend who watches, and to no other friend.
    RequestsPerPageChange,
    /// A page change writes no row.
    NoRowForAPageChange,
    /// An object that rests has no pending timer. Only the time-out's alarm wakes it.
    NoTimerInAnIdleObject,
    /// Every question gets exactly one answer, and no user has more sockets than allowed.
    OneAnswer,
}

/// A set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rules(u32);

impl Rules {
    /// Whether the set holds this rule.
    pub fn has(self, rule: Rule) -> bool {
        self.0 & (1 << rule as u32) != 0
    }
}

impl FromIterator<Rule> for Rules {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().fold(0, |set, rule| set | (1 << rule as u32)))
    }
}
