//! The contract's store in a SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use purgefront::{
    ports::Clock,
    shutdown::Tasks,
    store::{self, OpenError, SqliteStore},
    telemetry::Health,
};
use tempfile::TempDir;

use super::{OpenStore, Place};
use crate::support::{Patience, quick_directory};

pub(super) struct TemporaryFile(TempDir);

#[async_trait]
impl Place for TemporaryFile {
    async fn new() -> Option<Self> {
        Some(Self(quick_directory()))
    }

    async fn another(&self) -> Box<dyn Place> {
        Box::new(Self(quick_directory()))
    }

    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn OpenStore> {
        let path = self.0.path().join("purgefront.db");
        let patience = Patience::new();
        loop {
            let clock = Arc::clone(&clock);
            let opened =
                store::open_sqlite(&path, clock, Health::default(), Tasks::default()).await;
            match opened {
                Ok(store) => return Arc::new(store),
                // The lock that was given up is inherited by what another test starts, until that is executed.
                Err(OpenError::InUse(_)) => patience.pause("the store is free").await,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[async_trait]
impl OpenStore for SqliteStore {
    async fn close(&self) {
        SqliteStore::close(self).await;
    }
}
