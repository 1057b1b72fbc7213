//! Merges the waiting items of one distribution: what the service and its previews do alike.

use super::{
    call::{Headroom, Waiting},
    drain::Drain,
    merging::{Made, Merging, Prevented},
    terms::{Ceilings, Guard, Known, Prices},
    wanted::Wanted,
};
use crate::domain::path::Item;

/// How many of the wildcards that the guard has prevented are told.
const MOST_PREVENTED: usize = 5;

/// Under which conditions waiting items are merged.
#[derive(Debug, Clone)]
pub struct WindowTerms {
    pub guard: Guard,
    /// How many unchanged objects may be evicted to save one path.
    pub evictions_per_path: f64,
    pub drain: Drain,
    /// How much may be sent now.
    pub room: Headroom,
}

/// What merging makes of waiting items.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wildcards {
    pub made: Vec<Made>,
    /// The first ones that the guard has prevented.
    pub prevented: Vec<Prevented>,
}

/// The items that wider ones may replace. What a person asks for is sent as it is, and so are tags.
pub fn mergeable(waiting: &[Waiting]) -> impl Iterator<Item = &Item> {
    let automatic = waiting.iter().filter(|one| !one.manual);
    automatic.map(|one| &one.item).filter(|item| !item.is_tag())
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
    let ceilings = terms.drain.ceilings(terms.room, merging.wanted.wildcards());
    // If nothing keeps to the ceilings, there is no point in evicting more to come close to them.
    let only_wildcards = Ceilings {
        items: usize::MAX,
        ..ceilings
    };
    let mut merged = merging.cheapest(&prices, ceilings);
    for ceilings in [only_wildcards, Ceilings::NONE] {
        if !merged.obeys {
            merged = merging.cheapest(&prices, ceilings);
        }
    }
    let mut prevented = merging.prevented(&prices);
    prevented.truncate(MOST_PREVENTED);
    Wildcards {
        made: merged.made,
        prevented,
    }
}
