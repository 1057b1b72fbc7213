//! Measures the parts on a change's way, each by itself.
//!
//! `cargo bench --locked --bench parts` runs all of them; with `-- signature`, only those whose names contain that.
//! Criterion compares each figure with the run before. `-- merging` measures that alone, and writes its table.

#![expect(
    clippy::unwrap_used,
    clippy::doc_markdown,
    clippy::needless_pass_by_value,
    clippy::print_stderr,
    clippy::print_stdout,
    unreachable_pub,
    clippy::disallowed_methods,
    dead_code,
    reason = "a benchmark measures real time, and shares the tests' support code"
)]

#[path = "../messages.rs"]
mod messages;
#[path = "../../tests/support/mod.rs"]
mod support;

mod consolidation;
#[path = "../document.rs"]
mod document;
mod envelope;
mod mapping;
mod merging;
#[path = "../process.rs"]
mod process;
mod records;
mod report;
mod signature;
mod store;

use std::{collections::HashSet, time::Duration};

use criterion::{Criterion, criterion_group};
use purgefront::domain::{sns_message::SnsMessage, topic::TopicArn};
use support::signer::{Signer, TOPIC};

criterion_group! {
    name = parts;
    // Short, since there are many; and the fewer resamples save seconds of analysis for each.
    config = Criterion::default()
        .without_plots()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(3))
        .nresamples(10_000);
    targets =
        signature::bench,
        envelope::bench,
        records::bench,
        mapping::bench,
        consolidation::bench,
        store::bench,
}

fn main() {
    if merging::once() {
        return;
    }
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let only = words.next();
    if only.as_deref() == Some("merging") {
        merging::write();
        return;
    }
    parts();
    Criterion::default().configure_from_args().final_summary();
    // Only if all of them were measured.
    if only.is_none() {
        report::write();
        merging::write();
    }
}

/// The key of the page with this number.
fn page(number: usize) -> String {
    format!("assets/2026/11/page-{number}.html")
}

/// A body with one record, as SNS posts it.
fn signed_body(signer: &Signer, signature_version: &str) -> String {
    let text = messages::s3_message_text("site", &page(4_711));
    let message = signer
        .notification(&text)
        .with("Subject", "Amazon S3 Notification")
        .with("SignatureVersion", signature_version);
    message.body()
}

fn parse(body: &str, topics: &HashSet<TopicArn>) -> SnsMessage {
    SnsMessage::parse(body.as_bytes(), false, topics, None).unwrap()
}

/// The allowed topics: the one that the signer publishes to.
fn topics() -> HashSet<TopicArn> {
    HashSet::from([TOPIC.parse().unwrap()])
}
