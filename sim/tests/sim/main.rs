//! Tests of the simulator: ordinary seeds break no rule, and every rule is broken by an object that misbehaves.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a run that does not go as told ends there"
)]

mod cost;
mod invisible;
mod net;
mod seeds;
mod thrift;
