//! The contract of what the status page reads: completed invalidations, and what a month has cost.

use jiff::{Timestamp, ToSpan as _};

use super::Store;

stories!(
    completions_are_the_newest_since_a_time,
    the_last_completion_of_each_distribution_is_known,
    what_was_spent_is_summed_over_days,
);

/// Freezes a key at a distribution, and has CloudFront complete it after so many seconds. Returns when.
async fn completed(store: &Store, id: &str, key: &str, seconds: u64) -> Timestamp {
    let batch = store.frozen(id, &[key]).await;
    store.created(batch.id, key, false).await;
    store.pass(seconds);
    let poll = purgefront::domain::tracking::StatusPoll::Completed;
    let recorded = store.leader.record_poll(batch.id, poll, store.now()).await;
    recorded.unwrap();
    store.now()
}

async fn completions_are_the_newest_since_a_time(store: Store) {
    completed(&store, "E1", "old", 5).await;
    store.pass(100);
    let since = store.now();
    completed(&store, "E1", "a", 20).await;
    let last = completed(&store, "E2", "b", 30).await;
    let open = store.frozen("E2", &["c"]).await;
    store.created(open.id, "c", false).await;
    let store = store.reopened().await;
    let read = store.ports.completions(since, 10).await.unwrap();
    let seen = read.iter().map(|one| {
        let took = one.completed_at.duration_since(one.submitted_at);
        (one.distribution_id.as_str(), took.as_secs())
    });
    assert_eq!(seen.collect::<Vec<_>>(), [("E2", 30), ("E1", 20)]);
    assert_eq!(read[0].completed_at, last);
    let newest = store.ports.completions(since, 1).await.unwrap();
    assert_eq!(newest, read[..1]);
}

async fn the_last_completion_of_each_distribution_is_known(store: Store) {
    let first = completed(&store, "E1", "a", 20).await;
    let second = completed(&store, "E2", "b", 30).await;
    store.frozen("E1", &["c"]).await;
    store.frozen("E3", &["d"]).await;
    let ids = ["E1", "E2", "E3", "E4"].map(str::to_owned);
    let last = store.ports.last_completed(&ids).await.unwrap();
    assert_eq!(last.len(), 2, "{last:?}");
    assert_eq!((last["E1"], last["E2"]), (first, second));
    let one = store.ports.last_completed(&ids[1..2]).await.unwrap();
    assert_eq!(one.len(), 1);
}

async fn what_was_spent_is_summed_over_days(store: Store) {
    let first = store.today();
    store.frozen("E1", &["a", "b"]).await;
    store.pass(24 * 3_600);
    store.frozen("E2", &["c"]).await;
    let spent = async |from, to| store.ports.spent(from, to).await.unwrap();
    let second = store.today();
    assert_eq!(spent(first, second).await, 3);
    assert_eq!(spent(first, first).await, 2);
    assert_eq!(spent(second, second + 9.days()).await, 1);
    assert_eq!(spent(second + 1.day(), second + 9.days()).await, 0);
}
