//! The object's own storage: three documents.

use presence::{Save, Saved};
use serde::{Serialize, de::DeserializeOwned};
use worker::State;

use crate::raw_state::{Documents, RawState};

const STATE: &str = "state";
const SOCIAL: &str = "social";
const EVENT_IDS: &str = "event_ids";

/// Reads all that is kept, at once: an object that wakes has somebody waiting. Of one that never kept anything, this
/// writes nothing either: a friend's question must not cost an absent user a row.
///
/// # Errors
///
/// When something is there and cannot be read. To go on as if it were not could show what its owner hides.
pub fn load(state: &State) -> worker::Result<Saved> {
    let documents = RawState::of(state).documents();
    Ok(Saved {
        state: read(&documents, STATE)?.unwrap_or_default(),
        social: read(&documents, SOCIAL)?,
        event_ids: read(&documents, EVENT_IDS)?.unwrap_or_default(),
    })
}

/// Keeps one document in place of what was kept before: one row written.
///
/// # Errors
///
/// When storage refuses.
pub fn save(state: &State, save: &Save) -> worker::Result<()> {
    let documents = RawState::of(state).documents();
    match save {
        Save::State(state) => write(&documents, STATE, state),
        Save::Social(social) => write(&documents, SOCIAL, social),
        Save::EventIds(ids) => write(&documents, EVENT_IDS, ids),
    }
}

fn read<T: DeserializeOwned>(documents: &Documents, name: &str) -> worker::Result<Option<T>> {
    let text = documents.get(name).map_err(worker::Error::from)?;
    text.map(|text| serde_json::from_str(&text).map_err(worker::Error::from)).transpose()
}

fn write<T: Serialize>(documents: &Documents, name: &str, document: &T) -> worker::Result<()> {
    // The runtime keeps two bytes a letter once one lies beyond Latin-1. The longest list has room for that.
    documents.put(name, &serde_json::to_string(document)?).map_err(worker::Error::from)
}
