//! One live socket. It sends heartbeats by itself, and keeps what arrives until the test reads it.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "of a message that was not waited for, no more is said than what it is"
)]

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use shared::{
    ids::UserId,
    time::Timestamp,
    wire::{ClientMessage, HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE, PresenceSnapshot, PresenceUpdate, ServerMessage},
};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, Bytes, Message, handshake::client::Request, handshake::client::Response},
};

/// The longest that a test waits for anything to arrive. Arrival takes far less, but the machine may be busy with other work.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Time between the heartbeats that a socket sends by itself; well below the shortest time-out of any test.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// What came, and when it was read from the connection.
#[derive(Debug, Clone)]
pub struct Arrival {
    pub at: Instant,
    pub what: Incoming,
}

/// Something the server did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text frame. Answers to the socket's own heartbeats are left out.
    Text(String),
    /// The socket was closed, with the code of the close frame if there was one.
    Closed(Option<u16>),
}

/// A connected client. When it is dropped, its connection breaks without a close frame.
#[derive(Debug)]
pub struct Live {
    outgoing: mpsc::UnboundedSender<Message>,
    arrivals: mpsc::UnboundedReceiver<Arrival>,
    task: JoinHandle<()>,
    /// Every text frame that the test has read.
    seen: Vec<String>,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Live {
    /// Opens a socket that sends heartbeats by itself. Gives the answer to the upgrade too.
    ///
    /// # Errors
    ///
    /// [`tungstenite::Error::Http`] with the answer when there was no upgrade.
    pub async fn open(request: Request) -> Result<(Self, Response), tungstenite::Error> {
        let (socket, response) = connect_async(request).await?;
        Ok((Self::over(socket, true), response))
    }

    /// Opens a socket that sends no heartbeats by itself. Answers to heartbeats that the test sends are not left out.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub async fn open_silent(request: Request) -> Result<(Self, Response), tungstenite::Error> {
        let (socket, response) = connect_async(request).await?;
        Ok((Self::over(socket, false), response))
    }

    fn over(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, beats: bool) -> Self {
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let task = tokio::spawn(run(socket, beats, to_send, arrived));
        Self { outgoing, arrivals, task, seen: Vec::new() }
    }

    /// Sends text as it is.
    pub fn send_text(&self, text: impl Into<String>) {
        // If the socket is closed, the test learns of it when it waits for an answer.
        let _ = self.outgoing.send(Message::text(text.into()));
    }

    /// Sends a binary frame.
    pub fn send_binary(&self, bytes: impl Into<Bytes>) {
        let _ = self.outgoing.send(Message::binary(bytes));
    }

    /// Sends a message of the contract.
    pub fn say(&self, message: &ClientMessage) -> Result<()> {
        self.send_text(serde_json::to_string(message)?);
        Ok(())
    }

    /// Reports a page.
    pub fn visit(&self, url: &str, title: &str) -> Result<()> {
        self.say(&ClientMessage::UpdatePresence { url: url.to_owned(), title: title.to_owned() })
    }

    /// The next arrival of any kind.
    pub async fn arrival(&mut self) -> Result<Arrival> {
        let arrival = timeout(PATIENCE, self.arrivals.recv()).await;
        let arrival =
            arrival.map_err(|_| anyhow!("nothing came within {} s after {:#?}", PATIENCE.as_secs(), self.seen))?;
        let arrival = arrival.context("the socket was closed before")?;
        if let Incoming::Text(text) = &arrival.what {
            self.seen.push(text.clone());
        }
        Ok(arrival)
    }

    /// The next text frame, as it came.
    pub async fn text(&mut self) -> Result<String> {
        match self.arrival().await?.what {
            Incoming::Text(text) => Ok(text),
            Incoming::Closed(code) => bail!("closed ({code:?}) after {:#?}", self.seen),
        }
    }

    /// The next message.
    pub async fn message(&mut self) -> Result<ServerMessage> {
        let text = self.text().await?;
        serde_json::from_str(&text).with_context(|| format!("not a message of the live channel: {text}"))
    }

    /// The first message that `wanted` picks; others are passed over.
    pub async fn find<T>(&mut self, wanted: impl Fn(ServerMessage) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = wanted(self.message().await?) {
                return Ok(found);
            }
        }
    }

    /// The next message that is no news from the core. Such news can arrive at any time, and is passed over.
    pub async fn answer(&mut self) -> Result<ServerMessage> {
        self.find(|message| (!is_news_from_core(&message)).then_some(message)).await
    }

    /// The snapshot, which must be the first message.
    pub async fn snapshot(&mut self) -> Result<PresenceSnapshot> {
        match self.message().await? {
            ServerMessage::PresenceSnapshot(snapshot) => Ok(snapshot),
            other => bail!("not a snapshot: {other:?}"),
        }
    }

    /// The next message about somebody's presence. It must say that they are online or show another page. News of friendships and
    /// settings are passed over.
    pub async fn update(&mut self) -> Result<PresenceUpdate> {
        match self.find(about_presence).await? {
            ServerMessage::UpdatePresence(update) => Ok(update),
            other => bail!("not an update: {other:?} after {:#?}", self.seen),
        }
    }

    /// The next message about somebody's presence. It must say that they went offline. Gives who, and when they were last seen.
    pub async fn gone(&mut self) -> Result<(UserId, Option<Timestamp>)> {
        match self.find(about_presence).await? {
            ServerMessage::PresenceTimeout { user_id, last_seen_at } => Ok((user_id, last_seen_at)),
            other => bail!("nobody went offline: {other:?} after {:#?}", self.seen),
        }
    }

    /// The code with which the server closes the socket. Anything that arrives before is passed over.
    pub async fn closed(&mut self) -> Result<Option<u16>> {
        loop {
            if let Incoming::Closed(code) = self.arrival().await?.what {
                return Ok(code);
            }
        }
    }

    /// Every text frame read so far, as it came.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }

    /// Whether any frame read so far contains this text.
    pub fn has_seen(&self, text: &str) -> bool {
        self.seen.iter().any(|frame| frame.contains(text))
    }

    /// Sends a close frame, and waits until the server has answered.
    pub async fn close(mut self) -> Result<()> {
        let _ = self.outgoing.send(Message::Close(None));
        self.closed().await.map(drop)
    }
}

fn is_news_from_core(message: &ServerMessage) -> bool {
    matches!(
        message,
        ServerMessage::FriendAccepted { .. }
            | ServerMessage::FriendRemoved { .. }
            | ServerMessage::SettingsUpdated { .. }
    )
}

fn about_presence(message: ServerMessage) -> Option<ServerMessage> {
    match message {
        ServerMessage::UpdatePresence(_)
        | ServerMessage::PresenceTimeout { .. }
        | ServerMessage::PresenceSnapshot(_) => Some(message),
        _ => None,
    }
}

async fn run(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    beats: bool,
    mut to_send: mpsc::UnboundedReceiver<Message>,
    arrived: mpsc::UnboundedSender<Arrival>,
) {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tell = |what| {
        // The test may have dropped the receiver.
        let _ = arrived.send(Arrival { at: Instant::now(), what });
    };
    loop {
        let sent = tokio::select! {
            frame = socket.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    if !(beats && text.as_str() == HEARTBEAT_RESPONSE) {
                        tell(Incoming::Text(text.to_string()));
                    }
                    continue;
                }
                Some(Ok(Message::Close(frame))) => {
                    tell(Incoming::Closed(frame.map(|frame| frame.code.into())));
                    // Reading on to the end sends the answer to the close.
                    while let Some(Ok(_)) = socket.next().await {}
                    return;
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Err(_)) | None => return tell(Incoming::Closed(None)),
            },
            message = to_send.recv() => match message {
                Some(message) => socket.send(message).await,
                None => return,
            },
            _ = heartbeat.tick(), if beats => socket.send(Message::text(HEARTBEAT_REQUEST)).await,
        };
        if sent.is_err() {
            // The reason may still be there to read, such as a close frame.
            while let Some(Ok(frame)) = socket.next().await {
                if let Message::Close(frame) = frame {
                    return tell(Incoming::Closed(frame.map(|frame| frame.code.into())));
                }
            }
            return tell(Incoming::Closed(None));
        }
    }
}
