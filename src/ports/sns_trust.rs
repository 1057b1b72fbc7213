//! SNS as a port: verifying messages and confirming subscriptions.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::domain::{
    sns_message::{Refusal, SnsMessage, Token},
    topic::TopicArn,
};

#[async_trait]
pub trait SnsTrust: Send + Sync + 'static {
    /// Verifies a message's signature. Waits for the certificate until `deadline` at most.
    async fn verify(&self, message: &SnsMessage, deadline: Timestamp) -> Result<(), Refusal>;

    /// Confirms a subscription and returns its ARN. Idempotent.
    async fn confirm_subscription(
        &self,
        topic: &TopicArn,
        token: &Token,
        authenticate_on_unsubscribe: bool,
    ) -> Result<String, ConfirmError>;
}

/// Why a subscription was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfirmError {
    /// SNS will never accept this confirmation.
    #[error("{0}")]
    Permanent(String),
    /// It may work later.
    #[error("{0}")]
    Retry(String),
}

/// Keeps a bounded number of verified certificates across restarts, by URL. A missing certificate is
/// fetched again, so callers may ignore errors.
#[async_trait]
pub trait CertificateCache: Send + Sync + 'static {
    /// The certificate as PEM.
    async fn certificate(&self, url: &str) -> Result<Option<String>, StoreError>;

    async fn keep_certificate(&self, url: &str, pem: &str) -> Result<(), StoreError>;
}
