//! What another version of this program has stored must be readable, and that version must be able to read what this one stores.
//! During a roll-out both versions run, and a deployment may go back. `stored/form-1.json` was written by the engine before its
//! state was divided into parts.

use presence::{Attachment, Effect, EngineConfig, Event, Frame, ReadId, Reply, Save, Saved, SavedState, UserPresence};
use serde_json::Value;
use shared::{
    api::UserInfo,
    ids::SocketId,
    internal::{Interest, PeerAnswer, PeerSay, Presence, Social},
    share_policy::{ShareMode, SharePolicy},
    time::Timestamp,
    wire::PresenceUpdate,
};
use uuid::Uuid;

use crate::population::id;

const SOCKET: SocketId = SocketId(Uuid::from_u128(1));

fn began() -> Timestamp {
    Timestamp::from_unix_ms(1_800_000_000_000)
}

fn form_1() -> (Value, Value) {
    let kept: Value = serde_json::from_str(include_str!("stored/form-1.json")).unwrap();
    (kept["attachment"].clone(), kept["state"].clone())
}

fn social() -> Social {
    let info = |name: &str| UserInfo {
        user_id: id(name),
        first_name: name.into(),
        last_name: "Test".into(),
        profile_image_extension: None,
    };
    let share = SharePolicy { mode: ShareMode::DefaultAll, allow: [].into(), deny: [].into() };
    let friends = ["bob", "carol", "dave", "erin", "frank", "grace"].map(info).to_vec();
    Social { version: 3, user: info("alice"), share, suspended: false, friends }
}

fn online(name: &str, seq: u64, wants: Interest) -> PeerAnswer {
    let presence = Presence::new(PresenceUpdate {
        user_id: id(name),
        url: "https://example.com/".into(),
        title: "t".into(),
        domain: "example.com".into(),
        latest_url: String::new(),
        latest_title: String::new(),
        latest_domain: String::new(),
        seq,
        at: began(),
        idle: false,
        idle_since: None,
    });
    PeerAnswer::Online { seq, presence, wants }
}

fn offline(seq: u64, last_seen_at: Option<Timestamp>) -> PeerAnswer {
    PeerAnswer::Offline { seq, last_seen_at, wants: Interest::Nothing }
}

/// What alice's object stores in the story of form 1. Two of her friends are online, two are offline, and two were not reached.
/// She reports a page, and then her socket closes.
fn stored_now() -> (Attachment, SavedState, Saved) {
    let now = began();
    let mut engine = UserPresence::restore(id("alice"), EngineConfig::default(), Saved::default(), Vec::new(), now);
    let mut effects = engine.handle(Event::SocialLoaded { social: social() }, now);
    let expires_at = now.plus_ms(3_600_000);
    effects.extend(engine.handle(Event::SocketOpened { socket: SOCKET, expires_at }, now));
    for (name, answer) in [
        ("bob", online("bob", 5, Interest::Pages)),
        ("carol", online("carol", 6, Interest::Availability)),
        ("erin", offline(7, Some(Timestamp::from_unix_ms(1_799_999_000_000)))),
        ("frank", offline(0, None)),
    ] {
        effects.extend(engine.handle(Event::PeerAnswered { peer: id(name), answer }, now));
    }
    for name in ["dave", "grace"] {
        effects.extend(engine.handle(Event::PeerFailed { peer: id(name) }, now));
    }
    let later = now.plus_ms(8_000);
    let page = r#"{"action":"update-presence","url":"https://example.com/a","title":"A"}"#;
    for text in [r#"{"action":"nonsense"}"#, page] {
        let frame = Frame::Text(text.to_owned());
        effects.extend(engine.handle(Event::FrameReceived { socket: SOCKET, frame }, later));
    }
    let (mut attached, mut saved) = (None, Saved::default());
    effects.extend(engine.handle(Event::SocketClosed { socket: SOCKET }, later.plus_ms(1)));
    for effect in effects {
        if let Effect::Attach { attachment, .. } = effect {
            attached = Some(attachment);
        } else if let Effect::Save(Save::State(state)) = effect {
            saved.state = state;
        } else if let Effect::Save(Save::Social(social)) = effect {
            saved.social = Some(social);
        }
    }
    (attached.unwrap(), saved.state.clone(), saved)
}

/// Checks that `now` has every field of `before` with the same value. It may have more fields.
fn assert_holds(before: &Value, now: &Value, path: &str) {
    let Value::Object(fields) = before else { return assert_eq!(before, now, "{path}") };
    for (name, value) in fields {
        assert_holds(
            value,
            now.get(name).unwrap_or_else(|| panic!("{path}.{name} is gone")),
            &format!("{path}.{name}"),
        );
    }
}

#[test]
fn the_version_before_reads_what_is_stored_now() {
    let (attachment, state) = form_1();
    let (attached, saved, _) = stored_now();
    assert_holds(&attachment, &serde_json::to_value(attached).unwrap(), "attachment");
    assert_holds(&state, &serde_json::to_value(saved).unwrap(), "state");
}

#[test]
fn this_version_goes_on_from_what_the_version_before_stored() {
    let (attachment, state) = form_1();
    let (.., saved) = stored_now();
    let attachment: Attachment = serde_json::from_value(attachment).unwrap();
    // The object has slept for a minute, and its socket carries the attachment.
    let connected = Saved { state: SavedState { departure: None, ..saved.state.clone() }, ..saved.clone() };
    let mut settled = attachment.clone();
    settled.checkpoint.unsettled = false;
    let now = began().plus_ms(68_000);
    let mut engine = UserPresence::restore(id("alice"), EngineConfig::default(), connected, vec![settled], now);
    assert!(engine.has_slept());
    // Absent friends are not queried, because it is known when they were last seen. The others are.
    let effects = engine.handle(Event::Read { read: ReadId(1), friend: None }, now);
    let queried = effects.iter().find_map(|effect| {
        let Effect::CallPeers { peers, message } = effect else { return None };
        matches!(message.say, PeerSay::Hello { .. }).then(|| peers.clone())
    });
    assert_eq!(queried.unwrap(), ["bob", "carol", "dave", "grace"].map(id));
    for name in ["bob", "carol", "dave", "grace"] {
        engine.handle(Event::PeerFailed { peer: id(name) }, now);
    }

    // During the grace, restored from storage alone.
    let in_grace = Saved { state: serde_json::from_value(state).unwrap(), ..saved };
    let now = began().plus_ms(12_000);
    let mut engine = UserPresence::restore(id("alice"), EngineConfig::default(), in_grace, Vec::new(), now);
    let effects = engine.handle(Event::Read { read: ReadId(2), friend: Some(id("alice")) }, now);
    let page = effects.into_iter().find_map(|effect| {
        let Effect::Reply { reply: Reply::One(page), .. } = effect else { return None };
        page
    });
    assert_eq!(page.unwrap().url, "https://example.com/a");
}
