//! Other users and who their friends are: `/users/id/…` and `/users/ids/…`.
//!
//! If one of two users has blocked the other, neither exists for the other: not by id, not in a list, not in a count.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use shared::{
    api::{Count, FriendshipState, UserPublic, UserSummary},
    ids::UserId,
};
use time::{Date, OffsetDateTime};

use crate::{
    App,
    auth::{Caller, Member},
    error::{NO_ACCOUNT, NO_SUCH_USER, Result},
    extract::{Paging, Path, UserIds},
    user_rows::{RelatedRow, SummaryRow, summary_row},
};

/// A profile as its owner lets others see it.
#[utoipa::path(
    get,
    path = "/users/id/{id}",
    tag = "users",
    params(("id" = UserId, Path, description = "Whose profile.")),
    responses(
        (status = 200, description = "What is not public is null.", body = UserPublic),
        (status = 404, description = "There is no such user, as far as the caller can see.")
    )
)]
pub async fn profile(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user_id): Path<UserId>,
) -> Result<Json<UserPublic>> {
    let found = profiles(&app, &caller.user_id, &[user_id.as_str().to_owned()]).await?.pop();
    match found {
        Some(row) if row.caller_is_member => row.public(&caller.user_id).map(Json),
        Some(_) => Err(NO_ACCOUNT),
        None => {
            must_be_visible(&app, &caller.user_id, &user_id).await?;
            Err(NO_SUCH_USER)
        }
    }
}

/// Several profiles at once.
#[utoipa::path(
    get,
    path = "/users/ids/{ids}",
    tag = "users",
    params(("ids" = UserIds, Path, description = "Whose profiles: at most 100 ids, separated by commas.")),
    responses((status = 200, description = "In the order of the ids. Users who do not exist are left out.",
        body = Vec<UserPublic>))
)]
pub async fn profiles_of(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(UserIds(ids)): Path<UserIds>,
) -> Result<Json<Vec<UserPublic>>> {
    let texts: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
    let rows = profiles(&app, &me, &texts).await?;
    let mut found: BTreeMap<UserId, UserPublic> = BTreeMap::new();
    for row in rows {
        let profile = row.public(&me)?;
        found.insert(profile.summary.user_id.clone(), profile);
    }
    Ok(Json(ids.iter().filter_map(|id| found.remove(id)).collect()))
}

struct ProfileRow {
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
    /// Null: there is neither a friendship nor a request.
    accepted: Option<bool>,
    /// Null for a caller without an account.
    mutual_friend_count: Option<i64>,
    caller_is_member: bool,
}

async fn profiles(app: &App, me: &UserId, ids: &[String]) -> Result<Vec<ProfileRow>> {
    let rows = sqlx::query_as!(
        ProfileRow,
        r#"select u.user_id, first_name, last_name, description, profile_image_uploaded_at, profile_image_extension,
            case when dob_public then dob end as dob,
            case when gender_public then gender end as gender,
            case when school_public then school end as school,
            case when work_public then work end as work,
            case when location_public then location end as location,
            (select accepted_at is not null from friendships
                where least(user_id1, user_id2) = least(u.user_id, $2)
                    and greatest(user_id1, user_id2) = greatest(u.user_id, $2)
            ) as accepted,
            (select icount(mine.friends & theirs.friends)::bigint from circles mine, circles theirs
                where mine.user_id = $2 and theirs.user_id = u.user_id
            ) as "mutual_friend_count",
            exists (select from users me where me.user_id = $2) as "caller_is_member!"
        from users u
        where u.user_id = any($1) and (select true from hidden h where h.user_id = $2 and h.hidden_id = u.user_id limit 1) is null"#,
        ids,
        me.as_str()
    );
    Ok(rows.fetch_all(&app.pool).await?)
}

impl ProfileRow {
    fn public(self, me: &UserId) -> Result<UserPublic> {
        let summary = summary_row!(self);
        let other = summary.user_id != me.as_str();
        let mut summary = summary.summary(other.then(|| FriendshipState::of(self.accepted)))?;
        summary.mutual_friend_count = self.mutual_friend_count.filter(|_| other);
        Ok(UserPublic {
            summary,
            dob: self.dob.map(|date| date.to_string()),
            gender: self.gender,
            school: self.school,
            work: self.work,
            location: self.location,
        })
    }
}

/// Finds out why a query about a user found nothing: 403 when the caller has no account, 404 when the user does not exist
/// for the caller.
///
/// # Errors
///
/// Those two, and when the database does not answer.
pub async fn must_be_visible(app: &App, me: &UserId, other: &UserId) -> Result<()> {
    let row = sqlx::query!(
        r#"select exists (select from users where user_id = $1) as "member!",
            exists (
                select from users u where u.user_id = $2
                    and not exists (select from hidden h where h.user_id = $1 and h.hidden_id = u.user_id)
            ) as "visible!""#,
        me.as_str(),
        other.as_str()
    )
    .fetch_one(&app.pool)
    .await?;
    match (row.member, row.visible) {
        (false, _) => Err(NO_ACCOUNT),
        (true, false) => Err(NO_SUCH_USER),
        (true, true) => Ok(()),
    }
}

/// A user's friends.
#[utoipa::path(
    get,
    path = "/users/id/{id}/friends",
    tag = "users",
    params(("id" = UserId, Path, description = "Whose friends."), Paging),
    responses(
        (status = 200, description = "By name, each with the caller's own friendship state; 15 where no limit is named.",
            body = Vec<UserSummary>),
        (status = 404, description = "There is no such user, as far as the caller can see.")
    )
)]
pub async fn friends(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user_id): Path<UserId>,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    let rows = sqlx::query_as!(
        RelatedRow,
        // The page is chosen with the columns of an index. Other columns are read only of the users on it.
        r#"select u.user_id as "user_id!", u.first_name as "first_name!", u.last_name as "last_name!",
            u.description as "description!", u.profile_image_uploaded_at, u.profile_image_extension,
            (select f.accepted_at is not null from friendships f
                where least(f.user_id1, f.user_id2) = least(u.user_id, $2)
                    and greatest(f.user_id1, f.user_id2) = greatest(u.user_id, $2)
            ) as accepted,
            null::bigint as mutual_friend_count
        from (
            select number, first_name, last_name from users
            where number = any((
                -- Each friend is looked up among the hidden, of whom there may be any number, and only for those few
                -- who have to do with a block.
                select case
                    when (select true from hidden h where h.user_id = $2 order by h.hidden_id limit 1) then theirs.friends - array(
                        select friend.number from unnest(theirs.friends) one (number)
                            cross join lateral (select * from users where users.number = one.number limit 1) friend
                        where (select true from hidden h where h.user_id = $2 and h.hidden_id = friend.user_id limit 1)
                    )
                    else theirs.friends
                end
                from circles theirs
                where theirs.user_id = $1
                    and not exists (select from hidden h where h.user_id = $2 and h.hidden_id = $1)
                    and exists (select from users me where me.user_id = $2)
            )::integer[])
            order by first_name collate "und-x-icu", last_name collate "und-x-icu", number
            limit $3 offset $4
        ) page join users u using (number)
        order by page.first_name collate "und-x-icu", page.last_name collate "und-x-icu", number"#,
        user_id.as_str(),
        caller.user_id.as_str(),
        paging.limit_or_default(),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    if rows.is_empty() {
        must_be_visible(&app, &caller.user_id, &user_id).await?;
    }
    rows.into_iter().map(|row| row.summary(&caller.user_id)).collect::<Result<_>>().map(Json)
}

/// How many friends a user has.
#[utoipa::path(
    get,
    path = "/users/id/{id}/friends/count",
    tag = "users",
    params(("id" = UserId, Path, description = "Whose friends.")),
    responses(
        (status = 200, description = "The number.", body = Count),
        (status = 404, description = "There is no such user, as far as the caller can see.")
    )
)]
pub async fn friend_count(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(user_id): Path<UserId>,
) -> Result<Json<Count>> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from friends f
        where f.user_id = $1
            and (select true from hidden h where h.user_id = $2 and h.hidden_id = $1 limit 1) is null
            and (select true from hidden h where h.user_id = $2 and h.hidden_id = f.friend_id limit 1) is null"#,
        user_id.as_str(),
        me.as_str()
    )
    .fetch_one(&app.pool)
    .await?;
    if count == 0 {
        must_be_visible(&app, &me, &user_id).await?;
    }
    Ok(Json(Count::of(count)))
}

/// Users who are friends of both the caller and another user.
#[utoipa::path(
    get,
    path = "/users/id/{id}/mutual-friends",
    tag = "users",
    params(("id" = UserId, Path, description = "The other user."), Paging),
    responses(
        (status = 200, description = "By name; 15 where no limit is named.", body = Vec<UserSummary>),
        (status = 404, description = "There is no such user, as far as the caller can see.")
    )
)]
pub async fn mutual_friends(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(user_id): Path<UserId>,
    paging: Paging,
) -> Result<Json<Vec<UserSummary>>> {
    let rows = sqlx::query_as!(
        SummaryRow,
        r#"select u.user_id, u.first_name, u.last_name, u.description, u.profile_image_uploaded_at,
            u.profile_image_extension
        from friends mine join friends theirs using (friend_id) join users u on u.user_id = friend_id
        where mine.user_id = $2 and theirs.user_id = $1
            and not exists (select from hidden h where h.user_id = $2 and h.hidden_id = $1)
        order by u.first_name collate "und-x-icu", u.last_name collate "und-x-icu", u.user_id
        limit $3 offset $4"#,
        user_id.as_str(),
        me.as_str(),
        paging.limit_or_default(),
        paging.offset
    )
    .fetch_all(&app.pool)
    .await?;
    if rows.is_empty() {
        must_be_visible(&app, &me, &user_id).await?;
    }
    rows.into_iter().map(|row| row.summary(Some(FriendshipState::Accepted))).collect::<Result<_>>().map(Json)
}

/// How many friends the caller and another user have in common.
#[utoipa::path(
    get,
    path = "/users/id/{id}/mutual-friends/count",
    tag = "users",
    params(("id" = UserId, Path, description = "The other user.")),
    responses(
        (status = 200, description = "The number.", body = Count),
        (status = 404, description = "There is no such user, as far as the caller can see.")
    )
)]
pub async fn mutual_friend_count(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(user_id): Path<UserId>,
) -> Result<Json<Count>> {
    let count = sqlx::query_scalar!(
        r#"select icount(mine.friends & theirs.friends)::bigint as "count!" from circles mine, circles theirs
        where mine.user_id = $2 and theirs.user_id = $1
            and not exists (select from hidden h where h.user_id = $2 and h.hidden_id = $1)"#,
        user_id.as_str(),
        me.as_str()
    )
    .fetch_optional(&app.pool)
    .await?
    .unwrap_or_default();
    if count == 0 {
        must_be_visible(&app, &me, &user_id).await?;
    }
    Ok(Json(Count::of(count)))
}
