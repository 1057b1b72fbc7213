//! Follows invalidations, by their own ids, until CloudFront calls them completed.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{Context, Pace, STORE_PAUSE};
use crate::ports::{CdnError, Look, StoreError, Tracked};

/// Invalidations looked at before the store is asked again which are due.
const CHUNK: usize = 100;
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// The worker that looks.
pub(super) struct Tracker {
    context: Context,
    pace: Arc<Pace>,
    random: fastrand::Rng,
}

impl Tracker {
    pub(super) fn new(context: Context, pace: Arc<Pace>, seed: u64) -> Self {
        Self {
            context,
            pace,
            random: fastrand::Rng::with_seed(seed ^ 2),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(async move {
            loop {
                let next_at = match self.look_at_due().await {
                    Ok(next_at) => next_at,
                    Err(error) => {
                        tracing::warn!(%error, "invalidations are not followed for a moment");
                        Some(self.context.clock.now() + STORE_PAUSE)
                    }
                };
                let Context { clock, signals, .. } = &self.context;
                tokio::select! {
                    () = signals.submitted.notified() => {}
                    () = clock.sleep_until(next_at.unwrap_or(Timestamp::MAX)), if next_at.is_some() => {}
                }
            }
        })
        .await;
    }

    /// Looks at all that are due; says when the next one is.
    async fn look_at_due(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let now = self.context.clock.now();
            let looks = self.context.store.due_looks(now, CHUNK).await?;
            if looks.due.is_empty() {
                return Ok(looks.next_at);
            }
            for tracked in looks.due {
                self.look_at(tracked).await?;
            }
        }
    }

    async fn look_at(&mut self, tracked: Tracked) -> Result<(), StoreError> {
        self.pace.turn().await;
        let Context {
            cdn,
            clock,
            metrics,
            store,
            ..
        } = self.context.clone();
        let seen = cdn
            .is_completed(&tracked.distribution_id, &tracked.cloudfront_id)
            .await;
        let outcome = seen.as_ref().map_or_else(CdnError::label, |_| "ok");
        metrics.call("GetInvalidation", outcome);
        let now = clock.now();
        let look = match seen {
            Ok(true) => Look::Completed,
            Ok(false) => Look::Again(now + self.pause(now, &tracked)),
            Err(error) => {
                tracing::debug!(cloudfront_id = %tracked.cloudfront_id, %error, "not seen");
                Look::Again(now + self.pause(now, &tracked))
            }
        };
        store.record_look(tracked.batch, look, now).await
    }

    /// The older an invalidation, the longer until the next look, with some jitter.
    fn pause(&mut self, now: Timestamp, tracked: &Tracked) -> SignedDuration {
        let age = now.duration_since(tracked.submitted_at);
        let pause = (age / 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        pause.mul_f64(0.9 + self.random.f64() / 5.0)
    }
}
