//! Blocks: `/friendship/blocks/…`. If one of two users has blocked the other, neither exists for the other.

use std::sync::Arc;

use axum::{Json, extract::State};
use shared::{
    api::{Success, UserSummary},
    ids::UserId,
    limits::BLOCKS_MAX,
};

use crate::{
    App,
    auth::{Caller, Member},
    error::{Error, NO_SUCH_USER, NOT_WITH_YOURSELF, Result},
    extract::{Paging, Path},
    outbox,
    routes::{
        SUCCESS,
        friendships::{Parted, lock_both, part},
    },
    user_rows::SummaryRow,
};

/// Blocks somebody.
///
/// A friendship or request between the two ends, and from then on neither exists for the other. Blocking again changes
/// nothing.
#[utoipa::path(
    put,
    path = "/friendship/blocks/{id}",
    tag = "friendships",
    params(("id" = UserId, Path, description = "The user to block.")),
    responses(
        (status = 200, description = "The user is blocked.", body = Success),
        (status = 400, description = "The id cannot be read, or is the caller's own."),
        (status = 404, description = "There is no such user, as far as the caller can see."),
        (status = 409, description = "The caller has blocked as many users as a user can.")
    )
)]
pub async fn block(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Success>> {
    if me == other {
        return Err(NOT_WITH_YOURSELF);
    }
    let mut transaction = app.pool.begin().await?;
    if !lock_both(&mut transaction, &me, &other).await? {
        return Err(NO_SUCH_USER);
    }
    let blocks = sqlx::query!(
        r#"select exists (select from blocks where blocker_id = $1 and blocked_id = $2) as "mine!",
            exists (select from blocks where blocker_id = $2 and blocked_id = $1) as "theirs!",
            (select count(*) from blocks where blocker_id = $1) as "count!""#,
        me.as_str(),
        other.as_str()
    )
    .fetch_one(&mut *transaction)
    .await?;
    if blocks.mine {
        return Ok(SUCCESS);
    }
    if blocks.theirs {
        return Err(NO_SUCH_USER);
    }
    if blocks.count >= BLOCKS_MAX {
        return Err(Error::Conflict("You have blocked as many users as a user can."));
    }
    sqlx::query!("insert into blocks (blocker_id, blocked_id) values ($1, $2)", me.as_str(), other.as_str())
        .execute(&mut *transaction)
        .await?;
    let parted = part(&mut transaction, &me, &other).await?;
    if !matches!(parted, Some(Parted::Friends(..))) {
        outbox::bump(&mut transaction, &[&me]).await?;
    }
    let events = match parted {
        Some(parted) => parted.events(&mut transaction).await?,
        None => Vec::new(),
    };
    outbox::commit(&app, transaction, events).await?;
    Ok(SUCCESS)
}

/// Takes a block back.
///
/// A friendship or request that the block ended stays ended. Without a block, this changes nothing.
#[utoipa::path(
    delete,
    path = "/friendship/blocks/{id}",
    tag = "friendships",
    params(("id" = UserId, Path, description = "The blocked user.")),
    responses((status = 200, description = "The user is not blocked by the caller.", body = Success))
)]
pub async fn unblock(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(other): Path<UserId>,
) -> Result<Json<Success>> {
    let mut transaction = app.pool.begin().await?;
    lock_both(&mut transaction, &me, &other).await?;
    let unblocked =
        sqlx::query!("delete from blocks where blocker_id = $1 and blocked_id = $2", me.as_str(), other.as_str())
            .execute(&mut *transaction)
            .await?;
    if unblocked.rows_affected() > 0 {
        outbox::bump(&mut transaction, &[&me]).await?;
    }
    transaction.commit().await?;
    Ok(SUCCESS)
}

/// Users whom the caller has blocked.
#[utoipa::path(
    get,
    path = "/friendship/blocks",
    tag = "friendships",
    params(Paging),
    responses((status = 200, description = "By name; 15 where no limit is named.", body = Vec<UserSummary>))
)]
pub async fn list(State(app): State<Arc<App>>, caller: Caller, paging: Paging) -> Result<Json<Vec<UserSummary>>> {
    let rows = sqlx::query_as!(
        SummaryRow,
        r#"select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension
        from blocks b join users u on u.user_id = b.blocked_id
        where b.blocker_id = $1
        order by u.first_name collate "und-x-icu", u.last_name collate "und-x-icu", u.user_id
        limit $2 offset $3"#,
        caller.user_id.as_str(),
        paging.limit_or_default(),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    let blocked = caller.found(&app, rows).await?.into_iter().map(|row| row.summary(None));
    blocked.collect::<Result<_>>().map(Json)
}
