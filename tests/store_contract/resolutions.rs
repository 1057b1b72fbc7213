//! The contract of the verb `record_resolution`: what each outcome and next step leaves behind.

use std::{collections::HashSet, time::Duration};

use purgefront::domain::{
    batch::{BatchStatus, Usage},
    cdn::CdnError,
    operations::Backoff,
    resolution::{NextStep, Unresolved},
};

use super::{
    Store,
    fixtures::{because_of, no_answer, parts},
};

stories!(
    a_created_invalidation_is_in_progress,
    an_invalidation_may_be_completed_at_once,
    success_ends_the_backoff,
    a_retried_batch_keeps_its_reference_and_its_items,
    a_retried_batch_is_in_doubt_only_if_an_outcome_is_unknown,
    a_doubt_outlasts_later_definite_answers,
    a_batch_may_get_a_new_reference,
    a_requeued_batch_dissolves,
    a_bisected_batch_is_replaced_by_its_halves,
    parts_keep_the_reasons_of_their_items,
    halves_are_split_again,
    a_rejected_batch_becomes_dead_letters,
    a_failure_backs_off_its_distribution_only,
    each_error_is_kept_with_a_part_of_its_text,
    an_operator_ends_backoffs,
);

fn throttled() -> CdnError {
    CdnError::Throttled("slow down \0".to_owned())
}

fn missing() -> CdnError {
    CdnError::NoSuchDistribution("gone".to_owned())
}

/// What the failed attempts of the fixtures leave behind.
fn backoff(store: &Store, distribution_id: &str) -> Backoff {
    Backoff {
        distribution_id: distribution_id.to_owned(),
        failures: 3,
        not_before: store.now() + Duration::from_mins(1),
        error: Some(throttled()),
        ended: false,
    }
}

/// The same for this error.
fn backoff_for(store: &Store, distribution_id: &str, error: CdnError) -> Backoff {
    Backoff {
        error: Some(error),
        ..backoff(store, distribution_id)
    }
}

async fn backoffs(store: &Store) -> Vec<Backoff> {
    let mut backoffs = store.leader.backoffs().await.unwrap();
    backoffs.sort_by(|one, other| one.distribution_id.cmp(&other.distribution_id));
    backoffs
}

/// The only unresolved batch, to be sent again a minute from now.
async fn again(store: &Store) -> Unresolved {
    let mut again = store.unresolved().await.remove(0);
    again.failures += 1;
    again.due_at = store.now() + Duration::from_mins(1);
    again
}

async fn is_free(store: &Store, distribution_id: &str) -> bool {
    let usages = store.usages().await;
    usages.get(distribution_id).copied().unwrap_or_default() == Usage::default()
}

async fn a_created_invalidation_is_in_progress(store: Store) {
    let batch = store.frozen("E1", &["a", "b"]).await;
    let frozen_at = store.now();
    store.pass(3);
    store.created(batch.id, "I1", false).await;
    let submitted_at = store.now();
    let store = store.reopened().await;
    assert!(store.unresolved().await.is_empty());
    let expected = Usage {
        paths: 2,
        wildcards: 0,
    };
    assert_eq!(store.usages().await["E1"], expected);
    let summary = store.invalidation(batch.id).await.summary;
    assert_eq!(summary.status, BatchStatus::InProgress);
    assert_eq!(summary.cloudfront_id.as_deref(), Some("I1"));
    assert_eq!(summary.created_at, frozen_at);
    assert_eq!(summary.submitted_at, Some(submitted_at));
    assert_eq!(summary.completed_at, None);
    let in_progress = store.in_progress().await;
    assert_eq!(in_progress.len(), 1);
    let first_poll = submitted_at + Duration::from_secs(10);
    assert_eq!(in_progress[0].due_at, first_poll);
}

async fn an_invalidation_may_be_completed_at_once(store: Store) {
    let batch = store.frozen("E1", &["a"]).await;
    store.created(batch.id, "I1", true).await;
    assert!(store.unresolved().await.is_empty());
    assert!(is_free(&store, "E1").await);
    let summary = store.invalidation(batch.id).await.summary;
    assert_eq!(summary.status, BatchStatus::Completed);
    assert_eq!(summary.cloudfront_id.as_deref(), Some("I1"));
    assert_eq!(summary.submitted_at, Some(store.now()));
    assert_eq!(summary.completed_at, Some(store.now()));
    assert!(store.in_progress().await.is_empty());
}

async fn success_ends_the_backoff(store: Store) {
    let one = store.frozen("E1", &["a"]).await;
    let other = store.frozen("E2", &["a"]).await;
    store.failed(one.id, throttled(), NextStep::Requeue).await;
    store.failed(other.id, throttled(), NextStep::Requeue).await;
    let one = store.freeze_all("E1").await;
    store.created(one.id, "I1", false).await;
    let store = store.reopened().await;
    assert_eq!(backoffs(&store).await, [backoff(&store, "E2")]);
}

async fn a_retried_batch_keeps_its_reference_and_its_items(store: Store) {
    let batch = store.frozen("E1", &["b", "a"]).await;
    let again = again(&store).await;
    let next = NextStep::Retry(Box::new(again.clone()));
    store.failed(batch.id, no_answer(), next).await;
    let store = store.reopened().await;
    let unresolved = store.unresolved().await;
    assert_eq!(unresolved, [again]);
    assert_eq!(unresolved[0].batch, batch);
    assert_eq!(store.usages().await["E1"], batch.usage());
    assert_eq!(
        backoffs(&store).await,
        [backoff_for(&store, "E1", no_answer())]
    );
    assert_eq!(store.status(batch.id).await, BatchStatus::Pending);
    assert!(store.waiting("E1").await.is_empty());
}

async fn a_retried_batch_is_in_doubt_only_if_an_outcome_is_unknown(store: Store) {
    let batch = store.frozen("E1", &["a"]).await;
    let mut again = again(&store).await;
    again.in_doubt = false;
    let next = NextStep::Retry(Box::new(again.clone()));
    store.failed(batch.id, missing(), next).await;
    // Since when the distribution is missing is not kept.
    let store = store.reopened().await;
    assert_eq!(store.unresolved().await, [again]);
}

async fn a_doubt_outlasts_later_definite_answers(store: Store) {
    let batch = store.frozen("E1", &["a"]).await;
    for error in [no_answer(), throttled(), missing()] {
        let next = NextStep::Retry(Box::new(again(&store).await));
        store.failed(batch.id, error, next).await;
        store.pass(60);
        let attempt = store.leader.record_attempt(batch.id, store.now()).await;
        attempt.unwrap();
    }
    let next = NextStep::Retry(Box::new(again(&store).await));
    store.failed(batch.id, throttled(), next).await;
    let store = store.reopened().await;
    let unresolved = store.unresolved().await;
    assert!(unresolved[0].in_doubt);
    assert_eq!(unresolved[0].failures, 4);
}

async fn a_batch_may_get_a_new_reference(store: Store) {
    let batch = store.frozen("E1", &["b", "a"]).await;
    let mut again = again(&store).await;
    assert!(!again.has_new_reference);
    "another".clone_into(&mut again.batch.caller_reference);
    again.has_new_reference = true;
    again.in_doubt = false;
    let next = NextStep::NewReference(Box::new(again.clone()));
    let conflict = CdnError::ReferenceConflict("used before".to_owned());
    store.failed(batch.id, conflict, next).await;
    let store = store.reopened().await;
    let unresolved = store.unresolved().await;
    assert_eq!(unresolved, [again]);
    assert_eq!(unresolved[0].batch.items, batch.items);
    assert_eq!(store.usages().await["E1"], batch.usage());
}

async fn a_requeued_batch_dissolves(store: Store) {
    store.wait_at("E1", &["a", "b*"]).await;
    store.manual("E1", &["/m"]).await;
    store.map_all(&[]).await;
    let before = store.waiting("E1").await;
    let batch = store.freeze_all("E1").await;
    store.failed(batch.id, throttled(), NextStep::Requeue).await;
    let store = store.reopened().await;
    assert_eq!(store.waiting("E1").await, before);
    assert!(store.unresolved().await.is_empty());
    assert!(is_free(&store, "E1").await);
    assert_eq!(backoffs(&store).await, [backoff(&store, "E1")]);
    let detail = store.invalidation(batch.id).await;
    assert_eq!(detail.summary.status, BatchStatus::Replaced);
    assert!(detail.summary.replaced_by.is_empty());
    assert!(detail.items.iter().all(|one| one.why_total == 0));
    // They can be frozen again, under another reference.
    let next = store.freeze_all("E1").await;
    assert_ne!(next.caller_reference, batch.caller_reference);
    assert_eq!(store.unresolved().await.len(), 1);
}

async fn a_bisected_batch_is_replaced_by_its_halves(store: Store) {
    let batch = store.frozen("E1", &["a", "b*", "c", "a", "d", "e"]).await;
    store.pass(5);
    let now = store.now();
    let halves = parts(&batch, now);
    let [first, second] = halves.clone();
    assert_eq!((first.batch.items.len(), second.batch.items.len()), (2, 3));
    let next = NextStep::Bisect(Box::new(halves.clone()));
    let too_large = CdnError::TooLarge("split it".to_owned());
    store.failed(batch.id, too_large, next).await;
    let store = store.reopened().await;
    // No attempt with a half has been made.
    assert_eq!(store.unresolved().await, halves);
    assert_eq!(store.usages().await["E1"], batch.usage());
    assert!(store.waiting("E1").await.is_empty());
    let parent = store.invalidation(batch.id).await;
    assert_eq!(parent.summary.status, BatchStatus::Replaced);
    let parts = [first.batch.id, second.batch.id];
    assert_eq!(parent.summary.replaced_by, parts);
    let replaced = store.invalidations(Some(BatchStatus::Replaced)).await;
    assert_eq!(replaced.first(), Some(&parent.summary));
    assert!(parent.items.is_empty(), "the parts have them");
    for (half, keys, changes) in [
        (&first, &[&["a", "a"][..], &["b*"]][..], 3),
        (&second, &[&["c"], &["d"], &["e"]], 3),
    ] {
        let detail = store.invalidation(half.batch.id).await;
        assert_eq!(detail.summary.status, BatchStatus::Pending);
        assert_eq!(detail.summary.change_count, changes);
        let whys = detail.items.iter().map(|one| because_of(&one.why));
        assert_eq!(whys.collect::<Vec<_>>(), keys);
    }
    // Nothing was created from the whole, and no half has been sent.
    assert_eq!(store.spent(now).await, 0);
}

async fn parts_keep_the_reasons_of_their_items(store: Store) {
    let batch = store.frozen("E1", &["a", "b", "a", "c", "d"]).await;
    let taken = HashSet::from([batch.items[0].clone(), batch.items[2].clone()]);
    let parts = batch.parts(&taken).map(|part| Unresolved {
        is_part: true,
        ..Unresolved::new(part, store.now())
    });
    let next = NextStep::Bisect(Box::new(parts.clone()));
    let invalid = CdnError::Invalid("a bad path".to_owned());
    store.failed(batch.id, invalid, next).await;
    let store = store.reopened().await;
    assert_eq!(store.unresolved().await, parts);
    let keys = [&[&["a", "a"][..], &["c"]][..], &[&["b"], &["d"]]];
    for (part, keys) in parts.iter().zip(keys) {
        let detail = store.invalidation(part.batch.id).await;
        let whys = detail.items.iter().map(|one| because_of(&one.why));
        assert_eq!(whys.collect::<Vec<_>>(), keys);
    }
}

async fn halves_are_split_again(store: Store) {
    let mut open = vec![store.frozen("E1", &["a", "b", "c", "d", "e"]).await];
    let invalid = CdnError::Invalid("a bad path".to_owned());
    while let Some(batch) = open.pop() {
        let now = store.now();
        let attempt = store.leader.record_attempt(batch.id, now).await;
        attempt.unwrap();
        if batch.items.len() == 1 {
            if batch.items[0].as_str() == "/c" {
                store.rejected(batch.id).await;
            } else {
                let id = format!("I{}", batch.items[0]);
                store.created(batch.id, &id, true).await;
            }
            continue;
        }
        let halves = parts(&batch, now);
        open.extend(halves.clone().map(|half| half.batch));
        let next = NextStep::Bisect(Box::new(halves));
        store.failed(batch.id, invalid.clone(), next).await;
        let unresolved = store.unresolved().await;
        let mut left: Vec<_> = unresolved.into_iter().map(|one| one.batch.id).collect();
        left.sort_unstable();
        let mut expected: Vec<_> = open.iter().map(|batch| batch.id).collect();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }
    for key in ["a", "b", "d", "e"] {
        let detail = store.invalidation(format!("I/{key}")).await;
        assert_eq!(detail.items.len(), 1);
        assert_eq!(because_of(&detail.items[0].why), [key]);
    }
    let letters = store.ports.dead_letters(None, 10).await.unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].content.as_deref(), Some("/c"));
    assert!(is_free(&store, "E1").await);
}

async fn a_rejected_batch_becomes_dead_letters(store: Store) {
    let batch = store.frozen("E1", &["a", "b"]).await;
    store.pass(7);
    let error = CdnError::Invalid("a bad path: \0".to_owned());
    store.failed(batch.id, error, NextStep::DeadLetter).await;
    let store = store.reopened().await;
    assert!(store.unresolved().await.is_empty());
    assert!(is_free(&store, "E1").await);
    assert!(backoffs(&store).await.is_empty());
    assert!(store.waiting("E1").await.is_empty());
    let detail = store.invalidation(batch.id).await;
    assert_eq!(detail.summary.status, BatchStatus::Failed);
    assert_eq!(because_of(&detail.items[0].why), ["a"]);
    let letters = store.ports.dead_letters(None, 10).await.unwrap();
    let contents = letters.iter().rev().map(|one| one.content.as_deref());
    assert_eq!(contents.collect::<Vec<_>>(), [Some("/a"), Some("/b")]);
    for letter in letters {
        assert_eq!(letter.kind, "item");
        assert!(letter.why.contains("a bad path: \0"));
        assert_eq!(letter.distribution_id.as_deref(), Some("E1"));
        assert_eq!(letter.created_at, store.now());
    }
}

async fn a_failure_backs_off_its_distribution_only(store: Store) {
    let one = store.frozen("E1", &["a"]).await;
    store.frozen("E2", &["a"]).await;
    store.failed(one.id, throttled(), NextStep::Requeue).await;
    assert_eq!(backoffs(&store).await, [backoff(&store, "E1")]);
    // A later failure replaces it.
    store.pass(600);
    let one = store.freeze_all("E1").await;
    let denied = || CdnError::Denied("AccessDenied: no".to_owned());
    store.failed(one.id, denied(), NextStep::Requeue).await;
    let expected = backoff_for(&store, "E1", denied());
    assert_eq!(backoffs(&store).await, [expected]);
}

async fn each_error_is_kept_with_a_part_of_its_text(store: Store) {
    store.wait_at("E1", &["a"]).await;
    for label in CdnError::LABELS {
        let batch = store.freeze_all("E1").await.id;
        let error = CdnError::labelled(label, "wildcard \u{1f4be}".repeat(200)).unwrap();
        store.failed(batch, error.clone(), NextStep::Requeue).await;
        let reopened = backoffs(&store).await.remove(0).error.unwrap();
        assert_eq!(reopened.label(), label);
        assert!(error.text().starts_with(reopened.text()));
        assert!((900..=1_000).contains(&reopened.text().len()));
    }
}

async fn an_operator_ends_backoffs(store: Store) {
    for id in ["E1", "E2"] {
        store.frozen(id, &["a"]).await;
    }
    for mut again in store.unresolved().await {
        let batch = again.batch.id;
        again.due_at = store.now() + Duration::from_mins(1);
        let next = NextStep::Retry(Box::new(again));
        store.failed(batch, throttled(), next).await;
    }
    let (kept, later) = (backoff(&store, "E2"), backoff(&store, "E2").not_before);
    let ended = |id| Backoff {
        ended: true,
        ..backoff(&store, id)
    };
    let end = |id| store.ports.end_backoffs(id, store.now());
    end(Some("E1")).await.unwrap();
    assert_eq!(backoffs(&store).await, [ended("E1"), kept]);
    let due = |all: Vec<Unresolved>| all.into_iter().map(|one| one.due_at).collect::<Vec<_>>();
    assert_eq!(due(store.unresolved().await), [store.now(), later]);
    end(None).await.unwrap();
    assert_eq!(backoffs(&store).await, [ended("E1"), ended("E2")]);
    assert_eq!(due(store.unresolved().await), [store.now(); 2]);
    // The next failure begins another one.
    let batch = store.unresolved().await.remove(0);
    let next = NextStep::Retry(Box::new(batch.clone()));
    store.failed(batch.batch.id, throttled(), next).await;
    let expected = [backoff(&store, "E1"), ended("E2")];
    assert_eq!(backoffs(&store).await, expected);
    assert_eq!(due(store.reopened().await.unresolved().await).len(), 2);
}
