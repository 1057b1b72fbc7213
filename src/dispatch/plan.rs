//! What planning is told, and a plan before it is frozen.

use jiff::Timestamp;

use crate::domain::{
    batch::{Covered, Merges, Usage},
    consolidate::{self, Bar, Caps, Plan, Waiting, Wildcards},
    path::Item,
};

/// What a plan has to know besides the waiting items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) caps: Caps,
    /// How many unchanged objects may be evicted to save a path.
    pub(super) evictions_per_path: f64,
    pub(super) now: Timestamp,
}

/// A plan that waits until its call may be made. Nothing is frozen yet.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) items: Vec<Item>,
    pub(super) covered: Vec<CoveredChange>,
    /// How many of the items, from the first, manual requests ask for.
    pub(super) manual_items: usize,
    /// When the oldest automatic change that it covers was accepted.
    pub(super) oldest: Option<Timestamp>,
    pub(super) merges: Merges,
    /// What the guard has barred wildcards by.
    pub(super) barred: Vec<Bar>,
}

#[derive(Debug)]
pub(super) struct CoveredChange {
    pub(super) covered: Covered,
    /// The change's number in the journal.
    pub(super) change: i64,
    pub(super) accepted_at: Timestamp,
}

impl Planned {
    /// From the items of a call, and what merging did.
    pub(super) fn of(waiting: &[Waiting], plan: Plan, wildcards: Wildcards) -> Self {
        let barred = wildcards.prevented.iter().map(|one| one.bar).collect();
        let merges = consolidate::merges(waiting, &plan, wildcards);
        let covered = plan.covers.iter().map(|cover| {
            let entry = &waiting[cover.waiting];
            CoveredChange {
                covered: Covered {
                    target: entry.target,
                    position: cover.position,
                },
                change: entry.change,
                accepted_at: entry.accepted_at,
            }
        });
        let automatic = plan.covers.iter().map(|cover| &waiting[cover.waiting]);
        let oldest = automatic.filter(|entry| !entry.manual);
        Self {
            covered: covered.collect(),
            manual_items: plan.items.len() - plan.automatic_items,
            oldest: oldest.map(|entry| entry.accepted_at).min(),
            items: plan.items,
            merges,
            barred,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage::of(self.items.iter().map(Item::as_str))
    }

    pub(super) fn is_manual(&self) -> bool {
        self.manual_items > 0
    }

    pub(super) fn automatic_items(&self) -> usize {
        self.items.len() - self.manual_items
    }
}
