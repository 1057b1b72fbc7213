//! The contract of the verb `prune`: it never takes unfinished work, and takes the rest.

use purgefront::{
    domain::{
        batch::BatchStatus,
        cdn::CdnError,
        change::{Acceptance, NewMessage},
        mapping::Mapping,
        resolution::NextStep,
        wait::Wait,
    },
    ports::dispatch::Sweep,
};

use super::{
    Store,
    fixtures::{
        ALL, FIRST, because_of, keys, no_answer, notification, parts, skip, to_items, whole,
    },
};

stories!(
    nothing_newer_than_the_cutoff_is_taken,
    finished_batches_and_requests_are_taken,
    a_message_is_taken_with_its_last_change,
    changes_that_are_not_mapped_stay,
    waiting_items_stay,
    open_batches_stay,
    dead_letters_stay_as_long_as_other_history,
    what_dead_letters_are_about_stays_with_them,
    the_halves_of_a_taken_batch_stay,
    much_history_is_taken_in_steps,
    a_batch_with_more_than_a_step_is_taken_in_several,
    what_stays_does_not_keep_what_came_after_it,
    what_is_to_be_mapped_again_stays_until_then,
    a_number_of_a_change_is_never_given_again,
    silence_counts_from_the_newest_message,
);

/// Prunes everything from before now, in one sweep. The newest message, which always stays, is none of
/// the test's.
async fn prune(store: &Store) {
    accepted(store, &[]).await;
    store.pass(1);
    store.sweep(store.now(), Sweep::default()).await;
}

/// Accepts these keys, and returns the message.
async fn accepted(store: &Store, keys: &[&str]) -> NewMessage {
    store.pass(1);
    let message = store.message(notification(keys));
    let accepted = store.ports.accept_message(message.clone()).await;
    assert_eq!(accepted.unwrap(), Acceptance::New);
    message
}

/// Whether a message is still known.
async fn is_kept(store: &Store, message: &NewMessage) -> bool {
    let accepted = store.ports.accept_message(message.clone()).await;
    accepted.unwrap() == Acceptance::Duplicate
}

/// Records every unseen change as skipped.
async fn skip_all(store: &Store) {
    let skipped = |change| {
        let mapping = Mapping {
            skipped: vec![skip(Some("E1"), "disabled"), skip(None, "ignored")],
            ..Mapping::default()
        };
        whole(change, mapping)
    };
    let mapped = store.unseen().await.into_iter().map(skipped);
    store.record_all(mapped.collect()).await;
}

async fn nothing_newer_than_the_cutoff_is_taken(store: Store) {
    let message = accepted(&store, &["a"]).await;
    let request = store.manual("E1", &["/m"]).await;
    store.map_all(&["E1"]).await;
    let batch = store.freeze_all("E1").await;
    store.created(batch.id, "I1", true).await;
    let before = store.invalidation(batch.id).await;
    let cutoff = message.accepted_at;
    store.sweep(cutoff, Sweep::default()).await;
    let store = store.reopened().await;
    assert_eq!(store.invalidation(batch.id).await, before);
    assert!(store.ports.request(request).await.unwrap().is_some());
    assert!(is_kept(&store, &message).await);
}

async fn finished_batches_and_requests_are_taken(store: Store) {
    let first = store.manual("E1", &["/a", "/b"]).await;
    store.map_all(&[]).await;
    let completed = store.freeze_all("E1").await;
    store.created(completed.id, "I1", true).await;
    store.wait_at("E1", &["c"]).await;
    let waiting = store.waiting("E1").await;
    let shadowed = store.freeze("E1", &waiting, true).await;
    let second = store.manual("E1", &["/d"]).await;
    skip_all(&store).await;
    prune(&store).await;
    for batch in [completed, shadowed] {
        let id = batch.id.to_string();
        assert_eq!(store.ports.invalidation(&id).await.unwrap(), None);
    }
    assert_eq!(store.ports.invalidation("I1").await.unwrap(), None);
    assert!(store.invalidations(None).await.is_empty());
    for request in [first, second] {
        assert_eq!(store.ports.request(request).await.unwrap(), None);
    }
    // What comes next is as usual.
    let next = store.frozen("E1", &["e"]).await;
    let store = store.reopened().await;
    assert_eq!(store.unresolved().await[0].batch, next);
    store.assert_backlogs(&["E1"]).await;
}

async fn a_message_is_taken_with_its_last_change(store: Store) {
    let empty = accepted(&store, &[]).await;
    let message = accepted(&store, &["a", "b", "c"]).await;
    let mut changes = store.unseen().await;
    let (a, b, c) = (changes.remove(0), changes.remove(0), changes.remove(0));
    store.record(a, to_items(&[("E1", "/a")])).await;
    store.record(b, Mapping::default()).await;
    let batch = store.freeze_all("E1").await;
    store.created(batch.id, "I1", true).await;
    prune(&store).await;
    assert!(!is_kept(&store, &empty).await);
    assert!(is_kept(&store, &message).await);
    assert_eq!(store.unseen().await, [c]);
    skip_all(&store).await;
    prune(&store).await;
    assert!(!is_kept(&store, &message).await);
}

async fn changes_that_are_not_mapped_stay(store: Store) {
    let message = accepted(&store, &["waits", "unseen"]).await;
    let request = store.manual("E1", &["/m"]).await;
    let waits = store.unseen().await.remove(1);
    let wait = Wait::Details("E1".to_owned());
    let mapping = Mapping {
        skipped: vec![skip(Some("E2"), "disabled")],
        waits: vec![wait.clone()],
        ..Mapping::default()
    };
    store.record(waits, mapping).await;
    prune(&store).await;
    let store = store.reopened().await;
    assert_eq!(keys(&store.unseen().await), ["/m", "unseen"]);
    let waiting = store.leader.waiting_changes(&wait, i64::MAX, ALL).await;
    assert_eq!(keys(&waiting.unwrap()), ["waits"]);
    assert!(store.ports.request(request).await.unwrap().is_some());
    assert!(is_kept(&store, &message).await);
}

async fn waiting_items_stay(store: Store) {
    let message = accepted(&store, &["a", "b*"]).await;
    let request = store.manual("E2", &["/m"]).await;
    store.map_all(&["E1"]).await;
    let before = (store.waiting("E1").await, store.waiting("E2").await);
    prune(&store).await;
    let after = (store.waiting("E1").await, store.waiting("E2").await);
    assert_eq!(after, before);
    store.assert_backlogs(&["E1", "E2"]).await;
    assert!(store.ports.request(request).await.unwrap().is_some());
    assert!(is_kept(&store, &message).await);
    // They are also there after a requeue of an old batch.
    let batch = store.freeze_all("E1").await;
    let throttled = CdnError::Throttled("slow down".to_owned());
    store.failed(batch.id, throttled, NextStep::Requeue).await;
    prune(&store).await;
    assert_eq!(store.waiting("E1").await, before.0);
    let id = batch.id.to_string();
    assert_eq!(store.ports.invalidation(&id).await.unwrap(), None);
}

async fn open_batches_stay(store: Store) {
    let pending = store.frozen("E1", &["a", "b*"]).await;
    let in_progress = store.frozen("E1", &["c"]).await;
    store.created(in_progress.id, "I1", false).await;
    let retried = store.frozen("E2", &["d"]).await;
    let again = store.unresolved().await.remove(1);
    assert_eq!(again.batch, retried);
    let next = NextStep::Retry(Box::new(again));
    store.failed(retried.id, no_answer(), next).await;
    let before = (store.unresolved().await, store.usages().await);
    let all = store.invalidations(None).await;
    prune(&store).await;
    let store = store.reopened().await;
    assert_eq!((store.unresolved().await, store.usages().await), before);
    assert_eq!(store.invalidations(None).await, all);
    let detail = store.invalidation(pending.id).await;
    assert_eq!(because_of(&detail.items[1].why), ["b*"]);
    assert_eq!(store.in_progress().await.len(), 1);
    assert!(store.leader.is_ours("I1").await.unwrap());
}

async fn dead_letters_stay_as_long_as_other_history(store: Store) {
    let message = accepted(&store, &["a"]).await;
    let change = store.unseen().await.remove(0);
    store.pass(10);
    let mapping = Mapping {
        dead: vec![skip(Some("E1"), "no wildcard allowed")],
        ..Mapping::default()
    };
    store.record(change, mapping).await;
    let letters = store.ports.dead_letters(None, 10).await.unwrap();
    store.pass(1);
    store.sweep(letters[0].created_at, Sweep::default()).await;
    assert_eq!(store.ports.dead_letters(None, 10).await.unwrap(), letters);
    assert!(is_kept(&store, &message).await);
    prune(&store).await;
    assert!(store.ports.dead_letters(None, 10).await.unwrap().is_empty());
    assert!(!is_kept(&store, &message).await);
}

async fn what_dead_letters_are_about_stays_with_them(store: Store) {
    let message = accepted(&store, &["a", "b"]).await;
    store.map_all(&["E1"]).await;
    let batch = store.freeze_all("E1").await;
    store.rejected(batch.id).await;
    let unmappable = accepted(&store, &["c"]).await;
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![skip(Some("E1"), "no wildcard allowed")],
        ..Mapping::default()
    };
    store.record(change, mapping).await;
    let letters = store.ports.dead_letters(None, 10).await.unwrap();
    // They are younger than what they are about.
    let oldest = letters
        .iter()
        .map(|letter| letter.created_at)
        .min()
        .unwrap();
    store.sweep(oldest, Sweep::default()).await;
    let kept = store.ports.dead_letters(None, 10).await.unwrap();
    assert_eq!(kept, letters);
    assert_eq!(store.status(batch.id).await, BatchStatus::Failed);
    assert!(is_kept(&store, &message).await && is_kept(&store, &unmappable).await);
    // A replay still finds its changes.
    let (mapping, second, first) = (letters[0].id, letters[1].id, letters[2].id);
    assert!(store.ports.replay_item(first).await.unwrap());
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
    assert!(store.ports.drop_dead_letter(second).await.unwrap());
    assert!(store.ports.drop_dead_letter(mapping).await.unwrap());
    prune(&store).await;
    let id = batch.id.to_string();
    assert_eq!(store.ports.invalidation(&id).await.unwrap(), None);
    assert_eq!(store.waiting_items("E1").await, ["/a"]);
    assert!(is_kept(&store, &message).await);
    assert!(!is_kept(&store, &unmappable).await);
}

async fn the_halves_of_a_taken_batch_stay(store: Store) {
    let batch = store.frozen("E1", &["a", "b", "c"]).await;
    let now = store.now();
    let halves = parts(&batch, now);
    let [first, second] = halves.clone().map(|half| half.batch.id);
    let next = NextStep::Bisect(Box::new(halves));
    let too_large = CdnError::TooLarge("split it".to_owned());
    store.failed(batch.id, too_large, next).await;
    store.created(first, "I1", true).await;
    let before = store.invalidation(second).await;
    prune(&store).await;
    let id = batch.id.to_string();
    assert_eq!(store.ports.invalidation(&id).await.unwrap(), None);
    assert_eq!(store.ports.invalidation("I1").await.unwrap(), None);
    assert_eq!(store.invalidation(second).await, before);
    store.created(second, "I2", true).await;
    prune(&store).await;
    assert!(store.invalidations(None).await.is_empty());
}

async fn much_history_is_taken_in_steps(store: Store) {
    let names: Vec<_> = (0..1_200).map(|at| format!("k{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let sent = accepted(&store, &names).await;
    store.map_all(&["E1"]).await;
    for chunk in store.waiting("E1").await.chunks(10) {
        let batch = store.freeze("E1", chunk, false).await;
        store.created(batch.id, &batch.id.to_string(), true).await;
    }
    let skipped = accepted(&store, &names).await;
    skip_all(&store).await;
    accepted(&store, &[]).await;
    store.pass(1);
    let all = store.invalidations(None).await.len();
    // There are no dead letters, so the first step only looks for some.
    let letters = store.prune(store.now(), Sweep::default()).await;
    let next = store.prune(store.now(), letters.unwrap()).await;
    let left = store.invalidations(None).await.len();
    assert!(0 < left && left < all, "a small step: {left} of {all} left");
    store.sweep(store.now(), next.expect("there is more")).await;
    assert!(store.invalidations(None).await.is_empty());
    assert!(!is_kept(&store, &sent).await);
    assert!(!is_kept(&store, &skipped).await);
}

async fn a_batch_with_more_than_a_step_is_taken_in_several(store: Store) {
    let names: Vec<_> = (0..1_200).map(|at| format!("k{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let sent = accepted(&store, &names).await;
    store.map_all(&["E1"]).await;
    let large = store.freeze_all("E1").await;
    store.created(large.id, "I1", true).await;
    let small = store.frozen("E1", &["a"]).await;
    store.created(small.id, "I2", true).await;
    accepted(&store, &[]).await;
    store.pass(1);
    let letters = store.prune(store.now(), Sweep::default()).await;
    let next = store.prune(store.now(), letters.unwrap()).await;
    assert_eq!(store.status(large.id).await, BatchStatus::Completed);
    assert_eq!(store.status(small.id).await, BatchStatus::Completed);
    store.sweep(store.now(), next.expect("there is more")).await;
    assert!(store.invalidations(None).await.is_empty());
    assert!(!is_kept(&store, &sent).await);
}

async fn what_stays_does_not_keep_what_came_after_it(store: Store) {
    let names: Vec<_> = (0..700).map(|at| format!("k{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let waiting = accepted(&store, &names).await;
    store.map_all(&["E1"]).await;
    let mut open = Vec::new();
    for chunk in store.waiting("E1").await[..100].chunks(1) {
        open.push(store.freeze("E1", chunk, false).await.id);
    }
    let finished = store.frozen("E2", &["a"]).await;
    store.created(finished.id, "I1", true).await;
    let skipped = accepted(&store, &["b"]).await;
    skip_all(&store).await;
    prune(&store).await;
    assert_eq!(store.waiting("E1").await.len(), 600);
    assert_eq!(store.unresolved().await.len(), 100);
    assert_eq!(store.ports.invalidation("I1").await.unwrap(), None);
    assert!(is_kept(&store, &waiting).await);
    assert!(!is_kept(&store, &skipped).await, "it is finished");
}

async fn what_is_to_be_mapped_again_stays_until_then(store: Store) {
    let before = accepted(&store, &["before"]).await;
    skip_all(&store).await;
    assert_eq!(store.keep(&[]).await, FIRST);
    let message = accepted(&store, &["a"]).await;
    skip_all(&store).await;
    let second = store.keep(&["E2"]).await;
    let after = accepted(&store, &["after"]).await;
    let change = store.unseen().await.remove(0);
    let mapped = vec![whole(change, Mapping::default())];
    store.leader.record_mapping(second, mapped).await.unwrap();
    prune(&store).await;
    let remap = store.leader.next_remap().await.unwrap().unwrap();
    let changes = store.leader.changes_to_remap(&remap, ALL).await.unwrap();
    assert_eq!(keys(&changes), ["a"]);
    assert!(!is_kept(&store, &before).await && !is_kept(&store, &after).await);
    let recorded = store.leader.record_remap(&remap, None, Vec::new()).await;
    recorded.unwrap();
    prune(&store).await;
    assert!(!is_kept(&store, &message).await);
}

/// Otherwise, a new change would seem to be older than a reading that it is newer than.
async fn a_number_of_a_change_is_never_given_again(store: Store) {
    assert_eq!(store.leader.journal_end().await.unwrap(), 0);
    accepted(&store, &["a", "b"]).await;
    let last = store.unseen().await[1].seq;
    assert_eq!(store.leader.journal_end().await.unwrap(), last);
    skip_all(&store).await;
    prune(&store).await;
    let store = store.reopened().await;
    assert_eq!(store.leader.journal_end().await.unwrap(), last);
    accepted(&store, &["c"]).await;
    let seq = store.unseen().await[0].seq;
    assert!(seq > last, "{seq} after {last}");
    assert_eq!(store.leader.journal_end().await.unwrap(), seq);
}

async fn silence_counts_from_the_newest_message(store: Store) {
    // Nothing ever came: from when the store was made.
    let made = store.ports.silent_since().await.unwrap();
    let store = store.reopened().await;
    assert_eq!(store.ports.silent_since().await.unwrap(), made);
    let older = accepted(&store, &["a"]).await;
    let newest = accepted(&store, &["b"]).await;
    assert_eq!(
        store.ports.silent_since().await.unwrap(),
        newest.accepted_at
    );
    skip_all(&store).await;
    store.pass(1);
    store.sweep(store.now(), Sweep::default()).await;
    let store = store.reopened().await;
    assert_eq!(
        store.ports.silent_since().await.unwrap(),
        newest.accepted_at
    );
    assert!(is_kept(&store, &newest).await && !is_kept(&store, &older).await);
}
