//! Clients: how they connect, leave and reconnect, and what they send.
//!
//! Deliberately absent: what a client shows, which `invariants` checks.

use presence::ReadId;
use shared::{ids::SocketId, limits::SOCKETS_MAX, wire::ClientMessage};
use uuid::Uuid;

use super::{
    SimEvent, World,
    state::{Cause, Client, Read, Said, Socket, Then},
};
use crate::{
    client_view::ClientView,
    clients::{SITES, url_of},
    rules::Rule,
    steps::{Device, Leave, Ms, QUIET_MS, Tab, Who},
};

/// Time within which every read is answered and every new socket has its snapshot.
pub(super) const ANSWER_MS: Ms = 5_000;

impl World<'_> {
    pub(super) fn client(&mut self, device: Device) -> &mut Client {
        self.clients.entry(device).or_default()
    }

    pub(super) fn switch_on(&mut self, device: Device) {
        let mut draws = self.draws(&[20, device.user as u64, device.number as u64, self.now as u64]);
        let tab = if draws.chance(0.8) { Tab::Site(draws.below(SITES)) } else { Tab::Never(draws.below(5)) };
        let gone = self.core.people[device.user].deleted;
        let now = self.now;
        let client = self.client(device);
        if client.on || gone {
            return;
        }
        (client.on, client.idle, client.watching) = (true, false, true);
        client.tab = Some((tab, now as u64));
        client.attempts += 1;
        let attempt = client.attempts;
        self.connect(device, attempt);
    }

    pub(super) fn switch_off(&mut self, device: Device, leave: Leave) {
        self.client(device).on = false;
        let Some(socket) = self.client(device).socket else { return };
        self.one_more_to_friends(device.user);
        match leave {
            Leave::Vanish => {
                let now = self.now;
                self.client(device).socket = None;
                if let Some(open) = self.objects[device.user].sockets.get_mut(&socket) {
                    open.gone_at = Some(now);
                }
                self.signs_may_have_ended(device.user);
                return;
            }
            Leave::Goodbye => self.say(device, ClientMessage::Goodbye),
            Leave::Close => {}
        }
        if self.client(device).socket == Some(socket) {
            self.client(device).socket = None;
            self.close(device.user, socket);
        }
    }

    /// A client's socket closes.
    pub(super) fn close(&mut self, who: Who, socket: SocketId) {
        self.touch(who);
        let now = self.now;
        let Some(closed) = self.objects[who].sockets.remove(&socket) else { return };
        self.count_heartbeats(&closed);
        if closed.gone_at.is_none() {
            self.objects[who].last_sign = now;
        }
        self.stopped_watching(who, &closed);
        self.happen(who, Cause::Close { socket });
        self.signs_may_have_ended(who);
    }

    pub(super) fn reconnect(&mut self, device: Device) {
        if let Some(socket) = self.client(device).socket.take() {
            self.close(device.user, socket);
            self.connect_later(device, 1_000, 5_000);
        }
    }

    pub(super) fn connect_later(&mut self, device: Device, from_ms: Ms, to_ms: Ms) {
        let client = self.client(device);
        client.socket = None;
        if !client.on {
            return;
        }
        client.attempts += 1;
        let attempt = client.attempts;
        let ms = self.draws(&[21, device.user as u64, device.number as u64, attempt]).ms(from_ms, to_ms);
        self.after(ms, SimEvent::Connect { device, attempt });
    }

    pub(super) fn connect(&mut self, device: Device, attempt: u64) {
        let client = self.client(device);
        if !client.on || client.socket.is_some() || client.attempts != attempt {
            return;
        }
        self.ask_to_enter(device.user, Then::Open(device));
    }

    pub(super) fn open(&mut self, device: Device) {
        if !self.client(device).on || self.client(device).socket.is_some() {
            return;
        }
        let who = device.user;
        self.counts.connects += 1;
        let socket = SocketId(Uuid::from_u128(u128::from(self.counts.connects)));
        let attempt = self.client(device).attempts;
        let mut draws = self.draws(&[23, who as u64, device.number as u64, attempt]);
        let (life_ms, pause_ms) = (draws.ms(self.place.token_ms.0, self.place.token_ms.1), draws.ms(1, 40));
        let opened = Socket {
            device,
            attachment: None,
            opened_at: self.now,
            last_frame: self.now,
            gone_at: None,
            client_view: ClientView::default(),
            wishes: 0,
            report: None,
            idle: false,
            watching: true,
            unsure: false,
        };
        self.objects[who].sockets.insert(socket, opened);
        self.client(device).socket = Some(socket);
        let expires_at = self.local(who).plus_ms(self.life_ms(life_ms));
        let crashed = self.happen(who, Cause::Open { socket, expires_at }).crashed;
        if crashed {
            // The upgrade was not answered, but friends may have been told of it. If the socket still exists, the runtime soon
            // notices that it is closed.
            let now = self.now;
            self.objects[who].last_sign = now;
            if let Some(open) = self.objects[who].sockets.get_mut(&socket) {
                open.gone_at = Some(now);
                self.after(30, SimEvent::Hangs { who, socket });
            }
            self.signs_may_have_ended(who);
            return self.connect_later(device, 500, 4_000);
        }
        if self.objects[who].sockets.len() > SOCKETS_MAX {
            self.break_rule(Rule::OneAnswer, &[who], format!("more than {SOCKETS_MAX} sockets"));
        }
        self.after(pause_ms, SimEvent::Introduce { device, socket });
        let generation = self.objects[who].generation;
        self.after(ANSWER_MS, SimEvent::SnapshotDue { who, generation, socket, wish: 0 });
    }

    /// The life of a token: the one wished for, or longer where the token would expire in a quiet time.
    pub(super) fn life_ms(&self, wish_ms: Ms) -> Ms {
        let part_ms = self.setting.part_ms();
        let left_ms = part_ms - (self.now + wish_ms) % part_ms;
        if left_ms < QUIET_MS { wish_ms + left_ms + 5_000 } else { wish_ms }
    }

    /// The first messages of a client on a new socket.
    pub(super) fn introduce(&mut self, device: Device, socket: SocketId) {
        if self.client(device).socket != Some(socket) {
            return;
        }
        let Client { idle, watching, tab, .. } = *self.client(device);
        if !watching {
            self.say(device, ClientMessage::Watch { watching });
        }
        if idle {
            self.say(device, ClientMessage::SetIdle { idle });
        }
        if let Some((tab, n)) = tab {
            let url = url_of(tab, device.user, n);
            self.say(device, ClientMessage::UpdatePresence { url, title: "A page".to_owned() });
        }
    }

    pub(super) fn turn(&mut self, device: Device, tab: Tab) {
        let n = self.now as u64;
        let client = self.client(device);
        if client.socket.is_none() {
            return;
        }
        if tab != Tab::TooLong {
            client.tab = Some((tab, n));
        }
        self.counts.page_changes += 1;
        for friend in &self.core.people[device.user].friends {
            let sockets = self.objects[*friend].sockets.len();
            self.counts.sockets_around += sockets as u64;
            self.counts.friends_around += u64::from(sockets > 0);
        }
        let url = url_of(tab, device.user, n);
        self.say(device, ClientMessage::UpdatePresence { url, title: "A page".to_owned() });
    }

    pub(super) fn say(&mut self, device: Device, message: ClientMessage) {
        self.utter(device, Said::Message(message));
    }

    pub(super) fn utter(&mut self, device: Device, frame: Said) {
        let Some(socket) = self.client(device).socket else { return };
        let now = self.now;
        let Some(open) = self.objects[device.user].sockets.get_mut(&socket) else { return };
        open.last_frame = now;
        self.counts.frames += 1;
        self.happen(device.user, Cause::Frame { socket, frame });
    }

    pub(super) fn read(&mut self, who: Who, of: Option<Who>, quiet: bool) {
        self.counts.reads += 1;
        let read = self.counts.reads;
        self.objects[who].reads.insert(read, Read { of, quiet });
        let generation = self.objects[who].generation;
        self.after(ANSWER_MS, SimEvent::ReadDue { who, generation, read });
        let of = of.map(|of| self.ids[of].clone());
        self.happen(who, Cause::Read { read: ReadId(read), of });
    }
}
