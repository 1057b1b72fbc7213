//! What a resync needs of S3: one bucket's objects, page by page.

use async_trait::async_trait;

use super::connection::CallError;
use crate::domain::resync::Listed;

#[async_trait]
pub trait ObjectListing: Send + Sync + 'static {
    /// Whether the bucket keeps, or has kept, versions, so that delete markers tell of deletes.
    fn is_versioned(&self) -> bool;

    /// The page after a cursor: objects, or current versions and delete markers.
    async fn page(&self, prefix: &str, after: Option<Cursor>) -> Result<Page, CallError>;
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<Listed>,
    /// How many entries it has, with versions that are not current.
    pub looked_at: u64,
    /// `None` if it is the last.
    pub next: Option<Cursor>,
}

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// A continuation token, or a key.
    pub key: String,
    pub version: Option<String>,
}
