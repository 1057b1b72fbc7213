//! What a resync needs of the store: what was accepted since a time. It only reads, also beside a
//! running service.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;

#[async_trait]
pub trait CoverageStore: Send {
    /// Of these keys, those of which a change was accepted, and when the last one was.
    async fn last_accepted(
        &mut self,
        keys: &[&str],
    ) -> Result<HashMap<String, Timestamp>, StoreError>;

    /// A page of what requests asked for, in the order of their numbers, after a number.
    async fn requested(&mut self, after: i64) -> Result<Vec<RequestedItem>, StoreError>;
}

/// An item of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestedItem {
    pub seq: i64,
    pub distribution_id: String,
    pub item: String,
    pub accepted_at: Timestamp,
}
