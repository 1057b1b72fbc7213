//! Finds what may be stale in a bucket: lists it, and leaves out what the history covers.

use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use jiff::Timestamp;

use crate::{
    domain::{catalogue::Catalogue, mapping::MappingPolicy, resync::Found},
    ports::{coverage::CoverageStore, object_listing::ObjectListing},
};

pub struct Resync {
    pub(crate) listing: Arc<dyn ObjectListing>,
    pub(crate) coverage: Box<dyn CoverageStore>,
    pub(crate) bucket: String,
    pub(crate) prefix: String,
    pub(crate) since: Timestamp,
}

impl Resync {
    /// Whether the bucket's deletes can be seen.
    pub fn sees_deletes(&self) -> bool {
        self.listing.is_versioned()
    }

    /// Looks at the whole bucket below the prefix. `tell` hears of the progress.
    pub async fn look(
        &mut self,
        (catalogue, policy): (&Catalogue, &MappingPolicy),
        mut tell: impl FnMut(&Found),
    ) -> anyhow::Result<Found> {
        let mut found = Found::default();
        let mut cursor = None;
        loop {
            let mut page = self.listing.page(&self.prefix, cursor.take()).await?;
            found.looked_at += page.looked_at;
            page.objects.retain(|one| one.changed_since(self.since));
            if !page.objects.is_empty() {
                let keys: Vec<_> = page.objects.iter().map(|one| one.key.as_str()).collect();
                let accepted = self.coverage.last_accepted(&keys).await;
                let accepted = accepted.context("the history cannot be read")?;
                found
                    .add((catalogue, policy), &self.bucket, &page.objects, &accepted)
                    .map_err(|missing| {
                        anyhow!(
                            "the account lacks the details of {:?} and the cache policies {:?}; try again",
                            missing.details,
                            missing.policies
                        )
                    })?;
            }
            tell(&found);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let mut after = 0;
        loop {
            let page = self.coverage.requested(after).await;
            let page = page.context("the history cannot be read")?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            after = last.seq;
            for one in &page {
                found.requested(&one.distribution_id, &one.item, one.accepted_at);
            }
        }
    }
}
