//! Makes one `CreateInvalidation` call, and looks for the invalidation of an earlier, lost one.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::{queues::Turn, read_limiter::ReadLimiter};
use crate::{
    domain::{
        batch::Batch,
        cdn::{CdnError, CreatedInvalidation},
        path::Item,
        resolution::Unresolved,
    },
    ports::Cdn,
};

/// How many of the newest invalidations are searched for a caller reference.
const SEARCHED: usize = 20;

/// A finished call.
pub(super) struct Attempt {
    pub(super) turn: Turn,
    pub(super) unresolved: Unresolved,
    pub(super) answer: Result<CreatedInvalidation, CdnError>,
}

impl Attempt {
    /// Makes the call. If CloudFront reports that the caller reference is taken, an earlier attempt
    /// whose answer was lost may have created the invalidation, so this looks for it.
    ///
    /// A panic in the call counts as a lost answer: the call may have been made.
    pub(super) async fn make(
        cdn: Arc<dyn Cdn>,
        limiter: Arc<ReadLimiter>,
        mut turn: Turn,
        unresolved: Unresolved,
    ) -> Self {
        turn.call_begins();
        let batch = &unresolved.batch;
        let span = tracing::info_span!(
            "attempt",
            distribution_id = %batch.distribution_id,
            invalidation = %batch.id
        );
        let call = AssertUnwindSafe(call(&*cdn, &limiter, &unresolved)).catch_unwind();
        let answer = call
            .instrument(span)
            .await
            .unwrap_or_else(|_| Err(CdnError::Unknown("the call panicked".to_owned())));
        Self {
            turn,
            unresolved,
            answer,
        }
    }
}

async fn call(
    cdn: &dyn Cdn,
    limiter: &ReadLimiter,
    unresolved: &Unresolved,
) -> Result<CreatedInvalidation, CdnError> {
    let answer = cdn.create_invalidation(&unresolved.batch).await;
    if matches!(answer, Err(CdnError::ReferenceConflict(_)))
        && unresolved.in_doubt
        && let Some(found) = find(cdn, limiter, &unresolved.batch).await
    {
        return Ok(found);
    }
    answer
}

/// Finds the invalidation that was created with the batch's caller reference, if it is among the
/// newest.
async fn find(cdn: &dyn Cdn, limiter: &ReadLimiter, batch: &Batch) -> Option<CreatedInvalidation> {
    let id = &batch.distribution_id;
    limiter.turn().await;
    let newest = cdn.newest_invalidations(id).await.ok()?;
    for listed in newest.into_iter().take(SEARCHED) {
        limiter.turn().await;
        let seen = cdn.invalidation(id, &listed.cloudfront_id).await.ok()?;
        let same = seen.items.iter().eq(batch.items.iter().map(Item::as_str));
        if seen.caller_reference == batch.caller_reference && same {
            return Some(CreatedInvalidation {
                cloudfront_id: listed.cloudfront_id,
                completed: seen.completed,
            });
        }
    }
    None
}
