//! From a changed object to the items that drop it, for every distribution that serves it.

mod object;
mod policy;
#[cfg(test)]
mod tests;

use super::{
    catalogue::{Catalogue, Details, Distribution, Serving},
    path::Item,
};
use object::Object;

pub use policy::{DistributionPolicy, MappingPolicy, WildcardPolicy};

/// Where a change leads.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// What to invalidate, by distribution.
    pub targets: Vec<Target>,
    /// What is left alone, and why.
    pub skipped: Vec<Skip>,
    /// What would have to be invalidated but may not: dead letters.
    pub dead: Vec<Skip>,
}

/// One item that one distribution needs for a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The distribution.
    pub distribution_id: String,
    /// What to invalidate there.
    pub item: Item,
    /// Why this item, in words.
    pub because: String,
}

/// Why a change ends without an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// The distribution it is about; `None` where it is about all of them.
    pub distribution_id: Option<String>,
    /// The reason, in words.
    pub why: String,
}

/// What the catalogue would have to know before a change can be mapped.
#[derive(Debug, PartialEq, Eq)]
pub enum Missing {
    /// No distribution is known to have the bucket.
    Bucket,
    /// Something about the distributions that have it.
    Knowledge(MissingKnowledge),
}

/// What is asked of `CloudFront` only when a change needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MissingKnowledge {
    /// The details of these distributions.
    pub details: Vec<String>,
    /// These cache policies.
    pub policies: Vec<String>,
}

/// Said of a change whose bucket no distribution has.
pub const NO_DISTRIBUTION: &str = "no distribution has this bucket as an origin";
const DISABLED: &str = "the distribution is disabled";
const LEFT_OUT: &str = "the configuration leaves this distribution out";
const OUTSIDE: &str = "the key is outside every origin path";

/// Maps a changed object by what the catalogue knows, or says what it lacks. What was done to
/// the object does not matter: a viewer may have the old one, or an error in its place.
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
    let object = Object {
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

/// What the rules' cache tags need of the catalogue.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tagged {
    /// Distributions of which it is not known whether they keep tags.
    pub unread: Vec<String>,
    /// Rules whose tags somebody does not keep, in words for whoever wrote them.
    pub faults: Vec<String>,
}

/// Looks whether the distributions that rules give cache tags to keep any.
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
                    "the rule {:?} of bucket {} gives cache tags, and {} keeps none: give it a \
                     CacheTagConfig, or the rule other items",
                    rule.glob(),
                    rule.bucket(),
                    distribution.id
                ));
            }
        }
    }
    tagged
}

/// Maps a path or tag that a person gave for one distribution: it goes out as it is.
pub fn map_item(distribution: &Distribution, item: Item) -> Mapping {
    let mut mapping = Mapping::default();
    if distribution.enabled {
        let because = match item.purges_nothing() {
            Some(escape) => format!(
                "asked for; warning: CloudFront takes {escape} and drops nothing for it, so end a \
                 wildcard before it"
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
    /// The mapping of what leads nowhere.
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

    /// Keeps only what it has for one distribution and what is not among `known`: items, and
    /// whys of dead letters.
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
