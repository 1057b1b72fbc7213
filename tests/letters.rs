//! A request of many items that all failed: told in few words, found by status, and replayed.

use purgefront::{
    domain::{batch::BatchStatus, history::InvalidationQuery},
    ports::{history::HistoryStore as _, operations::OperationsStore as _},
};
use uuid::Uuid;

use crate::support::sqlite::{WINDOW, direct::DirectStore};

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
async fn many_failures_are_told_in_few_words() {
    let mut stored = DirectStore::open().await;
    let id = failed_request(&mut stored).await;
    let view = stored.store.request(id).await.unwrap().unwrap();
    assert_eq!(
        view.errors,
        ["invalid (10000 items, for example /10, /20, /30)"]
    );
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
    let letters = stored.store.dead_letters(None, 1).await.unwrap();
    assert!(stored.store.replay_item(letters[0].id).await.unwrap());
    let waiting = stored.leader.waiting("E1", WINDOW).await.unwrap();
    assert_eq!(waiting.len(), 1);
    stored.store.close().await;
}
