//! Clients of the live channel, or of a server that speaks XMPP. Each is a socket, and a task that reports what it receives.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream, stream::SplitSink};
use loadgen::{Citizen, Town};
use shared::wire::{ClientMessage, HEARTBEAT_REQUEST, SUBPROTOCOL};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, tcp::OwnedWriteHalf},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        client::IntoClientRequest as _,
        http::{self, HeaderValue, StatusCode},
    },
};

use crate::xmpp::{self, Roll, Said};

/// The URL of a change's page, without the number of the change at its end.
const MARK: &str = "https://example.com/change/";

/// Longest wait for a connection and its snapshot.
const CONNECTING_MAX: Duration = Duration::from_secs(120);

/// Pause before the next attempt to connect after a server answered 503.
const RETRY: Duration = Duration::from_millis(500);

/// Time between heartbeats, unless a measurement asks for another.
const HEARTBEAT: Duration = Duration::from_secs(60);

/// What a socket received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Snapshot,
    /// The page of this change.
    Change(u64),
    Heartbeat,
    Closed,
}

/// What was received, when, and by whom: the client's place in the town.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub who: usize,
    pub heard: Heard,
    pub at: Instant,
}

/// The users of a town, connected to one server.
#[derive(Debug)]
pub struct Clients {
    pub name: String,
    writers: Vec<Writer>,
    reports: UnboundedReceiver<Report>,
    beaten_at: Instant,
}

/// The writing half of a client's connection, by the server's protocol.
#[derive(Debug)]
enum Writer {
    LiveChannel(SplitSink<WebSocketStream<TcpStream>, Message>),
    Xmpp(OwnedWriteHalf),
}

/// The protocol of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    LiveChannel,
    Xmpp,
}

/// A server: its name, its protocol and its address.
#[derive(Debug, Clone)]
pub struct Server {
    pub name: String,
    pub language: Language,
    pub address: SocketAddr,
    /// Its process id, if it was given.
    pub process: Option<u32>,
}

impl std::str::FromStr for Server {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, rest) = text.split_once('=').context("a server is NAME=ADDRESS or NAME=ADDRESS@PROCESS")?;
        let (language, rest) =
            rest.strip_prefix("xmpp:").map_or((Language::LiveChannel, rest), |rest| (Language::Xmpp, rest));
        let (address, process) = rest.split_once('@').map_or((rest, None), |(a, p)| (a, Some(p)));
        let process = process.map(str::parse).transpose().context("a process is a number")?;
        let address = address.parse().context("an address is 127.0.0.1:PORT")?;
        Ok(Self { name: name.to_owned(), language, address, process })
    }
}

impl Clients {
    /// Connects everybody, `at_once` at a time, and waits until all have their snapshots.
    pub async fn connect(server: &Server, town: &Town, at_once: usize) -> Result<Self> {
        let (sender, reports) = unbounded_channel();
        let roll = Arc::new(Roll::new(town));
        let connections = town.people.iter().enumerate().map(|(who, citizen)| {
            let (sender, roll) = (sender.clone(), Arc::clone(&roll));
            async move {
                let why = || format!("{}: {} cannot connect", server.name, citizen.id);
                timeout(CONNECTING_MAX, connect(server, who, citizen, roll, sender))
                    .await
                    .with_context(why)?
                    .with_context(why)
            }
        });
        let writers: Vec<_> = stream::iter(connections).buffered(at_once).try_collect().await?;
        let mut clients = Self { name: server.name.clone(), writers, reports, beaten_at: Instant::now() };
        for _ in 0..town.people.len() {
            clients.next_of(|heard| heard == Heard::Snapshot, CONNECTING_MAX).await?;
        }
        Ok(clients)
    }

    /// Connects everybody at the same moment. Returns how long it took until each had their snapshot.
    pub async fn storm(server: &Server, town: &Town) -> Result<(Self, Vec<Duration>)> {
        let (sender, reports) = unbounded_channel();
        let roll = Arc::new(Roll::new(town));
        let begun = Instant::now();
        let tasks: Vec<_> = town
            .people
            .iter()
            .cloned()
            .enumerate()
            .map(|(who, citizen)| {
                let (sender, roll, server) = (sender.clone(), Arc::clone(&roll), server.clone());
                let connected = async move { connect(&server, who, &citizen, roll, sender).await };
                tokio::spawn(timeout(CONNECTING_MAX, connected))
            })
            .collect();
        let mut writers = Vec::new();
        for task in tasks {
            let why = || format!("{}: somebody cannot connect", server.name);
            writers.push(task.await?.with_context(why)?.with_context(why)?);
        }
        let mut clients = Self { name: server.name.clone(), writers, reports, beaten_at: Instant::now() };
        let mut taken = Vec::new();
        for _ in 0..town.people.len() {
            let report = clients.next_of(|heard| heard == Heard::Snapshot, CONNECTING_MAX).await?;
            taken.push(report.at - begun);
        }
        Ok((clients, taken))
    }

    /// Makes a client turn to the page of this change.
    pub async fn change(&mut self, who: usize, change: u64) -> Result<()> {
        let url = format!("{MARK}{change}");
        let text = match self.writer(who)? {
            Writer::LiveChannel(_) => {
                let title = "What became of it".to_owned();
                serde_json::to_string(&ClientMessage::UpdatePresence { url, title })?
            }
            Writer::Xmpp(_) => xmpp::page(&url),
        };
        self.send(who, text).await
    }

    /// Sends a heartbeat.
    pub async fn beat(&mut self, who: usize) -> Result<()> {
        let text = match self.writer(who)? {
            Writer::LiveChannel(_) => HEARTBEAT_REQUEST,
            Writer::Xmpp(_) => xmpp::PING,
        };
        self.send(who, text.to_owned()).await
    }

    /// Sends a heartbeat from every client if the last was a minute ago or more. It wakes no object.
    pub async fn keep_alive(&mut self) -> Result<()> {
        if self.beaten_at.elapsed() < HEARTBEAT {
            return Ok(());
        }
        self.beaten_at = Instant::now();
        for who in 0..self.writers.len() {
            self.beat(who).await?;
        }
        Ok(())
    }

    fn writer(&mut self, who: usize) -> Result<&mut Writer> {
        self.writers.get_mut(who).context("nobody there is connected")
    }

    async fn send(&mut self, who: usize, text: String) -> Result<()> {
        let sent = match self.writer(who)? {
            Writer::LiveChannel(socket) => socket.send(Message::text(text)).await.map_err(anyhow::Error::from),
            Writer::Xmpp(stream) => stream.write_all(text.as_bytes()).await.map_err(anyhow::Error::from),
        };
        sent.with_context(|| format!("{}: a socket broke", self.name))
    }

    /// The next report; `None` if there is none before `until`.
    pub async fn next(&mut self, until: Instant) -> Result<Option<Report>> {
        match tokio::time::timeout_at(until, self.reports.recv()).await {
            Ok(Some(Report { heard: Heard::Closed, .. })) => bail!("{} closed a socket", self.name),
            Ok(report) => Ok(report),
            Err(_) => Ok(None),
        }
    }

    /// The next report of this kind. Fails if there is none within `wait`.
    pub async fn next_of(&mut self, kind: impl Fn(Heard) -> bool, wait: Duration) -> Result<Report> {
        let until = Instant::now() + wait;
        loop {
            match self.next(until).await? {
                Some(report) if kind(report.heard) => return Ok(report),
                Some(_) => {}
                None => bail!("{}: what should have come did not within {} s", self.name, wait.as_secs()),
            }
        }
    }
}

async fn connect(
    server: &Server,
    who: usize,
    citizen: &Citizen,
    roll: Arc<Roll>,
    reports: UnboundedSender<Report>,
) -> Result<Writer> {
    match server.language {
        Language::LiveChannel => connect_live(server.address, who, citizen, reports).await.map(Writer::LiveChannel),
        Language::Xmpp => connect_xmpp(server.address, who, citizen, roll, reports).await.map(Writer::Xmpp),
    }
}

async fn connect_live(
    address: SocketAddr,
    who: usize,
    citizen: &Citizen,
    reports: UnboundedSender<Report>,
) -> Result<SplitSink<WebSocketStream<TcpStream>, Message>> {
    let (writer, mut reader) = loop {
        match open(address, citizen).await {
            Ok(socket) => break socket.split(),
            // The server is overloaded. Real clients try again too.
            Err(Error::Http(answer)) if answer.status() == StatusCode::SERVICE_UNAVAILABLE => sleep(RETRY).await,
            Err(error) => return Err(error.into()),
        }
    };
    tokio::spawn(async move {
        let report = |heard| reports.send(Report { who, heard, at: Instant::now() });
        while let Some(Ok(message)) = reader.next().await {
            let Message::Text(text) = message else { continue };
            if let Some(heard) = heard(&text)
                && report(heard).is_err()
            {
                return;
            }
        }
        // Nobody listens any more once the measurement is over.
        let _ = report(Heard::Closed);
    });
    Ok(writer)
}

async fn connect_xmpp(
    address: SocketAddr,
    who: usize,
    citizen: &Citizen,
    roll: Arc<Roll>,
    reports: UnboundedSender<Report>,
) -> Result<OwnedWriteHalf> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    let (writer, mut stanzas, mut snapshot) = xmpp::connect(tcp, citizen, roll).await?;
    tokio::spawn(async move {
        let report = |heard| reports.send(Report { who, heard, at: Instant::now() });
        while let Ok(Some(stanza)) = stanzas.next().await {
            let Some(said) = stanza.said() else { continue };
            let whole = snapshot.is_completed_by(&said).then_some(Heard::Snapshot);
            let heard = match said {
                Said::Presence { page, .. } => change(&page),
                Said::Pong => Some(Heard::Heartbeat),
                Said::Roster => None,
            };
            for heard in whole.into_iter().chain(heard) {
                if report(heard).is_err() {
                    return;
                }
            }
        }
        // Nobody listens any more once the measurement is over.
        let _ = report(Heard::Closed);
    });
    Ok(writer)
}

async fn open(address: SocketAddr, citizen: &Citizen) -> Result<WebSocketStream<TcpStream>, Error> {
    // The simplest server takes the user from the query. The others take it from the token.
    let mut request = format!("ws://{address}/ws?user={}", citizen.id).into_client_request()?;
    let protocols = HeaderValue::try_from(format!("{SUBPROTOCOL}, {}", citizen.token)).map_err(http::Error::from)?;
    request.headers_mut().insert("sec-websocket-protocol", protocols);
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    Ok(client_async(request, tcp).await?.0)
}

/// What this message is, if it is measured.
fn heard(text: &str) -> Option<Heard> {
    // Parsing the messages of thousands of sockets would cost so much time that it would distort the measurement.
    if text.starts_with(r#"{"type":"presence-snapshot""#) {
        return Some(Heard::Snapshot);
    }
    if text.starts_with(r#"{"type":"heartbeat""#) {
        return Some(Heard::Heartbeat);
    }
    let url = text.starts_with(r#"{"type":"update-presence""#).then(|| text.split_once(r#""url":""#))??.1;
    change(url.split('"').next()?)
}

/// The change that this page belongs to.
fn change(url: &str) -> Option<Heard> {
    url.strip_prefix(MARK)?.parse().ok().map(Heard::Change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_read_from_the_page_in_front_and_not_from_the_latest_page() {
        let update = r#"{"type":"update-presence","userId":"a","url":"https://example.com/change/17","latestUrl":"https://example.com/change/16"}"#;
        assert_eq!(heard(update), Some(Heard::Change(17)));
        let came = r#"{"type":"update-presence","userId":"a","url":"","latestUrl":"https://example.com/change/16"}"#;
        assert_eq!(heard(came), None);
        assert_eq!(heard(r#"{"type":"presence-snapshot","userPresence":{}}"#), Some(Heard::Snapshot));
        assert_eq!(heard(r#"{"type":"heartbeat"}"#), Some(Heard::Heartbeat));
        assert_eq!(heard(r#"{"type":"presence-timeout"}"#), None);
    }

    #[test]
    fn the_text_for_a_server_gives_its_protocol_address_and_process() {
        let server: Server = "one=xmpp:127.0.0.1:5222@7".parse().unwrap();
        let address = ([127, 0, 0, 1], 5222).into();
        assert_eq!((server.language, server.address, server.process), (Language::Xmpp, address, Some(7)));
        let server: Server = "two=127.0.0.1:5222".parse().unwrap();
        assert_eq!((server.language, server.address, server.process), (Language::LiveChannel, address, None));
    }
}
