//! Batches: the frozen items of one `CreateInvalidation` call, and what becomes of them.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::path::{self, Item};

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

impl Batch {
    /// A batch with an id and a reference of its own.
    pub fn new(distribution_id: &str, items: Vec<Item>) -> Self {
        Self {
            id: Uuid::now_v7(),
            distribution_id: distribution_id.to_owned(),
            caller_reference: Uuid::new_v4().to_string(),
            items,
        }
    }

    /// Its two halves, as batches of their own.
    pub fn halves(&self) -> [Self; 2] {
        let (first, second) = self.items.split_at(self.items.len() / 2);
        [first, second].map(|items| Self::new(&self.distribution_id, items.to_vec()))
    }

    /// What it takes of the pools while it is in progress.
    pub fn usage(&self) -> Usage {
        Usage::of(self.items.iter().map(Item::as_str))
    }
}

/// Items in progress at a distribution, by the two pools that `CloudFront` keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Exact paths.
    pub paths: usize,
    /// Wildcards.
    pub wildcards: usize,
}

impl Usage {
    /// What these items take; tags count as paths.
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

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            paths: self.paths + other.paths,
            wildcards: self.wildcards + other.wildcards,
        }
    }

    /// What is left when `other` is done.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            paths: self.paths.saturating_sub(other.paths),
            wildcards: self.wildcards.saturating_sub(other.wildcards),
        }
    }
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
    /// It can never go: its items are dead letters.
    Failed,
    /// It was halved or dissolved: its changes went on without it.
    Replaced,
    /// Planned in shadow mode, and never meant to be sent.
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

    /// Its name in the API and in the store.
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

/// A status that no batch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a status is one of: pending, in_progress, completed, failed, replaced, shadowed")]
pub struct UnknownStatus;

/// What waits to be planned at one distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Items, wildcards included; several changes may need the same one.
    pub items: usize,
    pub wildcards: usize,
    /// Exact paths that a person asked for.
    pub manual_paths: usize,
    /// Wildcards that a person asked for.
    pub manual_wildcards: usize,
    /// When the oldest change that waits was accepted.
    pub oldest: Timestamp,
    /// When the newest was.
    pub newest: Timestamp,
}

impl Backlog {
    /// What a single waiting item amounts to.
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

    /// Both together.
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

    /// How many of the items people asked for.
    pub fn manual(&self) -> usize {
        self.manual_paths + self.manual_wildcards
    }

    /// Whether a person asked for any of it.
    pub fn has_manual(&self) -> bool {
        self.manual() > 0
    }
}

/// The backlog of a distribution, by its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionBacklog {
    pub distribution_id: String,
    /// `None` where nothing waits.
    pub backlog: Option<Backlog>,
}

/// What a distribution has in progress, by its id.
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
    /// The position in the batch of the item that covers it.
    pub position: usize,
}
