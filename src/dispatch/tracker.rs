//! Tracks our invalidations until CloudFront reports them as completed.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use super::{
    Context, Settings, others::OthersInvalidations, queues::Queues, read_limiter::ReadLimiter,
    runner::Worker,
};
use crate::{
    domain::{
        cdn::CdnError,
        tracking::{StatusPoll, Tracked},
    },
    ports::{StoreError, Wakeup, dispatch::TrackingStore},
};

/// The most due invalidations that are read from the store at a time.
const CHUNK: usize = 100;
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// The longest pause while items wait for room in the pool.
pub(super) const AWAITED_PAUSE: SignedDuration = SignedDuration::from_secs(20);

pub(super) struct Tracker {
    context: Context,
    store: Arc<dyn TrackingStore>,
    queues: Arc<Queues>,
    limiter: Arc<ReadLimiter>,
    random: fastrand::Rng,
    others: OthersInvalidations,
}

impl Tracker {
    pub(super) fn new(
        context: &Context,
        settings: &Settings,
        store: Arc<dyn TrackingStore>,
        queues: Arc<Queues>,
        limiter: Arc<ReadLimiter>,
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
        }
    }

    /// Polls all due invalidations, and returns when the next one is due.
    async fn poll_due(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let now = self.context.clock.now();
            let polls = self.store.due_polls(now, CHUNK).await?;
            if polls.due.is_empty() {
                return Ok(polls.next_at);
            }
            for tracked in polls.due {
                self.poll(&tracked).await?;
            }
        }
    }

    async fn poll(&mut self, tracked: &Tracked) -> Result<(), StoreError> {
        let id = &tracked.distribution_id;
        self.limiter.turn().await;
        let seen = self
            .context
            .cdn
            .invalidation(id, &tracked.cloudfront_id)
            .await;
        let outcome = seen.as_ref().map_or_else(CdnError::label, |_| "ok");
        let metrics = &self.context.metrics;
        metrics.call("GetInvalidation", outcome);
        let now = self.context.clock.now();
        let completed = match seen {
            Ok(seen) => seen.completed,
            Err(error) => {
                tracing::debug!(cloudfront_id = %tracked.cloudfront_id, %error, "the invalidation could not be read");
                false
            }
        };
        let poll = if completed {
            StatusPoll::Completed
        } else {
            StatusPoll::Again(now + self.pause(now, tracked))
        };
        self.store.record_poll(tracked.batch, poll, now).await?;
        if completed {
            tracing::debug!(
                distribution_id = %id,
                invalidation = %tracked.batch,
                cloudfront_id = %tracked.cloudfront_id,
                "invalidation completed"
            );
            let metrics = &self.context.metrics;
            let took = now.duration_since(tracked.submitted_at);
            metrics.propagated(id, took.as_secs_f64());
            metrics.completed(now.duration_since(tracked.oldest).as_secs_f64());
            self.queues.release(id, tracked.usage);
            self.context.wakeups.wake(Wakeup::ItemsWaiting);
        }
        Ok(())
    }

    /// The pause until the next poll: it grows with the invalidation's age, with some jitter.
    fn pause(&mut self, now: Timestamp, tracked: &Tracked) -> SignedDuration {
        let age = now.duration_since(tracked.submitted_at);
        let awaited = self.queues.is_full(&tracked.distribution_id, now);
        let longest = if awaited {
            AWAITED_PAUSE
        } else {
            LONGEST_PAUSE
        };
        let pause = (age / 2).clamp(SHORTEST_PAUSE, longest);
        pause.mul_f64(0.8 + self.random.f64() / 5.0)
    }
}

#[async_trait]
impl Worker for Tracker {
    fn name(&self) -> &'static str {
        "tracker"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.others.check_due().await;
        let next_at = self.poll_due().await?;
        Ok(next_at.into_iter().chain(self.others.next_at()).min())
    }

    async fn woken(&mut self) {
        let wakeups = &self.context.wakeups;
        wakeups.woken(Wakeup::InvalidationCreated).await;
    }
}
