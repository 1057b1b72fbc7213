//! The store in a PostgreSQL database that several processes share: each has one task for intake, one for other
//! writes, and a small pool that reads.

mod backlogs;
mod batches;
mod catalogue;
mod certificates;
mod columns;
mod confirmations;
mod controls;
pub(in crate::store) mod copying;
mod coverage;
mod dead_letters;
mod errors;
mod figures;
mod history;
mod holds;
mod inspect;
mod journal;
mod leader;
mod leases;
mod ledger;
mod link;
mod mapping;
mod merges;
mod notices;
mod numbers;
mod open_verbs;
mod patience;
mod resolutions;
mod retention;
mod schema;
mod stories;
mod waits;
mod wakeups;
mod wants;
mod writer;

use std::{sync::Arc, time::Duration};

use sqlx::{
    PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub(super) use self::{coverage::Coverage, inspect::ServerInspector};
pub use self::{leases::PostgresLeases, wakeups::PostgresWakeups};
use self::{
    link::{Availability, Link},
    writer::Writer,
};
use super::OpenError;
use crate::{
    ports::{Clock, leadership::Leading},
    shutdown::Tasks,
    telemetry::Health,
};

/// Plans are made side by side, and so are the answers to callers.
const READERS: u32 = 8;
/// How long a read waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

pub struct PostgresStore {
    database: Database,
    options: PgConnectOptions,
    tasks: Tasks,
}

/// The connections to the database. Cheap to clone.
#[derive(Clone)]
struct Database {
    writer: Writer,
    readers: PgPool,
    clock: Arc<dyn Clock>,
}

/// Connects to the database of a URL, creates or migrates its schema, and starts the writers, which run in `tasks`
/// until [`PostgresStore::close`].
pub async fn open(
    url: &str,
    clock: Arc<dyn Clock>,
    health: Health,
    tasks: Tasks,
) -> Result<PostgresStore, OpenError> {
    let options = url.parse().map_err(|error: sqlx::Error| OpenError::Failed {
        // Not the URL: it may have a password.
        store: "postgres://".into(),
        source: error.into(),
    });
    let options = for_session(options?);
    let name = name(&options);
    let database = connect(options.clone(), &name, clock, health, &tasks).await?;
    Ok(PostgresStore {
        database,
        options,
        tasks,
    })
}

/// What every session has. A process that was stopped in a transaction, or cut off, must not hold up the others.
fn for_session(options: PgConnectOptions) -> PgConnectOptions {
    options.application_name("purgefront").options([
        ("statement_timeout", "30s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "2s"),
        ("synchronous_commit", "on"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10000"),
        ("jit", "off"),
    ])
}

/// The database for people, without the user and the password.
fn name(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or(options.get_username());
    match options.get_socket() {
        Some(socket) => format!("postgres://{}/{database}", socket.display()),
        None => format!(
            "postgres://{}:{}/{database}",
            options.get_host(),
            options.get_port()
        ),
    }
}

async fn connect(
    options: PgConnectOptions,
    name: &str,
    clock: Arc<dyn Clock>,
    health: Health,
    tasks: &Tasks,
) -> Result<Database, OpenError> {
    let failed = |error: errors::WriteError| OpenError::Failed {
        store: name.into(),
        source: error.into(),
    };
    let mut migrating = link::connect_patiently(&options, name)
        .await
        .map_err(failed)?;
    schema::migrate(&mut migrating, name).await?;
    drop(migrating);
    let availability = Availability::new(health);
    let link = |name| Link::open(name, options.clone(), availability.clone());
    let intake = link("intake").await.map_err(failed)?;
    let writes = link("writes").await.map_err(failed)?;
    let readers = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(ACQUIRE)
        .connect_lazy_with(options.options([("default_transaction_read_only", "on")]));
    Ok(Database {
        writer: Writer::start(intake, writes, tasks),
        readers,
        clock,
    })
}

/// One state of the database for several reads.
async fn snapshot(readers: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    let readers = readers.clone();
    // In a task of its own, which goes on if nobody waits any more: where the beginning is broken off, the library
    // does not know of the transaction, and later reads on the connection would see its old state.
    let begun = tokio::spawn(async move {
        readers
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
    });
    begun.await.map_err(|_| sqlx::Error::WorkerCrashed)?
}

impl PostgresStore {
    /// The lease of the leader, by a connection of its own.
    pub fn leases(&self) -> Arc<PostgresLeases> {
        Arc::new(PostgresLeases::new(self.options.clone()))
    }

    /// Starts the exchange of wake-ups with other processes, which ends with the store. `leading` says whether this
    /// one leads.
    pub fn wakeups(&self, leading: Leading) -> Arc<PostgresWakeups> {
        // One connection listens, one sends.
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(ACQUIRE)
            .connect_lazy_with(self.options.clone());
        PostgresWakeups::start(pool, leading, &self.tasks)
    }

    /// Commits everything that the writers have accepted, and closes the connections. Every later call fails.
    pub async fn close(&self) {
        self.tasks.end().await;
        self.database.readers.close().await;
    }
}
