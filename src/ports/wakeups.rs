//! Wake-ups: hints that there may be something to do.
//!
//! They carry no data, and one that is lost costs a delay and nothing else: whoever waits for them
//! looks at the store from time to time anyway. Within one process they are notifies; several
//! replicas will send them through their database.

use async_trait::async_trait;

/// What may have something to do. Each kind is waited for by one worker of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakeup {
    /// Changes wait to be mapped.
    ChangesAccepted,
    /// A subscription waits to be confirmed.
    SubscriptionAccepted,
    /// Items wait at a distribution, or one has room again.
    ItemsWaiting,
    /// An invalidation was created, or a pool is full of others'.
    InvalidationCreated,
    /// An operator paused, resumed, lifted the day's limit or replayed a dead letter.
    OperatorActed,
    /// The catalogue should be read sooner than its timer says.
    CatalogueWanted,
    /// The store has a newer catalogue.
    CatalogueKept,
}

impl Wakeup {
    pub const ALL: [Self; 7] = [
        Self::ChangesAccepted,
        Self::SubscriptionAccepted,
        Self::ItemsWaiting,
        Self::InvalidationCreated,
        Self::OperatorActed,
        Self::CatalogueWanted,
        Self::CatalogueKept,
    ];
}

#[async_trait]
pub trait Wakeups: Send + Sync + 'static {
    /// Wakes whoever waits for it, or the next one who does.
    fn wake(&self, wakeup: Wakeup);

    /// Returns when it was given since the last time. Dropping the future loses nothing.
    async fn woken(&self, wakeup: Wakeup);
}
