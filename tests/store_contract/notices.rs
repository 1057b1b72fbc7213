//! The contract of [`NoticeStore`](purgefront::ports::NoticeStore): what is told is written with what it is
//! about, and waits until it is delivered.

use std::time::Duration;

use jiff::Timestamp;
use purgefront::domain::{
    change::{Content, DeadContent},
    mapping::Mapping,
    notice::{KEPT, Notice, NoticeKind, NoticeTarget, Undelivered, WaitingNotices},
    tracking::StatusPoll,
};
use serde_json::{Value, json};

use super::{
    Store,
    fixtures::{ALL, skip},
};

stories!(
    nothing_is_written_without_a_target,
    a_completed_invalidation_is_told_once,
    an_invalidation_that_completes_at_once_is_told,
    what_fails_is_told_with_its_dead_letters,
    a_record_that_cannot_be_read_is_told,
    a_change_that_cannot_be_mapped_is_told,
    each_target_is_told_what_it_wants,
    a_notice_waits_until_it_is_delivered,
    a_clock_that_is_set_back_delays_no_notice,
    a_target_that_is_gone_takes_its_notices_with_it,
    what_is_too_old_is_given_up,
);

fn target(key: &str) -> NoticeTarget {
    NoticeTarget {
        key: key.to_owned(),
        origin: String::new(),
        kinds: NoticeKind::ALL.into(),
        distributions: None,
    }
}

async fn tells(store: &Store, targets: &[NoticeTarget]) -> u64 {
    store.leader.set_notice_targets(targets).await.unwrap()
}

async fn due_at(store: &Store, target: &str, now: Timestamp) -> Vec<Notice> {
    let due = store.leader.due_notices(target, now, ALL).await;
    due.unwrap()
}

async fn due(store: &Store, target: &str) -> Vec<Notice> {
    due_at(store, target, store.now()).await
}

async fn bodies(store: &Store, target: &str) -> Vec<Value> {
    let due = due(store, target).await.into_iter();
    due.map(|notice| serde_json::from_str(&notice.body).unwrap())
        .collect()
}

async fn types(store: &Store, target: &str) -> Vec<String> {
    let bodies = bodies(store, target).await.into_iter();
    bodies
        .map(|body| body["type"].as_str().unwrap().to_owned())
        .collect()
}

async fn completes(store: &Store, distribution_id: &str, key: &str) -> String {
    let batch = store.frozen(distribution_id, &[key]).await;
    store.created(batch.id, &format!("I{key}"), false).await;
    let polled = StatusPoll::Completed;
    let polled = store
        .leader
        .record_poll(batch.id, polled, store.now())
        .await;
    polled.unwrap();
    batch.id.to_string()
}

async fn nothing_is_written_without_a_target(store: Store) {
    completes(&store, "E1", "a").await;
    let waiting = store.leader.waiting_notices().await.unwrap();
    assert_eq!(waiting, WaitingNotices::default());
}

async fn a_completed_invalidation_is_told_once(store: Store) {
    tells(&store, &[target("t")]).await;
    let batch = store.frozen("E1", &["a", "b"]).await;
    store.created(batch.id, "I1", false).await;
    assert!(due(&store, "t").await.is_empty());
    let completed_at = store.now();
    for _ in 0..2 {
        let polled = StatusPoll::Completed;
        let polled = store
            .leader
            .record_poll(batch.id, polled, store.now())
            .await;
        polled.unwrap();
        store.pass(1);
    }
    let store = store.reopened().await;
    let [body] = &bodies(&store, "t").await[..] else {
        panic!("one notice");
    };
    assert_eq!(body["type"], "invalidation.completed");
    assert_eq!(body["timestamp"], completed_at.to_string());
    let summary = store.invalidation(batch.id).await.summary;
    assert_eq!(body["data"], json!(summary));
    assert_eq!(body["data"]["completed_at"], completed_at.to_string());
}

async fn an_invalidation_that_completes_at_once_is_told(store: Store) {
    tells(&store, &[target("t")]).await;
    let batch = store.frozen("E1", &["a"]).await;
    store.created(batch.id, "I1", true).await;
    assert_eq!(types(&store, "t").await, ["invalidation.completed"]);
}

async fn what_fails_is_told_with_its_dead_letters(store: Store) {
    tells(&store, &[target("t")]).await;
    let batch = store.frozen("E1", &["a"]).await;
    store.rejected(batch.id).await;
    let kinds = ["invalidation.failed", "dead_letter"];
    assert_eq!(types(&store, "t").await, kinds);
    let bodies = bodies(&store, "t").await;
    assert_eq!(bodies[0]["data"]["status"], "failed");
    let letters = store.ports.dead_letters(None, ALL).await.unwrap();
    assert_eq!(bodies[1]["data"], json!(letters[0]));
}

async fn a_record_that_cannot_be_read_is_told(store: Store) {
    tells(&store, &[target("t")]).await;
    let message = store.message(Content::Notification {
        changes: Vec::new(),
        dead: ["1", "2"]
            .map(|content| DeadContent {
                why: "no key".to_owned(),
                content: content.to_owned(),
            })
            .into(),
    });
    store.ports.accept_message(message).await.unwrap();
    let bodies = bodies(&store, "t").await;
    let contents: Vec<_> = bodies.iter().map(|body| &body["data"]["content"]).collect();
    assert_eq!(contents, ["1", "2"]);
    assert_eq!(bodies[0]["data"]["distribution_id"], Value::Null);
}

async fn a_change_that_cannot_be_mapped_is_told(store: Store) {
    tells(&store, &[target("t")]).await;
    store.events(&["key"]).await;
    store.pass(60);
    let change = store.unseen().await.remove(0);
    let mapping = Mapping {
        dead: vec![skip(Some("E1"), "no wildcard allowed")],
        ..Mapping::default()
    };
    store.record(change, mapping).await;
    let body = &bodies(&store, "t").await[0];
    assert_eq!(body["data"]["key"], "key");
    assert_eq!(body["data"]["distribution_id"], "E1");
    assert_eq!(body["timestamp"], store.now().to_string());
}

async fn each_target_is_told_what_it_wants(store: Store) {
    let some = NoticeTarget {
        kinds: vec![NoticeKind::Completed],
        distributions: Some(vec!["E2".to_owned()]),
        ..target("some")
    };
    tells(&store, &[target("all"), some]).await;
    let batch = store.frozen("E2", &["x"]).await;
    store.rejected(batch.id).await;
    for id in ["E1", "E2"] {
        completes(&store, id, &format!("k{id}")).await;
    }
    assert_eq!(due(&store, "all").await.len(), 4);
    let told = bodies(&store, "some").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["data"]["distribution_id"], "E2");
}

async fn a_notice_waits_until_it_is_delivered(store: Store) {
    tells(&store, &[target("t")]).await;
    completes(&store, "E1", "a").await;
    let begun = store.now();
    completes(&store, "E1", "b").await;
    let [first, second] = &due(&store, "t").await[..] else {
        panic!("two notices");
    };
    assert_ne!(first.id, second.id);
    let retry_at = begun + Duration::from_secs(30);
    let failed = store.leader.notice_failed(first.seq, retry_at).await;
    failed.unwrap();
    assert_eq!(due(&store, "t").await, std::slice::from_ref(second));
    let store = store.reopened().await;
    let delivered = store.leader.notice_delivered(second.seq).await;
    delivered.unwrap();
    assert!(due(&store, "t").await.is_empty());
    let next = store.leader.next_notice("t", store.now()).await;
    assert_eq!(next.unwrap(), Some(retry_at));
    let again = Notice {
        failures: 1,
        due_at: retry_at,
        ..first.clone()
    };
    assert_eq!(due_at(&store, "t", retry_at).await, [again]);
    let waiting = store.leader.waiting_notices().await.unwrap();
    let expected = WaitingNotices {
        notices: 1,
        since: Some(begun),
    };
    assert_eq!(waiting, expected);
}

async fn a_clock_that_is_set_back_delays_no_notice(store: Store) {
    tells(&store, &[target("t")]).await;
    completes(&store, "E1", "a").await;
    let set_back = store.now() - Duration::from_hours(5);
    assert_eq!(due_at(&store, "t", set_back).await.len(), 1);
}

async fn a_target_that_is_gone_takes_its_notices_with_it(store: Store) {
    tells(&store, &[target("old"), target("kept")]).await;
    completes(&store, "E1", "a").await;
    let store = store.reopened().await;
    assert_eq!(tells(&store, &[target("kept"), target("new")]).await, 1);
    assert_eq!(due(&store, "kept").await.len(), 1);
    assert!(due(&store, "old").await.is_empty() && due(&store, "new").await.is_empty());
    assert_eq!(tells(&store, &[]).await, 1);
    completes(&store, "E1", "b").await;
    let waiting = store.leader.waiting_notices().await.unwrap();
    assert_eq!(waiting.notices, 0);
}

async fn what_is_too_old_is_given_up(store: Store) {
    tells(&store, &[target("t")]).await;
    completes(&store, "E1", "a").await;
    let kept = async |now| {
        let dropped = store.leader.drop_undelivered(now).await.unwrap();
        assert_eq!(dropped.surplus, 0);
        dropped.given_up
    };
    let last = store.now() + KEPT;
    assert_eq!(kept(last).await, 0);
    assert_eq!(due(&store, "t").await.len(), 1);
    assert_eq!(kept(last + Duration::from_secs(1)).await, 1);
    let nothing = store.leader.drop_undelivered(last).await.unwrap();
    assert_eq!(nothing, Undelivered::default());
    assert!(due(&store, "t").await.is_empty());
}
