//! The object's own storage: three documents, and the alarm's time.

use presence::{Save, Saved};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use worker::{SqlStorage, State};

const STATE: &str = "state";
const SOCIAL: &str = "social";
const EVENT_IDS: &str = "event_ids";

#[derive(Deserialize)]
struct Row {
    name: String,
    value: String,
}

/// Reads all that is kept, at once: an object that wakes has somebody waiting. One that never kept anything has no
/// table yet, and reading makes none: a friend's question must not cost an absent user a row.
pub fn load(state: &State) -> Saved {
    let mut saved = Saved::default();
    // Without a table the statement is refused.
    let rows = state.storage().sql().exec("select name, value from kept", None);
    for Row { name, value } in rows.and_then(|cursor| cursor.to_array()).unwrap_or_default() {
        match name.as_str() {
            STATE => saved.state = read(&value).unwrap_or_default(),
            SOCIAL => saved.social = read(&value),
            EVENT_IDS => saved.event_ids = read(&value).unwrap_or_default(),
            // Kept by another version.
            _ => {}
        }
    }
    saved
}

/// Keeps one document in place of what was kept before: one row written.
pub fn save(state: &State, save: &Save) -> worker::Result<()> {
    let sql = state.storage().sql();
    sql.exec("create table if not exists kept (name text primary key, value text not null) without rowid", None)?;
    match save {
        Save::State(state) => write(&sql, STATE, state),
        Save::Social(social) => write(&sql, SOCIAL, social),
        Save::EventIds(ids) => write(&sql, EVENT_IDS, ids),
    }
}

fn read<T: DeserializeOwned>(value: &str) -> Option<T> {
    serde_json::from_str(value).ok()
}

fn write<T: Serialize>(sql: &SqlStorage, name: &str, document: &T) -> worker::Result<()> {
    let value = serde_json::to_string(document)?;
    let bindings = vec![name.to_owned().into(), value.into()];
    sql.exec("insert or replace into kept (name, value) values (?, ?)", Some(bindings)).map(|_| ())
}
