//! CloudFront's answers: invalidations, pages of distributions, and errors.

use jiff::Timestamp;

use super::catalogue::{Distribution, OriginGroup};

/// A page of the account's distributions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DistributionPage {
    pub distributions: Vec<Distribution>,
    /// The marker of the next page; `None` on the last page.
    pub next_marker: Option<String>,
}

/// What `GetDistributionConfig` adds to the list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DistributionDetails {
    pub default_root_object: Option<String>,
    /// Whether the distribution keeps the tags of cached objects (`CacheTagConfig`).
    pub cache_tags: bool,
    /// Also those that the list may lack.
    pub groups: Vec<OriginGroup>,
}

/// The answer to `CreateInvalidation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedInvalidation {
    pub cloudfront_id: String,
    pub completed: bool,
}

/// The answer to `GetInvalidation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenInvalidation {
    pub completed: bool,
    pub caller_reference: String,
    /// In the order in which they were sent.
    pub items: Vec<String>,
}

/// One entry of `ListInvalidations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedInvalidation {
    pub cloudfront_id: String,
    pub completed: bool,
    /// When CloudFront created it, by its clock.
    pub created_at: Timestamp,
}

/// A page of `ListInvalidations`, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvalidationPage {
    pub invalidations: Vec<ListedInvalidation>,
    /// Asks for the next page, of older ones; `None` on the last one.
    pub next_marker: Option<String>,
}

/// The pools of items in progress that CloudFront keeps for each distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    /// Exact paths and tags.
    Paths,
    Wildcards,
}

/// Why a call to CloudFront failed. The variants differ in what has to follow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CdnError {
    /// Too many calls. Not done; try later.
    #[error("throttled: {0}")]
    Throttled(String),
    /// A pool is full. Not done; try later.
    #[error("too many invalidations in progress: {text}")]
    TooManyInProgress { pool: Pool, text: String },
    /// Permission or credentials are missing. Not done until an operator provides them.
    #[error("access denied: {0}")]
    Denied(String),
    /// The process has no credentials, or no region. Not done until an operator provides it.
    #[error("no {}: {text}", missing.name())]
    NotConfigured { missing: Missing, text: String },
    /// More items than a call may have. Not done.
    #[error("batch too large: {0}")]
    TooLarge(String),
    /// CloudFront rejects at least one item, without saying which. Not done.
    #[error("invalid: {0}")]
    Invalid(String),
    /// The caller reference stands for something else, as a complete search has shown. Not done.
    #[error("reference conflict: {0}")]
    ReferenceConflict(String),
    /// The caller reference is taken, but it is unknown by what: the search for an invalidation of an
    /// earlier attempt was incomplete.
    #[error("reference conflict, not yet explained: {0}")]
    ConflictUnexplained(String),
    /// The distribution does not exist. Not done.
    #[error("no such distribution: {0}")]
    NoSuchDistribution(String),
    /// Not done, for a reason that this version does not know.
    #[error("refused: {0}")]
    Refused(String),
    /// The call never left this process: no route, no connection. Not done.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The outcome is unknown, after a 5xx response, a timeout or a lost connection.
    #[error("no answer: {0}")]
    Unknown(String),
}

/// What calls need and the process does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    Credentials,
    Region,
}

impl Missing {
    pub fn name(self) -> &'static str {
        match self {
            Self::Credentials => "AWS credentials",
            Self::Region => "AWS region",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Credentials => "no_credentials",
            Self::Region => "no_region",
        }
    }
}

/// Codes by which AWS refuses the credentials themselves. Source: CloudFront API Reference, "Common
/// errors".
const BAD_CREDENTIALS: [&str; 7] = [
    "ExpiredToken",
    "InvalidClientTokenId",
    "InvalidToken",
    "MissingAuthenticationToken",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClient",
];

impl CdnError {
    /// The label of [`CdnError::TooManyInProgress`].
    pub const FULL_POOL: &'static str = "too_many_in_progress";

    /// All labels: metrics have a series for each from the start.
    pub const LABELS: [&'static str; 13] = [
        "throttled",
        Self::FULL_POOL,
        "denied",
        "no_credentials",
        "no_region",
        "too_large",
        "invalid",
        "reference_conflict",
        "conflict_unexplained",
        "no_such_distribution",
        "refused",
        "not_sent",
        "unknown",
    ];

    /// What an operator can do, if known. `grant` tells which permission the call needs.
    pub fn remedy(&self, grant: &'static str) -> Option<&'static str> {
        match self {
            Self::Denied(text) if BAD_CREDENTIALS.iter().any(|code| text.starts_with(code)) => {
                Some("the credentials are expired or wrong: renew them, and check the clock")
            }
            Self::Denied(_) => Some(grant),
            Self::NotConfigured {
                missing: Missing::Credentials,
                ..
            } => Some(
                "provide credentials from a source that the AWS SDK supports, such as a role or \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            Self::NotConfigured {
                missing: Missing::Region,
                ..
            } => Some("set AWS_REGION, for example to us-east-1"),
            Self::NotSent(_) => {
                Some("CloudFront's API cannot be reached: check network, DNS and HTTPS_PROXY")
            }
            Self::Unknown(_) => {
                Some("CloudFront's API fails or does not answer: it is retried, without end")
            }
            _ => None,
        }
    }

    /// CloudFront's word that a pool is full. Only the text says which one.
    pub fn full_pool(text: String) -> Self {
        let pool = if text.contains("wildcard") {
            Pool::Wildcards
        } else {
            Pool::Paths
        };
        Self::TooManyInProgress { pool, text }
    }

    /// The error that has this label and text; `None` if this version does not know the label.
    pub fn labelled(label: &str, text: String) -> Option<Self> {
        let missing = |missing, text| Self::NotConfigured { missing, text };
        Some(match label {
            "throttled" => Self::Throttled(text),
            Self::FULL_POOL => Self::full_pool(text),
            "denied" => Self::Denied(text),
            "no_credentials" => missing(Missing::Credentials, text),
            "no_region" => missing(Missing::Region, text),
            "too_large" => Self::TooLarge(text),
            "invalid" => Self::Invalid(text),
            "reference_conflict" => Self::ReferenceConflict(text),
            "conflict_unexplained" => Self::ConflictUnexplained(text),
            "no_such_distribution" => Self::NoSuchDistribution(text),
            "refused" => Self::Refused(text),
            "not_sent" => Self::NotSent(text),
            "unknown" => Self::Unknown(text),
            _ => return None,
        })
    }

    /// What was said, without what it is taken as.
    pub fn text(&self) -> &str {
        match self {
            Self::Throttled(text)
            | Self::TooManyInProgress { text, .. }
            | Self::Denied(text)
            | Self::NotConfigured { text, .. }
            | Self::TooLarge(text)
            | Self::Invalid(text)
            | Self::ReferenceConflict(text)
            | Self::ConflictUnexplained(text)
            | Self::NoSuchDistribution(text)
            | Self::Refused(text)
            | Self::NotSent(text)
            | Self::Unknown(text) => text,
        }
    }

    /// The name in metrics, in the recorded attempts and backoffs.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Throttled(_) => "throttled",
            Self::TooManyInProgress { .. } => Self::FULL_POOL,
            Self::Denied(_) => "denied",
            Self::NotConfigured { missing, .. } => missing.label(),
            Self::TooLarge(_) => "too_large",
            Self::Invalid(_) => "invalid",
            Self::ReferenceConflict(_) => "reference_conflict",
            Self::ConflictUnexplained(_) => "conflict_unexplained",
            Self::NoSuchDistribution(_) => "no_such_distribution",
            Self::Refused(_) => "refused",
            Self::NotSent(_) => "not_sent",
            Self::Unknown(_) => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_labels_are_known() {
        let text = || "Code: text".to_owned();
        let errors = [
            CdnError::Throttled(text()),
            CdnError::TooManyInProgress {
                pool: Pool::Paths,
                text: text(),
            },
            CdnError::Denied(text()),
            CdnError::NotConfigured {
                missing: Missing::Credentials,
                text: text(),
            },
            CdnError::NotConfigured {
                missing: Missing::Region,
                text: text(),
            },
            CdnError::TooLarge(text()),
            CdnError::Invalid(text()),
            CdnError::ReferenceConflict(text()),
            CdnError::ConflictUnexplained(text()),
            CdnError::NoSuchDistribution(text()),
            CdnError::Refused(text()),
            CdnError::NotSent(text()),
            CdnError::Unknown(text()),
        ];
        for error in &errors {
            let again = CdnError::labelled(error.label(), error.text().to_owned());
            assert_eq!(again.as_ref(), Some(error));
        }
        assert_eq!(CdnError::labelled("of another version", text()), None);
        assert_eq!(errors.map(|error| error.label()), CdnError::LABELS);
    }
}
