//! What presence costs. An ordinary day is simulated with the engine and counted ([`day`]). The counts are priced for our
//! system and for its predecessor ([`estimate`], [`prices`], [`environments`]). [`report`] prints the result.

pub mod day;
pub mod environments;
pub mod estimate;
pub mod prices;
pub mod report;
