//! Maps a changed object to the items that invalidate it, for every distribution that serves it.

mod object;
mod policy;
#[cfg(test)]
mod tests;

use super::{
    catalogue::{Catalogue, Details, Distribution, Serving},
    path::Item,
};
use object::ChangedObject;

pub use policy::{DistributionPolicy, MappingPolicy, WildcardPolicy};

/// The outcome of mapping a change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    pub targets: Vec<Target>,
    /// Distributions that need no item.
    pub skipped: Vec<Skip>,
    /// What should be invalidated but may not be: these become dead letters.
    pub dead: Vec<Skip>,
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

/// What the catalogue lacks to map a change.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// No known distribution serves the bucket.
    Bucket,
    /// Details of the distributions that serve it.
    Knowledge(MissingKnowledge),
}

/// What has to be requested from CloudFront. It is not requested until a change needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingKnowledge {
    /// Ids of distributions.
    pub details: Vec<String>,
    /// Ids of cache policies.
    pub policies: Vec<String>,
}

pub const NO_DISTRIBUTION: &str = "no distribution has this bucket as an origin";
const DISABLED: &str = "the distribution is disabled";
const LEFT_OUT: &str = "the configuration excludes this distribution";
const OUTSIDE: &str = "the key is outside every origin path";

/// Maps a changed object, or returns what the catalogue lacks to do so. The kind of change does
/// not matter: the cache may hold the old object, or an error in its place.
pub fn map_object(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    bucket: &str,
    key: &str,
) -> Result<Mapping, Missing> {
    if let Some(ignore) = policy.ignores.iter().find(|one| one.is_about(bucket, key)) {
        return Ok(Mapping::left_alone(format!(
            "ignored by the configuration: match = {:?}",
            ignore.glob()
        )));
    }
    let serving = catalogue.serving(bucket);
    if serving.is_empty() {
        return Err(Missing::Bucket);
    }
    let object = ChangedObject {
        catalogue,
        policy,
        key,
        matches: policy.matches(bucket, key),
    };
    let mut mapping = Mapping::default();
    let mut wanted = MissingKnowledge::default();
    for one in serving {
        object.map(one, &mut mapping, &mut wanted);
    }
    if wanted == MissingKnowledge::default() {
        Ok(mapping)
    } else {
        Err(Missing::Knowledge(wanted))
    }
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
            let own = policy.distributions.get(&distribution.id);
            if !distribution.enabled || own.is_some_and(|own| !own.enabled) {
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
    if distribution.enabled {
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

    /// Keeps only the items and dead letters of one distribution that are not in `known`, which has
    /// items and the reasons of dead letters.
    pub fn retain_new(&mut self, distribution_id: &str, known: &[String]) {
        self.targets.retain(|target| {
            target.distribution_id == distribution_id
                && !known.iter().any(|known| known == target.item.as_str())
        });
        self.dead.retain(|dead| {
            dead.distribution_id.as_deref() == Some(distribution_id) && !known.contains(&dead.why)
        });
        self.skipped.clear();
    }

    fn skip(&mut self, distribution: &Distribution, why: impl Into<String>) {
        self.skipped.push(Skip {
            distribution_id: Some(distribution.id.clone()),
            why: why.into(),
        });
    }
}
