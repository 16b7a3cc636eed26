//! How memory is restored from storage and sockets, and what is written to both after an event.

use serde::Serialize;
use shared::{
    ids::{SocketId, UserId},
    internal::Interest,
    time::Timestamp,
};

use super::{Status, Times, UserPresence};
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
    stored::{Attachment, Checkpoint, Leaving, Roster, Saved, SavedState},
    waiters::SnapshotWaiters,
};

impl UserPresence {
    /// The user as they were when memory was lost: from storage and from the sockets that are still open. What has to be done about
    /// the loss is gathered, and comes out with the effects of the first event.
    pub fn restore(me: UserId, times: Times, saved: Saved, attachments: Vec<Attachment>, now: Timestamp) -> Self {
        let Saved { state, social, event_ids } = saved;
        let checkpoint =
            attachments.iter().map(|attachment| &attachment.checkpoint).max_by_key(|one| one.order).cloned();
        let full_at = checkpoint.as_ref().map_or(state.asks_full_at, |one| one.asks_full_at.max(state.asks_full_at));
        let friends = social.as_ref().map(CachedSocial::friends).unwrap_or_default();
        // Messages that were missed in sleep need no check: the object slept longer than any successful call takes.
        let contacts = Contacts::new(friends, RateLimiter::of_queries(full_at, now), now.plus_ms(-PEER_LATE_MS));
        let mut user = Self {
            me,
            times,
            status: Status::Absent,
            sessions: Sessions::restore(attachments, times.timeout_ms),
            published: Published::restore(state.invisible, state.seq, state.last_seen_at, now),
            contacts,
            core: CoreReplica::restore(social, state.behind, state.settings_version, event_ids),
            waiters: SnapshotWaiters::default(),
            farewells_until: None,
            output: Output::new(state.clone()),
        };
        match (checkpoint, state.leaving) {
            (Some(checkpoint), _) => user.restore_connected(checkpoint, now),
            (None, leaving) if state.online && (state.invisible || leaving.as_ref().is_some_and(Leaving::is_over)) => {
                user.restore_farewells(leaving, now);
            }
            (None, Some(leaving)) => user.restore_grace(leaving, now),
            (None, None) if state.online => user.restore_without_sockets(now),
            (None, None) => {}
        }
        // Memory was lost after the suspension was stored and before the sockets were closed.
        if user.is_suspended() {
            user.expel(now);
        }
        user
    }

    fn restore_connected(&mut self, checkpoint: Checkpoint, now: Timestamp) {
        self.status = Status::Connected;
        self.published.know_seq(checkpoint.seq);
        self.output.resume(checkpoint.order, checkpoint.active_at);
        self.sessions.select_front_page();
        // Storage and sockets may have been given different things when memory was lost in between.
        self.output.save_state();
        if self.core.behind().is_some() {
            self.load_social();
        }
        // What only a lost socket knew may have been told, and may have been who is online.
        let socket_lost = self.sessions.len() < checkpoint.sockets;
        // Storage knows that the user became invisible, and friends may have been told.
        let visible = checkpoint.visible && !(socket_lost && self.published.is_invisible());
        if visible {
            // What was shown follows from the page in front and the rules, neither of which has changed since, unless a change
            // was throttled or a socket was lost: then what is shown now is a new change.
            let page = self.visible_page();
            let latest = page.clone().or(checkpoint.latest.filter(|page| self.core.shows(page)));
            self.published.resume(Shown { at: checkpoint.at, page, latest, idle_since: self.idle_since() });
        }
        let roster = &checkpoint.roster;
        let follows_list = Some(roster.version) == self.core.version() && roster.digits.len() == self.contacts.len();
        if socket_lost || !follows_list {
            self.contacts.assume_all();
        } else {
            self.contacts.read_roster(roster, &checkpoint.failures, self.own());
        }
        // The runtime does not put an object to sleep while a call is in flight. So `untold` means that memory was lost, and that the calls
        // may never have been made.
        let untold = checkpoint.untold || socket_lost;
        if socket_lost {
            self.published.skip_seq(now);
            self.output.save_state();
        } else if untold {
            self.published.advance_seq(now);
        }
        if untold {
            self.published.renew(now);
            self.output.checkpoint();
            if visible {
                self.output.show(self.sessions.watching(), self.presence());
            }
        }
        if untold || now < checkpoint.active_at.plus_ms(LOST_MEMORY_MS) {
            // What was in flight then is not to be trusted, by whatever clock it was dated.
            self.contacts.recover(now.plus_ms(PEER_LATE_MS));
            self.contacts.announce(Interest::Availability, self.own());
            // Even friends who cannot be online are queried: clients are told of each who is not, so that nobody can tell an
            // invisible one among them.
            self.contacts.query(self.contacts.ids());
        }
        if visible == self.published.is_invisible() {
            self.publish(Urgency::Immediate, now);
        }
        for socket in self.sessions.not_ready().collect::<Vec<_>>() {
            self.send_snapshot(socket, now);
        }
    }

    /// The user left or became invisible, and not all friends have heard it.
    fn restore_farewells(&mut self, leaving: Option<Leaving>, now: Timestamp) {
        if !leaving.as_ref().is_some_and(Leaving::is_over) {
            self.skip_seq(now);
        }
        self.contacts.owe_farewell(leaving.map(|leaving| leaving.audience).as_ref());
    }

    fn restore_grace(&mut self, leaving: Leaving, now: Timestamp) {
        let Leaving { at: ends_at, since, front, latest, shown_at, idle_since, held, audience } = leaving;
        self.status = Status::Grace { ends_at, since, sockets_lost: false };
        // What friends said before memory was lost may come after what they have said since.
        self.contacts.distrust_before(now.plus_ms(PEER_LATE_MS));
        self.sessions.set_front(front);
        let page = self.visible_page();
        let latest = page.clone().or(latest.filter(|page| self.core.shows(page)));
        self.published.resume(Shown { at: shown_at, page, latest, idle_since });
        self.contacts.set_interests(audience);
        if held {
            self.published.advance_seq(now);
            self.published.renew(now);
            self.output.save_state();
            self.contacts.announce(Interest::Pages, self.own());
        }
        if ends_at <= now.plus_ms(PEER_LATE_MS) {
            // Friends may have been told that the user left, by a clock ahead of this one.
            self.skip_seq(now);
            self.go_offline(since, now);
        }
    }

    /// All sockets were lost together with memory. Friends may have heard of changes that nobody remembers, told by a clock ahead
    /// of this one.
    fn restore_without_sockets(&mut self, now: Timestamp) {
        self.skip_seq(now);
        self.contacts.distrust_before(now.plus_ms(PEER_LATE_MS));
        let ends_at = now.plus_ms(self.times.grace_ms.min(RESTART_GRACE_MS_MAX));
        self.status = Status::Grace { ends_at, since: now, sockets_lost: true };
        self.published.resume_unknown(now);
        self.contacts.assume_all_interested();
    }

    fn skip_seq(&mut self, now: Timestamp) {
        self.published.skip_seq(now);
        self.output.save_state();
    }

    /// Whether friends are owed something, or owe it. Those who were not reached do not count.
    fn has_untold(&self) -> bool {
        self.published.is_throttled() || self.contacts.has_unsettled()
    }

    /// Puts what must outlive memory first, so that nobody is told what could be forgotten.
    pub(super) fn finish(&mut self, now: Timestamp) -> Vec<Effect> {
        let settled = self.output.carries_untold() && !self.has_untold();
        if settled || self.output.is_activity_old(now) {
            self.output.checkpoint();
        }
        if self.output.take_checkpoint() {
            // Without sockets, storage keeps it.
            self.output.save_state();
            self.output.touch(self.sessions.newest());
        }
        let mut effects = Vec::new();
        effects.extend(self.save_of_state());
        let newly_ready = self.output.take_newly_ready();
        for socket in self.output.take_touched() {
            effects.extend(self.attachment(socket, !newly_ready.contains(&socket), now));
        }
        // After the change that was judged by them: with newer friends and settings it would be another one.
        if self.output.take_save_social() {
            effects.extend(self.core.cached().cloned().map(|social| Effect::Save(Save::Social(social))));
        }
        effects.append(&mut self.output.take_effects());
        // A snapshot that was sent and forgotten comes again. One that was not sent would be missing.
        for socket in newly_ready {
            effects.extend(self.attachment(socket, true, now));
        }
        effects
    }

    fn save_of_state(&mut self) -> Option<Effect> {
        let wanted = self.output.take_save_state();
        // All who were to hear that the user left or became invisible have heard it, or are no friends any more.
        let saved = self.output.saved();
        let all_know = saved.online && !self.published.is_visible() && !self.contacts.has_undelivered();
        if !wanted && !all_know {
            return None;
        }
        let state = self.state();
        // Open sockets carry `seq` and the rate limit of queries, so a difference in these alone needs no save. A skipped `seq` is the
        // exception: if all sockets were lost, the next `seq` would come from the clock and be lower.
        let seq = if self.published.has_skipped() { state.seq } else { saved.seq };
        let asks_full_at = if self.sessions.is_empty() { state.asks_full_at } else { saved.asks_full_at };
        if (SavedState { seq, asks_full_at, ..state.clone() }) == *saved {
            return None;
        }
        self.published.seq_stored();
        self.output.set_saved(state.clone());
        Some(Effect::Save(Save::State(state)))
    }

    /// What storage is to hold.
    fn state(&self) -> SavedState {
        let saved = self.output.saved();
        let (seq, asks_full_at) = (self.published.seq(), self.contacts.queries_full_at());
        let settings_version = self.core.settings_version();
        // What was missing is in another document, which may not be stored yet. Without one, nothing is missing in it.
        let behind = self.core.behind().or(saved.behind).filter(|_| self.core.is_known());
        let unheard = self.status == Status::Absent && self.contacts.has_undelivered();
        let leaving = match self.status {
            // Until a socket opens or the grace is over, what storage says is still so.
            Status::Grace { sockets_lost: true, .. } => {
                return SavedState { seq, behind, settings_version, asks_full_at, ..saved.clone() };
            }
            // Until all have heard it, memory may be lost and the rest be forgotten.
            Status::Absent if unheard && saved.leaving.is_some() && !self.published.has_skipped() => {
                return SavedState { seq, behind, settings_version, asks_full_at, ..saved.clone() };
            }
            Status::Grace { ends_at, since, sockets_lost: false } => {
                let Shown { at: shown_at, latest, idle_since, .. } = self.published.shown().clone();
                Some(Leaving {
                    at: ends_at,
                    since,
                    front: self.sessions.front().cloned(),
                    latest,
                    shown_at,
                    idle_since,
                    held: self.published.is_throttled() || self.contacts.has_undelivered(),
                    audience: self.contacts.interests(),
                })
            }
            Status::Absent if unheard => self.published.last_seen_at().map(|since| Leaving {
                at: Timestamp::from_unix_ms(0),
                since,
                front: None,
                latest: None,
                shown_at: since,
                idle_since: None,
                held: false,
                audience: self.contacts.undelivered(),
            }),
            Status::Absent | Status::Connected => None,
        };
        SavedState {
            online: self.published.is_visible() || leaving.is_some() || self.contacts.has_undelivered(),
            invisible: self.published.is_invisible(),
            seq,
            last_seen_at: self.published.last_seen_at(),
            behind,
            settings_version,
            asks_full_at,
            leaving,
        }
    }

    /// What a socket is to carry. `snapshot_sent`: or else its snapshot is among the effects that follow.
    fn attachment(&mut self, socket: SocketId, snapshot_sent: bool, now: Timestamp) -> Option<Effect> {
        if !self.sessions.contains(socket) {
            return None;
        }
        let untold = self.has_untold();
        let order = self.output.next_checkpoint(untold, now);
        let Shown { at, latest, .. } = self.published.shown().clone();
        let pages = json_bytes(self.sessions.reported_page(socket)).saturating_add(json_bytes(latest.as_ref()));
        let bytes_max = ATTACHMENT_BYTES_MAX.saturating_sub(pages.saturating_add(ATTACHMENT_REST_BYTES));
        let checkpoint = Checkpoint {
            order,
            active_at: now,
            seq: self.published.seq(),
            at,
            latest,
            sockets: self.sessions.len(),
            asks_full_at: self.contacts.queries_full_at(),
            visible: self.published.is_visible(),
            untold,
            failures: self.contacts.retries().take(RETRIES_LEN_MAX).collect(),
            roster: self.roster(bytes_max),
        };
        let attachment = self.sessions.attachment(socket, snapshot_sent, checkpoint)?;
        Some(Effect::Attach { socket, attachment })
    }

    /// What is known of friends, in about so many bytes. Nothing of more than [`ROSTER_LEN_MAX`] of them.
    fn roster(&self, bytes_max: usize) -> Roster {
        let version = self.core.version().unwrap_or_default();
        if self.contacts.len() > ROSTER_LEN_MAX {
            return Roster { version, digits: String::new(), absent: String::new() };
        }
        self.contacts.roster(version, bytes_max, ABSENT_LEN_MAX)
    }
}

/// How much room something takes in an attachment.
fn json_bytes<T: Serialize>(value: Option<&T>) -> usize {
    // Nothing in a page could fail to be written.
    value.map_or(0, |value| serde_json::to_vec(value).map_or(0, |json| json.len()))
}
