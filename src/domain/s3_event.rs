//! Parses the text of an SNS message into the S3 object changes that it reports.

use jiff::Timestamp;
use percent_encoding::percent_decode;
use serde::Deserialize;
use serde_json::Value;

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
}

/// A record that cannot be parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct BadRecord {
    pub why: String,
    /// The unmodified record.
    pub record: Value,
}

fn expiration(event: &str, object: &Object) -> String {
    if event == "LifecycleExpiration:Delete" && object.names_version() {
        NONCURRENT_EXPIRATION.to_owned()
    } else {
        event.to_owned()
    }
}

pub fn read(message: &str) -> Notification {
    let Ok(Value::Object(mut body)) = serde_json::from_str(message) else {
        return Notification::Foreign("it is not a JSON object");
    };
    if let Some(records) = body.remove("Records") {
        return match records {
            Value::Array(records) if !records.is_empty() => {
                Notification::Records(records.into_iter().map(read_record).collect())
            }
            _ => Notification::Foreign("its Records are not a list, or are an empty list"),
        };
    }
    if body.get("source").and_then(Value::as_str) == Some("aws.s3") {
        let kind = body.get("detail-type").and_then(Value::as_str);
        if kind.is_some_and(|kind| !kind.starts_with("Object ")) {
            return Notification::Unrelated;
        }
        return Notification::Records(vec![read_event(Value::Object(body))]);
    }
    match (
        body.get("Event").and_then(Value::as_str),
        body.get("Bucket").and_then(Value::as_str),
    ) {
        (Some("s3:TestEvent"), Some(bucket)) => Notification::Test {
            bucket: bucket.to_owned(),
        },
        _ => Notification::Foreign(
            "it is neither S3 records, nor an s3:TestEvent, nor an S3 event from EventBridge",
        ),
    }
}

/// The used fields of a record. All others vary by event type and version and are ignored, as
/// S3's documentation requires of consumers.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    event_version: String,
    event_source: String,
    event_name: String,
    event_time: Option<String>,
    s3: S3,
}

#[derive(Deserialize)]
struct S3 {
    bucket: Bucket,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
    #[serde(rename = "versionId", alias = "version-id")]
    version: Option<String>,
}

impl Object {
    /// Whether a version is named, other than the one that objects have without versioning.
    fn names_version(&self) -> bool {
        let version = self.version.as_deref();
        version.is_some_and(|version| !matches!(version, "" | "null"))
    }
}

fn read_record(value: Value) -> Result<ObjectChange, BadRecord> {
    let read = || {
        let record = Record::deserialize(&value).map_err(|error| in_words(&error))?;
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
        let event = record.event_name;
        let event = event.strip_prefix("s3:").unwrap_or(&event);
        Ok(ObjectChange {
            event: expiration(event, &record.s3.object),
            bucket: record.s3.bucket.name,
            key,
            time: record.event_time.and_then(|time| time.parse().ok()),
        })
    };
    read().map_err(|why| BadRecord { why, record: value })
}

/// An S3 event as sent by an `EventBridge` rule. Source: Amazon S3 User Guide, "`EventBridge` event
/// message structure".
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    detail_type: String,
    time: Option<String>,
    detail: Detail,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    bucket: Bucket,
    object: Object,
    reason: Option<String>,
    deletion_type: Option<String>,
}

/// Parses an `EventBridge` event. Its key is not URL-encoded. Its type is converted to the event
/// name of S3's own notifications, so that `events.invalidate_on` applies to both.
fn read_event(value: Value) -> Result<ObjectChange, BadRecord> {
    let read = || {
        let event = Event::deserialize(&value).map_err(|error| in_words(&error))?;
        let detail = &event.detail;
        if detail.bucket.name.is_empty() || detail.object.key.is_empty() {
            return Err("its bucket name or key is empty".to_owned());
        }
        Ok(ObjectChange {
            event: expiration(event_name(&event.detail_type, detail), &detail.object),
            bucket: event.detail.bucket.name,
            key: event.detail.object.key,
            time: event.time.and_then(|time| time.parse().ok()),
        })
    };
    read().map_err(|why| BadRecord { why, record: value })
}

/// Why a record cannot be read, without the names of our types.
fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected an object"),
        None => text,
    }
}

fn event_name<'a>(detail_type: &'a str, detail: &Detail) -> &'a str {
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
mod tests {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn record(key: &str) -> Value {
        json!({
            "eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": "us-east-1",
            "eventTime": "2026-11-23T10:00:00.000Z", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": "site"}, "object": {"key": key, "size": 1}}
        })
    }

    fn key_of(encoded: &str) -> Result<String, String> {
        let message = json!({"Records": [record(encoded)]}).to_string();
        match read(&message) {
            Notification::Records(mut records) => records
                .remove(0)
                .map(|change| change.key)
                .map_err(|bad| bad.why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn events_of_eventbridge_are_told_by_their_shape_and_their_keys_are_as_they_are() {
        let read_one = |detail_type: &str, more: Value| {
            let mut detail = json!({"version": "0", "bucket": {"name": "site"},
                "object": {"key": "a+b%20c é", "size": 1}});
            detail
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            let event = json!({"version": "0", "id": "i", "detail-type": detail_type,
                "source": "aws.s3", "time": "2026-11-23T10:00:00Z", "detail": detail});
            match read(&event.to_string()) {
                Notification::Records(mut records) => records.remove(0).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        for (detail_type, more, name) in [
            (
                "Object Created",
                json!({"reason": "PutObject"}),
                "ObjectCreated:Put",
            ),
            (
                "Object Created",
                json!({"reason": "CopyObject"}),
                "ObjectCreated:Copy",
            ),
            ("Object Created", json!({}), "ObjectCreated:Put"),
            (
                "Object Deleted",
                json!({"reason": "DeleteObject"}),
                "ObjectRemoved:Delete",
            ),
            (
                "Object Deleted",
                json!({"reason": "Lifecycle Expiration", "deletion-type": "Delete Marker Created"}),
                "LifecycleExpiration:DeleteMarkerCreated",
            ),
            ("Object Restore Expired", json!({}), "ObjectRestore:Delete"),
            ("Object ACL Updated", json!({}), "ObjectAcl:Put"),
            ("Object Tags Added", json!({}), "ObjectTagging:Put"),
            ("Object Sung", json!({}), "Object Sung"),
        ] {
            let change = read_one(detail_type, more);
            assert_eq!(
                (change.event.as_str(), change.key.as_str()),
                (name, "a+b%20c é")
            );
            assert!(change.time.is_some());
        }
        let event = json!({"source": "aws.s3", "detail-type": "Object Created", "detail": {}});
        let Notification::Records(records) = read(&event.to_string()) else {
            panic!("recognised by its source");
        };
        assert!(records[0].is_err(), "kept as a dead letter");
    }

    #[test]
    fn keys_are_decoded_from_their_form_encoding() {
        for (encoded, key) in [
            ("img/logo%402x.png", "img/logo@2x.png"),
            ("a+b.html", "a b.html"),
            ("r%C3%A9sum%C3%A9.pdf", "résumé.pdf"),
            ("q%26a.html", "q&a.html"),
            ("100%25.html", "100%.html"),
            ("vendors~main.js", "vendors~main.js"),
            ("it%27s.html", "it's.html"),
            ("%281%29.jpg", "(1).jpg"),
            ("x//y.html", "x//y.html"),
            ("%5Bid%5D.js", "[id].js"),
            ("news%2C2026.html", "news,2026.html"),
            ("price%24.html", "price$.html"),
            ("c%2B%2B/i.html", "c++/i.html"),
            ("a%2Fb", "a/b"),
            ("%2520", "%20"),
        ] {
            assert_eq!(key_of(encoded).as_deref(), Ok(key));
        }
    }

    #[test]
    fn a_bad_record_is_told_apart_and_spoils_no_other() {
        let mut old = record("a");
        old["eventVersion"] = json!("1.0");
        let mut foreign = record("a");
        foreign["eventSource"] = json!("aws:sqs");
        let records = json!([
            record("%FF"),
            record("ok"),
            record("%4"),
            old,
            foreign,
            {},
            7
        ]);
        let Notification::Records(read) = read(&json!({"Records": records}).to_string()) else {
            panic!("records are records");
        };
        let why: Vec<_> = read
            .iter()
            .map(|one| one.as_ref().map_or_else(|bad| bad.why.as_str(), |_| "good"))
            .collect();
        assert_eq!(
            why[..5],
            [
                "its decoded key is not UTF-8",
                "good",
                "its key has a \"%\" that is not followed by two hex digits",
                "its eventVersion is not 2.x",
                "its eventSource is not aws:s3",
            ]
        );
        assert!(why[5].contains("missing field"), "{}", why[5]);
        assert_eq!(read[0].as_ref().unwrap_err().record, record("%FF"));
    }

    #[test]
    fn minor_versions_and_unknown_members_do_not_matter() {
        let mut newer = record("a");
        newer["eventVersion"] = json!("2.17");
        newer["eventName"] = json!("s3:ObjectRemoved:DeleteMarkerCreated");
        newer["somethingNew"] = json!({"a": 1});
        newer.as_object_mut().unwrap().remove("eventTime");
        let Notification::Records(read) = read(&json!({"Records": [newer]}).to_string()) else {
            panic!("records are records");
        };
        let change = read[0].as_ref().unwrap();
        assert_eq!(change.event, "ObjectRemoved:DeleteMarkerCreated");
        assert_eq!(change.time, None);
    }

    #[test]
    fn the_test_event_is_known_and_strangers_are_foreign() {
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "site"});
        assert_eq!(
            read(&test.to_string()),
            Notification::Test {
                bucket: "site".into()
            }
        );
        for text in [
            "",
            "hello",
            "[]",
            "{}",
            "{\"Records\": []}",
            "{\"Records\": 1}",
            "null",
        ] {
            assert!(matches!(read(text), Notification::Foreign(_)), "{text}");
        }
    }

    #[test]
    fn p4_expired_noncurrent_versions_are_not_let_through() {
        let filter = EventFilter::new(["LifecycleExpiration:*".to_owned(), "*".to_owned()]);
        let lets = |event: &str, version: Value| {
            let mut one = record("a");
            one["eventName"] = json!(event);
            one["s3"]["object"]["versionId"] = version;
            match read(&json!({"Records": [one]}).to_string()) {
                Notification::Records(read) => {
                    filter.lets_through(&read[0].as_ref().unwrap().event)
                }
                other => panic!("{other:?}"),
            }
        };
        for event in [
            "s3:LifecycleExpiration:Delete",
            "LifecycleExpiration:Delete",
        ] {
            assert!(!lets(event, json!("v1")));
            // Without versions, the object itself expired.
            assert!(
                lets(event, Value::Null) && lets(event, json!("")) && lets(event, json!("null"))
            );
        }
        for event in [
            "LifecycleExpiration:DeleteMarkerCreated",
            "ObjectRemoved:Delete",
        ] {
            assert!(lets(event, json!("v1")), "{event}");
        }
        let lets = |reason: &str, deletion_type: &str, version: Value| {
            let event = json!({"version": "0", "detail-type": "Object Deleted", "source": "aws.s3",
                "detail": {"bucket": {"name": "site"}, "object": {"key": "a", "version-id": version},
                    "reason": reason, "deletion-type": deletion_type}});
            match read(&event.to_string()) {
                Notification::Records(read) => {
                    filter.lets_through(&read[0].as_ref().unwrap().event)
                }
                other => panic!("{other:?}"),
            }
        };
        let lifecycle = "Lifecycle Expiration";
        assert!(!lets(lifecycle, "Permanently Deleted", json!("v1")));
        assert!(lets(lifecycle, "Permanently Deleted", Value::Null));
        assert!(lets(lifecycle, "Delete Marker Created", json!("v1")));
        assert!(lets("DeleteObject", "Permanently Deleted", json!("v1")));
    }

    /// Encodes a key like S3: everything but letters, digits and `/ - _ . *`, with `+` for a space.
    fn form_encode(key: &str) -> String {
        const SET: &AsciiSet = &NON_ALPHANUMERIC
            .remove(b'/')
            .remove(b'-')
            .remove(b'_')
            .remove(b'.')
            .remove(b'*')
            .remove(b' ');
        utf8_percent_encode(key, SET).to_string().replace(' ', "+")
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding(key in "\\PC{1,40}|.{1,40}") {
            prop_assert_eq!(key_of(&form_encode(&key)), Ok(key));
        }

        #[test]
        fn nothing_makes_it_panic(message in "\\PC{0,200}", key in "[%+a-fA-F0-9é]{0,20}") {
            let _ = read(&message);
            let _ = key_of(&key);
        }
    }

    #[test]
    fn point_18_a_bad_record_is_explained_without_names_of_types() {
        for (field, value) in [("s3", json!(5)), ("eventName", json!(5))] {
            let mut bad = record("k");
            bad[field] = value;
            let Notification::Records(records) = read(&json!({"Records": [bad, 5]}).to_string())
            else {
                panic!("records");
            };
            for bad in records.into_iter().map(Result::unwrap_err) {
                assert!(!bad.why.contains("struct"), "{}", bad.why);
            }
        }
    }
}
