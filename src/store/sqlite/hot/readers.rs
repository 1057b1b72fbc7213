//! The connections that read.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::blocking;
use crate::ports::StoreError;

/// As many as read at once by the other library. Plans are made side by side.
const READERS: usize = 4;

/// A few connections that are opened when they are needed. Cheap to clone.
#[derive(Clone)]
pub(in crate::store::sqlite) struct HotReaders(Arc<Shared>);

struct Shared {
    path: PathBuf,
    turns: Arc<Semaphore>,
    idle: Mutex<Vec<Connection>>,
}

impl HotReaders {
    pub(in crate::store::sqlite) fn new(path: &Path) -> Self {
        Self(Arc::new(Shared {
            path: path.to_owned(),
            turns: Arc::new(Semaphore::new(READERS)),
            idle: Mutex::default(),
        }))
    }

    /// Runs `read` on a connection that is free.
    pub(in crate::store::sqlite) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.0.turns).acquire_owned().await;
        let turn = turn.map_err(StoreError::unavailable)?;
        let shared = Arc::clone(&self.0);
        blocking(move || {
            let connection = shared.take()?;
            let found = read(&connection);
            // What a failing disk has left of a connection is not used again.
            if !matches!(found, Err(StoreError::Unavailable { .. })) {
                shared.put_back(connection);
            }
            drop(turn);
            found
        })
        .await
    }

    /// Waits for running reads and closes the connections. Every later read fails.
    pub(in crate::store::sqlite) async fn close(&self) {
        let all = u32::try_from(READERS).unwrap_or(u32::MAX);
        let all = self.0.turns.acquire_many(all).await;
        self.0.turns.close();
        let idle = std::mem::take(&mut *self.0.idle());
        blocking(move || drop(idle)).await;
        drop(all);
    }
}

impl Shared {
    fn take(&self) -> rusqlite::Result<Connection> {
        // The guard ends here: opening takes long.
        let idle = self.idle().pop();
        if let Some(connection) = idle {
            return Ok(connection);
        }
        let connection = super::open(&self.path)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn put_back(&self, connection: Connection) {
        self.idle().push(connection);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
