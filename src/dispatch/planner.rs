//! Plans one call for a distribution, concurrently with other plans and calls.

use std::sync::Arc;

use jiff::Timestamp;

use super::queues::Turn;
use crate::{
    domain::{
        batch::{Covered, Usage},
        consolidate::{self, Caps, Plan, Waiting},
        path::Item,
        resolution::Unresolved,
    },
    ports::{
        StoreError,
        dispatch::{BatchStore, Window},
    },
};

/// The most bytes that the waiting items of a kind may have in a plan's window.
const MOST_BYTES: usize = 16 << 20;

/// A plan that waits until its call may be made. Nothing is frozen yet.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) items: Vec<Item>,
    pub(super) covered: Vec<CoveredChange>,
    /// How many of the items, from the first, manual requests ask for.
    pub(super) manual_items: usize,
    /// When the oldest automatic change that it covers was accepted.
    pub(super) oldest: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct CoveredChange {
    pub(super) covered: Covered,
    /// The change's number in the journal.
    pub(super) change: i64,
    pub(super) accepted_at: Timestamp,
}

impl Planned {
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

/// A turn whose planning has finished.
pub(super) struct PlanningEnded {
    pub(super) turn: Turn,
    pub(super) result: Result<PlanOutcome, StoreError>,
}

pub(super) enum PlanOutcome {
    Planned(Planned),
    /// Nothing that waits may be sent now.
    Nothing,
    /// A write had an unknown outcome, and this is what the store has.
    Recovered {
        unresolved: Vec<Unresolved>,
        in_progress: Usage,
    },
}

/// Plans for one distribution. Clones plan concurrently.
#[derive(Clone)]
pub(super) struct Planner {
    pub(super) store: Arc<dyn BatchStore>,
    /// The most waiting items of each kind that are read for a plan.
    pub(super) window: usize,
    /// In shadow mode, batches from live mode are left alone.
    pub(super) shadow: bool,
}

impl Planner {
    pub(super) async fn plan(self, turn: Turn, caps: Caps) -> PlanningEnded {
        let result = self.try_plan(&turn, &caps).await;
        PlanningEnded { turn, result }
    }

    async fn try_plan(&self, turn: &Turn, caps: &Caps) -> Result<PlanOutcome, StoreError> {
        let id = turn.distribution_id();
        if turn.is_in_doubt() {
            return self.recover(id).await;
        }
        let window = Window {
            items: self.window,
            bytes: MOST_BYTES,
        };
        let waiting = self.store.waiting(id, window).await?;
        let plan = consolidate::plan(&waiting, &[], caps);
        if plan.items.is_empty() {
            return Ok(PlanOutcome::Nothing);
        }
        Ok(PlanOutcome::Planned(planned(&waiting, plan)))
    }
}

impl Planner {
    async fn recover(&self, id: &str) -> Result<PlanOutcome, StoreError> {
        let mut unresolved = if self.shadow {
            Vec::new()
        } else {
            self.store.unresolved().await?
        };
        unresolved.retain(|one| one.batch.distribution_id == id);
        let usages = self.store.usages().await?;
        let usage = usages.into_iter().find(|one| one.distribution_id == id);
        Ok(PlanOutcome::Recovered {
            unresolved,
            in_progress: usage.map(|one| one.usage).unwrap_or_default(),
        })
    }
}

fn planned(waiting: &[Waiting], plan: Plan) -> Planned {
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
    Planned {
        covered: covered.collect(),
        manual_items: plan.items.len() - plan.automatic_items,
        oldest: oldest.map(|entry| entry.accepted_at).min(),
        items: plan.items,
    }
}
