//! The loop that runs a worker: its span, its polling, its pause after a store error, and its entry
//! in the status.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::status_board::StatusBoard;
use crate::{
    domain::status::WorkerFailure,
    ports::{Clock, StoreError},
    shutdown::Tasks,
};

/// How often a worker runs without a wake-up: wake-ups can be lost, and a commit with an unknown
/// outcome may have succeeded.
const POLL: Duration = Duration::from_secs(30);
/// How long a worker pauses when the store is unavailable.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);
/// How long a worker pauses at an unreadable row, which an operator has to repair.
const CORRUPT_PAUSE: Duration = Duration::from_mins(5);

/// A worker does what is due and returns when its next work is due.
#[async_trait]
pub(super) trait Worker: Send + 'static {
    /// The name in logs, in the status, and of the task.
    fn name(&self) -> &'static str;

    /// Does everything that is due now and returns when the next work is due, if known. It is called
    /// again after [`POLL`] at the latest. When the worker is stopped, the future may be dropped at
    /// any await.
    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError>;

    /// Returns when there may be work. Cancel-safe.
    async fn woken(&mut self);

    /// Finishes work that is still running after the last tick. The future may be dropped at any await.
    async fn finish(&mut self) {}
}

/// Starts workers.
#[derive(Clone)]
pub(super) struct Runner {
    pub(super) tasks: Tasks,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) board: StatusBoard,
    /// Cancelled when what still runs is of no use any more.
    pub(super) over: CancellationToken,
}

impl Runner {
    /// Starts a worker that runs until its tasks are told to stop.
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
        over,
    } = runner;
    let stop = tasks.stop();
    while let Some(ticked) = stop.run_until_cancelled(worker.tick()).await {
        let now = clock.now();
        let (latest_at, listens) = match ticked {
            Ok(next_at) => {
                board.worker_succeeded(worker.name());
                let poll_at = now + POLL;
                (next_at.map_or(poll_at, |at| at.min(poll_at)), true)
            }
            Err(error) => (now + report(&worker, &board, &error), false),
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = worker.woken(), if listens => {}
            () = clock.sleep_until(latest_at) => {}
        }
    }
    let _ = over.run_until_cancelled(worker.finish()).await;
}

/// Reports a store error and returns how long the worker pauses.
fn report(worker: &impl Worker, board: &StatusBoard, error: &StoreError) -> Duration {
    let chain = error_chain(error);
    let corrupt = error.is_corrupt();
    if corrupt {
        tracing::error!(
            error = chain,
            "the worker pauses: the store has an unreadable row"
        );
    } else {
        tracing::warn!(error = chain, "the worker pauses: the store is unavailable");
    }
    let failure = WorkerFailure {
        error: chain,
        corrupt,
    };
    board.worker_failed(worker.name(), failure);
    pause_after(error)
}

/// How long to pause after a store error.
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

/// The result of a task of a worker's own. If it panicked, its turn has already been given back.
pub(super) fn unless_panicked<T>(ended: Result<T, JoinError>) -> Option<T> {
    match ended {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::error!(%error, "a plan or a call panicked");
            None
        }
    }
}
