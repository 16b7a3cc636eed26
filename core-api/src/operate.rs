//! What operators do by hand: show, suspend and restore a user; list the events that wait, try them again, drop them. What
//! shows a user or changes anything adds lines to `audit`, in the same transaction. Listing events adds none.
//!
//! Deliberately absent: any way to do this over the network. These are commands of the program.

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use shared::{ids::UserId, internal::Change, limits::SUSPENDED_MAX};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    config::Operator,
    error::Error,
    outbox::{self, told},
};

/// What is stored about one user: who they are, how many rows there are of the rest, and what operators did.
#[derive(Debug, Serialize)]
pub struct Held {
    user_id: String,
    email: String,
    first_name: String,
    last_name: String,
    #[serde(with = "time::serde::rfc3339::option")]
    profile_image_uploaded_at: Option<OffsetDateTime>,
    share_mode: String,
    allowed_domains: i64,
    denied_domains: i64,
    #[serde(with = "time::serde::rfc3339::option")]
    suspended_at: Option<OffsetDateTime>,
    friends: i64,
    /// Requests to be friends that wait for the user's answer.
    requests_received: i64,
    /// Requests of the user that wait for another user's answer.
    requests_sent: i64,
    blocked: i64,
    shares_sent: i64,
    /// The newest lines, [`AUDIT_LINES_MAX`] at most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    audit: Vec<Line>,
}

/// What an operator did.
#[derive(Debug, Serialize)]
pub struct Line {
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    operator: String,
    action: String,
    reason: String,
}

/// A change that waits for the edge. Its contents are left out, because they may name people and pages.
#[derive(Debug, Serialize)]
pub struct Waiting {
    /// The other commands take this id.
    pub id: Uuid,
    kind: String,
    recipients: i32,
    attempts: i32,
    #[serde(with = "time::serde::rfc3339")]
    next_attempt_at: OffsetDateTime,
}

/// What became of a request to suspend or restore.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It was so already: nothing has changed, and `audit` has no line about it.
    WasSo,
}

const AUDIT_LINES_MAX: i64 = 50;

/// What is stored about a user.
///
/// # Errors
///
/// When there is no such user, or the database does not answer.
pub async fn show(pool: &PgPool, user_id: &UserId, operator: &Operator) -> anyhow::Result<Held> {
    let mut transaction = pool.begin().await?;
    let user = sqlx::query!(
        r#"select u.user_id, email, first_name, last_name, profile_image_uploaded_at, share_mode,
            cardinality(domain_allow_array)::bigint as "allowed_domains!",
            cardinality(domain_deny_array)::bigint as "denied_domains!", suspended_at,
            (select count(*) from friends f where f.user_id = u.user_id) as "friends!",
            (select count(*) from friendships where user_id2 = u.user_id and accepted_at is null) as "requests_received!",
            (select count(*) from friendships where user_id1 = u.user_id and accepted_at is null) as "requests_sent!",
            (select count(*) from blocks where blocker_id = u.user_id) as "blocked!",
            (select count(*) from shares where sender_id = u.user_id) as "shares_sent!"
        from users u where u.user_id = $1"#,
        user_id.as_str()
    )
    .fetch_optional(&mut *transaction)
    .await?
    .context("there is no such user")?;
    let audit = sqlx::query_as!(
        Line,
        "select at, operator, action, reason from audit where subject = $1 order by id desc limit $2",
        user_id.as_str(),
        AUDIT_LINES_MAX
    )
    .fetch_all(&mut *transaction)
    .await?;
    note(&mut transaction, operator, "user.show", &[user_id.as_str().to_owned()]).await?;
    transaction.commit().await?;
    Ok(Held {
        user_id: user.user_id,
        email: user.email,
        first_name: user.first_name,
        last_name: user.last_name,
        profile_image_uploaded_at: user.profile_image_uploaded_at,
        share_mode: user.share_mode,
        allowed_domains: user.allowed_domains,
        denied_domains: user.denied_domains,
        suspended_at: user.suspended_at,
        friends: user.friends,
        requests_received: user.requests_received,
        requests_sent: user.requests_sent,
        blocked: user.blocked,
        shares_sent: user.shares_sent,
        audit,
    })
}

/// Suspends the user and tells the edge: from now on they are let in nowhere. Nothing of theirs is deleted.
///
/// # Errors
///
/// When there is no such user, [`SUSPENDED_MAX`] are suspended already, or the database does not answer.
pub async fn suspend(pool: &PgPool, user_id: &UserId, operator: &Operator) -> anyhow::Result<Outcome> {
    let mut transaction = pool.begin().await?;
    let suspended = sqlx::query_scalar!(r#"select count(*) as "count!" from users where suspended_at is not null"#)
        .fetch_one(&mut *transaction)
        .await?;
    ensure!(suspended < SUSPENDED_MAX, "{SUSPENDED_MAX} users are suspended, which is the bound: restore some first");
    let version = sqlx::query_scalar!(
        "update users set suspended_at = clock_timestamp(), social_version = social_version + 1
        where user_id = $1 and suspended_at is null returning social_version",
        user_id.as_str()
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(version) = version else { return was_so(&mut transaction, user_id).await };
    tell(&mut transaction, user_id, version, Change::UserSuspended {}).await?;
    note(&mut transaction, operator, "user.suspend", &[user_id.as_str().to_owned()]).await?;
    transaction.commit().await?;
    Ok(Outcome::Done)
}

/// Takes a suspension back, and tells the edge.
///
/// # Errors
///
/// When there is no such user, or the database does not answer.
pub async fn restore(pool: &PgPool, user_id: &UserId, operator: &Operator) -> anyhow::Result<Outcome> {
    let mut transaction = pool.begin().await?;
    let version = sqlx::query_scalar!(
        "update users set suspended_at = null, social_version = social_version + 1
        where user_id = $1 and suspended_at is not null returning social_version",
        user_id.as_str()
    )
    .fetch_optional(&mut *transaction)
    .await?;
    let Some(version) = version else { return was_so(&mut transaction, user_id).await };
    tell(&mut transaction, user_id, version, Change::UserRestored {}).await?;
    note(&mut transaction, operator, "user.restore", &[user_id.as_str().to_owned()]).await?;
    transaction.commit().await?;
    Ok(Outcome::Done)
}

/// The outcome when no row was changed: there was nothing to do. It is an error if there is no such user.
async fn was_so(connection: &mut PgConnection, user_id: &UserId) -> anyhow::Result<Outcome> {
    let exists = sqlx::query_scalar!(
        r#"select exists (select from users where user_id = $1) as "registered!""#,
        user_id.as_str()
    );
    if exists.fetch_one(connection).await? { Ok(Outcome::WasSo) } else { bail!("there is no such user") }
}

async fn tell(connection: &mut PgConnection, user_id: &UserId, version: i64, change: Change) -> anyhow::Result<()> {
    let event =
        async { outbox::write(connection, vec![told(user_id.clone(), outbox::version(version)?, change)]).await };
    event.await.map_err(|error: Error| anyhow::anyhow!("the edge cannot be told: {error:?}"))
}

/// The changes that have waited for the edge the longest, at most `limit`.
///
/// # Errors
///
/// When the database does not answer.
pub async fn waiting(pool: &PgPool, limit: i64) -> anyhow::Result<Vec<Waiting>> {
    let waiting = sqlx::query_as!(
        Waiting,
        r#"select id, kind, cardinality(recipients) as "recipients!", attempts, next_attempt_at
        from outbox order by id limit $1"#,
        limit
    );
    Ok(waiting.fetch_all(pool).await?)
}

/// Makes these changes due at once, as if they had never been tried. Returns the ids of those that exist.
///
/// # Errors
///
/// When the database does not answer.
pub async fn requeue(pool: &PgPool, ids: &[Uuid], operator: &Operator) -> anyhow::Result<Vec<Uuid>> {
    let mut transaction = pool.begin().await?;
    let requeued = sqlx::query_scalar!(
        "update outbox set attempts = 0, next_attempt_at = clock_timestamp() where id = any($1) returning id",
        ids
    )
    .fetch_all(&mut *transaction)
    .await?;
    note(&mut transaction, operator, "outbox.requeue", &texts(&requeued)).await?;
    transaction.commit().await?;
    Ok(requeued)
}

/// Drops these changes: the edge is not told of them any more. Returns the ids of those that existed.
///
/// # Errors
///
/// When the database does not answer.
pub async fn drop_waiting(pool: &PgPool, ids: &[Uuid], operator: &Operator) -> anyhow::Result<Vec<Uuid>> {
    let mut transaction = pool.begin().await?;
    let dropped = sqlx::query_scalar!("delete from outbox where id = any($1) returning id", ids)
        .fetch_all(&mut *transaction)
        .await?;
    note(&mut transaction, operator, "outbox.drop", &texts(&dropped)).await?;
    transaction.commit().await?;
    Ok(dropped)
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

/// Adds a line to `audit` for each subject.
async fn note(
    connection: &mut PgConnection,
    operator: &Operator,
    action: &str,
    subjects: &[String],
) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into audit (operator, action, subject, reason) select $1, $2, subject, $4 from unnest($3::text[]) subject",
        operator.by,
        action,
        subjects,
        operator.reason
    )
    .execute(connection)
    .await?;
    Ok(())
}
