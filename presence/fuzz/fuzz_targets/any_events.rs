//! Whatever happens to an engine, however senseless: it neither panics, nor grows without bound, nor leaves a friend or
//! the core without the one answer they are owed, and memory may be lost between any two events.
#![no_main]

use arbitrary::{Arbitrary as _, Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use presence::{
    Attachment, Effect, EngineConfig, Event, Frame, ReadId, Save, Saved, TokenOutcome, UserPresence,
    limits::EVENT_IDS_REMEMBERED,
};
use shared::{
    api::{ShareNotification, UserFriendRequest, UserInfo, UserSummary},
    ids::{EventId, ShareId, SocketId, UserId},
    internal::{Change, CoreEvent, Interest, PeerAnswer, PeerMessage, PeerSay, Presence, Social},
    limits::SOCKETS_MAX,
    page::{Domain, Page},
    share_policy::{ShareMode, SharePolicy},
    time::Timestamp,
    wire::{PageView, PresenceUpdate},
};
use std::collections::BTreeMap;
use uuid::Uuid;

/// After how many events the engine's memory is looked at.
const LOOK_EVERY: u32 = 16;

/// Then the whole engine as text stays below this with eight friends: ten sockets with pages of the longest
/// kind and as many views.
const TEXT_BYTES_MAX: usize = 400_000;

/// What a socket may carry, in bytes of JSON.
const ATTACHMENT_BYTES_MAX: usize = 16_384;

fn user(u: &mut Unstructured) -> Result<UserId> {
    Ok(format!("user{}", u.int_in_range(0..=8)?).parse().expect("an id"))
}

fn socket(u: &mut Unstructured) -> Result<SocketId> {
    Ok(SocketId(Uuid::from_u128(u.int_in_range(0..=20)?)))
}

fn page(u: &mut Unstructured) -> Result<Option<Page>> {
    let urls = ["https://example.com/a", "https://hidden.org/b", "ftp://x", ""];
    Ok(Page::parse(u.choose(&urls)?, <&str>::arbitrary(u)?).ok().flatten())
}

fn presence(u: &mut Unstructured) -> Result<Presence> {
    if u.ratio(1, 10)? {
        // As another version may write it.
        return Ok(serde_json::from_str(r#"{"type":"update-presence","page":7}"#).expect("an object"));
    }
    let at = Timestamp::from_unix_ms(u.arbitrary()?);
    let idle_since = if u.arbitrary()? { Some(at) } else { None };
    let (page, latest) = (page(u)?, page(u)?);
    let (page, latest) = (PageView::from(page.as_ref()), PageView::from(latest.as_ref()));
    Ok(Presence::new(PresenceUpdate {
        user_id: user(u)?,
        url: page.url,
        title: page.title,
        domain: page.domain,
        latest_url: latest.url,
        latest_title: latest.title,
        latest_domain: latest.domain,
        seq: u.arbitrary()?,
        at,
        idle: idle_since.is_some(),
        idle_since,
    }))
}

fn wants(u: &mut Unstructured) -> Result<Interest> {
    Ok(*u.choose(&[Interest::Nothing, Interest::Availability, Interest::Pages])?)
}

fn info(id: UserId) -> UserInfo {
    UserInfo { user_id: id, first_name: String::new(), last_name: String::new(), profile_image_extension: None }
}

fn social(u: &mut Unstructured) -> Result<Social> {
    let friends = (0..u.int_in_range(0..=8)?).map(|_| user(u).map(info)).collect::<Result<_>>()?;
    Ok(Social {
        version: u.int_in_range(0..=20)?,
        user: info("user0".parse().expect("an id")),
        share: share(u)?,
        suspended: u.ratio(1, 4)?,
        friends,
    })
}

fn share(u: &mut Unstructured) -> Result<SharePolicy> {
    let mode = if u.arbitrary()? { ShareMode::DefaultAll } else { ShareMode::DefaultNone };
    let entry = |text| Domain::parse_entry(text).expect("a domain");
    Ok(SharePolicy { mode, allow: [entry("example.com")].into(), deny: [entry("hidden.org")].into() })
}

fn change(u: &mut Unstructured) -> Result<Change> {
    let summary = |id: UserId| UserSummary {
        user_id: id,
        first_name: String::new(),
        last_name: String::new(),
        description: String::new(),
        profile_image_uploaded_at: None,
        profile_image_extension: None,
        friendship_state: None,
        mutual_friend_count: None,
    };
    Ok(match u.int_in_range(0..=9)? {
        0 => Change::FriendAccepted { user: summary(user(u)?) },
        1 => Change::FriendRemoved { user_id: user(u)? },
        2 => Change::SettingsUpdated { share: share(u)? },
        3 => Change::FriendRequestRemoved { user_id: user(u)? },
        4 => Change::FriendRequested {
            user: UserFriendRequest {
                user_id: user(u)?,
                first_name: String::new(),
                last_name: String::new(),
                description: String::new(),
                profile_image_uploaded_at: None,
                profile_image_extension: None,
                requested_at: Timestamp::from_unix_ms(u.arbitrary()?),
            },
        },
        5 => Change::ShareReceived {
            notification: ShareNotification {
                event_id: ShareId(Uuid::from_u128(u.int_in_range(0..=20)?)),
                user_id: user(u)?,
                sent_at: Timestamp::from_unix_ms(u.arbitrary()?),
                url: "https://example.com/a".to_owned(),
                title: String::new(),
                seen_at: None,
                first_name: String::new(),
                last_name: String::new(),
                profile_image_extension: None,
            },
        },
        6 => Change::ShareRead { event_ids: vec![ShareId(Uuid::from_u128(u.int_in_range(0..=20)?))] },
        7 => Change::UserSuspended {},
        8 => Change::UserRestored {},
        _ => Change::UserDeleted {},
    })
}

fn core_event(u: &mut Unstructured, recipient: &UserId) -> Result<CoreEvent> {
    let id = EventId(Uuid::from_u128(u.int_in_range(0..=1_000)?));
    Ok(CoreEvent { id, recipient: recipient.clone(), version: u.int_in_range(0..=20)?, change: change(u)? })
}

fn frame(u: &mut Unstructured) -> Result<Frame> {
    let known = [
        r#"{"action":"heartbeat"}"#,
        r#"{"action":"set-visibility","invisible":true}"#,
        r#"{"action":"set-visibility","invisible":false}"#,
        r#"{"action":"watch","watching":false}"#,
        r#"{"action":"watch","watching":true}"#,
        r#"{"action":"set-idle","idle":true}"#,
        r#"{"action":"set-idle","idle":false}"#,
        r#"{"action":"authenticate","token":"t"}"#,
        r#"{"action":"goodbye"}"#,
        r#"{"action":"update-presence","url":"https://example.com/1","title":"t"}"#,
        r#"{"action":"update-presence","url":"https://example.com/2","title":"t"}"#,
        r#"{"action":"update-presence","url":"https://hidden.org/","title":"t"}"#,
    ];
    Ok(match u.int_in_range(0..=9)? {
        0 => Frame::Text(<&str>::arbitrary(u)?.to_owned()),
        1 => Frame::Unread { bytes: u.arbitrary()? },
        _ => Frame::Text((*u.choose(&known)?).to_owned()),
    })
}

fn event(u: &mut Unstructured, sockets: &[SocketId], now: Timestamp) -> Result<Event> {
    let peer = user(u)?;
    Ok(match u.int_in_range(0..=13)? {
        0 | 1 => Event::SocketOpened { socket: socket(u)?, expires_at: now.plus_ms(u.int_in_range(0..=600_000)?) },
        2..=4 => Event::FrameReceived { socket: socket(u)?, frame: frame(u)? },
        5 => Event::SocketClosed { socket: socket(u)? },
        6 => {
            let say = match u.int_in_range(0..=3)? {
                0 => PeerSay::Hello { presence: presence(u)? },
                1 => PeerSay::Presence { presence: presence(u)? },
                2 => PeerSay::Bye { last_seen_at: now },
                _ => PeerSay::Peek,
            };
            let sent_at = now.plus_ms(u.int_in_range(-5_000..=1_000)?);
            Event::PeerSpoke {
                message: PeerMessage { from: peer, seq: u.arbitrary()?, sent_at, wants: wants(u)?, say },
            }
        }
        7 => {
            let (seq, wants) = (u.arbitrary()?, wants(u)?);
            let answer = match u.int_in_range(0..=4)? {
                0 => PeerAnswer::Online { seq, presence: presence(u)?, wants },
                1 => PeerAnswer::Offline { seq, last_seen_at: None, wants },
                2 => PeerAnswer::Taken { wants },
                3 => PeerAnswer::Again,
                _ => PeerAnswer::NotFriends,
            };
            Event::PeerAnswered { peer, answer }
        }
        8 => Event::PeerFailed { peer },
        9 => Event::SocialLoaded { social: social(u)? },
        10 => Event::SocialFailed,
        11 => {
            let events = (0..u.int_in_range(1..=4)?).map(|_| core_event(u, &peer)).collect::<Result<_>>()?;
            Event::CoreReported { events }
        }
        12 => Event::Read { read: ReadId(u.arbitrary()?), friend: if u.arbitrary()? { Some(peer) } else { None } },
        _ => {
            let heard = sockets.iter().map(|socket| (*socket, now)).take(u.int_in_range(0..=3)?).collect();
            let good = TokenOutcome::Good { expires_at: now.plus_ms(u.int_in_range(0..=600_000)?) };
            let outcome = *u.choose(&[good, TokenOutcome::Refused, TokenOutcome::Unknown])?;
            if u.arbitrary()? { Event::Woken { heard } } else { Event::TokenChecked { socket: socket(u)?, outcome } }
        }
    })
}

fn run(u: &mut Unstructured) -> Result<()> {
    let me: UserId = "user0".parse().expect("an id");
    let mut now = Timestamp::from_unix_ms(1_772_366_400_000);
    let mut saved = Saved::default();
    let mut attachments: BTreeMap<SocketId, Attachment> = BTreeMap::new();
    let restore = |saved: &Saved, attachments: &BTreeMap<SocketId, Attachment>, now| {
        let attachments = attachments.values().cloned().collect();
        UserPresence::restore(me.clone(), EngineConfig::default(), saved.clone(), attachments, now)
    };
    let mut engine = restore(&saved, &attachments, now);
    let mut handled = 0;
    while !u.is_empty() {
        now = now.plus_ms(u.int_in_range(0..=20_000)?);
        if u.ratio(1, 20)? {
            engine = restore(&saved, &attachments, now);
        }
        let sockets: Vec<SocketId> = attachments.keys().copied().collect();
        let event = event(u, &sockets, now)?;
        let (spoke, reported) = (matches!(event, Event::PeerSpoke { .. }), matches!(event, Event::CoreReported { .. }));
        if let Event::SocketClosed { socket } = &event {
            attachments.remove(socket);
        }
        let effects = engine.handle(event, now);
        let mut answers = (0, 0);
        for effect in &effects {
            match effect {
                Effect::Attach { socket, attachment } => {
                    let bytes = serde_json::to_vec(attachment).expect("it is written").len();
                    assert!(bytes <= ATTACHMENT_BYTES_MAX, "{bytes} bytes to carry");
                    attachments.insert(*socket, attachment.clone());
                }
                Effect::Close { socket, .. } => drop(attachments.remove(socket)),
                Effect::Save(Save::State(state)) => saved.state = state.clone(),
                Effect::Save(Save::Social(social)) => saved.social = Some(social.clone()),
                Effect::Save(Save::EventIds(ids)) => saved.event_ids = ids.clone(),
                Effect::Forget => (saved, attachments) = (Saved::default(), BTreeMap::new()),
                Effect::AnswerPeer(_) => answers.0 += 1,
                Effect::AnswerCore(_) => answers.1 += 1,
                _ => {}
            }
        }
        assert_eq!(answers, (usize::from(spoke), usize::from(reported)), "one answer each");
        assert!(attachments.len() <= SOCKETS_MAX && saved.event_ids.len() <= EVENT_IDS_REMEMBERED);
        handled += 1;
        if handled % LOOK_EVERY == 0 {
            let text = format!("{engine:?}").len();
            assert!(text <= TEXT_BYTES_MAX, "{text} bytes of memory");
        }
    }
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    // The end of the bytes is the end of the story.
    let _ = run(&mut Unstructured::new(bytes));
});
