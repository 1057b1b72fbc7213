//! Maps accepted changes with the catalogue. Where the catalogue knows too little, changes wait.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Context, Settings, mapper_step::Step, questions::Questions, queues::Queues, runner::Worker,
    status_board::StatusBoard, unknown_buckets::UnknownBuckets,
};
use crate::{
    domain::{
        change::{Change, MappedChange, Remap, Subject},
        mapping::{self, Mapping, MappingPolicy, NO_DISTRIBUTION, NONE_VISIBLE},
        skip_label,
        wait::{OpenWait, Wait},
    },
    ports::{
        Clock, StoreError, Wakeup, Wakeups,
        catalogue::{CatalogueHandle, PublishedCatalogue},
        dispatch::MappingStore,
    },
    telemetry::{Metrics, NOT_ALLOWED},
};

/// The most changes that are mapped in one step.
const CHUNK: usize = 1_000;
/// How long the mapper goes without looking for what others have noted for it, such as a replay. Of its own
/// waits and of a new catalogue it knows.
const TRUST_NOTES: Duration = Duration::from_secs(1);
/// The shortest interval between two counts of unmapped changes: a count reads all of them.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The most unknown buckets that the status names.
const REPORTED_BUCKETS: usize = 10;

/// Only the mapper maps changes, one step after another, so once it has a catalogue, nothing is mapped
/// with an older one any more.
pub(super) struct Mapper {
    store: Arc<dyn MappingStore>,
    catalogue: CatalogueHandle,
    clock: Arc<dyn Clock>,
    wakeups: Arc<dyn Wakeups>,
    queues: Arc<Queues>,
    questions: Arc<Questions>,
    board: StatusBoard,
    metrics: Metrics,
    policy: Arc<MappingPolicy>,
    /// The catalogue in use; `None` until the account has been read once.
    current: Option<PublishedCatalogue>,
    /// Waits that are over with this catalogue, and whose changes have not been mapped yet.
    over: VecDeque<Wait>,
    unknown: UnknownBuckets,
    /// Whether changes may wait for something.
    has_waits: bool,
    /// When neither waits nor changes to map again were found last, with this catalogue.
    nothing_noted_at: Option<Timestamp>,
    counted_at: Option<Timestamp>,
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
        // What changes waited for before a restart is asked again.
        catalogue.forget();
        Self {
            store,
            catalogue,
            clock: Arc::clone(&context.clock),
            wakeups: Arc::clone(&context.wakeups),
            queues,
            questions,
            board,
            metrics: context.metrics.clone(),
            policy: Arc::clone(&settings.mapping),
            current: None,
            over: VecDeque::new(),
            unknown: UnknownBuckets::default(),
            has_waits: true,
            nothing_noted_at: None,
            counted_at: None,
        }
    }

    /// Maps everything that can be mapped now. New changes, of which manual ones come first, are mapped
    /// before each step of older work, so that they never wait for more than that step.
    ///
    /// Returns whether it has looked for what was noted.
    async fn map_all(&mut self) -> Result<bool, StoreError> {
        let looks = self.may_have_notes();
        let mut looked_at = None;
        loop {
            let changed = self.catalogue.take_changed();
            let has_changed = changed.is_some();
            if has_changed {
                self.current = changed;
                self.nothing_noted_at = None;
            }
            let Some(current) = self.current.clone() else {
                return Ok(true);
            };
            if has_changed || looks && looked_at.is_none() {
                looked_at = Some(self.clock.now());
                self.look_at_waits(&current, has_changed).await?;
            }
            let mut has_more = self.map_unseen(&current).await?;
            if self.map_waiting(&current).await? {
                has_more = true;
                self.map_unseen(&current).await?;
            }
            if looked_at.is_some() {
                let again = self.map_again(&current).await?;
                has_more |= again == Some(true);
                if again.is_none() && !self.has_waits {
                    self.nothing_noted_at = looked_at;
                }
            }
            if !has_more {
                return Ok(looked_at.is_some());
            }
            self.count_unmapped().await?;
        }
    }

    /// Whether the store may have waits or changes to map again.
    fn may_have_notes(&self) -> bool {
        let now = self.clock.now();
        let outdated = |at: Timestamp| now < at || at + TRUST_NOTES <= now;
        self.has_waits || self.nothing_noted_at.is_none_or(outdated)
    }

    /// Finds the waits that are over. Asks for the others if the catalogue has changed: it may have
    /// forgotten what was denied, and after a restart nobody has asked yet.
    async fn look_at_waits(
        &mut self,
        current: &PublishedCatalogue,
        asks: bool,
    ) -> Result<(), StoreError> {
        self.over.clear();
        let waits = self.store.open_waits().await?;
        self.has_waits = !waits.is_empty();
        for OpenWait { wait, first } in waits {
            if self.over_through(current, &wait) >= Some(first) {
                self.over.push_back(wait);
            } else if asks && wait.distribution_id().is_some() {
                self.questions.ask(&wait);
            }
        }
        Ok(())
    }

    /// The last change for which a wait is over; `None` if it is not over for any.
    fn over_through(&self, current: &PublishedCatalogue, wait: &Wait) -> Option<i64> {
        let catalogue = &current.catalogue;
        if wait.is_over(catalogue, &self.policy) {
            return Some(i64::MAX);
        }
        match wait {
            Wait::Bucket(bucket) if self.unknown.has(bucket, self.clock.now()) => Some(i64::MAX),
            Wait::Bucket(_) => Some(catalogue.snapshot().journal_end),
            _ => None,
        }
    }

    /// Maps some changes that nobody has looked at, and returns whether there may be more. Those that are
    /// accepted meanwhile wake the mapper again.
    async fn map_unseen(&mut self, current: &PublishedCatalogue) -> Result<bool, StoreError> {
        let unseen = self.store.unseen_changes(CHUNK).await?;
        if unseen.is_empty() {
            return Ok(false);
        }
        let mut has_more = unseen.len() == CHUNK;
        let mut step = Step::default();
        for change in unseen {
            if step.is_full() {
                has_more = true;
                break;
            }
            step.add([self.map(current, change)]);
        }
        self.record(current, step).await?;
        Ok(has_more)
    }

    /// Maps some changes whose wait is over, and returns whether there may be more.
    async fn map_waiting(&mut self, current: &PublishedCatalogue) -> Result<bool, StoreError> {
        let Some(wait) = self.over.front().cloned() else {
            return Ok(false);
        };
        let through = self.over_through(current, &wait).unwrap_or(i64::MIN);
        let changes = self.store.waiting_changes(&wait, through, CHUNK).await?;
        let mut has_more = changes.len() == CHUNK;
        let mut waits_on = false;
        let mut step = Step::default();
        for change in changes {
            if step.is_full() {
                has_more = true;
                break;
            }
            let mapped = match wait.distribution_id() {
                Some(id) => self.map_at(current, change, id),
                None => self.map(current, change),
            };
            waits_on |= mapped.mapping.waits.contains(&wait);
            step.add([mapped]);
        }
        // Who waits for the same again is not looked at until the catalogue changes.
        if !has_more || waits_on {
            self.over.pop_front();
        }
        self.record(current, step).await?;
        Ok(true)
    }

    /// Maps some changes again that were mapped with an outdated catalogue, and returns whether there
    /// may be more; `None` if there were none.
    async fn map_again(
        &mut self,
        current: &PublishedCatalogue,
    ) -> Result<Option<bool>, StoreError> {
        let Some(remap) = self.store.next_remap().await? else {
            return Ok(None);
        };
        if current.revision < remap.revision {
            // The follower is about to publish the catalogue that the note is about.
            return Ok(Some(false));
        }
        let changes = self.store.changes_to_remap(&remap, CHUNK).await?;
        let mut has_more = changes.len() == CHUNK;
        let mut last = None;
        let mut step = Step::default();
        for change in changes {
            if step.is_full() {
                has_more = true;
                break;
            }
            last = Some(change.seq);
            step.add(self.map_late(current, &remap, &change));
        }
        let through = last.filter(|_| has_more);
        let reached = step.reached();
        self.has_waits |= step.has_waits();
        let recorded = self.store.record_remap(&remap, through, step.mapped);
        recorded.await?;
        self.announce(&reached);
        Ok(Some(true))
    }

    /// Maps a change to those distributions of a note that serve it.
    fn map_late(
        &self,
        current: &PublishedCatalogue,
        remap: &Remap,
        change: &Change,
    ) -> Vec<MappedChange> {
        let Subject::Object { bucket, .. } = &change.subject else {
            return Vec::new();
        };
        let serving = current.catalogue.serving(bucket).iter();
        serving
            .map(|one| &one.distribution.id)
            .filter(|id| remap.distributions.contains(id) && change.concerns(id))
            .map(|id| self.map_at(current, change.clone(), id))
            .collect()
    }

    /// Maps a change to all distributions.
    fn map(&mut self, current: &PublishedCatalogue, change: Change) -> MappedChange {
        let catalogue = &current.catalogue;
        let mapping = match &change.subject {
            Subject::Item {
                distribution_id,
                item,
            } => match catalogue.get(distribution_id) {
                Some(distribution) => mapping::map_item(distribution, item.clone()),
                None => Mapping::left_alone(format!("distribution {distribution_id} is gone")),
            },
            Subject::Object {
                bucket,
                key,
                effect,
            } => match mapping::map_object(catalogue, &self.policy, bucket, key, *effect) {
                Some(mapping) => {
                    self.unknown.forget(bucket);
                    mapping
                }
                None => self.map_unknown_bucket(current, &change, bucket),
            },
        };
        let mapping = match &change.only_at {
            Some(ids) => mapping.only_at(ids),
            None => mapping,
        };
        self.mapped(current, change, None, mapping)
    }

    /// Maps a change to one distribution.
    fn map_at(&self, current: &PublishedCatalogue, change: Change, id: &str) -> MappedChange {
        let mapping = match &change.subject {
            Subject::Object {
                bucket,
                key,
                effect,
            } => {
                let (catalogue, policy) = (&current.catalogue, &self.policy);
                mapping::map_object_at(catalogue, policy, id, bucket, key, *effect)
            }
            Subject::Item { .. } => None,
        };
        let mapping = mapping.unwrap_or_else(|| Mapping::gone(id));
        self.mapped(current, change, Some(id), mapping)
    }

    /// Asks for what is missing, and reports what settles a change of origins.
    fn mapped(
        &self,
        current: &PublishedCatalogue,
        change: Change,
        only: Option<&str>,
        mapping: Mapping,
    ) -> MappedChange {
        log(&change, &mapping);
        for skip in &mapping.skipped {
            self.metrics.skipped(skip_label::label(&skip.why));
        }
        for _ in &mapping.dead {
            self.metrics.failed(NOT_ALLOWED);
        }
        for wait in &mapping.waits {
            self.questions.ask(wait);
        }
        for target in &mapping.targets {
            if target.item.is_root_wildcard()
                && let Some(distribution) = current.catalogue.get(&target.distribution_id)
                && let Some(rerouted) = &distribution.rerouted
                // Until then, edge locations may cache from the former origins.
                && distribution.deployed
                && change.accepted_at >= rerouted.seen_at
            {
                let id = &distribution.id;
                self.questions.report_cleared(id, rerouted.seen_at);
            }
        }
        MappedChange {
            change,
            only: only.map(str::to_owned),
            mapping,
        }
    }

    /// The catalogue's word that no distribution serves a bucket counts only if the catalogue was
    /// read after the change was accepted, or recently for another change.
    fn map_unknown_bucket(
        &mut self,
        current: &PublishedCatalogue,
        change: &Change,
        bucket: &str,
    ) -> Mapping {
        let now = self.clock.now();
        if !self.unknown.has(bucket, now) {
            if current.catalogue.snapshot().journal_end < change.seq {
                return Mapping {
                    waits: vec![Wait::Bucket(bucket.to_owned())],
                    ..Mapping::default()
                };
            }
            if self.unknown.remember(bucket, now) {
                tracing::warn!(
                    bucket,
                    source = %change.source,
                    "no distribution has this bucket as an origin: its changes invalidate nothing"
                );
            }
        }
        Mapping::left_alone(match change.only_at {
            Some(_) => NONE_VISIBLE,
            None => NO_DISTRIBUTION,
        })
    }

    async fn record(&mut self, current: &PublishedCatalogue, step: Step) -> Result<(), StoreError> {
        if step.mapped.is_empty() {
            return Ok(());
        }
        let reached = step.reached();
        self.has_waits |= step.has_waits();
        let recorded = self.store.record_mapping(current.revision, step.mapped);
        recorded.await?;
        self.announce(&reached);
        Ok(())
    }

    /// Tells the others that items wait at these distributions.
    fn announce(&self, reached: &BTreeSet<String>) {
        for id in reached {
            self.queues.mark(id);
        }
        self.wakeups.wake(Wakeup::ItemsWaiting);
        // There may be dead letters.
        self.wakeups.wake(Wakeup::NoticesWaiting);
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
        let unknown = self.unknown.recent(REPORTED_BUCKETS, now);
        self.board.update(|status| {
            status.unmapped = unmapped;
            status.unknown_buckets = unknown;
        });
        Ok(None)
    }
}

/// Logs the message or request that a change came from, and the items that it maps to, or why it has none.
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
    for skip in &mapping.skipped {
        tracing::debug!(
            source = %change.source,
            change = change.seq,
            distribution_id = skip.distribution_id,
            why = skip.why,
            "change skipped"
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
            // The last write may or may not be committed, and some waits may not have been looked at.
            self.catalogue.forget();
            self.queues.mark_all();
        }
        let has_looked = mapped?;
        let count_at = self.count_unmapped().await?;
        // What woke it may be a note.
        let look_at = self.nothing_noted_at.filter(|_| !has_looked);
        let look_at = look_at.map(|at| at + TRUST_NOTES);
        Ok(count_at.into_iter().chain(look_at).min())
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.wakeups.woken(Wakeup::ChangesAccepted) => {}
            () = self.catalogue.changed() => {}
        }
    }
}
