//! Sends notices as Standard Webhooks (<https://www.standardwebhooks.com>): signed, without redirects, and to
//! no private address unless that is configured.

mod public_only;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::{Timestamp, fmt::rfc2822};
use reqwest::{
    Client,
    header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};
use uuid::Uuid;

use self::public_only::PublicOnly;
use crate::{
    domain::notice::{NotDelivered, Notice},
    ports::NoticeSender,
    secret::SigningSecret,
};

/// The time limit of an attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT: Duration = Duration::from_secs(5);

/// Where notices are sent to.
#[derive(Clone)]
pub struct WebhookTarget {
    /// As in [`Notice::target`].
    pub key: String,
    /// May be secret.
    pub url: String,
    /// Its host, as the URL has it.
    pub host: String,
    /// All of them sign, so that one can be replaced by another.
    pub secrets: Vec<SigningSecret>,
    /// Whether its address may be a private one.
    pub allow_private: bool,
}

impl fmt::Debug for WebhookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookTarget")
            .field("key", &self.key)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// The sender. Each target has its own connections.
#[derive(Debug)]
pub struct WebhookSender(HashMap<String, (Client, WebhookTarget)>);

impl WebhookSender {
    pub fn new(targets: Vec<WebhookTarget>) -> Result<Self, reqwest::Error> {
        let endpoints = targets.into_iter().map(|target| {
            let client = client(&target)?;
            Ok((target.key.clone(), (client, target)))
        });
        endpoints.collect::<Result<_, _>>().map(Self)
    }
}

/// A client with the proxy and the trusted roots of the environment.
fn client(target: &WebhookTarget) -> Result<Client, reqwest::Error> {
    let client = Client::builder()
        .user_agent(concat!("purgefront/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .connect_timeout(CONNECT)
        .timeout(TIMEOUT);
    if target.allow_private {
        return client.build();
    }
    let resolver = PublicOnly::new(&target.host);
    client.dns_resolver(Arc::new(resolver)).build()
}

#[async_trait]
impl NoticeSender for WebhookSender {
    async fn send(&self, notice: &Notice, at: Timestamp) -> Result<(), NotDelivered> {
        let Some((client, target)) = self.0.get(&notice.target) else {
            return Err(failed("the target is not configured"));
        };
        if !target.allow_private && public_only::is_private_literal(&target.host) {
            return Err(failed(public_only::REFUSED));
        }
        let seconds = at.as_second();
        let signature = signature(&target.secrets, notice.id, seconds, &notice.body);
        // The URL may be secret.
        let sent = client
            .post(&target.url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", notice.id.to_string())
            .header("webhook-timestamp", seconds.to_string())
            .header("webhook-signature", signature)
            .body(notice.body.clone())
            .send()
            .await;
        let response = sent.map_err(|error| failed(explain(error)))?;
        // The body is of no interest; what was not read of it goes with the connection.
        if response.status().is_success() {
            return Ok(());
        }
        Err(NotDelivered {
            why: format!("the response has status {}", response.status().as_u16()),
            retry_after: retry_after(response.headers(), at),
        })
    }
}

/// The header `webhook-signature`: one signature for each secret.
fn signature(secrets: &[SigningSecret], id: Uuid, seconds: i64, body: &str) -> String {
    let signed = format!("{id}.{seconds}.{body}");
    let signatures = secrets.iter().map(|secret| secret.sign(signed.as_bytes()));
    let signatures: Vec<_> = signatures.map(|one| format!("v1,{one}")).collect();
    signatures.join(" ")
}

/// The header `Retry-After`, in seconds or as a time.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

fn failed(why: impl Into<String>) -> NotDelivered {
    NotDelivered {
        why: why.into(),
        retry_after: None,
    }
}

/// Why there is no response, without the URL.
fn explain(error: reqwest::Error) -> String {
    let what = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "the connection failed"
    } else {
        "the request failed"
    };
    let error = anyhow::Error::new(error.without_url());
    format!("{what}: {error:#}")
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    /// The example of the reference implementations' tests.
    #[test]
    fn a_signature_is_that_of_the_reference() {
        let secret = SigningSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = br#"msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}"#;
        assert_eq!(
            secret.sign(signed),
            "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn each_secret_signs() {
        let secret = |byte| {
            let text = format!("whsec_{}", STANDARD.encode([byte; 32]));
            SigningSecret::read(&text).unwrap()
        };
        let (old, new) = (secret(1), secret(2));
        let id = Uuid::nil();
        let both = signature(&[old.clone(), new.clone()], id, 7, "{}");
        let signed = format!("{id}.7.{{}}");
        let [first, second] = [old, new].map(|one| one.sign(signed.as_bytes()));
        assert_eq!(both, format!("v1,{first} v1,{second}"));
        assert_ne!(first, second);
    }

    #[test]
    fn a_receiver_says_when_in_seconds_or_as_a_time() {
        let now = "2026-10-21T07:28:00Z".parse().unwrap();
        let after = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now).map(|after| after.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Wed, 21 Oct 2026 07:30:00 GMT"), Some(120));
        assert_eq!(after("Wed, 21 Oct 2026 07:00:00 GMT"), Some(0));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-5"), None);
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }
}
