//! When to stop: SIGTERM, SIGINT, or the end of a task that should never end.

use std::{io, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Tells all tasks to stop and waits for them.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    stop: CancellationToken,
    tasks: TaskTracker,
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

    /// Returns at SIGTERM or SIGINT, or when somebody cancelled [`Shutdown::stop`].
    pub async fn wanted(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = interrupt.recv() => tracing::info!("SIGINT: stopping"),
            () = self.stop.cancelled() => tracing::error!("a task ended that should not: stopping"),
        }
        Ok(())
    }

    /// Lets everything in hand end; false where `grace` was too short for it.
    pub async fn finish(&self, grace: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever waits to kill us waits in real time"
        )]
        let ended = tokio::time::timeout(grace, self.tasks.wait()).await;
        ended.is_ok()
    }
}
