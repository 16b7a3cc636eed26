//! What friends see of the user: whether they are online, the page, and how often that may change.

use shared::{
    ids::UserId,
    internal::Presence,
    page::Page,
    time::Timestamp,
    wire::{PageView, PresenceUpdate},
};

use crate::{limits::RESTART_SEQ_STEP, rate::RateLimiter};

/// What friends see, and the number of its newest change.
#[derive(Debug)]
pub(crate) struct Published {
    /// Friends see the user online.
    visible: bool,
    /// The user wants to appear offline.
    invisible: bool,
    /// What friends see of the user while `visible`.
    shown: Shown,
    /// The number of the newest visible change. It is at least the time of the change in milliseconds since 1970, so it grows even if
    /// memory is lost.
    seq: u64,
    /// The `seq` of the change by which the user last came or left.
    transition_seq: u64,
    /// [`Self::skip_seq`] put `seq` far ahead of the clock, and storage does not hold it yet.
    skipped: bool,
    /// When friends last saw the user leave.
    last_seen_at: Option<Timestamp>,
    /// Limits how often friends are told of changes.
    changes: RateLimiter,
    /// A change waits until the rate limit allows it.
    throttled: bool,
}

/// What friends see of a visible user, after the owner's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    /// Since when the page, or that it is hidden, is as it is.
    pub at: Timestamp,
    pub page: Option<Page>,
    pub latest: Option<Page>,
    pub idle_since: Option<Timestamp>,
}

impl Shown {
    fn nothing(at: Timestamp) -> Self {
        Self { at, page: None, latest: None, idle_since: None }
    }
}

/// Whether a visible change may be throttled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The rate limit applies.
    Throttled,
    /// The rate limit is ignored, and friends who were not reached are tried at once: lists changed, or a page must be hidden.
    Immediate,
}

/// What [`Published::update`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PublishResult {
    /// Friends see the same as before.
    Unchanged,
    /// The change waits for the rate limit.
    Throttled,
    /// Friends see something else. `came`: they did not see the user before.
    Shown { came: bool },
    /// Friends see the user no more.
    Vanished,
}

impl Published {
    pub fn restore(invisible: bool, seq: u64, last_seen_at: Option<Timestamp>, now: Timestamp) -> Self {
        Self {
            visible: false,
            invisible,
            shown: Shown::nothing(now),
            seq,
            transition_seq: 0,
            skipped: false,
            last_seen_at,
            changes: RateLimiter::of_changes(),
            throttled: false,
        }
    }

    pub fn is_visible(&self) -> bool {
        self.visible
    }

    pub fn is_invisible(&self) -> bool {
        self.invisible
    }

    pub fn is_throttled(&self) -> bool {
        self.throttled
    }

    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn transition_seq(&self) -> u64 {
        self.transition_seq
    }

    pub fn last_seen_at(&self) -> Option<Timestamp> {
        self.last_seen_at
    }

    /// When the rate limit allows the next change.
    pub fn next_change_at(&self) -> Timestamp {
        self.changes.next()
    }

    /// Counts a change if the rate limit allows one now. Returns whether it does.
    pub fn count_change(&mut self, now: Timestamp) -> bool {
        self.changes.take(now)
    }

    pub fn set_invisible(&mut self, invisible: bool) {
        self.invisible = invisible;
    }

    /// Decides what friends see from now on. `present`: the user has sockets, or had a moment ago. `page`: the page in front, if friends
    /// may see it. `may_be_seen`: the owner's rules.
    pub fn update(
        &mut self,
        present: bool,
        page: Option<Page>,
        idle_since: Option<Timestamp>,
        may_be_seen: impl Fn(&Page) -> bool,
        urgency: Urgency,
        now: Timestamp,
    ) -> PublishResult {
        let visible = present && !self.invisible;
        self.throttled = false;
        let (was_visible, before) = (self.visible, &self.shown);
        if !visible && !was_visible {
            return PublishResult::Unchanged;
        }
        let kept = before.latest.clone().filter(|page| was_visible && may_be_seen(page));
        let latest = page.clone().or(kept);
        let same = (&page, &latest, idle_since) == (&before.page, &before.latest, before.idle_since);
        if visible == was_visible && same {
            return PublishResult::Unchanged;
        }
        // An urgent change and vanishing are never throttled. They count for the rate limit if it is not reached.
        if !self.changes.take(now) && urgency == Urgency::Throttled && visible {
            self.throttled = true;
            return PublishResult::Throttled;
        }
        self.advance_seq(now);
        self.visible = visible;
        if visible != was_visible {
            self.transition_seq = self.seq;
        }
        if !visible {
            self.shown = Shown::nothing(now);
            self.last_seen_at = Some(now);
            return PublishResult::Vanished;
        }
        // Idleness alone does not change the page's age.
        let at = if was_visible && page == self.shown.page { self.shown.at } else { now };
        self.shown = Shown { at, page, latest, idle_since };
        PublishResult::Shown { came: !was_visible }
    }

    /// The user is absent from now on. Friends see that they were last seen at that time. Returns whether friends saw them until now.
    pub fn go_offline(&mut self, last_seen_at: Timestamp, now: Timestamp) -> bool {
        let was_visible = self.visible;
        if was_visible {
            self.advance_seq(now);
            self.visible = false;
            self.last_seen_at = Some(last_seen_at);
            self.transition_seq = self.seq;
        }
        self.throttled = false;
        self.shown = Shown::nothing(now);
        was_visible
    }

    /// Friends see this, as they did before memory was lost.
    pub fn resume(&mut self, shown: Shown) {
        self.visible = true;
        self.shown = shown;
    }

    /// Friends see the user, but what they see of them was forgotten.
    pub fn resume_unknown(&mut self, now: Timestamp) {
        self.resume(Shown::nothing(now));
    }

    /// An attachment carries this `seq`, which may be newer than the stored one.
    pub fn raise_seq_to(&mut self, seq: u64) {
        self.seq = self.seq.max(seq);
    }

    /// Dates what is shown as of now.
    pub fn date_anew(&mut self, now: Timestamp) {
        self.shown.at = now;
    }

    /// Shows no page from now on.
    pub fn show_nothing(&mut self, now: Timestamp) {
        self.shown = Shown::nothing(now);
    }

    /// Numbers a new change.
    pub fn advance_seq(&mut self, now: Timestamp) {
        let now_ms = u64::try_from(now.unix_ms()).unwrap_or_default();
        self.seq = now_ms.max(self.seq.saturating_add(1));
    }

    /// Moves `seq` beyond that of any change that friends may have been told of and memory has forgotten. Their `seq` may have come from
    /// a clock ahead of this one.
    pub fn skip_seq(&mut self, now: Timestamp) {
        self.advance_seq(now);
        self.seq = self.seq.saturating_add(RESTART_SEQ_STEP);
        self.skipped = true;
    }

    /// Whether `seq` is far ahead of the clock and not stored yet.
    pub fn has_skipped(&self) -> bool {
        self.skipped
    }

    /// Storage knows the newest `seq`.
    pub fn seq_stored(&mut self) {
        self.skipped = false;
    }

    /// What friends see of this user while visible.
    pub fn presence(&self, me: &UserId) -> Presence {
        let Shown { at, page, latest, idle_since } = &self.shown;
        let (page, latest) = (PageView::from(page.as_ref()), PageView::from(latest.as_ref()));
        Presence::new(PresenceUpdate {
            user_id: me.clone(),
            url: page.url,
            title: page.title,
            domain: page.domain,
            latest_url: latest.url,
            latest_title: latest.title,
            latest_domain: latest.domain,
            seq: self.seq,
            at: *at,
            idle: idle_since.is_some(),
            idle_since: *idle_since,
        })
    }
}
