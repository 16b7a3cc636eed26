//! The core as objects see it: the true friendships and settings, and an outbox. The outbox tells of each change at least
//! once, with a delay, in batches and in any order.

use std::{collections::BTreeSet, rc::Rc};

use shared::{
    api::{UserInfo, UserSummary},
    ids::{EventId, UserId},
    internal::{Change, CoreEvent, Social},
    page::Domain,
    share_policy::{ShareMode, SharePolicy},
};
use uuid::Uuid;

use crate::{
    clients::SITES,
    rng::{Draws, SeededRng},
    steps::{Ms, Planned, Setting, Step, Who},
};

const DAY_MS: f64 = 86_400_000.0;

/// Draws the changes that one user causes in the core in `busy_ms` of busy time.
pub fn draw(setting: &Setting, user: Who, busy_ms: Ms, steps: &mut Vec<Planned>) {
    let mut draws = SeededRng::new(setting.seed).of(&[2, user as u64]);
    let mut at = 0;
    loop {
        at += draws.wait_ms(DAY_MS / 8.0 / setting.haste);
        if at >= busy_ms {
            return;
        }
        let other = (user + 1 + draws.below(setting.users.saturating_sub(1))) % setting.users.max(1);
        let step = match draws.weighted(&[8, 7, 2, 8, 6, 1, if setting.users > 4 { 1 } else { 0 }]) {
            0 => Step::Befriend(user, other),
            1 => Step::Unfriend(user, other),
            2 => Step::Block(user, other),
            3 => Step::Share(user, draws.below(POLICIES)),
            4 => Step::Notify(user),
            5 => {
                let restored_at = at + draws.wait_ms(DAY_MS / 24.0 / setting.haste);
                steps.push(Planned { at: restored_at.min(busy_ms - 1), step: Step::Restore(user) });
                Step::Suspend(user)
            }
            // Accounts are deleted seldom.
            _ if draws.chance(0.2) => Step::Delete(user),
            _ => continue,
        };
        if other != user {
            steps.push(Planned { at, step });
        }
    }
}

/// How many share settings there are to choose from.
const POLICIES: usize = 6;

/// The nth share settings.
fn policy(n: usize) -> SharePolicy {
    let sites =
        |sites: &[usize]| sites.iter().filter_map(|n| Domain::parse_entry(&format!("site{n}.com")).ok()).collect();
    let all: Vec<usize> = (0..SITES).collect();
    match n % POLICIES {
        0 => SharePolicy { mode: ShareMode::DefaultNone, allow: sites(&all), deny: BTreeSet::new() },
        1 => SharePolicy { mode: ShareMode::DefaultNone, allow: sites(&[0, 1, 2]), deny: sites(&[0]) },
        2 => SharePolicy { mode: ShareMode::DefaultNone, allow: BTreeSet::new(), deny: BTreeSet::new() },
        3 => SharePolicy { mode: ShareMode::DefaultAll, allow: BTreeSet::new(), deny: sites(&[3, 4]) },
        4 => SharePolicy { mode: ShareMode::DefaultAll, allow: sites(&[1]), deny: sites(&all) },
        _ => SharePolicy { mode: ShareMode::DefaultNone, allow: sites(&[2, 3, 4, 5]), deny: BTreeSet::new() },
    }
}

/// The id of a user by number.
pub fn id_of(who: Who) -> UserId {
    UserId::try_from(format!("u{who}")).expect("a letter and a number are an id")
}

/// The number of a user by id.
pub fn who_is(id: &UserId) -> Who {
    id.as_str().get(1..).and_then(|digits| digits.parse().ok()).expect("ids are made of numbers")
}

/// What the core knows of one user.
#[derive(Debug)]
pub struct Person {
    pub social: Rc<Social>,
    pub friends: BTreeSet<Who>,
    /// All share settings so far, each with the version from which it applies.
    pub policies: Vec<(u64, SharePolicy)>,
    pub deleted: bool,
    /// Events that the user's object has not taken yet, and when each is due.
    outbox: Vec<(Ms, CoreEvent)>,
}

/// The core.
#[derive(Debug)]
pub struct Core {
    pub people: Vec<Person>,
    /// The core is unreachable until then.
    pub away_until: Ms,
    events: u64,
}

impl Core {
    /// All users, with the friendships they begin with.
    pub fn new(setting: &Setting) -> Self {
        let mut draws = SeededRng::new(setting.seed).of(&[4]);
        let users = setting.users;
        let mut friends = vec![BTreeSet::new(); users];
        // Each user has about 24 friends, or 60 % of all users if that is less. Every ninth user begins without friends. With
        // up to 200 users, the first is a friend of all others who have any.
        let share = (24.0 / users.max(1) as f64).min(0.6);
        for a in 0..users {
            for b in a + 1..users {
                let lonely = (a + 1) % 9 == 0 || (b + 1) % 9 == 0;
                if !lonely && ((a == 0 && users <= 200) || draws.chance(share)) {
                    friends[a].insert(b);
                    friends[b].insert(a);
                }
            }
        }
        Self::of(friends, |_| policy(draws.weighted(&[8, 3, 1, 5, 1, 3])))
    }

    /// Users with these friends. Their settings show every page that can be shown at all.
    pub fn of_friends(friends: Vec<BTreeSet<Who>>) -> Self {
        Self::of(friends, |_| policy(0))
    }

    fn of(friends: Vec<BTreeSet<Who>>, mut policy_of: impl FnMut(Who) -> SharePolicy) -> Self {
        let people = friends.into_iter().enumerate().map(|(who, friends)| {
            let share = policy_of(who);
            let social = Social {
                version: 1,
                user: info(who),
                share: share.clone(),
                suspended: false,
                friends: friends.iter().map(|friend| info(*friend)).collect(),
            };
            Person { social: Rc::new(social), friends, policies: vec![(1, share)], deleted: false, outbox: Vec::new() }
        });
        Self { people: people.collect(), away_until: 0, events: 0 }
    }

    /// Applies a step. Returns for whom there are new events, and when each is due.
    pub fn take(&mut self, step: &Step, now: Ms, draws: &mut Draws) -> Vec<(Ms, Who)> {
        let mut told: Vec<(Who, u64, Change)> = Vec::new();
        match step {
            Step::Befriend(a, b) => {
                if self.gone(*a) || self.gone(*b) || self.people[*a].friends.contains(b) {
                    return Vec::new();
                }
                for (one, other) in [(*a, *b), (*b, *a)] {
                    let version = self.befriend(one, other);
                    told.push((one, version, Change::FriendAccepted { user: summary(other) }));
                }
            }
            Step::Unfriend(a, b) => self.unfriend(*a, *b, &mut told),
            Step::Block(a, b) => {
                if !self.gone(*a) {
                    self.grow(*a, |_| {});
                }
                self.unfriend(*a, *b, &mut told);
            }
            Step::Share(who, n) if !self.gone(*who) => {
                let share = policy(*n);
                let version = self.grow(*who, |social| social.share = share.clone());
                self.people[*who].policies.push((version, share.clone()));
                told.push((*who, version, Change::SettingsUpdated { share }));
            }
            Step::Notify(who) if !self.gone(*who) => {
                told.push((*who, 0, Change::FriendRequestRemoved { user_id: id_of(who + 1) }));
            }
            Step::Delete(who) if !self.gone(*who) => {
                for friend in self.people[*who].friends.clone() {
                    self.people[friend].friends.remove(who);
                    let version = self.grow(friend, |social| social.friends.retain(|f| f.user_id != id_of(*who)));
                    told.push((friend, version, Change::FriendRemoved { user_id: id_of(*who) }));
                }
                self.people[*who].friends.clear();
                self.people[*who].deleted = true;
                let version = self.grow(*who, |social| social.friends.clear());
                told.push((*who, version, Change::UserDeleted {}));
            }
            Step::Suspend(who) if !self.gone(*who) && !self.is_suspended(*who) => {
                let version = self.grow(*who, |social| social.suspended = true);
                told.push((*who, version, Change::UserSuspended {}));
            }
            Step::Restore(who) if !self.gone(*who) && self.is_suspended(*who) => {
                let version = self.grow(*who, |social| social.suspended = false);
                told.push((*who, version, Change::UserRestored {}));
            }
            Step::On(_)
            | Step::Off(..)
            | Step::Reconnect(_)
            | Step::Turn(..)
            | Step::Rush { .. }
            | Step::Idle(..)
            | Step::Watch(..)
            | Step::Invisible(..)
            | Step::Authenticate(..)
            | Step::OddHeartbeat(_)
            | Step::Misbehave { .. }
            | Step::Read { .. }
            | Step::Share(..)
            | Step::Notify(_)
            | Step::Delete(_)
            | Step::Suspend(_)
            | Step::Restore(_)
            | Step::Evict(_)
            | Step::Redeploy(_)
            | Step::RedeployAll { .. }
            | Step::Crash { .. }
            | Step::Network { .. }
            | Step::Drop(_)
            | Step::CoreOutage { .. } => {}
        }
        let mut due = Vec::new();
        for (recipient, version, change) in told {
            self.events += 1;
            let id = EventId(Uuid::from_u128(u128::from(self.events)));
            let at = self.away_until.max(now) + draws.ms(3, 60);
            self.people[recipient].outbox.push((at, CoreEvent { id, recipient: id_of(recipient), version, change }));
            due.push((at, recipient));
        }
        due
    }

    fn gone(&self, who: Who) -> bool {
        self.people[who].deleted
    }

    /// Whether an operator has suspended the user.
    pub fn is_suspended(&self, who: Who) -> bool {
        self.people[who].social.suspended
    }

    fn grow(&mut self, who: Who, change: impl FnOnce(&mut Social)) -> u64 {
        let social = Rc::make_mut(&mut self.people[who].social);
        social.version += 1;
        change(social);
        social.version
    }

    fn befriend(&mut self, one: Who, other: Who) -> u64 {
        self.people[one].friends.insert(other);
        self.grow(one, |social| social.friends.push(info(other)))
    }

    fn unfriend(&mut self, a: Who, b: Who, told: &mut Vec<(Who, u64, Change)>) {
        if !self.people[a].friends.contains(&b) {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            self.people[one].friends.remove(&other);
            let version = self.grow(one, |social| social.friends.retain(|friend| friend.user_id != id_of(other)));
            told.push((one, version, Change::FriendRemoved { user_id: id_of(other) }));
        }
    }

    /// Postpones all waiting events of a user.
    pub fn postpone(&mut self, who: Who, until: Ms) {
        for (due, _) in &mut self.people[who].outbox {
            *due = (*due).max(until);
        }
    }

    /// A batch of one user's due events. `mixed`: some of them, in any order.
    pub fn batch(&mut self, who: Who, now: Ms, draws: &mut Draws, mixed: bool) -> Vec<CoreEvent> {
        let due = self.people[who].outbox.iter().filter(|(at, _)| *at <= now);
        let mut batch: Vec<CoreEvent> = due.map(|(_, event)| event.clone()).collect();
        if mixed {
            for last in (1..batch.len()).rev() {
                batch.swap(last, draws.below(last + 1));
            }
            // Several relays run at once, and each takes a part.
            let some = 1 + draws.below(batch.len());
            batch.truncate(some);
        }
        batch
    }

    /// Removes events that the object has taken.
    pub fn taken(&mut self, who: Who, ids: &[EventId]) {
        self.people[who].outbox.retain(|(_, event)| !ids.contains(&event.id));
    }

    /// Whether an event still waits that tells this user's object of the end of this friendship.
    pub fn will_lose(&self, who: Who, friend: Who) -> bool {
        let removes =
            |change: &Change| matches!(change, Change::FriendRemoved { user_id } if who_is(user_id) == friend);
        self.people[who].outbox.iter().any(|(_, event)| removes(&event.change))
    }

    /// Whether any event waits for this user's object.
    pub fn waits(&self, who: Who) -> bool {
        !self.people[who].outbox.is_empty()
    }
}

fn info(who: Who) -> UserInfo {
    UserInfo { user_id: id_of(who), first_name: "A".into(), last_name: "B".into(), profile_image_extension: None }
}

fn summary(who: Who) -> UserSummary {
    UserSummary {
        user_id: id_of(who),
        first_name: "A".into(),
        last_name: "B".into(),
        description: String::new(),
        profile_image_uploaded_at: None,
        profile_image_extension: None,
        friendship_state: None,
        mutual_friend_count: None,
    }
}
