//! An SNS message: parses it and checks everything that does not need the certificate.
//!
//! A message is verified in this order: [`SnsMessage::parse`] (JSON, `Type`, topic, field shapes,
//! signature version, certificate URL), then certificate and signature (the port `SnsTrust`, over
//! [`SnsMessage::string_to_sign`]), then [`SnsMessage::check_age`].

mod certificate_url;
mod envelope;
mod refusal;
mod shapes;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use self::envelope::{Envelope, Value, bad};
use self::shapes::{check_signature, check_timestamp, check_uuid, no_control};
use super::topic::TopicArn;

pub use self::certificate_url::CertificateUrl;
pub use self::refusal::{Refusal, RefusalClass};

/// A well-formed message on an allowed topic. Only its signature can prove that it is from SNS.
///
/// Its `Debug` output contains neither the text nor any secrets.
#[derive(Clone)]
pub struct SnsMessage {
    kind: MessageKind,
    message_id: Uuid,
    topic: TopicArn,
    subject: Option<String>,
    text: String,
    timestamp: Timestamp,
    timestamp_text: String,
    signature_version: SignatureVersion,
    signature: Vec<u8>,
    certificate_url: CertificateUrl,
}

/// The three message types that SNS posts to an HTTPS endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MessageKind {
    /// A published message.
    Notification,
    /// Sent after somebody subscribed this endpoint to the topic.
    SubscriptionConfirmation {
        /// The argument for `ConfirmSubscription`.
        token: Token,
        /// Needed only to verify the signature.
        subscribe_url: SubscribeUrl,
    },
    /// Sent after the subscription has ended.
    UnsubscribeConfirmation {
        /// Could be used to subscribe again.
        token: Token,
        /// Needed only to verify the signature.
        subscribe_url: SubscribeUrl,
    },
}

impl MessageKind {
    /// The value of `Type`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Notification => "Notification",
            Self::SubscriptionConfirmation { .. } => "SubscriptionConfirmation",
            Self::UnsubscribeConfirmation { .. } => "UnsubscribeConfirmation",
        }
    }
}

/// The secret that confirms a subscription, valid for two days (Amazon SNS API Reference,
/// `Subscribe`). `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

impl Token {
    /// Accepts 1 to 1,024 visible ASCII characters: what AWS promises is less than what its tokens are
    /// made of today, and without newlines, a signed text still has one reading.
    pub fn new(text: String) -> Option<Self> {
        let visible = text.bytes().all(|b| b.is_ascii_graphic());
        ((1..=1024).contains(&text.len()) && visible).then_some(Self(text))
    }

    /// The token itself. Only for the `ConfirmSubscription` call and the store.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// SNS API Reference, Subscribe: "Confirmation tokens are valid for two days."
pub const TOKEN_LIFETIME: SignedDuration = SignedDuration::from_hours(48);

/// A message's `SubscribeURL`. It is part of the signed text. Nothing outside this module can
/// read it, so nothing can fetch it.
#[derive(Clone, PartialEq, Eq)]
pub struct SubscribeUrl(String);

impl fmt::Debug for SubscribeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubscribeUrl(..)")
    }
}

/// The hash of the RSA PKCS #1 v1.5 signature (Amazon SNS Developer Guide, "Verifying the
/// signatures of Amazon SNS messages").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureVersion {
    /// `1`: SHA-1, the default of topics.
    V1,
    /// `2`: SHA-256.
    V2,
}

impl SnsMessage {
    /// Parses a request body, and runs all checks up to and including the certificate URL.
    ///
    /// `raw_delivery` is whether the request had the header `x-amz-sns-rawdelivery: true`, `topics`
    /// are the allowed topics (`sns.topics`), and `emulator` is an additional trusted origin for
    /// certificates (`sns.emulator`).
    pub fn parse(
        body: &[u8],
        raw_delivery: bool,
        topics: &HashSet<TopicArn>,
        emulator: Option<&str>,
    ) -> Result<Self, Refusal> {
        if raw_delivery {
            return Err(Refusal::RawDelivery);
        }
        let mut fields = Envelope::read(body)?;
        let message_type = check_type(&fields)?;
        let topic = fields.take_text("TopicArn")?;
        let topic = topics.get(&*topic).ok_or(Refusal::TopicNotAllowed)?.clone();

        let message_id = check_uuid(&fields.take_text("MessageId")?)?;
        let text = fields.take_text("Message")?.into_owned();
        let timestamp_text = fields.take_text("Timestamp")?.into_owned();
        let version = fields.take_text("SignatureVersion")?;
        let signature = check_signature(&fields.take_text("Signature")?)?;
        let url = fields.take_text("SigningCertURL")?;
        let emulated = emulator.and_then(|origin| CertificateUrl::of_emulator(&url, origin));
        let timestamp = check_timestamp(&timestamp_text, emulated.is_none())?;
        let (kind, subject) = match message_type {
            Type::Notification => {
                let subject = fields.take_optional_text("Subject")?;
                no_control("Subject", subject.as_deref().unwrap_or_default())?;
                (MessageKind::Notification, subject.map(Cow::into_owned))
            }
            Type::SubscriptionConfirmation => {
                let (token, subscribe_url) = check_confirmation(&mut fields)?;
                let kind = MessageKind::SubscriptionConfirmation {
                    token,
                    subscribe_url,
                };
                (kind, None)
            }
            Type::UnsubscribeConfirmation => {
                let (token, subscribe_url) = check_confirmation(&mut fields)?;
                let kind = MessageKind::UnsubscribeConfirmation {
                    token,
                    subscribe_url,
                };
                (kind, None)
            }
        };
        if !matches!(
            fields.get("MessageAttributes"),
            None | Some(Value::Object(_))
        ) {
            return Err(bad("MessageAttributes", "must be an object"));
        }

        let signature_version = match &*version {
            "1" => SignatureVersion::V1,
            "2" => SignatureVersion::V2,
            _ => return Err(Refusal::SignatureVersion),
        };
        let certificate_url = match emulated {
            Some(emulated) => emulated,
            None => CertificateUrl::check(&url, &topic).map_err(|why| match emulator {
                Some(_) => beside_an_emulator(why),
                None => why,
            })?,
        };
        Ok(Self {
            kind,
            message_id,
            topic,
            subject,
            text,
            timestamp,
            timestamp_text,
            signature_version,
            signature,
            certificate_url,
        })
    }

    /// The text that SNS signed: names and values, one per line, sorted by name (Amazon SNS
    /// Developer Guide, "Verifying the signatures of Amazon SNS messages").
    ///
    /// Other copies of that page omit `SubscribeURL` and `Token` for confirmations, but real
    /// messages have them signed. Values are used verbatim: a timestamp that is formatted again
    /// would lose its `.000` once in a thousand messages.
    pub fn string_to_sign(&self) -> String {
        let message_id = self.message_id.to_string();
        let mut lines = vec![("Message", self.text.as_str()), ("MessageId", &message_id)];
        match &self.kind {
            MessageKind::Notification => {
                lines.extend(self.subject.as_deref().map(|subject| ("Subject", subject)));
                lines.push(("Timestamp", &self.timestamp_text));
            }
            MessageKind::SubscriptionConfirmation {
                token,
                subscribe_url,
            }
            | MessageKind::UnsubscribeConfirmation {
                token,
                subscribe_url,
            } => lines.extend([
                ("SubscribeURL", subscribe_url.0.as_str()),
                ("Timestamp", &self.timestamp_text),
                ("Token", &token.0),
            ]),
        }
        lines.extend([
            ("TopicArn", self.topic.as_str()),
            ("Type", self.kind.name()),
        ]);
        let mut signed = String::with_capacity(self.text.len() + 1024);
        for (name, value) in lines {
            signed.extend([name, "\n", value, "\n"]);
        }
        signed
    }

    /// Checks that the message is not older than `max_age`, and not further in the future than
    /// `max_skew`.
    ///
    /// The age counts from publication. SNS keeps that timestamp when it retries, which it does for
    /// up to an hour (Amazon SNS Developer Guide, "Message delivery retries").
    pub fn check_age(
        &self,
        now: Timestamp,
        max_age: Duration,
        max_skew: Duration,
    ) -> Result<(), Refusal> {
        let age = now.duration_since(self.timestamp);
        let span = if age.is_negative() { max_skew } else { max_age };
        if age.unsigned_abs() <= span {
            Ok(())
        } else if age.is_negative() {
            Err(Refusal::FromTheFuture)
        } else {
            Err(Refusal::TooOld)
        }
    }

    /// Checks a message that SNS could not deliver and has put into a dead-letter queue: its age does
    /// not matter, since the queue keeps it for days. A subscription is not confirmed with a token that
    /// has expired, and a message from the future stays one.
    pub fn check_redriven(&self, now: Timestamp, max_skew: Duration) -> Result<(), Refusal> {
        let confirms = matches!(self.kind, MessageKind::SubscriptionConfirmation { .. });
        if confirms && now.duration_since(self.timestamp) > TOKEN_LIFETIME {
            return Err(Refusal::TokenExpired);
        }
        self.check_age(now, Duration::MAX, max_skew)
    }

    pub fn kind(&self) -> &MessageKind {
        &self.kind
    }

    /// Stays the same when SNS retries the message.
    pub fn message_id(&self) -> Uuid {
        self.message_id
    }

    /// One of the allowed topics.
    pub fn topic(&self) -> &TopicArn {
        &self.topic
    }

    /// The published text (`Message`).
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The time of publication.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    pub fn signature_version(&self) -> SignatureVersion {
        self.signature_version
    }

    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    pub fn certificate_url(&self) -> &CertificateUrl {
        &self.certificate_url
    }
}

impl fmt::Debug for SnsMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsMessage")
            .field("type", &self.kind.name())
            .field("message_id", &self.message_id)
            .field("topic", &self.topic)
            .field("timestamp", &self.timestamp)
            .finish_non_exhaustive()
    }
}

/// An emulator writes its own host name into its messages, which is not always the configured one.
fn beside_an_emulator(why: Refusal) -> Refusal {
    match why {
        Refusal::CertificateUrl(why) => Refusal::CertificateUrl(format!(
            "{why}; or begin with sns.emulator, exactly as the emulator writes it (localhost and \
             127.0.0.1 differ)"
        )),
        other => other,
    }
}

#[derive(Clone, Copy)]
enum Type {
    Notification,
    SubscriptionConfirmation,
    UnsubscribeConfirmation,
}

fn check_type(fields: &Envelope) -> Result<Type, Refusal> {
    match fields.get("Type") {
        Some(Value::Text(name)) => match &**name {
            "Notification" => Ok(Type::Notification),
            "SubscriptionConfirmation" => Ok(Type::SubscriptionConfirmation),
            "UnsubscribeConfirmation" => Ok(Type::UnsubscribeConfirmation),
            _ => Err(Refusal::UnknownType),
        },
        // What S3 and EventBridge publish, without SNS's envelope.
        None if ["Records", "Event", "detail-type"]
            .iter()
            .any(|field| fields.get(field).is_some()) =>
        {
            Err(Refusal::RawDelivery)
        }
        _ => Err(Refusal::UnknownType),
    }
}

fn check_confirmation(fields: &mut Envelope) -> Result<(Token, SubscribeUrl), Refusal> {
    let token = Token::new(fields.take_text("Token")?.into_owned())
        .ok_or(bad("Token", "must be 1 to 1024 visible ASCII characters"))?;
    let url = fields.take_text("SubscribeURL")?.into_owned();
    no_control("SubscribeURL", &url)?;
    Ok((token, SubscribeUrl(url)))
}
