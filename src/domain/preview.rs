//! What keys or paths would lead to, for whoever wants to know before anything is sent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    catalogue::{Catalogue, Distribution},
    consolidate::{Allowance, Caps, Headroom, Waiting, plan},
    mapping::{self, Mapping, MappingPolicy, Missing},
    path::Item,
};

/// What would be sent, by distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// The distributions that have the bucket, or were asked for, in the order of their ids.
    pub distributions: Vec<Previewed>,
    /// All items: each is paid for as one path.
    pub paths: usize,
    /// Those among them that are wildcards.
    pub wildcards: usize,
}

/// What would be sent to one distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Previewed {
    /// The distribution.
    pub distribution_id: String,
    /// The items, in the order in which they would be sent.
    pub items: Vec<PreviewedItem>,
    /// Why there is none; null where there are some.
    pub skipped: Option<String>,
    /// What would become a dead letter, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<String>,
}

/// An item that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewedItem {
    /// The item.
    pub item: Item,
    /// For each key or path that it is for: that, and why it leads here.
    pub why: Vec<String>,
}

/// What is found on the way, for one distribution.
#[derive(Default)]
struct Found {
    waiting: Vec<Waiting>,
    whys: Vec<String>,
    skipped: Vec<String>,
    dead: Vec<String>,
}

/// What changes of these keys of `bucket` would lead to.
pub fn of_keys(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    bucket: &str,
    keys: &[String],
) -> Result<Preview, Missing> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for serving in catalogue.serving(bucket) {
        found.insert(serving.distribution.id.clone(), Found::default());
    }
    for key in keys {
        let mapping = match mapping::map_object(catalogue, policy, bucket, key) {
            Ok(mapping) => mapping,
            // Nobody has it: then there is nothing to show.
            Err(Missing::Bucket) => Mapping::default(),
            Err(missing) => return Err(missing),
        };
        add(&mut found, key, mapping);
    }
    Ok(conclude(found))
}

/// What a person's request for these items at these distributions would lead to.
pub fn of_items<'a>(
    distributions: impl IntoIterator<Item = &'a Distribution>,
    items: &[Item],
) -> Preview {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for distribution in distributions {
        found.insert(distribution.id.clone(), Found::default());
        for item in items {
            let mapping = mapping::map_item(distribution, item.clone());
            add(&mut found, item.as_str(), mapping);
        }
    }
    conclude(found)
}

fn add(found: &mut BTreeMap<String, Found>, what: &str, mapping: Mapping) {
    for target in mapping.targets {
        let one = found.entry(target.distribution_id).or_default();
        one.waiting.push(Waiting {
            target: 0,
            change: 0,
            item: target.item,
            manual: false,
            accepted_at: Timestamp::UNIX_EPOCH,
        });
        one.whys.push(format!("{what}: {}", target.because));
    }
    for skip in mapping.skipped {
        let why = format!("{what}: {}", skip.why);
        match skip.distribution_id {
            Some(id) => found.entry(id).or_default().skipped.push(why),
            None => found
                .values_mut()
                .for_each(|one| one.skipped.push(why.clone())),
        }
    }
    for dead in mapping.dead {
        let id = dead.distribution_id.unwrap_or_default();
        let one = found.entry(id).or_default();
        one.dead.push(format!("{what}: {}", dead.why));
    }
}

fn conclude(found: BTreeMap<String, Found>) -> Preview {
    let all = Headroom {
        paths: usize::MAX,
        wildcards: usize::MAX,
    };
    let caps = Caps {
        items: usize::MAX,
        allowance: Allowance {
            manual: all,
            automatic: all,
        },
        automatic_items: usize::MAX,
    };
    let mut preview = Preview::default();
    for (distribution_id, found) in found {
        let plan = plan(&found.waiting, &caps);
        preview.paths += plan.items.len();
        preview.wildcards += plan.items.iter().filter(|item| item.is_wildcard()).count();
        let mut items: Vec<_> = plan
            .items
            .into_iter()
            .map(|item| PreviewedItem {
                item,
                why: Vec::new(),
            })
            .collect();
        for cover in plan.covers {
            items[cover.position]
                .why
                .push(found.whys[cover.waiting].clone());
        }
        let mut reasons = found.skipped;
        reasons.extend(found.dead.iter().map(|why| format!("dead letter: {why}")));
        preview.distributions.push(Previewed {
            distribution_id,
            skipped: items.is_empty().then(|| reasons.join("; ")),
            items,
            dead_letters: found.dead,
        });
    }
    preview
}
