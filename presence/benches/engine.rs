//! What one event costs the engine of a user with 150 friends who are all online: a page of their own, a friend's page, and a
//! friend's page that wakes it. `cargo bench --package presence`.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot be set up ends there")]

use std::hint::black_box;

use divan::{Bencher, counter::ItemsCount};
use presence::{Attachment, Effect, EngineConfig, Event, Frame, Save, Saved, UserPresence};
use shared::{
    api::UserInfo,
    ids::{SocketId, UserId},
    internal::{Interest, PeerAnswer, PeerMessage, PeerSay, Presence, Social},
    share_policy::{ShareMode, SharePolicy},
    time::Timestamp,
    wire::PresenceUpdate,
};
use uuid::Uuid;

const FRIENDS: usize = 150;

fn main() {
    divan::main();
}

fn id(number: usize) -> UserId {
    format!("00000000-0000-4000-8000-{number:012}").parse().unwrap()
}

fn info(number: usize) -> UserInfo {
    UserInfo { user_id: id(number), first_name: "A".into(), last_name: "B".into(), profile_image_extension: None }
}

fn presence(number: usize, seq: u64, at: Timestamp) -> Presence {
    let (url, title) = (format!("https://example.com/{seq}"), "A page of some length".to_owned());
    Presence::new(PresenceUpdate {
        user_id: id(number),
        url: url.clone(),
        title: title.clone(),
        domain: "example.com".into(),
        latest_url: url,
        latest_title: title,
        latest_domain: "example.com".into(),
        seq,
        at,
        idle: false,
        idle_since: None,
    })
}

struct User {
    engine: UserPresence,
    saved: Saved,
    attachment: Option<Attachment>,
    socket: SocketId,
    now: Timestamp,
}

impl User {
    fn new() -> Self {
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        let engine = UserPresence::restore(id(0), EngineConfig::default(), Saved::default(), Vec::new(), now);
        let socket = SocketId(Uuid::from_u128(1));
        let mut user = Self { engine, saved: Saved::default(), attachment: None, socket, now };
        let share = SharePolicy { mode: ShareMode::DefaultAll, allow: Default::default(), deny: Default::default() };
        let friends = (1..=FRIENDS).map(info).collect();
        user.handle(Event::SocialLoaded {
            social: Social { version: 1, user: info(0), share, suspended: false, friends },
        });
        user.handle(Event::SocketOpened { socket, expires_at: now.plus_ms(3_600_000_000) });
        for number in 1..=FRIENDS {
            let presence = presence(number, 1_800_000_000_000, now);
            let answer = PeerAnswer::Online { seq: 1_800_000_000_000, presence, wants: Interest::Pages };
            user.handle(Event::PeerAnswered { peer: id(number), answer });
        }
        user.now = user.now.plus_ms(60_000);
        user.turn_page(0);
        user
    }

    fn handle(&mut self, event: Event) -> usize {
        let effects = self.engine.handle(event, self.now);
        let count = effects.len();
        for effect in effects {
            match effect {
                Effect::Attach { attachment, .. } => self.attachment = Some(attachment),
                Effect::Save(Save::State(state)) => self.saved.state = state,
                Effect::Save(Save::Social(social)) => self.saved.social = Some(social),
                Effect::Save(Save::EventIds(ids)) => self.saved.event_ids = ids,
                Effect::Send { .. }
                | Effect::Show { .. }
                | Effect::Close { .. }
                | Effect::CallPeers { .. }
                | Effect::AnswerPeer(_)
                | Effect::AnswerCore(_)
                | Effect::CheckToken { .. }
                | Effect::LoadSocial { .. }
                | Effect::Reply { .. }
                | Effect::Forget => {}
            }
        }
        count
    }

    /// A page of the user's own, heard by every friend.
    fn turn_page(&mut self, page: u64) -> usize {
        self.now = self.now.plus_ms(2_000);
        let text = format!(r#"{{"action":"update-presence","url":"https://example.com/{page}","title":"A page"}}"#);
        let mut count = self.handle(Event::FrameReceived { socket: self.socket, frame: Frame::Text(text) });
        for number in 1..=FRIENDS {
            let answer = PeerAnswer::Taken { wants: Interest::Pages };
            count += self.handle(Event::PeerAnswered { peer: id(number), answer });
        }
        count
    }

    fn friends_page(&self, number: usize, seq: u64) -> Event {
        let presence = presence(number, seq, self.now);
        let (from, wants, say) = (id(number), Interest::Pages, PeerSay::Presence { presence });
        Event::PeerSpoke { message: PeerMessage { from, seq, sent_at: self.now, wants, say } }
    }
}

#[divan::bench]
fn own_page_and_every_friends_answer(bencher: Bencher) {
    let mut user = User::new();
    let mut page = 0;
    bencher.counter(ItemsCount::new(FRIENDS)).bench_local(|| {
        page += 1;
        black_box(user.turn_page(page))
    });
}

#[divan::bench]
fn friends_page(bencher: Bencher) {
    let mut user = User::new();
    let mut seq = 1_800_000_100_000;
    bencher.bench_local(|| {
        seq += 1;
        let event = user.friends_page(7, seq);
        user.now = user.now.plus_ms(1);
        black_box(user.handle(event) + usize::from(user.engine.next_wake().is_some()))
    });
}

#[divan::bench]
fn friends_page_after_sleep(bencher: Bencher) {
    let user = User::new();
    let now = user.now.plus_ms(60_000);
    let event = user.friends_page(7, 1_800_000_200_000);
    bencher
        .with_inputs(|| (user.saved.clone(), vec![user.attachment.clone().unwrap()], event.clone()))
        .bench_local_values(|(saved, attachments, event)| {
            let mut engine = UserPresence::restore(id(0), EngineConfig::default(), saved, attachments, now);
            black_box(engine.handle(event, now).len() + usize::from(engine.next_wake().is_some()))
        });
}
