//! Maps accepted changes by the catalogue, or parks them until it knows enough.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Context, POLL, Queues, STORE_PAUSE, Settings};
use crate::{
    domain::{
        batch::Backlog,
        catalogue::Catalogue,
        change::{Change, Subject, Verdict},
        mapping::{self, Mapping, MappingPolicy, Missing, NO_DISTRIBUTION},
    },
    ports::StoreError,
};

/// Changes looked at in one transaction.
const CHUNK: usize = 1_000;
/// For how long a bucket that no distribution has is not asked about again: at first, and at
/// most.
const FIRST_IGNORANCE: Duration = Duration::from_mins(5);
const LONGEST_IGNORANCE: Duration = Duration::from_hours(1);
const WILDCARDS_HEALTH: &str = "wildcards";
/// How many unknown buckets are remembered.
const MAX_UNKNOWN: usize = 10_000;

/// The worker between the journal and the queues.
pub(super) struct Mapper {
    context: Context,
    queues: Arc<Queues>,
    policy: Arc<MappingPolicy>,
    unknown: HashMap<String, Unknown>,
    /// The store did not say whether it took the last verdicts, so what waits is counted anew.
    in_doubt: bool,
    wildcards_in_progress: usize,
    /// The store may have changes that are to be mapped again.
    remap: bool,
}

/// A bucket that a reading of the catalogue showed to be nobody's.
#[derive(Debug, Clone, Copy)]
struct Unknown {
    until: Timestamp,
    times: u32,
}

impl Mapper {
    pub(super) fn new(context: Context, queues: Arc<Queues>, settings: &Settings) -> Self {
        Self {
            context,
            queues,
            policy: Arc::clone(&settings.mapping),
            unknown: HashMap::new(),
            in_doubt: false,
            wildcards_in_progress: settings.in_progress.wildcards,
            remap: true,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut catalogues = self.context.signals.follow_catalogue();
        // What was parked before a restart is looked at again as well.
        catalogues.mark_changed();
        stop.run_until_cancelled_owned(async move {
            loop {
                let pause = match self.map_all(&mut catalogues).await {
                    Ok(()) => POLL,
                    Err(error) => {
                        tracing::warn!(%error, "changes wait to be mapped");
                        self.in_doubt = true;
                        catalogues.mark_changed();
                        STORE_PAUSE
                    }
                };
                let wake_at = self.context.clock.now() + pause;
                let signals = Arc::clone(&self.context.signals);
                tokio::select! {
                    () = self.context.clock.sleep_until(wake_at) => {}
                    () = signals.accepted.notified(), if !self.in_doubt => {}
                    _ = catalogues.changed(), if !self.in_doubt => catalogues.mark_changed(),
                }
            }
        })
        .await;
    }

    /// Maps all that can be mapped now. What is parked is looked at again only with a new
    /// catalogue.
    async fn map_all(
        &mut self,
        catalogues: &mut watch::Receiver<Option<Arc<Catalogue>>>,
    ) -> Result<(), StoreError> {
        if self.in_doubt || self.context.signals.take_recount() {
            self.queues.recount(self.context.store.backlogs().await?);
            self.context.signals.planned.notify_one();
            self.in_doubt = false;
        }
        if catalogues.has_changed().unwrap_or(false) {
            let catalogue = catalogues.borrow_and_update().clone();
            let mut after = i64::MIN;
            while catalogue.is_some() {
                let parked = self.context.store.parked_changes(after, CHUNK).await?;
                let Some(last) = parked.last() else {
                    break;
                };
                after = last.seq;
                self.map(catalogue.as_deref(), parked, true).await?;
            }
        }
        self.remap |= self.context.signals.take_remap();
        if self.remap {
            self.remap = !self.map_again().await?;
        }
        loop {
            self.warn_of_wildcards();
            let catalogue = self.context.signals.catalogue();
            if catalogue.is_none() {
                return Ok(());
            }
            let unseen = self.context.store.unseen_changes(CHUNK).await?;
            if unseen.is_empty() {
                return Ok(());
            }
            self.map(catalogue.as_deref(), unseen, false).await?;
        }
    }

    /// Wildcards are scarce: a distribution with more of them waiting than can be in progress
    /// lives on them.
    fn warn_of_wildcards(&self) {
        let most = self.wildcards_in_progress;
        let mut busy: Vec<_> = self.queues.waiting();
        busy.retain(|(_, backlog)| backlog.wildcards > most);
        if busy.is_empty() {
            return self.context.health.ok(WILDCARDS_HEALTH);
        }
        let named = busy
            .iter()
            .map(|(id, one)| format!("{id} ({})", one.wildcards));
        let text = format!(
            "more wildcards wait than CloudFront works on at once ({most}): {}. Query strings in \
             a cache key make one of every file; `purgefront plan` says which",
            named.collect::<Vec<_>>().join(", ")
        );
        self.context.health.warn(WILDCARDS_HEALTH, text);
    }

    /// Maps again what was mapped by a catalogue that has proved wrong. False where the
    /// catalogue has to learn more first.
    async fn map_again(&mut self) -> Result<bool, StoreError> {
        let store = Arc::clone(&self.context.store);
        let mut new = false;
        while let Some(remap) = store.remap().await? {
            let Some(catalogue) = self.context.signals.catalogue() else {
                return Ok(false);
            };
            let mut mapped = Vec::new();
            for change in store.changes_of(&remap, CHUNK).await? {
                let Subject::Object { bucket, key } = &change.subject else {
                    continue;
                };
                match mapping::map_object(&catalogue, &self.policy, bucket, key) {
                    Ok(mapping) => mapped.push((change, mapping)),
                    Err(Missing::Bucket) => mapped.push((change, Mapping::default())),
                    Err(Missing::Knowledge(wanted)) => {
                        self.context.signals.want_more(wanted);
                        self.in_doubt = new;
                        return Ok(false);
                    }
                }
            }
            new |= !mapped.is_empty();
            store.record_remap(&remap, mapped).await?;
        }
        if new {
            self.queues.recount(store.backlogs().await?);
            self.context.signals.planned.notify_one();
        }
        Ok(true)
    }

    async fn map(
        &mut self,
        catalogue: Option<&Catalogue>,
        changes: Vec<Change>,
        were_parked: bool,
    ) -> Result<(), StoreError> {
        let Some(catalogue) = catalogue else {
            return Ok(());
        };
        let mut backlogs: HashMap<String, Backlog> = HashMap::new();
        let mut verdicts = Vec::with_capacity(changes.len());
        for change in changes {
            let verdict = self.judge(catalogue, &change);
            match &verdict {
                Verdict::Parked if were_parked => continue,
                Verdict::Parked => {}
                Verdict::Mapped(mapping) => {
                    let manual = change.subject.is_manual();
                    for target in &mapping.targets {
                        let id = &target.distribution_id;
                        let one = Backlog::of_one(&target.item, manual, change.accepted_at);
                        let sum = backlogs.get(id).map_or(one, |sum| sum.and(one));
                        backlogs.insert(id.clone(), sum);
                    }
                }
            }
            verdicts.push((change, verdict));
        }
        if !verdicts.is_empty() {
            self.context.store.record_verdicts(verdicts).await?;
        }
        for (distribution_id, backlog) in backlogs {
            self.queues.add(&distribution_id, backlog);
        }
        self.context.signals.planned.notify_one();
        Ok(())
    }

    fn judge(&mut self, catalogue: &Catalogue, change: &Change) -> Verdict {
        match &change.subject {
            Subject::Item {
                distribution_id,
                item,
            } => Verdict::Mapped(match catalogue.get(distribution_id) {
                Some(distribution) => mapping::map_item(distribution, item.clone()),
                None => Mapping::left_alone(format!("distribution {distribution_id} is gone")),
            }),
            Subject::Object { bucket, key } => {
                match mapping::map_object(catalogue, &self.policy, bucket, key) {
                    Ok(mapping) => {
                        self.unknown.remove(bucket);
                        Verdict::Mapped(mapping)
                    }
                    Err(Missing::Knowledge(wanted)) => {
                        self.context.signals.want_more(wanted);
                        Verdict::Parked
                    }
                    Err(Missing::Bucket) => self.judge_unknown(catalogue, change, bucket),
                }
            }
        }
    }

    /// A bucket that nobody has is believed to be nobody's only when the catalogue was read
    /// after the change came, or lately for another change.
    fn judge_unknown(&mut self, catalogue: &Catalogue, change: &Change, bucket: &str) -> Verdict {
        let now = self.context.clock.now();
        let known = self.unknown.get(bucket).copied();
        if known.is_some_and(|unknown| now < unknown.until) {
            return Verdict::Mapped(Mapping::left_alone(NO_DISTRIBUTION));
        }
        if catalogue.snapshot().read_since <= change.accepted_at {
            self.context.signals.want_refresh();
            return Verdict::Parked;
        }
        if self.unknown.len() >= MAX_UNKNOWN {
            self.unknown.retain(|_, unknown| now < unknown.until);
        }
        let times = known.map_or(0, |unknown| unknown.times + 1);
        let ignorance = FIRST_IGNORANCE.saturating_mul(2_u32.saturating_pow(times));
        let until = now + ignorance.min(LONGEST_IGNORANCE);
        if self.unknown.len() < MAX_UNKNOWN {
            self.unknown
                .insert(bucket.to_owned(), Unknown { until, times });
        }
        Verdict::Mapped(Mapping::left_alone(NO_DISTRIBUTION))
    }
}
