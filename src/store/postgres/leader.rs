//! The leader's handle, which carries its epoch.

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::{Timestamp, civil::Date};
use uuid::Uuid;

use super::{
    Database, backlogs, batches, catalogue, confirmations, controls, holds, ledger, mapping,
    merges, notices, numbers, resolutions, retention, waits, writer::Leading,
};
use crate::{
    domain::{
        batch::{Batch, Covered, DistributionBacklog, DistributionUsage},
        catalogue::{Revision, Snapshot},
        change::{Change, MappedChange, NewRequest, Remap, Unmapped},
        consolidate::Waiting,
        ledger::OthersInvalidation,
        notice::{Notice, NoticeTarget, Undelivered, WaitingNotices},
        operations::{Backoff, Controls},
        path::Item,
        resolution::{Resolution, Unresolved},
        subscription::{ConfirmationResult, PendingConfirmation},
        tracking::{StatusPoll, Tracked},
        wait::{OpenWait, Wait},
    },
    ports::{
        NoticeStore, StoreError,
        dispatch::{BatchStore, Epoch, MappingStore, Sweep, TrackingStore, UpkeepStore, Window},
    },
};

pub(super) struct PostgresLeader {
    database: Database,
    leading: Leading,
}

impl PostgresLeader {
    pub(super) fn new(database: Database, epoch: Epoch) -> Self {
        let leading = Leading::new(database.writer.clone(), epoch);
        Self { database, leading }
    }
}

#[async_trait]
impl MappingStore for PostgresLeader {
    async fn unseen_changes(&self, limit: usize) -> Result<Vec<Change>, StoreError> {
        mapping::unseen(&self.database.readers, limit).await
    }

    async fn open_waits(&self) -> Result<Vec<OpenWait>, StoreError> {
        waits::open(&self.database.readers).await
    }

    async fn waiting_changes(
        &self,
        wait: &Wait,
        through: i64,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        mapping::waiting(&self.database.readers, wait, through, limit).await
    }

    async fn unmapped(&self) -> Result<Unmapped, StoreError> {
        mapping::unmapped(&self.database.readers).await
    }

    async fn record_mapping(
        &self,
        by: Revision,
        mapped: Vec<MappedChange>,
    ) -> Result<(), StoreError> {
        let now = self.database.clock.now();
        self.leading
            .transact(move |connection| Box::pin(mapping::record(connection, by, mapped, now)))
            .await
    }

    async fn journal_end(&self) -> Result<i64, StoreError> {
        self.leading
            .transact(|connection| Box::pin(numbers::end(connection)))
            .await
    }

    async fn keep_catalogue(
        &self,
        snapshot: &Snapshot,
        late: &[String],
        requests: Vec<NewRequest>,
    ) -> Result<(), StoreError> {
        let (snapshot, late) = (snapshot.clone(), late.to_vec());
        self.leading
            .transact(move |connection| {
                Box::pin(catalogue::keep(connection, snapshot, late, requests))
            })
            .await
    }

    async fn next_remap(&self) -> Result<Option<Remap>, StoreError> {
        catalogue::next_remap(&self.database.readers).await
    }

    async fn changes_to_remap(
        &self,
        remap: &Remap,
        limit: usize,
    ) -> Result<Vec<Change>, StoreError> {
        catalogue::changes_to_remap(&self.database.readers, remap, limit).await
    }

    async fn record_remap(
        &self,
        remap: &Remap,
        through: Option<i64>,
        mapped: Vec<MappedChange>,
    ) -> Result<(), StoreError> {
        let remap = remap.clone();
        let now = self.database.clock.now();
        self.leading
            .transact(move |connection| {
                Box::pin(catalogue::record_remap(
                    connection, remap, through, mapped, now,
                ))
            })
            .await
    }
}

#[async_trait]
impl BatchStore for PostgresLeader {
    async fn backlogs(
        &self,
        distributions: Option<&[String]>,
    ) -> Result<Vec<DistributionBacklog>, StoreError> {
        backlogs::read(&self.database.readers, distributions).await
    }

    async fn waiting(
        &self,
        distribution_id: &str,
        window: Window,
    ) -> Result<Vec<Waiting>, StoreError> {
        backlogs::waiting(&self.database.readers, distribution_id, window).await
    }

    async fn taken_before(&self, batch: Uuid) -> Result<HashSet<Item>, StoreError> {
        batches::taken_before(&self.database.readers, batch).await
    }

    async fn made_since(
        &self,
        distribution_id: &str,
        since: Timestamp,
    ) -> Result<Vec<Item>, StoreError> {
        merges::made_since(&self.database.readers, distribution_id, since).await
    }

    async fn freeze(
        &self,
        batch: &Batch,
        covered: Vec<Covered>,
        shadow: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let batch = batch.clone();
        self.leading
            .transact(move |connection| {
                Box::pin(batches::freeze(connection, batch, covered, shadow, now))
            })
            .await
    }

    async fn unresolved(&self) -> Result<Vec<Unresolved>, StoreError> {
        batches::unresolved(&self.database.readers).await
    }

    async fn usages(&self) -> Result<Vec<DistributionUsage>, StoreError> {
        batches::usages(&self.database.readers).await
    }

    async fn record_attempt(&self, batch: Uuid, now: Timestamp) -> Result<(), StoreError> {
        self.leading
            .transact(move |connection| Box::pin(batches::record_attempt(connection, batch, now)))
            .await
    }

    async fn record_resolution(
        &self,
        batch: Uuid,
        resolution: &Resolution,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let resolution = resolution.clone();
        self.leading
            .transact(move |connection| {
                Box::pin(resolutions::record(connection, batch, resolution, now))
            })
            .await
    }

    async fn backoffs(&self) -> Result<Vec<Backoff>, StoreError> {
        controls::backoffs(&self.database.readers).await
    }

    async fn controls(&self, day: Date) -> Result<Controls, StoreError> {
        controls::read(&self.database.readers, day).await
    }

    async fn end_hold(&self, id: Uuid, now: Timestamp) -> Result<bool, StoreError> {
        self.leading
            .transact(move |connection| Box::pin(holds::end(connection, id, now)))
            .await
    }
}

#[async_trait]
impl TrackingStore for PostgresLeader {
    async fn in_progress(&self) -> Result<Vec<Tracked>, StoreError> {
        batches::in_progress(&self.database.readers).await
    }

    async fn oldest_change(&self, batch: Uuid) -> Result<Option<Timestamp>, StoreError> {
        batches::oldest_change(&self.database.readers, batch).await
    }

    async fn record_poll(
        &self,
        batch: Uuid,
        poll: StatusPoll,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.leading
            .transact(move |connection| {
                Box::pin(batches::record_poll(connection, batch, poll, now))
            })
            .await
    }

    async fn is_ours(&self, cloudfront_id: &str) -> Result<bool, StoreError> {
        Ok(batches::is_ours(&self.database.readers, cloudfront_id).await?)
    }

    async fn record_others(&self, one: &OthersInvalidation) -> Result<(), StoreError> {
        let one = one.clone();
        self.leading
            .transact(move |connection| Box::pin(ledger::record_others(connection, one)))
            .await
    }
}

#[async_trait]
impl UpkeepStore for PostgresLeader {
    async fn pending_confirmations(&self) -> Result<Vec<PendingConfirmation>, StoreError> {
        confirmations::pending(&self.database.readers).await
    }

    async fn record_confirmation(
        &self,
        confirmation: &PendingConfirmation,
        result: ConfirmationResult,
    ) -> Result<(), StoreError> {
        let confirmation = confirmation.clone();
        self.leading
            .transact(move |connection| {
                Box::pin(confirmations::record(connection, confirmation, result))
            })
            .await
    }

    async fn prune(&self, cutoff: Timestamp, sweep: Sweep) -> Result<Option<Sweep>, StoreError> {
        retention::prune(&self.database.readers, &self.leading, cutoff, sweep).await
    }
}

#[async_trait]
impl NoticeStore for PostgresLeader {
    async fn set_notice_targets(&self, targets: &[NoticeTarget]) -> Result<u64, StoreError> {
        let targets = targets.to_vec();
        self.leading
            .transact(move |connection| Box::pin(notices::set_targets(connection, targets)))
            .await
    }

    async fn due_notices(
        &self,
        target: &str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<Notice>, StoreError> {
        notices::due(&self.database.readers, target, now, limit).await
    }

    async fn next_notice(
        &self,
        target: &str,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        notices::next(&self.database.readers, target, now).await
    }

    async fn notice_delivered(&self, seq: i64) -> Result<(), StoreError> {
        self.leading
            .transact(move |connection| Box::pin(notices::delivered(connection, seq)))
            .await
    }

    async fn notice_failed(&self, seq: i64, due_at: Timestamp) -> Result<(), StoreError> {
        self.leading
            .transact(move |connection| Box::pin(notices::failed(connection, seq, due_at)))
            .await
    }

    async fn waiting_notices(&self) -> Result<WaitingNotices, StoreError> {
        notices::waiting(&self.database.readers).await
    }

    async fn drop_undelivered(&self, now: Timestamp) -> Result<Undelivered, StoreError> {
        self.leading
            .transact(move |connection| Box::pin(notices::drop_undelivered(connection, now)))
            .await
    }
}
