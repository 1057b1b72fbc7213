//! Starts and supervises long-lived tasks, and stops the service in order.
//!
//! A stop has two stages. First the service is no longer ready but still accepts requests, so that
//! load balancers notice. Then it accepts nothing new, and running work may finish. A task that ends
//! before it is told to, by a panic or otherwise, also triggers a stop: without the task, the service
//! would accept requests but not process them.

use std::{io, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Starts long-lived tasks, tells them to stop, and waits for them.
#[derive(Debug, Clone)]
pub struct Tasks {
    stop: CancellationToken,
    running: TaskTracker,
    /// The enclosing groups, which also wait for this group's tasks.
    within: Vec<TaskTracker>,
    ended_early: Arc<watch::Sender<Option<&'static str>>>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            stop: CancellationToken::new(),
            running: TaskTracker::new(),
            within: Vec::new(),
            ended_early: Arc::new(watch::Sender::new(None)),
        }
    }
}

impl Tasks {
    /// Cancelled when the tasks are to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Starts a named task that must run until it is told to stop.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (stop, ended_early) = (self.stop.clone(), Arc::clone(&self.ended_early));
        let counted: Vec<_> = self.within.iter().map(TaskTracker::token).collect();
        let watched = async move {
            let ended = AssertUnwindSafe(task).catch_unwind().await;
            let how = match ended {
                Ok(()) if stop.is_cancelled() => return drop(counted),
                Ok(()) => "it ended",
                Err(_) => "it panicked",
            };
            tracing::error!(
                task = name,
                "{how} before it was told to stop: the service stops"
            );
            // The first one is the cause; others may follow from it.
            ended_early.send_if_modified(|first| {
                let is_first = first.is_none();
                first.get_or_insert(name);
                is_first
            });
            drop(counted);
        };
        self.running.spawn(watched);
    }

    /// A nested group, which can also be stopped separately. It stops with this one.
    #[must_use]
    pub fn within(&self) -> Self {
        let mut within = self.within.clone();
        within.push(self.running.clone());
        Self {
            stop: self.stop.child_token(),
            running: TaskTracker::new(),
            within,
            ended_early: Arc::clone(&self.ended_early),
        }
    }

    /// A group that outlives this one: it stops only by [`Tasks::end`]. Early ends of its tasks are still
    /// reported to this one.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self {
            ended_early: Arc::clone(&self.ended_early),
            ..Self::default()
        }
    }

    /// Tells the tasks to stop and waits for them.
    pub async fn end(&self) {
        self.stop.cancel();
        self.ended().await;
    }

    async fn ended(&self) {
        self.running.close();
        self.running.wait().await;
    }

    /// Returns the name of a task that ended before it was told to.
    async fn ended_early(&self) -> &'static str {
        let mut ended_early = self.ended_early.subscribe();
        match ended_early
            .wait_for(Option::is_some)
            .await
            .map(|name| *name)
        {
            Ok(Some(name)) => name,
            // Unreachable: this value owns a sender.
            _ => std::future::pending().await,
        }
    }

    /// The task that ended before it was told to, if any.
    pub fn failed(&self) -> Option<&'static str> {
        *self.ended_early.borrow()
    }
}

/// Why the service stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCause {
    Signal(&'static str),
    /// A long-lived task ended before it was told to.
    TaskEnded(&'static str),
}

/// The outcome of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All running work finished.
    Clean,
    /// The grace period ended first.
    TimedOut,
    /// A second signal ended the stop.
    Forced,
}

impl Ending {
    /// Why the stop ended, for the log.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Clean => "all running work finished",
            Self::TimedOut => "server.grace ended first",
            Self::Forced => "a second signal came",
        }
    }
}

/// SIGTERM and SIGINT.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on, these signals no longer kill the process.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

/// What is cancelled by the first SIGINT or SIGTERM from now on, for commands that have to end in order.
pub fn interruption() -> io::Result<CancellationToken> {
    let mut signals = StopSignals::new()?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        signals.next().await;
        told.cancel();
    });
    Ok(stop)
}

/// Waits for a signal or for a task that ends early.
pub async fn wanted(tasks: &Tasks, signals: &mut StopSignals) -> StopCause {
    tokio::select! {
        name = signals.next() => StopCause::Signal(name),
        name = tasks.ended_early() => StopCause::TaskEnded(name),
    }
}

/// Stops in two stages: for `drain`, everything continues; then tasks are told to stop and have
/// `grace` to finish. Another signal ends either stage immediately.
pub async fn finish(
    tasks: &Tasks,
    signals: &mut StopSignals,
    drain: Duration,
    grace: Duration,
) -> Ending {
    tokio::select! {
        () = wait(drain) => {}
        _ = signals.next() => return Ending::Forced,
    }
    tokio::select! {
        () = tasks.end() => Ending::Clean,
        () = wait(grace) => Ending::TimedOut,
        _ = signals.next() => Ending::Forced,
    }
}

async fn wait(span: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "the process manager that will kill this process waits in real time"
    )]
    tokio::time::sleep(span).await;
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    async fn runs_until_stopped(tasks: Tasks) {
        tasks.stop().cancelled().await;
    }

    #[tokio::test]
    async fn a_task_of_any_group_that_ends_or_panics_early_is_reported() {
        type Group = fn(&Tasks) -> Tasks;
        let groups: [Group; 3] = [Tasks::clone, Tasks::within, Tasks::apart];
        for group in groups {
            for panics in [false, true] {
                let tasks = Tasks::default();
                group(&tasks).spawn("worker", async move {
                    assert!(!panics, "a bug");
                });
                assert_eq!(tasks.ended_early().await, "worker");
                assert_eq!(tasks.failed(), Some("worker"));
            }
        }
    }

    #[tokio::test]
    async fn a_task_that_is_told_to_stop_is_not_reported() {
        let tasks = Tasks::default();
        let inner = tasks.within();
        tasks.spawn("outer", runs_until_stopped(tasks.clone()));
        inner.spawn("inner", runs_until_stopped(inner.clone()));
        inner.end().await;
        // The group can be started again.
        let again = tasks.within();
        again.spawn("inner", runs_until_stopped(again.clone()));
        // The outer group waits for nested ones.
        tasks.end().await;
        assert!(poll!(std::pin::pin!(again.ended())).is_ready());
        assert_eq!(tasks.failed(), None);
    }

    #[tokio::test]
    async fn a_group_apart_outlives_the_rest() {
        let tasks = Tasks::default();
        let apart = tasks.apart();
        apart.spawn("store", runs_until_stopped(apart.clone()));
        tasks.end().await;
        assert!(!apart.stop().is_cancelled());
        apart.end().await;
        assert_eq!(tasks.failed(), None);
    }
}
