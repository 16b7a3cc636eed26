//! Checks every action of an object: what it tells other objects, what it shows its clients and what it writes. For that it
//! also keeps what the object has taken in.

use std::rc::Rc;

use presence::{Effect, ReadId, Reply, Save};
use shared::{
    ids::SocketId,
    internal::{PeerAnswer, PeerMessage, PeerSay, Presence},
    page::Page,
    wire::{ClientMessage, ServerMessage},
};

use super::{
    SimEvent, World,
    devices::ANSWER_MS,
    state::{Cause, Read, Said, is_page_change},
};
use crate::{
    checks::{self, Says},
    client_view::{ClientView, Look, Seen},
    core::who_is,
    rules::Rule,
    steps::{Bad, Who},
};

impl World<'_> {
    /// Records what an object has taken in: what the core told it, and what its clients reported.
    pub(super) fn take_in(&mut self, who: Who, cause: &Cause) {
        let object = &mut self.objects[who];
        match cause {
            Cause::Social { social } => object.told.social(social),
            Cause::Core { events } => object.told.events(events),
            Cause::Frame { socket, frame } => {
                let Some(open) = object.sockets.get_mut(socket) else { return };
                match frame {
                    Said::Message(ClientMessage::UpdatePresence { url, title }) => {
                        object.reports += 1;
                        // A report that is refused hides the page that was reported before.
                        open.report = Some((object.reports, Page::parse(url, title).ok().flatten()));
                        open.unsure = false;
                    }
                    Said::Bad(Bad::NoJson | Bad::Binary | Bad::TooBig) => {
                        object.reports += 1;
                        open.report = Some((object.reports, None));
                        open.unsure = false;
                    }
                    Said::Message(ClientMessage::SetIdle { idle }) => {
                        if open.idle
                            && !idle
                            && let Some((order, _)) = &mut open.report
                        {
                            object.reports += 1;
                            *order = object.reports;
                        }
                        open.idle = *idle;
                    }
                    Said::Message(ClientMessage::Watch { watching }) => {
                        let stopped = open.watching && !watching;
                        let again = !open.watching && *watching;
                        open.watching = *watching;
                        if again {
                            open.client_view.ready = false;
                            open.wishes += 1;
                            let (generation, wish) = (object.generation, open.wishes);
                            self.after(ANSWER_MS, SimEvent::SnapshotDue { who, generation, socket: *socket, wish });
                        }
                        if stopped {
                            self.one_more_from_friends(who);
                        }
                    }
                    Said::Message(ClientMessage::SetVisibility { invisible }) => {
                        object.told.set_invisible(*invisible);
                        self.one_more_from_friends(who);
                        self.one_more_to_friends(who);
                    }
                    Said::Message(
                        ClientMessage::Heartbeat | ClientMessage::Goodbye | ClientMessage::Authenticate { .. },
                    )
                    | Said::OddHeartbeat
                    | Said::Bad(Bad::UnknownAction) => {}
                }
            }
            Cause::Open { .. }
            | Cause::Close { .. }
            | Cause::Peer { .. }
            | Cause::Answer { .. }
            | Cause::Failure { .. }
            | Cause::NoSocial
            | Cause::Read { .. }
            | Cause::Token { .. }
            | Cause::Alarm
            | Cause::Tick => {}
        }
    }

    /// Checks questions to friends that an action of the user causes. Questions after a loss of memory do not count.
    pub(super) fn check_asking(&mut self, who: Who, cause: &Cause, effects: &[Effect]) {
        let by_user = matches!(cause, Cause::Open { .. } | Cause::Frame { .. } | Cause::Read { .. });
        let asks = |effect: &Effect| matches!(effect, Effect::CallPeers { message, .. } if matches!(message.say, PeerSay::Hello { .. } | PeerSay::Peek));
        if by_user && !self.objects[who].mends && effects.iter().any(asks) {
            self.counts.asking_doings += 1;
            let verdict = self.objects[who].asking.asks(self.now);
            self.judge(&[who], verdict);
        }
    }

    pub(super) fn check_call(&mut self, from: Who, to: Who, message: &PeerMessage, deleted: bool) {
        if deleted && !matches!(message.say, PeerSay::Bye { .. }) {
            self.break_rule(Rule::StrangersGetNothing, &[from, to], "a deleted user speaks".into());
        }
        if !deleted {
            let verdict = checks::only_friends_are_told(&self.objects[from].told, to, "a call goes");
            self.judge(&[from, to], verdict);
        }
        match &message.say {
            PeerSay::Hello { presence } => {
                self.link(from, to).told(true);
                self.check_shown(from, to, message.seq, presence);
            }
            PeerSay::Presence { presence } => {
                self.counts.page_calls += 1;
                self.check_shown(from, to, message.seq, presence);
                let watches = self.watches(to);
                let now = self.now;
                let verdict = self.link(from, to).page_told(to, message.seq, watches, now);
                self.judge(&[from, to], verdict);
            }
            PeerSay::Bye { last_seen_at } => {
                self.link(from, to).told(false);
                self.check_emission(from, to, message.seq, Says::Offline(Some(*last_seen_at)));
            }
            PeerSay::Peek => {}
        }
    }

    pub(super) fn check_answer(&mut self, who: Who, peer: Who, answer: &PeerAnswer) {
        match answer {
            PeerAnswer::NotFriends => return,
            PeerAnswer::Offline { last_seen_at: None, .. } if !self.objects[who].told.is_known() => return,
            PeerAnswer::Online { seq, presence, .. } => {
                self.link(who, peer).told(true);
                self.check_shown(who, peer, *seq, presence);
            }
            PeerAnswer::Offline { seq, last_seen_at, .. } => {
                self.link(who, peer).told(false);
                self.check_emission(who, peer, *seq, Says::Offline(*last_seen_at));
            }
            PeerAnswer::Taken { .. } | PeerAnswer::Again => {}
        }
        let verdict = checks::only_friends_are_told(&self.objects[who].told, peer, "an answer goes");
        self.judge(&[who, peer], verdict);
    }

    fn check_shown(&mut self, who: Who, peer: Who, seq: u64, presence: &Presence) {
        match presence.read() {
            Some(update) if update.seq == seq && who_is(&update.user_id) == who => {
                self.check_emission(who, peer, seq, Says::Online(&update));
            }
            _ => self.break_rule(Rule::OneSeqOneState, &[who, peer], format!("{seq} is told with something else")),
        }
    }

    fn check_emission(&mut self, who: Who, peer: Who, seq: u64, says: Says<'_>) {
        let object = &mut self.objects[who];
        let invisible = checks::invisible_is_offline(&mut object.told, says);
        let (hidden, digest) = match says {
            Says::Online(update) => (
                checks::hidden_stays_hidden(&object.told, &self.core.people[who].policies, update),
                Some(checks::digest_of_update(update)),
            ),
            Says::Offline(_) => (Ok(()), None),
        };
        let one_state = digest.map_or(Ok(()), |digest| object.emitted.add(seq, digest));
        let suspended = checks::suspended_is_offline(&object.told, says);
        for verdict in [invisible, suspended, hidden, one_state] {
            self.judge(&[who, peer], verdict);
        }
    }

    pub(super) fn check_rows(&mut self, who: Who, cause: &Cause, effects: &[Effect]) {
        let closes = effects.iter().any(|effect| matches!(effect, Effect::Close { .. }));
        let page_change = match cause {
            Cause::Frame { frame, .. } => is_page_change(frame),
            // Without sockets, an object keeps what it knows of friends in storage.
            Cause::Peer { message } => {
                matches!(message.say, PeerSay::Presence { .. }) && !self.objects[who].sockets.is_empty()
            }
            Cause::Tick => !self.objects[who].sockets.is_empty() && !self.comes_or_goes(who, effects),
            Cause::Open { .. }
            | Cause::Close { .. }
            | Cause::Answer { .. }
            | Cause::Failure { .. }
            | Cause::Social { .. }
            | Cause::NoSocial
            | Cause::Core { .. }
            | Cause::Read { .. }
            | Cause::Token { .. }
            | Cause::Alarm => false,
        };
        if page_change
            && !closes
            && !self.objects[who].mends
            && effects.iter().any(|effect| matches!(effect, Effect::Save(_)))
        {
            self.break_rule(Rule::NoRowForAPageChange, &[who], "a row is written for a page change".into());
        }
        if let Cause::Peer { message } = cause
            && message.say == PeerSay::Peek
            && !self.objects[who].mends
            && effects.iter().any(|effect| matches!(effect, Effect::Send { .. } | Effect::Show { .. }))
        {
            let who = [who_is(&message.from), who];
            self.break_rule(Rule::InvisibleIsOffline, &who, "a question is seen in a client's view".into());
        }
    }

    /// Whether the effects save that the user came online or left.
    fn comes_or_goes(&self, who: Who, effects: &[Effect]) -> bool {
        let online = self.objects[who].saved.state.may_be_seen_online;
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Save(Save::State(state)) if state.may_be_seen_online != online))
    }

    /// Once an object has been told that a friendship ended, none of its clients shows that friend online.
    pub(super) fn check_screens(&mut self, who: Who, cause: &Cause) {
        if !matches!(cause, Cause::Core { .. } | Cause::Social { .. }) {
            return;
        }
        let object = &self.objects[who];
        let shown = object
            .sockets
            .values()
            .filter(|socket| socket.gone_at.is_none() && socket.client_view.ready && !socket.client_view.unsure)
            .find_map(|socket| {
                let online = socket.client_view.seen.iter().filter(|(_, seen)| seen.look.is_online());
                // A crash may have lost the message that an event caused. The event comes again.
                let comes = |of| matches!(cause, Cause::Social { .. }) && self.core.will_lose(who, of);
                online.map(|(of, _)| *of).find(|of| *of != who && !object.told.may_be_friends(*of) && !comes(*of))
            });
        if let Some(of) = shown {
            self.break_rule(Rule::StrangersGetNothing, &[who, of], format!("u{of} stays in a client's view of u{who}"));
        }
    }

    pub(super) fn send(&mut self, who: Who, sockets: &[SocketId], message: ServerMessage) {
        self.counts.sends += sockets.len() as u64;
        if let Some(trace) = &mut self.trace
            && trace.told_to_all_but.is_some_and(|but| but != who)
        {
            let text = serde_json::to_string(&message).unwrap_or_default();
            let devices = sockets.iter().filter_map(|socket| self.objects[who].sockets.get(socket));
            trace.lines.extend(devices.map(|open| format!("{} {text}", open.device)));
        }
        let looks: Vec<(Who, Look)> = match message {
            ServerMessage::UpdatePresence(update) => {
                let of = who_is(&update.user_id);
                vec![(of, Look::Update(Rc::new(update)))]
            }
            ServerMessage::PresenceTimeout { user_id, last_seen_at } => {
                vec![(who_is(&user_id), Look::Gone(last_seen_at))]
            }
            ServerMessage::PresenceSnapshot(snapshot) => {
                let snapshot = Rc::new(snapshot);
                let friends = snapshot.presence_arr.iter().enumerate();
                let mut looks: Vec<(Who, Look)> = friends
                    .map(|(index, shown)| (who_is(&shown.user_id), Look::Entry(Rc::clone(&snapshot), Some(index))))
                    .collect();
                looks.push((who, Look::Entry(Rc::clone(&snapshot), None)));
                for socket in sockets {
                    if let Some(open) = self.objects[who].sockets.get_mut(socket) {
                        open.client_view = ClientView { ready: true, ..ClientView::default() };
                    }
                }
                looks
            }
            ServerMessage::Heartbeat
            | ServerMessage::FriendRequest { .. }
            | ServerMessage::FriendRequestRemoved { .. }
            | ServerMessage::FriendAccepted { .. }
            | ServerMessage::FriendRemoved { .. }
            | ServerMessage::FriendUpdated { .. }
            | ServerMessage::SettingsUpdated { .. }
            | ServerMessage::ShareNotification { .. }
            | ServerMessage::ShareNotificationRead { .. }
            | ServerMessage::Error { .. } => return,
        };
        for (of, look) in looks {
            if look.is_online() {
                let verdict = checks::only_friends_are_shown(&self.objects[who].told, who, of, "something is shown");
                self.judge(&[who, of], verdict);
            }
            for socket in sockets {
                self.show(who, *socket, of, &look);
            }
        }
    }

    /// Checks and records that a client shows somebody.
    fn show(&mut self, who: Who, socket: SocketId, of: Who, look: &Look) {
        let Some(open) = self.objects[who].sockets.get(&socket).filter(|open| open.gone_at.is_none()) else { return };
        if !open.client_view.ready {
            if self.objects[who].mends {
                // The object has just come into memory and does not know yet that the client wants a snapshot.
                return;
            }
            return self.break_rule(Rule::SnapshotComesFirst, &[who, of], format!("u{of} is shown before"));
        }
        let device = open.device;
        let floor = self.client(device).seqs.get(&of).copied().unwrap_or_default();
        let seq = match look {
            Look::Update(update) => {
                let seq = update.seq;
                self.judge(&[who, of], checks::seq_never_goes_back(of, floor, seq));
                if of != who {
                    let verdict = self.objects[of].emitted.was_told(seq, checks::digest_of_update(update));
                    self.judge(&[who, of], verdict);
                }
                seq
            }
            Look::Entry(..) if look.is_online() && of != who => {
                let shown = look.appearance();
                let digest = checks::digest(&shown.page, &shown.latest, shown.idle_since);
                let emitted = &self.objects[of].emitted;
                match emitted.seqs_of(digest, floor) {
                    Some((newest, oldest)) => {
                        self.judge(&[who, of], checks::seq_never_goes_back(of, floor, newest));
                        oldest.max(floor)
                    }
                    None if emitted.is_whole() => {
                        self.break_rule(Rule::OneSeqOneState, &[who, of], "a snapshot shows what was not told".into());
                        floor
                    }
                    None => floor,
                }
            }
            Look::Entry(..) | Look::Gone(_) => floor,
        };
        if look.is_online() && of != who {
            let deadline = self.ghost_deadline(of, who);
            if deadline.is_some_and(|deadline| self.now > deadline) {
                self.break_rule(Rule::NoGhost, &[of, who], format!("u{who} is shown u{of} long after they left"));
            }
        }
        self.client(device).seqs.insert(of, seq);
        if let Some(open) = self.objects[who].sockets.get_mut(&socket) {
            open.client_view.seen.insert(of, Seen { look: look.clone(), seq });
        }
    }

    pub(super) fn reply(&mut self, who: Who, read: ReadId, reply: Reply) {
        let Some(Read { of, quiet }) = self.objects[who].reads.remove(&read.0) else {
            return self.break_rule(Rule::OneAnswer, &[who], "a question is answered twice".into());
        };
        if let Some(trace) = &mut self.trace
            && trace.told_to_all_but.is_some_and(|but| but != who)
        {
            let text = match &reply {
                Reply::All(snapshot) => serde_json::to_string(snapshot),
                Reply::One(page) => serde_json::to_string(page),
                Reply::NotFriends => Ok("no friend".to_owned()),
                Reply::TooMany { .. } => Ok("too often".to_owned()),
            };
            trace.lines.push_back(format!("u{who} {}", text.unwrap_or_default()));
        }
        match reply {
            Reply::All(snapshot) => {
                for shown in snapshot.presence_arr.iter().filter(|shown| shown.page.is_some()) {
                    let of = who_is(&shown.user_id);
                    let verdict = checks::only_friends_are_shown(&self.objects[who].told, who, of, "a reply tells");
                    self.judge(&[who, of], verdict);
                }
                if quiet {
                    self.objects[who].quiet_reply = Some(snapshot);
                }
            }
            Reply::One(Some(_)) => {
                let of = of.unwrap_or(who);
                let verdict = checks::only_friends_are_shown(&self.objects[who].told, who, of, "a reply tells");
                self.judge(&[who, of], verdict);
            }
            Reply::One(None) | Reply::NotFriends | Reply::TooMany { .. } => {}
        }
    }
}
