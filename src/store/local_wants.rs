//! What is wanted of the catalogue, within one process.

use std::{
    mem,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use crate::{
    domain::preview::Missing,
    ports::{
        StoreError,
        catalogue::{CatalogueWants, Wanted},
    },
};

#[derive(Debug, Default)]
pub struct LocalWants(Mutex<Wanted>);

#[async_trait]
impl CatalogueWants for LocalWants {
    async fn want(&self, missing: Missing) -> Result<(), StoreError> {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.details.extend(missing.details);
        wanted.policies.extend(missing.policies);
        Ok(())
    }

    async fn take_wanted(&self) -> Result<Wanted, StoreError> {
        let mut wanted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(mem::take(&mut *wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wanted_is_taken_once() {
        let wants = LocalWants::default();
        for id in ["E2", "E1", "E2"] {
            let missing = Missing {
                details: [id.to_owned()].into(),
                ..Missing::default()
            };
            wants.want(missing).await.unwrap();
        }
        let wanted = wants.take_wanted().await.unwrap();
        assert_eq!(wanted.details, ["E1".to_owned(), "E2".to_owned()].into());
        assert_eq!(wants.take_wanted().await.unwrap(), Wanted::default());
    }
}
