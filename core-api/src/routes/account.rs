//! Deleting an account, and exporting what is stored about it: `DELETE /users/me` and `GET /users/me/export`.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use serde_json::Value;
use shared::{
    ids::UserId,
    internal::Change,
    limits::{ERASURE_MS_AT_ONCE, EXPORT_ROWS_PER_PAGE},
    time::Timestamp,
};
use sqlx::{PgConnection, Postgres, Transaction};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    App,
    auth::Caller,
    database::paging,
    error::{Error, Result},
    outbox::{self, Stored},
    routes::users::NOT_REGISTERED,
    upkeep,
};

/// Most attempts to lock an account with its friends. An attempt fails if the account gets a new friend while it waits for
/// the locks of the others.
pub const ATTEMPTS: usize = 5;

/// Deletes the caller's account and everything about it.
///
/// Nobody finds it any more, friends' clients are told, and the caller's own connections are closed. What cannot be removed
/// at once is removed later.
#[utoipa::path(
    delete,
    path = "/users/me",
    tag = "users",
    responses((status = 204, description = "The account is gone."))
)]
pub async fn delete(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode> {
    for _ in 0..ATTEMPTS {
        let mut transaction = app.pool.begin().await?;
        if let Some(friends) = lock_with_friends(&mut transaction, &caller.user_id).await? {
            end(&app, transaction, &caller.user_id, &friends).await?;
            let rest = upkeep::erase_now(&app, &caller.user_id);
            match tokio::time::timeout(Duration::from_millis(ERASURE_MS_AT_ONCE), rest).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(cause = ?error, "the rest of an account is removed later"),
                Err(_) => tracing::info!("the rest of an account is removed later"),
            }
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(Error::Unavailable("the friends of an account changed as fast as it could be locked".to_owned()))
}

/// Locks the account and the accounts of all its friends, smaller ids first as every change does, and returns the friends.
/// `None`: there is a new friend by now, who is not locked. While the locks are held, nothing between these users changes,
/// and no page is sent to this one.
///
/// # Errors
///
/// 404 when there is no such account, and when the database does not answer.
pub async fn lock_with_friends(connection: &mut PgConnection, me: &UserId) -> Result<Option<Vec<String>>> {
    let mut ids = friends_of(connection, me).await?;
    ids.push(me.as_str().to_owned());
    let locked: BTreeSet<String> = sqlx::query_scalar!(
        "select user_id from users where user_id = any($1) order by user_id for no key update",
        &ids
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .collect();
    if !locked.contains(me.as_str()) {
        return Err(NOT_REGISTERED);
    }
    let friends = friends_of(connection, me).await?;
    Ok(friends.iter().all(|id| locked.contains(id)).then_some(friends))
}

async fn friends_of(connection: &mut PgConnection, me: &UserId) -> Result<Vec<String>> {
    let friends =
        sqlx::query_scalar!(r#"select friend_id as "friend_id!" from friends where user_id = $1"#, me.as_str());
    Ok(friends.fetch_all(connection).await?)
}

/// Deletes the account's row, and with it everything by which the account can be found. A trigger notes the account for
/// `upkeep`, which removes the rest.
async fn end(app: &App, mut transaction: Transaction<'_, Postgres>, me: &UserId, friends: &[String]) -> Result<()> {
    outbox::tell_all(&mut transaction, friends, &Change::FriendRemoved { user_id: me.clone() }).await?;
    let taken_back = Stored::of(&Change::FriendRequestRemoved { user_id: me.clone() })?;
    sqlx::query!(
        "insert into outbox (id, recipients, versions, kind, payload)
        select $1, array_agg(user_id2), array_agg(0::bigint), $3, $4
        from friendships where user_id1 = $2 and accepted_at is null having count(*) > 0",
        Uuid::now_v7(),
        me.as_str(),
        taken_back.kind,
        taken_back.payload
    )
    .execute(&mut *transaction)
    .await?;
    // Before the account's row is deleted, so that a trigger can take the account out of its friends' `circles`. Requests
    // to this account are left to `upkeep`: there may be any number of them, and most of their senders see no difference.
    sqlx::query!(
        "delete from friendships where user_id1 = $1 or (user_id2 = $1 and accepted_at is not null)",
        me.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    let last = sqlx::query_scalar!("delete from users where user_id = $1 returning social_version", me.as_str())
        .fetch_one(&mut *transaction)
        .await?;
    // Newer than every version that the account was told, and older than those of an account that is registered later
    // under the same id.
    let version = outbox::version(last)?.saturating_add(1);
    outbox::commit(app, transaction, vec![outbox::told(me.clone(), version, Change::UserDeleted {})]).await
}

/// All data held about the caller.
///
/// It goes table by table, with every column under its name. It names neither users whom a block hides from the caller, nor
/// the reasons of operators.
#[utoipa::path(
    get,
    path = "/users/me/export",
    tag = "users",
    responses((status = 200, description = "One document.", body = Object))
)]
pub async fn export(State(app): State<Arc<App>>, caller: Caller) -> Result<Response> {
    // Whole rows, so that a column that is added later is exported too.
    let account = sqlx::query!(
        r#"select to_jsonb(u) as "user!", (select to_jsonb(c) from circles c where c.user_id = u.user_id) as circle
        from users u where u.user_id = $1"#,
        caller.user_id.as_str()
    )
    .fetch_optional(&app.pool)
    .await?
    .ok_or(NOT_REGISTERED)?;
    let beginning =
        format!(r#"{{"user":{},"circle":{}"#, in_utc(account.user), in_utc(account.circle.unwrap_or_default()));
    let pages = stream::try_unfold(Some(Page::first(app, caller.user_id, List::Friendships)), Page::write);
    let document = stream::once(async { Ok(beginning) }).chain(pages);
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(document)).into_response())
}

/// The lists of an export, in its order.
#[derive(Debug, Clone, Copy)]
enum List {
    Friendships,
    Blocks,
    Declines,
    SharesSent,
    SharesReceived,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Friendships => "friendships",
            Self::Blocks => "blocks",
            Self::Declines => "declines",
            Self::SharesSent => "shares_sent",
            Self::SharesReceived => "shares_received",
        }
    }

    fn after(self) -> Option<Self> {
        match self {
            Self::Friendships => Some(Self::Blocks),
            Self::Blocks => Some(Self::Declines),
            Self::Declines => Some(Self::SharesSent),
            Self::SharesSent => Some(Self::SharesReceived),
            Self::SharesReceived => None,
        }
    }
}

/// A part of an export that is read at once. No database connection is held while the caller receives it.
struct Page {
    app: Arc<App>,
    me: UserId,
    list: List,
    /// The user or share that the last row of the page before is about.
    after: Option<String>,
    /// Whether a row of this list was written already.
    begun: bool,
}

impl Page {
    fn first(app: Arc<App>, me: UserId, list: List) -> Self {
        Self { app, me, list, after: None, begun: false }
    }

    /// The text of this page, and the next page.
    async fn write(this: Option<Self>) -> Result<Option<(String, Option<Self>)>, ExportBroken> {
        let Some(mut page) = this else { return Ok(None) };
        let rows = page.read().await.map_err(|error| {
            // The answer has begun, so the client can only notice that it ends early.
            tracing::warn!(cause = ?error, "an export broke off");
            ExportBroken
        })?;
        let full = rows.len() as i64 == EXPORT_ROWS_PER_PAGE;
        let last = rows.last().map(|row| row.key.clone()).filter(|_| full);
        let mut text = String::new();
        if page.after.is_none() {
            text.push_str(&format!(r#","{}":["#, page.list.name()));
        }
        for row in rows.into_iter().filter_map(|row| row.row) {
            if std::mem::replace(&mut page.begun, true) {
                text.push(',');
            }
            text.push_str(&in_utc(row).to_string());
        }
        if last.is_some() {
            return Ok(Some((text, Some(Self { after: last, ..page }))));
        }
        text.push(']');
        let next = page.list.after();
        if next.is_none() {
            text.push('}');
        }
        let Self { app, me, .. } = page;
        Ok(Some((text, next.map(|list| Self::first(app, me, list)))))
    }

    async fn read(&self) -> Result<Vec<Exported>> {
        let (me, after) = (self.me.as_str(), self.after.as_deref().unwrap_or_default());
        let after_share = Uuid::try_parse(after).unwrap_or_default();
        let mut transaction = paging(&self.app.pool).await?;
        // What others decided about the caller is not exported: who blocked or declined them is not told.
        let rows = match self.list {
            List::Friendships => {
                sqlx::query_as!(
                    Exported,
                    r#"select key as "key!", row as row from (
                        (select user_id2 as key, to_jsonb(f) as row from friendships f
                            where user_id1 = $1 and user_id2 > $2 order by user_id2 limit $3)
                        union all
                        (select user_id1, to_jsonb(f) from friendships f
                            where user_id2 = $1 and user_id1 > $2 order by user_id1 limit $3)
                    ) both_ways order by key limit $3"#,
                    me,
                    after,
                    EXPORT_ROWS_PER_PAGE
                )
                .fetch_all(&mut *transaction)
                .await?
            }
            List::Blocks => {
                sqlx::query_as!(
                    Exported,
                    r#"select blocked_id as key, to_jsonb(b) as row from blocks b
                    where blocker_id = $1 and blocked_id > $2 order by blocked_id limit $3"#,
                    me,
                    after,
                    EXPORT_ROWS_PER_PAGE
                )
                .fetch_all(&mut *transaction)
                .await?
            }
            List::Declines => {
                sqlx::query_as!(
                    Exported,
                    r#"select asker_id as key,
                        to_jsonb(d) || case
                            when (select true from hidden h where h.user_id = $1 and h.hidden_id = d.asker_id limit 1)
                            then '{"asker_id": null}' else '{}'::jsonb
                        end as row
                    from declines d where decliner_id = $1 and asker_id > $2 order by asker_id limit $3"#,
                    me,
                    after,
                    EXPORT_ROWS_PER_PAGE
                )
                .fetch_all(&mut *transaction)
                .await?
            }
            List::SharesSent => {
                sqlx::query_as!(
                    Exported,
                    r#"select event_id::text as "key!",
                        to_jsonb(s) || jsonb_build_object('not_seen_count', not_seen_count - case
                            when not_seen_count > 0
                                and (select true from hidden h where h.user_id = $1 order by h.hidden_id limit 1)
                            then (
                                select count(*) from share_recipients r
                                where r.event_id = s.event_id and r.seen_at is null
                                    and (select true from hidden h
                                        where h.user_id = $1 and h.hidden_id = r.user_id limit 1)
                            )
                            else 0
                        end) || case
                            when (select true from hidden h where h.user_id = $1 and h.hidden_id = s.sent_to limit 1)
                            then '{"sent_to": null}' else '{}'::jsonb
                        end as row
                    from shares s where sender_id = $1 and event_id > $2 order by event_id limit $3"#,
                    me,
                    after_share,
                    EXPORT_ROWS_PER_PAGE
                )
                .fetch_all(&mut *transaction)
                .await?
            }
            List::SharesReceived => {
                sqlx::query_as!(
                    Exported,
                    r#"select event_id::text as "key!", case
                        when s.event_id is not null
                            and (select true from hidden h where h.user_id = $1 and h.hidden_id = s.sender_id limit 1) is null
                        then to_jsonb(r) || jsonb_build_object(
                            'sender_id', s.sender_id, 'sent_at', s.sent_at, 'url', s.url, 'title', s.title
                        )
                    end as row
                    from (
                        (select * from share_recipients
                            where user_id = $1 and seen_at is null and event_id > $2 order by event_id limit $3)
                        union all
                        (select * from share_recipients
                            where user_id = $1 and seen_at is not null and event_id > $2 order by event_id limit $3)
                        order by event_id limit $3
                    ) r left join shares s using (event_id)
                    order by event_id"#,
                    me,
                    after_share,
                    EXPORT_ROWS_PER_PAGE
                )
                .fetch_all(&mut *transaction)
                .await?
            }
        };
        transaction.commit().await?;
        Ok(rows)
    }
}

/// A row of an export.
struct Exported {
    /// The key by which the rows are ordered.
    key: String,
    /// `None`: the share is gone, or a block hides its sender from the caller.
    row: Option<Value>,
}

/// Breaks off the body of an export, so that the client notices that it is not complete.
#[derive(Debug, thiserror::Error)]
#[error("the export broke off")]
struct ExportBroken;

/// Writes times as the contract does. The names of columns with times end in `_at`.
fn in_utc(value: Value) -> Value {
    let time = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok().map(|at| Timestamp::from(at).to_string());
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let time = value.as_str().filter(|_| name.ends_with("_at")).and_then(time);
                let value = time.map_or_else(|| in_utc(value), Value::String);
                (name, value)
            });
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(in_utc).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}
