//! Reads the predecessor's tables, all as they were at one moment.
//!
//! Deliberately absent: what becomes of a row (`convert`), and writing anything.

use std::collections::HashMap;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, FromRow, PgConnection};
use uuid::Uuid;

use crate::database;

/// A row of `user_table`. Times are milliseconds since 1970.
#[derive(Debug, Clone, FromRow)]
pub struct SourceUser {
    pub user_id: String,
    pub email: String,
    pub email_public: bool,
    pub first_name: String,
    pub last_name: String,
    pub dob: Option<String>,
    pub dob_public: bool,
    pub created_ms: Option<i64>,
    pub share_mode: Option<String>,
    pub domain_allow_array: Vec<Option<String>>,
    pub domain_deny_array: Vec<Option<String>>,
    pub gender: String,
    pub gender_public: bool,
    pub school: String,
    pub school_public: bool,
    pub work: String,
    pub work_public: bool,
    pub location: String,
    pub location_public: bool,
    pub description: String,
    pub profile_image_uploaded_ms: Option<i64>,
    pub profile_image_extension: Option<String>,
}

/// A row of `friendship_table`.
#[derive(Debug, Clone, FromRow)]
pub struct SourceFriendship {
    /// Who asked.
    pub user_id1: String,
    pub user_id2: String,
    pub requested_ms: Option<i64>,
    pub accepted_ms: Option<i64>,
    pub accepted: bool,
}

/// A row of `share_notification_table`.
#[derive(Debug, Clone, FromRow)]
pub struct SourceShare {
    pub event_id: Uuid,
    pub user_id: String,
    pub sent_ms: Option<i64>,
    pub url: String,
    pub title: String,
    /// None: all friends.
    pub sent_to: Option<String>,
}

/// A row of `share_notification_seen_table`: somebody who was sent a share.
#[derive(Debug, Clone, FromRow)]
pub struct SourceSeen {
    pub event_id: Uuid,
    pub user_id: String,
    pub seen_ms: Option<i64>,
    pub seen: bool,
}

/// A transaction on the predecessor's database, which sees nothing of what is written meanwhile.
pub struct Source(PgConnection);

impl Source {
    /// # Errors
    ///
    /// When the URL is not one of PostgreSQL, or the database cannot be reached.
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        let options = database::connect_options(url).ok().context("--from is no PostgreSQL URL")?;
        let mut connection = options.connect().await.context("cannot connect to the database that --from names")?;
        connection.execute("begin transaction isolation level repeatable read read only").await?;
        // Sorting a large table takes long.
        connection.execute("set local statement_timeout = 0").await?;
        connection.execute("set local idle_in_transaction_session_timeout = 0").await?;
        Ok(Self(connection))
    }

    /// Ends the transaction.
    pub async fn close(self) -> anyhow::Result<()> {
        Ok(self.0.close().await?)
    }

    /// How many rows a table has.
    pub async fn count(&mut self, table: &'static str) -> anyhow::Result<i64> {
        let sql = AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(sql).fetch_one(&mut self.0).await.with_context(|| format!("cannot read {table}"))
    }

    /// Begins to read the users. The oldest account comes first.
    pub async fn begin_users(&mut self) -> anyhow::Result<()> {
        let public = |name| format!("coalesce({name}, '') as {name}, coalesce({name}_public, false) as {name}_public");
        let texts = ["email", "gender", "school", "work", "location"].map(public).join(", ");
        self.begin(format!(
            "select user_id, {texts}, coalesce(first_name, '') as first_name, coalesce(last_name, '') as last_name,
                dob::text as dob, coalesce(dob_public, false) as dob_public, {created} as created_ms, share_mode,
                coalesce(domain_allow_array, '{{}}') as domain_allow_array,
                coalesce(domain_deny_array, '{{}}') as domain_deny_array, coalesce(description, '') as description,
                {uploaded} as profile_image_uploaded_ms, profile_image_extension
            from user_table order by {created} nulls last, user_id collate \"C\"",
            created = ms("created_at"),
            uploaded = ms("profile_image_uploaded_at"),
        ))
        .await
    }

    /// The next users, at most `rows`. An empty list: there are no more.
    pub async fn users(&mut self, rows: usize) -> anyhow::Result<Vec<SourceUser>> {
        self.fetch(rows).await
    }

    /// Begins to read the friendships. Both rows of a pair come one after the other, in either order.
    pub async fn begin_friendships(&mut self) -> anyhow::Result<()> {
        self.begin(format!(
            "select user_id1, user_id2, {requested} as requested_ms, {accepted} as accepted_ms,
                accepted_at is not null as accepted
            from friendship_table
            order by least(user_id1 collate \"C\", user_id2), greatest(user_id1 collate \"C\", user_id2),
                requested_at, user_id1 collate \"C\"",
            requested = ms("requested_at"),
            accepted = ms("accepted_at"),
        ))
        .await
    }

    /// As [`Self::users`].
    pub async fn friendships(&mut self, rows: usize) -> anyhow::Result<Vec<SourceFriendship>> {
        self.fetch(rows).await
    }

    /// Begins to read the shares. The oldest comes first.
    pub async fn begin_shares(&mut self) -> anyhow::Result<()> {
        self.begin(format!(
            "select event_id, user_id, {sent} as sent_ms, coalesce(url, '') as url, coalesce(title, '') as title, sent_to
            from share_notification_table order by sent_at, event_id",
            sent = ms("sent_at"),
        ))
        .await
    }

    /// As [`Self::users`].
    pub async fn shares(&mut self, rows: usize) -> anyhow::Result<Vec<SourceShare>> {
        self.fetch(rows).await
    }

    /// The recipients of these shares, by share.
    pub async fn seen(&mut self, shares: &[SourceShare]) -> anyhow::Result<HashMap<Uuid, Vec<SourceSeen>>> {
        let ids: Vec<Uuid> = shares.iter().map(|share| share.event_id).collect();
        let sql = format!("{} where event_id = any($1) order by event_id, user_id collate \"C\"", select_seen());
        let rows: Vec<SourceSeen> = sqlx::query_as(AssertSqlSafe(sql)).bind(ids).fetch_all(&mut self.0).await?;
        let mut by_share: HashMap<Uuid, Vec<SourceSeen>> = HashMap::new();
        for row in rows {
            by_share.entry(row.event_id).or_default().push(row);
        }
        Ok(by_share)
    }

    /// The recipients whose share does not exist.
    pub async fn seen_of_no_share(&mut self) -> anyhow::Result<Vec<SourceSeen>> {
        let sql = format!(
            "{} seen where not exists (select from share_notification_table share where share.event_id = seen.event_id)
            order by event_id, user_id collate \"C\"",
            select_seen()
        );
        Ok(sqlx::query_as(AssertSqlSafe(sql)).fetch_all(&mut self.0).await?)
    }

    async fn begin(&mut self, select: String) -> anyhow::Result<()> {
        // The statement is made only of texts in this file.
        self.0.execute(AssertSqlSafe("close all".to_owned())).await?;
        self.0.execute(AssertSqlSafe(format!("declare rows no scroll cursor for {select}"))).await?;
        Ok(())
    }

    async fn fetch<T>(&mut self, rows: usize) -> anyhow::Result<Vec<T>>
    where
        T: for<'r> FromRow<'r, sqlx::postgres::PgRow> + Send + Unpin,
    {
        let sql = AssertSqlSafe(format!("fetch forward {rows} from rows"));
        Ok(sqlx::query_as(sql).persistent(false).fetch_all(&mut self.0).await?)
    }
}

/// SQL for a column's time in milliseconds. The time has no zone and is UTC. `infinity` becomes null.
fn ms(column: &str) -> String {
    format!("case when isfinite({column}) then floor(extract(epoch from {column}) * 1000)::bigint end")
}

fn select_seen() -> String {
    format!(
        "select event_id, user_id, {} as seen_ms, seen_at is not null as seen from share_notification_seen_table",
        ms("seen_at")
    )
}
