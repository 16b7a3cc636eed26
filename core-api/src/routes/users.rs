//! Accounts and profiles: `/users/…`.

use std::{collections::BTreeSet, str::FromStr, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use serde::{Deserialize, Deserializer};
use shared::{
    api::UserPrivate,
    ids::UserId,
    internal::Change,
    limits::{DOMAIN_LIST_LEN_MAX, EMAIL_CHARS_MAX, NAME_CHARS_MAX, PROFILE_TEXT_CHARS_MAX},
    page::Domain,
    share_policy::{ShareMode, SharePolicy},
};
use sqlx::{Postgres, Transaction};
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};
use utoipa::ToSchema;

use crate::{
    App,
    auth::Caller,
    default_domains,
    error::{Error, Result},
    extract::{Body, Path, bounded_text},
    outbox,
    user_rows::{StoredPolicy, UserRow},
};

/// 404 by which clients know that they have to register.
pub const NOT_REGISTERED: Error = Error::NotFound("You are not registered yet.");

/// The body of a registration. Unlike the other texts, names are trimmed.
#[derive(Deserialize, Validate, ToSchema)]
pub struct NewUser {
    /// 1 to 100 characters besides spaces around them.
    #[garde(custom(filled_name))]
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00]*[^\s\x00][^\x00]*$", examples("Alice"))]
    first_name: String,
    /// At most 100 characters besides spaces around them; may be empty.
    #[garde(custom(name))]
    #[schema(max_length = 100, pattern = r"^[^\x00]*$", examples("Liddell"))]
    last_name: String,
    /// Date of birth, `YYYY-MM-DD`; empty means none.
    #[garde(custom(date))]
    #[schema(pattern = r"^(\d{4}-\d{2}-\d{2})?$", examples("1990-02-28"))]
    dob: Option<String>,
    /// At most 1,000 characters.
    #[garde(custom(profile_text))]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    gender: Option<String>,
}

/// Registers the caller.
///
/// The id and the e-mail address are those of the token. The new account shows friends the sites on its allow list
/// only, which starts with some well-known ones.
#[utoipa::path(
    post,
    path = "/users/me",
    tag = "users",
    request_body = NewUser,
    responses(
        (status = 201, description = "The new account.", body = UserPrivate),
        (status = 409, description = "The caller is registered, or the e-mail address belongs to another account.")
    )
)]
pub async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<UserPrivate>)> {
    let email = caller.email.as_deref().filter(|email| !email.is_empty());
    let email = email.filter(|email| bounded_text(email, EMAIL_CHARS_MAX).is_ok());
    let email = email.ok_or_else(|| Error::invalid_field("email", "the token carries no usable e-mail address"))?;
    let policy = StoredPolicy::of(&default_domains::policy()?);
    let mut transaction = app.pool.begin().await?;
    sqlx::query!(
        "insert into users (user_id, email, first_name, last_name, dob, gender,
            share_mode, domain_allow_array, domain_deny_array)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        caller.user_id.as_str(),
        email,
        new.first_name.trim(),
        new.last_name.trim(),
        new.dob.as_deref().and_then(parse_date),
        new.gender,
        policy.share_mode,
        &policy.domain_allow_array,
        &policy.domain_deny_array
    )
    .execute(&mut *transaction)
    .await?;
    let user = UserRow::load(&mut transaction, &caller.user_id).await?.ok_or(NOT_REGISTERED)?;
    transaction.commit().await?;
    Ok((StatusCode::CREATED, Json(user.private()?)))
}

/// The caller's own account.
#[utoipa::path(
    get,
    path = "/users/me",
    tag = "users",
    responses(
        (status = 200, description = "All of it, unmasked.", body = UserPrivate),
        (status = 404, description = "The caller is not registered yet.")
    )
)]
pub async fn me(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<UserPrivate>> {
    let mut connection = app.pool.acquire().await?;
    let user = UserRow::load(&mut connection, &caller.user_id).await?.ok_or(NOT_REGISTERED)?;
    Ok(Json(user.private()?))
}

/// The body of an update: everything is replaced, except that an absent `dob` or `dob_public` stays as it is,
/// because published clients know neither.
#[derive(Deserialize, Validate, ToSchema)]
pub struct UserUpdate {
    /// 1 to 100 characters besides spaces around them.
    #[garde(custom(filled_name))]
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00]*[^\s\x00][^\x00]*$", examples("Alice"))]
    first_name: String,
    /// At most 100 characters besides spaces around them; may be empty.
    #[garde(custom(name))]
    #[schema(max_length = 100, pattern = r"^[^\x00]*$", examples("Liddell"))]
    last_name: String,
    /// At most 1,000 characters.
    #[garde(custom(profile_text))]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    description: Option<String>,
    #[garde(skip)]
    share_mode: ShareMode,
    /// At most 1,000 host names of public sites. Each is kept as its registrable domain.
    #[garde(length(max = DOMAIN_LIST_LEN_MAX), inner(custom(domain)))]
    #[schema(value_type = Vec<Domain>, max_items = 1000)]
    domain_allow_array: Vec<String>,
    /// At most 1,000 host names of public sites. Each is kept as its registrable domain.
    #[garde(length(max = DOMAIN_LIST_LEN_MAX), inner(custom(domain)))]
    #[schema(value_type = Vec<Domain>, max_items = 1000)]
    domain_deny_array: Vec<String>,
    /// At most 1,000 characters.
    #[garde(custom(profile_text))]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    gender: Option<String>,
    /// At most 1,000 characters.
    #[garde(custom(profile_text))]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    school: Option<String>,
    /// At most 1,000 characters.
    #[garde(custom(profile_text))]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    work: Option<String>,
    /// At most 1,000 characters.
    #[garde(custom(profile_text))]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    location: Option<String>,
    #[garde(skip)]
    email_public: bool,
    #[garde(skip)]
    gender_public: bool,
    #[garde(skip)]
    school_public: bool,
    #[garde(skip)]
    work_public: bool,
    #[garde(skip)]
    location_public: bool,
    /// Date of birth, `YYYY-MM-DD`. Left out it stays as it is; null or empty removes it.
    // Outer `None`: not sent. Inner `None`: to be forgotten.
    #[serde(default, deserialize_with = "present")]
    #[garde(inner(custom(date)))]
    #[schema(value_type = Option<String>, pattern = r"^(\d{4}-\d{2}-\d{2})?$", examples("1990-02-28"))]
    dob: Option<Option<String>>,
    /// Left out it stays as it is.
    #[garde(skip)]
    dob_public: Option<bool>,
}

/// Replaces the caller's profile and share settings.
#[utoipa::path(
    put,
    path = "/users/me",
    tag = "users",
    request_body = UserUpdate,
    responses((status = 200, description = "The account after the change.", body = UserPrivate))
)]
pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(update): Body<UserUpdate>,
) -> Result<Json<UserPrivate>> {
    let policy = SharePolicy {
        mode: update.share_mode,
        allow: parse_domains(&update.domain_allow_array),
        deny: parse_domains(&update.domain_deny_array),
    };
    let mut transaction = app.pool.begin().await?;
    let before = lock_policy(&mut transaction, &caller.user_id).await?;
    sqlx::query!(
        "update users set first_name = $2, last_name = $3, description = $4, gender = $5, school = $6, work = $7,
            location = $8, email_public = $9, gender_public = $10, school_public = $11, work_public = $12,
            location_public = $13, dob = case when $14 then $15 else dob end,
            dob_public = coalesce($16, dob_public)
        where user_id = $1",
        caller.user_id.as_str(),
        update.first_name.trim(),
        update.last_name.trim(),
        update.description.unwrap_or_default(),
        update.gender,
        update.school,
        update.work,
        update.location,
        update.email_public,
        update.gender_public,
        update.school_public,
        update.work_public,
        update.location_public,
        update.dob.is_some(),
        update.dob.flatten().as_deref().and_then(parse_date) as Option<Date>,
        update.dob_public as Option<bool>,
    )
    .execute(&mut *transaction)
    .await?;
    save_policy(&app, transaction, &caller.user_id, &before, policy).await
}

/// Which of the two lists a path means.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum DomainList {
    Allow,
    Deny,
}

impl FromStr for DomainList {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            _ => Err("is neither allow nor deny"),
        }
    }
}

/// The body that replaces a list: at most 1,000 host names of public sites.
#[derive(Deserialize, Validate, ToSchema)]
#[serde(transparent)]
#[garde(transparent)]
#[schema(value_type = Vec<Domain>, max_items = 1000)]
pub struct DomainEntries(#[garde(length(max = DOMAIN_LIST_LEN_MAX), inner(custom(domain)))] Vec<String>);

/// Replaces one of the caller's lists of sites.
///
/// Each entry is kept as its registrable domain: `docs.example.com` becomes `example.com`.
#[utoipa::path(
    put,
    path = "/users/me/domain_array/{list}",
    tag = "users",
    params(("list" = DomainList, Path, description = "Which of the two lists.")),
    request_body = DomainEntries,
    responses((status = 200, description = "The account after the change.", body = UserPrivate))
)]
pub async fn update_domains(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(list): Path<DomainList>,
    Body(DomainEntries(entries)): Body<DomainEntries>,
) -> Result<Json<UserPrivate>> {
    let mut transaction = app.pool.begin().await?;
    let before = lock_policy(&mut transaction, &caller.user_id).await?;
    let mut policy = before.clone();
    match list {
        DomainList::Allow => policy.allow = parse_domains(&entries),
        DomainList::Deny => policy.deny = parse_domains(&entries),
    }
    save_policy(&app, transaction, &caller.user_id, &before, policy).await
}

/// The caller's share settings, which nobody changes until the transaction ends.
async fn lock_policy(transaction: &mut Transaction<'_, Postgres>, user_id: &UserId) -> Result<SharePolicy> {
    let stored = sqlx::query_as!(
        StoredPolicy,
        "select share_mode, domain_allow_array, domain_deny_array from users where user_id = $1
        for no key update",
        user_id.as_str()
    );
    stored.fetch_optional(&mut **transaction).await?.map(|stored| stored.policy()).ok_or(NOT_REGISTERED)
}

/// Ends an update: when the share settings differ from before, the edge and the user's other devices hear of it.
async fn save_policy(
    app: &App,
    mut transaction: Transaction<'_, Postgres>,
    user_id: &UserId,
    before: &SharePolicy,
    policy: SharePolicy,
) -> Result<Json<UserPrivate>> {
    let stored = StoredPolicy::of(&policy);
    sqlx::query!(
        "update users set share_mode = $2, domain_allow_array = $3, domain_deny_array = $4 where user_id = $1",
        user_id.as_str(),
        stored.share_mode,
        &stored.domain_allow_array,
        &stored.domain_deny_array
    )
    .execute(&mut *transaction)
    .await?;
    let user = UserRow::load(&mut transaction, user_id).await?.ok_or(NOT_REGISTERED)?;
    let mut events = Vec::new();
    if policy != *before {
        for (recipient, bumped) in outbox::bump(&mut transaction, &[user_id]).await? {
            let change = Change::SettingsUpdated { share: policy.clone() };
            events.push(outbox::told(recipient, bumped.version, change));
        }
    }
    outbox::commit(app, transaction, events).await?;
    Ok(Json(user.private()?))
}

/// Only for what has been validated: entries that name no public site are left out.
fn parse_domains(entries: &[String]) -> BTreeSet<Domain> {
    entries.iter().filter_map(|entry| Domain::parse_entry(entry).ok()).collect()
}

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// `None` for what is no date, and for the empty text by which clients mean none.
fn parse_date(text: &str) -> Option<Date> {
    Date::parse(text, DATE).ok()
}

fn filled_name(text: &str, (): &()) -> garde::Result {
    if text.trim().is_empty() { Err(garde::Error::new("is empty")) } else { bounded_text(text.trim(), NAME_CHARS_MAX) }
}

fn name(text: &str, (): &()) -> garde::Result {
    bounded_text(text.trim(), NAME_CHARS_MAX)
}

fn profile_text(text: &Option<String>, (): &()) -> garde::Result {
    text.as_deref().map_or(Ok(()), |text| bounded_text(text, PROFILE_TEXT_CHARS_MAX))
}

fn date(text: &Option<String>, (): &()) -> garde::Result {
    match text.as_deref() {
        None | Some("") => Ok(()),
        Some(text) if parse_date(text).is_some() => Ok(()),
        Some(_) => Err(garde::Error::new("is not a date, as YYYY-MM-DD")),
    }
}

fn domain(text: &str, (): &()) -> garde::Result {
    Domain::parse_entry(text).map(drop).map_err(garde::Error::new)
}

/// Tells null from absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
