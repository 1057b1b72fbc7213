//! Asks the endpoint as SNS would: over TLS with public CAs, without following redirects.

use std::{error::Error, time::Duration};

use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use reqwest::{Client, Response, header, redirect::Policy};
use serde_json::Value;

use crate::domain::doctor::endpoint::{Answer, Reached};

const PATIENCE: Duration = Duration::from_secs(10);
/// What a problem+json may have.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// What the endpoint has answered.
pub(super) struct Asked {
    pub(super) reached: Reached,
    pub(super) answer: Result<Answer, String>,
    /// The time by our clock and by its.
    pub(super) date: Option<(Timestamp, Timestamp)>,
}

pub(super) async fn ask(endpoint: &str, now: impl Fn() -> Timestamp + Send) -> Asked {
    let client = Client::builder()
        .user_agent(concat!("purgefront/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .timeout(PATIENCE);
    let client = match client.build() {
        Ok(client) => client,
        Err(error) => return Asked::not(Reached::Not(text(&error))),
    };
    let health = match client.get(health_url(endpoint)).send().await {
        Ok(health) => health,
        Err(error) => return Asked::not(failure(&error)),
    };
    let date = health.headers().get(header::DATE);
    let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date.as_bytes()).ok());
    let date = date.map(|theirs| (now(), theirs));
    let reached = Reached::Answered(health.status().as_u16());
    let answer = client.post(endpoint).body("{}").send().await;
    Asked {
        reached,
        answer: match answer {
            Ok(answer) => Ok(read(answer).await),
            Err(error) => Err(text(&error)),
        },
        date,
    }
}

impl Asked {
    fn not(reached: Reached) -> Self {
        Self {
            reached,
            answer: Err("see endpoint.reachable".to_owned()),
            date: None,
        }
    }
}

/// The health check on the same host.
fn health_url(endpoint: &str) -> String {
    let host = endpoint.find("://").map_or(0, |at| at + 3);
    let end = endpoint[host..].find(['/', '?']);
    let end = end.map_or(endpoint.len(), |end| host + end);
    format!("{}/healthz", &endpoint[..end])
}

async fn read(answer: Response) -> Answer {
    let status = answer.status().as_u16();
    let kind = answer.headers().get(header::CONTENT_TYPE);
    let is_problem = kind
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/problem+json"));
    let is_short = answer
        .content_length()
        .is_some_and(|length| length <= LONGEST_ANSWER);
    let problem = if is_problem && is_short {
        answer.bytes().await.ok().and_then(|body| {
            let body: Value = serde_json::from_slice(&body).ok()?;
            Some(body["type"].as_str()?.to_owned())
        })
    } else {
        None
    };
    Answer { status, problem }
}

fn failure(error: &reqwest::Error) -> Reached {
    let text = text(error);
    // rustls has no type of error that reqwest passes on.
    if text.contains("certificate") {
        Reached::Untrusted(text)
    } else {
        Reached::Not(text)
    }
}

/// The error and its causes, without the URL, which may be secret.
fn text(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(one) = cause {
        causes.push(one.to_string());
        cause = one.source();
    }
    if causes.is_empty() && error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        causes.join(": ")
    }
}

#[cfg(test)]
mod tests {
    use super::health_url;

    #[test]
    fn the_health_check_is_on_the_same_host() {
        for (endpoint, expected) in [
            ("https://a.example/sns", "https://a.example/healthz"),
            (
                "http://127.0.0.1:8080/x/sns?a=/b",
                "http://127.0.0.1:8080/healthz",
            ),
            ("https://a.example?x", "https://a.example/healthz"),
            ("https://a.example", "https://a.example/healthz"),
        ] {
            assert_eq!(health_url(endpoint), expected);
        }
    }
}
