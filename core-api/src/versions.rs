//! Raises every user's social version after a backup was restored, so that objects of the edge take what was restored.
//!
//! Deliberately absent: telling the edge. Its objects ask when their user comes online next.

use anyhow::Context as _;
use shared::limits::RAISED_VERSIONS_PER_BATCH;
use sqlx::PgPool;

/// Raises the social version of every user by one at least, and to the present time in milliseconds since 1970 at least.
/// That is higher than any version that an object remembers from the time after the backup. It does no harm to repeat this.
///
/// # Errors
///
/// When the database does not answer. What was raised until then stays so.
pub async fn raise(pool: &PgPool) -> anyhow::Result<()> {
    let (mut last, mut users) = (String::new(), 0);
    loop {
        let batch = sqlx::query!(
            r#"with batch as (select user_id from users where user_id > $1 order by user_id limit $2),
            raised as (
                update users set social_version =
                    greatest(social_version + 1, (extract(epoch from clock_timestamp()) * 1000)::bigint)
                where user_id in (select user_id from batch)
            )
            select max(user_id) as last, count(*) as "users!" from batch"#,
            last,
            RAISED_VERSIONS_PER_BATCH
        )
        .fetch_one(pool)
        .await
        .context("the versions could not be raised")?;
        let Some(next) = batch.last else { break };
        last = next;
        users += batch.users;
        tracing::info!(users, "versions are raised");
    }
    Ok(())
}
