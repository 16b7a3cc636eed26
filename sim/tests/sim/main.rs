//! The simulator on trial: seeds that break no rule, and rules that are broken when something is wrong.

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
