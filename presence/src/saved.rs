//! What survives the loss of memory: the stored documents and the sockets' attachments.
//!
//! Old and new code read each other's during a deployment, so fields are only added, with a default.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize};
use shared::{
    ids::{EventId, SocketId, UserId},
    internal::Wants,
    limits::{
        ABSENT_LEN_MAX, ATTACHMENT_BYTES_MAX, ATTACHMENT_REST_BYTES, FAILURES_LEN_MAX, LOST_MEMORY_MS, PEER_LATE_MS,
        RESTART_GRACE_MS_MAX, RESTART_SEQ_STEP, ROLL_LEN_MAX,
    },
    page::Page,
    time::Timestamp,
};

use crate::{
    calls::Failure,
    event::Effect,
    friends::{View, ViewState},
    kept::Kept,
    pace::{Lately, Pace},
    user::{Haste, Shown, Socket, Status, Times, UserPresence},
};

/// All that is kept in storage for a user.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Saved {
    pub state: SavedState,
    pub social: Option<Kept>,
    /// The newest events' ids, oldest first.
    pub event_ids: Vec<EventId>,
}

/// What changes when the user comes or goes, or an event of the core's turns out to be missing: never with a page, nor
/// with a friend's, while they are here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SavedState {
    /// Whether friends may believe that the user is online.
    pub online: bool,
    /// Whether the user wants to appear offline.
    pub invisible: bool,
    /// The newest visible change when this was saved; attachments may know newer ones.
    pub seq: u64,
    /// Of a user who ever was seen to leave.
    pub last_seen_at: Option<Timestamp>,
    /// The highest version heard of while something before it was missing. When the kept friends and settings are as new,
    /// nothing is.
    pub behind: Option<u64>,
    /// The version of settings that were taken in before something older that is missing. 0: of none.
    pub settings_version: u64,
    /// When friends may be asked as often at once as ever. See [`shared::limits::ASKS_AT_ONCE`].
    pub asks_full_at: Timestamp,
    /// Set from the last socket's closing until a socket opens, or until all who are to hear of it have heard that the
    /// user left.
    pub leaving: Option<Leaving>,
}

/// A user without sockets whom friends still see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// When the grace is over. 0: it is, and the newest change is that they left.
    pub at: Timestamp,
    /// When the last socket closed.
    pub since: Timestamp,
    /// What friends see meanwhile.
    pub front: Option<Page>,
    pub latest: Option<Page>,
    pub shown_at: Timestamp,
    pub idle_since: Option<Timestamp>,
    /// Not all of them see `front` yet: it waits for its turn, or somebody was not told.
    #[serde(default)]
    pub held: bool,
    /// The friends who see it, and what they want to hear.
    pub audience: BTreeMap<UserId, Wants>,
}

/// What each socket carries through hibernation. What it does not carry of the user, another one does; if that one was
/// lost, what it knew is asked and told anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub socket: SocketId,
    pub opened_at: Timestamp,
    pub expires_at: Timestamp,
    pub heard_at: Timestamp,
    /// Whether its snapshot was sent.
    pub ready: bool,
    pub watching: bool,
    pub idle_since: Option<Timestamp>,
    #[serde(default)]
    pub bad: Lately,
    /// The page its client reported last, with the order of that report among all of the user's sockets.
    /// `None` when it has not reported yet.
    pub report: Option<Report>,
    pub note: Note,
}

/// What a socket carries for the user as a whole. Of several, the one with the greatest `order` counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    pub order: u64,
    /// A moment of activity, at most [`shared::limits::ACTIVE_NOTE_MS`] before the last.
    pub active_at: Timestamp,
    /// The user's newest visible change, when it was, and what it left behind.
    pub seq: u64,
    pub at: Timestamp,
    pub latest: Option<Page>,
    /// How many sockets there were then. Every one that opens is noted on all, so when fewer are left, one of them closed
    /// and nobody was there to hear it.
    #[serde(default)]
    pub sockets: usize,
    /// When friends may be asked as often at once as ever.
    #[serde(default)]
    pub asks_full_at: Timestamp,
    /// Whether friends see the user.
    pub visible: bool,
    /// Not all who are to know of that change do, or a newer one waits for its turn; or somebody has not answered. Those
    /// aside who were not reached.
    pub untold: bool,
    /// When those are to be called again, in the order of their ids. Of more than [`FAILURES_LEN_MAX`], the rest are as the
    /// last.
    #[serde(default)]
    pub failures: Vec<Failure>,
    pub roll: Roll,
}

/// Who of the friends is there. Each friend is a digit, in the order of their ids: what they want to hear (0 nothing,
/// 1 coming and going, 2 everything), and 3 more when clients see them online, 6 when some of them do. Of those who were
/// not reached, 9 more is for one who is to be asked, 18 for one who is to be told, 27 for both: the characters that
/// follow the digits in ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// The social version that the list of friends is of.
    pub version: u64,
    /// Empty for more friends than [`ROLL_LEN_MAX`]: then all are taken to be there.
    pub digits: String,
    /// When those were seen last whose digit is at most 2, at most [`ABSENT_LEN_MAX`] of them, so that they need not be asked: in
    /// base64, six bytes each. 0: they are to be asked; 1: never; or milliseconds since 1970.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub absent: String,
}

/// How much one of those takes in a [`Roll`].
const ABSENT_BYTES: usize = 8;

/// In place of a time, in a [`Roll`].
const NEVER_SEEN: u64 = 1;

/// A page a client reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Grows with every report of the user's.
    pub order: u64,
    /// `None`: a page that nobody may see, whatever the lists say.
    pub page: Option<Page>,
}

impl UserPresence {
    /// The user as they were when memory was lost: from storage and from the sockets that are still open.
    pub fn restore(me: UserId, times: Times, saved: Saved, attachments: Vec<Attachment>, now: Timestamp) -> Self {
        let Saved { state, social, event_ids } = saved;
        let note = attachments.iter().map(|attachment| &attachment.note).max_by_key(|note| note.order).cloned();
        let friends: BTreeSet<UserId> = social.iter().flat_map(|social| &social.friends).cloned().collect();
        let mut user = Self {
            me,
            times,
            unsure: false,
            // What came by the way has slept longer than any message is on its way, but for those that failed.
            believes_from: now.plus_ms(-PEER_LATE_MS),
            friends,
            behind: state.behind.filter(|behind| social.as_ref().is_some_and(|social| social.head.version < *behind)),
            settings_version: state.settings_version,
            social,
            load_at: None,
            event_ids: event_ids.into(),
            sockets: attachments.into_iter().map(Socket::carried).collect(),
            status: Status::Away,
            invisible: state.invisible,
            visible: false,
            last_seen_at: state.last_seen_at,
            seq: state.seq,
            came_or_left: 0,
            leapt: false,
            shown: Shown::nothing(now),
            order: 0,
            front: None,
            pace: Pace::of_changes(),
            asks: Pace::of_asks(state.asks_full_at, now),
            held: false,
            audience: BTreeMap::new(),
            seen: BTreeSet::new(),
            missed: BTreeSet::new(),
            views: BTreeMap::new(),
            telling: BTreeMap::new(),
            asking: BTreeSet::new(),
            calling: BTreeMap::new(),
            failed: BTreeMap::new(),
            due: BTreeSet::new(),
            farewells_until: None,
            readers: Vec::new(),
            effects: Vec::new(),
            save_social: false,
            save_state: false,
            saved: state.clone(),
            touched: BTreeSet::new(),
            note: false,
            note_later: false,
            noted: 0,
            noted_untold: false,
            active_at: Timestamp::from_unix_ms(0),
            newly_ready: BTreeSet::new(),
        };
        let over = state.leaving.as_ref().is_some_and(Leaving::is_over);
        match (note, state.leaving) {
            (Some(note), _) => user.restore_here(note, now),
            // The user left, or vanished, and not all friends have heard it.
            (None, leaving) if state.online && (state.invisible || over) => {
                if !over {
                    user.leap(now);
                }
                let told =
                    leaving.map_or_else(|| user.friends.clone(), |leaving| leaving.audience.into_keys().collect());
                user.telling = told.intersection(&user.friends).map(|id| (id.clone(), Wants::Comings)).collect();
                user.due = user.telling.keys().cloned().collect();
            }
            (None, Some(leaving)) => user.restore_leaving(leaving, now),
            (None, None) if state.online => {
                // Friends may have heard of changes that nobody remembers, told by a clock ahead of this one.
                user.leap(now);
                user.believes_from = now.plus_ms(PEER_LATE_MS);
                let grace_ms = times.grace_ms.min(RESTART_GRACE_MS_MAX);
                user.status = Status::Leaving { at: now.plus_ms(grace_ms), since: now, restarted: true };
                user.visible = true;
                user.audience = user.friends.iter().map(|id| (id.clone(), Wants::Pages)).collect();
            }
            (None, None) => {}
        }
        // Memory was lost after the suspension was kept, and before the sockets were closed.
        if user.is_suspended() {
            user.expel(now);
        }
        user
    }

    fn restore_here(&mut self, note: Note, now: Timestamp) {
        self.status = Status::Here;
        self.visible = note.visible;
        self.seq = self.seq.max(note.seq);
        self.noted = note.order;
        self.active_at = note.active_at;
        self.asks = Pace::of_asks(note.asks_full_at.max(self.asks.full_at()), now);
        self.bring_to_front();
        // Storage and sockets may have been given different things when memory was lost in between.
        self.save_state = true;
        if self.behind.is_some() {
            self.load_social();
        }
        // What only a lost socket knew may have been told, and may have been who is there.
        let lost = self.sockets.len() < note.sockets;
        if lost || !self.read_roll(&note.roll, &note.failures) {
            // Too many is only dear.
            self.missed = self.friends.clone();
            self.audience = self.friends.iter().map(|id| (id.clone(), Wants::Pages)).collect();
            self.seen = self.friends.clone();
        }
        // Storage knows when the user vanished, and friends may have been told.
        self.visible &= !(lost && self.invisible);
        // Nobody sleeps in the midst of something: what was under way may never have been done.
        let untold = note.untold || lost;
        if self.visible {
            // What was shown follows from what is in front and the rules, neither of which changed since. It does not
            // when a change was waiting, or a socket was lost; then what is shown now is new.
            let page = self.visible_page();
            let latest = page.clone().or(note.latest.filter(|page| self.may_be_seen(page)));
            self.shown = Shown { at: note.at, page, latest, idle_since: self.idle_since() };
        }
        if lost {
            self.leap(now);
        } else if untold {
            self.grow_seq(now);
        }
        if untold {
            self.shown.at = now;
            self.note = true;
            if self.visible {
                self.show(self.watching_sockets(), self.presence());
            }
        }
        if untold || now < note.active_at.plus_ms(LOST_MEMORY_MS) {
            // Nor is anything believed that was on its way then, by whatever clock.
            self.believes_from = now.plus_ms(PEER_LATE_MS);
            self.unsure = true;
            self.views.clear();
            self.tell(Wants::Comings);
            // Those, too, who cannot be there: clients hear of each who is not, so that among them nobody can be told who is
            // invisible.
            self.ask(&self.friends.clone());
        }
        if self.visible == self.invisible {
            self.settle(Haste::Urgent, now);
        }
        for socket in self.sockets.iter().filter(|(_, open)| !open.ready).map(|(id, _)| *id).collect::<Vec<_>>() {
            self.show_all(socket, now);
        }
    }

    fn restore_leaving(&mut self, leaving: Leaving, now: Timestamp) {
        let Leaving { at, since, front, latest, shown_at, idle_since, held, audience } = leaving;
        self.status = Status::Leaving { at, since, restarted: false };
        // What friends said before memory was lost may come after what they have said since.
        self.believes_from = now.plus_ms(PEER_LATE_MS);
        self.visible = true;
        self.front = front;
        let page = self.visible_page();
        let latest = page.clone().or(latest.filter(|page| self.may_be_seen(page)));
        self.shown = Shown { at: shown_at, page, latest, idle_since };
        self.audience = audience;
        self.audience.retain(|id, _| self.friends.contains(id));
        if held {
            self.grow_seq(now);
            self.shown.at = now;
            self.save_state = true;
            self.tell(Wants::Pages);
        }
        if at <= now.plus_ms(PEER_LATE_MS) {
            // Friends may have been told that the user left, by a clock ahead of this one.
            self.leap(now);
            self.go_offline(since, now);
        }
    }

    /// Makes sure that no change has been told of that is newer than the next.
    fn leap(&mut self, now: Timestamp) {
        self.grow_seq(now);
        self.seq = self.seq.saturating_add(RESTART_SEQ_STEP);
        self.leapt = true;
        self.save_state = true;
    }

    /// What a socket is to carry. `with_ready`: or else its snapshot is on the way.
    pub(crate) fn attachment(&mut self, socket: SocketId, with_ready: bool, now: Timestamp) -> Option<Effect> {
        if !self.sockets.contains_key(&socket) {
            return None;
        }
        self.noted = self.noted.saturating_add(1);
        self.active_at = now;
        let note = self.note(socket);
        self.noted_untold = note.untold;
        let Socket { opened_at, expires_at, heard_at, ready, watching, idle_since, report, bad, .. } =
            self.sockets.get(&socket)?.clone();
        let ready = ready && with_ready;
        let attachment =
            Attachment { socket, opened_at, expires_at, heard_at, ready, watching, idle_since, bad, report, note };
        Some(Effect::Attach { socket, attachment })
    }

    fn note(&self, socket: SocketId) -> Note {
        let Shown { at, latest, .. } = self.shown.clone();
        let reported = self.sockets.get(&socket).and_then(|socket| socket.report.as_ref()?.page.as_ref());
        let taken =
            json_bytes(reported).saturating_add(json_bytes(latest.as_ref())).saturating_add(ATTACHMENT_REST_BYTES);
        Note {
            order: self.noted,
            active_at: self.active_at,
            seq: self.seq,
            at,
            latest,
            sockets: self.sockets.len(),
            asks_full_at: self.asks.full_at(),
            visible: self.visible,
            untold: self.has_untold(),
            failures: self.unreached().take(FAILURES_LEN_MAX).copied().collect(),
            roll: self.roll(ATTACHMENT_BYTES_MAX.saturating_sub(taken)),
        }
    }

    /// Whether friends are owed something, or owe it, those aside who were not reached.
    pub(crate) fn has_untold(&self) -> bool {
        self.held || self.telling.keys().chain(&self.asking).any(|id| !self.failed.contains_key(id))
    }

    /// The failures of those who are still to be told or asked, in the order of their ids.
    fn unreached(&self) -> impl Iterator<Item = &Failure> {
        let owed = |id: &UserId| self.telling.contains_key(id) || self.asking.contains(id);
        self.failed.iter().filter(move |(id, _)| owed(id)).map(|(_, failure)| failure)
    }

    /// Who is there, in so many bytes at most: long pages leave room for fewer of the absent.
    fn roll(&self, bytes_max: usize) -> Roll {
        let version = self.social_version().unwrap_or_default();
        if self.friends.len() > ROLL_LEN_MAX {
            return Roll { version, digits: String::new(), absent: String::new() };
        }
        let digits = self.digits();
        let absent = self.friends.iter().zip(digits.bytes()).filter(|(_, digit)| *digit < b'3').map(|(id, _)| id);
        let absent_max = bytes_max.saturating_sub(digits.len()) / ABSENT_BYTES;
        let mut bytes = Vec::new();
        for id in absent.take(absent_max.min(ABSENT_LEN_MAX)) {
            let known = self.views.get(id).filter(|view| view.kept_up);
            let moment = match known.map(|view| &view.state) {
                Some(ViewState::Offline { last_seen_at: Some(at) }) => u64::try_from(at.unix_ms()).unwrap_or_default(),
                Some(ViewState::Offline { last_seen_at: None }) => NEVER_SEEN,
                Some(ViewState::Online(_)) | None => 0,
            };
            bytes.extend(moment.to_be_bytes().into_iter().skip(2));
        }
        Roll { version, digits, absent: STANDARD_NO_PAD.encode(bytes) }
    }

    fn digits(&self) -> String {
        let mut tells = in_order(self.telling.iter());
        let mut asks = in_order(self.asking.iter().map(|id| (id, ())));
        let mut failed = in_order(self.failed.iter());
        let mut audience = in_order(self.audience.iter());
        let mut seen = in_order(self.seen.iter().map(|id| (id, ())));
        let mut missed = in_order(self.missed.iter().map(|id| (id, ())));
        let digit = |id| {
            let (tells, asks, failed) = (tells(id).is_some(), asks(id).is_some(), failed(id).is_some());
            // Whoever has yet to be told or asked may be there: then both are tried again.
            let owed = !failed && (tells || asks);
            let wants = match audience(id).or(owed.then_some(&Wants::Comings)) {
                None | Some(Wants::Nothing) => 0,
                Some(Wants::Comings) => 1,
                Some(Wants::Pages) => 2,
            };
            let seen = match (seen(id), missed(id)) {
                (None, _) => 0,
                (Some(()), None) => 3,
                (Some(()), Some(())) => 6,
            };
            let later = match (failed && asks, failed && tells) {
                (false, false) => 0,
                (true, false) => 9,
                (false, true) => 18,
                (true, true) => 27,
            };
            char::from(b'0' + wants + seen + later)
        };
        self.friends.iter().map(digit).collect()
    }

    /// Takes in who is there; `false`, and nothing is taken in, when the list of friends is another one by now.
    fn read_roll(&mut self, roll: &Roll, failures: &[Failure]) -> bool {
        if Some(roll.version) != self.social_version() || roll.digits.len() != self.friends.len() {
            return false;
        }
        let absent = STANDARD_NO_PAD.decode(&roll.absent).unwrap_or_default();
        let friends = self.friends.iter().zip(roll.digits.bytes().map(|digit| digit.saturating_sub(b'0')));
        // Each map is made at once of what comes in order: one by one would take several times as long, and a friend's
        // page waits.
        let wants = |number: u8| match number % 3 {
            1 => Some(Wants::Comings),
            2 => Some(Wants::Pages),
            _ => None,
        };
        self.audience = friends.clone().filter_map(|(id, number)| Some((id.clone(), wants(number)?))).collect();
        let seen = |least: u8| friends.clone().filter(move |(_, number)| number % 9 >= least).map(|(id, _)| id.clone());
        (self.seen, self.missed) = (seen(3).collect(), seen(6).collect());
        let absent = friends.clone().filter(|(_, number)| *number < 3).zip(absent.chunks_exact(6));
        self.views = absent.filter_map(|((id, _), bytes)| Some((id.clone(), View::of_absent(bytes)?))).collect();
        let failed: Vec<(UserId, u8)> =
            friends.filter(|(_, number)| *number >= 9).map(|(id, number)| (id.clone(), number / 9)).collect();
        let failures = failures.iter().chain(failures.last().into_iter().cycle());
        for ((friend, owed), failure) in failed.into_iter().zip(failures) {
            if owed >= 2 {
                self.owe(Wants::Comings, &friend);
            }
            if owed != 2 {
                self.asking.insert(friend.clone());
            }
            self.failed.insert(friend, *failure);
        }
        true
    }

    /// What storage is to hold.
    pub(crate) fn saved_state(&self) -> SavedState {
        let (seq, settings_version, asks_full_at) = (self.seq, self.settings_version, self.asks.full_at());
        // What was missing is in another document, which may not be kept yet. Without one, nothing is missing in it.
        let behind = self.behind.or(self.saved.behind).filter(|_| self.social.is_some());
        let leaving = match self.status {
            Status::Leaving { at, since, restarted: false } => {
                let (front, latest) = (self.front.clone(), self.shown.latest.clone());
                let unanswered = self.asking.iter().map(|id| (id, &Wants::Comings));
                let audience = unanswered.chain(&self.telling).chain(&self.audience);
                let audience = audience.map(|(id, wants)| (id.clone(), *wants)).collect();
                let Shown { at: shown_at, idle_since, .. } = self.shown;
                let held = self.held || !self.telling.is_empty();
                Some(Leaving { at, since, front, latest, shown_at, idle_since, held, audience })
            }
            // Until somebody comes or the grace is over, what storage says is still so.
            Status::Leaving { restarted: true, .. } => {
                return SavedState { seq, behind, settings_version, asks_full_at, ..self.saved.clone() };
            }
            // Until all have heard it, memory may be lost and the rest be forgotten.
            Status::Away if !self.telling.is_empty() && self.saved.leaving.is_some() && !self.leapt => {
                return SavedState { seq, behind, settings_version, asks_full_at, ..self.saved.clone() };
            }
            Status::Away if !self.telling.is_empty() => self.last_seen_at.map(|at| {
                let (over, audience) = (Timestamp::from_unix_ms(0), self.telling.clone());
                let (front, latest, idle_since, held) = (None, None, None, false);
                Leaving { at: over, since: at, front, latest, shown_at: at, idle_since, held, audience }
            }),
            Status::Away | Status::Here => None,
        };
        SavedState {
            online: self.visible || leaving.is_some() || !self.telling.is_empty(),
            invisible: self.invisible,
            seq,
            last_seen_at: self.last_seen_at,
            behind,
            settings_version,
            asks_full_at,
            leaving,
        }
    }
}

/// How much room something takes in an attachment.
fn json_bytes<T: Serialize>(value: Option<&T>) -> usize {
    // Nothing in a page could fail to be written.
    value.map_or(0, |value| serde_json::to_vec(value).map_or(0, |json| json.len()))
}

/// Finds what belongs to ids that come in order, in entries that do: quicker than to search for each.
fn in_order<'a, V>(entries: impl Iterator<Item = (&'a UserId, V)>) -> impl FnMut(&UserId) -> Option<V> {
    let mut rest = entries.peekable();
    move |id| {
        while rest.next_if(|(known, _)| *known < id).is_some() {}
        rest.next_if(|(known, _)| *known == id).map(|(_, value)| value)
    }
}

impl Leaving {
    fn is_over(&self) -> bool {
        self.at == Timestamp::from_unix_ms(0)
    }
}

impl Socket {
    fn carried(attachment: Attachment) -> (SocketId, Self) {
        let Attachment { socket, opened_at, expires_at, heard_at, ready, watching, idle_since, bad, report, note: _ } =
            attachment;
        let frames = Lately::default();
        (socket, Self { opened_at, expires_at, heard_at, ready, watching, idle_since, report, frames, bad })
    }
}

impl View {
    /// As it is carried in a [`Roll`]. Whatever the friend says is newer than that.
    fn of_absent(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f] = *bytes else { return None };
        let last_seen_at = match u64::from_be_bytes([0, 0, a, b, c, d, e, f]) {
            0 => return None,
            NEVER_SEEN => None,
            ms => Some(Timestamp::from_unix_ms(i64::try_from(ms).ok()?)),
        };
        Some(Self { seq: 0, state: ViewState::Offline { last_seen_at }, kept_up: true })
    }
}
