//! The object's own storage: three documents, and the alarm's time.

use presence::{Save, Saved};
use serde::{Serialize, de::DeserializeOwned};
use wasm_bindgen::{JsCast as _, JsValue, prelude::wasm_bindgen};
use worker::State;

const STATE: &str = "state";
const SOCIAL: &str = "social";
const EVENT_IDS: &str = "event_ids";

#[wasm_bindgen]
extern "C" {
    /// What the `worker` crate does not bind of the object's state: the way to storage that waits for nothing.
    type RawState;
    type RawStorage;
    type Documents;

    #[wasm_bindgen(method, getter)]
    fn storage(this: &RawState) -> RawStorage;

    #[wasm_bindgen(method, getter)]
    fn kv(this: &RawStorage) -> Documents;

    #[wasm_bindgen(method, catch)]
    fn get(this: &Documents, name: &str) -> Result<Option<String>, JsValue>;

    #[wasm_bindgen(method, catch)]
    fn put(this: &Documents, name: &str, text: &str) -> Result<(), JsValue>;
}

fn documents(state: &State) -> Documents {
    let raw: &RawState = AsRef::<JsValue>::as_ref(state.as_raw()).unchecked_ref();
    raw.storage().kv()
}

/// Reads all that is kept, at once: an object that wakes has somebody waiting. Of one that never kept anything, this
/// writes nothing either: a friend's question must not cost an absent user a row.
pub fn load(state: &State) -> Saved {
    let documents = documents(state);
    Saved {
        state: read(&documents, STATE).unwrap_or_default(),
        social: read(&documents, SOCIAL),
        event_ids: read(&documents, EVENT_IDS).unwrap_or_default(),
    }
}

/// Keeps one document in place of what was kept before: one row written.
pub fn save(state: &State, save: &Save) -> worker::Result<()> {
    let documents = documents(state);
    match save {
        Save::State(state) => write(&documents, STATE, state),
        Save::Social(social) => write(&documents, SOCIAL, social),
        Save::EventIds(ids) => write(&documents, EVENT_IDS, ids),
    }
}

fn read<T: DeserializeOwned>(documents: &Documents, name: &str) -> Option<T> {
    serde_json::from_str(&documents.get(name).ok()??).ok()
}

fn write<T: Serialize>(documents: &Documents, name: &str, document: &T) -> worker::Result<()> {
    documents.put(name, &serde_json::to_string(document)?).map_err(worker::Error::from)
}
