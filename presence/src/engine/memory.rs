//! How memory is restored from storage and sockets, and what is written to both after an event.

use serde::Serialize;
use shared::{
    ids::{SocketId, UserId},
    internal::Interest,
    time::Timestamp,
};

use super::{EngineConfig, Status, UserPresence};
use crate::{
    cached_social::CachedSocial,
    contacts::Contacts,
    core_replica::CoreReplica,
    event::{Effect, Save},
    limits::{
        ABSENT_LEN_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENT_REST_BYTES, LOST_MEMORY_MS, PEER_LATE_MS,
        RESTART_GRACE_MS_MAX, RETRIES_LEN_MAX, ROSTER_LEN_MAX,
    },
    output::Output,
    published::{Published, Shown, Urgency},
    rate::RateLimiter,
    sessions::Sessions,
    stored::{Attachment, Checkpoint, Departure, Roster, Saved, SavedState},
    waiters::SnapshotWaiters,
};

/// What an object with open sockets has lost since its newest checkpoint. Each is worse than the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    /// It slept, which takes nothing that counts.
    Nothing,
    /// Memory was lost within seconds of an event: friends' messages may have been taken in and forgotten.
    OfMessages,
    /// Memory was lost while something was unsettled: calls may never have been made.
    OfCalls,
    /// A socket was lost too. It may have carried a newer checkpoint.
    OfSocket,
}

impl UserPresence {
    /// The user as they were when memory was lost, from storage and from the sockets that are still open. Effects that this causes
    /// are returned by the first call of [`Self::handle`].
    pub fn restore(
        me: UserId,
        config: EngineConfig,
        saved: Saved,
        attachments: Vec<Attachment>,
        now: Timestamp,
    ) -> Self {
        let Saved { state, social, event_ids } = saved;
        let checkpoint =
            attachments.iter().map(|attachment| &attachment.checkpoint).max_by_key(|one| one.number).cloned();
        let full_at =
            checkpoint.as_ref().map_or(state.queries_full_at, |one| one.queries_full_at.max(state.queries_full_at));
        let friends = social.as_ref().map(CachedSocial::friends).unwrap_or_default();
        // A message that reaches a sleeping object wakes it. So one that was sent well before now is late, and not trusted.
        let contacts = Contacts::new(friends, RateLimiter::of_queries(full_at, now), now.plus_ms(-PEER_LATE_MS));
        let mut user = Self {
            me,
            config,
            status: Status::Absent,
            sessions: Sessions::restore(attachments, config.timeout_ms),
            published: Published::restore(state.invisible, state.seq, state.last_seen_at, now),
            contacts,
            core: CoreReplica::restore(social, state.missing_up_to, state.settings_version, event_ids),
            waiters: SnapshotWaiters::default(),
            check_farewells_at: None,
            output: Output::new(state.clone()),
        };
        match (checkpoint, state.departure) {
            (Some(checkpoint), _) => user.restore_connected(checkpoint, now),
            (None, departure)
                if state.may_be_seen_online
                    && (state.invisible || departure.as_ref().is_some_and(Departure::is_over)) =>
            {
                user.restore_farewells(departure, now);
            }
            (None, Some(departure)) => user.restore_grace(departure, now),
            (None, None) if state.may_be_seen_online => user.restore_without_sockets(now),
            (None, None) => {}
        }
        // Memory was lost after the suspension was stored and before the sockets were closed.
        if user.is_suspended() {
            user.expel(now);
        }
        user
    }

    /// Sockets are open: the object slept, or lost its memory.
    fn restore_connected(&mut self, checkpoint: Checkpoint, now: Timestamp) {
        let loss = self.loss(&checkpoint, now);
        self.status = Status::Connected;
        self.published.raise_seq_to(checkpoint.seq);
        self.output.resume(checkpoint.number, checkpoint.active_at);
        self.sessions.select_front_page();
        // Memory may have been lost after sockets were given a checkpoint and before storage was given the state.
        self.output.request_state_save();
        if self.core.missing_up_to().is_some() {
            self.load_social();
        }
        // The newest checkpoint may have said that the user became invisible, as storage does.
        let visible = checkpoint.visible && !(loss == Loss::OfSocket && self.published.is_invisible());
        if visible {
            // Friends see what follows from the page in front and the rules, neither of which has changed since. If that is not what they
            // see, something was unsettled, and it is announced as a new change below.
            let page = self.visible_page();
            let latest = page.clone().or(checkpoint.latest.clone().filter(|page| self.core.shows(page)));
            self.published.resume(Shown { at: checkpoint.at, page, latest, idle_since: self.idle_since() });
        }
        self.restore_roster(&checkpoint, loss);
        self.make_up_for(loss, visible, now);
        // Storage says one thing about the user's wish to be invisible, and the checkpoint another about what friends see.
        if visible == self.published.is_invisible() {
            self.publish(Urgency::Immediate, now);
        }
        for socket in self.sessions.not_ready().collect::<Vec<_>>() {
            self.send_snapshot(socket, now);
        }
    }

    /// What was lost, as far as sockets tell.
    fn loss(&self, checkpoint: &Checkpoint, now: Timestamp) -> Loss {
        if self.sessions.len() < checkpoint.sockets {
            Loss::OfSocket
        } else if checkpoint.unsettled {
            // The runtime does not put an object to sleep while a call is in flight.
            Loss::OfCalls
        } else if now < checkpoint.active_at.plus_ms(LOST_MEMORY_MS) {
            Loss::OfMessages
        } else {
            Loss::Nothing
        }
    }

    /// Who of the friends is online, and what they want to hear.
    fn restore_roster(&mut self, checkpoint: &Checkpoint, loss: Loss) {
        let roster = &checkpoint.roster;
        let follows_list = Some(roster.version) == self.core.version() && roster.entries.len() == self.contacts.len();
        if loss == Loss::OfSocket || !follows_list {
            self.contacts.assume_all();
        } else {
            self.contacts.read_roster(roster, &checkpoint.retries, self.own());
        }
    }

    /// Tells clients and friends anew what they may not have been told, and queries friends whose messages may have been forgotten.
    fn make_up_for(&mut self, loss: Loss, visible: bool, now: Timestamp) {
        match loss {
            Loss::Nothing | Loss::OfMessages => {}
            Loss::OfCalls => self.published.advance_seq(now),
            // The lost socket may have carried a higher `seq`, which friends know.
            Loss::OfSocket => self.skip_seq(now),
        }
        if loss >= Loss::OfCalls {
            self.published.date_anew(now);
            self.output.request_checkpoint();
            if visible {
                self.output.show(self.sessions.watching(), self.presence());
            }
        }
        if loss >= Loss::OfMessages {
            // A message that was in flight then is not trusted. Its sender's clock may be ahead.
            self.contacts.recover(now.plus_ms(PEER_LATE_MS));
            // To all who are online, since they may have been told that the user came or left.
            self.contacts.announce(Interest::Availability, self.own());
            // All friends are queried, those too who cannot be online. Clients are told of each friend who is not: otherwise an
            // invisible one among them would stand out.
            self.contacts.query(self.contacts.ids());
        }
    }

    /// The user left or became invisible, and not all friends have heard it.
    fn restore_farewells(&mut self, departure: Option<Departure>, now: Timestamp) {
        if !departure.as_ref().is_some_and(Departure::is_over) {
            self.skip_seq(now);
        }
        self.contacts.owe_farewell(departure.map(|departure| departure.subscribers).as_ref());
    }

    /// The grace goes on, or ends now.
    fn restore_grace(&mut self, departure: Departure, now: Timestamp) {
        let Departure { ends_at, since, front, latest, shown_at, idle_since, change_pending, subscribers } = departure;
        self.status = Status::Grace { ends_at, since, page_unknown: false };
        // Friends' messages may come now that were sent before memory was lost. Newer ones may have been forgotten.
        self.contacts.distrust_before(now.plus_ms(PEER_LATE_MS));
        self.sessions.set_front(front);
        let page = self.visible_page();
        let latest = page.clone().or(latest.filter(|page| self.core.shows(page)));
        self.published.resume(Shown { at: shown_at, page, latest, idle_since });
        self.contacts.set_interests(subscribers);
        if change_pending {
            self.published.advance_seq(now);
            self.published.date_anew(now);
            self.output.request_state_save();
            self.contacts.announce(Interest::Pages, self.own());
        }
        if ends_at <= now.plus_ms(PEER_LATE_MS) {
            // Friends may have been told already that the user left, by a clock ahead of this one.
            self.skip_seq(now);
            self.go_offline(since, now);
        }
    }

    /// All sockets were lost together with memory. Friends may have been told of changes that were forgotten, by a clock ahead of
    /// this one.
    fn restore_without_sockets(&mut self, now: Timestamp) {
        self.skip_seq(now);
        self.contacts.distrust_before(now.plus_ms(PEER_LATE_MS));
        let ends_at = now.plus_ms(self.config.grace_ms.min(RESTART_GRACE_MS_MAX));
        self.status = Status::Grace { ends_at, since: now, page_unknown: true };
        self.published.resume_unknown(now);
        self.contacts.assume_all_interested();
    }

    fn skip_seq(&mut self, now: Timestamp) {
        self.published.skip_seq(now);
        self.output.request_state_save();
    }

    /// Whether a change is throttled, or a delivery or query is outstanding. Friends who were not reached do not count.
    fn has_unsettled(&self) -> bool {
        self.published.is_throttled() || self.contacts.has_unsettled()
    }

    /// The effects of the event. What must outlive memory comes first, so that nobody is told of what could be forgotten.
    pub(super) fn finish(&mut self, now: Timestamp) -> Vec<Effect> {
        let settled = self.output.carries_unsettled() && !self.has_unsettled();
        if settled || self.output.is_activity_old(now) {
            self.output.request_checkpoint();
        }
        if self.output.take_checkpoint() {
            // Without sockets, storage keeps it.
            self.output.request_state_save();
            self.output.request_attachments(self.sessions.last_to_report());
        }
        let mut effects = Vec::new();
        effects.extend(self.save_of_state());
        let newly_ready = self.output.take_newly_ready();
        for socket in self.output.take_sockets_to_write() {
            effects.extend(self.attachment(socket, !newly_ready.contains(&socket), now));
        }
        // Friends and settings come after the state. The other way round, a loss of memory in between would take what the newer settings
        // show for what friends already see.
        if self.output.take_save_social() {
            effects.extend(self.core.cached().cloned().map(|social| Effect::Save(Save::Social(social))));
        }
        effects.append(&mut self.output.take_effects());
        // Last, that a socket has its snapshot: if memory is lost before, the snapshot is sent again.
        for socket in newly_ready {
            effects.extend(self.attachment(socket, true, now));
        }
        effects
    }

    fn save_of_state(&mut self) -> Option<Effect> {
        let wanted = self.output.take_save_state();
        // Every friend has been told that the user left or became invisible. Storage need not remember it any more.
        let saved = self.output.saved();
        let all_know = saved.may_be_seen_online && !self.published.is_visible() && !self.contacts.has_undelivered();
        if !wanted && !all_know {
            return None;
        }
        let state = self.state();
        // Open sockets carry `seq` and the rate limit of queries too, so a difference in these alone is not saved. A skipped `seq` is:
        // if all sockets were lost, the next `seq` would come from the clock and be lower.
        let seq = if self.published.has_skipped() { state.seq } else { saved.seq };
        let queries_full_at = if self.sessions.is_empty() { state.queries_full_at } else { saved.queries_full_at };
        if (SavedState { seq, queries_full_at, ..state.clone() }) == *saved {
            return None;
        }
        self.published.seq_stored();
        self.output.set_saved(state.clone());
        Some(Effect::Save(Save::State(state)))
    }

    /// What storage is to hold.
    fn state(&self) -> SavedState {
        let saved = self.output.saved();
        let (seq, queries_full_at) = (self.published.seq(), self.contacts.queries_full_at());
        let settings_version = self.core.settings_version();
        // Friends and settings are another document, which is written after this one. Until then this one says that a version is missing,
        // and after it `restore` ignores that. Of a user without that document nothing is missing.
        let missing_up_to = self.core.missing_up_to().or(saved.missing_up_to).filter(|_| self.core.is_known());
        let farewells = self.status == Status::Absent && self.contacts.has_undelivered();
        let departure = match self.status {
            // Storage knows more than memory until a socket opens or the grace is over.
            Status::Grace { page_unknown: true, .. } => {
                return SavedState { seq, missing_up_to, settings_version, queries_full_at, ..saved.clone() };
            }
            // The departure is stored already, with friends who have been told since. To tell them twice costs less than a save each.
            Status::Absent if farewells && saved.departure.is_some() && !self.published.has_skipped() => {
                return SavedState { seq, missing_up_to, settings_version, queries_full_at, ..saved.clone() };
            }
            Status::Grace { ends_at, since, page_unknown: false } => {
                let Shown { at: shown_at, latest, idle_since, .. } = self.published.shown().clone();
                Some(Departure {
                    ends_at,
                    since,
                    front: self.sessions.front().cloned(),
                    latest,
                    shown_at,
                    idle_since,
                    change_pending: self.published.is_throttled() || self.contacts.has_undelivered(),
                    subscribers: self.contacts.interests(),
                })
            }
            Status::Absent if farewells => {
                self.published.last_seen_at().map(|since| Departure::over(since, self.contacts.undelivered()))
            }
            Status::Absent | Status::Connected => None,
        };
        SavedState {
            may_be_seen_online: self.published.is_visible() || departure.is_some() || self.contacts.has_undelivered(),
            invisible: self.published.is_invisible(),
            seq,
            last_seen_at: self.published.last_seen_at(),
            missing_up_to,
            settings_version,
            queries_full_at,
            departure,
        }
    }

    /// What a socket is to carry. `snapshot_sent`: false if its snapshot is among the effects that follow.
    fn attachment(&mut self, socket: SocketId, snapshot_sent: bool, now: Timestamp) -> Option<Effect> {
        if !self.sessions.contains(socket) {
            return None;
        }
        let unsettled = self.has_unsettled();
        let number = self.output.next_checkpoint(unsettled, now);
        let Shown { at, latest, .. } = self.published.shown().clone();
        let pages = json_bytes(self.sessions.reported_page(socket)).saturating_add(json_bytes(latest.as_ref()));
        let bytes_max = ATTACHMENT_BYTES_MAX.saturating_sub(pages.saturating_add(ATTACHMENT_REST_BYTES));
        let checkpoint = Checkpoint {
            number,
            active_at: now,
            seq: self.published.seq(),
            at,
            latest,
            sockets: self.sessions.len(),
            queries_full_at: self.contacts.queries_full_at(),
            visible: self.published.is_visible(),
            unsettled,
            retries: self.contacts.retries().take(RETRIES_LEN_MAX).collect(),
            roster: self.roster(bytes_max),
        };
        let attachment = self.sessions.attachment(socket, snapshot_sent, checkpoint)?;
        Some(Effect::Attach { socket, attachment })
    }

    /// What is known of friends, in about `bytes_max` bytes. Empty if there are more friends than [`ROSTER_LEN_MAX`].
    fn roster(&self, bytes_max: usize) -> Roster {
        let version = self.core.version().unwrap_or_default();
        if self.contacts.len() > ROSTER_LEN_MAX {
            return Roster { version, entries: String::new(), last_seen: String::new() };
        }
        self.contacts.roster(version, bytes_max, ABSENT_LEN_MAX)
    }
}

/// How much room something takes in an attachment.
fn json_bytes<T: Serialize>(value: Option<&T>) -> usize {
    // Nothing in a page could fail to be written.
    value.map_or(0, |value| serde_json::to_vec(value).map_or(0, |json| json.len()))
}
