//! The rules, one function each, and the state that they need.
//!
//! An object is judged by what it has been told, not by what is true elsewhere at that moment. So a message that was in
//! flight when a friendship ended, or when a page was hidden, breaks no rule. Nothing else is excused.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use presence::limits::{QUERIES_BURST, QUERY_EVERY_MS};
use shared::{
    internal::{Change, CoreEvent, Social},
    page::Page,
    share_policy::SharePolicy,
    time::Timestamp,
    wire::{PageView, PresenceUpdate},
};

use crate::{
    core::who_is,
    rules::Rule,
    steps::{Clock, Ms, Who},
};

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub rule: Rule,
    pub at: Ms,
    /// The users concerned.
    pub who: Vec<Who>,
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let who: Vec<String> = self.who.iter().map(|who| format!("u{who}")).collect();
        write!(f, "{:?} at {} ({}): {}", self.rule, Clock(self.at), who.join(", "), self.detail)
    }
}

/// The result of a check: nothing, or which rule is broken and how.
pub type Verdict = Result<(), (Rule, String)>;

/// What one object has been told of its user's friends and settings and has stored, and what its clients asked for.
#[derive(Debug, Clone, Default)]
pub struct Told {
    social_version: u64,
    friends: BTreeSet<Who>,
    accepted: BTreeMap<Who, u64>,
    removed: BTreeMap<Who, u64>,
    settings_version: u64,
    /// The version of the newest message that the user is suspended, and of the newest that they are not.
    suspended_version: u64,
    restored_version: u64,
    /// The last visibility that a client asked for.
    pub invisible: bool,
    /// The `last_seen_at` that was told first since the user became invisible. All later ones must be equal.
    last_seen_at: Option<Option<Timestamp>>,
}

impl Told {
    /// Takes in the core's answer with the whole list.
    pub fn social(&mut self, social: &Social) {
        if social.version >= self.social_version {
            self.social_version = social.version;
            self.friends = social.friends.iter().map(|friend| who_is(&friend.user_id)).collect();
            self.settings_version = self.settings_version.max(social.version);
            let newest = if social.suspended { &mut self.suspended_version } else { &mut self.restored_version };
            *newest = social.version.max(*newest);
        }
    }

    /// Takes in events of the core.
    pub fn events(&mut self, events: &[CoreEvent]) {
        for CoreEvent { version, change, .. } in events {
            match change {
                Change::FriendAccepted { user } => raise(&mut self.accepted, who_is(&user.user_id), *version),
                Change::FriendRemoved { user_id } => raise(&mut self.removed, who_is(user_id), *version),
                Change::SettingsUpdated { .. } => self.settings_version = self.settings_version.max(*version),
                Change::UserSuspended {} => self.suspended_version = self.suspended_version.max(*version),
                Change::UserRestored {} => self.restored_version = self.restored_version.max(*version),
                Change::UserDeleted {} => *self = Self::default(),
                Change::FriendRequested { .. }
                | Change::FriendRequestRemoved { .. }
                | Change::UserUpdated { .. }
                | Change::ShareReceived { .. }
                | Change::ShareRead { .. } => {}
            }
        }
    }

    /// Whether the object, by what it was told, may treat this user as a friend.
    pub fn may_be_friends(&self, other: Who) -> bool {
        let of = |map: &BTreeMap<Who, u64>| map.get(&other).copied().unwrap_or_default();
        let (listed, unlisted) =
            if self.friends.contains(&other) { (self.social_version, 0) } else { (0, self.social_version) };
        of(&self.accepted).max(listed) > of(&self.removed).max(unlisted)
    }

    /// Whether the object was ever told a list of friends.
    pub fn is_known(&self) -> bool {
        self.social_version > 0
    }

    /// Whether the user is suspended, by what the object was told.
    pub fn is_suspended(&self) -> bool {
        self.suspended_version > self.restored_version
    }

    pub fn set_invisible(&mut self, invisible: bool) {
        if invisible != self.invisible {
            self.invisible = invisible;
            self.last_seen_at = None;
        }
    }
}

fn raise(map: &mut BTreeMap<Who, u64>, who: Who, version: u64) {
    let known = map.entry(who).or_default();
    *known = version.max(*known);
}

/// No part of a page that its owner's settings hide leaves the owner's object.
pub fn hidden_stays_hidden(told: &Told, policies: &[(u64, SharePolicy)], update: &PresenceUpdate) -> Verdict {
    let broken = |what: String| Err((Rule::HiddenStaysHidden, what));
    // The settings that the object knows, and all later ones: it may have applied those already.
    let old = policies.iter().filter(|(version, _)| *version <= told.settings_version).count().saturating_sub(1);
    let page = (&update.url, &update.title, &update.domain);
    let latest = (&update.latest_url, &update.latest_title, &update.latest_domain);
    for (url, title, domain) in [page, latest] {
        if url.is_empty() && title.is_empty() && domain.is_empty() {
            continue;
        }
        if url.contains("never") || title.contains("never") {
            return broken(format!("{url} is nobody's to see"));
        }
        let shows = |page: &Page| policies.iter().skip(old).any(|(_, policy)| policy.shows(page));
        let page = Page::parse(url, title).ok().flatten().filter(|page| page.domain.as_str() == domain);
        if !page.is_some_and(|page| shows(&page)) {
            return broken(format!("{url} left though the settings of version {} hide it", told.settings_version));
        }
    }
    Ok(())
}

/// How often one user's actions led to questions to their friends.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asking {
    /// The moment at which a full burst of questions is allowed again.
    full_at: Ms,
}

impl Asking {
    /// Counts one more question, which may go to any number of friends. Clocks of objects differ, so one question more than
    /// promised is allowed, and the interval may be a tenth shorter.
    pub fn asks(&mut self, now: Ms) -> Verdict {
        self.full_at = self.full_at.max(now) + QUERY_EVERY_MS * 9 / 10;
        if self.full_at - now <= (QUERIES_BURST + 1) * QUERY_EVERY_MS {
            return Ok(());
        }
        Err((Rule::FriendsAreAskedSeldom, "friends are asked once more".to_owned()))
    }
}

/// An object tells only friends anything.
pub fn only_friends_are_told(told: &Told, peer: Who, what: &str) -> Verdict {
    if told.may_be_friends(peer) { Ok(()) } else { Err((Rule::StrangersGetNothing, format!("{what} to u{peer}"))) }
}

/// Clients are shown only friends, and their own user.
pub fn only_friends_are_shown(told: &Told, me: Who, of: Who, what: &str) -> Verdict {
    if of == me || told.may_be_friends(of) {
        Ok(())
    } else {
        Err((Rule::StrangersGetNothing, format!("{what} of u{of}")))
    }
}

/// An invisible user's object tells no friend that they are online, and always tells the same `last_seen_at`.
pub fn invisible_is_offline(told: &mut Told, says: Says) -> Verdict {
    if !told.invisible {
        return Ok(());
    }
    match says {
        Says::Online(_) => Err((Rule::InvisibleIsOffline, "told to be online".to_owned())),
        Says::Offline(last_seen_at) => match told.last_seen_at {
            Some(before) if before != last_seen_at => {
                Err((Rule::InvisibleIsOffline, format!("last seen {before:?}, and then {last_seen_at:?}")))
            }
            _ => {
                told.last_seen_at = Some(last_seen_at);
                Ok(())
            }
        },
    }
}

/// No other object is told that a suspended user is online.
pub fn suspended_is_offline(told: &Told, says: Says) -> Verdict {
    match says {
        Says::Online(_) if told.is_suspended() => {
            Err((Rule::SuspendedIsOffline, "told to be online while suspended".to_owned()))
        }
        Says::Online(_) | Says::Offline(_) => Ok(()),
    }
}

/// What an object tells others of its user.
#[derive(Debug, Clone, Copy)]
pub enum Says<'a> {
    Online(&'a PresenceUpdate),
    Offline(Option<Timestamp>),
}

/// The last states that a user's object told friends: each `seq` with a digest of the state.
#[derive(Debug, Clone, Default)]
pub struct Emitted {
    states: VecDeque<(u64, u64)>,
    forgotten: u64,
}

/// How many of a user's states are remembered.
const STATES: usize = 512;

impl Emitted {
    /// Adds a state that was told. No other state may have been told with the same `seq`.
    pub fn add(&mut self, seq: u64, digest: u64) -> Verdict {
        let at = self.states.partition_point(|(known, _)| *known < seq);
        match self.states.get(at) {
            Some((known, other)) if *known == seq => {
                if *other == digest {
                    Ok(())
                } else {
                    Err((Rule::OneSeqOneState, format!("{seq} is told with two states")))
                }
            }
            _ => {
                self.states.insert(at, (seq, digest));
                if self.states.len() > STATES {
                    self.forgotten = self.states.pop_front().map_or(self.forgotten, |(seq, _)| seq.max(self.forgotten));
                }
                Ok(())
            }
        }
    }

    /// Whether a state that is shown was told with this `seq`. A `seq` that is no longer remembered passes.
    pub fn was_told(&self, seq: u64, digest: u64) -> Verdict {
        let known = self.states.iter().rev().find(|(known, _)| *known == seq);
        if seq <= self.forgotten || known.is_some_and(|(_, told)| *told == digest) {
            Ok(())
        } else {
            Err((Rule::OneSeqOneState, format!("{seq} is shown with a state that was not told with it")))
        }
    }

    /// The newest `seq` with this state, and the oldest that is not below `floor`. `None`: the state is not remembered.
    pub fn seqs_of(&self, look: u64, floor: u64) -> Option<(u64, u64)> {
        let newest = self.states.iter().rev().find(|(_, digest)| *digest == look)?.0;
        let oldest = self.states.iter().find(|(seq, digest)| *digest == look && *seq >= floor).map_or(newest, |s| s.0);
        Some((newest, oldest))
    }

    /// Whether every state ever told is still remembered.
    pub fn is_whole(&self) -> bool {
        self.forgotten == 0
    }
}

/// A digest of what friends see of somebody online.
pub fn digest(page: &PageView, latest: &PageView, idle_since: Option<Timestamp>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for view in [page, latest] {
        (&view.url, &view.title, &view.domain).hash(&mut hasher);
    }
    idle_since.hash(&mut hasher);
    hasher.finish()
}

/// The same digest for an update that an object tells or a client is shown.
pub fn digest_of_update(update: &PresenceUpdate) -> u64 {
    let PresenceUpdate { url, title, domain, latest_url, latest_title, latest_domain, idle_since, .. } = update.clone();
    let page = PageView { url, title, domain };
    let latest = PageView { url: latest_url, title: latest_title, domain: latest_domain };
    digest(&page, &latest, idle_since)
}

/// No client sees an older state of anybody after a newer one.
pub fn seq_never_goes_back(of: Who, before: u64, now: u64) -> Verdict {
    if now >= before {
        Ok(())
    } else {
        Err((Rule::SeqNeverGoesBack, format!("u{of} went from {before} back to {now}")))
    }
}

/// Time within which a lost or failed message is sent again: a few retries, with growing waits.
const AGAIN_MS: Ms = 30_000;

/// What is remembered of the calls from one user's object to another's.
#[derive(Debug, Clone, Copy, Default)]
pub struct Link {
    /// How many calls there were.
    pub calls: u32,
    /// How many wait for their answer.
    pub under_way: u32,
    /// How many calls have failed since the last one that was answered.
    pub failed_in_a_row: u8,
    /// When the last one failed.
    pub failed_at: Ms,
    /// The time that the latest failed calls and the waits after them may have taken.
    pub failures_ms: Ms,
    /// Until then one more message is allowed. The caller may not know yet that the other stopped watching, or may repeat a
    /// message after a failure or a loss of memory.
    one_more_until: Ms,
    /// The `seq` of the last change that the other was told of.
    told_seq: u64,
    /// Whether the last message told the other that the user is online.
    told_online: bool,
}

impl Link {
    /// A page change is told once to each friend who watches. `watches`: whether this friend does.
    pub fn page_told(&mut self, peer: Who, seq: u64, watches: bool, now: Ms) -> Verdict {
        let coming = !std::mem::replace(&mut self.told_online, true);
        let again = std::mem::replace(&mut self.told_seq, seq) == seq;
        if (watches && !again) || coming || std::mem::take(&mut self.one_more_until) > now {
            Ok(())
        } else {
            let why = if again { "has been told already" } else { "does not watch" };
            Err((Rule::RequestsPerPageChange, format!("u{peer} is told of {seq} and {why}")))
        }
    }

    /// Notes that the other was told that the user is online, or is offline.
    pub fn told(&mut self, online: bool) {
        self.told_online = online;
    }

    /// Notes that a call or its answer was lost or came too late.
    pub fn fail(&mut self, now: Ms, waited_ms: Ms) {
        if now - self.failed_at > 60_000 {
            self.failures_ms = 0;
        }
        self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
        self.failures_ms += waited_ms + (1_000 << self.failed_in_a_row.min(6));
        self.failed_at = now;
        self.again_soon(now);
    }

    /// Allows one more message at any later time: until it comes, the caller need not learn that the other does not watch.
    pub fn one_more(&mut self) {
        self.one_more_until = Ms::MAX;
    }

    /// Allows one more message, within 30 seconds.
    pub fn again_soon(&mut self, now: Ms) {
        self.one_more_until = self.one_more_until.max(now + AGAIN_MS);
    }
}
