//! In quiet times, compares what everybody sees with the truth.

use std::collections::BTreeSet;

use presence::Saved;
use shared::wire::PageView;

use super::{
    World,
    state::{BEGIN_MS, Then},
};
use crate::{
    client_view::OnScreen,
    core::who_is,
    rules::Rule,
    steps::{Clock, Ms, Who},
};

/// How long before the end of a quiet time everybody's view is recorded and everybody reads.
pub(super) const LOOK_MS: Ms = 10_000;

/// The calm time before that. Objects have nothing to do in it, except for the time-out's alarm.
pub(super) const CALM_MS: Ms = 100_000;

impl World<'_> {
    /// Near the end of a quiet time, records what every client shows. Then everybody's object is asked for `GET /presence`.
    pub(super) fn look(&mut self) {
        self.frozen.clear();
        for who in 0..self.setting.users {
            let object = &self.objects[who];
            let (here, alarm, woken) = (!object.sockets.is_empty(), object.alarm, object.woken);
            if self.core.waits(who) {
                self.break_rule(Rule::QuietShowsTheTruth, &[who], "events still wait in the outbox".into());
            }
            if !here && let Some(at) = alarm {
                let detail = format!("an alarm is set for {} though nobody is there", Clock(at.unix_ms() - BEGIN_MS));
                self.break_rule(Rule::NoTimerInAnIdleObject, &[who], detail);
            }
            if woken > u32::from(here) {
                let detail = format!("in {CALM_MS} ms without events it was woken {woken} times");
                self.break_rule(Rule::NoTimerInAnIdleObject, &[who], detail);
            }
            let object = &self.objects[who];
            for (id, socket) in object.sockets.iter().filter(|(_, socket)| socket.gone_at.is_none()) {
                self.frozen.insert(*id, (who, socket.client_view.clone(), socket.watching));
            }
        }
        let absent =
            self.clients.iter().find(|(_, client)| client.on && client.socket.is_none()).map(|(device, _)| *device);
        if let Some(device) = absent {
            self.break_rule(Rule::QuietShowsTheTruth, &[device.user], format!("{device} cannot connect"));
        }
        for who in 0..self.setting.users {
            self.objects[who].quiet_reply = None;
            if !self.core.people[who].deleted && self.objects[who].told.is_known() {
                self.ask_to_enter(who, Then::Read { of: None, quiet: true });
            }
        }
    }

    /// At the end of a quiet time, checks that what everybody sees is the truth.
    pub(super) fn compare(&mut self) {
        let rule = Rule::QuietShowsTheTruth;
        let mut wrong: Vec<(Vec<Who>, String)> = Vec::new();
        let own =
            |who: Who| self.objects[who].quiet_reply.as_ref().map(|reply| OnScreen::of_entry(&reply.user_presence));
        let mut truths = 0;
        for who in 0..self.setting.users {
            let (object, person) = (&self.objects[who], &self.core.people[who]);
            if person.deleted && (object.saved != Saved::default() || !object.sockets.is_empty()) {
                wrong.push((vec![who], format!("u{who} is deleted and something of them is left: {:?}", object.saved)));
            }
            if person.social.suspended && !object.sockets.is_empty() {
                wrong.push((vec![who], format!("u{who} is suspended and has sockets")));
            }
            let Some(reply) = &object.quiet_reply else {
                if object.told.is_known() && !person.deleted && !person.social.suspended {
                    wrong.push((vec![who], format!("u{who} asked and got no answer")));
                }
                continue;
            };
            if let Some(detail) = self.own_truth(who, &OnScreen::of_entry(&reply.user_presence)) {
                wrong.push((vec![who], detail));
            }
            let listed: BTreeSet<Who> = reply.presence_arr.iter().map(|shown| who_is(&shown.user_id)).collect();
            if listed != person.friends {
                wrong.push((vec![who], format!("u{who} lists {listed:?} for {:?}", person.friends)));
            }
            for shown in &reply.presence_arr {
                let of = who_is(&shown.user_id);
                truths += 1;
                let seen = OnScreen::of_entry(shown);
                match own(of) {
                    Some(truth) if truth != seen => {
                        wrong.push((vec![who, of], format!("u{who} reads {seen:?} of u{of}, who is {truth:?}")));
                    }
                    None if seen.online => wrong.push((vec![who, of], format!("u{who} reads that u{of} is there"))),
                    _ => {}
                }
            }
        }
        for (who, client_view, watching) in self.frozen.values() {
            if !client_view.ready {
                wrong.push((vec![*who], format!("a client_view of u{who} has no snapshot")));
            }
            let mut all: BTreeSet<Who> = self.core.people[*who].friends.clone();
            all.extend(client_view.seen.keys());
            all.insert(*who);
            for of in all {
                if of == *who && client_view.unsure {
                    // A crash may have stored a change and lost the message that shows it to the user's own clients. Friends
                    // are told again.
                    continue;
                }
                truths += 1;
                let seen = client_view.seen.get(&of).map(|seen| seen.look.appearance());
                let truth = own(of).filter(|_| of == *who || self.core.people[*who].friends.contains(&of));
                let (seen_online, online) =
                    (seen.as_ref().is_some_and(|seen| seen.online), truth.as_ref().is_some_and(|truth| truth.online));
                let differs = if online && *watching { seen != truth } else { seen_online != online };
                if differs {
                    wrong.push((
                        vec![*who, of],
                        format!("a client_view of u{who} shows {seen:?} of u{of}, who is {truth:?}"),
                    ));
                }
            }
        }
        self.counts.truths += truths;
        if let Some((who, detail)) = wrong.into_iter().next() {
            self.break_rule(rule, &who, detail);
        }
    }

    /// What is wrong with what a user's object says of its own user; `None` if it is true.
    fn own_truth(&self, who: Who, own: &OnScreen) -> Option<String> {
        let object = &self.objects[who];
        let online = !object.sockets.is_empty() && !object.told.invisible;
        if own.online != online {
            return Some(format!("u{who} is shown {} and is not", if own.online { "online" } else { "offline" }));
        }
        if !online || object.sockets.values().any(|socket| socket.unsure) {
            return None;
        }
        let newest =
            object.sockets.values().filter_map(|socket| socket.report.as_ref()).max_by_key(|(order, _)| *order);
        let share = &self.core.people[who].social.share;
        let page = newest.and_then(|(_, page)| page.as_ref()).filter(|page| share.shows(page));
        let page = PageView::from(page);
        if own.page != page {
            return Some(format!("u{who} shows {:?} and is on {page:?}", own.page));
        }
        let idle = object.sockets.values().all(|socket| socket.idle);
        if own.idle_since.is_some() != idle {
            return Some(format!("u{who} is shown with idle since {:?} and is {idle}", own.idle_since));
        }
        None
    }
}
