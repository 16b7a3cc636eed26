//! What to do, gathered while an event is handled: effects, what storage must keep, and what sockets must carry.

use std::collections::BTreeSet;

use shared::{
    ids::SocketId,
    internal::Presence,
    time::Timestamp,
    wire::{CloseCode, ServerMessage},
};

use crate::{event::Effect, limits::ACTIVITY_EVERY_MS, stored::SavedState};

/// The effects of one event, and what storage and sockets were given before.
#[derive(Debug)]
pub(crate) struct Output {
    effects: Vec<Effect>,
    save_social: bool,
    save_state: bool,
    /// The state that storage holds.
    saved: SavedState,
    /// Sockets that are to carry what is new of themselves.
    touched: BTreeSet<SocketId>,
    /// Sockets that got their snapshot in this event.
    newly_ready: BTreeSet<SocketId>,
    /// What any socket must carry for the user as a whole has changed.
    checkpoint: bool,
    /// It has, by answers to calls alone, while others are still in flight.
    deferred: bool,
    /// How often sockets were given a checkpoint.
    checkpoints: u64,
    /// Sockets carry that something is still to be told or queried.
    carries_untold: bool,
    /// The last moment of activity that a socket carries.
    active_at: Timestamp,
}

impl Output {
    /// `saved`: what storage holds.
    pub fn new(saved: SavedState) -> Self {
        Self {
            effects: Vec::new(),
            save_social: false,
            save_state: false,
            saved,
            touched: BTreeSet::new(),
            newly_ready: BTreeSet::new(),
            checkpoint: false,
            deferred: false,
            checkpoints: 0,
            carries_untold: false,
            active_at: Timestamp::from_unix_ms(0),
        }
    }

    /// Sockets carry so many checkpoints, the last of them from that moment.
    pub fn resume(&mut self, checkpoints: u64, active_at: Timestamp) {
        self.checkpoints = checkpoints;
        self.active_at = active_at;
    }

    /// What was gathered for a user of whom nothing else stays.
    pub fn take_over(&mut self, before: Self) {
        self.effects = before.effects;
    }

    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    pub fn send(&mut self, sockets: Vec<SocketId>, message: ServerMessage) {
        if !sockets.is_empty() {
            self.effects.push(Effect::Send { sockets, message });
        }
    }

    pub fn show(&mut self, sockets: Vec<SocketId>, presence: Presence) {
        if !sockets.is_empty() {
            self.effects.push(Effect::Show { sockets, presence });
        }
    }

    pub fn close(&mut self, socket: SocketId, code: CloseCode) {
        self.effects.push(Effect::Close { socket, code });
    }

    /// The socket got its snapshot.
    pub fn snapshot_sent(&mut self, socket: SocketId) {
        self.newly_ready.insert(socket);
    }

    /// These sockets are to carry what is new of themselves.
    pub fn touch(&mut self, sockets: impl IntoIterator<Item = SocketId>) {
        self.touched.extend(sockets);
    }

    /// A socket is to carry what is new of the user. Without sockets, storage keeps it.
    pub fn checkpoint(&mut self) {
        self.checkpoint = true;
    }

    pub fn save_state(&mut self) {
        self.save_state = true;
    }

    pub fn save_social(&mut self) {
        self.save_social = true;
    }

    /// The state that storage holds.
    pub fn saved(&self) -> &SavedState {
        &self.saved
    }

    pub fn carries_untold(&self) -> bool {
        self.carries_untold
    }

    /// The event was an answer, and others are in flight: what it changed is written with the last of them. Until then sockets
    /// carry that something is in progress, and that all who were called may be online.
    pub fn defer_checkpoint(&mut self, in_flight: bool) {
        let defer = self.carries_untold && in_flight;
        let wanted = self.checkpoint || self.deferred;
        (self.checkpoint, self.deferred) = (wanted && !defer, wanted && defer);
    }

    /// Whether the last moment of activity that sockets carry is so old that the next one must be written.
    pub fn is_activity_old(&self, now: Timestamp) -> bool {
        self.active_at.plus_ms(ACTIVITY_EVERY_MS) <= now
    }

    pub fn take_checkpoint(&mut self) -> bool {
        let wanted = std::mem::take(&mut self.checkpoint);
        self.deferred &= !wanted;
        wanted
    }

    pub fn take_save_state(&mut self) -> bool {
        std::mem::take(&mut self.save_state)
    }

    pub fn take_save_social(&mut self) -> bool {
        std::mem::take(&mut self.save_social)
    }

    /// Storage holds this from now on.
    pub fn set_saved(&mut self, state: SavedState) {
        self.saved = state;
    }

    pub fn take_touched(&mut self) -> BTreeSet<SocketId> {
        std::mem::take(&mut self.touched)
    }

    pub fn take_newly_ready(&mut self) -> BTreeSet<SocketId> {
        std::mem::take(&mut self.newly_ready)
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Numbers the next checkpoint. `untold`: something is still to be told or queried.
    pub fn next_checkpoint(&mut self, untold: bool, now: Timestamp) -> u64 {
        self.checkpoints = self.checkpoints.saturating_add(1);
        self.carries_untold = untold;
        self.active_at = now;
        self.checkpoints
    }
}
