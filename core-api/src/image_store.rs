//! The store of profile images: one object per user and kind of image, in a store that has S3's API.
//!
//! Images never pass through the core. Clients upload and download them by URLs that are signed here and work for a while.
//! The signature of an upload covers its content type. A download has the content type of an image, whatever was uploaded.
//! A signature cannot bound the size of a `PUT` of unknown length: the operator of the store bounds it.
//!
//! Deliberately absent: who may have which URL, and which user has an image.

use std::{str::FromStr, time::Duration};

use object_store::{
    BackoffConfig, ClientOptions, ObjectStoreExt, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderValue},
};
use shared::ids::UserId;
use utoipa::ToSchema;

use crate::{
    config::ImageStoreConfig,
    error::{Error, Result},
};

/// The name of each user's image in their folder. The predecessor has the same name, so its bucket can be taken over.
const NAME: &str = "profile_image";

/// Longest time for one call of the store.
const CALL_TIME_MAX: Duration = Duration::from_secs(3);

/// The kinds of images that are accepted, by the extension of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ImageExtension {
    Png,
    Jpg,
    Jpeg,
    Webp,
    Gif,
}

impl ImageExtension {
    const ALL: [Self; 5] = [Self::Png, Self::Jpg, Self::Jpeg, Self::Webp, Self::Gif];

    /// The extension as text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpg => "jpg",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
            Self::Gif => "gif",
        }
    }

    /// The media type, which browsers give such files too.
    fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpg | Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Gif => "image/gif",
        }
    }
}

impl FromStr for ImageExtension {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|extension| extension.as_str() == text);
        found.ok_or("is none of png, jpg, jpeg, webp and gif")
    }
}

/// The store, if this core has one.
pub struct ImageStore(Option<Store>);

struct Store {
    bucket: AmazonS3,
    url_life: Duration,
}

impl ImageStore {
    /// The store of this configuration. It is not called yet.
    ///
    /// # Errors
    ///
    /// When the configuration contradicts itself.
    pub fn new(config: &ImageStoreConfig) -> anyhow::Result<Self> {
        let Some(bucket) = &config.profile_images_bucket else { return Ok(Self(None)) };
        let client = ClientOptions::new().with_timeout(CALL_TIME_MAX).with_connect_timeout(CALL_TIME_MAX);
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 1, retry_timeout: CALL_TIME_MAX };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(&config.aws_region)
            .with_client_options(client)
            .with_retry(retry)
            // A store with an address of its own has the bucket's name as the first part of the path.
            .with_virtual_hosted_style_request(config.aws_endpoint_url.is_none());
        if let Some(endpoint) = &config.aws_endpoint_url {
            let plain = endpoint.scheme() == "http";
            builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/')).with_allow_http(plain);
        }
        let given = [
            (AmazonS3ConfigKey::AccessKeyId, &config.aws_access_key_id),
            (AmazonS3ConfigKey::SecretAccessKey, &config.aws_secret_access_key),
            (AmazonS3ConfigKey::Token, &config.aws_session_token),
            (AmazonS3ConfigKey::ContainerCredentialsRelativeUri, &config.aws_container_credentials_relative_uri),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                builder = builder.with_config(key, value);
            }
        }
        let url_life = Duration::from_secs(config.profile_image_url_s);
        Ok(Self(Some(Store { bucket: builder.build()?, url_life })))
    }

    /// A URL by which its holder can upload the user's image, as an image of this kind.
    ///
    /// # Errors
    ///
    /// As [`Self::url`].
    pub async fn upload_url(&self, user_id: &UserId, extension: ImageExtension) -> Result<String> {
        let media_type = HeaderValue::from_static(extension.media_type());
        let options = SignedUrlOptions::default().with_signed_header(CONTENT_TYPE, media_type);
        self.signed(Method::PUT, user_id, extension, options).await
    }

    /// A URL by which its holder can download the user's image, if there is one of this kind.
    ///
    /// # Errors
    ///
    /// [`Error::NoImageStore`] where there is no store, [`Error::Unavailable`] when there are no credentials to sign with.
    pub async fn url(&self, user_id: &UserId, extension: ImageExtension) -> Result<String> {
        let options = SignedUrlOptions::default().with_query([("response-content-type", extension.media_type())]);
        self.signed(Method::GET, user_id, extension, options).await
    }

    /// How long a URL works. Zero if there is no store.
    pub fn url_life(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |store| store.url_life)
    }

    async fn signed(
        &self,
        method: Method,
        user_id: &UserId,
        extension: ImageExtension,
        options: SignedUrlOptions,
    ) -> Result<String> {
        let Store { bucket, url_life } = self.0.as_ref().ok_or(Error::NoImageStore)?;
        let url = bucket.signed_url_opts(method, &path(user_id, extension), *url_life, &options).await;
        url.map(String::from).map_err(|error| unavailable("no credentials to sign a URL with", &error))
    }

    /// Checks that there is a store.
    ///
    /// # Errors
    ///
    /// [`Error::NoImageStore`] where there is none.
    pub fn require(&self) -> Result<()> {
        if self.0.is_some() { Ok(()) } else { Err(Error::NoImageStore) }
    }

    /// Removes the user's images of all kinds. Where there is no store, there are none.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] when the store does not answer; some may be gone by then.
    pub async fn remove(&self, user_id: &UserId) -> Result<()> {
        self.remove_but(user_id, None).await
    }

    /// As [`Self::remove`], but keeps the image with the extension `kept`.
    ///
    /// # Errors
    ///
    /// As [`Self::remove`].
    pub async fn remove_but(&self, user_id: &UserId, kept: Option<&str>) -> Result<()> {
        let Some(Store { bucket, .. }) = &self.0 else { return Ok(()) };
        for extension in ImageExtension::ALL.into_iter().filter(|extension| Some(extension.as_str()) != kept) {
            match bucket.delete(&path(user_id, extension)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(unavailable("an image could not be removed", &error)),
            }
        }
        Ok(())
    }
}

/// The library encodes characters such as slashes, so that an id is always one part of the path.
fn path(user_id: &UserId, extension: ImageExtension) -> Path {
    Path::from_iter([user_id.as_str(), &format!("{NAME}.{}", extension.as_str())])
}

/// The library's own message is not logged, because it repeats URLs.
#[expect(clippy::wildcard_enum_match_arm, reason = "the library may add kinds, and few need words of their own")]
fn unavailable(what: &str, error: &object_store::Error) -> Error {
    let kind = match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => "refused",
        object_store::Error::NotFound { .. } => "not found",
        _ => "no answer",
    };
    Error::Unavailable(format!("image store: {what}: {kind}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_user_has_a_path_of_their_own(one in "\\PC{1,128}", other in "\\PC{1,128}") {
            if let (Ok(one), Ok(other)) = (one.parse::<UserId>(), other.parse::<UserId>()) {
                let places = [&one, &other].map(|user_id| path(user_id, ImageExtension::Png));
                prop_assert!(places.iter().all(|place| place.parts().count() == 2));
                prop_assert!(places.iter().all(|place| place.as_ref().len() <= 1_024));
                prop_assert_eq!(places[0] == places[1], one == other);
            }
        }

        #[test]
        fn an_extension_is_read_as_it_is_written_or_not_at_all(text in "[pngjewbif]{0,5}") {
            let known = ["png", "jpg", "jpeg", "webp", "gif"].contains(&text.as_str());
            prop_assert_eq!(text.parse().ok().map(ImageExtension::as_str), known.then_some(text.as_str()));
        }
    }
}
