//! What clients should say about domains: `/domains/…`.

use std::collections::BTreeMap;

use axum::Json;

use crate::auth::Caller;

/// Sites that may give away something private when they are shown to friends.
#[utoipa::path(
    get,
    path = "/domains/share/warnings",
    tag = "users",
    responses((status = 200, description = "The sentence to warn with, for each such site.", body = BTreeMap<String, String>))
)]
pub async fn warnings(_: Caller) -> Json<BTreeMap<&'static str, &'static str>> {
    Json(BTreeMap::from(WARNINGS))
}

const WARNINGS: [(&str, &str); 3] = [
    (
        "google.com",
        "Allowing google.com shows your friends what you search for, and the titles of your mails and documents.",
    ),
    ("messenger.com", "Allowing messenger.com shows your friends whom you are chatting with."),
    ("notion.so", "Allowing notion.so shows your friends the titles of your private notes."),
];
