//! What the core says: who the friends are, the user's settings, and what happened to either.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    api::UserInfo,
    ids::UserId,
    internal::{Change, CoreEvent, EventsTaken, Social},
    limits::{EVENT_IDS_REMEMBERED, SOCIAL_AGAIN_MS, SOCIAL_RETRY_MS},
    time::Timestamp,
    wire::{CloseCode, ServerMessage},
};

use crate::{
    event::{Effect, Save},
    kept::Kept,
    saved::Saved,
    user::{Haste, UserPresence},
};

impl UserPresence {
    pub(crate) fn load_social(&mut self) {
        self.load_at = None;
        // A gap means that what is kept is old, whatever version it says.
        let known_version = self.known_version();
        self.effects.push(Effect::LoadSocial { known_version });
    }

    /// The core was away: while somebody watches and the list is known to be old, ask again.
    pub(crate) fn social_failed(&mut self, now: Timestamp) {
        if self.is_here() && self.behind.is_some() {
            self.load_at = Some(now.plus_ms(SOCIAL_RETRY_MS));
        }
    }

    /// The core's answer. One that was overtaken by an event is dropped, and another asked for: it might bring back a
    /// friend, or show a domain, that the event took away.
    pub(crate) fn social_loaded(&mut self, social: Social, now: Timestamp) {
        if Some(social.version) < self.social_version().max(self.behind) {
            if self.behind.is_some() && self.is_here() {
                self.load_at = Some(now.plus_ms(SOCIAL_AGAIN_MS));
            }
            return;
        }
        if self.behind.is_some_and(|version| version <= social.version) {
            self.behind = None;
        }
        self.adopt(social, now);
    }

    /// Takes over friends and settings, and lets everybody concerned see the difference.
    fn adopt(&mut self, social: Social, now: Timestamp) {
        let social = Kept::of(social);
        if self.social.as_ref() != Some(&social) {
            // What sockets carry about friends goes by the list of one version.
            self.note = true;
            self.save_social = true;
        }
        let friends = social.friends.iter().cloned().collect();
        self.show_names(&social);
        let before = std::mem::replace(&mut self.friends, friends);
        self.social = Some(social);
        for lost in before.difference(&self.friends.clone()) {
            self.forget(lost);
        }
        if self.is_suspended() {
            return self.expel(now);
        }
        self.settle(Haste::Urgent, now);
        if self.is_here() {
            self.ask(&self.friends.difference(&before).cloned().collect());
        }
    }

    /// Tells clients of everybody who has another name or picture in what is to be kept.
    fn show_names(&mut self, new: &Kept) {
        if self.sockets.is_empty() || self.social.as_ref().is_some_and(|old| old.has_names_of(new)) {
            return;
        }
        let people = |kept: &Kept| kept.read().map(|social| social.friends.into_iter().chain([social.user]));
        let Some(old) = self.social.as_ref().and_then(people) else { return };
        let old: BTreeMap<UserId, UserInfo> = old.map(|user| (user.user_id.clone(), user)).collect();
        let differs = |user: &UserInfo| old.get(&user.user_id).is_some_and(|old| old != user);
        for user in people(new).into_iter().flatten().filter(differs) {
            self.send(self.sockets.keys().copied().collect(), ServerMessage::FriendUpdated { user });
        }
    }

    /// Changes the core reports. They come at least once and in any order.
    pub(crate) fn core_reported(&mut self, mut events: Vec<CoreEvent>, now: Timestamp) {
        let taken = events.iter().map(|event| event.id).collect();
        events.retain(|event| !self.event_ids.contains(&event.id));
        // What an account knew of is nothing to the next one under its id.
        events.sort_by_key(|event| (event.change == Change::UserDeleted {}, event.version));
        let new = !events.is_empty();
        if new {
            self.event_ids.extend(events.iter().map(|event| event.id));
            let old = self.event_ids.len().saturating_sub(EVENT_IDS_REMEMBERED);
            self.event_ids.drain(..old);
        }
        for event in events {
            self.change_reported(event.version, event.change, now);
        }
        // After all that comes of them: one that was taken in and not shown is to come again.
        if new && self.social.is_some() {
            self.effects.push(Effect::Save(Save::EventIds(self.event_ids.iter().copied().collect())));
        }
        self.effects.push(Effect::AnswerCore(EventsTaken { taken }));
    }

    fn change_reported(&mut self, version: u64, change: Change, now: Timestamp) {
        if change == (Change::UserDeleted {}) {
            // A repeat is not for the account that was registered anew, whose versions are newer.
            if self.social_version() <= Some(version) {
                self.account_deleted(now);
            }
            return;
        }
        let Some(known_version) = self.social_version() else {
            // Nothing is kept of this user yet: the first connection asks the core for all of it. It may be asking now.
            self.behind = self.behind.max(Some(version));
            return;
        };
        if let Change::FriendRemoved { user_id } = &change {
            if !self.friends.contains(user_id) {
                // An object may be lost after it kept a change and before it showed it.
                self.forget(user_id);
            } else if version <= known_version && self.is_here() {
                // They are friends again by now. In between, this user was told of nothing.
                self.ask(&BTreeSet::from([user_id.clone()]));
                self.note = true;
            }
        }
        if version > known_version {
            let Some(mut social) = self.social.as_ref().and_then(Kept::read) else {
                // The core knows what cannot be read.
                self.behind = self.behind.max(Some(version));
                return self.load_social();
            };
            let next = version == social.version.saturating_add(1) && self.behind.is_none_or(|v| v <= version);
            match &change {
                Change::FriendAccepted { user } if next => {
                    social.friends.retain(|friend| friend.user_id != user.user_id);
                    social.friends.push(user.clone().into());
                }
                // With a change missing in between, this friendship may have ended again already.
                Change::FriendAccepted { .. } => {}
                // To take away is right even too early.
                Change::FriendRemoved { user_id } => social.friends.retain(|friend| friend.user_id != *user_id),
                Change::SettingsUpdated { share } if self.settings_version <= version => {
                    social.share = share.clone();
                    if !next {
                        self.settings_version = version;
                    }
                }
                Change::SettingsUpdated { .. } => {}
                Change::UserUpdated { user } if next => {
                    let known = social.friends.iter_mut().chain(std::iter::once(&mut social.user));
                    known.filter(|known| known.user_id == user.user_id).for_each(|known| known.clone_from(user));
                }
                // Should a change be missing in between, the answer that is asked for tells whether it was taken back since.
                Change::UserSuspended {} => social.suspended = true,
                Change::UserRestored {} if next => social.suspended = false,
                Change::UserRestored {} => {}
                // The answer that is asked for holds the newest of them.
                Change::UserUpdated { .. } => {}
                // Clients alone keep these; the last is dealt with above.
                Change::FriendRequested { .. }
                | Change::FriendRequestRemoved { .. }
                | Change::ShareReceived { .. }
                | Change::ShareRead { .. }
                | Change::UserDeleted {} => {}
            }
            if next {
                social.version = version;
                self.behind = None;
            } else {
                self.behind = self.behind.max(Some(version));
                self.save_state = true;
            }
            self.adopt(social, now);
            if self.behind.is_some() {
                self.load_social();
            }
        }
        // Of a new name, clients were told when it was taken in, unless memory was lost before that.
        let told = matches!(change, Change::UserUpdated { .. }) && version > known_version;
        if let Some(message) = self.message_of(version, change).filter(|_| !told) {
            self.send(self.sockets.keys().copied().collect(), message);
        }
    }

    /// The user is no more: friends see them leave, and nothing of them stays. Who comes back under the same id
    /// is somebody new.
    fn account_deleted(&mut self, now: Timestamp) {
        self.expel(now);
        self.make_calls(now);
        let effects = std::mem::take(&mut self.effects);
        let mut readers = std::mem::take(&mut self.readers);
        // Whom they ask for is nobody to them now.
        readers.iter_mut().for_each(|reader| reader.waits_for.clear());
        *self = Self::restore(self.me.clone(), self.times, Saved::default(), Vec::new(), now);
        self.effects = effects;
        self.readers = readers;
        self.effects.push(Effect::Forget);
    }

    /// Closes all sockets: the user is let in no more. Friends see them leave.
    pub(crate) fn expel(&mut self, now: Timestamp) {
        for socket in std::mem::take(&mut self.sockets).into_keys() {
            self.effects.push(Effect::Close { socket, code: CloseCode::AccountGone });
        }
        if self.is_here() {
            self.go_offline(now, now);
        }
    }

    /// What the sockets are told of a change; nothing when they are closed with it, or when it is known to have been
    /// undone since.
    fn message_of(&self, version: u64, change: Change) -> Option<ServerMessage> {
        let known = Some(version) <= self.social_version();
        let message = match change {
            Change::FriendRequested { user } => ServerMessage::FriendRequest { user },
            Change::FriendRequestRemoved { user_id } => ServerMessage::FriendRequestRemoved { user_id },
            Change::FriendAccepted { user } if known && !self.friends.contains(&user.user_id) => return None,
            Change::FriendAccepted { user } => ServerMessage::FriendAccepted { user },
            Change::FriendRemoved { user_id } if known && self.friends.contains(&user_id) => return None,
            Change::FriendRemoved { user_id } => ServerMessage::FriendRemoved { user_id },
            Change::SettingsUpdated { share } => {
                // However late it comes, those of now.
                let share = self.social.as_ref().map_or(share, |social| social.head.share.clone());
                ServerMessage::SettingsUpdated {
                    share_mode: share.mode,
                    domain_allow_array: share.allow.into_iter().collect(),
                    domain_deny_array: share.deny.into_iter().collect(),
                }
            }
            Change::UserUpdated { user } => {
                // However late it comes, that of now.
                let people = self.social.as_ref().and_then(Kept::read)?;
                let known = people.friends.into_iter().chain([people.user]).find(|known| known.user_id == user.user_id);
                ServerMessage::FriendUpdated { user: known? }
            }
            Change::ShareReceived { notification } => ServerMessage::ShareNotification { notification },
            Change::ShareRead { event_ids } => ServerMessage::ShareNotificationRead { event_ids },
            Change::UserSuspended {} | Change::UserRestored {} | Change::UserDeleted {} => return None,
        };
        Some(message)
    }
}
