//! One object speaking to others, by RPC.

use shared::{
    ids::UserId,
    internal::{Interest, PeerAnswer, PeerMessage},
    limits::PEER_CALL_MS_MAX,
};
use wasm_bindgen::prelude::*;
use worker::{
    Env,
    js_sys::{Promise, Reflect},
};

use crate::config::USERS;

#[wasm_bindgen(module = "/src/peers.mjs")]
extern "C" {
    #[wasm_bindgen(js_name = callPeers)]
    fn call_peers(users: &JsValue, ids: &str, message: &str, ms_max: u32, take: &JsValue) -> Promise;
}

/// What nearly all friends answer to a page. It goes without words: to write, carry and read them took some two
/// hundredths of the time from a page change until 150 friends had it.
const USUAL: PeerAnswer = PeerAnswer::Taken { wants: Interest::Pages };

/// What came of a call. `None`: it failed, or took too long.
pub type Outcome = (UserId, Option<PeerAnswer>);

/// Says the same to each of these users' objects, and lets `hear` have what came of each, once, many at a time and never
/// before this returns. The promise is kept when it has heard of all.
pub fn call(
    env: &Env,
    peers: Vec<UserId>,
    message: &PeerMessage,
    mut hear: impl FnMut(Vec<Outcome>) + 'static,
) -> Promise {
    // No object takes what is no JSON, so one that could not be written fails at each of them and is said again.
    let message = serde_json::to_string(message).unwrap_or_default();
    let ids = peers.iter().map(UserId::as_str).collect::<Vec<_>>().join("\n");
    let mut waiting: Vec<Option<UserId>> = peers.into_iter().map(Some).collect();
    let take = Closure::<dyn FnMut(String)>::new(move |lines: String| hear(read(&lines, &mut waiting)));
    let users = Reflect::get(env.as_ref(), &JsValue::from_str(USERS)).unwrap_or_default();
    call_peers(&users, &ids, &message, PEER_CALL_MS_MAX, &take.into_js_value())
}

/// An answer as it is given: JSON, or nothing for the usual one.
pub fn write(answer: &PeerAnswer) -> serde_json::Result<Option<String>> {
    if *answer == USUAL { Ok(None) } else { serde_json::to_string(answer).map(Some) }
}

/// Reads outcomes as `callPeers` writes them.
fn read(lines: &str, waiting: &mut [Option<UserId>]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for line in lines.lines() {
        let (place, answer) = line.split_once(' ').map_or((line, None), |(place, answer)| (place, Some(answer)));
        let place: Option<usize> = place.parse().ok();
        let Some(id) = place.and_then(|place| waiting.get_mut(place)?.take()) else { continue };
        let answer =
            answer.and_then(|json| if json.is_empty() { Some(USUAL) } else { serde_json::from_str(json).ok() });
        outcomes.push((id, answer));
    }
    outcomes
}
