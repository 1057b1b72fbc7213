//! Plans one call for a distribution, concurrently with other plans and calls.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    listings::{Lister, Look},
    merger::{Merger, Outlook},
    queues::Turn,
};
use crate::{
    domain::{
        batch::{Covered, Merges, Usage},
        consolidate::{self, Bar, Caps, Headroom, Plan, Waiting, Wildcards},
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

/// From how many waiting items on merging gets a thread of its own, so that nothing waits for its computation.
const MANY: usize = 5_000;

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
    /// A survey that goes on,
    pub(super) look: Option<Look>,
    /// and whether the automatic items wait for it.
    pub(super) waits: bool,
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
    pub(super) merger: Merger,
    pub(super) lister: Lister,
}

/// What a plan has to know besides the waiting items.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) caps: Caps,
    /// How many unchanged objects may be evicted to save a path.
    pub(super) evictions_per_path: f64,
    pub(super) now: Timestamp,
}

impl Planner {
    pub(super) async fn plan(self, turn: Turn, terms: Terms) -> PlanningEnded {
        let mut look = None;
        let mut waits = false;
        let result = self.try_plan(&turn, terms, &mut look, &mut waits).await;
        PlanningEnded {
            turn,
            result,
            look,
            waits,
        }
    }

    async fn try_plan(
        &self,
        turn: &Turn,
        mut terms: Terms,
        look: &mut Option<Look>,
        waits: &mut bool,
    ) -> Result<PlanOutcome, StoreError> {
        let id = turn.distribution_id();
        if turn.is_in_doubt() {
            return self.recover(id).await;
        }
        let window = Window {
            items: self.window,
            bytes: MOST_BYTES,
        };
        let waiting = self.store.waiting(id, window).await?;
        let mut outlook = self.merger.look(id, &waiting, &terms, turn.may_ask());
        *look = outlook.survey.take().map(|survey| self.lister.look(survey));
        if outlook.waits {
            if let Some(begun) = look.take() {
                *look = self.lister.wait_a_moment(begun).await;
            }
            *waits = look.is_some();
            if *waits {
                terms.caps.allowance.automatic = Headroom::NONE;
            } else {
                outlook = self.merger.look(id, &waiting, &terms, false);
            }
        }
        let store = &*self.store;
        let resting = self.merger.resting(store, id, &outlook, terms.now).await?;
        let planned = self.compute(id, waiting, terms, outlook, resting).await?;
        Ok(planned.map_or(PlanOutcome::Nothing, PlanOutcome::Planned))
    }

    /// Plans, on another thread if it takes a while.
    async fn compute(
        &self,
        distribution_id: &str,
        waiting: Vec<Waiting>,
        terms: Terms,
        outlook: Outlook,
        resting: Vec<Item>,
    ) -> Result<Option<Planned>, StoreError> {
        let is_long = waiting.len() > MANY && outlook.is_known();
        let merger = self.merger.clone();
        let id = distribution_id.to_owned();
        let compute = move || {
            let wildcards = merger.merge(&id, &waiting, &terms, &outlook, resting);
            let made: Vec<_> = wildcards.made.iter().map(|one| one.item.clone()).collect();
            let plan = consolidate::plan(&waiting, &made, &terms.caps);
            (!plan.items.is_empty()).then(|| planned(&waiting, plan, wildcards))
        };
        if !is_long {
            return Ok(compute());
        }
        match tokio::task::spawn_blocking(compute).await {
            Ok(planned) => Ok(planned),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The service is stopping.
            Err(_) => Ok(None),
        }
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

fn planned(waiting: &[Waiting], plan: Plan, wildcards: Wildcards) -> Planned {
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
    Planned {
        covered: covered.collect(),
        manual_items: plan.items.len() - plan.automatic_items,
        oldest: oldest.map(|entry| entry.accepted_at).min(),
        items: plan.items,
        merges,
        barred,
    }
}
