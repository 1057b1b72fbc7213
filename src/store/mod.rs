//! The durable store: SQLite in one local file.

mod sqlite;
mod writer;

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;

use crate::{health::Health, ports::Clock};

pub use sqlite::SqliteStore;

/// The name under which the store reports its health.
pub const HEALTH: &str = "store";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another service has it.
    #[error(
        "another purgefront uses the store {0}: one file serves one service; stop the other or give this one a store of its own (store.url)"
    )]
    InUse(PathBuf),
    /// Anything else.
    #[error("the store {path} cannot be opened: {source:#}")]
    Failed {
        /// The store's file.
        path: PathBuf,
        /// What went wrong.
        source: anyhow::Error,
    },
}

/// Holds a store's file against a second service, for as long as it lives.
///
/// The lock is on a file beside the store: SQLite locks the store's own file in a way that
/// any other opening and closing of it in this process would undo.
#[derive(Debug)]
struct FileLock(#[expect(dead_code, reason = "the lock lasts as long as the open file")] File);

impl FileLock {
    fn take(store: &Path) -> Result<Self, OpenError> {
        let mut name = store.as_os_str().to_owned();
        name.push("-lock");
        let failed = |source| OpenError::Failed {
            path: store.to_owned(),
            source,
        };
        let file = open_private(Path::new(&name))
            .with_context(|| format!("cannot write {}", Path::new(&name).display()))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(store.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error.into())),
        }
    }
}

/// Opens a file to write to. Where it is made, only its owner may read it: it holds keys and
/// Tokens. SQLite gives the files beside a store the same mode.
fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)
}

/// Opens the store, makes or migrates its schema, and starts its writer.
pub async fn open(
    path: &Path,
    clock: Arc<dyn Clock>,
    health: Health,
) -> Result<SqliteStore, OpenError> {
    let lock = FileLock::take(path)?;
    let failed = |source| OpenError::Failed {
        path: path.to_owned(),
        source,
    };
    open_private(path).map_err(|error| failed(error.into()))?;
    let store = SqliteStore::open(path, lock, clock, health).await;
    store.map_err(failed)
}
