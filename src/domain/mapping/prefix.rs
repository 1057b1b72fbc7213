//! The wildcards for everything that distributions serve below a prefix of a bucket's keys.

use super::{DistributionPolicy, Mapping, MappingPolicy, NO_DISTRIBUTION, OUTSIDE, found::Found};
use crate::domain::{
    catalogue::Catalogue,
    path::{Item, spell_as},
};

/// Only for a person who asks for it by name: it is as wide as the prefix. Paths of rules and those
/// of folders without their slash are not below it.
pub fn below(catalogue: &Catalogue, policy: &MappingPolicy, bucket: &str, prefix: &str) -> Mapping {
    let serving = catalogue.serving(bucket);
    if serving.is_empty() {
        return Mapping::left_alone(NO_DISTRIBUTION);
    }
    let asked = format!("/{prefix}");
    let usual = DistributionPolicy::default();
    let mut mapping = Mapping::default();
    for one in serving {
        let distribution = &*one.distribution;
        let own = policy.distributions.get(&distribution.id);
        let own = own.unwrap_or(&usual);
        if let Some(why) = policy.why_not(distribution) {
            mapping.skip(distribution, why);
            continue;
        }
        let mut found = Found::none(distribution, own);
        let rewrites = distribution.behaviours.iter().any(|one| one.rewrites);
        for (_, address) in &one.origins {
            let path = asked.strip_prefix(&address.prefix);
            if let Some(path) = path.filter(|path| path.starts_with('/')) {
                let writings = own.writings(path, address.server).into_iter();
                for writing in writings.filter(|one| rewrites || !one.needs_function) {
                    let stem = spell_as(path, &writing.respellings).item;
                    let stem = stem.stem().unwrap_or(stem.as_str());
                    found.push(Item::around(stem), "asked for".to_owned());
                }
            } else if format!("{}/", address.prefix).starts_with(&asked) {
                found.push(Item::everything(), "asked for".to_owned());
            }
        }
        if found.targets.is_empty() {
            mapping.skip(distribution, OUTSIDE);
        }
        // What another of them covers costs nothing.
        let all = found.targets.clone();
        let covered = |item: &Item| {
            all.iter()
                .any(|one| one.item != *item && one.item.covers(item))
        };
        found.targets.retain(|target| !covered(&target.item));
        mapping.targets.extend(found.targets);
    }
    mapping
}
