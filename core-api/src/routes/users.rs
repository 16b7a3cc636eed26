//! Accounts and profiles: `/users/…`.

use std::{
    collections::{BTreeSet, HashSet},
    str::FromStr,
    sync::Arc,
};

use axum::{Json, extract::State, http::StatusCode};
use garde::Validate;
use serde::{Deserialize, Deserializer};
use shared::{
    api::{FieldError, UserPrivate},
    ids::UserId,
    internal::Change,
    limits::{DOMAIN_LIST_LEN_MAX, NAME_CHARS_MAX, PROFILE_TEXT_CHARS_MAX},
    page::Domain,
    share_policy::{ShareMode, SharePolicy},
    text::{Lines, clean, has_visible, is_formatting},
};
use sqlx::PgConnection;
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};
use unicode_normalization::UnicodeNormalization;
use utoipa::ToSchema;

use crate::{
    App,
    auth::Caller,
    default_domains,
    error::{EMAIL_UNIQUE, Error, Result},
    extract::{Body, Path, bounded_text, invalid},
    looks::{self, Account, Locked, Looks},
    outbox,
    user_rows::{StoredPolicy, UserRow},
};

/// The 404 that tells clients to register.
pub const NOT_REGISTERED: Error = Error::NotFound("You are not registered yet.");

/// The body of a registration.
#[derive(Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct NewUser {
    /// 1 to 100 characters besides spaces around them, one of which can be seen. Control characters, and those that
    /// change the direction of text, are refused; others that nobody sees are taken out.
    #[garde(skip)]
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00]*[^\s\x00][^\x00]*$", examples("Alice"))]
    first_name: String,
    /// The same, but for that it may be empty.
    #[garde(skip)]
    #[schema(max_length = 100, pattern = r"^[^\x00]*$", examples("Liddell"))]
    last_name: String,
    /// Date of birth, `YYYY-MM-DD`; empty means none.
    #[garde(skip)]
    #[schema(pattern = r"^(\d{4}-\d{2}-\d{2})?$", examples("1990-02-28"))]
    #[cfg_attr(test, ts(optional = nullable))]
    dob: Option<String>,
    /// At most 1,000 characters. Control characters and what nobody sees are taken out.
    #[garde(skip)]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    #[cfg_attr(test, ts(optional = nullable))]
    gender: Option<String>,
}

/// Registers the caller.
///
/// The id and the e-mail address are those of the token, which must not say that the address is not verified. The new
/// account shows friends only the sites on its allow list, which starts with some well-known ones.
#[utoipa::path(
    post,
    path = "/users/me",
    tag = "users",
    request_body = NewUser,
    responses(
        (status = 201, description = "The new account.", body = UserPrivate),
        (status = 409, description = "The caller is registered already, or the e-mail address belongs to another account. If \
            the owner of that account has another address by now, this one becomes free when they sign in."),
        (status = 422, description = "The body is JSON, but a value in it is not acceptable; or the token has no \
            e-mail address, or one that is not verified.")
    )
)]
pub async fn register(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<UserPrivate>)> {
    let email = caller.own_email(&app)?;
    let policy = StoredPolicy::of(&default_domains::policy()?);
    let mut wrong = Wrong(Vec::new());
    let first_name = wrong.unless("first_name", first_name(&new.first_name));
    let last_name = wrong.unless("last_name", last_name(&new.last_name));
    let dob = wrong.unless("dob", new.dob.as_deref().map_or(Ok(None), date));
    let gender = new.gender.as_deref().map(|text| wrong.unless("gender", profile_text(text, Lines::Removed)));
    wrong.nothing()?;
    let mut transaction = app.pool.begin().await?;
    sqlx::query!(
        "insert into users (user_id, email, first_name, last_name, dob, gender,
            share_mode, domain_allow_array, domain_deny_array)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        caller.user_id.as_str(),
        email,
        first_name,
        last_name,
        dob,
        gender,
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
///
/// Its e-mail address becomes that of the token, unless the token says that it is not verified, or another account has it.
#[utoipa::path(
    get,
    path = "/users/me",
    tag = "users",
    responses(
        (status = 200, description = "The whole account, also what is not public.", body = UserPrivate),
        (status = 404, description = "The caller is not registered yet.")
    )
)]
pub async fn me(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<UserPrivate>> {
    let mut connection = app.pool.acquire().await?;
    let mut user = UserRow::load(&mut connection, &caller.user_id).await?.ok_or(NOT_REGISTERED)?;
    if let Ok(email) = caller.own_email(&app)
        && email != user.email
        && follow_email(&mut connection, &caller.user_id, email).await?
    {
        user.email = email.to_owned();
    }
    Ok(Json(user.private()?))
}

/// Gives the account this address, unless it has it already or another account has it. Returns whether it changed.
async fn follow_email(connection: &mut PgConnection, me: &UserId, email: &str) -> Result<bool> {
    let followed = sqlx::query!(
        "update users set email = $2
        where user_id = $1 and email <> $2
            and not exists (select from users other where lower(other.email) = lower($2) and other.user_id <> $1)",
        me.as_str(),
        email
    )
    .execute(connection)
    .await;
    match followed {
        Ok(followed) => Ok(followed.rows_affected() > 0),
        // Another account took it at the same moment.
        Err(sqlx::Error::Database(error)) if error.constraint() == Some(EMAIL_UNIQUE) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The body of an update: everything is replaced, except that an absent `dob` or `dob_public` stays as it is,
/// because published clients know neither. What comes back as it is stored is always accepted.
#[derive(Deserialize, Validate, ToSchema)]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct UserUpdate {
    /// As at registration.
    #[garde(skip)]
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00]*[^\s\x00][^\x00]*$", examples("Alice"))]
    first_name: String,
    /// As at registration.
    #[garde(skip)]
    #[schema(max_length = 100, pattern = r"^[^\x00]*$", examples("Liddell"))]
    last_name: String,
    /// At most 1,000 characters. Control characters, line feeds and tabs aside, and what nobody sees are taken out.
    #[garde(skip)]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    description: Option<String>,
    #[garde(skip)]
    share_mode: ShareMode,
    /// At most 1,000 host names of public sites. Each is kept as its registrable domain.
    #[garde(length(max = DOMAIN_LIST_LEN_MAX))]
    #[schema(value_type = Vec<Domain>, max_items = 1000)]
    domain_allow_array: Vec<String>,
    /// At most 1,000 host names of public sites. Each is kept as its registrable domain.
    #[garde(length(max = DOMAIN_LIST_LEN_MAX))]
    #[schema(value_type = Vec<Domain>, max_items = 1000)]
    domain_deny_array: Vec<String>,
    /// At most 1,000 characters, as the three below. Control characters and what nobody sees are taken out.
    #[garde(skip)]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    gender: Option<String>,
    #[garde(skip)]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    school: Option<String>,
    #[garde(skip)]
    #[schema(max_length = 1000, pattern = r"^[^\x00]*$")]
    work: Option<String>,
    #[garde(skip)]
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
    // Outer `None`: not sent. Inner `None`: to be removed.
    #[serde(default, deserialize_with = "present")]
    #[garde(skip)]
    #[schema(value_type = Option<String>, pattern = r"^(\d{4}-\d{2}-\d{2})?$", examples("1990-02-28"))]
    #[cfg_attr(test, ts(optional))]
    dob: Option<Option<String>>,
    /// Left out it stays as it is.
    #[garde(skip)]
    #[cfg_attr(test, ts(optional))]
    dob_public: Option<bool>,
}

/// The values of an update, read together with what is stored.
struct Profile {
    looks: Looks,
    description: String,
    gender: Option<String>,
    school: Option<String>,
    work: Option<String>,
    location: Option<String>,
    dob: Option<Date>,
    policy: SharePolicy,
}

impl UserUpdate {
    /// Reads the update. The error names every field that is wrong.
    fn read(&self, account: &Account) -> Result<Profile> {
        let mut wrong = Wrong(Vec::new());
        let looks = Looks {
            first_name: wrong.unless_stored("first_name", &self.first_name, &account.looks.first_name, first_name),
            last_name: wrong.unless_stored("last_name", &self.last_name, &account.looks.last_name, last_name),
            profile_image_extension: account.looks.profile_image_extension.clone(),
        };
        let description = self.description.as_deref().unwrap_or_default();
        let description = wrong
            .unless_stored("description", description, &account.description, |text| profile_text(text, Lines::Kept));
        let allow = wrong.domains("domain_allow_array", &self.domain_allow_array, &account.policy.domain_allow_array);
        let deny = wrong.domains("domain_deny_array", &self.domain_deny_array, &account.policy.domain_deny_array);
        let mut text = |field: &str, sent: &Option<String>, stored: &Option<String>| {
            let stored = stored.as_deref().unwrap_or_default();
            let read = |text: &str| profile_text(text, Lines::Removed);
            sent.as_deref().map(|sent| wrong.unless_stored(field, sent, stored, read))
        };
        let gender = text("gender", &self.gender, &account.gender);
        let school = text("school", &self.school, &account.school);
        let work = text("work", &self.work, &account.work);
        let location = text("location", &self.location, &account.location);
        let dob = self.dob.as_ref().and_then(Option::as_deref).map_or(Ok(None), date);
        let dob = wrong.unless("dob", dob);
        wrong.nothing()?;
        let policy = SharePolicy { mode: self.share_mode, allow, deny };
        Ok(Profile { looks, description, gender, school, work, location, dob, policy })
    }
}

/// What is wrong with the fields of a body.
struct Wrong(Vec<FieldError>);

impl Wrong {
    /// The value. If it is wrong, notes the error and gives the default.
    fn unless<T: Default>(&mut self, field: &str, read: Result<T, String>) -> T {
        read.unwrap_or_else(|message| {
            self.0.push(FieldError { field: field.to_owned(), message });
            T::default()
        })
    }

    /// The text as it is, if it is stored already; otherwise as `read` gives it.
    fn unless_stored(
        &mut self,
        field: &str,
        sent: &str,
        stored: &str,
        read: impl Fn(&str) -> Result<String, String>,
    ) -> String {
        if sent == stored { sent.to_owned() } else { self.unless(field, read(sent)) }
    }

    /// The entries. One that is stored already stays as it is; others are parsed.
    fn domains(&mut self, field: &str, entries: &[String], stored: &[String]) -> BTreeSet<Domain> {
        let stored: HashSet<&str> = stored.iter().map(String::as_str).collect();
        let read = |entry: &str| {
            if stored.contains(entry) { Ok(Domain::stored(entry)) } else { Domain::parse_entry(entry) }
        };
        let entries = entries.iter().enumerate().filter_map(|(place, entry)| {
            let read = read(entry).map(Some).map_err(|bad| bad.to_string());
            self.unless(&format!("{field}[{place}]"), read)
        });
        entries.collect()
    }

    /// # Errors
    ///
    /// 422 when something is wrong.
    fn nothing(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(invalid(self.0)) }
    }
}

/// Replaces the caller's profile and share settings.
///
/// All friends are told of a new name. Name and picture together can change five times in an hour.
#[utoipa::path(
    put,
    path = "/users/me",
    tag = "users",
    request_body = UserUpdate,
    responses(
        (status = 200, description = "The account after the change.", body = UserPrivate),
        (status = 429, description = "The name or the picture was changed too often within an hour.")
    )
)]
pub async fn update(
    State(app): State<Arc<App>>,
    caller: Caller,
    Body(update): Body<UserUpdate>,
) -> Result<Json<UserPrivate>> {
    if let Ok(email) = caller.own_email(&app) {
        follow_email(&mut *app.pool.acquire().await?, &caller.user_id, email).await?;
    }
    let mut locked = looks::lock(&app, &caller.user_id, |account| Ok(update.read(account)?.looks)).await?;
    let profile = update.read(&locked.account)?;
    sqlx::query!(
        "update users set first_name = $2, last_name = $3, description = $4, gender = $5, school = $6, work = $7,
            location = $8, email_public = $9, gender_public = $10, school_public = $11, work_public = $12,
            location_public = $13, dob = case when $14 then $15 else dob end,
            dob_public = coalesce($16, dob_public)
        where user_id = $1",
        caller.user_id.as_str(),
        profile.looks.first_name,
        profile.looks.last_name,
        profile.description,
        profile.gender,
        profile.school,
        profile.work,
        profile.location,
        update.email_public,
        update.gender_public,
        update.school_public,
        update.work_public,
        update.location_public,
        update.dob.is_some(),
        profile.dob as Option<Date>,
        update.dob_public as Option<bool>,
    )
    .execute(&mut *locked.transaction)
    .await?;
    locked.tell(&caller.user_id).await?;
    save_policy(&app, locked, &caller.user_id, profile.policy).await
}

/// One of the two lists of sites.
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
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct DomainEntries(#[garde(length(max = DOMAIN_LIST_LEN_MAX))] Vec<String>);

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
    let locked = looks::lock(&app, &caller.user_id, |account| Ok(account.looks.clone())).await?;
    let stored = &locked.account.policy;
    let mut policy = stored.policy();
    let mut wrong = Wrong(Vec::new());
    match list {
        DomainList::Allow => policy.allow = wrong.domains("", &entries, &stored.domain_allow_array),
        DomainList::Deny => policy.deny = wrong.domains("", &entries, &stored.domain_deny_array),
    }
    wrong.nothing()?;
    save_policy(&app, locked, &caller.user_id, policy).await
}

/// Stores the share settings and commits the update. If the settings changed, the edge and the user's other devices are
/// told.
async fn save_policy(app: &App, locked: Locked, user_id: &UserId, policy: SharePolicy) -> Result<Json<UserPrivate>> {
    let Locked { mut transaction, account, .. } = locked;
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
    if policy != account.policy.policy() {
        for (recipient, bumped) in outbox::bump(&mut transaction, &[user_id]).await? {
            let change = Change::SettingsUpdated { share: policy.clone() };
            events.push(outbox::told(recipient, bumped.version, change));
        }
    }
    outbox::commit(app, transaction, events).await?;
    Ok(Json(user.private()?))
}

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// The name in the form that others are shown, or what is wrong with it.
fn first_name(text: &str) -> Result<String, String> {
    let name = last_name(text)?;
    if name.is_empty() { Err("is empty".to_owned()) } else { Ok(name) }
}

/// As [`first_name`], for a name that may be empty.
fn last_name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.chars().any(is_formatting) {
        return Err("contains a control character, or one that changes the direction of text".to_owned());
    }
    let name: String = clean(text, Lines::Removed).nfc().collect();
    if !name.is_empty() && !has_visible(&name) {
        return Err("has no character that can be seen".to_owned());
    }
    bounded(name, NAME_CHARS_MAX)
}

/// A profile's text in the form that others are shown, or what is wrong with it.
fn profile_text(text: &str, lines: Lines) -> Result<String, String> {
    // A character that cannot be stored is refused, although `clean` would remove it.
    bounded_text(text, usize::MAX).map_err(|error| error.message().to_owned())?;
    bounded(clean(text, lines).nfc().collect(), PROFILE_TEXT_CHARS_MAX)
}

fn bounded(text: String, chars_max: usize) -> Result<String, String> {
    bounded_text(&text, chars_max).map(|()| text).map_err(|error| error.message().to_owned())
}

/// The date. Clients send an empty text for no date.
fn date(text: &str) -> Result<Option<Date>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Date::parse(text, DATE).map(Some).map_err(|_| "is not a date, as YYYY-MM-DD".to_owned())
}

/// Distinguishes null from an absent field.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
