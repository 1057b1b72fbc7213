//! The store in a local SQLite file: one task writes, by one of two connections at a time; small pools read.

mod backlogs;
mod backup;
mod batches;
mod catalogue;
mod certificates;
mod check;
mod columns;
mod confirmations;
mod controls;
pub(in crate::store) mod copying;
mod coverage;
mod dead_letters;
mod errors;
mod figures;
mod file_lock;
mod history;
mod holds;
mod hot;
mod inspect;
mod journal;
mod leader;
mod ledger;
mod mapping;
mod merges;
mod notices;
mod numbers;
mod open_verbs;
#[cfg(test)]
mod plans;
mod resolutions;
mod retention;
mod stories;
mod waits;
mod writer;

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    ConnectOptions as _, SqlSafeStr as _, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

pub(super) use self::{backup::backup, check::check, coverage::Coverage, inspect::StoreInspector};
use self::{
    file_lock::{FileLock, open_private},
    hot::HotReaders,
    writer::{Connections, Writer},
};

use super::OpenError;
use crate::{ports::Clock, shutdown::Tasks, telemetry::Health};

/// In WAL mode, readers never wait for the writer.
const READERS: u32 = 4;
/// Only an operator's sqlite3 can hold a lock on the file.
const BUSY_TIMEOUT: Duration = Duration::from_mins(1);

pub struct SqliteStore {
    database: Database,
    tasks: Tasks,
    _lock: FileLock,
}

/// The connections to the file. Cheap to clone.
#[derive(Clone)]
struct Database {
    writer: Writer,
    readers: SqlitePool,
    /// For what is read for every message.
    hot: HotReaders,
    clock: Arc<dyn Clock>,
}

/// Opens the store, creates or migrates its schema, and starts its writer, which runs in `tasks`
/// until [`SqliteStore::close`].
pub async fn open(
    path: &Path,
    clock: Arc<dyn Clock>,
    health: Health,
    tasks: Tasks,
) -> Result<SqliteStore, OpenError> {
    let lock = FileLock::take(path)?;
    let failed = |source| OpenError::Failed {
        store: path.display().to_string(),
        source,
    };
    open_private(path).map_err(|error| failed(error.into()))?;
    let database = connect(path, clock, health, &tasks).await;
    Ok(SqliteStore {
        database: database.map_err(|error| match error.downcast_ref::<MigrateError>() {
            Some(
                MigrateError::VersionMissing(_)
                | MigrateError::VersionMismatch(_)
                | MigrateError::VersionTooNew(..),
            ) => OpenError::OtherVersion(path.display().to_string()),
            _ => failed(error),
        })?,
        tasks,
        _lock: lock,
    })
}

async fn connect(
    path: &Path,
    clock: Arc<dyn Clock>,
    health: Health,
    tasks: &Tasks,
) -> anyhow::Result<Database> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // NORMAL may lose acknowledged commits when the power fails.
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        .busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await?;
    migrations()
        .run_direct(None, &mut connection, false)
        .await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(Duration::from_secs(5))
        // A connection to a file does not break while it is idle.
        .test_before_acquire(false)
        // Not opened read-only: a read-only connection cannot always open a WAL.
        .connect_lazy_with(
            options
                .clone()
                .create_if_missing(false)
                .pragma("query_only", "true"),
        );
    let connections = Connections::with(connection, options.get_filename()).await?;
    let hot = HotReaders::new(path);
    let writer = Writer::start(options, connections, Arc::clone(&clock), health, tasks);
    Ok(Database {
        writer,
        readers,
        hot,
        clock,
    })
}

impl SqliteStore {
    /// Commits everything that the writer has accepted, and closes the file. Every later call fails.
    pub async fn close(&self) {
        self.tasks.end().await;
        self.database.hot.close().await;
        self.database.readers.close().await;
    }
}

fn migrations() -> Migrator {
    let migration = |version, name: &'static str, sql: &'static str| {
        let kind = MigrationType::Simple;
        Migration::new(version, name.into(), kind, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        migration(1, "journal", include_str!("migrations/0001_journal.sql")),
        migration(2, "backlogs", include_str!("migrations/0002_backlogs.sql")),
        migration(3, "letters", include_str!("migrations/0003_letters.sql")),
        migration(4, "mapping", include_str!("migrations/0004_mapping.sql")),
        migration(5, "turns", include_str!("migrations/0005_turns.sql")),
        migration(6, "refusals", include_str!("migrations/0006_refusals.sql")),
        migration(7, "requests", include_str!("migrations/0007_requests.sql")),
        migration(8, "stories", include_str!("migrations/0008_stories.sql")),
        migration(9, "holds", include_str!("migrations/0009_holds.sql")),
        migration(10, "notices", include_str!("migrations/0010_notices.sql")),
        migration(11, "page", include_str!("migrations/0011_page.sql")),
        migration(12, "blocks", include_str!("migrations/0012_blocks.sql")),
        migration(13, "economy", include_str!("migrations/0013_economy.sql")),
    ])
}
