//! Types and rules that both servers share, so that every message has one definition.
//!
//! Deliberately absent: IO, clocks, randomness and async. The caller brings the bytes, the keys and
//! the time. The edge and the core each depend on this crate and never on each other.

pub mod api;
pub mod ids;
pub mod internal;
pub mod json;
pub mod limits;
pub mod page;
pub mod share_policy;
pub mod text;
pub mod time;
pub mod token;
pub mod wire;
