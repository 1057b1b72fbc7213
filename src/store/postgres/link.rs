//! A connection for writes, which is opened anew when it has failed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, postgres::PgConnectOptions};

use super::{
    errors::WriteError,
    patience::{pause, within},
};
use crate::{store::HEALTH, telemetry::Health};

/// How long opening a connection may take.
pub(super) const CONNECT: Duration = Duration::from_secs(5);
/// How far a transaction has come.
const BEGINS: u8 = 0;
const WORKS: u8 = 1;
const COMMITS: u8 = 2;

/// How long a connection may take to answer when it has nothing to do.
const PROBE: Duration = Duration::from_secs(2);
/// The first and the longest pause before a connection is opened anew.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Reports whether the connections for writes work. Clones share it.
#[derive(Clone)]
pub(super) struct Availability {
    health: Health,
    /// The connections that fail, and why.
    failing: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Availability {
    pub(super) fn new(health: Health) -> Self {
        health.ok(HEALTH);
        Self {
            health,
            failing: Arc::default(),
        }
    }

    fn report(&self, link: &'static str, reason: Option<String>) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        match reason {
            Some(reason) => drop(failing.insert(link, reason)),
            None => drop(failing.remove(link)),
        }
        match failing.first_key_value() {
            Some((_, reason)) => self.health.fail(
                HEALTH,
                format!("the database is not available: {reason}; no restart is needed"),
            ),
            None => self.health.ok(HEALTH),
        }
    }
}

/// What a transaction does between its beginning and its end.
pub(super) type Work<'a, T> = Box<
    dyn for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, WriteError>> + Send + 'a,
>;

pub(super) struct Link {
    name: &'static str,
    options: PgConnectOptions,
    /// `None` while it is not there.
    connection: Option<PgConnection>,
    availability: Availability,
}

impl Link {
    pub(super) async fn open(
        name: &'static str,
        options: PgConnectOptions,
        availability: Availability,
    ) -> Result<Self, WriteError> {
        let connection = Some(connect(&options).await?);
        Ok(Self {
            name,
            options,
            connection,
            availability,
        })
    }

    pub(super) fn is_there(&self) -> bool {
        self.connection.is_some()
    }

    /// Begins a transaction, does the work and commits, all within a time limit.
    pub(super) async fn transact<T>(
        &mut self,
        begin: &'static str,
        limit: Duration,
        work: Work<'_, T>,
    ) -> Result<T, WriteError> {
        // Taken, so that a connection whose use was broken off is never used again.
        let mut connection = self.connection.take().ok_or(WriteError::Away)?;
        let stage = AtomicU8::new(BEGINS);
        let written = within(limit, run(&mut connection, begin, work, &stage)).await;
        let mut written = written.unwrap_or(Err(WriteError::TimedOut(limit)));
        if let Err(error) = written {
            written = Err(match stage.into_inner() {
                // The lock was not given.
                BEGINS if !error.is_of_the_connection() => leave(&mut connection, error).await,
                COMMITS if error.is_of_the_connection() => WriteError::Unknown(Box::new(error)),
                _ => error,
            });
        }
        match &written {
            Err(error) if error.is_of_the_connection() => {
                tracing::error!(%error, connection = self.name, "a write failed, and its connection with it");
                self.availability.report(self.name, Some(error.to_string()));
            }
            Ok(_) | Err(WriteError::NotLeading) => self.connection = Some(connection),
            Err(error) => {
                tracing::error!(%error, "a write failed");
                self.connection = Some(connection);
            }
        }
        written
    }

    /// Finds out whether the connection still works.
    pub(super) async fn probe(&mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let answered = within(PROBE, connection.ping()).await;
        let error = match answered {
            Some(Ok(())) => {
                self.connection = Some(connection);
                return;
            }
            Some(Err(error)) => error.into(),
            None => WriteError::TimedOut(PROBE),
        };
        tracing::error!(%error, connection = self.name, "a connection is lost");
        self.availability.report(self.name, Some(error.to_string()));
    }

    /// Returns once there is a connection again.
    pub(super) async fn reopen(&mut self) {
        let mut span = FIRST_PAUSE;
        while self.connection.is_none() {
            pause(span.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            match connect(&self.options).await {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.availability.report(self.name, None);
                    tracing::info!(connection = self.name, "the database is available again");
                }
                Err(error) => {
                    tracing::debug!(%error, connection = self.name, "the database is still away");
                    self.availability.report(self.name, Some(error.to_string()));
                }
            }
            span = (span * 2).min(LONGEST_PAUSE);
        }
    }

    pub(super) async fn close(self) {
        if let Some(connection) = self.connection
            && let Some(Err(error)) = within(CONNECT, connection.close()).await
        {
            tracing::debug!(%error, "a connection did not close cleanly");
        }
    }
}

/// The same for the first connection of a process: waits for a database that is not there yet, as it is where all
/// is started together. Fails at once if waiting does not help.
pub(super) async fn connect_patiently(
    options: &PgConnectOptions,
    name: &str,
) -> Result<PgConnection, WriteError> {
    let mut span = FIRST_PAUSE;
    loop {
        match connect(options).await {
            Err(error) if error.may_pass() => {
                tracing::warn!(%error, store = name, "the database is not there: it is waited for");
            }
            ended => return ended,
        }
        pause(span).await;
        span = (span * 2).min(LONGEST_PAUSE);
    }
}

/// Opens a connection to a database that permits writes.
pub(super) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, WriteError> {
    let open = async {
        let mut connection = options.connect().await?;
        let reads_only = "SELECT current_setting('transaction_read_only') = 'on'";
        let reads_only: bool = sqlx::query_scalar(reads_only)
            .fetch_one(&mut connection)
            .await?;
        if reads_only {
            let why = std::io::Error::other("it only permits reads, as a standby does");
            return Err(sqlx::Error::Io(why).into());
        }
        Ok(connection)
    };
    let opened = within(CONNECT, open).await;
    opened.unwrap_or(Err(WriteError::TimedOut(CONNECT)))
}

/// Ends a transaction whose beginning failed: the library does not know of it, and it would refuse all that follows on
/// this connection. Returns the error that it failed with, or why it cannot be ended.
async fn leave(connection: &mut PgConnection, error: WriteError) -> WriteError {
    match within(PROBE, sqlx::raw_sql("ROLLBACK").execute(connection)).await {
        Some(Ok(_)) => error,
        Some(Err(lost)) => sqlx::Error::Io(std::io::Error::other(lost)).into(),
        None => WriteError::TimedOut(PROBE),
    }
}

async fn run<T>(
    connection: &mut PgConnection,
    begin: &'static str,
    work: Work<'_, T>,
    stage: &AtomicU8,
) -> Result<T, WriteError> {
    let mut transaction = connection.begin_with(begin).await?;
    stage.store(WORKS, Ordering::Relaxed);
    match work(&mut transaction).await {
        Ok(done) => {
            stage.store(COMMITS, Ordering::Relaxed);
            transaction.commit().await?;
            Ok(done)
        }
        Err(error) => {
            // At once: until then it holds its locks.
            if !error.is_of_the_connection() {
                transaction.rollback().await?;
            }
            Err(error)
        }
    }
}
