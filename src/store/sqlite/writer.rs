//! The only writer. Intakes that arrive during a commit share the next one.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    errors::is_disk_fault,
    journal::{self, Accepted, Intake},
};
use crate::{
    domain::change::{Acceptance, NewMessage, NewRequest, RequestAcceptance},
    ports::{Clock, StoreError},
    shutdown::Tasks,
    store::HEALTH,
    telemetry::Health,
};

/// How many jobs the queue holds. When it is full, senders wait.
const QUEUE: usize = 4_096;
/// The most jobs that are taken from the queue at once.
const GROUP: usize = 1_024;
/// How long to wait before a failed disk is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// When a running write is reported as stuck: after the deadline of a request.
const STUCK: Duration = Duration::from_secs(10);

/// A write in a transaction of its own.
type TransactionBody =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send>;

enum Job {
    Accept(Intake, oneshot::Sender<Result<Accepted, StoreError>>),
    Transact(TransactionBody, oneshot::Sender<Result<(), StoreError>>),
}

/// Sends jobs to the writer's task. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    /// Starts the writer on its own connection. When its tasks are told to stop, it commits the queued
    /// jobs and ends.
    pub(super) fn start(
        options: SqliteConnectOptions,
        connection: SqliteConnection,
        clock: Arc<dyn Clock>,
        health: Health,
        tasks: &Tasks,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        health.ok(HEALTH);
        let task = WriterTask {
            queue,
            options,
            connection: Some(connection),
            clock,
            health,
            stop: tasks.stop().clone(),
        };
        tasks.spawn("store writer", task.run());
        Self(jobs)
    }

    /// Adds a message to the journal, in a commit that it may share with others.
    pub(super) async fn accept_message(
        &self,
        message: NewMessage,
    ) -> Result<Acceptance, StoreError> {
        match self.accept(Intake::Message(message)).await? {
            Accepted::Message(acceptance) => Ok(acceptance),
            Accepted::Request(_) => Err(closed()),
        }
    }

    /// The same for a request.
    pub(super) async fn accept_request(
        &self,
        request: NewRequest,
    ) -> Result<RequestAcceptance, StoreError> {
        match self.accept(Intake::Request(request)).await? {
            Accepted::Request(acceptance) => Ok(acceptance),
            Accepted::Message(_) => Err(closed()),
        }
    }

    async fn accept(&self, intake: Intake) -> Result<Accepted, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Accept(intake, reply), answer).await
    }

    /// Runs `work` as one transaction, and returns its result once that is committed.
    pub(super) async fn transact<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<T>>
            + Send
            + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (give, found) = oneshot::channel();
        let work: TransactionBody = Box::new(move |connection| {
            Box::pin(async move {
                let _ = give.send(work(connection).await?);
                Ok(())
            })
        });
        self.send(Job::Transact(work, reply), answer).await?;
        found.await.map_err(|_| closed())
    }

    async fn send<T>(
        &self,
        job: Job,
        answer: oneshot::Receiver<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.0.send(job).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }
}

struct WriterTask {
    queue: mpsc::Receiver<Job>,
    options: SqliteConnectOptions,
    /// `None` while the disk fails.
    connection: Option<SqliteConnection>,
    clock: Arc<dyn Clock>,
    health: Health,
    stop: CancellationToken,
}

impl WriterTask {
    async fn run(mut self) {
        let mut jobs = Vec::new();
        loop {
            if self.connection.is_none() && !self.queue.is_closed() {
                self.wait_for_disk().await;
            }
            tokio::select! {
                received = self.queue.recv_many(&mut jobs, GROUP) => match received {
                    0 => break,
                    _ => self.work(std::mem::take(&mut jobs)).await,
                },
                // From now on nothing new is accepted. Queued jobs are still committed.
                () = self.stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly; SQLite recovers it at the next start");
        }
    }

    /// Commits all intakes together, then every other write separately.
    async fn work(&mut self, jobs: Vec<Job>) {
        let mut intakes = Vec::new();
        let mut replies = Vec::new();
        let mut transactions = Vec::new();
        for job in jobs {
            match job {
                Job::Accept(intake, reply) => {
                    intakes.push(intake);
                    replies.push(reply);
                }
                Job::Transact(work, reply) => transactions.push((work, reply)),
            }
        }
        if !intakes.is_empty() {
            let result = self.commit_intakes(&intakes).await;
            for (at, reply) in replies.into_iter().enumerate() {
                // A caller that no longer waits has been answered with 503 and may retry.
                let _ = reply.send(result.as_ref().map(|all| all[at]).map_err(Clone::clone));
            }
        }
        for (work, reply) in transactions {
            let _ = reply.send(self.commit(work).await);
        }
    }

    async fn commit_intakes(&mut self, intakes: &[Intake]) -> Result<Vec<Accepted>, StoreError> {
        let connection = self.connection.as_mut().ok_or_else(refuses)?;
        let write = async {
            let mut transaction = connection.begin().await?;
            let accepted = journal::accept(&mut transaction, intakes).await?;
            transaction.commit().await?;
            Ok(accepted)
        };
        let written = watch(&self.clock, &self.health, write).await;
        written.map_err(|error| self.failed(error))
    }

    async fn commit(&mut self, work: TransactionBody) -> Result<(), StoreError> {
        let connection = self.connection.as_mut().ok_or_else(refuses)?;
        let write = async {
            let mut transaction = connection.begin().await?;
            work(&mut transaction).await?;
            transaction.commit().await
        };
        let written = watch(&self.clock, &self.health, write).await;
        written.map_err(|error| self.failed(error))
    }

    /// Reports an error. A disk fault also stops all writes until the disk works again; a faulty
    /// statement does not.
    fn failed(&mut self, error: sqlx::Error) -> StoreError {
        tracing::error!(%error, "a write failed");
        if is_disk_fault(&error) {
            self.connection = None;
            self.health.fail(
                HEALTH,
                format!(
                    "the disk refuses to write: {error}; free space or repair it, no restart is needed"
                ),
            );
        }
        error.into()
    }

    /// Refuses all jobs immediately until a write succeeds.
    async fn wait_for_disk(&mut self) {
        let mut probe_at = self.clock.now() + PROBE_EVERY;
        loop {
            let clock = Arc::clone(&self.clock);
            tokio::select! {
                () = self.stop.cancelled() => return self.queue.close(),
                job = self.queue.recv() => match job {
                    Some(Job::Accept(_, reply)) => drop(reply.send(Err(refuses()))),
                    Some(Job::Transact(_, reply)) => drop(reply.send(Err(refuses()))),
                    None => return,
                },
                () = clock.sleep_until(probe_at) => {
                    match self.probe().await {
                        Ok(connection) => {
                            self.connection = Some(connection);
                            self.health.ok(HEALTH);
                            tracing::info!("the disk accepts writes again");
                            return;
                        }
                        Err(error) => tracing::debug!(%error, "the disk still refuses"),
                    }
                    probe_at = self.clock.now() + PROBE_EVERY;
                }
            }
        }
    }

    /// Writes as much as a full group might, so that it does not succeed while there is too little
    /// space.
    async fn probe(&self) -> sqlx::Result<SqliteConnection> {
        let mut connection = self.options.connect().await?;
        sqlx::query("INSERT OR REPLACE INTO probe (only, filler) VALUES (1, randomblob(262144))")
            .execute(&mut connection)
            .await?;
        Ok(connection)
    }
}

/// Waits for a write. If it takes too long, readiness fails until it returns.
async fn watch<T>(clock: &Arc<dyn Clock>, health: &Health, write: impl Future<Output = T>) -> T {
    let mut write = pin!(write);
    tokio::select! {
        written = &mut write => return written,
        () = clock.sleep_until(clock.now() + STUCK) => {}
    }
    health.fail(
        HEALTH,
        "a write has been running for 10 s: the disk hangs, or another program holds the file",
    );
    let written = write.await;
    health.ok(HEALTH);
    written
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}

fn refuses() -> StoreError {
    StoreError::unavailable("the disk refuses to write")
}
