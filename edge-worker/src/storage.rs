//! The object's own storage: three documents, and the alarm's time.

use presence::{Save, Saved};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use worker::{SqlStorage, State};

const STATE: &str = "state";
const SOCIAL: &str = "social";
const EVENT_IDS: &str = "event_ids";

#[derive(Deserialize)]
struct Row {
    value: String,
}

/// Reads all that is kept. An object that never kept anything has no table yet, and reading makes none: a
/// friend's question must not cost an absent user a row.
pub fn load(state: &State) -> Saved {
    let sql = state.storage().sql();
    if !has_table(&sql) {
        return Saved::default();
    }
    Saved {
        state: read(&sql, STATE).unwrap_or_default(),
        social: read(&sql, SOCIAL),
        event_ids: read(&sql, EVENT_IDS).unwrap_or_default(),
    }
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

fn has_table(sql: &SqlStorage) -> bool {
    let tables = sql.exec("select name as value from sqlite_master where type = 'table' and name = 'kept'", None);
    tables.and_then(|cursor| cursor.to_array::<Row>()).is_ok_and(|rows| !rows.is_empty())
}

fn read<T: DeserializeOwned>(sql: &SqlStorage, name: &str) -> Option<T> {
    let cursor = sql.exec("select value from kept where name = ?", Some(vec![name.to_owned().into()])).ok()?;
    let row = cursor.to_array::<Row>().ok()?.pop()?;
    serde_json::from_str(&row.value).ok()
}

fn write<T: Serialize>(sql: &SqlStorage, name: &str, document: &T) -> worker::Result<()> {
    let value = serde_json::to_string(document)?;
    let bindings = vec![name.to_owned().into(), value.into()];
    sql.exec("insert or replace into kept (name, value) values (?, ?)", Some(bindings)).map(|_| ())
}
