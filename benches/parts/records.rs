//! Reading the changes in a message's text.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use purgefront::domain::s3_event::{Notification, read};
use serde_json::json;

use crate::{messages, page};

pub fn bench(criterion: &mut Criterion) {
    let ten: Vec<_> = (0..10)
        .map(|at| messages::s3_record("site", &page(at)))
        .collect();
    let mut group = criterion.benchmark_group("records");
    for (name, records, text) in [
        ("1 record", 1, messages::s3_message_text("site", &page(0))),
        ("10 records", 10, json!({ "Records": ten }).to_string()),
        ("EventBridge", 1, event_text(&page(0))),
    ] {
        assert_eq!(readable(&read(&text)), records);
        group.throughput(Throughput::ElementsAndBytes {
            elements: records as u64,
            bytes: text.len() as u64,
        });
        group.bench_function(name, |bencher| bencher.iter(|| read(black_box(&text))));
    }
    group.finish();
}

fn readable(notification: &Notification) -> usize {
    match notification {
        Notification::Records(records) => records.iter().filter(|one| one.is_ok()).count(),
        _ => 0,
    }
}

/// An upload, as a rule of EventBridge sends it. Source: Amazon S3 User Guide, "EventBridge event
/// message structure".
fn event_text(key: &str) -> String {
    let event = json!({
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "123456789012",
        "time": "2026-11-23T10:00:00Z",
        "region": "us-east-1",
        "resources": ["arn:aws:s3:::site"],
        "detail": {
            "version": "0",
            "bucket": {"name": "site"},
            "object": {
                "key": key,
                "size": 18_431,
                "etag": "d41d8cd98f00b204e9800998ecf8427e",
                "version-id": "096fKKXTRTtl3on89fVO.nfljtsv6qko",
                "sequencer": "006976B8A6AECEE0CB",
            },
            "request-id": "C3D13FE58DE4C810",
            "requester": "123456789012",
            "source-ip-address": "203.0.113.24",
            "reason": "PutObject",
        },
    });
    event.to_string()
}
