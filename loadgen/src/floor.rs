//! The simplest possible server, to compare with: it knows who is friends with whom, believes every client's user id, and
//! passes pages on to friends.
//!
//! Deliberately absent: rules, objects and storage.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use anyhow::{Context as _, Result};
use futures_util::{SinkExt as _, StreamExt as _};
use loadgen::Town;
use serde::Serialize;
use shared::wire::{ClientMessage, HEARTBEAT_RESPONSE, SUBPROTOCOL};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{
    accept_hdr_async,
    tungstenite::{
        Message, Utf8Bytes,
        handshake::server::{ErrorResponse, Request, Response},
        http::HeaderValue,
    },
};

#[derive(Default)]
struct Room {
    /// Each user's place in the town, by user id.
    places: HashMap<String, usize>,
    friends: Vec<Vec<usize>>,
    /// The sockets of connected users, by place.
    sockets: RefCell<HashMap<usize, UnboundedSender<Utf8Bytes>>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "update-presence", rename_all = "camelCase")]
struct Update<'a> {
    user_id: &'a str,
    url: &'a str,
    title: &'a str,
}

/// Serves until the process ends.
pub async fn serve(town: Town, port: u16) -> Result<()> {
    let mut room = Room::default();
    for (place, citizen) in town.people.into_iter().enumerate() {
        room.places.insert(citizen.id, place);
        room.friends.push(citizen.friends);
    }
    let room = Rc::new(room);
    let listener = TcpListener::bind(("127.0.0.1", port)).await.context("the port cannot be had")?;
    tokio::task::LocalSet::new()
        .run_until(async move {
            loop {
                let (tcp, _) = listener.accept().await?;
                let room = Rc::clone(&room);
                tokio::task::spawn_local(async move {
                    // A client that fails concerns no other, so its error is dropped.
                    let _ = room.hold(tcp).await;
                });
            }
        })
        .await
}

impl Room {
    async fn hold(&self, tcp: TcpStream) -> Result<()> {
        tcp.set_nodelay(true)?;
        let mut user = None;
        #[expect(clippy::result_large_err, reason = "the library's signature")]
        let greet = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
            user = request.uri().query().and_then(|query| query.strip_prefix("user=")).map(str::to_owned);
            response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
            Ok(response)
        };
        let (mut writer, mut reader) = accept_hdr_async(tcp, greet).await?.split();
        let user = user.context("a user without a name")?;
        let place = *self.places.get(&user).context("a stranger")?;
        let (sender, mut receiver) = unbounded_channel::<Utf8Bytes>();
        sender.send(Utf8Bytes::from_static(r#"{"type":"presence-snapshot"}"#))?;
        self.sockets.borrow_mut().insert(place, sender.clone());
        tokio::task::spawn_local(async move {
            while let Some(text) = receiver.recv().await {
                if writer.send(Message::Text(text)).await.is_err() {
                    return;
                }
            }
        });
        while let Some(Ok(Message::Text(text))) = reader.next().await {
            match serde_json::from_str(&text)? {
                ClientMessage::UpdatePresence { url, title } => {
                    let update = Update { user_id: &user, url: &url, title: &title };
                    let update = serde_json::to_string(&update)?;
                    self.tell_friends(place, Utf8Bytes::from(update));
                }
                ClientMessage::Heartbeat => sender.send(Utf8Bytes::from_static(HEARTBEAT_RESPONSE))?,
                ClientMessage::Goodbye => break,
                ClientMessage::SetIdle { .. }
                | ClientMessage::SetVisibility { .. }
                | ClientMessage::Watch { .. }
                | ClientMessage::Authenticate { .. } => {}
            }
        }
        self.sockets.borrow_mut().remove(&place);
        Ok(())
    }

    fn tell_friends(&self, place: usize, update: Utf8Bytes) {
        let sockets = self.sockets.borrow();
        for friend in self.friends.get(place).into_iter().flatten() {
            if let Some(socket) = sockets.get(friend) {
                // Sending fails if the socket's task has just ended.
                let _ = socket.send(update.clone());
            }
        }
    }
}
