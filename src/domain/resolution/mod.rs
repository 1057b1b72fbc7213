//! Decides what follows from CloudFront's answer to an attempt. The store records the decision, and the
//! distribution's queue applies it.

use std::{collections::HashSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use super::{
    batch::Batch,
    cdn::{CdnError, CreatedInvalidation, SeenInvalidation},
    limits::backoff,
    path::Item,
};

/// According to AWS, most invalidations take effect within 5 s and complete within 25 s.
const FIRST_POLL: Duration = Duration::from_secs(10);
/// How long a distribution pauses after failures in a row: the first and the longest pause.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(15);
/// The longest pause, for due times.
pub const LONGEST_RETRY: SignedDuration = SignedDuration::from_mins(15);
/// How far CloudFront's clock may differ from ours.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_mins(15);

/// A frozen batch without a definite answer from CloudFront.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unresolved {
    pub batch: Batch,
    pub frozen_at: Timestamp,
    /// Failed attempts in a row.
    pub failures: u32,
    /// The outcome of an earlier attempt is unknown: CloudFront may have created the invalidation.
    pub in_doubt: bool,
    /// Part of a batch that CloudFront rejected for some of its items.
    pub is_part: bool,
    /// The caller reference was replaced after a conflict. This is done once.
    pub has_new_reference: bool,
    /// Since when CloudFront has reported the distribution as missing.
    pub missing_since: Option<Timestamp>,
    /// It is not sent again before this time.
    pub due_at: Timestamp,
}

impl Unresolved {
    /// A batch that has just been frozen.
    pub fn new(batch: Batch, frozen_at: Timestamp) -> Self {
        Self {
            batch,
            frozen_at,
            failures: 0,
            in_doubt: false,
            is_part: false,
            has_new_reference: false,
            missing_since: None,
            due_at: frozen_at,
        }
    }
}

/// The result of a search for the invalidation that an earlier attempt may have created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Search {
    Found(CreatedInvalidation),
    /// Everything that an attempt can have created was looked at.
    NotFound,
    /// Not everything could be looked at, and why.
    Incomplete(String),
}

/// How an invalidation that was found in a search relates to the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// An attempt with the batch created it.
    Ours(CreatedInvalidation),
    /// It has the batch's caller reference, but other items.
    OtherItems,
    Unrelated,
}

impl Unresolved {
    /// No attempt can have created an invalidation whose creation time is before this.
    pub fn search_since(&self, now: Timestamp) -> Timestamp {
        // The clock may have been set back since the batch was frozen.
        let since = self.frozen_at.min(now).checked_sub(CLOCK_MARGIN);
        since.unwrap_or(Timestamp::MIN)
    }

    pub fn compare(&self, cloudfront_id: &str, seen: &SeenInvalidation) -> Candidate {
        if seen.caller_reference != self.batch.caller_reference {
            return Candidate::Unrelated;
        }
        // The order does not matter: it is the same invalidation.
        let sent: HashSet<_> = self.batch.items.iter().map(Item::as_str).collect();
        let seen_items: HashSet<_> = seen.items.iter().map(String::as_str).collect();
        if sent != seen_items {
            return Candidate::OtherItems;
        }
        Candidate::Ours(CreatedInvalidation {
            cloudfront_id: cloudfront_id.to_owned(),
            completed: seen.completed,
        })
    }
}

/// Other inputs of the decision, besides the batch and the answer.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    pub now: Timestamp,
    /// The distribution is also missing from a catalogue that was read after CloudFront first reported
    /// it missing.
    pub distribution_is_gone: bool,
    /// In `0.0..1.0`: the factor of the pause ("full jitter").
    pub jitter: f64,
    /// Items of the batch that CloudFront has taken before.
    pub taken: &'a HashSet<Item>,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// CloudFront has created the invalidation.
    Created {
        invalidation: CreatedInvalidation,
        /// When to poll it first, unless it is already completed.
        poll_at: Timestamp,
    },
    /// CloudFront has not created it, or the outcome is unknown.
    Failed(Failure),
}

/// An attempt that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub error: CdnError,
    pub next: NextStep,
    /// Failures in a row at this distribution, this one included.
    pub failures: u32,
    /// The distribution's next turn is not before this time.
    pub not_before: Timestamp,
}

/// What happens to a batch after a failed attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// The same items are sent again under the same reference.
    Retry(Box<Unresolved>),
    /// The same items are sent again under a new reference.
    NewReference(Box<Unresolved>),
    /// No attempt can have succeeded: its changes wait again and are planned again. The reference is
    /// never used again. So it is, too, with a wildcard that merging made and CloudFront does not take.
    Requeue,
    /// Two parts replace it, each with its own reference.
    Bisect(Box<[Unresolved; 2]>),
    /// Its items can never be sent.
    DeadLetter,
}

impl Failure {
    /// Whether CloudFront has certainly created nothing from the batch, in this attempt or an earlier
    /// one.
    pub fn created_nothing(&self) -> bool {
        match &self.next {
            NextStep::Retry(again) => {
                // Something has the reference, perhaps an invalidation of this batch.
                let unexplained = matches!(self.error, CdnError::ConflictUnexplained(_));
                !again.in_doubt && !unexplained
            }
            NextStep::NewReference(_)
            | NextStep::Requeue
            | NextStep::Bisect(_)
            | NextStep::DeadLetter => true,
        }
    }
}

impl NextStep {
    /// The name in logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Retry(_) => "retry",
            Self::NewReference(_) => "new reference",
            Self::Requeue => "requeue",
            Self::Bisect(_) => "bisect",
            Self::DeadLetter => "dead letter",
        }
    }
}

/// Decides what follows from the answer to the last attempt with a batch.
pub fn resolve(
    unresolved: &Unresolved,
    answer: Result<CreatedInvalidation, CdnError>,
    circumstances: Circumstances<'_>,
) -> Resolution {
    let now = circumstances.now;
    match answer {
        Ok(invalidation) => Resolution::Created {
            invalidation,
            poll_at: now + FIRST_POLL,
        },
        Err(error) => Resolution::Failed(fail(unresolved, error, circumstances)),
    }
}

fn fail(unresolved: &Unresolved, error: CdnError, circumstances: Circumstances<'_>) -> Failure {
    let Circumstances { now, jitter, .. } = circumstances;
    let failures = unresolved.failures + 1;
    let pause_until = now + backoff(failures, FIRST_PAUSE, LONGEST_PAUSE, jitter);
    let next = next_step(unresolved, &error, circumstances, pause_until);
    let (failures, not_before) = match next {
        NextStep::Retry(_) | NextStep::Requeue => (failures, pause_until),
        // The batch is at fault, not the distribution, which therefore does not pause.
        NextStep::NewReference(_) | NextStep::Bisect(_) => (failures, now),
        NextStep::DeadLetter => (0, now),
    };
    Failure {
        error,
        next,
        failures,
        not_before,
    }
}

fn next_step(
    unresolved: &Unresolved,
    error: &CdnError,
    circumstances: Circumstances<'_>,
    pause_until: Timestamp,
) -> NextStep {
    let Circumstances {
        now,
        distribution_is_gone,
        taken,
        ..
    } = circumstances;
    match error {
        // A temporary refusal says nothing about an earlier attempt with an unknown outcome.
        CdnError::Throttled(_)
        | CdnError::TooManyInProgress { .. }
        | CdnError::Denied(_)
        | CdnError::NotConfigured { .. }
        | CdnError::NotSent(_)
        | CdnError::Refused(_) => {
            if unresolved.in_doubt {
                retry(unresolved, error, now, pause_until)
            } else {
                NextStep::Requeue
            }
        }
        CdnError::TooLarge(_) | CdnError::Invalid(_) if unresolved.batch.items.len() > 1 => {
            let parts = unresolved.batch.parts(taken);
            NextStep::Bisect(Box::new(parts.map(|part| Unresolved {
                is_part: true,
                ..Unresolved::new(part, now)
            })))
        }
        // What it replaces may still be sent.
        CdnError::Invalid(_) if unresolved.batch.is_made() => NextStep::Requeue,
        CdnError::TooLarge(_) | CdnError::Invalid(_) => NextStep::DeadLetter,
        CdnError::ReferenceConflict(_) if unresolved.has_new_reference => {
            retry(unresolved, error, now, pause_until)
        }
        CdnError::ReferenceConflict(_) => {
            let mut again = unresolved.clone();
            again.batch.caller_reference = Uuid::new_v4().to_string();
            again.has_new_reference = true;
            again.due_at = now;
            NextStep::NewReference(Box::new(again))
        }
        CdnError::NoSuchDistribution(_) if distribution_is_gone => NextStep::DeadLetter,
        CdnError::Unknown(_)
        | CdnError::ConflictUnexplained(_)
        | CdnError::NoSuchDistribution(_) => retry(unresolved, error, now, pause_until),
    }
}

fn retry(
    unresolved: &Unresolved,
    error: &CdnError,
    now: Timestamp,
    pause_until: Timestamp,
) -> NextStep {
    let missing_since = match error {
        CdnError::NoSuchDistribution(_) => unresolved.missing_since.or(Some(now)),
        _ => None,
    };
    NextStep::Retry(Box::new(Unresolved {
        failures: unresolved.failures + 1,
        in_doubt: unresolved.in_doubt || matches!(error, CdnError::Unknown(_)),
        missing_since,
        due_at: pause_until,
        ..unresolved.clone()
    }))
}

#[cfg(test)]
mod tests;
