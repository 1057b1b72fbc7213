//! Dead letters in the store: their numbers, their replay, and how fast they are found.

use std::time::{Duration, Instant};

use purgefront::{
    domain::{
        batch::BatchStatus,
        catalogue::Snapshot,
        change::{
            Change, Content, DeadContent, MappedChange, MappingOutcome, NewMessage, RemappedChange,
        },
        history::InvalidationQuery,
        mapping::{Mapping, Skip, Target},
        path::Item,
        s3_event::ObjectChange,
    },
    ports::{
        history::HistoryStore as _, intake::IntakeStore as _, operations::OperationsStore as _,
    },
};
use sqlx::Row as _;
use uuid::Uuid;

use crate::support::{signer::TOPIC, sqlite::direct::DirectStore};

impl DirectStore {
    async fn accepts(&self, changes: &[&str], dead: &[&str]) {
        let change = |key: &&str| ObjectChange {
            bucket: "site".to_owned(),
            key: (*key).to_owned(),
            event: "ObjectCreated:Put".to_owned(),
            time: None,
        };
        let letter = |why: &&str| DeadContent {
            why: (*why).to_owned(),
            content: "{}".to_owned(),
        };
        let message = NewMessage {
            message_id: Uuid::new_v4(),
            signed_at: self.now,
            topic: TOPIC.parse().unwrap(),
            accepted_at: self.now,
            content: Content::Notification {
                changes: changes.iter().map(change).collect(),
                dead: dead.iter().map(letter).collect(),
            },
        };
        self.store.accept_message(message).await.unwrap();
    }

    async fn letter_ids(&self) -> Vec<i64> {
        let letters = self.store.dead_letters(None, 100).await.unwrap();
        letters.into_iter().map(|letter| letter.id).collect()
    }

    async fn change(&self) -> Change {
        let mut unseen = self.leader.unseen_changes(1).await.unwrap();
        unseen.remove(0)
    }
}

fn target(distribution_id: &str, item: &str) -> Target {
    Target {
        distribution_id: distribution_id.to_owned(),
        item: Item::parse(item).unwrap(),
        because: "b".to_owned(),
    }
}

fn dead(distribution_id: &str) -> Skip {
    Skip {
        distribution_id: Some(distribution_id.to_owned()),
        why: "only /* would do".to_owned(),
    }
}

#[tokio::test]
async fn a_number_is_given_once() {
    let stored = DirectStore::open().await;
    stored.accepts(&[], &["first", "second"]).await;
    let ids = stored.letter_ids().await;
    for id in &ids {
        assert!(stored.store.drop_dead_letter(*id).await.unwrap());
    }
    stored.accepts(&[], &["third"]).await;
    let newer = stored.letter_ids().await;
    assert!(newer[0] > ids[0], "{newer:?} after {ids:?}");
    stored.store.close().await;
}

/// The change has an item at one distribution and a dead letter at another.
#[tokio::test]
async fn a_letter_is_replayed_for_its_distribution_alone() {
    let stored = DirectStore::open().await;
    let catalogue = Snapshot::default();
    let kept = stored.leader.keep_catalogue(&catalogue, &[]).await;
    kept.unwrap();
    stored.accepts(&["other", "key"], &[]).await;
    let change = stored.change().await;
    let other = MappedChange {
        change,
        outcome: MappingOutcome::Mapped(Mapping::left_alone("nothing to do")),
    };
    stored.leader.record_mapping(vec![other]).await.unwrap();
    let change = stored.change().await;
    let seq = change.seq;
    let mapped = MappedChange {
        change,
        outcome: MappingOutcome::Mapped(Mapping {
            targets: vec![target("E1", "/key")],
            dead: vec![dead("E2"), dead("E3")],
            ..Mapping::default()
        }),
    };
    stored.leader.record_mapping(vec![mapped]).await.unwrap();
    let letters = stored.store.dead_letters(None, 10).await.unwrap();
    let of_e2 = letters
        .iter()
        .find(|letter| letter.distribution_id.as_deref() == Some("E2"));
    let id = of_e2.unwrap().id;
    assert!(stored.store.replay_item(id).await.unwrap());
    assert!(!stored.store.replay_item(id).await.unwrap(), "it is gone");
    assert_eq!(stored.letter_ids().await.len(), 1, "that of E3 stays");

    let remap = stored.leader.next_remap().await.unwrap().unwrap();
    assert_eq!(remap.distribution_id, "E2");
    let mut changes = stored.leader.changes_to_remap(&remap, 10).await.unwrap();
    assert_eq!(changes.iter().map(|one| one.seq).collect::<Vec<_>>(), [seq]);
    let mapping = Mapping {
        targets: vec![target("E1", "/key"), target("E2", "/*")],
        dead: vec![dead("E3")],
        ..Mapping::default()
    };
    let change = changes.remove(0);
    let remapped = vec![RemappedChange { change, mapping }];
    stored.leader.record_remap(&remap, remapped).await.unwrap();
    let waiting = stored.leader.waiting("E2", 10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!(stored.leader.waiting("E1", 10).await.unwrap().len(), 1);
    assert_eq!(stored.letter_ids().await.len(), 1);
    stored.store.close().await;
}

/// A request of 10,000 items that all failed, among many batches of other requests.
async fn failed_request(stored: &mut DirectStore) -> Uuid {
    let id = Uuid::now_v7();
    let at = stored.now.as_microsecond();
    stored
        .run(format!(
            "INSERT INTO requests (seq, id, token, accepted_at) VALUES (1, '{id}', 't', {at}); \
             WITH RECURSIVE numbers (n) AS \
             (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000) \
             INSERT INTO changes (seq, request, distribution_id, path, accepted_at, state) \
             SELECT n, 1, 'E1', '/' || n, {at}, 2 FROM numbers; \
             INSERT INTO batches (seq, id, distribution_id, caller_reference, status, item_count, \
             wildcard_count, change_count, created_at, due_at) \
             SELECT value, printf('00000000-0000-0000-0000-%012d', value), 'E1', 'r' || value, \
             'failed', 1000, 0, 1000, {at}, 0 \
             FROM json_each('[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]'); \
             INSERT INTO batch_items SELECT seq % 10, seq / 10, path FROM changes; \
             INSERT INTO targets (change, distribution_id, item, because, manual, accepted_at, \
             batch, position) SELECT seq, 'E1', path, 'b', 1, {at}, seq % 10, seq / 10 \
             FROM changes; \
             INSERT INTO dead_letters (kind, why, content, distribution_id, batch, created_at) \
             SELECT 'item', 'invalid', item, 'E1', batch, {at} FROM batch_items; \
             WITH RECURSIVE numbers (n) AS \
             (SELECT 10 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000) \
             INSERT INTO batches (seq, id, distribution_id, caller_reference, status, item_count, \
             wildcard_count, change_count, created_at, due_at) \
             SELECT n, printf('00000000-0000-0000-0000-%012d', n), 'E1', 'r' || n, 'completed', \
             1, 0, 1, {at}, 0 FROM numbers"
        ))
        .await;
    id
}

#[tokio::test]
async fn many_failures_are_told_in_few_words_and_soon() {
    let mut stored = DirectStore::open().await;
    let id = failed_request(&mut stored).await;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        #[expect(clippy::disallowed_methods, reason = "it measures")]
        let began = Instant::now();
        let view = stored.store.request(id).await.unwrap().unwrap();
        best = best.min(began.elapsed());
        assert_eq!(
            view.errors,
            ["invalid (10000 items, for example /10, /20, /30)"]
        );
    }
    eprintln!("{best:?}");
    assert!(best < Duration::from_millis(700), "{best:?}");

    for distributions in [None, Some(vec!["E1".to_owned()])] {
        let query = InvalidationQuery {
            distributions,
            status: Some(BatchStatus::Failed),
            limit: 100,
            ..InvalidationQuery::default()
        };
        let failed = stored.store.invalidations(&query).await.unwrap();
        assert_eq!(failed.len(), 10);
    }
    let letter = stored.letter_ids().await[0];
    assert!(stored.store.replay_item(letter).await.unwrap());
    let waiting = stored.leader.waiting("E1", 10).await.unwrap();
    assert_eq!(waiting.len(), 1);
    stored.store.close().await;
}

/// The statements of a replay and of a list by status find their rows by indexes.
#[tokio::test]
async fn a_replay_and_a_list_by_status_scan_no_table() {
    let mut stored = DirectStore::open().await;
    for explain in [
        "EXPLAIN QUERY PLAN UPDATE targets SET batch = NULL, position = NULL WHERE batch = ?1 \
         AND position IN (SELECT position FROM batch_items \
         WHERE batch_items.batch = ?1 AND item = ?2)",
        "EXPLAIN QUERY PLAN SELECT * FROM batches WHERE true AND +distribution_id IN (?1, ?2) \
         AND status = ?3 AND seq < ?4 ORDER BY seq DESC LIMIT ?5",
        "EXPLAIN QUERY PLAN SELECT * FROM batches WHERE true AND status = ?1 \
         ORDER BY seq DESC LIMIT ?2",
    ] {
        let plan = sqlx::query(explain);
        let plan = plan.fetch_all(&mut stored.operator).await.unwrap();
        let plan: Vec<String> = plan.iter().map(|row| row.get("detail")).collect();
        let searches = |step: &String| !step.starts_with("SCAN") && !step.contains("TEMP B-TREE");
        assert!(plan.iter().all(searches), "{plan:?}");
    }
    stored.store.close().await;
}
