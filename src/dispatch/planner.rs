//! Plans one call for a distribution, concurrently with other plans and calls.

use std::sync::Arc;

use super::{
    listings::{Lister, Look},
    merger::{Merger, Outlook},
    plan::{Planned, Terms},
    queues::Turn,
};
use crate::{
    domain::{
        batch::Usage,
        consolidate::{self, Headroom, Waiting},
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

/// A turn whose planning has finished.
pub(super) struct PlanningEnded {
    pub(super) turn: Turn,
    pub(super) result: Result<PlanOutcome, StoreError>,
    pub(super) sides: Sides,
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

/// What comes of a plan besides its items.
#[derive(Default)]
pub(super) struct Sides {
    /// A survey that goes on,
    pub(super) look: Option<Look>,
    /// and whether the automatic items wait for it.
    pub(super) waits: bool,
    /// Whether items wait for a wildcard that replaces them.
    pub(super) leaves_mergeable: bool,
}

impl Planner {
    pub(super) async fn plan(self, turn: Turn, terms: Terms) -> PlanningEnded {
        let mut sides = Sides::default();
        let result = self.try_plan(&turn, terms, &mut sides).await;
        PlanningEnded {
            turn,
            result,
            sides,
        }
    }

    async fn try_plan(
        &self,
        turn: &Turn,
        mut terms: Terms,
        sides: &mut Sides,
    ) -> Result<PlanOutcome, StoreError> {
        let Sides {
            look,
            waits,
            leaves_mergeable,
        } = sides;
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
            *waits = match look.take() {
                Some(begun) => {
                    *look = self.lister.wait_a_moment(begun).await;
                    look.is_some()
                }
                // There is one in the background.
                None => true,
            };
            if *waits {
                terms.caps.allowance.automatic = Headroom::NONE;
            } else {
                outlook = self.merger.look(id, &waiting, &terms, false);
            }
        }
        let store = &*self.store;
        let resting = self.merger.resting(store, id, &outlook, terms.now).await?;
        let (planned, left) = self.compute(id, waiting, terms, outlook, resting).await?;
        *leaves_mergeable = left;
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
    ) -> Result<(Option<Planned>, bool), StoreError> {
        let is_long = waiting.len() > MANY && self.merger.computes(&outlook);
        let merger = self.merger.clone();
        let id = distribution_id.to_owned();
        let compute = move || {
            let wildcards = merger.merge(&id, &waiting, &terms, &outlook, resting);
            let made: Vec<_> = wildcards.made.iter().map(|one| one.item.clone()).collect();
            let plan = consolidate::plan(&waiting, &made, &terms.caps);
            let left = plan.leaves_mergeable;
            let has_any = !plan.items.is_empty();
            let planned = has_any.then(|| Planned::of(&waiting, plan, wildcards));
            (planned, left)
        };
        if !is_long {
            return Ok(compute());
        }
        match tokio::task::spawn_blocking(compute).await {
            Ok(planned) => Ok(planned),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The service is stopping.
            Err(_) => Ok((None, false)),
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
