//! The loop that every worker runs in: its span, its poll, its pause when the store fails, and its
//! line in the status.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tracing::Instrument as _;

use super::status_board::StatusBoard;
use crate::{
    domain::status::WorkerFailure,
    ports::{Clock, StoreError},
    shutdown::Tasks,
};

/// How often a worker looks at the store though nobody woke it: hints may be lost, and a commit
/// whose outcome was not known may have succeeded.
const POLL: Duration = Duration::from_secs(30);
/// How long a worker leaves a store alone that did not answer it.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The same where the store holds a row that cannot be read: somebody has to mend it first.
const CORRUPT_PAUSE: Duration = Duration::from_mins(5);

/// A worker: it does what is due and says when the next thing is.
#[async_trait]
pub(super) trait Worker: Send + 'static {
    /// Its name in logs, in the status, and as a task.
    fn name(&self) -> &'static str;

    /// Does all that is due now. Returns when something is due next, where that is known; it is
    /// asked again at the latest after [`POLL`]. May be dropped at any await when it is to stop.
    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError>;

    /// Returns when there may be something to do. Dropping the future loses nothing.
    async fn woken(&mut self);

    /// Ends what is in hand, after the last tick.
    async fn finish(&mut self) {}
}

/// What workers run with.
#[derive(Clone)]
pub(super) struct Runner {
    pub(super) tasks: Tasks,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) board: StatusBoard,
}

impl Runner {
    /// Starts a worker. It runs until its tasks are told to stop.
    pub(super) fn start(&self, worker: impl Worker) {
        let name = worker.name();
        let span = tracing::info_span!("worker", worker = name);
        let run = run(worker, self.clone()).instrument(span);
        self.tasks.spawn(name, run);
    }
}

async fn run(mut worker: impl Worker, runner: Runner) {
    let Runner {
        tasks,
        clock,
        board,
    } = runner;
    let stop = tasks.stop();
    while let Some(ticked) = stop.run_until_cancelled(worker.tick()).await {
        let now = clock.now();
        let (at_the_latest, may_be_woken) = match ticked {
            Ok(next_at) => {
                board.worker_works(worker.name());
                let poll_at = now + POLL;
                (next_at.map_or(poll_at, |at| at.min(poll_at)), true)
            }
            Err(error) => (now + report(&worker, &board, &error), false),
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = worker.woken(), if may_be_woken => {}
            () = clock.sleep_until(at_the_latest) => {}
        }
    }
    worker.finish().await;
}

/// Says why a worker pauses, and returns for how long.
fn report(worker: &impl Worker, board: &StatusBoard, error: &StoreError) -> Duration {
    let chain = error_chain(error);
    let corrupt = error.is_corrupt();
    if corrupt {
        tracing::error!(
            error = chain,
            "the worker cannot go on past an unreadable row"
        );
    } else {
        tracing::warn!(error = chain, "the worker waits for the store");
    }
    let failure = WorkerFailure {
        error: chain,
        corrupt,
    };
    board.worker_failed(worker.name(), failure);
    pause_after(error)
}

/// How long to leave the store alone after an error.
pub(super) fn pause_after(error: &StoreError) -> Duration {
    if error.is_corrupt() {
        CORRUPT_PAUSE
    } else {
        STORE_PAUSE
    }
}

/// The error and its causes on one line.
pub(super) fn error_chain(error: &StoreError) -> String {
    format!("{:#}", anyhow::Error::new(error.clone()))
}
