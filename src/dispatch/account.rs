//! The one reader of the account: distributions, their details and cache policies, within the rate
//! of read calls.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::read_limiter::ReadLimiter;
use crate::{
    domain::{
        catalogue::{CachePolicy, Caching, Catalogue, Details, Distribution, Snapshot},
        cdn::CdnError,
        limits::backoff,
        origin::OriginOverride,
    },
    ports::{Cdn, Clock},
    telemetry::Metrics,
};

/// AWS gives 100 distributions a page, and allows accounts some hundreds.
const MAX_PAGES: usize = 1_000;
/// How often a command asks before it gives up, and how long it waits in between.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Reads what CloudFront says of the account.
pub struct AccountReader {
    cdn: Arc<dyn Cdn>,
    clock: Arc<dyn Clock>,
    limiter: Arc<ReadLimiter>,
    metrics: Metrics,
}

/// The list of distributions, as it was at one time.
pub(super) struct Listing {
    /// When the first call left: the list has all that was true before.
    pub(super) began: Timestamp,
    pub(super) distributions: Vec<Distribution>,
}

/// Which distributions a command asks more about than the list says.
#[derive(Debug, Clone)]
pub enum ReadScope {
    /// All that have a bucket.
    All,
    /// Those that have this bucket.
    Bucket(String),
    /// None.
    List,
}

/// The account as a command reads it once.
#[derive(Debug)]
pub struct AccountReading {
    pub catalogue: Catalogue,
    /// What is denied, and so missing.
    pub warnings: Vec<String>,
}

impl AccountReader {
    /// A reader for a command: it may begin with a burst of `read_burst` calls.
    pub fn for_command(
        cdn: Arc<dyn Cdn>,
        clock: Arc<dyn Clock>,
        reads_per_second: f64,
        read_burst: u32,
    ) -> Self {
        let limiter = ReadLimiter::full(reads_per_second, read_burst, Arc::clone(&clock));
        Self::new(cdn, clock, Arc::new(limiter), Metrics::default())
    }

    /// A reader that shares the rate of read calls with others.
    pub(super) fn new(
        cdn: Arc<dyn Cdn>,
        clock: Arc<dyn Clock>,
        limiter: Arc<ReadLimiter>,
        metrics: Metrics,
    ) -> Self {
        Self {
            cdn,
            clock,
            limiter,
            metrics,
        }
    }

    /// All pages of the list of distributions.
    pub(super) async fn list(&self) -> Result<Listing, CdnError> {
        let mut listing = Listing {
            began: self.clock.now(),
            distributions: Vec::new(),
        };
        let mut marker: Option<String> = None;
        for page in 0..MAX_PAGES {
            self.limiter.turn().await;
            if page == 0 {
                listing.began = self.clock.now();
            }
            let read = self.cdn.list_distributions(marker.as_deref()).await;
            let read = self.counted("ListDistributions", read)?;
            listing.distributions.extend(read.distributions);
            match read.next_marker {
                Some(next) => marker = Some(next),
                None => return Ok(listing),
            }
        }
        let endless = "the list of distributions does not end";
        Err(CdnError::Refused(endless.to_owned()))
    }

    /// What the list does not say of a distribution. That it is denied is an answer, too.
    pub(super) async fn details(&self, distribution: &Distribution) -> Result<Details, CdnError> {
        self.limiter.turn().await;
        let read = self.cdn.details(&distribution.id).await;
        match self.counted("GetDistributionConfig", read) {
            Ok(read) => Ok(Details::Read {
                revision: distribution.revision.clone(),
                root: read.default_root_object,
                cache_tags: read.cache_tags,
            }),
            Err(CdnError::Denied(why)) => {
                tracing::warn!(distribution_id = %distribution.id, %why,
                    "GetDistributionConfig is denied");
                Ok(Details::Denied)
            }
            Err(error) => Err(error),
        }
    }

    /// What matters of a cache policy. That it may not be read, or does not exist, is an answer,
    /// too: asking again would not help.
    pub(super) async fn policy(&self, id: &str) -> Result<CachePolicy, CdnError> {
        self.limiter.turn().await;
        let read = self.cdn.cache_policy(id).await;
        match self.counted("GetCachePolicy", read) {
            Ok(key) => Ok(CachePolicy::Read(key)),
            Err(CdnError::Denied(why) | CdnError::Refused(why)) => {
                tracing::warn!(cache_policy_id = %id, %why, "GetCachePolicy does not succeed");
                Ok(CachePolicy::Denied)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the list and what `scope` asks for, once, and goes on without what is denied.
    pub async fn read(
        &self,
        scope: &ReadScope,
        origins: Arc<[OriginOverride]>,
    ) -> Result<AccountReading, CdnError> {
        let listing = self.patiently(|| self.list()).await?;
        let snapshot = Snapshot {
            read_since: listing.began,
            distributions: listing.distributions.into_iter().map(Arc::new).collect(),
            ..Snapshot::default()
        };
        let mut catalogue = Catalogue::new(snapshot, origins);
        let mut warnings = Vec::new();
        for distribution in in_scope(&catalogue, scope) {
            let details = self.patiently(|| self.details(&distribution)).await?;
            if details == Details::Denied {
                warnings.push(format!(
                    "GetDistributionConfig of {} is denied: its default root object is not known",
                    distribution.id
                ));
            }
            catalogue = catalogue.with_details(&distribution.id, &details);
            for behaviour in &distribution.behaviours {
                let Caching::Policy(id) = &behaviour.caching else {
                    continue;
                };
                if catalogue.cache_policy(behaviour).is_some() {
                    continue;
                }
                let policy = self.patiently(|| self.policy(id)).await?;
                if policy == CachePolicy::Denied {
                    warnings.push(format!(
                        "GetCachePolicy of {id} does not succeed: whether query strings are in \
                         its cache key is not known"
                    ));
                }
                catalogue = catalogue.with_policy(id, &policy);
            }
        }
        Ok(AccountReading {
            catalogue,
            warnings,
        })
    }

    /// Repeats what may succeed later, a few times.
    async fn patiently<T, F>(&self, call: impl Fn() -> F) -> Result<T, CdnError>
    where
        F: Future<Output = Result<T, CdnError>>,
    {
        let mut failures = 0;
        loop {
            match call().await {
                Err(CdnError::Throttled(_) | CdnError::Unknown(_)) if failures + 1 < ATTEMPTS => {
                    failures += 1;
                    let pause = backoff(failures, FIRST_PAUSE, LONGEST_PAUSE, 1.0);
                    self.clock.sleep_until(self.clock.now() + pause).await;
                }
                result => return result,
            }
        }
    }

    fn counted<T>(
        &self,
        operation: &'static str,
        result: Result<T, CdnError>,
    ) -> Result<T, CdnError> {
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        self.metrics.call(operation, outcome);
        result
    }
}

/// The enabled distributions that serve a bucket which is asked for.
fn in_scope(catalogue: &Catalogue, scope: &ReadScope) -> Vec<Arc<Distribution>> {
    let serving: Vec<_> = match scope {
        ReadScope::List => Vec::new(),
        ReadScope::Bucket(bucket) => {
            let serving = catalogue.serving(bucket).iter();
            serving.map(|one| Arc::clone(&one.distribution)).collect()
        }
        ReadScope::All => catalogue.with_buckets().cloned().collect(),
    };
    serving.into_iter().filter(|one| one.enabled).collect()
}
