//! What the core says: who the friends are, the user's settings, and what happened to either.

use shared::{
    internal::{Change, CoreEvent, EventsTaken, Social},
    time::Timestamp,
    wire::ServerMessage,
};

use super::UserPresence;
use crate::{
    cached_social::CachedSocial,
    core_replica::Applied,
    event::{Effect, Save},
    limits::{SOCIAL_AGAIN_MS, SOCIAL_RETRY_MS},
    published::Urgency,
    stored::Saved,
};

impl UserPresence {
    pub(super) fn load_social(&mut self) {
        self.core.clear_load_at();
        // Even with a change missing, what is kept is known by its version.
        self.output.push(Effect::LoadSocial { known_version: self.core.known_version() });
    }

    /// The core did not answer. It is asked again if the user is present and what is kept is known to be old.
    pub(super) fn social_failed(&mut self, now: Timestamp) {
        if self.is_present() && self.core.missing_up_to().is_some() {
            self.core.load_later(now.plus_ms(SOCIAL_RETRY_MS));
        }
    }

    /// The core's answer.
    pub(super) fn social_loaded(&mut self, social: Social, now: Timestamp) {
        if self.core.accepts(social.version) {
            self.adopt(social, now);
        } else if self.core.missing_up_to().is_some() && self.is_present() {
            self.core.load_later(now.plus_ms(SOCIAL_AGAIN_MS));
        }
    }

    /// Takes over friends and settings. Friends and clients are told what changes by that.
    fn adopt(&mut self, social: Social, now: Timestamp) {
        let social = CachedSocial::of(social);
        if !self.sessions.is_empty() {
            for user in self.core.renamed_in(&social) {
                self.output.send(self.sessions.ids(), ServerMessage::FriendUpdated { user });
            }
        }
        let (new, gone) = self.contacts.add_new(social.friends());
        if self.core.replace(social) {
            // The roster in the sockets' attachments follows the old list.
            self.output.request_checkpoint();
            self.output.request_social_save();
        }
        for friend in gone {
            self.end_friendship(&friend);
        }
        if self.is_suspended() {
            return self.expel(now);
        }
        self.publish(Urgency::Immediate, now);
        if self.is_present() {
            self.contacts.query(new);
        }
    }

    /// Changes the core reports. They come at least once and in any order.
    pub(super) fn core_reported(&mut self, events: Vec<CoreEvent>, now: Timestamp) {
        let taken = events.iter().map(|event| event.id).collect();
        let new = self.core.take_new(events);
        let is_news = !new.is_empty();
        for event in new {
            self.change_reported(event.version, event.change, now);
        }
        // Stored after everything that the events change: if memory is lost before, they come again.
        if is_news && self.core.is_known() {
            self.output.push(Effect::Save(Save::EventIds(self.core.event_ids())));
        }
        self.output.push(Effect::AnswerCore(EventsTaken { taken }));
    }

    fn change_reported(&mut self, version: u64, change: Change, now: Timestamp) {
        if change == (Change::UserDeleted {}) {
            // A repeat that comes late is about an earlier account: one that was registered anew has newer versions.
            if self.core.version() <= Some(version) {
                self.account_deleted(now);
            }
            return;
        }
        let Some(known_version) = self.core.version() else {
            // Nothing is kept of this user yet. The first connection asks the core, and its answer must be at least this new.
            return self.core.fall_behind(version);
        };
        if let Change::FriendRemoved { user_id } = &change {
            if !self.contacts.contains(user_id) {
                // Memory may have been lost after the change was stored and before clients were told.
                self.end_friendship(user_id);
            } else if version <= known_version && self.is_present() {
                // The two are friends again by now. In between, this friend told the user nothing.
                self.contacts.query_again(user_id);
            }
        }
        match self.core.apply(version, &change) {
            Applied::Nothing => {}
            Applied::Unreadable => return self.load_social(),
            Applied::Social { social, complete } => {
                if !complete {
                    self.output.request_state_save();
                }
                self.adopt(social, now);
                if self.core.missing_up_to().is_some() {
                    self.load_social();
                }
            }
        }
        // Clients were told of a new name by `adopt`, unless memory was lost before that.
        let told = matches!(change, Change::UserUpdated { .. }) && version > known_version;
        if let Some(message) = self.message_of(version, change).filter(|_| !told) {
            self.output.send(self.sessions.ids(), message);
        }
    }

    /// The account was deleted: friends see the user leave, and nothing is kept. An account that is registered under the same id is
    /// another one.
    fn account_deleted(&mut self, now: Timestamp) {
        self.expel(now);
        self.make_calls(now);
        let nobody = Self::restore(self.me.clone(), self.config, Saved::default(), Vec::new(), now);
        let Self { output, mut waiters, .. } = std::mem::replace(self, nobody);
        // Requests that wait are answered. Nobody is a friend any more.
        waiters.stop_all_waiting();
        self.waiters = waiters;
        self.output.take_over(output);
        self.output.push(Effect::Forget);
    }

    /// What clients are told of a change. `None` if the change closes their sockets, or is known to have been undone since.
    fn message_of(&self, version: u64, change: Change) -> Option<ServerMessage> {
        let known = Some(version) <= self.core.version();
        let message = match change {
            Change::FriendRequested { user } => ServerMessage::FriendRequest { user },
            Change::FriendRequestRemoved { user_id } => ServerMessage::FriendRequestRemoved { user_id },
            Change::FriendAccepted { user } if known && !self.contacts.contains(&user.user_id) => return None,
            Change::FriendAccepted { user } => ServerMessage::FriendAccepted { user },
            Change::FriendRemoved { user_id } if known && self.contacts.contains(&user_id) => return None,
            Change::FriendRemoved { user_id } => ServerMessage::FriendRemoved { user_id },
            Change::SettingsUpdated { share } => {
                // The newest settings, even if the event comes late.
                let share = self.core.share().cloned().unwrap_or(share);
                ServerMessage::SettingsUpdated {
                    share_mode: share.mode,
                    domain_allow_array: share.allow.into_iter().collect(),
                    domain_deny_array: share.deny.into_iter().collect(),
                }
            }
            // The newest name, even if the event comes late.
            Change::UserUpdated { user } => ServerMessage::FriendUpdated { user: self.core.person(&user.user_id)? },
            Change::ShareReceived { notification } => ServerMessage::ShareNotification { notification },
            Change::ShareRead { event_ids } => ServerMessage::ShareNotificationRead { event_ids },
            Change::UserSuspended {} | Change::UserRestored {} | Change::UserDeleted {} => return None,
        };
        Some(message)
    }
}
