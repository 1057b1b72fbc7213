//! Maps accepted changes with the catalogue, or parks them until it knows enough.

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
        Clock, StoreError, Wakeup, Wakeups, catalogue::CatalogueHandle, dispatch::MappingStore,
    },
};

/// Changes mapped in one transaction.
const CHUNK: usize = 1_000;
/// For how long a bucket that no distribution has is not asked about again: at first, and at
/// most.
const FIRST_IGNORANCE: Duration = Duration::from_mins(5);
const LONGEST_IGNORANCE: Duration = Duration::from_hours(1);
/// How many such buckets are remembered.
const MAX_UNKNOWN: usize = 10_000;
/// How often what is not mapped is counted, which reads all of it.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The worker between the journal and the queues.
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

/// A bucket that, by a reading of the catalogue, no distribution has.
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
        // What was parked before a restart is looked at again as well.
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

    /// Maps all that can be mapped now. What is parked is looked at again only with another
    /// catalogue.
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

    /// Maps again what was mapped with a catalogue that has proved wrong, until the catalogue has
    /// to learn more first.
    async fn map_again(&mut self) -> Result<(), StoreError> {
        while let Some(remap) = self.store.next_remap().await? {
            let Some(catalogue) = self.catalogue.get() else {
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
            let outcome = self.outcome(catalogue, &change);
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

    fn outcome(&mut self, catalogue: &Catalogue, change: &Change) -> MappingOutcome {
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
                    Err(Missing::Bucket) => self.outcome_of_unknown(catalogue, change, bucket),
                }
            }
        }
    }

    /// That no distribution has a bucket is believed only when the catalogue was read after the
    /// change came, or lately for another change.
    fn outcome_of_unknown(
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
        let ignorance = FIRST_IGNORANCE.saturating_mul(2_u32.saturating_pow(times));
        let until = now + ignorance.min(LONGEST_IGNORANCE);
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown
                .insert(bucket.to_owned(), UnknownBucket { until, times });
        }
        MappingOutcome::Mapped(Mapping::left_alone(NO_DISTRIBUTION))
    }

    /// Counts what is not mapped, for the status.
    async fn count(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let fresh = |at: Timestamp| at <= now && now < at + COUNT_EVERY;
        if self.counted_at.is_some_and(fresh) {
            return Ok(());
        }
        self.counted_at = Some(now);
        let unmapped = self.store.unmapped().await?;
        self.board.update(|status| status.unmapped = unmapped);
        Ok(())
    }
}

/// Links a change to the message or request that brought it, and to the items it needs.
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
            // Whether the last write was committed is not known, and what is parked may not have
            // been looked at.
            self.catalogue.forget();
            self.queues.mark_all();
        }
        mapped?;
        self.count().await?;
        Ok(None)
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.wakeups.woken(Wakeup::ChangesAccepted) => {}
            () = self.catalogue.changed() => {}
        }
    }
}
