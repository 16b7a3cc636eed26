//! A deterministic simulator: whole populations of users on virtual days, running the very engine that the worker runs,
//! with everything that can go wrong drawn from one seed.
//!
//! [`plan`] draws what happens, with the help of [`clients`], [`core`], [`faults`] and [`moments`]; [`world`] lets it
//! happen and holds every object to the [`checks`]; [`run`] does so for many seeds, and [`shrink`] finds the fewest steps
//! that still break a rule.
//!
//! Deliberately absent: rules of presence. What is right is told from outside, by what clients were sent, by what
//! objects were told, and by what is true of the core and the clients.

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
