//! What the runtime does to objects: it loads and evicts them, lets them sleep, fires alarms and ticks, and redeploys.

use presence::{AlarmKeeper, AlarmStep, EngineConfig, TickTimer, UserPresence};
use shared::time::Timestamp;

use super::{
    SimEvent, World,
    state::{BEGIN_MS, Cause, Memory, Socket, skew},
};
use crate::{
    rules::Rule,
    steps::{Device, Ms, Who},
};

/// How long an object rests before the runtime puts it to sleep.
const SLEEP_MS: Ms = 10_000;

impl World<'_> {
    pub(super) fn engine(&self, who: Who) -> &UserPresence {
        &self.objects[who].memory.as_ref().expect("an object is touched before its engine is asked").engine
    }

    /// The time by an object's clock.
    pub(super) fn local(&self, who: Who) -> Timestamp {
        Timestamp::from_unix_ms(BEGIN_MS + self.now + self.objects[who].skew_ms)
    }

    /// Sets the alarm as the shell does.
    pub(super) fn arm(&mut self, who: Who, by_friend: bool, changes_page: bool) {
        let now = self.local(who);
        let object = &mut self.objects[who];
        let Some(memory) = &mut object.memory else { return };
        let mut wake = memory.engine.next_wake().map(|wake| wake.at);
        if self.mutator.is_some_and(|mutator| mutator.stray_alarms) {
            wake = wake.or(Some(now.plus_ms(60_000)));
        }
        let set = match memory.alarm.next(wake, by_friend, now) {
            AlarmStep::Leave => return,
            AlarmStep::Look => object.alarm,
            AlarmStep::Set(_) => None,
        };
        // The real runtime takes a moment to find the alarm that is set. Here it takes no time.
        let AlarmStep::Set(at) = memory.alarm.found(set, wake, now) else { return };
        self.counts.alarms_set += 1;
        if changes_page && !object.mends {
            self.break_rule(Rule::NoRowForAPageChange, &[who], "an alarm is set for a page change".into());
        }
        self.set_alarm(who, at);
    }

    /// The alarm fired, or storage was emptied.
    pub(super) fn alarm_is_gone(&mut self, who: Who) {
        if let Some(memory) = &mut self.objects[who].memory {
            memory.alarm.gone();
        }
    }

    /// Sets the timer for the engine's next tick as the shell does.
    pub(super) fn tick(&mut self, who: Who) {
        let object = &mut self.objects[who];
        let Some(memory) = &mut object.memory else { return };
        let Some(at) = memory.tick.start(&memory.engine) else { return };
        let at = at.unix_ms() - BEGIN_MS - object.skew_ms;
        let generation = object.generation;
        self.pend(who);
        if at - self.now > 2_500 {
            self.break_rule(Rule::NoTimerInAnIdleObject, &[who], "a tick is far away".into());
        }
        self.at(at.max(self.now), SimEvent::Tick { who, generation });
    }

    /// A call or a timer begins that keeps the object awake.
    pub(super) fn pend(&mut self, who: Who) {
        let now = self.now;
        if let Some(memory) = &mut self.objects[who].memory {
            if memory.pending == 0 {
                memory.pending_since = now;
            }
            memory.pending += 1;
        }
    }

    /// That call or timer ends. Returns whether the memory that began it still exists.
    pub(super) fn done(&mut self, who: Who, generation: u64) -> bool {
        let now = self.now;
        let object = &mut self.objects[who];
        if object.generation != generation {
            return false;
        }
        let Some(memory) = &mut object.memory else { return false };
        memory.pending = memory.pending.saturating_sub(1);
        if memory.pending == 0 {
            self.counts.active_ms += (now - memory.pending_since) as u64;
        }
        memory.active_at = now;
        true
    }

    /// Brings an object into memory. If it rested longer than [`SLEEP_MS`], it lost its memory first.
    pub(super) fn touch(&mut self, who: Who) {
        let now = self.now;
        let object = &self.objects[who];
        if object.memory.as_ref().is_some_and(|memory| memory.pending == 0 && now - memory.active_at > SLEEP_MS) {
            if object.memory.as_ref().is_some_and(|memory| memory.engine.next_tick().is_some()) {
                self.break_rule(Rule::NoTimerInAnIdleObject, &[who], "it sleeps with a tick pending".into());
            }
            self.lose_memory(who, false);
        }
        if self.objects[who].memory.is_some() {
            return;
        }
        let local = self.local(who);
        let object = &self.objects[who];
        let attachments: Vec<_> = object.sockets.values().filter_map(|socket| socket.attachment.clone()).collect();
        let was_absent = attachments.is_empty() && !object.saved.state.may_be_seen_online;
        let engine = UserPresence::restore(
            self.ids[who].clone(),
            EngineConfig::default(),
            object.saved.clone(),
            attachments,
            local,
        );
        let alarm = AlarmKeeper::restored(&engine, was_absent);
        self.counts.wakes += 1;
        self.objects[who].memory = Some(Memory {
            engine,
            active_at: now,
            pending: 0,
            pending_since: now,
            alarm_calls: 0,
            alarm,
            tick: TickTimer::default(),
            told_at: None,
        });
        if self.objects[who].mends {
            // What the lost memory had to repeat is repeated only now.
            for peer in 0..self.setting.users {
                self.link(who, peer).again_soon(now);
            }
        }
        self.note(&[who], || format!("u{who} wakes"));
    }

    /// Memory is lost. `abruptly`: not in sleep, so something may have been in progress.
    pub(super) fn lose_memory(&mut self, who: Who, abruptly: bool) {
        let now = self.now;
        let object = &mut self.objects[who];
        let Some(memory) = object.memory.take() else { return };
        object.generation += 1;
        if memory.pending > 0 {
            self.counts.active_ms += (now - memory.pending_since) as u64;
        }
        for (read, lost) in std::mem::take(&mut object.reads) {
            // The reads of the checks must still be answered. The callers of all others see a failure.
            if lost.quiet {
                self.objects[who].reads.insert(read, lost);
            }
        }
        if memory.alarm_calls > 0 {
            self.alarm_again(who);
        }
        let object = &mut self.objects[who];
        if abruptly {
            object.skew_ms = skew(self.rng, &self.setting, who, object.generation);
            object.mends = true;
            for peer in 0..self.setting.users {
                self.link(who, peer).again_soon(now);
                self.link(peer, who).again_soon(now);
            }
            self.note(&[who], || format!("u{who} loses its memory"));
        }
    }

    /// The runtime repeats an alarm whose handler did not finish.
    fn alarm_again(&mut self, who: Who) {
        let again = self.local(who).plus_ms(2_000);
        let object = &mut self.objects[who];
        if self.now - object.alarm_late_at > 60_000 {
            object.alarm_late_ms = 0;
        }
        object.alarm_late_ms += 2_500;
        object.alarm_late_at = self.now;
        if object.alarm.is_none_or(|at| at > again) {
            self.set_alarm(who, again);
        }
    }

    /// Sets the alarm by the object's present clock. If the object has another clock when it fires, it may be early or late.
    fn set_alarm(&mut self, who: Who, at: Timestamp) {
        let late_ms_max = if self.setting.steady { 0 } else { 300 };
        let late_ms = self.draws(&[40, who as u64, self.objects[who].alarms]).ms(0, late_ms_max);
        let object = &mut self.objects[who];
        object.alarm = Some(at);
        object.alarms += 1;
        let number = object.alarms;
        let fires_at = at.unix_ms() - BEGIN_MS - object.skew_ms;
        self.at(fires_at.max(self.now) + late_ms, SimEvent::Alarm { who, number });
    }

    pub(super) fn alarm(&mut self, who: Who, number: u64) {
        let object = &mut self.objects[who];
        if object.alarm.is_none() || object.alarms != number {
            return;
        }
        object.alarm = None;
        object.woken += 1;
        self.counts.alarms += 1;
        self.touch(who);
        self.alarm_is_gone(who);
        if self.happen(who, Cause::Alarm).crashed {
            self.alarm_again(who);
        }
    }

    pub(super) fn redeploy(&mut self, who: Who) {
        self.counts.redeployments += 1;
        self.note(&[who], || format!("u{who} is redeployed"));
        self.lose_memory(who, true);
        self.lose_sockets(who);
    }

    pub(super) fn lose_sockets(&mut self, who: Who) {
        for (_, socket) in std::mem::take(&mut self.objects[who].sockets) {
            self.lost(who, &socket);
        }
        self.signs_may_have_ended(who);
    }

    fn lost(&mut self, who: Who, socket: &Socket) {
        self.count_heartbeats(socket);
        let sign = self.last_sign_of(socket);
        self.objects[who].last_sign = self.objects[who].last_sign.max(sign);
        self.stopped_watching(who, socket);
        if socket.gone_at.is_none() {
            self.connect_later(socket.device, 100, 6_000);
        }
    }

    /// Memory is lost, and with it the socket of one device. The object gets no event for its close.
    pub(super) fn drop_with_memory(&mut self, device: Device) {
        let who = device.user;
        let Some(socket) = self.client(device).socket else { return };
        let Some(socket) = self.objects[who].sockets.remove(&socket) else { return };
        self.counts.evictions += 1;
        self.note(&[who], || format!("{device} loses its socket"));
        self.lose_memory(who, true);
        self.lost(who, &socket);
        self.signs_may_have_ended(who);
    }
}
