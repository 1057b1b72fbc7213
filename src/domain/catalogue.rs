//! The catalogue: what purgefront knows of the account's distributions.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    behaviour,
    origin::{self, Address, OriginOverride},
};

/// A `CloudFront` distribution, as far as mapping needs to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// `CloudFront`'s id, such as `E2EXAMPLE`.
    pub id: String,
    /// A disabled distribution serves nobody, so nothing in it can be stale.
    pub enabled: bool,
    /// Its other domain names.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Its origins, in `CloudFront`'s order.
    pub origins: Vec<Origin>,
    /// Its origin groups.
    #[serde(default)]
    pub groups: Vec<OriginGroup>,
    /// Its cache behaviours, in order; the default one is the last, and its pattern is `*`.
    pub behaviours: Vec<Behaviour>,
    /// Differs whenever its configuration does: the `ETag` and time of last change that
    /// the listing gave.
    #[serde(default)]
    pub revision: String,
    /// What the listing does not say; asked for when a change first reaches the distribution.
    #[serde(default)]
    pub details: Details,
}

/// Where a distribution fetches objects from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The origin's name inside its distribution.
    pub id: String,
    /// Its domain name.
    pub domain: String,
    /// What `CloudFront` puts before the viewer's path: empty, or `/prefix` without a slash
    /// at its end.
    #[serde(default)]
    pub path: String,
}

/// Origins that stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginGroup {
    /// The group's name inside its distribution.
    pub id: String,
    /// Its origins. The second is asked where the first fails, so it serves viewers, too.
    pub members: Vec<String>,
}

/// How a distribution answers the requests that a pattern matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// See [`behaviour::matches`].
    pub pattern: String,
    /// The origin or group that it asks.
    pub target: String,
    /// What it caches.
    pub caching: Caching,
    /// A function runs on its requests and may ask for another path than the viewer did.
    #[serde(default)]
    pub rewrites: bool,
    /// It serves Smooth Streaming, which cannot be invalidated.
    #[serde(default)]
    pub smooth_streaming: bool,
}

/// Where it is said what a behaviour caches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caching {
    /// By the cache policy with this id.
    Policy(String),
    /// In the behaviour itself, as was done before there were policies.
    Inline(CacheKey),
}

/// What matters of a cache policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheKey {
    /// Whether anything is kept at all.
    pub caches: bool,
    /// Whether some query string makes another cached object of the same path.
    pub query_strings: bool,
}

/// What is known of a cache policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// It cannot be read: mapping goes on as if it cached without query strings, and says so.
    Denied,
    /// As it was read.
    Read(CacheKey),
}

/// What is known of a distribution besides what the listing says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Details {
    /// Never asked for.
    #[default]
    Unread,
    /// `GetDistributionConfig` was denied: mapping goes on without it and says so.
    Denied,
    /// As read when the distribution had this revision.
    Read {
        /// The distribution's revision at that time.
        #[serde(default)]
        revision: String,
        /// The default root object's name; `None` where there is none.
        root: Option<String>,
        /// Whether it keeps the tags of cached objects (`CacheTagConfig`).
        cache_tags: bool,
    },
}

/// What the account's distributions were at one reading: what is kept in the store, and what
/// `purgefront catalogue` prints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// When the reading began: it knows all that was true before then.
    #[serde(default)]
    pub read_since: Timestamp,
    /// The distributions.
    pub distributions: Vec<Arc<Distribution>>,
    /// The cache policies that were read, by id.
    #[serde(default)]
    pub cache_policies: HashMap<String, CachePolicy>,
}

/// Every managed cache policy, as `CloudFront` Developer Guide, "Use managed cache policies"
/// has it. They never change, so nobody has to be asked, or permitted, to read them.
const MANAGED: &[(&str, CacheKey)] = &[
    // CachingDisabled
    (
        "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
        CacheKey {
            caches: false,
            query_strings: false,
        },
    ),
    // CachingOptimized
    (
        "658327ea-f89d-4fab-a63d-7e88639e58f6",
        CacheKey {
            caches: true,
            query_strings: false,
        },
    ),
    // CachingOptimizedForUncompressedObjects
    (
        "b2884449-e4de-46a7-ac36-70bc7f1ddd6d",
        CacheKey {
            caches: true,
            query_strings: false,
        },
    ),
    // Elemental-MediaPackage
    (
        "08627262-05a9-4f76-9ded-b50ca2e3a84f",
        CacheKey {
            caches: true,
            query_strings: true,
        },
    ),
    // Amplify
    (
        "2e54312d-136d-493c-8eb9-b001f22f67d2",
        CacheKey {
            caches: true,
            query_strings: true,
        },
    ),
    // UseOriginCacheControlHeaders
    (
        "83da9c7e-98b4-4e11-a168-04f0df8e2c65",
        CacheKey {
            caches: true,
            query_strings: false,
        },
    ),
    // UseOriginCacheControlHeaders-QueryStrings
    (
        "4cc15a8a-d715-48a4-82b8-cc0b614638fe",
        CacheKey {
            caches: true,
            query_strings: true,
        },
    ),
];

impl Distribution {
    /// Whether its details are not known for its present configuration.
    pub fn needs_details(&self) -> bool {
        match &self.details {
            Details::Unread => true,
            Details::Denied => false,
            Details::Read { revision, .. } => *revision != self.revision,
        }
    }

    /// The behaviour that answers requests for a percent-encoded path.
    pub fn behaviour(&self, path: &str) -> Option<&Behaviour> {
        let path = behaviour::normalised(path);
        let mut all = self.behaviours.iter();
        all.find(|behaviour| behaviour::matches(&behaviour.pattern, &path))
    }

    /// Whether a behaviour asks an origin: by itself, or as a member of a group.
    pub fn reaches(&self, behaviour: &Behaviour, origin: &str) -> bool {
        let group = |group: &OriginGroup| {
            group.id == behaviour.target && group.members.iter().any(|member| member == origin)
        };
        behaviour.target == origin || self.groups.iter().any(group)
    }

    /// Whether it answers viewers as `other` does, as far as the listing shows.
    pub fn serves_like(&self, other: &Self) -> bool {
        self.enabled == other.enabled
            && self.origins == other.origins
            && self.groups == other.groups
            && self.behaviours == other.behaviours
    }
}

/// A distribution that has a bucket, and the origins by which it does.
#[derive(Debug, Clone)]
pub struct Serving {
    /// The distribution.
    pub distribution: Arc<Distribution>,
    /// Each origin's place among the distribution's, and what its address says.
    pub origins: Vec<(usize, Address)>,
}

/// A [`Snapshot`], indexed by bucket. Never changed: what is learnt makes a new catalogue.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    snapshot: Snapshot,
    /// What the configuration says of origins.
    overrides: Arc<[OriginOverride]>,
    by_id: HashMap<String, Arc<Distribution>>,
    by_bucket: HashMap<String, Vec<Serving>>,
}

impl Catalogue {
    /// The catalogue of a reading.
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

    /// The catalogue after a new reading of the list. Details that this one knows are kept, and
    /// policies that somebody still uses; what was denied is asked for again, as permissions may have been granted.
    #[must_use]
    pub fn refreshed(&self, mut listed: Vec<Distribution>, read_since: Timestamp) -> Self {
        for distribution in &mut listed {
            if let Some(known) = self.by_id.get(&distribution.id)
                && known.details != Details::Denied
            {
                distribution.details = known.details.clone();
            }
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
            distributions: listed.into_iter().map(Arc::new).collect(),
            cache_policies: policies
                .filter(|(id, policy)| **policy != CachePolicy::Denied && used.contains(*id))
                .map(|(id, policy)| (id.clone(), policy.clone()))
                .collect(),
        };
        Self::new(snapshot, Arc::clone(&self.overrides))
    }

    /// The catalogue with one distribution's details learnt.
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

    /// The catalogue with one cache policy learnt.
    #[must_use]
    pub fn with_policy(&self, id: &str, policy: &CachePolicy) -> Self {
        let mut new = self.clone();
        let policies = &mut new.snapshot.cache_policies;
        policies.insert(id.to_owned(), policy.clone());
        new
    }

    /// The reading that it comes from, with all that was learnt since.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The distribution with this id.
    pub fn get(&self, id: &str) -> Option<&Distribution> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    /// The distributions with an origin that is this bucket, in the order of their ids.
    pub fn serving(&self, bucket: &str) -> &[Serving] {
        self.by_bucket.get(bucket).map_or(&[], Vec::as_slice)
    }

    /// The distributions that have any bucket, in the order of their ids.
    pub fn with_buckets(&self) -> impl Iterator<Item = &Arc<Distribution>> {
        let has_bucket = |one: &&Arc<Distribution>| {
            let mut origins = one.origins.iter();
            origins.any(|origin| {
                !origin::addresses(&origin.domain, &origin.path, &self.overrides).is_empty()
            })
        };
        self.snapshot.distributions.iter().filter(has_bucket)
    }

    /// What is known of how a behaviour caches; `None` where its policy was never read.
    pub fn cache_policy(&self, behaviour: &Behaviour) -> Option<CachePolicy> {
        match &behaviour.caching {
            Caching::Inline(key) => Some(CachePolicy::Read(*key)),
            Caching::Policy(id) => {
                let managed = MANAGED.iter().find(|(managed, _)| managed == id);
                managed.map_or_else(
                    || self.snapshot.cache_policies.get(id).cloned(),
                    |(_, key)| Some(CachePolicy::Read(*key)),
                )
            }
        }
    }

    /// The distributions that are new here, or answer viewers otherwise than in `before`.
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
            before.is_none_or(|known| !one.serves_like(known))
        })
    }
}
