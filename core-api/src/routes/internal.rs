//! Calls that only the edge may make.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{
        HeaderMap, StatusCode,
        header::{ETAG, IF_NONE_MATCH},
    },
    response::{IntoResponse, Response},
};
use shared::{api::UserInfo, ids::UserId, internal::Social};

use crate::{
    App,
    auth::Edge,
    error::{NO_SUCH_USER, Result},
    extract::Path,
    outbox,
    user_rows::{InfoRow, StoredPolicy},
};

/// `GET /internal/users/{id}/social`: friends and share settings, or 304 when the edge has them already.
pub async fn social(
    State(app): State<Arc<App>>,
    _: Edge,
    Path(user_id): Path<UserId>,
    headers: HeaderMap,
) -> Result<Response> {
    // The version is read before the friends. If the friends change between the two statements, they are newer than the
    // version says. Then an event with the newer version is on its way.
    let user = sqlx::query!(
        r#"select first_name, last_name, profile_image_extension, social_version,
            share_mode, domain_allow_array, domain_deny_array, suspended_at is not null as "suspended!"
        from users where user_id = $1"#,
        user_id.as_str()
    )
    .fetch_optional(&app.pool)
    .await?
    .ok_or(NO_SUCH_USER)?;
    let version = outbox::version(user.social_version)?;
    let etag = [(ETAG, format!("\"{version}\""))];
    if names(&headers, version) {
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    let friends = sqlx::query_as!(
        InfoRow,
        "select u.user_id, u.first_name, u.last_name, u.profile_image_extension
        from friends f join users u on u.user_id = f.friend_id
        where f.user_id = $1 order by u.user_id",
        user_id.as_str()
    )
    .fetch_all(&app.pool)
    .await?;
    let stored = StoredPolicy {
        share_mode: user.share_mode,
        domain_allow_array: user.domain_allow_array,
        domain_deny_array: user.domain_deny_array,
    };
    let social = Social {
        version,
        user: UserInfo {
            user_id,
            first_name: user.first_name,
            last_name: user.last_name,
            profile_image_extension: user.profile_image_extension,
        },
        share: stored.policy(),
        suspended: user.suspended,
        friends: friends.into_iter().map(UserInfo::try_from).collect::<Result<_>>()?,
    };
    Ok((etag, Json(social)).into_response())
}

/// Whether `If-None-Match` lists this version, weak or strong.
fn names(headers: &HeaderMap, version: u64) -> bool {
    let tag = format!("\"{version}\"");
    let lists = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|one| {
        let one = one.trim();
        one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag
    })
}
