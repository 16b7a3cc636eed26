//! One user's object: turns the runtime's callbacks into events for the engine.
//!
//! Deliberately absent: decisions. The engine decides what an event means, and `effects` carries out what it decides.

use std::rc::Rc;

use presence::{Admission, AdmissionStep, Event, Frame, Reply};
use shared::{
    ids::{SocketId, UserId},
    internal::{CoreEvent, PeerMessage},
    limits::{FRAME_BYTES_MAX, SOCIAL_REFRESH_MS_MAX},
    time::Timestamp,
    wire::SUBPROTOCOL,
};
use uuid::Uuid;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::{
    DurableObject, Env, Error, Method, Request, Response, State, WebSocket, WebSocketPair, durable_object,
    worker_sys::web_sys,
};

use crate::{
    answer::{problem, too_many, unavailable},
    core_client,
    effects::Shell,
    peers,
};

/// The header in which the worker tells the object when the token that it has checked expires, in milliseconds since 1970.
pub const EXPIRES_AT_HEADER: &str = "x-token-expires-at";

/// The object has no name or no configuration, or cannot read what it kept.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("this object cannot start")]
struct CannotStart;

impl From<CannotStart> for Error {
    fn from(error: CannotStart) -> Self {
        Self::RustError(error.to_string())
    }
}

/// The class behind `entry.mjs`.
#[durable_object(alarm)]
pub struct UserObject {
    /// `None` only when the object has no name or no configuration, which no request of ours causes, or when it cannot
    /// read what it kept.
    shell: Option<Rc<Shell>>,
}

#[wasm_bindgen]
impl UserObject {
    /// Another user's object speaks: JSON in, JSON out, or nothing for the usual answer.
    ///
    /// # Errors
    ///
    /// When the message is none this version knows, or the object could not start.
    pub fn peer(&self, message: &str) -> Result<Option<String>, JsError> {
        let shell = self.shell()?;
        shell.count(|counts| counts.requests += 1);
        let message: PeerMessage = serde_json::from_str(message)?;
        let Some(answer) = shell.handle(Event::PeerSpoke { message }).peer_answer else {
            return Err(JsError::new("no answer"));
        };
        Ok(peers::write(&answer)?)
    }

    /// A client sent a message. There is no promise, which would cost time: this is what the object does most.
    ///
    /// # Errors
    ///
    /// When the object could not start.
    pub fn frame(&self, socket: &web_sys::WebSocket, message: String) -> Result<(), JsError> {
        self.hear(socket, Frame::Text(message))
    }

    /// A client sent a message that is not read, because it is binary or larger than [`Self::frame_bytes_max`]. `bytes`: its size; of
    /// text, a lower bound.
    ///
    /// # Errors
    ///
    /// As [`Self::frame`].
    #[wasm_bindgen(js_name = unreadFrame)]
    pub fn unread_frame(&self, socket: &web_sys::WebSocket, bytes: u32) -> Result<(), JsError> {
        self.hear(socket, Frame::Unread { bytes: bytes as usize })
    }

    /// [`FRAME_BYTES_MAX`].
    #[wasm_bindgen(js_name = frameBytesMax)]
    pub fn frame_bytes_max(&self) -> usize {
        FRAME_BYTES_MAX
    }

    /// A socket was closed by its peer, or broke. `code`: `None` if it broke.
    ///
    /// # Errors
    ///
    /// When the object could not start.
    pub fn gone(&self, socket: web_sys::WebSocket, code: Option<u16>) -> Result<(), JsError> {
        let shell = self.shell()?;
        shell.count(|counts| counts.closes += 1);
        if let Some(id) = shell.socket_of(&socket) {
            shell.forget_socket(id);
            shell.handle(Event::SocketClosed { socket: id });
        }
        if let Some(code) = code {
            // The runtime does not answer a close by itself. 1005, 1006 and 1015 stand for no code, and must not be sent.
            let code = if matches!(code, 1005 | 1006 | 1015) { 1000 } else { code };
            // It fails when the peer is gone already, which is what we want.
            let _ = WebSocket::from(socket).close::<&str>(Some(code), None);
        }
        Ok(())
    }

    fn hear(&self, socket: &web_sys::WebSocket, frame: Frame) -> Result<(), JsError> {
        let shell = self.shell()?;
        shell.count(|counts| counts.frames += 1);
        if let Some(socket) = shell.socket_of(socket) {
            shell.handle(Event::FrameReceived { socket, frame });
        }
        Ok(())
    }

    fn shell(&self) -> Result<&Rc<Shell>, CannotStart> {
        self.shell.as_ref().ok_or(CannotStart)
    }
}

impl DurableObject for UserObject {
    fn new(state: State, env: Env) -> Self {
        Self { shell: Shell::restore(state, env).map(Rc::new) }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let shell = self.shell()?;
        shell.count(|counts| counts.requests += 1);
        match (request.method(), request.path().as_str()) {
            (Method::Get, "/live") => live(shell, &request).await,
            (Method::Get, "/presence") => presence(shell, &request).await,
            (Method::Post, "/events") => {
                let events: Vec<CoreEvent> = request.json().await?;
                let taken = shell.handle(Event::CoreReported { events }).events_taken;
                Response::from_json(&taken.unwrap_or_default())
            }
            (Method::Get, "/created") => Response::empty(),
            _ => problem(404, "Not Found", "there is nothing here"),
        }
    }

    async fn alarm(&self) -> worker::Result<Response> {
        let shell = self.shell()?;
        shell.count(|counts| counts.alarms += 1);
        shell.alarm_fired();
        // The runtime repeats an alarm whose handler did not end, unless another alarm was set meanwhile. So this one ends after the calls
        // that it caused: friends are told that the user left even if memory is lost in between.
        for call in shell.wake().calls {
            // The engine has been told how each call went.
            let _ = JsFuture::from(call).await;
        }
        Response::empty()
    }
}

/// A client connects.
async fn live(shell: &Rc<Shell>, request: &Request) -> worker::Result<Response> {
    if let Some(refusal) = refusal(shell, shell.admission_of_client()).await? {
        return Ok(refusal);
    }
    let header = request.headers().get(EXPIRES_AT_HEADER)?;
    let Some(expires_at) = header.and_then(|text| text.parse().ok()).map(Timestamp::from_unix_ms) else {
        return Err(Error::RustError("the request does not say when its token expires".to_owned()));
    };
    let socket = SocketId(Uuid::new_v4());
    let WebSocketPair { client, server } = WebSocketPair::new()?;
    shell.accept(socket, &server);
    shell.handle(Event::SocketOpened { socket, expires_at });
    let mut response = Response::from_websocket(client)?;
    if request.headers().has("sec-websocket-protocol")? {
        response.headers_mut().set("sec-websocket-protocol", SUBPROTOCOL)?;
    }
    Ok(response)
}

/// `GET /presence` and `GET /presence/{id}`.
async fn presence(shell: &Rc<Shell>, request: &Request) -> worker::Result<Response> {
    let url = request.url()?;
    let friend = url.query_pairs().find(|(name, _)| name == "friend").and_then(|(_, id)| id.parse::<UserId>().ok());
    if let Some(refusal) = refusal(shell, shell.admission_of_reader(friend.is_some())).await? {
        return Ok(refusal);
    }
    let reply = shell.read(friend).await;
    match reply {
        Some(Reply::All(snapshot)) => Response::from_json(&snapshot),
        Some(Reply::One(page)) => Response::from_json(&page),
        Some(Reply::TooMany { retry_after_ms }) => too_many("friends were asked too often; try again", retry_after_ms),
        Some(Reply::NotFriends) => problem(403, "Forbidden", "only friends see each other's presence"),
        None => unavailable("presence is away for a moment"),
    }
}

/// Decides whether a client is let in, and asks the core first if need be, within [`SOCIAL_REFRESH_MS_MAX`]. `None`: it is let in.
async fn refusal(shell: &Rc<Shell>, mut admission: Admission) -> worker::Result<Option<Response>> {
    loop {
        match shell.admission_step(&mut admission) {
            AdmissionStep::AskCore { known_version } => {
                match shell.ask_core(known_version, SOCIAL_REFRESH_MS_MAX).await {
                    core_client::Answer::Changed(social) => {
                        shell.handle(Event::SocialLoaded { social });
                    }
                    core_client::Answer::Same => {}
                    core_client::Answer::NotRegistered => return problem(403, "Forbidden", "register first").map(Some),
                    core_client::Answer::Away => admission.core_away(),
                }
            }
            AdmissionStep::LetIn => return Ok(None),
            AdmissionStep::Suspended => return problem(403, "Forbidden", "this account is suspended").map(Some),
            AdmissionStep::Unknown => return unavailable("your friends are not known here yet; try again").map(Some),
        }
    }
}
