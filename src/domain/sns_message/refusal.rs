//! Why a request to `POST /sns` is refused, and whether SNS should retry it.

/// Why a message is refused.
///
/// Safe to log and to show to anyone: it never contains a value from the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the body is not JSON")]
    NotJson,
    #[error("the body is JSON but not an object")]
    NotAnObject,
    /// Refused because parsers disagree on which value counts.
    #[error("the body has a duplicate key: {0}")]
    DuplicateKey(String),
    /// The published text arrived without SNS's envelope, and therefore without a signature.
    #[error(
        "raw message delivery is enabled for this subscription, so its messages have no signature; disable it: \
         aws sns set-subscription-attributes --subscription-arn <ARN> --attribute-name RawMessageDelivery --attribute-value false"
    )]
    RawDelivery,
    #[error("Type must be Notification, SubscriptionConfirmation or UnsubscribeConfirmation")]
    UnknownType,
    #[error("TopicArn is not in sns.topics")]
    TopicNotAllowed,
    /// A field that is signed or used does not have the shape that SNS gives it.
    #[error("{field} {why}")]
    BadField {
        field: &'static str,
        why: &'static str,
    },
    #[error("SignatureVersion must be 1 or 2")]
    SignatureVersion,
    /// `SigningCertURL` is not an SNS certificate URL in the topic's region.
    #[error("SigningCertURL {0}")]
    CertificateUrl(String),
    /// The certificate could not be fetched in time; a retry may succeed.
    #[error("the signing certificate is unavailable: {0}")]
    CertificateUnavailable(String),
    /// The certificate was fetched, but may not sign this message.
    #[error("the signing certificate {0}")]
    Certificate(String),
    #[error("the signature does not match")]
    Signature,
    #[error("the message is older than sns.max_age")]
    TooOld,
    /// Only of redriven messages: others are too old long before.
    #[error(
        "the token of this subscription confirmation has expired after two days; subscribe the endpoint again"
    )]
    TokenExpired,
    #[error(
        "the message is further in the future than sns.max_skew: our clock or the sender's is wrong"
    )]
    FromTheFuture,
}

/// What a refusal means for the sender, as an HTTP status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// HTTP 400: the message will never be valid.
    Malformed,
    /// HTTP 403: the message is not trusted.
    Forbidden,
    /// HTTP 503: the message may be accepted later, or the fault may be ours. SNS retries 5xx but
    /// not 4xx (Amazon SNS Developer Guide, "Message delivery retries").
    TryAgain,
}

impl Refusal {
    /// A stable identifier for problem types, metrics and logs.
    pub fn slug(&self) -> &'static str {
        match self {
            Self::NotJson => "not-json",
            Self::NotAnObject => "not-an-object",
            Self::DuplicateKey(_) => "duplicate-key",
            Self::RawDelivery => "raw-delivery",
            Self::UnknownType => "unknown-type",
            Self::TopicNotAllowed => "topic-not-allowed",
            Self::BadField { .. } => "bad-field",
            Self::SignatureVersion => "signature-version",
            Self::CertificateUrl(_) => "certificate-url",
            Self::CertificateUnavailable(_) => "certificate-unavailable",
            Self::Certificate(_) => "certificate",
            Self::Signature => "signature",
            Self::TooOld => "too-old",
            Self::TokenExpired => "token-expired",
            Self::FromTheFuture => "from-the-future",
        }
    }

    pub fn class(&self) -> RefusalClass {
        match self {
            Self::NotJson
            | Self::NotAnObject
            | Self::DuplicateKey(_)
            | Self::RawDelivery
            | Self::UnknownType
            | Self::BadField { .. }
            | Self::SignatureVersion => RefusalClass::Malformed,
            Self::TopicNotAllowed
            | Self::CertificateUrl(_)
            | Self::Certificate(_)
            | Self::Signature
            | Self::TooOld
            | Self::TokenExpired => RefusalClass::Forbidden,
            Self::CertificateUnavailable(_) | Self::FromTheFuture => RefusalClass::TryAgain,
        }
    }
}
