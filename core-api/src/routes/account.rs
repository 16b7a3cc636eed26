//! The end of an account, and all that is kept about it: `DELETE /users/me` and `GET /users/me/export`.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use serde_json::Value;
use shared::{ids::UserId, internal::Change, time::Timestamp};
use sqlx::{PgConnection, Postgres, Transaction};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    App,
    auth::Caller,
    error::{Error, Result},
    outbox::{self, Stored},
    routes::users::NOT_REGISTERED,
};

/// How often a deletion starts over because a friend was won while it waited for the locks of the others.
pub const ATTEMPTS: usize = 5;

/// Deletes the caller's account and everything about it.
///
/// Friends' clients are told, and the caller's own connections closed.
#[utoipa::path(
    delete,
    path = "/users/me",
    tag = "users",
    responses((status = 204, description = "Nothing is left."))
)]
pub async fn delete(State(app): State<Arc<App>>, caller: Caller) -> Result<StatusCode> {
    // First, because nobody could ask for this again once the account is gone.
    app.image_store.remove(&caller.user_id).await?;
    for _ in 0..ATTEMPTS {
        let mut transaction = app.pool.begin().await?;
        if let Some(friends) = lock_with_friends(&mut transaction, &caller.user_id).await? {
            erase(&app, transaction, &caller.user_id, &friends).await?;
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(Error::Unavailable("the friends of an account changed as fast as it could be locked".to_owned()))
}

/// Locks the account and those of all its friends, smaller ids first as every change does, and gives the
/// friends. `None`: there is one more by now. Nobody without a lock can change what is between these users,
/// or be sending a page to this one.
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

async fn erase(app: &App, mut transaction: Transaction<'_, Postgres>, me: &UserId, friends: &[String]) -> Result<()> {
    let removed = Stored::of(&Change::FriendRemoved { user_id: me.clone() })?;
    sqlx::query!(
        "with bumped as (
            update users set social_version = social_version + 1 where user_id = any($2)
            returning user_id, social_version
        )
        insert into outbox (id, recipients, versions, kind, payload)
        select $1, array_agg(user_id order by user_id), array_agg(social_version order by user_id), $3, $4
        from bumped having count(*) > 0",
        Uuid::now_v7(),
        friends,
        removed.kind,
        removed.payload
    )
    .execute(&mut *transaction)
    .await?;
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
    // Whoever sent to many counts one reader less. In order, as marking as read does.
    sqlx::query!(
        "with counted as (
            select event_id from shares
            where event_id in (select event_id from share_recipients where user_id = $1 and seen_at is null)
            order by event_id for no key update
        )
        update shares s set not_seen_count = not_seen_count - 1 from counted where s.event_id = counted.event_id",
        me.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "delete from share_recipients
        where user_id = $1 or event_id in (select event_id from shares where sender_id = $1)",
        me.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    // While the account is there still, so that its friends' circles close.
    sqlx::query!("delete from friendships where user_id1 = $1 or user_id2 = $1", me.as_str())
        .execute(&mut *transaction)
        .await?;
    // With the account go, by their foreign keys, blocks, declines and shares.
    let last = sqlx::query_scalar!("delete from users where user_id = $1 returning social_version", me.as_str())
        .fetch_one(&mut *transaction)
        .await?;
    // Newer than all that the account was told, older than what an account registered anew under its id is.
    let version = outbox::version(last)?.saturating_add(1);
    outbox::commit(app, transaction, vec![outbox::told(me.clone(), version, Change::UserDeleted {})]).await
}

/// All data held about the caller.
///
/// Table by table, every column under its name.
#[utoipa::path(
    get,
    path = "/users/me/export",
    tag = "users",
    responses((status = 200, description = "One document.", body = Object))
)]
pub async fn export(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Value>> {
    // Whole rows, so that a column that is added later is in it. What others hold about the caller is theirs:
    // who blocked or declined them is not told.
    let document = sqlx::query_scalar!(
        r#"select jsonb_build_object(
            'user', to_jsonb(u),
            'circle', (select to_jsonb(c) from circles c where c.user_id = u.user_id),
            'friendships', (
                select coalesce(jsonb_agg(to_jsonb(f) order by f.requested_at), '[]') from (
                    select * from friendships where user_id1 = u.user_id
                    union all
                    select * from friendships where user_id2 = u.user_id
                ) f
            ),
            'blocks', (
                select coalesce(jsonb_agg(to_jsonb(b) order by b.blocked_at), '[]')
                from blocks b where b.blocker_id = u.user_id
            ),
            'declines', (
                select coalesce(jsonb_agg(to_jsonb(d) order by d.declined_at), '[]')
                from declines d where d.decliner_id = u.user_id
            ),
            'shares_sent', (
                select coalesce(jsonb_agg(to_jsonb(s) order by s.event_id), '[]')
                from shares s where s.sender_id = u.user_id
            ),
            'shares_received', (
                select coalesce(jsonb_agg(
                    to_jsonb(r) || jsonb_build_object(
                        'sender_id', s.sender_id, 'sent_at', s.sent_at, 'url', s.url, 'title', s.title
                    ) order by r.event_id
                ), '[]')
                from share_recipients r join shares s using (event_id) where r.user_id = u.user_id
            )
        ) as "document!" from users u where u.user_id = $1"#,
        caller.user_id.as_str()
    )
    .fetch_optional(&app.pool)
    .await?
    .ok_or(NOT_REGISTERED)?;
    Ok(Json(in_utc(document)))
}

/// Times as the contract writes them: by our naming, the columns that end in `_at`.
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
