//! The outbox as the relay reads and writes it. Each statement is a transaction of its own, so no connection is held while
//! a batch is under way.
//!
//! An instance claims a row by moving the row's next attempt into the future. No instance takes a row that is not due, so
//! the claim lasts until then. A row only loses recipients. An event never moves to another row, because its id is made
//! from the row's id.

use std::time::Duration;

use serde_json::Value;
use sqlx::{PgPool, types::Json};
use uuid::Uuid;

/// A change that has been claimed, with those who have not taken it yet.
pub struct Row {
    pub id: Uuid,
    pub recipients: Vec<String>,
    /// The version for each recipient, in the same order.
    pub versions: Vec<i64>,
    pub kind: String,
    pub payload: Json<Value>,
    pub attempts: i32,
}

/// What became of a claimed row.
pub struct Settled {
    pub id: Uuid,
    /// The recipients who have not taken it. If there are none, the row is deleted.
    pub remaining: Vec<String>,
    /// Time until the next attempt.
    pub wait: Duration,
    /// Whether this counts as an attempt.
    pub attempted: bool,
}

/// Claims due changes, the longest due first: at most `fresh` that were never tried, and at most `again` that were.
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
    // The order of ids is the order of time.
    rows.sort_by_key(|row| row.id);
    Ok(rows)
}

/// Extends the claims of these rows.
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

/// Removes the recipients who have taken a change, and deletes the row when none remain. If a claim ran out and another
/// instance settled the row meanwhile, the recipients whom that instance removed stay removed.
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

/// Keeps only the remaining recipients of these rows, and sets the time of the next attempt.
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

/// Milliseconds until the next change is due; negative if one is due already. `None`: the outbox is empty.
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
