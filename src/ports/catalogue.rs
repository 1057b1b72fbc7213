//! The catalogue: saved in the store, and available to the process through a handle that is updated
//! from the store.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use tokio::sync::watch;

use super::StoreError;
use crate::domain::{
    catalogue::{Catalogue, Revision, Snapshot},
    preview::Missing,
};

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
pub struct CatalogueHandle {
    published: watch::Receiver<Option<PublishedCatalogue>>,
}

/// Takes notes of what the request path lacks to who reads the account, perhaps in another process.
#[async_trait]
pub trait CatalogueWants: Send + Sync + 'static {
    /// Leaves a note of what is missing. Who reads the account has to be woken for it.
    async fn want(&self, missing: Missing) -> Result<(), StoreError>;

    /// What is wanted since the last call.
    async fn take_wanted(&self) -> Result<Wanted, StoreError>;
}

/// What the catalogue lacks and somebody wants to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Ids of distributions.
    pub details: BTreeSet<String>,
    /// Ids of cache policies.
    pub policies: BTreeSet<String>,
}

/// Updates a [`CatalogueHandle`].
#[derive(Debug)]
pub struct CataloguePublisher(watch::Sender<Option<PublishedCatalogue>>);

impl CataloguePublisher {
    /// An empty handle and its publisher.
    pub fn new() -> (Self, CatalogueHandle) {
        let (sender, published) = watch::channel(None);
        (Self(sender), CatalogueHandle { published })
    }

    pub fn publish(&self, catalogue: PublishedCatalogue) {
        self.0.send_replace(Some(catalogue));
    }
}

impl CatalogueHandle {
    /// The current catalogue; `None` until the account has been read once.
    pub fn get(&self) -> Option<Arc<Catalogue>> {
        let published = self.published.borrow();
        let catalogue = published.as_ref().map(|published| &published.catalogue);
        catalogue.map(Arc::clone)
    }

    /// The catalogue, if it has changed since the last call on this clone or [`Self::forget`] was
    /// called.
    pub fn take_changed(&mut self) -> Option<PublishedCatalogue> {
        if self.published.has_changed().unwrap_or(false) {
            self.published.borrow_and_update().clone()
        } else {
            None
        }
    }

    /// Makes the next [`Self::take_changed`] return the catalogue even if it is unchanged.
    pub fn forget(&mut self) {
        self.published.mark_changed();
    }

    /// Returns when the catalogue has changed since the last [`Self::take_changed`]. Cancel-safe.
    pub async fn changed(&mut self) {
        if self.published.changed().await.is_err() {
            // The publisher is gone: the service is stopping.
            std::future::pending::<()>().await;
        }
        self.published.mark_changed();
    }
}
