//! The types of both contracts, the live channel's and REST's, in TypeScript for the client, and the calls of the public
//! document. `cargo xtask codegen` writes them; a test checks that the stored files are those of today.

use std::{collections::BTreeMap, fmt::Write as _};

use devstack::generated;
use shared::{
    api::{Count, Friendship, Problem, Success, UserPrivate},
    limits::{
        BODY_BYTES_MAX, DOMAIN_LIST_LEN_MAX, FRAME_BYTES_MAX, NAME_CHARS_MAX, PAGE_ITEMS_MAX, PROFILE_IMAGE_BYTES_MAX,
        PROFILE_TEXT_CHARS_MAX, SHARES_READ_LEN_MAX, SOCKETS_MAX, TITLE_CHARS_MAX, URL_CHARS_MAX,
    },
    wire::{
        ClientMessage, CloseCode, HEARTBEAT_REQUEST, HEARTBEAT_RESPONSE, PresenceSnapshot, SUBPROTOCOL, ServerMessage,
    },
};
use ts_rs::{Config, TS, TypeVisitor};

use crate::{
    public_routes,
    routes::{friendships, shares, users},
};

const HEADING: &str = "// Written by `cargo xtask codegen` from the servers' own types. Do not edit.\n";

/// Declarations by their names. With each type, the types that it refers to are added.
struct Declarations {
    config: Config,
    by_name: BTreeMap<String, String>,
}

impl TypeVisitor for Declarations {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // A type without a file of its own is one of TypeScript's own types.
        if T::output_path().is_some() && !self.by_name.contains_key(&T::ident(&self.config)) {
            let docs = T::docs().map(|docs| format!("{}\n", docs.trim_end())).unwrap_or_default();
            let declaration = format!("{docs}export {}\n", T::decl(&self.config));
            self.by_name.insert(T::ident(&self.config), declaration);
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

fn types() -> String {
    let mut all = Declarations { config: Config::new().with_large_int("number"), by_name: BTreeMap::new() };
    all.visit::<ClientMessage>();
    all.visit::<ServerMessage>();
    all.visit::<PresenceSnapshot>();
    all.visit::<UserPrivate>();
    all.visit::<Friendship>();
    all.visit::<Count>();
    all.visit::<shared::api::ShareNotificationSent>();
    all.visit::<Success>();
    all.visit::<Problem>();
    all.visit::<users::NewUser>();
    all.visit::<users::UserUpdate>();
    all.visit::<users::DomainEntries>();
    all.visit::<friendships::Ask>();
    all.visit::<friendships::Accept>();
    all.visit::<friendships::Ended>();
    all.visit::<shares::Broadcast>();
    all.visit::<shares::Personal>();
    all.visit::<shares::AllSeen>();
    let declarations: Vec<String> = all.by_name.into_values().collect();
    let lines = declarations.join("\n").lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>();
    format!("{HEADING}\n{lines}")
}

/// What both sides must agree on besides types.
fn constants() -> String {
    let mut text = format!("{HEADING}\n");
    let texts = [
        ("HEARTBEAT_REQUEST", HEARTBEAT_REQUEST),
        ("HEARTBEAT_RESPONSE", HEARTBEAT_RESPONSE),
        ("SUBPROTOCOL", SUBPROTOCOL),
    ];
    for (name, value) in texts {
        writeln!(text, "export const {name} = {value:?};").unwrap();
    }
    let numbers = [
        ("BODY_BYTES_MAX", BODY_BYTES_MAX),
        ("DOMAIN_LIST_LEN_MAX", DOMAIN_LIST_LEN_MAX),
        ("FRAME_BYTES_MAX", FRAME_BYTES_MAX),
        ("NAME_CHARS_MAX", NAME_CHARS_MAX),
        ("PAGE_ITEMS_MAX", usize::try_from(PAGE_ITEMS_MAX).unwrap()),
        ("PROFILE_IMAGE_BYTES_MAX", PROFILE_IMAGE_BYTES_MAX),
        ("PROFILE_TEXT_CHARS_MAX", PROFILE_TEXT_CHARS_MAX),
        ("SHARES_READ_LEN_MAX", SHARES_READ_LEN_MAX),
        ("SOCKETS_MAX", SOCKETS_MAX),
        ("TITLE_CHARS_MAX", TITLE_CHARS_MAX),
        ("URL_CHARS_MAX", URL_CHARS_MAX),
    ];
    for (name, value) in numbers {
        writeln!(text, "export const {name} = {value};").unwrap();
    }
    let codes = [
        ("done", CloseCode::Done),
        ("tooBig", CloseCode::TooBig),
        ("badMessages", CloseCode::BadMessages),
        ("tokenExpired", CloseCode::TokenExpired),
        ("accountGone", CloseCode::AccountGone),
        ("silent", CloseCode::Silent),
        ("tooManySockets", CloseCode::TooManySockets),
        ("tooFast", CloseCode::TooFast),
    ];
    text.push_str("\n/** Why the server closed a socket. */\nexport const CLOSE_CODES = {\n");
    for (name, code) in codes {
        writeln!(text, "  {name}: {},", code.number()).unwrap();
    }
    text.push_str("} as const;\n");
    text
}

/// The calls of the public document, such as `GET /users/me`, in its order.
fn operations() -> String {
    let (_, document) = public_routes().split_for_parts();
    let document = serde_json::to_value(&document).unwrap();
    let paths = document["paths"].as_object().unwrap().iter();
    let calls = paths.flat_map(|(path, operations)| {
        operations.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    format!("{}\n", serde_json::to_string_pretty(&calls.collect::<Vec<_>>()).unwrap())
}

#[test]
fn types_for_the_client_are_fresh() {
    generated::settle("types.ts", &types()).unwrap();
    generated::settle("constants.ts", &constants()).unwrap();
    generated::settle("operations.json", &operations()).unwrap();
}
