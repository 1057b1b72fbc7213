//! Selects the items of one call.

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;

use crate::domain::{batch::Kind, path::Item};

/// An item that a change needs at a distribution and that is in no batch yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its number in the store.
    pub target: i64,
    /// The change's number in the journal.
    pub change: i64,
    pub item: Item,
    /// Whether it comes from a manual request.
    pub manual: bool,
    /// When the change was accepted.
    pub accepted_at: Timestamp,
}

/// How many exact paths and wildcards may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headroom {
    /// Exact paths and tags.
    pub paths: usize,
    pub wildcards: usize,
}

impl Headroom {
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

/// The headroom of manual and automatic items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// For manual items. It includes the reserve.
    pub manual: Headroom,
    /// For automatic items, without the reserve.
    pub automatic: Headroom,
}

impl Allowance {
    /// How many items of a kind may be sent.
    pub fn of(&self, kind: Kind) -> usize {
        let headroom = if kind.manual {
            self.manual
        } else {
            self.automatic
        };
        if kind.wildcard {
            headroom.wildcards
        } else {
            headroom.paths
        }
    }
}

/// The kinds of items whose rate permits a call now. The others have to wait for seconds, while a full
/// pool may take minutes to empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    pub paths: bool,
    pub wildcards: bool,
}

impl Open {
    fn is_to(self, item: &Item) -> bool {
        if item.is_wildcard() {
            self.wildcards
        } else {
            self.paths
        }
    }
}

/// Limits on one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// All items.
    pub items: usize,
    pub allowance: Allowance,
    /// Automatic items, paths and wildcards together.
    pub automatic_items: usize,
    pub open: Open,
    /// Wildcards that merging has made.
    pub made: usize,
    /// Whether items may still wait for a wildcard that replaces them.
    pub patient: bool,
}

/// The items of one call, and the waiting items that they cover.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In sending order.
    pub items: Vec<Item>,
    pub covers: Vec<Cover>,
    /// How many of the items no manual request asks for.
    pub automatic_items: usize,
    /// Whether other items wait for a wildcard that replaces them.
    pub leaves_mergeable: bool,
}

/// A waiting item that a plan covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cover {
    /// Its index in the list of waiting items.
    pub waiting: usize,
    /// The position of the covering item in the plan.
    pub position: usize,
}

/// Plans one call for `waiting`, which is ordered: manual items first, then the oldest. Equal items are
/// merged, and a waiting wildcard replaces the items that it covers, unless the pool has no room for it:
/// then they do not wait for it. Automatic items are replaced by the wildcards `made` by merging, and wait for
/// them for a while. Items that do not fit keep waiting.
pub fn plan(waiting: &[Waiting], made: &[Item], caps: &Caps) -> Plan {
    // A manual item never waits for an automatic wildcard.
    let manual = waiting.iter().filter(|one| one.manual);
    let manual = outermost_wildcards(manual.map(|one| &one.item));
    let all = outermost_wildcards(waiting.iter().map(|one| &one.item));
    let made = outermost_wildcards(made.iter());
    let mut draft = Draft {
        caps,
        positions: HashMap::new(),
        used: Headroom::NONE,
        made: 0,
        plan: Plan::default(),
    };
    for (index, one) in waiting.iter().enumerate() {
        let replaced_by = covering(&made, &one.item).filter(|_| !one.manual);
        let position = match replaced_by.map(|wildcard| draft.place_made(wildcard)) {
            Some(Some(position)) => Some(position),
            Some(None) if caps.patient => {
                draft.plan.leaves_mergeable = true;
                None
            }
            _ => {
                let wildcards = if one.manual { &manual } else { &all };
                draft.place_asked(one, covering(wildcards, &one.item), &manual)
            }
        };
        if let Some(position) = position {
            draft.plan.covers.push(Cover {
                waiting: index,
                position,
            });
        }
    }
    draft.plan
}

/// A plan in the making.
struct Draft<'a> {
    caps: &'a Caps,
    positions: HashMap<&'a Item, usize>,
    used: Headroom,
    /// How many wildcards are those of merging.
    made: usize,
    plan: Plan,
}

impl<'a> Draft<'a> {
    /// The position of what covers an item that was asked for: a wildcard that was asked for as well, or the
    /// item itself.
    fn place_asked(
        &mut self,
        one: &'a Waiting,
        wildcard: Option<&'a Item>,
        manual: &BTreeMap<&str, &'a Item>,
    ) -> Option<usize> {
        match wildcard {
            Some(wildcard) if self.has_room(wildcard, one.manual) => {
                self.place(wildcard, one.manual)
            }
            // A narrower wildcard may be in the plan already.
            _ => match covering(manual, &one.item).and_then(|narrower| self.position(narrower)) {
                Some(position) => Some(position),
                None => self.place(&one.item, one.manual),
            },
        }
    }

    /// The position of a wildcard that merging made, if it fits.
    fn place_made(&mut self, wildcard: &'a Item) -> Option<usize> {
        let known = self.position(wildcard);
        if known.is_some() || self.made == self.caps.made {
            return known;
        }
        let position = self.place(wildcard, false)?;
        self.made += 1;
        Some(position)
    }

    fn position(&self, item: &Item) -> Option<usize> {
        self.positions.get(item).copied()
    }

    /// Whether the item's pool has room for it, or it is in the plan.
    fn has_room(&self, item: &Item, manual: bool) -> bool {
        let Allowance {
            manual: of_manual,
            automatic,
        } = &self.caps.allowance;
        let room = if manual { of_manual } else { automatic };
        self.positions.contains_key(item) || self.used.of(item) < room.of(item)
    }

    /// The position of an item, which is added if it fits.
    fn place(&mut self, item: &'a Item, manual: bool) -> Option<usize> {
        if let Some(position) = self.position(item) {
            return Some(position);
        }
        let fits = self.plan.items.len() < self.caps.items
            && self.caps.open.is_to(item)
            && self.has_room(item, manual)
            && (manual || self.plan.automatic_items < self.caps.automatic_items);
        if !fits {
            return None;
        }
        self.plan.automatic_items += usize::from(!manual);
        if item.is_wildcard() {
            self.used.wildcards += 1;
        } else {
            self.used.paths += 1;
        }
        let position = self.plan.items.len();
        self.plan.items.push(item.clone());
        self.positions.insert(item, position);
        Some(position)
    }
}

/// The wildcards that are not covered by others, by stem.
fn outermost_wildcards<'a>(items: impl Iterator<Item = &'a Item>) -> BTreeMap<&'a str, &'a Item> {
    let all: BTreeMap<&str, &Item> = items
        .filter_map(|item| Some((item.stem()?, item)))
        .collect();
    let mut outermost: BTreeMap<&str, &Item> = BTreeMap::new();
    // In byte order, a stem comes directly before all stems that it covers.
    for (stem, item) in all {
        let last = outermost.last_key_value();
        if last.is_none_or(|(last, _)| !stem.starts_with(last)) {
            outermost.insert(stem, item);
        }
    }
    outermost
}

/// The wildcard that covers `item`. Because none covers another, it can only be the last one whose stem
/// does not sort after the item.
fn covering<'a>(wildcards: &BTreeMap<&str, &'a Item>, item: &Item) -> Option<&'a Item> {
    let (stem, wildcard) = wildcards.range(..=item.as_str()).next_back()?;
    item.as_str().starts_with(stem).then_some(*wildcard)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Items in order; a leading `!` marks manual ones.
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
            open: Open {
                paths: true,
                wildcards: true,
            },
            made: items,
            patient: true,
        }
    }

    fn planned(items: &[&str], caps: &Caps) -> (Vec<String>, Vec<(usize, usize)>) {
        let plan = plan(&waiting(items), &[], caps);
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
    fn a_wildcard_replaces_what_it_covers_wherever_it_waits() {
        let all = ["/b/x", "/a", "/b/c*", "/b/*", "/b/c/d", "/b"];
        let (items, covered) = planned(&all, &caps(10));
        assert_eq!(items, ["/b/*", "/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (2, 0), (3, 0), (4, 0), (5, 2)]);
    }

    #[test]
    fn a_full_call_still_covers_equal_items() {
        let (items, covered) = planned(&["/a", "/b", "/c", "/a"], &caps(2));
        assert_eq!(items, ["/a", "/b"]);
        assert_eq!(covered, [(0, 0), (1, 1), (3, 0)]);
    }

    #[test]
    fn a_star_within_a_path_is_not_a_wildcard() {
        assert_eq!(planned(&["/a*b", "/axb"], &caps(10)).0, ["/a*b", "/axb"]);
    }

    #[test]
    fn paths_and_wildcards_have_separate_headroom() {
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
    fn nothing_waits_for_a_wildcard_that_has_no_room() {
        let mut caps = caps(10);
        caps.allowance.automatic.wildcards = 1;
        let all = ["/a/*", "/b/*", "/b/c*", "/b/d", "/a/b"];
        let (items, covered) = planned(&all, &caps);
        assert_eq!(items, ["/a/*", "/b/d"]);
        assert_eq!(covered, [(0, 0), (3, 1), (4, 0)]);
        // A manual wildcard that is narrower covers what the automatic one cannot.
        let all = ["!/b/c*", "/b/*", "/b/cc", "/b/d"];
        let (items, covered) = planned(&all, &caps);
        assert_eq!(items, ["/b/c*", "/b/d"]);
        assert_eq!(covered, [(0, 0), (2, 0), (3, 1)]);
    }

    #[test]
    fn items_wait_for_what_replaces_them_only_so_long() {
        let all = waiting(&["/a/1", "!/a/2", "/b/1", "/a/3", "/c"]);
        let made = ["/a/*", "/b/*"].map(|item| Item::parse(item).unwrap());
        let planned = |caps: &Caps| {
            let plan = plan(&all, &made, caps);
            let items = plan.items.iter().map(Item::as_str).collect::<Vec<_>>();
            items.join(" ")
        };
        let mut caps = caps(10);
        assert_eq!(planned(&caps), "/a/* /a/2 /b/* /c");
        caps.made = 1;
        assert_eq!(planned(&caps), "/a/* /a/2 /c");
        caps.open.wildcards = false;
        assert_eq!(planned(&caps), "/a/2 /c");
        caps.patient = false;
        assert_eq!(planned(&caps), "/a/1 /a/2 /b/1 /a/3 /c");
    }

    #[test]
    fn a_wildcard_that_waits_for_its_rate_still_replaces_what_it_covers() {
        let mut caps = caps(10);
        caps.open.wildcards = false;
        let all = ["/a/*", "/a/b", "/c"];
        let (items, covered) = planned(&all, &caps);
        assert_eq!((items, covered), (vec!["/c".to_owned()], vec![(2, 0)]));
        caps.open = Open {
            paths: false,
            wildcards: true,
        };
        let (items, covered) = planned(&all, &caps);
        assert_eq!(items, ["/a/*"]);
        assert_eq!(covered, [(0, 0), (1, 0)]);
    }

    #[test]
    fn manual_items_use_the_reserve_and_do_not_wait_for_automatic_wildcards() {
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
            let plan = plan(&waiting, &[], &caps);
            let sent = plan.items.iter().filter(|item| item.is_wildcard()).count();
            prop_assert!(plan.items.len() <= items);
            prop_assert!(sent <= wildcards && plan.items.len() - sent <= paths);
            for cover in &plan.covers {
                let covering = &plan.items[cover.position];
                prop_assert!(covering.covers(&waiting[cover.waiting].item));
            }
            // Every item waits, is sent once, and is not covered by another item.
            for (at, item) in plan.items.iter().enumerate() {
                prop_assert!(waiting.iter().any(|one| one.item == *item));
                let others = plan.items.iter().enumerate().filter(|(other, _)| *other != at);
                prop_assert!(others.clone().all(|(_, other)| !other.covers(item)));
            }
            // Items keep waiting only for lack of room, and never if an item of the call covers them.
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
