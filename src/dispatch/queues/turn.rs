//! A distribution's turn: until it ends there is no other, and it always ends.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::Queues;
use crate::{
    dispatch::{
        planner::Planned,
        runner::{error_chain, pause_after},
    },
    domain::{
        consolidate::Allowance,
        resolution::{Resolution, Unresolved},
        status::Refused,
    },
    ports::StoreError,
};

/// What a distribution does in its turn.
#[derive(Debug)]
pub(in crate::dispatch) enum Work {
    /// Sends an unresolved batch again, unchanged.
    Resend(Unresolved),
    /// Freezes a plan and sends it.
    Send(Planned),
    /// Plans what waits, within this.
    Plan(Allowance),
}

/// How long a distribution rests whose turn ended without saying how.
const REST: Duration = Duration::from_secs(1);

/// The guard of a turn. Dropped without one of the endings below, as by a panic, it gives the turn
/// back: what waits goes on waiting, and a batch that may have been sent is in doubt.
#[derive(Debug)]
pub(in crate::dispatch) struct Turn {
    queues: Arc<Queues>,
    distribution_id: String,
    began: Timestamp,
    /// A call is being made.
    calling: bool,
    ended: bool,
}

impl Turn {
    pub(super) fn new(queues: Arc<Queues>, distribution_id: &str, began: Timestamp) -> Self {
        Self {
            queues,
            distribution_id: distribution_id.to_owned(),
            began,
            calling: false,
            ended: false,
        }
    }

    pub(in crate::dispatch) fn distribution_id(&self) -> &str {
        &self.distribution_id
    }

    /// From now on the batch may have been sent.
    pub(in crate::dispatch) fn calls(&mut self) {
        self.calling = true;
    }

    /// Notes that its plan is frozen: a batch without an answer, which the turn goes on to send.
    pub(in crate::dispatch) fn frozen(&self, unresolved: Unresolved) {
        let usage = unresolved.batch.usage();
        self.queues.with(&self.distribution_id, |queue| {
            queue.in_progress = queue.in_progress.plus(usage);
            queue.unresolved.push_front(unresolved);
        });
        self.queues.mark(&self.distribution_id);
    }

    /// Whether an earlier write's outcome was not known.
    pub(in crate::dispatch) fn is_in_doubt(&self) -> bool {
        let mut in_doubt = false;
        self.queues
            .with(&self.distribution_id, |queue| in_doubt = queue.in_doubt);
        in_doubt
    }

    /// Ends with the answer to the batch that was sent.
    pub(in crate::dispatch) fn resolved(mut self, resolution: Resolution) {
        let limit = self.queues.pools.limit;
        self.end(|queue| queue.apply(resolution, limit));
        self.queues.mark(&self.distribution_id);
    }

    /// Ends with a plan that waits for its call.
    pub(in crate::dispatch) fn planned(mut self, plan: Planned) {
        self.end(|queue| queue.plan = Some(plan));
    }

    /// Ends with nothing to send: what waits has no room, for a moment.
    pub(in crate::dispatch) fn nothing(mut self, now: Timestamp) {
        self.end(|queue| queue.not_before = Some(now + REST));
        self.queues.mark(&self.distribution_id);
    }

    /// Ends with batches that the store has and nobody remembered.
    pub(in crate::dispatch) fn found(mut self, forgotten: Vec<Unresolved>) {
        self.end(|queue| {
            queue.in_doubt = false;
            for unresolved in forgotten {
                queue.in_progress = queue.in_progress.plus(unresolved.batch.usage());
                queue.unresolved.push_back(unresolved);
            }
        });
    }

    /// Ends because the plan no longer fits: it is made anew.
    pub(in crate::dispatch) fn plans_again(mut self) {
        self.end(|_| {});
        self.queues.mark(&self.distribution_id);
    }

    /// Ends because nothing more is to be done.
    pub(in crate::dispatch) fn done(mut self) {
        self.end(super::queue::DistributionQueue::succeed);
        self.queues.mark(&self.distribution_id);
    }

    /// Ends because the store failed: tried again after `pause`.
    pub(in crate::dispatch) fn store_failed(mut self, error: &StoreError, now: Timestamp) {
        let pause = pause_after(error);
        self.end(|queue| {
            queue.not_before = Some(now + pause);
            queue.in_doubt = true;
            queue.refused = Some(Refused {
                error: error_chain(error),
                remedy: None,
                corrupt: error.is_corrupt(),
                failures: queue.failures,
                retry_at: now + pause,
            });
        });
        self.queues.mark(&self.distribution_id);
    }

    fn end(&mut self, change: impl FnOnce(&mut super::queue::DistributionQueue)) {
        self.ended = true;
        self.queues.with(&self.distribution_id, |queue| {
            queue.busy = false;
            queue.planning_since = None;
            change(queue);
        });
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let (calling, rested_at) = (self.calling, self.began + REST);
        self.end(|queue| {
            queue.not_before = Some(rested_at);
            if calling && let Some(sent) = queue.unresolved.front_mut() {
                sent.in_doubt = true;
            }
        });
        self.queues.mark(&self.distribution_id);
    }
}
