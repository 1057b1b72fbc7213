//! What the request path needs of the store: to accept, durably, and nothing else.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::change::{Acceptance, NewMessage, NewRequest};

#[async_trait]
pub trait IntakeStore: Send + Sync + 'static {
    /// Takes a verified message into the journal, once.
    async fn accept_message(&self, message: NewMessage) -> Result<Acceptance, StoreError>;

    /// Takes a person's request into the journal.
    async fn accept_request(&self, request: NewRequest) -> Result<(), StoreError>;
}
