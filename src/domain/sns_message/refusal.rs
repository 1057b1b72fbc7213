//! Why a request to `POST /sns` is not believed, and whether SNS should bring it again.

/// Why a message is refused.
///
/// What it says may be shown to anyone and logged: it never holds a value out of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is no JSON text.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but no object.
    #[error("the body is JSON but not an object")]
    NotAnObject,
    /// A name stands twice in one object, and two readers could take two different values.
    #[error("the body has the key {0} twice")]
    DuplicateKey(String),
    /// What was published arrived without SNS's envelope, and so without a signature.
    #[error(
        "raw message delivery is on for this subscription, so its messages carry no signature; switch it off: \
         aws sns set-subscription-attributes --subscription-arn <ARN> --attribute-name RawMessageDelivery --attribute-value false"
    )]
    RawDelivery,
    /// `Type` is absent or none of the three that SNS sends.
    #[error("Type must be Notification, SubscriptionConfirmation or UnsubscribeConfirmation")]
    UnknownType,
    /// The topic is not one of those configured.
    #[error("TopicArn is not one of sns.topics")]
    TopicNotAllowed,
    /// A field that is signed or used does not have the shape that SNS gives it.
    #[error("{field} {why}")]
    BadField {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A signature of a kind that SNS does not make.
    #[error("SignatureVersion must be 1 or 2")]
    SignatureVersion,
    /// `SigningCertURL` is none of SNS's for this topic.
    #[error("SigningCertURL {0}")]
    CertificateUrl(String),
    /// The certificate did not come in time; it may come the next time.
    #[error("the signing certificate could not be had: {0}")]
    CertificateUnavailable(String),
    /// The certificate came, but is none that may sign this message.
    #[error("the signing certificate {0}")]
    Certificate(String),
    /// The signature is not by the certificate's key over these fields.
    #[error("the signature does not match")]
    Signature,
    /// Older than `sns.max_age`.
    #[error("the message is older than sns.max_age")]
    TooOld,
    /// Newer than now by more than `sns.max_skew`.
    #[error(
        "the message is from the future by more than sns.max_skew: one of the two clocks is wrong"
    )]
    FromTheFuture,
}

/// What a refusal asks of the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalClass {
    /// It will never be right: HTTP 400.
    Malformed,
    /// It is not to be believed: HTTP 403.
    Forbidden,
    /// It may be right later, or we may be wrong: HTTP 503, which SNS repeats, as it repeats
    /// no 4xx (Amazon SNS Developer Guide, "Message delivery retries").
    TryAgain,
}

impl Refusal {
    /// The refusal's stable name, for problem types, metrics and logs.
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
            Self::FromTheFuture => "from-the-future",
        }
    }

    /// What the refusal asks of the sender.
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
            | Self::TooOld => RefusalClass::Forbidden,
            Self::CertificateUnavailable(_) | Self::FromTheFuture => RefusalClass::TryAgain,
        }
    }
}
