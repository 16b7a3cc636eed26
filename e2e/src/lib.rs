//! The system's clients, as people have them: REST calls and live sockets against real processes.
//!
//! Deliberately absent: any way into the system that a client does not have, but for counts of work and the core's own
//! address, and starting or stopping it, which is `devstack`'s.

mod live;
mod person;
mod site;

pub use live::{Arrival, Incoming, Live, PATIENCE};
pub use person::Person;
pub use site::{Site, TokenIn, client_of_tests, live_request};
