//! A store that knows how many of its calls are under way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use jiff::Timestamp;
use purgefront::{
    domain::{
        batch::{Backlog, Batch, Usage},
        catalogue::Snapshot,
        change::{Acceptance, Change, NewMessage, NewRequest, Verdict},
        consolidate::Waiting,
        history::{
            DeadLetter, InvalidationDetail, InvalidationQuery, InvalidationSummary, RequestView,
        },
        mapping::Mapping,
        s3_event::ObjectChange,
    },
    ports::{
        Answer, Brakes, ConfirmationResult, Look, Looks, PendingConfirmation, Remap, Store,
        StoreError, Unresolved,
    },
};
use uuid::Uuid;

/// The real store, counted: a virtual clock may only move when nothing is under way.
pub struct Counted {
    store: Arc<dyn Store>,
    under_way: AtomicUsize,
}

struct UnderWay<'a>(&'a AtomicUsize);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Counted {
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            under_way: AtomicUsize::new(0),
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }

    fn begin(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(&self.under_way)
    }
}

#[async_trait]
impl Store for Counted {
    async fn accept_message(&self, message: NewMessage) -> Result<Acceptance, StoreError> {
        let _under_way = self.begin();
        self.store.accept_message(message).await
    }

    async fn accept_request(&self, request: NewRequest) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.accept_request(request).await
    }

    async fn unseen_changes(&self, limit: usize) -> Result<Vec<Change>, StoreError> {
        let _under_way = self.begin();
        self.store.unseen_changes(limit).await
    }

    async fn parked_changes(&self, after: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let _under_way = self.begin();
        self.store.parked_changes(after, limit).await
    }

    async fn backlogs(&self) -> Result<Vec<(String, Backlog)>, StoreError> {
        let _under_way = self.begin();
        self.store.backlogs().await
    }

    async fn waiting(
        &self,
        distribution_id: &str,
        limit: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        let _under_way = self.begin();
        self.store.waiting(distribution_id, limit).await
    }

    async fn backlog_of(&self, batch: Uuid) -> Result<Option<Backlog>, StoreError> {
        let _under_way = self.begin();
        self.store.backlog_of(batch).await
    }

    async fn usages(&self) -> Result<Vec<(String, Usage)>, StoreError> {
        let _under_way = self.begin();
        self.store.usages().await
    }

    async fn brakes(&self) -> Result<Brakes, StoreError> {
        let _under_way = self.begin();
        self.store.brakes().await
    }

    async fn set_paused(
        &self,
        distribution_id: Option<&str>,
        paused: bool,
    ) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.set_paused(distribution_id, paused).await
    }

    async fn sent_on(&self, day: i64) -> Result<(u64, bool), StoreError> {
        let _under_way = self.begin();
        self.store.sent_on(day).await
    }

    async fn lift_limit(&self, day: i64) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.lift_limit(day).await
    }

    async fn unresolved(&self) -> Result<Vec<Unresolved>, StoreError> {
        let _under_way = self.begin();
        self.store.unresolved().await
    }

    async fn record_attempt(&self, batch: Uuid, now: Timestamp) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.record_attempt(batch, now).await
    }

    async fn record_answer(
        &self,
        batch: Uuid,
        answer: Answer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.record_answer(batch, answer, now).await
    }

    async fn due_looks(&self, now: Timestamp, limit: usize) -> Result<Looks, StoreError> {
        let _under_way = self.begin();
        self.store.due_looks(now, limit).await
    }

    async fn is_ours(&self, cloudfront_id: &str) -> Result<bool, StoreError> {
        let _under_way = self.begin();
        self.store.is_ours(cloudfront_id).await
    }

    async fn record_look(&self, batch: Uuid, look: Look, now: Timestamp) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.record_look(batch, look, now).await
    }

    async fn catalogue(&self) -> Result<Option<Snapshot>, StoreError> {
        let _under_way = self.begin();
        self.store.catalogue().await
    }

    async fn keep_catalogue(&self, snapshot: &Snapshot, late: &[String]) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.keep_catalogue(snapshot, late).await
    }

    async fn remap(&self) -> Result<Option<Remap>, StoreError> {
        let _under_way = self.begin();
        self.store.remap().await
    }

    async fn changes_of(&self, remap: &Remap, limit: usize) -> Result<Vec<Change>, StoreError> {
        let _under_way = self.begin();
        self.store.changes_of(remap, limit).await
    }

    async fn record_remap(
        &self,
        remap: &Remap,
        mapped: Vec<(Change, Mapping)>,
    ) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.record_remap(remap, mapped).await
    }

    async fn pending_confirmations(&self) -> Result<Vec<PendingConfirmation>, StoreError> {
        let _under_way = self.begin();
        self.store.pending_confirmations().await
    }

    async fn record_confirmation(
        &self,
        confirmation: &PendingConfirmation,
        result: ConfirmationResult,
    ) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.record_confirmation(confirmation, result).await
    }

    async fn dead_letters(
        &self,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        let _under_way = self.begin();
        self.store.dead_letters(before, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        let _under_way = self.begin();
        self.store.dead_letter(id).await
    }

    async fn replay_item(&self, id: i64) -> Result<bool, StoreError> {
        let _under_way = self.begin();
        self.store.replay_item(id).await
    }

    async fn replay_record(&self, id: i64, change: ObjectChange) -> Result<bool, StoreError> {
        let _under_way = self.begin();
        self.store.replay_record(id, change).await
    }

    async fn drop_dead_letter(&self, id: i64) -> Result<bool, StoreError> {
        let _under_way = self.begin();
        self.store.drop_dead_letter(id).await
    }

    async fn prune(&self, cutoff: Timestamp) -> Result<bool, StoreError> {
        let _under_way = self.begin();
        self.store.prune(cutoff).await
    }

    async fn ended_subscriptions(&self) -> Result<Vec<String>, StoreError> {
        let _under_way = self.begin();
        self.store.ended_subscriptions().await
    }

    async fn count_dead_letters(&self, most: usize) -> Result<u64, StoreError> {
        let _under_way = self.begin();
        self.store.count_dead_letters(most).await
    }

    async fn request(&self, id: Uuid) -> Result<Option<RequestView>, StoreError> {
        let _under_way = self.begin();
        self.store.request(id).await
    }

    async fn invalidations(
        &self,
        query: &InvalidationQuery,
    ) -> Result<Vec<InvalidationSummary>, StoreError> {
        let _under_way = self.begin();
        self.store.invalidations(query).await
    }

    async fn invalidation(&self, id: &str) -> Result<Option<InvalidationDetail>, StoreError> {
        let _under_way = self.begin();
        self.store.invalidation(id).await
    }

    async fn record_verdicts(&self, verdicts: Vec<(Change, Verdict)>) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.record_verdicts(verdicts).await
    }

    async fn freeze(
        &self,
        batch: &Batch,
        covered: Vec<(i64, usize)>,
        shadow: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let _under_way = self.begin();
        self.store.freeze(batch, covered, shadow, now).await
    }
}
