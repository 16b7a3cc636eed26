//! Friendships and the requests for them: `/friendship/…`.
//!
//! Every change first locks the rows of both users, the smaller id first. So of two changes to one pair, the second sees
//! what the first did. Nobody gets more friends than the bound, and there are no deadlocks.

use std::sync::Arc;

use axum::{Json, extract::State};
use garde::Validate;
use serde::Deserialize;
use shared::{
    api::{Friendship, FriendshipState, Success, UserFriendRequest, UserSummary},
    ids::UserId,
    internal::Change,
};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::{
    App,
    auth::{Caller, Member},
    config::Bounds,
    error::{Error, NO_SUCH_USER, NOT_WITH_YOURSELF, Result},
    extract::{Body, Paging, Path},
    outbox::{self, OutboxEvent},
    routes::SUCCESS,
    user_rows::{SummaryRow, stored_id, summary_row},
};

const NOTHING_PENDING: Error = Error::NotFound("This user has not asked you.");

/// The friendship or request between the caller and another user.
#[utoipa::path(
    get,
    path = "/friendship/check/{id}",
    tag = "friendships",
    params(("id" = UserId, Path, description = "The other user.")),
    responses((status = 200, description = "The friendship or request, whoever asked; null when there is none.",
        body = Option<Friendship>))
)]
pub async fn check(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Option<Friendship>>> {
    let mut connection = app.pool.acquire().await?;
    between(&mut connection, &me, &other).await.map(Json)
}

/// The body that names whom to ask.
#[derive(Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Ask {
    #[garde(skip)]
    user_id2: UserId,
}

/// Asks somebody to be the caller's friend.
///
/// If the other user has asked already, this accepts their request. Asking again changes nothing. By default, a user has
/// at most 100 unanswered requests, asks at most 200 times a day, and waits 7 days before asking somebody again who
/// declined.
#[utoipa::path(
    post,
    path = "/friendship/requests",
    tag = "friendships",
    request_body = Ask,
    responses(
        (status = 200, description = "The other user is asked, or is a friend.", body = Success),
        (status = 400, description = "The body is not JSON, or names the caller."),
        (status = 404, description = "There is no such user, as far as the caller can see."),
        (status = 409, description = "One of the two has as many friends as a user can have, or the caller as many unanswered requests."),
        (status = 429, description = "Asked too often today, or declined by this user lately.")
    )
)]
pub async fn ask(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Body(Ask { user_id2: other }): Body<Ask>,
) -> Result<Json<Success>> {
    if me == other {
        return Err(NOT_WITH_YOURSELF);
    }
    let mut transaction = app.pool.begin().await?;
    if !lock_both(&mut transaction, &me, &other).await? {
        return Err(NO_SUCH_USER);
    }
    match between(&mut transaction, &me, &other).await? {
        None => {
            may_ask(&app.bounds, &mut transaction, &me, &other).await?;
            let user = insert_request(&app.bounds, &mut transaction, &me, &other).await?;
            let events = vec![outbox::unversioned(other, Change::FriendRequested { user })];
            outbox::commit(&app, transaction, events).await?;
        }
        Some(request) if request.accepted_at.is_none() && request.user_id1 == other => {
            befriend(&app, transaction, &other, &me).await?;
        }
        Some(_) => {}
    }
    Ok(SUCCESS)
}

/// Checks whether `me` may send a new request to `other`.
async fn may_ask(bounds: &Bounds, connection: &mut PgConnection, me: &UserId, other: &UserId) -> Result<()> {
    let standing = sqlx::query!(
        r#"select exists (select from hidden where user_id = $1 and hidden_id = $2) as "hidden!",
            (select count(*) from friendships where user_id1 = $1 and accepted_at is null) as "pending!",
            (select extract(epoch from declined_at + make_interval(days => $3) - clock_timestamp())::float8
                from declines where asker_id = $1 and decliner_id = $2) as rest_s"#,
        me.as_str(),
        other.as_str(),
        i32::try_from(bounds.decline_rest_days).unwrap_or(i32::MAX)
    )
    .fetch_one(connection)
    .await?;
    if standing.hidden {
        return Err(NO_SUCH_USER);
    }
    if let Some(rest_s) = standing.rest_s.filter(|rest_s| *rest_s > 0.0) {
        let detail = "This user has declined your request. They may ask you at any time.";
        return Err(Error::TooMany { detail, retry_after_s: rest_s.ceil() as u64 });
    }
    if standing.pending >= i64::from(bounds.requests_pending_max) {
        return Err(Error::Conflict("You have as many unanswered requests as a user can have."));
    }
    Ok(())
}

/// Counts the request against the bound of the day, writes it, and returns the asker as the asked user sees them.
async fn insert_request(
    bounds: &Bounds,
    connection: &mut PgConnection,
    me: &UserId,
    other: &UserId,
) -> Result<UserFriendRequest> {
    let row = sqlx::query!(
        r#"with today as (select (clock_timestamp() at time zone 'utc')::date as date),
        asked as (
            insert into friendships (user_id1, user_id2, requested_at) values ($1, $2, clock_timestamp())
            returning requested_at
        )
        update users set requests_counted_on = today.date,
            requests_counted = case when requests_counted_on = today.date then requests_counted else 0 end + 1
        from today, asked
        where user_id = $1
        returning user_id, first_name, last_name, description, profile_image_uploaded_at, profile_image_extension,
            requested_at, requests_counted,
            extract(epoch from (today.date + 1) - clock_timestamp() at time zone 'utc')::float8 as "day_left_s!""#,
        me.as_str(),
        other.as_str()
    )
    .fetch_one(connection)
    .await?;
    if i64::from(row.requests_counted) > i64::from(bounds.requests_per_day_max) {
        // The transaction is dropped, which undoes all of this.
        let detail = "You have asked as many users as one can in a day.";
        return Err(Error::TooMany { detail, retry_after_s: row.day_left_s.ceil() as u64 });
    }
    summary_row!(row).request(row.requested_at)
}

/// Users who wait for the caller's answer.
#[utoipa::path(
    get,
    path = "/friendship/requests",
    tag = "friendships",
    params(Paging),
    responses((status = 200, description = "Newest first; 15 where no limit is named.", body = Vec<UserFriendRequest>))
)]
pub async fn incoming(
    State(app): State<Arc<App>>,
    caller: Caller,
    paging: Paging,
) -> Result<Json<Vec<UserFriendRequest>>> {
    let rows = sqlx::query_as!(
        RequestRow,
        // The page of requests is chosen first, so that only its users are looked up.
        "select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension, f.requested_at
        from (
            select user_id1, requested_at from friendships where user_id2 = $1 and accepted_at is null
            order by requested_at desc, user_id1
            limit $2 offset $3
        ) f join users u on u.user_id = f.user_id1
        order by f.requested_at desc, u.user_id",
        caller.user_id.as_str(),
        paging.limit_or_default(),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    caller.found(&app, rows).await?.into_iter().map(RequestRow::shown).collect::<Result<_>>().map(Json)
}

/// A pending request, with the other of the two.
struct RequestRow {
    user_id: String,
    first_name: String,
    last_name: String,
    description: String,
    profile_image_uploaded_at: Option<OffsetDateTime>,
    profile_image_extension: Option<String>,
    requested_at: OffsetDateTime,
}

impl RequestRow {
    fn shown(self) -> Result<UserFriendRequest> {
        summary_row!(self).request(self.requested_at)
    }
}

/// Users whom the caller has asked and who have not answered.
#[utoipa::path(
    get,
    path = "/friendship/sent-requests",
    tag = "friendships",
    params(Paging),
    responses((status = 200, description = "Newest first; 15 where no limit is named.", body = Vec<UserFriendRequest>))
)]
pub async fn sent(State(app): State<Arc<App>>, caller: Caller, paging: Paging) -> Result<Json<Vec<UserFriendRequest>>> {
    let rows = sqlx::query_as!(
        RequestRow,
        "select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension, f.requested_at
        from (
            select user_id2, requested_at from friendships where user_id1 = $1 and accepted_at is null
            order by requested_at desc, user_id2
            limit $2 offset $3
        ) f join users u on u.user_id = f.user_id2
        order by f.requested_at desc, u.user_id",
        caller.user_id.as_str(),
        paging.limit_or_default(),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    caller.found(&app, rows).await?.into_iter().map(RequestRow::shown).collect::<Result<_>>().map(Json)
}

/// The caller's own request to somebody.
#[utoipa::path(
    get,
    path = "/friendship/requests/{id}",
    tag = "friendships",
    params(("id" = UserId, Path, description = "The user who was asked.")),
    responses((status = 200, description = "The request while it is pending; else null.", body = Option<Friendship>))
)]
pub async fn outgoing(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Option<Friendship>>> {
    let mut connection = app.pool.acquire().await?;
    let found = between(&mut connection, &me, &other).await?;
    Ok(Json(found.filter(|request| request.accepted_at.is_none() && request.user_id1 == me)))
}

/// Declines somebody's request.
#[utoipa::path(
    delete,
    path = "/friendship/requests/{id}",
    tag = "friendships",
    params(("id" = UserId, Path, description = "The user who asked.")),
    responses(
        (status = 200, description = "The request is removed.", body = Success),
        (status = 404, description = "This user has not asked the caller.")
    )
)]
pub async fn decline(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Success>> {
    let mut transaction = app.pool.begin().await?;
    if !lock_both(&mut transaction, &me, &other).await? {
        return Err(NOTHING_PENDING);
    }
    let declined = sqlx::query!(
        "delete from friendships where user_id1 = $1 and user_id2 = $2 and accepted_at is null",
        other.as_str(),
        me.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    if declined.rows_affected() == 0 {
        return Err(NOTHING_PENDING);
    }
    keep_decline(&mut transaction, &other, &me).await?;
    let events = vec![outbox::unversioned(me, Change::FriendRequestRemoved { user_id: other })];
    outbox::commit(&app, transaction, events).await?;
    Ok(SUCCESS)
}

/// Records that the asker was declined, so that they cannot ask again at once.
async fn keep_decline(connection: &mut PgConnection, asker: &UserId, decliner: &UserId) -> Result<()> {
    sqlx::query!(
        "insert into declines (asker_id, decliner_id, declined_at) values ($1, $2, clock_timestamp())
        on conflict (asker_id, decliner_id) do update set declined_at = excluded.declined_at",
        asker.as_str(),
        decliner.as_str()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The body that names whose request is accepted.
#[derive(Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Accept {
    #[garde(skip)]
    user_id1: UserId,
}

/// Accepts somebody's request.
///
/// Accepting again changes nothing.
#[utoipa::path(
    post,
    path = "/friendship/accept",
    tag = "friendships",
    request_body = Accept,
    responses(
        (status = 200, description = "The two are friends.", body = Success),
        (status = 404, description = "This user has not asked the caller."),
        (status = 409, description = "One of the two has as many friends as a user can have.")
    )
)]
pub async fn accept(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Body(Accept { user_id1: other }): Body<Accept>,
) -> Result<Json<Success>> {
    let mut transaction = app.pool.begin().await?;
    if !lock_both(&mut transaction, &me, &other).await? {
        return Err(NOTHING_PENDING);
    }
    match between(&mut transaction, &me, &other).await? {
        Some(Friendship { accepted_at: Some(_), .. }) => Ok(SUCCESS),
        Some(request) if request.user_id1 == other => {
            befriend(&app, transaction, &other, &me).await?;
            Ok(SUCCESS)
        }
        _ => Err(NOTHING_PENDING),
    }
}

/// The body that names a pair, in either order.
#[derive(Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct Ended {
    #[garde(skip)]
    user_id1: UserId,
    #[garde(skip)]
    user_id2: UserId,
}

/// Ends a friendship, or takes back or declines a request for one.
#[utoipa::path(
    post,
    path = "/friendship/delete",
    tag = "friendships",
    request_body = Ended,
    responses(
        (status = 200, description = "There is no friendship or request between the two now.", body = Success),
        (status = 400, description = "The body is not JSON, or names one user twice."),
        (status = 403, description = "The caller is neither of the two, is not registered, or is suspended.")
    )
)]
pub async fn end(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Body(Ended { user_id1, user_id2 }): Body<Ended>,
) -> Result<Json<Success>> {
    if user_id1 == user_id2 {
        return Err(NOT_WITH_YOURSELF);
    }
    if me != user_id1 && me != user_id2 {
        return Err(Error::Forbidden("Only one of the two can end a friendship."));
    }
    let mut transaction = app.pool.begin().await?;
    if !lock_both(&mut transaction, &user_id1, &user_id2).await? {
        // One of the two has no account. If anything is left of it, `upkeep` removes it soon.
        return Ok(SUCCESS);
    }
    let parted = part(&mut transaction, &user_id1, &user_id2).await?;
    if let Some(Parted::Request { asker, asked }) = &parted
        && *asked == me
    {
        keep_decline(&mut transaction, asker, asked).await?;
    }
    let events = match parted {
        Some(parted) => parted.events(&mut transaction).await?,
        None => Vec::new(),
    };
    outbox::commit(&app, transaction, events).await?;
    Ok(SUCCESS)
}

/// What there was between two users.
pub enum Parted {
    Friends(UserId, UserId),
    Request { asker: UserId, asked: UserId },
}

impl Parted {
    /// The events which say that it is over. If the two were friends, both social versions grow.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn events(self, connection: &mut PgConnection) -> Result<Vec<OutboxEvent>> {
        match self {
            Self::Friends(one, other) => {
                let bumped = outbox::bump(connection, &[&one, &other]).await?;
                let told = bumped.into_iter().map(|(recipient, bumped)| {
                    let friend = if recipient == one { &other } else { &one };
                    outbox::told(recipient, bumped.version, Change::FriendRemoved { user_id: friend.clone() })
                });
                Ok(told.collect())
            }
            Self::Request { asker, asked } => {
                Ok(vec![outbox::unversioned(asked, Change::FriendRequestRemoved { user_id: asker })])
            }
        }
    }
}

/// Removes the friendship or request between two users. The transaction must have locked both.
///
/// # Errors
///
/// When the database does not answer.
pub async fn part(connection: &mut PgConnection, one: &UserId, other: &UserId) -> Result<Option<Parted>> {
    let row = sqlx::query!(
        r#"delete from friendships
        where least(user_id1, user_id2) = least($1, $2) and greatest(user_id1, user_id2) = greatest($1, $2)
        returning user_id1, accepted_at is not null as "accepted!""#,
        one.as_str(),
        other.as_str()
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| {
        let (asker, asked) = if row.user_id1 == one.as_str() { (one, other) } else { (other, one) };
        let (asker, asked) = (asker.clone(), asked.clone());
        if row.accepted { Parted::Friends(asker, asked) } else { Parted::Request { asker, asked } }
    }))
}

/// All friends of the caller, by name.
#[utoipa::path(
    get,
    path = "/friendship/all",
    tag = "friendships",
    params(Paging),
    responses((status = 200, description = "All of them where no limit is named.", body = Vec<UserSummary>))
)]
pub async fn all(State(app): State<Arc<App>>, caller: Caller, paging: Paging) -> Result<Json<Vec<UserSummary>>> {
    let rows = sqlx::query_as!(
        SummaryRow,
        r#"select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension
        from friends f join users u on u.user_id = f.friend_id
        where f.user_id = $1
        order by u.first_name collate "und-x-icu", u.last_name collate "und-x-icu", u.user_id
        limit $2 offset $3"#,
        caller.user_id.as_str(),
        paging.limit,
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    let friends = caller.found(&app, rows).await?.into_iter().map(|row| row.summary(Some(FriendshipState::Accepted)));
    friends.collect::<Result<_>>().map(Json)
}

/// Locks both users until the transaction ends. False: at least one of them does not exist.
///
/// # Errors
///
/// When the database does not answer.
pub async fn lock_both(connection: &mut PgConnection, one: &UserId, other: &UserId) -> Result<bool> {
    let ids = [one.as_str().to_owned(), other.as_str().to_owned()];
    let locked =
        sqlx::query!("select user_id from users where user_id = any($1) order by user_id for no key update", &ids)
            .fetch_all(connection)
            .await?;
    Ok(locked.len() == ids.len())
}

/// The friendship or request of a pair, whoever asked.
async fn between(connection: &mut PgConnection, one: &UserId, other: &UserId) -> Result<Option<Friendship>> {
    let row = sqlx::query!(
        "select user_id1, user_id2, requested_at, accepted_at from friendships
        where least(user_id1, user_id2) = least($1, $2) and greatest(user_id1, user_id2) = greatest($1, $2)
            -- What is left of a deleted account is nothing between it and others.
            and (select count(*) from users where user_id in ($1, $2)) = 2",
        one.as_str(),
        other.as_str()
    )
    .fetch_optional(connection)
    .await?;
    let friendship = row.map(|row| {
        Ok(Friendship {
            user_id1: stored_id(row.user_id1)?,
            user_id2: stored_id(row.user_id2)?,
            requested_at: row.requested_at.into(),
            accepted_at: row.accepted_at.map(|at: OffsetDateTime| at.into()),
        })
    });
    friendship.transpose()
}

/// Turns a pending request, whose users the transaction has locked, into a friendship and tells both.
async fn befriend(app: &App, mut transaction: Transaction<'_, Postgres>, asker: &UserId, asked: &UserId) -> Result<()> {
    for user_id in [asked, asker] {
        let friends =
            sqlx::query_scalar!(r#"select count(*) as "count!" from friends where user_id = $1"#, user_id.as_str())
                .fetch_one(&mut *transaction)
                .await?;
        if friends >= i64::from(app.bounds.friends_max) {
            return Err(Error::Conflict("One of you has as many friends as a user can have."));
        }
    }
    // `clock_timestamp()` and not `now()`, the start of the transaction: the transaction may have started before the
    // request was made, and waited for it.
    sqlx::query!(
        "update friendships set accepted_at = clock_timestamp() where user_id1 = $1 and user_id2 = $2",
        asker.as_str(),
        asked.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "delete from declines where (asker_id, decliner_id) in (($1, $2), ($2, $1))",
        asker.as_str(),
        asked.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    let mut bumped = outbox::bump(&mut transaction, &[asker, asked]).await?;
    let (Some(asker), Some(asked)) = (bumped.remove(asker), bumped.remove(asked)) else {
        return Err(Error::Internal("a locked user is gone".to_owned()));
    };
    let (asker_version, asked_version) = (asker.version, asked.version);
    let asker = asker.row.summary(Some(FriendshipState::Accepted))?;
    let asked = asked.row.summary(Some(FriendshipState::Accepted))?;
    let events = vec![
        // The devices of the asked user still show the request.
        outbox::unversioned(asked.user_id.clone(), Change::FriendRequestRemoved { user_id: asker.user_id.clone() }),
        outbox::told(asker.user_id.clone(), asker_version, Change::FriendAccepted { user: asked.clone() }),
        outbox::told(asked.user_id, asked_version, Change::FriendAccepted { user: asker }),
    ];
    outbox::commit(app, transaction, events).await
}
