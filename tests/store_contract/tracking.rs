//! The contract of [`TrackingStore`](purgefront::ports::dispatch::TrackingStore).

use std::time::Duration;

use jiff::Timestamp;
use purgefront::domain::{
    batch::{Batch, BatchStatus, Usage},
    tracking::{NextPolls, StatusPoll, Tracked},
};
use uuid::Uuid;

use super::Store;

stories!(
    an_invalidation_is_due_at_its_time,
    the_most_overdue_are_polled_first,
    an_invalidation_in_progress_is_polled_again,
    a_completed_invalidation_is_polled_no_more,
    a_tracked_invalidation_says_what_it_occupies_and_since_when,
    only_our_invalidations_are_ours,
);

/// A batch that CloudFront has created under this id, to be polled in ten seconds.
async fn submitted(store: &Store, distribution_id: &str, cloudfront_id: &str) -> Batch {
    let batch = store.frozen(distribution_id, &["a", "b*"]).await;
    store.created(batch.id, cloudfront_id, false).await;
    batch
}

/// What is due, the most overdue first.
async fn due(store: &Store) -> Vec<String> {
    let mut due = store.in_progress().await;
    due.retain(|one| one.due_at <= store.now());
    due.into_iter().map(|one| one.cloudfront_id).collect()
}

/// When the next of the others is due.
async fn next_at(store: &Store) -> Option<Timestamp> {
    let in_progress = store.in_progress().await.into_iter();
    let mut later = in_progress.map(|one| one.due_at);
    later.find(|at| *at > store.now())
}

async fn polled(store: &Store, batch: Uuid, poll: StatusPoll) {
    let recorded = store.leader.record_poll(batch, poll, store.now()).await;
    recorded.unwrap();
}

async fn an_invalidation_is_due_at_its_time(store: Store) {
    assert_eq!((due(&store).await, next_at(&store).await), (vec![], None));
    submitted(&store, "E1", "I1").await;
    let at = store.now() + Duration::from_secs(10);
    store.pass(9);
    assert!(due(&store).await.is_empty());
    assert_eq!(next_at(&store).await, Some(at));
    store.pass(1);
    let store = store.reopened().await;
    assert_eq!(due(&store).await, ["I1"]);
    assert_eq!(next_at(&store).await, None);
}

async fn the_most_overdue_are_polled_first(store: Store) {
    submitted(&store, "E1", "I1").await;
    let second = submitted(&store, "E2", "I2").await;
    submitted(&store, "E1", "I3").await;
    store.pass(5);
    let last = store.now() + Duration::from_mins(4);
    polled(&store, second.id, StatusPoll::Again(last)).await;
    submitted(&store, "E1", "I4").await;
    let fourth = store.now() + Duration::from_secs(10);
    store.pass(6);
    assert_eq!(due(&store).await, ["I1", "I3"]);
    assert_eq!(next_at(&store).await, Some(fourth));
    // The next time is that of an invalidation which is not due, not of one beyond the limit.
    let in_progress = store.leader.in_progress().await.unwrap();
    let polls = NextPolls::choose(in_progress, |_| false, store.now(), 1);
    assert_eq!(polls.due.len(), 1);
    assert_eq!(polls.due[0].cloudfront_id, "I1");
    assert_eq!(polls.choose_at, Some(fourth));
}

async fn an_invalidation_in_progress_is_polled_again(store: Store) {
    let batch = submitted(&store, "E1", "I1").await;
    store.pass(10);
    let at = store.now() + Duration::from_secs(30);
    polled(&store, batch.id, StatusPoll::Again(at)).await;
    let store = store.reopened().await;
    assert!(due(&store).await.is_empty());
    assert_eq!(next_at(&store).await, Some(at));
    assert_eq!(store.status(batch.id).await, BatchStatus::InProgress);
    assert_eq!(store.usages().await["E1"], batch.usage());
    store.pass(30);
    assert_eq!(due(&store).await, ["I1"]);
}

async fn a_completed_invalidation_is_polled_no_more(store: Store) {
    let batch = submitted(&store, "E1", "I1").await;
    let submitted_at = store.now();
    let other = submitted(&store, "E1", "I2").await;
    store.pass(20);
    let completed_at = store.now();
    polled(&store, batch.id, StatusPoll::Completed).await;
    let store = store.reopened().await;
    assert_eq!(due(&store).await, ["I2"]);
    assert_eq!(store.usages().await["E1"], other.usage());
    let summary = store.invalidation(batch.id).await.summary;
    assert_eq!(summary.status, BatchStatus::Completed);
    assert_eq!(summary.submitted_at, Some(submitted_at));
    assert_eq!(summary.completed_at, Some(completed_at));
}

async fn a_tracked_invalidation_says_what_it_occupies_and_since_when(store: Store) {
    store.wait_at("E1", &["a"]).await;
    let oldest = store.now();
    store.wait_at("E1", &["b*", "a"]).await;
    store.manual("E1", &["/m"]).await;
    store.map_all(&[]).await;
    let batch = store.freeze_all("E1").await;
    store.pass(2);
    store.created(batch.id, "I1", false).await;
    let submitted_at = store.now();
    let expected = Tracked {
        batch: batch.id,
        distribution_id: "E1".to_owned(),
        cloudfront_id: "I1".to_owned(),
        submitted_at,
        due_at: submitted_at + Duration::from_secs(10),
        usage: Usage {
            paths: 2,
            wildcards: 1,
        },
    };
    assert_eq!(store.in_progress().await, [expected]);
    let since = store.leader.oldest_change(batch.id).await.unwrap();
    assert_eq!(since, Some(oldest));
    let unknown = store.leader.oldest_change(Uuid::now_v7()).await.unwrap();
    assert_eq!(unknown, None);
}

async fn only_our_invalidations_are_ours(store: Store) {
    let batch = submitted(&store, "E1", "I1").await;
    let ours = async |id: &str| store.leader.is_ours(id).await.unwrap();
    assert!(ours("I1").await);
    assert!(!ours("I2").await && !ours("").await);
    // A batch's own id is not CloudFront's.
    assert!(!ours(&batch.id.to_string()).await);
    polled(&store, batch.id, StatusPoll::Completed).await;
    assert!(ours("I1").await);
}
