//! Clients of a server that speaks XMPP (RFC 6120 and 6121), with only the parts that presence needs. A page is the status
//! of a presence, and the friends are the roster.
//!
//! Deliberately absent: encryption, resources, priorities, and answers to a server's requests.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use loadgen::{Citizen, Town};
use quick_xml::{
    Reader,
    escape::{escape, unescape},
    events::{BytesStart, Event},
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

const OPEN: &str = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
                    to='localhost' version='1.0'>";
const BIND: &str = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
/// Asks for the roster, and comes online.
const COME: &str = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq><presence/>";
/// A ping (XEP-0199), which a server answers: the counterpart of a heartbeat.
pub const PING: &str = "<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>";

/// The stanza that turns to this page.
pub fn page(url: &str) -> String {
    format!("<presence><status>{}</status></presence>", escape(url))
}

/// Something that a server sends: a child of the stream's root.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stanza {
    /// `iq`, `presence`, …
    name: String,
    /// `type`.
    kind: Option<String>,
    id: Option<String>,
    from: Option<String>,
    /// The text in `status`.
    status: String,
}

/// The stanzas that are measured.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// A user is online, on this page. It may be empty.
    Presence { user: String, page: String },
    /// The list of friends.
    Roster,
    /// The answer to a ping.
    Pong,
}

impl Stanza {
    fn begin(start: &BytesStart<'_>) -> Result<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let attribute =
            |name| Ok::<_, anyhow::Error>(start.try_get_attribute(name)?.map(|a| text(&a.value)).transpose()?);
        Ok(Self {
            name: text(start.name().as_ref())?,
            kind: attribute("type")?,
            id: attribute("id")?,
            from: attribute("from")?,
            status: String::new(),
        })
    }

    /// What this stanza is, if it is measured.
    pub fn said(self) -> Option<Said> {
        match (&*self.name, self.kind.as_deref(), self.id.as_deref()) {
            ("presence", None, _) => {
                let user = self.from?.split('@').next()?.to_owned();
                Some(Said::Presence { user, page: self.status })
            }
            ("iq", Some("result"), Some("roster")) => Some(Said::Roster),
            ("iq", Some("result"), Some("ping")) => Some(Said::Pong),
            _ => None,
        }
    }
}

/// The stanzas of a stream, in the order of their arrival.
pub struct Stanzas<R> {
    xml: Reader<BufReader<R>>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Stanzas<R> {
    fn new(reader: R) -> Self {
        let mut xml = Reader::from_reader(BufReader::new(reader));
        // The reader reports an empty element as a start and an end.
        xml.config_mut().expand_empty_elements = true;
        Self { xml, buffer: Vec::new() }
    }

    /// The next stanza; `None` when the stream is over.
    pub async fn next(&mut self) -> Result<Option<Stanza>> {
        let mut stanza = Stanza::default();
        let mut depth = 0_usize;
        let mut in_status = false;
        loop {
            self.buffer.clear();
            match self.xml.read_event_into_async(&mut self.buffer).await? {
                // The root element, which begins again after signing in. Only its children are returned.
                Event::Start(start) if start.name().as_ref() == b"stream:stream" => {}
                Event::Start(start) => {
                    depth += 1;
                    match depth {
                        1 => stanza = Stanza::begin(&start)?,
                        depth => in_status = depth == 2 && start.name().as_ref() == b"status",
                    }
                }
                Event::Text(text) if in_status => stanza.status.push_str(&text.decode()?),
                Event::GeneralRef(name) if in_status => {
                    stanza.status.push_str(&unescape(&format!("&{};", name.decode()?))?);
                }
                Event::End(_) => {
                    in_status = false;
                    match depth {
                        0 => return Ok(None),
                        1 => return Ok(Some(stanza)),
                        _ => depth -= 1,
                    }
                }
                Event::Eof => return Ok(None),
                Event::Empty(_)
                | Event::Text(_)
                | Event::GeneralRef(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
        }
    }

    async fn expect(&mut self, name: &str) -> Result<()> {
        match self.next().await? {
            Some(stanza) if stanza.name == name && stanza.kind.as_deref() != Some("error") => Ok(()),
            other => bail!("{name} should have come, not {other:?}"),
        }
    }
}

/// The users of a town who have been told by the server that they are online.
pub struct Roll {
    ids: Vec<String>,
    online: Mutex<BTreeSet<String>>,
}

impl Roll {
    /// A roll of this town on which nobody is online.
    pub fn new(town: &Town) -> Self {
        Self { ids: town.people.iter().map(|citizen| citizen.id.clone()).collect(), online: Mutex::default() }
    }

    fn online(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.online.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The parts of a snapshot that a client has not received yet: the roster, its own presence, and the presence of every friend
/// who was online when it connected. XMPP has no message for the end of them. Friends who come later are not waited for.
pub struct Snapshot {
    roll: Arc<Roll>,
    own_id: String,
    missing: BTreeSet<String>,
    roster_missing: bool,
}

impl Snapshot {
    fn new(roll: Arc<Roll>, citizen: &Citizen) -> Self {
        let online = roll.online();
        let friends = citizen.friends.iter().filter_map(|friend| roll.ids.get(*friend));
        let missing = friends.filter(|id| online.contains(*id)).chain([&citizen.id]).cloned().collect();
        drop(online);
        Self { roll, own_id: citizen.id.clone(), missing, roster_missing: true }
    }

    /// Whether this was the last missing part.
    pub fn is_completed_by(&mut self, said: &Said) -> bool {
        let was_missing = match said {
            Said::Presence { user, .. } => {
                let was_missing = self.missing.remove(user);
                if was_missing && *user == self.own_id {
                    self.roll.online().insert(user.clone());
                }
                was_missing
            }
            Said::Roster => std::mem::take(&mut self.roster_missing),
            Said::Pong => false,
        };
        was_missing && !self.roster_missing && self.missing.is_empty()
    }
}

/// The connection of a user who comes online: the writing half, the stanzas to read, and the missing parts of the snapshot.
pub type Connection = (OwnedWriteHalf, Stanzas<OwnedReadHalf>, Snapshot);

/// Signs in with the user's id as the password, asks for the roster and comes online.
pub async fn connect(tcp: TcpStream, citizen: &Citizen, roll: Arc<Roll>) -> Result<Connection> {
    let (reader, mut writer) = tcp.into_split();
    let mut stanzas = Stanzas::new(reader);
    let id = &citizen.id;
    let plain = BASE64_STANDARD.encode(format!("\0{id}\0{id}"));
    let auth = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>");
    for (text, answer) in [(OPEN, "stream:features"), (&*auth, "success"), (OPEN, "stream:features"), (BIND, "iq")] {
        writer.write_all(text.as_bytes()).await?;
        stanzas.expect(answer).await?;
    }
    let snapshot = Snapshot::new(roll, citizen);
    writer.write_all(COME.as_bytes()).await?;
    Ok((writer, stanzas, snapshot))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    const HEADER: &str = "<?xml version='1.0'?><stream:stream id='1' version='1.0' xml:lang='en' \
                          xmlns:stream='http://etherx.jabber.org/streams' from='localhost' xmlns='jabber:client'>";

    async fn read(text: String) -> Vec<Stanza> {
        let mut stanzas = Stanzas::new(Cursor::new(text));
        let mut all = Vec::new();
        while let Some(stanza) = stanzas.next().await.unwrap() {
            all.push(stanza);
        }
        all
    }

    fn presence(user: &str, page: &str) -> Said {
        Said::Presence { user: user.to_owned(), page: page.to_owned() }
    }

    #[tokio::test]
    async fn only_pages_rosters_and_pongs_are_measured() {
        let page =
            page("https://example.com/?a=1&b=<2>").replacen("<presence", "<presence from='alice@localhost/1'", 1);
        let text = format!(
            "{HEADER}<presence to='bob@localhost/2' from='carol@localhost/9'/>{page}\
             <presence type='unavailable' from='carol@localhost/9'><status>gone</status></presence>\
             <presence from='dave@localhost/3'><x xmlns='a'><status>not his</status></x></presence>\
             <iq type='result' id='roster'><query xmlns='jabber:iq:roster'><item jid='alice@localhost'/></query></iq>\
             <iq type='result' id='ping'/><iq type='error' id='ping'/></stream:stream>"
        );
        let said: Vec<Said> = read(text).await.into_iter().filter_map(Stanza::said).collect();
        let alice = presence("alice", "https://example.com/?a=1&b=<2>");
        assert_eq!(said, [presence("carol", ""), alice, presence("dave", ""), Said::Roster, Said::Pong]);
    }

    #[tokio::test]
    async fn a_stream_begins_again_after_signing_in() {
        let features = "<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>";
        let text = format!("{HEADER}{features}<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>{HEADER}{features}");
        let names: Vec<String> = read(text).await.into_iter().map(|stanza| stanza.name).collect();
        assert_eq!(names, ["stream:features", "success", "stream:features"]);
    }

    #[tokio::test]
    async fn an_error_names_the_stanza_that_came_instead() {
        let failure = format!("{HEADER}<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>");
        let mut stanzas = Stanzas::new(Cursor::new(failure));
        assert!(stanzas.expect("success").await.unwrap_err().to_string().contains("failure"));
        let error = format!("{HEADER}<iq type='error' id='bind'/>");
        let mut stanzas = Stanzas::new(Cursor::new(error));
        stanzas.expect("iq").await.unwrap_err();
    }

    #[test]
    fn a_snapshot_is_whole_with_the_last_friend_who_was_online() {
        let citizen = |id: &str, friends: &[usize]| Citizen {
            id: id.to_owned(),
            token: String::new(),
            friends: friends.to_owned(),
        };
        let people =
            vec![citizen("alice", &[1, 2]), citizen("bob", &[0]), citizen("carol", &[0]), citizen("dave", &[])];
        let town = Town { people, groups: Vec::new() };
        let roll = Arc::new(Roll::new(&town));
        let come = |place: usize| Snapshot::new(Arc::clone(&roll), &town.people[place]);
        for (place, id) in [(1, "bob"), (3, "dave")] {
            let mut snapshot = come(place);
            assert!(!snapshot.is_completed_by(&Said::Roster));
            assert!(snapshot.is_completed_by(&presence(id, "")));
        }
        // Carol comes at the same time as alice, so she is not waited for. Dave is nobody's friend.
        let (mut alice, _carol) = (come(0), come(2));
        assert!(!alice.is_completed_by(&presence("alice", "")));
        assert!(!alice.is_completed_by(&presence("carol", "")));
        assert!(!alice.is_completed_by(&presence("bob", "")));
        assert!(alice.is_completed_by(&Said::Roster));
        assert!(!alice.is_completed_by(&presence("bob", "https://example.com/")), "only once");
    }
}
