//! The contract of [`HistoryStore`](purgefront::ports::history::HistoryStore).

use jiff::Timestamp;
use purgefront::domain::{
    batch::{Batch, BatchStatus, Covered},
    cdn::CdnError,
    change::Content,
    history::{InvalidationQuery, MAX_WHYS, RequestState, RequestView, Why},
    resolution::NextStep,
    s3_event::ObjectChange,
    tracking::StatusPoll,
};
use uuid::Uuid;

use super::{
    Store,
    fixtures::{item, object_change, parts},
};

stories!(
    a_request_is_followed_to_its_completion,
    a_request_is_as_far_as_its_slowest_item,
    a_request_in_shadow_mode_is_shadowed,
    a_request_fails_if_some_of_it_is_rejected,
    an_unknown_request_is_none,
    an_invalidation_is_found_by_either_id,
    an_item_says_why_it_is_there,
    an_item_shows_its_first_hundred_reasons,
    an_item_says_what_it_covers_that_was_asked_otherwise,
    invalidations_are_listed_newest_first_in_pages,
    invalidations_are_filtered,
);

async fn request(store: &Store, id: Uuid) -> RequestView {
    store.ports.request(id).await.unwrap().unwrap()
}

async fn a_request_is_followed_to_its_completion(store: Store) {
    let id = store.manual("E1", &["/a", "/b"]).await;
    let view = request(&store, id).await;
    assert_eq!((view.id, view.state), (id, RequestState::Accepted));
    assert_eq!(view.created_at, store.now());
    assert_eq!(view.distributions.unwrap(), ["E1"]);
    assert!(view.invalidations.is_empty());
    store.map_all(&[]).await;
    assert_eq!(request(&store, id).await.state, RequestState::Accepted);
    let batch = store.freeze_all("E1").await;
    let view = request(&store, id).await;
    assert_eq!(view.state, RequestState::Planned);
    assert_eq!(view.invalidations.len(), 1);
    assert_eq!(view.invalidations[0].id, batch.id);
    assert_eq!(view.invalidations[0].distribution_id, "E1");
    assert_eq!(view.invalidations[0].cloudfront_id, None);
    assert_eq!(view.invalidations[0].status, BatchStatus::Pending);
    store.created(batch.id, "I1", false).await;
    let view = request(&store, id).await;
    assert_eq!(view.state, RequestState::Submitted);
    let cloudfront_id = view.invalidations[0].cloudfront_id.as_deref();
    assert_eq!(cloudfront_id, Some("I1"));
    let poll = StatusPoll::Completed;
    store
        .leader
        .record_poll(batch.id, poll, store.now())
        .await
        .unwrap();
    let store = store.reopened().await;
    let view = request(&store, id).await;
    assert_eq!(view.state, RequestState::Completed);
    assert_eq!(view.invalidations[0].status, BatchStatus::Completed);
    assert!(view.skipped.is_empty() && view.errors.is_empty());
}

async fn a_request_is_as_far_as_its_slowest_item(store: Store) {
    let id = store.manual("E1", &["/a", "/b", "/c"]).await;
    store.map_all(&[]).await;
    let waiting = store.waiting("E1").await;
    let first = store.freeze("E1", &waiting[..1], false).await;
    store.created(first.id, "I1", true).await;
    assert_eq!(request(&store, id).await.state, RequestState::Accepted);
    let second = store.freeze("E1", &waiting[1..], false).await;
    assert_eq!(request(&store, id).await.state, RequestState::Planned);
    // Halves take the place of the batch that they replace.
    let now = store.now();
    let halves = parts(&second, now);
    let [third, fourth] = halves.clone().map(|half| half.batch.id);
    let next = NextStep::Bisect(Box::new(halves));
    let too_large = CdnError::TooLarge("split it".to_owned());
    store.failed(second.id, too_large, next).await;
    let view = request(&store, id).await;
    let ids = view.invalidations.iter().map(|one| one.id);
    assert_eq!(ids.collect::<Vec<_>>(), [first.id, third, fourth]);
    store.created(third, "I3", false).await;
    assert_eq!(request(&store, id).await.state, RequestState::Planned);
    let throttled = CdnError::Throttled("slow down".to_owned());
    store.failed(fourth, throttled, NextStep::Requeue).await;
    let view = request(&store, id).await;
    assert_eq!(view.state, RequestState::Accepted);
    assert_eq!(view.invalidations.len(), 2);
}

async fn a_request_in_shadow_mode_is_shadowed(store: Store) {
    let id = store.manual("E1", &["/a"]).await;
    store.map_all(&[]).await;
    let waiting = store.waiting("E1").await;
    store.freeze("E1", &waiting, true).await;
    assert_eq!(request(&store, id).await.state, RequestState::Shadowed);
}

async fn a_request_fails_if_some_of_it_is_rejected(store: Store) {
    let id = store.manual("E1", &["/a", "/b"]).await;
    store.map_all(&[]).await;
    let waiting = store.waiting("E1").await;
    let first = store.freeze("E1", &waiting[..1], false).await;
    let second = store.freeze("E1", &waiting[1..], false).await;
    store.rejected(first.id).await;
    let view = request(&store, id).await;
    assert_eq!(view.state, RequestState::Planned);
    assert_eq!(view.errors, ["/a: invalid: a bad path"]);
    store.created(second.id, "I2", true).await;
    assert_eq!(request(&store, id).await.state, RequestState::Failed);
}

async fn an_unknown_request_is_none(store: Store) {
    store.manual("E1", &["/a"]).await;
    let unknown = store.ports.request(Uuid::now_v7()).await.unwrap();
    assert_eq!(unknown, None);
}

async fn an_invalidation_is_found_by_either_id(store: Store) {
    let first = store.frozen("E1", &["a"]).await;
    let second = store.frozen("E1", &["b"]).await;
    store.created(first.id, "I1", false).await;
    store.created(second.id, "I2", true).await;
    let store = store.reopened().await;
    for (batch, cloudfront_id) in [(first, "I1"), (second, "I2")] {
        let detail = store.invalidation(batch.id).await;
        assert_eq!(detail.summary.id, batch.id);
        assert_eq!(store.invalidation(cloudfront_id).await, detail);
    }
    for unknown in ["I3", "", &Uuid::now_v7().to_string()] {
        let found = store.ports.invalidation(unknown).await.unwrap();
        assert_eq!(found, None);
    }
}

async fn an_item_says_why_it_is_there(store: Store) {
    let with_time = ObjectChange {
        time: Some(Timestamp::from_second(1_700_000_000).unwrap()),
        event: "ObjectRemoved:Delete".to_owned(),
        sequencer: Some("0055AED6DCD90281E5".to_owned()),
        ..object_change("a")
    };
    let without_time = object_change("a");
    let content = Content::Notification {
        changes: vec![with_time.clone(), without_time.clone()],
        dead: Vec::new(),
    };
    let message = store.message(content);
    let message_id = message.message_id;
    let accepted_at = store.now();
    store.ports.accept_message(message).await.unwrap();
    let asked = store.new_request("E1", &["/a"]);
    store.pass(1);
    store.ports.accept_request(asked.clone()).await.unwrap();
    store.map_all(&["E1"]).await;
    let batch = store.freeze_all("E1").await;
    let event = |change: ObjectChange| Why::Event {
        bucket: change.bucket,
        key: change.key,
        event: change.event,
        message_id,
        sequencer: change.sequencer,
        time: change.time.unwrap_or(accepted_at),
        accepted_at,
        because: "because of /a".to_owned(),
        asked: None,
    };
    let manual = Why::Manual {
        request_id: asked.id,
        token: asked.token,
        reason: asked.reason,
        bucket: None,
        key: None,
        time: asked.accepted_at,
        because: "because of /a".to_owned(),
        asked: None,
    };
    let store = store.reopened().await;
    let detail = store.invalidation(batch.id).await;
    assert_eq!(detail.items.len(), 1);
    let item = &detail.items[0];
    assert_eq!((item.item.as_str(), item.why_total), ("/a", 3));
    assert_eq!(item.why.len(), 3);
    for why in [event(with_time), event(without_time), manual] {
        assert!(item.why.contains(&why), "{why:?} is missing");
    }
    assert_eq!(detail.summary.change_count, 3);
}

async fn an_item_shows_its_first_hundred_reasons(store: Store) {
    store.wait_at("E1", &["a"; 150]).await;
    store.wait_at("E1", &["b"; 100]).await;
    store.wait_at("E1", &["c"]).await;
    let batch = store.freeze_all("E1").await;
    let detail = store.invalidation(batch.id).await;
    let items = detail.items.iter();
    let counts = items.map(|one| (one.item.as_str(), one.why.len(), one.why_total));
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [("/a", MAX_WHYS, 150), ("/b", 100, 100), ("/c", 1, 1)]
    );
    assert_eq!(MAX_WHYS, 100);
    let summary = detail.summary;
    assert_eq!((summary.item_count, summary.change_count), (3, 251));
}

async fn an_item_says_what_it_covers_that_was_asked_otherwise(store: Store) {
    store.wait_at("E1", &["d/a"]).await;
    store.manual("E1", &["/d/b", "/d/*"]).await;
    store.map_all(&[]).await;
    let waiting = store.waiting("E1").await;
    let covered = waiting.iter().map(|one| Covered {
        target: one.target,
        position: 0,
    });
    let batch = Batch::new("E1", vec![item("/d/*")]);
    let freeze = store
        .leader
        .freeze(&batch, covered.collect(), false, store.now());
    freeze.await.unwrap();
    let detail = store.invalidation(batch.id).await;
    let whys = detail.items[0].why.iter();
    let asked: Vec<_> = whys
        .map(|why| match why {
            Why::Event { asked, .. } | Why::Manual { asked, .. } => asked.as_deref(),
        })
        .collect();
    assert_eq!(asked, [Some("/d/a"), Some("/d/b"), None]);
}

async fn invalidations_are_listed_newest_first_in_pages(store: Store) {
    let mut frozen = Vec::new();
    for at in 0..5 {
        frozen.insert(0, store.frozen("E1", &[&format!("k{at}")]).await.id);
    }
    let all = store.invalidations(None).await;
    let ids: Vec<_> = all.iter().map(|one| one.id).collect();
    assert_eq!(ids, frozen);
    let page = async |before| {
        let query = InvalidationQuery {
            before,
            limit: 3,
            ..InvalidationQuery::default()
        };
        store.ports.invalidations(&query).await.unwrap()
    };
    assert_eq!(page(None).await, all[..3]);
    assert_eq!(page(Some(all[2].seq)).await, all[3..]);
    assert!(page(Some(all[4].seq)).await.is_empty());
    for one in all {
        assert_eq!(store.invalidation(one.id).await.summary, one);
    }
}

async fn invalidations_are_filtered(store: Store) {
    let pending = store.frozen("E1", &["a"]).await.id;
    let in_progress = store.frozen("E2", &["a"]).await.id;
    store.created(in_progress, "I1", false).await;
    let completed = store.frozen("E1", &["b"]).await.id;
    store.created(completed, "I2", true).await;
    let failed = store.frozen("E3", &["c"]).await.id;
    store.rejected(failed).await;
    let found = async |ids: Option<&[&str]>, status, before| {
        let distributions = ids.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
        let query = InvalidationQuery {
            distributions,
            status,
            before,
            limit: 10,
        };
        let found = store.ports.invalidations(&query).await.unwrap();
        found.into_iter().map(|one| one.id).collect::<Vec<_>>()
    };
    let status = async |status| found(None, Some(status), None).await;
    assert_eq!(status(BatchStatus::Pending).await, [pending]);
    assert_eq!(status(BatchStatus::InProgress).await, [in_progress]);
    assert_eq!(status(BatchStatus::Completed).await, [completed]);
    assert_eq!(status(BatchStatus::Failed).await, [failed]);
    assert!(status(BatchStatus::Replaced).await.is_empty());
    let at = async |ids: &[&str]| found(Some(ids), None, None).await;
    assert_eq!(at(&["E1"]).await, [completed, pending]);
    assert_eq!(at(&["E3", "E2"]).await, [failed, in_progress]);
    assert!(at(&["E9"]).await.is_empty());
    assert!(at(&[]).await.is_empty());
    let before = store.invalidation(completed).await.summary.seq;
    let all = found(
        Some(&["E1", "E2"]),
        Some(BatchStatus::Pending),
        Some(before),
    );
    assert_eq!(all.await, [pending]);
}
