//! Ends of watching, and of life: who is still there, and until when friends may be shown whoever is not.

use super::{
    SimEvent, World,
    state::{HEARTBEAT_MS, Socket},
};
use crate::{
    rules::Rule,
    steps::{Ms, Who},
};

/// How long somebody may be shown online after their last sign of life.
const GHOST_MS: Ms = 190_000;

impl World<'_> {
    /// Whether the user has a socket that watches, or had one until a moment ago.
    pub(super) fn watches(&self, who: Who) -> bool {
        let object = &self.objects[who];
        object.sockets.values().any(|socket| socket.watching) || self.now < object.watched_until
    }

    pub(super) fn stopped_watching(&mut self, who: Who, closed: &Socket) {
        if closed.watching {
            let now = self.now;
            let object = &mut self.objects[who];
            // The grace, and the longest that a restart adds to it.
            object.watched_until = object.watched_until.max(now + 27_000);
            self.one_more_from_friends(who);
        }
    }

    pub(super) fn one_more_from_friends(&mut self, who: Who) {
        for friend in 0..self.setting.users {
            self.link(friend, who).one_more();
        }
    }

    /// Friends may not have heard yet that the user left when the user comes back, and hear of that instead.
    pub(super) fn one_more_to_friends(&mut self, who: Who) {
        for friend in 0..self.setting.users {
            self.link(who, friend).one_more();
        }
    }

    fn is_alive(&self, who: Who) -> bool {
        self.objects[who].sockets.values().any(|socket| socket.gone_at.is_none())
    }

    fn last_sign(&self, who: Who) -> Ms {
        let object = &self.objects[who];
        object.sockets.values().map(|socket| self.last_sign_of(socket)).max().unwrap_or(0).max(object.last_sign)
    }

    /// When a socket's client was heard last.
    pub(super) fn last_sign_of(&self, socket: &Socket) -> Ms {
        let until = socket.gone_at.unwrap_or(self.now);
        let heartbeat = socket.opened_at + (until - socket.opened_at) / HEARTBEAT_MS * HEARTBEAT_MS;
        heartbeat.max(socket.last_frame)
    }

    pub(super) fn count_heartbeats(&mut self, socket: &Socket) {
        self.counts.heartbeats += self.heartbeats_of(socket);
    }

    /// The heartbeats of a socket's client so far.
    pub(super) fn heartbeats_of(&self, socket: &Socket) -> u64 {
        let until = socket.gone_at.unwrap_or(self.now);
        ((until - socket.opened_at) / HEARTBEAT_MS) as u64
    }

    pub(super) fn signs_may_have_ended(&mut self, who: Who) {
        if !self.is_alive(who) {
            let sign = self.last_sign(who);
            self.at(sign + GHOST_MS + 50, SimEvent::Ghost { who, sign });
        }
    }

    /// Until when a friend may be shown somebody who gives no sign of life.
    pub(super) fn ghost_deadline(&self, who: Who, friend: Who) -> Option<Ms> {
        if self.is_alive(who) {
            return None;
        }
        let sign = self.last_sign(who);
        let object = &self.objects[who];
        let mut deadline = sign + GHOST_MS;
        // Each failed call is seen after its time, and made again a while after that: one that tells, or one that asks.
        for (from, to) in [(who, friend), (friend, who)] {
            let link = &self.links[from * self.setting.users + to];
            if link.failed_at > sign {
                deadline = deadline.max(link.failed_at) + link.failures_ms;
            }
        }
        if object.alarm_late_at > sign {
            deadline += object.alarm_late_ms;
        }
        Some(deadline)
    }

    pub(super) fn look_for_ghost(&mut self, who: Who, sign: Ms) {
        if self.is_alive(who) || self.last_sign(who) != sign {
            return;
        }
        let mut later = None;
        for friend in self.core.people[who].friends.clone() {
            let sees = self.objects[friend].sockets.values().any(|socket| {
                socket.gone_at.is_none() && socket.client_view.ready && socket.client_view.shows_online(who)
            });
            if !sees {
                continue;
            }
            match self.ghost_deadline(who, friend) {
                Some(deadline) if deadline >= self.now => later = later.max(Some(deadline)),
                _ => {
                    let silent_s = (self.now - sign) / 1_000;
                    let detail = format!("u{friend} sees u{who}, who was last heard {silent_s} s ago");
                    self.break_rule(Rule::NoGhost, &[who, friend], detail);
                }
            }
        }
        if let Some(deadline) = later {
            self.at(deadline + 50, SimEvent::Ghost { who, sign });
        }
    }
}
