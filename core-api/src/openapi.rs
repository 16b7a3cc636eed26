//! The OpenAPI document of the public API. Handlers describe themselves; this file adds what is true of all of them.
//!
//! Deliberately absent: `/internal/*`, which is between the two servers.

use utoipa::{
    OpenApi,
    openapi::{
        Content, Header, HttpMethod, ObjectBuilder, OpenApi as Document, Ref, RefOr, Response, Schema, Type,
        path::{Operation, PathItem},
        schema::SchemaType,
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use crate::{
    extract::UserIds,
    image_store::ImageExtension,
    routes::{search::SearchText, users::DomainList},
};
use shared::{
    api::{FieldError, PROBLEM_JSON, Problem},
    internal::REQUEST_ID_HEADER,
};

/// The name of the only security scheme.
const BEARER: &str = "bearer";

/// What is true of all calls, in Markdown.
const DESCRIPTION: &str = "Users, their friendships, and the pages that they share with each other.

Errors are RFC 9457 problems. Times are RFC 3339 in UTC with a literal `Z`; dates are `YYYY-MM-DD`. Lists take `limit` \
(at most 100, more is served as 100) and `offset`. Bodies are JSON of at most 64 KiB, whatever their content type says.";

#[derive(OpenApi)]
#[openapi(
    info(title = "PageNow", description = DESCRIPTION),
    // Schemas that only parameters use are not collected by the library.
    components(schemas(Problem, FieldError, DomainList, ImageExtension, SearchText, UserIds)),
    tags(
        (name = "users", description = "Accounts, profiles and profile images"),
        (name = "friendships", description = "Friends, requests for friendship, and blocks"),
        (name = "shares", description = "Pages that users send each other"),
        (name = "service", description = "The service itself; no token needed"),
    )
)]
struct Frame;

/// The document before any route is in it.
pub fn frame() -> Document {
    let mut document = Frame::openapi();
    let mut bearer = Http::new(HttpAuthScheme::Bearer);
    bearer.bearer_format = Some("JWT".to_owned());
    bearer.description = Some("An ID token of the identity provider. Its scheme may be left out.".to_owned());
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(BEARER, SecurityScheme::Http(bearer));
    document.security = Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
    document
}

/// Adds what handlers need not repeat: the answers every route has, the shape of errors, and the headers.
pub fn complete(document: &mut Document) {
    let mut asked = Vec::new();
    for (path, item) in &mut document.paths.paths {
        for (_, operation) in operations(item) {
            complete_operation(path, operation);
            asked.extend(operation.request_body.iter().filter_map(body_schema));
        }
    }
    for (name, schema) in document.components.iter_mut().flat_map(|components| &mut components.schemas) {
        // In an answer, a field that is null is still present. A request may leave it out.
        if !asked.contains(name) {
            require_nullable(schema);
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (HttpMethod, &mut Operation)> {
    let all = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Put, &mut item.put),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Delete, &mut item.delete),
    ];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

fn complete_operation(path: &str, operation: &mut Operation) {
    // Handlers of different files may have the same name.
    let tag = operation.tags.iter().flatten().next().cloned().unwrap_or_default();
    operation.operation_id = operation.operation_id.take().map(|name| format!("{tag}_{name}"));

    let mut also = vec![
        (414, "The address is longer than 16 KiB."),
        (431, "The headers are larger than 32 KiB."),
        (500, "Something went wrong on our side."),
        (503, "Something that this service needs is away, or the request took too long."),
    ];
    if operation.security.is_none() {
        also.extend([(401, "No valid token."), (429, "Too many requests.")]);
        if path == "/users/me" || path.starts_with("/users/me/") {
            also.push((404, "The caller is not registered."));
        } else {
            also.push((403, "The caller is not registered, or is suspended."));
        }
    }
    if operation.parameters.as_ref().is_some_and(|parameters| !parameters.is_empty()) {
        also.push((400, "A parameter cannot be read."));
    }
    if operation.request_body.is_some() {
        also.push((400, "The body is not JSON."));
        also.push((413, "The body is larger than 64 KiB."));
        also.push((422, "The body is JSON, but a value in it is not acceptable."));
    }
    let responses = &mut operation.responses.responses;
    for (status, description) in also {
        responses.entry(status.to_string()).or_insert_with(|| Response::new(description).into());
    }
    for (status, response) in responses {
        if let RefOr::T(response) = response {
            complete_response(status, response);
        }
    }
}

fn complete_response(status: &str, response: &mut Response) {
    let mut add = |name: &str, kind: Type, description: &str| {
        let mut header = Header::new(ObjectBuilder::new().schema_type(kind));
        header.description = Some(description.to_owned());
        response.headers.insert(name.to_owned(), header.into());
    };
    add(REQUEST_ID_HEADER, Type::String, "The request's id: the caller's own if it sent a usable one.");
    match status {
        "401" => add("WWW-Authenticate", Type::String, "Always Bearer."),
        "429" | "503" => add("Retry-After", Type::Integer, "Seconds to wait before trying again."),
        _ => {}
    }
    if status.starts_with(['4', '5']) {
        let problem = Content::new(Some(Ref::from_schema_name("Problem")));
        response.content.entry(PROBLEM_JSON.to_owned()).or_insert(problem.into());
    }
}

/// The name of the schema of a body, if it has one.
fn body_schema(body: &RefOr<utoipa::openapi::request_body::RequestBody>) -> Option<String> {
    let RefOr::T(body) = body else { return None };
    let RefOr::T(content) = body.content.values().next()? else { return None };
    let Some(RefOr::Ref(reference)) = &content.schema else { return None };
    reference.ref_location.rsplit('/').next().map(str::to_owned)
}

fn require_nullable(schema: &mut RefOr<Schema>) {
    if let RefOr::T(Schema::Object(object)) = schema {
        for (name, property) in &object.properties {
            if is_nullable(property) && !object.required.contains(name) {
                object.required.push(name.clone());
            }
        }
    } else if let RefOr::T(Schema::AllOf(all)) = schema {
        all.items.iter_mut().for_each(require_nullable);
    }
}

fn is_nullable(schema: &RefOr<Schema>) -> bool {
    if let RefOr::T(Schema::OneOf(one)) = schema {
        return one.items.iter().any(is_nullable);
    }
    let kind = match schema {
        RefOr::T(Schema::Object(object)) => Some(&object.schema_type),
        RefOr::T(Schema::Array(array)) => Some(&array.schema_type),
        RefOr::T(_) | RefOr::Ref(_) => None,
    };
    kind.is_some_and(|kind| match kind {
        SchemaType::Type(kind) => *kind == Type::Null,
        SchemaType::Array(kinds) => kinds.contains(&Type::Null),
        SchemaType::AnyValue => false,
    })
}
