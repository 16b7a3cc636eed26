//! How sockets end, and how the user leaves.

use std::collections::BTreeSet;

use shared::{
    ids::{SocketId, UserId},
    internal::Wants,
    time::Timestamp,
    wire::CloseCode,
};

use crate::{
    event::Effect,
    user::{Haste, Shown, Socket, Status, UserPresence},
};

impl UserPresence {
    pub(crate) fn close(&mut self, socket: SocketId, code: CloseCode, now: Timestamp) {
        if let Some(gone) = self.sockets.remove(&socket) {
            self.effects.push(Effect::Close { socket, code });
            self.socket_gone(gone, now);
        }
    }

    pub(crate) fn socket_gone(&mut self, gone: Socket, now: Timestamp) {
        let Some(newest) = self.newest_socket() else {
            // Nobody sees an invisible user leave.
            if !self.visible {
                return self.go_offline(now, now);
            }
            self.status = Status::Leaving { at: now.plus_ms(self.times.grace_ms), since: now, restarted: false };
            self.save_state = true;
            return;
        };
        if let Some(socket) = self.sockets.get_mut(&newest) {
            // A client that reconnects before its old socket closes has nothing to report yet, and nothing
            // has changed for its friends.
            socket.report = socket.report.take().or(gone.report);
        }
        self.bring_to_front();
        // What only the closed one carried must outlive it.
        self.note = true;
        self.settle(Haste::Paced, now);
    }

    pub(crate) fn silent_at(&self, socket: &Socket) -> Timestamp {
        socket.heard_at.plus_ms(self.times.timeout_ms)
    }

    /// Closes the sockets that are silent and those whose tokens are over.
    pub(crate) fn close_ended(&mut self, now: Timestamp) {
        let last_heard_at = self.sockets.values().map(|socket| socket.heard_at).max();
        let silent: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| self.silent_at(socket) <= now).map(|(id, _)| *id).collect();
        if let Some(last_heard_at) = last_heard_at.filter(|_| silent.len() == self.sockets.len()) {
            // Silent for longer than any grace.
            self.sockets.clear();
            let code = CloseCode::Silent;
            self.effects.extend(silent.into_iter().map(|socket| Effect::Close { socket, code }));
            return self.go_offline(last_heard_at, now);
        }
        for socket in silent {
            self.close(socket, CloseCode::Silent, now);
        }
        let over: Vec<SocketId> =
            self.sockets.iter().filter(|(_, socket)| socket.expires_at <= now).map(|(id, _)| *id).collect();
        for socket in over {
            self.close(socket, CloseCode::TokenExpired, now);
        }
        if let (Some(last_heard_at), Status::Leaving { at, .. }) = (last_heard_at, &mut self.status) {
            // Who was silent already is not given a grace on top.
            *at = (*at).min(last_heard_at.plus_ms(self.times.timeout_ms));
        }
    }

    /// The user is away from now on. Friends who see them are told; storage calls them leaving until all have heard.
    pub(crate) fn go_offline(&mut self, last_seen_at: Timestamp, now: Timestamp) {
        self.status = Status::Away;
        if self.visible {
            self.grow_seq(now);
            self.visible = false;
            self.last_seen_at = Some(last_seen_at);
            self.came_or_left = self.seq;
            self.tell(Wants::Comings);
            self.hurry(now);
            self.due.extend(self.telling.keys().cloned());
        }
        self.audience.clear();
        self.front = None;
        self.held = false;
        self.shown = Shown::nothing(now);
        self.views.clear();
        self.seen.clear();
        self.missed.clear();
        let readers = &self.readers;
        self.asking.retain(|friend| readers.iter().any(|reader| reader.waits_for.contains(friend)));
        self.failed.retain(|friend, _| self.telling.contains_key(friend));
        self.load_at = None;
        self.save_state = true;
    }

    /// Should memory be lost before all have heard that the user left, without sockets nothing else need be there to wake
    /// the object. An alarm that says farewell itself, the runtime repeats until its calls have ended; not until those
    /// have that were under way before.
    pub(crate) fn expect_farewells(&mut self, was_here: bool, woken: bool, now: Timestamp) {
        let owed = |friend: &UserId| self.telling.contains_key(friend);
        let under_way = !self.is_here() && self.calling.keys().any(owed);
        let now_called: BTreeSet<&UserId> = self.effects.iter().flat_map(called_by).collect();
        let begun = if woken {
            self.calling.keys().any(|friend| owed(friend) && !now_called.contains(friend))
        } else {
            was_here || now_called.into_iter().any(owed)
        };
        if !under_way {
            self.farewells_until = None;
        } else if self.farewells_until.map_or(begun, |until| until <= now) {
            self.farewells_until = Some(now.plus_ms(self.times.timeout_ms));
        }
    }
}

fn called_by(effect: &Effect) -> &[UserId] {
    if let Effect::CallPeers { peers, .. } = effect { peers } else { &[] }
}
