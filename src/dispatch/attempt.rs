//! One `CreateInvalidation` call, and what its answer leads to.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Context, Pace,
    queues::{Queues, Setback},
};
use crate::{
    domain::{
        batch::Batch,
        limits::{CallRate, backoff},
        outcome::{self, Course},
        path::Item,
    },
    ports::{Answer, Cdn, CdnError, CreatedInvalidation, Fate, StoreError, Unresolved},
};

/// AWS says that an invalidation takes effect within 5 s and is completed within 25 s, mostly.
const FIRST_LOOK: Duration = Duration::from_secs(10);
/// How long a distribution waits after a setback: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(15);
/// How many of the newest invalidations are searched for a reference.
const SEARCHED: usize = 20;

/// A call that has come back.
pub(super) struct Attempt {
    unresolved: Unresolved,
    result: Result<CreatedInvalidation, CdnError>,
}

/// What a call led to.
pub(super) enum Concluded {
    /// An invalidation.
    Created,
    /// Dead letters.
    Buried,
    /// The distribution waits.
    SetBack(Setback),
}

impl Attempt {
    /// Makes the call. Where `CloudFront` says that the reference is taken, it looks by whom:
    /// an earlier attempt whose answer was lost may have made the invalidation.
    ///
    /// It always comes back: a call that panics may have been made, like one whose answer is lost.
    pub(super) async fn make(cdn: Arc<dyn Cdn>, pace: Arc<Pace>, unresolved: Unresolved) -> Self {
        let call = AssertUnwindSafe(call(&*cdn, &pace, &unresolved)).catch_unwind();
        let result = call
            .await
            .unwrap_or_else(|_| Err(CdnError::Unknown("the call broke off".to_owned())));
        Self { unresolved, result }
    }

    pub(super) fn distribution_id(&self) -> &str {
        &self.unresolved.batch.distribution_id
    }

    /// Records the answer and says what follows for the distribution.
    pub(super) async fn conclude(
        self,
        context: &Context,
        queues: &Queues,
        calls: &mut CallRate,
        jitter: f64,
    ) -> Result<Concluded, (Unresolved, StoreError)> {
        let Self { unresolved, result } = self;
        let now = context.clock.now();
        let outcome = result.as_ref().map_or_else(CdnError::label, |_| "ok");
        context.metrics.call("CreateInvalidation", outcome);
        match result {
            Ok(invalidation) => {
                calls.accepted(now);
                created(context, queues, unresolved, invalidation, now).await
            }
            Err(error) => {
                if matches!(error, CdnError::Throttled(_)) {
                    calls.refused(now);
                }
                refused(context, queues, unresolved, error, jitter, now).await
            }
        }
    }
}

async fn call(
    cdn: &dyn Cdn,
    pace: &Pace,
    unresolved: &Unresolved,
) -> Result<CreatedInvalidation, CdnError> {
    let result = cdn.create_invalidation(&unresolved.batch).await;
    if matches!(result, Err(CdnError::ReferenceConflict(_)))
        && unresolved.in_doubt
        && let Some(found) = find(cdn, pace, &unresolved.batch).await
    {
        return Ok(found);
    }
    result
}

/// The invalidation that a batch's reference stands for, if it is among the newest.
async fn find(cdn: &dyn Cdn, pace: &Pace, batch: &Batch) -> Option<CreatedInvalidation> {
    let id = &batch.distribution_id;
    pace.turn().await;
    let newest = cdn.newest_invalidations(id).await.ok()?;
    for (cloudfront_id, _) in newest.into_iter().take(SEARCHED) {
        pace.turn().await;
        let seen = cdn.invalidation(id, &cloudfront_id).await.ok()?;
        let same = seen.items.iter().eq(batch.items.iter().map(Item::as_str));
        if seen.caller_reference == batch.caller_reference && same {
            return Some(CreatedInvalidation {
                cloudfront_id,
                completed: seen.completed,
            });
        }
    }
    None
}

async fn created(
    context: &Context,
    queues: &Queues,
    unresolved: Unresolved,
    invalidation: CreatedInvalidation,
    now: Timestamp,
) -> Result<Concluded, (Unresolved, StoreError)> {
    let batch = &unresolved.batch;
    let (usage, completed) = (batch.usage(), invalidation.completed);
    tracing::info!(
        distribution_id = %batch.distribution_id,
        invalidation = %batch.id,
        cloudfront_id = %invalidation.cloudfront_id,
        items = batch.items.len(),
        "invalidation created"
    );
    let answer = Answer::Created {
        invalidation,
        look_at: now + FIRST_LOOK,
    };
    if let Err(error) = context.store.record_answer(batch.id, answer, now).await {
        return Err((unresolved, error));
    }
    context.metrics.items(usage.paths, usage.wildcards);
    if completed {
        queues.release(&batch.distribution_id, usage);
    }
    Ok(Concluded::Created)
}

async fn refused(
    context: &Context,
    queues: &Queues,
    unresolved: Unresolved,
    error: CdnError,
    jitter: f64,
    now: Timestamp,
) -> Result<Concluded, (Unresolved, StoreError)> {
    let batch = &unresolved.batch;
    let id = batch.distribution_id.clone();
    let failures = unresolved.failures + 1;
    let due_at = now + backoff(failures, FIRST_PAUSE, LONGEST_PAUSE, jitter);
    let mut course = outcome::course(
        &error,
        unresolved.in_doubt,
        batch.items.len(),
        unresolved.renamed,
    );
    if course == Course::Confirm {
        course = if is_gone(context, &unresolved) {
            Course::Bury
        } else {
            Course::Resend
        };
        context.signals.want_refresh();
    }
    let (fate, open) = fate(course, &unresolved, &error, now, due_at);
    tracing::warn!(
        distribution_id = %id,
        invalidation = %batch.id,
        %error,
        failures,
        follows = ?course,
        retry_at = %due_at,
        "CloudFront did not take a batch"
    );
    let store = &context.store;
    let mut waits_again = None;
    if fate == Fate::Dissolved {
        match store.backlog_of(batch.id).await {
            Ok(backlog) => waits_again = backlog,
            Err(error) => return Err((unresolved, error)),
        }
    }
    let trouble = trouble(&error, failures);
    let full = match error {
        CdnError::TooManyInProgress { wildcards, .. } => Some(wildcards),
        _ => None,
    };
    let settled = matches!(fate, Fate::Dissolved | Fate::Buried);
    let buried = fate == Fate::Buried;
    // A halved batch goes on at once: it is not the distribution's fault.
    let due_at = if matches!(fate, Fate::Split(_) | Fate::Renamed(_)) {
        now
    } else {
        due_at
    };
    let answer = Answer::Refused {
        error,
        fate,
        failures: if buried { 0 } else { failures },
        due_at,
    };
    if let Err(error) = store.record_answer(batch.id, answer, now).await {
        return Err((unresolved, error));
    }
    if settled {
        queues.release(&id, batch.usage());
    }
    if let Some(wildcards) = full {
        queues.crowd(&id, wildcards, due_at);
        context.signals.submitted.notify_one();
    }
    if let Some(backlog) = waits_again {
        queues.add(&id, backlog);
    }
    if buried {
        return Ok(Concluded::Buried);
    }
    Ok(Concluded::SetBack(Setback {
        open,
        due_at,
        failures,
        trouble,
    }))
}

/// What becomes of the batch, and what goes out before anything new.
fn fate(
    course: Course,
    unresolved: &Unresolved,
    error: &CdnError,
    now: Timestamp,
    due_at: Timestamp,
) -> (Fate, Vec<Unresolved>) {
    let failures = unresolved.failures + 1;
    match course {
        Course::Resend | Course::Confirm => {
            let in_doubt = unresolved.in_doubt || matches!(error, CdnError::Unknown(_));
            let again = Unresolved {
                failures,
                in_doubt,
                due_at,
                missing_since: match error {
                    CdnError::NoSuchDistribution(_) => unresolved.missing_since.or(Some(now)),
                    _ => None,
                },
                ..unresolved.clone()
            };
            (Fate::Kept, vec![again])
        }
        Course::Dissolve => (Fate::Dissolved, Vec::new()),
        Course::Bury => (Fate::Buried, Vec::new()),
        Course::Rename => {
            let mut again = unresolved.clone();
            again.batch.caller_reference = Uuid::new_v4().to_string();
            again.renamed = true;
            again.due_at = now;
            (
                Fate::Renamed(again.batch.caller_reference.clone()),
                vec![again],
            )
        }
        Course::Halve => {
            let children = unresolved.batch.halves();
            let open = children.iter().map(|child| Unresolved {
                batch: child.clone(),
                failures: 0,
                in_doubt: false,
                renamed: false,
                missing_since: None,
                due_at: now,
            });
            (Fate::Split(children.to_vec()), open.collect())
        }
    }
}

/// Whether the catalogue, read after `CloudFront` first said so, does not have the
/// distribution either.
fn is_gone(context: &Context, unresolved: &Unresolved) -> bool {
    let Some((missing_since, catalogue)) =
        unresolved.missing_since.zip(context.signals.catalogue())
    else {
        return false;
    };
    let id = &unresolved.batch.distribution_id;
    catalogue.get(id).is_none() && catalogue.snapshot().read_since > missing_since
}

/// What an operator should know and do about a distribution that is not served.
fn trouble(error: &CdnError, failures: u32) -> String {
    let mend = match error {
        CdnError::Denied(_) => "; grant cloudfront:CreateInvalidation on this distribution",
        _ => "",
    };
    format!("tried {failures} times in vain, goes on trying: {error}{mend}")
}
