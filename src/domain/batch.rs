//! Batches: the frozen items of one `CreateInvalidation` call, and what becomes of them.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::path::Item;

/// What one `CreateInvalidation` call carries. Frozen and durable before the first attempt;
/// every attempt sends exactly this list, in this order, under this reference, so that
/// `CloudFront` answers a resend with the invalidation that it already has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Our id of the invalidation that it becomes.
    pub id: Uuid,
    /// The distribution that it is for.
    pub distribution_id: String,
    /// `CloudFront`'s idempotency key: fresh for every batch, never used twice.
    pub caller_reference: String,
    /// The items, in the order in which they are sent.
    pub items: Vec<Item>,
}

/// Where a batch stands, in the words of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Frozen; `CloudFront` has not said yes yet.
    Pending,
    /// `CloudFront` made an invalidation of it and works on it.
    InProgress,
    /// `CloudFront` says that it is done.
    Completed,
}

impl BatchStatus {
    /// Its name in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
        }
    }
}

impl fmt::Display for BatchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BatchStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        [Self::Pending, Self::InProgress, Self::Completed]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

/// A status that no batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is one of: pending, in_progress, completed")]
pub struct UnknownStatus;

/// Changes of one distribution that wait to be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// How many items wait.
    pub items: u64,
    /// When the oldest of them was accepted.
    pub oldest: Timestamp,
    /// When the newest of them was accepted.
    pub newest: Timestamp,
    /// Whether a person asked for any of them.
    pub manual: bool,
}

impl Backlog {
    /// What a single waiting item amounts to.
    pub fn of_one(accepted_at: Timestamp, manual: bool) -> Self {
        Self {
            items: 1,
            oldest: accepted_at,
            newest: accepted_at,
            manual,
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            oldest: self.oldest.min(other.oldest),
            newest: self.newest.max(other.newest),
            manual: self.manual || other.manual,
        }
    }
}
