//! Submits: freezes what is due into batches and sends them, one call a distribution at once.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    Context, Pace, STORE_PAUSE, Settings,
    attempt::{Attempt, Concluded},
    budget::Budget,
    queues::{self, Gates, Next, Queues, Setback, Turn},
};
use crate::{
    domain::{
        batch::{Backlog, Batch},
        consolidate::{self, Room, Waiting},
        limits::{CallRate, ItemRate},
    },
    ports::{StoreError, Unresolved},
};

/// The name under which submitting reports its health.
const HEALTH: &str = "cloudfront";

/// The worker that spends what the account may send. It plans one call after the other, so
/// that each sees what the one before has spent; the calls themselves run beside each other.
pub(super) struct Submitter {
    context: Context,
    queues: Arc<Queues>,
    pace: Arc<Pace>,
    calls: CallRate,
    paths: ItemRate,
    wildcards: ItemRate,
    budget: Budget,
    random: fastrand::Rng,
    window: usize,
    items_per_call: usize,
    shadow: bool,
}

impl Submitter {
    pub(super) fn new(
        context: Context,
        queues: Arc<Queues>,
        pace: Arc<Pace>,
        settings: &Settings,
    ) -> Self {
        let now = context.clock.now();
        Self {
            // Empty: nobody knows what was spent just before this start.
            calls: CallRate::empty(settings.calls_per_second, settings.call_burst, now),
            paths: ItemRate::empty(settings.paths_per_second, now),
            wildcards: ItemRate::empty(settings.wildcards_per_second, now),
            budget: Budget::new(settings.paths_per_day),
            random: fastrand::Rng::with_seed(settings.seed),
            window: settings.window,
            items_per_call: settings.items_per_call,
            shadow: settings.shadow,
            context,
            queues,
            pace,
        }
    }

    /// Gives turns until `stop`, then lets the calls under way end.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let Context { clock, signals, .. } = self.context.clone();
        let mut attempts = JoinSet::new();
        loop {
            let wake_at = match self.give_turns(&mut attempts).await {
                Ok(wake_at) => wake_at,
                Err(error) => {
                    tracing::warn!(%error, "nothing is sent for a moment");
                    Some(clock.now() + STORE_PAUSE)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = signals.planned.notified() => {}
                Some(Ok(attempt)) = attempts.join_next() => self.conclude(attempt).await,
                () = clock.sleep_until(wake_at.unwrap_or(Timestamp::MAX)), if wake_at.is_some() => {}
            }
        }
        while let Some(attempt) = attempts.join_next().await {
            if let Ok(attempt) = attempt {
                self.conclude(attempt).await;
            }
        }
    }

    /// Begins every turn that may begin now; says when the next one may.
    async fn give_turns(
        &mut self,
        attempts: &mut JoinSet<Attempt>,
    ) -> Result<Option<Timestamp>, StoreError> {
        loop {
            let now = self.context.clock.now();
            self.read_brakes().await?;
            let automatic = self.budget.left(&self.context, &self.queues, now).await?;
            let gates = Gates {
                paths_at: self.paths.next(now),
                wildcards_at: self.wildcards.next(now),
                automatic,
            };
            let id = match self.queues.next(now, &gates) {
                Next::Ready(id) => id,
                Next::At(at) => return Ok(Some(at)),
                // A new day may let go what this one holds.
                Next::Idle => return Ok((automatic == 0).then(|| self.budget.next_day(now))),
            };
            if let Err(at) = self.calls.take(now) {
                self.context.metrics.limited("calls");
                return Ok(Some(at));
            }
            // What is closed now has no room in this call.
            let closed = |at: Timestamp, room: usize| if at > now { 0 } else { room };
            let open = |room: Room| Room {
                paths: closed(gates.paths_at, room.paths),
                wildcards: closed(gates.wildcards_at, room.wildcards),
            };
            let prepared = match self.queues.begin(&id, now, &gates) {
                Some(Turn::Resend(unresolved)) => self.resume(&id, unresolved).await,
                Some(Turn::Plan {
                    backlog,
                    room: (manual, automatic),
                    in_doubt,
                }) => {
                    let room = (open(manual), open(automatic));
                    self.prepare(&id, backlog, room, in_doubt).await
                }
                None => None,
            };
            if let Some(unresolved) = prepared {
                let usage = unresolved.batch.usage();
                self.paths.spend(usage.paths, now);
                self.wildcards.spend(usage.wildcards, now);
                if self.shadow {
                    self.queues.finish(&id);
                } else {
                    let cdn = Arc::clone(&self.context.cdn);
                    attempts.spawn(Attempt::make(cdn, Arc::clone(&self.pace), unresolved));
                }
            }
        }
    }

    /// Takes over what somebody paused, resumed or lifted.
    async fn read_brakes(&mut self) -> Result<(), StoreError> {
        let Context { signals, store, .. } = &self.context;
        if !signals.take_brakes_changed() {
            return Ok(());
        }
        match store.brakes().await {
            Ok(brakes) => self.queues.set_pauses(&brakes),
            Err(error) => {
                signals.keep_brakes_changed();
                return Err(error);
            }
        }
        self.budget.forget();
        Ok(())
    }

    /// Records another attempt with a batch that has no answer yet.
    async fn resume(&self, id: &str, unresolved: Unresolved) -> Option<Unresolved> {
        let now = self.context.clock.now();
        let batch = unresolved.batch.id;
        match self.context.store.record_attempt(batch, now).await {
            Ok(()) => Some(unresolved),
            Err(error) => {
                // An attempt that is not recorded is not made.
                self.set_back(id, vec![unresolved], &error);
                None
            }
        }
    }

    /// Plans the oldest of what waits and freezes one call of it; the rest waits on.
    async fn prepare(
        &mut self,
        id: &str,
        backlog: Backlog,
        room: (Room, Room),
        in_doubt: bool,
    ) -> Option<Unresolved> {
        if in_doubt {
            match self.forgotten(id).await {
                Ok(None) => {}
                Ok(Some(forgotten)) => {
                    self.queues.add(id, backlog);
                    self.queues.occupy(id, forgotten.batch.usage());
                    return self.resume(id, forgotten).await;
                }
                Err(error) => {
                    self.queues.add(id, backlog);
                    self.set_back(id, Vec::new(), &error);
                    return None;
                }
            }
        }
        match self.freeze(id, backlog, room).await {
            Ok((batch, rest)) => {
                let left = rest.is_some();
                if let Some(rest) = rest {
                    self.queues.add(id, rest);
                }
                if batch.is_none() {
                    // Something waits that has no room: look again in a moment.
                    let pause = self.context.clock.now() + STORE_PAUSE;
                    self.queues.rest(id, left.then_some(pause));
                }
                let batch = batch?;
                let failures = self.queues.failures(id);
                if !self.shadow {
                    self.budget.spend(batch.items.len());
                    self.queues.occupy(id, batch.usage());
                }
                Some(Unresolved {
                    due_at: self.context.clock.now(),
                    failures,
                    in_doubt: false,
                    renamed: false,
                    missing_since: None,
                    batch,
                })
            }
            Err(error) => {
                self.queues.add(id, backlog);
                self.set_back(id, Vec::new(), &error);
                None
            }
        }
    }

    /// A batch that the store froze although it did not say so.
    async fn forgotten(&self, id: &str) -> Result<Option<Unresolved>, StoreError> {
        let unresolved = self.context.store.unresolved().await?;
        Ok(unresolved
            .into_iter()
            .find(|one| one.batch.distribution_id == id))
    }

    async fn freeze(
        &self,
        id: &str,
        backlog: Backlog,
        room: (Room, Room),
    ) -> Result<(Option<Batch>, Option<Backlog>), StoreError> {
        let store = &self.context.store;
        let waiting = store.waiting(id, self.window).await?;
        let whole = waiting.len() < self.window;
        let plan = consolidate::plan(
            &waiting,
            &queues::caps(self.items_per_call, self.budget.known_left(), room),
        );
        let rest = rest(&waiting, &plan.covered, backlog, whole);
        if plan.items.is_empty() {
            return Ok((None, rest));
        }
        let batch = Batch::new(id, plan.items);
        let covered = plan.covered.iter();
        let covered = covered.map(|&(index, position)| (waiting[index].seq, position));
        let now = self.context.clock.now();
        store
            .freeze(&batch, covered.collect(), self.shadow, now)
            .await?;
        self.count_waits(&waiting, &plan.covered, now);
        Ok((Some(batch), rest))
    }

    fn count_waits(&self, waiting: &[Waiting], covered: &[(usize, usize)], now: Timestamp) {
        for &(index, _) in covered {
            let waited = now.duration_since(waiting[index].accepted_at);
            self.context.metrics.waited(waited.as_secs_f64());
        }
    }

    /// Does what an answer asks for.
    async fn conclude(&mut self, attempt: Attempt) {
        let now = self.context.clock.now();
        let id = attempt.distribution_id().to_owned();
        let jitter = self.random.f64();
        match attempt
            .conclude(&self.context, &self.queues, &mut self.calls, jitter)
            .await
        {
            Ok(Concluded::Created) => {
                self.queues.finish(&id);
                self.context.signals.submitted.notify_one();
            }
            Ok(Concluded::Buried) => self.queues.finish(&id),
            Ok(Concluded::SetBack(setback)) => self.queues.fail(&id, setback),
            Err((unresolved, error)) => {
                // The answer is as good as lost: the batch goes out again, and CloudFront
                // repeats what it said.
                tracing::warn!(distribution_id = %id, %error, "an answer was not recorded");
                let due_at = now + STORE_PAUSE;
                let unresolved = Unresolved {
                    in_doubt: true,
                    due_at,
                    ..unresolved
                };
                self.set_back(&id, vec![unresolved], &error);
            }
        }
        self.report();
    }

    fn set_back(&self, id: &str, open: Vec<Unresolved>, error: &StoreError) {
        let setback = Setback {
            open,
            due_at: self.context.clock.now() + STORE_PAUSE,
            failures: self.queues.failures(id),
            trouble: error.to_string(),
        };
        self.queues.fail(id, setback);
    }

    fn report(&self) {
        let troubles = self.queues.troubles();
        if troubles.is_empty() {
            self.context.health.ok(HEALTH);
        } else {
            self.context.health.warn(HEALTH, troubles.join("; "));
        }
    }
}

/// What still waits after a plan: counted where all of it was read, else what was known less
/// what was planned.
fn rest(
    waiting: &[Waiting],
    covered: &[(usize, usize)],
    backlog: Backlog,
    whole: bool,
) -> Option<Backlog> {
    let one =
        |waiting: &Waiting| Backlog::of_one(&waiting.item, waiting.manual, waiting.accepted_at);
    let mut planned = covered.iter().map(|(index, _)| *index).peekable();
    let left = waiting.iter().enumerate().filter_map(|(index, waiting)| {
        let goes = planned.next_if_eq(&index).is_some();
        (!goes).then(|| one(waiting))
    });
    let left = left.reduce(Backlog::and);
    if whole {
        return left;
    }
    let read = waiting.iter().map(one).reduce(Backlog::and);
    let beyond = read.and_then(|read| backlog.beyond(read));
    match (left, beyond) {
        (Some(left), Some(beyond)) => Some(left.and(beyond)),
        (left, beyond) => left.or(beyond),
    }
}
