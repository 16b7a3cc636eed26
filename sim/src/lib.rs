//! A deterministic simulator. Populations of users live through virtual days on the same engine that the worker runs. All
//! faults are drawn from one seed.
//!
//! [`plan`] draws what happens, with the help of [`clients`], [`core`], [`faults`] and [`moments`]. [`world`] carries it
//! out and checks every object by the rules in [`checks`]. [`run`] does so for many seeds. [`shrink`] looks for fewer steps
//! that still break a rule.
//!
//! Deliberately absent: the engine's own rules of presence. A run is judged from outside: by what clients were sent, by
//! what objects were told, and by the state of the core and the clients.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "all numbers of users are the simulator's own, and a world that contradicts itself has to end there"
)]

pub mod checks;
pub mod client_view;
pub mod clients;
pub mod core;
pub mod cost;
pub mod counts;
pub mod faults;
pub mod moments;
pub mod plan;
pub mod rng;
pub mod rules;
pub mod run;
pub mod shrink;
pub mod steps;
pub mod world;
