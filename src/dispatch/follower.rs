//! Publishes the store's catalogue to the process, whether it is the leader or not.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{runner::Worker, status_board::StatusBoard};
use crate::{
    domain::{
        catalogue::{Catalogue, Revision},
        origin::OriginOverride,
        status::FOLLOWER,
    },
    ports::{
        StoreError, Wakeup, Wakeups,
        catalogue::{CataloguePublisher, CatalogueStore, PublishedCatalogue},
    },
};

pub(super) struct CatalogueFollower {
    pub(super) store: Arc<dyn CatalogueStore>,
    pub(super) wakeups: Arc<dyn Wakeups>,
    pub(super) board: StatusBoard,
    pub(super) origins: Arc<[OriginOverride]>,
    pub(super) publisher: CataloguePublisher,
    pub(super) known: Option<Revision>,
}

#[async_trait]
impl Worker for CatalogueFollower {
    fn name(&self) -> &'static str {
        FOLLOWER
    }

    async fn tick(&mut self) -> Result<Option<Timestamp>, StoreError> {
        if let Some(kept) = self.store.kept_catalogue(self.known).await? {
            self.known = Some(kept.revision);
            let read_since = kept.snapshot.read_since;
            let catalogue = Catalogue::new(kept.snapshot, Arc::clone(&self.origins));
            self.publisher.publish(PublishedCatalogue {
                revision: kept.revision,
                catalogue: Arc::new(catalogue),
            });
            self.board
                .update(|status| status.catalogue.read_since = Some(read_since));
        }
        Ok(None)
    }

    async fn woken(&mut self) {
        self.wakeups.woken(Wakeup::CatalogueKept).await;
    }
}
