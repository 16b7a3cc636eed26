//! Parses what a caller sent into types: bodies, parameters of path and query, and headers. A refusal names the field.
//!
//! Deliberately absent: who is calling (`auth`), and the bounds of single fields, which are with their types.

use std::{fmt::Display, str::FromStr};

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
};
use garde::Validate;
use serde::de::{DeserializeOwned, IgnoredAny};
use shared::{
    api::FieldError,
    ids::UserId,
    json::mend_surrogates,
    limits::{IDEMPOTENCY_KEY_CHARS_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, PAGE_OFFSET_MAX, USER_IDS_LEN_MAX},
};

use utoipa::{
    IntoParams, ToSchema,
    openapi::{ObjectBuilder, Type},
};

use crate::{
    error::{Error, Result},
    image_store::ImageExtension,
};

/// Most errors in one answer. A list can have thousands of bad entries, and nobody reads so many errors.
const FIELD_ERRORS_MAX: usize = 20;

/// A JSON body within its bounds. The content type is not looked at, because some published clients send
/// `text/plain` or none.
pub struct Body<T>(pub T);

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Validate<Context = ()>,
{
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| {
            match rejection.into_response().status() {
                StatusCode::PAYLOAD_TOO_LARGE => Error::TooLarge,
                _ => Error::Malformed { detail: "The body did not arrive whole.", errors: Vec::new() },
            }
        })?;
        let mut bytes = Vec::from(bytes);
        mend_surrogates(&mut bytes);
        let body: T = parse_json(&bytes)?;
        body.validate().map_err(|report| {
            let errors = report.iter();
            let errors =
                errors.map(|(path, error)| FieldError { field: path.to_string(), message: error.message().to_owned() });
            invalid(errors)
        })?;
        Ok(Self(body))
    }
}

/// A 422 with the first of these errors, at most `FIELD_ERRORS_MAX`.
pub fn invalid(errors: impl IntoIterator<Item = FieldError>) -> Error {
    Error::Invalid(errors.into_iter().take(FIELD_ERRORS_MAX).collect())
}

/// Bounds a text: at most `chars_max` characters, and none that PostgreSQL cannot store.
///
/// # Errors
///
/// What is wrong with it, for the caller.
pub fn bounded_text(text: &str, chars_max: usize) -> garde::Result {
    if text.contains('\0') {
        return Err(garde::Error::new("contains a character that cannot be stored"));
    }
    if text.chars().count() > chars_max {
        return Err(garde::Error::new(format!("has more than {chars_max} characters")));
    }
    Ok(())
}

fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    const NOT_JSON: Error = Error::Malformed { detail: "The body is not JSON.", errors: Vec::new() };

    // First find out whether it is JSON at all: the parser that looks for fields stops at the first missing one.
    serde_json::from_slice::<IgnoredAny>(bytes).map_err(|_| NOT_JSON)?;
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| if error.inner().is_data() { Error::Invalid(vec![wrong_shape(&error)]) } else { NOT_JSON })
}

/// Says which field is wrong and what was expected, never what was sent.
fn wrong_shape(error: &serde_path_to_error::Error<serde_json::Error>) -> FieldError {
    let parent = error.path().to_string();
    let parent = if parent == "." { String::new() } else { parent };
    let text = error.inner().to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if let Some(name) = text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let field = if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        return FieldError { field, message: "is missing".to_owned() };
    }
    let message = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if ["invalid ", "unknown ", "duplicate "].iter().any(|start| text.starts_with(start)) => {
            "is not acceptable".to_owned()
        }
        // The message of one of our own types, which does not repeat what was sent.
        None => text.to_owned(),
    };
    FieldError { field: parent, message }
}

/// The one parameter of a path.
pub struct Path<T>(pub T);

impl<S, T> FromRequestParts<S> for Path<T>
where
    S: Send + Sync,
    T: FromStr<Err: Display>,
{
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|_| Error::malformed_field("path", "is not UTF-8 once decoded"))?;
        let (field, text) =
            params.iter().next().ok_or_else(|| Error::Internal("a route without its parameter".to_owned()))?;
        text.parse().map(Self).map_err(|error: T::Err| Error::malformed_field(field, error.to_string()))
    }
}

/// Which part of a list is asked for: `?limit&offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// Most items to answer with. More than 100 is served as 100.
    #[param(schema_with = natural_number)]
    pub limit: Option<i64>,
    /// Items left out at the start. With more than 10,000, the list is empty.
    #[param(schema_with = natural_number, required = false)]
    pub offset: i64,
}

/// A number of [`Paging`] in the document. It has no maximum, because a number that is too large is served as the largest.
fn natural_number() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0))
}

impl Paging {
    /// The limit, or the contract's usual default.
    pub fn limit_or_default(self) -> i64 {
        self.limit_or(PAGE_ITEMS_DEFAULT)
    }

    /// The limit, or `default`.
    pub fn limit_or(self, default: u32) -> i64 {
        self.limit.unwrap_or(i64::from(default))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let natural = async |parts: &mut Parts, name: &'static str| {
            let text = value(parts, state, name).await?;
            text.map(|text| natural(name, &text)).transpose()
        };
        let limit = natural(parts, "limit").await?.map(|limit| limit.min(i64::from(PAGE_ITEMS_MAX)));
        let offset = natural(parts, "offset").await?.unwrap_or(0);
        // PostgreSQL reads the rows that it leaves out. With a limit of 0, it reads none.
        Ok(if offset > PAGE_OFFSET_MAX { Self { limit: Some(0), offset: 0 } } else { Self { limit, offset } })
    }
}

/// `?is_read=true|false`: which received shares are asked for; `None`: all.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, names("is_read"))]
pub struct IsRead(
    /// Which received shares are asked for: read ones or unread ones; left out: all.
    pub Option<bool>,
);

impl<S: Send + Sync> FromRequestParts<S> for IsRead {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        flag(parts, state, "is_read").await.map(Self)
    }
}

/// `?exact`: whether the whole text must match. It must if the parameter has no value, and need not if it is absent.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, names("exact"))]
pub struct Exact(
    /// Whether the whole text must match.
    #[param(required = false)]
    pub bool,
);

impl<S: Send + Sync> FromRequestParts<S> for Exact {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        Ok(Self(flag(parts, state, "exact").await?.unwrap_or(false)))
    }
}

/// A yes or no of the query. A parameter without a value is a yes.
async fn flag<S: Send + Sync>(parts: &mut Parts, state: &S, name: &'static str) -> Result<Option<bool>> {
    let Some(text) = value(parts, state, name).await? else { return Ok(None) };
    match text.to_ascii_lowercase().as_str() {
        "" | "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        _ => Err(Error::malformed_field(name, "is neither true nor false")),
    }
}

/// The value of one parameter of the query. Unknown parameters are ignored, because clients may add what they like.
async fn value<S: Send + Sync>(parts: &mut Parts, state: &S, name: &'static str) -> Result<Option<String>> {
    let pairs = Query::<Vec<(String, String)>>::from_request_parts(parts, state).await;
    let Query(pairs) = pairs.map_err(|_| Error::malformed_field("query", "cannot be read"))?;
    let mut values = pairs.into_iter().filter(|(key, _)| key == name).map(|(_, text)| text);
    let first = values.next();
    // It is not known which of two values is meant.
    if values.next().is_some() { Err(Error::malformed_field(name, "is given more than once")) } else { Ok(first) }
}

/// `?image_ext=png`: a kind of image.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, names("image_ext"))]
pub struct ImageExt(
    /// The extension of the image's file.
    pub ImageExtension,
);

impl<S: Send + Sync> FromRequestParts<S> for ImageExt {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        const NAME: &str = "image_ext";
        let text = value(parts, state, NAME).await?.ok_or_else(|| Error::invalid_field(NAME, "is missing"))?;
        text.parse().map(Self).map_err(|message: &str| Error::invalid_field(NAME, message))
    }
}

/// `?image_ext_arr=png,gif`: kinds of images, one for each id.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, names("image_ext_arr"))]
pub struct ImageExts(
    /// The extensions of the images' files, separated by commas: one for each id.
    #[param(value_type = String, example = "png,gif")]
    pub Vec<ImageExtension>,
);

impl<S: Send + Sync> FromRequestParts<S> for ImageExts {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        const NAME: &str = "image_ext_arr";
        let text = value(parts, state, NAME).await?.ok_or_else(|| Error::invalid_field(NAME, "is missing"))?;
        // One more than the most ids is enough to see that there are too many.
        let extensions: Result<_, &str> = text.split(',').take(USER_IDS_LEN_MAX + 1).map(str::parse).collect();
        extensions.map(Self).map_err(|message| Error::invalid_field(NAME, message))
    }
}

/// The `Idempotency-Key` header: what a client calls a request, so that a repeat of it does nothing.
#[derive(IntoParams)]
#[into_params(parameter_in = Header, names("Idempotency-Key"))]
pub struct IdempotencyKey(
    /// What the client calls this request: 1 to 255 visible ASCII characters.
    #[param(min_length = 1, max_length = 255, pattern = "^[!-~]+$", example = "a-key-of-my-own")]
    pub Option<String>,
);

/// The header's name. Errors about the header use it as the name of the field.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let key = value.to_str().ok().filter(|key| (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()));
        let message = || format!("is not 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible ASCII characters");
        let key = key.ok_or_else(|| Error::Malformed {
            detail: "A header is malformed.",
            errors: vec![FieldError { field: IDEMPOTENCY_KEY.to_owned(), message: message() }],
        })?;
        Ok(Self(Some(key.to_owned())))
    }
}

/// Ids separated by commas, as paths hold them: 1 to 100.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, min_length = 1, examples("alice,bob"))]
pub struct UserIds(pub Vec<UserId>);

impl FromStr for UserIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let ids: Result<Vec<UserId>, _> = text.split(',').take(USER_IDS_LEN_MAX + 1).map(str::parse).collect();
        let ids = ids.map_err(|error| error.to_string())?;
        if ids.len() > USER_IDS_LEN_MAX { Err(format!("has more than {USER_IDS_LEN_MAX} ids")) } else { Ok(Self(ids)) }
    }
}

fn natural(field: &str, text: &str) -> Result<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::malformed_field(field, "is not a whole number"));
    }
    if negative {
        return Err(Error::malformed_field(field, "must not be negative"));
    }
    // A number that does not fit is larger than any bound.
    Ok(digits.parse().unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use axum::http::Uri;
    use futures_util::FutureExt;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    /// What an extractor makes of this query. `None`: the text is not an address.
    fn read<T: FromRequestParts<(), Rejection = Error>>(query: &str) -> Option<Result<T>> {
        let uri: Uri = format!("/?{query}").parse().ok()?;
        let mut parts = Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        Some(T::from_request_parts(&mut parts, &()).now_or_never().expect("nothing to wait for"))
    }

    fn field<T>(name: &str, value: &str) -> Result<T>
    where
        T: FromRequestParts<(), Rejection = Error>,
    {
        read(&format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC))).unwrap()
    }

    proptest! {
        #[test]
        fn any_query_is_read_within_bounds_or_refused(query in "(\\PC|[a-z_=&%0-9,+-]){0,60}|((limit|offset|is_read|image_ext)=[0-9tf-]{0,12}&?){0,3}") {
            if let Some(Ok(Paging { limit, offset })) = read(&query) {
                prop_assert!(limit.is_none_or(|limit| (0..=i64::from(PAGE_ITEMS_MAX)).contains(&limit)));
                prop_assert!((0..=PAGE_OFFSET_MAX).contains(&offset));
            }
            let malformed = |error: Error| matches!(error, Error::Malformed { .. });
            prop_assert!(read::<Paging>(&query).and_then(Result::err).is_none_or(malformed));
            prop_assert!(read::<IsRead>(&query).and_then(Result::err).is_none_or(malformed));
            let refused = |error: Error| matches!(error, Error::Malformed { .. } | Error::Invalid(_));
            prop_assert!(read::<ImageExt>(&query).and_then(Result::err).is_none_or(refused));
            prop_assert!(read::<ImageExts>(&query).and_then(Result::err).is_none_or(refused));
        }

        #[test]
        fn a_number_is_served_up_to_its_bound_and_other_text_is_refused(text in "-?[0-9]{1,40}|.{0,5}") {
            let number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty();
            let served = |max: i64| number.then(|| text.parse().unwrap_or(i64::MAX).min(max));
            let (limit, offset) = (field::<Paging>("limit", &text), field::<Paging>("offset", &text));
            prop_assert_eq!(limit.ok().and_then(|paging| paging.limit), served(PAGE_ITEMS_MAX.into()));
            let skipped = |offset: i64| if offset > PAGE_OFFSET_MAX { (Some(0), 0) } else { (None, offset) };
            prop_assert_eq!(offset.ok().map(|paging| (paging.limit, paging.offset)), served(i64::MAX).map(skipped));
        }

        #[test]
        fn lists_in_an_address_are_read_in_order_or_refused(ids in prop::collection::vec("[!-+.-~é]{1,3}", 1..130), odd in ".{0,2}") {
            let expected: Result<Vec<UserId>, _> = ids.iter().map(|id| id.parse()).collect();
            match ids.join(",").parse::<UserIds>() {
                Ok(UserIds(read)) => prop_assert_eq!(Ok(read), expected),
                Err(_) => prop_assert!(expected.is_err() || ids.len() > USER_IDS_LEN_MAX),
            }
            let one = odd.split(',').all(|id| id.parse::<UserId>().is_ok());
            prop_assert_eq!(format!("a,{odd}").parse::<UserIds>().is_ok(), one);
        }

        #[test]
        fn lists_of_images_are_read_in_order_or_refused(names in prop::collection::vec("png|gif|jpg", 1..130), odd in ".{0,4}") {
            let read = field::<ImageExts>("image_ext_arr", &names.join(",")).unwrap();
            let read: Vec<_> = read.0.into_iter().map(ImageExtension::as_str).collect();
            prop_assert_eq!(&read[..], &names[..names.len().min(USER_IDS_LEN_MAX + 1)]);
            let known = odd.parse::<ImageExtension>().is_ok();
            prop_assert_eq!(field::<ImageExts>("image_ext_arr", &format!("png,{odd}")).is_ok(), known);
        }

        #[test]
        fn a_key_is_taken_as_it_is_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(value) = axum::http::HeaderValue::from_bytes(&bytes) {
                let request = Request::builder().header(IDEMPOTENCY_KEY, value).body(()).unwrap();
                let mut parts = request.into_parts().0;
                let read = IdempotencyKey::from_request_parts(&mut parts, &());
                if let Ok(IdempotencyKey(key)) = read.now_or_never().expect("nothing to wait for") {
                    let key = key.unwrap();
                    prop_assert!((1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()));
                    prop_assert_eq!(key.as_bytes(), &bytes[..]);
                }
            }
        }

        #[test]
        fn an_error_about_a_body_does_not_repeat_the_body(secret in "[a-z]{12}", digits in "[0-9]{12}") {
            #[derive(Debug, serde::Deserialize)]
            #[expect(dead_code, reason = "read by nobody but the parser")]
            struct Known {
                number: u8,
                mode: shared::share_policy::ShareMode,
            }
            let shapes = ["\"SECRET\"", "[\"SECRET\"]", "{\"number\": \"SECRET\"}", "{\"number\": DIGITS}",
                "{\"number\": 1, \"mode\": \"SECRET\"}", "{\"SECRET\": 1}", "SECRET", "{\"number\": 1, \"mode\": [\"SECRET\"]}"];
            for shape in shapes {
                let body = shape.replace("SECRET", &secret).replace("DIGITS", &digits);
                let told = format!("{:?}", parse_json::<Known>(body.as_bytes()).unwrap_err());
                prop_assert!(!told.contains(&secret) && !told.contains(&digits), "{}", told);
            }
        }
    }
}
