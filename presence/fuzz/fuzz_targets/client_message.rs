//! Whatever bytes a client sends: the parser of messages and of pages neither panics nor lets through what it must not.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::{
    limits::{TITLE_CHARS_MAX, URL_CHARS_MAX},
    page::Page,
    wire::ClientMessage,
};

fuzz_target!(|text: &str| {
    let Ok(message) = serde_json::from_str::<ClientMessage>(text) else { return };
    let again = serde_json::to_string(&message).expect("a message is written");
    assert_eq!(serde_json::from_str::<ClientMessage>(&again).expect("and read"), message);
    if let ClientMessage::UpdatePresence { url, title } = message
        && let Ok(Some(page)) = Page::parse(&url, &title)
    {
        assert!(page.url.chars().count() <= URL_CHARS_MAX && page.title.chars().count() <= TITLE_CHARS_MAX);
        assert!(page.url.starts_with("http://") || page.url.starts_with("https://"));
        assert!(!page.url.contains('#'));
    }
});
