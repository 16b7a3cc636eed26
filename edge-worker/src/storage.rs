//! The object's own storage: three documents.

use presence::{Kept, Save, Saved};
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
        social: text(&documents, SOCIAL)?
            .map(|text| Kept::from_text(&text))
            .transpose()
            .map_err(|error| worker::Error::RustError(error.to_string()))?,
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
        Save::Social(social) => put(&documents, SOCIAL, &social.to_text()),
        Save::EventIds(ids) => write(&documents, EVENT_IDS, ids),
    }
}

fn read<T: DeserializeOwned>(documents: &Documents, name: &str) -> worker::Result<Option<T>> {
    Ok(text(documents, name)?.map(|text| serde_json::from_str(&text)).transpose()?)
}

fn text(documents: &Documents, name: &str) -> worker::Result<Option<String>> {
    documents.get(name).map_err(worker::Error::from)
}

fn write<T: Serialize>(documents: &Documents, name: &str, document: &T) -> worker::Result<()> {
    put(documents, name, &serde_json::to_string(document)?)
}

fn put(documents: &Documents, name: &str, text: &str) -> worker::Result<()> {
    // The runtime keeps two bytes a letter once one lies beyond Latin-1. The longest list has room for that.
    documents.put(name, text).map_err(worker::Error::from)
}
