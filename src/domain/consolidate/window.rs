//! Merges the waiting items of one distribution: what the service and its previews do alike.

use std::collections::{HashMap, HashSet};

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

/// The items that wider ones may replace. What a person asks for is sent as it is, and so are tags.
fn mergeable(waiting: &[Waiting]) -> impl Iterator<Item = &Item> {
    let automatic = waiting.iter().filter(|one| !one.manual);
    automatic.map(|one| &one.item).filter(|item| !item.is_tag())
}

/// The paths that wider items may replace, and what the paths of such wildcards begin with: ordered, each once.
pub fn texts(waiting: &[Waiting]) -> Vec<&str> {
    let texts = mergeable(waiting).map(|item| item.stem().unwrap_or(item.as_str()));
    let mut texts: Vec<_> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// All ways to merge waiting items.
pub fn merging<'a>(waiting: &'a [Waiting], known: Known<'a>, guard: &Guard) -> Merging<'a> {
    let manual = waiting.iter().filter(|one| one.manual);
    let wanted = Wanted::new(mergeable(waiting), manual.map(|one| &one.item));
    Merging::new(wanted, known, guard)
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
