//! A store is moved from SQLite to PostgreSQL, and back, with everything that is open in it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use purgefront::{shutdown::Tasks, store, telemetry::Health};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, SqliteConnection};

use crate::support::{
    aws::FakeAws,
    clock::VirtualClock,
    cloudfront::{Distribution, Fault},
    postgres::Database,
    quick_directory,
    service::{Service, Setup, TOKEN, program},
    signer::{Signer, s3_records},
    sqlite::execute,
    until,
};

fn file_url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

fn copied(setup: &Setup, from: &str, to: &str) -> Value {
    let (code, said, complaint) = setup.run(&["store", "copy", from, to, "--json"]);
    assert_eq!(code, Some(0), "{said}{complaint}");
    serde_json::from_str(&said).unwrap()
}

/// What is refused, with this exit code: what is said.
fn refused(setup: &Setup, from: &str, to: &str, expected: i32) -> String {
    let (code, said, complaint) = setup.run(&["store", "copy", from, to]);
    assert_eq!(code, Some(expected), "{said}{complaint}");
    assert_eq!(said, "");
    complaint
}

/// Site is behind E1, and shop behind E2, where a deploy window is open.
struct Move {
    aws: FakeAws,
    signer: Signer,
    setup: Setup,
}

impl Move {
    async fn prepared() -> Self {
        let aws = FakeAws::start().await;
        let signer = Signer::new();
        aws.sns.serve(&signer.file_name, signer.certificate());
        aws.cloudfront.put(Distribution::of("E1", "site"));
        aws.cloudfront.put(Distribution::of("E2", "shop"));
        let setup = Setup::new(&aws);
        Self { aws, signer, setup }
    }

    /// A service on another store.
    async fn on(&mut self, url: &str) -> Service {
        self.setup.unset_env("PURGEFRONT_STORE__URL");
        self.setup.set_env("PURGEFRONT_STORE__URL", url);
        let service = self.setup.start().await;
        service.knows_the_catalogue().await;
        service
    }

    async fn uploads(&self, service: &Service, bucket: &str, key: &str) {
        let text = s3_records(bucket, &[("ObjectCreated:Put", key)]);
        let answer = service.sns(self.signer.notification(&text).body());
        assert_eq!(answer.await.status(), 200);
    }

    async fn sends(&self, id: &str, path: &str) {
        until("what is sent", || {
            let sent = self.aws.cloudfront.paths(id);
            sent.iter().any(|one| one == path).then_some(())
        })
        .await;
    }

    /// How often each caller reference was used for this item.
    fn references(&self, item: &str) -> BTreeMap<String, usize> {
        let mut references = BTreeMap::new();
        for call in self.aws.cloudfront.calls() {
            if call.order.items == [item] {
                *references.entry(call.order.caller_reference).or_default() += 1;
            }
        }
        references
    }
}

async fn begins_hold(service: &Service) -> String {
    let body = json!({"distribution_id": "E2", "ttl": "10m", "reason": "release 7"});
    let request = service.client.post(format!("{}/holds", service.url));
    let answer = request.bearer_auth(TOKEN).body(body.to_string()).send();
    let hold: Value = answer.await.unwrap().json().await.unwrap();
    hold["id"].as_str().unwrap().to_owned()
}

async fn ends_hold(service: &Service, id: &str) {
    let request = service.client.delete(format!("{}/holds/{id}", service.url));
    let answer = request.bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 204);
}

fn dead_letters(service: &Service, setup: &Setup) -> Vec<Value> {
    let words = [
        "deadletters",
        "list",
        "--json",
        "--admin-url",
        &service.admin_url,
    ];
    let (code, said, complaint) = setup.run(&words);
    assert_eq!(code, Some(0), "{complaint}");
    let page: Value = serde_json::from_str(&said).unwrap();
    page["dead_letters"].as_array().unwrap().clone()
}

/// One change in doubt, others waiting, one that is held, and a dead letter go on in the other store.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_open_goes_on_in_the_other_store() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut it = Move::prepared().await;
    let first = file_url(it.setup.store());
    let service = it.on(&first).await;
    it.aws.cloudfront.refuse_path("/refused");
    it.uploads(&service, "site", "refused").await;
    eventually!(dead_letters(&service, &it.setup).len() == 1);
    let hold = begins_hold(&service).await;
    it.uploads(&service, "shop", "held").await;
    let request: Value = service
        .invalidate("E1", &["/wanted"])
        .await
        .json()
        .await
        .unwrap();
    let request = format!("/requests/{}", request["id"].as_str().unwrap());
    it.sends("E1", "/wanted").await;
    // CloudFront makes the invalidation, but its answer is lost, and it answers nothing afterwards.
    it.aws.cloudfront.fail_next([Fault::LostAfter]);
    it.uploads(&service, "site", "doubt").await;
    eventually!(!it.references("/doubt").is_empty());
    it.aws.cloudfront.set_down(true);
    it.uploads(&service, "site", "waiting").await;
    eventually!(service.metric("purgefront_unmapped_changes").await == 0);
    service.terminate().await;

    let found = copied(&it.setup, &first, database.url());
    assert_eq!(found["outcome"], "done");
    assert_eq!(found["tables"]["holds"], 1, "{found}");
    it.aws.cloudfront.set_down(false);
    let service = it.on(database.url()).await;
    it.sends("E1", "/waiting").await;
    let references = it.references("/doubt");
    assert!(references.len() == 1 && references.values().all(|times| *times > 1));
    eventually!(service.get(&request).await["state"] == "completed");
    let letter = dead_letters(&service, &it.setup).remove(0);
    it.aws.cloudfront.accept_paths();
    let replay = [
        "deadletters",
        "replay",
        &letter["id"].to_string(),
        "--admin-url",
    ];
    let replayed = it.setup.run(&[&replay[..], &[&service.admin_url]].concat());
    assert_eq!(replayed.0, Some(0), "{}", replayed.2);
    it.sends("E1", "/refused").await;
    assert!(it.aws.cloudfront.paths("E2").is_empty());
    it.uploads(&service, "site", "on-postgres").await;
    it.sends("E1", "/on-postgres").await;
    service.terminate().await;

    let second = file_url(&it.setup.home().join("back.db"));
    copied(&it.setup, database.url(), &second);
    let service = it.on(&second).await;
    assert_eq!(service.get(&request).await["state"], "completed");
    assert!(dead_letters(&service, &it.setup).is_empty());
    assert!(it.aws.cloudfront.paths("E2").is_empty());
    ends_hold(&service, &hold).await;
    it.sends("E2", "/held").await;
    // What was accepted on the first store is still known.
    let before = it.aws.cloudfront.calls().len();
    it.uploads(&service, "site", "back").await;
    it.sends("E1", "/back").await;
    assert_eq!(it.aws.cloudfront.calls().len(), before + 1);
}

/// A new store at this path, which is not open.
async fn new_store(path: &Path) {
    let clock = std::sync::Arc::new(VirtualClock::new());
    let opened = store::open_sqlite(path, clock, Health::default(), Tasks::default()).await;
    opened.unwrap().close().await;
}

/// Rows of every kind, with what only one of the stores can write as it is.
const ROWS: &str = "
    INSERT INTO messages VALUES (3, 5, x'00112233445566778899aabbccddeeff', 'notification', 'arn:ü', 7);
    INSERT INTO requests VALUES
        (2, '01890a5d-ac96-774b-bcce-b302099a8057', 'a', NULL, 1, NULL, NULL, NULL),
        (9, '01890a5d-ac96-774b-bcce-b302099a8058', 'a', 'why' || char(0) || '?', 2, '[\"E1\"]', 'k', x'00ff');
    INSERT INTO changes (seq, message, bucket, object_key, event, event_time, accepted_at, state, sequencer)
        VALUES (1, 3, 'site', 'a' || char(0) || char(1114111) || '0', 'ObjectCreated:Put', -5, 1, 1, NULL);
    INSERT INTO changes (seq, request, distribution_id, path, accepted_at, state, mapped_revision)
        VALUES (5, 9, 'E1', '/a*', 9223372036854775807, 2, 4);
    INSERT INTO batches VALUES
        (1, '01890a5d-ac96-774b-bcce-b302099a8059', 'E1', 'reference', 'replaced', NULL, 1, 'I1', 1, 0, 1, 2, 3,
            4, 1, 5, 1, '2026-01-01'),
        (2, '01890a5d-ac96-774b-bcce-b302099a805a', 'E1', 'another', 'pending', 1, 0, NULL, 1, 0, 1, 2, NULL,
            NULL, 0, 5, 0, NULL);
    INSERT INTO batch_items VALUES (2, 0, '/a'), (2, 1, '/' || char(0));
    INSERT INTO batch_merges VALUES (2, 'E1', 3, '{\"made\": []}');
    INSERT INTO attempts VALUES (1, 1, 2, 3, 'lost', 'no answer'), (2, 2, 4, NULL, NULL, NULL);
    INSERT INTO targets (seq, change, distribution_id, item, because, manual, accepted_at, batch, position, wildcard)
        VALUES (1, 1, 'E1', '/a', 'b', 0, 1, 2, 0, 0), (2, 5, 'E1', '/a*', '', 1, 1, NULL, NULL, 1);
    INSERT INTO backlogs VALUES ('E1', 1, 1, 0, 1);
    INSERT INTO skips VALUES (1, 1, NULL, 'none', 0), (2, 5, 'E2', 'failed', 1);
    INSERT INTO dead_letters VALUES (6, 'record', '?', 'x' || char(0), 3, NULL, NULL, NULL, 1),
        (8, 'item', 'no', NULL, NULL, 5, 'E1', 2, 1), (11, 'item', 'no', '/a', NULL, NULL, 'E1', 2, 1);
    DELETE FROM dead_letters WHERE seq = 11;
    INSERT INTO paused VALUES (''), ('E3');
    INSERT INTO backoffs VALUES ('E1', 2, 3, NULL, NULL, 1), ('E2', 0, 0, 'Throttling', 'slow', 0);
    INSERT INTO day_spending VALUES ('2026-01-01', 5, 1, 7), ('2026-01-02', 0, 0, 0);
    INSERT INTO others_invalidations VALUES (3, 'E1', 'I7', 4, 7);
    INSERT INTO confirmations VALUES ('arn:1', 'token', 1, 'given_up', 3, 4, 'no'), ('arn:1', 't', 1, 'pending', 0, 4, NULL);
    INSERT INTO ended_subscriptions VALUES ('arn:2', 5);
    INSERT INTO catalogue VALUES (1, 5, '{}', 7, 3);
    INSERT INTO distributions VALUES ('E1', '{\"a\": \"\\u0000\"}');
    INSERT INTO late_distributions VALUES (4, 'E1', 2, 7);
    INSERT INTO waits VALUES (2, 'bucket', '', 'site'), (3, 'policy', 'E1', 'p');
    INSERT INTO change_waits VALUES (2, 1), (3, 1);
    INSERT INTO certificates VALUES ('https://sns/a.pem', 'PEM', 1);
    INSERT INTO holds VALUES
        (1, '01890a5d-ac96-774b-bcce-b302099a805b', 'E1', NULL, NULL, 'a', NULL, NULL, NULL, 1, 2, NULL),
        (2, '01890a5d-ac96-774b-bcce-b302099a805c', NULL, 'site', '[]', 'a', 'r', 'k', x'', 1, 2, 3);
    INSERT INTO notice_targets VALUES ('one', '[]', NULL), ('two', '[\"failed\"]', '[\"E1\"]');
    INSERT INTO notices VALUES (5, '01890a5d-ac96-774b-bcce-b302099a805d', 'one', '{}', 1, 2, 3);
    UPDATE journal SET last = 12;";

/// Many changes, more than are in memory at once.
const MANY: &str = "
    WITH RECURSIVE numbers (n) AS (SELECT 100 UNION ALL SELECT n + 1 FROM numbers WHERE n < 5100)
    INSERT INTO changes (seq, message, bucket, object_key, event, accepted_at, object_hash)
        SELECT n, 3, 'site', 'a', 'ObjectCreated:Put', n, 4147031269 FROM numbers;
    UPDATE journal SET last = 5100;";

/// Every row of every table, as types and bytes.
async fn dump(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut store = SqliteConnection::connect(&file_url(path)).await.unwrap();
    let tables = "SELECT tables.name, group_concat('typeof(\"' || columns.name || '\") || hex(\"' || columns.name \
                  || '\")', '||'','' ||') FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns \
                  WHERE tables.type = 'table' AND tables.name NOT IN ('_sqlx_migrations', 'probe') GROUP BY 1";
    let tables: Vec<(String, String)> = sqlx::query_as(tables).fetch_all(&mut store).await.unwrap();
    let mut dumped = BTreeMap::new();
    for (table, columns) in tables {
        let select = format!("SELECT {columns} FROM {table} ORDER BY 1");
        let rows = sqlx::query_scalar(AssertSqlSafe(select))
            .fetch_all(&mut store)
            .await;
        dumped.insert(table, rows.unwrap());
    }
    store.close().await.unwrap();
    dumped
}

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_every_row_is_the_same() {
    let Some(database) = Database::new().await else {
        return;
    };
    let folder = quick_directory();
    let (first, second) = (folder.path().join("1.db"), folder.path().join("2.db"));
    new_store(&first).await;
    execute(&first, ROWS).await;
    execute(&first, MANY).await;
    let setup = Setup::alone();
    let found = copied(&setup, &file_url(&first), database.url());
    assert_eq!(found["tables"]["changes"], 5_003, "{found}");
    let (mut rows, mut hashed) = (0, dump(&first).await);
    for (table, count) in found["tables"].as_object().unwrap() {
        assert_ne!(count, 0, "{table}");
        rows += count.as_u64().unwrap();
    }
    assert_eq!(found["rows"], rows);
    goes_on_counting(&mut database.connect().await).await;
    copied(&setup, database.url(), &file_url(&second));
    // The change of an old store, which had no hash, has one now.
    let copy = dump(&second).await;
    let old = &mut hashed.get_mut("changes").unwrap()[0];
    assert!(old.ends_with("null"), "{old}");
    old.truncate(old.len() - "null".len());
    assert!(
        copy["changes"][0].starts_with(&*old),
        "{}",
        copy["changes"][0]
    );
    old.clone_from(&copy["changes"][0]);
    for (table, rows) in &hashed {
        let other = copy[table].iter().zip(rows).find(|(copy, row)| copy != row);
        assert_eq!((other, copy[table].len()), (None, rows.len()), "{table}");
    }
    assert_eq!(copy.len(), hashed.len());
}

/// New rows come after all that there ever were, and all columns are PostgreSQL's.
async fn goes_on_counting(store: &mut PgConnection) {
    let next = "SELECT nextval(pg_get_serial_sequence('dead_letters', 'seq')), \
                nextval(pg_get_serial_sequence('requests', 'seq')), \
                pg_sequence_last_value('journal_numbers')";
    let next: (i64, i64, i64) = sqlx::query_as(next).fetch_one(&mut *store).await.unwrap();
    assert_eq!(next, (12, 10, 5_100));
    let back = "SELECT setval(pg_get_serial_sequence('dead_letters', 'seq'), 11)";
    sqlx::query(back).execute(&mut *store).await.unwrap();
    let sqlite = quick_directory();
    let sqlite = sqlite.path().join("1.db");
    new_store(&sqlite).await;
    let mut sqlite = SqliteConnection::connect(&file_url(&sqlite)).await.unwrap();
    let columns = "SELECT tables.name, columns.name FROM sqlite_schema AS tables, \
                   pragma_table_info(tables.name) AS columns WHERE tables.type = 'table' \
                   AND tables.name NOT IN ('_sqlx_migrations', 'sqlite_sequence', 'probe', 'journal') \
                   AND columns.name <> 'only'";
    let mut expected: Vec<(String, String)> = sqlx::query_as(columns)
        .fetch_all(&mut sqlite)
        .await
        .unwrap();
    let columns = "SELECT table_name::text, column_name::text FROM information_schema.columns \
                   WHERE table_schema = 'public' AND column_name <> 'only_row' AND table_name NOT IN \
                   ('_sqlx_migrations', 'journal', 'leases', 'schema_marks', 'turn', 'wanted')";
    let mut found: Vec<(String, String)> = sqlx::query_as(columns).fetch_all(store).await.unwrap();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_or_has_something_is_refused() {
    let Some(database) = Database::new().await else {
        return;
    };
    let mut it = Move::prepared().await;
    let path = it.setup.store().to_owned();
    let other = it.setup.home().join("other.db");
    let (file, new, server) = (file_url(&path), file_url(&other), database.url().to_owned());
    let said = refused(&it.setup, &file, &server, 2);
    assert!(said.contains("there is no store at"), "{said}");
    let said = refused(&it.setup, &server, &new, 1);
    assert!(said.contains("is not a store of purgefront"), "{said}");
    let said = refused(&it.setup, &file, &file, 2);
    assert!(said.contains("both are the store"), "{said}");
    let service = it.on(&file).await;
    let said = refused(&it.setup, &file, &new, 1);
    assert!(said.contains("another purgefront uses the store"), "{said}");
    service.terminate().await;

    let service = it.on(&server).await;
    let said = refused(&it.setup, &server, &new, 1);
    assert!(said.contains("Stop all services of it first"), "{said}");
    let said = refused(&it.setup, &file, &server, 1);
    assert!(said.contains("Stop all services of it first"), "{said}");
    service.terminate().await;
    let said = refused(&it.setup, &file, &server, 2);
    assert!(
        said.contains("has something in catalogue already"),
        "{said}"
    );
    assert!(said.contains("an empty database"), "{said}");
    execute(&path, "DELETE FROM _sqlx_migrations WHERE version = 13").await;
    let said = refused(&it.setup, &file, &new, 2);
    assert!(said.contains("older version"), "{said}");
    execute(
        &path,
        "INSERT INTO _sqlx_migrations VALUES (99, '', '', 1, x'', 0)",
    )
    .await;
    let said = refused(&it.setup, &file, &new, 2);
    assert!(said.contains("another version of purgefront"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_never_shown() {
    let setup = Setup::alone();
    let file = PathBuf::from("/nowhere/purgefront.db");
    for (url, code) in [
        ("postgres://app:secret-7x@127.0.0.1:1/purgefront", 1),
        (
            "postgres://app:secret-7x@127.0.0.1:1/purgefront?sslmode=never",
            2,
        ),
        ("mysql://app:secret-7x@127.0.0.1/purgefront", 2),
    ] {
        let (found, said, complaint) =
            setup.run(&["store", "copy", url, &file_url(&file), "--json"]);
        assert_eq!(found, Some(code), "{said}{complaint}");
        assert!(
            !format!("{said}{complaint}").contains("secret-7x"),
            "{said}{complaint}"
        );
    }
}

/// Nothing of a copy that was broken off is left, so it can be made again.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_there_as_a_whole_or_not_at_all() {
    let Some(database) = Database::new().await else {
        return;
    };
    let folder = quick_directory();
    let path = folder.path().join("1.db");
    new_store(&path).await;
    execute(&path, ROWS).await;
    execute(&path, &MANY.replace("5100", "100100")).await;
    let mut copying = Command::new(program())
        .args(["store", "copy", &file_url(&path), database.url()])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut look = database.connect().await;
    let inserting = "SELECT count(*) FROM pg_stat_activity \
                     WHERE datname = current_database() AND query LIKE 'INSERT INTO changes%'";
    eventually!(
        sqlx::query(inserting)
            .fetch_one(&mut look)
            .await
            .unwrap()
            .get::<i64, _>(0)
            > 0
    );
    copying.kill().unwrap();
    let ended = copying.wait().unwrap();
    assert!(!ended.success(), "it was killed before its end");
    let found = copied(&Setup::alone(), &file_url(&path), database.url());
    assert_eq!(found["tables"]["changes"], 100_003, "{found}");
    let count = "SELECT count(*) FROM changes";
    let count: i64 = sqlx::query_scalar(count)
        .fetch_one(&mut look)
        .await
        .unwrap();
    assert_eq!(count, 100_003);
}
