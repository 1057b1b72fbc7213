//! Learns what others have in progress where CloudFront called a pool full, and follows it to its
//! end. Nobody pays for these listings in quiet times.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::{Context, queues::Queues, read_limiter::ReadLimiter, tracker::AWAITED_PAUSE};
use crate::{
    domain::{batch::Usage, cdn::CdnError},
    ports::{Wakeup, dispatch::TrackingStore},
};

/// Invalidations that others made.
pub(super) struct OthersInvalidations {
    context: Context,
    store: Arc<dyn TrackingStore>,
    queues: Arc<Queues>,
    limiter: Arc<ReadLimiter>,
    by_distribution: HashMap<String, InProgress>,
}

/// What others have in progress at a distribution, and when to look again.
struct InProgress {
    invalidations: HashMap<String, Usage>,
    look_at: Timestamp,
}

impl OthersInvalidations {
    pub(super) fn new(
        context: &Context,
        store: Arc<dyn TrackingStore>,
        queues: Arc<Queues>,
        limiter: Arc<ReadLimiter>,
    ) -> Self {
        Self {
            context: context.clone(),
            store,
            queues,
            limiter,
            by_distribution: HashMap::new(),
        }
    }

    /// When the next look is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.by_distribution.values().map(|one| one.look_at).min()
    }

    /// Looks where a pool was called full, and where the last look is old enough.
    pub(super) async fn look(&mut self) {
        for id in self.queues.take_full_pools() {
            self.look_at(&id).await;
        }
        let now = self.context.clock.now();
        let due = self
            .by_distribution
            .iter()
            .filter(|(_, one)| one.look_at <= now);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.look_at(&id).await;
        }
    }

    async fn look_at(&mut self, id: &str) {
        let Some(open) = self.list_open(id).await else {
            // What is believed of others then ends by itself.
            self.by_distribution.remove(id);
            return;
        };
        let known = self.by_distribution.remove(id);
        let mut known = known.map_or_else(HashMap::new, |one| one.invalidations);
        known.retain(|invalidation, _| open.contains(invalidation));
        for invalidation in open {
            // What the store knows is ours.
            let ours = self.store.is_ours(&invalidation).await;
            let ours = matches!(ours, Ok(true) | Err(_));
            if ours || known.contains_key(&invalidation) {
                continue;
            }
            if let Some(usage) = self.usage_of(id, &invalidation).await {
                known.insert(invalidation, usage);
            }
        }
        let total = known.values().copied();
        let total = total.fold(Usage::default(), Usage::plus);
        self.queues.set_others(id, total);
        self.context.wakeups.wake(Wakeup::ItemsWaiting);
        if !known.is_empty() {
            let in_progress = InProgress {
                invalidations: known,
                look_at: self.context.clock.now() + AWAITED_PAUSE,
            };
            self.by_distribution.insert(id.to_owned(), in_progress);
        }
    }

    /// The newest invalidations that are not completed; `None` where they could not be listed.
    async fn list_open(&self, id: &str) -> Option<HashSet<String>> {
        self.limiter.turn().await;
        let listed = self.context.cdn.newest_invalidations(id).await;
        self.count("ListInvalidations", &listed);
        let open = listed.ok()?.into_iter().filter(|one| !one.completed);
        Some(open.map(|one| one.cloudfront_id).collect())
    }

    /// What an invalidation takes of the pools, as long as it is in progress.
    async fn usage_of(&self, id: &str, invalidation: &str) -> Option<Usage> {
        self.limiter.turn().await;
        let seen = self.context.cdn.invalidation(id, invalidation).await;
        self.count("GetInvalidation", &seen);
        let seen = seen.ok().filter(|seen| !seen.completed)?;
        Some(Usage::of(seen.items.iter().map(String::as_str)))
    }

    fn count<T>(&self, operation: &'static str, result: &Result<T, CdnError>) {
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        self.context.metrics.call(operation, outcome);
    }
}
