//! The catalogue: what purgefront knows about the account's distributions.

mod caching;
mod distribution;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::origin::{self, Address, OriginOverride};

pub use caching::{CacheKey, CachePolicy, Caching};
pub use distribution::{
    Behaviour, CustomError, Details, Distribution, Origin, OriginGroup, Rerouted,
};

/// The account's distributions at one point in time: the form kept in the store and printed by
/// `purgefront catalogue`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// When the refresh began. The snapshot reflects every change to distributions before then.
    #[serde(default)]
    pub read_since: Timestamp,
    /// The number of the journal's last change when the refresh began: the snapshot reflects every
    /// change to distributions before the changes after that one were accepted. Unlike times, numbers
    /// only grow.
    #[serde(skip)]
    pub journal_end: i64,
    pub distributions: Vec<Arc<Distribution>>,
    /// Custom cache policies, by id.
    #[serde(default)]
    pub cache_policies: HashMap<String, CachePolicy>,
}

/// How long a change of origins is reported if nobody clears what was cached before. CloudFront keeps
/// an object for a day by default (the managed policies' default TTL), and at most for a year.
const REROUTED_FOR: SignedDuration = SignedDuration::from_hours(7 * 24);

/// The number of a saved catalogue; it grows with each one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub i64);

/// A distribution that serves a bucket, and the origins through which it does.
#[derive(Debug, Clone)]
pub struct Serving {
    pub distribution: Arc<Distribution>,
    /// Each origin's index in [`Distribution::origins`], and its parsed address.
    pub origins: Vec<(usize, Address)>,
}

/// A [`Snapshot`], indexed by id and bucket. Immutable: updates create a new catalogue.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    snapshot: Snapshot,
    overrides: Arc<[OriginOverride]>,
    by_id: HashMap<String, Arc<Distribution>>,
    by_bucket: HashMap<String, Vec<Serving>>,
}

impl Catalogue {
    pub fn new(mut snapshot: Snapshot, overrides: Arc<[OriginOverride]>) -> Self {
        snapshot.distributions.sort_by(|a, b| a.id.cmp(&b.id));
        let mut by_id = HashMap::with_capacity(snapshot.distributions.len());
        let mut by_bucket: HashMap<String, Vec<Serving>> = HashMap::new();
        for distribution in &snapshot.distributions {
            by_id.insert(distribution.id.clone(), Arc::clone(distribution));
            let mut origins: HashMap<String, Vec<(usize, Address)>> = HashMap::new();
            for (index, one) in distribution.origins.iter().enumerate() {
                for address in origin::addresses(&one.domain, &one.path, &overrides) {
                    let bucket = origins.entry(address.bucket.clone()).or_default();
                    bucket.push((index, address));
                }
            }
            for (bucket, origins) in origins {
                let distribution = Arc::clone(distribution);
                let serving = Serving {
                    distribution,
                    origins,
                };
                by_bucket.entry(bucket).or_default().push(serving);
            }
        }
        Self {
            snapshot,
            overrides,
            by_id,
            by_bucket,
        }
    }

    /// The catalogue after the distributions have been listed again. Keeps known details, and the
    /// policies that are still in use. Forgets what was denied, so that it is requested again:
    /// permissions may have been granted since. Notes which distributions have other origins now.
    #[must_use]
    pub fn refreshed(
        &self,
        mut listed: Vec<Distribution>,
        read_since: Timestamp,
        journal_end: i64,
    ) -> Self {
        for distribution in &mut listed {
            let Some(known) = self.by_id.get(&distribution.id) else {
                continue;
            };
            if known.details != Details::Denied {
                distribution.details = known.details.clone();
            }
            distribution.rerouted = if distribution.routes_like(known) {
                let rerouted = known.rerouted.clone();
                rerouted.filter(|one| read_since.duration_since(one.seen_at) < REROUTED_FOR)
            } else {
                Some(Rerouted {
                    seen_at: read_since,
                    buckets: self.has_bucket(known) || self.has_bucket(distribution),
                })
            };
        }
        let used: HashSet<_> = listed
            .iter()
            .flat_map(|one| &one.behaviours)
            .filter_map(|behaviour| match &behaviour.caching {
                Caching::Policy(id) => Some(id.clone()),
                Caching::Inline(_) => None,
            })
            .collect();
        let policies = self.snapshot.cache_policies.iter();
        let snapshot = Snapshot {
            read_since,
            journal_end,
            distributions: listed.into_iter().map(Arc::new).collect(),
            cache_policies: policies
                .filter(|(id, policy)| **policy != CachePolicy::Denied && used.contains(*id))
                .map(|(id, policy)| (id.clone(), policy.clone()))
                .collect(),
        };
        Self::new(snapshot, Arc::clone(&self.overrides))
    }

    /// The catalogue with the details of one distribution added.
    #[must_use]
    pub fn with_details(&self, id: &str, details: &Details) -> Self {
        let mut snapshot = self.snapshot.clone();
        for distribution in &mut snapshot.distributions {
            if distribution.id == id {
                Arc::make_mut(distribution).details = details.clone();
            }
        }
        Self::new(snapshot, Arc::clone(&self.overrides))
    }

    /// The catalogue after everything that a distribution had cached before its origins changed has
    /// been invalidated.
    #[must_use]
    pub fn with_rerouting_cleared(&self, id: &str) -> Self {
        let mut snapshot = self.snapshot.clone();
        for distribution in &mut snapshot.distributions {
            if distribution.id == id {
                Arc::make_mut(distribution).rerouted = None;
            }
        }
        Self::new(snapshot, Arc::clone(&self.overrides))
    }

    /// The catalogue with one cache policy added.
    #[must_use]
    pub fn with_policy(&self, id: &str, policy: &CachePolicy) -> Self {
        let mut new = self.clone();
        let policies = &mut new.snapshot.cache_policies;
        policies.insert(id.to_owned(), policy.clone());
        new
    }

    /// The snapshot that the catalogue was made from, including later additions.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    pub fn get(&self, id: &str) -> Option<&Distribution> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    /// The distributions with an origin that is this bucket, ordered by id.
    pub fn serving(&self, bucket: &str) -> &[Serving] {
        self.by_bucket.get(bucket).map_or(&[], Vec::as_slice)
    }

    /// The distributions with exactly this alias, whatever its case, ordered by id. A wildcard such as
    /// `*.example.com` is found by its own text.
    pub fn with_alias<'a>(&'a self, alias: &'a str) -> impl Iterator<Item = &'a Distribution> {
        let all = self.snapshot.distributions.iter().map(Arc::as_ref);
        all.filter(move |one| {
            let mut aliases = one.aliases.iter();
            aliases.any(|known| known.eq_ignore_ascii_case(alias))
        })
    }

    /// The buckets that are an origin of any distribution.
    pub fn buckets(&self) -> impl Iterator<Item = &str> {
        self.by_bucket.keys().map(String::as_str)
    }

    /// The distributions with any origin that is a bucket, ordered by id.
    pub fn with_buckets(&self) -> impl Iterator<Item = &Arc<Distribution>> {
        let all = self.snapshot.distributions.iter();
        all.filter(|one| self.has_bucket(one))
    }

    /// Whether any of its origins is a bucket.
    pub fn has_bucket(&self, distribution: &Distribution) -> bool {
        let mut origins = distribution.origins.iter();
        origins.any(|origin| self.is_bucket(origin))
    }

    pub fn is_bucket(&self, origin: &Origin) -> bool {
        !self.addresses(origin).is_empty()
    }

    /// The buckets behind an origin: none if it is something else.
    pub fn addresses(&self, origin: &Origin) -> Vec<Address> {
        origin::addresses(&origin.domain, &origin.path, &self.overrides)
    }

    /// What is known about a behaviour's caching; `None` if its policy has never been read.
    pub fn cache_policy(&self, behaviour: &Behaviour) -> Option<CachePolicy> {
        match &behaviour.caching {
            Caching::Inline(key) => Some(CachePolicy::Read(*key)),
            Caching::Policy(id) => {
                let managed = caching::MANAGED.iter().find(|(managed, _)| managed == id);
                managed.map_or_else(
                    || self.snapshot.cache_policies.get(id).cloned(),
                    |(_, key)| Some(CachePolicy::Read(*key)),
                )
            }
        }
    }

    /// The distributions that are new, or may serve viewers differently than in `before`: also those
    /// of another revision, which can have another default root object.
    pub fn changed_since<'a>(
        &'a self,
        before: &'a Snapshot,
    ) -> impl Iterator<Item = &'a Distribution> {
        let known: HashMap<_, _> = before
            .distributions
            .iter()
            .map(|known| (known.id.as_str(), known))
            .collect();
        let all = self.snapshot.distributions.iter().map(Arc::as_ref);
        all.filter(move |one| {
            let before = known.get(one.id.as_str());
            before.is_none_or(|known| one.revision != known.revision || !one.serves_like(known))
        })
    }
}
