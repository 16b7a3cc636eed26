//! Removes images once more, when the last URL by which they could be uploaded has expired. A trigger notes them whenever
//! an account or its image is removed.
//!
//! Every instance does this: it does no harm to remove an image that another instance has removed.
//!
//! Deliberately absent: the first removal, for which the caller waits (`routes::images`, `routes::account`).

use std::{sync::Arc, time::Duration};

use time::OffsetDateTime;
use tokio::sync::watch;

use crate::{App, clock::now, error::Result, upkeep, user_rows::stored_id};

/// Longest time between two passes.
const LOOK_EVERY_MAX: Duration = Duration::from_secs(60);

/// Most images removed in one pass.
const AT_ONCE: i64 = 100;

/// Works until told to stop.
pub async fn run(app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    // Twice the life of a URL: clocks differ, and an upload that began in time may take long.
    let wait = app.image_store.url_life() * 2;
    while !*stopped.borrow() {
        if let Err(error) = pass(&app, wait, &stopped).await {
            tracing::warn!(cause = ?error, "removed images could not be looked for");
        }
        tokio::select! {
            () = tokio::time::sleep(wait.clamp(Duration::from_secs(1), LOOK_EVERY_MAX)) => {}
            _ = stopped.changed() => {}
        }
    }
}

async fn pass(app: &App, wait: Duration, stopped: &watch::Receiver<bool>) -> Result<()> {
    let due = sqlx::query!(
        "select user_id, removed_at from image_removals where removed_at <= $1 order by removed_at limit $2",
        OffsetDateTime::from(now()) - wait,
        AT_ONCE
    )
    .fetch_all(&app.pool)
    .await?;
    for row in due {
        // If the store does not answer, each removal takes as long as a call may.
        if *stopped.borrow() {
            break;
        }
        let user_id = stored_id(row.user_id.clone())?;
        // The account may have a new image by now, which is kept. Its extension is stored before a client gets the URL to
        // upload it.
        let kept = upkeep::image_of(&app.pool, &user_id).await?;
        if let Err(error) = app.image_store.remove_but(&user_id, kept.as_deref()).await {
            tracing::warn!(cause = ?error, "an image could not be removed once more");
            continue;
        }
        // If the image was removed again meanwhile, the row has another time and stays.
        sqlx::query!("delete from image_removals where user_id = $1 and removed_at = $2", row.user_id, row.removed_at)
            .execute(&app.pool)
            .await?;
    }
    Ok(())
}
