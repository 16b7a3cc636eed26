//! Reads and writes this schema for an import. Each batch is one statement. It leaves rows that are there already.

use std::collections::HashSet;

use serde::Serialize;
use sqlx::{PgConnection, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

/// An account to be written.
#[derive(Debug, Clone, Serialize)]
pub struct User {
    pub user_id: String,
    pub email: String,
    pub email_public: bool,
    pub first_name: String,
    pub last_name: String,
    pub description: String,
    /// `YYYY-MM-DD`.
    pub dob: Option<String>,
    pub dob_public: bool,
    pub gender: Option<String>,
    pub gender_public: bool,
    pub school: Option<String>,
    pub school_public: bool,
    pub work: Option<String>,
    pub work_public: bool,
    pub location: Option<String>,
    pub location_public: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    pub profile_image_uploaded_at: Option<OffsetDateTime>,
    pub profile_image_extension: Option<String>,
    pub share_mode: String,
    pub domain_allow_array: Vec<String>,
    pub domain_deny_array: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
}

/// A friendship or a request to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Friendship {
    pub asker: String,
    pub asked: String,
    pub requested_at: OffsetDateTime,
    pub accepted_at: Option<OffsetDateTime>,
}

/// A share to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Share {
    pub event_id: Uuid,
    pub sender_id: String,
    pub sent_at: OffsetDateTime,
    pub url: String,
    pub title: String,
    pub sent_to: Option<String>,
    pub recipients: Vec<Recipient>,
    /// How many of the recipients the predecessor had noted.
    pub recipients_read: usize,
}

/// Somebody who was sent a share.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipient {
    pub user_id: String,
    pub seen_at: Option<OffsetDateTime>,
}

/// Lets one import at a time write. The next one waits until the connection of the one before is gone, because an import
/// that was killed may still have a statement under way.
///
/// # Errors
///
/// When the one before goes on for longer than a statement may take.
pub async fn wait_for_turn(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("select from pg_advisory_lock(hashtext('import'))").execute(connection).await.map(drop)
}

/// An e-mail address in the form in which accounts are told apart by it.
pub struct Address {
    pub folded: String,
    /// The user who has it here already.
    pub owner: Option<String>,
}

/// These addresses, in their order.
///
/// # Errors
///
/// When the database does not answer, here and below.
pub async fn addresses(connection: &mut PgConnection, emails: &[String]) -> sqlx::Result<Vec<Address>> {
    sqlx::query_as!(
        Address,
        r#"select lower(email) as "folded!",
            (select user_id from users u where lower(u.email) = lower(given.email)) as owner
        from unnest($1::text[]) with ordinality as given (email, place) order by place"#,
        emails
    )
    .fetch_all(connection)
    .await
}

/// Which of these users have an account here.
pub async fn users_there(connection: &mut PgConnection, ids: &[String]) -> sqlx::Result<HashSet<String>> {
    let there = sqlx::query_scalar!("select user_id from users where user_id = any($1)", ids);
    Ok(there.fetch_all(connection).await?.into_iter().collect())
}

/// Which of these pairs have a friendship or a request here. Each pair is in the order of its ids.
pub async fn pairs_there(
    connection: &mut PgConnection,
    keys: &[(String, String)],
) -> sqlx::Result<HashSet<(String, String)>> {
    let (ones, others): (Vec<String>, Vec<String>) = keys.iter().cloned().unzip();
    let there = sqlx::query!(
        r#"select one as "one!", other as "other!" from unnest($1::text[], $2::text[]) as pair (one, other)
        where exists (
            select from friendships f
            where least(f.user_id1, f.user_id2) = one collate "C" and greatest(f.user_id1, f.user_id2) = other collate "C"
        )"#,
        &ones,
        &others
    );
    Ok(there.fetch_all(connection).await?.into_iter().map(|row| (row.one, row.other)).collect())
}

/// Which of these shares are here.
pub async fn shares_there(connection: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<HashSet<Uuid>> {
    let there = sqlx::query_scalar!("select event_id from shares where event_id = any($1)", ids);
    Ok(there.fetch_all(connection).await?.into_iter().collect())
}

/// Writes accounts. Returns how many were not there.
pub async fn insert_users(connection: &mut PgConnection, users: &[User]) -> sqlx::Result<u64> {
    let inserted = sqlx::query!(
        r#"insert into users (user_id, email, email_public, first_name, last_name, description, dob, dob_public, gender,
            gender_public, school, school_public, work, work_public, location, location_public,
            profile_image_uploaded_at, profile_image_extension, share_mode, domain_allow_array, domain_deny_array,
            created_at)
        select user_id, email, email_public, first_name, last_name, description, dob, dob_public, gender,
            gender_public, school, school_public, work, work_public, location, location_public,
            profile_image_uploaded_at, profile_image_extension, share_mode, domain_allow_array, domain_deny_array,
            created_at
        from jsonb_to_recordset($1) as u (user_id text, email text, email_public boolean, first_name text, last_name text,
            description text, dob date, dob_public boolean, gender text, gender_public boolean, school text,
            school_public boolean, work text, work_public boolean, location text, location_public boolean,
            profile_image_uploaded_at timestamptz, profile_image_extension text, share_mode text,
            domain_allow_array text[], domain_deny_array text[], created_at timestamptz)
        on conflict do nothing"#,
        Json(users) as _
    );
    Ok(inserted.execute(connection).await?.rows_affected())
}

/// Writes friendships. Returns how many were not there.
pub async fn insert_friendships(connection: &mut PgConnection, friendships: &[Friendship]) -> sqlx::Result<u64> {
    let (mut askers, mut asked, mut requested, mut accepted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for friendship in friendships {
        askers.push(friendship.asker.clone());
        asked.push(friendship.asked.clone());
        requested.push(friendship.requested_at);
        accepted.push(friendship.accepted_at);
    }
    let inserted = sqlx::query!(
        "insert into friendships (user_id1, user_id2, requested_at, accepted_at)
        select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[]) on conflict do nothing",
        &askers,
        &asked,
        &requested,
        &accepted as &[Option<OffsetDateTime>]
    );
    Ok(inserted.execute(connection).await?.rows_affected())
}

/// Writes shares together with their recipients. Returns how many shares were not there.
pub async fn insert_shares(connection: &mut PgConnection, shares: &[Share]) -> sqlx::Result<u64> {
    let (mut ids, mut senders, mut sent, mut urls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut titles, mut addressees, mut unseen) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_share, mut recipients, mut seen) = (Vec::new(), Vec::new(), Vec::new());
    for share in shares {
        ids.push(share.event_id);
        senders.push(share.sender_id.clone());
        sent.push(share.sent_at);
        urls.push(share.url.clone());
        titles.push(share.title.clone());
        addressees.push(share.sent_to.clone());
        let left = share.recipients.iter().filter(|recipient| recipient.seen_at.is_none()).count();
        unseen.push(i32::try_from(left).unwrap_or(i32::MAX));
        for recipient in &share.recipients {
            of_share.push(share.event_id);
            recipients.push(recipient.user_id.clone());
            seen.push(recipient.seen_at);
        }
    }
    let inserted = sqlx::query_scalar!(
        r#"with inserted as (
            insert into shares (event_id, sender_id, sent_at, url, title, sent_to, not_seen_count)
            select * from unnest($1::uuid[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::integer[])
            on conflict do nothing returning event_id
        ),
        received as (
            insert into share_recipients (event_id, user_id, seen_at)
            select event_id, user_id, seen_at
            from unnest($8::uuid[], $9::text[], $10::timestamptz[]) as recipient (event_id, user_id, seen_at)
            join inserted using (event_id)
        )
        select count(*) as "count!" from inserted"#,
        &ids,
        &senders,
        &sent,
        &urls,
        &titles,
        &addressees as &[Option<String>],
        &unseen,
        &of_share,
        &recipients,
        &seen as &[Option<OffsetDateTime>]
    );
    let inserted = inserted.fetch_one(connection).await?;
    Ok(u64::try_from(inserted).unwrap_or_default())
}
