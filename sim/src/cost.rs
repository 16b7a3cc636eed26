//! What presence costs: an ordinary day is lived through the engine and counted ([`day`]), the counts are priced
//! ([`bill`], [`prices`], [`environments`]), ours and the predecessor's, and the result is told ([`report`]).

pub mod bill;
pub mod day;
pub mod environments;
pub mod prices;
pub mod report;
