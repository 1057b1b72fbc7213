//! Maps accepted changes with the catalogue, or parks them until the catalogue knows enough.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Context, Settings, questions::Questions, queues::Queues, runner::Worker,
    status_board::StatusBoard,
};
use crate::{
    domain::{
        catalogue::Catalogue,
        change::{Change, MappedChange, MappingOutcome, RemappedChange, Subject},
        mapping::{self, Mapping, MappingPolicy, Missing, NO_DISTRIBUTION},
    },
    ports::{
        Clock, StoreError, Wakeup, Wakeups,
        catalogue::{CatalogueHandle, PublishedCatalogue},
        dispatch::MappingStore,
    },
};

/// The most changes that are mapped in one transaction.
const CHUNK: usize = 1_000;
/// How long a bucket without a distribution is taken as such before the catalogue is read again for
/// it. The time doubles from the first to the longest.
const FIRST_UNKNOWN: Duration = Duration::from_mins(5);
const LONGEST_UNKNOWN: Duration = Duration::from_hours(1);
/// The most such buckets that are remembered.
const MAX_UNKNOWN: usize = 10_000;
/// The shortest interval between two counts of unmapped changes: a count reads all of them.
const COUNT_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Mapper {
    store: Arc<dyn MappingStore>,
    catalogue: CatalogueHandle,
    clock: Arc<dyn Clock>,
    wakeups: Arc<dyn Wakeups>,
    queues: Arc<Queues>,
    questions: Arc<Questions>,
    board: StatusBoard,
    policy: Arc<MappingPolicy>,
    unknown: HashMap<String, UnknownBucket>,
    counted_at: Option<Timestamp>,
}

/// A bucket that no distribution serves, according to the catalogue.
#[derive(Debug, Clone, Copy)]
struct UnknownBucket {
    until: Timestamp,
    times: u32,
}

impl Mapper {
    pub(super) fn new(
        context: &Context,
        settings: &Settings,
        store: Arc<dyn MappingStore>,
        queues: Arc<Queues>,
        questions: Arc<Questions>,
        board: StatusBoard,
    ) -> Self {
        let mut catalogue = context.catalogue.clone();
        // Changes that were parked before a restart are tried again, too.
        catalogue.forget();
        Self {
            store,
            catalogue,
            clock: Arc::clone(&context.clock),
            wakeups: Arc::clone(&context.wakeups),
            queues,
            questions,
            board,
            policy: Arc::clone(&settings.mapping),
            unknown: HashMap::new(),
            counted_at: None,
        }
    }

    /// Maps everything that can be mapped now. Parked changes are tried again only when the
    /// catalogue has changed.
    async fn map_all(&mut self) -> Result<(), StoreError> {
        if let Some(catalogue) = self.catalogue.take_changed() {
            let mut after = i64::MIN;
            loop {
                let parked = self.store.parked_changes(after, CHUNK).await?;
                let Some(last) = parked.last() else {
                    break;
                };
                after = last.seq;
                self.map(&catalogue, parked, true).await?;
            }
        }
        self.map_again().await?;
        loop {
            let Some(catalogue) = self.catalogue.get() else {
                return Ok(());
            };
            let unseen = self.store.unseen_changes(CHUNK).await?;
            if unseen.is_empty() {
                return Ok(());
            }
            self.map(&catalogue, unseen, false).await?;
        }
    }

    /// Maps changes again that were mapped with an outdated catalogue. Stops where the catalogue
    /// lacks something.
    async fn map_again(&mut self) -> Result<(), StoreError> {
        while let Some(remap) = self.store.next_remap().await? {
            // Otherwise the follower is about to publish the catalogue that the remap is about.
            let published = self.catalogue.published();
            let newest = published.filter(|published| published.revision >= remap.revision);
            let Some(PublishedCatalogue { catalogue, .. }) = newest else {
                return Ok(());
            };
            let mut mapped = Vec::new();
            for change in self.store.changes_to_remap(&remap, CHUNK).await? {
                let Subject::Object { bucket, key } = &change.subject else {
                    continue;
                };
                let mapping = match mapping::map_object(&catalogue, &self.policy, bucket, key) {
                    Ok(mapping) => mapping,
                    Err(Missing::Bucket) => Mapping::default(),
                    Err(Missing::Knowledge(missing)) => {
                        self.questions.ask(missing);
                        return Ok(());
                    }
                };
                mapped.push(RemappedChange { change, mapping });
            }
            self.store.record_remap(&remap, mapped).await?;
            self.queues.mark(&remap.distribution_id);
            self.wakeups.wake(Wakeup::ItemsWaiting);
        }
        Ok(())
    }

    async fn map(
        &mut self,
        catalogue: &Catalogue,
        changes: Vec<Change>,
        were_parked: bool,
    ) -> Result<(), StoreError> {
        let mut mapped = Vec::with_capacity(changes.len());
        let mut reached = BTreeSet::new();
        for change in changes {
            let outcome = self.map_one(catalogue, &change);
            match &outcome {
                MappingOutcome::Parked if were_parked => continue,
                MappingOutcome::Parked => {}
                MappingOutcome::Mapped(mapping) => {
                    log(&change, mapping);
                    let ids = mapping.targets.iter().map(|target| &target.distribution_id);
                    for id in ids {
                        if !reached.contains(id) {
                            reached.insert(id.clone());
                        }
                    }
                }
            }
            mapped.push(MappedChange { change, outcome });
        }
        if !mapped.is_empty() {
            self.store.record_mapping(mapped).await?;
        }
        for id in &reached {
            self.queues.mark(id);
        }
        self.wakeups.wake(Wakeup::ItemsWaiting);
        Ok(())
    }

    fn map_one(&mut self, catalogue: &Catalogue, change: &Change) -> MappingOutcome {
        match &change.subject {
            Subject::Item {
                distribution_id,
                item,
            } => MappingOutcome::Mapped(match catalogue.get(distribution_id) {
                Some(distribution) => mapping::map_item(distribution, item.clone()),
                None => Mapping::left_alone(format!("distribution {distribution_id} is gone")),
            }),
            Subject::Object { bucket, key } => {
                match mapping::map_object(catalogue, &self.policy, bucket, key) {
                    Ok(mapping) => {
                        self.unknown.remove(bucket);
                        MappingOutcome::Mapped(mapping)
                    }
                    Err(Missing::Knowledge(missing)) => {
                        self.questions.ask(missing);
                        MappingOutcome::Parked
                    }
                    Err(Missing::Bucket) => self.map_unknown_bucket(catalogue, change, bucket),
                }
            }
        }
    }

    /// The catalogue's word that no distribution serves a bucket counts only if the catalogue was
    /// read after the change was accepted, or recently for another change.
    fn map_unknown_bucket(
        &mut self,
        catalogue: &Catalogue,
        change: &Change,
        bucket: &str,
    ) -> MappingOutcome {
        let now = self.clock.now();
        let known = self.unknown.get(bucket).copied();
        if known.is_some_and(|unknown| now < unknown.until) {
            return MappingOutcome::Mapped(Mapping::left_alone(NO_DISTRIBUTION));
        }
        if catalogue.snapshot().read_since <= change.accepted_at {
            self.questions.refresh();
            return MappingOutcome::Parked;
        }
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.retain(|_, unknown| now < unknown.until);
        }
        let times = known.map_or(0, |unknown| unknown.times + 1);
        let unknown_for = FIRST_UNKNOWN.saturating_mul(2_u32.saturating_pow(times));
        let until = now + unknown_for.min(LONGEST_UNKNOWN);
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown
                .insert(bucket.to_owned(), UnknownBucket { until, times });
        }
        MappingOutcome::Mapped(Mapping::left_alone(NO_DISTRIBUTION))
    }

    /// Counts the unmapped changes, for the status. If they were counted just now, returns when they
    /// are to be counted again.
    async fn count_unmapped(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let recent = |at: &Timestamp| *at <= now && now < *at + COUNT_EVERY;
        if let Some(counted_at) = self.counted_at.filter(recent) {
            return Ok(Some(counted_at + COUNT_EVERY));
        }
        self.counted_at = Some(now);
        let unmapped = self.store.unmapped().await?;
        self.board.update(|status| status.unmapped = unmapped);
        Ok(None)
    }
}

/// Logs the message or request that a change came from, and the items that it maps to.
fn log(change: &Change, mapping: &Mapping) {
    for target in &mapping.targets {
        tracing::debug!(
            source = %change.source,
            change = change.seq,
            distribution_id = %target.distribution_id,
            item = %target.item,
            "change mapped"
        );
    }
}

#[async_trait]
impl Worker for Mapper {
    fn name(&self) -> &'static str {
        "mapper"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let mapped = self.map_all().await;
        if mapped.is_err() {
            // The last write may or may not be committed, and some parked changes may not have been
            // tried.
            self.catalogue.forget();
            self.queues.mark_all();
        }
        mapped?;
        self.count_unmapped().await
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.wakeups.woken(Wakeup::ChangesAccepted) => {}
            () = self.catalogue.changed() => {}
        }
    }
}
