//! What clients should say about domains: `/domains/…`.

use std::collections::BTreeMap;

use axum::Json;

use crate::auth::Caller;

/// `GET /domains/share/warnings`: domains that may give away something private when their pages are shared, and
/// the sentence to warn with.
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
