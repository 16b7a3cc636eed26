//! The core as its callers meet it: the real router over a PostgreSQL database of each test's own, tokens
//! signed by a real key, and events sent over HTTP. `DATABASE_URL` names the server.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, wherever it stands"
)]

mod account;
mod blocks;
mod bounds;
mod bucket;
mod conformance;
mod deployment;
mod friendships;
mod health;
mod images;
mod import;
mod internal;
mod last_release;
mod openapi;
mod operate;
mod outbox;
mod people;
mod permissions;
mod plans;
mod process;
mod races;
mod requests;
mod roles;
mod search;
mod shares;
mod tls;
mod tokens;
mod upkeep;
mod users;
mod world;
