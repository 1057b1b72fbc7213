//! Merges the waiting items of one distribution: what the service and its previews do alike.

use std::{
    collections::{HashMap, HashSet},
    ptr,
};

use super::{
    call::{Plan, Waiting},
    curve::Point,
    drain::Drain,
    merging::{Made, Merged, Merging, Prevented},
    terms::{Ceilings, Guard, Known, Prices},
    wanted::Wanted,
};
use crate::domain::{
    batch::{MadeWildcard, Merges},
    path::Item,
};

/// How many of the wildcards that the guard has prevented are told.
const MOST_PREVENTED: usize = 5;

/// Under which conditions waiting items are merged.
#[derive(Debug, Clone)]
pub struct WindowTerms {
    pub guard: Guard,
    /// How many unchanged objects may be evicted to save one path.
    pub evictions_per_path: f64,
    pub drain: Drain,
}

/// What merging makes of waiting items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wildcards {
    pub made: Vec<Made>,
    /// The first ones that the guard has prevented.
    pub prevented: Vec<Prevented>,
}

/// What waits, as merging sees it.
struct Sorted<'a> {
    /// What wider items may replace: of each changed object, its own path.
    changed: Vec<&'a Item>,
    /// What is no reason to widen: what people ask for, tags, and the variants of an object's path, such as that
    /// of its folder or another spelling.
    others: Vec<&'a Item>,
}

impl<'a> Sorted<'a> {
    fn of(waiting: &'a [Waiting]) -> Self {
        let mut sorted = Self {
            changed: Vec::with_capacity(waiting.len()),
            others: Vec::new(),
        };
        // The items of a change wait one after another.
        for items in waiting.chunk_by(|one, other| one.change == other.change) {
            // The longest one names the object most closely.
            let paths = items.iter().filter(|one| !one.manual && !one.item.is_tag());
            let own = paths.max_by_key(|one| one.item.as_str().len());
            for one in items {
                let is_own = own.is_some_and(|own| ptr::eq(own, one));
                let sort = if is_own {
                    &mut sorted.changed
                } else {
                    &mut sorted.others
                };
                sort.push(&one.item);
            }
        }
        sorted
    }
}

/// The paths that wider items may replace, and what the paths of such wildcards begin with: ordered, each once.
pub fn texts(waiting: &[Waiting]) -> Vec<&str> {
    let changed = Sorted::of(waiting).changed.into_iter();
    let texts = changed.map(|item| item.stem().unwrap_or(item.as_str()));
    let mut texts: Vec<_> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// All ways to merge waiting items.
pub fn merging<'a>(waiting: &'a [Waiting], known: Known<'a>, guard: &Guard) -> Merging<'a> {
    let Sorted { changed, others } = Sorted::of(waiting);
    Merging::new(Wanted::new(changed, others), known, guard)
}

/// The wildcards that replace waiting items.
pub fn wildcards(waiting: &[Waiting], known: Known<'_>, terms: &WindowTerms) -> Wildcards {
    let merging = merging(waiting, known, &terms.guard);
    let prices = Prices::per_path(terms.evictions_per_path);
    let (merged, _) = cheapest(&merging, &prices, terms);
    let mut prevented = merging.prevented(&prices);
    prevented.truncate(MOST_PREVENTED);
    Wildcards {
        made: merged.made,
        prevented,
    }
}

/// What other prices of a path would make of waiting items, as far as it is known which keys there are.
pub fn curve(waiting: &[Waiting], known: Known<'_>, terms: &WindowTerms) -> Vec<Point> {
    let guard = Guard {
        unlisted: false,
        ..terms.guard.clone()
    };
    let merging = merging(waiting, known, &guard);
    let prices = Prices::per_path(terms.evictions_per_path);
    let (_, ceilings) = cheapest(&merging, &prices, terms);
    merging.curve(&prices, ceilings)
}

/// The cheapest plan, and the ceilings that it keeps to. If nothing keeps to all of them, there is no point in
/// evicting more to come close to them; but what is made although nothing is known is made because of them.
fn cheapest(merging: &Merging<'_>, prices: &Prices, terms: &WindowTerms) -> (Merged, Ceilings) {
    let all = terms.drain.ceilings();
    let only_wildcards = Ceilings {
        items: usize::MAX,
        ..all
    };
    for ceilings in [all, only_wildcards] {
        let merged = merging.cheapest(prices, ceilings);
        if merged.obeys || terms.guard.unlisted {
            return (merged, ceilings);
        }
    }
    (merging.cheapest(prices, Ceilings::NONE), Ceilings::NONE)
}

/// What merging did to a plan.
pub fn merges(waiting: &[Waiting], plan: &Plan, wildcards: Wildcards) -> Merges {
    let Wildcards { made, prevented } = wildcards;
    let mut replaced: HashMap<usize, HashSet<&Item>> = HashMap::new();
    let sent: HashMap<&Item, usize> = plan.items.iter().zip(0..).collect();
    let mut evicts = HashMap::new();
    for one in &made {
        if let Some(position) = sent.get(&one.item) {
            replaced.insert(*position, HashSet::new());
            evicts.insert(*position, one.evictions);
        }
    }
    for cover in &plan.covers {
        if let Some(replaced) = replaced.get_mut(&cover.position) {
            replaced.insert(&waiting[cover.waiting].item);
        }
    }
    let mut positions: Vec<_> = replaced.into_iter().collect();
    positions.sort_unstable_by_key(|(position, _)| *position);
    let made = positions.into_iter().map(|(position, items)| MadeWildcard {
        item: plan.items[position].clone(),
        replaces: items.len(),
        evictions: evicts.get(&position).copied().flatten(),
    });
    Merges {
        made: made.collect(),
        prevented: prevented.iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn only_an_objects_own_path_is_a_reason_to_widen() {
        let waiting: Vec<_> = [
            (1, "/asked", true),
            (2, "/news/a%20b", false),
            (2, "/news/a+b", false),
            (3, "/", false),
            (3, "/index.html*", false),
            (3, "#tag", false),
            (4, "#other", false),
        ]
        .map(|(change, item, manual)| Waiting {
            target: 0,
            change,
            item: Item::read(item).unwrap(),
            manual,
            accepted_at: Timestamp::UNIX_EPOCH,
        })
        .into();
        let told = |items: Vec<&Item>| {
            let items: Vec<_> = items.into_iter().map(Item::as_str).collect();
            items.join(" ")
        };
        let Sorted { changed, others } = Sorted::of(&waiting);
        assert_eq!(told(changed), "/news/a%20b /index.html*");
        assert_eq!(told(others), "/asked /news/a+b / #tag #other");
        assert_eq!(texts(&waiting), ["/index.html", "/news/a%20b"]);
    }
}
