//! One object speaking to others, by RPC.

use futures_util::{Stream, StreamExt, stream};
use shared::{
    ids::UserId,
    internal::{PeerAnswer, PeerMessage},
    limits::{PEER_CALL_MS_MAX, PEER_CALLS_AT_ONCE},
};
use wasm_bindgen::prelude::*;
use worker::Env;

use crate::{clock, config::USERS};

#[wasm_bindgen]
extern "C" {
    /// The class in `entry.mjs`, as another object's stub shows it.
    type UserStub;

    #[wasm_bindgen(method, catch)]
    async fn peer(this: &UserStub, message: &str) -> Result<JsValue, JsValue>;
}

/// Says the same to each of these users' objects and yields what came of each, as it comes. `None`: it
/// failed, or took too long.
pub fn call(
    env: &Env,
    peers: Vec<UserId>,
    message: &PeerMessage,
) -> impl Stream<Item = (UserId, Option<PeerAnswer>)> + use<> {
    let message = serde_json::to_string(message).unwrap_or_default();
    let users = env.durable_object(USERS).ok();
    stream::iter(peers)
        .map(move |id| {
            let stub = users.as_ref().and_then(|users| users.get_by_name(id.as_str()).ok());
            let message = message.clone();
            async move {
                let answer = match stub {
                    Some(stub) => clock::within(PEER_CALL_MS_MAX, answer_of(stub.into_rpc(), &message)).await.flatten(),
                    None => None,
                };
                (id, answer)
            }
        })
        .buffer_unordered(PEER_CALLS_AT_ONCE)
}

async fn answer_of(stub: UserStub, message: &str) -> Option<PeerAnswer> {
    let answer = stub.peer(message).await.ok()?.as_string()?;
    serde_json::from_str(&answer).ok()
}
