//! S3 as the service sees it: buckets whose keys it may list, in pages of 1,000.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Mutex,
};

use axum::{http::Uri, response::Response};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::aws::xml;

const PAGE: usize = 1_000;

/// Without any bucket, nothing may be listed.
#[derive(Default)]
pub struct S3 {
    keys: Mutex<BTreeMap<String, BTreeSet<String>>>,
    pages: Mutex<Vec<String>>,
}

impl S3 {
    /// Adds keys to a bucket, which may be listed from then on.
    pub fn put(&self, bucket: &str, keys: impl IntoIterator<Item = String>) {
        let mut all = self.keys.lock().unwrap();
        all.entry(bucket.to_owned()).or_default().extend(keys);
    }

    /// The bucket and the prefix of each page that was listed.
    pub fn pages(&self) -> Vec<String> {
        self.pages.lock().unwrap().clone()
    }

    pub(super) fn is_meant(host: &str) -> bool {
        host.split('.').any(|label| label == "s3") && host.ends_with(".amazonaws.com")
    }

    /// What a call is about.
    pub(super) fn arn(host: &str, uri: &Uri) -> String {
        format!("arn:aws:s3:::{}", bucket(host, uri))
    }

    /// The answer to ListObjectsV2. Any other call is a fault of the service.
    pub(super) fn answer(&self, host: &str, uri: &Uri) -> Response {
        let bucket = bucket(host, uri);
        let pairs = uri.query().unwrap_or_default().split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8().unwrap();
            (name, value.into_owned())
        });
        let query: BTreeMap<_, _> = pairs.collect();
        assert_eq!(query["list-type"], "2");
        let all = self.keys.lock().unwrap();
        let Some(keys) = all.get(bucket) else {
            let why = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
            return xml(403, why.to_owned());
        };
        let prefix = query.get("prefix").map_or("", String::as_str);
        self.pages
            .lock()
            .unwrap()
            .push(format!("{bucket}/{prefix}"));
        let after = query.get("start-after");
        let mut keys = keys
            .iter()
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        let mut text = String::from("<ListBucketResult><EncodingType>url</EncodingType>");
        for key in keys.by_ref().take(PAGE) {
            let key = utf8_percent_encode(key, NON_ALPHANUMERIC);
            let _ = write!(
                text,
                "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            );
        }
        let more = keys.next().is_some();
        let token = if more {
            "<NextContinuationToken>t</NextContinuationToken>"
        } else {
            ""
        };
        xml(
            200,
            format!("{text}<IsTruncated>{more}</IsTruncated>{token}</ListBucketResult>"),
        )
    }
}

/// The bucket is a part of the host's name, or of the path if its own name has dots.
fn bucket<'a>(host: &'a str, uri: &'a Uri) -> &'a str {
    let (before, _) = host.split_once("s3.").unwrap();
    let named = before.strip_suffix('.');
    named.unwrap_or_else(|| uri.path().trim_matches('/'))
}
