//! What the background work needs of the store, through the leader's handle.
//!
//! Only the process that leads planning and dispatch writes here. Its handle carries its epoch, so
//! that a store shared by several processes can refuse the writes of a former leader.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use super::{NoticeStore, StoreError};
use crate::domain::{
    batch::{Batch, Covered, DistributionBacklog, DistributionUsage},
    catalogue::{Revision, Snapshot},
    change::{Change, MappedChange, NewRequest, Remap, Unmapped},
    consolidate::Waiting,
    ledger::OthersInvalidation,
    operations::{Backoff, Controls},
    path::Item,
    resolution::{Resolution, Unresolved},
    subscription::{ConfirmationResult, PendingConfirmation},
    tracking::{StatusPoll, Tracked},
    wait::{OpenWait, Wait},
};

/// The number of a leader's term; each new leader has a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub i64);

/// Issues the leader's handle.
pub trait LeaderStore: Send + Sync + 'static {
    fn lead(&self, epoch: Epoch) -> Arc<dyn DispatchStore>;
}

/// The leader's handle.
pub trait DispatchStore:
    MappingStore + BatchStore + TrackingStore + UpkeepStore + NoticeStore
{
}

impl<T> DispatchStore for T where
    T: MappingStore + BatchStore + TrackingStore + UpkeepStore + NoticeStore
{
}

/// Mapping changes from the journal to waiting items.
#[async_trait]
pub trait MappingStore: Send + Sync + 'static {
    /// Changes that nobody has looked at yet: manual ones first, then the oldest.
    async fn unseen_changes(&self, limit: usize) -> Result<Vec<Change>, StoreError>;

    /// What changes wait for, each once, with the first change that does.
    async fn open_waits(&self) -> Result<Vec<OpenWait>, StoreError>;

    /// The oldest changes that wait for this, up to and including the number `through`.
    async fn waiting_changes(
        &self,
        wait: &Wait,
        through: i64,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError>;

    /// The changes that are unseen or wait.
    async fn unmapped(&self) -> Result<Unmapped, StoreError>;

    /// Records the results of mapping with the catalogue `by`: for the distributions that a change was
    /// mapped to, they replace what it waited for there and why it needed nothing, and add the items
    /// and dead letters that it does not have yet.
    async fn record_mapping(
        &self,
        by: Revision,
        mapped: Vec<MappedChange>,
    ) -> Result<(), StoreError>;

    /// The number of the last change that was accepted.
    async fn journal_end(&self) -> Result<i64, StoreError>;

    /// Replaces the saved catalogue. Notes that changes have to be mapped again to the distributions
    /// `late`, which were missing or different in the previous one: those after that one's
    /// `journal_end` that are mapped with an older catalogue than this. Adds these requests to the
    /// journal, all in one transaction.
    async fn keep_catalogue(
        &self,
        snapshot: &Snapshot,
        late: &[String],
        requests: Vec<NewRequest>,
    ) -> Result<(), StoreError>;

    /// The oldest such note.
    async fn next_remap(&self) -> Result<Option<Remap>, StoreError>;

    /// The next changes of a note: objects that somebody has looked at.
    async fn changes_to_remap(
        &self,
        remap: &Remap,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError>;

    /// Records the results of mapping changes of a note again, each to one distribution, as
    /// `record_mapping` does, and advances the note to after the number `through`, or deletes it.
    async fn record_remap(
        &self,
        remap: &Remap,
        through: Option<i64>,
        mapped: Vec<MappedChange>,
    ) -> Result<(), StoreError>;
}

/// How many waiting items are read: exact paths and wildcards each up to these limits, and at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub items: usize,
    /// Of their text.
    pub bytes: usize,
}

/// Freezing waiting items into batches and recording CloudFront's answers.
#[async_trait]
pub trait BatchStore: Send + Sync + 'static {
    /// The backlogs of these distributions, or of all that have one.
    async fn backlogs(
        &self,
        distributions: Option<&[String]>,
    ) -> Result<Vec<DistributionBacklog>, StoreError>;

    /// A distribution's waiting items: manual ones first, then the oldest.
    async fn waiting(
        &self,
        distribution_id: &str,
        window: Window,
    ) -> Result<Vec<Waiting>, StoreError>;

    /// Those of a batch's items that recent invalidations of its distribution have.
    async fn taken_before(&self, batch: Uuid) -> Result<HashSet<Item>, StoreError>;

    /// The wildcards that merging made for batches of a distribution that were frozen at this time or later, in
    /// no order, and one of them perhaps more than once: also those that CloudFront rejected and, in shadow
    /// mode, those that were never sent. Not those of batches that were replaced: their parts have them, or
    /// nothing came of them.
    async fn made_since(
        &self,
        distribution_id: &str,
        since: Timestamp,
    ) -> Result<Vec<Item>, StoreError>;

    /// Freezes a batch, marks the waiting items that it covers, and records its first attempt. In
    /// shadow mode, the last does not apply.
    async fn freeze(
        &self,
        batch: &Batch,
        covered: Vec<Covered>,
        shadow: bool,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The batches without a definite answer.
    async fn unresolved(&self) -> Result<Vec<Unresolved>, StoreError>;

    /// Our items in progress by distribution.
    async fn usages(&self) -> Result<Vec<DistributionUsage>, StoreError>;

    /// Records another attempt before it is made. The batch counts toward the daily limit from its first
    /// attempt until CloudFront has certainly created nothing from it.
    async fn record_attempt(&self, batch: Uuid, now: Timestamp) -> Result<(), StoreError>;

    /// Records the outcome of an attempt.
    async fn record_resolution(
        &self,
        batch: Uuid,
        resolution: &Resolution,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The backoffs: what failed since the last success, also before a restart.
    async fn backoffs(&self) -> Result<Vec<Backoff>, StoreError>;

    /// The pauses, the holds, the spending of a day (in UTC), and the ledger of its month.
    async fn controls(&self, day: Date) -> Result<Controls, StoreError>;

    /// Ends a hold. Returns false if there is none or it has ended.
    async fn end_hold(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError>;
}

/// Following invalidations to completion.
#[async_trait]
pub trait TrackingStore: Send + Sync + 'static {
    /// Our invalidations in progress.
    async fn in_progress(&self) -> Result<Vec<Tracked>, StoreError>;

    /// When the oldest change that a batch covers was accepted.
    async fn oldest_change(&self, batch: Uuid) -> Result<Option<Timestamp>, StoreError>;

    /// Records the result of a poll.
    async fn record_poll(
        &self,
        batch: Uuid,
        poll: StatusPoll,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Whether purgefront created this invalidation.
    async fn is_ours(&self, cloudfront_id: &str) -> Result<bool, StoreError>;

    /// Adds an invalidation that others created to the ledger: once, however often it is recorded. If it turns
    /// out to be ours, it does not count.
    async fn record_others(&self, one: &OthersInvalidation) -> Result<(), StoreError>;
}

/// How far a sweep through old history has come. The default is its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sweep {
    /// The table, in the store's order,
    pub table: usize,
    /// the last number in it that was looked at,
    pub after: i64,
    /// and the first number that is too new, once it has been searched.
    pub before: Option<i64>,
}

/// Confirming subscriptions and deleting old history.
#[async_trait]
pub trait UpkeepStore: Send + Sync + 'static {
    /// Unconfirmed subscriptions, ordered by due time.
    async fn pending_confirmations(&self) -> Result<Vec<PendingConfirmation>, StoreError>;

    async fn record_confirmation(
        &self,
        confirmation: &PendingConfirmation,
        result: ConfirmationResult,
    ) -> Result<(), StoreError>;

    /// Deletes some history from before `cutoff`, except for unfinished work, starting where the sweep
    /// has come to. Returns where it continues, or `None` at its end.
    async fn prune(&self, cutoff: Timestamp, sweep: Sweep) -> Result<Option<Sweep>, StoreError>;
}
