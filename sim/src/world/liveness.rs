//! Who still watches, who is still connected, and until when friends may be shown a user who is gone.

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
    /// Whether the user has a socket that watches, or had one until recently.
    pub(super) fn watches(&self, who: Who) -> bool {
        let object = &self.objects[who];
        object.sockets.values().any(|socket| socket.watching) || self.now < object.watched_until
    }

    pub(super) fn stopped_watching(&mut self, who: Who, closed: &Socket) {
        if closed.watching {
            let now = self.now;
            let object = &mut self.objects[who];
            // The grace (15 s), the longest grace after a restart (10 s), and two seconds more.
            object.watched_until = object.watched_until.max(now + 27_000);
            self.one_more_from_friends(who);
        }
    }

    pub(super) fn one_more_from_friends(&mut self, who: Who) {
        for friend in 0..self.setting.users {
            self.link(friend, who).one_more();
        }
    }

    /// When the user comes back, friends may not have been told yet that they left. They are told of the return instead.
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

    /// The last sign of life on a socket: its last heartbeat or message.
    pub(super) fn last_sign_of(&self, socket: &Socket) -> Ms {
        let until = socket.gone_at.unwrap_or(self.now);
        let heartbeat = socket.opened_at + (until - socket.opened_at) / HEARTBEAT_MS * HEARTBEAT_MS;
        heartbeat.max(socket.last_frame)
    }

    pub(super) fn count_heartbeats(&mut self, socket: &Socket) {
        self.counts.heartbeats += self.heartbeats_of(socket);
    }

    /// The number of heartbeats on a socket so far.
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

    /// Until when `friend` may be shown `who` online. `None` while `who` has a live socket.
    pub(super) fn ghost_deadline(&self, who: Who, friend: Who) -> Option<Ms> {
        if self.is_alive(who) {
            return None;
        }
        let sign = self.last_sign(who);
        let object = &self.objects[who];
        let mut deadline = sign + GHOST_MS;
        // A failed call is noticed only after its time limit, and repeated some time later. This holds for calls to the friend
        // and from the friend.
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
