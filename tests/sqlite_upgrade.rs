//! SQLite only: a store that the first release made is opened by this one.
//!
//! It is written with the SQL of that release, because no current code can write it, and read
//! through the ports. Another store has its own first schema.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use jiff::{Timestamp, civil::date};
use purgefront::{
    domain::{
        batch::{Backlog, DistributionBacklog, Group, Merges, Usage},
        cdn::CdnError,
        change::{Change, Content, NewMessage, Remap, Subject},
        ledger::Ledger,
        operations::{Backoff, DaySpending},
        path::Item,
        resolution::{Failure, NextStep, Resolution},
        s3_event::ObjectChange,
        story::ChangeQuery,
        wait::{OpenWait, Wait},
    },
    ports::{
        catalogue::CatalogueStore as _,
        dispatch::{DispatchStore, Epoch, LeaderStore as _},
        history::HistoryStore as _,
        intake::IntakeStore as _,
        operations::OperationsStore as _,
    },
    shutdown::Tasks,
    store::{self, SqliteStore},
    telemetry::Health,
};
use sqlx::{
    Connection as _, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode},
};

use uuid::Uuid;

use crate::support::{clock::VirtualClock, inside::in_front_of, sqlite::WINDOW};

/// The schema of the first release.
const SCHEMA: &str = include_str!("../src/store/sqlite/migrations/0001_journal.sql");

/// What the first release may have left behind, times in seconds since 1970.
const CONTENT: &str = "
    INSERT INTO brakes (distribution_id, paused, failures, not_before) VALUES
        ('E1', 1, 0, 0), ('E2', 0, 3, 1800000060000000), ('E3', 1, 5, 1800000900000000);
    INSERT INTO pauses (only, paused) VALUES (1, 1);
    -- 2027-01-14 and the day after.
    INSERT INTO days (day, items, lifted) VALUES (20832, 7, 1), (20833, 41, 0);
    INSERT INTO messages (seq, signed_at, message_id, kind, topic, accepted_at) VALUES
        (1, 1800000000000000, x'00112233445566778899aabbccddeeff', 'notification',
         'arn:aws:sns:us-east-1:123456789012:site-changes', 1800000001000000);
    INSERT INTO requests (seq, id, token, reason, accepted_at) VALUES
        (1, '0198a5b0-0000-7000-8000-000000000001', 'editor', NULL, 1800000002000000);
    INSERT INTO changes (seq, message, bucket, object_key, event, accepted_at, state) VALUES
        (1, 1, 'site', 'a', 'ObjectCreated:Put', 1800000001000000, 2),
        (2, 1, 'site', 'b*', 'ObjectCreated:Put', 1800000001000000, 2),
        (3, 1, 'site', 'sent', 'ObjectCreated:Put', 1800000001000000, 2),
        (4, 1, 'site', 'unseen', 'ObjectCreated:Put', 1800000001000000, 0),
        (8, 1, 'site', 'parked', 'ObjectCreated:Put', 1799999989000000, 1);
    INSERT INTO changes (seq, request, distribution_id, path, accepted_at, state) VALUES
        (5, 1, 'E1', '/m', 1800000002000000, 2), (6, 1, 'E1', '/m/*', 1800000002000000, 2),
        (7, 1, 'E1', '#tag*', 1800000002000000, 2);
    INSERT INTO batches (seq, id, distribution_id, caller_reference, status, renamed, item_count,
                         wildcard_count, change_count, created_at, failures, due_at) VALUES
        (1, '0198a5b0-0000-7000-8000-000000000002', 'E1', 'reference', 'pending', 1, 2, 1, 1,
         1800000003000000, 2, 1800000004000000),
        -- Nothing else waits at its distribution.
        (2, '0198a5b0-0000-7000-8000-000000000003', 'E4', 'another', 'pending', 0, 1, 1, 1,
         1800000003000000, 0, 1800000004000000);
    INSERT INTO batch_items (batch, position, item) VALUES (1, 0, '/sent'), (1, 1, '/sent/*'),
        (2, 0, '/all/*');
    INSERT INTO attempts (batch, started_at) VALUES (1, 1800000003000000), (2, 1800000003000000);
    INSERT INTO targets (change, distribution_id, item, because, manual, accepted_at, batch,
                         position) VALUES
        (1, 'E1', '/a', 'key', 0, 1800000001000000, NULL, NULL),
        (1, 'E2', '/a', 'key', 0, 1800000001000000, NULL, NULL),
        (1, 'E2', '/x*y', 'key', 0, 1800000001000000, NULL, NULL),
        (2, 'E1', '/b*', 'key', 0, 1800000001000000, NULL, NULL),
        (2, 'E1', '/*', 'key', 0, 1800000001000000, NULL, NULL),
        (3, 'E1', '/sent', 'key', 0, 1800000001000000, 1, 0),
        (3, 'E4', '/all/*', 'key', 0, 1800000001000000, 2, 0),
        (5, 'E1', '/m', 'asked for', 1, 1800000002000000, NULL, NULL),
        (6, 'E1', '/m/*', 'asked for', 1, 1800000002000000, NULL, NULL),
        (7, 'E1', '#tag*', 'asked for', 1, 1800000002000000, NULL, NULL);
    INSERT INTO dead_letters (seq, kind, why, content, message, change, distribution_id, batch,
                              created_at) VALUES
        (4, 'record', 'no key', '{}', 1, NULL, NULL, NULL, 1800000005000000),
        (9, 'item', 'only /* would do', NULL, NULL, 3, 'E5', NULL, 1800000006000000);
    -- E3 was late, with a part of its changes mapped again; and a dead letter was replayed.
    INSERT INTO remaps (distribution_id, since, after, through) VALUES
        ('E3', 1799999990000000, 1, 9223372036854775807), ('E2', 1800000001000000, 2, 3);
    INSERT INTO catalogue (only, read_since, cache_policies) VALUES (1, 1800000000000000, '{}');
";

pub async fn make_first_release(path: &Path) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .foreign_keys(true);
    let mut store = SqliteConnection::connect_with(&options).await.unwrap();
    // Version and name as in the store, so that it knows the migration by its checksum.
    let kind = MigrationType::Simple;
    let first = Migration::new(1, "journal".into(), kind, SCHEMA.into_sql_str(), false);
    let migrator = Migrator::with_migrations(vec![first]);
    migrator.run_direct(None, &mut store, false).await.unwrap();
    sqlx::raw_sql(CONTENT).execute(&mut store).await.unwrap();
    let distribution = in_front_of("E1", "site.s3.amazonaws.com");
    sqlx::query("INSERT INTO distributions (id, document) VALUES ('E1', ?)")
        .bind(serde_json::to_string(&distribution).unwrap())
        .execute(&mut store)
        .await
        .unwrap();
    store.close().await.unwrap();
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[tokio::test]
async fn a_store_of_the_first_release_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("purgefront.db");
    make_first_release(&path).await;
    // Again after the upgrade.
    for _ in 0..2 {
        let clock = Arc::new(VirtualClock::new());
        let opened = store::open_sqlite(&path, clock, Health::default(), Tasks::default()).await;
        let store = opened.unwrap();
        let leader = store.lead(Epoch(1));
        controls_came_over(&*leader).await;
        backlogs_came_over(&*leader).await;
        the_batch_came_over(&*leader).await;
        the_catalogue_came_over(&store).await;
        mapping_came_over(&store, &*leader).await;
        the_dead_letters_came_over(&store).await;
        the_request_came_over(&store).await;
        store.close().await;
    }
}

/// A store of the first release, opened by this one.
async fn first_release() -> (tempfile::TempDir, SqliteStore) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("purgefront.db");
    make_first_release(&path).await;
    let clock = Arc::new(VirtualClock::new());
    let opened = store::open_sqlite(&path, clock, Health::default(), Tasks::default()).await;
    (home, opened.unwrap())
}

/// A distribution that had only a batch when the store was opened has no counted backlog.
#[tokio::test]
async fn a_batch_of_the_first_release_is_requeued() {
    let (_home, store) = first_release().await;
    let leader = store.lead(Epoch(1));
    let unresolved = leader.unresolved().await.unwrap();
    let batch = &unresolved[1].batch;
    assert_eq!(batch.distribution_id, "E4");
    let now = second(1_800_000_010);
    let requeued = Resolution::Failed(Failure {
        error: CdnError::Throttled("slow down".to_owned()),
        next: NextStep::Requeue,
        failures: 1,
        not_before: second(1_800_000_020),
    });
    let recorded = leader.record_resolution(batch.id, &requeued, now);
    recorded.await.unwrap();
    let backlogs = leader.backlogs(None).await.unwrap();
    let backlog = backlogs.iter().find(|one| one.distribution_id == "E4");
    let backlog = backlog.unwrap().backlog;
    assert_eq!((backlog.items(), backlog.wildcards()), (1, 1));
    store.close().await;
}

/// Changes that have no hash are found all the same, also beside one that has.
#[tokio::test]
async fn changes_of_the_first_release_are_found() {
    let (_home, store) = first_release().await;
    let query = |key: &str| ChangeQuery {
        bucket: "site".to_owned(),
        key: key.to_owned(),
        viewer: None,
        before: None,
        limit: 10,
    };
    for (key, id) in [("a", 1), ("parked", 8)] {
        let found = store.changes(&query(key)).await.unwrap().changes;
        let ids: Vec<_> = found.iter().map(|one| one.id).collect();
        assert_eq!(ids, [id], "{key}");
    }
    let message = NewMessage {
        message_id: Uuid::new_v4(),
        signed_at: second(1_800_000_009),
        topic: "arn:aws:sns:us-east-1:123456789012:site-changes"
            .parse()
            .unwrap(),
        accepted_at: second(1_800_000_009),
        content: Content::Notification {
            changes: vec![ObjectChange {
                bucket: "site".to_owned(),
                key: "b*".to_owned(),
                event: "ObjectCreated:Put".to_owned(),
                time: None,
                sequencer: None,
            }],
            dead: Vec::new(),
        },
    };
    store.accept_message(message).await.unwrap();
    let found = store.changes(&query("b*")).await.unwrap().changes;
    let ids: Vec<_> = found.iter().map(|one| one.id).collect();
    assert_eq!(ids, [9, 2]);
    store.close().await;
}

async fn controls_came_over(leader: &dyn DispatchStore) {
    let controls = leader.controls(date(2027, 1, 15)).await.unwrap();
    assert!(controls.pauses.all);
    let paused = ["E1", "E3"].map(str::to_owned);
    assert_eq!(controls.pauses.distributions, BTreeSet::from(paused));
    let spending = |items, lifted| DaySpending { items, lifted };
    assert_eq!(controls.spending, spending(41, false));
    let before = leader.controls(date(2027, 1, 14)).await.unwrap();
    assert_eq!(before.spending, spending(7, true));
    let ledger = Ledger {
        own: 48,
        others: 0,
        recent: 48,
        days: 2,
    };
    assert_eq!(controls.ledger, ledger);
    // A distribution that was only paused does not back off.
    let mut backoffs = leader.backoffs().await.unwrap();
    backoffs.retain(|one| one.failures > 0 || one.not_before > Timestamp::UNIX_EPOCH);
    backoffs.sort_by(|one, other| one.distribution_id.cmp(&other.distribution_id));
    let backoff = |id: &str, failures, until| Backoff {
        distribution_id: id.to_owned(),
        failures,
        not_before: second(until),
        // It kept no reason.
        error: None,
        ended: false,
    };
    let expected = [
        backoff("E2", 3, 1_800_000_060),
        backoff("E3", 5, 1_800_000_900),
    ];
    assert_eq!(backoffs, expected);
}

async fn backlogs_came_over(leader: &dyn DispatchStore) {
    let mut backlogs = leader.backlogs(None).await.unwrap();
    backlogs.sort_by(|one, other| one.distribution_id.cmp(&other.distribution_id));
    let backlog = |id: &str, backlog| DistributionBacklog {
        distribution_id: id.to_owned(),
        backlog,
    };
    let group = |items, oldest, newest| {
        Some(Group {
            items,
            oldest: second(oldest),
            newest: second(newest),
        })
    };
    let (one, two) = (1_800_000_001, 1_800_000_002);
    let first = Backlog {
        // A tag that ends in `*` is no wildcard.
        manual_paths: group(2, two, two),
        manual_wildcards: group(1, two, two),
        paths: group(1, one, one),
        wildcards: group(2, one, one),
    };
    let other = Backlog {
        paths: group(2, one, one),
        ..Backlog::default()
    };
    assert_eq!(backlogs, [backlog("E1", first), backlog("E2", other)]);
    let waiting = leader.waiting("E1", WINDOW).await.unwrap();
    let items: Vec<_> = waiting.iter().map(|one| one.item.as_str()).collect();
    assert_eq!(items, ["/m", "/m/*", "#tag*", "/a", "/b*", "/*"]);
    let unseen = leader.unseen_changes(10).await.unwrap();
    assert_eq!(keys(&unseen), ["unseen", "parked"]);
}

fn keys(changes: &[Change]) -> Vec<&str> {
    let objects = changes.iter().filter_map(|one| match &one.subject {
        Subject::Object { key, .. } => Some(key.as_str()),
        Subject::Item { .. } => None,
    });
    objects.collect()
}

async fn mapping_came_over(store: &SqliteStore, leader: &dyn DispatchStore) {
    let again = Wait::Again("E2".to_owned());
    let open = OpenWait {
        wait: again.clone(),
        first: 3,
    };
    assert_eq!(leader.open_waits().await.unwrap(), [open]);
    let waiting = leader.waiting_changes(&again, i64::MAX, 10).await.unwrap();
    assert_eq!(keys(&waiting), ["sent"]);
    let kept = store.kept_catalogue(None).await.unwrap().unwrap();
    let remap = Remap {
        distributions: vec!["E3".to_owned()],
        after: 1,
        revision: kept.revision,
    };
    assert_eq!(leader.next_remap().await.unwrap().unwrap(), remap);
    let changes = leader.changes_to_remap(&remap, 10).await.unwrap();
    assert_eq!(keys(&changes), ["b*", "sent"]);
    assert_eq!(leader.unmapped().await.unwrap().changes, 3);
    assert_eq!(leader.journal_end().await.unwrap(), 8);
    // The last change that is surely older than the reading.
    assert_eq!(kept.snapshot.journal_end, 8);
}

async fn the_batch_came_over(leader: &dyn DispatchStore) {
    let unresolved = leader.unresolved().await.unwrap();
    let [one, other] = &unresolved[..] else {
        panic!("two batches, not {unresolved:?}");
    };
    assert_eq!(other.batch.caller_reference, "another");
    assert!(one.has_new_reference && one.in_doubt);
    assert_eq!(one.batch.caller_reference, "reference");
    let items: Vec<_> = one.batch.items.iter().map(Item::as_str).collect();
    assert_eq!(items, ["/sent", "/sent/*"]);
    assert_eq!(one.failures, 2);
    assert_eq!(one.batch.merges, Merges::default());
    assert_eq!(one.due_at, second(1_800_000_004));
    let mut usages = leader.usages().await.unwrap();
    usages.retain(|one| one.distribution_id == "E1");
    let usage = Usage {
        paths: 1,
        wildcards: 1,
    };
    assert_eq!((usages.len(), usages[0].usage), (1, usage));
}

async fn the_dead_letters_came_over(store: &SqliteStore) {
    let letters = store.dead_letters(None, 10).await.unwrap();
    let [item, record] = &letters[..] else {
        panic!("two dead letters, not {letters:?}");
    };
    assert_eq!((item.id, item.why.as_str()), (9, "only /* would do"));
    assert_eq!(item.distribution_id.as_deref(), Some("E5"));
    assert_eq!(item.key.as_deref(), Some("sent"));
    assert_eq!((record.id, record.content.as_deref()), (4, Some("{}")));
}

/// It was for one distribution, and came without an idempotency key.
async fn the_request_came_over(store: &SqliteStore) {
    let id = "0198a5b0-0000-7000-8000-000000000001".parse().unwrap();
    let view = store.request(id).await.unwrap().unwrap();
    assert_eq!(view.distributions.unwrap(), ["E1"]);
    assert_eq!(view.created_at, second(1_800_000_002));
}

async fn the_catalogue_came_over(store: &SqliteStore) {
    let kept = store.kept_catalogue(None).await.unwrap().unwrap();
    assert_eq!(kept.snapshot.read_since, second(1_800_000_000));
    let distributions = &kept.snapshot.distributions;
    assert_eq!(distributions.len(), 1);
    assert_eq!(
        *distributions[0],
        in_front_of("E1", "site.s3.amazonaws.com")
    );
    let known = store.kept_catalogue(Some(kept.revision)).await.unwrap();
    assert_eq!(known, None);
}
