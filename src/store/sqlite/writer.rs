//! The only writer. Intakes that arrive during a commit share the next one.

use std::{path::Path, pin::pin, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    errors::WriteError,
    hot::{self, Mapped, Writes, Written},
    journal::{self, Accepted, Intake},
    mapping,
};
use crate::{
    domain::{
        catalogue::Revision,
        change::{Acceptance, MappedChange, NewMessage, NewRequest, RequestAcceptance},
    },
    ports::{Clock, StoreError},
    shutdown::Tasks,
    store::HEALTH,
    telemetry::Health,
};

/// How many jobs the queue holds. When it is full, senders wait.
const QUEUE: usize = 4_096;
/// The most jobs that are taken from the queue at once.
const GROUP: usize = 1_024;
/// How often it waits at most for more of them before it commits.
const ROUNDS: usize = 16;
/// How long to wait before a failed disk is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// When a running write is reported as stuck: after the deadline of a request.
const STUCK: Duration = Duration::from_secs(10);

/// A write in a transaction of its own.
type TransactionBody =
    Box<dyn for<'c> FnOnce(&'c mut SqliteConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send>;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Accept(Intake, Reply<Accepted>),
    Map(Mapped, Reply<()>),
    Transact(TransactionBody, Reply<()>),
}

/// Sends jobs to the writer's task. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    /// Starts the writer on its own connections. When its tasks are told to stop, it commits the queued
    /// jobs and ends.
    pub(super) fn start(
        options: SqliteConnectOptions,
        connections: Connections,
        clock: Arc<dyn Clock>,
        health: Health,
        tasks: &Tasks,
    ) -> Self {
        let (jobs, queue) = mpsc::channel(QUEUE);
        health.ok(HEALTH);
        let task = WriterTask {
            queue,
            options,
            connections: Some(connections),
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

    /// Records the results of mapping with the catalogue `by`, in a commit that they may share.
    pub(super) async fn record_mapping(
        &self,
        by: Revision,
        changes: Vec<MappedChange>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        let mapped = Mapped { by, changes, now };
        self.send(Job::Map(mapped, reply), answer).await
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

/// The writer's two connections. It uses one at a time.
pub(super) struct Connections {
    sqlx: SqliteConnection,
    hot: rusqlite::Connection,
}

impl Connections {
    /// Opens the other connection beside one.
    pub(super) async fn with(sqlx: SqliteConnection, path: &Path) -> rusqlite::Result<Self> {
        let path = path.to_owned();
        let hot = hot::blocking(move || hot::open(&path)).await?;
        Ok(Self { sqlx, hot })
    }

    async fn close(self) -> Result<(), WriteError> {
        let Self { sqlx, hot } = self;
        let closed = hot::blocking(move || hot.close().map_err(|(_, error)| error)).await;
        sqlx.close().await?;
        Ok(closed?)
    }
}

struct WriterTask {
    queue: mpsc::Receiver<Job>,
    options: SqliteConnectOptions,
    /// `None` while the disk fails.
    connections: Option<Connections>,
    clock: Arc<dyn Clock>,
    health: Health,
    stop: CancellationToken,
}

impl WriterTask {
    async fn run(mut self) {
        let mut jobs = Vec::new();
        loop {
            if self.connections.is_none() && !self.queue.is_closed() {
                self.wait_for_disk().await;
            }
            tokio::select! {
                received = self.queue.recv_many(&mut jobs, GROUP) => {
                    if received == 0 {
                        break;
                    }
                    self.gather(&mut jobs).await;
                    self.work(std::mem::take(&mut jobs)).await;
                }
                // From now on nothing new is accepted. Queued jobs are still committed.
                () = self.stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        if let Some(connections) = self.connections
            && let Err(error) = connections.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly; SQLite recovers it at the next start");
        }
    }

    /// Lets what is ready to run finish first, as long as that brings more jobs: the more of them share a
    /// commit, the less it costs each. On an idle service this is over at once.
    async fn gather(&mut self, jobs: &mut Vec<Job>) {
        for _ in 0..ROUNDS {
            let before = jobs.len();
            tokio::task::yield_now().await;
            while jobs.len() < GROUP
                && let Ok(job) = self.queue.try_recv()
            {
                jobs.push(job);
            }
            if jobs.len() == before || jobs.len() == GROUP {
                return;
            }
        }
    }

    /// Commits the intakes, and the results of mapping with them, then every other write separately.
    async fn work(&mut self, jobs: Vec<Job>) {
        let mut intakes = Intakes::default();
        let mut mapped = Vec::new();
        let mut others = Vec::new();
        for job in jobs {
            match job {
                Job::Accept(intake, reply) => intakes.add(intake, reply),
                Job::Map(results, reply) if results.is_simple() => mapped.push((results, reply)),
                other => others.push(other),
            }
        }
        // Notifications last: if one of the same group came after the end of its subscription, the
        // subscription continues.
        if !intakes.rest.is_empty() {
            let accepted = self.commit_intakes(&intakes.rest).await;
            answer(intakes.rest_replies, accepted.as_ref());
        }
        let (mapped, map_replies): (Vec<_>, Vec<_>) = mapped.into_iter().unzip();
        let writes = Writes {
            messages: intakes.plain,
            mapped,
        };
        let (accepted, recorded) = self.commit_writes(writes).await;
        answer(intakes.plain_replies, accepted.as_ref());
        for (reply, recorded) in map_replies.into_iter().zip(recorded) {
            match recorded {
                Ok(None) => drop(reply.send(Ok(()))),
                Ok(Some(results)) => others.push(Job::Map(results, reply)),
                Err(error) => drop(reply.send(Err(error))),
            }
        }
        for job in others {
            match job {
                Job::Map(results, reply) => drop(reply.send(self.commit_mapped(results).await)),
                Job::Transact(work, reply) => drop(reply.send(self.commit(work).await)),
                // They were all taken above.
                Job::Accept(_, reply) => drop(reply.send(Err(refuses()))),
            }
        }
    }

    /// Commits what nearly all messages need. Results of mapping that cannot be recorded so are given back.
    async fn commit_writes(
        &mut self,
        writes: Writes,
    ) -> (
        Result<Vec<Acceptance>, StoreError>,
        Vec<Result<Option<Mapped>, StoreError>>,
    ) {
        if writes.messages.is_empty() && writes.mapped.is_empty() {
            return (Ok(Vec::new()), Vec::new());
        }
        let is_mixed = !writes.messages.is_empty() && !writes.mapped.is_empty();
        let (writes, written) = self.commit_hot(writes).await;
        match written {
            Ok(Written { accepted, recorded }) => {
                let results = writes.mapped.into_iter().zip(recorded);
                let left = results.map(|(results, done)| Ok((!done).then_some(results)));
                (Ok(accepted), left.collect())
            }
            // Neither must fail because of the other.
            Err(_) if is_mixed => {
                let Writes { messages, mapped } = writes;
                let messages = Writes {
                    messages,
                    mapped: Vec::new(),
                };
                let mapped = Writes {
                    messages: Vec::new(),
                    mapped,
                };
                let (accepted, _) = Box::pin(self.commit_writes(messages)).await;
                let (_, recorded) = Box::pin(self.commit_writes(mapped)).await;
                (accepted, recorded)
            }
            Err(error) => {
                let failed = writes.mapped.iter().map(|_| Err(error.clone()));
                let failed = failed.collect();
                (Err(error), failed)
            }
        }
    }

    async fn commit_intakes(&mut self, intakes: &[Intake]) -> Result<Vec<Accepted>, StoreError> {
        let connections = self.connections.as_mut().ok_or_else(refuses)?;
        let write = async {
            let mut transaction = connections.sqlx.begin().await?;
            let accepted = journal::accept(&mut transaction, intakes).await?;
            transaction.commit().await?;
            Ok(accepted)
        };
        match watch(&self.clock, &self.health, write).await {
            Ok(accepted) => Ok(accepted),
            Err(error) => Err(self.failed(WriteError::Sqlx(error)).await),
        }
    }

    async fn commit(&mut self, work: TransactionBody) -> Result<(), StoreError> {
        let connections = self.connections.as_mut().ok_or_else(refuses)?;
        let write = async {
            let mut transaction = connections.sqlx.begin().await?;
            work(&mut transaction).await?;
            transaction.commit().await
        };
        match watch(&self.clock, &self.health, write).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.failed(WriteError::Sqlx(error)).await),
        }
    }

    async fn commit_mapped(&mut self, mapped: Mapped) -> Result<(), StoreError> {
        let Mapped { by, changes, now } = mapped;
        let work: TransactionBody =
            Box::new(move |connection| Box::pin(mapping::record(connection, by, changes, now)));
        self.commit(work).await
    }

    async fn commit_hot(&mut self, writes: Writes) -> (Writes, Result<Written, StoreError>) {
        let Some(Connections { sqlx, mut hot }) = self.connections.take() else {
            return (writes, Err(refuses()));
        };
        let write = hot::blocking(move || {
            let written = hot::write(&mut hot, &writes);
            (hot, writes, written)
        });
        let (hot, writes, written) = watch(&self.clock, &self.health, write).await;
        self.connections = Some(Connections { sqlx, hot });
        match written {
            Ok(written) => (writes, Ok(written)),
            Err(error) => (writes, Err(self.failed(WriteError::Rusqlite(error)).await)),
        }
    }

    /// Reports an error. A disk fault also stops all writes until the disk works again; a faulty
    /// statement does not.
    async fn failed(&mut self, error: WriteError) -> StoreError {
        tracing::error!(%error, "a write failed");
        if error.is_disk_fault() {
            self.health.fail(
                HEALTH,
                format!(
                    "the disk refuses to write: {error}; free space or repair it, no restart is needed"
                ),
            );
            // Closing may write, too.
            let connections = self.connections.take();
            hot::blocking(move || drop(connections)).await;
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
                    Some(Job::Map(_, reply) | Job::Transact(_, reply)) => {
                        drop(reply.send(Err(refuses())));
                    }
                    None => return,
                },
                () = clock.sleep_until(probe_at) => {
                    match probe(&self.options).await {
                        Ok(connections) => {
                            self.connections = Some(connections);
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
}

/// Writes as much as a full group might, so that it does not succeed while there is too little space.
async fn probe(options: &SqliteConnectOptions) -> Result<Connections, WriteError> {
    let mut connection = options.connect().await?;
    sqlx::query("INSERT OR REPLACE INTO probe (only, filler) VALUES (1, randomblob(262144))")
        .execute(&mut connection)
        .await?;
    Ok(Connections::with(connection, options.get_filename()).await?)
}

/// The intakes of a group, by the way that they take, with who waits for them.
#[derive(Default)]
struct Intakes {
    plain: Vec<NewMessage>,
    plain_replies: Vec<Reply<Accepted>>,
    rest: Vec<Intake>,
    rest_replies: Vec<Reply<Accepted>>,
}

impl Intakes {
    fn add(&mut self, intake: Intake, reply: Reply<Accepted>) {
        match intake {
            Intake::Message(message) if hot::is_plain(&message) => {
                self.plain.push(message);
                self.plain_replies.push(reply);
            }
            other => {
                self.rest.push(other);
                self.rest_replies.push(reply);
            }
        }
    }
}

/// Tells each of `replies` what became of its intake, or why all failed.
fn answer<T: Copy + Into<Accepted>>(
    replies: Vec<Reply<Accepted>>,
    accepted: Result<&Vec<T>, &StoreError>,
) {
    for (at, reply) in replies.into_iter().enumerate() {
        // A caller that no longer waits has been answered with 503 and may retry.
        let _ = reply.send(accepted.map(|all| all[at].into()).map_err(Clone::clone));
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
