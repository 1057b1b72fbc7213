//! What the work behind the 2xx needs of the store, given out by a leader's handle.
//!
//! Every write here belongs to the one process that leads planning and dispatch. It is made through
//! a handle that carries the leader's epoch, so that a store shared by several processes can refuse
//! the writes of one whose time is over.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use super::StoreError;
use crate::domain::{
    batch::{Batch, Covered, DistributionBacklog, DistributionUsage},
    catalogue::Snapshot,
    change::{Change, LateDistribution, MappedChange, Remap, RemappedChange, Unmapped},
    consolidate::Waiting,
    operations::{Backoff, Controls},
    resolution::{Resolution, Unresolved},
    subscription::{ConfirmationResult, PendingConfirmation},
    tracking::{DuePolls, StatusPoll},
};

/// Which leader in a row writes: each one's is higher than all before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// Gives out the handle that a leader works with.
pub trait LeaderStore: Send + Sync + 'static {
    fn lead(&self, epoch: Epoch) -> Arc<dyn DispatchStore>;
}

/// A leader's handle.
pub trait DispatchStore: MappingStore + BatchStore + TrackingStore + UpkeepStore {}

impl<T: MappingStore + BatchStore + TrackingStore + UpkeepStore> DispatchStore for T {}

/// From the journal to waiting items.
#[async_trait]
pub trait MappingStore: Send + Sync + 'static {
    /// Changes that nobody has looked at yet: people's first, then the oldest.
    async fn unseen_changes(&self, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// Changes after `seq` that wait for the catalogue, the oldest first.
    async fn parked_changes(&self, after: i64, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// How much is not mapped, parked or unseen.
    async fn unmapped(&self) -> Result<Unmapped, StoreError>;

    /// Records what mapping made of changes.
    async fn record_mapping(&self, mapped: Vec<MappedChange>) -> Result<(), StoreError>;

    /// Keeps a catalogue in place of the one before, and notes what is to be mapped again.
    async fn keep_catalogue(
        &self,
        snapshot: &Snapshot,
        late: &[LateDistribution],
    ) -> Result<(), StoreError>;

    /// The oldest note of changes that are to be mapped again to a distribution.
    async fn next_remap(&self) -> Result<Option<Remap>, StoreError>;

    /// The next changes of such a note that were mapped before.
    async fn changes_to_remap(
        &self,
        remap: &Remap,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError>;

    /// Records what mapping these changes again gave, each item once; the note goes on after the
    /// last of them, or is done where there are none.
    async fn record_remap(
        &self,
        remap: &Remap,
        mapped: Vec<RemappedChange>,
    ) -> Result<(), StoreError>;
}

/// From waiting items to CloudFront's answer.
#[async_trait]
pub trait BatchStore: Send + Sync + 'static {
    /// What waits at these distributions, or at all that have something waiting.
    async fn backlogs(
        &self,
        distributions: Option<&[String]>,
    ) -> Result<Vec<DistributionBacklog>, StoreError>;

    /// What waits at a distribution: people's first, then the oldest.
    async fn waiting(
        &self,
        distribution_id: &str,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError>;

    /// Freezes a batch with which waiting items it covers, counts its items for the day, and
    /// records its first attempt; in shadow mode there is none of either.
    async fn freeze(
        &self,
        batch: &Batch,
        covered: Vec<Covered>,
        shadow: bool,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The batches without a final answer.
    async fn unresolved(&self) -> Result<Vec<Unresolved>, StoreError>;

    /// Items in progress, ours, by distribution.
    async fn usages(&self) -> Result<Vec<DistributionUsage>, StoreError>;

    /// Records that another attempt with a batch is about to leave.
    async fn record_attempt(&self, batch: Uuid, now: Timestamp) -> Result<(), StoreError>;

    /// Records what followed from an attempt.
    async fn record_resolution(
        &self,
        batch: Uuid,
        resolution: &Resolution,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The backoffs that outlive a restart.
    async fn backoffs(&self) -> Result<Vec<Backoff>, StoreError>;

    /// What is paused, and what was spent on a day (in UTC).
    async fn controls(&self, day: Date) -> Result<Controls, StoreError>;
}

/// From an invalidation to completed.
#[async_trait]
pub trait TrackingStore: Send + Sync + 'static {
    /// Invalidations that are due to be looked at, and when the first of the others is.
    async fn due_polls(&self, now: Timestamp, limit: usize) -> Result<DuePolls, StoreError>;

    /// Records what a look at an invalidation showed.
    async fn record_poll(
        &self,
        batch: Uuid,
        poll: StatusPoll,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Whether one of CloudFront's invalidations is one that we made.
    async fn is_ours(&self, cloudfront_id: &str) -> Result<bool, StoreError>;
}

/// Confirming subscriptions, and forgetting history.
#[async_trait]
pub trait UpkeepStore: Send + Sync + 'static {
    /// Subscriptions that wait to be confirmed, by due time.
    async fn pending_confirmations(&self) -> Result<Vec<PendingConfirmation>, StoreError>;

    async fn record_confirmation(
        &self,
        confirmation: &PendingConfirmation,
        result: ConfirmationResult,
    ) -> Result<(), StoreError>;

    /// Deletes some history from before `cutoff`, never what is open. True where there is more.
    async fn prune(&self, cutoff: Timestamp) -> Result<bool, StoreError>;
}
