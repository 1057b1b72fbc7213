//! The store's contract: what each verb of each port promises, as stories that use only the ports.
//!
//! Every story runs on every kind of store. A new kind needs a [`Place`] and one more line in
//! `stories!`.

/// Makes a test of each story of a module for each kind of store.
macro_rules! stories {
    ($($story:ident),+ $(,)?) => {
        stories!(on_sqlite: crate::store_contract::sqlite::TemporaryFile, $($story),+);
        stories!(on_postgres: crate::store_contract::postgres::TemporaryDatabase, $($story),+);
    };
    ($kind:ident: $place:ty, $($story:ident),+) => {
        mod $kind {
            $(
                #[tokio::test]
                async fn $story() {
                    if let Some(store) = $crate::store_contract::Store::open::<$place>().await {
                        super::$story(store).await;
                    }
                }
            )+
        }
    };
}

mod backlogs;
mod batches;
mod catalogue;
mod certificates;
mod dead_letters;
mod economy;
mod failures;
mod figures;
mod fixtures;
mod history;
mod holds;
mod intake;
mod mapping;
mod notices;
mod operations;
mod postgres;
mod random;
mod remaps;
mod requests;
mod resolutions;
mod retention;
mod sqlite;
mod stories;
mod tracking;
mod upkeep;
mod waits;

use std::sync::Arc;

use async_trait::async_trait;
use purgefront::ports::{
    CertificateCache, Clock,
    catalogue::CatalogueStore,
    dispatch::{DispatchStore, Epoch, LeaderStore},
    history::HistoryStore,
    intake::IntakeStore,
    operations::OperationsStore,
};

use crate::support::clock::VirtualClock;

/// Where a store is kept, also while it is not open.
#[async_trait]
trait Place: Send + Sync + 'static {
    /// A new place without a store. `None`, which is said aloud, where this machine has none of the kind.
    async fn new() -> Option<Self>
    where
        Self: Sized;

    /// Another new place of the same kind.
    async fn another(&self) -> Box<dyn Place>;

    /// Opens the store, and creates it the first time. The caller is the leader from now on, in an epoch of its
    /// own: the first is 1.
    async fn open(&self, clock: Arc<dyn Clock>) -> Arc<dyn OpenStore>;
}

/// All ports of an open store.
#[async_trait]
trait OpenStore:
    IntakeStore + OperationsStore + HistoryStore + CatalogueStore + CertificateCache + LeaderStore
{
    async fn close(&self);
}

/// The store that a story is about, in the hands of one process that is also the leader.
struct Store {
    place: Box<dyn Place>,
    clock: Arc<VirtualClock>,
    ports: Arc<dyn OpenStore>,
    leader: Arc<dyn DispatchStore>,
    epoch: Epoch,
}

impl Store {
    async fn open<P: Place>() -> Option<Self> {
        let place = Box::new(P::new().await?);
        Some(Self::open_at(place, Arc::new(VirtualClock::new()), Epoch(1)).await)
    }

    /// The same store after the process has been restarted.
    async fn reopened(self) -> Self {
        let Self {
            place,
            clock,
            ports,
            leader,
            epoch: Epoch(epoch),
        } = self;
        ports.close().await;
        // A store is in use until its last handle is gone.
        drop((ports, leader));
        Self::open_at(place, clock, Epoch(epoch + 1)).await
    }

    /// A new store of the same kind.
    async fn another(&self) -> Self {
        let place = self.place.another().await;
        Self::open_at(place, Arc::new(VirtualClock::new()), Epoch(1)).await
    }

    async fn open_at(place: Box<dyn Place>, clock: Arc<VirtualClock>, epoch: Epoch) -> Self {
        let ports = place.open(Arc::clone(&clock) as _).await;
        Self {
            place,
            clock,
            leader: ports.lead(epoch),
            ports,
            epoch,
        }
    }
}
