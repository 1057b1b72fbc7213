//! One distribution's queue: its next step, when that is due, and how many items it has room for.

use std::{collections::VecDeque, time::Duration};

use jiff::Timestamp;

use crate::{
    dispatch::planner::Planned,
    domain::{
        batch::{Backlog, Usage},
        cdn::{CdnError, Pool},
        consolidate::{Allowance, Headroom},
        resolution::{Failure, NextStep, Resolution, Unresolved},
        status::{DistributionStatus, Hold, Refused, UnresolvedBatches},
    },
};

/// When a distribution is due.
#[derive(Debug, Clone, Copy)]
pub(in crate::dispatch) struct BatchingWindows {
    /// When no change has arrived for this long,
    pub(in crate::dispatch) quiet: Duration,
    /// or when its oldest change has waited this long.
    pub(in crate::dispatch) max_wait: Duration,
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

/// What a distribution does in its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Plans the waiting items.
    Plan,
    /// Sends an unresolved batch again, or freezes and sends a plan.
    Send,
}

/// What others are known or assumed to have in progress, and until when that counts.
#[derive(Debug, Clone, Copy, Default)]
struct Others {
    usage: Usage,
    until: Timestamp,
}

#[derive(Default)]
pub(super) struct DistributionQueue {
    /// The waiting items, as last read from the store.
    pub(super) backlog: Option<Backlog>,
    /// Batches without a definite answer, in sending order. They are sent before anything new.
    pub(super) unresolved: VecDeque<Unresolved>,
    /// A plan that waits until its call may be made.
    pub(super) plan: Option<Planned>,
    /// Whether it has a turn now.
    pub(super) busy: bool,
    /// When the running plan began.
    pub(super) planning_since: Option<Timestamp>,
    pub(super) paused: bool,
    /// Nothing is done before this time, after a failure.
    pub(super) not_before: Option<Timestamp>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// The last failure, until a success.
    pub(super) refused: Option<Refused>,
    /// A write had an unknown outcome: the store may have a batch that is missing here.
    pub(super) in_doubt: bool,
    /// The number of its last turn; the lowest has the next turn.
    pub(super) last_turn: u64,
    /// Our items that have no definite answer or are not completed.
    pub(super) in_progress: Usage,
    others: Others,
}

impl DistributionQueue {
    /// Whether a manual request waits, in the backlog or in the plan.
    pub(super) fn has_manual(&self) -> bool {
        self.backlog.is_some_and(|backlog| backlog.has_manual())
            || self.plan.as_ref().is_some_and(|plan| plan.has_manual)
    }

    /// The next step and when it is due; `None` if nothing waits, or nothing may be sent until
    /// something else changes.
    pub(super) fn next_step(
        &self,
        now: Timestamp,
        windows: &BatchingWindows,
        pools: &PoolLimits,
        gates: &RateGates,
    ) -> Option<(Step, Timestamp)> {
        if self.busy || self.paused {
            return None;
        }
        let (step, at) = if let Some(unresolved) = self.unresolved.front() {
            let open_at = gates.open_at(unresolved.batch.usage());
            (Step::Send, unresolved.due_at.max(open_at))
        } else if let Some(plan) = &self.plan {
            (Step::Send, gates.open_at(plan.usage()))
        } else {
            let backlog = self.backlog?;
            let open_at = self
                .room_at(&backlog, pools, gates, now)
                .or_else(|| self.others_until(now))?;
            (Step::Plan, windows.due_at(&backlog, now).max(open_at))
        };
        Some((step, self.not_before.map_or(at, |limit| at.max(limit))))
    }

    /// When the rates and pools permit at least one of the waiting items.
    fn room_at(
        &self,
        backlog: &Backlog,
        pools: &PoolLimits,
        gates: &RateGates,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let Allowance { manual, automatic } = self.allowance(pools, gates, now);
        let permits = |waiting: usize, requested: usize, manual: usize, automatic: usize| {
            (requested > 0 && manual > 0) || (waiting > requested && automatic > 0)
        };
        let paths = permits(
            backlog.items - backlog.wildcards,
            backlog.manual_paths,
            manual.paths,
            automatic.paths,
        );
        let wildcards = permits(
            backlog.wildcards,
            backlog.manual_wildcards,
            manual.wildcards,
            automatic.wildcards,
        );
        let paths_at = paths.then_some(gates.paths_at);
        let wildcards_at = wildcards.then_some(gates.wildcards_at);
        paths_at.into_iter().chain(wildcards_at).min()
    }

    /// The headroom in the pools and in the daily limit, for manual and automatic items.
    pub(super) fn allowance(
        &self,
        pools: &PoolLimits,
        gates: &RateGates,
        now: Timestamp,
    ) -> Allowance {
        let taken = self.in_progress.plus(self.others_at(now));
        let free = pools.limit.minus(taken);
        let unreserved = free.minus(pools.reserve);
        Allowance {
            manual: Headroom {
                paths: free.paths,
                wildcards: free.wildcards,
            },
            automatic: Headroom {
                paths: unreserved.paths.min(gates.automatic),
                wildcards: unreserved.wildcards.min(gates.automatic),
            },
        }
    }

    /// Whether the waiting items have to wait until invalidations complete.
    pub(super) fn is_full(&self, pools: &PoolLimits, now: Timestamp) -> bool {
        let open = RateGates {
            paths_at: now,
            wildcards_at: now,
            automatic: usize::MAX,
        };
        let backlog = self.backlog.as_ref();
        backlog.is_some_and(|backlog| self.room_at(backlog, pools, &open, now).is_none())
    }

    /// Treats a pool as full until a time: what is not ours in it must be others'.
    pub(super) fn mark_pool_full(&mut self, limit: Usage, pool: Pool, until: Timestamp) {
        match pool {
            Pool::Paths => {
                self.others.usage.paths = limit.paths.saturating_sub(self.in_progress.paths);
            }
            Pool::Wildcards => {
                self.others.usage.wildcards =
                    limit.wildcards.saturating_sub(self.in_progress.wildcards);
            }
        }
        self.others.until = until;
    }

    /// Sets what others have in progress, until it is checked again or this time has come.
    pub(super) fn set_others(&mut self, usage: Usage, until: Timestamp) {
        self.others = Others { usage, until };
    }

    /// When the assumption that others fill a pool expires.
    fn others_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = self.others.until;
        (now < until).then_some(until)
    }

    fn others_at(&self, now: Timestamp) -> Usage {
        if now < self.others.until {
            self.others.usage
        } else {
            Usage::default()
        }
    }

    /// Applies the answer to the first unresolved batch.
    pub(super) fn apply(&mut self, resolution: Resolution, limit: Usage) {
        let Some(answered) = self.unresolved.pop_front() else {
            return;
        };
        let usage = answered.batch.usage();
        match resolution {
            Resolution::Created { invalidation, .. } => {
                self.succeed();
                if invalidation.completed {
                    self.in_progress = self.in_progress.minus(usage);
                }
            }
            Resolution::Failed(failure) => self.apply_failure(failure, usage, limit),
        }
    }

    fn apply_failure(&mut self, failure: Failure, usage: Usage, limit: Usage) {
        let Failure {
            error,
            next,
            failures,
            not_before,
        } = failure;
        self.failures = failures;
        self.not_before = Some(not_before);
        self.refused = Some(Refused {
            remedy: remedy(&error),
            error: error.to_string(),
            corrupt: false,
            failures,
            retry_at: not_before,
        });
        match next {
            NextStep::Retry(again) | NextStep::NewReference(again) => {
                self.unresolved.push_front(*again);
            }
            NextStep::Bisect(halves) => {
                let [first, second] = *halves;
                self.unresolved.push_front(second);
                self.unresolved.push_front(first);
            }
            NextStep::Requeue => self.in_progress = self.in_progress.minus(usage),
            NextStep::DeadLetter => {
                self.in_progress = self.in_progress.minus(usage);
                self.succeed();
            }
        }
        if let CdnError::TooManyInProgress { pool, .. } = error {
            self.mark_pool_full(limit, pool, not_before);
        }
    }

    /// Clears the last failure.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.not_before = None;
        self.refused = None;
        self.in_doubt = false;
    }

    pub(super) fn status(
        &self,
        all_paused: bool,
        pools: &PoolLimits,
        gates: &RateGates,
        now: Timestamp,
    ) -> DistributionStatus {
        let mut holds = Vec::new();
        if self.paused || all_paused {
            holds.push(Hold::Paused);
        }
        holds.extend(self.refused.clone().map(Hold::Refused));
        if let Some(backlog) = &self.backlog {
            if gates.automatic == 0 && backlog.items > backlog.manual() {
                holds.push(Hold::DayLimit);
            }
            if self.is_full(pools, now) {
                holds.push(Hold::PoolFull);
            }
        }
        DistributionStatus {
            waiting: self.backlog,
            unresolved: UnresolvedBatches {
                batches: self.unresolved.len(),
                since: self.unresolved.iter().map(|one| one.frozen_at).min(),
            },
            in_progress: self.in_progress,
            holds,
        }
    }
}

/// What an operator can do about an error.
fn remedy(error: &CdnError) -> Option<&'static str> {
    match error {
        CdnError::Denied(_) => Some("grant cloudfront:CreateInvalidation on this distribution"),
        _ => None,
    }
}

impl RateGates {
    /// When a call with this many items may be made.
    fn open_at(&self, usage: Usage) -> Timestamp {
        let paths_at = (usage.paths > 0).then_some(self.paths_at);
        let wildcards_at = (usage.wildcards > 0).then_some(self.wildcards_at);
        paths_at.max(wildcards_at).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

impl BatchingWindows {
    fn due_at(&self, backlog: &Backlog, now: Timestamp) -> Timestamp {
        if backlog.has_manual() {
            return backlog.oldest;
        }
        // The third term: if the clock is set back, nothing waits longer than `max_wait` from now.
        (backlog.newest + self.quiet)
            .min(backlog.oldest + self.max_wait)
            .min(now + self.max_wait)
    }
}
