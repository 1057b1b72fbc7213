//! What the request path needs of the store: accepting messages and requests durably.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::change::{Acceptance, NewMessage, NewRequest, RequestAcceptance};

#[async_trait]
pub trait IntakeStore: Send + Sync + 'static {
    /// Adds a verified message to the journal, unless it is already there.
    async fn accept_message(&self, message: NewMessage) -> Result<Acceptance, StoreError>;

    /// Adds a manual request to the journal, unless its token has used its key for another one in the
    /// last 24 hours.
    async fn accept_request(&self, request: NewRequest) -> Result<RequestAcceptance, StoreError>;
}
