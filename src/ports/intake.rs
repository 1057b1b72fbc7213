//! What the request path needs of the store: accepting messages and requests durably.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::change::{Acceptance, NewMessage, NewRequest};

#[async_trait]
pub trait IntakeStore: Send + Sync + 'static {
    /// Adds a verified message to the journal, unless it is already there.
    async fn accept_message(&self, message: NewMessage) -> Result<Acceptance, StoreError>;

    /// Adds a manual request to the journal.
    async fn accept_request(&self, request: NewRequest) -> Result<(), StoreError>;
}
