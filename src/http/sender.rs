//! What a request to /sns says of itself, for the log: unverified, and bounded.

use std::{fmt, net::SocketAddr};

use axum::http::{HeaderMap, HeaderName, request::Parts};

/// SNS sends it with every message. Source: Amazon SNS Developer Guide, "HTTP/HTTPS headers".
pub(super) const MESSAGE_TYPE: HeaderName = HeaderName::from_static("x-amz-sns-message-type");
const TOPIC: HeaderName = HeaderName::from_static("x-amz-sns-topic-arn");
const MESSAGE_ID: HeaderName = HeaderName::from_static("x-amz-sns-message-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The longest value that is logged, in characters.
const LONGEST: usize = 256;

/// The address of the connection's other end, which may be a proxy's.
#[derive(Debug, Clone, Copy)]
pub(super) struct PeerAddress(pub(super) SocketAddr);

/// The sender's claims.
#[derive(Debug, Clone, Default)]
pub(super) struct Sender {
    pub(super) topic: Option<String>,
    pub(super) message_id: Option<String>,
    /// The address that sent it to the last proxy, or to us.
    pub(super) address: Option<String>,
}

impl Sender {
    pub(super) fn of(parts: &Parts) -> Self {
        let Parts {
            headers,
            extensions,
            ..
        } = parts;
        let forwarded = value(headers, &FORWARDED_FOR);
        let forwarded = forwarded.map(|all| last(&all).to_owned());
        let peer = extensions.get::<PeerAddress>();
        Self {
            topic: value(headers, &TOPIC),
            message_id: value(headers, &MESSAGE_ID),
            address: forwarded.or_else(|| peer.map(|peer| peer.0.ip().to_string())),
        }
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown =
            |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
        write!(
            f,
            "topic {:?}, message {:?}, from {:?}",
            unknown(&self.topic),
            unknown(&self.message_id),
            unknown(&self.address)
        )
    }
}

fn value(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.as_bytes();
    let text = String::from_utf8_lossy(value);
    Some(text.chars().take(LONGEST).collect())
}

fn last(list: &str) -> &str {
    list.rsplit(',').next().unwrap_or_default().trim()
}
