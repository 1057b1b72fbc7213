//! Wake-ups: hints to workers that there may be work.
//!
//! They carry no data, and losing one only causes a delay, because workers also poll the store.
//! Within one process they are in-memory notifications; replicas send them through their database,
//! because the worker that waits may be another process's, and the leader's work is done in one.

use async_trait::async_trait;

/// The kinds of wake-ups. Each is awaited by one worker of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// There are changes to map.
    ChangesAccepted,
    /// There is a subscription to confirm.
    SubscriptionAccepted,
    /// A distribution has new waiting items, or room for some.
    ItemsWaiting,
    /// An invalidation was created, or CloudFront reported a full pool.
    InvalidationCreated,
    /// An operator paused or resumed sending, ended pauses, lifted the daily limit, or replayed a dead letter.
    OperatorActed,
    /// The account should be read now instead of at the next regular refresh.
    CatalogueWanted,
    /// The store has a newer catalogue.
    CatalogueKept,
    /// There may be notices to deliver.
    NoticesWaiting,
    /// Nobody leads any more.
    LeaseReleased,
}

impl Wakeup {
    pub const ALL: [Self; 9] = [
        Self::ChangesAccepted,
        Self::SubscriptionAccepted,
        Self::ItemsWaiting,
        Self::InvalidationCreated,
        Self::OperatorActed,
        Self::CatalogueWanted,
        Self::CatalogueKept,
        Self::NoticesWaiting,
        Self::LeaseReleased,
    ];
}

#[async_trait]
pub trait Wakeups: Send + Sync + 'static {
    /// Wakes the waiting worker, or the next one that waits.
    fn wake(&self, wakeup: Wakeup);

    /// Returns once there has been a wake-up since the last return. Cancel-safe.
    async fn woken(&self, wakeup: Wakeup);
}
