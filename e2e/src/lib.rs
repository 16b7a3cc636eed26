//! Clients of the system as people use them: REST calls and live sockets against real processes.
//!
//! Deliberately absent: any way into the system that a client does not have, except for the counts of work and the address of the
//! core. `devstack` starts and stops the system.

mod live;
mod person;
mod site;

pub use live::{Arrival, Incoming, Live, PATIENCE};
pub use person::Person;
pub use site::{Site, TokenIn, client_of_tests, live_request};
