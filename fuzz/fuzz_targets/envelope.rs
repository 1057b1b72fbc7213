//! Parses the input as an SNS message: the signed text matches what other JSON parsers read. Few
//! random inputs are well-formed messages, so the input is also put into the fields of one.
#![no_main]

use std::{collections::HashSet, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use purgefront::domain::{
    sns_message::{MessageKind, SnsMessage},
    topic::TopicArn,
};
use serde_json::{Value, json};

static TOPICS: LazyLock<HashSet<TopicArn>> = LazyLock::new(|| {
    let topic = "arn:aws:sns:us-east-1:123456789012:site-changes";
    HashSet::from([topic.parse().expect("a topic's ARN")])
});

fn check(body: &[u8]) {
    let message = match SnsMessage::parse(body, false, &TOPICS, Some("http://127.0.0.1:4566")) {
        Ok(message) => message,
        Err(refusal) => {
            assert!(!refusal.to_string().is_empty() && !refusal.slug().is_empty());
            return;
        }
    };
    let seen: Value = serde_json::from_slice(body).expect("JSON");
    let names: &[&str] = match message.kind() {
        MessageKind::Notification => &[
            "Message",
            "MessageId",
            "Subject",
            "Timestamp",
            "TopicArn",
            "Type",
        ],
        _ => &[
            "Message",
            "MessageId",
            "SubscribeURL",
            "Timestamp",
            "Token",
            "TopicArn",
            "Type",
        ],
    };
    let mut signed = String::new();
    for name in names {
        if let Some(text) = seen[name].as_str() {
            assert!(
                *name == "Message" || !text.contains('\n'),
                "{name} contains a newline"
            );
            signed += &format!("{name}\n{text}\n");
        }
    }
    assert_eq!(message.string_to_sign(), signed);
    assert_eq!(seen["Message"], message.text());
    assert_eq!(seen["SigningCertURL"], message.certificate_url().as_str());
    assert!(!format!("{message:?}").contains('\n'));
}

fuzz_target!(|body: &[u8]| {
    check(body);
    let Ok(text) = str::from_utf8(body) else {
        return;
    };
    let (subject, text) = text.split_once('\n').unwrap_or(("", text));
    let message = json!({
        "Type": "Notification",
        "MessageId": "4a1eac34-2fe0-49de-841c-94ab744cc2d9",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:site-changes",
        "Subject": subject,
        "Message": text,
        "Timestamp": "2026-06-01T12:00:01.234Z",
        "SignatureVersion": "2",
        "Signature": "AAAA",
        "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-1d9a4b2a6da10720d23cf2f2ce2bab88.pem",
    });
    check(message.to_string().as_bytes());
});
