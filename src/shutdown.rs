//! When to stop, and in which order: first no longer ready, then no longer listening, then gone.

use std::{io, time::Duration};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tells all tasks to stop and waits for them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Everything in hand ended.
    Clean,
    /// The grace period was over first.
    TimedOut,
    /// A second signal asked to end now.
    Forced,
}

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on, signals are ours.
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

impl Shutdown {
    /// Cancelled when it is time to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The tasks that are waited for.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Returns at a signal, or when somebody cancelled [`Shutdown::stop`].
    pub async fn wanted(&self, signals: &mut Signals) {
        tokio::select! {
            name = signals.next() => tracing::info!("{name}: stopping"),
            () = self.stop.cancelled() => tracing::error!("a task ended that should not: stopping"),
        }
    }

    /// For `drain`, everything goes on, so that load balancers see that we are no longer ready;
    /// then nothing new is taken, and what is in hand may end within `grace`. A second signal
    /// ends it now.
    pub async fn finish(&self, signals: &mut Signals, drain: Duration, grace: Duration) -> Ending {
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = wait(drain) => {}
            _ = signals.next() => return Ending::Forced,
        }
        self.stop.cancel();
        self.tasks.close();
        tokio::select! {
            () = self.tasks.wait() => Ending::Clean,
            () = wait(grace) => Ending::TimedOut,
            _ = signals.next() => Ending::Forced,
        }
    }
}

async fn wait(span: Duration) {
    #[expect(
        clippy::disallowed_methods,
        reason = "whoever waits to kill us waits in real time"
    )]
    tokio::time::sleep(span).await;
}
