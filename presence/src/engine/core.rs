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
        self.core.stop_loading();
        // Even with a change missing, what is kept is known by its version.
        self.output.push(Effect::LoadSocial { known_version: self.core.known_version() });
    }

    /// The core was away. While the user is present and the list is known to be old, it is asked again.
    pub(super) fn social_failed(&mut self, now: Timestamp) {
        if self.is_present() && self.core.behind().is_some() {
            self.core.load_later(now.plus_ms(SOCIAL_RETRY_MS));
        }
    }

    /// The core's answer.
    pub(super) fn social_loaded(&mut self, social: Social, now: Timestamp) {
        if self.core.accepts(social.version) {
            self.adopt(social, now);
        } else if self.core.behind().is_some() && self.is_present() {
            self.core.load_later(now.plus_ms(SOCIAL_AGAIN_MS));
        }
    }

    /// Takes over friends and settings, and lets everybody concerned see the difference.
    fn adopt(&mut self, social: Social, now: Timestamp) {
        let social = CachedSocial::of(social);
        if !self.sessions.is_empty() {
            for user in self.core.renamed_in(&social) {
                self.output.send(self.sessions.ids(), ServerMessage::FriendUpdated { user });
            }
        }
        let (new, gone) = self.contacts.replace(social.friends());
        if self.core.replace(social) {
            // What sockets carry about friends follows the list of one version.
            self.output.checkpoint();
            self.output.save_social();
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
        // After all that comes of them: an event that was stored and not shown must come again.
        if is_news && self.core.is_known() {
            self.output.push(Effect::Save(Save::EventIds(self.core.event_ids())));
        }
        self.output.push(Effect::AnswerCore(EventsTaken { taken }));
    }

    fn change_reported(&mut self, version: u64, change: Change, now: Timestamp) {
        if change == (Change::UserDeleted {}) {
            // A repeat is not for the account that was registered anew, whose versions are newer.
            if self.core.version() <= Some(version) {
                self.account_deleted(now);
            }
            return;
        }
        let Some(known_version) = self.core.version() else {
            // Nothing is kept of this user yet. The first connection asks the core for all of it, perhaps at this moment.
            return self.core.fall_behind(version);
        };
        if let Change::FriendRemoved { user_id } = &change {
            if !self.contacts.contains(user_id) {
                // An object may be lost after it stored a change and before it showed it.
                self.end_friendship(user_id);
            } else if version <= known_version && self.is_present() {
                // They are friends again by now. In between, the user was told of nothing.
                self.contacts.query_again(user_id);
            }
        }
        match self.core.apply(version, &change) {
            Applied::Nothing => {}
            Applied::Unreadable => return self.load_social(),
            Applied::Social { social, complete } => {
                if !complete {
                    self.output.save_state();
                }
                self.adopt(social, now);
                if self.core.behind().is_some() {
                    self.load_social();
                }
            }
        }
        // Clients were told of a new name when it was taken in, unless memory was lost before that.
        let told = matches!(change, Change::UserUpdated { .. }) && version > known_version;
        if let Some(message) = self.message_of(version, change).filter(|_| !told) {
            self.output.send(self.sessions.ids(), message);
        }
    }

    /// The user is no more: friends see them leave, and nothing of them stays. Who registers under the same id is somebody
    /// new.
    fn account_deleted(&mut self, now: Timestamp) {
        self.expel(now);
        self.make_calls(now);
        let nobody = Self::restore(self.me.clone(), self.times, Saved::default(), Vec::new(), now);
        let Self { output, mut waiters, .. } = std::mem::replace(self, nobody);
        // Whom they wait for is nobody to them now.
        waiters.stop_waiting();
        self.waiters = waiters;
        self.output.take_over(output);
        self.output.push(Effect::Forget);
    }

    /// What the sockets are told of a change. Nothing when they are closed with it, or when it is known to have been undone
    /// since.
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
                // However late it comes, the settings of now.
                let share = self.core.share().cloned().unwrap_or(share);
                ServerMessage::SettingsUpdated {
                    share_mode: share.mode,
                    domain_allow_array: share.allow.into_iter().collect(),
                    domain_deny_array: share.deny.into_iter().collect(),
                }
            }
            // However late it comes, the name of now.
            Change::UserUpdated { user } => ServerMessage::FriendUpdated { user: self.core.person(&user.user_id)? },
            Change::ShareReceived { notification } => ServerMessage::ShareNotification { notification },
            Change::ShareRead { event_ids } => ServerMessage::ShareNotificationRead { event_ids },
            Change::UserSuspended {} | Change::UserRestored {} | Change::UserDeleted {} => return None,
        };
        Some(message)
    }
}
