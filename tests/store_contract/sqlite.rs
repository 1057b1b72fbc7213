//! The contract's store in a SQLite file.

use std::sync::Arc;

use async_trait::async_trait;
use purgefront::{
    ports::Clock,
    shutdown::Tasks,
    store::{self, SqliteStore},
    telemetry::Health,
};
use tempfile::TempDir;

use super::{OpenStore, Place};
use crate::support::quick_directory;

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
        let opened = store::open_sqlite(&path, clock, Health::default(), Tasks::default()).await;
        Arc::new(opened.unwrap())
    }
}

#[async_trait]
impl OpenStore for SqliteStore {
    async fn close(&self) {
        SqliteStore::close(self).await;
    }
}
