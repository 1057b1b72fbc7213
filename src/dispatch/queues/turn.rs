//! A distribution's turn: it has one at a time, and every turn ends.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use super::{Queues, queue::Listing};
use crate::{
    dispatch::{
        plan::Planned,
        runner::{error_chain, pause_after},
    },
    domain::{
        batch::Usage,
        consolidate::Allowance,
        resolution::{Resolution, Unresolved},
        status::Refused,
    },
    ports::StoreError,
};

/// The work of a turn.
#[derive(Debug)]
pub(in crate::dispatch) enum Work {
    /// Send an unresolved batch again, unchanged.
    Resend(Unresolved),
    /// Freeze a plan and send it.
    Send(Planned),
    /// Plan the waiting items, within this allowance.
    Plan(Allowance),
}

/// How long a distribution pauses after a turn that found no room or was dropped.
const PAUSE: Duration = Duration::from_secs(1);

/// The guard of a turn. If it is dropped without one of the endings below, for example by a panic,
/// the turn ends as well: waiting items keep waiting, and a batch that may have been sent is marked
/// as in doubt.
#[derive(Debug)]
pub(in crate::dispatch) struct Turn {
    queues: Arc<Queues>,
    distribution_id: String,
    began: Timestamp,
    /// The batch whose call has begun.
    calling: Option<Uuid>,
    ended: bool,
}

impl Turn {
    pub(super) fn new(queues: Arc<Queues>, distribution_id: &str, began: Timestamp) -> Self {
        Self {
            queues,
            distribution_id: distribution_id.to_owned(),
            began,
            calling: None,
            ended: false,
        }
    }

    pub(in crate::dispatch) fn distribution_id(&self) -> &str {
        &self.distribution_id
    }

    /// Notes that from now on the batch may have been sent.
    pub(in crate::dispatch) fn call_begins(&mut self, batch: Uuid) {
        self.calling = Some(batch);
    }

    /// Adds the batch that the plan was frozen into. The turn continues with its call.
    pub(in crate::dispatch) fn frozen(&self, unresolved: Unresolved) {
        let usage = unresolved.batch.usage();
        self.queues.with(&self.distribution_id, |queue| {
            queue.in_progress = queue.in_progress.plus(usage);
            queue.unresolved.push_front(unresolved);
        });
        self.queues.mark(&self.distribution_id);
    }

    /// Whether an earlier write had an unknown outcome.
    pub(in crate::dispatch) fn is_in_doubt(&self) -> bool {
        let mut in_doubt = false;
        self.queues.with(&self.distribution_id, |queue| {
            in_doubt = queue.is_in_doubt();
        });
        in_doubt
    }

    /// Whether a listing of buckets may be asked for: the waiting items have not waited for one already.
    pub(in crate::dispatch) fn may_ask(&self) -> bool {
        let mut may_ask = false;
        self.queues.with(&self.distribution_id, |queue| {
            may_ask = queue.listing == Listing::None;
        });
        may_ask
    }

    /// Whether items may still wait for a wildcard that replaces them: no plan has left any for so long.
    pub(in crate::dispatch) fn is_patient(&self, max_delay: Duration, now: Timestamp) -> bool {
        let mut since = None;
        self.queues.with(&self.distribution_id, |queue| {
            since = queue.mergeable_since;
        });
        since.is_none_or(|since| now < since + max_delay)
    }

    /// Notes whether a plan has left items that wait for a wildcard.
    pub(in crate::dispatch) fn leaves_mergeable(&self, any: bool, now: Timestamp) {
        self.queues.with(&self.distribution_id, |queue| {
            let since = queue.mergeable_since.unwrap_or(now);
            // The clock may have been set back.
            queue.mergeable_since = any.then_some(since.min(now));
        });
    }

    /// Lets the distribution's automatic items wait for a listing that ends at this time at the latest.
    pub(in crate::dispatch) fn awaits_listing(&self, until: Timestamp) {
        self.queues.with(&self.distribution_id, |queue| {
            queue.listing = Listing::Runs { until };
        });
    }

    /// Ends the turn with the answer to its batch.
    pub(in crate::dispatch) fn resolved(
        mut self,
        batch: Uuid,
        resolution: Resolution,
        now: Timestamp,
    ) {
        let limit = self.queues.pools.limit;
        let id = &self.distribution_id;
        self.queues.note_answer(id, &resolution, now);
        self.end(|queue| queue.apply(batch, resolution, limit));
        self.queues.mark(&self.distribution_id);
    }

    /// Ends the turn with a plan that waits until its call may be made.
    pub(in crate::dispatch) fn planned(mut self, plan: Planned) {
        self.end(|queue| queue.have_planned(plan));
    }

    /// Ends the turn without a plan: all that waits has to wait for its rate.
    pub(in crate::dispatch) fn nothing_fits(mut self, now: Timestamp) {
        self.end(|queue| queue.not_before = Some(now + PAUSE));
        self.queues.mark(&self.distribution_id);
    }

    /// Ends the turn with the batches that the store has.
    pub(in crate::dispatch) fn recovered(
        mut self,
        unresolved: Vec<Unresolved>,
        in_progress: Usage,
    ) {
        self.end(|queue| queue.recover(unresolved, in_progress));
    }

    /// Ends the turn without a plan that can be sent, because it no longer fits the daily limit, or has to
    /// wait for a listing. A new one is made.
    pub(in crate::dispatch) fn replan(mut self) {
        self.end(|_| {});
        self.queues.mark(&self.distribution_id);
    }

    /// Ends the turn successfully, without a call.
    pub(in crate::dispatch) fn done(mut self) {
        self.end(super::queue::DistributionQueue::succeed);
        self.queues.mark(&self.distribution_id);
    }

    /// Ends the turn because of a store error; the distribution tries again after a pause.
    pub(in crate::dispatch) fn store_failed(mut self, error: &StoreError, now: Timestamp) {
        let pause = pause_after(error);
        self.end(|queue| {
            queue.not_before = Some(now + pause);
            queue.doubt();
            queue.refused = Some(Refused {
                error: error_chain(error),
                kind: None,
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
        let (calling, not_before) = (self.calling, self.began + PAUSE);
        self.end(|queue| {
            queue.not_before = Some(not_before);
            if let Some(batch) = calling {
                queue.lose_answer(batch);
            }
        });
        self.queues.mark(&self.distribution_id);
    }
}
