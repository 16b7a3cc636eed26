//! The user's friends: one record for each, what is outstanding with them, and the calls to their objects.
//!
//! Two things can be outstanding. A *delivery*: the friend has yet to take in the user's newest change. A *query*: the friend
//! has yet to say how they appear. Both are settled by the answer to a call.
//!
//! Messages are not queued. A call says what is true when it is made, so one call delivers every change so far. While a friend is
//! being called, or was not reached, what is outstanding stays in a map, and the next call settles it.
//!
//! What can be true of a friend:
//!
//! | | `known` | `displayed` | `interest` | outstanding |
//! |---|---|---|---|---|
//! | nothing heard yet, or the user is absent | none | nowhere | nothing | a query, once somebody wants to know |
//! | offline | offline, fresh | nowhere | nothing | nothing |
//! | online, while a client watches | online, fresh | everywhere | what they said | deliveries, one after the other |
//! | online, while no client watches | online, not fresh | everywhere | what they said | a query, when a client begins to watch |
//! | read from a roster as online | none | everywhere or partly | as the roster says | a query, when a client needs a snapshot |
//! | read from a roster as offline | offline, fresh, without `seq` | nowhere | nothing | nothing |
//! | not reached | as before | as before | as before | what the call was for, with a retry |
//! | says that they are no friend | offline, not fresh | nowhere | nothing | nothing: the core is asked |

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    ids::UserId,
    internal::{Interest, PeerMessage, Presence},
    time::Timestamp,
};

use crate::{
    limits::{PEER_RETRY_MS_MAX, PEER_RETRY_MS_MIN},
    rate::RateLimiter,
    stored::{ABSENT_BYTES, Displayed, LastSeen, Retry, Roster, RosterEntry},
};

/// All friends.
#[derive(Debug)]
pub(crate) struct Contacts {
    by_id: BTreeMap<UserId, Contact>,
    /// What is outstanding with each friend. Mostly empty.
    outstanding: BTreeMap<UserId, Outstanding>,
    /// Calls in flight: at most one to each friend. A call goes on when the friendship ends.
    calls: BTreeMap<UserId, Call>,
    /// Friends to look at when this event's calls are made ([`Contacts::take_due`]).
    due: BTreeSet<UserId>,
    /// Limits how often the user's own doings (connecting, reading) query friends.
    queries: RateLimiter,
    /// A friend's message that was sent before this is not trusted: it may be older than one that was forgotten.
    trusted_from: Timestamp,
    /// The memory before this one was lost while something was in progress. True until the object sleeps.
    recovering: bool,
    /// The roster in the sockets' attachments ([`Contacts::roster`]) is out of date, or the rate limit beside it is. What is only
    /// outstanding does not count: sockets carry that something is unsettled, and then all friends are queried anew.
    roster_is_old: bool,
}

/// One friend.
#[derive(Debug, Clone, PartialEq)]
struct Contact {
    /// What they want to hear of the user.
    interest: Interest,
    /// How they appear. `None`: unknown.
    known: Option<Known>,
    /// Which of the user's clients display them as online.
    displayed: Displayed,
}

/// What has yet to happen with a friend.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Outstanding {
    /// The friend has yet to take in the newest change. The value is what a friend must want at least to be told of that change:
    /// `Availability` if the user came or left, `Pages` if only the page changed.
    delivery: Option<Interest>,
    /// The friend has yet to say how they appear.
    query: bool,
    /// The last call did not reach the friend. The next one waits until then.
    retry: Option<Retry>,
}

/// How a friend appears.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    /// The `seq` of the friend's change that made it so: older changes are dropped. `None`: it was read from a roster, which has
    /// no `seq`, and everything that the friend says is newer.
    seq: Option<u64>,
    state: FriendState,
    /// The friend keeps the user up to date. If not, the friend is queried before a client sees this again.
    fresh: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FriendState {
    Online(Presence),
    Offline { last_seen_at: Option<Timestamp> },
}

/// A call in flight.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The `seq` of the change that it delivers. `None`: it only queries.
    delivers: Option<u64>,
    /// What the user wants, as the friend was told: the least that the call, or an answer to the friend since, has said.
    told_interest: Interest,
    /// What the friend wants, as the user heard: the most that the friend's messages have said since the call began. The answer may
    /// be older than they are.
    heard_interest: Interest,
    /// After the call began, the user came online or the friendship ended. How the friend appeared before does not count any more.
    outdated: bool,
    /// The friend's newest message since the call began that could not be trusted. If it is newer than the answer, it is true.
    unverified: Option<Box<PeerMessage>>,
}

impl Call {
    /// Whether the friend may have answered before something that makes the answer old.
    pub fn is_outdated(&self) -> bool {
        self.outdated
    }

    /// Whether the friend has said since the call began that they want to hear something.
    pub fn showed_interest(&self) -> bool {
        self.heard_interest > Interest::Nothing
    }

    /// The message that came during the call and could not be trusted then.
    pub fn into_unverified(self) -> Option<PeerMessage> {
        self.unverified.map(|message| *message)
    }
}

/// The user's own state, as far as it decides what friends are told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    /// The user has sockets, or had a moment ago.
    pub present: bool,
    /// What they want to hear of friends.
    pub interest: Interest,
    pub visible: bool,
    pub seq: u64,
    pub transition_seq: u64,
    /// Friends see the user, or once did. If not, there is nothing to tell.
    pub ever_seen: bool,
}

/// The user's doings query friends too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// When the next is allowed.
    pub until: Timestamp,
}

/// Which of the user's clients must be told how a friend appears now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewTo {
    /// None: they display the friend so already.
    Nobody,
    /// Those that want page changes.
    Watching,
    /// All that have their snapshot.
    All,
}

/// Whom to call now.
#[derive(Debug, Default)]
pub(crate) struct DueCalls {
    /// Friends to ask how they appear. Where the call says how the user appears too, it delivers the newest change.
    pub queries: Vec<UserId>,
    /// Friends to tell of the newest change.
    pub deliveries: Vec<UserId>,
}

impl Contact {
    fn new() -> Self {
        Self { interest: Interest::Nothing, known: None, displayed: Displayed::Nowhere }
    }

    fn is_fresh(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.fresh)
    }

    fn entry(&self, outstanding: Outstanding) -> RosterEntry {
        let failed = outstanding.retry.is_some();
        // A friend with whom something is outstanding may be online. After a loss of memory they are told and queried again.
        let assumed = if outstanding.is_pending() && !failed { Interest::Availability } else { Interest::Nothing };
        RosterEntry {
            interest: if self.interest == Interest::Nothing { assumed } else { self.interest },
            displayed: self.displayed,
            query_again: failed && outstanding.query,
            deliver_again: failed && outstanding.delivery.is_some(),
        }
    }

    fn last_seen(&self) -> LastSeen {
        match &self.known {
            Some(Known { fresh: true, state: FriendState::Offline { last_seen_at }, .. }) => {
                last_seen_at.map_or(LastSeen::Never, LastSeen::At)
            }
            Some(_) | None => LastSeen::Unknown,
        }
    }
}

impl Outstanding {
    fn is_pending(self) -> bool {
        self.delivery.is_some() || self.query
    }

    fn deliver(&mut self, at_least: Interest) {
        self.delivery = Some(self.delivery.map_or(at_least, |before| before.min(at_least)));
    }
}

/// Restoring and storing.
impl Contacts {
    /// These friends, of whom nothing is known.
    pub fn new(friends: &[UserId], queries: RateLimiter, trusted_from: Timestamp) -> Self {
        Self {
            by_id: friends.iter().map(|id| (id.clone(), Contact::new())).collect(),
            outstanding: BTreeMap::new(),
            calls: BTreeMap::new(),
            due: BTreeSet::new(),
            queries,
            trusted_from,
            recovering: false,
            roster_is_old: false,
        }
    }

    /// Takes over what a socket carried. `retries`: for the friends who were not reached, in the order of their ids.
    pub fn read_roster(&mut self, roster: &Roster, retries: &[Retry], own: Own) {
        let mut retries = retries.iter().chain(retries.last().into_iter().cycle());
        let friends = self.by_id.iter_mut();
        for ((id, contact), (entry, last_seen)) in friends.zip(roster.read()) {
            contact.interest = entry.interest;
            contact.displayed = entry.displayed;
            contact.known = Known::from_roster(last_seen);
            if !(entry.query_again || entry.deliver_again) {
                continue;
            }
            let Some(retry) = retries.next() else { continue };
            let delivery = (entry.deliver_again && own.ever_seen).then_some(Interest::Availability);
            if delivery.is_some() {
                self.due.insert(id.clone());
            }
            self.outstanding
                .insert(id.clone(), Outstanding { delivery, query: entry.query_again, retry: Some(*retry) });
        }
    }

    /// Assumes that all friends are online and displayed. Where that is wrong, it costs a call to each.
    pub fn assume_all(&mut self) {
        for contact in self.by_id.values_mut() {
            contact.interest = Interest::Pages;
            contact.displayed = Displayed::Partly;
        }
    }

    /// Assumes that all friends want to hear everything.
    pub fn assume_all_interested(&mut self) {
        self.by_id.values_mut().for_each(|contact| contact.interest = Interest::Pages);
    }

    /// Takes over what friends wanted to hear when the last socket closed.
    pub fn set_interests(&mut self, interests: BTreeMap<UserId, Interest>) {
        for (id, interest) in interests {
            if let Some(contact) = self.by_id.get_mut(&id) {
                contact.interest = interest;
            }
        }
    }

    /// These friends, or all, have yet to be told that the user left.
    pub fn owe_farewell(&mut self, friends: Option<&BTreeMap<UserId, Interest>>) {
        for id in self.by_id.keys().filter(|id| friends.is_none_or(|friends| friends.contains_key(*id))) {
            self.outstanding.entry(id.clone()).or_default().delivery = Some(Interest::Availability);
            self.due.insert(id.clone());
        }
    }

    /// Memory was lost while something was in progress: nothing that was known of friends counts.
    pub fn recover(&mut self, trusted_from: Timestamp) {
        self.trusted_from = trusted_from;
        self.recovering = true;
        self.forget_known();
    }

    /// Friends' messages that were sent before this are not trusted.
    pub fn distrust_before(&mut self, moment: Timestamp) {
        self.trusted_from = moment;
    }

    pub fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// What a socket is to carry of friends, in about `bytes_max` bytes: where long pages leave less room, it says of fewer absent
    /// friends when they were last seen.
    pub fn roster(&self, version: u64, bytes_max: usize, absent_len_max: usize) -> Roster {
        let absent_max = bytes_max.saturating_sub(self.by_id.len()) / ABSENT_BYTES;
        let entries = self.by_id.iter().map(|(id, contact)| (contact, contact.entry(self.outstanding_with(id))));
        let absent =
            entries.clone().filter(|(_, entry)| entry.is_plainly_absent()).map(|(contact, _)| contact.last_seen());
        Roster::write(version, entries.map(|(_, entry)| entry), absent.take(absent_max.min(absent_len_max)))
    }

    fn outstanding_with(&self, id: &UserId) -> Outstanding {
        self.outstanding.get(id).copied().unwrap_or_default()
    }

    /// When to call the friends again who were not reached, in the order of their ids.
    pub fn retries(&self) -> impl Iterator<Item = Retry> {
        self.outstanding
            .values()
            .filter(|outstanding| outstanding.is_pending())
            .filter_map(|outstanding| outstanding.retry)
    }

    /// The friends who may see the user, and what they want to hear. Storage keeps this while there are no sockets.
    pub fn interests(&self) -> BTreeMap<UserId, Interest> {
        let interest = |id: &UserId, contact: &Contact| match contact.interest {
            Interest::Nothing => {
                let outstanding = self.outstanding_with(id);
                outstanding.delivery.or(outstanding.query.then_some(Interest::Availability))
            }
            wanted @ (Interest::Availability | Interest::Pages) => Some(wanted),
        };
        self.by_id.iter().filter_map(|(id, contact)| Some((id.clone(), interest(id, contact)?))).collect()
    }

    /// The friends who have yet to take in the newest change, and what it is about.
    pub fn undelivered(&self) -> BTreeMap<UserId, Interest> {
        self.outstanding.iter().filter_map(|(id, outstanding)| Some((id.clone(), outstanding.delivery?))).collect()
    }

    pub fn has_undelivered(&self) -> bool {
        self.outstanding.values().any(|outstanding| outstanding.delivery.is_some())
    }

    /// Whether a delivery or a query is outstanding, friends who were not reached aside.
    pub fn has_unsettled(&self) -> bool {
        self.outstanding.values().any(|outstanding| outstanding.is_pending() && outstanding.retry.is_none())
    }

    /// Whether the roster has changed since this was last called.
    pub fn take_roster_is_old(&mut self) -> bool {
        std::mem::take(&mut self.roster_is_old)
    }

    /// When a whole burst of queries is allowed again.
    pub fn queries_full_at(&self) -> Timestamp {
        self.queries.full_at()
    }

    /// When the next query is allowed.
    pub fn next_query_at(&self) -> Timestamp {
        self.queries.next()
    }
}

impl Known {
    /// What a roster knows of a friend.
    fn from_roster(last_seen: LastSeen) -> Option<Self> {
        let last_seen_at = match last_seen {
            LastSeen::Unknown => return None,
            LastSeen::Never => None,
            LastSeen::At(at) => Some(at),
        };
        Some(Self { seq: None, state: FriendState::Offline { last_seen_at }, fresh: true })
    }
}

/// Who the friends are, and how they appear.
impl Contacts {
    pub fn contains(&self, id: &UserId) -> bool {
        self.by_id.contains_key(id)
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn ids(&self) -> BTreeSet<UserId> {
        self.by_id.keys().cloned().collect()
    }

    /// How a friend appears; `None` if unknown.
    pub fn state(&self, id: &UserId) -> Option<&FriendState> {
        Some(&self.by_id.get(id)?.known.as_ref()?.state)
    }

    /// Whether the friend keeps the user up to date.
    pub fn is_fresh(&self, id: &UserId) -> bool {
        self.by_id.get(id).is_some_and(Contact::is_fresh)
    }

    /// The friends who do not keep the user up to date.
    pub fn not_fresh(&self) -> BTreeSet<UserId> {
        self.by_id.iter().filter(|(_, contact)| !contact.is_fresh()).map(|(id, _)| id.clone()).collect()
    }

    /// Adds who is new on this list. Returns who is new, and who is no longer on it: they are still here, to be removed one by one.
    pub fn add_new(&mut self, friends: &[UserId]) -> (BTreeSet<UserId>, Vec<UserId>) {
        let listed: BTreeSet<&UserId> = friends.iter().collect();
        let gone: Vec<UserId> = self.by_id.keys().filter(|id| !listed.contains(id)).cloned().collect();
        let new: BTreeSet<UserId> = friends.iter().filter(|id| !self.by_id.contains_key(*id)).cloned().collect();
        self.by_id.extend(new.iter().map(|id| (id.clone(), Contact::new())));
        (new, gone)
    }

    /// Removes a friend.
    pub fn remove(&mut self, id: &UserId) {
        self.roster_is_old = true;
        self.by_id.remove(id);
        self.outstanding.remove(id);
        self.void_call(id);
    }

    /// A friend says that they are no friend. Until the core says so too, they appear offline, and only a newer change of theirs
    /// counts.
    pub fn reset(&mut self, id: &UserId) {
        self.roster_is_old = true;
        if let Some(contact) = self.by_id.get_mut(id) {
            let mut known = contact.known.take();
            if let Some(known) = &mut known {
                known.state = FriendState::Offline { last_seen_at: None };
                known.fresh = false;
            }
            *contact = Contact { known, ..Contact::new() };
        }
        self.outstanding.remove(id);
    }

    /// Marks the call in flight: should the two be friends again before its answer comes, the answer is old.
    fn void_call(&mut self, id: &UserId) {
        if let Some(call) = self.calls.get_mut(id) {
            call.outdated = true;
            call.unverified = None;
        }
    }

    /// A friend is online and shows this. An older change than the known one is dropped.
    pub fn learn_online(&mut self, id: &UserId, seq: u64, presence: &Presence, own: Own) -> NewTo {
        let fresh = own.interest == Interest::Pages;
        let Some(contact) = self.by_id.get_mut(id) else { return NewTo::Nobody };
        match &mut contact.known {
            Some(known) if Some(seq) < known.seq => return NewTo::Nobody,
            Some(known) if Some(seq) == known.seq && matches!(known.state, FriendState::Online(_)) => {
                known.fresh |= fresh;
                return NewTo::Nobody;
            }
            Some(_) | None => {}
        }
        // Memory may have been lost after the roster was written and before clients were told.
        let maybe_not_displayed = self.recovering && contact.known.is_none();
        let new_to = match contact.displayed {
            _ if !own.present => NewTo::Nobody,
            Displayed::Everywhere if !maybe_not_displayed => NewTo::Watching,
            Displayed::Everywhere | Displayed::Partly | Displayed::Nowhere => NewTo::All,
        };
        if own.present {
            contact.displayed = Displayed::Everywhere;
        }
        contact.known = Some(Known { seq: Some(seq), state: FriendState::Online(presence.clone()), fresh });
        new_to
    }

    /// A friend is offline. `None`: something as new is known, and this is dropped. `unasked`: the friend said it by themselves. Then
    /// clients are told even if nothing is known of the friend, since they may display them.
    pub fn learn_offline(
        &mut self,
        id: &UserId,
        seq: u64,
        last_seen_at: Option<Timestamp>,
        unasked: bool,
    ) -> Option<NewTo> {
        let contact = self.by_id.get_mut(id)?;
        if contact.known.as_ref().is_some_and(|known| Some(seq) <= known.seq) {
            return None;
        }
        let maybe_displayed = contact.known.is_none() && (self.recovering || unasked);
        let displayed = std::mem::replace(&mut contact.displayed, Displayed::Nowhere) != Displayed::Nowhere;
        let new_to = if displayed || maybe_displayed { NewTo::All } else { NewTo::Nobody };
        let state = FriendState::Offline { last_seen_at };
        // The roster holds when they were last seen, even if no client saw them come.
        let differs = contact.known.as_ref().is_none_or(|known| known.state != state);
        self.roster_is_old |= new_to == NewTo::All || differs;
        contact.known = Some(Known { seq: Some(seq), state, fresh: true });
        Some(new_to)
    }

    /// Clients display one friend more as online.
    pub fn display_changed(&mut self) {
        self.roster_is_old = true;
    }

    /// A socket got its snapshot. Its client displays friends of whom nothing is known as offline.
    pub fn snapshot_sent(&mut self) {
        for contact in self.by_id.values_mut() {
            if contact.displayed == Displayed::Everywhere && contact.known.is_none() {
                contact.displayed = Displayed::Partly;
            }
        }
    }

    /// Forgets how friends appear.
    pub fn forget_known(&mut self) {
        self.by_id.values_mut().for_each(|contact| contact.known = None);
    }
}

/// What friends say, and what they are told.
impl Contacts {
    /// Takes in what a friend's message says of their interest. Returns whether the rest can be trusted: not if it was sent before
    /// `trusted_from` and there is no `seq` to compare it with.
    pub fn receive(&mut self, message: &PeerMessage, own: Own, now: Timestamp) -> bool {
        let PeerMessage { from, sent_at, wants, .. } = message;
        let Some(contact) = self.by_id.get(from) else { return false };
        if let Some(retry) = self.outstanding.get_mut(from).and_then(|outstanding| outstanding.retry.as_mut()) {
            // The friend can probably be reached again.
            retry.at = retry.at.min(now);
            self.due.insert(from.clone());
        }
        let wants_more = *wants > contact.interest;
        let trusted = *sent_at >= self.trusted_from || contact.known.as_ref().is_some_and(|known| known.seq.is_some());
        if let Some(call) = self.calls.get_mut(from) {
            call.heard_interest = call.heard_interest.max(*wants);
            // The answer to this message may tell the friend of less interest than the call did.
            call.told_interest = call.told_interest.min(own.interest);
        }
        // A message may be old, so it can only raise the interest. An answer can lower it too.
        if wants_more {
            self.set_interest(from, *wants, own);
        }
        trusted
    }

    /// Keeps an untrusted message until the call in flight is answered: the answer tells whether it is true. Without such a call
    /// the message is dropped: the friend is queried next, and that answer is newer.
    pub fn keep_unverified(&mut self, message: PeerMessage) {
        if let Some(call) = self.calls.get_mut(&message.from)
            && call.unverified.as_ref().is_none_or(|kept| kept.seq < message.seq)
        {
            call.unverified = Some(Box::new(message));
        }
    }

    /// Forgets how a friend appears.
    pub fn forget_known_of(&mut self, id: &UserId) {
        if let Some(contact) = self.by_id.get_mut(id) {
            contact.known = None;
        }
    }

    /// A friend has to be queried though nobody asked. Unlike [`Self::query`] this must outlive a loss of memory.
    pub fn query_again(&mut self, id: &UserId) {
        self.query([id.clone()]);
        self.roster_is_old = true;
    }

    /// The friend's message was answered with what the user wants. A friend who is online tells of pages only if the user wants
    /// them.
    pub fn interest_told(&mut self, id: &UserId, own: Own) {
        if own.interest < Interest::Pages
            && let Some(known) = self.by_id.get_mut(id).and_then(|contact| contact.known.as_mut())
        {
            known.fresh &= matches!(known.state, FriendState::Offline { .. });
        }
    }

    /// A friend wants to hear this. Of an absent user nobody hears anything, and nothing is kept.
    pub fn set_interest(&mut self, id: &UserId, interest: Interest, own: Own) {
        let Some(contact) = self.by_id.get_mut(id).filter(|_| own.present) else { return };
        // A change that no longer interests the friend need not be delivered. They query when their interest rises.
        if let Some(outstanding) = self.outstanding.get_mut(id) {
            outstanding.delivery = outstanding.delivery.filter(|concerned| *concerned <= interest);
        }
        self.roster_is_old |= contact.interest != interest;
        contact.interest = interest;
    }

    /// A friend said that they left. They need not be queried.
    pub fn friend_left(&mut self, id: &UserId, own: Own) {
        self.set_interest(id, Interest::Nothing, own);
        if let Some(outstanding) = self.outstanding.get_mut(id) {
            outstanding.query = false;
        }
        self.due.insert(id.clone());
    }

    /// The newest change is to be delivered to the friends who want to hear at least this much. If the user came or left, it goes to
    /// those with an outstanding query too: the query may have told them something else.
    pub fn announce(&mut self, at_least: Interest, own: Own) {
        if !own.ever_seen {
            return;
        }
        for (id, contact) in &self.by_id {
            let is_queried = || self.outstanding.get(id).is_some_and(|outstanding| outstanding.query);
            if contact.interest >= at_least || (at_least == Interest::Availability && is_queried()) {
                self.outstanding.entry(id.clone()).or_default().deliver(at_least);
                self.due.insert(id.clone());
            }
        }
    }

    /// Something was hidden. Friends who were not reached may still see it, and are called at once. The back-off goes on: if this call
    /// fails too, the next wait is twice the last.
    pub fn retry_now(&mut self, now: Timestamp) {
        for (id, outstanding) in &mut self.outstanding {
            if outstanding.delivery.is_some()
                && let Some(retry) = &mut outstanding.retry
            {
                retry.at = retry.at.min(now);
                self.due.insert(id.clone());
            }
        }
    }

    /// Queries these friends, those who were not reached at once too: somebody waits for the answers.
    pub fn query(&mut self, friends: impl IntoIterator<Item = UserId>) {
        for id in friends {
            if self.by_id.contains_key(&id) {
                let outstanding = self.outstanding.entry(id.clone()).or_default();
                self.roster_is_old |= outstanding.retry.take().is_some();
                outstanding.query = true;
                self.due.insert(id);
            }
        }
    }

    /// Queries these friends because of something that the user did. Returns whose answers to wait for. If all of them are being
    /// queried already, it counts as no new query.
    ///
    /// # Errors
    ///
    /// When the rate limit of queries is reached. Then nobody is queried.
    pub fn query_for_user(&mut self, friends: BTreeSet<UserId>, now: Timestamp) -> Result<BTreeSet<UserId>, TooOften> {
        let being_queried =
            |id: &UserId| self.outstanding_with(id).query && (self.calls.contains_key(id) || self.due.contains(id));
        if friends.iter().all(being_queried) {
            return Ok(friends);
        }
        if !self.queries.take(now) {
            return Err(TooOften { until: self.queries.next() });
        }
        // Sockets carry the state of the rate limit: otherwise a loss of memory would reset it.
        self.roster_is_old = true;
        self.query(friends.iter().cloned());
        Ok(friends)
    }

    /// The user comes online: what friends said until now does not count, and answers to calls in flight are old. Returns whether
    /// the rate limit lets friends be queried now. If not, queries that are outstanding are given up.
    pub fn come_online(&mut self, trusted_from: Timestamp, now: Timestamp) -> bool {
        self.forget_known();
        self.calls.values_mut().for_each(|call| call.outdated = true);
        self.trusted_from = trusted_from;
        let may_query = self.queries.next() <= now;
        if !may_query {
            self.outstanding.values_mut().for_each(|outstanding| outstanding.query = false);
        }
        may_query
    }

    /// The user goes offline. `vanished`: friends saw them until now, and are told. Queries are given up unless somebody waits for
    /// their answers.
    pub fn go_offline(&mut self, vanished: bool, is_awaited: impl Fn(&UserId) -> bool, own: Own, now: Timestamp) {
        if vanished {
            self.announce(Interest::Availability, own);
            self.retry_now(now);
        }
        for (id, outstanding) in &mut self.outstanding {
            if vanished && outstanding.delivery.is_some() {
                self.due.insert(id.clone());
            }
            outstanding.query &= is_awaited(id);
            outstanding.retry = outstanding.retry.filter(|_| outstanding.delivery.is_some());
        }
        self.by_id.values_mut().for_each(|contact| *contact = Contact::new());
    }
}

/// Calls.
impl Contacts {
    /// When the next friend who was not reached is to be called again.
    pub fn next_retry_at(&self) -> Option<Timestamp> {
        let retries = self.outstanding.iter().filter_map(|(id, outstanding)| Some((id, outstanding.retry?)));
        retries.filter(|(id, _)| !self.calls.contains_key(*id)).map(|(_, retry)| retry.at).min()
    }

    /// Friends who were not reached are due if their wait is over.
    pub fn retry_due(&mut self, now: Timestamp) {
        let due =
            self.outstanding.iter().filter(|(_, outstanding)| outstanding.retry.is_some_and(|retry| retry.at <= now));
        self.due.extend(due.map(|(id, _)| id.clone()));
    }

    /// Takes out the friends who are due. Returns those to call: not if a call is in flight, a wait goes on, or nothing is
    /// outstanding any more.
    pub fn take_due(&mut self, own: Own, now: Timestamp) -> DueCalls {
        let mut calls = DueCalls::default();
        for id in std::mem::take(&mut self.due) {
            let outstanding = self.outstanding_with(&id);
            let later = outstanding.retry.is_some_and(|retry| retry.at > now);
            if later || self.calls.contains_key(&id) {
                continue;
            }
            let delivers = outstanding.delivery.is_some();
            // A visible user's query delivers the newest change too, as a rule. Anybody else's does not: then the delivery goes first.
            if outstanding.query && (own.visible || !delivers) {
                calls.queries.push(id);
            } else if delivers {
                calls.deliveries.push(id);
            } else {
                self.roster_is_old |= outstanding.retry.is_some();
                self.outstanding.remove(&id);
            }
        }
        calls
    }

    /// Calls to these friends begin. `delivers`: the `seq` of the change that they deliver. `interest`: what the user wants.
    pub fn calls_begin(&mut self, friends: &[UserId], delivers: Option<u64>, interest: Interest) {
        let (told_interest, heard_interest) = (interest, Interest::Nothing);
        let call = Call { delivers, told_interest, heard_interest, outdated: false, unverified: None };
        self.calls.extend(friends.iter().map(|id| (id.clone(), call.clone())));
    }

    pub fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// The friends who are being called and have yet to take in the newest change.
    pub fn called_undelivered(&self) -> impl Iterator<Item = &UserId> {
        self.calls.keys().filter(|id| self.outstanding_with(id).delivery.is_some())
    }

    /// The call to this friend was answered. Returns the call; `None` if there was none.
    pub fn remove_call(&mut self, id: &UserId) -> Option<Call> {
        let call = self.calls.remove(id)?;
        let retry = self.outstanding.get_mut(id).and_then(|outstanding| outstanding.retry.take());
        self.roster_is_old |= retry.is_some();
        Some(call)
    }

    /// The friend has answered a call that did not fail. `wants`: what the answer says that they want to hear.
    pub fn delivered(&mut self, id: &UserId, call: &Call, wants: Interest, own: Own) {
        self.set_interest(id, wants.max(call.heard_interest), own);
        self.settle_delivery(id, call, own);
    }

    /// The friend has taken in the change that the call delivered. If there is a newer one that interests them, that one is
    /// outstanding now. [`Self::announce`] passed over friends whose interest only this answer tells.
    fn settle_delivery(&mut self, id: &UserId, call: &Call, own: Own) {
        let Some(delivered) = call.delivers else { return };
        let concerned = if delivered < own.transition_seq { Interest::Availability } else { Interest::Pages };
        let is_interested = || !own.present || self.by_id.get(id).is_some_and(|contact| contact.interest >= concerned);
        let delivery = (delivered < own.seq && own.ever_seen && is_interested()).then_some(concerned);
        if delivery.is_some() || self.outstanding.contains_key(id) {
            self.outstanding.entry(id.clone()).or_default().delivery = delivery;
        }
    }

    /// The friend has said how they appear. Returns whether that settles the query. It does not if the friend was told of less
    /// interest than the user has: then the friend would not keep the user up to date.
    pub fn settle_query(&mut self, id: &UserId, call: &Call, own: Own) -> bool {
        let settled = call.told_interest >= own.interest;
        if settled && let Some(outstanding) = self.outstanding.get_mut(id) {
            outstanding.query = false;
        }
        settled
    }

    /// After a call: if something is still outstanding, the friend is due again.
    pub fn make_due_again(&mut self, id: UserId) {
        match self.outstanding.get(&id) {
            None => {}
            Some(outstanding) if *outstanding == Outstanding::default() => drop(self.outstanding.remove(&id)),
            Some(_) => drop(self.due.insert(id)),
        }
    }

    /// A call did not reach its friend. Returns whether there was one. `forgotten`: how many failures before this one a loss of
    /// memory may have made forget.
    pub fn call_failed(&mut self, id: &UserId, forgotten: u32, own: Own, now: Timestamp) -> bool {
        if self.calls.remove(id).is_none() {
            return false;
        }
        let Some(outstanding) = self.outstanding.get_mut(id) else { return true };
        outstanding.query &= own.present;
        if outstanding.is_pending() {
            let times = outstanding.retry.map_or(forgotten, |retry| retry.times);
            let wait_ms = PEER_RETRY_MS_MIN.saturating_mul(1 << times.min(30)).min(PEER_RETRY_MS_MAX);
            outstanding.retry = Some(Retry { times: times.saturating_add(1), at: now.plus_ms(wait_ms) });
            self.roster_is_old = true;
        }
        true
    }
}
