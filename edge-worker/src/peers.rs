//! Calls from one object to others, by RPC.

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

/// The answer that nearly all friends give to a page. It is sent as nothing, without JSON. Writing, carrying and reading the
/// JSON took about 2 % of the time from a page change until 150 friends had it.
const USUAL: PeerAnswer = PeerAnswer::Taken { wants: Interest::Pages };

/// The outcome of a call. `None`: it failed, or took too long.
pub type Outcome = (UserId, Option<PeerAnswer>);

/// Sends the same message to each of these users' objects. `hear` gets the outcome of each call exactly once. It gets many
/// outcomes at a time, and is never called before this function returns. The promise resolves after the last outcome.
pub fn call(
    env: &Env,
    peers: Vec<UserId>,
    message: &PeerMessage,
    mut hear: impl FnMut(Vec<Outcome>) + 'static,
) -> Promise {
    // If the message cannot be written, it is sent as an empty string. Every call then fails, and the engine repeats it.
    let message = serde_json::to_string(message).unwrap_or_default();
    let ids = peers.iter().map(UserId::as_str).collect::<Vec<_>>().join("\n");
    let mut waiting: Vec<Option<UserId>> = peers.into_iter().map(Some).collect();
    let take = Closure::<dyn FnMut(String)>::new(move |lines: String| hear(read(&lines, &mut waiting)));
    let users = Reflect::get(env.as_ref(), &JsValue::from_str(USERS)).unwrap_or_default();
    call_peers(&users, &ids, &message, PEER_CALL_MS_MAX, &take.into_js_value())
}

/// The text of an answer: JSON, or `None` for [`USUAL`].
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
