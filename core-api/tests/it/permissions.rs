//! Who may do what: every call of the API by every kind of caller, in one table.

use std::collections::BTreeSet;

use axum::{body::Body, http::Request};
use serde_json::json;
use sqlx::PgPool;
use time::OffsetDateTime;

use crate::{
    bucket::Bucket,
    world::{KEY, Reply, World, claims, token},
};

/// The callers, by their relation to the owner of what is called for.
pub const CALLERS: [&str; 8] =
    ["without a token", "with an expired one", "unregistered", "stranger", "pending", "friend", "blocked", "owner"];

pub type Expected = [u16; CALLERS.len()];

/// Everybody may make these calls.
const ANYBODY: Expected = [200; 8];
/// Every registered user may make these calls.
const MEMBERS: Expected = [401, 401, 403, 200, 200, 200, 200, 200];
/// Every registered user may do this to their own account. An unregistered one has none yet.
const OWN: Expected = [401, 401, 404, 200, 200, 200, 200, 200];
/// These calls name the owner. For a blocked caller, there is no such user.
const SEEN: Expected = [401, 401, 403, 200, 200, 200, 404, 200];

const UPDATE: &str = r#"{"first_name": "New", "last_name": "Name", "share_mode": "default_all", "email_public": true,
    "domain_allow_array": [], "domain_deny_array": [], "gender_public": true, "school_public": true,
    "work_public": true, "location_public": true}"#;

/// A call, and the status that each caller gets. In bodies, OWNER and CALLER stand for their ids. "pending" is somebody whom the
/// owner has asked, "blocked" somebody whom the owner has blocked.
pub type Row = (&'static str, &'static str, &'static str, &'static str, Expected);

#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    ("GET", "/ping", "", "", ANYBODY),
    ("GET", "/healthz", "", "", ANYBODY),
    ("GET", "/readyz", "", "", ANYBODY),
    ("GET", "/openapi.json", "", "", ANYBODY),
    ("GET", "/docs", "", "", [303; 8]),

    ("GET", "/users/me", "", "", OWN),
    ("POST", "/users/me", "", r#"{"first_name": "Some", "last_name": "Body"}"#, [401, 401, 201, 409, 409, 409, 409, 409]),
    ("PUT", "/users/me", "", UPDATE, OWN),
    ("DELETE", "/users/me", "", "", [401, 401, 404, 204, 204, 204, 204, 204]),
    ("GET", "/users/me/export", "", "", OWN),
    ("PUT", "/users/me/domain_array/{list}", "", r#"["example.com"]"#, OWN),
    ("GET", "/users/me/profile-image-upload-url", "?image_ext=png", "", OWN),
    ("DELETE", "/users/me/profile-image", "", "", OWN),

    ("GET", "/users/id/{id}", "", "", SEEN),
    ("GET", "/users/id/{id}/friends", "", "", SEEN),
    ("GET", "/users/id/{id}/friends/count", "", "", SEEN),
    ("GET", "/users/id/{id}/mutual-friends", "", "", SEEN),
    ("GET", "/users/id/{id}/mutual-friends/count", "", "", SEEN),
    ("GET", "/users/id/{id}/profile-image-url", "?image_ext=png", "", SEEN),
    // These calls leave out users whom the caller cannot see.
    ("GET", "/users/ids/{ids}", "", "", MEMBERS),
    ("GET", "/users/ids/{ids}/profile-image-url", "?image_ext_arr=png", "", MEMBERS),
    ("GET", "/users/search/name/{text}", "", "", MEMBERS),
    ("GET", "/users/search/email/{text}", "", "", MEMBERS),

    // These calls answer null if there is nothing between two users, whether they exist for each other or not.
    ("GET", "/friendship/check/{id}", "", "", MEMBERS),
    ("GET", "/friendship/requests/{id}", "", "", MEMBERS),
    ("GET", "/friendship/requests", "", "", MEMBERS),
    ("GET", "/friendship/sent-requests", "", "", MEMBERS),
    ("POST", "/friendship/requests", "", r#"{"user_id2": "OWNER"}"#, [401, 401, 403, 200, 200, 200, 404, 400]),
    ("DELETE", "/friendship/requests/{id}", "", "", [401, 401, 403, 404, 200, 404, 404, 404]),
    ("POST", "/friendship/accept", "", r#"{"user_id1": "OWNER"}"#, [401, 401, 403, 404, 200, 200, 404, 404]),
    ("POST", "/friendship/delete", "", r#"{"user_id1": "OWNER", "user_id2": "CALLER"}"#, [401, 401, 403, 200, 200, 200, 200, 400]),
    ("POST", "/friendship/delete", "", r#"{"user_id1": "OWNER", "user_id2": "third"}"#, [401, 401, 403, 403, 403, 403, 403, 200]),
    ("GET", "/friendship/all", "", "", MEMBERS),
    ("GET", "/friendship/search/name/{text}", "", "", MEMBERS),
    ("GET", "/friendship/search/email/{text}", "", "", MEMBERS),
    ("GET", "/friendship/blocks", "", "", MEMBERS),
    ("PUT", "/friendship/blocks/{id}", "", "", [401, 401, 403, 200, 200, 200, 404, 400]),
    ("DELETE", "/friendship/blocks/{id}", "", "", MEMBERS),

    ("GET", "/notifications/share", "", "", MEMBERS),
    ("POST", "/notifications/share", "", r#"{"url": "https://example.com/", "title": "A page"}"#, MEMBERS),
    ("POST", "/notifications/share/personal", "",
        r#"{"url": "https://example.com/", "title": "A page", "sent_to": "OWNER"}"#, [401, 401, 403, 403, 403, 200, 403, 403]),
    ("GET", "/notifications/share/sent", "", "", MEMBERS),
    ("POST", "/notifications/share/read", "", r#"[{"event_id": "019aa4f0-7c00-7000-8000-000000000000"}]"#, MEMBERS),

    // Everybody with a valid token may call this, because it is of use before one registers.
    ("GET", "/domains/share/warnings", "", "", [401, 401, 200, 200, 200, 200, 200, 200]),
];

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn everybody_may_do_what_the_table_says_and_no_more(pool: PgPool) {
    let bucket = Bucket::start().await;
    let world = World::with(pool, &bucket.flags()).await;
    let mut surprises = Vec::new();
    for (number, (method, path, query, body, expected)) in TABLE.iter().enumerate() {
        // Each row has new users, because some calls change everything.
        let [unregistered, stranger, pending, friend, blocked, owner] =
            ["unregistered", "stranger", "pending", "friend", "blocked", "owner"].map(|who| format!("{who}-{number}"));
        world.register(&[&stranger, &pending, &friend, &blocked, &owner]).await;
        world.post(&owner, "/friendship/requests", json!({"user_id2": pending})).await.is_success();
        world.befriend(&friend, &owner).await;
        world.put(&owner, &format!("/friendship/blocks/{blocked}"), json!(null)).await.is_success();

        let expired = {
            let mut claims = claims(&owner);
            claims["exp"] = json!(OffsetDateTime::now_utc().unix_timestamp() - 1);
            KEY.sign(&claims)
        };
        let tokens = [None, Some((&owner, expired))]
            .into_iter()
            .chain([&unregistered, &stranger, &pending, &friend, &blocked, &owner].map(|who| Some((who, token(who)))));
        for ((who, token), expected) in CALLERS.iter().zip(tokens).zip(expected) {
            let caller = token.as_ref().map_or("", |(caller, _)| caller);
            let filled = |text: &str| text.replace("OWNER", &owner).replace("CALLER", caller);
            let named = path.replace("{id}", &owner).replace("{ids}", &owner).replace("{text}", &owner);
            let address = format!("{}{query}", named.replace("{list}", "allow"));
            let mut request = Request::builder().method(*method).uri(address);
            if let Some((_, token)) = &token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let reply = world.send(request.body(Body::from(filled(body))).unwrap()).await;
            if reply.status != *expected {
                surprises.push(format!("{method} {path}, {who}: {} instead of {expected}", reply.status));
            } else if reply.status >= 400 {
                reply.is_problem(*expected);
            }
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

#[sqlx::test(migrator = "core_api::database::MIGRATIONS")]
async fn the_table_has_a_row_for_every_call_and_no_other(pool: PgPool) {
    let world = World::new(pool).await;
    let Reply { body: document, .. } = world.get("anybody", "/openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let documented: BTreeSet<_> = paths
        .iter()
        .flat_map(|(path, calls)| {
            calls.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.to_owned()))
        })
        .collect();
    let rows = TABLE.iter().map(|(method, path, ..)| ((*method).to_owned(), (*path).to_owned()));
    assert_eq!(documented, rows.collect());
}
