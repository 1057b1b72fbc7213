//! What waits at each distribution, what it may send, and whose turn it is.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use super::lane::{Lane, Windows};
use crate::{
    domain::{
        batch::{Backlog, Usage},
        consolidate::{Caps, Room},
    },
    ports::{Brakes, Unresolved},
    telemetry::Metrics,
};

pub(super) use super::lane::{Gates, Pools};

/// All queues. The lock is held for a look or a note, never across anything that waits.
pub(super) struct Queues {
    lanes: Mutex<Lanes>,
    windows: Windows,
    pools: Pools,
    metrics: Metrics,
}

#[derive(Default)]
struct Lanes {
    by_distribution: HashMap<String, Lane>,
    turns: u64,
    all_paused: bool,
    /// Distributions where others seem to have invalidations in progress.
    crowded: BTreeSet<String>,
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This distribution's, now.
    Ready(String),
    /// Somebody's, then.
    At(Timestamp),
    /// Nobody's until something happens.
    Idle,
}

/// What a distribution does in its turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// Sends an unresolved batch again, unchanged.
    Resend(Unresolved),
    /// Plans what waits. The queue forgets it: what stays waiting has to be added again.
    Plan {
        /// What is known to wait.
        backlog: Backlog,
        /// What may go.
        room: (Room, Room),
        /// The last turn went wrong: a batch may have been frozen that nobody knows of.
        in_doubt: bool,
    },
}

/// How a turn ended that did not succeed.
#[derive(Debug)]
pub(super) struct Setback {
    /// Batches that go out (again) before anything new.
    pub(super) open: Vec<Unresolved>,
    /// The next turn comes not before this time.
    pub(super) due_at: Timestamp,
    /// Turns in a row that did not succeed.
    pub(super) failures: u32,
    /// What went wrong, for an operator.
    pub(super) trouble: String,
}

impl Queues {
    pub(super) fn new(quiet: Duration, max_wait: Duration, pools: Pools, metrics: Metrics) -> Self {
        Self {
            lanes: Mutex::default(),
            windows: Windows { quiet, max_wait },
            pools,
            metrics,
        }
    }

    /// Takes over what the store knows of waits: for a start.
    pub(super) fn set_waits(&self, brakes: &Brakes) {
        for brake in &brakes.distributions {
            self.with_lane(&brake.distribution_id, |lane| {
                lane.failures = brake.failures;
                lane.not_before = Some(brake.not_before);
            });
        }
    }

    /// Takes over what the store knows of pauses.
    pub(super) fn set_pauses(&self, brakes: &Brakes) {
        self.lock().all_paused = brakes.all_paused;
        for brake in &brakes.distributions {
            self.with_lane(&brake.distribution_id, |lane| lane.paused = brake.paused);
        }
    }

    /// Notes that more waits at a distribution.
    pub(super) fn add(&self, distribution_id: &str, backlog: Backlog) {
        self.with_lane(distribution_id, |lane| lane.add(backlog));
    }

    /// Forgets what it knew to wait, for what the store counted.
    pub(super) fn recount(&self, backlogs: Vec<(String, Backlog)>) {
        let known: Vec<_> = self.lock().by_distribution.keys().cloned().collect();
        for id in known {
            self.with_lane(&id, |lane| lane.backlog = None);
        }
        for (id, backlog) in backlogs {
            self.add(&id, backlog);
        }
    }

    /// Notes a batch that was left without an answer when the service stopped.
    pub(super) fn reopen(&self, unresolved: Unresolved) {
        let id = unresolved.batch.distribution_id.clone();
        self.with_lane(&id, |lane| lane.open.push_back(unresolved));
    }

    /// Notes that items are in progress.
    pub(super) fn occupy(&self, distribution_id: &str, usage: Usage) {
        self.with_lane(distribution_id, |lane| {
            lane.in_progress = lane.in_progress.plus(usage);
        });
    }

    /// Notes that they no longer are.
    pub(super) fn release(&self, distribution_id: &str, usage: Usage) {
        self.with_lane(distribution_id, |lane| {
            lane.in_progress = lane.in_progress.minus(usage);
        });
    }

    /// Notes that `CloudFront` calls a pool full: what is not ours in it must be others'. So it
    /// is taken until `until`, or until somebody looked.
    pub(super) fn crowd(&self, distribution_id: &str, wildcards: bool, until: Timestamp) {
        let limit = self.pools.limit;
        self.with_lane(distribution_id, |lane| lane.crowd(limit, wildcards, until));
        self.lock().crowded.insert(distribution_id.to_owned());
    }

    /// The distributions whose foreign invalidations nobody has looked at yet.
    pub(super) fn take_crowded(&self) -> BTreeSet<String> {
        std::mem::take(&mut self.lock().crowded)
    }

    /// Notes what others have in progress, as it was seen.
    pub(super) fn set_foreign(&self, distribution_id: &str, foreign: Usage) {
        self.with_lane(distribution_id, |lane| {
            lane.foreign = (foreign, Timestamp::MAX);
        });
    }

    /// Whether a distribution waits for its invalidations to complete.
    pub(super) fn is_full(&self, distribution_id: &str, now: Timestamp) -> bool {
        let lanes = self.lock();
        let lane = lanes.by_distribution.get(distribution_id);
        lane.is_some_and(|lane| lane.is_full(&self.pools, now))
    }

    /// Whose turn it is at `now`: people's first, then whoever waited longest for one.
    pub(super) fn next(&self, now: Timestamp, gates: &Gates) -> Next {
        let lanes = self.lock();
        if lanes.all_paused {
            return Next::Idle;
        }
        let mut ready: Option<(bool, u64, &String)> = None;
        let mut first_at: Option<Timestamp> = None;
        for (id, lane) in &lanes.by_distribution {
            let Some(due_at) = lane.due_at(now, &self.windows, &self.pools, gates) else {
                continue;
            };
            if due_at > now {
                first_at = Some(first_at.map_or(due_at, |first| first.min(due_at)));
                continue;
            }
            let candidate = (!lane.has_manual(), lane.last_turn, id);
            ready = Some(ready.map_or(candidate, |best| best.min(candidate)));
        }
        match (ready, first_at) {
            (Some((_, _, id)), _) => Next::Ready(id.clone()),
            (None, Some(at)) => Next::At(at),
            (None, None) => Next::Idle,
        }
    }

    /// Begins a distribution's turn; until it ends there is no other.
    pub(super) fn begin(
        &self,
        distribution_id: &str,
        now: Timestamp,
        gates: &Gates,
    ) -> Option<Turn> {
        let mut lanes = self.lock();
        lanes.turns += 1;
        let number = lanes.turns;
        let lane = lanes.by_distribution.get_mut(distribution_id)?;
        let turn = match (lane.open.pop_front(), lane.backlog) {
            (Some(unresolved), _) => Turn::Resend(unresolved),
            (None, Some(backlog)) => {
                lane.backlog = None;
                Turn::Plan {
                    backlog,
                    room: lane.room(&self.pools, gates, now),
                    in_doubt: lane.trouble.is_some(),
                }
            }
            (None, None) => return None,
        };
        lane.busy = true;
        lane.last_turn = number;
        Some(turn)
    }

    /// Ends a turn that succeeded.
    pub(super) fn finish(&self, distribution_id: &str) {
        self.with_lane(distribution_id, |lane| {
            lane.busy = false;
            lane.failures = 0;
            lane.not_before = None;
            lane.trouble = None;
        });
    }

    /// Ends a turn that had nothing to send: what waits has no room, for a moment.
    pub(super) fn rest(&self, distribution_id: &str, until: Option<Timestamp>) {
        self.with_lane(distribution_id, |lane| {
            lane.busy = false;
            lane.not_before = until;
        });
    }

    /// Ends a turn that did not succeed.
    pub(super) fn fail(&self, distribution_id: &str, setback: Setback) {
        self.with_lane(distribution_id, |lane| {
            lane.busy = false;
            lane.failures = setback.failures;
            lane.not_before = Some(setback.due_at);
            lane.trouble = Some(setback.trouble);
            for unresolved in setback.open.into_iter().rev() {
                lane.open.push_front(unresolved);
            }
        });
    }

    /// Turns in a row that did not succeed.
    pub(super) fn failures(&self, distribution_id: &str) -> u32 {
        let lanes = self.lock();
        lanes
            .by_distribution
            .get(distribution_id)
            .map_or(0, |lane| lane.failures)
    }

    /// The distributions that something is wrong with, and what.
    pub(super) fn troubles(&self) -> Vec<String> {
        let lanes = self.lock();
        let mut troubles: Vec<_> = lanes
            .by_distribution
            .iter()
            .filter_map(|(id, lane)| Some(format!("{id}: {}", lane.trouble.as_ref()?)))
            .collect();
        troubles.sort_unstable();
        troubles
    }

    /// The distributions where something waits only because it is held.
    pub(super) fn waiting(&self) -> Vec<(String, Backlog)> {
        let lanes = self.lock();
        let waiting = lanes.by_distribution.iter();
        waiting
            .filter_map(|(id, lane)| Some((id.clone(), lane.backlog?)))
            .collect()
    }

    fn with_lane(&self, distribution_id: &str, change: impl FnOnce(&mut Lane)) {
        let waiting = {
            let mut lanes = self.lock();
            let lane = lanes
                .by_distribution
                .entry(distribution_id.to_owned())
                .or_default();
            change(lane);
            (lane.backlog, lane.in_progress)
        };
        let (backlog, usage) = waiting;
        let items = backlog.map_or(0, |backlog| backlog.items);
        let oldest = backlog.map(|backlog| backlog.oldest);
        self.metrics.waiting(distribution_id, items as u64, oldest);
        self.metrics
            .in_progress(distribution_id, usage.paths, usage.wildcards);
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The caps of one call, from what a lane has room for.
pub(super) fn caps(items: usize, unasked: usize, (manual, automatic): (Room, Room)) -> Caps {
    Caps {
        items,
        manual,
        automatic,
        unasked,
    }
}

#[cfg(test)]
mod tests;
