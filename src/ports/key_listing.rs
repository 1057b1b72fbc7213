//! What merging needs of S3: which keys a bucket has under a prefix.

use async_trait::async_trait;

#[async_trait]
pub trait KeyListing: Send + Sync + 'static {
    /// The next keys with a prefix, in byte order: those after `after`, or the first. At most 1,000.
    async fn keys(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<KeyPage, KeyListingError>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// In byte order.
    pub keys: Vec<String>,
    /// Whether there are more keys with the prefix.
    pub more: bool,
}

/// Why a bucket cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyListingError {
    /// Not until somebody grants `s3:ListBucket`.
    #[error("{0}")]
    Denied(String),
    #[error("{0}")]
    Failed(String),
}
