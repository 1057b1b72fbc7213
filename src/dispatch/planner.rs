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
    ports::{StoreError, dispatch::BatchStore},
};

/// A plan that waits until its call may be made. Nothing is frozen yet.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) items: Vec<Item>,
    pub(super) covered: Vec<CoveredChange>,
    /// Items that no manual request asks for.
    pub(super) automatic_items: usize,
    pub(super) has_manual: bool,
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
}

/// A turn whose planning has finished.
pub(super) struct PlanningEnded {
    pub(super) turn: Turn,
    pub(super) result: Result<PlanOutcome, StoreError>,
}

pub(super) enum PlanOutcome {
    Planned(Planned),
    /// There is no room for anything that waits.
    NoRoom,
    /// The store has frozen batches that the queue does not know of. They are sent first.
    Forgotten(Vec<Unresolved>),
}

/// Plans for one distribution. Clones plan concurrently.
#[derive(Clone)]
pub(super) struct Planner {
    pub(super) store: Arc<dyn BatchStore>,
    /// The most waiting changes that are read for a plan.
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
        if !self.shadow && turn.is_in_doubt() {
            let mut forgotten = self.store.unresolved().await?;
            forgotten.retain(|one| one.batch.distribution_id == id);
            if !forgotten.is_empty() {
                return Ok(PlanOutcome::Forgotten(forgotten));
            }
        }
        let waiting = self.store.waiting(id, self.window).await?;
        let plan = consolidate::plan(&waiting, caps);
        if plan.items.is_empty() {
            return Ok(PlanOutcome::NoRoom);
        }
        Ok(PlanOutcome::Planned(planned(&waiting, plan)))
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
    let has_manual = plan
        .covers
        .iter()
        .any(|cover| waiting[cover.waiting].manual);
    Planned {
        covered: covered.collect(),
        automatic_items: plan.automatic_items,
        has_manual,
        items: plan.items,
    }
}
