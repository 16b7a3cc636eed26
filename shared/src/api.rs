//! Types of the REST contract that both servers use, or a server and a client.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ShareId, UserId},
    page::Domain,
    share_policy::ShareMode,
    time::Timestamp,
};

/// How the caller stands to somebody, as the published clients number it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS), ts(type = "0 | 1 | 2"))]
pub enum FriendshipState {
    None,
    /// Asked, either way round, and not answered.
    Pending,
    Accepted,
}

impl FriendshipState {
    /// The state for a stored friend request: whether it was accepted, or `None` if there is none.
    pub fn of(accepted: Option<bool>) -> Self {
        match accepted {
            None => Self::None,
            Some(false) => Self::Pending,
            Some(true) => Self::Accepted,
        }
    }
}

impl From<FriendshipState> for u8 {
    fn from(state: FriendshipState) -> Self {
        match state {
            FriendshipState::None => 0,
            FriendshipState::Pending => 1,
            FriendshipState::Accepted => 2,
        }
    }
}

impl TryFrom<u8> for FriendshipState {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Pending),
            2 => Ok(Self::Accepted),
            _ => Err("a friendship state is 0, 1 or 2"),
        }
    }
}

#[cfg(feature = "openapi")]
mod schema {
    use utoipa::{
        PartialSchema, ToSchema,
        openapi::{ObjectBuilder, RefOr, Schema, Type},
    };

    impl PartialSchema for super::FriendshipState {
        fn schema() -> RefOr<Schema> {
            let number = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([0, 1, 2]));
            let about = "How the caller stands to somebody: 0 not at all, 1 asked (either way round), 2 friends.";
            number.description(Some(about)).examples([2]).into()
        }
    }

    impl ToSchema for super::FriendshipState {}
}

/// Enough of a user to draw them in a list of presences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct UserInfo {
    pub user_id: UserId,
    pub first_name: String,
    pub last_name: String,
    /// png, jpg, jpeg, webp or gif; null without an image.
    pub profile_image_extension: Option<String>,
}

/// A user as lists show them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct UserSummary {
    pub user_id: UserId,
    /// 1 to 100 characters.
    #[cfg_attr(feature = "openapi", schema(examples("Alice")))]
    pub first_name: String,
    /// At most 100 characters.
    #[cfg_attr(feature = "openapi", schema(examples("Liddell")))]
    pub last_name: String,
    /// At most 1,000 characters.
    #[cfg_attr(feature = "openapi", schema(examples("Curious.")))]
    pub description: String,
    /// When the profile image was last announced; null without one.
    pub profile_image_uploaded_at: Option<Timestamp>,
    /// png, jpg, jpeg, webp or gif; null without an image.
    #[cfg_attr(feature = "openapi", schema(examples("png")))]
    pub profile_image_extension: Option<String>,
    /// The caller's standing towards this user; null where the call does not ask.
    pub friendship_state: Option<FriendshipState>,
    /// Friends that the caller and this user share; null where the call does not ask.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub mutual_friend_count: Option<i64>,
}

impl From<UserSummary> for UserInfo {
    fn from(user: UserSummary) -> Self {
        Self {
            user_id: user.user_id,
            first_name: user.first_name,
            last_name: user.last_name,
            profile_image_extension: user.profile_image_extension,
        }
    }
}

/// Somebody who asks to be the caller's friend, or whom the caller has asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct UserFriendRequest {
    pub user_id: UserId,
    /// 1 to 100 characters.
    #[cfg_attr(feature = "openapi", schema(examples("Alice")))]
    pub first_name: String,
    /// At most 100 characters.
    #[cfg_attr(feature = "openapi", schema(examples("Liddell")))]
    pub last_name: String,
    /// At most 1,000 characters.
    #[cfg_attr(feature = "openapi", schema(examples("Curious.")))]
    pub description: String,
    /// When the profile image was last announced; null without one.
    pub profile_image_uploaded_at: Option<Timestamp>,
    /// png, jpg, jpeg, webp or gif; null without an image.
    #[cfg_attr(feature = "openapi", schema(examples("png")))]
    pub profile_image_extension: Option<String>,
    pub requested_at: Timestamp,
}

/// A user's profile as others see it: what its owner did not make public is null. The e-mail address is
/// never in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct UserPublic {
    #[serde(flatten)]
    pub summary: UserSummary,
    /// Date of birth, `YYYY-MM-DD`.
    #[cfg_attr(feature = "openapi", schema(format = Date, examples("1990-02-28")))]
    pub dob: Option<String>,
    /// At most 1,000 characters, as the three below.
    pub gender: Option<String>,
    pub school: Option<String>,
    pub work: Option<String>,
    pub location: Option<String>,
}

/// A user's own account: everything, unmasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct UserPrivate {
    #[serde(flatten)]
    pub public: UserPublic,
    /// As the identity provider has it, at most 254 characters.
    #[cfg_attr(feature = "openapi", schema(examples("alice@example.com")))]
    pub email: String,
    /// Whether a search for a part of the address finds the user; one for the whole of it always does.
    pub email_public: bool,
    pub dob_public: bool,
    pub gender_public: bool,
    pub school_public: bool,
    pub work_public: bool,
    pub location_public: bool,
    pub share_mode: ShareMode,
    /// At most 1,000 sites, as in the other list. Only the list that the mode asks for has an effect.
    pub domain_allow_array: Vec<Domain>,
    pub domain_deny_array: Vec<Domain>,
}

/// A friendship or the request for one: one per pair of users, whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Friendship {
    /// Who asked.
    pub user_id1: UserId,
    pub user_id2: UserId,
    pub requested_at: Timestamp,
    /// Null while pending.
    pub accepted_at: Option<Timestamp>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Count {
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub count: i64,
    /// The same number, where an old client looks for it.
    pub count_1: i64,
}

impl Count {
    /// The answer for this number.
    pub fn of(count: i64) -> Self {
        Self { count, count_1: count }
    }
}

/// A page that somebody sent to the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ShareNotification {
    pub event_id: ShareId,
    /// Who sent it, as are the names and the image below.
    pub user_id: UserId,
    pub sent_at: Timestamp,
    /// http or https, at most 2,048 characters.
    #[cfg_attr(feature = "openapi", schema(examples("https://example.com/article")))]
    pub url: String,
    /// At most 300 characters.
    #[cfg_attr(feature = "openapi", schema(examples("An article")))]
    pub title: String,
    /// When the caller first marked it as read; null before.
    pub seen_at: Option<Timestamp>,
    pub first_name: String,
    pub last_name: String,
    pub profile_image_extension: Option<String>,
}

/// A page that the caller sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct ShareNotificationSent {
    pub event_id: ShareId,
    pub sent_at: Timestamp,
    /// http or https, at most 2,048 characters.
    #[cfg_attr(feature = "openapi", schema(examples("https://example.com/article")))]
    pub url: String,
    /// At most 300 characters.
    #[cfg_attr(feature = "openapi", schema(examples("An article")))]
    pub title: String,
    /// The addressee when it went to one friend; null when it went to all.
    pub sent_to: Option<UserId>,
    /// Recipients who have not read it.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub not_seen_count: i64,
    /// All recipients, as far as the caller can see them.
    #[cfg_attr(feature = "openapi", schema(minimum = 0))]
    pub recipient_count: i64,
    /// The addressee's, as is the rest; null when there is none.
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub profile_image_extension: Option<String>,
}

/// The answer of calls that change something and have nothing else to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Success {
    /// Always true: what did not succeed is a problem.
    pub success: bool,
}

/// RFC 9457 problem details: the body of every error, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is (RFC 9457, section 4.2.1).
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(examples("about:blank")))]
    pub kind: String,
    /// The status in words, as HTTP has them.
    #[cfg_attr(feature = "openapi", schema(examples("Unprocessable Entity")))]
    pub title: String,
    /// The HTTP status, once more.
    #[cfg_attr(feature = "openapi", schema(examples(422)))]
    pub status: u16,
    /// A plain sentence for whoever made the request. Never a token, an address, a URL or SQL.
    #[cfg_attr(feature = "openapi", schema(examples("Some of the values are not acceptable.")))]
    pub detail: String,
    /// What is wrong with which field, when input was invalid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "typescript", ts(as = "Option<Vec<FieldError>>", optional))]
    pub errors: Vec<FieldError>,
}

/// One thing wrong with one field of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct FieldError {
    /// The field's path, such as `domain_allow_array[3]`.
    #[cfg_attr(feature = "openapi", schema(examples("first_name")))]
    pub field: String,
    /// What is wrong with it, to be read after its name.
    #[cfg_attr(feature = "openapi", schema(examples("is empty")))]
    pub message: String,
}

/// The media type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

impl Problem {
    /// A problem with this status. `title` is the status in words.
    pub fn new(status: u16, title: &str, detail: impl Into<String>) -> Self {
        let kind = "about:blank".to_owned();
        Self { kind, title: title.to_owned(), status, detail: detail.into(), errors: Vec::new() }
    }
}
