//! What decides when a distribution's calls are due: batching windows, pools, rates, and the daily limit.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::domain::{
    batch::{Group, Kind, Usage},
    due::due_at,
};

/// When a distribution is due.
#[derive(Debug, Clone, Copy)]
pub(in crate::dispatch) struct BatchingWindows {
    /// When no change has arrived for this long,
    pub(in crate::dispatch) quiet: Duration,
    /// or when its oldest change has waited this long.
    pub(in crate::dispatch) max_wait: Duration,
}

/// The end of the last deploy window at a distribution.
#[derive(Debug, Clone, Copy)]
pub(super) struct AfterHold {
    pub(super) ended_at: Timestamp,
    /// When the newest of all waiting changes was accepted.
    pub(super) newest: Timestamp,
}

/// Limits on the items in progress at a distribution.
#[derive(Debug, Clone, Copy)]
pub(in crate::dispatch) struct PoolLimits {
    pub(in crate::dispatch) limit: Usage,
    /// The part of `limit` that only manual requests may use.
    pub(in crate::dispatch) reserve: Usage,
}

/// What the account's rates and the daily limit permit.
#[derive(Debug, Clone, Copy)]
pub(in crate::dispatch) struct RateGates {
    /// When exact paths may be sent.
    pub(in crate::dispatch) paths_at: Timestamp,
    /// When wildcards may be sent.
    pub(in crate::dispatch) wildcards_at: Timestamp,
    /// How many automatic items may still be sent today.
    pub(in crate::dispatch) automatic: usize,
}

/// What decides when calls are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions<'a> {
    pub(super) now: Timestamp,
    pub(super) windows: &'a BatchingWindows,
    pub(super) pools: &'a PoolLimits,
    pub(super) gates: &'a RateGates,
}

impl RateGates {
    pub(super) fn open_for(&self, kind: Kind) -> Timestamp {
        if kind.wildcard {
            self.wildcards_at
        } else {
            self.paths_at
        }
    }

    /// When a call with this many items may be made.
    pub(super) fn open_at(&self, usage: Usage) -> Timestamp {
        let paths_at = (usage.paths > 0).then_some(self.paths_at);
        let wildcards_at = (usage.wildcards > 0).then_some(self.wildcards_at);
        paths_at.max(wildcards_at).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl Conditions<'_> {
    /// Whether automatic work that has waited since then is overdue.
    pub(super) fn is_overdue(&self, since: Timestamp) -> bool {
        since + self.windows.max_wait * 2 <= self.now
    }
}

impl BatchingWindows {
    /// When a group of waiting items is due. What a deploy window has gathered waits for the changes of
    /// its last uploads, which arrive after it has ended.
    pub(super) fn due_at(
        &self,
        kind: Kind,
        group: Group,
        after: Option<AfterHold>,
        now: Timestamp,
    ) -> Timestamp {
        let after = after.filter(|after| {
            if kind.manual {
                group.newest <= after.ended_at
            } else {
                group.oldest <= after.ended_at || now < after.ended_at + self.max_wait
            }
        });
        let waits_until = match after {
            Some(AfterHold { ended_at, newest }) => {
                (newest.max(ended_at) + self.quiet).min(ended_at + self.max_wait)
            }
            None if kind.manual => return group.oldest.min(now),
            None => (group.newest + self.quiet).min(group.oldest + self.max_wait),
        };
        let longest = SignedDuration::try_from(self.max_wait).unwrap_or(SignedDuration::MAX);
        due_at(waits_until, longest, now)
    }
}
