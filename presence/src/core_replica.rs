//! What the core has said: friends and settings, in which version, and which events were seen.

use std::{
    collections::{BTreeMap, VecDeque},
    iter,
};

use shared::{
    api::UserInfo,
    ids::{EventId, UserId},
    internal::{Change, CoreEvent, Social},
    page::Page,
    share_policy::SharePolicy,
    time::Timestamp,
};

use crate::{cached_social::CachedSocial, limits::EVENT_IDS_REMEMBERED};

/// The object's copy of what the core knows.
#[derive(Debug)]
pub(crate) struct CoreReplica {
    /// Friends and settings as the core last told them. `None`: it was never asked.
    social: Option<CachedSocial>,
    /// The highest version heard of while an earlier one is missing. The core has to be asked.
    missing_up_to: Option<u64>,
    /// The version of the newest settings that were applied while an earlier version was missing. 0: none were.
    settings_version: u64,
    /// When to ask the core again: after it was away or knew less than its events, and soon after a socket opened.
    load_at: Option<Timestamp>,
    event_ids: VecDeque<EventId>,
}

/// What a change comes to.
#[derive(Debug)]
pub(crate) enum Applied {
    /// What is kept is as new, or nothing is kept.
    Nothing,
    /// Friends and settings are these now. `complete`: nothing before the change is missing.
    Social { social: Social, complete: bool },
    /// Another version of this program wrote what is kept. The core has to be asked.
    Unreadable,
}

impl CoreReplica {
    pub fn restore(
        social: Option<CachedSocial>,
        missing_up_to: Option<u64>,
        settings_version: u64,
        event_ids: Vec<EventId>,
    ) -> Self {
        let missing_up_to = missing_up_to
            .filter(|missing_up_to| social.as_ref().is_some_and(|social| social.head().version < *missing_up_to));
        Self { social, missing_up_to, settings_version, load_at: None, event_ids: event_ids.into() }
    }

    /// Whether anything is kept.
    pub fn is_known(&self) -> bool {
        self.social.is_some()
    }

    /// The version of what is kept.
    pub fn version(&self) -> Option<u64> {
        self.social.as_ref().map(|social| social.head().version)
    }

    /// The version that the core need not send again. `None` where nothing is kept, or names that cannot be read. Reads every
    /// name.
    pub fn known_version(&self) -> Option<u64> {
        self.social.as_ref().filter(|social| social.people().is_some()).map(|social| social.head().version)
    }

    /// The highest version heard of while an earlier one is missing.
    pub fn missing_up_to(&self) -> Option<u64> {
        self.missing_up_to
    }

    pub fn settings_version(&self) -> u64 {
        self.settings_version
    }

    pub fn is_suspended(&self) -> bool {
        self.social.as_ref().is_some_and(|social| social.head().suspended)
    }

    /// Whether the owner's rules let friends see the page. The one place that decides.
    pub fn shows(&self, page: &Page) -> bool {
        self.social.as_ref().is_some_and(|social| social.head().share.shows(page))
    }

    /// What storage is to keep.
    pub fn cached(&self) -> Option<&CachedSocial> {
        self.social.as_ref()
    }

    /// Everybody's names, the user's own last. Nobody's, when they cannot be read.
    pub fn people(&self) -> (Vec<UserInfo>, Option<UserInfo>) {
        let people = self.social.as_ref().and_then(CachedSocial::people).unwrap_or_default();
        (people, self.social.as_ref().map(|social| social.head().user.clone()))
    }

    /// The settings of now.
    pub fn share(&self) -> Option<&SharePolicy> {
        self.social.as_ref().map(|social| &social.head().share)
    }

    /// The name and picture of a friend, or of the user, as kept.
    pub fn person(&self, id: &UserId) -> Option<UserInfo> {
        let social = self.social.as_ref()?.read()?;
        social.friends.into_iter().chain([social.user]).find(|known| known.user_id == *id)
    }

    /// When to ask the core again.
    pub fn load_at(&self) -> Option<Timestamp> {
        self.load_at
    }

    /// Ask the core then.
    pub fn load_later(&mut self, at: Timestamp) {
        self.load_at = Some(at);
    }

    /// The core is being asked, or need not be.
    pub fn clear_load_at(&mut self) {
        self.load_at = None;
    }

    /// A version was heard of that cannot be applied.
    pub fn fall_behind(&mut self, version: u64) {
        self.missing_up_to = self.missing_up_to.max(Some(version));
    }

    /// Whether the core's answer is as new as what is known. An event may have overtaken it: such an answer could bring back
    /// a friend, or show a domain, that the event took away.
    pub fn accepts(&mut self, version: u64) -> bool {
        if Some(version) < self.version().max(self.missing_up_to) {
            return false;
        }
        if self.missing_up_to.is_some_and(|missing_up_to| missing_up_to <= version) {
            self.missing_up_to = None;
        }
        true
    }

    /// Keeps this. Says whether it is another.
    pub fn replace(&mut self, social: CachedSocial) -> bool {
        let differs = self.social.as_ref() != Some(&social);
        self.social = Some(social);
        differs
    }

    /// Everybody who has another name or picture in what is to be kept.
    pub fn renamed_in(&self, new: &CachedSocial) -> Vec<UserInfo> {
        let Some(old) = self.social.as_ref().filter(|old| !old.has_names_of(new)) else { return Vec::new() };
        let people =
            |social: &CachedSocial| social.read().map(|social| social.friends.into_iter().chain([social.user]));
        let Some(old) = people(old) else { return Vec::new() };
        let old: BTreeMap<UserId, UserInfo> = old.map(|user| (user.user_id.clone(), user)).collect();
        let differs = |user: &UserInfo| old.get(&user.user_id).is_some_and(|old| old != user);
        people(new).into_iter().flatten().filter(differs).collect()
    }

    /// Remembers the events, and returns those that are new, in order of version. A deletion comes last: what an account knew
    /// is nothing to the next one under its id.
    pub fn take_new(&mut self, mut events: Vec<CoreEvent>) -> Vec<CoreEvent> {
        events.retain(|event| !self.event_ids.contains(&event.id));
        events.sort_by_key(|event| (event.change == Change::UserDeleted {}, event.version));
        self.event_ids.extend(events.iter().map(|event| event.id));
        let old = self.event_ids.len().saturating_sub(EVENT_IDS_REMEMBERED);
        self.event_ids.drain(..old);
        events
    }

    /// The events that are remembered, oldest first.
    pub fn event_ids(&self) -> Vec<EventId> {
        self.event_ids.iter().copied().collect()
    }

    /// What friends and settings are after a change. Nothing is kept yet: [`Self::replace`] does that.
    pub fn apply(&mut self, version: u64, change: &Change) -> Applied {
        if Some(version) <= self.version() || self.social.is_none() {
            return Applied::Nothing;
        }
        let Some(mut social) = self.social.as_ref().and_then(CachedSocial::read) else {
            self.fall_behind(version);
            return Applied::Unreadable;
        };
        let complete = version == social.version.saturating_add(1)
            && self.missing_up_to.is_none_or(|missing_up_to| missing_up_to <= version);
        match change {
            Change::FriendAccepted { user } if complete => {
                social.friends.retain(|friend| friend.user_id != user.user_id);
                social.friends.push(user.clone().into());
            }
            // Should a change be missing before it, this friendship may have ended already.
            Change::FriendAccepted { .. } => {}
            // To take away is right even too early.
            Change::FriendRemoved { user_id } => social.friends.retain(|friend| friend.user_id != *user_id),
            Change::SettingsUpdated { share } if self.settings_version <= version => {
                social.share = share.clone();
                if !complete {
                    self.settings_version = version;
                }
            }
            Change::SettingsUpdated { .. } => {}
            Change::UserUpdated { user } if complete => {
                let known = social.friends.iter_mut().chain(iter::once(&mut social.user));
                known.filter(|known| known.user_id == user.user_id).for_each(|known| known.clone_from(user));
            }
            // The answer that is asked for holds the newest name.
            Change::UserUpdated { .. } => {}
            // Should a change be missing before it, the answer that is asked for tells whether it was taken back.
            Change::UserSuspended {} => social.suspended = true,
            Change::UserRestored {} if complete => social.suspended = false,
            Change::UserRestored {} => {}
            // Clients alone keep these. A deletion is no change of friends and settings.
            Change::FriendRequested { .. }
            | Change::FriendRequestRemoved { .. }
            | Change::ShareReceived { .. }
            | Change::ShareRead { .. }
            | Change::UserDeleted {} => {}
        }
        if complete {
            social.version = version;
            self.missing_up_to = None;
        } else {
            self.fall_behind(version);
        }
        Applied::Social { social, complete }
    }
}
