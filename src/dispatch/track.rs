//! Follows invalidations, by their own ids, until CloudFront calls them completed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::{Context, Pace, STORE_PAUSE, queues::Queues};
use crate::{
    domain::batch::Usage,
    ports::{CdnError, Look, StoreError, Tracked},
};

/// Invalidations looked at before the store is asked again which are due.
const CHUNK: usize = 100;
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// The longest pause while others wait for the pool to empty.
const AWAITED_PAUSE: SignedDuration = SignedDuration::from_secs(20);

/// The worker that looks.
pub(super) struct Tracker {
    context: Context,
    queues: Arc<Queues>,
    pace: Arc<Pace>,
    random: fastrand::Rng,
    /// Invalidations that others made, by distribution, and when to look at them again.
    foreign: HashMap<String, Foreign>,
}

/// What others have in progress at a distribution.
struct Foreign {
    invalidations: HashMap<String, Usage>,
    look_at: Timestamp,
}

impl Tracker {
    pub(super) fn new(context: Context, queues: Arc<Queues>, pace: Arc<Pace>, seed: u64) -> Self {
        Self {
            context,
            queues,
            pace,
            random: fastrand::Rng::with_seed(seed ^ 2),
            foreign: HashMap::new(),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled_owned(async move {
            loop {
                self.look_at_foreign().await;
                let next_at = match self.look_at_due().await {
                    Ok(next_at) => next_at,
                    Err(error) => {
                        tracing::warn!(%error, "invalidations are not followed for a moment");
                        Some(self.context.clock.now() + STORE_PAUSE)
                    }
                };
                let foreign_at = self.foreign.values().map(|foreign| foreign.look_at).min();
                let next_at = next_at.into_iter().chain(foreign_at).min();
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
        let id = &tracked.distribution_id;
        let seen = cdn.invalidation(id, &tracked.cloudfront_id).await;
        self.count("GetInvalidation", &seen);
        let now = clock.now();
        let completed = match seen {
            Ok(seen) => seen.completed,
            Err(error) => {
                tracing::debug!(cloudfront_id = %tracked.cloudfront_id, %error, "not seen");
                false
            }
        };
        let look = if completed {
            Look::Completed
        } else {
            Look::Again(now + self.pause(now, &tracked))
        };
        store.record_look(tracked.batch, look, now).await?;
        if completed {
            let took = now.duration_since(tracked.submitted_at);
            metrics.propagated(id, took.as_secs_f64());
            metrics.completed(now.duration_since(tracked.oldest).as_secs_f64());
            self.queues.release(id, tracked.usage);
            self.context.signals.planned.notify_one();
        }
        Ok(())
    }

    /// The older an invalidation, the longer until the next look, with some jitter.
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

    /// Learns what others have in progress where `CloudFront` called a pool full, and follows
    /// it to its end. Nobody pays for these listings in quiet times.
    async fn look_at_foreign(&mut self) {
        for id in self.queues.take_crowded() {
            self.list_foreign(&id).await;
        }
        let now = self.context.clock.now();
        let due = self
            .foreign
            .iter()
            .filter(|(_, foreign)| foreign.look_at <= now);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.list_foreign(&id).await;
        }
    }

    async fn list_foreign(&mut self, id: &str) {
        let Context {
            cdn, clock, store, ..
        } = self.context.clone();
        self.pace.turn().await;
        let listed = cdn.newest_invalidations(id).await;
        self.count("ListInvalidations", &listed);
        let Ok(listed) = listed else {
            // What is believed of others then ends by itself.
            self.foreign.remove(id);
            return;
        };
        let open: HashSet<_> = listed
            .into_iter()
            .filter(|(_, done)| !done)
            .map(|(id, _)| id)
            .collect();
        let mut known = self
            .foreign
            .remove(id)
            .map_or_else(HashMap::new, |foreign| foreign.invalidations);
        known.retain(|invalidation, _| open.contains(invalidation));
        for invalidation in open {
            // What the store knows is ours.
            let ours = matches!(store.is_ours(&invalidation).await, Ok(true) | Err(_));
            if ours || known.contains_key(&invalidation) {
                continue;
            }
            self.pace.turn().await;
            let seen = cdn.invalidation(id, &invalidation).await;
            self.count("GetInvalidation", &seen);
            if let Ok(seen) = seen
                && !seen.completed
            {
                known.insert(invalidation, usage_of(&seen.items));
            }
        }
        let total = known
            .values()
            .fold(Usage::default(), |sum, usage| sum.plus(*usage));
        self.queues.set_foreign(id, total);
        self.context.signals.planned.notify_one();
        if !known.is_empty() {
            let foreign = Foreign {
                invalidations: known,
                look_at: clock.now() + AWAITED_PAUSE,
            };
            self.foreign.insert(id.to_owned(), foreign);
        }
    }

    fn count<T>(&self, operation: &'static str, result: &Result<T, CdnError>) {
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        self.context.metrics.call(operation, outcome);
    }
}

fn usage_of(items: &[String]) -> Usage {
    let is_wildcard = |item: &&String| item.starts_with('/') && item.ends_with('*');
    let wildcards = items.iter().filter(is_wildcard).count();
    Usage {
        paths: items.len() - wildcards,
        wildcards,
    }
}
