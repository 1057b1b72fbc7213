//! Planning: the fewest items that cover what waits, without widening anything.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use super::path::Item;

/// An item that a change needs at a distribution and that no batch has taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The store's number for it.
    pub seq: i64,
    /// What has to be invalidated.
    pub item: Item,
}

/// What one call carries, and which of the waiting items that settles.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The items, in the order in which they will be sent.
    pub items: Vec<Item>,
    /// For each waiting item that the plan covers: its index among those waiting, and the
    /// position in `items` of the one that covers it.
    pub covered: Vec<(usize, usize)>,
}

/// Plans one call of at most `max_items` items for `waiting`, which stands in order: people's
/// first, then the oldest. Equal items become one, and what a waiting wildcard covers rides
/// on it. What does not fit goes on waiting.
pub fn plan(waiting: &[Waiting], max_items: usize) -> Plan {
    let wildcards = outermost_wildcards(waiting);
    let mut positions: HashMap<&Item, usize> = HashMap::new();
    let mut plan = Plan::default();
    for (index, one) in waiting.iter().enumerate() {
        let item = covering(&wildcards, &one.item).unwrap_or(&one.item);
        let position = match positions.entry(item) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) if plan.items.len() < max_items => {
                plan.items.push(item.clone());
                *new.insert(plan.items.len() - 1)
            }
            Entry::Vacant(_) => continue,
        };
        plan.covered.push((index, position));
    }
    plan
}

/// The waiting wildcards that no other one covers, by their stems.
fn outermost_wildcards(waiting: &[Waiting]) -> BTreeMap<&str, &Item> {
    let all: BTreeMap<&str, &Item> = waiting
        .iter()
        .filter_map(|one| Some((one.item.stem()?, &one.item)))
        .collect();
    let mut outermost: BTreeMap<&str, &Item> = BTreeMap::new();
    // In byte order, a stem stands right before all that it covers.
    for (stem, item) in all {
        let last = outermost.last_key_value();
        if last.is_none_or(|(last, _)| !stem.starts_with(last)) {
            outermost.insert(stem, item);
        }
    }
    outermost
}

/// The wildcard that covers `item`. As none covers another, it can only be the last one whose
/// stem is not after the item.
fn covering<'a>(wildcards: &BTreeMap<&str, &'a Item>, item: &Item) -> Option<&'a Item> {
    let (stem, wildcard) = wildcards.range(..=item.as_str()).next_back()?;
    item.as_str().starts_with(stem).then_some(*wildcard)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn waiting(items: &[&str]) -> Vec<Waiting> {
        let numbered = items.iter().zip(1..);
        numbered
            .map(|(item, seq)| Waiting {
                seq,
                item: Item::parse(item).unwrap(),
            })
            .collect()
    }

    fn planned(items: &[&str], max_items: usize) -> (Vec<String>, Vec<(usize, usize)>) {
        let plan = plan(&waiting(items), max_items);
        (
            plan.items.into_iter().map(String::from).collect(),
            plan.covered,
        )
    }

    #[test]
    fn equal_items_become_one() {
        let (items, covered) = planned(&["/a", "/b", "/a"], 10);
        assert_eq!(items, ["/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (2, 0)]);
    }

    #[test]
    fn what_a_wildcard_covers_rides_on_it_wherever_it_stands() {
        let (items, covered) = planned(&["/b/x", "/a", "/b/c*", "/b/*", "/b/c/d", "/b"], 10);
        assert_eq!(items, ["/b/*", "/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 2)]);
    }

    #[test]
    fn a_full_call_still_settles_what_it_covers() {
        let (items, covered) = planned(&["/a", "/b", "/c", "/a"], 2);
        assert_eq!(items, ["/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (3, 0)]);
    }

    #[test]
    fn a_star_within_a_path_is_no_wildcard() {
        assert_eq!(planned(&["/a*b", "/axb"], 10).0, ["/a*b", "/axb"]);
    }

    proptest! {
        #[test]
        fn a_plan_covers_exactly_what_it_says(
            texts in prop::collection::vec("/[ab]{0,3}(/[ab]{0,2})?\\*?", 0..30),
            max_items in 1_usize..20,
        ) {
            let waiting = waiting(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let plan = plan(&waiting, max_items);
            prop_assert!(plan.items.len() <= max_items);
            for &(index, position) in &plan.covered {
                prop_assert!(plan.items[position].covers(&waiting[index].item));
            }
            // Nothing is sent that nobody asked for, twice, or that another item covers.
            for (at, item) in plan.items.iter().enumerate() {
                prop_assert!(waiting.iter().any(|one| one.item == *item));
                let others = plan.items.iter().enumerate().filter(|(other, _)| *other != at);
                prop_assert!(others.clone().all(|(_, other)| !other.covers(item)));
            }
            // Only a full call leaves something waiting, and never what it covers.
            let settled: Vec<_> = plan.covered.iter().map(|(index, _)| *index).collect();
            for (index, one) in waiting.iter().enumerate() {
                if !settled.contains(&index) {
                    prop_assert_eq!(plan.items.len(), max_items);
                    prop_assert!(plan.items.iter().all(|item| !item.covers(&one.item)));
                }
            }
        }
    }
}
