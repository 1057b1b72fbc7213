//! Reads the account's distributions once, for those who only want to see them.

use std::{sync::Arc, time::Duration};

use super::pace::Pace;
use crate::{
    domain::{
        catalogue::{CachePolicy, Caching, Catalogue, Details, Distribution, Snapshot},
        limits::backoff,
        origin::OriginOverride,
    },
    ports::{Cdn, CdnError, Clock},
};

/// Which distributions are asked for more than the list says.
#[derive(Debug, Clone)]
pub enum Scope {
    /// All that have a bucket.
    All,
    /// Those that have this bucket.
    Bucket(String),
    /// None.
    List,
}

/// How the account is read.
pub struct Survey {
    /// `CloudFront`.
    pub cdn: Arc<dyn Cdn>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Get and List calls a second,
    pub reads_per_second: f64,
    /// and how many at once at the beginning.
    pub read_burst: u32,
    /// What the configuration says of origins.
    pub origins: Arc<[OriginOverride]>,
}

const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

impl Survey {
    /// Reads the list and what `scope` asks for. Of what is denied it goes on without, and says
    /// so in the list of complaints.
    pub async fn read(&self, scope: &Scope) -> Result<(Catalogue, Vec<String>), CdnError> {
        let pace = Pace::full(
            self.reads_per_second,
            self.read_burst,
            Arc::clone(&self.clock),
        );
        let read_since = self.clock.now();
        let mut listed = Vec::new();
        let mut marker = None;
        loop {
            let (distributions, next) = self
                .patiently(&pace, || self.cdn.list_distributions(marker.as_deref()))
                .await?;
            listed.extend(distributions);
            marker = next;
            if marker.is_none() {
                break;
            }
        }
        let snapshot = Snapshot {
            read_since,
            distributions: listed.into_iter().map(Arc::new).collect(),
            ..Snapshot::default()
        };
        let mut catalogue = Catalogue::new(snapshot, Arc::clone(&self.origins));
        let mut complaints = Vec::new();
        for distribution in wanted(&catalogue, scope) {
            let id = &distribution.id;
            let details = match self.patiently(&pace, || self.cdn.details(id)).await {
                Ok(read) => Details::Read {
                    revision: distribution.revision.clone(),
                    root: read.root,
                    cache_tags: read.cache_tags,
                },
                Err(CdnError::Denied(why)) => {
                    complaints.push(format!("GetDistributionConfig of {id} is denied: {why}"));
                    Details::Denied
                }
                Err(error) => return Err(error),
            };
            catalogue = catalogue.with_details(id, &details);
            for behaviour in &distribution.behaviours {
                let Caching::Policy(policy_id) = &behaviour.caching else {
                    continue;
                };
                if catalogue.cache_policy(behaviour).is_some() {
                    continue;
                }
                let read = self
                    .patiently(&pace, || self.cdn.cache_policy(policy_id))
                    .await;
                let policy = match read {
                    Ok(key) => CachePolicy::Read(key),
                    Err(CdnError::Denied(why) | CdnError::Refused(why)) => {
                        complaints.push(format!("GetCachePolicy of {policy_id}: {why}"));
                        CachePolicy::Denied
                    }
                    Err(error) => return Err(error),
                };
                catalogue = catalogue.with_policy(policy_id, &policy);
            }
        }
        Ok((catalogue, complaints))
    }

    /// Makes a call in its turn; again, where it may succeed later.
    async fn patiently<T, F>(&self, pace: &Pace, call: impl Fn() -> F) -> Result<T, CdnError>
    where
        F: Future<Output = Result<T, CdnError>>,
    {
        let mut failures = 0;
        loop {
            pace.turn().await;
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

/// The distributions that serve somebody by a bucket that is asked for.
fn wanted(catalogue: &Catalogue, scope: &Scope) -> Vec<Arc<Distribution>> {
    let serving: Vec<_> = match scope {
        Scope::List => Vec::new(),
        Scope::Bucket(bucket) => {
            let serving = catalogue.serving(bucket).iter();
            serving.map(|one| Arc::clone(&one.distribution)).collect()
        }
        Scope::All => catalogue.with_buckets().cloned().collect(),
    };
    serving.into_iter().filter(|one| one.enabled).collect()
}
