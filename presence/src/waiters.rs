//! Who waits for friends' answers: a socket for its snapshot, or a `GET`. Each waits until every friend who was queried for it has
//! answered or was not reached, for two calls at most.

use std::collections::BTreeSet;

use shared::{
    ids::{SocketId, UserId},
    limits::PEER_CALL_MS_MAX,
    time::Timestamp,
};

use crate::{event::ReadId, limits::SNAPSHOT_WAITERS_MAX};

/// All who wait.
#[derive(Debug, Default)]
pub(crate) struct SnapshotWaiters(Vec<SnapshotWaiter>);

#[derive(Debug)]
struct SnapshotWaiter {
    recipient: Recipient,
    since: Timestamp,
    waits_for: BTreeSet<UserId>,
}

impl SnapshotWaiter {
    /// Whether it has waited for as long as a call may take.
    fn has_waited_long(&self, now: Timestamp) -> bool {
        self.since.plus_ms(i64::from(PEER_CALL_MS_MAX)) <= now
    }
}

/// To whom a snapshot goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Recipient {
    Socket(SocketId),
    Get { read: ReadId, friend: Option<UserId> },
}

impl SnapshotWaiters {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether [`SNAPSHOT_WAITERS_MAX`] wait. Further requests are served with what is known, so that a client cannot fill memory.
    pub fn is_full(&self) -> bool {
        self.0.len() >= SNAPSHOT_WAITERS_MAX
    }

    /// Adds one. A socket waits once, since its first request.
    pub fn add(&mut self, recipient: Recipient, waits_for: BTreeSet<UserId>, now: Timestamp) {
        let before = matches!(recipient, Recipient::Socket(_))
            .then(|| self.0.iter().position(|waiter| waiter.recipient == recipient))
            .flatten()
            .map(|index| self.0.remove(index));
        let since = before.map_or(now, |waiter| waiter.since);
        self.0.push(SnapshotWaiter { recipient, since, waits_for });
    }

    /// Whether this socket waits.
    pub fn has_socket(&self, socket: SocketId) -> bool {
        self.0.iter().any(|waiter| waiter.recipient == Recipient::Socket(socket))
    }

    /// Whether anybody waits for this friend.
    pub fn is_awaited(&self, friend: &UserId) -> bool {
        self.0.iter().any(|waiter| waiter.waits_for.contains(friend))
    }

    /// Nobody waits for this friend any more.
    pub fn stop_waiting_for(&mut self, friend: &UserId) {
        for waiter in &mut self.0 {
            waiter.waits_for.remove(friend);
        }
    }

    /// Nobody waits for any friend any more.
    pub fn stop_all_waiting(&mut self) {
        self.0.iter_mut().for_each(|waiter| waiter.waits_for.clear());
    }

    /// A call to this friend ended, perhaps without settling the query. Those who have waited for as long as a call may take stop
    /// waiting for this friend: so nobody waits for more than two calls.
    pub fn release_overdue(&mut self, friend: &UserId, now: Timestamp) {
        for waiter in self.0.iter_mut().filter(|waiter| waiter.has_waited_long(now)) {
            waiter.waits_for.remove(friend);
        }
    }

    /// All friends are queried anew. A `GET` of everybody waits for their answers, or for none if it has waited for as long as a call
    /// may take.
    pub fn wait_anew_for(&mut self, friends: &BTreeSet<UserId>, now: Timestamp) {
        for waiter in &mut self.0 {
            if !matches!(waiter.recipient, Recipient::Get { friend: None, .. }) {
                continue;
            }
            if waiter.has_waited_long(now) {
                waiter.waits_for.clear();
            } else {
                waiter.waits_for.clone_from(friends);
            }
        }
    }

    /// Takes out those who wait for no friend any more.
    pub fn take_served(&mut self) -> Vec<Recipient> {
        let (waiting, served) =
            std::mem::take(&mut self.0).into_iter().partition(|waiter| !waiter.waits_for.is_empty());
        self.0 = waiting;
        let served: Vec<SnapshotWaiter> = served;
        served.into_iter().map(|waiter| waiter.recipient).collect()
    }
}
