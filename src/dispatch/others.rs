//! Counts what others have in progress at a distribution whose pool CloudFront reports as full, and
//! tracks it until it completes. No other distributions are listed.

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

/// Invalidations in progress that purgefront did not create.
pub(super) struct OthersInvalidations {
    context: Context,
    store: Arc<dyn TrackingStore>,
    queues: Arc<Queues>,
    limiter: Arc<ReadLimiter>,
    by_distribution: HashMap<String, InProgress>,
}

/// Those of one distribution, and when to check them again.
struct InProgress {
    invalidations: HashMap<String, Usage>,
    check_at: Timestamp,
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

    /// When the next check is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.by_distribution.values().map(|one| one.check_at).min()
    }

    /// Checks the distributions whose pool was reported as full, and those whose next check is due.
    pub(super) async fn check_due(&mut self) {
        for id in self.queues.take_full_pools() {
            self.check(&id).await;
        }
        let now = self.context.clock.now();
        let due = self
            .by_distribution
            .iter()
            .filter(|(_, one)| one.check_at <= now);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.check(&id).await;
        }
    }

    async fn check(&mut self, id: &str) {
        let Some(open) = self.list_open(id).await else {
            // The queue's assumption about others then expires.
            self.by_distribution.remove(id);
            return;
        };
        let known = self.by_distribution.remove(id);
        let mut known = known.map_or_else(HashMap::new, |one| one.invalidations);
        known.retain(|invalidation, _| open.contains(invalidation));
        for invalidation in open {
            // If the store cannot say, it is taken as ours, whose items are counted already.
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
                check_at: self.context.clock.now() + AWAITED_PAUSE,
            };
            self.by_distribution.insert(id.to_owned(), in_progress);
        }
    }

    /// The newest invalidations that are not completed; `None` if they could not be listed.
    async fn list_open(&self, id: &str) -> Option<HashSet<String>> {
        self.limiter.turn().await;
        let listed = self.context.cdn.newest_invalidations(id, None).await;
        self.count("ListInvalidations", &listed);
        let open = listed
            .ok()?
            .invalidations
            .into_iter()
            .filter(|one| !one.completed);
        Some(open.map(|one| one.cloudfront_id).collect())
    }

    /// How much of the pools an invalidation occupies; `None` if it has completed.
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
