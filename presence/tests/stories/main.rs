//! Named stories: what a few users, their sockets and the core do, and what each of them gets to see. The engines talk to each
//! other directly, one effect after the other, on a clock that the story sets.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a story that does not go as told ends there"
)]

mod any_order;
mod bounds;
mod coming_and_going;
mod core_events;
mod crossing;
mod friends;
mod lost_sockets;
mod memory_loss;
mod pages;
mod population;

mod retries;
mod stored_forms;
mod visibility;
mod watching;
