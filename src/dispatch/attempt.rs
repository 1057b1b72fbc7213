//! Makes one `CreateInvalidation` call. If it conflicts with an earlier one, searches for what that
//! one created.

use std::{panic::AssertUnwindSafe, sync::Arc};

use futures_util::FutureExt as _;
use tracing::Instrument as _;

use super::{conflict::ConflictSearch, queues::Turn};
use crate::{
    domain::{
        cdn::{CdnError, CreatedInvalidation},
        resolution::{Resolution, Search, Unresolved},
    },
    ports::Cdn,
};

/// A finished call.
pub(super) struct Attempt {
    pub(super) turn: Turn,
    pub(super) unresolved: Unresolved,
    pub(super) answer: Result<CreatedInvalidation, CdnError>,
}

impl Attempt {
    /// Makes the call. If CloudFront reports that the caller reference is taken, an earlier attempt
    /// whose answer was lost may have created the invalidation, so this searches for it.
    ///
    /// A panic in the call counts as a lost answer: the call may have been made.
    pub(super) async fn make(
        cdn: Arc<dyn Cdn>,
        search: Arc<ConflictSearch>,
        mut turn: Turn,
        unresolved: Unresolved,
    ) -> Self {
        let batch = &unresolved.batch;
        turn.call_begins(batch.id);
        let span = tracing::info_span!(
            "attempt",
            distribution_id = %batch.distribution_id,
            invalidation = %batch.id
        );
        let call = AssertUnwindSafe(call(&*cdn, &search, &unresolved)).catch_unwind();
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
    search: &ConflictSearch,
    unresolved: &Unresolved,
) -> Result<CreatedInvalidation, CdnError> {
    match cdn.create_invalidation(&unresolved.batch).await {
        Err(CdnError::ReferenceConflict(text)) => match search.run(unresolved).await {
            Search::Found(invalidation) => Ok(invalidation),
            Search::NotFound => Err(CdnError::ReferenceConflict(text)),
            Search::Incomplete(why) => {
                Err(CdnError::ConflictUnexplained(format!("{text} ({why})")))
            }
        },
        answer => answer,
    }
}

/// Logs what follows from an answer.
pub(super) fn log(unresolved: &Unresolved, resolution: &Resolution) {
    let batch = &unresolved.batch;
    match resolution {
        Resolution::Created { invalidation, .. } => tracing::info!(
            distribution_id = %batch.distribution_id,
            invalidation = %batch.id,
            cloudfront_id = %invalidation.cloudfront_id,
            items = batch.items.len(),
            "invalidation created"
        ),
        Resolution::Failed(failure) => tracing::warn!(
            distribution_id = %batch.distribution_id,
            invalidation = %batch.id,
            error = %failure.error,
            failures = failure.failures,
            next = failure.next.name(),
            retry_at = %failure.not_before,
            "CloudFront did not accept a batch"
        ),
    }
}
