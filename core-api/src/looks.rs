//! A user's looks: name and picture, as others' lists show them. The edge and clients keep copies, so the user's own devices
//! and all friends are told of a change, in the transaction of the change.
//!
//! Deliberately absent: what a name may be (`routes::users`), and where pictures are (`image_store`).

use shared::{
    api::UserInfo,
    ids::UserId,
    internal::Change,
    limits::{LOOKS_CHANGES_PER_HOUR_MAX, MS_PER_HOUR},
};
use sqlx::{PgConnection, Postgres, Transaction};

use crate::{
    App,
    clock::now,
    error::{Error, Result},
    outbox,
    routes::{
        account::{ATTEMPTS, lock_with_friends},
        users::NOT_REGISTERED,
    },
    user_rows::StoredPolicy,
};

/// What others are shown of a user in lists of presences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looks {
    pub first_name: String,
    pub last_name: String,
    pub profile_image_extension: Option<String>,
}

/// What an account holds that its owner may change.
pub struct Account {
    pub looks: Looks,
    pub description: String,
    pub gender: Option<String>,
    pub school: Option<String>,
    pub work: Option<String>,
    pub location: Option<String>,
    pub policy: StoredPolicy,
    /// When its looks changed lately, in milliseconds since 1970, the oldest first.
    changed_ms: Vec<i64>,
}

impl Account {
    /// Reads and locks an account: nobody else changes it until the transaction ends.
    async fn lock(connection: &mut PgConnection, me: &UserId) -> Result<Self> {
        let row = sqlx::query!(
            "select first_name, last_name, profile_image_extension, description, gender, school, work, location,
                share_mode, domain_allow_array, domain_deny_array, looks_changed_ms
            from users where user_id = $1 for no key update",
            me.as_str()
        )
        .fetch_optional(connection)
        .await?
        .ok_or(NOT_REGISTERED)?;
        Ok(Self {
            looks: Looks {
                first_name: row.first_name,
                last_name: row.last_name,
                profile_image_extension: row.profile_image_extension,
            },
            description: row.description,
            gender: row.gender,
            school: row.school,
            work: row.work,
            location: row.location,
            policy: StoredPolicy {
                share_mode: row.share_mode,
                domain_allow_array: row.domain_allow_array,
                domain_deny_array: row.domain_deny_array,
            },
            changed_ms: row.looks_changed_ms,
        })
    }
}

/// An account that is locked for a change. If its looks change, all its friends are locked too.
pub struct Locked {
    pub transaction: Transaction<'static, Postgres>,
    pub account: Account,
    /// `None`: its looks stay as they are.
    news: Option<News>,
}

struct News {
    looks: Looks,
    friends: Vec<String>,
    changed_ms: Vec<i64>,
}

/// Locks the account. If its looks change, also locks the accounts of all its friends, smaller ids first as every change
/// does. `after` gives its looks after the change.
///
/// # Errors
///
/// 404 when there is no such account, 429 when its looks changed too often within an hour, 503 when its friends change
/// faster than they can be locked, and the errors of `after`.
pub async fn lock(app: &App, me: &UserId, after: impl Fn(&Account) -> Result<Looks>) -> Result<Locked> {
    let mut with_friends = false;
    for _ in 0..=ATTEMPTS {
        let mut transaction = app.pool.begin().await?;
        let friends = if with_friends { lock_with_friends(&mut transaction, me).await? } else { None };
        if with_friends && friends.is_none() {
            continue;
        }
        let account = Account::lock(&mut transaction, me).await?;
        let looks = after(&account)?;
        if looks == account.looks {
            return Ok(Locked { transaction, account, news: None });
        }
        // Friends with smaller ids must be locked before the account itself: start over and lock all in order.
        let Some(friends) = friends else {
            with_friends = true;
            continue;
        };
        let changed_ms = with_one_more(&account.changed_ms)?;
        return Ok(Locked { transaction, account, news: Some(News { looks, friends, changed_ms }) });
    }
    Err(Error::Unavailable("the friends of an account changed as fast as it could be locked".to_owned()))
}

impl Locked {
    /// Tells the account's own devices and all its friends about the new looks, if there are any. All their social versions
    /// grow.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn tell(&mut self, me: &UserId) -> Result<()> {
        let Some(News { looks, friends: mut recipients, changed_ms }) = self.news.take() else { return Ok(()) };
        sqlx::query!("update users set looks_changed_ms = $2 where user_id = $1", me.as_str(), &changed_ms)
            .execute(&mut *self.transaction)
            .await?;
        recipients.push(me.as_str().to_owned());
        let user = UserInfo {
            user_id: me.clone(),
            first_name: looks.first_name,
            last_name: looks.last_name,
            profile_image_extension: looks.profile_image_extension,
        };
        outbox::tell_all(&mut self.transaction, &recipients, &Change::UserUpdated { user }).await
    }
}

/// Checks whether the account may remove its image now. Removing the image cannot be undone, so this is checked before.
///
/// # Errors
///
/// 404 when there is no such account, and 429 when its looks changed too often within an hour.
pub async fn may_lose_image(app: &App, me: &UserId) -> Result<()> {
    let row =
        sqlx::query!("select profile_image_extension, looks_changed_ms from users where user_id = $1", me.as_str());
    let row = row.fetch_optional(&app.pool).await?.ok_or(NOT_REGISTERED)?;
    if row.profile_image_extension.is_none() { Ok(()) } else { with_one_more(&row.looks_changed_ms).map(drop) }
}

/// The times of the changes within the last hour, and one more for now.
fn with_one_more(changed_ms: &[i64]) -> Result<Vec<i64>> {
    let now_ms = now().unix_ms();
    let mut lately: Vec<i64> = changed_ms.iter().copied().filter(|at| now_ms - at < MS_PER_HOUR).collect();
    if let Some(oldest) = lately.len().checked_sub(LOOKS_CHANGES_PER_HOUR_MAX).and_then(|first| lately.get(first)) {
        let detail = "You have changed your name or picture as often as one can in an hour.";
        let left_ms = u64::try_from(oldest + MS_PER_HOUR - now_ms).unwrap_or_default();
        return Err(Error::TooMany { detail, retry_after_s: left_ms.div_ceil(1_000).max(1) });
    }
    lately.push(now_ms);
    Ok(lately)
}
