//! The catalogue: what purgefront knows about the account's distributions.

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

/// The parts of a CloudFront distribution that mapping needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    pub id: String,
    /// A disabled distribution serves nothing, so it cannot serve stale content.
    pub enabled: bool,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub origins: Vec<Origin>,
    #[serde(default)]
    pub groups: Vec<OriginGroup>,
    /// In order of precedence. The last one is the default behaviour, with the pattern `*`.
    pub behaviours: Vec<Behaviour>,
    /// Changes whenever the configuration does: made of the `ETag` and the last-modified time in
    /// the listing.
    #[serde(default)]
    pub revision: String,
    /// What the listing lacks; requested when a change first maps to the distribution.
    #[serde(default)]
    pub details: Details,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Unique within the distribution.
    pub id: String,
    pub domain: String,
    /// What CloudFront prepends to the viewer's path: empty, or `/prefix` without a trailing slash.
    #[serde(default)]
    pub path: String,
}

/// A primary origin and its failover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OriginGroup {
    /// Unique within the distribution.
    pub id: String,
    /// Origin ids. The second origin is used when the first fails, so viewers get its objects too.
    pub members: Vec<String>,
}

/// How a distribution handles requests that match a path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    /// See [`behaviour::matches`].
    pub pattern: String,
    /// The id of an origin or origin group.
    pub target: String,
    pub caching: Caching,
    /// Whether a function runs on requests, and may request another path than the viewer did.
    #[serde(default)]
    pub rewrites: bool,
    /// Whether it serves Smooth Streaming, which cannot be invalidated.
    #[serde(default)]
    pub smooth_streaming: bool,
}

/// Where a behaviour's caching is configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caching {
    /// In the cache policy with this id.
    Policy(String),
    /// In the behaviour's own (legacy) settings.
    Inline(CacheKey),
}

/// The parts of a cache policy that mapping needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheKey {
    /// Whether anything is cached at all.
    pub caches: bool,
    /// Whether any query string is part of the cache key.
    pub query_strings: bool,
}

/// What is known about a cache policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CachePolicy {
    /// `GetCachePolicy` was denied. Mapping assumes that it caches without query strings, and
    /// notes that.
    Denied,
    Read(CacheKey),
}

/// What is known about a distribution beyond the listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Details {
    /// Never requested.
    #[default]
    Unread,
    /// `GetDistributionConfig` was denied. Mapping does without, and notes that.
    Denied,
    Read {
        /// The distribution's revision when the details were read.
        #[serde(default)]
        revision: String,
        /// The name of the default root object.
        root: Option<String>,
        /// Whether the distribution stores cache tags (`CacheTagConfig`).
        cache_tags: bool,
    },
}

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

/// The number of a saved catalogue; it grows with each one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub i64);

/// All managed cache policies. Source: CloudFront Developer Guide, "Use managed cache policies".
/// They never change, so they need neither a request nor a permission to read.
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
    /// Whether the details are missing or belong to an older revision.
    pub fn needs_details(&self) -> bool {
        match &self.details {
            Details::Unread => true,
            Details::Denied => false,
            Details::Read { revision, .. } => *revision != self.revision,
        }
    }

    /// The behaviour that handles requests for a percent-encoded path.
    pub fn behaviour(&self, path: &str) -> Option<&Behaviour> {
        let path = behaviour::normalised(path);
        let mut all = self.behaviours.iter();
        all.find(|behaviour| behaviour::matches(&behaviour.pattern, &path))
    }

    /// Whether a behaviour uses an origin, directly or through an origin group.
    pub fn reaches(&self, behaviour: &Behaviour, origin: &str) -> bool {
        let group = |group: &OriginGroup| {
            group.id == behaviour.target && group.members.iter().any(|member| member == origin)
        };
        behaviour.target == origin || self.groups.iter().any(group)
    }

    /// Whether it serves viewers the same content as `other`, as far as the listing shows.
    pub fn serves_like(&self, other: &Self) -> bool {
        self.enabled == other.enabled
            && self.origins == other.origins
            && self.groups == other.groups
            && self.behaviours == other.behaviours
    }
}

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
    /// permissions may have been granted since.
    #[must_use]
    pub fn refreshed(
        &self,
        mut listed: Vec<Distribution>,
        read_since: Timestamp,
        journal_end: i64,
    ) -> Self {
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

    /// The distributions with any origin that is a bucket, ordered by id.
    pub fn with_buckets(&self) -> impl Iterator<Item = &Arc<Distribution>> {
        let has_bucket = |one: &&Arc<Distribution>| {
            let mut origins = one.origins.iter();
            origins.any(|origin| {
                !origin::addresses(&origin.domain, &origin.path, &self.overrides).is_empty()
            })
        };
        self.snapshot.distributions.iter().filter(has_bucket)
    }

    /// What is known about a behaviour's caching; `None` if its policy has never been read.
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
