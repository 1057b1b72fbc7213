//! Schedules the distributions: what waits at each, what it may send, and which has its turn next.

mod queue;
mod turn;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use self::queue::{DistributionQueue, Step};
pub(super) use self::{
    queue::{BatchingWindows, PoolLimits, RateGates},
    turn::{Turn, Work},
};
use crate::domain::{
    batch::{DistributionBacklog, Usage},
    operations::{Backoff, Pauses},
    resolution::Unresolved,
    status::DistributionStatus,
};

/// How long a running plan reserves a call. A slower plan does not hold up those of other
/// distributions.
const PLAN_CLAIM: Duration = Duration::from_millis(250);

/// The queues of all distributions. The lock is never held across an await.
#[derive(Debug)]
pub(super) struct Queues {
    state: Mutex<QueuesState>,
    windows: BatchingWindows,
    pools: PoolLimits,
}

#[derive(Default)]
struct QueuesState {
    by_distribution: HashMap<String, DistributionQueue>,
    turns: u64,
    all_paused: bool,
    /// Distributions whose pool CloudFront reported as full, until the tracker takes them.
    full_pools: BTreeSet<String>,
    stale: StaleBacklogs,
}

/// The distributions whose backlog has to be read from the store again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct StaleBacklogs {
    pub(super) all: bool,
    pub(super) distributions: BTreeSet<String>,
}

/// Which distribution has its turn next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This one, now.
    Ready(String),
    /// None before this time.
    At(Timestamp),
    /// A distribution waits to be planned, but running plans have reserved all available calls. The
    /// first reservation ends at this time.
    Planning(Timestamp),
    /// None until something changes.
    Idle,
}

impl std::fmt::Debug for QueuesState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.by_distribution.keys().collect();
        f.debug_struct("QueuesState")
            .field("distributions", &ids)
            .finish_non_exhaustive()
    }
}

impl Queues {
    pub(super) fn new(windows: BatchingWindows, pools: PoolLimits) -> Self {
        Self {
            state: Mutex::default(),
            windows,
            pools,
        }
    }

    /// Marks a distribution's backlog as stale.
    pub(super) fn mark(&self, distribution_id: &str) {
        let mut state = self.lock();
        if !state.stale.distributions.contains(distribution_id) {
            let id = distribution_id.to_owned();
            state.stale.distributions.insert(id);
        }
    }

    /// Marks all backlogs as stale.
    pub(super) fn mark_all(&self) {
        self.lock().stale.all = true;
    }

    /// Takes the stale backlogs, if there are any.
    pub(super) fn take_stale(&self) -> Option<StaleBacklogs> {
        let taken = mem::take(&mut self.lock().stale);
        (taken != StaleBacklogs::default()).then_some(taken)
    }

    /// Sets backlogs as read from the store. With `all`, the distributions that are not in `read`
    /// have nothing waiting.
    pub(super) fn set_backlogs(&self, read: Vec<DistributionBacklog>, all: bool) {
        let mut state = self.lock();
        if all {
            for queue in state.by_distribution.values_mut() {
                queue.backlog = None;
            }
        }
        for one in read {
            let queue = state.by_distribution.entry(one.distribution_id);
            queue.or_default().backlog = one.backlog;
        }
    }

    /// Restores backoffs at a start.
    pub(super) fn set_backoffs(&self, backoffs: Vec<Backoff>) {
        for one in backoffs {
            self.with(&one.distribution_id, |queue| {
                queue.failures = one.failures;
                queue.not_before = Some(one.not_before);
            });
        }
    }

    pub(super) fn set_pauses(&self, pauses: &Pauses) {
        let mut state = self.lock();
        state.all_paused = pauses.all;
        for id in &pauses.distributions {
            state.by_distribution.entry(id.clone()).or_default();
        }
        for (id, queue) in &mut state.by_distribution {
            queue.paused = pauses.distributions.contains(id);
            if queue.paused || pauses.all {
                // The plan would be outdated when sending resumes.
                queue.plan = None;
            }
        }
    }

    pub(super) fn all_paused(&self) -> bool {
        self.lock().all_paused
    }

    /// Restores a batch without a definite answer at a start.
    pub(super) fn reopen(&self, unresolved: Unresolved) {
        let id = unresolved.batch.distribution_id.clone();
        self.with(&id, |queue| queue.unresolved.push_back(unresolved));
    }

    /// Adds items in progress.
    pub(super) fn occupy(&self, distribution_id: &str, usage: Usage) {
        self.with(distribution_id, |queue| {
            queue.in_progress = queue.in_progress.plus(usage);
        });
    }

    /// Removes items in progress.
    pub(super) fn release(&self, distribution_id: &str, usage: Usage) {
        self.with(distribution_id, |queue| {
            queue.in_progress = queue.in_progress.minus(usage);
        });
    }

    /// Asks the tracker to count what others have in progress at a distribution.
    pub(super) fn pool_is_full(&self, distribution_id: &str) {
        let mut state = self.lock();
        state.full_pools.insert(distribution_id.to_owned());
    }

    /// Takes the distributions that the tracker has not checked yet.
    pub(super) fn take_full_pools(&self) -> BTreeSet<String> {
        mem::take(&mut self.lock().full_pools)
    }

    /// Sets what others have in progress, until it is checked again or this time has come.
    pub(super) fn set_others(&self, distribution_id: &str, usage: Usage, until: Timestamp) {
        self.with(distribution_id, |queue| queue.set_others(usage, until));
    }

    /// Whether a distribution waits for its invalidations to complete.
    pub(super) fn is_full(&self, distribution_id: &str, now: Timestamp) -> bool {
        let state = self.lock();
        let queue = state.by_distribution.get(distribution_id);
        queue.is_some_and(|queue| queue.is_full(&self.pools, now))
    }

    /// Which distribution has its turn next: one with manual requests first, then the one whose last
    /// turn is longest ago. `calls` is the number of calls that could be made now, and limits the
    /// number of running plans.
    pub(super) fn next(&self, now: Timestamp, gates: &RateGates, calls: usize) -> Next {
        let state = self.lock();
        if state.all_paused {
            return Next::Idle;
        }
        let claims = state.claims(now);
        let may_plan = claims.len() < calls;
        let mut ready: Option<(bool, u64, &String)> = None;
        let mut first_at: Option<Timestamp> = None;
        let mut plan_waits = false;
        for (id, queue) in &state.by_distribution {
            let next = queue.next_step(now, &self.windows, &self.pools, gates);
            let Some((step, due_at)) = next else {
                continue;
            };
            if due_at > now {
                first_at = Some(first_at.map_or(due_at, |first| first.min(due_at)));
            } else if step == Step::Plan && !may_plan {
                plan_waits = true;
            } else {
                let candidate = (!queue.has_manual(), queue.last_turn, id);
                ready = Some(ready.map_or(candidate, |best| best.min(candidate)));
            }
        }
        match (ready, first_at) {
            (Some((_, _, id)), _) => Next::Ready(id.clone()),
            (None, _) if plan_waits => {
                let first = claims.into_iter().min();
                Next::Planning(first.map_or(now, |since| since + PLAN_CLAIM))
            }
            (None, Some(at)) => Next::At(at),
            (None, None) => Next::Idle,
        }
    }

    /// Begins a distribution's turn. It has no other turn until this one ends.
    pub(super) fn begin(
        self: &Arc<Self>,
        distribution_id: &str,
        now: Timestamp,
        gates: &RateGates,
    ) -> Option<(Turn, Work)> {
        let mut state = self.lock();
        state.turns += 1;
        let number = state.turns;
        let queue = state.by_distribution.get_mut(distribution_id)?;
        let work = if let Some(unresolved) = queue.unresolved.front() {
            Work::Resend(unresolved.clone())
        } else if let Some(plan) = queue.plan.take() {
            Work::Send(plan)
        } else {
            queue.backlog?;
            queue.planning_since = Some(now);
            Work::Plan(queue.allowance(&self.pools, gates, now))
        };
        queue.busy = true;
        queue.last_turn = number;
        Some((Turn::new(Arc::clone(self), distribution_id, now), work))
    }

    /// A distribution's failures in a row.
    pub(super) fn failures(&self, distribution_id: &str) -> u32 {
        let state = self.lock();
        let queue = state.by_distribution.get(distribution_id);
        queue.map_or(0, |queue| queue.failures)
    }

    pub(super) fn statuses(
        &self,
        now: Timestamp,
        gates: &RateGates,
    ) -> BTreeMap<String, DistributionStatus> {
        let state = self.lock();
        let statuses = state.by_distribution.iter().map(|(id, queue)| {
            let status = queue.status(state.all_paused, &self.pools, gates, now);
            (id.clone(), status)
        });
        statuses.collect()
    }

    fn with(&self, distribution_id: &str, change: impl FnOnce(&mut DistributionQueue)) {
        let mut state = self.lock();
        if let Some(queue) = state.by_distribution.get_mut(distribution_id) {
            return change(queue);
        }
        let id = distribution_id.to_owned();
        change(state.by_distribution.entry(id).or_default());
    }

    fn lock(&self) -> MutexGuard<'_, QueuesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueuesState {
    /// The start times of running plans that still reserve a call.
    fn claims(&self, now: Timestamp) -> Vec<Timestamp> {
        let planning = self.by_distribution.values();
        planning
            .filter_map(|queue| queue.planning_since)
            .filter(|since| now < *since + PLAN_CLAIM)
            .collect()
    }
}

#[cfg(test)]
mod tests;
