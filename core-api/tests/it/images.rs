//! Profile images, put into a real store and got from there by the URLs that the core signs.

use core_api::image_removals;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::watch;

use crate::{
    bucket::Bucket,
    world::{World, until},
};

const UPLOAD: &str = "/users/me/profile-image-upload-url?image_ext=png";
const BOBS: &str = "/users/id/bob/profile-image-url?image_ext=png";

/// A core that uses the bucket, with these users.
async fn world(pool: PgPool, bucket: &Bucket, user_ids: &[&str]) -> World {
    let world = World::with(pool, &bucket.flags()).await;
    world.register(user_ids).await;
    world
}

async fn signed(world: &World, user_id: &str, path: &str) -> String {
    let reply = world.get(user_id, path).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.body.as_str().unwrap().to_owned()
}

/// Uploads as published clients do, with the media type of the file.
async fn put(url: &str, bytes: &'static [u8]) -> u16 {
    let kind = url.split('?').next().unwrap().rsplit('.').next().unwrap();
    put_as(&format!("image/{}", if kind == "jpg" { "jpeg" } else { kind }), url, bytes).await
}

async fn put_as(media_type: &str, url: &str, bytes: &'static [u8]) -> u16 {
    let put = Client::new().put(url).header("content-type", media_type).header("x-amz-acl", "private");
    put.body(bytes).send().await.unwrap().status().as_u16()
}

async fn get(url: &str) -> (u16, Vec<u8>) {
    let response = Client::new().get(url).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn what_one_user_uploads_another_downloads(pool: PgPool) {
    let bucket = Bucket::start().await;
    let odd = "a/../b?c#d%25&é~";
    let world = world(pool, &bucket, &["alice", odd]).await;
    let before = world.get("alice", "/users/me").await.body;
    assert_eq!(
        (&before["profile_image_extension"], &before["profile_image_uploaded_at"]),
        (&json!(null), &json!(null))
    );
    for user_id in ["alice", odd] {
        let picture = user_id.to_owned().into_bytes().leak();
        assert_eq!(put(&signed(&world, user_id, UPLOAD).await, picture).await, 200, "{user_id}");
        let seen = format!("/users/id/{}", utf8_percent_encode(user_id, NON_ALPHANUMERIC));
        let url = signed(&world, "alice", &format!("{seen}/profile-image-url?image_ext=png")).await;
        assert_eq!(get(&url).await, (200, picture.to_vec()), "{user_id}");
        let profile = world.get("alice", &seen).await.body;
        assert_eq!(profile["profile_image_extension"], "png");
        assert!(profile["profile_image_uploaded_at"].as_str().unwrap().ends_with('Z'));
    }
    assert_eq!(bucket.objects().len(), 2);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_url_is_good_for_one_call_on_one_image_by_the_right_secret(pool: PgPool) {
    let bucket = Bucket::start().await;
    let forger = World::with(pool.clone(), &bucket.flags_with_another_secret()).await;
    let world = world(pool, &bucket, &["alice", "bob"]).await;
    let upload = signed(&world, "bob", UPLOAD).await;
    assert_eq!(put(&upload, b"bob").await, 200);
    let url = signed(&world, "alice", BOBS).await;
    assert_eq!(get(&url).await.0, 200);
    assert_eq!(put(&url, b"not bob").await, 403);
    assert_eq!(get(&upload).await.0, 403);
    assert_eq!(put(&upload.replace("/bob/", "/alice/"), b"not alice").await, 403);
    assert_eq!(get(&url.replace("Expires=3600", "Expires=7200")).await.0, 403);
    assert_eq!(get(&signed(&forger, "alice", BOBS).await).await.0, 403);
    assert_eq!(get(url.split('?').next().unwrap()).await.0, 403);
    assert_eq!(get(&url).await, (200, b"bob".to_vec()));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn only_images_are_uploaded_and_they_are_served_as_images(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = world(pool, &bucket, &["bob"]).await;
    for (kind, media_type) in [
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("webp", "image/webp"),
        ("gif", "image/gif"),
    ] {
        let upload = signed(&world, "bob", &format!("/users/me/profile-image-upload-url?image_ext={kind}")).await;
        for other in ["text/html", "image/svg+xml", "", "image/png; charset=utf-8"] {
            assert_eq!(put_as(other, &upload, b"<script>").await, 403, "{other}");
        }
        assert_eq!(Client::new().put(&upload).body("no type").send().await.unwrap().status(), 403);
        assert_eq!(put_as(media_type, &upload, b"a picture").await, 200, "{kind}");
        let url = signed(&world, "bob", &format!("/users/id/bob/profile-image-url?image_ext={kind}")).await;
        let response = Client::new().get(&url).send().await.unwrap();
        assert_eq!(response.headers()["content-type"], media_type);
        let html = utf8_percent_encode("text/html", NON_ALPHANUMERIC);
        let image = utf8_percent_encode(media_type, NON_ALPHANUMERIC);
        let other = url.replace(&format!("response-content-type={image}"), &format!("response-content-type={html}"));
        assert_ne!(other, url);
        assert_eq!(get(&other).await.0, 403);
        // Each kind is a change that friends are told of, and such changes are limited. So they are forgotten here.
        sqlx::query("update users set looks_changed_ms = '{}'").execute(&world.pool).await.unwrap();
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_image_uploaded_after_a_removal_is_removed_once_the_url_has_expired(pool: PgPool) {
    let bucket = Bucket::start().await;
    let flags = [bucket.flags(), vec!["--profile-image-url-s", "8"]].concat();
    let world = World::with(pool, &flags).await;
    world.register(&["alice", "bob", "carol"]).await;
    let mut uploads = Vec::new();
    for user_id in ["alice", "bob", "carol"] {
        uploads.push(signed(&world, user_id, UPLOAD).await);
    }
    assert_eq!(world.delete("alice", "/users/me").await.status, 204);
    world.delete("bob", "/users/me/profile-image").await.is_success();
    world.delete("carol", "/users/me/profile-image").await.is_success();
    let again = signed(&world, "carol", "/users/me/profile-image-upload-url?image_ext=gif").await;
    for upload in uploads.iter().chain([&again]) {
        assert_eq!(put(upload, b"a picture").await, 200);
    }
    assert_eq!(bucket.objects(), ["alice.png", "bob.png", "carol.gif", "carol.png"]);
    let (stop, stopped) = watch::channel(false);
    // This instance is another than the one that removed them.
    let app = World::with(world.pool.clone(), &flags).await.app;
    let removals = tokio::spawn(image_removals::run(app, stopped));
    until("they are gone", async || bucket.objects() == ["carol.gif"]).await;
    until("nothing is left to do", async || {
        let left: i64 = sqlx::query_scalar("select count(*) from image_removals").fetch_one(&world.pool).await.unwrap();
        left == 0
    })
    .await;
    stop.send_replace(true);
    removals.await.unwrap();
    assert_eq!(bucket.objects(), ["carol.gif"], "a new one stays");
    for upload in &uploads {
        assert_eq!(put(upload, b"a picture").await, 403, "no URL outlives that");
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_url_expires(pool: PgPool) {
    let bucket = Bucket::start().await;
    let flags = [bucket.flags(), vec!["--profile-image-url-s", "2"]].concat();
    let world = World::with(pool, &flags).await;
    world.register(&["bob"]).await;
    let upload = signed(&world, "bob", UPLOAD).await;
    assert_eq!(put(&upload, b"bob").await, 200);
    until("the URL has expired", async || put(&upload, b"bob").await == 403).await;
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn several_images_are_asked_for_at_once(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = world(pool, &bucket, &["alice", "bob"]).await;
    let reply = world.get("alice", "/users/ids/bob,nobody,alice/profile-image-url?image_ext_arr=png,gif,webp").await;
    let urls = reply.body.as_object().unwrap();
    assert_eq!(urls.keys().collect::<Vec<_>>(), ["alice", "bob"]);
    assert!(urls["alice"].as_str().unwrap().contains("/alice/profile_image.webp?"));
    assert!(urls["bob"].as_str().unwrap().contains("/bob/profile_image.png?"));

    let many = |ids: usize, extensions: usize| {
        let (ids, extensions) = (vec!["bob"; ids].join(","), vec!["png"; extensions].join(","));
        format!("/users/ids/{ids}/profile-image-url?image_ext_arr={extensions}")
    };
    assert_eq!(world.get("alice", &many(100, 100)).await.status, 200);
    for (ids, extensions, field) in [(2, 1, "image_ext_arr"), (1, 2, "image_ext_arr"), (101, 101, "ids")] {
        assert_eq!(world.get("alice", &many(ids, extensions)).await.is_problem(400), [field]);
    }
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn only_five_kinds_of_images_are_taken(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = world(pool, &bucket, &["bob"]).await;
    let upload = "/users/me/profile-image-upload-url";
    for extension in ["png", "jpg", "jpeg", "webp", "gif"] {
        signed(&world, "bob", &format!("{upload}?image_ext={extension}")).await;
        assert_eq!(world.get("bob", "/users/me").await.body["profile_image_extension"], extension);
    }
    for query in ["?image_ext=svg", "?image_ext=PNG", "?image_ext=", "?image_ext=png%00", "?other=png", ""] {
        let other = format!("/users/id/bob/profile-image-url{query}");
        assert_eq!(world.get("bob", &format!("{upload}{query}")).await.is_problem(422), ["image_ext"], "{query}");
        assert_eq!(world.get("bob", &other).await.is_problem(422), ["image_ext"], "{query}");
    }
    let several = "/users/ids/bob,bob/profile-image-url?image_ext_arr=png,";
    assert_eq!(world.get("bob", several).await.is_problem(422), ["image_ext_arr"]);
    let twice = format!("{upload}?image_ext=png&image_ext=gif");
    assert_eq!(world.get("bob", &twice).await.is_problem(400), ["image_ext"]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn there_is_no_url_for_a_user_who_does_not_exist_for_the_caller(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = world(pool, &bucket, &["alice", "bob", "carol"]).await;
    world.put("bob", "/friendship/blocks/alice", Value::Null).await.is_success();
    world.put("alice", "/friendship/blocks/carol", Value::Null).await.is_success();
    for other in ["bob", "carol", "nobody"] {
        let path = format!("/users/id/{other}/profile-image-url?image_ext=png");
        world.get("alice", &path).await.is_problem(404);
    }
    let several = "/users/ids/bob,carol,nobody/profile-image-url?image_ext_arr=png,png,png";
    assert_eq!(world.get("alice", several).await.body, json!({}));
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn a_removed_image_is_gone_and_so_are_those_of_a_deleted_account(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = world(pool, &bucket, &["alice", "bob"]).await;
    for user_id in ["alice", "bob"] {
        for extension in ["png", "webp"] {
            let upload = format!("/users/me/profile-image-upload-url?image_ext={extension}");
            assert_eq!(put(&signed(&world, user_id, &upload).await, b"a picture").await, 200);
        }
    }
    world.delete("bob", "/users/me/profile-image").await.is_success();
    assert_eq!(bucket.objects(), ["alice.png", "alice.webp"]);
    let bob = world.get("bob", "/users/me").await.body;
    assert_eq!((&bob["profile_image_extension"], &bob["profile_image_uploaded_at"]), (&json!(null), &json!(null)));
    // There is no image any more, which is what the call asks for.
    world.delete("bob", "/users/me/profile-image").await.is_success();
    assert_eq!(world.delete("alice", "/users/me").await.status, 204);
    assert_eq!(bucket.objects(), [""; 0]);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn without_a_store_the_answer_says_so_and_accounts_can_be_deleted(pool: PgPool) {
    let world = World::new(pool).await;
    world.register(&["alice"]).await;
    let several = "/users/ids/alice/profile-image-url?image_ext_arr=png";
    for path in [UPLOAD, "/users/id/alice/profile-image-url?image_ext=png", several] {
        let reply = world.get("alice", path).await;
        reply.is_problem(503);
        assert!(reply.body["detail"].as_str().unwrap().contains("not set up"), "{}", reply.text);
        assert!(reply.headers.contains_key("retry-after"));
    }
    world.delete("alice", "/users/me/profile-image").await.is_problem(503);
    assert_eq!(world.get("alice", "/users/me").await.body["profile_image_extension"], json!(null));
    assert_eq!(world.delete("alice", "/users/me").await.status, 204);
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn an_image_that_could_not_be_removed_stays_in_the_profile(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = world(pool, &bucket, &["bob"]).await;
    signed(&world, "bob", UPLOAD).await;
    drop(bucket);
    world.delete("bob", "/users/me/profile-image").await.is_problem(503);
    assert_eq!(world.get("bob", "/users/me").await.body["profile_image_extension"], "png");
}
