//! Subscriptions that wait for confirmation, and the results of attempts.

use jiff::Timestamp;

use super::{sns_message::Token, topic::TopicArn};

#[derive(Debug, Clone)]
pub struct PendingConfirmation {
    pub topic: TopicArn,
    pub token: Token,
    /// When SNS signed the message with the token. The token expires two days later.
    pub signed_at: Timestamp,
    pub failures: u32,
    /// The next attempt is not before this time.
    pub due_at: Timestamp,
}

/// The result of an attempt to confirm a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfirmationResult {
    /// With the subscription's ARN.
    Confirmed(String),
    /// It can never be confirmed, for this reason.
    GivenUp(String),
    Retry {
        due_at: Timestamp,
        why: String,
    },
}
