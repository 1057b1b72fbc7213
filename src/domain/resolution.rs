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
mod tests {
    use super::*;
    use crate::domain::{batch::MadeWildcard, cdn::Pool, path::Item};

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn unresolved(items: usize) -> Unresolved {
        let items = (0..items).map(|at| Item::parse(&format!("/{at}")).unwrap());
        Unresolved::new(Batch::new("E1", items.collect()), now())
    }

    fn failure(unresolved: &Unresolved, error: CdnError, gone: bool) -> Failure {
        let circumstances = Circumstances {
            now: now(),
            distribution_is_gone: gone,
            jitter: 1.0,
            taken: &HashSet::new(),
        };
        match resolve(unresolved, Err(error), circumstances) {
            Resolution::Failed(failure) => failure,
            Resolution::Created { .. } => panic!("created"),
        }
    }

    #[test]
    fn a_wildcard_that_nobody_asked_for_takes_nothing_with_it() {
        let item = Item::parse("/a*").unwrap();
        let mut alone = Unresolved::new(Batch::new("E1", vec![item.clone()]), now());
        let invalid =
            |unresolved: &Unresolved| failure(unresolved, CdnError::Invalid(text()), false).next;
        assert_eq!(invalid(&alone), NextStep::DeadLetter);
        alone.batch.merges.made = vec![MadeWildcard {
            item,
            replaces: 2,
            evictions: Some(0),
        }];
        // The answer would have been the same to an attempt before.
        alone.in_doubt = true;
        assert_eq!(invalid(&alone), NextStep::Requeue);
    }

    fn text() -> String {
        "text".to_owned()
    }

    /// For each error: the next step if all earlier attempts were definitely refused, and the next step
    /// if the outcome of one is unknown.
    #[test]
    fn each_error_has_its_next_step() {
        let pool_full = CdnError::TooManyInProgress {
            pool: Pool::Wildcards,
            text: text(),
        };
        for (error, refused, in_doubt) in [
            (CdnError::Throttled(text()), "requeue", "retry"),
            (pool_full, "requeue", "retry"),
            (CdnError::Unknown(text()), "retry", "retry"),
            (CdnError::TooLarge(text()), "bisect", "bisect"),
            (CdnError::Invalid(text()), "bisect", "bisect"),
            (
                CdnError::ReferenceConflict(text()),
                "new reference",
                "new reference",
            ),
            (CdnError::ConflictUnexplained(text()), "retry", "retry"),
            (CdnError::Denied(text()), "requeue", "retry"),
            (CdnError::NoSuchDistribution(text()), "retry", "retry"),
            (CdnError::Refused(text()), "requeue", "retry"),
            (CdnError::NotSent(text()), "requeue", "retry"),
        ] {
            let mut batch = unresolved(9);
            let next = failure(&batch, error.clone(), false).next;
            assert_eq!(next.name(), refused, "{error}");
            batch.in_doubt = true;
            let next = failure(&batch, error.clone(), false).next;
            assert_eq!(next.name(), in_doubt, "{error}, in doubt");
            if let NextStep::Retry(again) = next {
                assert_eq!(again.batch, batch.batch, "{error}: unchanged");
                assert!(again.in_doubt, "{error}: the doubt stays");
            }
        }
    }

    #[test]
    fn only_an_unknown_outcome_puts_a_batch_in_doubt() {
        let NextStep::Retry(again) = failure(&unresolved(1), CdnError::Unknown(text()), false).next
        else {
            panic!("a retry");
        };
        assert!(again.in_doubt);
        let missing = CdnError::NoSuchDistribution(text());
        let NextStep::Retry(again) = failure(&unresolved(1), missing, false).next else {
            panic!("a retry");
        };
        assert!(!again.in_doubt);
    }

    #[test]
    fn a_single_rejected_item_is_a_dead_letter_and_delays_nothing() {
        for error in [CdnError::Invalid(text()), CdnError::TooLarge(text())] {
            let failure = failure(&unresolved(1), error, false);
            assert_eq!(failure.next, NextStep::DeadLetter);
            assert_eq!((failure.failures, failure.not_before), (0, now()));
        }
    }

    #[test]
    fn halves_have_all_items_in_order_and_their_own_references() {
        let whole = unresolved(5);
        let failure = failure(&whole, CdnError::Invalid(text()), false);
        assert_eq!(failure.not_before, now(), "they are sent immediately");
        let NextStep::Bisect(halves) = failure.next else {
            panic!("two halves");
        };
        let [first, second] = *halves;
        assert!(first.is_part && second.is_part);
        let items = [first.batch.items.clone(), second.batch.items.clone()].concat();
        assert_eq!(items, whole.batch.items);
        assert_ne!(first.batch.caller_reference, second.batch.caller_reference);
        assert_ne!(first.batch.caller_reference, whole.batch.caller_reference);
    }

    #[test]
    fn a_batch_gets_one_new_reference_and_keeps_its_items() {
        let conflict = CdnError::ReferenceConflict(text());
        let old = unresolved(2);
        let NextStep::NewReference(new) = failure(&old, conflict.clone(), false).next else {
            panic!("a new reference");
        };
        assert_eq!(
            (new.batch.id, &new.batch.items),
            (old.batch.id, &old.batch.items)
        );
        assert_ne!(new.batch.caller_reference, old.batch.caller_reference);
        assert_eq!(failure(&new, conflict, false).next.name(), "retry");
    }

    /// Whatever has the reference may be an invalidation of this batch, so its pair is kept, and the
    /// next answer may explain it.
    #[test]
    fn a_conflict_that_is_not_explained_costs_no_reference() {
        let old = unresolved(2);
        let error = CdnError::ConflictUnexplained(text());
        let failure = failure(&old, error, true);
        assert!(failure.not_before > now(), "it waits");
        let NextStep::Retry(again) = failure.next else {
            panic!("a retry");
        };
        assert_eq!(again.batch, old.batch);
        assert!(!again.has_new_reference);
        let explained = CdnError::ReferenceConflict(text());
        let next = self::failure(&again, explained, false).next;
        assert_eq!(next.name(), "new reference");
    }

    #[test]
    fn a_search_goes_back_to_before_the_batch_was_frozen_by_any_clock() {
        let batch = unresolved(1);
        let margin = SignedDuration::from_mins(15);
        let later = now() + SignedDuration::from_hours(5);
        assert_eq!(batch.search_since(later), now() - margin);
        let set_back = now() - SignedDuration::from_hours(1);
        assert_eq!(batch.search_since(set_back), set_back - margin);
    }

    #[test]
    fn an_invalidation_is_recognized_by_its_reference_and_its_items_in_any_order() {
        let batch = unresolved(3);
        let mut seen = SeenInvalidation {
            completed: true,
            caller_reference: batch.batch.caller_reference.clone(),
            items: ["/2", "/0", "/1"].map(str::to_owned).to_vec(),
        };
        let ours = CreatedInvalidation {
            cloudfront_id: "I1".to_owned(),
            completed: true,
        };
        assert_eq!(batch.compare("I1", &seen), Candidate::Ours(ours));
        seen.items.pop();
        assert_eq!(batch.compare("I1", &seen), Candidate::OtherItems);
        seen.caller_reference = "another".to_owned();
        assert_eq!(batch.compare("I1", &seen), Candidate::Unrelated);
    }

    #[test]
    fn a_distribution_is_given_up_only_if_a_later_catalogue_lacks_it_as_well() {
        let missing = CdnError::NoSuchDistribution(text());
        let first = failure(&unresolved(3), missing.clone(), false).next;
        let NextStep::Retry(waiting) = first else {
            panic!("a retry");
        };
        assert_eq!(waiting.missing_since, Some(now()));
        let gone = failure(&waiting, missing, true).next;
        assert_eq!(gone, NextStep::DeadLetter);
        // Any other answer in between resets the time.
        let NextStep::Retry(back) = failure(&waiting, CdnError::Unknown(text()), false).next else {
            panic!("a retry");
        };
        assert_eq!(back.missing_since, None);
    }

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour() {
        let mut batch = unresolved(1);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let failure = failure(&batch, CdnError::Unknown(text()), false);
            pauses.push(failure.not_before.duration_since(now()).as_secs());
            let NextStep::Retry(again) = failure.next else {
                panic!("a retry");
            };
            batch = *again;
        }
        assert_eq!(pauses[..4], [2, 4, 8, 16]);
        assert_eq!(pauses[11], 900);
    }
}
