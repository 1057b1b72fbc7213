//! Schedules the distributions: what waits at each, what it may send, and which has its turn next.

mod conditions;
mod order;
mod queue;
mod streak;
mod turn;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use self::{
    conditions::Conditions,
    order::{Candidate, Claim, Lane, TurnOrder},
    queue::DistributionQueue,
    streak::Streak,
};
pub(super) use self::{
    conditions::{BatchingWindows, PoolLimits, RateGates},
    turn::{Turn, Work},
};
use crate::domain::{
    batch::{Backlog, DistributionBacklog, Usage},
    hold::HeldNow,
    operations::{Backoff, Pauses},
    resolution::{Resolution, Unresolved},
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
    order: TurnOrder,
    streak: Streak,
    all_paused: bool,
    held_now: HeldNow,
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

/// A distribution that may begin its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ready {
    distribution_id: String,
    lane: Lane,
    claim: Claim,
}

/// Which distribution has its turn next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This one, now.
    Ready(Ready),
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
                queue.backlog = Backlog::default();
            }
        }
        for one in read {
            let held = state.held_now.of(&one.distribution_id);
            let queue = state.by_distribution.entry(one.distribution_id);
            let queue = queue.or_default();
            queue.backlog = one.backlog;
            queue.held = held;
        }
    }

    /// Restores backoffs at a start.
    pub(super) fn set_backoffs(&self, backoffs: Vec<Backoff>) {
        for one in backoffs {
            self.with(&one.distribution_id, |queue| {
                queue.set_backoff(&one);
            });
        }
    }

    /// Ends those backoffs that an operator has ended in the store: each of the distributions is tried
    /// by itself, whatever others were answered.
    pub(super) fn end_backoffs(&self, backoffs: Vec<Backoff>, now: Timestamp) {
        let mut guard = self.lock();
        let state = &mut *guard;
        for one in backoffs.into_iter().filter(|one| one.ended) {
            let id = one.distribution_id;
            let queue = state.by_distribution.get_mut(&id);
            if queue.is_some_and(|queue| queue.end_by_operator(now)) {
                state.streak.leave(&id);
            }
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

    /// Sets what deploy windows hold. This is done before each round of turns, and whatever was planned
    /// before a hold began is dropped, so a plan that is sent has nothing that was accepted after the
    /// store kept the hold. Returns the distributions that are not held any more.
    pub(super) fn set_holds(&self, held_now: HeldNow) -> Vec<String> {
        let mut guard = self.lock();
        let state = &mut *guard;
        for id in held_now.held() {
            if !state.by_distribution.contains_key(id) {
                let queue = DistributionQueue::default();
                state.by_distribution.insert(id.to_owned(), queue);
            }
        }
        let mut released = Vec::new();
        for (id, queue) in &mut state.by_distribution {
            let before = mem::replace(&mut queue.held, held_now.of(id));
            if queue.held.until.is_some() {
                queue.plan = None;
            } else if before.until.is_some() {
                released.push(id.clone());
            }
        }
        state.held_now = held_now;
        released
    }

    pub(super) fn all_paused(&self) -> bool {
        self.lock().all_paused
    }

    /// Restores a batch without a definite answer at a start.
    pub(super) fn reopen(&self, unresolved: Unresolved) {
        let id = unresolved.batch.distribution_id.clone();
        self.with(&id, |queue| queue.reopen(unresolved));
    }

    /// Adds items in progress.
    pub(super) fn occupy(&self, distribution_id: &str, usage: Usage) {
        self.with(distribution_id, |queue| {
            queue.in_progress = queue.in_progress.plus(usage);
        });
    }

    /// Removes items in progress.
    pub(super) fn release(&self, distribution_id: &str, usage: Usage) {
        self.with(distribution_id, |queue| queue.release(usage));
    }

    /// Notes that a write had an unknown outcome: the distribution's batches are read again.
    pub(super) fn doubt(&self, distribution_id: &str) {
        self.with(distribution_id, DistributionQueue::doubt);
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

    /// Notes that the buckets behind a distribution's waiting items have been listed.
    pub(super) fn end_listing(&self, distribution_id: &str) {
        self.with(distribution_id, DistributionQueue::end_listing);
    }

    /// Whether a distribution waits for its invalidations to complete.
    pub(super) fn is_full(&self, distribution_id: &str, now: Timestamp) -> bool {
        let state = self.lock();
        let queue = state.by_distribution.get(distribution_id);
        queue.is_some_and(|queue| queue.is_full(&self.pools, now))
    }

    /// Which distribution has its turn next: see [`TurnOrder`]. `calls` is the number of calls that could
    /// be made now, and limits the number of running plans; `is_listed` says whether the account still
    /// has a distribution.
    pub(super) fn next(
        &self,
        now: Timestamp,
        gates: &RateGates,
        calls: usize,
        is_listed: impl Fn(&str) -> bool,
    ) -> Next {
        let state = self.lock();
        if state.all_paused {
            return Next::Idle;
        }
        let claims = state.claims(now);
        // While the running plans need all calls, nobody else takes one.
        if calls > 0 && claims.len() >= calls {
            let first = claims.into_iter().min();
            return Next::Planning(first.map_or(now, |since| since + PLAN_CLAIM));
        }
        let conditions = self.conditions(now, gates);
        let is_trying = state.is_trying();
        let mut ready = Vec::new();
        let mut first_at: Option<Timestamp> = None;
        let mut others_wait = false;
        for (id, queue) in &state.by_distribution {
            let retry_at = state.streak.retry_at(id, is_trying, now);
            for mut call in queue.wanted(retry_at, &conditions) {
                call.claim.probe |= !is_listed(id);
                if call.open_at > now {
                    first_at = Some(first_at.map_or(call.open_at, |at| at.min(call.open_at)));
                    others_wait |= !call.claim.probe && call.due_at <= now;
                    continue;
                }
                ready.push(Candidate {
                    distribution_id: id,
                    lane: call.lane,
                    claim: call.claim,
                    last_turn: queue.last_turn(call.lane),
                });
            }
        }
        // A second call that is available now is not missing later.
        let chosen = state.order.choose(&ready, others_wait && calls < 2);
        match (chosen, first_at) {
            (Some(chosen), _) => Next::Ready(Ready {
                distribution_id: chosen.distribution_id.to_owned(),
                lane: chosen.lane,
                claim: chosen.claim,
            }),
            (None, Some(at)) => Next::At(at),
            (None, None) => Next::Idle,
        }
    }

    fn conditions<'a>(&'a self, now: Timestamp, gates: &'a RateGates) -> Conditions<'a> {
        Conditions {
            now,
            windows: &self.windows,
            pools: &self.pools,
            gates,
        }
    }

    /// Begins a distribution's turn. It has no other turn until this one ends.
    pub(super) fn begin(
        self: &Arc<Self>,
        ready: &Ready,
        now: Timestamp,
        gates: &RateGates,
    ) -> Option<(Turn, Work)> {
        let Ready {
            distribution_id,
            lane,
            claim,
        } = ready;
        let mut guard = self.lock();
        let state = &mut *guard;
        let conditions = self.conditions(now, gates);
        let is_trying = state.is_trying();
        let retry_at = state.streak.retry_at(distribution_id, is_trying, now);
        let failures = state.streak.failures(distribution_id);
        let queue = state.by_distribution.get_mut(distribution_id)?;
        let mut calls = queue.wanted(retry_at, &conditions);
        let needs_plan = calls.find(|call| call.lane == *lane)?.needs_plan;
        drop(calls);
        let work = if needs_plan {
            queue.begin_plan(now);
            Work::Plan(queue.allowance(&self.pools, gates, now))
        } else {
            let work = queue.next_batch(*lane, failures)?;
            state.turns += 1;
            queue.had_turn(*lane, state.turns);
            state.order.called(*claim);
            work
        };
        queue.busy = true;
        Some((Turn::new(Arc::clone(self), distribution_id, now), work))
    }

    /// A distribution's failures in a row, or those of all that are answered alike.
    pub(super) fn failures(&self, distribution_id: &str) -> u32 {
        let state = self.lock();
        let queue = state.by_distribution.get(distribution_id);
        let shared = state.streak.failures(distribution_id);
        shared.unwrap_or_else(|| queue.map_or(0, |queue| queue.failures))
    }

    /// Notes a call's answer for those that were answered alike.
    fn note_answer(&self, distribution_id: &str, resolution: &Resolution, now: Timestamp) {
        let mut guard = self.lock();
        let state = &mut *guard;
        match resolution {
            Resolution::Created { .. } => {
                for id in state.streak.succeeded(distribution_id) {
                    if let Some(queue) = state.by_distribution.get_mut(&id) {
                        queue.end_backoff(now);
                    }
                }
            }
            Resolution::Failed(failure) => state.streak.failed(distribution_id, failure, now),
        }
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
            // A plan that begins in the future began before the clock was set back.
            .filter(|since| *since <= now && now < *since + PLAN_CLAIM)
            .collect()
    }

    /// Whether one of the distributions that were answered alike has its turn now.
    fn is_trying(&self) -> bool {
        let mut all = self.by_distribution.iter();
        all.any(|(id, queue)| queue.busy && self.streak.has(id))
    }
}

#[cfg(test)]
mod tests;
