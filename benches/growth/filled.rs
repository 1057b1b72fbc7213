//! A store with a long history: millions of changes, all completed. It is made by SQL in minutes, and
//! kept for later runs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use aws_lc_rs::digest;
use sqlx::{
    AssertSqlSafe, Connection as _, Row as _, SqliteConnection, sqlite::SqliteConnectOptions,
};

use crate::{
    support::{aws::FakeAws, signer::TOPIC},
    world::{self, HELD, Store},
};

/// Increased when the rows below change.
const FORM: u32 = 1;
/// How many changes are added in one transaction, and are in one batch.
const CHUNK: i64 = 100_000;
const BATCH: i64 = 1_000;
/// The history ends an hour ago, and began 28 days before.
const SPAN: i64 = 28 * 24 * 3_600_000_000;
const AGO: i64 = 3_600_000_000;

/// Such a store. What a service adds to it is to be undone.
pub struct Filled {
    pub path: PathBuf,
    pub changes: usize,
}

impl Filled {
    /// The store that an earlier run has made, or a new one. The account has to have the same
    /// distributions each time.
    pub async fn ready(aws: &FakeAws, changes: usize) -> Self {
        let name = format!("history-{changes}-{FORM}.db");
        let filled = Self {
            path: world::directory().join(name),
            changes,
        };
        let fresh = Store::new();
        world::stopped(world::started(&world::setup(aws, &fresh.path, HELD)).await).await;
        if filled.path.exists() && schema(&filled.path).await == schema(&fresh.path).await {
            println!("{} is there already", filled.path.display());
            filled.undo().await;
        } else {
            filled.make(&fresh.path).await;
        }
        filled
    }

    async fn make(&self, fresh: &Path) {
        let begin = Instant::now();
        let part = self.path.with_extension("part");
        fs::copy(fresh, &part).unwrap();
        let mut store = open(&part).await;
        // If the power fails, it is made again.
        run(
            &mut store,
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
             PRAGMA cache_size = -500000; PRAGMA locking_mode = EXCLUSIVE",
        )
        .await;
        let end = i64::try_from(self.changes).unwrap();
        let mut first = 1;
        while first <= end {
            let last = end.min(first + CHUNK - 1);
            fill(&mut store, first, last, end).await;
            first = last + 1;
        }
        run(&mut store, &finish(end)).await;
        run(
            &mut store,
            "PRAGMA locking_mode = NORMAL; PRAGMA journal_mode = WAL",
        )
        .await;
        store.close().await.unwrap();
        fs::rename(&part, &self.path).unwrap();
        let took = begin.elapsed().as_secs();
        println!("{} was made in {took} s", self.path.display());
    }

    /// Removes what came after the history.
    pub async fn undo(&self) {
        let end = i64::try_from(self.changes).unwrap();
        let batches = (end - 1) / BATCH + 1;
        let mut store = open(&self.path).await;
        let sql = format!(
            "BEGIN; \
             DELETE FROM targets WHERE seq > {end}; DELETE FROM skips; DELETE FROM waits; \
             DELETE FROM change_waits; DELETE FROM late_distributions; \
             DELETE FROM attempts WHERE batch > {batches}; \
             DELETE FROM batch_items WHERE batch > {batches}; \
             DELETE FROM batches WHERE seq > {batches}; \
             DELETE FROM changes WHERE seq > {end}; DELETE FROM messages WHERE seq > {end}; \
             DELETE FROM requests; DELETE FROM backlogs; DELETE FROM backoffs; \
             DELETE FROM certificates; UPDATE journal SET last = {end}; \
             COMMIT; PRAGMA wal_checkpoint(TRUNCATE)"
        );
        run(&mut store, &sql).await;
        store.close().await.unwrap();
    }

    pub fn size(&self) -> u64 {
        fs::metadata(&self.path).unwrap().len()
    }
}

/// Adds changes, each with a message and a target of its own, and their batches.
async fn fill(store: &mut SqliteConnection, first: i64, last: i64, end: i64) {
    let now = jiff::Timestamp::now().as_microsecond();
    let began = now - AGO - SPAN;
    // Whole milliseconds, as SNS's.
    let step = (SPAN / end / 1_000).max(1) * 1_000;
    let messages = format!(
        "INSERT INTO messages (seq, signed_at, message_id, kind, topic, accepted_at) \
         WITH RECURSIVE numbers (n) AS \
         (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) \
         SELECT n, {began} / 1000 * 1000 + n * {step}, randomblob(16), 'notification', '{TOPIC}', \
         {began} + n * {step} + 150321 FROM numbers"
    );
    run(store, &messages).await;
    let changes = format!(
        "INSERT INTO changes (seq, message, bucket, object_key, event, event_time, accepted_at, \
         state, mapped_revision, sequencer, object_hash) \
         SELECT n, n, 'site', {KEY}, 'ObjectCreated:Put', {began} + n * {step} - 400000, \
         {began} + n * {step} + 150321, 2, 1, printf('%018X', n), hash \
         FROM (SELECT {first} + key AS n, value AS hash FROM json_each(?))"
    );
    let hashes: Vec<_> = (first..=last).map(|n| hash(&key(n))).collect();
    sqlx::query(AssertSqlSafe(changes))
        .bind(serde_json::to_string(&hashes).unwrap())
        .execute(&mut *store)
        .await
        .unwrap();
    let rest = format!(
        "INSERT INTO targets (seq, change, distribution_id, item, because, manual, accepted_at, \
         batch, position) \
         SELECT seq, seq, 'E1', '/' || object_key, 'the object changed', 0, accepted_at, \
         (seq - 1) / {BATCH} + 1, (seq - 1) % {BATCH} \
         FROM changes WHERE seq BETWEEN {first} AND {last}; \
         INSERT INTO batch_items (batch, position, item) \
         SELECT batch, position, item FROM targets WHERE seq BETWEEN {first} AND {last}; \
         INSERT INTO batches (seq, id, distribution_id, caller_reference, status, cloudfront_id, \
         item_count, wildcard_count, change_count, created_at, submitted_at, completed_at, due_at, \
         counted_on) \
         SELECT batch, {UUID}, 'E1', {UUID}, 'completed', 'I' || upper(hex(randomblob(6))), \
         count(*), 0, count(*), at, at + 90000, at + 15000000, at + 10000000, \
         date(at / 1000000, 'unixepoch') \
         FROM (SELECT batch, max(accepted_at) OVER (PARTITION BY batch) + 1000000 AS at FROM targets \
         WHERE seq BETWEEN {first} AND {last}) GROUP BY batch; \
         INSERT INTO attempts (batch, started_at, finished_at, outcome, detail) \
         SELECT seq, created_at, submitted_at, 'created', cloudfront_id FROM batches \
         WHERE seq BETWEEN ({first} - 1) / {BATCH} + 1 AND ({last} - 1) / {BATCH} + 1"
    );
    run(store, &rest).await;
}

/// The key of a number, in SQL.
const KEY: &str = "printf('pages/%04d/page-%d.html', n / 2000, n)";
/// A random UUID, in SQL.
const UUID: &str = "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || \
    substr(hex(randomblob(2)), 2) || '-a' || substr(hex(randomblob(2)), 2) || '-' || \
    hex(randomblob(6)))";

fn key(n: i64) -> String {
    format!("pages/{:04}/page-{n}.html", n / 2000)
}

/// As `store/sqlite/columns.rs` computes it.
fn hash(key: &str) -> u32 {
    let hash = digest::digest(&digest::SHA256, format!("site/{key}").as_bytes());
    u32::from_be_bytes(*hash.as_ref().first_chunk().unwrap())
}

/// What the service counts for itself.
fn finish(end: i64) -> String {
    format!(
        "UPDATE journal SET last = {end}; \
         INSERT INTO day_spending (day, items) \
         SELECT counted_on, sum(item_count) FROM batches GROUP BY counted_on; \
         INSERT INTO backlogs VALUES ('E1', 0, 0, 0, 0)"
    )
}

/// The migrations of a store.
async fn schema(path: &Path) -> Vec<(i64, Vec<u8>)> {
    let mut store = open(path).await;
    let select = "SELECT version, checksum FROM _sqlx_migrations ORDER BY version";
    let rows = sqlx::query(select).fetch_all(&mut store).await.unwrap();
    store.close().await.unwrap();
    let rows = rows.iter();
    rows.map(|row| (row.get("version"), row.get("checksum")))
        .collect()
}

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(false);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn run(store: &mut SqliteConnection, sql: &str) {
    let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
    sql.execute(store).await.unwrap();
}
