//! What presence costs: an ordinary day is lived through the engine and counted, and the counts are priced, ours and
//! the predecessor's.

pub mod day;
