//! Finding users by what they are called or by their e-mail address: `/users/search/…`, `/friendship/search/…`.
//!
//! A search among everybody takes a bounded number of users from indexes, those longest registered first, besides
//! every acquaintance who matches, and ranks those. So it costs the same whether a text fits ten users or a million.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{Json, extract::State};
use shared::{
    api::{FriendshipState, UserSummary},
    limits::{SEARCH_CANDIDATES_MAX, SEARCH_CHARS_MAX, SHORT_PAGE_ITEMS_DEFAULT},
};

use utoipa::ToSchema;

use crate::{
    App,
    auth::Caller,
    error::Result,
    extract::{Exact, Paging, Path},
    user_rows::{RelatedRow, SummaryRow},
};

/// From this many characters on, an index finds a text inside a name; a shorter one only at its beginning.
const INSIDE_CHARS_MIN: usize = 3;

/// A text to search for: 1 to 100 characters, of which none has a meaning of its own.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(min_length = 1, max_length = 100, pattern = r"^[^\x00]*[^\s\x00][^\x00]*$", examples("alice"))]
pub struct SearchText(String);

/// Text that cannot be searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadSearchText;

impl fmt::Display for BadSearchText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "is not 1 to {SEARCH_CHARS_MAX} characters")
    }
}

impl FromStr for SearchText {
    type Err = BadSearchText;

    fn from_str(text: &str) -> Result<Self, BadSearchText> {
        let text = text.trim();
        let fits = (1..=SEARCH_CHARS_MAX).contains(&text.chars().count());
        if fits && !text.contains('\0') { Ok(Self(text.to_owned())) } else { Err(BadSearchText) }
    }
}

impl SearchText {
    /// The text as it stands within a pattern of LIKE.
    fn escaped(&self) -> String {
        let mut escaped = String::with_capacity(self.0.len());
        for c in self.0.chars() {
            if matches!(c, '%' | '_' | '\\') {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    }

    fn prefix(&self) -> String {
        format!("{}%", self.escaped())
    }

    fn suffix(&self) -> String {
        format!("%{}", self.escaped())
    }

    fn inside(&self) -> String {
        format!("%{}%", self.escaped())
    }

    fn is_short(&self) -> bool {
        self.0.chars().count() < INSIDE_CHARS_MIN
    }

    /// From an index, how this text is found among everybody: inside, or, too short for that, at the beginning.
    fn findable(&self) -> String {
        if self.is_short() { self.prefix() } else { self.inside() }
    }
}

/// The query behind both searches. `$text` is what is searched, `$open` whether a part of it finds its owner; the
/// whole of it finds anybody. Four indexes have `$text` where `$open`, for ever more users by their numbers, and one
/// has all of it.
///
/// Kept apart in it is what matches (`matching`), so that the bound on its number is not a reason to look for it
/// in the whole table; of the four indexes, those are asked that it takes to reach the bound. Acquaintances are looked
/// through one by one only when others may have crowded them out, or when a short text is looked for inside their names
/// too.
macro_rules! ranked {
    ($text:literal, $open:literal, $caller:expr, $search:expr, $paging:expr) => {
        sqlx::query_as!(
            RelatedRow,
            r#"with matching as materialized (
                select user_id, first_name, last_name, description, profile_image_uploaded_at,
                    profile_image_extension, "#
                + $text
                + r#" as text
                from users where number < 16384 and "#
                + $open
                + " and "
                + $text
                + r#" like lower($2)
                union all
                select user_id, first_name, last_name, description, profile_image_uploaded_at,
                    profile_image_extension, "#
                + $text
                + r#" as text
                from users where number >= 16384 and number < 131072 and "#
                + $open
                + " and "
                + $text
                + r#" like lower($2)
                union all
                select user_id, first_name, last_name, description, profile_image_uploaded_at,
                    profile_image_extension, "#
                + $text
                + r#" as text
                from users where number >= 131072 and number < 1048576 and "#
                + $open
                + " and "
                + $text
                + r#" like lower($2)
                union all
                select user_id, first_name, last_name, description, profile_image_uploaded_at,
                    profile_image_extension, "#
                + $text
                + r#" as text
                from users where number >= 1048576 and "#
                + $open
                + " and "
                + $text
                + r#" like lower($2)
            ),
            other as materialized (
                (select * from matching limit $3)
                union all
                select user_id, first_name, last_name, description, profile_image_uploaded_at,
                    profile_image_extension, "#
                + $text
                + r#" as text
                from users where not "#
                + $open
                + " and "
                + $text
                + r#" = lower($4)
            ),
            acquaintance as materialized (
                select user_id2 as user_id, accepted_at is not null as accepted from friendships where user_id1 = $1
                union all
                select user_id1, accepted_at is not null from friendships where user_id2 = $1
            ),
            known as materialized (
                select user_id, first_name, last_name, description, profile_image_uploaded_at,
                    profile_image_extension, "#
                + $text
                + r#" as text
                from acquaintance join users using (user_id)
                where ($5 or (select count(*) from other) >= $3)
                    and "#
                + $open
                + " and "
                + $text
                + r#" like lower($6)
            ),
            found as (
                select * from other
                union
                select * from known
            )
            select f.user_id as "user_id!", f.first_name as "first_name!", f.last_name as "last_name!",
                f.description as "description!", f.profile_image_uploaded_at, f.profile_image_extension, a.accepted,
                icount(theirs.friends & (select mine.friends from circles mine where mine.user_id = $1))::bigint
                    as mutual_friend_count
            from found f join circles theirs on theirs.user_id = f.user_id
                left join acquaintance a on a.user_id = f.user_id
            where f.user_id <> $1
                and exists (select from users me where me.user_id = $1)
                and not exists (select from hidden h where h.user_id = $1 and h.hidden_id = f.user_id)
            order by case when a.accepted then 2 when not a.accepted then 1 else 0 end desc,
                mutual_friend_count desc,
                case when f.text like lower($7) then 3 when f.text like lower($8) then 2 else 1 end desc,
                f.user_id desc
            limit $9 offset $10"#,
            $caller.user_id.as_str(),
            $search.findable(),
            SEARCH_CANDIDATES_MAX,
            $search.0,
            $search.is_short(),
            $search.inside(),
            $search.prefix(),
            $search.suffix(),
            $paging.limit_or_default(),
            $paging.offset
        )
    };
}

/// Finds users by first and last name.
///
/// Regardless of case. Texts shorter than 3 characters find others than acquaintances only at the beginning of a name.
#[utoipa::path(
    get,
    path = "/users/search/name/{text}",
    tag = "users",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none with a meaning of its own."), Paging),
    responses((status = 200, description = "Friends before those with a request under way before others; then by mutual friends and by where the text stands. 15 where no limit is named.", body = Vec<UserSummary>))
)]
pub async fn by_name(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(text): Path<SearchText>,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    let rows = ranked!("lower(first_name || ' ' || last_name)", "true", &caller, &text, paging);
    found(&app, &caller, rows.fetch_all(&app.pool).await?).await
}

/// Finds users by e-mail address.
///
/// Regardless of case: by the whole address anyone, by a part of it those who made theirs public.
#[utoipa::path(
    get,
    path = "/users/search/email/{text}",
    tag = "users",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none with a meaning of its own."), Paging),
    responses((status = 200, description = "In the order of a search by name.", body = Vec<UserSummary>))
)]
pub async fn by_email(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(text): Path<SearchText>,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    let rows = ranked!("lower(email)", "email_public", &caller, &text, paging);
    found(&app, &caller, rows.fetch_all(&app.pool).await?).await
}

async fn found(app: &App, caller: &Caller, rows: Vec<RelatedRow>) -> Result<Json<Vec<UserSummary>>> {
    caller.found(app, rows).await?.into_iter().map(|row| row.summary(&caller.user_id)).collect::<Result<_>>().map(Json)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Email,
}

/// Finds friends by first and last name.
#[utoipa::path(
    get,
    path = "/friendship/search/name/{text}",
    tag = "friendships",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none with a meaning of its own."), Exact, Paging),
    responses((status = 200, description = "By name; 10 where no limit is named.", body = Vec<UserSummary>))
)]
pub async fn friends_by_name(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(text): Path<SearchText>,
    exact: Exact,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    among_friends(&app, &caller, &text, By::Name, exact, paging).await
}

/// Finds friends by e-mail address.
///
/// By the whole address, or by a part of one that its owner made public.
#[utoipa::path(
    get,
    path = "/friendship/search/email/{text}",
    tag = "friendships",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none with a meaning of its own."), Exact, Paging),
    responses((status = 200, description = "By name; 10 where no limit is named.", body = Vec<UserSummary>))
)]
pub async fn friends_by_email(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(text): Path<SearchText>,
    exact: Exact,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    among_friends(&app, &caller, &text, By::Email, exact, paging).await
}

async fn among_friends(
    app: &App,
    caller: &Caller,
    text: &SearchText,
    by: By,
    Exact(exact): Exact,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    let rows = sqlx::query_as!(
        SummaryRow,
        "select user_id, first_name, last_name, description, profile_image_uploaded_at, profile_image_extension
        from (
            select u.*, case when $2 then lower(u.email) else lower(u.first_name || ' ' || u.last_name) end as text
            from friends f join users u on u.user_id = f.friend_id
            where f.user_id = $1
        ) friend
        where text = lower($3) or not $4 and text like lower($5) and (not $2 or email_public)
        order by first_name, last_name, user_id
        limit $6 offset $7",
        caller.user_id.as_str(),
        by == By::Email,
        text.0,
        exact,
        text.inside(),
        paging.limit_or(SHORT_PAGE_ITEMS_DEFAULT),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    let friends = caller.found(app, rows).await?.into_iter().map(|row| row.summary(Some(FriendshipState::Accepted)));
    friends.collect::<Result<_>>().map(Json)
}
