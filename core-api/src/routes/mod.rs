//! Handlers, one file per part of the contract, each with its queries.

pub mod friendships;
pub mod health;
pub mod internal;
pub mod users;
