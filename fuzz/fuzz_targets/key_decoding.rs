//! Decodes S3's form-encoded keys: encoding and decoding a key again returns the same key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use purgefront::domain::s3_event::{Notification, read};
use serde_json::json;

/// Everything but the characters that S3 does not encode, and the space, which becomes `+`.
const SET: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'*')
    .remove(b' ');

fn decode(key: &str) -> Option<String> {
    let message = json!({"Records": [{
        "eventVersion": "2.1", "eventSource": "aws:s3", "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "site"}, "object": {"key": key}}
    }]});
    match read(&message.to_string()) {
        Notification::Records(mut records) => records.remove(0).ok().map(|change| change.key),
        other => panic!("{other:?}"),
    }
}

fn encode(key: &str) -> String {
    utf8_percent_encode(key, SET).to_string().replace(' ', "+")
}

fuzz_target!(|text: &str| {
    if text.is_empty() {
        return assert_eq!(decode(text), None);
    }
    // The input as a key,
    assert_eq!(decode(&encode(text)).as_deref(), Some(text));
    // and the input as an encoded key.
    if let Some(key) = decode(text) {
        assert!(!key.is_empty() && key.len() <= text.len());
        assert_eq!(decode(&encode(&key)), Some(key));
    }
});
