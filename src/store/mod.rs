//! The durable store behind the ports: SQLite in one local file, or PostgreSQL for several replicas.
//!
//! Nothing outside this module knows which of them it is: see [`OpenStore`].

mod copy;
mod counts;
mod errors;
mod intake;
mod ledger_days;
mod local_wakeups;
mod local_wants;
mod object_hash;
mod opened;
mod outbox;
mod postgres;
mod sqlite;
mod story_pages;
mod sweep;
mod wait_columns;

pub use self::{
    copy::{Copied, CopyError, copy},
    local_wakeups::LocalWakeups,
    local_wants::LocalWants,
    opened::{OpenStore, backup, check, coverage, inspector, open},
    postgres::{PostgresLeases, PostgresStore, PostgresWakeups, open as open_postgres},
    sqlite::{SqliteStore, open as open_sqlite},
};

/// How many signing certificates are kept across restarts: as many as in memory.
const MOST_CERTIFICATES: i64 = 64;

/// The store's name in health checks.
pub const HEALTH: &str = "store";

/// Why a store could not be opened. Each has the store's name, without a password.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "another purgefront uses the store {0}: one file serves one service; stop the other or give this one a store of its own (store.url)"
    )]
    InUse(String),
    #[error(
        "the store {0} was written by a newer or another version of purgefront: run that version, put \
         back the backup from before the upgrade, or give this one a store of its own (store.url)"
    )]
    OtherVersion(String),
    #[error("the store {store} cannot be opened: {source:#}")]
    Failed {
        store: String,
        source: anyhow::Error,
    },
}

/// Why a store could not be looked at or copied.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("there is no store at {0}; run this where the service runs, with its --config")]
    Missing(String),
    #[error("{0} is not a store of purgefront")]
    Foreign(String),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("no backup was made: {0:#}")]
    NotCopied(anyhow::Error),
    /// For what is done to a file only.
    #[error("the store {store} is in PostgreSQL: {instead}")]
    NoFile {
        store: String,
        /// What to do.
        instead: &'static str,
    },
}
