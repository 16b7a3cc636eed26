//! Finding users by what they are called or by their e-mail address: `/users/search/…`, `/friendship/search/…`.
//!
//! What is searched are the texts of `search_texts`, folded by the database, and their beginnings in `search_keys`:
//! see the migration that makes them. A search among everybody takes a bounded number of users from there, besides every
//! acquaintance who matches, and ranks those. So it costs the same whether a text fits ten users or a million, and in
//! whatever script it is.
//!
//! Deliberately absent: folding and patterns. A text goes to the database as it came, and stands for itself there.

use std::{fmt, str::FromStr, sync::Arc};

use axum::{Json, extract::State};
use shared::{
    api::{FriendshipState, UserSummary},
    limits::{
        SEARCH_CANDIDATES_MAX, SEARCH_CHARS_MAX, SEARCH_ENTRIES_MAX, SEARCH_OFFSET_MAX, SEARCH_REQUESTS_MAX,
        SHORT_PAGE_ITEMS_DEFAULT,
    },
};

use utoipa::ToSchema;

use crate::{
    App,
    auth::Caller,
    error::Result,
    extract::{Exact, Paging, Path},
    user_rows::{RelatedRow, SummaryRow},
};

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

/// Which of a user's texts is searched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Name,
    Email,
}

/// Who is found among everybody.
///
/// The entries of `search_keys` that begin with the text say who: `entry` reads so many of them as others take from it,
/// in the order of places that it lists, those where parts of names begin before the others. Of a text shorter than
/// three characters, keys inside parts are none of its matches, but of acquaintances all are.
///
/// `ranked` is everybody who may come first: whom the first entries name, and, where there may be more than those or
/// inside parts, all acquaintances who match, of whom who asks the caller are bounded. A page that these do not fill goes on with the others by id.
///
/// Each look at a row of a large table is a `lateral` one with a limit, which leaves nothing to choose but the index,
/// whatever the statistics say. A key is at most 50 characters, so what goes on after these is compared with the text.
async fn among_all(
    app: &App,
    caller: &Caller,
    text: &SearchText,
    by: By,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    if paging.offset > SEARCH_OFFSET_MAX {
        return Ok(Json(caller.found(app, Vec::new()).await?));
    }
    let rows = sqlx::query_as!(
        RelatedRow,
        r#"with sought as materialized (
            select text, char_length(text) as chars, left(text, 50) as first_key,
                left(text, 50) || U&'\+10FFFF' as last_key
            from (select btrim(folded($2)) as text) folded
        ),
        entry as materialized (
            (select user_id from search_keys
            where place = case when $3 then 4 else 0 end
                and key >= (select first_key from sought) and key < (select last_key from sought)
            order by key, user_id limit $5)
            union all
            (select user_id from search_keys
            where place = case when $3 then 5 else 1 end
                and key >= (select first_key from sought) and key < (select last_key from sought)
            order by key, user_id limit $5)
            union all
            (select user_id from search_keys
            where place = case when $3 then 6 else 2 end and (select chars from sought) >= 2
                and key >= (select first_key from sought) and key < (select last_key from sought)
            order by key, user_id limit $5)
            union all
            (select user_id from search_keys
            where place = case when $3 then 7 else 3 end and (select chars from sought) >= 3
                and key >= (select first_key from sought) and key < (select last_key from sought)
            order by key, user_id limit $5)
            limit $5
        ),
        first as materialized (
            select user_id from entry limit $4
        ),
        acquaintance as materialized (
            select friend_id as user_id, 2 as state from friends where user_id = $1
            union all
            select user_id2, 1 from friendships where user_id1 = $1 and accepted_at is null
            union all
            (select user_id1, 1 from friendships where user_id2 = $1 and accepted_at is null
            order by requested_at desc limit $6)
        ),
        candidate as materialized (
            select user_id from first
            union
            select user_id from acquaintance
            where (select chars from sought) < 3 or (select count(*) from first) >= $4
            union
            (select user_id from search_texts where $3 and address = (select text from sought) limit $4)
        ),
        ranked as materialized (
            select c.user_id, t.stands, coalesce(a.state, 0) as state,
                (
                    select icount(theirs.friends & (select mine.friends from circles mine where mine.user_id = $1))
                    from circles theirs where theirs.user_id = c.user_id
                ) as mutual_friend_count
            from candidate c left join acquaintance a using (user_id) cross join sought s cross join lateral (
                select coalesce(
                        stands(split_part(text, E'\n', 1), s.text), stands(split_part(text, E'\n', 2), s.text),
                        stands(split_part(text, E'\n', 3), s.text)
                    ) as stands
                from (
                    select case when $3 then address else name end as text, address, email_public
                    from search_texts where search_texts.user_id = c.user_id limit 1
                ) texts
                where strpos(text, s.text) > 0 and (not $3 or email_public or address = s.text)
            ) t
        ),
        rest as (
            select distinct user_id from entry
            where (select count(*) from ranked) < $7::bigint + $8::bigint
                and user_id not in (select user_id from candidate)
                and ((select chars from sought) <= 50 or exists (
                    select from search_texts t where t.user_id = entry.user_id
                        and strpos(case when $3 then t.address else t.name end, (select text from sought)) > 0
                ))
        ),
        page as materialized (
            select * from (
                select true as is_ranked, user_id, state, mutual_friend_count, stands from ranked
                union all
                select false, user_id, 0, 0, 0 from rest
            ) everybody
            where user_id <> $1
                and exists (select from users me where me.user_id = $1)
                and case
                    when (select true from hidden h where h.user_id = $1 order by h.hidden_id limit 1) then (
                        select true from hidden h where h.user_id = $1 and h.hidden_id = everybody.user_id limit 1
                    ) is null
                    else true
                end
            order by is_ranked desc, state desc, mutual_friend_count desc, stands desc, user_id desc
            limit $7 offset $8
        )
        select u.user_id as "user_id!", u.first_name as "first_name!", u.last_name as "last_name!",
            u.description as "description!", u.profile_image_uploaded_at, u.profile_image_extension,
            (
                select f.accepted_at is not null from friendships f
                where least(f.user_id1, f.user_id2) = least(u.user_id, $1)
                    and greatest(f.user_id1, f.user_id2) = greatest(u.user_id, $1)
            ) as accepted,
            (
                select icount(theirs.friends & (select mine.friends from circles mine where mine.user_id = $1))::bigint
                from circles theirs where theirs.user_id = u.user_id
            ) as mutual_friend_count
        from page cross join lateral (
            select * from users where users.user_id = page.user_id limit 1
        ) u
        order by page.is_ranked desc, page.state desc, page.mutual_friend_count desc, page.stands desc, page.user_id desc"#,
        caller.user_id.as_str(),
        text.0,
        by == By::Email,
        SEARCH_CANDIDATES_MAX,
        SEARCH_ENTRIES_MAX,
        SEARCH_REQUESTS_MAX,
        paging.limit_or_default(),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    caller.found(app, rows).await?.into_iter().map(|row| row.summary(&caller.user_id)).collect::<Result<_>>().map(Json)
}

/// Finds users by first and last name.
///
/// Regardless of case, in all of Unicode, and in either order of the two. One or two characters find others than
/// acquaintances only at the beginning of a name, or at the beginning or end of one of its parts. An offset of more than
/// 1,000 leaves nobody.
#[utoipa::path(
    get,
    path = "/users/search/name/{text}",
    tag = "users",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none with a meaning of its own."), Paging),
    responses((status = 200, description = "Friends before those with a request under way before others; then by mutual friends and by where the text stands; then whoever else it fits. 15 where no limit is named.", body = Vec<UserSummary>))
)]
pub async fn by_name(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(text): Path<SearchText>,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    among_all(&app, &caller, &text, By::Name, paging).await
}

/// Finds users by e-mail address.
///
/// Regardless of case: by the whole address anyone, by a part of it those who made theirs public. Otherwise as by name.
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
    among_all(&app, &caller, &text, By::Email, paging).await
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
        r#"select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension
        from (select btrim(folded($2)) as text offset 0) sought, friends f cross join lateral (
            select case when $3 then address else name end as text, email_public
            from search_texts where search_texts.user_id = f.friend_id limit 1
        ) t cross join lateral (
            select * from users where users.user_id = f.friend_id limit 1
        ) u
        where f.user_id = $1
            and case when $4 or $3 and not t.email_public then sought.text = any(string_to_array(t.text, E'\n'))
                else strpos(t.text, sought.text) > 0 end
        order by u.first_name collate "und-x-icu", u.last_name collate "und-x-icu", u.user_id
        limit $5 offset $6"#,
        caller.user_id.as_str(),
        text.0,
        by == By::Email,
        exact,
        paging.limit_or(SHORT_PAGE_ITEMS_DEFAULT),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    let friends = caller.found(app, rows).await?.into_iter().map(|row| row.summary(Some(FriendshipState::Accepted)));
    friends.collect::<Result<_>>().map(Json)
}
