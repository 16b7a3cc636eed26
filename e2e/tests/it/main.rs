//! The whole system as its clients meet it: real processes, HTTP and WebSocket. `cargo xtask test` runs this.
//!
//! All tests but those of `browsers`, `outages` and `self_hosting` share one stack, whose times are short (`xtask/src/test.rs`). Nobody waits for
//! nothing to happen: that something never comes is shown by what comes next instead.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, wherever it stands"
)]
#![allow(clippy::wildcard_enum_match_arm, reason = "a test waits for one kind of message and passes over the others")]

mod browsers;
mod coming_and_going;
mod connecting;
mod crashes;
mod events;
mod frames;
mod friends;
mod outages;
mod pages;
mod privacy;
mod published_clients;
mod rest;
mod rules;
#[cfg(target_os = "linux")]
mod self_hosting;
mod thrift;
mod tokens;
