//! One object speaking to others, by RPC.

use std::{cell::RefCell, rc::Rc};

use shared::{
    ids::UserId,
    internal::{PeerAnswer, PeerMessage},
    limits::{PEER_CALL_MS_MAX, PEER_CALLS_AT_ONCE},
};
use wasm_bindgen::prelude::*;
use worker::{Env, js_sys::Reflect};

use crate::config::USERS;

#[wasm_bindgen(module = "/src/peers.mjs")]
extern "C" {
    #[wasm_bindgen(catch, js_name = callPeers)]
    async fn call_peers(
        users: &JsValue,
        ids: &str,
        message: &str,
        ms_max: u32,
        at_once: usize,
        take: &Closure<dyn FnMut(String)>,
    ) -> Result<JsValue, JsValue>;
}

/// What came of a call. `None`: it failed, or took too long.
pub type Outcome = (UserId, Option<PeerAnswer>);

/// Says the same to each of these users' objects, and lets `hear` have what came of each, once, many at a time. Ends
/// when it has heard of all.
pub async fn call(env: &Env, peers: Vec<UserId>, message: &PeerMessage, hear: impl FnMut(Vec<Outcome>) + 'static) {
    let message = serde_json::to_string(message).unwrap_or_default();
    let ids = peers.iter().map(UserId::as_str).collect::<Vec<_>>().join("\n");
    let waiting = Rc::new(RefCell::new(peers.into_iter().map(Some).collect::<Vec<_>>()));
    let hear = Rc::new(RefCell::new(hear));
    let take = {
        let (waiting, hear) = (Rc::clone(&waiting), Rc::clone(&hear));
        Closure::new(move |lines: String| {
            let outcomes = read(&lines, &mut waiting.borrow_mut());
            hear.borrow_mut()(outcomes);
        })
    };
    let users = Reflect::get(env.as_ref(), &JsValue::from_str(USERS)).unwrap_or_default();
    // Should it end before its time, nobody else has been reached.
    let _ = call_peers(&users, &ids, &message, PEER_CALL_MS_MAX, PEER_CALLS_AT_ONCE, &take).await;
    let left = waiting.borrow_mut().iter_mut().filter_map(Option::take).map(|id| (id, None)).collect::<Vec<_>>();
    if !left.is_empty() {
        hear.borrow_mut()(left);
    }
}

/// Reads outcomes as `callPeers` writes them.
fn read(lines: &str, waiting: &mut [Option<UserId>]) -> Vec<Outcome> {
    // Nearly all friends answer the same.
    let mut last: (&str, Option<PeerAnswer>) = ("", None);
    let mut outcomes = Vec::new();
    for line in lines.lines() {
        let (place, answer) = line.split_once(' ').unwrap_or((line, ""));
        let place: Option<usize> = place.parse().ok();
        let Some(id) = place.and_then(|place| waiting.get_mut(place)?.take()) else { continue };
        if answer != last.0 {
            last = (answer, serde_json::from_str(answer).ok());
        }
        outcomes.push((id, last.1.clone()));
    }
    outcomes
}
