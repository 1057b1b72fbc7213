//! The catalogue: kept in the store, and known to the process by a handle that the store feeds.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreError;
use crate::domain::catalogue::{Catalogue, Snapshot};

/// Which of the catalogues that were kept one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub i64);

/// A catalogue as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCatalogue {
    pub revision: Revision,
    pub snapshot: Snapshot,
}

/// Where the catalogue is read from, by leader and followers alike.
#[async_trait]
pub trait CatalogueStore: Send + Sync + 'static {
    /// The kept catalogue, unless it is the one that is `known` already; `None` too where no
    /// catalogue was ever kept.
    async fn kept_catalogue(
        &self,
        known: Option<Revision>,
    ) -> Result<Option<KeptCatalogue>, StoreError>;
}

/// What the process knows of the account's distributions.
#[derive(Debug, Clone)]
pub struct CatalogueHandle(watch::Receiver<Option<Arc<Catalogue>>>);

/// The feeding end of a [`CatalogueHandle`].
#[derive(Debug)]
pub struct CataloguePublisher(watch::Sender<Option<Arc<Catalogue>>>);

impl CataloguePublisher {
    /// A handle that knows nothing yet, and its feeding end.
    pub fn new() -> (Self, CatalogueHandle) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), CatalogueHandle(receiver))
    }

    pub fn publish(&self, catalogue: Catalogue) {
        self.0.send_replace(Some(Arc::new(catalogue)));
    }
}

impl CatalogueHandle {
    /// The catalogue as it is known now; `None` until the account was first read.
    pub fn get(&self) -> Option<Arc<Catalogue>> {
        self.0.borrow().clone()
    }

    /// The catalogue, where it is another than at the last call of this on this clone, or where
    /// [`Self::forget`] was called.
    pub fn take_changed(&mut self) -> Option<Arc<Catalogue>> {
        if self.0.has_changed().unwrap_or(false) {
            self.0.borrow_and_update().clone()
        } else {
            None
        }
    }

    /// Lets the next [`Self::take_changed`] return the catalogue even if it is the same.
    pub fn forget(&mut self) {
        self.0.mark_changed();
    }

    /// Returns when the catalogue is another than at the last [`Self::take_changed`]. Dropping the
    /// future loses nothing.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody feeds it any more: the service is stopping.
            std::future::pending::<()>().await;
        }
        self.0.mark_changed();
    }
}
