//! A few users' engines, the storage and sockets that outlive their memory, and a core that knows who is
//! friends with whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use presence::{
    Admission, AdmissionStep, Attachment, CachedSocial, Effect, EngineConfig, Event, Frame, HeartbeatMode, ReadId,
    Reply, Save, Saved, TokenOutcome, UserPresence,
};
use serde::{Serialize, de::DeserializeOwned};
use shared::{
    api::{UserInfo, UserSummary},
    ids::{EventId, SocketId, UserId},
    internal::{Change, CoreEvent, Interest, PeerAnswer, PeerMessage, PeerSay, Presence, Social},
    page::{Domain, Page},
    share_policy::{ShareMode, SharePolicy},
    time::Timestamp,
    wire::{CloseCode, PageView, PresenceSnapshot, PresenceUpdate, ServerMessage},
};
use uuid::Uuid;

pub const TIMEOUT_MS: i64 = 180_000;
pub const GRACE_MS: i64 = 15_000;
/// The longest delay before silence is noticed.
pub const SLACK_MS: i64 = 2_000;
/// An object to which nothing happens for this long goes to sleep.
pub const SLEEP_MS: i64 = 10_000;
/// How long a token is valid.
pub const TOKEN_MS: i64 = 3_600_000;
/// More calls or wake-ups than any story needs. A story that never settles fails at this bound.
const ENDLESS: usize = 10_000;

pub struct Population {
    pub now: Timestamp,
    users: BTreeMap<UserId, UserPresence>,
    saved: BTreeMap<UserId, Saved>,
    attachments: BTreeMap<SocketId, (UserId, Attachment)>,
    inboxes: BTreeMap<SocketId, Vec<ServerMessage>>,
    pub closed: BTreeMap<SocketId, CloseCode>,
    heartbeats: BTreeMap<SocketId, Timestamp>,
    pub heartbeat_mode: HeartbeatMode,
    /// What the core knows.
    socials: BTreeMap<UserId, Social>,
    pub core_is_away: bool,
    /// Users whose objects cannot be reached.
    pub unreachable: BTreeSet<UserId>,
    /// Users whose objects receive calls, but whose answers get lost.
    pub unanswering: BTreeSet<UserId>,
    /// Users whose answers are held back until the story lets them arrive.
    pub slow: BTreeSet<UserId>,
    answers: Vec<(UserId, Event)>,
    pub calls: Vec<(UserId, PeerMessage)>,
    pub core_calls: usize,
    pub saves: usize,
    pub attachings: usize,
    pub wakes: usize,
    replies: BTreeMap<ReadId, Reply>,
    next_id: u128,
}

pub fn id(name: &str) -> UserId {
    name.parse().unwrap()
}

pub fn domain(text: &str) -> Domain {
    Domain::parse_entry(text).unwrap()
}

fn info(name: &str) -> UserInfo {
    UserInfo { user_id: id(name), first_name: name.into(), last_name: "Test".into(), profile_image_extension: None }
}

pub fn summary(name: &str) -> UserSummary {
    UserSummary {
        user_id: id(name),
        first_name: name.into(),
        last_name: "Test".into(),
        description: String::new(),
        profile_image_uploaded_at: None,
        profile_image_extension: None,
        friendship_state: None,
        mutual_friend_count: None,
    }
}

/// What friends see of a user who shows this page. An empty URL means that no page is shown.
pub fn showing(name: &str, url: &str, at: Timestamp) -> Presence {
    let page = Page::parse(url, "t").expect("a short URL");
    let PageView { url, title, domain } = PageView::from(page.as_ref());
    Presence::new(PresenceUpdate {
        user_id: id(name),
        latest_url: url.clone(),
        latest_title: title.clone(),
        latest_domain: domain.clone(),
        url,
        title,
        domain,
        seq: 0,
        at,
        idle: false,
        idle_since: None,
    })
}

/// The value after it was written as JSON and read again, as storage and sockets do.
fn written<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_slice(&serde_json::to_vec(value).unwrap()).unwrap()
}

/// Alice and bob are friends, online and up to date.
pub fn two() -> (Population, SocketId, SocketId) {
    let mut population = Population::new(&["alice", "bob"], &[("alice", "bob")]);
    let (alice, bob) = (population.connect("alice"), population.connect("bob"));
    population.seen(alice);
    population.seen(bob);
    (population, alice, bob)
}

impl Population {
    /// Registered users who show pages of example.com and github.com, and the pairs who are friends.
    pub fn new(names: &[&str], friendships: &[(&str, &str)]) -> Self {
        let allow = BTreeSet::from([domain("example.com"), domain("github.com")]);
        let share = SharePolicy { mode: ShareMode::DefaultNone, allow, deny: BTreeSet::new() };
        let socials = names.iter().map(|name| {
            let friends = friendships.iter().filter_map(|(a, b)| match *name {
                n if n == *a => Some(info(b)),
                n if n == *b => Some(info(a)),
                _ => None,
            });
            let social = Social {
                version: 1,
                user: info(name),
                share: share.clone(),
                suspended: false,
                friends: friends.collect(),
            };
            (id(name), social)
        });
        Self {
            now: Timestamp::from_unix_ms(1_772_366_400_000),
            users: BTreeMap::new(),
            saved: BTreeMap::new(),
            attachments: BTreeMap::new(),
            inboxes: BTreeMap::new(),
            closed: BTreeMap::new(),
            heartbeats: BTreeMap::new(),
            heartbeat_mode: HeartbeatMode::default(),
            socials: socials.collect(),
            core_is_away: false,
            unreachable: BTreeSet::new(),
            unanswering: BTreeSet::new(),
            slow: BTreeSet::new(),
            answers: Vec::new(),
            calls: Vec::new(),
            core_calls: 0,
            saves: 0,
            attachings: 0,
            wakes: 0,
            replies: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Lets time pass. Every user whose alarm or timer falls due in the meantime is woken, in order.
    pub fn pass_ms(&mut self, ms: i64) {
        let until = self.now.plus_ms(ms);
        loop {
            let due = self.users.iter().flat_map(|(id, user)| {
                user.next_wake().map(|wake| wake.at).into_iter().chain(user.next_tick()).map(|at| (at, id.clone()))
            });
            let Some((at, who)) = due.min().filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            self.wake(&who);
        }
        self.now = until;
    }

    fn wake(&mut self, who: &UserId) {
        self.wakes += 1;
        assert!(self.wakes < ENDLESS, "somebody is woken for ever");
        let heard = self.heartbeats.iter().map(|(socket, at)| (*socket, *at)).collect();
        self.happen(who, Event::Woken { heard });
    }

    /// When the user's engine wants its alarm to fire.
    pub fn next_wake(&self, name: &str) -> Option<Timestamp> {
        self.users[&id(name)].next_wake().map(|wake| wake.at)
    }

    /// Fires the user's alarm now, whenever the engine wants it to fire.
    pub fn alarm(&mut self, name: &str) {
        self.wake(&id(name));
    }

    /// Connects a client as the shell does. The core is asked first if the user comes online or if names are missing.
    pub fn connect(&mut self, name: &str) -> SocketId {
        self.next_id += 1;
        let socket = SocketId(Uuid::from_u128(self.next_id));
        let who = id(name);
        let now = self.now;
        let admission = Admission::of_client(self.user(&who), None, now);
        self.admit(&who, admission);
        self.inboxes.insert(socket, Vec::new());
        let expires_at = self.now.plus_ms(TOKEN_MS);
        self.happen(&who, Event::SocketOpened { socket, expires_at });
        socket
    }

    /// Asks the core as the shell does before it lets somebody in.
    fn admit(&mut self, who: &UserId, mut admission: Admission) {
        while let AdmissionStep::AskCore { known_version } = admission.next(self.user(who)) {
            if self.core_is_away {
                admission.core_away();
                continue;
            }
            self.core_calls += 1;
            let social = self.socials[who].clone();
            if known_version != Some(social.version) {
                self.happen(who, Event::SocialLoaded { social });
            }
        }
    }

    pub fn disconnect(&mut self, socket: SocketId) {
        let (who, _) = self.attachments.get(&socket).cloned().unwrap();
        // The runtime still lists the socket when its close wakes an object.
        self.happen(&who, Event::SocketClosed { socket });
        self.attachments.remove(&socket);
    }

    /// The runtime answers a heartbeat itself, and wakes nobody.
    pub fn heartbeat(&mut self, socket: SocketId) {
        self.heartbeats.insert(socket, self.now);
    }

    pub fn say(&mut self, socket: SocketId, text: &str) {
        self.say_frame(socket, Frame::Text(text.to_owned()));
    }

    pub fn say_frame(&mut self, socket: SocketId, frame: Frame) {
        let (who, _) = self.attachments.get(&socket).cloned().unwrap();
        self.happen(&who, Event::FrameReceived { socket, frame });
    }

    pub fn visit(&mut self, socket: SocketId, url: &str) {
        let message = serde_json::json!({ "action": "update-presence", "url": url, "title": "A title" });
        self.say(socket, &message.to_string());
    }

    pub fn read(&mut self, name: &str, friend: Option<&str>) -> Reply {
        let read = self.begin_to_read(name, friend);
        self.reply(read)
    }

    /// The reply to a read. It must have been given by now.
    pub fn reply(&mut self, read: ReadId) -> Reply {
        self.replies.remove(&read).expect("every read is answered")
    }

    pub fn begin_to_read(&mut self, name: &str, friend: Option<&str>) -> ReadId {
        self.next_id += 1;
        let read = ReadId(self.next_id as u64);
        let who = id(name);
        let admission = Admission::of_reader(self.user(&who), friend.is_some());
        self.admit(&who, admission);
        self.happen(&who, Event::Read { read, friend: friend.map(id) });
        read
    }

    /// Changes what the core knows of a user and raises the version, without an event.
    pub fn change_silently(&mut self, name: &str, change: impl FnOnce(&mut Social)) {
        let social = self.socials.get_mut(&id(name)).unwrap();
        social.version += 1;
        change(social);
    }

    /// Makes two users friends in the core. Gives the events for the first and for the second user.
    pub fn befriend(&mut self, a: &str, b: &str) -> [CoreEvent; 2] {
        [(a, b), (b, a)].map(|(who, whom)| {
            self.change_silently(who, |social| social.friends.push(info(whom)));
            self.event(who, Change::FriendAccepted { user: summary(whom) })
        })
    }

    pub fn unfriend(&mut self, a: &str, b: &str) -> [CoreEvent; 2] {
        [(a, b), (b, a)].map(|(who, whom)| {
            self.change_silently(who, |social| social.friends.retain(|friend| friend.user_id != id(whom)));
            self.event(who, Change::FriendRemoved { user_id: id(whom) })
        })
    }

    pub fn set_share(&mut self, name: &str, mode: ShareMode, allow: &[&str], deny: &[&str]) -> CoreEvent {
        let list = |texts: &[&str]| texts.iter().map(|text| domain(text)).collect();
        let share = SharePolicy { mode, allow: list(allow), deny: list(deny) };
        self.change_silently(name, |social| social.share = share.clone());
        self.event(name, Change::SettingsUpdated { share })
    }

    /// Renames a user in the core. Gives the events for the friends and for the user.
    pub fn rename(&mut self, name: &str, first_name: &str) -> Vec<CoreEvent> {
        let user = UserInfo { first_name: first_name.to_owned(), ..info(name) };
        let friends = self.social(name).friends.into_iter().map(|friend| friend.user_id.to_string());
        let concerned: Vec<String> = friends.chain([name.to_owned()]).collect();
        let renamed = |who: String| {
            self.change_silently(&who, |social| {
                let known = social.friends.iter_mut().chain([&mut social.user]);
                known.filter(|known| known.user_id == user.user_id).for_each(|known| *known = user.clone());
            });
            self.event(&who, Change::UserUpdated { user: user.clone() })
        };
        concerned.into_iter().map(renamed).collect()
    }

    /// Deletes an account in the core, and gives the event for it.
    pub fn delete(&mut self, name: &str) -> CoreEvent {
        self.change_silently(name, |social| social.friends.clear());
        self.event(name, Change::UserDeleted {})
    }

    /// Suspends or restores a user in the core, as an operator does, and gives the event for it.
    pub fn suspend(&mut self, name: &str, suspended: bool) -> CoreEvent {
        self.change_silently(name, |social| social.suspended = suspended);
        self.event(name, if suspended { Change::UserSuspended {} } else { Change::UserRestored {} })
    }

    /// An event of the core that leaves the social version as it is.
    pub fn passing_event(&mut self, recipient: &str, change: Change) -> CoreEvent {
        CoreEvent { version: 0, ..self.event(recipient, change) }
    }

    fn event(&mut self, recipient: &str, change: Change) -> CoreEvent {
        self.next_id += 1;
        let version = self.socials[&id(recipient)].version;
        CoreEvent { id: EventId(Uuid::from_u128(self.next_id)), recipient: id(recipient), version, change }
    }

    pub fn deliver(&mut self, events: impl IntoIterator<Item = CoreEvent>) {
        for event in events {
            self.happen(&event.recipient.clone(), Event::CoreReported { events: vec![event] });
        }
    }

    /// Delivers events of one recipient in one batch.
    pub fn deliver_together<const N: usize>(&mut self, events: [CoreEvent; N]) {
        let who = events[0].recipient.clone();
        self.happen(&who, Event::CoreReported { events: events.into() });
    }

    /// Lets an object sleep: time passes, and then its memory is lost. Storage and sockets stay.
    pub fn hibernate(&mut self, name: &str) {
        self.pass_ms(SLEEP_MS);
        self.evict(name);
    }

    /// Lets a user's object sleep as soon as it can, until its alarm fires. The heartbeats of all sockets go on.
    pub fn sleep_until_alarm(&mut self, name: &str) {
        loop {
            let wake = self.next_wake(name).expect("an alarm is set");
            self.heartbeats.extend(self.attachments.keys().map(|socket| (*socket, wake)));
            if wake >= self.now.plus_ms(SLEEP_MS) {
                self.evict(name);
                self.now = wake;
                return self.alarm(name);
            }
            self.pass_ms(wake.unix_ms() - self.now.unix_ms());
        }
    }

    /// What the core knows of a user.
    pub fn social(&self, name: &str) -> Social {
        self.socials[&id(name)].clone()
    }

    /// Gives a user's object this answer of the core, whatever it asked.
    pub fn load(&mut self, name: &str, social: Social) {
        self.happen(&id(name), Event::SocialLoaded { social });
    }

    /// The answers of slow friends arrive, and nobody is slow any more.
    pub fn answers_arrive(&mut self) {
        self.slow.clear();
        self.answers_so_far_arrive();
    }

    /// The answers of slow friends so far arrive. The friends stay slow.
    pub fn answers_so_far_arrive(&mut self) {
        for (who, answer) in std::mem::take(&mut self.answers) {
            self.happen(&who, answer);
        }
    }

    /// The answers of this slow friend arrive, and the friend is no longer slow.
    pub fn answer_arrives(&mut self, from: &str) {
        self.slow.remove(&id(from));
        let of = |event: &Event| matches!(event, Event::PeerAnswered { peer, .. } if *peer == id(from));
        let (arriving, left): (Vec<_>, _) =
            std::mem::take(&mut self.answers).into_iter().partition(|(_, answer)| of(answer));
        self.answers = left;
        for (who, answer) in arriving {
            self.happen(&who, answer);
        }
    }

    /// Memory is lost at this moment. Storage and sockets stay.
    pub fn evict(&mut self, name: &str) {
        self.users.remove(&id(name));
    }

    /// Whether the user's object believes that it slept.
    pub fn has_slept(&mut self, name: &str) -> bool {
        self.user(&id(name)).has_slept()
    }

    /// A deployment: memory and all sockets are lost, and no close is reported.
    pub fn redeploy(&mut self, name: &str) {
        self.users.remove(&id(name));
        self.attachments.retain(|_, (who, _)| *who != id(name));
    }

    /// Memory and this socket are lost, and no close is reported.
    pub fn lose(&mut self, socket: SocketId) {
        let (who, _) = self.attachments.remove(&socket).unwrap();
        self.users.remove(&who);
    }

    /// Memory is lost between two writes: storage has this change already, the sockets do not.
    pub fn lose_after_saving(&mut self, name: &str, change: impl FnOnce(&mut Saved)) {
        change(self.saved.get_mut(&id(name)).unwrap());
        self.evict(name);
    }

    /// The messages that a socket got since the last call.
    pub fn seen(&mut self, socket: SocketId) -> Vec<ServerMessage> {
        std::mem::take(self.inboxes.get_mut(&socket).unwrap())
    }

    /// The presence update that a socket got. It must be the only message.
    pub fn update(&mut self, socket: SocketId) -> PresenceUpdate {
        match self.seen(socket).as_slice() {
            [ServerMessage::UpdatePresence(update)] => update.clone(),
            other => panic!("one update, not {other:?}"),
        }
    }

    /// The snapshot that a socket got. It must be the only message.
    pub fn snapshot(&mut self, socket: SocketId) -> PresenceSnapshot {
        match self.seen(socket).as_slice() {
            [ServerMessage::PresenceSnapshot(snapshot)] => snapshot.clone(),
            other => panic!("one snapshot, not {other:?}"),
        }
    }

    /// The size of a socket's attachment, in bytes.
    pub fn attachment_bytes(&self, socket: SocketId) -> usize {
        serde_json::to_vec(&self.attachments[&socket].1).unwrap().len()
    }

    /// What storage holds for a user.
    pub fn saved(&self, name: &str) -> Saved {
        self.saved.get(&id(name)).cloned().unwrap_or_default()
    }

    /// The attachments of a user's sockets.
    pub fn carried(&self, name: &str) -> Vec<Attachment> {
        let of = |(who, attachment): &(UserId, Attachment)| (*who == id(name)).then(|| attachment.clone());
        self.attachments.values().filter_map(of).collect()
    }

    /// Friends and settings as a user's object has stored them.
    pub fn kept(&self, name: &str) -> Option<Social> {
        self.saved(name).social.map(|kept| kept.read().unwrap())
    }

    /// A message that a user's object sends to a friend's object now.
    pub fn message(&self, from: &str, seq: u64, say: PeerSay) -> PeerMessage {
        PeerMessage { from: id(from), seq, sent_at: self.now, wants: Interest::Pages, say }
    }

    /// Delivers a peer's message to an object, and gives the answer.
    pub fn speak(&mut self, to: &str, message: PeerMessage) -> PeerAnswer {
        self.happen(&id(to), Event::PeerSpoke { message }).expect("every peer is answered")
    }

    fn user(&mut self, who: &UserId) -> &mut UserPresence {
        let (saved, attachments, now) = (&self.saved, &self.attachments, self.now);
        self.users.entry(who.clone()).or_insert_with(|| {
            let times = EngineConfig { timeout_ms: TIMEOUT_MS, grace_ms: GRACE_MS, heartbeats: self.heartbeat_mode };
            let saved = saved.get(who).cloned().unwrap_or_default();
            let carried = attachments.values().filter(|(of, _)| of == who).map(|(_, carried)| carried.clone());
            UserPresence::restore(who.clone(), times, saved, carried.collect(), now)
        })
    }

    /// Lets an event happen to a user, and carries out everything that follows from it.
    fn happen(&mut self, who: &UserId, event: Event) -> Option<PeerAnswer> {
        let now = self.now;
        let mut queue = VecDeque::from(self.user(who).handle(event, now));
        let mut answered = None;
        while let Some(effect) = queue.pop_front() {
            let next = match effect {
                Effect::Send { sockets, message } => {
                    for socket in sockets {
                        self.inboxes.get_mut(&socket).unwrap().push(message.clone());
                    }
                    continue;
                }
                Effect::Show { sockets, presence } => {
                    let update = presence.read().expect("what clients can read");
                    let message = ServerMessage::UpdatePresence(update);
                    queue.push_front(Effect::Send { sockets, message });
                    continue;
                }
                Effect::Close { socket, code } => {
                    self.attachments.remove(&socket);
                    self.closed.insert(socket, code);
                    continue;
                }
                Effect::Attach { socket, attachment } => {
                    self.attachings += 1;
                    self.attachments.insert(socket, (who.clone(), written(&attachment)));
                    continue;
                }
                Effect::Save(save) => {
                    self.saves += 1;
                    let saved = self.saved.entry(who.clone()).or_default();
                    match save {
                        Save::State(state) => saved.state = written(&state),
                        Save::Social(social) => {
                            saved.social = Some(CachedSocial::from_text(&social.to_text().unwrap()).unwrap())
                        }
                        Save::EventIds(ids) => saved.event_ids = ids,
                    }
                    continue;
                }
                Effect::Forget => {
                    self.saved.remove(who);
                    continue;
                }
                Effect::Reply { read, reply } => {
                    self.replies.insert(read, reply);
                    continue;
                }
                Effect::AnswerPeer(answer) => {
                    answered = Some(answer);
                    continue;
                }
                Effect::AnswerCore(taken) => {
                    assert!(!taken.taken.is_empty(), "whatever was handed over is taken");
                    continue;
                }
                Effect::CheckToken { socket, token } => {
                    let outcome = match token.as_str() {
                        "good" => TokenOutcome::Good { expires_at: now.plus_ms(TOKEN_MS) },
                        "unknown" => TokenOutcome::Unknown,
                        _ => TokenOutcome::Refused,
                    };
                    vec![Event::TokenChecked { socket, outcome }]
                }
                Effect::LoadSocial { .. } if self.core_is_away => vec![Event::SocialFailed],
                Effect::LoadSocial { known_version } => {
                    self.core_calls += 1;
                    let social = self.socials[who].clone();
                    if known_version == Some(social.version) { vec![] } else { vec![Event::SocialLoaded { social }] }
                }
                Effect::CallPeers { peers, message } => {
                    let mut outcomes = Vec::new();
                    for peer in peers {
                        self.calls.push((peer.clone(), message.clone()));
                        assert!(self.calls.len() < ENDLESS, "friends call each other for ever");
                        if self.unreachable.contains(&peer) {
                            outcomes.push(Event::PeerFailed { peer });
                            continue;
                        }
                        let message = message.clone();
                        let answer = self.happen(&peer, Event::PeerSpoke { message });
                        let answer = answer.expect("every peer is answered");
                        if self.unanswering.contains(&peer) {
                            outcomes.push(Event::PeerFailed { peer });
                        } else if self.slow.contains(&peer) {
                            self.answers.push((who.clone(), Event::PeerAnswered { peer, answer }));
                        } else {
                            outcomes.push(Event::PeerAnswered { peer, answer });
                        }
                    }
                    outcomes
                }
            };
            for event in next {
                queue.extend(self.user(who).handle(event, now));
            }
        }
        answered
    }
}
