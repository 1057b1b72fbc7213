//! Reads the account's distributions, their details and cache policies, within the rate of read
//! calls.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use super::read_limiter::ReadLimiter;
use crate::{
    domain::{
        catalogue::{CacheKey, CachePolicy, Caching, Catalogue, Details, Distribution, Snapshot},
        cdn::CdnError,
        limits::backoff,
        origin::OriginOverride,
    },
    ports::{
        Cdn, Clock,
        doctor::{AccountSource, UnreadPolicies},
    },
    telemetry::Metrics,
};

/// A safeguard against endless paging: CloudFront returns 100 distributions per page, and accounts
/// have a few hundred at most.
const MAX_PAGES: usize = 1_000;
/// How often a command tries a call, and how long it waits between attempts.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

pub struct AccountReader {
    cdn: Arc<dyn Cdn>,
    clock: Arc<dyn Clock>,
    limiter: Arc<ReadLimiter>,
    metrics: Metrics,
}

/// The account's distributions, for a command.
pub struct CommandAccount {
    pub reader: AccountReader,
    pub origins: Arc<[OriginOverride]>,
}

#[async_trait]
impl AccountSource for CommandAccount {
    async fn read(&self, buckets: &[String]) -> Result<(Catalogue, UnreadPolicies), CdnError> {
        let scope = ReadScope::Buckets(buckets.to_vec());
        let reading = self.reader.read(&scope, Arc::clone(&self.origins)).await?;
        Ok((reading.catalogue, reading.unread_policies))
    }
}

/// The list of all distributions.
pub(super) struct Listing {
    /// When the first call was made: the list includes everything up to then.
    pub(super) began: Timestamp,
    pub(super) distributions: Vec<Distribution>,
}

/// What became of reading a cache policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PolicyReading {
    Read(CacheKey),
    Denied,
    /// For another reason, such as that it does not exist.
    Failed(String),
}

impl PolicyReading {
    /// What the catalogue keeps of it.
    pub(super) fn known(&self) -> CachePolicy {
        match self {
            Self::Read(key) => CachePolicy::Read(*key),
            Self::Denied | Self::Failed(_) => CachePolicy::Denied,
        }
    }
}

/// The distributions whose details a command reads.
#[derive(Debug, Clone)]
pub enum ReadScope {
    /// All that serve a bucket.
    All,
    /// Those that serve one of these buckets.
    Buckets(Vec<String>),
    /// None: the list alone.
    List,
}

/// The result of reading the account for a command.
#[derive(Debug)]
pub struct AccountReading {
    pub catalogue: Catalogue,
    /// Information that is missing because a call was denied.
    pub warnings: Vec<String>,
    pub unread_policies: UnreadPolicies,
}

impl AccountReader {
    /// A reader for a command, which may start with a burst of `read_burst` calls.
    pub fn for_command(
        cdn: Arc<dyn Cdn>,
        clock: Arc<dyn Clock>,
        reads_per_second: f64,
        read_burst: u32,
    ) -> Self {
        let limiter = ReadLimiter::full(reads_per_second, read_burst, Arc::clone(&clock));
        Self::new(cdn, clock, Arc::new(limiter), Metrics::default())
    }

    /// A reader that shares the rate of read calls with the workers.
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

    /// Reads all pages of the list of distributions.
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
            self.metrics.call("ListDistributions", &read);
            let read = read?;
            listing.distributions.extend(read.distributions);
            match read.next_marker {
                Some(next) => marker = Some(next),
                None => return Ok(listing),
            }
        }
        let endless = "the list of distributions has too many pages";
        Err(CdnError::Refused(endless.to_owned()))
    }

    /// Reads the details of a distribution that the list does not contain. `Denied` is a result, not
    /// an error.
    pub(super) async fn details(&self, distribution: &Distribution) -> Result<Details, CdnError> {
        self.limiter.turn().await;
        let read = self.cdn.details(&distribution.id).await;
        self.metrics.call("GetDistributionConfig", &read);
        match read {
            Ok(read) => Ok(Details::Read {
                revision: distribution.revision.clone(),
                root: read.default_root_object,
                cache_tags: read.cache_tags,
                groups: Some(read.groups),
            }),
            Err(CdnError::Denied(why)) => {
                tracing::warn!(distribution_id = %distribution.id, %why,
                    "GetDistributionConfig is denied");
                Ok(Details::Denied)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads a cache policy. That it may not be read is a result, not an error, and so is that it does
    /// not exist: repeating the call would not help.
    pub(super) async fn policy(&self, id: &str) -> Result<PolicyReading, CdnError> {
        self.limiter.turn().await;
        let read = self.cdn.cache_policy(id).await;
        self.metrics.call("GetCachePolicy", &read);
        match read {
            Ok(key) => Ok(PolicyReading::Read(key)),
            Err(CdnError::Denied(why)) => {
                tracing::warn!(cache_policy_id = %id, %why, "GetCachePolicy is denied");
                Ok(PolicyReading::Denied)
            }
            Err(CdnError::Refused(why)) => {
                tracing::warn!(cache_policy_id = %id, %why, "GetCachePolicy fails");
                Ok(PolicyReading::Failed(why))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the list once, and the details of the distributions in `scope`. Continues without what
    /// is denied.
    pub async fn read(
        &self,
        scope: &ReadScope,
        origins: Arc<[OriginOverride]>,
    ) -> Result<AccountReading, CdnError> {
        let listing = self.with_retries(|| self.list()).await?;
        let snapshot = Snapshot {
            read_since: listing.began,
            distributions: listing.distributions.into_iter().map(Arc::new).collect(),
            ..Snapshot::default()
        };
        let mut catalogue = Catalogue::new(snapshot, origins);
        let mut warnings = Vec::new();
        let mut unread_policies = UnreadPolicies::new();
        for distribution in in_scope(&catalogue, scope) {
            let details = self.with_retries(|| self.details(&distribution)).await?;
            if details == Details::Denied {
                warnings.push(format!(
                    "GetDistributionConfig of {} is denied: its default root object is unknown",
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
                let policy = self.with_retries(|| self.policy(id)).await?;
                let why = match &policy {
                    PolicyReading::Read(_) => None,
                    PolicyReading::Denied => Some("is denied".to_owned()),
                    PolicyReading::Failed(why) => {
                        unread_policies.insert(id.clone(), why.clone());
                        Some(format!("fails ({why})"))
                    }
                };
                if let Some(why) = why {
                    warnings.push(format!(
                        "GetCachePolicy of {id} {why}: it is unknown whether its cache key includes \
                         query strings"
                    ));
                }
                catalogue = catalogue.with_policy(id, &policy.known());
            }
        }
        Ok(AccountReading {
            catalogue,
            warnings,
            unread_policies,
        })
    }

    /// Retries a call a few times if it may succeed later.
    async fn with_retries<T, F>(&self, call: impl Fn() -> F) -> Result<T, CdnError>
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
}

/// The enabled distributions in `scope`.
fn in_scope(catalogue: &Catalogue, scope: &ReadScope) -> Vec<Arc<Distribution>> {
    let serving: Vec<_> = match scope {
        ReadScope::List => Vec::new(),
        ReadScope::Buckets(buckets) => {
            let serving = buckets.iter().flat_map(|bucket| catalogue.serving(bucket));
            let serving = serving.map(|entry| (&entry.distribution.id, &entry.distribution));
            // A distribution may serve several of them.
            let serving: BTreeMap<_, _> = serving.collect();
            serving.into_values().map(Arc::clone).collect()
        }
        ReadScope::All => catalogue.with_buckets().cloned().collect(),
    };
    serving.into_iter().filter(|one| one.enabled).collect()
}
