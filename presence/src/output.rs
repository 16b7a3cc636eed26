//! What an event causes, gathered while it is handled: effects, and what storage and sockets must be given.
//!
//! What sockets carry is written at the end of an event, in [`crate::UserPresence::handle`]. Until then it is only requested.

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
    /// Friends and settings have changed and are to be saved.
    save_social: bool,
    /// The state may have changed. It is saved if it differs from `saved`.
    save_state: bool,
    /// The state that storage holds.
    saved: SavedState,
    /// Sockets whose attachments are to be written.
    sockets_to_write: BTreeSet<SocketId>,
    /// Sockets that got their snapshot in this event.
    newly_ready: BTreeSet<SocketId>,
    /// One socket is to be given a checkpoint: what it says of the user as a whole has changed.
    checkpoint: bool,
    /// A checkpoint is wanted, and waits for the last answer to the calls in flight.
    deferred: bool,
    /// The number of the newest checkpoint.
    checkpoints: u64,
    /// The newest checkpoint says that something is unsettled.
    carries_unsettled: bool,
    /// When the newest checkpoint was written.
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
            sockets_to_write: BTreeSet::new(),
            newly_ready: BTreeSet::new(),
            checkpoint: false,
            deferred: false,
            checkpoints: 0,
            carries_unsettled: false,
            active_at: Timestamp::EPOCH,
        }
    }

    /// Goes on after the checkpoint of that number, which was written at that time.
    pub fn resume(&mut self, checkpoints: u64, active_at: Timestamp) {
        self.checkpoints = checkpoints;
        self.active_at = active_at;
    }

    /// Takes over the effects that were gathered by another.
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

    /// These sockets' attachments are to be written.
    pub fn request_attachments(&mut self, sockets: impl IntoIterator<Item = SocketId>) {
        self.sockets_to_write.extend(sockets);
    }

    /// A socket is to be given a checkpoint. Without sockets, the state is saved instead.
    pub fn request_checkpoint(&mut self) {
        self.checkpoint = true;
    }

    /// The state is to be saved if it has changed.
    pub fn request_state_save(&mut self) {
        self.save_state = true;
    }

    /// Friends and settings are to be saved.
    pub fn request_social_save(&mut self) {
        self.save_social = true;
    }

    /// The state that storage holds.
    pub fn saved(&self) -> &SavedState {
        &self.saved
    }

    pub fn carries_unsettled(&self) -> bool {
        self.carries_unsettled
    }

    /// The event ended a call. While others are in flight, a checkpoint that it asks for waits for the last of them. That is safe
    /// because the sockets still carry that something is unsettled: a loss of memory in between queries all friends anew.
    pub fn defer_checkpoint(&mut self, in_flight: bool) {
        let defer = self.carries_unsettled && in_flight;
        let wanted = self.checkpoint || self.deferred;
        (self.checkpoint, self.deferred) = (wanted && !defer, wanted && defer);
    }

    /// Whether the newest checkpoint is so old that another is due, to carry when the object was last active.
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

    pub fn take_sockets_to_write(&mut self) -> BTreeSet<SocketId> {
        std::mem::take(&mut self.sockets_to_write)
    }

    pub fn take_newly_ready(&mut self) -> BTreeSet<SocketId> {
        std::mem::take(&mut self.newly_ready)
    }

    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A checkpoint is written now. Returns its number.
    pub fn next_checkpoint(&mut self, unsettled: bool, now: Timestamp) -> u64 {
        self.checkpoints = self.checkpoints.saturating_add(1);
        self.carries_unsettled = unsettled;
        self.active_at = now;
        self.checkpoints
    }
}
