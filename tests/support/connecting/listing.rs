//! S3's listings: objects, versions and delete markers, page by page, with S3's rules.

use std::{collections::BTreeMap, fmt::Write as _};

use axum::response::Response;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Call, State};
use crate::support::aws::{escape, xml};

/// S3's pages have a thousand entries.
const PAGE: usize = 3;

type Query<'a> = BTreeMap<&'a str, String>;
/// Makes the body of an answer.
type List = fn(&Objects, &Query<'_>) -> String;

/// A version of an object, or a delete marker.
#[derive(Debug, Clone)]
pub struct Version {
    pub at: Timestamp,
    pub deleted: bool,
}

/// A bucket's objects.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// `Enabled` or `Suspended`, if versioning was ever switched on.
    pub versioning: Option<&'static str>,
    /// By key, in S3's order, each with its newest version first.
    pub versions: BTreeMap<String, Vec<Version>>,
}

impl Objects {
    /// Adds a version, which becomes the newest.
    pub fn put(&mut self, key: &str, at: Timestamp) {
        self.add(key, at, false);
    }

    /// Deletes an object: with versions, a marker tells.
    pub fn delete(&mut self, key: &str, at: Timestamp) {
        if self.versioning.is_some() {
            self.add(key, at, true);
        } else {
            self.versions.remove(key);
        }
    }

    fn add(&mut self, key: &str, at: Timestamp, deleted: bool) {
        let versions = self.versions.entry(key.to_owned()).or_default();
        if self.versioning.is_none() {
            versions.clear();
        }
        versions.insert(0, Version { at, deleted });
    }
}

/// The answer, if it is a call about a bucket's objects.
pub(super) fn answer(state: &mut State, call: &Call<'_>) -> Option<Response> {
    let query = call.uri.query().unwrap_or_default();
    let pairs = query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8().unwrap();
        (name, value.into_owned())
    });
    let query: Query<'_> = pairs.collect();
    let (permission, list): (_, List) = if query.contains_key("versioning") {
        ("s3:GetBucketVersioning", versioning)
    } else if query.contains_key("versions") {
        ("s3:ListBucketVersions", versions)
    } else if query.contains_key("list-type") {
        ("s3:ListBucket", objects)
    } else {
        return None;
    };
    if !state.may(permission) {
        return Some(xml(
            403,
            "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>".to_owned(),
        ));
    }
    Some(xml(200, list(&state.objects, &query)))
}

fn versioning(objects: &Objects, _: &Query<'_>) -> String {
    let status = objects.versioning;
    let status = status.map(|status| format!("<Status>{status}</Status>"));
    let status = status.unwrap_or_default();
    format!("<VersioningConfiguration>{status}</VersioningConfiguration>")
}

/// What XML cannot have is encoded as in a form, if that is asked for.
fn shown(key: &str, query: &Query<'_>) -> String {
    const SET: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'*')
        .remove(b' ');
    if query.get("encoding-type").is_some_and(|kind| kind == "url") {
        return utf8_percent_encode(key, SET).to_string().replace(' ', "+");
    }
    assert!(!key.contains(|char: char| char.is_control()), "XML has it");
    escape(key)
}

fn second(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string()
}

fn objects(objects: &Objects, query: &Query<'_>) -> String {
    let current = objects.versions.iter().filter(|(_, all)| !all[0].deleted);
    let prefix = query.get("prefix").map_or("", String::as_str);
    let current = current.filter(|(key, _)| key.starts_with(prefix));
    let token = query.get("continuation-token");
    // A token is S3's own, and no key.
    let after = token.map(|token| {
        let hex = token.strip_prefix("token-").expect("a token of S3");
        String::from_utf8(hex::decode(hex).unwrap()).unwrap()
    });
    // Which S3 ignores beside a token.
    let after = after.or_else(|| query.get("start-after").cloned());
    let rest: Vec<_> = current
        .filter(|(key, _)| after.as_ref().is_none_or(|after| *key > after))
        .collect();
    let mut text = String::from("<ListBucketResult><EncodingType>url</EncodingType>");
    for (key, all) in rest.iter().take(PAGE) {
        let (key, at) = (shown(key, query), second(all[0].at));
        let _ = write!(
            text,
            "<Contents><Key>{key}</Key><LastModified>{at}</LastModified></Contents>"
        );
    }
    let is_truncated = rest.len() > PAGE;
    let _ = write!(text, "<IsTruncated>{is_truncated}</IsTruncated>");
    if is_truncated {
        let token = hex::encode(rest[PAGE - 1].0);
        let _ = write!(
            text,
            "<NextContinuationToken>token-{token}</NextContinuationToken>"
        );
    }
    text + "</ListBucketResult>"
}

fn versions(objects: &Objects, query: &Query<'_>) -> String {
    let prefix = query.get("prefix").map_or("", String::as_str);
    let entries = objects.versions.iter().flat_map(|(key, all)| {
        let numbered = all.iter().enumerate();
        numbered.map(move |(at, version)| (key, at, version))
    });
    let entries = entries.filter(|(key, ..)| key.starts_with(prefix));
    let marker = query.get("key-marker");
    let version = query.get("version-id-marker");
    let rest: Vec<_> = entries
        .filter(|(key, at, _)| match (marker, version) {
            (Some(marker), Some(version)) => {
                let version: usize = version.strip_prefix("v-").unwrap().parse().unwrap();
                *key > marker || (*key == marker && *at > version)
            }
            (Some(marker), None) => *key > marker,
            (None, Some(_)) => panic!("a version-id marker cannot be given without a key marker"),
            (None, None) => true,
        })
        .collect();
    let mut text = String::from("<ListVersionsResult><EncodingType>url</EncodingType>");
    for (key, at, version) in rest.iter().take(PAGE) {
        let kind = if version.deleted {
            "DeleteMarker"
        } else {
            "Version"
        };
        let (key, time, latest) = (shown(key, query), second(version.at), *at == 0);
        let _ = write!(
            text,
            "<{kind}><Key>{key}</Key><VersionId>v-{at}</VersionId><IsLatest>{latest}</IsLatest>\
             <LastModified>{time}</LastModified></{kind}>"
        );
    }
    let is_truncated = rest.len() > PAGE;
    let _ = write!(text, "<IsTruncated>{is_truncated}</IsTruncated>");
    if is_truncated {
        let (key, at, _) = rest[PAGE - 1];
        let key = shown(key, query);
        let _ = write!(
            text,
            "<NextKeyMarker>{key}</NextKeyMarker><NextVersionIdMarker>v-{at}</NextVersionIdMarker>"
        );
    }
    text + "</ListVersionsResult>"
}
