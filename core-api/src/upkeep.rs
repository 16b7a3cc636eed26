//! Background work in batches: removes what is left of deleted accounts, and old shares.
//!
//! Every instance does this. Two instances that work on the same rows do no harm: each transaction locks the rows that it
//! removes, shares in the order of their ids, and counts only the rows that it removed itself.
//!
//! Deliberately absent: deleting the account itself (`routes::account`).

use std::{sync::Arc, time::Duration};

use shared::{
    ids::UserId,
    limits::{ERASED_ROWS_PER_BATCH, ERASED_SHARES_PER_BATCH, ERASURE_RETRY_S_MAX, ERASURE_RETRY_S_MIN},
};
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::{App, clock::now, database::paging, error::Result, user_rows::stored_id};

/// Time between two checks whether there is something to do.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How long one deleted account, or old shares, may be worked on before others have their turn.
const TURN: Duration = Duration::from_secs(10);

/// Most deleted accounts to work on before old shares are looked for again.
const ERASURES_AT_ONCE: usize = 10;

/// The advisory lock of the instance that removes old shares. No other lock has this number.
const RETENTION_LOCK: i64 = 0x7061_6765_6e6f_7701;

/// A deleted account of which something is left.
struct Erasure {
    id: i64,
    user_id: String,
    erased_at: OffsetDateTime,
    last_event_id: Option<Uuid>,
}

/// Works until told to stop. A batch under way is finished first.
pub async fn run(app: Arc<App>, share_retention_days: Option<u32>, mut stopped: watch::Receiver<bool>) {
    while !*stopped.borrow() {
        let turn = || Tempo::Gentle { stopped: stopped.clone(), until: Instant::now() + TURN };
        let more = erase_some(&app, turn).await.unwrap_or_else(|error| {
            tracing::warn!(cause = ?error, "deleted accounts could not be looked for");
            false
        });
        if let Some(days) = share_retention_days
            && let Err(error) = retire_shares(&app.pool, days, &turn()).await
        {
            tracing::warn!(cause = ?error, "old shares could not be removed");
        }
        if more {
            continue;
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            _ = stopped.changed() => {}
        }
    }
}

/// Removes what is left of an account that has just been deleted.
///
/// # Errors
///
/// When the database or the image store does not answer. Then it is tried again later.
pub async fn erase_now(app: &App, user_id: &UserId) -> Result<()> {
    let erasures = sqlx::query_as!(
        Erasure,
        "select id, user_id, erased_at, last_event_id from erasures where user_id = $1 order by id",
        user_id.as_str()
    );
    for erasure in erasures.fetch_all(&app.pool).await? {
        erase(app, &erasure, &Tempo::Brisk).await?;
    }
    Ok(())
}

/// How much of the time the work may use.
enum Tempo {
    /// All of it: a caller waits.
    Brisk,
    /// Half of it, until told to stop, and for [`TURN`] at most: other work waits.
    Gentle { stopped: watch::Receiver<bool>, until: Instant },
}

impl Tempo {
    /// To be called after a batch, with the time at which the batch began. Pauses if the tempo is gentle. False: no
    /// further batch may begin.
    async fn goes_on(&self, begun: Instant) -> bool {
        match self {
            Self::Brisk => true,
            Self::Gentle { stopped, until } => {
                let mut stopped = stopped.clone();
                tokio::select! {
                    () = tokio::time::sleep(begun.elapsed()) => {}
                    _ = stopped.wait_for(|stopped| *stopped) => {}
                }
                !*stopped.borrow() && Instant::now() < *until
            }
        }
    }
}

/// Removes what is left of some deleted accounts, one after the other, each for one turn at most. Returns whether there
/// may be more.
async fn erase_some(app: &App, turn: impl Fn() -> Tempo) -> Result<bool> {
    for _ in 0..ERASURES_AT_ONCE {
        let Some(erasure) = claim(&app.pool).await? else { return Ok(false) };
        match erase(app, &erasure, &turn()).await {
            Ok(true) => {}
            // Its turn is over: the erasures that wait come first.
            Ok(false) => due_again(&app.pool, &erasure).await?,
            Err(error) => tracing::warn!(cause = ?error, "a deleted account could not be removed whole"),
        }
    }
    Ok(true)
}

/// Makes an erasure due again now, behind all that are due already.
async fn due_again(pool: &PgPool, erasure: &Erasure) -> Result<()> {
    sqlx::query!("update erasures set attempts = 0, next_attempt_at = clock_timestamp() where id = $1", erasure.id)
        .execute(pool)
        .await?;
    Ok(())
}

/// Claims the longest due erasure. If it is not finished, it is due again later: the wait doubles each time, up to
/// [`ERASURE_RETRY_S_MAX`].
async fn claim(pool: &PgPool) -> Result<Option<Erasure>> {
    let erasure = sqlx::query_as!(
        Erasure,
        "update erasures set attempts = attempts + 1,
            next_attempt_at = clock_timestamp() + least($1 * power(2, least(attempts, 20)), $2) * interval '1 second'
        where id = (
            select id from erasures where next_attempt_at <= now()
            order by next_attempt_at limit 1 for update skip locked
        )
        returning id, user_id, erased_at, last_event_id",
        ERASURE_RETRY_S_MIN,
        ERASURE_RETRY_S_MAX
    );
    Ok(erasure.fetch_optional(pool).await?)
}

/// Removes what is left of an account: first its relations to others, then the shares that it received and sent, then its
/// image. False: its turn ended before all was removed.
async fn erase(app: &App, erasure: &Erasure, tempo: &Tempo) -> Result<bool> {
    for what in [Left::Requests, Left::BlocksMade, Left::BlocksGot, Left::DeclinesMade, Left::DeclinesGot] {
        loop {
            let begun = Instant::now();
            if erase_relations(&app.pool, erasure, what).await? < ERASED_ROWS_PER_BATCH as u64 {
                break;
            }
            if !tempo.goes_on(begun).await {
                return Ok(false);
            }
        }
    }
    if let Some(last) = erasure.last_event_id {
        for what in [Shares::Addressed, Shares::Unread, Shares::Read, Shares::Sent] {
            let mut after = Uuid::nil();
            loop {
                let begun = Instant::now();
                let Some(done) = erase_shares(&app.pool, &erasure.user_id, what, after, last).await? else { break };
                after = done;
                if !tempo.goes_on(begun).await {
                    return Ok(false);
                }
            }
        }
    }
    let user_id = stored_id(erasure.user_id.clone())?;
    app.image_store.remove_but(&user_id, image_of(&app.pool, &user_id).await?.as_deref()).await?;
    sqlx::query!("delete from erasures where id = $1", erasure.id).execute(&app.pool).await?;
    Ok(true)
}

/// The extension of the image of the account that is registered under this id now. `None`: there is no account or no
/// image.
///
/// # Errors
///
/// When the database does not answer.
pub async fn image_of(pool: &PgPool, user_id: &UserId) -> Result<Option<String>> {
    let extension =
        sqlx::query_scalar!("select profile_image_extension from users where user_id = $1", user_id.as_str());
    Ok(extension.fetch_optional(pool).await?.flatten())
}

/// The relations that may be left between a deleted account and others.
#[derive(Debug, Clone, Copy)]
enum Left {
    Requests,
    BlocksMade,
    BlocksGot,
    DeclinesMade,
    DeclinesGot,
}

/// Removes a batch. Returns how many rows it removed.
async fn erase_relations(pool: &PgPool, erasure: &Erasure, what: Left) -> Result<u64> {
    let (me, until, limit) = (&erasure.user_id, erasure.erased_at, ERASED_ROWS_PER_BATCH);
    let mut transaction = paging(pool).await?;
    let removed = match what {
        // A request that was accepted since belongs to an account that was registered later under the same id.
        Left::Requests => {
            sqlx::query!(
                "delete from friendships where ctid = any(array(
                    select ctid from friendships
                    where user_id2 = $1 and accepted_at is null and requested_at <= $2 limit $3 for update
                ))",
                me,
                until,
                limit
            )
            .execute(&mut *transaction)
            .await?
        }
        Left::BlocksMade => {
            sqlx::query!(
                "delete from blocks where ctid = any(array(
                    select ctid from blocks where blocker_id = $1 and blocked_at <= $2 limit $3 for update
                ))",
                me,
                until,
                limit
            )
            .execute(&mut *transaction)
            .await?
        }
        Left::BlocksGot => {
            sqlx::query!(
                "delete from blocks where ctid = any(array(
                    select ctid from blocks where blocked_id = $1 and blocked_at <= $2 limit $3 for update
                ))",
                me,
                until,
                limit
            )
            .execute(&mut *transaction)
            .await?
        }
        Left::DeclinesMade => {
            sqlx::query!(
                "delete from declines where ctid = any(array(
                    select ctid from declines where decliner_id = $1 and declined_at <= $2 limit $3 for update
                ))",
                me,
                until,
                limit
            )
            .execute(&mut *transaction)
            .await?
        }
        Left::DeclinesGot => {
            sqlx::query!(
                "delete from declines where ctid = any(array(
                    select ctid from declines where asker_id = $1 and declined_at <= $2 limit $3 for update
                ))",
                me,
                until,
                limit
            )
            .execute(&mut *transaction)
            .await?
        }
    };
    transaction.commit().await?;
    Ok(removed.rows_affected())
}

/// The shares that may be left of a deleted account.
#[derive(Debug, Clone, Copy)]
enum Shares {
    Addressed,
    Unread,
    Read,
    Sent,
}

/// Removes a batch of the shares after `after` and up to `last`. Returns the id of the last one that was removed.
/// `None`: there are no more.
async fn erase_shares(pool: &PgPool, me: &str, what: Shares, after: Uuid, last: Uuid) -> Result<Option<Uuid>> {
    match what {
        Shares::Addressed => {
            let ids = sqlx::query_scalar!(
                "select event_id from shares where sent_to = $1 and event_id > $2 and event_id <= $3
                order by event_id limit $4",
                me,
                after,
                last,
                ERASED_SHARES_PER_BATCH
            );
            remove(pool, &ids.fetch_all(pool).await?).await
        }
        Shares::Sent => {
            let ids = sqlx::query_scalar!(
                "select event_id from shares where sender_id = $1 and event_id > $2 and event_id <= $3
                order by event_id limit $4",
                me,
                after,
                last,
                ERASED_SHARES_PER_BATCH
            );
            remove(pool, &ids.fetch_all(pool).await?).await
        }
        // Each recipient that is removed is one less who has not read the share. Rows are locked in order, first the
        // recipients, then the shares that count them, as `routes::shares::read` does.
        Shares::Unread => {
            let mut transaction = paging(pool).await?;
            let ids = sqlx::query_scalar!(
                "select event_id from share_recipients
                where user_id = $1 and seen_at is null and event_id > $2 and event_id <= $3
                order by event_id limit $4 for update",
                me,
                after,
                last,
                ERASED_ROWS_PER_BATCH
            )
            .fetch_all(&mut *transaction)
            .await?;
            sqlx::query!("delete from share_recipients where user_id = $1 and event_id = any($2)", me, &ids)
                .execute(&mut *transaction)
                .await?;
            sqlx::query!(
                "with counted as (
                    select event_id from shares where event_id = any($1) order by event_id for no key update
                )
                update shares s set not_seen_count = not_seen_count - 1
                from counted where s.event_id = counted.event_id",
                &ids
            )
            .execute(&mut *transaction)
            .await?;
            transaction.commit().await?;
            Ok(ids.last().copied())
        }
        Shares::Read => {
            let mut transaction = paging(pool).await?;
            let ids = sqlx::query_scalar!(
                "select event_id from share_recipients
                where user_id = $1 and seen_at is not null and event_id > $2 and event_id <= $3
                order by event_id limit $4 for update",
                me,
                after,
                last,
                ERASED_ROWS_PER_BATCH
            )
            .fetch_all(&mut *transaction)
            .await?;
            sqlx::query!("delete from share_recipients where user_id = $1 and event_id = any($2)", me, &ids)
                .execute(&mut *transaction)
                .await?;
            transaction.commit().await?;
            Ok(ids.last().copied())
        }
    }
}

/// Removes these shares with their recipients. The ids are in order. Returns the last one.
async fn remove(pool: &PgPool, ids: &[Uuid]) -> Result<Option<Uuid>> {
    let Some(last) = ids.last() else { return Ok(None) };
    let mut transaction = pool.begin().await?;
    remove_in(&mut transaction, ids).await?;
    transaction.commit().await?;
    Ok(Some(*last))
}

async fn remove_in(connection: &mut sqlx::PgConnection, ids: &[Uuid]) -> Result<()> {
    // Recipients are locked first, as in `routes::shares::read`.
    sqlx::query!(
        r#"select count(*) as "locked!" from (
            select from share_recipients where event_id = any($1) order by event_id, user_id for update
        ) theirs"#,
        ids
    )
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query!("delete from share_recipients where event_id = any($1)", ids).execute(&mut *connection).await?;
    sqlx::query!("delete from shares where event_id = any($1)", ids).execute(connection).await?;
    Ok(())
}

/// Removes shares that are older than `days`, unless another instance does so now.
async fn retire_shares(pool: &PgPool, days: u32, tempo: &Tempo) -> Result<()> {
    let before = first_id_at(now().plus_ms(-i64::from(days) * 86_400_000).unix_ms());
    loop {
        let begun = Instant::now();
        let mut transaction = pool.begin().await?;
        let mine = sqlx::query_scalar!(r#"select pg_try_advisory_xact_lock($1) as "mine!""#, RETENTION_LOCK)
            .fetch_one(&mut *transaction)
            .await?;
        if !mine {
            return Ok(());
        }
        let ids = sqlx::query_scalar!(
            "select event_id from shares where event_id < $1 order by event_id limit $2",
            before,
            ERASED_SHARES_PER_BATCH
        )
        .fetch_all(&mut *transaction)
        .await?;
        if ids.is_empty() {
            return Ok(());
        }
        remove_in(&mut transaction, &ids).await?;
        transaction.commit().await?;
        if !tempo.goes_on(begun).await {
            return Ok(());
        }
    }
}

/// The smallest id that a share of that time can have: the first 48 bits of a version 7 UUID are its time.
fn first_id_at(unix_ms: i64) -> Uuid {
    Uuid::from_u64_pair(u64::try_from(unix_ms).unwrap_or_default() << 16, 0)
}
