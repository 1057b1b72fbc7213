//! Messages really signed by SNS, or by a stand-in: each verifies, and none does after any
//! signed field is altered.

use super::*;
use serde_json::Value;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Directories of valid messages, each with the certificate that its messages refer to.
fn vectors() -> Vec<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = here.join("tests/data/sns");
    let real = here.join("../shared/vectors/aws-sdk-java-v2-2026");
    if real.is_dir() {
        return vec![made, real];
    }
    // Not `eprintln!`, whose output is captured when a test passes.
    let _ = writeln!(
        io::stderr(),
        "SKIPPED: no real SNS messages in {}",
        real.display()
    );
    vec![made]
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

/// Serves the PEM files of a directory, by the last segment of the URL.
struct Directory(PathBuf);

#[async_trait]
impl Fetch for Directory {
    async fn fetch(&self, url: &CertificateUrl) -> Result<Vec<u8>, String> {
        let file = url.as_str().rsplit('/').next().unwrap();
        std::fs::read(self.0.join(file)).map_err(|error| error.to_string())
    }
}

/// Copies of the message with one signed field changed, each still well-formed.
fn alterations(body: &Value) -> Vec<Value> {
    let mut altered = Vec::new();
    let mut alter = |field: &str, value: &str| {
        let mut body = body.clone();
        body[field] = json!(value);
        altered.push(body);
    };
    for field in ["Message", "Subject", "SubscribeURL"] {
        match body[field].as_str() {
            Some(text) => alter(field, &format!("{text} ")),
            None if field == "Subject" && body["Type"] == "Notification" => alter(field, ""),
            None => {}
        }
    }
    alter("MessageId", "00000000-0000-4000-8000-000000000000");
    let time = body["Timestamp"].as_str().unwrap();
    let digit = if time.ends_with("1Z") { "2Z" } else { "1Z" };
    alter("Timestamp", &format!("{}{digit}", &time[..22]));
    alter(
        "TopicArn",
        &format!("{}2", body["TopicArn"].as_str().unwrap()),
    );
    if let Some(token) = body["Token"].as_str() {
        alter("Token", &format!("{token}0"));
        alter("Type", "Notification");
        let other = match body["Type"].as_str() {
            Some("SubscriptionConfirmation") => "UnsubscribeConfirmation",
            _ => "SubscriptionConfirmation",
        };
        alter("Type", other);
    }
    alter(
        "SignatureVersion",
        if body["SignatureVersion"] == "1" {
            "2"
        } else {
            "1"
        },
    );
    if body.get("Subject").is_some() {
        let mut without = body.clone();
        without.as_object_mut().unwrap().remove("Subject");
        altered.push(without);
    }
    altered
}

#[tokio::test]
async fn real_messages_verify_and_altered_ones_do_not() {
    for dir in vectors() {
        let mut verified = 0;
        for file in files(&dir, "json") {
            let body: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let topic = body["TopicArn"].as_str().unwrap();
            let topics = [topic, &format!("{topic}2")]
                .map(|topic| topic.parse().unwrap())
                .into();
            let clock = HandClock::at(body["Timestamp"].as_str().unwrap());
            let certificates =
                SigningCertificates::new(Directory(dir.clone()), cache(), clock.clone(), LIMITS);
            let deadline = clock.after(SECONDS_10);
            let message = parse(&body, &topics);
            let name = file.display();
            assert_eq!(
                certificates.verify(&message, deadline).await,
                Ok(()),
                "{name}"
            );
            for altered in alterations(&body) {
                let outcome = certificates
                    .verify(&parse(&altered, &topics), deadline)
                    .await;
                assert_eq!(outcome, Err(Refusal::Signature), "{name}: {altered}");
            }
            verified += 1;
        }
        assert!(verified > 0, "{}", dir.display());
    }
}
