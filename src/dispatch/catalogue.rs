//! Refreshes the catalogue: on a timer, and when mapping lacks information.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    Context, Settings,
    account::AccountReader,
    questions::{Question, Questions},
    runner::Worker,
    status_board::StatusBoard,
};
use crate::{
    domain::{
        catalogue::{CachePolicy, Catalogue, Details, Snapshot},
        cdn::CdnError,
        change::LateDistribution,
        limits::backoff,
        mapping::{self, MappingPolicy},
        origin::OriginOverride,
    },
    ports::{Clock, StoreError, Wakeup, Wakeups, dispatch::MappingStore},
};

const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Reads CloudFront's configuration and saves it in the store, from where every process gets it.
pub(super) struct CatalogueRefresher {
    reader: AccountReader,
    store: Arc<dyn MappingStore>,
    clock: Arc<dyn Clock>,
    wakeups: Arc<dyn Wakeups>,
    questions: Arc<Questions>,
    board: StatusBoard,
    refresh: Duration,
    policy: Arc<MappingPolicy>,
    origins: Arc<[OriginOverride]>,
    random: fastrand::Rng,
    /// When the list is read next.
    list: Retry,
    /// Other open questions, and when each is asked next.
    open: BTreeMap<Question, Retry>,
    details_denied: BTreeSet<String>,
    policies_denied: BTreeSet<String>,
    /// The catalogue in the store; `None` until the account has been read once.
    kept: Option<Catalogue>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Timestamp,
    /// Failures in a row.
    failures: u32,
}

impl CatalogueRefresher {
    pub(super) fn new(
        context: &Context,
        settings: &Settings,
        store: Arc<dyn MappingStore>,
        reader: AccountReader,
        questions: Arc<Questions>,
        board: StatusBoard,
        kept: Option<Catalogue>,
    ) -> Self {
        Self {
            reader,
            store,
            clock: Arc::clone(&context.clock),
            wakeups: Arc::clone(&context.wakeups),
            questions,
            board,
            refresh: settings.catalogue_refresh,
            policy: Arc::clone(&settings.mapping),
            origins: Arc::clone(&settings.origins),
            random: fastrand::Rng::with_seed(settings.seed ^ 1),
            list: Retry {
                at: context.clock.now(),
                failures: 0,
            },
            open: BTreeMap::new(),
            details_denied: BTreeSet::new(),
            policies_denied: BTreeSet::new(),
            kept,
        }
    }

    /// Schedules new questions for now. What has just failed keeps its retry time.
    fn take_questions(&mut self) {
        let asked = self.questions.take();
        if asked.refresh && self.list.failures == 0 {
            self.list.at = self.clock.now();
        }
        for question in asked.questions {
            // The mapper may have asked with an older catalogue.
            let known = match (&question, &self.kept) {
                (Question::Policy(id), Some(kept)) => {
                    kept.snapshot().cache_policies.contains_key(id)
                }
                _ => false,
            };
            if !known {
                self.ask(question);
            }
        }
    }

    fn ask(&mut self, question: Question) {
        let at = self.clock.now();
        let retry = Retry { at, failures: 0 };
        self.open.entry(question).or_insert(retry);
    }

    fn next_at(&self) -> Timestamp {
        let open = self.open.values().map(|retry| retry.at);
        open.fold(self.list.at, Timestamp::min)
    }

    async fn answer_due(&mut self) -> Result<(), StoreError> {
        if self.list.at <= self.clock.now() {
            self.read_list().await?;
        }
        let now = self.clock.now();
        let due = self.open.iter().filter(|(_, retry)| retry.at <= now);
        let due: Vec<_> = due
            .map(|(question, retry)| (question.clone(), *retry))
            .collect();
        for (question, retry) in due {
            let answer = match &question {
                Question::Details(id) => self.read_details(id).await,
                Question::Policy(id) => self.read_policy(id).await,
            };
            match answer {
                Ok(updated) => {
                    // The question stays open until its answer is in the store.
                    if let Some(updated) = updated {
                        self.keep(updated).await?;
                    }
                    self.open.remove(&question);
                }
                Err(error) => {
                    let retry = self.later(retry);
                    tracing::warn!(?question, %error, again_at = %retry.at,
                        "CloudFront did not answer a question; the changes that need the answer wait");
                    self.open.insert(question, retry);
                }
            }
        }
        Ok(())
    }

    async fn read_list(&mut self) -> Result<(), StoreError> {
        let listing = match self.reader.list().await {
            Ok(listing) => listing,
            Err(error) => {
                self.list_failed(&error);
                return Ok(());
            }
        };
        let count = listing.distributions.len();
        let none = || Catalogue::new(Snapshot::default(), Arc::clone(&self.origins));
        let known = self.kept.clone().unwrap_or_else(none);
        let catalogue = known.refreshed(listing.distributions, listing.began);
        self.details_denied.clear();
        self.policies_denied.clear();
        // Policies change without notice, so they are read again. Mapping uses the known ones
        // meanwhile.
        for id in catalogue.snapshot().cache_policies.keys() {
            self.ask(Question::Policy(id.clone()));
        }
        for id in mapping::tagged(&catalogue, &self.policy).unread {
            self.ask(Question::Details(id));
        }
        self.keep(catalogue).await?;
        self.list = Retry {
            at: listing.began + self.refresh,
            failures: 0,
        };
        self.board.update(|status| status.catalogue.failure = None);
        tracing::info!(distributions = count, "catalogue read");
        Ok(())
    }

    fn list_failed(&mut self, error: &CdnError) {
        self.list = self.later(self.list);
        tracing::warn!(%error, again_at = %self.list.at, "the catalogue could not be read");
        let failure = error.to_string();
        self.board
            .update(|status| status.catalogue.failure = Some(failure));
    }

    fn later(&mut self, failed: Retry) -> Retry {
        let failures = failed.failures + 1;
        let longest = LONGEST_PAUSE.min(self.refresh);
        let pause = backoff(failures, FIRST_PAUSE, longest, self.random.f64());
        let at = self.clock.now() + pause;
        Retry { at, failures }
    }

    /// The catalogue with a distribution's details; `None` if nothing needs them any more.
    async fn read_details(&mut self, id: &str) -> Result<Option<Catalogue>, CdnError> {
        let Some(kept) = &self.kept else {
            return Ok(None);
        };
        let Some(distribution) = kept.get(id).filter(|one| one.needs_details()) else {
            return Ok(None);
        };
        let details = self.reader.details(distribution).await?;
        let updated = kept.with_details(id, &details);
        if details == Details::Denied {
            self.details_denied.insert(id.to_owned());
        }
        Ok(Some(updated))
    }

    /// The catalogue with a cache policy.
    async fn read_policy(&mut self, id: &str) -> Result<Option<Catalogue>, CdnError> {
        let policy = self.reader.policy(id).await?;
        if policy == CachePolicy::Denied {
            self.policies_denied.insert(id.to_owned());
        }
        let kept = self.kept.as_ref();
        Ok(kept.map(|kept| kept.with_policy(id, &policy)))
    }

    /// Saves a catalogue in the store, and notes the distributions that are new or have changed
    /// since the previous one. Changes that were accepted since the previous reading are mapped to
    /// those distributions again.
    async fn keep(&mut self, catalogue: Catalogue) -> Result<(), StoreError> {
        let late: Vec<_> = match &self.kept {
            Some(kept) => catalogue
                .changed_since(kept.snapshot())
                .map(|one| LateDistribution {
                    distribution_id: one.id.clone(),
                    since: kept.snapshot().read_since,
                })
                .collect(),
            None => Vec::new(),
        };
        self.store
            .keep_catalogue(catalogue.snapshot(), &late)
            .await?;
        self.wakeups.wake(Wakeup::CatalogueKept);
        if !late.is_empty() {
            let ids: Vec<_> = late.iter().map(|one| &one.distribution_id).collect();
            tracing::info!(
                distributions = ?ids,
                "distributions are new or have changed: changes accepted since the last reading are \
                 mapped to them again"
            );
            self.wakeups.wake(Wakeup::ChangesAccepted);
        }
        self.report(&catalogue);
        self.kept = Some(catalogue);
        Ok(())
    }

    fn report(&self, catalogue: &Catalogue) {
        let faults = mapping::tagged(catalogue, &self.policy).faults;
        if !faults.is_empty() {
            tracing::warn!(?faults, "rules emit cache tags that no distribution keeps");
        }
        self.board.update(|status| {
            let catalogue = &mut status.catalogue;
            catalogue.details_denied = self.details_denied.iter().cloned().collect();
            catalogue.policies_denied = self.policies_denied.iter().cloned().collect();
            catalogue.rule_faults = faults;
        });
    }
}

#[async_trait]
impl Worker for CatalogueRefresher {
    fn name(&self) -> &'static str {
        "catalogue refresher"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.take_questions();
        self.answer_due().await?;
        Ok(Some(self.next_at()))
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.questions.asked() => {}
            // The request path asked, perhaps in another process.
            () = self.wakeups.woken(Wakeup::CatalogueWanted) => self.questions.refresh(),
        }
    }
}
