//! The user's friends: one record for each, and the calls to their objects.
//!
//! Nothing is queued. A call says what is true when it is made. A friend who is being called, or was not reached, keeps
//! what they are still owed in their record.

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
    /// What is outstanding with friends: of few of them, mostly of none.
    owed: BTreeMap<UserId, Owed>,
    /// Calls in flight: at most one for each friend. They outlive the friendship.
    calls: BTreeMap<UserId, Call>,
    /// Friends whom it may be time to call.
    due: BTreeSet<UserId>,
    /// How often what the user does may query friends.
    queries: RateLimiter,
    /// A message that was sent before this may be older than one that was forgotten.
    trusted_from: Timestamp,
    /// This memory began after one was lost while something was in progress. It stays so until the next sleep.
    recovering: bool,
    /// What sockets carry about friends has changed.
    changed: bool,
}

/// One friend.
#[derive(Debug, Clone, PartialEq)]
struct Contact {
    /// What they want to hear of the user.
    interest: Interest,
    /// How they appear, as far as known.
    known: Option<Known>,
    /// Which of the user's clients display them as online.
    displayed: Displayed,
}

/// What a friend has yet to do, or was not reached for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Owed {
    /// The friend has not yet taken in the newest change. The value is the least interest of a friend whom that change concerns.
    delivery: Option<Interest>,
    /// The friend has not yet said how they appear.
    query: bool,
    /// Set after a call that did not reach them.
    retry: Option<Retry>,
}

/// How a friend appears.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    /// Of the change that made it so: an older one is dropped. 0: nobody remembers.
    seq: u64,
    state: FriendState,
    /// The friend tells of every change since. One who does not is queried before anybody sees it again.
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
    /// The change that it tells of; `None` for a mere query.
    tells: Option<u64>,
    /// The lowest interest that the user has told this friend since the call began. `Nothing` means that the answer is outdated: after
    /// the call began, the user came online or the friendship ended.
    interest: Interest,
    /// The highest interest that the friend has told since the call began. The answer may be older.
    stated: Interest,
    /// The newest message that came meanwhile and could not be trusted. If it is newer than the answer, it is true.
    unverified: Option<Box<PeerMessage>>,
}

impl Call {
    /// Whether the answer may be older than what has happened since.
    pub fn is_outdated(&self) -> bool {
        self.interest == Interest::Nothing
    }

    /// Whether the friend has spoken since the call began, and wants to hear something.
    pub fn friend_spoke(&self) -> bool {
        self.stated > Interest::Nothing
    }
}

/// What of the user decides what friends are told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Own {
    /// The user has sockets, or had a moment ago.
    pub present: bool,
    /// What they want to hear of friends.
    pub interest: Interest,
    pub visible: bool,
    pub seq: u64,
    pub transition_seq: u64,
    /// Friends see the user, or saw them once. Otherwise there is nothing to tell.
    pub ever_seen: bool,
}

/// Queries come more often than they may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooOften {
    /// When the next is allowed.
    pub until: Timestamp,
}

/// Which clients a friend's state is new to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewTo {
    Nobody,
    /// Those that want page changes.
    Watching,
    /// All that have their snapshot.
    All,
}

/// Whom to call now.
#[derive(Debug, Default)]
pub(crate) struct DueCalls {
    /// To be asked how they appear.
    pub queries: Vec<UserId>,
    /// To be told of the newest change.
    pub deliveries: Vec<UserId>,
}

impl Contact {
    fn new() -> Self {
        Self { interest: Interest::Nothing, known: None, displayed: Displayed::Nowhere }
    }

    fn is_fresh(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.fresh)
    }

    fn entry(&self, owed: Owed) -> RosterEntry {
        let failed = owed.retry.is_some();
        // Who has yet to be told or queried may be online: then both are tried again.
        let assumed = if owed.is_pending() && !failed { Interest::Availability } else { Interest::Nothing };
        RosterEntry {
            interest: if self.interest == Interest::Nothing { assumed } else { self.interest },
            displayed: self.displayed,
            query_again: failed && owed.query,
            deliver_again: failed && owed.delivery.is_some(),
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

impl Owed {
    fn is_pending(self) -> bool {
        self.delivery.is_some() || self.query
    }

    fn deliver(&mut self, at_least: Interest) {
        self.delivery = Some(self.delivery.map_or(at_least, |before| before.min(at_least)));
    }
}

/// Restoring and storing.
impl Contacts {
    /// Friends of whom nothing is known.
    pub fn new(friends: &[UserId], queries: RateLimiter, trusted_from: Timestamp) -> Self {
        Self {
            by_id: friends.iter().map(|id| (id.clone(), Contact::new())).collect(),
            owed: BTreeMap::new(),
            calls: BTreeMap::new(),
            due: BTreeSet::new(),
            queries,
            trusted_from,
            recovering: false,
            changed: false,
        }
    }

    /// Takes over what a socket carried. `retries`: of those who were not reached, in the order of their ids.
    pub fn read_roster(&mut self, roster: &Roster, retries: &[Retry], own: Own) {
        let mut retries = retries.iter().chain(retries.last().into_iter().cycle());
        let friends = self.by_id.iter_mut();
        for ((id, contact), (entry, last_seen)) in friends.zip(roster.read()) {
            contact.interest = entry.interest;
            contact.displayed = entry.displayed;
            contact.known = Known::of_absent(last_seen);
            if !(entry.query_again || entry.deliver_again) {
                continue;
            }
            let Some(retry) = retries.next() else { continue };
            let delivery = (entry.deliver_again && own.ever_seen).then_some(Interest::Availability);
            if delivery.is_some() {
                self.due.insert(id.clone());
            }
            self.owed.insert(id.clone(), Owed { delivery, query: entry.query_again, retry: Some(*retry) });
        }
    }

    /// Takes all friends to be online and displayed: to ask too many costs calls, to ask too few shows what is wrong.
    pub fn assume_all(&mut self) {
        for contact in self.by_id.values_mut() {
            contact.interest = Interest::Pages;
            contact.displayed = Displayed::Partly;
        }
    }

    /// Takes all friends to want everything.
    pub fn assume_all_interested(&mut self) {
        self.by_id.values_mut().for_each(|contact| contact.interest = Interest::Pages);
    }

    /// What these friends wanted to hear when the last socket closed.
    pub fn set_interests(&mut self, interests: BTreeMap<UserId, Interest>) {
        for (id, interest) in interests {
            if let Some(contact) = self.by_id.get_mut(&id) {
                contact.interest = interest;
            }
        }
    }

    /// These friends, or all, have yet to hear that the user left.
    pub fn owe_farewell(&mut self, friends: Option<&BTreeMap<UserId, Interest>>) {
        for id in self.by_id.keys().filter(|id| friends.is_none_or(|friends| friends.contains_key(*id))) {
            self.owed.entry(id.clone()).or_default().delivery = Some(Interest::Availability);
            self.due.insert(id.clone());
        }
    }

    /// Memory was lost while something was in progress: nothing is known, and friends' messages that were sent before
    /// `trusted_from` may be old.
    pub fn recover(&mut self, trusted_from: Timestamp) {
        self.trusted_from = trusted_from;
        self.recovering = true;
        self.forget_known();
    }

    /// Messages that were sent before this may be older than one that was forgotten.
    pub fn distrust_before(&mut self, moment: Timestamp) {
        self.trusted_from = moment;
    }

    pub fn is_recovering(&self) -> bool {
        self.recovering
    }

    /// What a socket is to carry, in about so many bytes: long pages leave room for fewer absent friends.
    pub fn roster(&self, version: u64, bytes_max: usize, absent_len_max: usize) -> Roster {
        let absent_max = bytes_max.saturating_sub(self.by_id.len()) / ABSENT_BYTES;
        let entries = self.by_id.iter().map(|(id, contact)| (contact, contact.entry(self.owed(id))));
        let absent =
            entries.clone().filter(|(_, entry)| entry.is_plainly_absent()).map(|(contact, _)| contact.last_seen());
        Roster::write(version, entries.map(|(_, entry)| entry), absent.take(absent_max.min(absent_len_max)))
    }

    fn owed(&self, id: &UserId) -> Owed {
        self.owed.get(id).copied().unwrap_or_default()
    }

    /// Of friends who were not reached and are still owed something, in the order of their ids.
    pub fn retries(&self) -> impl Iterator<Item = Retry> {
        self.owed.values().filter(|owed| owed.is_pending()).filter_map(|owed| owed.retry)
    }

    /// The friends who may see the user, and what they want to hear: for the time without sockets.
    pub fn interests(&self) -> BTreeMap<UserId, Interest> {
        let interest = |id: &UserId, contact: &Contact| match contact.interest {
            Interest::Nothing => {
                let owed = self.owed(id);
                owed.delivery.or(owed.query.then_some(Interest::Availability))
            }
            wanted @ (Interest::Availability | Interest::Pages) => Some(wanted),
        };
        self.by_id.iter().filter_map(|(id, contact)| Some((id.clone(), interest(id, contact)?))).collect()
    }

    /// The friends who have yet to take in the newest change.
    pub fn undelivered(&self) -> BTreeMap<UserId, Interest> {
        self.owed.iter().filter_map(|(id, owed)| Some((id.clone(), owed.delivery?))).collect()
    }

    pub fn has_undelivered(&self) -> bool {
        self.owed.values().any(|owed| owed.delivery.is_some())
    }

    /// Whether a friend is to be told or queried. Those who were not reached do not count.
    pub fn has_unsettled(&self) -> bool {
        self.owed.values().any(|owed| owed.is_pending() && owed.retry.is_none())
    }

    /// Whether what sockets carry has changed since the last time.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
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
    /// As a roster has it. Whatever the friend says is newer.
    fn of_absent(last_seen: LastSeen) -> Option<Self> {
        let last_seen_at = match last_seen {
            LastSeen::Unknown => return None,
            LastSeen::Never => None,
            LastSeen::At(at) => Some(at),
        };
        Some(Self { seq: 0, state: FriendState::Offline { last_seen_at }, fresh: true })
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

    /// Whether the friend tells of every change.
    pub fn is_fresh(&self, id: &UserId) -> bool {
        self.by_id.get(id).is_some_and(Contact::is_fresh)
    }

    /// The friends who do not.
    pub fn not_fresh(&self) -> BTreeSet<UserId> {
        self.by_id.iter().filter(|(_, contact)| !contact.is_fresh()).map(|(id, _)| id.clone()).collect()
    }

    /// The list of friends is another one. Returns who is new and who is gone.
    pub fn replace(&mut self, friends: &[UserId]) -> (BTreeSet<UserId>, Vec<UserId>) {
        let listed: BTreeSet<&UserId> = friends.iter().collect();
        let gone: Vec<UserId> = self.by_id.keys().filter(|id| !listed.contains(id)).cloned().collect();
        let new: BTreeSet<UserId> = friends.iter().filter(|id| !self.by_id.contains_key(*id)).cloned().collect();
        self.by_id.extend(new.iter().map(|id| (id.clone(), Contact::new())));
        (new, gone)
    }

    /// Removes somebody who is no friend any more.
    pub fn remove(&mut self, id: &UserId) {
        self.changed = true;
        self.by_id.remove(id);
        self.owed.remove(id);
        self.void_call(id);
    }

    /// Somebody on the list says that they are no friend. Until the core says so too, nothing older brings them back.
    pub fn reset(&mut self, id: &UserId) {
        self.changed = true;
        if let Some(contact) = self.by_id.get_mut(id) {
            let mut known = contact.known.take();
            if let Some(known) = &mut known {
                known.state = FriendState::Offline { last_seen_at: None };
                known.fresh = false;
            }
            *contact = Contact { known, ..Contact::new() };
        }
        self.owed.remove(id);
        self.void_call(id);
    }

    /// Should they be friends again before the answer comes, it may be old.
    fn void_call(&mut self, id: &UserId) {
        if let Some(call) = self.calls.get_mut(id) {
            call.interest = Interest::Nothing;
            call.unverified = None;
        }
    }

    /// A friend is online and shows this. Returns whom it is new to.
    pub fn learn_online(&mut self, id: &UserId, seq: u64, presence: &Presence, own: Own) -> NewTo {
        let fresh = own.interest == Interest::Pages;
        let Some(contact) = self.by_id.get_mut(id) else { return NewTo::Nobody };
        match &mut contact.known {
            Some(known) if seq < known.seq => return NewTo::Nobody,
            Some(known) if seq == known.seq && matches!(known.state, FriendState::Online(_)) => {
                known.fresh |= fresh;
                return NewTo::Nobody;
            }
            Some(_) | None => {}
        }
        // What was in progress when memory was lost may have been stored and not displayed.
        let uncertain = self.recovering && contact.known.is_none();
        let new_to = match contact.displayed {
            _ if !own.present => NewTo::Nobody,
            Displayed::Everywhere if !uncertain => NewTo::Watching,
            Displayed::Everywhere | Displayed::Partly | Displayed::Nowhere => NewTo::All,
        };
        if own.present {
            contact.displayed = Displayed::Everywhere;
        }
        contact.known = Some(Known { seq, state: FriendState::Online(presence.clone()), fresh });
        new_to
    }

    /// A friend is offline. Returns `None` if something newer is known, otherwise whether clients are to be told. `says_so`: the friend
    /// sent this unasked. Then clients are told even if nothing is known of the friend, since they may display them.
    pub fn learn_offline(
        &mut self,
        id: &UserId,
        seq: u64,
        last_seen_at: Option<Timestamp>,
        says_so: bool,
    ) -> Option<bool> {
        let contact = self.by_id.get_mut(id)?;
        if contact.known.as_ref().is_some_and(|known| seq <= known.seq) {
            return None;
        }
        let uncertain = contact.known.is_none() && (self.recovering || says_so);
        let displayed = std::mem::replace(&mut contact.displayed, Displayed::Nowhere) != Displayed::Nowhere;
        let tell = displayed || uncertain;
        let state = FriendState::Offline { last_seen_at };
        // Even if nobody saw them come, sleep must not bring back when they had left before.
        let differs = contact.known.as_ref().is_none_or(|known| known.state != state);
        self.changed |= tell || differs;
        contact.known = Some(Known { seq: seq.max(1), state, fresh: true });
        Some(tell)
    }

    /// Clients display another friend as online, which sockets must carry.
    pub fn display_changed(&mut self) {
        self.changed = true;
    }

    /// A snapshot was sent without the friends of whom nothing is known: its client displays them as offline.
    pub fn snapshot_sent(&mut self) {
        for contact in self.by_id.values_mut() {
            if contact.displayed == Displayed::Everywhere && contact.known.is_none() {
                contact.displayed = Displayed::Partly;
            }
        }
    }

    /// Friends do not tell a user who is away what changes, so what they told does not stay.
    pub fn forget_known(&mut self) {
        self.by_id.values_mut().for_each(|contact| contact.known = None);
    }
}

/// What friends say, and what they are told.
impl Contacts {
    /// A friend speaks. Returns whether the message can be trusted. A message that was sent before memory began cannot be, if nothing
    /// newer is known to compare it with.
    pub fn receive(&mut self, message: &PeerMessage, own: Own, now: Timestamp) -> bool {
        let PeerMessage { from, sent_at, wants, .. } = message;
        let Some(contact) = self.by_id.get(from) else { return false };
        if let Some(retry) = self.owed.get_mut(from).and_then(|owed| owed.retry.as_mut()) {
            // They can be reached again, as it seems.
            retry.at = retry.at.min(now);
            self.due.insert(from.clone());
        }
        let wants_more = *wants > contact.interest;
        let trusted = *sent_at >= self.trusted_from || contact.known.as_ref().is_some_and(|known| known.seq > 0);
        if let Some(call) = self.calls.get_mut(from) {
            call.stated = call.stated.max(*wants);
            // They go by the answer of now, which may say less than the call did.
            call.interest = call.interest.min(own.interest);
        }
        // Only an answer says what they want less of: a message may be old.
        if wants_more {
            self.set_interest(from, *wants, own);
        }
        trusted
    }

    /// Keeps an untrusted message until the answer to the call in flight, which tells whether it is true. Without such a call it is
    /// dropped: the friend is queried next, and the answer is newer.
    pub fn keep_unverified(&mut self, message: PeerMessage) {
        if let Some(call) = self.calls.get_mut(&message.from)
            && call.unverified.as_ref().is_none_or(|kept| kept.seq < message.seq)
        {
            call.unverified = Some(Box::new(message));
        }
    }

    /// What a friend said cannot be trusted and nobody waits for it.
    pub fn forget_known_of(&mut self, id: &UserId) {
        if let Some(contact) = self.by_id.get_mut(id) {
            contact.known = None;
        }
    }

    /// Something a friend said makes it necessary to query them, which sockets must carry.
    pub fn query_again(&mut self, id: &UserId) {
        self.query([id.clone()]);
        self.changed = true;
    }

    /// The friend was answered, and goes by what the user wants now: they may tell less from now on.
    pub fn was_answered(&mut self, id: &UserId, own: Own) {
        if own.interest < Interest::Pages
            && let Some(known) = self.by_id.get_mut(id).and_then(|contact| contact.known.as_mut())
        {
            known.fresh = matches!(known.state, FriendState::Offline { .. });
        }
    }

    /// A friend wants to hear this.
    pub fn set_interest(&mut self, id: &UserId, interest: Interest, own: Own) {
        let Some(contact) = self.by_id.get_mut(id).filter(|_| own.present) else { return };
        // When they come, or watch again, they query.
        if let Some(owed) = self.owed.get_mut(id) {
            owed.delivery = owed.delivery.filter(|concerned| *concerned <= interest);
        }
        self.changed |= contact.interest != interest;
        contact.interest = interest;
    }

    /// A friend left by their own word, and need not be queried.
    pub fn left(&mut self, id: &UserId, own: Own) {
        self.set_interest(id, Interest::Nothing, own);
        if let Some(owed) = self.owed.get_mut(id) {
            owed.query = false;
        }
        self.due.insert(id.clone());
    }

    /// Friends who want to hear at least this much are to take in the newest change. So are those who are being queried, if
    /// the user came or left: they may have heard what they were told then.
    pub fn announce(&mut self, at_least: Interest, own: Own) {
        if !own.ever_seen {
            return;
        }
        for (id, contact) in &self.by_id {
            let is_queried = || self.owed.get(id).is_some_and(|owed| owed.query);
            if contact.interest >= at_least || (at_least == Interest::Availability && is_queried()) {
                self.owed.entry(id.clone()).or_default().deliver(at_least);
                self.due.insert(id.clone());
            }
        }
    }

    /// Something is hidden. Friends who were not reached and may still see it are tried at once, then as rarely as before.
    pub fn retry_now(&mut self, now: Timestamp) {
        for (id, owed) in &mut self.owed {
            if owed.delivery.is_some()
                && let Some(retry) = &mut owed.retry
            {
                retry.at = retry.at.min(now);
                self.due.insert(id.clone());
            }
        }
    }

    /// Queries these friends. Somebody waits for it: who was not reached is tried at once.
    pub fn query(&mut self, friends: impl IntoIterator<Item = UserId>) {
        for id in friends {
            if self.by_id.contains_key(&id) {
                let owed = self.owed.entry(id.clone()).or_default();
                self.changed |= owed.retry.take().is_some();
                owed.query = true;
                self.due.insert(id);
            }
        }
    }

    /// Queries these friends for something that the user did. To wait for answers that are on their way is free.
    ///
    /// # Errors
    ///
    /// When the user's doings query friends too often. Then nobody is queried.
    pub fn query_for_user(&mut self, friends: BTreeSet<UserId>, now: Timestamp) -> Result<BTreeSet<UserId>, TooOften> {
        let on_its_way = |id: &UserId| self.owed(id).query && (self.calls.contains_key(id) || self.due.contains(id));
        if friends.iter().all(on_its_way) {
            return Ok(friends);
        }
        if !self.queries.take(now) {
            return Err(TooOften { until: self.queries.next() });
        }
        // Sockets carry the limit, or a lost memory would reset it.
        self.changed = true;
        self.query(friends.iter().cloned());
        Ok(friends)
    }

    /// The user comes online. Answers to calls in flight may be older, messages sent until now went unheard, and every friend
    /// is told anew. Whether friends may be queried now; otherwise nobody is.
    pub fn come_online(&mut self, trusted_from: Timestamp, now: Timestamp) -> bool {
        self.forget_known();
        self.calls.values_mut().for_each(|call| call.interest = Interest::Nothing);
        self.trusted_from = trusted_from;
        let may_query = self.queries.next() <= now;
        if !may_query {
            self.owed.values_mut().for_each(|owed| owed.query = false);
        }
        may_query
    }

    /// The user is away. `vanished`: friends saw them until now and are told. Only those queries go on that somebody waits for.
    pub fn go_offline(&mut self, vanished: bool, is_awaited: impl Fn(&UserId) -> bool, own: Own, now: Timestamp) {
        if vanished {
            self.announce(Interest::Availability, own);
            self.retry_now(now);
        }
        for (id, owed) in &mut self.owed {
            if vanished && owed.delivery.is_some() {
                self.due.insert(id.clone());
            }
            owed.query &= is_awaited(id);
            owed.retry = owed.retry.filter(|_| owed.delivery.is_some());
        }
        self.by_id.values_mut().for_each(|contact| *contact = Contact::new());
    }
}

/// Calls.
impl Contacts {
    /// When a friend who was not reached is due again.
    pub fn next_retry_at(&self) -> Option<Timestamp> {
        let retries = self.owed.iter().filter_map(|(id, owed)| Some((id, owed.retry?)));
        retries.filter(|(id, _)| !self.calls.contains_key(*id)).map(|(_, retry)| retry.at).min()
    }

    /// Friends who were not reached and whose time has come are due.
    pub fn retry_due(&mut self, now: Timestamp) {
        let due = self.owed.iter().filter(|(_, owed)| owed.retry.is_some_and(|retry| retry.at <= now));
        self.due.extend(due.map(|(id, _)| id.clone()));
    }

    /// Takes out whom it is time to call.
    pub fn take_due(&mut self, own: Own, now: Timestamp) -> DueCalls {
        let mut calls = DueCalls::default();
        for id in std::mem::take(&mut self.due) {
            let owed = self.owed(&id);
            let later = owed.retry.is_some_and(|retry| retry.at > now);
            if later || self.calls.contains_key(&id) {
                continue;
            }
            let tells = owed.delivery.is_some();
            // A query of a visible user tells how they appear. One who is not is told of first.
            if owed.query && (own.visible || !tells) {
                calls.queries.push(id);
            } else if tells {
                calls.deliveries.push(id);
            } else {
                // Nothing is left: perhaps they left meanwhile, or said unasked what they were to be asked.
                self.changed |= owed.retry.is_some();
                self.owed.remove(&id);
            }
        }
        calls
    }

    /// Calls to these friends are in flight. `tells`: the change that they tell of.
    pub fn called(&mut self, friends: &[UserId], tells: Option<u64>, interest: Interest) {
        let call = Call { tells, interest, stated: Interest::Nothing, unverified: None };
        self.calls.extend(friends.iter().map(|id| (id.clone(), call.clone())));
    }

    pub fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// The friends with a call in flight who have yet to take in the newest change.
    pub fn called_undelivered(&self) -> impl Iterator<Item = &UserId> {
        self.calls.keys().filter(|id| self.owed(id).delivery.is_some())
    }

    /// A call was answered. `None` when there was none.
    pub fn call_answered(&mut self, id: &UserId) -> Option<Call> {
        let call = self.calls.remove(id)?;
        let retry = self.owed.get_mut(id).and_then(|owed| owed.retry.take());
        self.changed |= retry.is_some();
        Some(call)
    }

    /// The friend has taken in what the call told, and wants to hear this.
    pub fn delivered(&mut self, id: &UserId, call: &Call, wants: Interest, own: Own) {
        self.set_interest(id, wants.max(call.stated), own);
        let Some(told) = call.tells else { return };
        // They are owed what came since, even if nobody knew yet that they are online.
        let concerned = if told < own.transition_seq { Interest::Availability } else { Interest::Pages };
        let hears = || !own.present || self.by_id.get(id).is_some_and(|contact| contact.interest >= concerned);
        let delivery = (told < own.seq && own.ever_seen && hears()).then_some(concerned);
        if delivery.is_some() || self.owed.contains_key(id) {
            self.owed.entry(id.clone()).or_default().delivery = delivery;
        }
    }

    /// The friend has said how they appear. Says whether that settles the query: not if they believe that the user wants to
    /// hear less than they do.
    pub fn query_answered(&mut self, id: &UserId, call: &Call, own: Own) -> bool {
        let settled = call.interest >= own.interest;
        if settled && let Some(owed) = self.owed.get_mut(id) {
            owed.query = false;
        }
        settled
    }

    /// A call has ended: see whether the friend is to be called once more.
    pub fn reconsider(&mut self, id: UserId) {
        match self.owed.get(&id) {
            None => {}
            Some(owed) if *owed == Owed::default() => drop(self.owed.remove(&id)),
            Some(_) => drop(self.due.insert(id)),
        }
    }

    /// A call did not reach its friend. Says whether there was one. `lost`: how many failures may have been forgotten.
    pub fn call_failed(&mut self, id: &UserId, lost: u32, own: Own, now: Timestamp) -> bool {
        if self.calls.remove(id).is_none() {
            return false;
        }
        let Some(owed) = self.owed.get_mut(id) else { return true };
        owed.query &= own.present;
        if owed.is_pending() {
            let times = owed.retry.map_or(lost, |retry| retry.times);
            let wait_ms = PEER_RETRY_MS_MIN.saturating_mul(1 << times.min(30)).min(PEER_RETRY_MS_MAX);
            owed.retry = Some(Retry { times: times.saturating_add(1), at: now.plus_ms(wait_ms) });
            self.changed = true;
        }
        true
    }
}

/// The message that came during the call and could not be trusted then.
impl Call {
    pub fn into_unverified(self) -> Option<PeerMessage> {
        self.unverified.map(|message| *message)
    }
}
