//! Old history is forgotten in short steps, whatever stays among it.

use std::time::{Duration, Instant};

use jiff::SignedDuration;
use purgefront::{
    domain::{
        catalogue::Revision,
        change::{Change, MappedChange},
        mapping::Mapping,
        wait::Wait,
    },
    ports::dispatch::Sweep,
};

use crate::support::{number, sqlite::direct::DirectStore};

const DAY: i64 = 24 * 3_600 * 1_000_000;

/// Messages with a change each: old ones, then as many new ones.
async fn add_changes(stored: &mut DirectStore, old: i64) {
    let now = stored.now.as_microsecond();
    let (long_ago, recently) = (now - 40 * DAY, now - DAY);
    let numbers = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
             WHERE n < 2 * {old}), rows AS (SELECT n, \
             iif(n > {old}, {recently} + n, {long_ago} + n) AS at FROM numbers)"
    );
    stored
        .run(format!(
            "{numbers} INSERT INTO messages (seq, signed_at, message_id, kind, topic, accepted_at) \
             SELECT n, at, n, 'notification', 't', at FROM rows; \
             {numbers} INSERT INTO changes \
             (seq, message, bucket, object_key, event, accepted_at, state) \
             SELECT n, n, 'b', 'k' || n, 'e', at, 2 FROM rows; \
             INSERT INTO skips (change, why) SELECT seq, 'w' FROM changes"
        ))
        .await;
}

/// Plays one sweep; says how long each step took.
async fn sweep(stored: &DirectStore) -> Vec<Duration> {
    let cutoff = stored.now - SignedDuration::from_hours(30 * 24);
    let mut next = Some(Sweep::default());
    let mut steps = Vec::new();
    while let Some(sweep) = next {
        assert!(steps.len() < 100_000, "the sweep does not end");
        #[expect(clippy::disallowed_methods, reason = "it measures")]
        let began = Instant::now();
        next = stored.leader.prune(cutoff, sweep).await.unwrap();
        steps.push(began.elapsed());
    }
    steps
}

#[tokio::test]
async fn what_stays_stops_nothing_that_may_go() {
    let mut stored = DirectStore::open().await;
    add_changes(&mut stored, 20_000).await;
    let now = stored.now.as_microsecond();
    // Dead letters, parked changes, open batches, and rows of a clock that was wrong.
    stored
        .run(format!(
            "INSERT INTO dead_letters (kind, why, change, created_at) \
             SELECT 'item', 'w', seq, {now} FROM changes WHERE seq <= 3000; \
             INSERT INTO dead_letters (kind, why, message, created_at) \
             SELECT 'record', 'w', seq, {now} FROM messages WHERE seq = 3001; \
             UPDATE changes SET state = 1 WHERE seq = 3002; \
             UPDATE changes SET accepted_at = {now} + 1000 * {DAY} WHERE seq IN (3003, 10000); \
             UPDATE changes SET accepted_at = {now} - 1000 * {DAY} WHERE seq = 30000; \
             INSERT INTO batches (seq, id, distribution_id, caller_reference, status, item_count, \
             wildcard_count, change_count, created_at, due_at) \
             SELECT value, 'i' || value, 'E1', 'r' || value, iif(value < 3, 'pending', 'completed'), \
             1, 0, 1, {now} - (40 - value / 1000) * {DAY}, 0 FROM json_each('[1, 2, 3, 4, 20000]'); \
             INSERT INTO targets (change, distribution_id, item, because, manual, accepted_at, \
             batch, position) SELECT seq, 'E1', '/a', 'b', 0, accepted_at, 4, 0 FROM changes \
             WHERE seq BETWEEN 5000 AND 8999; \
             INSERT INTO targets (change, distribution_id, item, because, manual, accepted_at, \
             batch, position) SELECT seq, 'E1', '/a', 'b', 0, accepted_at, 1, 0 FROM changes \
             WHERE seq = 9999"
        ))
        .await;
    sweep(&stored).await;
    // The 3,000 of dead letters, the parked one, the two of the future, and that of an open batch.
    assert_eq!(stored.count("changes WHERE seq <= 20000").await, 3_004);
    assert_eq!(stored.count("skips WHERE change <= 20000").await, 3_004);
    assert_eq!(stored.count("messages WHERE seq <= 20000").await, 3_005);
    // New ones stay, but for the one that says it is old.
    assert_eq!(stored.count("changes WHERE seq > 20000").await, 20_000);
    assert_eq!(stored.count("batches WHERE seq IN (1, 2, 20000)").await, 3);
    assert_eq!(stored.count("batches").await, 3);
    assert_eq!(stored.count("targets").await, 1);
    // Once the letters are dropped, the rest goes.
    stored.run("DELETE FROM dead_letters".to_owned()).await;
    sweep(&stored).await;
    assert_eq!(stored.count("changes WHERE seq <= 20000").await, 4);
    stored.store.close().await;
}

/// `RETENTION_ROWS=2000000` plays it on a large store.
#[tokio::test]
async fn a_large_backlog_of_old_rows_goes_in_short_steps() {
    let old = number("RETENTION_ROWS").unwrap_or(50_000);
    let mut stored = DirectStore::open().await;
    add_changes(&mut stored, i64::try_from(old).unwrap()).await;
    let mut steps = sweep(&stored).await;
    assert_eq!(stored.count("changes").await, i64::try_from(old).unwrap());
    assert_eq!(stored.count("messages").await, i64::try_from(old).unwrap());
    steps.sort();
    let whole: Duration = steps.iter().sum();
    let typical = steps[steps.len() / 2];
    let rate = 3.0 * u32::try_from(old).map(f64::from).unwrap() / whole.as_secs_f64();
    let longest = steps.last().unwrap();
    eprintln!(
        "{} steps, {typical:?} each, {longest:?} the longest, {rate:.0} rows a second",
        steps.len()
    );
    assert!(steps.len() as u64 > old / 600, "{} steps", steps.len());
    stored.store.close().await;
}

/// There is one row for each thing that changes wait for, as long as any does.
#[tokio::test]
async fn waits_that_are_over_leave_nothing_behind() {
    let mut stored = DirectStore::open().await;
    add_changes(&mut stored, 5).await;
    stored
        .run(
            "UPDATE changes SET state = 0; UPDATE messages SET message_id = randomblob(16)"
                .to_owned(),
        )
        .await;
    let wait = |id: &str| Wait::Details(id.to_owned());
    let mapped = |change: &Change, only: Option<&str>, waits: &[Wait]| MappedChange {
        change: change.clone(),
        only: only.map(str::to_owned),
        mapping: Mapping {
            waits: waits.to_vec(),
            ..Mapping::default()
        },
    };
    let changes = stored.leader.unseen_changes(10).await.unwrap();
    assert_eq!(changes.len(), 10);
    let both = [wait("E1"), wait("E2")];
    for (only, waits, left) in [
        (None, &both[..], (2, 20)),
        (Some("E1"), &[][..], (1, 10)),
        (None, &both[..1], (1, 10)),
        (Some("E1"), &[][..], (0, 0)),
    ] {
        let all = changes.iter().map(|change| mapped(change, only, waits));
        let recorded = stored.leader.record_mapping(Revision(1), all.collect());
        recorded.await.unwrap();
        let counted = (
            stored.count("waits").await,
            stored.count("change_waits").await,
        );
        assert_eq!(counted, left, "{only:?} {waits:?}");
    }
    assert_eq!(stored.count("changes WHERE state = 2").await, 10);
    stored.store.close().await;
}

#[tokio::test]
async fn point_16_there_are_never_more_dead_letters_than_an_operator_could_read() {
    let mut stored = DirectStore::open().await;
    let now = stored.now.as_microsecond();
    let old = now - 40 * DAY;
    stored
        .run(format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers \
             WHERE n < 102500) INSERT INTO dead_letters (seq, kind, why, created_at) \
             SELECT n, 'record', 'w', iif(n <= 3000, {old}, {now}) FROM numbers"
        ))
        .await;
    sweep(&stored).await;
    assert_eq!(stored.count("dead_letters WHERE seq <= 2500").await, 0);
    // Of the rest, those that are too old.
    assert_eq!(stored.count("dead_letters").await, 99_500);
    stored.store.close().await;
}
