//! The contract's store in a PostgreSQL database.

use std::sync::Arc;

use async_trait::async_trait;
use purgefront::{
    ports::Clock,
    shutdown::Tasks,
    store::{self, PostgresStore},
    telemetry::Health,
};

use super::{OpenStore, Place};
use crate::support::postgres::Database;

pub(super) struct TemporaryDatabase(Database);

#[async_trait]
impl Place for TemporaryDatabase {
    async fn new() -> Option<Self> {
        Database::new().await.map(Self)
    }

    async fn another(&self) -> Box<dyn Place> {
        Box::new(Self::new().await.unwrap())
    }

    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn OpenStore> {
        let url = self.0.url();
        let opened = store::open_postgres(url, clock, Health::default(), Tasks::default()).await;
        let store = opened.unwrap();
        self.0.lead().await;
        Arc::new(store)
    }
}

#[async_trait]
impl OpenStore for PostgresStore {
    async fn close(&self) {
        PostgresStore::close(self).await;
    }
}
