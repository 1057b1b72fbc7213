//! What people read of the store: requests, invalidations, and subscriptions that ended.

use async_trait::async_trait;
use uuid::Uuid;

use super::StoreError;
use crate::domain::history::{
    InvalidationDetail, InvalidationQuery, InvalidationSummary, RequestView,
};

#[async_trait]
pub trait HistoryStore: Send + Sync + 'static {
    /// A request and what became of it.
    async fn request(&self, id: Uuid) -> Result<Option<RequestView>, StoreError>;

    /// A page of invalidations, the newest first.
    async fn invalidations(
        &self,
        query: &InvalidationQuery,
    ) -> Result<Vec<InvalidationSummary>, StoreError>;

    /// An invalidation by our id or by CloudFront's, with the reasons for each item.
    async fn invalidation(&self, id: &str) -> Result<Option<InvalidationDetail>, StoreError>;

    /// The topics whose subscription ended and from which nothing has come since.
    async fn ended_subscriptions(&self) -> Result<Vec<String>, StoreError>;
}
