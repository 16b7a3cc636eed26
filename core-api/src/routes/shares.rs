//! Pages that users send each other: `/notifications/share/…`.
//!
//! One statement writes a share, its recipients and the event for all of them, however many friends there are. Shares are
//! read through two views, `received_shares` and `sent_shares`, which leave out what is between users of whom one has
//! blocked the other.

use std::sync::Arc;

use axum::{Json, extract::State};
use garde::Validate;
use serde::Deserialize;
use shared::{
    api::{ShareNotification, ShareNotificationSent, Success},
    ids::{ShareId, UserId},
    internal::Change,
    limits::{
        IDEMPOTENCY_HOURS, SHARES_PAGE_ITEMS_DEFAULT, SHARES_READ_LEN_MAX, SHORT_PAGE_ITEMS_DEFAULT, URL_CHARS_MAX,
    },
    page::{address_to_share, clean_title},
    time::Timestamp,
};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App,
    auth::{Caller, Member},
    clock::now,
    error::{Error, NO_ACCOUNT, Result},
    extract::{Body, IDEMPOTENCY_KEY, IdempotencyKey, IsRead, Paging, bounded_text},
    outbox::{self, Stored},
    routes::SUCCESS,
    user_rows::stored_id,
};

/// A page to send to all friends.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Broadcast {
    /// http(s), at most 2,048 characters. Credentials are taken out of it.
    #[garde(custom(web_url))]
    #[schema(max_length = 2048, examples("https://example.com/article"))]
    url: String,
    /// What nobody would see of it is taken out, and it is cut at 300 characters.
    #[garde(custom(any_title))]
    #[schema(pattern = r"^[^\x00]*$", examples("An article"))]
    title: String,
}

/// A page to send to one friend.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Personal {
    /// http(s), at most 2,048 characters. Credentials are taken out of it.
    #[garde(custom(web_url))]
    #[schema(max_length = 2048, examples("https://example.com/article"))]
    url: String,
    /// What nobody would see of it is taken out, and it is cut at 300 characters.
    #[garde(custom(any_title))]
    #[schema(pattern = r"^[^\x00]*$", examples("An article"))]
    title: String,
    /// The friend.
    #[garde(skip)]
    sent_to: UserId,
}

/// Sends a page to all friends.
///
/// By default, a user may do this 60 times an hour. A call with the same `Idempotency-Key` and body within 24 hours gives
/// the same id, and nothing is sent again.
#[utoipa::path(
    post,
    path = "/notifications/share",
    tag = "shares",
    params(IdempotencyKey),
    request_body = Broadcast,
    responses(
        (status = 200, description = "The id of what was sent.", body = ShareId),
        (status = 400, description = "The body is not JSON, or the key cannot be read."),
        (status = 429, description = "Sent too often within an hour.")
    )
)]
pub async fn broadcast(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    Body(Broadcast { url, title }): Body<Broadcast>,
) -> Result<Json<ShareId>> {
    send(&app, &caller.user_id, New::of(url, title, None, key)?).await.map(Json)
}

/// Sends a page to one friend.
///
/// A call with the same `Idempotency-Key` and body within 24 hours gives the same id, and nothing is sent again.
#[utoipa::path(
    post,
    path = "/notifications/share/personal",
    tag = "shares",
    params(IdempotencyKey),
    request_body = Personal,
    responses(
        (status = 200, description = "The id of what was sent.", body = ShareId),
        (status = 400, description = "The body is not JSON, or the key cannot be read."),
        (status = 403, description = "The addressee is no friend of the caller, or the caller is not registered or suspended.")
    )
)]
pub async fn personal(
    State(app): State<Arc<App>>,
    caller: Caller,
    key: IdempotencyKey,
    Body(Personal { url, title, sent_to }): Body<Personal>,
) -> Result<Json<ShareId>> {
    send(&app, &caller.user_id, New::of(url, title, Some(sent_to), key)?).await.map(Json)
}

struct New {
    url: String,
    title: String,
    sent_to: Option<UserId>,
    key: Option<String>,
    /// URL and title as the client sent them, which is how earlier versions stored them.
    as_sent: (String, String),
}

impl New {
    fn of(url: String, title: String, sent_to: Option<UserId>, key: IdempotencyKey) -> Result<Self> {
        let address = address_to_share(&url).map_err(|bad| Error::invalid_field("url", bad.to_string()))?;
        Ok(Self { url: address, title: clean_title(&title), sent_to, key: key.0, as_sent: (url, title) })
    }
}

/// Sends the page. The sender's row stays locked until the share is written. So of two calls with the same key, the second
/// finds the share of the first, and parallel calls cannot exceed the bound of an hour.
async fn send(app: &App, me: &UserId, new: New) -> Result<ShareId> {
    let sent_at = now();
    let mut transaction = app.pool.begin().await?;
    let sender = sqlx::query!(
        "select first_name, last_name, profile_image_extension from users where user_id = $1 for no key update",
        me.as_str()
    )
    .fetch_optional(&mut *transaction)
    .await?
    .ok_or(NO_ACCOUNT)?;
    if let Some(key) = &new.key
        && let Some(before) = sent_before(&mut transaction, me, key, &new).await?
    {
        return Ok(before);
    }
    match &new.sent_to {
        Some(friend) => must_be_friends(&mut transaction, me, friend).await?,
        None => may_broadcast(&mut transaction, me, app.bounds.shares_per_hour_max).await?,
    }
    let notification = ShareNotification {
        event_id: ShareId(Uuid::now_v7()),
        user_id: me.clone(),
        sent_at,
        url: new.url,
        title: new.title,
        seen_at: None,
        first_name: sender.first_name,
        last_name: sender.last_name,
        profile_image_extension: sender.profile_image_extension,
    };
    let event_id = notification.event_id;
    write(&mut transaction, notification, new.sent_to.as_ref(), new.key.as_deref()).await?;
    outbox::commit(app, transaction, Vec::new()).await?;
    Ok(event_id)
}

/// The share that was sent with this key already. It is an error if that share differs from the new one.
async fn sent_before(
    transaction: &mut Transaction<'_, Postgres>,
    me: &UserId,
    key: &str,
    new: &New,
) -> Result<Option<ShareId>> {
    let before = sqlx::query!(
        r#"select event_id, url, title, sent_to, sent_at > $3 as "fresh!"
        from shares where sender_id = $1 and idempotency_key = $2"#,
        me.as_str(),
        key,
        OffsetDateTime::from(now()) - time::Duration::hours(IDEMPOTENCY_HOURS)
    )
    .fetch_optional(&mut **transaction)
    .await?;
    let Some(before) = before else { return Ok(None) };
    if !before.fresh {
        sqlx::query!("update shares set idempotency_key = null where event_id = $1", before.event_id)
            .execute(&mut **transaction)
            .await?;
        return Ok(None);
    }
    let same = (before.url == new.url || before.url == new.as_sent.0)
        && (before.title == new.title || before.title == new.as_sent.1)
        && before.sent_to.as_deref() == new.sent_to.as_ref().map(UserId::as_str);
    if same {
        Ok(Some(ShareId(before.event_id)))
    } else {
        Err(Error::invalid_field(IDEMPOTENCY_KEY, "was used for something else within the last day"))
    }
}

async fn must_be_friends(connection: &mut PgConnection, me: &UserId, friend: &UserId) -> Result<()> {
    let friends = sqlx::query_scalar!(
        r#"select exists (select from friends where user_id = $1 and friend_id = $2) as "friends!""#,
        me.as_str(),
        friend.as_str()
    )
    .fetch_one(connection)
    .await?;
    if friends { Ok(()) } else { Err(Error::Forbidden("You can only send pages to friends.")) }
}

async fn may_broadcast(connection: &mut PgConnection, me: &UserId, per_hour_max: u32) -> Result<()> {
    // At most as many as may be sent in an hour. If there are that many, there is room again when the oldest of them is
    // an hour old.
    let recent = sqlx::query_scalar!(
        "select sent_at from shares where sender_id = $1 and sent_to is null and event_id >= $2
        order by event_id desc limit $3",
        me.as_str(),
        hour_ago(),
        i64::from(per_hour_max)
    )
    .fetch_all(connection)
    .await?;
    if recent.len() < per_hour_max as usize {
        return Ok(());
    }
    let since = recent.last().map_or(time::Duration::ZERO, |oldest| OffsetDateTime::from(now()) - *oldest);
    let left_s = u64::try_from((time::Duration::HOUR - since).whole_seconds()).unwrap_or_default();
    let detail = "You have sent as many pages to all your friends as one can in an hour.";
    Err(Error::TooMany { detail, retry_after_s: left_s + 1 })
}

/// The smallest id that a share of the last hour can have: the first 48 bits of a version 7 UUID are its time.
fn hour_ago() -> Uuid {
    let ms = u64::try_from(now().unix_ms()).unwrap_or_default().saturating_sub(3_600_000);
    Uuid::from_u64_pair(ms << 16, 0)
}

/// Writes the share, its recipients and the event for them.
async fn write(
    connection: &mut PgConnection,
    notification: ShareNotification,
    sent_to: Option<&UserId>,
    key: Option<&str>,
) -> Result<()> {
    let change = Change::ShareReceived { notification: notification.clone() };
    let Stored { kind, payload } = Stored::of(&change)?;
    let ShareNotification { event_id, user_id, sent_at, url, title, .. } = notification;
    sqlx::query!(
        r#"with recipient as (
            select friend_id as user_id from friends where user_id = $2 and $6::text is null
            union all
            select $6 where $6 is not null
        ),
        received as (
            insert into share_recipients (event_id, user_id) select $1, user_id from recipient
        ),
        told as (
            insert into outbox (id, recipients, versions, kind, payload)
            select $1, array_agg(user_id), array_agg(0::bigint), $8, $9 from recipient having count(*) > 0
        )
        insert into shares (event_id, sender_id, sent_at, url, title, sent_to, not_seen_count, idempotency_key)
        select $1, $2, $3, $4, $5, $6, count(*), $7 from recipient"#,
        event_id.0,
        user_id.as_str(),
        OffsetDateTime::from(sent_at),
        url,
        title,
        sent_to.map(UserId::as_str),
        key,
        kind,
        payload
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Pages that were sent to the caller.
#[utoipa::path(
    get,
    path = "/notifications/share",
    tag = "shares",
    params(IsRead, Paging),
    responses((status = 200, description = "Newest first; 100 where no limit is named.", body = Vec<ShareNotification>))
)]
pub async fn received(
    State(app): State<Arc<App>>,
    caller: Caller,
    IsRead(is_read): IsRead,
    paging: Paging,
) -> Result<Json<Vec<ShareNotification>>> {
    let me = caller.user_id.as_str();
    let limit = paging.limit_or(SHARES_PAGE_ITEMS_DEFAULT);
    let rows = match is_read {
        Some(false) => sqlx::query_as!(
            ReceivedRow,
            r#"select s.event_id as "event_id!", s.sender_id as "sender_id!", s.sent_at as "sent_at!", s.url as "url!",
                    s.title as "title!", null::timestamptz as seen_at, u.first_name, u.last_name, u.profile_image_extension
                from (
                    select * from received_shares where user_id = $1 and seen_at is null
                    order by event_id desc limit $2 offset $3
                ) s join users u on u.user_id = s.sender_id
                order by s.event_id desc"#,
            me,
            limit,
            paging.offset
        )
        .fetch_all(&app.pool)
        .await?,
        Some(true) => sqlx::query_as!(
            ReceivedRow,
            r#"select s.event_id as "event_id!", s.sender_id as "sender_id!", s.sent_at as "sent_at!", s.url as "url!",
                    s.title as "title!", s.seen_at, u.first_name, u.last_name, u.profile_image_extension
                from (
                    select * from received_shares where user_id = $1 and seen_at is not null
                    order by event_id desc limit $2 offset $3
                ) s join users u on u.user_id = s.sender_id
                order by s.event_id desc"#,
            me,
            limit,
            paging.offset
        )
        .fetch_all(&app.pool)
        .await?,
        None => sqlx::query_as!(
            ReceivedRow,
            r#"select s.event_id as "event_id!", s.sender_id as "sender_id!", s.sent_at as "sent_at!", s.url as "url!",
                    s.title as "title!", s.seen_at, u.first_name, u.last_name, u.profile_image_extension
                from (
                    (select * from received_shares where user_id = $1 and seen_at is null
                        order by event_id desc limit $2::bigint + $3::bigint)
                    union all
                    (select * from received_shares where user_id = $1 and seen_at is not null
                        order by event_id desc limit $2::bigint + $3::bigint)
                    order by event_id desc limit $2 offset $3
                ) s join users u on u.user_id = s.sender_id
                order by s.event_id desc"#,
            me,
            limit,
            paging.offset
        )
        .fetch_all(&app.pool)
        .await?,
    };
    let received = caller.found(&app, rows).await?.into_iter().map(ShareNotification::try_from);
    received.collect::<Result<_>>().map(Json)
}

struct ReceivedRow {
    event_id: Uuid,
    sender_id: String,
    sent_at: OffsetDateTime,
    url: String,
    title: String,
    seen_at: Option<OffsetDateTime>,
    first_name: String,
    last_name: String,
    profile_image_extension: Option<String>,
}

impl TryFrom<ReceivedRow> for ShareNotification {
    type Error = Error;

    fn try_from(row: ReceivedRow) -> Result<Self> {
        Ok(Self {
            event_id: ShareId(row.event_id),
            user_id: stored_id(row.sender_id)?,
            sent_at: row.sent_at.into(),
            url: row.url,
            title: row.title,
            seen_at: row.seen_at.map(Timestamp::from),
            first_name: row.first_name,
            last_name: row.last_name,
            profile_image_extension: row.profile_image_extension,
        })
    }
}

/// Pages that the caller sent.
#[utoipa::path(
    get,
    path = "/notifications/share/sent",
    tag = "shares",
    params(Paging),
    responses((status = 200, description = "Newest first; 10 where no limit is named.", body = Vec<ShareNotificationSent>))
)]
pub async fn sent(
    State(app): State<Arc<App>>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Vec<ShareNotificationSent>>> {
    let rows = sqlx::query!(
        // The page is chosen first, so that readers are not counted for the shares before it.
        r#"select s.event_id as "event_id!", s.sent_at as "sent_at!", s.url as "url!", s.title as "title!", s.sent_to,
            s.not_seen_count as "not_seen_count!", s.seen_count as "seen_count!",
            u.first_name as "first_name?", u.last_name as "last_name?", u.profile_image_extension
        from (
            select event_id from sent_shares where sender_id = $1 order by event_id desc limit $2 offset $3
        ) page join sent_shares s using (event_id) left join users u on u.user_id = s.sent_to
        order by s.event_id desc"#,
        caller.user_id.as_str(),
        paging.limit_or(SHORT_PAGE_ITEMS_DEFAULT),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    let sent = caller.found(&app, rows).await?.into_iter().map(|row| {
        Ok(ShareNotificationSent {
            event_id: ShareId(row.event_id),
            sent_at: row.sent_at.into(),
            url: row.url,
            title: row.title,
            sent_to: row.sent_to.map(stored_id).transpose()?,
            not_seen_count: i64::from(row.not_seen_count),
            recipient_count: i64::from(row.not_seen_count) + i64::from(row.seen_count),
            first_name: row.first_name,
            last_name: row.last_name,
            profile_image_extension: row.profile_image_extension,
        })
    });
    sent.collect::<Result<_>>().map(Json)
}

/// Names one share in a list.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Seen {
    #[garde(skip)]
    event_id: ShareId,
}

/// The body that marks shares as read: at most 1,000 of them.
#[derive(Debug, Deserialize, Validate, ToSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schema(value_type = Vec<Seen>, max_items = 1000)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct AllSeen(#[garde(length(max = SHARES_READ_LEN_MAX), dive)] Vec<Seen>);

/// Marks pages that were sent to the caller as read.
///
/// A share that was not sent to the caller, is not shown to them, or is read already, stays as it is.
#[utoipa::path(
    post,
    path = "/notifications/share/read",
    tag = "shares",
    request_body = AllSeen,
    responses((status = 200, description = "The shares are read.", body = Success))
)]
pub async fn read(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Body(AllSeen(seen)): Body<AllSeen>,
) -> Result<Json<Success>> {
    let ids: Vec<Uuid> = seen.into_iter().map(|seen| seen.event_id.0).collect();
    let mut transaction = app.pool.begin().await?;
    // Locked in order, so that two calls cannot deadlock.
    let read = sqlx::query_scalar!(
        r#"with unread as (
            select r.event_id from share_recipients r join shares s using (event_id)
            where r.user_id = $1 and r.event_id = any($2) and r.seen_at is null
                and (select true from hidden h where h.user_id = $1 and h.hidden_id = s.sender_id limit 1) is null
            order by r.event_id for update of r
        ),
        read as (
            update share_recipients r set seen_at = clock_timestamp()
            from unread where r.event_id = unread.event_id and r.user_id = $1
            returning r.event_id
        )
        select event_id as "event_id!" from read order by event_id"#,
        me.as_str(),
        &ids
    )
    .fetch_all(&mut *transaction)
    .await?;
    if read.is_empty() {
        transaction.rollback().await?;
        return Ok(SUCCESS);
    }
    sqlx::query!(
        "with counted as (select event_id from shares where event_id = any($1) order by event_id for no key update)
        update shares s set not_seen_count = not_seen_count - 1 from counted where s.event_id = counted.event_id",
        &read
    )
    .execute(&mut *transaction)
    .await?;
    let event_ids = read.into_iter().map(ShareId).collect();
    let events = vec![outbox::unversioned(me, Change::ShareRead { event_ids })];
    outbox::commit(&app, transaction, events).await?;
    Ok(SUCCESS)
}

fn web_url(text: &str, (): &()) -> garde::Result {
    bounded_text(text, URL_CHARS_MAX)?;
    address_to_share(text).map(drop).map_err(garde::Error::new)
}

fn any_title(text: &str, (): &()) -> garde::Result {
    // A title of any length is accepted, because it is cut.
    bounded_text(text, usize::MAX)
}
