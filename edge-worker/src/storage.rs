//! The object's own storage: three documents.

use presence::{CachedSocial, Save, Saved};
use serde::de::DeserializeOwned;
use worker::{State, js_sys::Uint8Array};

use crate::raw_state::{Documents, RawState};

const STATE: &str = "state";
const SOCIAL: &str = "social";
const EVENT_IDS: &str = "event_ids";

/// Reads everything that is kept, synchronously, because a caller waits while an object wakes. It writes nothing, even if
/// nothing was ever kept: a friend's query must not cost an absent user a row.
///
/// # Errors
///
/// If a document exists and cannot be read. Going on without it could show what its user hides.
pub fn load(state: &State) -> worker::Result<Saved> {
    let documents = RawState::of(state).documents();
    let social = get(&documents, SOCIAL)?.map(|text| {
        let text = String::from_utf8(text).map_err(unreadable)?;
        CachedSocial::from_text(&text).map_err(unreadable)
    });
    Ok(Saved {
        state: read(&documents, STATE)?.unwrap_or_default(),
        social: social.transpose()?,
        event_ids: read(&documents, EVENT_IDS)?.unwrap_or_default(),
    })
}

/// Replaces one document. This writes one row.
///
/// # Errors
///
/// If storage refuses the write.
pub fn save(state: &State, save: &Save) -> worker::Result<()> {
    let documents = RawState::of(state).documents();
    let (name, text) = match save {
        Save::State(state) => (STATE, serde_json::to_string(state)?),
        Save::Social(social) => (SOCIAL, social.to_text()?),
        Save::EventIds(ids) => (EVENT_IDS, serde_json::to_string(ids)?),
    };
    documents.put(name, &Uint8Array::from(text.as_bytes())).map_err(worker::Error::from)
}

fn read<T: DeserializeOwned>(documents: &Documents, name: &str) -> worker::Result<Option<T>> {
    Ok(get(documents, name)?.map(|text| serde_json::from_slice(&text)).transpose()?)
}

fn get(documents: &Documents, name: &str) -> worker::Result<Option<Vec<u8>>> {
    Ok(documents.get(name).map_err(worker::Error::from)?.map(|bytes| bytes.to_vec()))
}

fn unreadable(error: impl std::error::Error) -> worker::Error {
    worker::Error::RustError(error.to_string())
}
