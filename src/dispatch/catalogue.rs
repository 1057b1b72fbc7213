//! Keeps the catalogue: reads it on a timer and when something unknown turns up.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::{Context, Pace, Settings};
use crate::{
    domain::{
        catalogue::{CachePolicy, Catalogue, Details, Distribution, Snapshot},
        limits::backoff,
        mapping::{self, MappingPolicy},
        origin::OriginOverride,
    },
    ports::CdnError,
    signals::Asked,
};

/// The name under which the catalogue reports its health.
const HEALTH: &str = "catalogue";
const DETAILS_HEALTH: &str = "root_objects";
const POLICIES_HEALTH: &str = "cache_policies";
const RULES_HEALTH: &str = "rules";
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Pages of a listing: AWS gives 100 distributions a page, and allows accounts some hundreds.
const MAX_PAGES: usize = 1_000;

/// The only reader of `CloudFront`'s configuration.
pub(super) struct CatalogueKeeper {
    context: Context,
    pace: Arc<Pace>,
    refresh: Duration,
    policy: Arc<MappingPolicy>,
    overrides: Arc<[OriginOverride]>,
    random: fastrand::Rng,
    /// When the list is read next, and how often that failed in a row.
    list: Retry,
    /// What else is wanted, with the same for each.
    asked: BTreeMap<Asked, Retry>,
    denied: BTreeSet<Asked>,
    /// What the store has: changes since then are mapped again where it proves wrong.
    kept: Option<Snapshot>,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    at: Timestamp,
    failures: u32,
}

impl CatalogueKeeper {
    pub(super) fn new(context: Context, pace: Arc<Pace>, settings: &Settings) -> Self {
        let list = Retry {
            at: context.clock.now(),
            failures: 0,
        };
        let kept = context.signals.catalogue();
        Self {
            context,
            pace,
            refresh: settings.catalogue_refresh,
            policy: Arc::clone(&settings.mapping),
            overrides: Arc::clone(&settings.origins),
            random: fastrand::Rng::with_seed(settings.seed ^ 1),
            list,
            asked: BTreeMap::new(),
            denied: BTreeSet::new(),
            kept: kept.map(|catalogue| catalogue.snapshot().clone()),
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        if self.context.signals.catalogue().is_none() {
            self.context
                .health
                .warn(HEALTH, "not read yet: changes wait until it is");
        }
        stop.run_until_cancelled_owned(async move {
            loop {
                self.do_what_is_due().await;
                let signals = Arc::clone(&self.context.signals);
                tokio::select! {
                    () = self.context.clock.sleep_until(self.next_at()) => {}
                    () = signals.catalogue_wanted.notified() => self.take_wanted(),
                }
            }
        })
        .await;
    }

    /// What is asked for is done at once, unless it just failed: then in its turn.
    fn take_wanted(&mut self) {
        let wanted = self.context.signals.take_wanted();
        if wanted.refresh && self.list.failures == 0 {
            self.list.at = self.context.clock.now();
        }
        let catalogue = self.context.signals.catalogue().unwrap_or_default();
        for asked in wanted.asked {
            // It may have been asked for by what was known before.
            if let Asked::Policy(id) = &asked
                && catalogue.snapshot().cache_policies.contains_key(id)
            {
                continue;
            }
            self.ask(asked);
        }
    }

    fn ask(&mut self, asked: Asked) {
        let at = self.context.clock.now();
        self.asked.entry(asked).or_insert(Retry { at, failures: 0 });
    }

    fn next_at(&self) -> Timestamp {
        let asked = self.asked.values().map(|retry| retry.at);
        asked.chain([self.list.at]).min().unwrap_or(self.list.at)
    }

    async fn do_what_is_due(&mut self) {
        if self.list.at <= self.context.clock.now() {
            self.read_list().await;
        }
        let now = self.context.clock.now();
        let due: Vec<_> = self
            .asked
            .iter()
            .filter(|(_, retry)| retry.at <= now)
            .map(|(asked, retry)| (asked.clone(), *retry))
            .collect();
        for (asked, retry) in due {
            match &asked {
                Asked::Details(id) => self.read_details(id, retry).await,
                Asked::Policy(id) => self.read_policy(id, retry).await,
            }
        }
    }

    async fn read_list(&mut self) {
        let mut began = self.context.clock.now();
        match self.read_pages(&mut began).await {
            Ok(listed) => {
                let count = listed.len();
                let overrides = Arc::clone(&self.overrides);
                let catalogue = self.context.signals.update_catalogue(|old| {
                    old.map_or_else(
                        || Catalogue::new(Snapshot::default(), overrides),
                        Clone::clone,
                    )
                    .refreshed(listed, began)
                });
                self.denied.clear();
                for part in [DETAILS_HEALTH, POLICIES_HEALTH, HEALTH] {
                    self.context.health.ok(part);
                }
                self.list = Retry {
                    at: began + self.refresh,
                    failures: 0,
                };
                tracing::info!(distributions = count, "the catalogue was read");
                // Nothing tells when a policy changes. Mapping goes on by what is known.
                for id in catalogue.snapshot().cache_policies.keys() {
                    self.ask(Asked::Policy(id.clone()));
                }
                for id in mapping::tagged(&catalogue, &self.policy).unread {
                    self.ask(Asked::Details(id));
                }
                self.learnt(&catalogue).await;
            }
            Err(error) => {
                self.list = self.later(self.list);
                let known = match self.context.signals.catalogue() {
                    Some(kept) => {
                        let since = kept.snapshot().read_since;
                        format!("mapping goes on by the one of {since}")
                    }
                    None => "changes wait until it is".to_owned(),
                };
                tracing::warn!(%error, again_at = %self.list.at, "the catalogue was not read");
                let text = format!(
                    "ListDistributions did not succeed ({error}); {known}. \
                     It needs cloudfront:ListDistributions on *"
                );
                self.context.health.warn(HEALTH, text);
            }
        }
    }

    fn later(&mut self, failed: Retry) -> Retry {
        let failures = failed.failures + 1;
        let longest = LONGEST_PAUSE.min(self.refresh);
        let pause = backoff(failures, FIRST_PAUSE, longest, self.random.f64());
        let at = self.context.clock.now() + pause;
        Retry { at, failures }
    }

    /// Reads all pages. `began` becomes the time when the first call left.
    async fn read_pages(&self, began: &mut Timestamp) -> Result<Vec<Distribution>, CdnError> {
        let mut listed = Vec::new();
        let mut marker: Option<String> = None;
        for page in 0..MAX_PAGES {
            self.pace.turn().await;
            if page == 0 {
                *began = self.context.clock.now();
            }
            let read = self.context.cdn.list_distributions(marker.as_deref()).await;
            self.count("ListDistributions", &read);
            let (distributions, next) = read?;
            listed.extend(distributions);
            match next {
                Some(next) => marker = Some(next),
                None => return Ok(listed),
            }
        }
        Err(CdnError::Refused(
            "the list of distributions has no end".to_owned(),
        ))
    }

    async fn read_details(&mut self, id: &str, retry: Retry) {
        let asked = Asked::Details(id.to_owned());
        let Some(catalogue) = self.context.signals.catalogue() else {
            return;
        };
        let Some(distribution) = catalogue.get(id).filter(|one| one.needs_details()) else {
            self.asked.remove(&asked);
            return;
        };
        let revision = distribution.revision.clone();
        self.pace.turn().await;
        let read = self.context.cdn.details(id).await;
        self.count("GetDistributionConfig", &read);
        let details = match read {
            Ok(read) => Details::Read {
                revision,
                root: read.root,
                cache_tags: read.cache_tags,
            },
            Err(CdnError::Denied(why)) => {
                tracing::warn!(distribution_id = %id, %why, "GetDistributionConfig is denied");
                let denied = self.deny(asked.clone());
                let text = format!(
                    "GetDistributionConfig is denied for {denied}: mapping goes on without the \
                     default root object; grant cloudfront:GetDistributionConfig"
                );
                self.context.health.warn(DETAILS_HEALTH, text);
                Details::Denied
            }
            Err(error) => {
                let retry = self.later(retry);
                tracing::warn!(distribution_id = %id, %error, again_at = %retry.at,
                    "the distribution's configuration was not read; its changes wait");
                self.asked.insert(asked, retry);
                return;
            }
        };
        self.asked.remove(&asked);
        let learnt = self.context.signals.update_catalogue(|old| {
            old.map_or_else(Catalogue::default, |old| old.with_details(id, &details))
        });
        self.learnt(&learnt).await;
    }

    async fn read_policy(&mut self, id: &str, retry: Retry) {
        let asked = Asked::Policy(id.to_owned());
        self.pace.turn().await;
        let read = self.context.cdn.cache_policy(id).await;
        self.count("GetCachePolicy", &read);
        let policy = match read {
            Ok(key) => CachePolicy::Read(key),
            // Asking again would not help: it is not ours to read, or it is not there.
            Err(CdnError::Denied(why) | CdnError::Refused(why)) => {
                tracing::warn!(cache_policy_id = %id, %why, "GetCachePolicy is denied");
                let denied = self.deny(asked.clone());
                let text = format!(
                    "GetCachePolicy does not succeed for {denied}: mapping goes on as if its \
                     cache key had no query strings; grant cloudfront:GetCachePolicy"
                );
                self.context.health.warn(POLICIES_HEALTH, text);
                CachePolicy::Denied
            }
            Err(error) => {
                let retry = self.later(retry);
                tracing::warn!(cache_policy_id = %id, %error, again_at = %retry.at,
                    "the cache policy was not read; changes that need it wait");
                self.asked.insert(asked, retry);
                return;
            }
        };
        self.asked.remove(&asked);
        let learnt = self.context.signals.update_catalogue(|old| {
            old.map_or_else(Catalogue::default, |old| old.with_policy(id, &policy))
        });
        self.learnt(&learnt).await;
    }

    /// Notes what may not be read, and lists all of its kind.
    fn deny(&mut self, asked: Asked) -> String {
        let kind = std::mem::discriminant(&asked);
        self.denied.insert(asked);
        let same = self
            .denied
            .iter()
            .filter(|one| std::mem::discriminant(*one) == kind);
        same.map(Asked::id).collect::<Vec<_>>().join(", ")
    }

    /// Keeps it for a start without `CloudFront`, with the distributions that prove to be
    /// other than what was kept before. Where the store refuses, the next one is kept instead.
    async fn learnt(&mut self, catalogue: &Catalogue) {
        let faults = mapping::tagged(catalogue, &self.policy).faults;
        if faults.is_empty() {
            self.context.health.ok(RULES_HEALTH);
        } else {
            let text = faults.join("; ");
            tracing::warn!(%text, "rules give cache tags that nobody keeps");
            self.context.health.warn(RULES_HEALTH, text);
        }
        let late = match &self.kept {
            Some(kept) => {
                let changed = catalogue.changed_since(kept);
                changed.map(|one| one.id.clone()).collect()
            }
            None => Vec::new(),
        };
        let snapshot = catalogue.snapshot();
        match self.context.store.keep_catalogue(snapshot, &late).await {
            Ok(()) => {
                self.kept = Some(snapshot.clone());
                if !late.is_empty() {
                    tracing::info!(
                        ?late,
                        "distributions are new or other than before: what \
                        was accepted since the last reading is mapped to them again"
                    );
                    self.context.signals.want_remap();
                }
            }
            Err(error) => tracing::warn!(%error, "the catalogue was read but not kept"),
        }
    }

    fn count<T>(&self, operation: &'static str, result: &Result<T, CdnError>) {
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        self.context.metrics.call(operation, outcome);
    }
}
