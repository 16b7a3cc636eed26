//! Writes events in the transaction of the change that they report. `relay` delivers them.
//!
//! Deliberately absent: sending. `relay` sends what is in the table and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shared::{ids::UserId, internal::Change};
use sqlx::{PgConnection, PgExecutor, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    App,
    error::{Error, Result},
    user_rows::{SummaryRow, stored_id, summary_row},
};

/// A user whose social version has just grown.
pub struct VersionBump {
    pub row: SummaryRow,
    pub version: u64,
}

/// Raises the social version of each of these users by one, and returns it with the user's row.
///
/// # Errors
///
/// When the database does not answer.
pub async fn bump(connection: &mut PgConnection, ids: &[&UserId]) -> Result<BTreeMap<UserId, VersionBump>> {
    let ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
    let rows = sqlx::query!(
        "update users set social_version = social_version + 1 where user_id = any($1)
        returning user_id, first_name, last_name, description, profile_image_uploaded_at, profile_image_extension,
            social_version",
        &ids
    )
    .fetch_all(connection)
    .await?;
    let bumped = rows.into_iter().map(|row| {
        let id = stored_id(row.user_id.clone())?;
        let version = version(row.social_version)?;
        Ok((id, VersionBump { row: summary_row!(row), version }))
    });
    bumped.collect()
}

/// A social version from the database.
///
/// # Errors
///
/// [`Error::Internal`] when it is negative. That does not happen: versions start positive and only grow.
pub fn version(stored: i64) -> Result<u64> {
    u64::try_from(stored).map_err(|_| Error::Internal("a stored social version is negative".to_owned()))
}

/// A change that one user is to be told of.
pub struct OutboxEvent {
    pub recipient: UserId,
    /// The recipient's social version after the change; 0 when it did not grow.
    pub version: u64,
    pub change: Change,
}

/// A change that raised the recipient's social version to this.
pub fn told(recipient: UserId, version: u64, change: Change) -> OutboxEvent {
    OutboxEvent { recipient, version, change }
}

/// A change that leaves the recipient's social version as it is.
pub fn unversioned(recipient: UserId, change: Change) -> OutboxEvent {
    OutboxEvent { recipient, version: 0, change }
}

/// Writes the events, commits the change together with them, and wakes the relay.
///
/// # Errors
///
/// When the database does not answer; then nothing has changed, or the answer to the commit was lost.
pub async fn commit(app: &App, mut transaction: Transaction<'_, Postgres>, events: Vec<OutboxEvent>) -> Result<()> {
    if !events.is_empty() {
        write(&mut transaction, events).await?;
    }
    transaction.commit().await?;
    app.outbox_written.notify_one();
    Ok(())
}

/// Writes one change for several users as one row, and raises their social versions. The transaction must have locked
/// these users.
///
/// # Errors
///
/// When the database does not answer.
pub async fn tell_all(connection: &mut PgConnection, recipients: &[String], change: &Change) -> Result<()> {
    let Stored { kind, payload } = Stored::of(change)?;
    sqlx::query!(
        "with bumped as (
            update users set social_version = social_version + 1 where user_id = any($2)
            returning user_id, social_version
        )
        insert into outbox (id, recipients, versions, kind, payload)
        select $1, array_agg(user_id order by user_id), array_agg(social_version order by user_id), $3, $4
        from bumped having count(*) > 0",
        Uuid::now_v7(),
        recipients,
        kind,
        payload
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes the events. [`commit`] wakes the relay. Without it, the relay finds the events when it next reads the outbox.
///
/// # Errors
///
/// When the database does not answer.
pub async fn write(connection: &mut PgConnection, events: Vec<OutboxEvent>) -> Result<()> {
    let mut ids = Vec::new();
    let mut recipients = Vec::new();
    let mut versions = Vec::new();
    let mut kinds = Vec::new();
    let mut payloads = Vec::new();
    for OutboxEvent { recipient, version, change } in events {
        let Stored { kind, payload } = Stored::of(&change)?;
        ids.push(Uuid::now_v7());
        recipients.push(String::from(recipient));
        versions.push(i64::try_from(version).map_err(|_| Error::Internal("a version is too large".to_owned()))?);
        kinds.push(kind);
        payloads.push(payload);
    }
    sqlx::query!(
        "insert into outbox (id, recipients, versions, kind, payload)
        select id, array[recipient], array[version], kind, payload
        from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::jsonb[])
            as event (id, recipient, version, kind, payload)",
        &ids,
        &recipients,
        &versions,
        &kinds,
        &payloads
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Finds the events that must not be sent any more: they show a user who does not exist for the recipient, because one of
/// the two has blocked the other since the event was written. Each event is given as recipient and payload. Returns the
/// places of those events. An event which says that a user is gone is still sent: it shows only an id that the recipient
/// knew before.
///
/// # Errors
///
/// When the database does not answer.
pub async fn outdated_by_blocks<'a>(
    database: impl PgExecutor<'_>,
    events: impl Iterator<Item = (&'a str, &'a Value)>,
) -> Result<BTreeSet<usize>, sqlx::Error> {
    let (mut places, mut recipients, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (recipient, payload)) in events.enumerate() {
        if let Some(user_id) = shows(payload) {
            places.push(i64::try_from(place).unwrap_or(i64::MAX));
            recipients.push(recipient.to_owned());
            shown.push(user_id.to_owned());
        }
    }
    if places.is_empty() {
        return Ok(BTreeSet::new());
    }
    let outdated = sqlx::query_scalar!(
        r#"select place as "place!"
        from unnest($1::bigint[], $2::text[], $3::text[]) as event (place, recipient, shown)
        where (select true from hidden h where h.user_id = recipient and h.hidden_id = shown limit 1)"#,
        &places,
        &recipients,
        &shown
    )
    .fetch_all(database)
    .await?;
    Ok(outdated.into_iter().filter_map(|place| usize::try_from(place).ok()).collect())
}

/// The user whose names and picture, or whose page, a payload contains.
fn shows(payload: &Value) -> Option<&str> {
    ["user", "notification"].iter().find_map(|field| payload.get(field)?.get("user_id")?.as_str())
}

/// A change as the table keeps it.
pub struct Stored {
    pub kind: String,
    pub payload: Value,
}

impl Stored {
    /// The change as serde writes it, split into `kind` and `payload`.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] when serde writes something else. That does not happen.
    pub fn of(change: &Change) -> Result<Self> {
        let not_an_object = || Error::Internal("a change is not written as kind and payload".to_owned());
        let mut json = serde_json::to_value(change).map_err(|_| not_an_object())?;
        let kind = json.get("kind").and_then(|kind| kind.as_str()).ok_or_else(not_an_object)?.to_owned();
        let payload = json.get_mut("payload").map(Value::take).ok_or_else(not_an_object)?;
        Ok(Self { kind, payload })
    }
}
