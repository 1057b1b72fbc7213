//! Gives distributions their turns, freezes their plans into batches, and sends them: at most one
//! call per distribution at a time.

mod settlement;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::JoinSet;

use self::settlement::fail;
use super::{
    Context, Settings,
    attempt::Attempt,
    conflict::ConflictSearch,
    holds,
    listings::{Lister, Listings},
    merger::Merger,
    plan::{Planned, Terms},
    planner::{Planner, PlanningEnded},
    questions::Questions,
    queues::{Next, Queues, RateGates, StaleBacklogs, Turn, Work},
    runner::{Worker, unless_panicked},
    status_board::StatusBoard,
};
use crate::{
    domain::{
        batch::Batch,
        consolidate::{Allowance, Caps, Open},
        economy::Economy,
        ledger::{Ledger, MonthStatus},
        limits::{CallRate, ItemRate},
        operations::{DayBudget, DaySpending, day_of, next_day},
        resolution::Unresolved,
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
    made_per_call: usize,
    shadow: bool,
    reread_at: Timestamp,
    listings: Listings,
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
        let lister = Lister::new(context);
        Self {
            context: context.clone(),
            listings: Listings::new(lister.clone()),
            planner: Planner {
                store: Arc::clone(&parts.store),
                window: settings.window,
                shadow: settings.shadow,
                merger: Merger::new(
                    settings,
                    context.catalogue.clone(),
                    Arc::clone(&lister.known),
                ),
                lister,
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
            made_per_call: settings.made_per_call(),
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
            made: self.made_per_call,
            patient: turn.is_patient(self.economy.max_delay, now),
        };
        let terms = Terms {
            caps,
            evictions_per_path: self.economy.evictions_per_path_at(&self.ledger),
            now,
        };
        self.running_plans
            .spawn(self.planner.clone().plan(turn, terms));
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
            merges,
            barred,
            ..
        } = plan;
        let batch = Batch {
            manual_items,
            merges,
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
        let metrics = &self.context.metrics;
        for bar in barred {
            metrics.guarded(bar.label(), 1);
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
            id = self.listings.ended() => self.queues.end_listing(&id),
        }
    }

    /// Waits for the running calls and records their answers.
    async fn finish(&mut self) {
        self.listings.stop().await;
        self.running_plans.shutdown().await;
        // Each answer at once: the stop does not wait for the slowest call.
        self.settle().await;
        while let Some(ended) = self.running_calls.join_next().await {
            self.calls_ended.extend(unless_panicked(ended));
            self.settle().await;
        }
    }
}
