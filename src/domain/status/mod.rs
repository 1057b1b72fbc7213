//! The status of the background work: one value that readiness and metrics read.

mod findings;
mod held;
mod leadership;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    batch::{Backlog, Usage},
    cdn::CdnError,
    change::Unmapped,
    ledger::MonthStatus,
    mapping::Notices,
    notice::WaitingNotices,
    operations::DayBudget,
};

pub use held::{Audience, HeldBy};
pub use leadership::{FOLLOWER, Leader, Leadership};

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// Where another process leads, most of the rest is its to know, and is empty here.
    pub leadership: Leadership,
    pub catalogue: CatalogueStatus,
    /// Changes that are unseen or wait for the catalogue.
    pub unmapped: Unmapped,
    pub distributions: BTreeMap<String, DistributionStatus>,
    /// Whether sending is paused for all distributions.
    pub paused: bool,
    /// Whether everything is planned but nothing is sent.
    pub shadow: bool,
    /// `None` if there is no limit.
    pub day: Option<DayBudget>,
    /// What the month has cost; `None` if only another process knows.
    pub month: Option<MonthStatus>,
    /// The most wildcards in progress per distribution.
    pub wildcards_in_progress: usize,
    /// Buckets with changes that no distribution has as an origin: some of them.
    pub unknown_buckets: Vec<String>,
    /// When the oldest invalidation that CloudFront has not completed was submitted.
    pub in_progress_since: Option<Timestamp>,
    /// Distributions whose invalidations cannot be read, and why.
    pub unseen: BTreeMap<String, String>,
    /// The number of unconfirmed subscriptions.
    pub confirmations: usize,
    /// Why the last attempt to confirm one failed, if known since the start.
    pub confirmation_failure: Option<String>,
    /// Notices that wait for delivery.
    pub notices: WaitingNotices,
    /// The receivers of notices whose last attempts failed, each as scheme and host, and why.
    pub failing_receivers: Vec<(String, String)>,
    /// Workers whose last run failed, by name.
    pub workers: BTreeMap<&'static str, WorkerFailure>,
}

impl Status {
    /// For how many distributions, and other things that work waits for, the last call failed with an
    /// error of this name.
    pub fn failing(&self, kind: &str) -> usize {
        let holds = self.distributions.values().flat_map(|one| &one.holds);
        let refused =
            holds.filter(|hold| matches!(hold, Hold::Refused(one) if one.kind == Some(kind)));
        let catalogue = &self.catalogue;
        let unread = catalogue.failure.iter().chain(&catalogue.unanswered);
        refused.count() + unread.filter(|one| one.kind == kind).count()
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct DistributionStatus {
    pub waiting: Backlog,
    pub unresolved: UnresolvedBatches,
    /// Our items, frozen or in progress at CloudFront.
    pub in_progress: Usage,
    /// Why due items wait. Empty if none do.
    pub holds: Vec<Hold>,
}

/// Frozen batches without a definite answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnresolvedBatches {
    pub batches: usize,
    /// Their items, which [`DistributionStatus::in_progress`] counts as well.
    pub usage: Usage,
    /// When the oldest was frozen.
    pub since: Option<Timestamp>,
}

impl DistributionStatus {
    /// Since when its oldest item has waited for CloudFront to accept it, in a batch or not.
    pub fn waits_since(&self) -> Option<Timestamp> {
        let waiting = self.waiting.oldest();
        waiting.into_iter().chain(self.unresolved.since).min()
    }

    /// Our items that CloudFront has accepted and not completed.
    pub fn accepted(&self) -> Usage {
        self.in_progress.minus(self.unresolved.usage)
    }

    /// Whether there is nothing to do or to follow.
    pub fn is_idle(&self) -> bool {
        self.waits_since().is_none() && self.in_progress == Usage::default()
    }
}

/// Why a distribution's items are held.
#[derive(Debug, Clone, PartialEq)]
pub enum Hold {
    /// An operator paused the distribution, or all.
    Paused,
    /// A deploy window gathers its changes, at the latest until this time.
    Held { until: Timestamp },
    /// The daily limit is spent: automatic work waits.
    DayLimit,
    /// Too many items are in progress, ours or others'.
    PoolFull,
    /// CloudFront or the store failed. It is retried with growing pauses.
    Refused(Refused),
}

impl Hold {
    /// The names in metrics.
    pub const NAMES: [&str; 5] = ["paused", "held", "daily_limit", "pool_full", "refused"];

    /// Its name in metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Held { .. } => "held",
            Self::DayLimit => "daily_limit",
            Self::PoolFull => "pool_full",
            Self::Refused(_) => "refused",
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    pub error: String,
    /// The error's name in metrics; `None` if it is the store's, or not known any more.
    pub kind: Option<&'static str>,
    /// What an operator can do, if known.
    pub remedy: Option<&'static str>,
    /// The store has an unreadable row: waiting does not help.
    pub corrupt: bool,
    /// Failures in a row.
    pub failures: u32,
    pub retry_at: Timestamp,
}

impl Refused {
    /// A call to CloudFront failed.
    pub fn by_cloudfront(error: &CdnError, failures: u32, retry_at: Timestamp) -> Self {
        Self {
            remedy: error.remedy("grant cloudfront:CreateInvalidation on this distribution"),
            error: error.to_string(),
            kind: Some(error.label()),
            corrupt: false,
            failures,
            retry_at,
        }
    }

    /// A call failed, and it is not known any more why.
    pub fn for_a_forgotten_reason(failures: u32, retry_at: Timestamp) -> Self {
        Self {
            error: "the reason is not known any more; the next attempt tells it again".to_owned(),
            kind: None,
            remedy: None,
            corrupt: false,
            failures,
            retry_at,
        }
    }

    /// Whether CloudFront has said that too many items are in progress.
    pub fn is_full_pool(&self) -> bool {
        self.kind == Some(CdnError::FULL_POOL)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct CatalogueStatus {
    /// When reading the current catalogue began; `None` until the account has been read once.
    pub read_since: Option<Timestamp>,
    /// Why the last reading failed, if it did.
    pub failure: Option<CatalogueFailure>,
    /// Why details that mapping needs have not been read yet, where reading them failed.
    pub unanswered: Vec<CatalogueFailure>,
    /// Distributions whose configuration may not be read.
    pub details_denied: Vec<String>,
    /// Cache policies that may not be read.
    pub policies_denied: Vec<String>,
    /// Cache policies that cannot be read for another reason, such as one that is gone, each with it.
    pub policies_failed: Vec<String>,
    /// Rules that emit cache tags for distributions that do not keep them.
    pub rule_faults: Vec<String>,
    pub notices: Notices,
    /// Settings that name buckets, distributions or domains that the account does not have.
    pub unused_settings: Vec<String>,
}

/// Why the account could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueFailure {
    pub error: String,
    /// The error's name in metrics.
    pub kind: &'static str,
    /// What an operator can do, if known.
    pub remedy: Option<&'static str>,
}

/// Why a worker's last run failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFailure {
    pub error: String,
    /// The store has an unreadable row: waiting does not help.
    pub corrupt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Ok,
    /// An operator should look.
    Warn,
    /// Something stands still until an operator fixes it.
    Fail,
}

/// The result of a named check, for readiness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub check: &'static str,
    pub severity: Severity,
    /// The reason and what to do. If the severity is `Ok`, it is empty, or tells what is wanted.
    pub detail: String,
}

/// What is logged when it begins, changes, or ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub check: &'static str,
    /// Changes when there is something new to tell.
    pub stage: String,
    /// What needs attention; `None` if nothing does.
    pub detail: Option<String>,
}

impl Finding {
    pub(super) fn of(check: &'static str, warning: Option<String>) -> Self {
        Self {
            check,
            severity: if warning.is_some() {
                Severity::Warn
            } else {
                Severity::Ok
            },
            detail: warning.unwrap_or_default(),
        }
    }
}
