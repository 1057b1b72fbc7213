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
        catalogue::{Catalogue, Distribution, RootObject},
        limits::backoff,
    },
    ports::CdnError,
};

/// The name under which the catalogue reports its health.
const HEALTH: &str = "catalogue";
const ROOTS_HEALTH: &str = "root_objects";
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
/// Pages of a listing: AWS gives 100 distributions a page, and allows accounts some hundreds.
const MAX_PAGES: usize = 1_000;

/// The only reader of `CloudFront`'s configuration.
pub(super) struct CatalogueKeeper {
    context: Context,
    pace: Arc<Pace>,
    refresh: Duration,
    random: fastrand::Rng,
    /// When the list is read next, and how often that failed in a row.
    list: Retry,
    /// The root objects that are wanted, with the same for each.
    roots: BTreeMap<String, Retry>,
    denied: BTreeSet<String>,
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
        Self {
            context,
            pace,
            refresh: settings.catalogue_refresh,
            random: fastrand::Rng::with_seed(settings.seed ^ 1),
            list,
            roots: BTreeMap::new(),
            denied: BTreeSet::new(),
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
        let now = self.context.clock.now();
        let wanted = self.context.signals.take_wanted();
        if wanted.refresh && self.list.failures == 0 {
            self.list.at = now;
        }
        for id in wanted.roots {
            self.roots.entry(id).or_insert(Retry {
                at: now,
                failures: 0,
            });
        }
    }

    fn next_at(&self) -> Timestamp {
        let roots = self.roots.values().map(|retry| retry.at);
        roots.chain([self.list.at]).min().unwrap_or(self.list.at)
    }

    async fn do_what_is_due(&mut self) {
        if self.list.at <= self.context.clock.now() {
            self.read_list().await;
        }
        let now = self.context.clock.now();
        let due: Vec<_> = self
            .roots
            .iter()
            .filter(|(_, retry)| retry.at <= now)
            .map(|(id, retry)| (id.clone(), *retry))
            .collect();
        for (id, retry) in due {
            self.read_root(id, retry).await;
        }
    }

    async fn read_list(&mut self) {
        let mut began = self.context.clock.now();
        match self.read_pages(&mut began).await {
            Ok(listed) => {
                let count = listed.len();
                let catalogue = self.context.signals.update_catalogue(|old| match old {
                    Some(old) => old.refreshed(listed, began),
                    None => Catalogue::new(listed, began),
                });
                self.denied.clear();
                self.context.health.ok(ROOTS_HEALTH);
                self.context.health.ok(HEALTH);
                self.list = Retry {
                    at: began + self.refresh,
                    failures: 0,
                };
                tracing::info!(distributions = count, "the catalogue was read");
                self.keep(&catalogue).await;
            }
            Err(error) => {
                self.list = self.later(self.list);
                let known = match self.context.signals.catalogue() {
                    Some(kept) => format!("mapping goes on by the one of {}", kept.read_since()),
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

    async fn read_root(&mut self, id: String, retry: Retry) {
        let Some(catalogue) = self.context.signals.catalogue() else {
            return;
        };
        let Some(distribution) = catalogue.get(&id).filter(|one| one.needs_root()) else {
            self.roots.remove(&id);
            return;
        };
        let revision = distribution.revision.clone();
        self.pace.turn().await;
        let read = self.context.cdn.root_object(&id).await;
        self.count("GetDistributionConfig", &read);
        let root = match read {
            Ok(name) => RootObject::Read { revision, name },
            Err(CdnError::Denied(why)) => {
                tracing::warn!(distribution_id = %id, %why, "GetDistributionConfig is denied");
                self.denied.insert(id.clone());
                let denied = self.denied.iter().map(String::as_str).collect::<Vec<_>>();
                let text = format!(
                    "GetDistributionConfig is denied for {}: mapping goes on without its \
                     default root object; grant cloudfront:GetDistributionConfig",
                    denied.join(", ")
                );
                self.context.health.warn(ROOTS_HEALTH, text);
                RootObject::Denied
            }
            Err(error) => {
                let retry = self.later(retry);
                tracing::warn!(distribution_id = %id, %error, again_at = %retry.at,
                    "the distribution's root object was not read; its changes wait");
                self.roots.insert(id, retry);
                return;
            }
        };
        self.roots.remove(&id);
        let catalogue = self.context.signals.update_catalogue(|old| match old {
            Some(old) => old.with_root(&id, &root),
            None => Catalogue::default(),
        });
        self.keep(&catalogue).await;
    }

    /// Keeps it for a start without `CloudFront`. Where the store refuses, the next reading
    /// is kept instead.
    async fn keep(&self, catalogue: &Catalogue) {
        if let Err(error) = self.context.store.keep_catalogue(catalogue).await {
            tracing::warn!(%error, "the catalogue was read but not kept");
        }
    }

    fn count<T>(&self, operation: &'static str, result: &Result<T, CdnError>) {
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        self.context.metrics.call(operation, outcome);
    }
}
