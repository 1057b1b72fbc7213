//! A distribution as the API shows it: what the catalogue knows of it, and how its work stands.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    batch::Backlog,
    catalogue::{Behaviour, CachePolicy, Catalogue, Details, Distribution},
    mapping::MappingPolicy,
    origin,
    status::{Audience, DistributionStatus, HeldBy, Status},
};

/// A distribution, and the figures of its work.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DistributionView {
    pub id: String,
    pub aliases: Vec<String>,
    pub enabled: bool,
    /// Whether all edge locations have its current configuration.
    pub deployed: bool,
    /// Why no change needs anything here, such as that the configuration excludes it; `None` (null) if
    /// changes are invalidated.
    pub not_invalidated: Option<&'static str>,
    /// The default root object, if it is known and there is one.
    pub default_root_object: Option<String>,
    /// Whether the distribution's own configuration has been read: it is once a change needs it.
    pub details: DetailsState,
    /// The origins that are buckets.
    pub origins: Vec<BucketOrigin>,
    /// In order of precedence; the last one is the default behaviour.
    pub behaviours: Vec<BehaviourView>,
    /// `None` (null) if only another replica knows, as for the following.
    pub waiting: Option<WaitingView>,
    /// Batches that CloudFront has not accepted.
    pub unresolved: Option<UnresolvedView>,
    /// Our items, frozen or in progress at CloudFront.
    pub in_progress: Option<UsageView>,
    /// What holds its work.
    pub held_by: Option<Vec<HeldBy>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DetailsState {
    Unread,
    Denied,
    Read,
}

/// An origin that is a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BucketOrigin {
    /// As the behaviours name it.
    pub id: String,
    pub bucket: String,
    /// What precedes the viewer's path in every key.
    pub prefix: String,
    pub domain: String,
    /// The origin path.
    pub path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BehaviourView {
    pub pattern: String,
    /// The id of an origin or origin group.
    pub target: String,
    /// Whether it caches anything; `None` (null) if its cache policy has not been read.
    pub caches: Option<bool>,
    /// Whether query strings are part of the cache key; likewise.
    pub query_strings: Option<bool>,
}

/// Items that wait to be sent, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WaitingView {
    pub paths: usize,
    pub wildcards: usize,
    /// Of manual requests.
    pub manual_paths: usize,
    pub manual_wildcards: usize,
    /// When the oldest was accepted.
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UnresolvedView {
    pub batches: usize,
    /// When the oldest was frozen.
    pub since: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct UsageView {
    pub paths: usize,
    pub wildcards: usize,
}

impl DistributionView {
    pub fn new(
        distribution: &Distribution,
        catalogue: &Catalogue,
        policy: &MappingPolicy,
        status: &Status,
        audience: Audience,
        now: Timestamp,
    ) -> Self {
        let idle = DistributionStatus::default();
        let work = status.distributions.get(&distribution.id).unwrap_or(&idle);
        let work = status.leadership.leads().then_some(work);
        let behaviours = distribution.behaviours.iter();
        Self {
            id: distribution.id.clone(),
            aliases: distribution.aliases.clone(),
            enabled: distribution.enabled,
            deployed: distribution.deployed,
            not_invalidated: policy.why_not(distribution),
            default_root_object: distribution.root().map(str::to_owned),
            details: match distribution.details {
                Details::Unread => DetailsState::Unread,
                Details::Denied => DetailsState::Denied,
                Details::Read { .. } => DetailsState::Read,
            },
            origins: origins(distribution, catalogue),
            behaviours: behaviours.map(|one| behaviour(one, catalogue)).collect(),
            waiting: work.map(|work| waiting(&work.waiting)),
            unresolved: work.map(|work| UnresolvedView {
                batches: work.unresolved.batches,
                since: work.unresolved.since,
            }),
            in_progress: work.map(|work| UsageView {
                paths: work.in_progress.paths,
                wildcards: work.in_progress.wildcards,
            }),
            held_by: status.held_at(&distribution.id, audience, now),
        }
    }
}

fn origins(distribution: &Distribution, catalogue: &Catalogue) -> Vec<BucketOrigin> {
    let all = distribution.origins.iter();
    let buckets = all.flat_map(|one| {
        let addresses = catalogue.addresses(one).into_iter();
        addresses.map(|origin::Address { bucket, prefix, .. }| BucketOrigin {
            id: one.id.clone(),
            bucket,
            prefix,
            domain: one.domain.clone(),
            path: one.path.clone(),
        })
    });
    buckets.collect()
}

fn behaviour(behaviour: &Behaviour, catalogue: &Catalogue) -> BehaviourView {
    let key = match catalogue.cache_policy(behaviour) {
        Some(CachePolicy::Read(key)) => Some(key),
        Some(CachePolicy::Denied) | None => None,
    };
    BehaviourView {
        pattern: behaviour.pattern.clone(),
        target: behaviour.target.clone(),
        caches: key.map(|key| key.caches),
        query_strings: key.map(|key| key.query_strings),
    }
}

fn waiting(backlog: &Backlog) -> WaitingView {
    let count = |manual, wildcard| {
        let groups = backlog.groups();
        let of_kind = groups.filter(|(kind, _)| kind.manual == manual && kind.wildcard == wildcard);
        of_kind.map(|(_, group)| group.items).sum()
    };
    WaitingView {
        paths: count(false, false),
        wildcards: count(false, true),
        manual_paths: count(true, false),
        manual_wildcards: count(true, true),
        since: backlog.oldest(),
    }
}
