//! Commands look at a store in PostgreSQL: `doctor` at its server, and `resync` at what was accepted.

use std::sync::Arc;

use jiff::Timestamp;
use purgefront::{
    domain::{
        doctor::store::{SeenServer, SeenStore, ServerFacts, StoreVersion},
        store_location::StoreLocation,
    },
    ports::leadership::Leases as _,
    shutdown::Tasks,
    store::{self, PostgresStore},
    telemetry::Health,
};

use crate::support::{clock::VirtualClock, postgres::Database};

async fn opened(database: &Database) -> PostgresStore {
    let clock = Arc::new(VirtualClock::new());
    let opened = store::open_postgres(database.url(), clock, Health::default(), Tasks::default());
    opened.await.unwrap()
}

async fn look(url: &str) -> SeenServer {
    let location = StoreLocation::parse(url).unwrap();
    match store::inspector(&location).look().await {
        SeenStore::Server(seen) => seen,
        SeenStore::Local(seen) => panic!("{seen:?}"),
    }
}

async fn facts(database: &Database) -> ServerFacts {
    look(database.url()).await.seen.unwrap()
}

#[tokio::test]
async fn doctor_sees_the_server_and_who_leads() {
    let Some(database) = Database::new().await else {
        return;
    };
    let before = facts(&database).await;
    assert_eq!((before.version, &before.leader), (None, &None));
    assert!(before.major >= 13, "{before:?}");
    assert!(before.server.starts_with(&before.major.to_string()));

    let store = opened(&database).await;
    let current = Some(StoreVersion::Current);
    let seen = facts(&database).await;
    assert_eq!((seen.version, seen.leader), (current, None));
    store.leases().acquire("host:7").await.unwrap();
    let (holder, _) = facts(&database).await.leader.unwrap();
    assert_eq!(holder, "host:7");
    store.close().await;

    let mut connection = database.connect().await;
    for (statement, expected) in [
        (
            "INSERT INTO _sqlx_migrations VALUES (99, 'newer', now(), true, '', 0)",
            current,
        ),
        (
            "UPDATE schema_marks SET min_version = 99",
            Some(StoreVersion::Other),
        ),
    ] {
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        assert_eq!(facts(&database).await.version, expected);
    }
}

#[tokio::test]
async fn doctor_says_that_no_server_answers() {
    let seen = look("postgres://app:secret-7x@127.0.0.1:1/purgefront").await;
    assert_eq!(seen.name, "postgres://app@127.0.0.1:1/purgefront");
    let why = seen.seen.unwrap_err();
    assert!(!why.is_empty() && !why.contains("secret-7x"), "{why}");
}

/// Changes of keys, and one of a path, with what became of them. U+10FFFF and "0" stand for U+0000.
const HISTORY: &str = "
    INSERT INTO requests (seq, id, token, accepted_at) VALUES (1, gen_random_uuid(), 't', 0);
    INSERT INTO changes (seq, message, bucket, object_key, accepted_at, state) VALUES
        (1, 1, 'site', 'new', 1, 0), (2, 1, 'site', 'mapped' || U&'\\+10FFFF' || '0', 2, 2),
        (3, 1, 'site', 'sent', 3, 2), (4, 1, 'site', 'shadowed', 4, 2), (5, 1, 'site', 'failed', 5, 2),
        (6, 1, 'site', 'partly', 6, 2), (7, 1, 'site', 'skipped', 7, 2),
        (8, 1, 'site', 'dead', 8, 2), (9, 1, 'site', 'again', 9, 2), (10, 1, 'site', 'again', 10, 2),
        (11, 1, 'other', 'elsewhere', 11, 2);
    INSERT INTO changes (seq, request, distribution_id, path, accepted_at, state) VALUES
        (12, 1, 'E1', '/sent', 12, 2), (13, 1, 'E1', '/shadowed', 13, 2), (14, 1, 'E1', '/new', 14, 0);
    INSERT INTO batches (seq, id, distribution_id, caller_reference, status, item_count,
        wildcard_count, change_count, created_at, due_at)
        SELECT nth, gen_random_uuid(), 'E1', 'r' || nth, (ARRAY['completed', 'shadowed', 'failed', 'pending'])[nth],
        1, 0, 1, 0, 0 FROM generate_series(1, 4) AS nth;
    INSERT INTO targets (change, distribution_id, item, because, manual, wildcard, accepted_at, batch, position)
        SELECT change, 'E' || change, '/i', '', false, false, 0, batch, batch * 0
        FROM (VALUES (2, NULL), (3, 1), (4, 2), (5, 3), (6, 1), (6, 3), (8, 1), (9, 4), (10, 2), (11, 1), (12, 1),
        (13, 2)) AS pairs (change, batch);
    INSERT INTO skips (change, why) VALUES (7, 'no distribution');
    INSERT INTO dead_letters (kind, why, change, created_at) VALUES ('item', '~', 8, 0)";

#[tokio::test]
async fn only_what_was_sent_or_is_going_to_be_covers() {
    let Some(database) = Database::new().await else {
        return;
    };
    let location = StoreLocation::parse(database.url()).unwrap();
    let coverage = store::coverage(&location, "site", Timestamp::UNIX_EPOCH);
    let missing = coverage.await.err().unwrap().to_string();
    assert!(missing.contains("there is no store"), "{missing}");
    opened(&database).await.close().await;
    let mut connection = database.connect().await;
    sqlx::raw_sql(HISTORY)
        .execute(&mut connection)
        .await
        .unwrap();
    let coverage = store::coverage(&location, "site", Timestamp::UNIX_EPOCH);
    let mut coverage = coverage.await.unwrap();
    let keys = [
        "new", "mapped\0", "sent", "shadowed", "failed", "partly", "skipped", "dead", "again",
    ];
    let found = coverage.last_accepted(&keys).await.unwrap();
    let mut found: Vec<_> = found
        .iter()
        .map(|(key, at)| (key.as_str(), at.as_microsecond()))
        .collect();
    found.sort_unstable();
    let expected = [("again", 9), ("mapped\0", 2), ("new", 1), ("sent", 3)];
    assert_eq!(found, expected);
    let found = coverage.requested(0).await.unwrap();
    let found: Vec<_> = found.iter().map(|one| one.item.as_str()).collect();
    assert_eq!(found, ["/sent", "/new"]);
}
