//! The whole system as its clients meet it: real processes, HTTP and WebSocket. `cargo xtask test` runs this.
//!
//! All tests share one stack with short times (`xtask/src/test.rs`), except those of `browsers`, `outages` and `self_hosting`. No
//! test waits to see that nothing happens. It shows that something never comes by what comes next instead.

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
