//! Finds users by name or by e-mail address: `/users/search/…`, `/friendship/search/…`.
//!
//! A search uses `search_texts`, which has names and addresses as the database folds them, and `search_keys`, which has an
//! entry for each place in them where a match may begin: see migration 0010. A search among everybody takes a bounded
//! number of users from there, and every acquaintance who matches, and ranks those. So its cost does not depend on how
//! many users match, or on the script of the text.
//!
//! Deliberately absent: folding and patterns. The database gets the text as it came, trimmed, and no character in it is a
//! wildcard.

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

/// A text to search for: 1 to 100 characters, none of which is a wildcard.
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

/// Searches among all users.
///
/// `entry` has the entries of `search_keys` that begin with the text. They come in the order in which the statement lists
/// their places: those at the beginning of a part of a name first. PostgreSQL reads only as many as the rest of the
/// statement asks for. For a text of one or two characters, entries inside a part of a name are left out, but an
/// acquaintance matches wherever the text is.
///
/// `ranked` has the users who may come first: those of the first [`SEARCH_CANDIDATES_MAX`] entries, those with exactly this
/// address, and all acquaintances who match. Acquaintances are looked through only if the text has one or two characters,
/// or if there may be more entries. They are friends and users with a pending request; of the requests that wait for the
/// caller, only the newest [`SEARCH_REQUESTS_MAX`] count. A page that `ranked` does not fill goes on with the other users
/// of `entry`, by id.
///
/// Each look-up of a row in a large table is a `lateral` subquery with a limit. Then PostgreSQL can only use the index,
/// whatever its statistics say. A key has at most 50 characters, so for a longer text the stored text is compared too.
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
/// Case does not matter, in all of Unicode, and the two names may be in either order. Acquaintances are friends and users
/// with a pending request. Other users are found by one or two characters only at the beginning of a name, or at the
/// beginning or end of one of its parts. With an offset of more than 1,000, the list is empty.
#[utoipa::path(
    get,
    path = "/users/search/name/{text}",
    tag = "users",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none of which is a wildcard."), Paging),
    responses((status = 200, description = "Friends come first, then users with a pending request, then others. Within \
        these, users are in the order of mutual friends and of where the text was found. Further matches follow. 15 where \
        no limit is named.", body = Vec<UserSummary>))
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
/// Case does not matter. The whole address finds any user. A part of it finds only users who made their address public.
/// Otherwise this is as the search by name.
#[utoipa::path(
    get,
    path = "/users/search/email/{text}",
    tag = "users",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none of which is a wildcard."), Paging),
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
    params(("text" = SearchText, Path, description = "1 to 100 characters, none of which is a wildcard."), Exact, Paging),
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
/// They are found by the whole address, or by a part of an address that its owner made public.
#[utoipa::path(
    get,
    path = "/friendship/search/email/{text}",
    tag = "friendships",
    params(("text" = SearchText, Path, description = "1 to 100 characters, none of which is a wildcard."), Exact, Paging),
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
