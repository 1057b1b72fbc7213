//! The durable store behind the ports: SQLite in one local file.

mod local_wakeups;
mod sqlite;

use std::path::PathBuf;

pub use self::{
    local_wakeups::LocalWakeups,
    sqlite::{SqliteStore, StoreInspector, open},
};

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
        "the store {0} was written by a newer or another version of purgefront: run that version, or give \
         this one a store of its own (store.url)"
    )]
    OtherVersion(PathBuf),
    #[error("the store {path} cannot be opened: {source:#}")]
    Failed {
        path: PathBuf,
        source: anyhow::Error,
    },
}
