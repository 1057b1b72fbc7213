//! The writers: one task adds to the journal, and groups what arrives during a commit; another one does all other
//! writes, one at a time in the whole cluster.

use std::{ops::Range, pin::pin, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    errors::WriteError,
    journal::{self, Accepted, Intake},
    leases,
    link::Link,
    patience::pause,
};
use crate::{
    domain::change::{Acceptance, NewMessage, NewRequest, RequestAcceptance},
    ports::{StoreError, dispatch::Epoch},
    shutdown::Tasks,
};

/// How many jobs a queue holds. When it is full, senders wait.
const QUEUE: usize = 4_096;
/// The most intakes that are committed at once.
const GROUP: usize = 1_024;
/// How often an idle connection is looked at.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// How often the intake's task waits at most for more of them before it commits.
const ROUNDS: usize = 16;

/// Intakes of all processes are in turn by the journal's row, so numbers grow in the order of commits.
const BEGIN_INTAKE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1 FROM journal FOR UPDATE";
/// All other writes are in turn by this row. Who needs both takes the journal's row second.
const BEGIN_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT 1 FROM turn FOR UPDATE";
/// How long a transaction may take: less than a request's deadline, or more than the database permits a statement.
const INTAKE_LIMIT: Duration = Duration::from_secs(10);
const WRITE_LIMIT: Duration = Duration::from_secs(40);

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// A write in a transaction of its own.
type TransactionBody =
    Box<dyn for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<()>> + Send>;

/// Sends jobs to the writers' tasks. Cheap to clone.
#[derive(Clone)]
pub(super) struct Writer {
    intakes: mpsc::Sender<NewIntake>,
    writes: mpsc::Sender<Write>,
}

impl Writer {
    /// Starts the tasks on their connections. When they are told to stop, they commit the queued jobs and end.
    pub(super) fn start(intake: Link, write: Link, tasks: &Tasks) -> Self {
        Self {
            intakes: Worker::start("store intake", intake, tasks),
            writes: Worker::start("store writer", write, tasks),
        }
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
        send(&self.intakes, NewIntake { intake, reply }, answer).await
    }

    /// Runs `work` as one transaction, and returns its result once that is committed.
    pub(super) async fn transact<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    {
        self.write(None, work).await
    }

    async fn write<T, F>(&self, epoch: Option<Epoch>, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let (give, found) = oneshot::channel();
        let body: TransactionBody = Box::new(move |connection| {
            Box::pin(async move {
                let _ = give.send(work(connection).await?);
                Ok(())
            })
        });
        send(&self.writes, Write { epoch, body, reply }, answer).await?;
        found.await.map_err(|_| closed())
    }
}

/// The leader's writes, which fail once its epoch is over. Cheap to clone.
#[derive(Clone)]
pub(super) struct Leading {
    writer: Writer,
    epoch: Epoch,
}

impl Leading {
    pub(super) fn new(writer: Writer, epoch: Epoch) -> Self {
        Self { writer, epoch }
    }

    /// Runs `work` as one transaction, unless the epoch is over. Returns its result once that is committed.
    pub(super) async fn transact<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>> + Send + 'static,
    {
        self.writer.write(Some(self.epoch), work).await
    }
}

async fn send<J, T>(
    queue: &mpsc::Sender<J>,
    job: J,
    answer: oneshot::Receiver<Result<T, StoreError>>,
) -> Result<T, StoreError> {
    queue.send(job).await.map_err(|_| closed())?;
    answer.await.map_err(|_| closed())?
}

/// What a writer's task is given to do.
trait Job: Sized + Send + 'static {
    /// The most that are taken from the queue at once.
    const MOST: usize;
    /// How often to wait at most for more.
    const ROUNDS: usize;

    fn refuse(self);

    fn work(link: &mut Link, jobs: Vec<Self>) -> impl Future<Output = ()> + Send;
}

struct NewIntake {
    intake: Intake,
    reply: Reply<Accepted>,
}

impl Job for NewIntake {
    const MOST: usize = GROUP;
    const ROUNDS: usize = ROUNDS;

    fn refuse(self) {
        let _ = self.reply.send(Err(WriteError::Away.into()));
    }

    async fn work(link: &mut Link, jobs: Vec<Self>) {
        let (mut intakes, mut replies) = (Vec::new(), Vec::new());
        for NewIntake { intake, reply } in jobs {
            intakes.push(intake);
            replies.push(reply);
        }
        let (intakes, all) = (Arc::new(intakes), 0..replies.len());
        match commit(link, &intakes, all).await {
            // What the database does not take must not fail the others.
            Err(error) if error.is_of_the_data() && replies.len() > 1 => {
                for (at, reply) in replies.into_iter().enumerate() {
                    let accepted = commit(link, &intakes, at..at + 1).await;
                    let _ = reply.send(accepted.map(|one| one[0]).map_err(StoreError::from));
                }
            }
            accepted => {
                let accepted = accepted.map_err(StoreError::from);
                for (at, reply) in replies.into_iter().enumerate() {
                    // A caller that no longer waits has been answered with 503 and may retry.
                    let _ = reply.send(accepted.as_ref().map(|all| all[at]).map_err(Clone::clone));
                }
            }
        }
    }
}

/// Adds some of the intakes to the journal, and returns what became of each.
async fn commit(
    link: &mut Link,
    intakes: &Arc<Vec<Intake>>,
    some: Range<usize>,
) -> Result<Vec<Accepted>, WriteError> {
    let intakes = Arc::clone(intakes);
    link.transact(
        BEGIN_INTAKE,
        INTAKE_LIMIT,
        Box::new(move |connection| {
            Box::pin(async move { Ok(journal::accept(connection, &intakes[some]).await?) })
        }),
    )
    .await
}

struct Write {
    /// Of the leader, if that writes.
    epoch: Option<Epoch>,
    body: TransactionBody,
    reply: Reply<()>,
}

impl Job for Write {
    const MOST: usize = 1;
    const ROUNDS: usize = 0;

    fn refuse(self) {
        let _ = self.reply.send(Err(WriteError::Away.into()));
    }

    async fn work(link: &mut Link, jobs: Vec<Self>) {
        for Write { epoch, body, reply } in jobs {
            let write = link.transact(
                BEGIN_WRITE,
                WRITE_LIMIT,
                Box::new(move |connection| {
                    Box::pin(async move {
                        if let Some(epoch) = epoch
                            && !leases::guard(connection, epoch).await?
                        {
                            return Err(WriteError::NotLeading);
                        }
                        Ok(body(connection).await?)
                    })
                }),
            );
            let _ = reply.send(write.await.map_err(StoreError::from));
        }
    }
}

struct Worker<J> {
    queue: mpsc::Receiver<J>,
    link: Link,
    stop: CancellationToken,
}

impl<J: Job> Worker<J> {
    fn start(name: &'static str, link: Link, tasks: &Tasks) -> mpsc::Sender<J> {
        let (jobs, queue) = mpsc::channel(QUEUE);
        let stop = tasks.stop().clone();
        tasks.spawn(name, Self { queue, link, stop }.run());
        jobs
    }

    async fn run(mut self) {
        let mut jobs = Vec::new();
        loop {
            if !self.link.is_there() && !self.queue.is_closed() {
                self.wait_for_database().await;
            }
            tokio::select! {
                received = self.queue.recv_many(&mut jobs, J::MOST) => {
                    if received == 0 {
                        break;
                    }
                    self.gather(&mut jobs).await;
                    J::work(&mut self.link, std::mem::take(&mut jobs)).await;
                }
                // From now on nothing new is accepted. Queued jobs are still committed.
                () = self.stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
                // So that readiness knows, also where nobody writes.
                () = pause(PROBE_EVERY) => self.link.probe().await,
            }
        }
        self.link.close().await;
    }

    /// Lets what is ready to run finish first, as long as that brings more jobs: the more of them share a
    /// commit, the less it costs each. On an idle service this is over at once.
    async fn gather(&mut self, jobs: &mut Vec<J>) {
        for _ in 0..J::ROUNDS {
            let before = jobs.len();
            tokio::task::yield_now().await;
            while jobs.len() < J::MOST
                && let Ok(job) = self.queue.try_recv()
            {
                jobs.push(job);
            }
            if jobs.len() == before || jobs.len() == J::MOST {
                return;
            }
        }
    }

    /// Refuses all jobs immediately until there is a connection again.
    async fn wait_for_database(&mut self) {
        let Self { queue, link, stop } = self;
        let mut reopened = pin!(link.reopen());
        loop {
            tokio::select! {
                () = stop.cancelled() => return queue.close(),
                job = queue.recv() => match job {
                    Some(job) => job.refuse(),
                    None => return,
                },
                () = &mut reopened => return,
            }
        }
    }
}

fn closed() -> StoreError {
    StoreError::unavailable("the store is closed")
}
