//! The contract of [`BatchStore`](purgefront::ports::dispatch::BatchStore): waiting items, freezing,
//! and attempts.

use std::time::Duration;

use purgefront::{
    domain::{
        batch::{Batch, BatchStatus, Covered, Usage},
        cdn::CdnError,
        operations::DaySpending,
        resolution::{NextStep, Unresolved},
    },
    ports::dispatch::Window,
};

use super::{
    Store,
    fixtures::{because_of, items, no_answer, parts, to_items, window},
};

stories!(
    manual_items_wait_first_then_the_oldest,
    paths_and_wildcards_have_windows_of_their_own,
    a_window_has_at_least_one_item_of_each_kind,
    what_was_accepted_first_waits_first_however_late_it_was_mapped,
    freezing_covers_exactly_what_it_says,
    one_item_covers_several,
    a_batch_may_have_thousands_of_items,
    freezing_counts_toward_the_day,
    a_batch_counts_once_until_nothing_came_of_it,
    items_that_were_taken_before_are_known,
    a_day_ends_at_midnight_utc,
    shadow_mode_sends_nothing_and_counts_nothing,
    freezing_records_the_first_attempt,
    a_further_attempt_is_recorded_before_it_is_made,
    an_unresolved_batch_is_the_same_after_a_restart,
    usage_is_the_sum_of_the_open_batches,
);

async fn manual_items_wait_first_then_the_oldest(store: Store) {
    store.wait_at("E1", &["a", "b"]).await;
    store.manual("E1", &["/m"]).await;
    store.map_all(&[]).await;
    store.wait_at("E1", &["c"]).await;
    store.manual("E1", &["/n"]).await;
    store.map_all(&[]).await;
    store.wait_at("E2", &["d"]).await;
    let all = store.waiting("E1").await;
    assert_eq!(
        store.waiting_items("E1").await,
        ["/m", "/n", "/a", "/b", "/c"]
    );
    for limit in 0..=all.len() {
        let first = store.leader.waiting("E1", window(limit)).await.unwrap();
        assert_eq!(first, all[..limit]);
    }
}

async fn paths_and_wildcards_have_windows_of_their_own(store: Store) {
    store
        .wait_at("E1", &["a*", "b*", "c*", "d", "e", "f"])
        .await;
    let waiting = store.leader.waiting("E1", window(2)).await.unwrap();
    let waiting: Vec<_> = waiting.iter().map(|one| one.item.as_str()).collect();
    assert_eq!(waiting, ["/a*", "/b*", "/d", "/e"]);
}

async fn a_window_has_at_least_one_item_of_each_kind(store: Store) {
    let long = "x".repeat(500);
    let keys = [format!("a{long}"), format!("b{long}"), format!("c{long}*")];
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    store.wait_at("E1", &keys).await;
    for (bytes, items) in [(1, 2), (502, 2), (503, 3)] {
        let window = Window { items: 10, bytes };
        let waiting = store.leader.waiting("E1", window).await.unwrap();
        assert_eq!(waiting.len(), items, "{bytes} bytes");
    }
}

async fn a_batch_counts_once_until_nothing_came_of_it(store: Store) {
    let day = store.now();
    let batch = store.frozen("E1", &["a", "b", "c"]).await;
    assert_eq!(store.spent(day).await, 3);
    // It may have been taken: it counts, however often it is sent again, on the day of its first
    // attempt.
    store
        .failed(batch.id, no_answer(), retry(&batch, &store, true))
        .await;
    store.pass(24 * 60 * 60);
    let again = store.leader.record_attempt(batch.id, store.now());
    again.await.unwrap();
    assert_eq!(
        (store.spent(day).await, store.spent(store.now()).await),
        (3, 0)
    );
    // CloudFront rejects it, so the attempt before it came to nothing as well.
    let invalid = CdnError::Invalid("a bad path".to_owned());
    let parts = parts(&batch, store.now());
    let [first, second] = parts.clone().map(|part| part.batch);
    let next = NextStep::Bisect(Box::new(parts));
    store.failed(batch.id, invalid, next).await;
    assert_eq!(store.spent(day).await, 0);
    // What is sent later counts then.
    let sent = store.leader.record_attempt(first.id, store.now());
    sent.await.unwrap();
    assert_eq!(store.spent(store.now()).await, first.items.len() as u64);
    store.created(first.id, "I1", false).await;
    let sent = store.leader.record_attempt(second.id, store.now());
    sent.await.unwrap();
    let missing = CdnError::NoSuchDistribution("gone".to_owned());
    store
        .failed(second.id, missing, retry(&second, &store, false))
        .await;
    assert_eq!(store.spent(store.now()).await, first.items.len() as u64);
}

fn retry(batch: &Batch, store: &Store, in_doubt: bool) -> NextStep {
    NextStep::Retry(Box::new(Unresolved {
        in_doubt,
        ..Unresolved::new(batch.clone(), store.now())
    }))
}

async fn items_that_were_taken_before_are_known(store: Store) {
    let taken = store.frozen("E1", &["a", "b"]).await;
    store.created(taken.id, "I1", true).await;
    let refused = store.frozen("E1", &["c"]).await;
    store.rejected(refused.id).await;
    let other = store.frozen("E2", &["d"]).await;
    store.created(other.id, "I2", true).await;
    let batch = store.frozen("E1", &["a", "c", "d", "e"]).await;
    let before = store.leader.taken_before(batch.id).await.unwrap();
    assert_eq!(before.into_iter().collect::<Vec<_>>(), items(&["/a"]));
}

async fn what_was_accepted_first_waits_first_however_late_it_was_mapped(store: Store) {
    store.events(&["a"]).await;
    store.events(&["b"]).await;
    let mut changes = store.unseen().await;
    let (a, b) = (changes.remove(0), changes.remove(0));
    store.record(b, to_items(&[("E1", "/b")])).await;
    assert_eq!(store.waiting_items("E1").await, ["/b"]);
    store
        .record(a, to_items(&[("E1", "/a"), ("E1", "/A")]))
        .await;
    assert_eq!(store.waiting_items("E1").await, ["/a", "/A", "/b"]);
}

async fn freezing_covers_exactly_what_it_says(store: Store) {
    store.wait_at("E1", &["a", "b", "c", "d"]).await;
    store.wait_at("E2", &["a"]).await;
    let waiting = store.waiting("E1").await;
    let covered = [(3, 0), (1, 1)].map(|(index, position): (usize, _)| Covered {
        target: waiting[index].target,
        position,
    });
    let batch = Batch::new("E1", items(&["/d", "/b"]));
    store
        .leader
        .freeze(&batch, covered.to_vec(), false, store.now())
        .await
        .unwrap();
    assert_eq!(store.waiting_items("E1").await, ["/a", "/c"]);
    assert_eq!(store.waiting_items("E2").await, ["/a"]);
    store.assert_backlogs(&["E1", "E2"]).await;
    let detail = store.invalidation(batch.id).await;
    assert_eq!(detail.summary.status, BatchStatus::Pending);
    assert_eq!(detail.summary.distribution_id, "E1");
    assert_eq!(
        (detail.summary.item_count, detail.summary.change_count),
        (2, 2)
    );
    assert_eq!(detail.summary.created_at, store.now());
    for (one, key) in detail.items.iter().zip(["d", "b"]) {
        assert_eq!(one.item, format!("/{key}"));
        assert_eq!(because_of(&one.why), [key]);
    }
}

async fn one_item_covers_several(store: Store) {
    store.wait_at("E1", &["a/1", "a/*", "b", "a/1"]).await;
    let waiting = store.waiting("E1").await;
    let positions = [0, 0, 1, 0];
    let covered = waiting.iter().zip(positions);
    let covered = covered.map(|(one, position)| Covered {
        target: one.target,
        position,
    });
    let batch = Batch::new("E1", items(&["/a/*", "/b"]));
    let covered = covered.collect();
    store
        .leader
        .freeze(&batch, covered, false, store.now())
        .await
        .unwrap();
    assert!(store.waiting("E1").await.is_empty());
    let detail = store.invalidation(batch.id).await;
    assert_eq!(
        (detail.summary.item_count, detail.summary.change_count),
        (2, 4)
    );
    assert_eq!(because_of(&detail.items[0].why), ["a/1", "a/*", "a/1"]);
    assert_eq!(because_of(&detail.items[1].why), ["b"]);
}

async fn a_batch_may_have_thousands_of_items(store: Store) {
    let names: Vec<_> = (0..6_000).map(|at| format!("k{at}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let batch = store.frozen("E1", &names).await;
    assert!(store.waiting("E1").await.is_empty());
    assert_eq!(store.unresolved().await[0].batch, batch);
    assert_eq!(store.usages().await["E1"].paths, 6_000);
}

async fn freezing_counts_toward_the_day(store: Store) {
    assert_eq!(store.spent(store.now()).await, 0);
    // The items of the batch count, not the waiting ones that they cover.
    let batch = store.frozen("E1", &["a", "b", "a*", "a"]).await;
    assert_eq!(batch.items.len(), 3);
    assert_eq!(store.spent(store.now()).await, 3);
    store.frozen("E2", &["a"]).await;
    assert_eq!(store.spent(store.now()).await, 4);
    // Sending again counts nothing.
    store
        .leader
        .record_attempt(batch.id, store.now())
        .await
        .unwrap();
    store.created(batch.id, "I1", true).await;
    assert_eq!(store.spent(store.now()).await, 4);
    let store = store.reopened().await;
    assert_eq!(store.spent(store.now()).await, 4);
}

async fn a_day_ends_at_midnight_utc(store: Store) {
    let late = "2027-02-28T23:59:59.999999Z".parse().unwrap();
    let midnight = "2027-03-01T00:00:00Z".parse().unwrap();
    for (now, keys) in [(late, &["a", "b"][..]), (midnight, &["c"])] {
        store.wait_at("E1", keys).await;
        let waiting = store.waiting("E1").await;
        let covered = waiting.iter().enumerate();
        let covered = covered.map(|(position, one)| Covered {
            target: one.target,
            position,
        });
        let covered = covered.collect();
        let batch = Batch::new("E1", waiting.iter().map(|one| one.item.clone()).collect());
        store
            .leader
            .freeze(&batch, covered, false, now)
            .await
            .unwrap();
    }
    assert_eq!(store.spent(late).await, 2);
    assert_eq!(store.spent(midnight).await, 1);
}

async fn shadow_mode_sends_nothing_and_counts_nothing(store: Store) {
    store.wait_at("E1", &["a", "b"]).await;
    let waiting = store.waiting("E1").await;
    let batch = store.freeze("E1", &waiting, true).await;
    assert!(store.waiting("E1").await.is_empty());
    assert_eq!(store.status(batch.id).await, BatchStatus::Shadowed);
    let store = store.reopened().await;
    let controls = store.leader.controls(store.today()).await.unwrap();
    assert_eq!(controls.spending, DaySpending::default());
    assert!(store.unresolved().await.is_empty());
    assert!(store.usages().await.is_empty());
    assert!(store.in_progress().await.is_empty());
}

async fn freezing_records_the_first_attempt(store: Store) {
    let batch = store.frozen("E1", &["b", "a"]).await;
    let frozen_at = store.now();
    store.pass(100);
    let store = store.reopened().await;
    let expected = Unresolved {
        in_doubt: true,
        ..Unresolved::new(batch, frozen_at)
    };
    assert_eq!(store.unresolved().await, [expected]);
}

async fn a_further_attempt_is_recorded_before_it_is_made(store: Store) {
    let batch = store.frozen("E1", &["a"]).await;
    let not_done = CdnError::NoSuchDistribution("no".to_owned());
    let unresolved = store.unresolved().await.remove(0);
    let again = Unresolved {
        in_doubt: false,
        ..unresolved
    };
    let next = NextStep::Retry(Box::new(again));
    store.failed(batch.id, not_done, next).await;
    assert!(!store.unresolved().await[0].in_doubt);
    store
        .leader
        .record_attempt(batch.id, store.now() + Duration::from_secs(1))
        .await
        .unwrap();
    let store = store.reopened().await;
    assert!(store.unresolved().await[0].in_doubt);
}

async fn an_unresolved_batch_is_the_same_after_a_restart(store: Store) {
    let one = store.frozen("E1", &["z", "a", "m*", "%C3%A4", "z/2"]).await;
    let other = store.frozen("E2", &["z"]).await;
    let before = store.unresolved().await;
    let batches: Vec<_> = before.iter().map(|one| one.batch.clone()).collect();
    assert_eq!(batches, [one, other]);
    let store = store.reopened().await;
    assert_eq!(store.unresolved().await, before);
}

async fn usage_is_the_sum_of_the_open_batches(store: Store) {
    assert!(store.usages().await.is_empty());
    let first = store.frozen("E1", &["a", "b*"]).await;
    store.manual("E1", &["/m/*", "#tag", "#tag*"]).await;
    store.map_all(&[]).await;
    let second = store.freeze_all("E1").await;
    let other = store.frozen("E2", &["a", "b"]).await;
    let usage = |paths, wildcards| Usage { paths, wildcards };
    assert_eq!(store.usages().await["E1"], usage(3, 2));
    assert_eq!(store.usages().await["E2"], usage(2, 0));
    // CloudFront's acceptance changes nothing; completion frees the items.
    store.created(first.id, "I1", false).await;
    assert_eq!(store.usages().await["E1"], usage(3, 2));
    store.created(second.id, "I2", true).await;
    assert_eq!(store.usages().await["E1"], usage(1, 1));
    store.rejected(other.id).await;
    let store = store.reopened().await;
    let usages = store.usages().await;
    assert_eq!(usages.get("E1"), Some(&usage(1, 1)));
    assert_eq!(usages.get("E2").copied().unwrap_or_default(), usage(0, 0));
}
