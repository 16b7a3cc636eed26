//! Three users, their devices and the core do things in any order. What is hidden stays hidden, only friends see anything, and in
//! the end everybody sees what is true.

use std::collections::BTreeMap;

use presence::Reply;
use proptest::prelude::*;
use shared::{ids::SocketId, share_policy::ShareMode, wire::ServerMessage};

use crate::population::{GRACE_MS, Population, id};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const PAGES: [&str; 4] =
    ["https://example.com/a", "https://github.com/b", "https://hidden.org/secret", "http://10.0.0.1/secret"];

#[derive(Debug, Clone, Copy)]
enum Step {
    Connect(usize),
    Disconnect(usize),
    Visit(usize, usize),
    Idle(usize, bool),
    Watch(usize, bool),
    Vanish(usize, bool),
    Goodbye(usize),
    Unreachable(usize, bool),
    Hibernate(usize),
    Evict(usize),
    Redeploy(usize),
    Pass { ms: i64 },
    Befriend(usize, usize),
    Unfriend(usize, usize),
    ShareOnlyFirst(usize),
    ShareBoth(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..NAMES.len();
    let pair = (who.clone(), 1..NAMES.len()).prop_map(|(a, further)| (a, (a + further) % NAMES.len()));
    prop_oneof![
        3 => who.clone().prop_map(Step::Connect),
        2 => who.clone().prop_map(Step::Disconnect),
        6 => (who.clone(), 0..PAGES.len()).prop_map(|(who, page)| Step::Visit(who, page)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, idle)| Step::Idle(who, idle)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, watching)| Step::Watch(who, watching)),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, invisible)| Step::Vanish(who, invisible)),
        1 => who.clone().prop_map(Step::Goodbye),
        1 => (who.clone(), any::<bool>()).prop_map(|(who, away)| Step::Unreachable(who, away)),
        1 => who.clone().prop_map(Step::Hibernate),
        1 => who.clone().prop_map(Step::Evict),
        1 => who.clone().prop_map(Step::Redeploy),
        3 => (1..GRACE_MS * 2).prop_map(|ms| Step::Pass { ms }),
        1 => pair.clone().prop_map(|(a, b)| Step::Befriend(a, b)),
        1 => pair.prop_map(|(a, b)| Step::Unfriend(a, b)),
        1 => who.clone().prop_map(Step::ShareOnlyFirst),
        1 => who.prop_map(Step::ShareBoth),
    ]
}

/// The population, and what the test knows of it.
struct World {
    population: Population,
    sockets: BTreeMap<usize, Vec<SocketId>>,
    friends: Vec<(usize, usize)>,
    invisible: [bool; 3],
    /// The newest `seq` each socket saw of each user.
    seqs: BTreeMap<(SocketId, String), u64>,
}

impl World {
    fn new() -> Self {
        let population = Population::new(&NAMES, &[("alice", "bob")]);
        Self {
            population,
            sockets: BTreeMap::new(),
            friends: vec![(0, 1)],
            invisible: [false; 3],
            seqs: BTreeMap::new(),
        }
    }

    fn are_friends(&self, a: usize, b: usize) -> bool {
        self.friends.contains(&(a.min(b), a.max(b)))
    }

    fn take(&mut self, step: Step) {
        let last = |world: &Self, who: usize| world.sockets.get(&who).and_then(|sockets| sockets.last().copied());
        match step {
            Step::Connect(who) => {
                let socket = self.population.connect(NAMES[who]);
                self.sockets.entry(who).or_default().push(socket);
            }
            Step::Disconnect(who) => {
                if let Some(socket) = self.sockets.get_mut(&who).and_then(Vec::pop) {
                    self.population.disconnect(socket);
                }
            }
            Step::Visit(who, page) => {
                if let Some(socket) = last(self, who) {
                    self.population.visit(socket, PAGES[page]);
                }
            }
            Step::Idle(who, idle) => {
                if let Some(socket) = last(self, who) {
                    self.population.say(socket, &format!(r#"{{"action":"set-idle","idle":{idle}}}"#));
                }
            }
            Step::Watch(who, watching) => {
                if let Some(socket) = last(self, who) {
                    self.population.say(socket, &format!(r#"{{"action":"watch","watching":{watching}}}"#));
                }
            }
            Step::Vanish(who, invisible) => {
                if let Some(socket) = last(self, who) {
                    self.population.say(socket, &format!(r#"{{"action":"set-visibility","invisible":{invisible}}}"#));
                    self.invisible[who] = invisible;
                }
            }
            Step::Goodbye(who) => {
                if let Some(socket) = self.sockets.get_mut(&who).and_then(Vec::pop) {
                    self.population.say(socket, r#"{"action":"goodbye"}"#);
                }
            }
            Step::Unreachable(who, true) => drop(self.population.unreachable.insert(id(NAMES[who]))),
            Step::Unreachable(who, false) => drop(self.population.unreachable.remove(&id(NAMES[who]))),
            Step::Hibernate(who) => self.population.hibernate(NAMES[who]),
            Step::Evict(who) => self.population.evict(NAMES[who]),
            Step::Redeploy(who) => {
                self.population.redeploy(NAMES[who]);
                self.sockets.remove(&who);
            }
            Step::Pass { ms } => {
                for socket in self.sockets.values().flatten() {
                    self.population.heartbeat(*socket);
                }
                self.population.pass_ms(ms);
            }
            Step::Befriend(a, b) if !self.are_friends(a, b) => {
                self.friends.push((a.min(b), a.max(b)));
                let events = self.population.befriend(NAMES[a], NAMES[b]);
                self.population.deliver(events);
            }
            Step::Unfriend(a, b) if self.are_friends(a, b) => {
                self.friends.retain(|pair| *pair != (a.min(b), a.max(b)));
                let events = self.population.unfriend(NAMES[a], NAMES[b]);
                self.population.deliver(events);
            }
            Step::Befriend(..) | Step::Unfriend(..) => {}
            Step::ShareOnlyFirst(who) => self.share(who, &["example.com"]),
            Step::ShareBoth(who) => self.share(who, &["example.com", "github.com"]),
        }
    }

    fn share(&mut self, who: usize, allow: &[&str]) {
        let event = self.population.set_share(NAMES[who], ShareMode::DefaultNone, allow, &[]);
        self.population.deliver([event]);
    }

    /// Checks after every step that no socket or call holds anything that it must not.
    fn check(&mut self) {
        for (who, sockets) in self.sockets.clone() {
            for socket in sockets {
                for message in self.population.seen(socket) {
                    self.check_message(who, socket, &message);
                }
            }
        }
        assert!(!format!("{:?}", self.population.calls).contains("secret"), "a hidden page left its owner's object");
        self.population.calls.clear();
    }

    fn check_message(&mut self, who: usize, socket: SocketId, message: &ServerMessage) {
        assert!(!format!("{message:?}").contains("secret"), "a hidden page was shown");
        if let ServerMessage::UpdatePresence(update) = message {
            let of = NAMES.iter().position(|name| *name == update.user_id.as_str()).unwrap();
            assert!(of == who || self.are_friends(who, of), "{} saw {}", NAMES[who], NAMES[of]);
            // The same `seq` may come again: an object that lost its memory queries its friends, and passes on what they answer.
            let before = self.seqs.insert((socket, update.user_id.to_string()), update.seq);
            assert!(before.is_none_or(|before| before <= update.seq), "seq went from {before:?} to {}", update.seq);
        }
    }

    fn page(&mut self, reader: usize, of: usize) -> Reply {
        self.population.read(NAMES[reader], Some(NAMES[of]))
    }
}

proptest! {
    #[test]
    fn in_any_order_only_friends_see_and_only_what_is_true(steps in proptest::collection::vec(step(), 1..60)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        // Nothing new happens from here on. Graces end, and all calls that failed are made again.
        world.population.unreachable.clear();
        for name in NAMES {
            world.population.alarm(name);
        }
        for _ in 0..20 {
            world.take(Step::Pass { ms: GRACE_MS * 2 });
            world.check();
        }
        for (who, name) in NAMES.into_iter().enumerate() {
            let has_socket = world.sockets.get(&who).is_some_and(|sockets| !sockets.is_empty());
            // An alarm that was set before a deployment fires after it, and finds no socket.
            if !has_socket {
                world.population.alarm(name);
            }
            let own = world.page(who, who);
            let online = has_socket && !world.invisible[who];
            prop_assert_eq!(matches!(own, Reply::One(Some(_))), online, "{} is online by their sockets", name);
            for (reader, reads) in NAMES.into_iter().enumerate() {
                if world.are_friends(reader, who) {
                    prop_assert_eq!(world.page(reader, who), own.clone(), "what {} sees of {}", reads, name);
                } else if reader != who {
                    prop_assert_eq!(world.page(reader, who), Reply::NotFriends);
                }
            }
        }
    }
}
