//! Planning: the fewest items that cover what waits, without widening anything.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use jiff::Timestamp;

use super::path::Item;

/// An item that a change needs at a distribution and that no batch has taken yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The store's number for it.
    pub target: i64,
    /// The number of its change in the journal.
    pub change: i64,
    pub item: Item,
    /// Whether a person asked for it.
    pub manual: bool,
    /// When its change was accepted.
    pub accepted_at: Timestamp,
}

/// How many exact paths and wildcards may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// Exact paths (and tags, which count as paths).
    pub paths: usize,
    /// Wildcards.
    pub wildcards: usize,
}

impl Headroom {
    /// No room at all.
    pub const NONE: Self = Self {
        paths: 0,
        wildcards: 0,
    };

    fn of(&self, item: &Item) -> usize {
        if item.is_wildcard() {
            self.wildcards
        } else {
            self.paths
        }
    }
}

/// What there is headroom for, by who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// While a call has only people's items.
    pub manual: Headroom,
    /// From the first automatic item on: less by what is reserved for people.
    pub automatic: Headroom,
}

/// What one call may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Items, of either kind and whoever asked.
    pub items: usize,
    pub allowance: Allowance,
    /// Automatic items, of both kinds together.
    pub automatic_items: usize,
}

/// What one call carries, and which of the waiting items that settles.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The items, in the order in which they will be sent.
    pub items: Vec<Item>,
    pub covers: Vec<Cover>,
    /// How many of the items nobody asked for.
    pub automatic_items: usize,
}

/// A waiting item that a plan covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover {
    /// Its index among those waiting.
    pub waiting: usize,
    /// The position in the plan's items of the one that covers it.
    pub position: usize,
}

/// Plans one call for `waiting`, which stands in order: people's first, then the oldest. Equal
/// items become one, and what a waiting wildcard covers rides on it. What does not fit goes on
/// waiting.
pub fn plan(waiting: &[Waiting], caps: &Caps) -> Plan {
    // A person's item never waits for a wildcard that nobody asked for.
    let asked = outermost_wildcards(waiting.iter().filter(|one| one.manual));
    let all = outermost_wildcards(waiting.iter());
    let mut positions: HashMap<&Item, usize> = HashMap::new();
    let mut plan = Plan::default();
    let mut used = Headroom::NONE;
    for (index, one) in waiting.iter().enumerate() {
        let (wildcards, room) = if one.manual {
            (&asked, &caps.allowance.manual)
        } else {
            (&all, &caps.allowance.automatic)
        };
        let item = covering(wildcards, &one.item).unwrap_or(&one.item);
        let position = match positions.entry(item) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let full = plan.items.len() >= caps.items
                    || used.of(item) >= room.of(item)
                    || (!one.manual && plan.automatic_items >= caps.automatic_items);
                if full {
                    continue;
                }
                plan.automatic_items += usize::from(!one.manual);
                if item.is_wildcard() {
                    used.wildcards += 1;
                } else {
                    used.paths += 1;
                }
                plan.items.push(item.clone());
                *new.insert(plan.items.len() - 1)
            }
        };
        plan.covers.push(Cover {
            waiting: index,
            position,
        });
    }
    plan
}

/// The waiting wildcards that no other one covers, by their stems.
fn outermost_wildcards<'a>(
    waiting: impl Iterator<Item = &'a Waiting>,
) -> BTreeMap<&'a str, &'a Item> {
    let all: BTreeMap<&str, &Item> = waiting
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

    /// Items in order; those that begin with `!` are people's.
    fn waiting(items: &[&str]) -> Vec<Waiting> {
        let numbered = items.iter().zip(1..);
        numbered
            .map(|(item, target)| Waiting {
                target,
                change: target,
                item: Item::parse(item.trim_start_matches('!')).unwrap(),
                manual: item.starts_with('!'),
                accepted_at: Timestamp::UNIX_EPOCH,
            })
            .collect()
    }

    fn caps(items: usize) -> Caps {
        let room = Headroom {
            paths: items,
            wildcards: items,
        };
        Caps {
            items,
            allowance: Allowance {
                manual: room,
                automatic: room,
            },
            automatic_items: items,
        }
    }

    fn planned(items: &[&str], caps: &Caps) -> (Vec<String>, Vec<(usize, usize)>) {
        let plan = plan(&waiting(items), caps);
        let items = plan.items.into_iter().map(String::from).collect();
        let covers = plan.covers.into_iter();
        let covers = covers.map(|cover| (cover.waiting, cover.position));
        (items, covers.collect())
    }

    #[test]
    fn equal_items_become_one() {
        let (items, covered) = planned(&["/a", "/b", "/a"], &caps(10));
        assert_eq!(items, ["/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (2, 0)]);
    }

    #[test]
    fn what_a_wildcard_covers_rides_on_it_wherever_it_stands() {
        let all = ["/b/x", "/a", "/b/c*", "/b/*", "/b/c/d", "/b"];
        let (items, covered) = planned(&all, &caps(10));
        assert_eq!(items, ["/b/*", "/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 2)]);
    }

    #[test]
    fn a_full_call_still_settles_what_it_covers() {
        let (items, covered) = planned(&["/a", "/b", "/c", "/a"], &caps(2));
        assert_eq!(items, ["/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (3, 0)]);
    }

    #[test]
    fn a_star_within_a_path_is_no_wildcard() {
        assert_eq!(planned(&["/a*b", "/axb"], &caps(10)).0, ["/a*b", "/axb"]);
    }

    #[test]
    fn paths_and_wildcards_have_room_of_their_own() {
        let mut caps = caps(10);
        caps.allowance.automatic = Headroom {
            paths: 1,
            wildcards: 1,
        };
        let all = ["/a", "/b", "/c*", "/d*", "/cc"];
        let (items, covered) = planned(&all, &caps);
        assert_eq!(items, ["/a", "/c*"]);
        assert_eq!(covered, [(0, 0), (2, 1), (4, 1)]);
    }

    #[test]
    fn people_use_what_is_reserved_for_them_and_wait_for_nobody() {
        let mut caps = caps(10);
        caps.allowance.automatic = Headroom::NONE;
        let all = ["!/a", "!/b/c", "/b/*", "/a", "/d"];
        let (items, covered) = planned(&all, &caps);
        assert_eq!(items, ["/a", "/b/c"]);
        assert_eq!(covered, [(0, 0), (1, 1), (3, 0)]);
    }

    proptest! {
        #[test]
        fn a_plan_covers_exactly_what_it_says(
            texts in prop::collection::vec("/[ab]{0,3}(/[ab]{0,2})?\\*?", 0..30),
            items in 1_usize..20,
            paths in 0_usize..10,
            wildcards in 0_usize..3,
        ) {
            let waiting = waiting(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let mut caps = caps(items);
            caps.allowance.automatic = Headroom { paths, wildcards };
            let plan = plan(&waiting, &caps);
            let sent = plan.items.iter().filter(|item| item.is_wildcard()).count();
            prop_assert!(plan.items.len() <= items);
            prop_assert!(sent <= wildcards && plan.items.len() - sent <= paths);
            for cover in &plan.covers {
                let covering = &plan.items[cover.position];
                prop_assert!(covering.covers(&waiting[cover.waiting].item));
            }
            // Nothing is sent that nobody asked for, twice, or that another item covers.
            for (at, item) in plan.items.iter().enumerate() {
                prop_assert!(waiting.iter().any(|one| one.item == *item));
                let others = plan.items.iter().enumerate().filter(|(other, _)| *other != at);
                prop_assert!(others.clone().all(|(_, other)| !other.covers(item)));
            }
            // Only for want of room does something go on waiting, and never what is covered.
            let settled: Vec<_> = plan.covers.iter().map(|cover| cover.waiting).collect();
            for (index, one) in waiting.iter().enumerate() {
                if !settled.contains(&index) {
                    let full = plan.items.len() == items
                        || sent == wildcards
                        || plan.items.len() - sent == paths;
                    prop_assert!(full);
                    prop_assert!(plan.items.iter().all(|item| !item.covers(&one.item)));
                }
            }
        }
    }
}
