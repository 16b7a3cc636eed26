//! Traffic between objects, and between them and the core: calls under the network's conditions, questions to the core, and
//! batches of events from it.

use std::rc::Rc;

use presence::{Admission, AdmissionStep};
use shared::{
    internal::{Interest, PeerAnswer, PeerMessage, PeerSay},
    limits::{PEER_CALL_MS_MAX, SOCIAL_REFRESH_MS_MAX},
};

use super::{
    SimEvent, World,
    state::{Call, Cause, Found, Question, Then},
};
use crate::{
    checks::Link,
    rules::Rule,
    steps::{Ms, NetworkConditions, Step, Who},
};

impl World<'_> {
    pub(super) fn link(&mut self, from: Who, to: Who) -> &mut Link {
        &mut self.links[from * self.setting.users + to]
    }

    pub(super) fn call(&mut self, from: Who, cause: &Cause, to: Who, message: &Rc<PeerMessage>, deleted: bool) {
        self.counts.peer_calls += 1;
        if matches!(message.say, PeerSay::Hello { .. } | PeerSay::Peek) {
            self.counts.asking_calls += 1;
            self.counts.vain_calls += u64::from(self.objects[to].sockets.is_empty());
        }
        self.check_call(from, to, message, deleted);
        self.pend(from);
        let of_alarm = matches!(cause, Cause::Alarm);
        if of_alarm && let Some(memory) = &mut self.objects[from].memory {
            memory.alarm_calls += 1;
        }
        let conditions = self.conditions();
        let link = self.link(from, to);
        link.calls += 1;
        link.under_way += 1;
        let (number, spared) = (u64::from(link.calls), link.failed_in_a_row >= 3);
        let mut draws = self.draws(&[10, from as u64, to as u64, number]);
        let (least_ms, most_ms) = self.place.hop_ms;
        let (mut there_ms, mut back_ms) =
            if self.setting.steady { (5, 5) } else { (draws.ms(least_ms, most_ms), draws.ms(least_ms, most_ms)) };
        let (mut lost, mut answer_lost, mut again) = (false, false, false);
        if let Some(conditions) = conditions {
            let (slow, late, fails) = match conditions {
                NetworkConditions::Slow => (0.3, 0.04, 0.0),
                NetworkConditions::Lossy => (0.1, 0.02, 0.1),
                NetworkConditions::Stormy => (0.3, 0.1, 0.5),
                NetworkConditions::Late => (0.3, 0.5, 0.0),
            };
            if draws.chance(slow) {
                (there_ms, back_ms) = (draws.ms(1, 900), draws.ms(1, 900));
            }
            if !spared && draws.chance(late) {
                if draws.chance(0.5) { there_ms = draws.ms(500, 9_000) } else { back_ms = draws.ms(500, 9_000) }
            }
            if !spared && draws.chance(fails) {
                (lost, answer_lost) = if draws.chance(0.5) { (true, false) } else { (false, true) };
            }
            again = draws.chance(0.05);
        }
        let deadline_ms = Ms::from(PEER_CALL_MS_MAX);
        let in_time = !lost && !answer_lost && there_ms + back_ms < deadline_ms;
        self.next += 1;
        let call = self.next;
        let generation = self.objects[from].generation;
        let answer_ms = in_time.then_some(back_ms);
        self.calls.insert(call, Call { from, to, generation, message: Rc::clone(message), of_alarm, answer_ms });
        if !lost {
            self.after(there_ms, SimEvent::Arrive { call });
            if again {
                let ms = draws.ms(1, 5_000);
                self.after(there_ms + ms, SimEvent::ArriveAgain { to, message: Rc::clone(message) });
            }
        }
        if !in_time {
            self.after(deadline_ms, SimEvent::Fail { call });
        }
    }

    pub(super) fn arrive(&mut self, call: u64) {
        let Some(Call { from, to, message, answer_ms, .. }) = self.calls.get(&call) else { return };
        let (from, to, message, answer_ms) = (*from, *to, Rc::clone(message), *answer_ms);
        self.late_wish(from, to, &message);
        let done = self.happen(to, Cause::Peer { message });
        match (done.answer, answer_ms) {
            (Some(answer), Some(ms)) => self.after(ms, SimEvent::Answer { call, answer }),
            (None, Some(ms)) if done.crashed => self.after(ms, SimEvent::Fail { call }),
            (None, Some(_)) => self.break_rule(Rule::OneAnswer, &[to, from], "a peer is not answered".into()),
            (_, None) => {}
        }
    }

    /// Allows one more message where a late message asks for pages that its sender no longer wants.
    pub(super) fn late_wish(&mut self, from: Who, to: Who, message: &PeerMessage) {
        let watching = self.objects[from].sockets.values().any(|socket| socket.watching);
        let link = self.link(to, from);
        // The same where an answer is on its way: it may be older than the message and say nothing of the lower interest.
        if (message.wants == Interest::Pages && !watching) || link.under_way > 0 {
            link.one_more();
        }
    }

    pub(super) fn answer(&mut self, call: u64, answer: Option<PeerAnswer>) {
        // A failed call stays in the map: if it arrives after its deadline, its message is still needed.
        let Some(Call { from, to, generation, of_alarm, .. }) = self.calls.get(&call) else { return };
        let (from, to, generation, of_alarm) = (*from, *to, *generation, *of_alarm);
        if answer.is_some() {
            self.calls.remove(&call);
        }
        self.link(from, to).under_way = self.link(from, to).under_way.saturating_sub(1);
        let (now, waited_ms) = (self.now, Ms::from(PEER_CALL_MS_MAX));
        match &answer {
            Some(_) => self.link(from, to).failed_in_a_row = 0,
            None => {
                self.counts.failed_calls += 1;
                self.link(from, to).fail(now, waited_ms);
                self.link(to, from).again_soon(now);
            }
        }
        if !self.done(from, generation) {
            return;
        }
        let peer = self.ids[to].clone();
        let cause = match answer {
            Some(answer) => Cause::Answer { peer, answer },
            None => Cause::Failure { peer },
        };
        self.happen(from, cause);
        if of_alarm
            && self.objects[from].generation == generation
            && let Some(memory) = &mut self.objects[from].memory
        {
            memory.alarm_calls = memory.alarm_calls.saturating_sub(1);
        }
    }

    /// A client wants to connect, or a user reads. The shell's admission decides.
    pub(super) fn ask_to_enter(&mut self, who: Who, then: Then) {
        self.touch(who);
        let (engine, now) = (self.engine(who), self.local(who));
        let admission = match then {
            Then::Open(_) => {
                let told_at = self.objects[who].memory.as_ref().and_then(|memory| memory.told_at);
                Admission::of_client(engine, told_at, now)
            }
            Then::Read { of, .. } => Admission::of_reader(engine, of.is_some()),
        };
        self.admit(who, admission, then);
    }

    fn admit(&mut self, who: Who, mut admission: Admission, then: Then) {
        match (admission.next(self.engine(who)), then) {
            (AdmissionStep::AskCore { known_version }, _) => {
                let (question, ms) = self.ask_core(who, known_version, Ms::from(SOCIAL_REFRESH_MS_MAX));
                self.after(ms, SimEvent::Known { who, question, admission, then });
            }
            (AdmissionStep::LetIn, Then::Open(device)) => self.open(device),
            (AdmissionStep::LetIn, Then::Read { of, quiet }) => self.read(who, of, quiet),
            (AdmissionStep::Suspended, Then::Open(device)) => self.client(device).on = false,
            (AdmissionStep::Unknown, Then::Open(device)) => self.connect_later(device, 1_000, 8_000),
            (AdmissionStep::Suspended | AdmissionStep::Unknown, Then::Read { .. }) => {}
        }
    }

    /// The core's answer, and after how long it comes.
    pub(super) fn ask_core(&mut self, who: Who, known: Option<u64>, ms_max: Ms) -> (Question, Ms) {
        self.counts.core_calls += 1;
        self.pend(who);
        self.objects[who].asked += 1;
        let mut draws = self.draws(&[22, who as u64, self.objects[who].asked]);
        if self.now < self.core.away_until {
            return (self.question(who, Found::Away), if draws.chance(0.5) { ms_max } else { draws.ms(1, 30) });
        }
        let person = &self.core.people[who];
        let found = match person.deleted {
            true => Found::Deleted,
            false if known == Some(person.social.version) => Found::Same,
            false => Found::Changed(Rc::clone(&person.social)),
        };
        (self.question(who, found), draws.ms(2, if self.conditions().is_some() { 500 } else { 30 }))
    }

    fn question(&self, who: Who, found: Found) -> Question {
        let object = &self.objects[who];
        Question { generation: object.generation, deletions: object.deletions, found }
    }

    /// How the shell interprets an answer of the core.
    pub(super) fn found(&mut self, who: Who, question: &Question) -> Found {
        // The core may have read before the account was deleted.
        if self.objects[who].deletions != question.deletions {
            return Found::Deleted;
        }
        let now = self.local(who);
        if matches!(question.found, Found::Changed(_) | Found::Same)
            && let Some(memory) = &mut self.objects[who].memory
        {
            memory.told_at = Some(now);
        }
        question.found.clone()
    }

    /// The core has answered a question that an admission waits for.
    pub(super) fn known(&mut self, who: Who, question: &Question, mut admission: Admission, then: Then) {
        if self.done(who, question.generation) {
            match self.found(who, question) {
                Found::Deleted => {
                    if let Then::Open(device) = then {
                        self.client(device).on = false;
                    }
                    return;
                }
                Found::Away => admission.core_away(),
                Found::Same => {}
                Found::Changed(social) => drop(self.happen(who, Cause::Social { social })),
            }
            if self.objects[who].generation == question.generation {
                return self.admit(who, admission, then);
            }
        }
        // Memory was lost, so the caller sees a failure.
        if let Then::Open(device) = then {
            self.connect_later(device, 1_000, 8_000);
        }
    }

    pub(super) fn change_core(&mut self, step: &Step) {
        let mut draws = self.draws(&[30, self.now as u64]);
        for (at, who) in self.core.take(step, self.now, &mut draws) {
            self.at(at, SimEvent::Relay { who });
        }
        if let Step::Befriend(a, b) | Step::Unfriend(a, b) | Step::Block(a, b) = step {
            self.link(*a, *b).one_more();
            self.link(*b, *a).one_more();
        }
    }

    pub(super) fn relay(&mut self, who: Who) {
        if self.now < self.core.away_until {
            let until = self.core.away_until;
            return self.at(until + 20, SimEvent::Relay { who });
        }
        self.next += 1;
        let mut draws = self.draws(&[31, who as u64, self.now as u64]);
        let bad = self.conditions().is_some();
        if bad && draws.chance(0.3) {
            let ms = draws.ms(1_000, 20_000);
            return self.after(ms, SimEvent::Relay { who });
        }
        let events = self.core.batch(who, self.now, &mut draws, bad);
        if events.is_empty() {
            return;
        }
        self.counts.core_batches += 1;
        let taken = self.happen(who, Cause::Core { events }).taken;
        match taken {
            // The answer may be lost. Then the events come again.
            Some(taken) if !(bad && draws.chance(0.3)) => self.core.taken(who, &taken.taken),
            _ => {}
        }
        if self.core.waits(who) {
            let ms = draws.ms(500, 5_000);
            self.after(ms, SimEvent::Relay { who });
        }
    }
}
