//! Runs the whole system as processes on this machine: builds, starts, watches and ends PostgreSQL, an OpenID Connect provider,
//! the core and the worker.
//!
//! Development, the whole-stack tests and the benchmarks use it. Deliberately absent: command lines, and anything that the
//! servers themselves need.

pub mod build;
pub mod child;
pub mod client;
mod core;
pub mod generated;
pub mod http;
pub mod issuer;
mod options;
pub mod ports;
pub mod postgres;
pub mod project;
pub mod release;
pub mod secrets;
pub mod stack;
pub mod step;
pub mod test_run;
pub mod token;
pub mod tools;
pub mod workerd;
