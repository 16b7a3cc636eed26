//! Rows of the users table, and the shapes of the contract made from them.
//!
//! Deliberately absent: queries, except the one for a whole row, which four calls share.

use std::collections::BTreeSet;

use shared::{
    api::{FriendshipState, UserFriendRequest, UserInfo, UserPrivate, UserPublic, UserSummary},
    ids::UserId,
    page::Domain,
    share_policy::{ShareMode, SharePolicy},
    time::Timestamp,
};
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use crate::error::{Error, Result};

/// What lists show of a user.
pub struct SummaryRow {
    pub user_id: String,
    pub first_name: String,
    pub last_name: String,
    pub description: String,
    pub profile_image_uploaded_at: Option<OffsetDateTime>,
    pub profile_image_extension: Option<String>,
}

/// Takes what lists show of a user out of a row of any query that selects those columns, so that they are mapped here alone.
macro_rules! summary_row {
    ($row:expr) => {
        $crate::user_rows::SummaryRow {
            user_id: $row.user_id,
            first_name: $row.first_name,
            last_name: $row.last_name,
            description: $row.description,
            profile_image_uploaded_at: $row.profile_image_uploaded_at,
            profile_image_extension: $row.profile_image_extension,
        }
    };
}
pub(crate) use summary_row;

impl SummaryRow {
    /// The summary, with the caller's friendship state towards the user where it is known.
    ///
    /// # Errors
    ///
    /// As [`stored_id`].
    pub fn summary(self, friendship_state: Option<FriendshipState>) -> Result<UserSummary> {
        Ok(UserSummary {
            user_id: stored_id(self.user_id)?,
            first_name: self.first_name,
            last_name: self.last_name,
            description: self.description,
            profile_image_uploaded_at: self.profile_image_uploaded_at.map(Timestamp::from),
            profile_image_extension: self.profile_image_extension,
            friendship_state,
            mutual_friend_count: None,
        })
    }

    /// A request for friendship from or to this user.
    ///
    /// # Errors
    ///
    /// As [`stored_id`].
    pub fn request(self, requested_at: OffsetDateTime) -> Result<UserFriendRequest> {
        Ok(UserFriendRequest {
            user_id: stored_id(self.user_id)?,
            first_name: self.first_name,
            last_name: self.last_name,
            description: self.description,
            profile_image_uploaded_at: self.profile_image_uploaded_at.map(Timestamp::from),
            profile_image_extension: self.profile_image_extension,
            requested_at: requested_at.into(),
        })
    }
}

/// What lists show of a user, with the caller's friendship state towards them.
pub struct RelatedRow {
    pub user_id: String,
    pub first_name: String,
    pub last_name: String,
    pub description: String,
    pub profile_image_uploaded_at: Option<OffsetDateTime>,
    pub profile_image_extension: Option<String>,
    /// Null: there is neither a friendship nor a request.
    pub accepted: Option<bool>,
    /// Null where the call does not count.
    pub mutual_friend_count: Option<i64>,
}

impl RelatedRow {
    /// The summary as this caller sees it. The caller's own has no friendship state.
    ///
    /// # Errors
    ///
    /// As [`stored_id`].
    pub fn summary(self, caller: &UserId) -> Result<UserSummary> {
        let other = self.user_id != caller.as_str();
        let summary = summary_row!(self).summary(other.then(|| FriendshipState::of(self.accepted)))?;
        Ok(UserSummary { mutual_friend_count: self.mutual_friend_count, ..summary })
    }
}

/// What presences show of a user.
pub struct InfoRow {
    pub user_id: String,
    pub first_name: String,
    pub last_name: String,
    pub profile_image_extension: Option<String>,
}

impl TryFrom<InfoRow> for UserInfo {
    type Error = Error;

    fn try_from(row: InfoRow) -> Result<Self> {
        Ok(Self {
            user_id: stored_id(row.user_id)?,
            first_name: row.first_name,
            last_name: row.last_name,
            profile_image_extension: row.profile_image_extension,
        })
    }
}

/// An id from the database.
///
/// # Errors
///
/// [`Error::Internal`] for text that is not an id. Then something other than this service has written it.
pub fn stored_id(text: String) -> Result<UserId> {
    UserId::try_from(text).map_err(|_| Error::Internal("a stored user id is not one".to_owned()))
}

/// Share settings as they are stored.
pub struct StoredPolicy {
    pub share_mode: String,
    pub domain_allow_array: Vec<String>,
    pub domain_deny_array: Vec<String>,
}

impl StoredPolicy {
    /// The settings as columns.
    pub fn of(policy: &SharePolicy) -> Self {
        let share_mode = match policy.mode {
            ShareMode::DefaultNone => "default_none",
            ShareMode::DefaultAll => "default_all",
        };
        let texts = |set: &BTreeSet<Domain>| set.iter().map(|domain| domain.as_str().to_owned()).collect();
        Self {
            share_mode: share_mode.to_owned(),
            domain_allow_array: texts(&policy.allow),
            domain_deny_array: texts(&policy.deny),
        }
    }

    /// The settings from columns. The entries are not checked again, because they were accepted once.
    pub fn policy(&self) -> SharePolicy {
        SharePolicy {
            mode: stored_mode(&self.share_mode),
            allow: stored_domains(&self.domain_allow_array),
            deny: stored_domains(&self.domain_deny_array),
        }
    }
}

fn stored_mode(text: &str) -> ShareMode {
    // The database holds the two spellings only.
    if text == "default_all" { ShareMode::DefaultAll } else { ShareMode::DefaultNone }
}

/// In the order in which they are stored, which is that of a set.
fn stored_domains<C: FromIterator<Domain>>(texts: &[String]) -> C {
    texts.iter().map(|text| Domain::stored(text)).collect()
}

/// A whole account.
pub struct UserRow {
    user_id: String,
    first_name: String,
    last_name: String,
    description: String,
    profile_image_uploaded_at: Option<OffsetDateTime>,
    profile_image_extension: Option<String>,
    dob: Option<Date>,
    gender: Option<String>,
    school: Option<String>,
    work: Option<String>,
    location: Option<String>,
    pub email: String,
    email_public: bool,
    dob_public: bool,
    gender_public: bool,
    school_public: bool,
    work_public: bool,
    location_public: bool,
    share_mode: String,
    domain_allow_array: Vec<String>,
    domain_deny_array: Vec<String>,
}

impl UserRow {
    /// Reads an account; `None` when there is none.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn load(connection: &mut PgConnection, user_id: &UserId) -> Result<Option<Self>> {
        let row = sqlx::query_as!(
            Self,
            "select user_id, first_name, last_name, description, profile_image_uploaded_at, profile_image_extension,
                dob, gender, school, work, location, email, email_public, dob_public, gender_public, school_public,
                work_public, location_public, share_mode, domain_allow_array, domain_deny_array
            from users where user_id = $1",
            user_id.as_str()
        );
        Ok(row.fetch_optional(connection).await?)
    }

    /// The account as its owner sees it.
    ///
    /// # Errors
    ///
    /// As [`stored_id`].
    pub fn private(self) -> Result<UserPrivate> {
        let summary = summary_row!(self);
        Ok(UserPrivate {
            public: UserPublic {
                summary: summary.summary(None)?,
                dob: self.dob.map(|date| date.to_string()),
                gender: self.gender,
                school: self.school,
                work: self.work,
                location: self.location,
            },
            email: self.email,
            email_public: self.email_public,
            dob_public: self.dob_public,
            gender_public: self.gender_public,
            school_public: self.school_public,
            work_public: self.work_public,
            location_public: self.location_public,
            share_mode: stored_mode(&self.share_mode),
            domain_allow_array: stored_domains(&self.domain_allow_array),
            domain_deny_array: stored_domains(&self.domain_deny_array),
        })
    }
}
