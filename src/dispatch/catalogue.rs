//! Refreshes the catalogue: on a timer, and when mapping lacks something.

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
    runner::{STORE_PAUSE, Worker},
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

/// Asks CloudFront and keeps the answers in the store, from where everybody learns them.
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
    /// When the list is read next, and how often that failed in a row.
    list: Retry,
    /// What else is asked, with the same for each.
    open: BTreeMap<Question, Retry>,
    details_denied: BTreeSet<String>,
    policies_denied: BTreeSet<String>,
    /// What the store has; `None` until the account was first read.
    kept: Option<Catalogue>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Timestamp,
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

    /// What is asked is done at once, unless it has just failed: then in its turn.
    fn take_questions(&mut self) {
        let asked = self.questions.take();
        if asked.refresh && self.list.failures == 0 {
            self.list.at = self.clock.now();
        }
        for question in asked.questions {
            // It may have been asked with what was known before.
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
        self.open
            .entry(question)
            .or_insert(Retry { at, failures: 0 });
    }

    fn next_at(&self) -> Timestamp {
        let open = self.open.values().map(|retry| retry.at);
        open.fold(self.list.at, Timestamp::min)
    }

    async fn do_what_is_due(&mut self) {
        if self.list.at <= self.clock.now() {
            self.read_list().await;
        }
        let now = self.clock.now();
        let due = self.open.iter().filter(|(_, retry)| retry.at <= now);
        let due: Vec<_> = due.map(|(asked, retry)| (asked.clone(), *retry)).collect();
        for (question, retry) in due {
            let answered = match &question {
                Question::Details(id) => self.read_details(id).await,
                Question::Policy(id) => self.read_policy(id).await,
            };
            match answered {
                Ok(()) => drop(self.open.remove(&question)),
                Err(error) => {
                    let retry = self.later(retry);
                    tracing::warn!(?question, %error, again_at = %retry.at,
                        "CloudFront was asked in vain; the changes that need it wait");
                    self.open.insert(question, retry);
                }
            }
        }
    }

    async fn read_list(&mut self) {
        let listing = match self.reader.list().await {
            Ok(listing) => listing,
            Err(error) => return self.list_failed(&error),
        };
        let count = listing.distributions.len();
        let none = || Catalogue::new(Snapshot::default(), Arc::clone(&self.origins));
        let known = self.kept.clone().unwrap_or_else(none);
        let catalogue = known.refreshed(listing.distributions, listing.began);
        self.details_denied.clear();
        self.policies_denied.clear();
        // Nothing tells when a policy changes. Mapping goes on with what is known.
        for id in catalogue.snapshot().cache_policies.keys() {
            self.ask(Question::Policy(id.clone()));
        }
        for id in mapping::tagged(&catalogue, &self.policy).unread {
            self.ask(Question::Details(id));
        }
        if self.keep(catalogue).await.is_err() {
            // Read again soon: what is not kept is not known.
            self.list.at = self.clock.now() + STORE_PAUSE;
            return;
        }
        self.list = Retry {
            at: listing.began + self.refresh,
            failures: 0,
        };
        self.board.update(|status| status.catalogue.failure = None);
        tracing::info!(distributions = count, "the catalogue was read");
    }

    fn list_failed(&mut self, error: &CdnError) {
        self.list = self.later(self.list);
        tracing::warn!(%error, again_at = %self.list.at, "the catalogue was not read");
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

    async fn read_details(&mut self, id: &str) -> Result<(), CdnError> {
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let Some(distribution) = kept.get(id).filter(|one| one.needs_details()) else {
            return Ok(());
        };
        let details = self.reader.details(distribution).await?;
        let learnt = kept.with_details(id, &details);
        if details == Details::Denied {
            self.details_denied.insert(id.to_owned());
        }
        self.keep(learnt).await.map_err(|error| not_kept(&error))
    }

    async fn read_policy(&mut self, id: &str) -> Result<(), CdnError> {
        let policy = self.reader.policy(id).await?;
        if policy == CachePolicy::Denied {
            self.policies_denied.insert(id.to_owned());
        }
        let Some(kept) = &self.kept else {
            return Ok(());
        };
        let learnt = kept.with_policy(id, &policy);
        self.keep(learnt).await.map_err(|error| not_kept(&error))
    }

    /// Keeps what was learnt, with a note of the distributions that prove to be other than what
    /// was kept before: what was accepted since that reading is mapped to them again.
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
        let kept = self.store.keep_catalogue(catalogue.snapshot(), &late).await;
        if let Err(error) = kept {
            tracing::warn!(%error, "the catalogue was read but not kept");
            return Err(error);
        }
        self.wakeups.wake(Wakeup::CatalogueKept);
        if !late.is_empty() {
            let ids: Vec<_> = late.iter().map(|one| &one.distribution_id).collect();
            tracing::info!(
                distributions = ?ids,
                "distributions are new or other than before: what was accepted since the last \
                 reading is mapped to them again"
            );
            self.wakeups.wake(Wakeup::ChangesAccepted);
        }
        self.show(&catalogue);
        self.kept = Some(catalogue);
        Ok(())
    }

    fn show(&self, catalogue: &Catalogue) {
        let faults = mapping::tagged(catalogue, &self.policy).faults;
        if !faults.is_empty() {
            tracing::warn!(?faults, "rules give cache tags that nobody keeps");
        }
        self.board.update(|status| {
            let shown = &mut status.catalogue;
            shown.details_denied = self.details_denied.iter().cloned().collect();
            shown.policies_denied = self.policies_denied.iter().cloned().collect();
            shown.rule_faults = faults;
        });
    }
}

/// What the store did not take is asked again, as if CloudFront had not answered.
fn not_kept(error: &StoreError) -> CdnError {
    CdnError::Unknown(error.to_string())
}

#[async_trait]
impl Worker for CatalogueRefresher {
    fn name(&self) -> &'static str {
        "catalogue refresher"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.take_questions();
        self.do_what_is_due().await;
        Ok(Some(self.next_at()))
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.questions.asked() => {}
            // Somebody asked on the request path, perhaps in another process.
            () = self.wakeups.woken(Wakeup::CatalogueWanted) => self.questions.refresh(),
        }
    }
}
