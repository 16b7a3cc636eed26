//! A client of the live channel: it connects, sends heartbeats, and connects again when the connection is lost.
//!
//! Deliberately absent: what the messages mean. The holder of the channel decides.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use devstack::{
    stack::StackInfo,
    step::StepFailed,
    token::{self, TokenRequest},
};
use futures_util::{SinkExt as _, StreamExt as _};
use shared::wire::{ClientMessage, HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE, SUBPROTOCOL};
use tokio::{
    net::TcpStream,
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _, http::HeaderValue},
};

/// Time between heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// Shortest and longest wait before connecting again.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Something that happened on the channel.
#[derive(Debug)]
pub enum ChannelEvent {
    Connected,
    /// A text frame as it came, including answers to heartbeats.
    Message(String),
    /// The connection was lost. The text says why, and when the next attempt follows.
    Lost(String),
}

/// One user's channel to a running stack.
#[derive(Debug)]
pub struct Channel {
    info: StackInfo,
    user_id: String,
    /// The user's token, if one was given. Else each connection gets a new token from the provider.
    token: Option<String>,
    socket: Option<Socket>,
    retry_at: Instant,
    back_off: Duration,
    heartbeat: tokio::time::Interval,
    unanswered: bool,
}

impl Channel {
    /// A channel that is not connected yet. [`Self::next`] connects it.
    pub fn new(info: StackInfo, user_id: String, token: Option<String>) -> Self {
        let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (retry_at, back_off) = (Instant::now(), BACK_OFF_MIN);
        Self { info, user_id, token, socket: None, retry_at, back_off, heartbeat, unanswered: false }
    }

    /// Waits for the next event. It fails only if another attempt would fail in the same way. The wait can be cancelled without
    /// losing an event.
    pub async fn next(&mut self) -> Result<ChannelEvent> {
        loop {
            let Some(socket) = &mut self.socket else {
                sleep_until(self.retry_at).await;
                return self.connect().await;
            };
            tokio::select! {
                frame = socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => {
                        self.unanswered &= text.as_str() != HEARTBEAT_RESPONSE;
                        self.back_off = BACK_OFF_MIN;
                        return Ok(ChannelEvent::Message(text.to_string()));
                    }
                    Some(Ok(Message::Close(frame))) => {
                        let why = frame.map_or_else(|| "closed".to_owned(), |f| format!("closed: {} {}", f.code, f.reason));
                        return Ok(self.lose(why));
                    }
                    Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                    Some(Err(error)) => return Ok(self.lose(error.to_string())),
                    None => return Ok(self.lose("the connection ended".to_owned())),
                },
                _ = self.heartbeat.tick() => {
                    if self.unanswered {
                        return Ok(self.lose("a heartbeat was not answered".to_owned()));
                    }
                    self.unanswered = true;
                    if let Err(error) = socket.send(Message::text(HEARTBEAT_REQUEST)).await {
                        return Ok(self.lose(error.to_string()));
                    }
                }
            }
        }
    }

    /// Sends a message if the channel is connected. If sending fails, [`Self::next`] reports the lost connection.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<()> {
        let text = serde_json::to_string(message)?;
        if let Some(socket) = &mut self.socket {
            let _ = socket.send(Message::text(text)).await;
        }
        Ok(())
    }

    /// Closes the connection properly.
    pub async fn close(mut self) {
        if let Some(mut socket) = self.socket.take() {
            let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
        }
    }

    fn lose(&mut self, why: String) -> ChannelEvent {
        self.socket = None;
        // A random part of the wait, at least half of it, so that many clients do not come back at once.
        let wait = self.back_off.mul_f64(rand::random_range(0.5..1.0));
        self.back_off = (self.back_off * 2).min(BACK_OFF_MAX);
        self.retry_at = Instant::now() + wait;
        ChannelEvent::Lost(format!("{why}; trying again in {:.1} s", wait.as_secs_f32()))
    }

    async fn connect(&mut self) -> Result<ChannelEvent> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => match token::mint(&self.info, &TokenRequest::new(&self.user_id)).await {
                Ok(token) => token,
                Err(_) => {
                    return Ok(self.lose(format!("{} gives no token; does the stack run?", self.info.issuer.issuer)));
                }
            },
        };
        let url = format!("{}/ws", self.info.edge_url.replacen("http", "ws", 1));
        let mut request = url.into_client_request().context("the edge's URL is no URL")?;
        let protocols = HeaderValue::try_from(format!("{SUBPROTOCOL}, {token}")).context("that is no token")?;
        request.headers_mut().insert("sec-websocket-protocol", protocols);
        match connect_async(request).await {
            Ok((socket, _)) => {
                self.socket = Some(socket);
                self.unanswered = false;
                self.heartbeat.reset();
                Ok(ChannelEvent::Connected)
            }
            Err(Error::Http(answer)) if answer.status() == 401 => bail!(StepFailed::new(
                "Connecting",
                "the edge does not take the token (401)",
                "with an issuer of your own, get a fresh token there and pass it with --token",
            )),
            Err(Error::Http(answer)) if answer.status() == 403 => bail!(StepFailed::new(
                "Connecting",
                format!("{} is not registered (403)", self.user_id),
                "the demo users are alice, bob and carol; POST /users/me registers another",
            )),
            Err(error) => Ok(self.lose(error.to_string())),
        }
    }
}
