//! SNS as a port: what makes a message believable, and what confirms a subscription.

use async_trait::async_trait;
use jiff::Timestamp;

use super::StoreError;
use crate::domain::{
    sns_message::{Refusal, SnsMessage, Token},
    topic::TopicArn,
};

#[async_trait]
pub trait SnsTrust: Send + Sync + 'static {
    /// Believes `message` or says why not. Waits for its certificate until `deadline` at most.
    async fn verify(&self, message: &SnsMessage, deadline: Timestamp) -> Result<(), Refusal>;

    /// Confirms a subscription and returns its ARN. Repeating it does no harm.
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
    /// SNS will never take this confirmation.
    #[error("{0}")]
    Permanent(String),
    /// It may work later.
    #[error("{0}")]
    Retry(String),
}

/// Where verified certificates outlive a restart: bounded, by URL. A certificate that is not there
/// is fetched anew, so neither verb has to succeed.
#[async_trait]
pub trait CertificateCache: Send + Sync + 'static {
    /// A kept certificate, as PEM.
    async fn certificate(&self, url: &str) -> Result<Option<String>, StoreError>;

    /// Keeps a certificate that a message was verified with.
    async fn keep_certificate(&self, url: &str, pem: &str) -> Result<(), StoreError>;
}
