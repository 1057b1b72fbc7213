//! Shows what changes of keys or paths would invalidate, without sending anything.

mod draft;
#[cfg(test)]
mod tests;

use serde::Serialize;

use super::{
    catalogue::{Catalogue, Distribution},
    change::Effect,
    consolidate::Point,
    mapping::MappingPolicy,
    path::Item,
    wait::Wait,
};

pub use draft::{Draft, MergedBy};

/// What would be sent, by distribution.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The distributions that serve the bucket or were selected, ordered by id.
    pub distributions: Vec<Previewed>,
    /// The number of all items; each is billed as one path.
    pub paths: usize,
    /// How many of the items are wildcards.
    pub wildcards: usize,
    /// How many unchanged objects the wildcards evict that merging makes; `None` (null) if that is not known.
    pub evictions: Option<usize>,
    /// The price of the paths, if the month's first 1,000 are spent.
    pub price_usd: f64,
}

/// What would be sent to one distribution.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Previewed {
    pub distribution_id: String,
    /// In sending order.
    pub items: Vec<PreviewedItem>,
    /// Why there are no items; `None` (null) if there are some.
    pub skipped: Option<String>,
    /// The reasons of items that would become dead letters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<String>,
    /// What the guard prevented, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prevented: Vec<String>,
    /// What other prices of a path would give, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Vec<Alternative>>,
}

/// An item that would be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PreviewedItem {
    pub item: Item,
    /// Each key or path that leads to the item, and why.
    pub why: Vec<String>,
    /// Of a wildcard that merging makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged: Option<MergedItem>,
}

/// What a wildcard does that merging makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MergedItem {
    /// How many different items it replaces.
    pub replaces: usize,
    /// How many unchanged objects it evicts; `None` (null) if that is not known.
    pub evictions: Option<usize>,
}

/// What another price of a path would give.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Alternative {
    /// The lowest value at which this is the plan.
    pub evictions_per_path: f64,
    pub paths: usize,
    pub wildcards: usize,
    pub evictions: usize,
}

impl From<Point> for Alternative {
    fn from(point: Point) -> Self {
        Self {
            evictions_per_path: point.path,
            paths: point.items,
            wildcards: point.wildcards,
            evictions: point.evictions,
        }
    }
}

impl Default for Preview {
    /// Nothing would be sent.
    fn default() -> Self {
        Self {
            distributions: Vec::new(),
            paths: 0,
            wildcards: 0,
            evictions: Some(0),
            price_usd: 0.0,
        }
    }
}

impl Previewed {
    pub fn wildcards(&self) -> usize {
        let items = self.items.iter();
        items.filter(|one| one.item.is_wildcard()).count()
    }

    /// How many unchanged objects the wildcards evict that merging makes; `None` if that is not known.
    pub fn evictions(&self) -> Option<usize> {
        let made = self.items.iter().filter_map(|one| one.merged);
        made.map(|one| one.evictions).sum()
    }
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

/// What changes of these keys in `bucket` would invalidate if nothing is merged, at all distributions or only at
/// some.
pub fn of_keys(
    catalogue: &Catalogue,
    policy: &MappingPolicy,
    bucket: &str,
    keys: &[String],
    effect: Effect,
    only_at: Option<&[String]>,
) -> Result<Preview, Missing> {
    Draft::of_keys(catalogue, policy, bucket, keys, effect, only_at).map(Draft::unmerged)
}

/// What a manual request for these items at these distributions would invalidate. It is never merged.
pub fn of_items<'a>(
    distributions: impl IntoIterator<Item = &'a Distribution>,
    items: &[Item],
) -> Preview {
    Draft::of_items(distributions, items).unmerged()
}
