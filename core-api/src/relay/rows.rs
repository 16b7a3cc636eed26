//! The outbox as the relay reads and writes it. Each of these is one statement and a transaction of its own, so no
//! connection is held while a batch is under way.
//!
//! An instance that claims a row moves its next attempt ahead, and so has it for that long: no instance takes what is not due.
//! A row only ever loses recipients, and events never move to another row, whose id is a part of theirs.

use std::time::Duration;

use serde_json::Value;
use sqlx::{PgPool, types::Json};
use uuid::Uuid;

/// A change that has been claimed, with those who have not taken it yet.
pub struct Row {
    pub id: Uuid,
    pub recipients: Vec<String>,
    /// Of each recipient, in the same order.
    pub versions: Vec<i64>,
    pub kind: String,
    pub payload: Json<Value>,
    pub attempts: i32,
}

/// What became of a claimed row.
pub struct Settled {
    pub id: Uuid,
    /// Who has not taken it. Nobody: the row goes.
    pub remaining: Vec<String>,
    /// Until the next attempt.
    pub wait: Duration,
    /// Whether this counts as an attempt.
    pub attempted: bool,
}

/// Claims the longest due of the changes never tried, and of those tried before, so many of each.
pub async fn claim(pool: &PgPool, fresh: usize, again: usize, lease: Duration) -> Result<Vec<Row>, sqlx::Error> {
    let mut rows = sqlx::query_as!(
        Row,
        r#"with fresh as (
            select ctid from outbox where attempts = 0 and next_attempt_at <= now()
            order by next_attempt_at, id limit $1 for update skip locked
        ),
        again as (
            select ctid from outbox where attempts > 0 and next_attempt_at <= now()
            order by next_attempt_at, id limit $2 for update skip locked
        )
        update outbox set next_attempt_at = clock_timestamp() + $3 * interval '1 millisecond'
        where ctid = any(array(select ctid from fresh union all select ctid from again))
        returning id, recipients, versions, kind, payload as "payload: Json<Value>", attempts"#,
        fresh as i64,
        again as i64,
        ms(lease)
    )
    .fetch_all(pool)
    .await?;
    // By id is by time.
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

/// Keeps claimed rows for longer.
pub async fn renew(pool: &PgPool, ids: &[Uuid], lease: Duration) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update outbox set next_attempt_at = clock_timestamp() + $2 * interval '1 millisecond' where id = any($1)",
        ids,
        ms(lease)
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Most rows that one statement settles.
const SETTLED_ROWS_MAX: usize = 100;

/// Strikes off who has taken a change; the last one takes the row along. Should another instance have had a row
/// meanwhile, because its claim ran out, nobody comes back who is off it.
pub async fn settle(pool: &PgPool, settled: &[Settled]) -> Result<(), sqlx::Error> {
    let (done, open): (Vec<&Settled>, Vec<&Settled>) = settled.iter().partition(|row| row.remaining.is_empty());
    for done in done.chunks(SETTLED_ROWS_MAX) {
        let ids: Vec<Uuid> = done.iter().map(|row| row.id).collect();
        sqlx::query!("delete from outbox where id = any($1)", &ids).execute(pool).await?;
    }
    for open in open.chunks(SETTLED_ROWS_MAX) {
        keep(pool, open).await?;
    }
    Ok(())
}

/// Keeps of these rows those who remain, until the next attempt.
async fn keep(pool: &PgPool, open: &[&Settled]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = open.iter().map(|row| row.id).collect();
    let waits_ms: Vec<f64> = open.iter().map(|row| ms(row.wait)).collect();
    let attempts: Vec<i32> = open.iter().map(|row| i32::from(row.attempted)).collect();
    let (rows, recipients): (Vec<Uuid>, Vec<String>) =
        open.iter().flat_map(|row| row.remaining.iter().map(|to| (row.id, to.clone()))).unzip();
    sqlx::query!(
        "with remaining as (
            select id, array_agg(recipient) as recipients
            from unnest($4::uuid[], $5::text[]) as one (id, recipient) group by id
        )
        update outbox set
            (recipients, versions) = (
                select array_agg(recipient order by place), array_agg(version order by place)
                from unnest(outbox.recipients, outbox.versions) with ordinality as event (recipient, version, place)
                where recipient = any(remaining.recipients)
            ),
            attempts = outbox.attempts + late.attempts,
            next_attempt_at = clock_timestamp() + late.wait_ms * interval '1 millisecond'
        from unnest($1::uuid[], $2::float8[], $3::integer[]) as late (id, wait_ms, attempts)
        join remaining using (id)
        where outbox.id = any($1) and outbox.id = late.id and outbox.recipients && remaining.recipients",
        &ids,
        &waits_ms,
        &attempts,
        &rows,
        &recipients
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Milliseconds until the next change is due; negative where one is already. `None`: there is none.
pub async fn next_due_ms(pool: &PgPool) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select extract(epoch from least(
            (select min(next_attempt_at) from outbox where attempts = 0),
            (select min(next_attempt_at) from outbox where attempts > 0)
        ) - clock_timestamp())::float8 * 1000 as "ms""#
    )
    .fetch_one(pool)
    .await
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
