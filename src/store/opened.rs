//! Opens the store that the configuration names, and hands it out as ports.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    LocalWakeups, LocalWants, LookError, OpenError, PostgresStore, SqliteStore, postgres, sqlite,
};
use crate::{
    domain::{store_check::StoreCheck, store_location::StoreLocation},
    ports::{
        CertificateCache, Clock, FreeSpace, Wakeups,
        catalogue::{CatalogueStore, CatalogueWants},
        coverage::CoverageStore,
        dispatch::LeaderStore,
        doctor::StoreSource,
        history::HistoryStore,
        intake::IntakeStore,
        leadership::{Leading, Leases},
        operations::OperationsStore,
    },
    shutdown::Tasks,
    telemetry::Health,
};

/// An open store, as ports.
#[derive(Clone)]
pub struct OpenStore {
    pub intake: Arc<dyn IntakeStore>,
    pub operations: Arc<dyn OperationsStore>,
    pub history: Arc<dyn HistoryStore>,
    pub catalogue: Arc<dyn CatalogueStore>,
    pub wants: Arc<dyn CatalogueWants>,
    pub certificates: Arc<dyn CertificateCache>,
    pub leader: Arc<dyn LeaderStore>,
    /// `None` if only this process can use the store, so that it leads.
    pub leases: Option<Arc<dyn Leases>>,
    pub wakeups: Arc<dyn Wakeups>,
    /// `None` if it is not this machine's.
    pub space: Option<Arc<dyn FreeSpace>>,
    closing: Arc<dyn Closing>,
}

/// What ends the use of a store.
#[async_trait]
pub(super) trait Closing: Send + Sync {
    /// Commits everything that was accepted, and closes the connections. Every later call fails.
    async fn close(&self);
}

impl OpenStore {
    /// The ports that both stores implement alike.
    fn of<S>(store: &Arc<S>, wakeups: Arc<dyn Wakeups>, wants: Arc<dyn CatalogueWants>) -> Self
    where
        S: IntakeStore
            + OperationsStore
            + HistoryStore
            + CatalogueStore
            + CertificateCache
            + LeaderStore
            + Closing,
    {
        Self {
            intake: Arc::clone(store) as _,
            operations: Arc::clone(store) as _,
            history: Arc::clone(store) as _,
            catalogue: Arc::clone(store) as _,
            wants,
            certificates: Arc::clone(store) as _,
            leader: Arc::clone(store) as _,
            leases: None,
            wakeups,
            space: None,
            closing: Arc::clone(store) as _,
        }
    }

    /// Commits everything that was accepted, and closes the connections. Every later call fails.
    pub async fn close(&self) {
        self.closing.close().await;
    }
}

#[async_trait]
impl Closing for SqliteStore {
    async fn close(&self) {
        Self::close(self).await;
    }
}

#[async_trait]
impl Closing for PostgresStore {
    async fn close(&self) {
        Self::close(self).await;
    }
}

/// Opens the store, creates or migrates its schema, and starts its tasks in `tasks`, until
/// [`OpenStore::close`]. `leading` says whether this process leads.
pub async fn open(
    location: &StoreLocation,
    clock: Arc<dyn Clock>,
    health: Health,
    tasks: Tasks,
    leading: &Leading,
) -> Result<OpenStore, OpenError> {
    match location {
        StoreLocation::File(path) => {
            let store = Arc::new(sqlite::open(path, clock, health, tasks).await?);
            let wakeups = Arc::new(LocalWakeups::default());
            let wants = Arc::new(LocalWants::default());
            Ok(OpenStore {
                space: Some(Arc::new(sqlite::StoreInspector::new(path.clone()))),
                ..OpenStore::of(&store, wakeups, wants)
            })
        }
        StoreLocation::Server(url) => {
            let store = postgres::open(url.expose(), clock, health, tasks).await?;
            let store = Arc::new(store);
            let wakeups = store.wakeups(leading.clone());
            let wants = Arc::clone(&store) as _;
            Ok(OpenStore {
                leases: Some(store.leases() as _),
                ..OpenStore::of(&store, wakeups, wants)
            })
        }
    }
}

/// What looks at the store from outside, for `doctor`.
pub fn inspector(location: &StoreLocation) -> Arc<dyn StoreSource> {
    match location {
        StoreLocation::File(path) => Arc::new(sqlite::StoreInspector::new(path.clone())),
        StoreLocation::Server(url) => Arc::new(postgres::ServerInspector::new(url.clone())),
    }
}

/// What was accepted of a bucket since a time, for `resync`.
pub async fn coverage(
    location: &StoreLocation,
    bucket: &str,
    since: Timestamp,
) -> Result<Box<dyn CoverageStore>, LookError> {
    match location {
        StoreLocation::File(path) => {
            let coverage = sqlite::Coverage::open(path, bucket, since).await?;
            Ok(Box::new(coverage))
        }
        StoreLocation::Server(url) => {
            let coverage = postgres::Coverage::open(url, bucket, since).await?;
            Ok(Box::new(coverage))
        }
    }
}

/// Copies the store to a new file, and returns its size in bytes.
pub async fn backup(location: &StoreLocation, copy: &Path) -> Result<u64, LookError> {
    match location {
        StoreLocation::File(path) => sqlite::backup(path, copy).await,
        StoreLocation::Server(url) => Err(LookError::NoFile {
            store: url.to_string(),
            instead: "back it up with pg_dump, or by what runs the server (docs/recovery.md)",
        }),
    }
}

/// Says whether a store is sound, and what is open in it.
pub async fn check(location: &StoreLocation) -> Result<StoreCheck, LookError> {
    match location {
        StoreLocation::File(path) => sqlite::check(path).await,
        StoreLocation::Server(url) => Err(LookError::NoFile {
            store: url.to_string(),
            instead: "`purgefront doctor` looks at it, and pg_amcheck at its tables and indexes",
        }),
    }
}
