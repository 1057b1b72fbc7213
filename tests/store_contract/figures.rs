//! The contract of what the status page reads: completed invalidations, and what a month has cost.

use jiff::{Timestamp, ToSpan as _};

use purgefront::domain::propagation::Completion;

use super::Store;

stories!(
    completions_are_the_newest_of_each_distribution_since_a_time,
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

async fn completions_are_the_newest_of_each_distribution_since_a_time(store: Store) {
    completed(&store, "E1", "old", 5).await;
    store.pass(100);
    let since = store.now();
    completed(&store, "E1", "a", 20).await;
    let last = completed(&store, "E2", "b", 30).await;
    let open = store.frozen("E2", &["c"]).await;
    store.created(open.id, "c", false).await;
    let store = store.reopened().await;
    let both = ["E1", "E2"].map(str::to_owned);
    let read = store.ports.completions(&both, since, 10).await.unwrap();
    let mut seen: Vec<_> = read.iter().map(seen).collect();
    seen.sort_unstable();
    assert_eq!(seen, [("E1", 20), ("E2", 30)]);
    assert!(read.iter().any(|one| one.completed_at == last));
    let only = store.ports.completions(&both[..1], since, 10).await;
    assert_eq!(only.unwrap().len(), 1);
    // A busy distribution leaves the others theirs.
    completed(&store, "E2", "d", 40).await;
    let newest = store.ports.completions(&both, since, 1).await.unwrap();
    let mut newest: Vec<_> = newest.iter().map(self::seen).collect();
    newest.sort_unstable();
    assert_eq!(newest, [("E1", 20), ("E2", 40)]);
}

/// The distribution of a completion, and how many seconds it took.
fn seen(one: &Completion) -> (&str, i64) {
    let took = one.completed_at.duration_since(one.submitted_at);
    (one.distribution_id.as_str(), took.as_secs())
}

async fn the_last_completion_of_each_distribution_is_known(store: Store) {
    let first = completed(&store, "E1", "a", 20).await;
    let second = completed(&store, "E2", "b", 30).await;
    store.frozen("E1", &["c"]).await;
    store.frozen("E3", &["d"]).await;
    // However many were replaced, failed or frozen since.
    for n in 0..101 {
        store.frozen("E2", &[&format!("later/{n}")]).await;
    }
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
