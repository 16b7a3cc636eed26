//! Handlers, one file per part of the contract, each with its queries.

pub mod account;
pub mod blocks;
pub mod docs;
pub mod domains;
pub mod friendships;
pub mod health;
pub mod images;
pub mod internal;
pub mod people;
pub mod search;
pub mod shares;
pub mod users;

use axum::Json;
use shared::api::Success;

/// The answer of a call that has done what was asked and returns no data.
const SUCCESS: Json<Success> = Json(Success { success: true });
