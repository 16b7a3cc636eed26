//! Profile images: URLs to put them into the store and to get them from there.
//!
//! Published clients ask for a URL and then upload. They do not report the upload, so asking for the URL counts as one.

use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, extract::State};
use shared::{api::Success, ids::UserId};

use crate::{
    App,
    auth::{Caller, Member},
    error::{Error, Result},
    extract::{ImageExt, ImageExts, Path, UserIds},
    image_store::ImageExtension,
    looks::{self, Looks},
    outbox,
    routes::{SUCCESS, people::must_be_visible},
    user_rows::stored_id,
};

/// A URL to upload the caller's profile image to.
///
/// It takes a `PUT`, by default within an hour, with the content type of the image's kind: `image/png`, `image/jpeg` for
/// jpg and jpeg, `image/webp` or `image/gif`. From now on others see that there is such an image, and since when. If the
/// kind changes, all friends are told. Kind and name together can change five times in an hour.
#[utoipa::path(
    get,
    path = "/users/me/profile-image-upload-url",
    tag = "users",
    params(ImageExt),
    responses(
        (status = 200, description = "The URL.", body = String, content_type = "application/json"),
        (status = 422, description = "There is no such kind of image."),
        (status = 429, description = "Too many requests, or the name or the picture was changed too often within an hour.")
    )
)]
pub async fn upload_url(
    State(app): State<Arc<App>>,
    caller: Caller,
    ImageExt(extension): ImageExt,
) -> Result<Json<String>> {
    let url = app.image_store.upload_url(&caller.user_id, extension).await?;
    let mut locked = looks::lock(&app, &caller.user_id, |account| {
        Ok(Looks { profile_image_extension: Some(extension.as_str().to_owned()), ..account.looks.clone() })
    })
    .await?;
    sqlx::query!(
        "update users set profile_image_extension = $2, profile_image_uploaded_at = clock_timestamp()
        where user_id = $1",
        caller.user_id.as_str(),
        extension.as_str()
    )
    .execute(&mut *locked.transaction)
    .await?;
    locked.tell(&caller.user_id).await?;
    outbox::commit(&app, locked.transaction, Vec::new()).await?;
    Ok(Json(url))
}

/// Removes the caller's profile image.
///
/// All friends are told, so this counts as a change of the picture.
#[utoipa::path(
    delete,
    path = "/users/me/profile-image",
    tag = "users",
    responses(
        (status = 200, description = "There is none now.", body = Success),
        (status = 429, description = "Too many requests, or the name or the picture was changed too often within an hour.")
    )
)]
pub async fn remove(State(app): State<Arc<App>>, caller: Caller) -> Result<Json<Success>> {
    // The image is removed before the account's mention of it. If only the first succeeds, the caller gets an error and
    // can ask again.
    app.image_store.require()?;
    looks::may_lose_image(&app, &caller.user_id).await?;
    app.image_store.remove(&caller.user_id).await?;
    let mut locked = looks::lock(&app, &caller.user_id, |account| {
        Ok(Looks { profile_image_extension: None, ..account.looks.clone() })
    })
    .await?;
    sqlx::query!(
        "update users set profile_image_extension = null, profile_image_uploaded_at = null where user_id = $1",
        caller.user_id.as_str()
    )
    .execute(&mut *locked.transaction)
    .await?;
    locked.tell(&caller.user_id).await?;
    outbox::commit(&app, locked.transaction, Vec::new()).await?;
    Ok(SUCCESS)
}

/// A URL to get somebody's profile image from.
///
/// It works for an hour by default. It finds nothing if there is no image of this kind.
#[utoipa::path(
    get,
    path = "/users/id/{id}/profile-image-url",
    tag = "users",
    params(("id" = UserId, Path, description = "Whose image."), ImageExt),
    responses(
        (status = 200, description = "The URL.", body = String, content_type = "application/json"),
        (status = 404, description = "There is no such user, as far as the caller can see."),
        (status = 422, description = "There is no such kind of image.")
    )
)]
pub async fn url(
    State(app): State<Arc<App>>,
    caller: Caller,
    Path(user_id): Path<UserId>,
    ImageExt(extension): ImageExt,
) -> Result<Json<String>> {
    must_be_visible(&app, &caller.user_id, &user_id).await?;
    app.image_store.url(&user_id, extension).await.map(Json)
}

/// URLs to get several profile images from.
///
/// They work for an hour by default. A URL finds nothing if there is no image of this kind.
#[utoipa::path(
    get,
    path = "/users/ids/{ids}/profile-image-url",
    tag = "users",
    params(
        ("ids" = UserIds, Path, description = "Whose images: at most 100 ids, separated by commas."),
        ImageExts
    ),
    responses(
        (status = 200, description = "The URL for each user. Users who do not exist are left out.",
            body = BTreeMap<String, String>),
        (status = 400, description = "A parameter cannot be read, or there are not as many kinds as ids."),
        (status = 422, description = "There is no such kind of image.")
    )
)]
pub async fn urls(
    State(app): State<Arc<App>>,
    Member(me): Member,
    Path(UserIds(ids)): Path<UserIds>,
    ImageExts(extensions): ImageExts,
) -> Result<Json<BTreeMap<UserId, String>>> {
    if ids.len() != extensions.len() {
        return Err(Error::malformed_field("image_ext_arr", "has not as many entries as there are ids"));
    }
    let texts: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
    let visible = sqlx::query_scalar!(
        "select user_id from users u where user_id = any($1)
            and (select true from hidden h where h.user_id = $2 and h.hidden_id = u.user_id limit 1) is null",
        &texts,
        me.as_str()
    )
    .fetch_all(&app.pool)
    .await?;
    let wanted: BTreeMap<UserId, ImageExtension> = ids.into_iter().zip(extensions).collect();
    let mut urls = BTreeMap::new();
    for user_id in visible {
        let user_id = stored_id(user_id)?;
        if let Some(extension) = wanted.get(&user_id) {
            urls.insert(user_id.clone(), app.image_store.url(&user_id, *extension).await?);
        }
    }
    Ok(Json(urls))
}
