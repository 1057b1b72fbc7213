//! Refreshes the catalogue: on a timer, and when mapping lacks information.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    Context, Settings,
    account::{AccountReader, PolicyReading},
    questions::{Question, Questions},
    runner::Worker,
    status_board::StatusBoard,
};
use crate::{
    domain::{
        catalogue::{Catalogue, Details, Snapshot},
        cdn::CdnError,
        change::{Asked, NewRequest},
        due::due_at,
        limits::backoff,
        mapping::{self, MappingPolicy, Notices},
        origin::OriginOverride,
        path::Item,
        status::CatalogueFailure,
        unused::unused,
    },
    ports::{
        Clock, StoreError, Wakeup, Wakeups,
        catalogue::{CatalogueWants, Wanted},
        dispatch::MappingStore,
    },
};

const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// How soon the list is read again for a distribution that is being deployed, and cleared after that.
/// Deployments take minutes.
const DEPLOYED_YET: Duration = Duration::from_secs(30);
/// How often what the request path wants is looked at without a wake-up.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// The name under which history shows requests that follow a change of origins.
const ORIGIN_CHANGE: &str = "origin_change";

/// Reads CloudFront's configuration and saves it in the store, from where every process gets it.
pub(super) struct CatalogueRefresher {
    reader: AccountReader,
    store: Arc<dyn MappingStore>,
    clock: Arc<dyn Clock>,
    wakeups: Arc<dyn Wakeups>,
    questions: Arc<Questions>,
    /// What the request path wants to know, perhaps in another process.
    wants: Arc<dyn CatalogueWants>,
    /// Whether it has woken this worker,
    wanted: bool,
    /// and when they are looked at anyway, because a wake-up can be lost.
    look_at: Timestamp,
    board: StatusBoard,
    refresh: Duration,
    policy: Arc<MappingPolicy>,
    origins: Arc<[OriginOverride]>,
    /// The names of API tokens, with the distributions that they are limited to.
    tokens: Arc<[(String, String)]>,
    random: fastrand::Rng,
    /// When the list is read next.
    list: Retry,
    /// Other open questions, and when each is asked next.
    open: BTreeMap<Question, Retry>,
    /// Why open questions have no answer yet.
    unanswered: BTreeMap<Question, CatalogueFailure>,
    details_denied: BTreeSet<String>,
    policies_denied: BTreeSet<String>,
    /// Policies that cannot be read for another reason, and why.
    policies_failed: BTreeMap<String, String>,
    /// Changes of origins that need nothing more: the distribution, and when it was seen.
    cleared: BTreeSet<(String, Timestamp)>,
    /// The catalogue in the store; `None` until the account has been read once.
    kept: Option<Catalogue>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Timestamp,
    /// Failures in a row.
    failures: u32,
}

impl Retry {
    /// When it is due, having been put off by `longest` at most.
    fn due_at(self, longest: Duration, now: Timestamp) -> Timestamp {
        let longest = SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX);
        due_at(self.at, longest, now)
    }
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
        let refresher = Self {
            reader,
            store,
            clock: Arc::clone(&context.clock),
            wakeups: Arc::clone(&context.wakeups),
            questions,
            wants: Arc::clone(&context.wants),
            wanted: false,
            look_at: context.clock.now() + LOOK_EVERY,
            board,
            refresh: settings.catalogue_refresh,
            policy: Arc::clone(&settings.mapping),
            origins: Arc::clone(&settings.origins),
            tokens: Arc::clone(&settings.token_distributions),
            random: fastrand::Rng::with_seed(settings.seed ^ 1),
            list: Retry {
                at: context.clock.now(),
                failures: 0,
            },
            open: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            details_denied: BTreeSet::new(),
            policies_denied: BTreeSet::new(),
            policies_failed: BTreeMap::new(),
            cleared: BTreeSet::new(),
            kept,
        };
        // CloudFront may be dark for long.
        if let Some(kept) = &refresher.kept {
            refresher.report(kept);
        }
        refresher
    }

    /// Takes what the request path wants to know.
    async fn take_wanted(&mut self) -> Result<(), StoreError> {
        let now = self.clock.now();
        // The last: the clock may have been set back.
        if self.wanted || now >= self.look_at || self.look_at > now + LOOK_EVERY {
            let wanted = self.wants.take_wanted().await?;
            if self.wanted || wanted != Wanted::default() {
                self.questions.ask_wanted(wanted);
            }
            self.wanted = false;
            self.look_at = now + LOOK_EVERY;
        }
        Ok(())
    }

    /// Schedules new questions for now. What has just failed keeps its retry time.
    fn take_questions(&mut self) {
        let mut asked = self.questions.take();
        self.cleared.append(&mut asked.cleared);
        if asked.refresh {
            self.refresh_now();
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

    fn refresh_now(&mut self) {
        if self.list.failures == 0 {
            self.list.at = self.clock.now();
        }
    }

    /// When the next call is due. All times are limited, because the clock may have been set back.
    fn next_at(&self) -> Timestamp {
        let now = self.clock.now();
        let list = self.list.due_at(self.refresh, now);
        let open = self.open.values();
        open.map(|retry| retry.due_at(self.longest_pause(), now))
            .fold(list, Timestamp::min)
    }

    /// Reads the list if it is due, and then answers the question that is due longest, but no more, so
    /// that a reading never waits for many answers.
    async fn answer_due(&mut self) -> Result<(), StoreError> {
        if self.list.due_at(self.refresh, self.clock.now()) <= self.clock.now() {
            self.read_list().await?;
        }
        let (now, longest) = (self.clock.now(), self.longest_pause());
        let open = self.open.iter().map(|(question, retry)| {
            let at = retry.due_at(longest, now);
            (at, question.clone(), *retry)
        });
        match open.min_by_key(|(at, ..)| *at) {
            Some((at, question, retry)) if at <= now => self.answer(question, retry).await,
            _ => Ok(()),
        }
    }

    async fn answer(&mut self, question: Question, retry: Retry) -> Result<(), StoreError> {
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
                self.unanswered.remove(&question);
            }
            Err(error) => {
                let retry = self.later(retry);
                tracing::warn!(call = question.call(), id = question.id(), %error, again_at = %retry.at,
                    "CloudFront did not answer a question; the changes that need the answer wait");
                let failure = failure(&question, &error);
                self.unanswered.insert(question.clone(), failure);
                self.open.insert(question, retry);
                if matches!(error, CdnError::NoSuchDistribution(_)) {
                    // Its changes wait until the list shows that it is gone.
                    self.refresh_now();
                }
            }
        }
        self.report_unanswered();
        Ok(())
    }

    fn report_unanswered(&self) {
        let unanswered: Vec<_> = self.unanswered.values().cloned().collect();
        self.board
            .update(|status| status.catalogue.unanswered = unanswered);
    }

    async fn read_list(&mut self) -> Result<(), StoreError> {
        // Before the list, so that it has everything that was there when these changes were accepted.
        let journal_end = self.store.journal_end().await?;
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
        let catalogue = known.refreshed(listing.distributions, listing.began, journal_end);
        self.details_denied.clear();
        self.policies_denied.clear();
        self.policies_failed.clear();
        // Policies change without notice, so they are read again. Mapping uses the known ones
        // meanwhile.
        for id in catalogue.snapshot().cache_policies.keys() {
            self.ask(Question::Policy(id.clone()));
        }
        for id in mapping::tagged(&catalogue, &self.policy).unread {
            self.ask(Question::Details(id));
        }
        self.keep(catalogue).await?;
        let pause = if self.awaits_deployment() {
            DEPLOYED_YET.min(self.refresh)
        } else {
            self.refresh
        };
        self.list = Retry {
            at: listing.began + pause,
            failures: 0,
        };
        self.board.update(|status| status.catalogue.failure = None);
        tracing::info!(distributions = count, "catalogue read");
        Ok(())
    }

    fn list_failed(&mut self, error: &CdnError) {
        self.list = self.later(self.list);
        tracing::warn!(%error, again_at = %self.list.at, "the catalogue could not be read");
        let failure = CatalogueFailure {
            error: error.to_string(),
            kind: error.label(),
            remedy: error.remedy("grant cloudfront:ListDistributions on *"),
        };
        self.board
            .update(|status| status.catalogue.failure = Some(failure));
    }

    fn later(&mut self, failed: Retry) -> Retry {
        let failures = failed.failures + 1;
        let random = self.random.f64();
        let pause = backoff(failures, FIRST_PAUSE, self.longest_pause(), random);
        let at = self.clock.now() + pause;
        Retry { at, failures }
    }

    fn longest_pause(&self) -> Duration {
        LONGEST_PAUSE.min(self.refresh)
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

    /// The catalogue with a cache policy; `None` if it has that already.
    async fn read_policy(&mut self, id: &str) -> Result<Option<Catalogue>, CdnError> {
        let reading = self.reader.policy(id).await?;
        let policy = reading.known();
        match reading {
            PolicyReading::Read(_) => {}
            PolicyReading::Denied => drop(self.policies_denied.insert(id.to_owned())),
            PolicyReading::Failed(why) => drop(self.policies_failed.insert(id.to_owned(), why)),
        }
        let kept = self.kept.as_ref();
        let kept = kept.filter(|kept| kept.snapshot().cache_policies.get(id) != Some(&policy));
        Ok(kept.map(|kept| kept.with_policy(id, &policy)))
    }

    /// Forgets the changes of origins after which everything is being invalidated.
    async fn keep_cleared(&mut self) -> Result<(), StoreError> {
        let Some(mut catalogue) = self.kept.clone().filter(|_| !self.cleared.is_empty()) else {
            return Ok(());
        };
        for (id, seen_at) in &self.cleared {
            let distribution = catalogue.get(id);
            let rerouted = distribution.and_then(|one| one.rerouted.as_ref());
            // There may have been another one meanwhile.
            if rerouted.is_some_and(|one| one.seen_at == *seen_at) {
                catalogue = catalogue.with_rerouting_cleared(id);
            }
        }
        self.keep(catalogue).await?;
        self.cleared.clear();
        Ok(())
    }

    /// Whether a distribution is to be cleared once its new origins are deployed.
    fn awaits_deployment(&self) -> bool {
        let kept = self.kept.iter();
        let mut all = kept.flat_map(|kept| &kept.snapshot().distributions);
        all.any(|one| one.rerouted.is_some() && self.policy.clears_rerouted(one) && !one.deployed)
    }

    /// The requests that clear distributions with other origins, and the catalogue after that.
    fn clear_rerouted(&self, mut catalogue: Catalogue) -> (Catalogue, Vec<NewRequest>) {
        let mut requests = Vec::new();
        for one in catalogue.snapshot().distributions.clone() {
            let Some(rerouted) = &one.rerouted else {
                continue;
            };
            if !one.deployed || !self.policy.clears_rerouted(&one) {
                continue;
            }
            requests.push(NewRequest {
                id: Uuid::now_v7(),
                token: ORIGIN_CHANGE.to_owned(),
                reason: Some(format!(
                    "the distribution has other origins or behaviours since {} or shortly before, and \
                     origin_change is \"clear\"",
                    rerouted.seen_at
                )),
                asked: Asked::Items {
                    distribution_id: one.id.clone(),
                    items: vec![Item::everything()],
                },
                idempotency: None,
                accepted_at: self.clock.now(),
            });
            catalogue = catalogue.with_rerouting_cleared(&one.id);
        }
        (catalogue, requests)
    }

    /// Saves a catalogue in the store, and notes the distributions that are new or have changed
    /// since the previous one. Changes that were accepted since the previous reading, and mapped
    /// without this catalogue, are mapped to those distributions again.
    async fn keep(&mut self, catalogue: Catalogue) -> Result<(), StoreError> {
        let late: Vec<_> = match &self.kept {
            Some(kept) => catalogue
                .changed_since(kept.snapshot())
                .map(|one| one.id.clone())
                .collect(),
            None => Vec::new(),
        };
        let (catalogue, requests) = self.clear_rerouted(catalogue);
        let clears = !requests.is_empty();
        self.store
            .keep_catalogue(catalogue.snapshot(), &late, requests)
            .await?;
        self.wakeups.wake(Wakeup::CatalogueKept);
        if clears {
            self.wakeups.wake(Wakeup::ChangesAccepted);
        }
        if !late.is_empty() {
            tracing::info!(
                distributions = ?late,
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
        let notices = Notices::of(catalogue, &self.policy);
        if !faults.is_empty() {
            tracing::warn!(?faults, "rules emit cache tags that no distribution keeps");
        }
        let unused = unused(catalogue, &self.policy, &self.origins, &self.tokens);
        self.board.update(|status| {
            let catalogue = &mut status.catalogue;
            catalogue.details_denied = self.details_denied.iter().cloned().collect();
            catalogue.policies_denied = self.policies_denied.iter().cloned().collect();
            let failed = self.policies_failed.iter();
            catalogue.policies_failed = failed.map(|(id, why)| format!("{id} ({why})")).collect();
            catalogue.rule_faults = faults;
            catalogue.unused_settings = unused;
            catalogue.notices = notices;
        });
    }
}

fn failure(question: &Question, error: &CdnError) -> CatalogueFailure {
    let grant = match question {
        Question::Details(_) => "grant cloudfront:GetDistributionConfig",
        Question::Policy(_) => "grant cloudfront:GetCachePolicy",
    };
    CatalogueFailure {
        error: format!("{} of {} failed ({error})", question.call(), question.id()),
        kind: error.label(),
        remedy: error.remedy(grant),
    }
}

#[async_trait]
impl Worker for CatalogueRefresher {
    fn name(&self) -> &'static str {
        "catalogue refresher"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.take_wanted().await?;
        self.take_questions();
        self.keep_cleared().await?;
        self.answer_due().await?;
        Ok(Some(self.next_at()))
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.questions.asked() => {}
            () = self.wakeups.woken(Wakeup::CatalogueWanted) => self.wanted = true,
        }
    }
}
