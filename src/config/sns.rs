//! `[sns]`: which messages are accepted, and how they are checked.

use std::{fs, path::PathBuf, time::Duration};

use super::{Emulator, Purpose, Reader, SHORTEST_TOKEN, at_least_one, positive};
use crate::{domain::topic::TopicArn, secret::SecretHash};

/// `[sns]`
#[derive(Debug, Clone)]
pub struct SnsConfig {
    pub topics: Vec<TopicArn>,
    pub max_age: Duration,
    /// Messages dated further in the future than this are answered with 503.
    pub max_skew: Duration,
    pub cert_fetches_per_minute: u32,
    pub cert_fetch_burst: u32,
    /// Whether confirmed subscriptions can only be ended with AWS credentials.
    pub authenticate_on_unsubscribe: bool,
    /// The SHA-256 of the `user:password` that SNS must send.
    pub basic_auth: Option<SecretHash>,
    pub emulator: Option<Emulator>,
}

impl SnsConfig {
    pub(super) fn read(reader: &mut Reader, purpose: Purpose) -> Self {
        let wanted = "a list of topic ARNs, such as \
                      [\"arn:aws:sns:us-east-1:123456789012:site-changes\"]";
        let topics = reader.take::<Vec<String>>("sns.topics", wanted, Vec::new());
        if topics.is_empty() && purpose == Purpose::Service {
            reader.refuse(
                "sns.topics",
                format!("no topic is configured: expected {wanted}"),
            );
        }
        let mut parsed = Vec::new();
        for topic in topics {
            match topic.parse::<TopicArn>() {
                Ok(arn) => parsed.push(arn),
                Err(error) => reader.refuse("sns.topics", format!("{topic:?}: {error}")),
            }
        }
        Self {
            topics: parsed,
            max_age: positive(reader, "sns.max_age", Duration::from_hours(24)),
            max_skew: reader.take_duration("sns.max_skew", Duration::from_mins(15)),
            cert_fetches_per_minute: at_least_one(reader, "sns.cert_fetches_per_minute", 1_500),
            cert_fetch_burst: at_least_one(reader, "sns.cert_fetch_burst", 50),
            authenticate_on_unsubscribe: reader.take(
                "sns.authenticate_on_unsubscribe",
                "true or false",
                true,
            ),
            basic_auth: read_basic_auth(reader),
            emulator: Emulator::read(reader),
        }
    }
}

/// Reads `user:password` and keeps only its hash.
fn read_basic_auth(reader: &mut Reader) -> Option<SecretHash> {
    let wanted = "\"user:password\"";
    let inline: Option<String> = reader.take_secret("sns.basic_auth", wanted, None);
    let key = "sns.basic_auth_file";
    let file: Option<PathBuf> = reader.take(key, "the path of a file", None);
    let (key, text) = match (inline, file) {
        (Some(_), Some(_)) => {
            reader.refuse(key, "sns.basic_auth is also set: use only one of the two");
            return None;
        }
        (None, None) => return None,
        (Some(text), None) => ("sns.basic_auth", text),
        (None, Some(file)) => match fs::read_to_string(&file) {
            Ok(text) => (key, text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                // Leave out the path: it may be a password that was meant for sns.basic_auth.
                reader.refuse(key, format!("the file cannot be read: {error}"));
                return None;
            }
        },
    };
    let right = text.split_once(':').is_some_and(|(user, password)| {
        !user.is_empty() && password.len() >= SHORTEST_TOKEN && !text.contains(char::is_control)
    });
    if !right {
        let text = format!(
            "expected one line with a user, \":\" and a password of at least {SHORTEST_TOKEN} \
             characters"
        );
        reader.refuse(key, text);
    }
    Some(SecretHash::of(text.as_bytes()))
}
