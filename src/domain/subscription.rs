//! Subscriptions that wait to be confirmed, and what became of that.

use jiff::Timestamp;

use super::{sns_message::Token, topic::TopicArn};

/// A subscription that waits to be confirmed.
#[derive(Debug, Clone)]
pub struct PendingConfirmation {
    pub topic: TopicArn,
    pub token: Token,
    /// When SNS signed the message that brought the token, which lives two days from then.
    pub signed_at: Timestamp,
    pub failures: u32,
    /// Not to be tried before this time.
    pub due_at: Timestamp,
}

/// What became of an attempt to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfirmationResult {
    /// The subscription's ARN.
    Confirmed(String),
    /// It can never be confirmed; the reason.
    GivenUp(String),
    Retry {
        due_at: Timestamp,
        why: String,
    },
}
