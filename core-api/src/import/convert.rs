//! What a row of the predecessor's becomes here, and why it is changed or left out.
//!
//! Deliberately absent: reading and writing. What a field may have in it is decided by the same code as for requests.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use shared::{
    ids::UserId,
    limits::{DOMAIN_LIST_LEN_MAX, EMAIL_CHARS_MAX, NAME_CHARS_MAX, PROFILE_TEXT_CHARS_MAX},
    page::{Domain, Page, address_to_share, clean_title},
    text::{Lines, clean, has_visible, is_formatting},
};
use time::OffsetDateTime;
use unicode_normalization::UnicodeNormalization as _;
use uuid::{Builder, Uuid};

use super::{
    source::{SourceFriendship, SourceSeen, SourceShare, SourceUser},
    target::{Friendship, Recipient, Share, User},
};
use crate::{extract::bounded_text, image_store::ImageExtension};

/// Why a row is changed, merged or left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The id is not one that a token may have.
    BadId,
    /// There is no address, or one that is too long.
    BadEmail,
    /// An older account, or one that is here already, has the address.
    EmailTaken,
    /// Characters that nobody sees, or that change the text around them, were taken out.
    Cleaned,
    /// The text was too long and was cut.
    Shortened,
    /// Nothing was left of the first name.
    NoName,
    /// The text is not a date.
    BadDate,
    /// The share mode was empty or unknown.
    BadShareMode,
    /// Entries of the list name no public site.
    NoSite,
    /// Entries of the allow list name a part of a site. To allow the whole site would show more than was allowed.
    PartOfSite,
    /// The list had too many entries and was cut. If a deny list was cut, only allowed sites are shown.
    ListTooLong,
    /// The image is of a kind that is not accepted.
    BadImage,
    /// The user has more friends than the bound for new friendships. All are kept.
    ManyFriends,
    /// A user whom the row names was left out, or never existed.
    UserLeftOut,
    /// The row names one user twice.
    WithThemselves,
    /// Each had asked the other. Both rows become one friendship. If neither was accepted, the friendship is accepted now.
    BothDirections,
    /// The share does not say when it was sent.
    NoTime,
    /// The share's address is not one that can be sent.
    BadAddress,
    /// The share was sent to another user alone.
    NotAddressee,
    /// There is no such share.
    NoShare,
}

impl Reason {
    /// A change of this field for this reason.
    pub fn of(self, field: &'static str) -> Change {
        Change { reason: self, field }
    }

    /// The reason's name in the counts.
    pub fn words(self) -> String {
        let name = serde_json::to_value(self).ok();
        name.and_then(|name| Some(name.as_str()?.replace('_', " "))).unwrap_or_default()
    }
}

/// A change of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub reason: Reason,
    pub field: &'static str,
}

/// The first name of a user whose own one has nothing that can be seen. They can change it.
const UNNAMED: &str = "Unnamed";

/// An account as it is stored here, with what had to be changed. `now` is its time of creation if the row has none.
///
/// # Errors
///
/// Why the account is left out.
pub fn user(user: SourceUser, now: OffsetDateTime) -> Result<(User, Vec<Change>), Reason> {
    let mut changes = Vec::new();
    UserId::try_from(user.user_id.clone()).map_err(|_| Reason::BadId)?;
    if user.email.trim().is_empty() || bounded_text(&user.email, EMAIL_CHARS_MAX).is_err() {
        return Err(Reason::BadEmail);
    }
    let mut text = |field, text: &str, lines, chars_max| {
        let (text, reasons) = shown_text(text, lines, chars_max);
        changes.extend(reasons.into_iter().map(|reason| reason.of(field)));
        text
    };
    let mut first_name = text("first_name", &user.first_name, Lines::Removed, NAME_CHARS_MAX);
    let last_name = text("last_name", &user.last_name, Lines::Removed, NAME_CHARS_MAX);
    let description = text("description", &user.description, Lines::Kept, PROFILE_TEXT_CHARS_MAX);
    // The text is empty where there is none.
    let mut optional = |field, written: &str| {
        Some(text(field, written, Lines::Removed, PROFILE_TEXT_CHARS_MAX)).filter(|text| !text.is_empty())
    };
    let (gender, school) = (optional("gender", &user.gender), optional("school", &user.school));
    let (work, location) = (optional("work", &user.work), optional("location", &user.location));
    if first_name.is_empty() {
        UNNAMED.clone_into(&mut first_name);
        changes.push(Reason::NoName.of("first_name"));
    }
    let dob = user.dob.as_deref().and_then(date);
    if dob.is_none() && user.dob.is_some() {
        changes.push(Reason::BadDate.of("dob"));
    }
    let known_mode = user.share_mode.as_deref().filter(|mode| ["default_none", "default_all"].contains(mode));
    if known_mode.is_none() {
        changes.push(Reason::BadShareMode.of("share_mode"));
    }
    let mut share_mode = known_mode.unwrap_or("default_none");
    let allow = list("domain_allow_array", &user.domain_allow_array, allowed, &mut changes);
    let deny = list("domain_deny_array", &user.domain_deny_array, denied, &mut changes);
    if changes.contains(&Reason::ListTooLong.of("domain_deny_array")) {
        share_mode = "default_none";
    }
    let created_at = user.created_ms.and_then(at).unwrap_or(now);
    let extension = user.profile_image_extension.filter(|extension| !extension.is_empty());
    let image = extension.as_deref().filter(|extension| extension.parse::<ImageExtension>().is_ok());
    if image.is_none() && extension.is_some() {
        changes.push(Reason::BadImage.of("profile_image_extension"));
    }
    let profile_image_uploaded_at = image.map(|_| user.profile_image_uploaded_ms.and_then(at).unwrap_or(created_at));
    let converted = User {
        user_id: user.user_id,
        email: user.email,
        email_public: user.email_public,
        first_name,
        last_name,
        description,
        dob,
        dob_public: user.dob_public,
        gender,
        gender_public: user.gender_public,
        school,
        school_public: user.school_public,
        work,
        work_public: user.work_public,
        location,
        location_public: user.location_public,
        profile_image_uploaded_at,
        profile_image_extension: image.map(str::to_owned),
        share_mode: share_mode.to_owned(),
        domain_allow_array: allow,
        domain_deny_array: deny,
        created_at,
    };
    Ok((converted, changes))
}

/// A text as it would be stored if a request had it. But nothing is refused: what may not be in the text is taken out.
fn shown_text(written: &str, lines: Lines, chars_max: usize) -> (String, Vec<Reason>) {
    let of_a_line = |c: &char| lines == Lines::Kept && matches!(c, '\n' | '\t');
    let plain: String = written.chars().filter(|c| !is_formatting(*c) || of_a_line(c)).collect();
    let cleaned: String = clean(&plain, lines).nfc().collect();
    let cleaned = if has_visible(&cleaned) { cleaned } else { String::new() };
    let cut: String = cleaned.chars().take(chars_max).collect();
    let cut = cut.trim_end().to_owned();
    let mut reasons = Vec::new();
    if cleaned != written.trim().nfc().collect::<String>() {
        reasons.push(Reason::Cleaned);
    }
    if cleaned.chars().count() > chars_max {
        reasons.push(Reason::Shortened);
    }
    (cut, reasons)
}

/// A date as `YYYY-MM-DD`, in which form PostgreSQL writes it. Years before 1 and `infinity` have another form: `None`.
fn date(text: &str) -> Option<String> {
    let format = time::macros::format_description!("[year]-[month]-[day]");
    time::Date::parse(text, format).ok().map(|date| date.to_string())
}

fn at(unix_ms: i64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms).checked_mul(1_000_000)?).ok()
}

/// The entries of a list, each as `read` parses it, sorted and without repeats.
fn list(
    field: &'static str,
    entries: &[Option<String>],
    read: fn(&str) -> Result<Domain, Reason>,
    changes: &mut Vec<Change>,
) -> Vec<String> {
    let (mut domains, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for entry in entries.iter().flatten() {
        match read(entry) {
            Ok(domain) => {
                domains.insert(domain.as_str().to_owned());
            }
            Err(reason) => {
                reasons.insert(reason);
            }
        }
    }
    if domains.len() > DOMAIN_LIST_LEN_MAX {
        reasons.insert(Reason::ListTooLong);
    }
    changes.extend(reasons.into_iter().map(|reason| reason.of(field)));
    domains.into_iter().take(DOMAIN_LIST_LEN_MAX).collect()
}

/// An entry of an allow list. It must not allow more than it did.
fn allowed(entry: &str) -> Result<Domain, Reason> {
    let domain = Domain::parse_entry(entry).map_err(|_| Reason::NoSite)?;
    match Page::parse(&format!("https://{}/", entry.trim()), "") {
        Ok(Some(page)) if page.host() != domain.as_str() => Err(Reason::PartOfSite),
        _ => Ok(domain),
    }
}

/// An entry of a deny list. It may deny more than it did.
fn denied(entry: &str) -> Result<Domain, Reason> {
    Domain::parse_entry(entry).map_err(|_| Reason::NoSite)
}

/// All rows between two users.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    asker: String,
    asked: String,
    pub rows: usize,
    requested_ms: Option<i64>,
    pub accepted_at: Option<i64>,
}

impl Pair {
    /// The two ids in order.
    pub fn key(&self) -> (String, String) {
        key(&self.asker, &self.asked)
    }

    /// The friendship as it is stored here. If the time of the request is not known, it is the time of acceptance.
    pub fn friendship(&self, now: OffsetDateTime) -> Friendship {
        let accepted_at = self.accepted_at.map(|ms| at(ms).unwrap_or(now));
        let requested_at = self.requested_ms.and_then(at).or(accepted_at).unwrap_or(now);
        Friendship { asker: self.asker.clone(), asked: self.asked.clone(), requested_at, accepted_at }
    }
}

fn key(one: &str, other: &str) -> (String, String) {
    if one <= other { (one.to_owned(), other.to_owned()) } else { (other.to_owned(), one.to_owned()) }
}

/// How many of these rows, which come pair by pair, belong to complete pairs. The last pair may go on after these rows.
pub fn whole_pairs(rows: &[SourceFriendship]) -> usize {
    let Some(last) = rows.last() else { return 0 };
    let last = key(&last.user_id1, &last.user_id2);
    rows.iter().rposition(|row| key(&row.user_id1, &row.user_id2) != last).map_or(0, |place| place + 1)
}

/// One friendship for each pair. The user who asked first is the one who asked. The friendship is accepted if one of the rows
/// is, or if each user has asked the other.
pub fn pairs(rows: Vec<SourceFriendship>) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    for row in rows {
        // A row whose time of acceptance cannot be stored is accepted all the same.
        let accepted = row.accepted.then(|| row.accepted_ms.or(row.requested_ms).unwrap_or_default());
        match pairs.last_mut().filter(|pair| pair.key() == key(&row.user_id1, &row.user_id2)) {
            Some(pair) => {
                pair.rows += 1;
                let crossed = row.requested_ms.max(pair.requested_ms).unwrap_or_default();
                let either = pair.accepted_at.into_iter().chain(accepted).min();
                pair.accepted_at = Some(either.unwrap_or(crossed));
            }
            None => pairs.push(Pair {
                asker: row.user_id1,
                asked: row.user_id2,
                rows: 1,
                requested_ms: row.requested_ms,
                accepted_at: accepted,
            }),
        }
    }
    pairs
}

/// The id of a share here: a UUID of version 7 with the time when it was sent, the same in every run. `None`: there is no
/// such time.
pub fn share_id(share: &SourceShare) -> Option<Uuid> {
    let sent_ms = u64::try_from(share.sent_ms?.max(0)).ok()?;
    let hash = Sha256::digest(share.event_id.as_bytes());
    let mut random = [0; 10];
    random.iter_mut().zip(hash).for_each(|(byte, of_hash)| *byte = of_hash);
    Some(Builder::from_unix_timestamp_millis(sent_ms, &random).into_uuid())
}

/// A share as it is stored here, the recipients that are left out, and what had to be changed.
type Converted = (Share, Vec<(String, Reason)>, Vec<Change>);

/// A share with its recipients. They are the addressee, or for a share to all friends, those whom the predecessor noted.
///
/// # Errors
///
/// Why the share is left out, and with it all its recipients.
pub fn share(share: SourceShare, seen: &[SourceSeen], users: &HashSet<String>) -> Result<Converted, Reason> {
    if !users.contains(&share.user_id) || share.sent_to.as_ref().is_some_and(|to| !users.contains(to)) {
        return Err(Reason::UserLeftOut);
    }
    if share.sent_to.as_ref() == Some(&share.user_id) {
        return Err(Reason::WithThemselves);
    }
    let (Some(event_id), Some(sent_at)) = (share_id(&share), share.sent_ms.and_then(at)) else {
        return Err(Reason::NoTime);
    };
    let url = address_to_share(&share.url).map_err(|_| Reason::BadAddress)?;
    let title = clean_title(&share.title);
    let mut changes = Vec::new();
    if url != share.url {
        changes.push(Reason::Cleaned.of("url"));
    }
    if title != share.title.trim() {
        changes.push(Reason::Cleaned.of("title"));
    }
    let (mut recipients, mut left_out) = (HashMap::new(), Vec::new());
    for row in seen {
        let reason = match &share.sent_to {
            Some(to) if *to != row.user_id => Some(Reason::NotAddressee),
            _ if row.user_id == share.user_id => Some(Reason::WithThemselves),
            _ if !users.contains(&row.user_id) => Some(Reason::UserLeftOut),
            _ => None,
        };
        match reason {
            Some(reason) => left_out.push((row.user_id.clone(), reason)),
            None => {
                let seen_at = row.seen.then(|| row.seen_ms.and_then(at).unwrap_or(sent_at));
                recipients.insert(row.user_id.clone(), seen_at);
            }
        }
    }
    let recipients_read = recipients.len();
    if let Some(to) = &share.sent_to {
        recipients.entry(to.clone()).or_insert(None);
    }
    let mut recipients: Vec<Recipient> =
        recipients.into_iter().map(|(user_id, seen_at)| Recipient { user_id, seen_at }).collect();
    recipients.sort_by(|one, other| one.user_id.cmp(&other.user_id));
    let (sender_id, sent_to) = (share.user_id, share.sent_to);
    let converted = Share { event_id, sender_id, sent_at, url, title, sent_to, recipients, recipients_read };
    Ok((converted, left_out, changes))
}
