//! Tracks our invalidations until CloudFront reports them as completed.

use std::{collections::VecDeque, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Context, Settings, blind_spots::BlindSpots, others::OthersInvalidations, queues::Queues,
    read_limiter::ReadLimiter, runner::Worker, status_board::StatusBoard,
};
use crate::{
    domain::{
        cdn::CdnError,
        tracking::{NextPolls, StatusPoll, Tracked},
    },
    ports::{StoreError, Wakeup, dispatch::TrackingStore},
};

/// The most invalidations that are chosen at a time: with the default rate of reads, a few seconds'
/// worth, so that a pool that fills up meanwhile does not wait long.
const CHOSEN: usize = 8;

pub(super) struct Tracker {
    context: Context,
    store: Arc<dyn TrackingStore>,
    queues: Arc<Queues>,
    limiter: Arc<ReadLimiter>,
    random: fastrand::Rng,
    others: OthersInvalidations,
    blind_spots: BlindSpots,
    board: StatusBoard,
    /// The next to be polled.
    chosen: VecDeque<Tracked>,
    choose_at: Option<Timestamp>,
}

impl Tracker {
    pub(super) fn new(
        context: &Context,
        settings: &Settings,
        store: Arc<dyn TrackingStore>,
        queues: Arc<Queues>,
        limiter: Arc<ReadLimiter>,
        board: StatusBoard,
    ) -> Self {
        let others = OthersInvalidations::new(
            context,
            Arc::clone(&store),
            Arc::clone(&queues),
            Arc::clone(&limiter),
        );
        Self {
            context: context.clone(),
            store,
            queues,
            limiter,
            random: fastrand::Rng::with_seed(settings.seed ^ 2),
            others,
            blind_spots: BlindSpots::new(board.clone()),
            board,
            chosen: VecDeque::new(),
            choose_at: None,
        }
    }

    /// Makes one poll, and returns whether one was due.
    async fn poll_next(&mut self) -> Result<bool, StoreError> {
        if self.chosen.is_empty() {
            let in_progress = self.store.in_progress().await?;
            let since = in_progress.iter().map(|one| one.submitted_at).min();
            self.board.update(|status| status.in_progress_since = since);
            let now = self.context.clock.now();
            let awaited = |id: &str| self.queues.is_full(id, now);
            let polls = NextPolls::choose(in_progress, awaited, now, CHOSEN);
            self.chosen = polls.due.into();
            self.choose_at = polls.choose_at;
        }
        let Some(tracked) = self.chosen.pop_front() else {
            return Ok(false);
        };
        self.poll(&tracked).await?;
        Ok(true)
    }

    async fn poll(&mut self, tracked: &Tracked) -> Result<(), StoreError> {
        let id = &tracked.distribution_id;
        self.limiter.turn().await;
        let seen = self
            .context
            .cdn
            .invalidation(id, &tracked.cloudfront_id)
            .await;
        self.context.metrics.call("GetInvalidation", &seen);
        let now = self.context.clock.now();
        self.blind_spots.note(id, &seen, now);
        let completed = match &seen {
            Ok(seen) => seen.completed,
            Err(error) => self.is_taken_as_completed(tracked, error, now),
        };
        let poll = if completed {
            StatusPoll::Completed
        } else {
            let awaited = self.queues.is_full(id, now);
            let pause = tracked.pause(awaited, now, self.random.f64());
            StatusPoll::Again(now + pause)
        };
        let recorded = self.store.record_poll(tracked.batch, poll, now).await;
        if recorded.is_err() {
            // If it was recorded after all, it is never polled again.
            self.queues.doubt(id);
        }
        recorded?;
        if completed {
            self.completed(tracked, seen.is_ok(), now).await?;
        }
        Ok(())
    }

    fn is_taken_as_completed(
        &mut self,
        tracked: &Tracked,
        error: &CdnError,
        now: Timestamp,
    ) -> bool {
        let (id, cloudfront_id) = (&tracked.distribution_id, &tracked.cloudfront_id);
        if !tracked.is_taken_as_completed(error, now) {
            tracing::debug!(distribution_id = %id, %cloudfront_id, %error,
                "the invalidation could not be read");
            return false;
        }
        tracing::warn!(distribution_id = %id, %cloudfront_id, %error,
            "an invalidation that cannot be read is taken as completed");
        if !matches!(error, CdnError::Denied(_) | CdnError::NotConfigured { .. }) {
            // What is gone stays gone: nobody can do anything about it.
            self.blind_spots.remove(id);
        }
        true
    }

    /// Lets what waits for the invalidation's room go.
    async fn completed(
        &self,
        tracked: &Tracked,
        was_seen: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let id = &tracked.distribution_id;
        self.queues.release(id, tracked.usage);
        self.context.wakeups.wake(Wakeup::ItemsWaiting);
        self.context.wakeups.wake(Wakeup::NoticesWaiting);
        tracing::debug!(
            distribution_id = %id,
            invalidation = %tracked.batch,
            cloudfront_id = %tracked.cloudfront_id,
            "invalidation completed"
        );
        if was_seen {
            let metrics = &self.context.metrics;
            let took = now.duration_since(tracked.submitted_at);
            metrics.propagated(id, took.as_secs_f64());
            let oldest = self.store.oldest_change(tracked.batch).await?;
            let oldest = oldest.unwrap_or(tracked.submitted_at);
            metrics.completed(now.duration_since(oldest).as_secs_f64());
        }
        Ok(())
    }
}

#[async_trait]
impl Worker for Tracker {
    fn name(&self) -> &'static str {
        "tracker"
    }

    /// Looks at others' invalidations and polls our own by turns, one read each, so that neither
    /// has to wait until nothing else is due.
    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let looked = self.others.look(&mut self.blind_spots).await;
            let polled = self.poll_next().await?;
            if !looked && !polled {
                break;
            }
        }
        let now = self.context.clock.now();
        self.blind_spots.expire(now);
        let next_at = self.choose_at.into_iter().chain(self.others.next_at(now));
        Ok(next_at.min())
    }

    async fn woken(&mut self) {
        let wakeups = &self.context.wakeups;
        wakeups.woken(Wakeup::InvalidationCreated).await;
    }
}
