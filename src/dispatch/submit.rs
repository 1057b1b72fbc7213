//! Submits: freezes what is due into batches and sends them, one call a distribution at once.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Context, Queues, STORE_PAUSE, Settings,
    queues::{Next, Turn},
};
use crate::{
    domain::{
        batch::{Backlog, Batch},
        consolidate,
        limits::{TokenBucket, backoff},
    },
    ports::{Answer, CdnError, StoreError, Unresolved, WaitingChange},
};

/// The name under which submitting reports its health.
const HEALTH: &str = "cloudfront";
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(15);
/// AWS says that an invalidation takes effect within 5 s and is completed within 25 s, mostly.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// The worker that spends the account's `CreateInvalidation` calls.
pub(super) struct Submitter {
    shared: Arc<Shared>,
    calls: TokenBucket,
    random: fastrand::Rng,
}

/// What a turn works with.
struct Shared {
    context: Context,
    queues: Arc<Queues>,
    window: usize,
    items_per_call: usize,
}

impl Submitter {
    pub(super) fn new(context: Context, queues: Arc<Queues>, settings: &Settings) -> Self {
        let now = context.clock.now();
        Self {
            // Empty: nobody knows what was spent just before this start.
            calls: TokenBucket::empty(settings.calls_per_second, settings.call_burst, now),
            random: fastrand::Rng::with_seed(settings.seed),
            shared: Arc::new(Shared {
                context,
                queues,
                window: settings.window,
                items_per_call: settings.items_per_call,
            }),
        }
    }

    /// Gives turns until `stop`, then lets those under way end.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let shared = Arc::clone(&self.shared);
        let Context { clock, signals, .. } = &shared.context;
        let mut turns = JoinSet::new();
        loop {
            let wake_at = self.give_turns(&mut turns);
            tokio::select! {
                () = stop.cancelled() => break,
                () = signals.planned.notified() => {}
                Some(_) = turns.join_next() => {}
                () = clock.sleep_until(wake_at.unwrap_or(Timestamp::MAX)), if wake_at.is_some() => {}
            }
        }
        while turns.join_next().await.is_some() {}
    }

    /// Begins every turn that may begin now; says when the next one may.
    fn give_turns(&mut self, turns: &mut JoinSet<()>) -> Option<Timestamp> {
        loop {
            let now = self.shared.context.clock.now();
            let id = match self.shared.queues.next(now) {
                Next::Ready(id) => id,
                Next::At(at) => return Some(at),
                Next::Idle => return None,
            };
            if let Err(at) = self.calls.take(now) {
                return Some(at);
            }
            if let Some(turn) = self.shared.queues.begin(&id) {
                let shared = Arc::clone(&self.shared);
                let jitter = self.random.f64();
                turns.spawn(async move { shared.turn(&id, turn, jitter).await });
            }
        }
    }
}

impl Shared {
    /// One distribution's turn: one batch, one attempt, and what it leads to.
    async fn turn(&self, id: &str, turn: Turn, jitter: f64) {
        let frozen = match turn {
            Turn::Resend(unresolved) => self.resume(unresolved).await,
            Turn::Plan { backlog, in_doubt } => self.freeze(id, backlog, in_doubt).await,
        };
        match frozen {
            Ok(Some((batch, failures))) => self.attempt(batch, failures, jitter).await,
            Ok(None) => self.queues.finish(id),
            Err((open, error)) => {
                // Nothing left: an attempt that is not recorded is not made.
                let due_at = self.context.clock.now() + STORE_PAUSE;
                self.queues.fail(id, open, due_at, error.to_string());
            }
        }
        self.report();
    }

    async fn resume(
        &self,
        unresolved: Unresolved,
    ) -> Result<Option<(Batch, u32)>, (Option<Unresolved>, StoreError)> {
        let now = self.context.clock.now();
        match self
            .context
            .store
            .record_attempt(unresolved.batch.id, now)
            .await
        {
            Ok(()) => Ok(Some((unresolved.batch, unresolved.failures))),
            Err(error) => Err((Some(unresolved), error)),
        }
    }

    /// Plans the oldest of what waits and freezes one call of it; the rest waits on.
    async fn freeze(
        &self,
        id: &str,
        backlog: Backlog,
        in_doubt: bool,
    ) -> Result<Option<(Batch, u32)>, (Option<Unresolved>, StoreError)> {
        if in_doubt {
            match self.forgotten(id).await {
                Ok(None) => {}
                Ok(Some(forgotten)) => {
                    self.queues.add(id, backlog);
                    return self.resume(forgotten).await;
                }
                Err(error) => {
                    self.queues.add(id, backlog);
                    return Err((None, error));
                }
            }
        }
        match self.plan(id, backlog).await {
            Ok((batch, rest)) => {
                if let Some(rest) = rest {
                    self.queues.add(id, rest);
                }
                Ok(batch.map(|batch| (batch, 0)))
            }
            Err(error) => {
                self.queues.add(id, backlog);
                Err((None, error))
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

    async fn plan(
        &self,
        id: &str,
        backlog: Backlog,
    ) -> Result<(Option<Batch>, Option<Backlog>), StoreError> {
        let store = &self.context.store;
        let mut changes = store.waiting(id, self.window).await?;
        let whole = changes.len() < self.window;
        let waiting: Vec<_> = changes
            .iter()
            .map(|change| change.waiting.clone())
            .collect();
        let plan = consolidate::plan(&waiting, self.items_per_call);
        if plan.items.is_empty() {
            return Ok((None, None));
        }
        let batch = Batch {
            id: Uuid::now_v7(),
            distribution_id: id.to_owned(),
            caller_reference: Uuid::new_v4().to_string(),
            items: plan.items,
        };
        let covered = plan.covered.iter();
        let covered = covered
            .map(|&(index, position)| (waiting[index].seq, position))
            .collect();
        store
            .freeze(&batch, covered, self.context.clock.now())
            .await?;
        let mut planned = plan.covered.iter().map(|(index, _)| *index).peekable();
        let mut index = 0;
        changes.retain(|_| {
            index += 1;
            planned.next_if_eq(&(index - 1)).is_none()
        });
        let rest = rest(&changes, backlog, plan.covered.len(), whole);
        Ok((Some(batch), rest))
    }

    /// Sends a batch whose attempt is recorded, and records the answer.
    async fn attempt(&self, batch: Batch, failures: u32, jitter: f64) {
        let Context {
            cdn,
            clock,
            metrics,
            ..
        } = &self.context;
        let result = cdn.create_invalidation(&batch).await;
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        metrics.call("CreateInvalidation", outcome);
        match result {
            Ok(invalidation) => {
                tracing::info!(
                    distribution_id = %batch.distribution_id,
                    invalidation = %batch.id,
                    cloudfront_id = %invalidation.cloudfront_id,
                    items = batch.items.len(),
                    "invalidation created"
                );
                let wildcards = batch.items.iter().filter(|item| item.is_wildcard()).count();
                let look_at = clock.now() + FIRST_LOOK;
                let answer = Answer::Created {
                    invalidation,
                    look_at,
                };
                if self.record(&batch, answer, failures).await {
                    metrics.items(batch.items.len() - wildcards, wildcards);
                    self.queues.finish(&batch.distribution_id);
                    self.context.signals.submitted.notify_one();
                }
            }
            Err(error) => self.failed(batch, failures + 1, error, jitter).await,
        }
    }

    /// Every answer but "created" leaves the batch open: the same pair goes out again.
    async fn failed(&self, batch: Batch, failures: u32, error: CdnError, jitter: f64) {
        let pause = backoff(failures, FIRST_PAUSE, LONGEST_PAUSE, jitter);
        let due_at = self.context.clock.now() + pause;
        tracing::warn!(
            distribution_id = %batch.distribution_id,
            invalidation = %batch.id,
            %error,
            failures,
            retry_at = %due_at,
            "the batch waits and goes out again unchanged"
        );
        let trouble = trouble(&error, failures);
        let answer = Answer::Failed {
            error,
            failures,
            due_at,
        };
        if self.record(&batch, answer, failures).await {
            let id = batch.distribution_id.clone();
            let open = Unresolved {
                batch,
                failures,
                due_at,
            };
            self.queues.fail(&id, Some(open), due_at, trouble);
        }
    }

    /// Records an answer. Where the store refuses, the answer is as good as lost: the batch
    /// goes out again, and `CloudFront` repeats what it said.
    async fn record(&self, batch: &Batch, answer: Answer, failures: u32) -> bool {
        let now = self.context.clock.now();
        let Err(error) = self
            .context
            .store
            .record_answer(batch.id, answer, now)
            .await
        else {
            return true;
        };
        let due_at = now + STORE_PAUSE;
        let open = Unresolved {
            batch: batch.clone(),
            failures,
            due_at,
        };
        let id = &batch.distribution_id;
        self.queues.fail(id, Some(open), due_at, error.to_string());
        false
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
fn rest(left: &[WaitingChange], backlog: Backlog, planned: usize, whole: bool) -> Option<Backlog> {
    let mut rest = left
        .iter()
        .map(|change| Backlog::of_one(change.accepted_at, change.manual))
        .reduce(Backlog::and);
    if !whole {
        let beyond = Backlog {
            items: backlog.items.saturating_sub((planned + left.len()) as u64),
            manual: false,
            ..backlog
        };
        rest = Some(rest.map_or(beyond, |rest| rest.and(beyond)));
    }
    rest
}

/// What an operator should know and do about a distribution that is not served.
fn trouble(error: &CdnError, failures: u32) -> String {
    let mend = match error {
        CdnError::Denied(_) => "; grant cloudfront:CreateInvalidation on this distribution",
        _ => "",
    };
    format!("tried {failures} times in vain, goes on trying: {error}{mend}")
}
