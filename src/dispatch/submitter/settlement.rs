//! Handles the results of plans and calls that have ended.

use std::collections::HashSet;

use jiff::Timestamp;

use super::{
    super::{
        attempt::{Attempt, log},
        planner::{PlanOutcome, PlanningEnded, Sides},
        queues::Turn,
        runner::{error_chain, unless_panicked},
    },
    Submitter,
};
use crate::{
    domain::{
        batch::Batch,
        cdn::{CdnError, CreatedInvalidation},
        path::Item,
        resolution::{self, Circumstances, Failure, NextStep, Resolution, Unresolved},
    },
    ports::{StoreError, Wakeup},
};

impl Submitter {
    /// Returns the items of a call that CloudFront has certainly not taken to the rates.
    fn give_back(
        &mut self,
        batch: &Batch,
        answer: &Result<CreatedInvalidation, CdnError>,
        now: Timestamp,
    ) {
        if matches!(answer, Ok(_) | Err(CdnError::Unknown(_))) {
            return;
        }
        let usage = batch.usage();
        self.paths.give_back(usage.paths, now);
        self.wildcards.give_back(usage.wildcards, now);
    }

    /// The items that are above suspicion, if the batch was rejected for some of its items. Its parts
    /// have been told apart already.
    async fn taken_before(
        &self,
        unresolved: &Unresolved,
        answer: &Result<CreatedInvalidation, CdnError>,
    ) -> Result<HashSet<Item>, StoreError> {
        let rejected = matches!(answer, Err(CdnError::Invalid(_)));
        if !rejected || unresolved.is_part || unresolved.batch.items.len() < 2 {
            return Ok(HashSet::new());
        }
        self.store.taken_before(unresolved.batch.id).await
    }

    /// Handles the results of finished plans and calls.
    pub(super) async fn settle(&mut self) {
        while let Some(ended) = self.running_plans.try_join_next() {
            self.plans_ended.extend(unless_panicked(ended));
        }
        while let Some(ended) = self.running_calls.try_join_next() {
            self.calls_ended.extend(unless_panicked(ended));
        }
        let now = self.context.clock.now();
        for ended in std::mem::take(&mut self.plans_ended) {
            let PlanningEnded {
                turn,
                result,
                sides,
            } = ended;
            let Sides {
                look,
                waits,
                leaves_mergeable,
            } = sides;
            turn.leaves_mergeable(leaves_mergeable, now);
            if let Some(look) = look {
                self.listings.go_on(look);
            }
            let until = self.listings.busy_until(turn.distribution_id());
            if let Some(until) = until.filter(|_| waits) {
                turn.awaits_listing(until);
            }
            match result {
                Ok(PlanOutcome::Planned(plan)) => turn.planned(plan),
                Ok(PlanOutcome::Nothing) if waits => turn.replan(),
                Ok(PlanOutcome::Nothing) => turn.nothing_fits(now),
                Ok(PlanOutcome::Recovered {
                    unresolved,
                    in_progress,
                }) => turn.recovered(unresolved, in_progress),
                Err(error) => fail(turn, &error, now),
            }
        }
        // One at a time: what a stop leaves here is recorded by `finish`.
        while let Some(attempt) = self.calls_ended.pop() {
            self.conclude(attempt).await;
        }
    }

    /// Records the answer to a call and passes it on to the distribution's queue.
    async fn conclude(&mut self, attempt: Attempt) {
        let Attempt {
            turn,
            unresolved,
            answer,
        } = attempt;
        let now = self.context.clock.now();
        self.context.metrics.call("CreateInvalidation", &answer);
        match &answer {
            Ok(_) => self.calls.accepted(now),
            Err(CdnError::Throttled(_)) => self.calls.refused(now),
            Err(CdnError::NoSuchDistribution(_)) => self.questions.refresh(),
            Err(_) => {}
        }
        self.give_back(&unresolved.batch, &answer, now);
        let taken = match self.taken_before(&unresolved, &answer).await {
            Ok(taken) => taken,
            Err(error) => return fail(turn, &error, now),
        };
        let circumstances = Circumstances {
            now,
            distribution_is_gone: self.is_gone(&unresolved),
            jitter: self.random.f64(),
            taken: &taken,
        };
        let resolution = resolution::resolve(&unresolved, answer, circumstances);
        log(&unresolved, &resolution);
        if let Resolution::Failed(failure) = &resolution
            && matches!(failure.error, CdnError::Invalid(_))
            && let ([item], true) = (&*unresolved.batch.items, unresolved.batch.is_made())
        {
            let id = &unresolved.batch.distribution_id;
            self.planner.merger.refuse(id, item);
        }
        if let Resolution::Failed(failure) = &resolution
            && failure.next == NextStep::DeadLetter
        {
            self.context.metrics.failed(failure.error.label());
        }
        let batch = &unresolved.batch;
        let recorded = self
            .store
            .record_resolution(batch.id, &resolution, now)
            .await;
        if let Err(error) = recorded {
            // Whether it is recorded or not, CloudFront repeats its answer to the same batch.
            return fail(turn, &error, now);
        }
        // It may have completed or failed.
        self.context.wakeups.wake(Wakeup::NoticesWaiting);
        let created = matches!(resolution, Resolution::Created { .. });
        if created {
            let usage = batch.usage();
            self.context.metrics.items(usage.paths, usage.wildcards);
            let merges = &batch.merges;
            self.context
                .metrics
                .merged(merges.saved(), merges.evictions());
        }
        let full = matches!(
            &resolution,
            Resolution::Failed(Failure {
                error: CdnError::TooManyInProgress { .. },
                ..
            })
        );
        turn.resolved(batch.id, resolution, now);
        if full {
            self.queues.pool_is_full(&batch.distribution_id);
        }
        if created || full {
            self.context.wakeups.wake(Wakeup::InvalidationCreated);
        }
    }

    /// Whether the distribution is also missing from a catalogue that was read after CloudFront first
    /// reported it missing.
    fn is_gone(&self, unresolved: &Unresolved) -> bool {
        let catalogue = self.context.catalogue.get();
        let Some((missing_since, catalogue)) = unresolved.missing_since.zip(catalogue) else {
            return false;
        };
        let id = &unresolved.batch.distribution_id;
        catalogue.get(id).is_none() && catalogue.snapshot().read_since > missing_since
    }
}

/// Ends a turn because of a store error.
pub(super) fn fail(turn: Turn, error: &StoreError, now: Timestamp) {
    tracing::warn!(
        distribution_id = turn.distribution_id(),
        error = error_chain(error),
        "the distribution pauses: a store operation failed"
    );
    turn.store_failed(error, now);
}
