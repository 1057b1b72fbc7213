//! CloudFront's control plane as a port. No call is retried: that is decided by who makes it.

use async_trait::async_trait;

use crate::domain::{
    batch::Batch,
    catalogue::CacheKey,
    cdn::{
        CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, ListedInvalidation,
        SeenInvalidation,
    },
};

#[async_trait]
pub trait Cdn: Send + Sync + 'static {
    /// One page of the account's distributions; `marker` comes from the page before.
    async fn list_distributions(&self, marker: Option<&str>) -> Result<DistributionPage, CdnError>;

    /// What the list does not say of a distribution.
    async fn details(&self, distribution_id: &str) -> Result<DistributionDetails, CdnError>;

    async fn cache_policy(&self, id: &str) -> Result<CacheKey, CdnError>;

    /// Sends `batch`. Sent again unchanged, it returns the invalidation that already exists.
    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError>;

    async fn invalidation(
        &self,
        distribution_id: &str,
        cloudfront_id: &str,
    ) -> Result<SeenInvalidation, CdnError>;

    /// The newest invalidations of a distribution, whoever made them: one page, newest first.
    async fn newest_invalidations(
        &self,
        distribution_id: &str,
    ) -> Result<Vec<ListedInvalidation>, CdnError>;
}
