//! Gives distributions their turns, freezes their plans into batches, and sends them: at most one
//! call per distribution at a time.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::JoinSet;

use super::{
    Context, Settings,
    attempt::{Attempt, log},
    conflict::ConflictSearch,
    holds,
    planner::{PlanOutcome, Planned, Planner, PlanningEnded},
    questions::Questions,
    queues::{Next, Queues, RateGates, StaleBacklogs, Turn, Work},
    runner::{Worker, error_chain, unless_panicked},
    status_board::StatusBoard,
};
use crate::{
    domain::{
        batch::Batch,
        cdn::{CdnError, CreatedInvalidation},
        consolidate::{Allowance, Caps, Open},
        economy::Economy,
        ledger::{Ledger, MonthStatus},
        limits::{CallRate, ItemRate},
        operations::{DayBudget, DaySpending, day_of, next_day},
        path::Item,
        resolution::{self, Circumstances, Failure, NextStep, Resolution, Unresolved},
    },
    ports::{StoreError, Wakeup, dispatch::BatchStore},
};

/// How often all backlogs are read again, whether they were marked as stale or not.
const REREAD_EVERY: Duration = Duration::from_secs(30);

/// The only worker that freezes batches and spends the rates and the daily limit, so that each call
/// accounts for those before it. Plans and calls run concurrently.
pub(super) struct Submitter {
    context: Context,
    store: Arc<dyn BatchStore>,
    queues: Arc<Queues>,
    questions: Arc<Questions>,
    search: Arc<ConflictSearch>,
    board: StatusBoard,
    planner: Planner,
    calls: CallRate,
    paths: ItemRate,
    wildcards: ItemRate,
    day: DayBudget,
    economy: Economy,
    ledger: Ledger,
    random: fastrand::Rng,
    items_per_call: usize,
    shadow: bool,
    reread_at: Timestamp,
    running_plans: JoinSet<PlanningEnded>,
    running_calls: JoinSet<Attempt>,
    /// Plans and calls that have finished since the last tick.
    plans_ended: Vec<PlanningEnded>,
    calls_ended: Vec<Attempt>,
}

/// What the submitter needs besides the context.
pub(super) struct Parts {
    pub(super) store: Arc<dyn BatchStore>,
    pub(super) queues: Arc<Queues>,
    pub(super) questions: Arc<Questions>,
    pub(super) search: Arc<ConflictSearch>,
    pub(super) board: StatusBoard,
    /// For how long it is known that nobody made calls.
    pub(super) vacancy: Duration,
}

impl Submitter {
    pub(super) fn new(context: &Context, settings: &Settings, parts: Parts) -> Self {
        let now = context.clock.now();
        Self {
            context: context.clone(),
            planner: Planner {
                store: Arc::clone(&parts.store),
                window: settings.window,
                shadow: settings.shadow,
            },
            store: parts.store,
            queues: parts.queues,
            questions: parts.questions,
            search: parts.search,
            board: parts.board,
            // Empty then: it is not known what was spent just before.
            calls: CallRate::empty(
                settings.calls_per_second,
                settings.call_burst,
                now - parts.vacancy,
            ),
            paths: ItemRate::empty(settings.paths_per_second, now),
            wildcards: ItemRate::empty(settings.wildcards_per_second, now),
            day: DayBudget {
                limit: settings.paths_per_day,
                spending: DaySpending::default(),
            },
            economy: settings.economy.clone(),
            ledger: Ledger::default(),
            random: fastrand::Rng::with_seed(settings.seed),
            items_per_call: settings.items_per_call,
            shadow: settings.shadow,
            reread_at: now + REREAD_EVERY,
            running_plans: JoinSet::new(),
            running_calls: JoinSet::new(),
            plans_ended: Vec::new(),
            calls_ended: Vec::new(),
        }
    }

    /// Begins every turn that may begin now, and returns when the next one may.
    async fn give_turns(&mut self) -> Result<Option<Timestamp>, StoreError> {
        loop {
            self.read_backlogs().await?;
            let now = self.context.clock.now();
            let gates = self.gates(now);
            let call_at = self.calls.next(now);
            let calls = self.calls.available(now);
            let ready = match self.next(now, &gates, calls) {
                Next::Ready(_) if call_at > now => {
                    self.context.metrics.limited("calls");
                    return Ok(Some(call_at));
                }
                Next::Ready(ready) => ready,
                Next::At(at) | Next::Planning(at) => return Ok(Some(at)),
                // What the daily limit holds may be sent on the next day.
                Next::Idle => return Ok((gates.automatic == 0).then(|| next_day(now))),
            };
            match self.queues.begin(&ready, now, &gates) {
                Some((turn, Work::Plan(allowance))) => self.plan(turn, allowance, &gates, now),
                Some((turn, Work::Send(plan))) => self.send(turn, plan).await,
                Some((turn, Work::Resend(unresolved))) => self.resend(turn, unresolved).await,
                None => {}
            }
        }
    }

    fn next(&self, now: Timestamp, gates: &RateGates, calls: usize) -> Next {
        let catalogue = self.context.catalogue.get();
        let is_listed = |id: &str| {
            let catalogue = catalogue.as_ref();
            catalogue.is_none_or(|catalogue| catalogue.get(id).is_some())
        };
        self.queues.next(now, gates, calls, is_listed)
    }

    fn gates(&mut self, now: Timestamp) -> RateGates {
        RateGates {
            paths_at: self.paths.next(now),
            wildcards_at: self.wildcards.next(now),
            automatic: self.day.left(),
        }
    }

    /// Reads the operators' pauses, the deploy windows, and the day's spending and lifted limit. It has to
    /// come between settling plans and sending them: see [`Queues::set_holds`].
    async fn read_controls(&mut self) -> Result<(), StoreError> {
        let now = self.context.clock.now();
        let controls = self.store.controls(day_of(now)).await?;
        self.queues.set_pauses(&controls.pauses);
        let catalogue = self.context.catalogue.get();
        let (queues, store) = (&self.queues, &*self.store);
        holds::apply(&controls.holds, catalogue.as_deref(), now, queues, store).await?;
        self.day.spending = controls.spending;
        self.ledger = controls.ledger;
        Ok(())
    }

    /// Reads the stale backlogs again.
    async fn read_backlogs(&mut self) -> Result<(), StoreError> {
        let now = self.context.clock.now();
        // The second condition: if the clock is set back, the next read must not be hours away.
        if now >= self.reread_at || self.reread_at > now + REREAD_EVERY {
            self.queues.mark_all();
            self.reread_at = now + REREAD_EVERY;
        }
        let Some(stale) = self.queues.take_stale() else {
            return Ok(());
        };
        let read = self.read_stale(stale, now).await;
        if read.is_err() {
            self.queues.mark_all();
        }
        read
    }

    async fn read_stale(&self, stale: StaleBacklogs, now: Timestamp) -> Result<(), StoreError> {
        let ids: Vec<_> = stale.distributions.into_iter().collect();
        let only = (!stale.all).then_some(ids.as_slice());
        let backlogs = self.store.backlogs(only).await?;
        self.queues.set_backlogs(backlogs, stale.all);
        if stale.all {
            // An operator may have ended some.
            let backoffs = self.store.backoffs().await?;
            self.queues.end_backoffs(backoffs, now);
        }
        Ok(())
    }

    /// Starts to plan one call, in a task of its own.
    fn plan(&mut self, turn: Turn, allowance: Allowance, gates: &RateGates, now: Timestamp) {
        let caps = Caps {
            items: self.items_per_call,
            allowance,
            automatic_items: self.day.left(),
            open: Open {
                paths: gates.paths_at <= now,
                wildcards: gates.wildcards_at <= now,
            },
        };
        self.running_plans
            .spawn(self.planner.clone().plan(turn, caps));
    }

    /// Freezes a plan and sends it. The rates are spent last, so a plan that cannot be frozen costs
    /// no call.
    async fn send(&mut self, turn: Turn, plan: Planned) {
        if plan.automatic_items() > self.day.left() {
            return turn.replan();
        }
        let now = self.context.clock.now();
        let Planned {
            items,
            covered,
            manual_items,
            ..
        } = plan;
        let batch = Batch {
            manual_items,
            ..Batch::new(turn.distribution_id(), items)
        };
        let pairs = covered.iter().map(|one| one.covered).collect();
        let frozen = self.store.freeze(&batch, pairs, self.shadow, now).await;
        if let Err(error) = frozen {
            return fail(turn, &error, now);
        }
        for one in covered {
            let waited = now.duration_since(one.accepted_at);
            self.context.metrics.waited(waited.as_secs_f64());
            tracing::debug!(
                change = one.change,
                invalidation = %batch.id,
                item = %batch.items[one.covered.position],
                "change frozen into a batch"
            );
        }
        let mut unresolved = Unresolved::new(batch, now);
        unresolved.failures = self.queues.failures(turn.distribution_id());
        if self.shadow {
            self.spend(&unresolved.batch);
            return turn.done();
        }
        self.day.spend(unresolved.batch.items.len());
        self.ledger.spend(unresolved.batch.items.len());
        turn.frozen(unresolved.clone());
        self.call(turn, unresolved);
    }

    /// Sends a batch without a definite answer again, unchanged.
    async fn resend(&mut self, turn: Turn, unresolved: Unresolved) {
        let now = self.context.clock.now();
        let batch = unresolved.batch.id;
        match self.store.record_attempt(batch, now).await {
            Ok(()) => self.call(turn, unresolved),
            // No attempt is made unless it is recorded first.
            Err(error) => fail(turn, &error, now),
        }
    }

    fn call(&mut self, turn: Turn, unresolved: Unresolved) {
        self.spend(&unresolved.batch);
        let cdn = Arc::clone(&self.context.cdn);
        let search = Arc::clone(&self.search);
        self.running_calls
            .spawn(Attempt::make(cdn, search, turn, unresolved));
    }

    /// Deducts a call and its items from the rates.
    fn spend(&mut self, batch: &Batch) {
        let now = self.context.clock.now();
        let usage = batch.usage();
        // Succeeds: a call was available when the turn began, and only this worker takes calls.
        let _ = self.calls.take(now);
        self.paths.spend(usage.paths, now);
        self.wildcards.spend(usage.wildcards, now);
    }

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
    async fn settle(&mut self) {
        while let Some(ended) = self.running_plans.try_join_next() {
            self.plans_ended.extend(unless_panicked(ended));
        }
        while let Some(ended) = self.running_calls.try_join_next() {
            self.calls_ended.extend(unless_panicked(ended));
        }
        let now = self.context.clock.now();
        for PlanningEnded { turn, result } in std::mem::take(&mut self.plans_ended) {
            match result {
                Ok(PlanOutcome::Planned(plan)) => turn.planned(plan),
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

    /// Publishes the status as the store has left it, before the first call.
    pub(super) async fn publish_restored(&mut self) -> Result<(), StoreError> {
        self.read_controls().await?;
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        let now = self.context.clock.now();
        let gates = self.gates(now);
        let distributions = self.queues.statuses(now, &gates);
        let (day, shadow) = (self.day, self.shadow);
        let paused = self.queues.all_paused();
        let month = MonthStatus::of(self.ledger, &self.economy, now);
        self.board.update(|status| {
            status.distributions = distributions;
            status.paused = paused;
            status.shadow = shadow;
            status.day = (day.limit > 0).then_some(day);
            status.month = Some(month);
        });
    }
}

/// Ends a turn because of a store error.
fn fail(turn: Turn, error: &StoreError, now: Timestamp) {
    tracing::warn!(
        distribution_id = turn.distribution_id(),
        error = error_chain(error),
        "the distribution pauses: a store operation failed"
    );
    turn.store_failed(error, now);
}

#[async_trait]
impl Worker for Submitter {
    fn name(&self) -> &'static str {
        "submitter"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.settle().await;
        self.read_controls().await?;
        let next_at = self.give_turns().await;
        self.publish();
        next_at
    }

    async fn woken(&mut self) {
        let wakeups = &*self.context.wakeups;
        tokio::select! {
            () = wakeups.woken(Wakeup::ItemsWaiting) => {}
            () = wakeups.woken(Wakeup::OperatorActed) => self.queues.mark_all(),
            Some(ended) = self.running_plans.join_next() => {
                self.plans_ended.extend(unless_panicked(ended));
            }
            Some(ended) = self.running_calls.join_next() => {
                self.calls_ended.extend(unless_panicked(ended));
            }
        }
    }

    /// Waits for the running calls and records their answers.
    async fn finish(&mut self) {
        self.running_plans.shutdown().await;
        // Each answer at once: the stop does not wait for the slowest call.
        self.settle().await;
        while let Some(ended) = self.running_calls.join_next().await {
            self.calls_ended.extend(unless_panicked(ended));
            self.settle().await;
        }
    }
}
