//! Delivers notices from the outbox to their targets. A target that fails holds up neither the others nor
//! anything else.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::{Id, JoinError, JoinSet};

use super::{Context, Settings, runner::Worker, status_board::StatusBoard};
use crate::{
    domain::{
        due::due_at,
        notice::{KEPT, NotDelivered, Notice, NoticeTarget, attempt_at},
    },
    ports::{NoticeStore, StoreError, Wakeup},
};

/// The most attempts to one target at a time.
const AT_ONCE: usize = 4;
/// After how many failures in a row readiness warns of a target: after some seconds.
const FAILURES_TOLD: u32 = 3;
/// How long a stop waits for running attempts.
const A_MOMENT: std::time::Duration = std::time::Duration::from_secs(2);
/// How often what is too old or too much is dropped.
const DROP_EVERY: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);

pub(super) struct Notifier {
    context: Context,
    store: Arc<dyn NoticeStore>,
    board: StatusBoard,
    random: fastrand::Rng,
    targets: Vec<Target>,
    /// The attempts that are running, by their tasks.
    attempts: HashMap<Id, Attempt>,
    running: JoinSet<Result<(), NotDelivered>>,
    /// Attempts that have ended since the last tick.
    ended: Vec<(Attempt, Result<(), NotDelivered>)>,
    drop_at: Timestamp,
}

struct Target {
    told: NoticeTarget,
    /// Failures since the last success. While there are some, one attempt is made at a time.
    failures: u32,
    /// Why the last of them failed.
    why: String,
    not_before: Option<Timestamp>,
}

/// An attempt to deliver a notice.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    /// The notice's number,
    seq: i64,
    failures: u32,
    /// and the target's index.
    target: usize,
}

impl Notifier {
    pub(super) fn new(
        context: &Context,
        settings: &Settings,
        store: Arc<dyn NoticeStore>,
        board: StatusBoard,
    ) -> Self {
        let targets = settings.notify.iter().map(|target| Target {
            told: target.clone(),
            failures: 0,
            why: String::new(),
            not_before: None,
        });
        Self {
            store,
            board,
            random: fastrand::Rng::with_seed(settings.seed ^ 5),
            targets: targets.collect(),
            attempts: HashMap::new(),
            running: JoinSet::new(),
            ended: Vec::new(),
            drop_at: context.clock.now(),
            context: context.clone(),
        }
    }

    fn note(&mut self, joined: Result<(Id, Result<(), NotDelivered>), JoinError>) {
        let (id, result) = joined.unwrap_or_else(|error| {
            let failed = NotDelivered {
                why: "the attempt panicked".to_owned(),
                retry_after: None,
            };
            (error.id(), Err(failed))
        });
        if let Some(attempt) = self.attempts.remove(&id) {
            self.ended.push((attempt, result));
        }
    }

    /// Records the results of finished attempts. One that cannot be recorded stays.
    async fn settle(&mut self) -> Result<(), StoreError> {
        while let Some(joined) = self.running.try_join_next_with_id() {
            self.note(joined);
        }
        while let Some((attempt, result)) = self.ended.last() {
            let now = self.context.clock.now();
            match result {
                Ok(()) => self.store.notice_delivered(attempt.seq).await?,
                Err(failed) => {
                    let pause = failed.pause(attempt.failures + 1, self.random.f64());
                    self.store.notice_failed(attempt.seq, now + pause).await?;
                }
            }
            if let Some((attempt, result)) = self.ended.pop() {
                self.apply(attempt, result, now);
            }
        }
        Ok(())
    }

    /// Counts and logs a result, and lets its target wait after a failure.
    fn apply(&mut self, attempt: Attempt, result: Result<(), NotDelivered>, now: Timestamp) {
        let jitter = self.random.f64();
        let target = &mut self.targets[attempt.target];
        let origin = &target.told.origin;
        match result {
            Ok(()) => {
                self.context.metrics.notices("delivered", 1);
                tracing::debug!(notice = attempt.seq, target = origin, "notice delivered");
                target.failures = 0;
                target.not_before = None;
            }
            Err(failed) => {
                self.context.metrics.notices("failed", 1);
                // Others that ran at the same time fail for the same reason.
                if target.waits_until(now).is_none() {
                    target.failures += 1;
                    let until = now + failed.pause(target.failures, jitter);
                    target.not_before = Some(until);
                    target.why = failed.why;
                    tracing::warn!(notice = attempt.seq, target = origin, why = target.why,
                        retry_at = %until, "a notice was not delivered: it is tried again");
                }
            }
        }
    }

    /// Starts attempts to a target, as many as it may get, and returns when the next is due.
    async fn deliver(&mut self, index: usize) -> Result<Option<Timestamp>, StoreError> {
        let now = self.context.clock.now();
        let target = &self.targets[index];
        if let Some(until) = target.waits_until(now) {
            return Ok(Some(until));
        }
        let is_running = |attempt: &&Attempt| attempt.target == index;
        let running = self.attempts.values().filter(is_running).count();
        let most = if target.failures > 0 { 1 } else { AT_ONCE };
        let free = most.saturating_sub(running);
        if free == 0 {
            // The end of one of them is a wake-up.
            return Ok(None);
        }
        let key = &target.told.key;
        let due = self.store.due_notices(key, now, free + running).await?;
        let next = self.store.next_notice(key, now).await?;
        let mut left = free;
        for notice in due {
            let mut attempts = self.attempts.values();
            if left == 0 || attempts.any(|attempt| attempt.seq == notice.seq) {
                continue;
            }
            left -= 1;
            self.begin(index, notice);
        }
        Ok(next.map(|next| attempt_at(next, now)))
    }

    fn begin(&mut self, target: usize, notice: Notice) {
        let attempt = Attempt {
            seq: notice.seq,
            failures: notice.failures,
            target,
        };
        let (sender, clock) = (
            Arc::clone(&self.context.notices),
            Arc::clone(&self.context.clock),
        );
        let send = async move { sender.send(&notice, clock.now()).await };
        let task = self.running.spawn(send);
        self.attempts.insert(task.id(), attempt);
    }

    /// Drops what is too old or too much, now and then.
    async fn drop_undelivered(&mut self) -> Result<(), StoreError> {
        let now = self.context.clock.now();
        if now < due_at(self.drop_at, DROP_EVERY, now) {
            return Ok(());
        }
        let dropped = self.store.drop_undelivered(now).await?;
        self.drop_at = now + DROP_EVERY;
        for (outcome, count) in [("given_up", dropped.given_up), ("surplus", dropped.surplus)] {
            self.context.metrics.notices(outcome, count);
        }
        if dropped.given_up > 0 {
            tracing::error!(
                notices = dropped.given_up,
                days = KEPT.as_hours() / 24,
                "notices were given up: they could not be delivered for days"
            );
        }
        if dropped.surplus > 0 {
            tracing::error!(
                notices = dropped.surplus,
                "the oldest notices were dropped: too many wait for a target"
            );
        }
        Ok(())
    }
}

impl Target {
    /// Until when nothing is sent to it, after a failure.
    fn waits_until(&self, now: Timestamp) -> Option<Timestamp> {
        let until = attempt_at(self.not_before?, now);
        (now < until).then_some(until)
    }
}

#[async_trait]
impl Worker for Notifier {
    fn name(&self) -> &'static str {
        "notifier"
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        self.settle().await?;
        self.drop_undelivered().await?;
        let mut next_at: Option<Timestamp> = None;
        for index in 0..self.targets.len() {
            let next = self.deliver(index).await?;
            next_at = next_at.into_iter().chain(next).min();
        }
        let waiting = self.store.waiting_notices().await?;
        let failing = self.targets.iter();
        let failing = failing.filter(|target| target.failures >= FAILURES_TOLD);
        let failing = failing.map(|target| (target.told.origin.clone(), target.why.clone()));
        let failing = failing.collect();
        self.board.update(|status| {
            status.notices = waiting;
            status.failing_receivers = failing;
        });
        Ok(next_at)
    }

    async fn woken(&mut self) {
        tokio::select! {
            () = self.context.wakeups.woken(Wakeup::NoticesWaiting) => {}
            Some(joined) = self.running.join_next_with_id() => self.note(joined),
        }
    }

    /// Waits a moment for the running attempts and records their results: what is not recorded is sent
    /// again. A stop does not wait for a receiver that does not answer.
    async fn finish(&mut self) {
        let clock = Arc::clone(&self.context.clock);
        let mut moment = clock.sleep_until(clock.now() + A_MOMENT);
        loop {
            tokio::select! {
                joined = self.running.join_next_with_id() => match joined {
                    Some(joined) => self.note(joined),
                    None => break,
                },
                () = &mut moment => break,
            }
        }
        self.running.shutdown().await;
        if let Err(error) = self.settle().await {
            tracing::warn!(%error, "notices that were delivered are sent again at the next start");
        }
    }
}
