//! Tests of reading records and events.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};

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
    assert_eq!(
        read[0].as_ref().unwrap_err().record,
        record("%FF").to_string()
    );
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
fn a_sequencer_is_kept_and_anything_else_in_its_place_does_no_harm() {
    let sequencer = |value: Value| {
        let mut one = record("a");
        one["s3"]["object"]["sequencer"] = value;
        let Notification::Records(read) = read(&json!({"Records": [one]}).to_string()) else {
            panic!("records are records");
        };
        read[0].as_ref().unwrap().sequencer.clone()
    };
    let right = "0055AED6DCD90281E5";
    assert_eq!(sequencer(json!(right)).as_deref(), Some(right));
    for wrong in [
        json!(""),
        json!(7),
        json!(null),
        json!("<b>"),
        json!("0".repeat(65)),
    ] {
        assert_eq!(sequencer(wrong.clone()), None, "{wrong}");
    }
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
            Notification::Records(read) => filter.lets_through(&read[0].as_ref().unwrap().event),
            other => panic!("{other:?}"),
        }
    };
    for event in [
        "s3:LifecycleExpiration:Delete",
        "LifecycleExpiration:Delete",
    ] {
        assert!(!lets(event, json!("v1")));
        // Without versions, the object itself expired.
        assert!(lets(event, Value::Null) && lets(event, json!("")) && lets(event, json!("null")));
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
            Notification::Records(read) => filter.lets_through(&read[0].as_ref().unwrap().event),
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
        let Notification::Records(records) = read(&json!({"Records": [bad, 5]}).to_string()) else {
            panic!("records");
        };
        for bad in records.into_iter().map(Result::unwrap_err) {
            assert!(!bad.why.contains("struct"), "{}", bad.why);
        }
    }
}
