//! Subscriptions that wait for confirmation, and the results of attempts.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{due::due_at, limits::backoff, sns_message::Token, topic::TopicArn};

/// The pause before another attempt: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

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

impl PendingConfirmation {
    /// When the next attempt is due.
    pub fn due_at(&self, now: Timestamp) -> Timestamp {
        let longest = SignedDuration::try_from(LONGEST_PAUSE).unwrap_or(SignedDuration::MAX);
        due_at(self.due_at, longest, now)
    }

    /// When to try again after an attempt that failed. `jitter` is in `0.0..1.0`.
    pub fn retry_at(&self, now: Timestamp, jitter: f64) -> Timestamp {
        now + backoff(self.failures + 1, FIRST_PAUSE, LONGEST_PAUSE, jitter)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_delays_no_attempt() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut pending = PendingConfirmation {
            topic: "arn:aws:sns:us-east-1:123456789012:t".parse().unwrap(),
            token: Token::new("ab".repeat(112)).unwrap(),
            signed_at: now,
            failures: 20,
            due_at: now,
        };
        pending.due_at = pending.retry_at(now, 1.0);
        assert_eq!(pending.due_at(now), now + LONGEST_PAUSE);
        let set_back = now - SignedDuration::from_hours(1);
        assert_eq!(pending.due_at(set_back), set_back);
    }
}
