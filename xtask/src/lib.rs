//! The developer's commands, and the control of real processes on which they and the whole-stack tests stand.
//!
//! Deliberately absent: anything the servers themselves need. What is here never runs outside development.

pub mod bench;
pub mod build;
pub mod channel;
pub mod check;
pub mod child;
pub mod demo;
pub mod dev;
pub mod http;
pub mod live;
mod options;
pub mod ports;
pub mod postgres;
pub mod project;
pub mod queries;
pub mod secrets;
pub mod simulate;
pub mod stack;
pub mod step;
pub mod test;
pub mod token;
pub mod tools;
pub mod visit;
