//! The cut-over: imports the predecessor's users, friendships, shares and read marks into this schema.
//!
//! Rows that are there already are left as they are. So if a run stops early, the next run finishes it, and a run after that
//! changes nothing. A dry run takes every step except writing.
//!
//! Deliberately absent: images, which stay in their bucket under the keys that they have, and telling the edge, because no
//! user is connected yet.

mod convert;
mod report;
mod source;
pub mod target;

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, ensure};
use shared::limits::{FRIENDS_MAX, IMPORT_ROWS_PER_BATCH, IMPORT_STATEMENT_MS_MAX};
use sqlx::{Postgres, pool::PoolConnection};
use time::OffsetDateTime;

use crate::{
    config::{DatabaseConfig, ImportConfig},
    database,
};
use convert::{Pair, Reason};
use report::{Kind, Report};
use source::Source;

/// Imports, or finds out in a dry run what an import would do. The list of what it changes and leaves out goes where the
/// configuration says. Progress and the counts go to standard error.
///
/// # Errors
///
/// When a database does not answer, somebody else writes to this one, the list cannot be written, or the counts do not
/// add up.
pub async fn run(config: &ImportConfig) -> anyhow::Result<()> {
    // A batch of many rows takes longer than a call may.
    let database_statement_ms_max = IMPORT_STATEMENT_MS_MAX;
    let pool = database::pool(&DatabaseConfig { database_statement_ms_max, ..config.database.clone() })?;
    let mut connection = pool.acquire().await.context("cannot connect to the database")?;
    let source = Source::open(&config.from).await?;
    if !config.dry_run {
        target::wait_for_turn(&mut connection).await.context("another import is under way")?;
    }
    let report = Report::begin(config.report.as_deref())?;
    let mut import = Import { connection, source, report, dry_run: config.dry_run, users: HashSet::new() };
    import.users().await?;
    import.friendships().await?;
    import.shares().await?;
    import.source.close().await?;
    import.report.end(config.dry_run)
}

struct Import {
    connection: PoolConnection<Postgres>,
    source: Source,
    report: Report,
    dry_run: bool,
    /// The predecessor's users who have an account here now, or would have one without the dry run.
    users: HashSet<String>,
}

impl Import {
    async fn users(&mut self) -> anyhow::Result<()> {
        let total = self.source.count("user_table").await?;
        self.report.begin_kind(Kind::User, total);
        self.source.begin_users().await?;
        // Addresses that are taken, as the database compares them.
        let mut taken: HashMap<String, String> = HashMap::new();
        loop {
            let page = self.source.users(IMPORT_ROWS_PER_BATCH).await?;
            if page.is_empty() {
                return Ok(());
            }
            let emails: Vec<String> = page.iter().map(|user| user.email.clone()).collect();
            let addresses = target::addresses(&mut self.connection, &emails).await?;
            let ids: Vec<String> = page.iter().map(|user| user.user_id.clone()).collect();
            let there = target::users_there(&mut self.connection, &ids).await?;
            let mut batch = Vec::new();
            for (user, address) in page.into_iter().zip(addresses) {
                self.report.read(Kind::User);
                let id = user.user_id.clone();
                if there.contains(&id) {
                    taken.insert(address.folded, id.clone());
                    self.users.insert(id);
                    self.report.already(Kind::User);
                    continue;
                }
                let (user, changes) = match convert::user(user, OffsetDateTime::now_utc()) {
                    Ok(converted) => converted,
                    Err(reason) => {
                        self.report.left_out(Kind::User, &id, reason)?;
                        continue;
                    }
                };
                if address.owner.is_some() || taken.contains_key(&address.folded) {
                    self.report.left_out(Kind::User, &id, Reason::EmailTaken)?;
                    continue;
                }
                taken.insert(address.folded, id.clone());
                for change in changes {
                    self.report.changed(Kind::User, &id, change)?;
                }
                self.users.insert(id);
                batch.push(user);
            }
            if !self.dry_run && !batch.is_empty() {
                let written = target::insert_users(&mut self.connection, &batch).await;
                all_written(written, batch.len())?;
            }
            self.report.imported(Kind::User, batch.len());
        }
    }

    async fn friendships(&mut self) -> anyhow::Result<()> {
        let total = self.source.count("friendship_table").await?;
        self.report.begin_kind(Kind::Friendship, total);
        self.source.begin_friendships().await?;
        let now = OffsetDateTime::now_utc();
        let mut friends: HashMap<String, usize> = HashMap::new();
        let mut rows = Vec::new();
        loop {
            let page = self.source.friendships(IMPORT_ROWS_PER_BATCH).await?;
            let last = page.is_empty();
            rows.extend(page);
            // Both rows of a pair are side by side. The second row of the last pair may be on the next page.
            let split = if last { rows.len() } else { convert::whole_pairs(&rows) };
            let pairs = convert::pairs(rows.drain(..split).collect());
            let keys: Vec<(String, String)> = pairs.iter().map(Pair::key).collect();
            let there = target::pairs_there(&mut self.connection, &keys).await?;
            let mut batch = Vec::new();
            for (pair, key) in pairs.into_iter().zip(keys) {
                (0..pair.rows).for_each(|_| self.report.read(Kind::Friendship));
                let id = format!("{} {}", key.0, key.1);
                let reason = match (key.0 == key.1, self.users.contains(&key.0) && self.users.contains(&key.1)) {
                    (true, _) => Some(Reason::WithThemselves),
                    (false, false) => Some(Reason::UserLeftOut),
                    (false, true) => None,
                };
                if let Some(reason) = reason {
                    for _ in 0..pair.rows {
                        self.report.left_out(Kind::Friendship, &id, reason)?;
                    }
                    continue;
                }
                if pair.rows > 1 {
                    self.report.merged(Kind::Friendship, &id, Reason::BothDirections)?;
                }
                if pair.accepted_at.is_some() {
                    for user in [&key.0, &key.1] {
                        *friends.entry(user.clone()).or_default() += 1;
                    }
                }
                if there.contains(&key) {
                    self.report.already(Kind::Friendship)
                } else {
                    batch.push(pair.friendship(now))
                }
            }
            if !self.dry_run && !batch.is_empty() {
                let written = target::insert_friendships(&mut self.connection, &batch).await;
                all_written(written, batch.len())?;
            }
            self.report.imported(Kind::Friendship, batch.len());
            if last {
                break;
            }
        }
        let mut crowded: Vec<String> =
            friends.into_iter().filter(|(_, count)| *count > FRIENDS_MAX).map(|(user, _)| user).collect();
        crowded.sort();
        for user in crowded {
            self.report.changed(Kind::User, &user, Reason::ManyFriends.of("friends"))?;
        }
        Ok(())
    }

    async fn shares(&mut self) -> anyhow::Result<()> {
        let total = self.source.count("share_notification_table").await?;
        self.report.begin_kind(Kind::Share, total);
        self.source.begin_shares().await?;
        loop {
            let page = self.source.shares(IMPORT_ROWS_PER_BATCH).await?;
            if page.is_empty() {
                break;
            }
            let mut seen = self.source.seen(&page).await?;
            let ids: Vec<_> = page.iter().filter_map(convert::share_id).collect();
            let there = target::shares_there(&mut self.connection, &ids).await?;
            let (mut batch, mut recipients) = (Vec::new(), 0);
            for share in page {
                self.report.read(Kind::Share);
                let seen = seen.remove(&share.event_id).unwrap_or_default();
                seen.iter().for_each(|_| self.report.read(Kind::Recipient));
                let id = share.event_id.to_string();
                let (share, left_out, changes) = match convert::share(share, &seen, &self.users) {
                    Ok(converted) => converted,
                    Err(reason) => {
                        self.report.left_out(Kind::Share, &id, reason)?;
                        for row in &seen {
                            self.report.left_out(Kind::Recipient, &format!("{id} {}", row.user_id), reason)?;
                        }
                        continue;
                    }
                };
                for (user_id, reason) in left_out {
                    self.report.left_out(Kind::Recipient, &format!("{id} {user_id}"), reason)?;
                }
                for change in changes {
                    self.report.changed(Kind::Share, &id, change)?;
                }
                if there.contains(&share.event_id) {
                    self.report.already(Kind::Share);
                    (0..share.recipients_read).for_each(|_| self.report.already(Kind::Recipient));
                } else {
                    recipients += share.recipients_read;
                    batch.push(share);
                }
            }
            if !self.dry_run && !batch.is_empty() {
                let written = target::insert_shares(&mut self.connection, &batch).await;
                all_written(written, batch.len())?;
            }
            self.report.imported(Kind::Share, batch.len());
            self.report.imported(Kind::Recipient, recipients);
        }
        for row in self.source.seen_of_no_share().await? {
            self.report.read(Kind::Recipient);
            let id = format!("{} {}", row.event_id, row.user_id);
            self.report.left_out(Kind::Recipient, &id, Reason::NoShare)?;
        }
        Ok(())
    }
}

fn all_written(written: sqlx::Result<u64>, rows: usize) -> anyhow::Result<()> {
    let written = written.context("a batch could not be written; run the import again to go on")?;
    ensure!(written == rows as u64, "somebody else writes to this database: stop them, and run the import again");
    Ok(())
}
