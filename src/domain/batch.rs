//! Batches: the frozen items of one `CreateInvalidation` call, and the backlogs they are made from.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::path::{self, Item};

/// The content of one `CreateInvalidation` call. It is frozen and durable before the first attempt.
/// Every attempt sends exactly this list, in this order, under this reference, so that CloudFront
/// answers a resend with the existing invalidation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Our id, also of the resulting invalidation.
    pub id: Uuid,
    pub distribution_id: String,
    /// CloudFront's idempotency key: unique for every batch.
    pub caller_reference: String,
    /// The items in sending order.
    pub items: Vec<Item>,
}

impl Batch {
    /// A batch with a new id and a new reference.
    pub fn new(distribution_id: &str, items: Vec<Item>) -> Self {
        Self {
            id: Uuid::now_v7(),
            distribution_id: distribution_id.to_owned(),
            caller_reference: Uuid::new_v4().to_string(),
            items,
        }
    }

    /// Two new batches with half of the items each.
    pub fn halves(&self) -> [Self; 2] {
        let (first, second) = self.items.split_at(self.items.len() / 2);
        [first, second].map(|items| Self::new(&self.distribution_id, items.to_vec()))
    }

    /// What the batch occupies of the pools while it is in progress.
    pub fn usage(&self) -> Usage {
        Usage::of(self.items.iter().map(Item::as_str))
    }
}

/// Items in progress at a distribution, by the two pools that `CloudFront` keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Exact paths and tags.
    pub paths: usize,
    pub wildcards: usize,
}

impl Usage {
    /// What these items occupy.
    pub fn of<'a>(items: impl IntoIterator<Item = &'a str>) -> Self {
        let mut usage = Self::default();
        for item in items {
            if path::is_wildcard(item) {
                usage.wildcards += 1;
            } else {
                usage.paths += 1;
            }
        }
        usage
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            paths: self.paths + other.paths,
            wildcards: self.wildcards + other.wildcards,
        }
    }

    /// Never goes below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            paths: self.paths.saturating_sub(other.paths),
            wildcards: self.wildcards.saturating_sub(other.wildcards),
        }
    }
}

/// The status of a batch, as named in the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Frozen; CloudFront has not accepted it yet.
    Pending,
    /// CloudFront has created an invalidation, which is not completed yet.
    InProgress,
    /// CloudFront reports the invalidation as completed.
    Completed,
    /// It can never succeed: its items are dead letters.
    Failed,
    /// It was split or dissolved: its changes continue without it.
    Replaced,
    /// Planned in shadow mode, and never sent.
    Shadowed,
}

impl BatchStatus {
    const ALL: [Self; 6] = [
        Self::Pending,
        Self::InProgress,
        Self::Completed,
        Self::Failed,
        Self::Replaced,
        Self::Shadowed,
    ];

    /// The name in the API and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Replaced => "replaced",
            Self::Shadowed => "shadowed",
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
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is one of: pending, in_progress, completed, failed, replaced, shadowed")]
pub struct UnknownStatus;

/// The items that wait to be planned at one distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// The number of items, including wildcards and duplicates from several changes.
    pub items: usize,
    pub wildcards: usize,
    /// Exact paths and tags of manual requests.
    pub manual_paths: usize,
    /// Wildcards of manual requests.
    pub manual_wildcards: usize,
    /// When the oldest waiting change was accepted.
    pub oldest: Timestamp,
    /// When the newest was.
    pub newest: Timestamp,
}

impl Backlog {
    /// The backlog of a single item.
    pub fn of_one(item: &Item, manual: bool, accepted_at: Timestamp) -> Self {
        let wildcard = item.is_wildcard();
        Self {
            items: 1,
            wildcards: usize::from(wildcard),
            manual_paths: usize::from(manual && !wildcard),
            manual_wildcards: usize::from(manual && wildcard),
            oldest: accepted_at,
            newest: accepted_at,
        }
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            items: self.items + other.items,
            wildcards: self.wildcards + other.wildcards,
            manual_paths: self.manual_paths + other.manual_paths,
            manual_wildcards: self.manual_wildcards + other.manual_wildcards,
            oldest: self.oldest.min(other.oldest),
            newest: self.newest.max(other.newest),
        }
    }

    /// The number of items of manual requests.
    pub fn manual(&self) -> usize {
        self.manual_paths + self.manual_wildcards
    }

    pub fn has_manual(&self) -> bool {
        self.manual() > 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionBacklog {
    pub distribution_id: String,
    /// `None` if nothing waits.
    pub backlog: Option<Backlog>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionUsage {
    pub distribution_id: String,
    pub usage: Usage,
}

/// A waiting item that a batch covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Covered {
    /// The waiting item's number in the store.
    pub target: i64,
    /// The position of the covering item in the batch.
    pub position: usize,
}
