//! CloudFront's control plane as a port. Implementations do not retry; callers decide on that.

use async_trait::async_trait;

use crate::domain::{
    batch::Batch,
    catalogue::CacheKey,
    cdn::{
        CdnError, CreatedInvalidation, DistributionDetails, DistributionPage, InvalidationPage,
        SeenInvalidation,
    },
};

#[async_trait]
pub trait Cdn: Send + Sync + 'static {
    /// One page of the account's distributions; `marker` comes from the page before.
    async fn list_distributions(&self, marker: Option<&str>) -> Result<DistributionPage, CdnError>;

    /// Details of a distribution that the list does not contain.
    async fn details(&self, distribution_id: &str) -> Result<DistributionDetails, CdnError>;

    async fn cache_policy(&self, id: &str) -> Result<CacheKey, CdnError>;

    /// Sends `batch`. If the same batch is sent again, CloudFront returns the existing invalidation.
    async fn create_invalidation(&self, batch: &Batch) -> Result<CreatedInvalidation, CdnError>;

    async fn invalidation(
        &self,
        distribution_id: &str,
        cloudfront_id: &str,
    ) -> Result<SeenInvalidation, CdnError>;

    /// One page of a distribution's invalidations, including those of others, newest first; `marker`
    /// comes from the page before.
    async fn newest_invalidations(
        &self,
        distribution_id: &str,
        marker: Option<&str>,
    ) -> Result<InvalidationPage, CdnError>;
}
