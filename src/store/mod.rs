//! The durable store behind the ports: SQLite in one local file, or PostgreSQL for several replicas.

mod counts;
mod errors;
mod intake;
mod local_wakeups;
mod object_hash;
mod outbox;
mod postgres;
mod sqlite;
mod sweep;
mod wait_columns;

use std::path::PathBuf;

pub use self::{
    local_wakeups::LocalWakeups,
    postgres::{PostgresLeases, PostgresStore, PostgresWakeups, open as open_postgres},
    sqlite::{Coverage, SqliteStore, StoreInspector, backup, check, open},
};

/// How many signing certificates are kept across restarts: as many as in memory.
const MOST_CERTIFICATES: i64 = 64;

/// The store's name in health checks.
pub const HEALTH: &str = "store";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "another purgefront uses the store {0}: one file serves one service; stop the other or give this one a store of its own (store.url)"
    )]
    InUse(PathBuf),
    #[error(
        "the store {0} was written by a newer or another version of purgefront: run that version, put \
         back the backup from before the upgrade, or give this one a store of its own (store.url)"
    )]
    OtherVersion(PathBuf),
    #[error("the store {path} cannot be opened: {source:#}")]
    Failed {
        path: PathBuf,
        source: anyhow::Error,
    },
}

/// Why a store could not be looked at or copied.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("there is no store at {0}; run this where the service runs, with its --config")]
    Missing(PathBuf),
    #[error("{0} is not a store of purgefront")]
    Foreign(PathBuf),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("no backup was made: {0:#}")]
    NotCopied(anyhow::Error),
}
