//! Carries out the engine's effects: on sockets, peers, the core, storage and the alarm.
//!
//! Each event is handled without an await: borrow the engine, let it decide, release it, then act. Work that takes time
//! continues after the event, and its outcome is a new event.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    time::Duration,
};

use futures_channel::oneshot;
use presence::{
    Admission, AdmissionStep, AlarmKeeper, AlarmStep, Attachment, Effect, Event, HeartbeatMode, ReadId, Reply,
    TickTimer, TokenOutcome, UserPresence,
};
use serde_bytes::ByteBuf;
use shared::{
    ids::{SocketId, UserId},
    internal::{EventsTaken, ObjectCounts, PeerAnswer, PeerMessage},
    limits::CORE_CALL_MS_MAX,
    time::Timestamp,
    wire::{HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE},
};
use wasm_bindgen::JsValue;
use worker::{
    Delay, Env, ScheduledTime, State, WebSocket,
    js_sys::{self, Object, Promise},
    worker_sys::{WebSocketRequestResponsePair, web_sys},
};

use crate::{
    answer,
    auth::{self, Refusal},
    clock,
    config::Config,
    core_client, counts, peers,
    raw_state::RawState,
    storage,
};

/// The engine of one user and everything around it.
pub struct Shell {
    me: UserId,
    state: State,
    env: Env,
    config: Rc<Config>,
    engine: RefCell<UserPresence>,
    sockets: RefCell<BTreeMap<SocketId, WebSocket>>,
    alarm: Cell<AlarmKeeper>,
    tick_timer: Cell<TickTimer>,
    reads: RefCell<BTreeMap<ReadId, oneshot::Sender<Reply>>>,
    next_read: Cell<u64>,
    /// How often the account was deleted.
    deletions: Cell<u32>,
    /// When the core last confirmed or sent the friends and settings.
    told_at: Cell<Option<Timestamp>>,
}

/// The outcome of an event, for the callback that caused it.
#[derive(Default)]
pub struct Outcome {
    pub peer_answer: Option<PeerAnswer>,
    pub events_taken: Option<EventsTaken>,
    /// One for each [`Effect::CallPeers`]. It resolves when the engine has been told the outcome of every call.
    pub calls: Vec<Promise>,
}

impl Shell {
    /// Restores a user from storage and from the sockets that are still open. `None` if the object has no name or no
    /// configuration, or if storage cannot be read.
    pub fn restore(state: State, env: Env) -> Option<Self> {
        let config = Config::load(&env).ok()?;
        let me: UserId = state.id().name()?.parse().ok()?;
        // The runtime keeps this pair with the object's sockets, and this object does not know whether it did. So the pair is
        // set at every start.
        if config.engine.heartbeats == HeartbeatMode::Auto {
            let pair = WebSocketRequestResponsePair::new(HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE).ok()?;
            state.set_websocket_auto_response(&pair);
        }
        let (mut sockets, mut attachments) = (BTreeMap::new(), Vec::new());
        for ws in state.get_websockets() {
            if let Some(attachment) = attachment_of(&ws) {
                sockets.insert(attachment.socket, ws);
                attachments.push(attachment);
            }
        }
        let saved = storage::load(&state).inspect_err(|error| log_error("storage", error)).ok()?;
        counts::count(&config, &me, |counts| counts.starts += 1);
        let was_absent = attachments.is_empty() && !saved.state.may_be_seen_online;
        let engine = UserPresence::restore(me.clone(), config.engine, saved, attachments, clock::now());
        let alarm = AlarmKeeper::restored(&engine, was_absent);
        Some(Self {
            me,
            state,
            env,
            config,
            engine: RefCell::new(engine),
            sockets: RefCell::new(sockets),
            alarm: Cell::new(alarm),
            tick_timer: Cell::default(),
            reads: RefCell::default(),
            next_read: Cell::new(0),
            deletions: Cell::new(0),
            told_at: Cell::new(None),
        })
    }

    /// Lets the engine handle an event, and carries out what it decides.
    pub fn handle(self: &Rc<Self>, event: Event) -> Outcome {
        self.handle_all([event])
    }

    /// The same for several events. The alarm and the tick timer are set once, after the last event.
    fn handle_all(self: &Rc<Self>, events: impl IntoIterator<Item = Event>) -> Outcome {
        let mut outcome = Outcome::default();
        let now = clock::now();
        let mut by_friends = true;
        for event in events {
            by_friends &= matches!(event, Event::PeerSpoke { .. });
            let effects = self.engine.borrow_mut().handle(event, now);
            self.carry_out(effects, &mut outcome);
        }
        self.keep_alarm_in_time(by_friends, now);
        self.start_tick_timer();
        outcome
    }

    fn carry_out(self: &Rc<Self>, effects: Vec<Effect>, outcome: &mut Outcome) {
        for effect in effects {
            match effect {
                Effect::Send { sockets, message } => match serde_json::to_string(&message) {
                    Ok(text) => self.send(&sockets, &text),
                    Err(error) => log_error("message", &error.into()),
                },
                Effect::Show { sockets, presence } => self.send(&sockets, presence.as_str()),
                Effect::Close { socket, code } => {
                    if let Some(ws) = self.forget_socket(socket) {
                        // This fails if the socket is closed already, which is no problem.
                        let _ = ws.close::<&str>(Some(code.number()), None);
                    }
                }
                Effect::CallPeers { peers, message } => outcome.calls.push(self.call_peers(peers, &message)),
                Effect::AnswerPeer(answer) => outcome.peer_answer = Some(answer),
                Effect::AnswerCore(taken) => outcome.events_taken = Some(taken),
                Effect::CheckToken { socket, token } => self.check_token(socket, token),
                Effect::LoadSocial { known_version } => self.load_social(known_version),
                Effect::Reply { read, reply } => {
                    if let Some(waiting) = self.reads.borrow_mut().remove(&read) {
                        // This fails if the caller has disconnected.
                        let _ = waiting.send(reply);
                    }
                }
                Effect::Save(save) => {
                    self.count(|counts| counts.rows += 1);
                    if let Err(error) = storage::save(&self.state, &save) {
                        log_error("storage", &error);
                    }
                }
                Effect::Forget => self.forget_storage(),
                Effect::Attach { socket, attachment } => self.attach(socket, &attachment),
            }
        }
    }

    /// Tells the engine that it was woken, and when the runtime last answered each socket's heartbeat.
    pub fn wake(self: &Rc<Self>) -> Outcome {
        let heard = self.last_heartbeats();
        self.handle(Event::Woken { heard })
    }

    /// Changes the counts of this object, if `COUNT_WORK` is on.
    pub fn count(&self, add: impl FnOnce(&mut ObjectCounts)) {
        counts::count(&self.config, &self.me, add);
    }

    /// Begins to decide whether a client that connects is let in. The caller repeats [`Self::admission_step`] until that is
    /// decided.
    pub fn admission_of_client(&self) -> Admission {
        Admission::of_client(&self.engine.borrow(), self.told_at.get(), clock::now())
    }

    /// The same for a `GET` of all friends' presence, or of one friend's.
    pub fn admission_of_reader(&self, of_one: bool) -> Admission {
        Admission::of_reader(&self.engine.borrow(), of_one)
    }

    /// The next step towards letting somebody in.
    pub fn admission_step(&self, admission: &mut Admission) -> AdmissionStep {
        admission.next(&self.engine.borrow())
    }

    /// Asks the core about this user.
    pub async fn ask_core(&self, known_version: Option<u64>, ms_max: u32) -> core_client::Answer {
        self.count(|counts| counts.core_calls += 1);
        let deletions = self.deletions.get();
        let answer = core_client::social(&self.env, &self.config, &self.me, known_version, ms_max).await;
        // The account was deleted while this waited. The core may have read its data before that, so the answer is ignored.
        if self.deletions.get() != deletions {
            return core_client::Answer::NotRegistered;
        }
        if matches!(answer, core_client::Answer::Changed(_) | core_client::Answer::Same) {
            self.told_at.set(Some(clock::now()));
        }
        answer
    }

    /// Reads how all friends appear, or one friend. `None` if the engine will not reply any more.
    pub async fn read(self: &Rc<Self>, friend: Option<UserId>) -> Option<Reply> {
        let read = ReadId(self.next_read.replace(self.next_read.get().wrapping_add(1)));
        let (sender, receiver) = oneshot::channel();
        self.reads.borrow_mut().insert(read, sender);
        self.handle(Event::Read { read, friend });
        receiver.await.ok()
    }

    /// Accepts a new socket. The runtime holds it while the object sleeps.
    pub fn accept(&self, socket: SocketId, ws: &WebSocket) {
        self.state.accept_web_socket(ws);
        self.sockets.borrow_mut().insert(socket, ws.clone());
    }

    /// The id of an open socket. `None` if this object has closed it.
    pub fn socket_of(&self, ws: &web_sys::WebSocket) -> Option<SocketId> {
        let sockets = self.sockets.borrow();
        // While this map holds the socket, the runtime uses one JavaScript object for it. Comparing objects is faster than
        // reading the attachment.
        let same = |open: &WebSocket| Object::is(open.as_ref(), ws.as_ref());
        sockets.iter().find_map(|(id, open)| same(open).then_some(*id))
    }

    /// Forgets a socket that is closing. The runtime lists it until its peer has answered the close, which may never happen.
    /// So its attachment is removed: [`Self::restore`] ignores sockets without one.
    pub fn forget_socket(&self, socket: SocketId) -> Option<WebSocket> {
        let ws = self.sockets.borrow_mut().remove(&socket)?;
        if let Err(error) = ws.serialize_attachment(()) {
            log_error("attachment", &error);
        }
        Some(ws)
    }

    /// Records that the alarm has fired, so that none is set now.
    pub fn alarm_fired(&self) {
        self.keep_alarm(AlarmKeeper::gone);
    }

    /// When the runtime last answered each socket's heartbeat.
    pub fn last_heartbeats(&self) -> Vec<(SocketId, Timestamp)> {
        let raw = RawState::of(&self.state);
        let sockets = self.sockets.borrow();
        let at = |ws: &WebSocket| {
            let date = raw.auto_response_at(ws.as_ref())?;
            Some(Timestamp::from_unix_ms(date.get_time() as i64))
        };
        sockets.iter().filter_map(|(id, ws)| Some((*id, at(ws)?))).collect()
    }

    fn send(&self, to: &[SocketId], text: &str) {
        let sockets = self.sockets.borrow();
        for ws in to.iter().filter_map(|socket| sockets.get(socket)) {
            // This fails if the socket is closing. The close is a separate event.
            let _ = ws.send_with_str(text);
        }
    }

    fn attach(&self, socket: SocketId, attachment: &Attachment) {
        if let Some(ws) = self.sockets.borrow().get(&socket) {
            // Attached as bytes: if a string has one character outside Latin-1, the runtime stores all of it with two bytes a
            // character.
            let json = serde_json::to_vec(attachment).map(ByteBuf::from);
            // If this fails, the socket keeps its previous attachment.
            if let Err(error) = json.map_err(Into::into).and_then(|json| ws.serialize_attachment(json)) {
                log_error("attachment", &error);
            }
        }
    }

    fn forget_storage(self: &Rc<Self>) {
        self.deletions.set(self.deletions.get().wrapping_add(1));
        self.told_at.set(None);
        let shell = Rc::clone(self);
        self.state.wait_until(async move {
            // `delete_all` removes the alarm too.
            shell.keep_alarm(AlarmKeeper::gone);
            if let Err(error) = shell.state.storage().delete_all().await {
                log_error("storage", &error);
            }
        });
    }

    fn call_peers(self: &Rc<Self>, peers: Vec<UserId>, message: &PeerMessage) -> Promise {
        let calls = u64::try_from(peers.len()).unwrap_or(u64::MAX);
        self.count(|counts| counts.peer_calls = counts.peer_calls.saturating_add(calls));
        let shell = Rc::clone(self);
        let calls = peers::call(&self.env, peers, message, move |outcomes| {
            shell.handle_all(outcomes.into_iter().map(|(peer, answer)| match answer {
                Some(answer) => Event::PeerAnswered { peer, answer },
                None => Event::PeerFailed { peer },
            }));
        });
        // This fails only if the object is gone already.
        let _ = self.state.as_raw().wait_until(&calls);
        calls
    }

    fn check_token(self: &Rc<Self>, socket: SocketId, token: String) {
        let shell = Rc::clone(self);
        self.state.wait_until(async move {
            let outcome = match auth::check(&token, &shell.config, None).await {
                Ok(claims) if claims.user_id == shell.me => TokenOutcome::Good { expires_at: claims.expires_at },
                Ok(_) | Err(Refusal::Unauthorized) => TokenOutcome::Refused,
                Err(Refusal::NoKeys) => TokenOutcome::Unknown,
            };
            shell.handle(Event::TokenChecked { socket, outcome });
        });
    }

    fn load_social(self: &Rc<Self>, known_version: Option<u64>) {
        let shell = Rc::clone(self);
        self.state.wait_until(async move {
            match shell.ask_core(known_version, CORE_CALL_MS_MAX).await {
                core_client::Answer::Changed(social) => {
                    shell.handle(Event::SocialLoaded { social });
                }
                core_client::Answer::Same | core_client::Answer::NotRegistered => {}
                core_client::Answer::Away => {
                    shell.handle(Event::SocialFailed);
                }
            }
        });
    }

    /// Starts a timer for the engine's next tick, unless one is running.
    fn start_tick_timer(self: &Rc<Self>) {
        let mut timer = self.tick_timer.get();
        let start = timer.start(&self.engine.borrow());
        self.tick_timer.set(timer);
        let Some(at) = start else { return };
        let shell = Rc::clone(self);
        let wait_ms = at.unix_ms().saturating_sub(clock::now().unix_ms());
        self.state.wait_until(async move {
            Delay::from(Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default())).await;
            let mut timer = shell.tick_timer.get();
            timer.ended();
            shell.tick_timer.set(timer);
            shell.wake();
        });
    }

    /// Sets the alarm if it would fire later than the engine wants to be woken.
    fn keep_alarm_in_time(self: &Rc<Self>, by_friends: bool, now: Timestamp) {
        let wake = self.next_wake_at();
        let step = self.keep_alarm(|alarm| alarm.next(wake, by_friends, now));
        if step == AlarmStep::Leave {
            return;
        }
        let shell = Rc::clone(self);
        self.state.wait_until(async move {
            let storage = shell.state.storage();
            let set = if step == AlarmStep::Look { storage.get_alarm().await.ok().flatten() } else { None };
            // The engine may want to be woken at another time by now.
            let (set, wake) = (set.map(Timestamp::from_unix_ms), shell.next_wake_at());
            let AlarmStep::Set(at) = shell.keep_alarm(|alarm| alarm.found(set, wake, now)) else { return };
            shell.count(|counts| counts.rows += 1);
            let date = js_sys::Date::new(&JsValue::from_f64(at.unix_ms() as f64));
            if let Err(error) = storage.set_alarm(ScheduledTime::new(date)).await {
                shell.keep_alarm(AlarmKeeper::failed);
                log_error("alarm", &error);
            }
        });
    }

    fn next_wake_at(&self) -> Option<Timestamp> {
        self.engine.borrow().next_wake().map(|wake| wake.at)
    }

    fn keep_alarm<T>(&self, change: impl FnOnce(&mut AlarmKeeper) -> T) -> T {
        let mut alarm = self.alarm.get();
        let result = change(&mut alarm);
        self.alarm.set(alarm);
        result
    }
}

fn attachment_of(ws: &WebSocket) -> Option<Attachment> {
    let json: ByteBuf = ws.deserialize_attachment().ok()??;
    serde_json::from_slice(&json).ok()
}

fn log_error(what: &str, error: &worker::Error) {
    worker::console_error!(
        "{}",
        serde_json::json!({ "level": "error", "object": what, "error": answer::kind_of(error) })
    );
}
