//! Friendships and the requests for them: `/friendship/…`.
//!
//! Every change first locks the rows of both users, the smaller id first. So of two changes to one pair the
//! second sees what the first did, nobody gets a friend too many, and no two changes wait for each other.

use std::sync::Arc;

use axum::{Json, extract::State};
use garde::Validate;
use serde::Deserialize;
use shared::{
    api::{Friendship, FriendshipState, Success, UserFriendRequest, UserSummary},
    ids::UserId,
    internal::Change,
    time::Timestamp,
};
use sqlx::{PgConnection, Postgres, Transaction};
use time::OffsetDateTime;

use crate::{
    App,
    auth::Member,
    error::{Error, NOT_WITH_YOURSELF, Result},
    extract::{Body, Paging, Path},
    outbox,
    user_rows::{SummaryRow, stored_id},
};

const SUCCESS: Json<Success> = Json(Success { success: true });

const NOTHING_PENDING: Error = Error::NotFound("This user has not asked you.");

/// `GET /friendship/check/{id}`: the friendship or request between the caller and somebody, whoever asked.
pub async fn check(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Option<Friendship>>> {
    let mut connection = app.pool.acquire().await?;
    between(&mut connection, &me, &other).await.map(Json)
}

/// The body that names whom to ask.
#[derive(Deserialize, Validate)]
pub struct Ask {
    #[garde(skip)]
    user_id2: UserId,
}

/// `POST /friendship/requests`: asks somebody, or accepts when they have asked already.
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
        return Err(Error::NotFound("There is no such user."));
    }
    match between(&mut transaction, &me, &other).await? {
        None => {
            sqlx::query!("insert into friendships (user_id1, user_id2) values ($1, $2)", me.as_str(), other.as_str())
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
        }
        Some(request) if request.accepted_at.is_none() && request.user_id1 == other => {
            befriend(&app, transaction, &other, &me).await?;
        }
        Some(_) => {}
    }
    Ok(SUCCESS)
}

/// `GET /friendship/requests`: who waits for the caller's answer, newest first.
pub async fn incoming(
    State(app): State<Arc<App>>,
    Member(me): Member,
    paging: Paging,
) -> Result<Json<Vec<UserFriendRequest>>> {
    let rows = sqlx::query!(
        "select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension, f.requested_at
        from friendships f join users u on u.user_id = f.user_id1
        where f.user_id2 = $1 and f.accepted_at is null
        order by f.requested_at desc, u.user_id
        limit $2 offset $3",
        me.as_str(),
        paging.limit_or_default(),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    let requests = rows.into_iter().map(|row| {
        Ok(UserFriendRequest {
            user_id: stored_id(row.user_id)?,
            first_name: row.first_name,
            last_name: row.last_name,
            description: row.description,
            profile_image_uploaded_at: row.profile_image_uploaded_at.map(Timestamp::from),
            profile_image_extension: row.profile_image_extension,
            requested_at: row.requested_at.into(),
        })
    });
    requests.collect::<Result<_>>().map(Json)
}

/// `GET /friendship/requests/{id}`: the caller's own request to somebody, while it is pending.
pub async fn outgoing(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Option<Friendship>>> {
    let mut connection = app.pool.acquire().await?;
    let found = between(&mut connection, &me, &other).await?;
    Ok(Json(found.filter(|request| request.accepted_at.is_none() && request.user_id1 == me)))
}

/// `DELETE /friendship/requests/{id}`: declines somebody's request.
pub async fn decline(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Success>> {
    let mut transaction = app.pool.begin().await?;
    lock_both(&mut transaction, &me, &other).await?;
    let declined = sqlx::query!(
        "delete from friendships where user_id1 = $1 and user_id2 = $2 and accepted_at is null",
        other.as_str(),
        me.as_str()
    )
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    if declined.rows_affected() == 0 { Err(NOTHING_PENDING) } else { Ok(SUCCESS) }
}

/// The body that names whose request is accepted.
#[derive(Deserialize, Validate)]
pub struct Accept {
    #[garde(skip)]
    user_id1: UserId,
}

/// `POST /friendship/accept`.
pub async fn accept(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Body(Accept { user_id1: other }): Body<Accept>,
) -> Result<Json<Success>> {
    let mut transaction = app.pool.begin().await?;
    lock_both(&mut transaction, &me, &other).await?;
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
#[derive(Deserialize, Validate)]
pub struct Ended {
    #[garde(skip)]
    user_id1: UserId,
    #[garde(skip)]
    user_id2: UserId,
}

/// `POST /friendship/delete`: ends a friendship, or takes back or declines a request for one.
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
    lock_both(&mut transaction, &user_id1, &user_id2).await?;
    let ended = sqlx::query!(
        r#"delete from friendships
        where least(user_id1, user_id2) = least($1, $2) and greatest(user_id1, user_id2) = greatest($1, $2)
        returning accepted_at is not null as "accepted!""#,
        user_id1.as_str(),
        user_id2.as_str()
    )
    .fetch_optional(&mut *transaction)
    .await?;
    if ended.is_some_and(|ended| ended.accepted) {
        let bumped = outbox::bump(&mut transaction, &[&user_id1, &user_id2]).await?;
        let events = bumped.into_iter().map(|(recipient, bumped)| {
            let other = if recipient == user_id1 { &user_id2 } else { &user_id1 };
            let change = Change::FriendRemoved { user_id: other.clone() };
            outbox::told(recipient, bumped.version, change)
        });
        outbox::commit(&app, transaction, events.collect()).await?;
    } else {
        transaction.commit().await?;
    }
    Ok(SUCCESS)
}

/// `GET /friendship/all`: all friends by name; only when the caller names a limit, a page of them.
pub async fn all(State(app): State<Arc<App>>, Member(me): Member, paging: Paging) -> Result<Json<Vec<UserSummary>>> {
    let rows = sqlx::query_as!(
        SummaryRow,
        "select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension
        from friends f join users u on u.user_id = f.friend_id
        where f.user_id = $1
        order by u.first_name, u.last_name, u.user_id
        limit $2 offset $3",
        me.as_str(),
        paging.limit,
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    let friends = rows.into_iter().map(|row| row.summary(Some(FriendshipState::Accepted)));
    friends.collect::<Result<_>>().map(Json)
}

/// Locks both users until the transaction ends. False: at least one of them does not exist.
async fn lock_both(connection: &mut PgConnection, one: &UserId, other: &UserId) -> Result<bool> {
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
        where least(user_id1, user_id2) = least($1, $2) and greatest(user_id1, user_id2) = greatest($1, $2)",
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
        if friends >= i64::from(app.friends_max) {
            return Err(Error::Conflict("One of you has as many friends as a user can have."));
        }
    }
    // The clock and not the start of the transaction: that may lie before the request, which it waited for.
    sqlx::query!(
        "update friendships set accepted_at = clock_timestamp() where user_id1 = $1 and user_id2 = $2",
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
        outbox::told(asker.user_id.clone(), asker_version, Change::FriendAccepted { user: asked.clone() }),
        outbox::told(asked.user_id, asked_version, Change::FriendAccepted { user: asker }),
    ];
    outbox::commit(app, transaction, events).await
}
