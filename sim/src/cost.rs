//! What presence costs: an ordinary day is lived through the engine and counted ([`day`]), the counts are priced
//! ([`estimate`], [`prices`], [`environments`]), ours and the predecessor's, and the result is told ([`report`]).

pub mod day;
pub mod environments;
pub mod estimate;
pub mod prices;
pub mod report;
