//! What follows from each answer.

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
