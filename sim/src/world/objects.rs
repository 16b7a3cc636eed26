//! Objects: hands events to an engine and carries out its effects, all of them or only those before a crash.

use std::rc::Rc;

use presence::{Effect, Event, Save, Saved, TokenOutcome};
use shared::{
    ids::SocketId,
    limits::CORE_CALL_MS_MAX,
    time::Timestamp,
    wire::{CloseCode, ServerMessage},
};

use super::{
    SimEvent, World,
    state::{BEGIN_MS, Cause, Done, HEARTBEAT_MS, frame_of, is_page_change},
    trace::brief,
};
use crate::{
    core::who_is,
    rules::Rule,
    steps::{Ms, Who},
};

impl World<'_> {
    /// Hands an event to an engine and carries out the effects, or in a crash the first of them.
    pub(super) fn happen(&mut self, who: Who, cause: Cause) -> Done {
        if self.violation.is_some() {
            return Done::default();
        }
        self.touch(who);
        self.counts.events += 1;
        self.note(&[who], || format!("u{who} <- {}", brief(&cause)));
        let event = self.event(who, &cause);
        let local = self.local(who);
        let now = self.now;
        let object = &mut self.objects[who];
        let memory = object.memory.as_mut().expect("it was touched");
        memory.active_at = now;
        let mut effects = memory.engine.handle(event, local);
        if let Some(mutator) = self.mutator {
            (mutator.effects)(who, &cause, &mut effects);
        }
        self.check_asking(who, &cause, &effects);
        let weight = |effect: &Effect| if let Effect::CallPeers { peers, .. } = effect { peers.len() } else { 1 };
        let total: usize = effects.iter().map(weight).sum();
        let crash = if total > 0 { self.objects[who].crash.take() } else { None };
        let saved_before = crash.map(|_| self.objects[who].saved.state.clone());
        let mut left = crash.map_or(usize::MAX, |(effects, _)| effects % (total + 1));
        if crash.is_some() {
            self.counts.crashes += 1;
            self.note(&[who], || format!("u{who} crashes after {left} of {total} effects"));
        }
        let undone = left < total;
        let by_friend = matches!(cause, Cause::Peer { .. });
        // A page change that also closes a socket may set an alarm.
        let changes_page = matches!(&cause, Cause::Frame { frame, .. } if is_page_change(frame))
            && !effects.iter().any(|effect| matches!(effect, Effect::Close { .. }));
        let mut done = Done { crashed: crash.is_some(), ..Done::default() };
        if left > 0 {
            let mut weights = 0;
            let kept = effects.iter().take_while(|effect| {
                weights += weight(effect);
                weights <= left
            });
            // What the object could not store before the crash counts as not told.
            let of_core = matches!(cause, Cause::Core { .. } | Cause::Social { .. });
            let page_of = if let Cause::Frame { socket, frame } = &cause {
                Some(*socket).filter(|_| is_page_change(frame))
            } else {
                None
            };
            let keeps = |effect: &Effect| {
                (of_core && matches!(effect, Effect::Save(Save::Social(_))))
                    || matches!(effect, Effect::Attach { socket, .. } if page_of == Some(*socket))
            };
            let kept = left >= total || !(of_core || page_of.is_some()) || kept.into_iter().any(keeps);
            if kept {
                self.take_in(who, &cause);
            }
            self.check_rows(who, &cause, &effects);
        }
        let deleted = effects.iter().any(|effect| matches!(effect, Effect::Forget));
        for effect in effects {
            if left == 0 {
                break;
            }
            let weight = weight(&effect);
            self.carry_out(who, &cause, effect, left, deleted, &mut done);
            left = left.saturating_sub(weight);
        }
        if let Some((_, sockets)) = crash {
            let object = &mut self.objects[who];
            // If the object knows its alarm, it saves its state and sets the alarm in one transaction.
            let knows_alarm = object.memory.as_ref().is_some_and(|memory| memory.alarm.is_known());
            if knows_alarm && saved_before.is_some_and(|before| before != object.saved.state) {
                self.arm(who, by_friend, changes_page);
            }
            let object = &mut self.objects[who];
            if undone {
                for (id, open) in &mut object.sockets {
                    open.unsure |= matches!(&cause, Cause::Frame { socket, .. } if socket == id);
                    open.client_view.unsure = true;
                }
            }
            self.lose_memory(who, true);
            if sockets {
                self.lose_sockets(who);
            }
        } else {
            self.check_screens(who, &cause);
            self.arm(who, by_friend, changes_page);
            self.tick(who);
            self.objects[who].mends = false;
        }
        done
    }

    fn event(&mut self, who: Who, cause: &Cause) -> Event {
        match cause.clone() {
            Cause::Open { socket, expires_at } => Event::SocketOpened { socket, expires_at },
            Cause::Frame { socket, frame } => Event::FrameReceived { socket, frame: frame_of(&frame) },
            Cause::Close { socket } => Event::SocketClosed { socket },
            Cause::Peer { message } => Event::PeerSpoke { message: (*message).clone() },
            Cause::Answer { peer, answer } => Event::PeerAnswered { peer, answer },
            Cause::Failure { peer } => Event::PeerFailed { peer },
            Cause::Social { social } => Event::SocialLoaded { social: (*social).clone() },
            Cause::NoSocial => Event::SocialFailed,
            Cause::Core { events } => Event::CoreReported { events },
            Cause::Read { read, of } => Event::Read { read, friend: of },
            Cause::Token { socket, outcome } => Event::TokenChecked { socket, outcome },
            Cause::Alarm | Cause::Tick => {
                let object = &self.objects[who];
                let heard = object.sockets.iter().filter_map(|(id, socket)| {
                    let until = socket.gone_at.unwrap_or(self.now);
                    let beats = (until - socket.opened_at) / HEARTBEAT_MS;
                    let at = BEGIN_MS + socket.opened_at + beats * HEARTBEAT_MS + object.skew_ms;
                    (beats > 0).then(|| (*id, Timestamp::from_unix_ms(at)))
                });
                Event::Woken { heard: heard.collect() }
            }
        }
    }

    fn carry_out(&mut self, who: Who, cause: &Cause, effect: Effect, left: usize, deleted: bool, done: &mut Done) {
        if !matches!(effect, Effect::Attach { .. } | Effect::Save(_)) {
            self.note(&[who], || format!("u{who} -> {}", brief(&effect)));
        }
        match effect {
            Effect::Save(save) => self.save(who, save),
            Effect::Forget => {
                self.objects[who].saved = Saved::default();
                self.objects[who].alarm = None;
                self.objects[who].deletions += 1;
                self.alarm_is_gone(who);
                if let Some(memory) = &mut self.objects[who].memory {
                    memory.told_at = None;
                }
            }
            Effect::Attach { socket, attachment } => {
                if let Some(open) = self.objects[who].sockets.get_mut(&socket) {
                    open.attachment = Some(attachment);
                }
            }
            Effect::Send { sockets, message } => self.send(who, &sockets, message),
            Effect::Show { sockets, presence } => match presence.read() {
                Some(update) => self.send(who, &sockets, ServerMessage::UpdatePresence(update)),
                None => self.break_rule(Rule::OneSeqOneState, &[who], "nobody can read what is shown".into()),
            },
            Effect::Close { socket, code } => self.closed(who, socket, code),
            Effect::CallPeers { peers, message } => {
                let message = Rc::new(message);
                for peer in peers.iter().take(left) {
                    self.call(who, cause, who_is(peer), &message, deleted);
                }
            }
            Effect::AnswerPeer(answer) => {
                if let Cause::Peer { message } = cause {
                    self.check_answer(who, who_is(&message.from), &answer);
                }
                if done.answer.replace(answer).is_some() {
                    self.break_rule(Rule::OneAnswer, &[who], "a peer is answered twice".into());
                }
            }
            Effect::AnswerCore(taken) => done.taken = Some(taken),
            Effect::LoadSocial { known_version } => {
                let (question, ms) = self.ask_core(who, known_version, Ms::from(CORE_CALL_MS_MAX));
                self.after(ms, SimEvent::CoreAnswers { who, question });
            }
            Effect::CheckToken { socket, token } => {
                self.pend(who);
                let outcome = match token.as_str() {
                    "good" => TokenOutcome::Good { expires_at: self.local(who).plus_ms(self.life_ms(3_600_000)) },
                    _ if self.now < self.core.away_until => TokenOutcome::Unknown,
                    _ => TokenOutcome::Refused,
                };
                let generation = self.objects[who].generation;
                let ms = self.draws(&[25, who as u64, self.now as u64]).ms(1, 200);
                self.after(ms, SimEvent::Token { who, generation, socket, outcome });
            }
            Effect::Reply { read, reply } => self.reply(who, read, reply),
        }
    }

    fn save(&mut self, who: Who, save: Save) {
        self.counts.rows += 1;
        let object = &mut self.objects[who];
        match save {
            Save::State(state) => object.saved.state = state,
            Save::Social(social) => object.saved.social = Some(social),
            Save::EventIds(ids) => object.saved.event_ids = ids,
        }
    }

    /// The object closed a socket.
    fn closed(&mut self, who: Who, socket: SocketId, code: CloseCode) {
        let Some(closed) = self.objects[who].sockets.remove(&socket) else { return };
        self.count_heartbeats(&closed);
        // Closing a socket that has expired is a good reason to wake, so that wake-up does not count.
        self.objects[who].woken = self.objects[who].woken.saturating_sub(1);
        let sign = self.last_sign_of(&closed);
        self.objects[who].last_sign = self.objects[who].last_sign.max(sign);
        self.stopped_watching(who, &closed);
        if closed.gone_at.is_none() {
            let device = closed.device;
            match code {
                CloseCode::Done | CloseCode::AccountGone | CloseCode::TooManySockets => {
                    let client = self.client(device);
                    (client.on, client.socket) = (false, None);
                }
                CloseCode::TokenExpired => self.connect_later(device, 10, 2_000),
                CloseCode::TooBig | CloseCode::BadMessages | CloseCode::TooFast => {
                    self.connect_later(device, 5_000, 30_000);
                }
                CloseCode::Silent => {
                    self.break_rule(Rule::NoGhost, &[who], "a living client is closed as silent".into());
                }
            }
        }
        self.signs_may_have_ended(who);
    }
}
