//! Counts what others have in progress at a distribution whose pool CloudFront reports as full, and
//! tracks it until it completes. No other distributions are listed.

use std::{collections::HashMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{
    Context, blind_spots::BlindSpots, queues::Queues, read_limiter::ReadLimiter,
    runner::error_chain,
};
use crate::{
    domain::{
        batch::Usage,
        cdn::CdnError,
        due::due_at,
        ledger::OthersInvalidation,
        tracking::{AWAITED_PAUSE, is_lasting},
    },
    ports::{Wakeup, dispatch::TrackingStore},
};

/// How long knowledge about others counts unless it is renewed.
const KNOWN_FOR: SignedDuration = SignedDuration::from_mins(2);
/// How soon a read that failed is repeated.
const RETRY_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// The most pages of a list that are read. Those in progress are among the newest.
const MAX_PAGES: usize = 5;

/// Invalidations in progress that purgefront did not create.
pub(super) struct OthersInvalidations {
    context: Context,
    store: Arc<dyn TrackingStore>,
    queues: Arc<Queues>,
    limiter: Arc<ReadLimiter>,
    by_distribution: HashMap<String, Others>,
}

/// Those of one distribution.
struct Others {
    /// Those that are in progress, as far as they have been read.
    counted: HashMap<String, Usage>,
    /// Listed as in progress, and still to be read: each with its time.
    unread: Vec<(String, Timestamp)>,
    /// When the next read is due.
    due_at: Timestamp,
    /// When all of this is forgotten if no read succeeds.
    until: Timestamp,
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

    /// When the next read is due.
    pub(super) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let all = self.by_distribution.values();
        all.map(|others| others.read_at(now)).min()
    }

    /// Makes one read at the distribution that has been due for longest, and returns whether one was
    /// due.
    pub(super) async fn look(&mut self, blind_spots: &mut BlindSpots) -> bool {
        let now = self.context.clock.now();
        for id in self.queues.take_full_pools() {
            let others = self.by_distribution.entry(id);
            let others = others.or_insert_with(|| Others::unknown(now));
            (others.due_at, others.until) = (now, now + KNOWN_FOR);
        }
        self.forget_expired(now);
        let due = self.by_distribution.iter();
        let due = due.filter(|(_, others)| others.read_at(now) <= now);
        let Some((id, _)) = due.min_by_key(|(_, others)| others.due_at) else {
            return false;
        };
        let id = id.clone();
        let Some(mut others) = self.by_distribution.remove(&id) else {
            return false;
        };
        let read = match others.unread.pop() {
            Some(one) => self.read(&id, one, &mut others, blind_spots).await,
            None => self.list(&id, &mut others).await,
        };
        let now = self.context.clock.now();
        if read.is_err() {
            others.due_at = now + RETRY_PAUSE;
        } else {
            others.until = now + KNOWN_FOR;
            if others.unread.is_empty() {
                self.queues.set_others(&id, others.usage(), others.until);
                self.context.wakeups.wake(Wakeup::ItemsWaiting);
                if others.counted.is_empty() {
                    return true;
                }
                others.due_at = now + AWAITED_PAUSE;
            } else {
                others.due_at = now;
            }
        }
        self.by_distribution.insert(id, others);
        true
    }

    /// The distribution is then due, and CloudFront reports again if its pool is full.
    fn forget_expired(&mut self, now: Timestamp) {
        for others in self.by_distribution.values_mut() {
            // The clock may have been set back.
            others.until = others.until.min(now + KNOWN_FOR);
        }
        let ids = self.by_distribution.iter();
        let ids = ids.filter(|(_, others)| others.until <= now);
        for id in ids.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.by_distribution.remove(&id);
            self.queues.set_others(&id, Usage::default(), now);
            self.context.wakeups.wake(Wakeup::ItemsWaiting);
        }
    }

    /// Lists the newest invalidations, and notes which of others have to be read.
    async fn list(&self, id: &str, others: &mut Others) -> Result<(), CdnError> {
        let mut open = HashMap::new();
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            self.limiter.turn().await;
            let cdn = &self.context.cdn;
            let page = cdn.newest_invalidations(id, marker.as_deref()).await;
            self.context.metrics.call("ListInvalidations", &page);
            let page = page?;
            let last_is_open = page.invalidations.last().is_some_and(|one| !one.completed);
            let in_progress = page.invalidations.into_iter().filter(|one| !one.completed);
            open.extend(in_progress.map(|one| (one.cloudfront_id, one.created_at)));
            marker = page.next_marker.filter(|_| last_is_open);
            if marker.is_none() {
                break;
            }
        }
        others.counted.retain(|one, _| open.contains_key(one));
        for (invalidation, created_at) in open {
            // If the store cannot say, it is taken as ours, whose items are counted already.
            let ours = self.store.is_ours(&invalidation).await;
            let ours = matches!(ours, Ok(true) | Err(_));
            if !ours && !others.counted.contains_key(&invalidation) {
                others.unread.push((invalidation, created_at));
            }
        }
        Ok(())
    }

    /// Reads how much of the pools an invalidation occupies.
    async fn read(
        &self,
        id: &str,
        (invalidation, created_at): (String, Timestamp),
        others: &mut Others,
        blind_spots: &mut BlindSpots,
    ) -> Result<(), CdnError> {
        self.limiter.turn().await;
        let seen = self.context.cdn.invalidation(id, &invalidation).await;
        self.context.metrics.call("GetInvalidation", &seen);
        blind_spots.note(id, &seen, self.context.clock.now());
        if let Ok(seen) = &seen {
            self.record(OthersInvalidation {
                distribution_id: id.to_owned(),
                cloudfront_id: invalidation.clone(),
                created_at,
                paths: seen.items.len(),
            })
            .await;
        }
        match seen {
            Ok(seen) if seen.completed => {}
            Ok(seen) => {
                let usage = Usage::of(seen.items.iter().map(String::as_str));
                others.counted.insert(invalidation, usage);
            }
            // It is not counted, and CloudFront reports again if the pool is full.
            Err(error) if is_lasting(&error) => {}
            Err(error) => {
                others.unread.push((invalidation, created_at));
                return Err(error);
            }
        }
        Ok(())
    }

    /// Adds an invalidation to the ledger, which is a lower bound: that it fails holds up nothing.
    async fn record(&self, one: OthersInvalidation) {
        // The client's word for a time that it cannot read.
        if one.created_at == Timestamp::MAX {
            return;
        }
        if let Err(error) = self.store.record_others(&one).await {
            tracing::debug!(
                distribution_id = one.distribution_id,
                cloudfront_id = one.cloudfront_id,
                error = error_chain(&error),
                "an invalidation of others is missing in the ledger"
            );
        }
    }
}

impl Others {
    fn unknown(now: Timestamp) -> Self {
        Self {
            counted: HashMap::new(),
            unread: Vec::new(),
            due_at: now,
            until: now + KNOWN_FOR,
        }
    }

    fn read_at(&self, now: Timestamp) -> Timestamp {
        due_at(self.due_at, AWAITED_PAUSE, now)
    }

    fn usage(&self) -> Usage {
        let counted = self.counted.values().copied();
        counted.fold(Usage::default(), Usage::plus)
    }
}
