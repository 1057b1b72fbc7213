//! What may be stale after an outage: objects that changed since, and that no change or request has
//! covered.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    catalogue::Catalogue,
    change::Effect,
    mapping::{self, MappingPolicy, NO_DISTRIBUTION},
    path::Item,
    preview::{self, Missing},
};

/// S3 cuts the time of a change to a second.
const RESOLUTION: Duration = Duration::from_secs(1);
/// The most reasons that are kept for keys without an item.
const MOST_REASONS: usize = 20;

/// An object, or the marker of a deleted one, as S3 lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// Cut to a second. Of an object that was uploaded in parts, when the upload began (Amazon S3 API
    /// Reference, "Object", `LastModified`; S3 User Guide, "System-defined object metadata").
    pub changed_at: Timestamp,
    pub effect: Effect,
}

impl Listed {
    /// Whether it may have changed at or after a time.
    pub fn changed_since(&self, since: Timestamp) -> bool {
        self.changed_at + RESOLUTION > since
    }

    /// Whether an invalidation that was accepted at this time also clears what came before the change.
    /// An invalidation in the same second may have been too early.
    fn is_covered_by(&self, accepted_at: Timestamp) -> bool {
        is_covered(self.changed_at, accepted_at)
    }
}

fn is_covered(changed_at: Timestamp, accepted_at: Timestamp) -> bool {
    accepted_at >= changed_at + RESOLUTION
}

/// What was found so far. Its size depends on what may be stale, and not on the bucket's.
#[derive(Debug, Default)]
pub struct Found {
    /// Objects, versions and delete markers.
    pub looked_at: u64,
    /// Those that changed since.
    pub changed: u64,
    /// How many of these a later change of the same key has covered.
    pub covered: u64,
    /// How many of the others are deleted.
    pub deleted: u64,
    /// Items that a later request has covered.
    pub requested: u64,
    /// How many keys cannot be cleared, at one distribution or all.
    pub left: u64,
    /// Why keys have no item, and how many.
    pub unreachable: BTreeMap<String, u64>,
    /// By distribution: each item, and the time of the newest change behind it.
    items: BTreeMap<String, BTreeMap<Item, Timestamp>>,
}

impl Found {
    /// How many keys may be stale.
    pub fn stale(&self) -> u64 {
        self.changed - self.covered
    }

    /// Adds changed objects. `accepted` has the time of the last accepted change of each key.
    pub fn add(
        &mut self,
        (catalogue, policy): (&Catalogue, &MappingPolicy),
        bucket: &str,
        changed: &[Listed],
        accepted: &HashMap<String, Timestamp>,
    ) -> Result<(), Missing> {
        for one in changed {
            self.changed += 1;
            let last = accepted.get(&one.key);
            if last.is_some_and(|last| one.is_covered_by(*last)) {
                self.covered += 1;
                continue;
            }
            self.deleted += u64::from(one.effect == Effect::Disappears);
            let mapping = mapping::map_object(catalogue, policy, bucket, &one.key, one.effect);
            let Some(mapping) = mapping else {
                self.skip(NO_DISTRIBUTION);
                continue;
            };
            if !mapping.waits.is_empty() {
                return Err(Missing::of(mapping.waits));
            }
            if mapping.targets.is_empty() {
                let whys = mapping.skipped.iter();
                whys.for_each(|skip| self.skip(&skip.why));
            }
            self.left += u64::from(!mapping.dead.is_empty());
            mapping.dead.iter().for_each(|dead| self.skip(&dead.why));
            for target in mapping.targets {
                let items = self.items.entry(target.distribution_id).or_default();
                let newest = items.entry(target.item).or_insert(one.changed_at);
                *newest = one.changed_at.max(*newest);
            }
        }
        Ok(())
    }

    fn skip(&mut self, why: &str) {
        if let Some(count) = self.unreachable.get_mut(why) {
            *count += 1;
        } else if self.unreachable.len() < MOST_REASONS {
            self.unreachable.insert(why.to_owned(), 1);
        }
    }

    /// Takes out each item that was requested, or that a requested wildcard covers, after everything
    /// behind it had changed.
    pub fn requested(&mut self, distribution_id: &str, item: &str, accepted_at: Timestamp) {
        let Some(items) = self.items.get_mut(distribution_id) else {
            return;
        };
        let Ok(item) = Item::read(item) else {
            return;
        };
        if let Some(stem) = item.stem() {
            let first = Item::parse(stem).unwrap_or_else(|_| item.clone());
            let below = items.range(first..);
            let below = below.take_while(|(one, _)| item.covers(one));
            let covered = below.filter(|(_, changed_at)| is_covered(**changed_at, accepted_at));
            let covered: Vec<_> = covered.map(|(one, _)| one.clone()).collect();
            for one in covered {
                items.remove(&one);
                self.requested += 1;
            }
        } else if let Entry::Occupied(known) = items.entry(item)
            && is_covered(*known.get(), accepted_at)
        {
            known.remove();
            self.requested += 1;
        }
    }

    /// The items for each distribution, without those that a wildcard among them covers.
    pub fn orders(&self, catalogue: &Catalogue) -> Orders {
        let mut orders = Orders::default();
        for (id, items) in &self.items {
            let items: Vec<_> = items.keys().cloned().collect();
            let preview = preview::of_items(catalogue.get(id), &items);
            for one in preview.distributions {
                let items = one.items.into_iter().map(|planned| planned.item);
                orders.add(&one.distribution_id, items.collect());
            }
        }
        orders
    }
}

/// What is to be requested, by distribution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    pub by_distribution: BTreeMap<String, Vec<Item>>,
    pub paths: usize,
    pub wildcards: usize,
}

impl Orders {
    /// One wildcard for all that a distribution serves below a prefix, why others have none, and which
    /// are wider than the prefix may look.
    pub fn below(
        (catalogue, policy): (&Catalogue, &MappingPolicy),
        bucket: &str,
        prefix: &str,
    ) -> (Self, Vec<String>) {
        let mapping = mapping::below(catalogue, policy, bucket, prefix);
        let mut orders = Self::default();
        let mut items: BTreeMap<String, Vec<Item>> = BTreeMap::new();
        for target in mapping.targets {
            let known = items.entry(target.distribution_id).or_default();
            known.push(target.item);
        }
        let whys = mapping.skipped.into_iter();
        let whys = whys.map(|skip| match skip.distribution_id {
            Some(id) => format!("{id}: {}", skip.why),
            None => skip.why,
        });
        let mut notes: Vec<_> = whys.collect();
        for (id, items) in items {
            if !prefix.is_empty() && items.iter().any(Item::is_root_wildcard) {
                notes.push(format!(
                    "{id}: the path for this prefix is /*, which drops everything from its caches"
                ));
            }
            orders.add(&id, items);
        }
        (orders, notes)
    }

    fn add(&mut self, distribution_id: &str, items: Vec<Item>) {
        if items.is_empty() {
            return;
        }
        self.paths += items.len();
        self.wildcards += items.iter().filter(|item| item.is_wildcard()).count();
        let distribution_id = distribution_id.to_owned();
        self.by_distribution.insert(distribution_id, items);
    }

    pub fn is_empty(&self) -> bool {
        self.paths == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(second * 1_000 + millisecond).unwrap()
    }

    #[test]
    fn a_second_is_the_grain_of_what_s3_says() {
        let listed = Listed {
            key: "a".to_owned(),
            changed_at: at(100, 0),
            effect: Effect::Appears,
        };
        assert!(listed.changed_since(at(100, 999)), "it may be of 100.9995");
        assert!(!listed.changed_since(at(101, 0)));
        assert!(!listed.is_covered_by(at(100, 999)));
        assert!(listed.is_covered_by(at(101, 0)));
    }

    #[test]
    fn an_item_is_requested_only_after_all_that_is_behind_it() {
        let mut found = Found::default();
        let item = Item::parse("/a").unwrap();
        let items = BTreeMap::from([(item, at(100, 0))]);
        found.items.insert("E1".to_owned(), items);
        found.requested("E1", "/a", at(100, 500));
        found.requested("E2", "/a", at(200, 0));
        found.requested("E1", "/b", at(200, 0));
        assert_eq!((found.requested, found.items["E1"].len()), (0, 1));
        found.requested("E1", "/a", at(101, 0));
        assert_eq!((found.requested, found.items["E1"].len()), (1, 0));
    }

    #[test]
    fn a_requested_wildcard_covers_what_it_matches() {
        let mut found = Found::default();
        let items = [
            ("/a", 100),
            ("/d", 100),
            ("/d/1", 100),
            ("/d/2", 300),
            ("/d/*", 100),
            ("/e", 100),
        ];
        let items = items.map(|(item, second)| (Item::parse(item).unwrap(), at(second, 0)));
        let items = BTreeMap::from_iter(items);
        found.items.insert("E1".to_owned(), items.clone());
        found.items.insert("E2".to_owned(), items);
        let left = |found: &Found| -> Vec<_> {
            let left = found.items["E1"].keys();
            left.map(|item| item.as_str().to_owned()).collect()
        };
        found.requested("E1", "/d/*", at(200, 0));
        assert_eq!(left(&found), ["/a", "/d", "/d/2", "/e"]);
        found.requested("E1", "/*", at(200, 0));
        assert_eq!(left(&found), ["/d/2"]);
        assert_eq!((found.requested, found.items["E2"].len()), (5, 6));
    }
}
