//! The catalogue: saved in the store, and available to the process through a handle that is updated
//! from the store.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreError;
use crate::domain::catalogue::{Catalogue, Revision, Snapshot};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCatalogue {
    pub revision: Revision,
    pub snapshot: Snapshot,
}

/// Read access to the saved catalogue, for leader and followers.
#[async_trait]
pub trait CatalogueStore: Send + Sync + 'static {
    /// The saved catalogue; `None` if it is the `known` one, or if none was ever saved.
    async fn kept_catalogue(
        &self,
        known: Option<Revision>,
    ) -> Result<Option<KeptCatalogue>, StoreError>;
}

/// A catalogue in use.
#[derive(Debug, Clone)]
pub struct PublishedCatalogue {
    pub revision: Revision,
    pub catalogue: Arc<Catalogue>,
}

/// The catalogue that this process uses.
#[derive(Debug, Clone)]
pub struct CatalogueHandle(watch::Receiver<Option<PublishedCatalogue>>);

/// Updates a [`CatalogueHandle`].
#[derive(Debug)]
pub struct CataloguePublisher(watch::Sender<Option<PublishedCatalogue>>);

impl CataloguePublisher {
    /// An empty handle and its publisher.
    pub fn new() -> (Self, CatalogueHandle) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), CatalogueHandle(receiver))
    }

    pub fn publish(&self, catalogue: PublishedCatalogue) {
        self.0.send_replace(Some(catalogue));
    }
}

impl CatalogueHandle {
    /// The current catalogue; `None` until the account has been read once.
    pub fn get(&self) -> Option<Arc<Catalogue>> {
        let published = self.0.borrow();
        let catalogue = published.as_ref().map(|published| &published.catalogue);
        catalogue.map(Arc::clone)
    }

    /// The catalogue, if it has changed since the last call on this clone or [`Self::forget`] was
    /// called.
    pub fn take_changed(&mut self) -> Option<PublishedCatalogue> {
        if self.0.has_changed().unwrap_or(false) {
            self.0.borrow_and_update().clone()
        } else {
            None
        }
    }

    /// Makes the next [`Self::take_changed`] return the catalogue even if it is unchanged.
    pub fn forget(&mut self) {
        self.0.mark_changed();
    }

    /// Returns when the catalogue has changed since the last [`Self::take_changed`]. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The publisher is gone: the service is stopping.
            std::future::pending::<()>().await;
        }
        self.0.mark_changed();
    }
}
