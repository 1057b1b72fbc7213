//! The `ObjectListing` port: a bucket in S3.

use async_trait::async_trait;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::{
    Client,
    primitives::DateTime,
    types::{BucketVersioningStatus, EncodingType},
};
use jiff::Timestamp;
use percent_encoding::percent_decode_str;

use super::connection::{
    ANY_REGION, Patience,
    bucket::{Body, failed},
};
use crate::{
    domain::{change::Effect, resync::Listed},
    ports::{
        connection::CallError,
        object_listing::{Cursor, ObjectListing, Page},
    },
};

pub struct S3ObjectListing {
    client: Client,
    bucket: String,
    versioned: bool,
}

impl S3ObjectListing {
    /// Finds the bucket's region, and whether it has versions.
    pub async fn open(sdk: &SdkConfig, bucket: &str) -> Result<Self, CallError> {
        let region = sdk.region().map_or(ANY_REGION, Region::as_ref).to_owned();
        let client = |region: String| {
            let sdk = sdk.to_builder().region(Region::new(region));
            Client::new(&sdk.timeout_config(Patience::LONG.timeouts()).build())
        };
        let mut listing = Self {
            client: client(region),
            bucket: bucket.to_owned(),
            versioned: false,
        };
        listing.versioned = match listing.versioning().await {
            Err(CallError::Elsewhere(home)) => {
                listing.client = client(home);
                listing.versioning().await?
            }
            versioned => versioned?,
        };
        Ok(listing)
    }

    async fn versioning(&self) -> Result<bool, CallError> {
        let body = Body::default();
        let call = self.client.get_bucket_versioning().bucket(&self.bucket);
        let output = match call.customize().interceptor(body.clone()).send().await {
            Ok(output) => output,
            // How moto 5 calls it, which the SDK cannot read.
            Err(_) if body.text().contains("<GetBucketVersioningResponse") => {
                return Ok(body.text().contains("<Status>"));
            }
            Err(error) => return Err(failed(&self.client, "s3:GetBucketVersioning", error)),
        };
        // Where versioning is suspended, a delete still leaves a marker.
        Ok(matches!(
            output.status,
            Some(BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended)
        ))
    }

    async fn objects(&self, prefix: &str, after: Option<Cursor>) -> Result<Page, CallError> {
        let output = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_continuation_token(after.map(|cursor| cursor.key))
            .send()
            .await
            .map_err(|error| failed(&self.client, "s3:ListBucket", error))?;
        let encoding = output.encoding_type;
        let mut page = Page::default();
        for object in output.contents.unwrap_or_default() {
            page.looked_at += 1;
            let key = decoded(object.key, encoding.as_ref())?;
            let listed = listed(key, object.last_modified, Effect::Appears);
            page.objects.push(listed?);
        }
        if output.is_truncated == Some(true) {
            page.next = output
                .next_continuation_token
                .map(|key| Cursor { key, version: None });
        }
        Ok(page)
    }

    async fn versions(&self, prefix: &str, after: Option<Cursor>) -> Result<Page, CallError> {
        let (key, version) = after.map(|cursor| (cursor.key, cursor.version)).unzip();
        let output = self
            .client
            .list_object_versions()
            .bucket(&self.bucket)
            .prefix(prefix)
            .encoding_type(EncodingType::Url)
            .set_key_marker(key)
            .set_version_id_marker(version.flatten())
            .send()
            .await
            .map_err(|error| failed(&self.client, "s3:ListBucketVersions", error))?;
        let encoding = output.encoding_type;
        let versions = output.versions.unwrap_or_default().into_iter();
        let versions =
            versions.map(|one| (one.is_latest, one.key, one.last_modified, Effect::Appears));
        let markers = output.delete_markers.unwrap_or_default().into_iter();
        let markers = markers.map(|one| {
            (
                one.is_latest,
                one.key,
                one.last_modified,
                Effect::Disappears,
            )
        });
        let mut page = Page::default();
        for (is_latest, key, changed_at, effect) in versions.chain(markers) {
            page.looked_at += 1;
            // Viewers see no other.
            if is_latest == Some(true) {
                let key = decoded(key, encoding.as_ref())?;
                page.objects.push(listed(key, changed_at, effect)?);
            }
        }
        if output.is_truncated == Some(true) {
            page.next = Some(Cursor {
                key: decoded(output.next_key_marker, encoding.as_ref())?,
                version: output.next_version_id_marker,
            });
        }
        Ok(page)
    }
}

#[async_trait]
impl ObjectListing for S3ObjectListing {
    fn is_versioned(&self) -> bool {
        self.versioned
    }

    async fn page(&self, prefix: &str, after: Option<Cursor>) -> Result<Page, CallError> {
        if self.versioned {
            self.versions(prefix, after).await
        } else {
            self.objects(prefix, after).await
        }
    }
}

/// Keys may have characters that XML has not, so S3 is asked to encode them, as in a form.
pub(super) fn decoded(
    key: Option<String>,
    encoding: Option<&EncodingType>,
) -> Result<String, CallError> {
    let key = key.ok_or_else(|| unreadable("a key is missing"))?;
    if encoding != Some(&EncodingType::Url) {
        return Ok(key);
    }
    let spaced = key.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    let decoded = decoded.map_err(|_| unreadable("a key is not UTF-8"))?;
    Ok(decoded.into_owned())
}

fn listed(key: String, changed_at: Option<DateTime>, effect: Effect) -> Result<Listed, CallError> {
    let changed_at = changed_at.and_then(|at| Timestamp::from_second(at.secs()).ok());
    Ok(Listed {
        key,
        changed_at: changed_at.ok_or_else(|| unreadable("a time is missing"))?,
        effect,
    })
}

pub(super) fn unreadable(why: &str) -> CallError {
    CallError::Failed(format!("S3's listing cannot be read: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_if_s3_has_encoded_them() {
        let url = Some(&EncodingType::Url);
        for (encoded, key) in [
            ("a+b%2Bc%01/%C3%A9%25", "a b+c\u{1}/é%"),
            ("a/b.html", "a/b.html"),
        ] {
            assert_eq!(decoded(Some(encoded.to_owned()), url).unwrap(), key);
            assert_eq!(decoded(Some(encoded.to_owned()), None).unwrap(), encoded);
        }
        assert!(decoded(Some("%FF".to_owned()), url).is_err());
        assert!(decoded(None, url).is_err());
    }
}
