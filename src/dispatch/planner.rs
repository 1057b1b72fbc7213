//! Plans one call for a distribution, beside the plans and calls of others.

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

/// A plan that waits for its call. Nothing is frozen yet.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) items: Vec<Item>,
    pub(super) covered: Vec<CoveredChange>,
    /// Items that nobody asked for.
    pub(super) automatic_items: usize,
    pub(super) has_manual: bool,
}

/// A change that a plan covers.
#[derive(Debug)]
pub(super) struct CoveredChange {
    pub(super) covered: Covered,
    /// Its number in the journal.
    pub(super) change: i64,
    pub(super) accepted_at: Timestamp,
}

impl Planned {
    pub(super) fn usage(&self) -> Usage {
        Usage::of(self.items.iter().map(Item::as_str))
    }
}

/// A turn whose planning is over.
pub(super) struct PlanningEnded {
    pub(super) turn: Turn,
    pub(super) result: Result<Outcome, StoreError>,
}

pub(super) enum Outcome {
    Planned(Planned),
    /// Nothing of what waits has room.
    Nothing,
    /// The store has frozen batches that nobody remembered: they go first.
    Forgotten(Vec<Unresolved>),
}

/// Plans for one distribution at a time; many of them may do so at once.
#[derive(Clone)]
pub(super) struct Planner {
    pub(super) store: Arc<dyn BatchStore>,
    /// How many waiting changes are read for a plan.
    pub(super) window: usize,
}

impl Planner {
    pub(super) async fn plan(self, turn: Turn, caps: Caps) -> PlanningEnded {
        let result = self.try_plan(&turn, &caps).await;
        PlanningEnded { turn, result }
    }

    async fn try_plan(&self, turn: &Turn, caps: &Caps) -> Result<Outcome, StoreError> {
        let id = turn.distribution_id();
        if turn.is_in_doubt() {
            let mut forgotten = self.store.unresolved().await?;
            forgotten.retain(|one| one.batch.distribution_id == id);
            if !forgotten.is_empty() {
                return Ok(Outcome::Forgotten(forgotten));
            }
        }
        let waiting = self.store.waiting(id, self.window).await?;
        let plan = consolidate::plan(&waiting, caps);
        if plan.items.is_empty() {
            return Ok(Outcome::Nothing);
        }
        Ok(Outcome::Planned(planned(&waiting, plan)))
    }
}

fn planned(waiting: &[Waiting], plan: Plan) -> Planned {
    let covered = plan.covers.iter().map(|cover| {
        let one = &waiting[cover.waiting];
        CoveredChange {
            covered: Covered {
                target: one.target,
                position: cover.position,
            },
            change: one.change,
            accepted_at: one.accepted_at,
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
