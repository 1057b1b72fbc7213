//! What S3 publishes, with all the fields that it sends: the benchmarks' messages.
//!
//! Signed, with the subject that S3 gives it, a message of one record has about 1.7 KB.

use serde_json::{Value, json};

/// The text of a message with one record: an upload of this key.
pub fn s3_message_text(bucket: &str, key: &str) -> String {
    json!({ "Records": [s3_record(bucket, key)] }).to_string()
}

/// One record. Source of the fields: Amazon S3 User Guide, "Event message structure".
pub fn s3_record(bucket: &str, key: &str) -> Value {
    // S3 leaves slashes as they are.
    let encoded: String = form_urlencoded::byte_serialize(key.as_bytes()).collect();
    let encoded = encoded.replace("%2F", "/");
    json!({
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-east-1",
        "eventTime": "2026-11-23T10:00:00.000Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "AWS:AROAEXAMPLEEXAMPLE123:site-deployment"},
        "requestParameters": {"sourceIPAddress": "203.0.113.24"},
        "responseElements": {
            "x-amz-request-id": "C3D13FE58DE4C810",
            "x-amz-id-2": "FMyUVURIY8/IgAtTv8xRjskZQpcIZ9KG4V5Wp6S7S/JRWeUWerMUE5JgHvANOjpD",
        },
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "purgefront",
            "bucket": {
                "name": bucket,
                "ownerIdentity": {"principalId": "A3NL1KOZZKEXAMPLE"},
                "arn": format!("arn:aws:s3:::{bucket}"),
            },
            "object": {
                "key": encoded,
                "size": 18_431,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "006976B8A6AECEE0CB",
            },
        },
    })
}
