//! The developer's commands.
//!
//! Deliberately absent: how the system's processes are built, started and ended. That is in `devstack`.

pub mod bench;
pub mod channel;
pub mod check;
pub mod codegen;
pub mod configure;
pub mod demo;
pub mod dev;
pub mod live;
pub mod package;
pub mod queries;
pub mod simulate;
pub mod smoke;
pub mod test;
pub mod visit;
