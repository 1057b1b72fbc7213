//! Shows what changes of keys or paths would invalidate, without sending anything.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    catalogue::{Catalogue, Distribution},
    change::Effect,
    consolidate::{Allowance, Caps, Headroom, Open, Waiting, plan},
    ledger::price_usd,
    mapping::{self, Mapping, MappingPolicy},
    path::Item,
    wait::Wait,
};

/// What would be sent, by distribution.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Preview {
    /// The distributions that serve the bucket or were selected, ordered by id.
    pub distributions: Vec<Previewed>,
    /// The number of all items; each is billed as one path.
    pub paths: usize,
    /// How many of the items are wildcards.
    pub wildcards: usize,
    /// The price of the paths, if the month's first 1,000 are spent.
    pub price_usd: f64,
}

/// What would be sent to one distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Previewed {
    pub distribution_id: String,
    /// In sending order.
    pub items: Vec<PreviewedItem>,
    /// Why there are no items; `None` (null) if there are some.
    pub skipped: Option<String>,
    /// The reasons of items that would become dead letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<String>,
}

/// An item that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewedItem {
    pub item: Item,
    /// Each key or path that leads to the item, and why.
    pub why: Vec<String>,
}

/// What the catalogue lacks for a preview.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Ids of distributions.
    pub details: Vec<String>,
    /// Ids of cache policies.
    pub policies: Vec<String>,
}

impl Missing {
    pub(super) fn of(waits: Vec<Wait>) -> Self {
        let mut missing = Self::default();
        for wait in waits {
            match wait {
                Wait::Details(id) => missing.details.push(id),
                Wait::Policy { policy_id, .. } => missing.policies.push(policy_id),
                Wait::Bucket(_) | Wait::Again(_) => {}
            }
        }
        missing
    }
}

/// The results for one distribution, before planning.
#[derive(Default)]
struct Collected {
    waiting: Vec<Waiting>,
    whys: Vec<String>,
    skipped: Vec<String>,
    dead: Vec<String>,
}

/// What changes of these keys in `bucket` would invalidate, at all distributions or only at some.
pub fn of_keys(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    bucket: &str,
    keys: &[String],
    effect: Effect,
    only_at: Option<&[String]>,
) -> Result<Preview, Missing> {
    let mut found: BTreeMap<String, Collected> = BTreeMap::new();
    for serving in catalogue.serving(bucket) {
        let id = &serving.distribution.id;
        if only_at.is_none_or(|ids| ids.contains(id)) {
            found.insert(id.clone(), Collected::default());
        }
    }
    for key in keys {
        // Empty if no distribution serves the bucket.
        let mapping = mapping::map_object(catalogue, policy, bucket, key, effect);
        let mapping = mapping.unwrap_or_default();
        let mapping = match only_at {
            Some(ids) => mapping.only_at(ids),
            None => mapping,
        };
        if !mapping.waits.is_empty() {
            return Err(Missing::of(mapping.waits));
        }
        add(&mut found, key, mapping);
    }
    Ok(conclude(found))
}

/// What a manual request for these items at these distributions would invalidate.
pub fn of_items<'a>(
    distributions: impl IntoIterator<Item = &'a Distribution>,
    items: &[Item],
) -> Preview {
    let mut found: BTreeMap<String, Collected> = BTreeMap::new();
    for distribution in distributions {
        found.insert(distribution.id.clone(), Collected::default());
        for item in items {
            let mapping = mapping::map_item(distribution, item.clone());
            add(&mut found, item.as_str(), mapping);
        }
    }
    conclude(found)
}

fn add(found: &mut BTreeMap<String, Collected>, changed: &str, mapping: Mapping) {
    for target in mapping.targets {
        let one = found.entry(target.distribution_id).or_default();
        one.waiting.push(Waiting {
            target: 0,
            change: 0,
            item: target.item,
            manual: false,
            accepted_at: Timestamp::UNIX_EPOCH,
        });
        one.whys.push(format!("{changed}: {}", target.because));
    }
    for skip in mapping.skipped {
        let why = format!("{changed}: {}", skip.why);
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
        one.dead.push(format!("{changed}: {}", dead.why));
    }
}

fn conclude(found: BTreeMap<String, Collected>) -> Preview {
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
        open: Open {
            paths: true,
            wildcards: true,
        },
    };
    let mut preview = Preview::default();
    for (distribution_id, found) in found {
        let plan = plan(&found.waiting, &[], &caps);
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
    preview.price_usd = price_usd(preview.paths);
    preview
}
