//! Searches for the invalidation that was created with a batch's caller reference.

use std::sync::Arc;

use super::{Context, read_limiter::ReadLimiter};
use crate::{
    domain::{
        cdn::{CdnError, InvalidationPage, SeenInvalidation},
        resolution::{Candidate, Search, Unresolved},
    },
    ports::dispatch::TrackingStore,
};

/// The most pages of the list that a search reads. CloudFront returns 100 invalidations per page.
const MAX_PAGES: usize = 50;
/// How often a search tries a read before it gives up.
const TRIES: usize = 3;

/// What a search needs.
pub(super) struct ConflictSearch {
    pub(super) context: Context,
    /// Knows which invalidations belong to other batches of ours.
    pub(super) store: Arc<dyn TrackingStore>,
    pub(super) limiter: Arc<ReadLimiter>,
}

impl ConflictSearch {
    /// Looks at all invalidations that the batch's attempts can have created.
    pub(super) async fn run(&self, unresolved: &Unresolved) -> Search {
        let found = self.search(unresolved).await;
        found.unwrap_or_else(Search::Incomplete)
    }

    /// Returns why the search is incomplete as an error.
    async fn search(&self, unresolved: &Unresolved) -> Result<Search, String> {
        let since = unresolved.search_since(self.context.clock.now());
        let mut marker: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let id = &unresolved.batch.distribution_id;
            let page = self.page(id, marker.as_deref()).await?;
            for listed in &page.invalidations {
                if listed.created_at < since {
                    return Ok(Search::NotFound);
                }
                let ours = self.store.is_ours(&listed.cloudfront_id).await;
                if ours.map_err(|error| error.to_string())? {
                    continue;
                }
                let seen = self.seen(id, &listed.cloudfront_id).await?;
                match unresolved.compare(&listed.cloudfront_id, &seen) {
                    Candidate::Unrelated => {}
                    Candidate::Ours(invalidation) => return Ok(Search::Found(invalidation)),
                    Candidate::OtherItems => return Ok(Search::NotFound),
                }
            }
            match page.next_marker {
                Some(next) => marker = Some(next),
                None => return Ok(Search::NotFound),
            }
        }
        Err("ListInvalidations has too many pages".to_owned())
    }

    async fn page(&self, id: &str, marker: Option<&str>) -> Result<InvalidationPage, String> {
        let read = || self.context.cdn.newest_invalidations(id, marker);
        self.read("ListInvalidations", read).await
    }

    async fn seen(&self, id: &str, cloudfront_id: &str) -> Result<SeenInvalidation, String> {
        let read = || self.context.cdn.invalidation(id, cloudfront_id);
        self.read("GetInvalidation", read).await
    }

    async fn read<T, F>(&self, operation: &'static str, read: impl Fn() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, CdnError>>,
    {
        let mut failure = String::new();
        for _ in 0..TRIES {
            self.limiter.turn().await;
            let result = read().await;
            self.context.metrics.call(operation, &result);
            match result {
                Ok(value) => return Ok(value),
                Err(error) => failure = format!("{operation}: {error}"),
            }
        }
        Err(failure)
    }
}
