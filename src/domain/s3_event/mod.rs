//! Parses the text of an SNS message into the S3 object changes that it reports.

use std::{borrow::Cow, collections::HashMap};

use jiff::Timestamp;
use percent_encoding::percent_decode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event_filter::NONCURRENT_EXPIRATION;

pub use super::event_filter::EventFilter;

/// The contents of an SNS message's text.
#[derive(Debug, PartialEq)]
pub enum Notification {
    /// Records, each parsed independently: a bad record does not affect the others.
    Records(Vec<Result<ObjectChange, BadRecord>>),
    /// `s3:TestEvent`, which S3 sends when a bucket's notification configuration is saved.
    Test { bucket: String },
    /// An event of S3 from `EventBridge` that is not about a change of an object, such as an API call from
    /// `CloudTrail`.
    Unrelated,
    /// Not an S3 notification; carries the reason.
    Foreign(&'static str),
}

/// A valid S3 record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    pub bucket: String,
    /// Decoded.
    pub key: String,
    /// The event name without `s3:`, such as `ObjectCreated:Put`.
    pub event: String,
    /// The time reported by S3. Only for display: clocks differ, so nothing is decided by it.
    pub time: Option<Timestamp>,
    /// S3's hexadecimal sequencer, which orders the events of one key. Only for display as well.
    pub sequencer: Option<String>,
}

/// Those of S3 have 16 to 18 digits.
const MAX_SEQUENCER: usize = 64;

/// A record that cannot be parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRecord {
    pub why: String,
    /// The record, as it came.
    pub record: String,
}

fn expiration(event: &str, object: &Object<'_>) -> String {
    if event == "LifecycleExpiration:Delete" && object.names_version() {
        NONCURRENT_EXPIRATION.to_owned()
    } else {
        event.to_owned()
    }
}

/// Reads the text of a message. Records are read in place, and little of them is copied but what is kept.
pub fn read(message: &str) -> Notification {
    let Ok(body) = serde_json::from_str::<HashMap<String, &RawValue>>(message) else {
        return Notification::Foreign("it is not a JSON object");
    };
    if let Some(records) = body.get("Records") {
        return match serde_json::from_str::<Vec<&RawValue>>(records.get()) {
            Ok(records) if !records.is_empty() => {
                Notification::Records(records.into_iter().map(read_record).collect())
            }
            _ => Notification::Foreign("its Records are not a list, or are an empty list"),
        };
    }
    let member = |name: &str| text(body.get(name)?);
    if member("source").as_deref() == Some("aws.s3") {
        let kind = member("detail-type");
        if kind.is_some_and(|kind| !kind.starts_with("Object ")) {
            return Notification::Unrelated;
        }
        return Notification::Records(vec![read_event(message)]);
    }
    match (member("Event").as_deref(), member("Bucket")) {
        (Some("s3:TestEvent"), Some(bucket)) => Notification::Test { bucket },
        _ => Notification::Foreign(
            "it is neither S3 records, nor an s3:TestEvent, nor an S3 event from EventBridge",
        ),
    }
}

/// A value's text, if it is a string.
fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

/// The used fields of a record. All others vary by event type and version and are ignored, as
/// S3's documentation requires of consumers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    #[serde(borrow)]
    event_version: Cow<'a, str>,
    #[serde(borrow)]
    event_source: Cow<'a, str>,
    #[serde(borrow)]
    event_name: Cow<'a, str>,
    event_time: Option<String>,
    #[serde(borrow)]
    s3: S3<'a>,
}

#[derive(Deserialize)]
struct S3<'a> {
    bucket: Bucket,
    #[serde(borrow)]
    object: Object<'a>,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(rename = "versionId", alias = "version-id")]
    version: Option<String>,
    /// Of any type: a record is not refused for what only is shown.
    #[serde(borrow)]
    sequencer: Option<&'a RawValue>,
}

impl Object<'_> {
    /// The sequencer, if it is one.
    fn sequencer(&self) -> Option<String> {
        let text = text(self.sequencer?)?;
        let is_one = (1..=MAX_SEQUENCER).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_one.then_some(text)
    }

    /// Whether a version is named, other than the one that objects have without versioning.
    fn names_version(&self) -> bool {
        let version = self.version.as_deref();
        version.is_some_and(|version| !matches!(version, "" | "null"))
    }
}

fn read_record(value: &RawValue) -> Result<ObjectChange, BadRecord> {
    let read = || {
        let record: Record = serde_json::from_str(value.get()).map_err(|error| in_words(&error))?;
        // The minor version increases with new event types.
        if record.event_source != "aws:s3" {
            return Err("its eventSource is not aws:s3".to_owned());
        }
        if record.event_version.split('.').next() != Some("2") {
            return Err("its eventVersion is not 2.x".to_owned());
        }
        if record.s3.bucket.name.is_empty() {
            return Err("its bucket name is empty".to_owned());
        }
        let key = decode_key(&record.s3.object.key)?;
        let event = &*record.event_name;
        let event = event.strip_prefix("s3:").unwrap_or(event);
        Ok(ObjectChange {
            event: expiration(event, &record.s3.object),
            sequencer: record.s3.object.sequencer(),
            bucket: record.s3.bucket.name,
            key,
            time: record.event_time.and_then(|time| time.parse().ok()),
        })
    };
    read().map_err(|why| BadRecord {
        why,
        record: value.get().to_owned(),
    })
}

/// An S3 event as sent by an `EventBridge` rule. Source: Amazon S3 User Guide, "`EventBridge` event
/// message structure".
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event<'a> {
    #[serde(borrow)]
    detail_type: Cow<'a, str>,
    time: Option<String>,
    #[serde(borrow)]
    detail: Detail<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail<'a> {
    bucket: Bucket,
    #[serde(borrow)]
    object: Object<'a>,
    reason: Option<String>,
    deletion_type: Option<String>,
}

/// Parses an `EventBridge` event. Its key is not URL-encoded. Its type is converted to the event
/// name of S3's own notifications, so that `events.invalidate_on` applies to both.
fn read_event(message: &str) -> Result<ObjectChange, BadRecord> {
    let read = || {
        let event: Event = serde_json::from_str(message).map_err(|error| in_words(&error))?;
        let detail = event.detail;
        if detail.bucket.name.is_empty() || detail.object.key.is_empty() {
            return Err("its bucket name or key is empty".to_owned());
        }
        Ok(ObjectChange {
            event: expiration(event_name(&event.detail_type, &detail), &detail.object),
            sequencer: detail.object.sequencer(),
            bucket: detail.bucket.name,
            key: detail.object.key.into_owned(),
            time: event.time.and_then(|time| time.parse().ok()),
        })
    };
    read().map_err(|why| BadRecord {
        why,
        record: message.to_owned(),
    })
}

/// Why a record cannot be read, without the names of our types, and without line and column, which
/// would be those within the record.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text
        .split_once(" at line ")
        .map_or(&*text, |(text, _)| text);
    match text.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected an object"),
        None => text.to_owned(),
    }
}

fn event_name<'a>(detail_type: &'a str, detail: &Detail<'_>) -> &'a str {
    let reason = detail.reason.as_deref().unwrap_or_default();
    match detail_type {
        "Object Created" => match reason {
            "POST Object" => "ObjectCreated:Post",
            "CopyObject" => "ObjectCreated:Copy",
            "CompleteMultipartUpload" => "ObjectCreated:CompleteMultipartUpload",
            _ => "ObjectCreated:Put",
        },
        "Object Deleted" => {
            let marker = detail.deletion_type.as_deref() == Some("Delete Marker Created");
            match (reason == "Lifecycle Expiration", marker) {
                (true, true) => "LifecycleExpiration:DeleteMarkerCreated",
                (true, false) => "LifecycleExpiration:Delete",
                (false, true) => "ObjectRemoved:DeleteMarkerCreated",
                (false, false) => "ObjectRemoved:Delete",
            }
        }
        "Object Restore Initiated" => "ObjectRestore:Post",
        "Object Restore Completed" => "ObjectRestore:Completed",
        "Object Restore Expired" => "ObjectRestore:Delete",
        "Object Storage Class Changed" => "LifecycleTransition",
        "Object Access Tier Changed" => "IntelligentTiering",
        "Object ACL Updated" => "ObjectAcl:Put",
        "Object Tags Added" => "ObjectTagging:Put",
        "Object Tags Deleted" => "ObjectTagging:Delete",
        other => other,
    }
}

/// Decodes S3's form encoding of a key: `+` is a space, and `%XX` is a byte of UTF-8.
fn decode_key(encoded: &str) -> Result<String, String> {
    if encoded.is_empty() {
        return Err("its key is empty".to_owned());
    }
    let mut rest = encoded.as_bytes();
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        let escape = rest.get(at + 1..at + 3);
        if !escape.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err("its key has a \"%\" that is not followed by two hex digits".to_owned());
        }
        rest = &rest[at + 3..];
    }
    let spaced = encoded.replace('+', " ");
    match percent_decode(spaced.as_bytes()).decode_utf8() {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err("its decoded key is not UTF-8".to_owned()),
    }
}

#[cfg(test)]
mod tests;
