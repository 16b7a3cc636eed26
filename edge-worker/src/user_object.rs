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

/// The object has no name or no configuration, or cannot read its storage.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("this object cannot start")]
struct CannotStart;

impl From<CannotStart> for Error {
    fn from(error: CannotStart) -> Self {
        Self::RustError(error.to_string())
    }
}

/// The Durable Object of one user. `entry.mjs` wraps it.
#[durable_object(alarm)]
pub struct UserObject {
    /// `None` if the object cannot read its storage, or has no name or no configuration. The worker makes no request that
    /// leads to an object without either.
    shell: Option<Rc<Shell>>,
}

#[wasm_bindgen]
impl UserObject {
    /// Takes a message of another user's object. Message and answer are JSON; the most frequent answer is sent as nothing
    /// (`peers::write`).
    ///
    /// # Errors
    ///
    /// If this version cannot parse the message, or the object could not start.
    pub fn peer(&self, message: &str) -> Result<Option<String>, JsError> {
        let shell = self.shell()?;
        shell.count(|counts| counts.requests += 1);
        let message: PeerMessage = serde_json::from_str(message)?;
        let Some(answer) = shell.handle(Event::PeerSpoke { message }).peer_answer else {
            return Err(JsError::new("no answer"));
        };
        Ok(peers::write(&answer)?)
    }

    /// Takes a client's message. It returns no promise, because a promise costs time and this is the most frequent call.
    ///
    /// # Errors
    ///
    /// When the object could not start.
    pub fn frame(&self, socket: &web_sys::WebSocket, message: String) -> Result<(), JsError> {
        self.hear(socket, Frame::Text(message))
    }

    /// Takes note of a client's message that is not read, because it is binary or larger than [`Self::frame_bytes_max`].
    /// `bytes` is its size; for text it is a lower bound.
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

    /// Takes note that a socket was closed by its peer, or broke. `code` is `None` if it broke.
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
            // The runtime does not answer a close by itself. 1005, 1006 and 1015 mean that there was no code, and must not be
            // sent (RFC 6455, section 7.4.1).
            let code = if matches!(code, 1005 | 1006 | 1015) { 1000 } else { code };
            // This fails if the peer is gone already, which is no problem.
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
        // The runtime repeats an alarm whose handler did not end, unless another alarm was set in the meantime. So this handler
        // ends only after the calls that it caused. Friends are then told that the user left, even if memory is lost meanwhile.
        for call in shell.wake().calls {
            // The engine has been told the outcome of each call already.
            let _ = JsFuture::from(call).await;
        }
        Response::empty()
    }
}

/// Opens a client's socket, if the client is let in.
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

/// The answer to a client that is not let in; `None` if it is let in. If necessary, the core is asked first. Its headers and
/// its body may each take [`SOCIAL_REFRESH_MS_MAX`] milliseconds.
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
