//! Maps a changed object to the items that invalidate it, for every distribution that serves it.

mod errors;
mod found;
mod notices;
mod object;
mod policy;
mod prefix;
#[cfg(test)]
mod tests;

use super::{
    catalogue::{Catalogue, Details, Distribution, Serving},
    change::Effect,
    path::Item,
    wait::Wait,
};
use object::ChangedObject;

pub use notices::Notices;
pub use policy::{DistributionPolicy, MappingPolicy, Reaction, WildcardPolicy};
pub use prefix::below;

/// The outcome of mapping a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub targets: Vec<Target>,
    /// Distributions that need no item.
    pub skipped: Vec<Skip>,
    /// What should be invalidated but may not be: these become dead letters.
    pub dead: Vec<Skip>,
    /// What the catalogue lacks to map the change to the other distributions. It is not requested from
    /// CloudFront until a change needs it.
    pub waits: Vec<Wait>,
}

/// One item that one distribution needs for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub distribution_id: String,
    pub item: Item,
    /// Why this item, in words.
    pub because: String,
}

/// Why a change has no item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// `None` if the reason applies to all distributions.
    pub distribution_id: Option<String>,
    pub why: String,
}

pub const NO_DISTRIBUTION: &str = "no distribution has this bucket as an origin";
/// Says the same whether other distributions have the bucket or not.
pub const NONE_VISIBLE: &str = "none of the token's distributions has this bucket as an origin";
const DISABLED: &str = "the distribution is disabled";
const TENANTS_ONLY: &str = "the distribution serves viewers only through its tenants, whose caches \
                            are not invalidated yet";
const LEFT_OUT: &str = "the configuration excludes this distribution";
const OUTSIDE: &str = "the key is outside every origin path";
const GONE: &str = "the distribution is gone, or no longer has this bucket as an origin";

/// Maps a changed object to every distribution that serves it; `None` if no known one does. The cache
/// may hold the old object, or an error in its place: the effect of the change matters only where
/// nothing but errors is cached.
pub fn map_object(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    bucket: &str,
    key: &str,
    effect: Effect,
) -> Option<Mapping> {
    if let Some(why) = ignored(policy, bucket, key) {
        return Some(Mapping::left_alone(why));
    }
    let serving = catalogue.serving(bucket);
    if serving.is_empty() {
        return None;
    }
    let object = ChangedObject {
        catalogue,
        policy,
        key,
        effect,
        matches: policy.matches(bucket, key),
    };
    let mut mapping = Mapping::default();
    for one in serving {
        object.map(one, &mut mapping);
    }
    Some(mapping)
}

/// Maps a changed object to one distribution; `None` if that does not serve it.
pub fn map_object_at(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    distribution_id: &str,
    bucket: &str,
    key: &str,
    effect: Effect,
) -> Option<Mapping> {
    let mut serving = catalogue.serving(bucket).iter();
    let serving = serving.find(|one| one.distribution.id == distribution_id)?;
    let mut mapping = Mapping::default();
    if let Some(why) = ignored(policy, bucket, key) {
        mapping.skip(&serving.distribution, why);
        return Some(mapping);
    }
    let object = ChangedObject {
        catalogue,
        policy,
        key,
        effect,
        matches: policy.matches(bucket, key),
    };
    object.map(serving, &mut mapping);
    Some(mapping)
}

fn ignored(policy: &MappingPolicy, bucket: &str, key: &str) -> Option<String> {
    let ignore = policy.ignores.iter().find(|one| one.is_about(bucket, key));
    ignore.map(|one| format!("ignored by the configuration: match = {:?}", one.glob()))
}

/// Distributions for which rules have cache tags, but that may not store any.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tagged {
    /// Ids of distributions whose details are not known.
    pub unread: Vec<String>,
    /// Descriptions, for the author of the rules, of distributions that store no tags.
    pub faults: Vec<String>,
}

/// Checks that distributions store cache tags if a rule has some for them.
pub fn tagged(catalogue: &Catalogue, policy: &MappingPolicy) -> Tagged {
    let mut tagged = Tagged::default();
    for rule in policy.rules.iter().filter(|rule| rule.has_tags()) {
        for Serving { distribution, .. } in catalogue.serving(rule.bucket()) {
            if !policy.is_invalidated(distribution) {
                continue;
            }
            if distribution.needs_details() {
                tagged.unread.push(distribution.id.clone());
            } else if matches!(
                distribution.details,
                Details::Read {
                    cache_tags: false,
                    ..
                }
            ) {
                tagged.faults.push(format!(
                    "the rule {:?} of bucket {} has cache tags, but {} does not store any: add a \
                      CacheTagConfig to the distribution, or change the rule",
                    rule.glob(),
                    rule.bucket(),
                    distribution.id
                ));
            }
        }
    }
    tagged
}

/// Maps a path or tag of a manual request for one distribution. It is sent unchanged.
pub fn map_item(distribution: &Distribution, item: Item) -> Mapping {
    let mut mapping = Mapping::default();
    if distribution.tenants_only {
        mapping.skip(distribution, TENANTS_ONLY);
    } else if distribution.enabled {
        let because = match item.purges_nothing() {
            Some(escape) => format!(
                "asked for; warning: CloudFront takes {escape} but invalidates nothing for it: use a \
                  wildcard that ends before it"
            ),
            None => "asked for".to_owned(),
        };
        mapping.targets.push(Target {
            distribution_id: distribution.id.clone(),
            item,
            because,
        });
    } else {
        mapping.skip(distribution, DISABLED);
    }
    mapping
}

impl Mapping {
    /// The mapping of a change that concerns no distribution.
    pub fn left_alone(why: impl Into<String>) -> Self {
        let skip = Skip {
            distribution_id: None,
            why: why.into(),
        };
        Self {
            skipped: vec![skip],
            ..Self::default()
        }
    }

    /// The mapping of a change to a distribution that has gone since, or does not serve it any more.
    pub fn gone(distribution_id: &str) -> Self {
        let skip = Skip {
            distribution_id: Some(distribution_id.to_owned()),
            why: GONE.to_owned(),
        };
        Self {
            skipped: vec![skip],
            ..Self::default()
        }
    }

    /// Keeps what is about these distributions.
    #[must_use]
    pub fn only_at(mut self, ids: &[String]) -> Self {
        let has = |id: Option<&str>| id.is_none_or(|id| ids.iter().any(|one| one == id));
        self.targets.retain(|one| has(Some(&one.distribution_id)));
        self.skipped
            .retain(|one| has(one.distribution_id.as_deref()));
        self.dead.retain(|one| has(one.distribution_id.as_deref()));
        self.waits.retain(|one| has(one.distribution_id()));
        if self == Self::default() {
            return Self::left_alone(NONE_VISIBLE);
        }
        self
    }

    /// Keeps what is new of a change that was mapped before. `known` has its items and the reasons of
    /// its dead letters, each after the id of the distribution.
    pub fn retain_new(&mut self, known: &[(String, String)]) {
        let is_known = |id: &str, text: &str| {
            let mut known = known.iter();
            known.any(|(known_id, known)| known_id == id && known == text)
        };
        let targets = &mut self.targets;
        targets.retain(|one| !is_known(&one.distribution_id, one.item.as_str()));
        self.dead.retain(|one| {
            let id = one.distribution_id.as_deref().unwrap_or_default();
            !is_known(id, &one.why)
        });
        // Where it has something, there is no reason why it has nothing.
        self.skipped.retain(|one| match &one.distribution_id {
            Some(id) => known.iter().all(|(known_id, _)| known_id != id),
            None => known.is_empty(),
        });
    }

    fn skip(&mut self, distribution: &Distribution, why: impl Into<String>) {
        self.skipped.push(Skip {
            distribution_id: Some(distribution.id.clone()),
            why: why.into(),
        });
    }
}
