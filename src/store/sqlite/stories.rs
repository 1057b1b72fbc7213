//! SQL for what became of an object's changes.

use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    columns::{
        decode, json, object_hash, optional_time, parsed, read_all, read_one, signed, text, time,
        uuid,
    },
    waits,
};
use crate::{
    domain::{
        history::Skipped,
        story::{ChangeQuery, ChangeSource, ChangeStory, Covering, DeadEnd, StoryPage, TargetEnd},
    },
    ports::StoreError,
    store::story_pages::{self, ObjectChanges, Stories},
};

/// The index on the hashes is by blocks of 2^10 changes, as migration 12 has it.
const BLOCK_BITS: u32 = 10;
/// The changes that one statement looks at, in blocks: bounds what it reads, also for an object that
/// changes all the time.
const STRIDE: i64 = 128;

/// How much of the journal is searched for one page: 130 million changes that have hashes, or 2.6 million
/// that have none.
const WORK: usize = 1_000;
const UNHASHED_WORK: usize = 50;

pub(super) async fn changes(
    readers: &SqlitePool,
    query: &ChangeQuery,
) -> Result<StoryPage, StoreError> {
    let mut snapshot = readers.begin().await?;
    let mut search = Search::begin(&mut snapshot, query).await?;
    story_pages::page(&mut search, query).await
}

/// Where in the journal the search for an object's changes is.
struct Search<'c> {
    snapshot: &'c mut SqliteConnection,
    first: i64,
    unhashed: i64,
    /// What is left to search comes before this.
    before: i64,
    work: usize,
}

impl<'c> Search<'c> {
    async fn begin(snapshot: &'c mut SqliteConnection, query: &ChangeQuery) -> sqlx::Result<Self> {
        let range = "SELECT coalesce((SELECT min(seq) FROM changes), 0), \
                     coalesce((SELECT max(seq) FROM changes), -1), unhashed FROM journal";
        let (first, last, unhashed): (i64, i64, i64) =
            sqlx::query_as(range).fetch_one(&mut *snapshot).await?;
        Ok(Self {
            snapshot,
            first,
            unhashed,
            before: query.before.unwrap_or(i64::MAX).min(last.saturating_add(1)),
            work: WORK,
        })
    }
}

impl ObjectChanges for Search<'_> {
    async fn numbers(&mut self, query: &ChangeQuery, most: usize) -> sqlx::Result<Vec<i64>> {
        let mut numbers = Vec::new();
        while self.before > self.first && numbers.len() < most && self.work > 0 {
            let before = self.before;
            let (after, work) = if before - 1 > self.unhashed {
                // Down to a block's first change, or to the first with a hash.
                let block = ((before - 1) >> BLOCK_BITS) - STRIDE + 1;
                let after = (block << BLOCK_BITS).saturating_sub(1);
                (after.max(self.unhashed), 1)
            } else {
                (before - 1 - (STRIDE << BLOCK_BITS), UNHASHED_WORK)
            };
            self.work = self.work.saturating_sub(work);
            let missing = most - numbers.len();
            let from = after.max(self.first - 1);
            let mut select = select_changes(query, from, before, self.unhashed, missing);
            let found: Vec<i64> = select
                .build_query_scalar()
                .fetch_all(&mut *self.snapshot)
                .await?;
            self.before = match found.last() {
                // There may be more before the last.
                Some(last) if found.len() == missing => *last,
                _ => after + 1,
            };
            numbers.extend(found);
        }
        Ok(numbers)
    }

    fn rest(&self) -> Option<i64> {
        (self.before > self.first).then_some(self.before)
    }

    async fn parts(&mut self, numbers: &[i64]) -> sqlx::Result<Vec<(i64, i64)>> {
        sqlx::query_as(COUNTS)
            .bind(json(numbers.iter().copied())?)
            .fetch_all(&mut *self.snapshot)
            .await
    }

    async fn stories(&mut self, numbers: &[i64]) -> Result<Stories, StoreError> {
        let numbers = json(numbers.iter().copied())?;
        let rows = self.rows(CHANGES, &numbers).await?;
        let mut stories = Stories::of(read_all("changes", "seq", &rows, story)?);
        for row in &self.rows(TARGETS, &numbers).await? {
            let end = read_one("targets", "seq", row, target)?;
            stories.end(row.try_get("change")?, end);
        }
        for row in &self.rows(LETTERS, &numbers).await? {
            let end = read_one("dead_letters", "seq", row, letter)?;
            stories.end(row.try_get("change")?, end);
        }
        for row in &self.rows(SKIPS, &numbers).await? {
            let change = row.try_get("change")?;
            if row.try_get("failed")? {
                stories.end(change, failure(row)?);
            } else {
                let skip = Skipped {
                    distribution_id: row.try_get("distribution_id")?,
                    why: row.try_get("why")?,
                };
                stories.skip(change, skip);
            }
        }
        for row in &self.rows(WAITS, &numbers).await? {
            let wait = read_one("waits", "change", row, waits::wait)?;
            stories.wait(row.try_get("change")?, wait);
        }
        Ok(stories)
    }
}

impl Search<'_> {
    async fn rows(&mut self, select: &'static str, numbers: &str) -> sqlx::Result<Vec<SqliteRow>> {
        let rows = sqlx::query(select).bind(numbers);
        rows.fetch_all(&mut *self.snapshot).await
    }
}

/// Selects the numbers of an object's changes between two others, newest first. Those up to `unhashed`
/// are read one by one.
pub(super) fn select_changes(
    query: &ChangeQuery,
    after: i64,
    before: i64,
    unhashed: i64,
    limit: usize,
) -> QueryBuilder<Sqlite> {
    let is_hashed = after >= unhashed;
    let mut select = QueryBuilder::new("");
    if is_hashed {
        select
            .push("WITH RECURSIVE blocks (block) AS (SELECT ")
            .push_bind((before - 1) >> BLOCK_BITS)
            .push(" UNION ALL SELECT block - 1 FROM blocks WHERE block > ")
            .push_bind((after + 1) >> BLOCK_BITS)
            .push(
                ") SELECT seq FROM blocks CROSS JOIN changes \
                 WHERE seq >> 10 = block AND object_hash = ",
            )
            .push_bind(object_hash(&query.bucket, &query.key))
            .push(" AND ");
    } else {
        select.push("SELECT seq FROM changes WHERE ");
    }
    // The plus rules out the primary key.
    let plus = if is_hashed { "+" } else { "" };
    select
        .push(format_args!("{plus}seq > "))
        .push_bind(after)
        .push(format_args!(" AND {plus}seq < "))
        .push_bind(before)
        .push(" AND object_key = ")
        .push_bind(query.key.clone())
        .push(" AND bucket = ")
        .push_bind(query.bucket.clone())
        .push(" ORDER BY seq DESC LIMIT ")
        .push_bind(signed(limit));
    select
}

/// What is read of changes, whose numbers are a JSON list.
#[cfg(test)]
pub(super) const PARTS: [&str; 6] = [COUNTS, CHANGES, TARGETS, LETTERS, SKIPS, WAITS];

/// The number of parts of each change that has some.
const COUNTS: &str = "SELECT change, sum(parts) FROM ( \
    SELECT change, count(*) AS parts FROM targets \
    WHERE change IN (SELECT value FROM json_each(?1)) GROUP BY change \
    UNION ALL SELECT change, count(*) FROM skips \
    WHERE change IN (SELECT value FROM json_each(?1)) GROUP BY change \
    UNION ALL SELECT change, count(*) FROM dead_letters \
    WHERE change IN (SELECT value FROM json_each(?1)) GROUP BY change \
    UNION ALL SELECT change, count(*) FROM change_waits \
    WHERE change IN (SELECT value FROM json_each(?1)) GROUP BY change) GROUP BY change";

const CHANGES: &str = "SELECT changes.*, messages.message_id, requests.id AS request_id, \
    requests.token, requests.reason, requests.distributions FROM changes \
    LEFT JOIN messages ON messages.seq = changes.message \
    LEFT JOIN requests ON requests.seq = changes.request \
    WHERE changes.seq IN (SELECT value FROM json_each(?))";

/// An account has some hundred distributions, and each needs a few items for a change.
const TARGETS: &str = "SELECT targets.*, batches.id AS batch_id, batches.status, \
    batches.cloudfront_id, batches.submitted_at, batches.completed_at, \
    nullif(batch_items.item, targets.item) AS covered_by, \
    dead_letters.seq AS letter, dead_letters.why AS letter_why FROM targets \
    LEFT JOIN batches ON batches.seq = targets.batch \
    LEFT JOIN batch_items ON batch_items.batch = targets.batch \
    AND batch_items.position = targets.position \
    LEFT JOIN dead_letters ON dead_letters.batch = targets.batch AND batches.status = 'failed' \
    AND dead_letters.content = batch_items.item \
    WHERE targets.change IN (SELECT value FROM json_each(?)) ORDER BY targets.seq";

const LETTERS: &str = "SELECT seq, change, distribution_id, content, why FROM dead_letters \
    WHERE change IN (SELECT value FROM json_each(?)) ORDER BY seq";

const SKIPS: &str = "SELECT change, distribution_id, why, failed FROM skips \
    WHERE change IN (SELECT value FROM json_each(?)) ORDER BY seq";

const WAITS: &str = "SELECT change, kind, distribution_id, name FROM change_waits \
    JOIN waits ON waits.seq = change_waits.wait \
    WHERE change IN (SELECT value FROM json_each(?)) ORDER BY waits.seq";

fn story(row: &SqliteRow) -> sqlx::Result<ChangeStory> {
    let source = match row.try_get::<Option<String>, _>("request_id")? {
        Some(request_id) => ChangeSource::Manual {
            request_id: uuid(&request_id)?,
            token: row.try_get("token")?,
            reason: row.try_get("reason")?,
        },
        None => ChangeSource::Event {
            event: text(row, "event")?,
            message_id: Uuid::from_slice(row.try_get("message_id")?).map_err(decode)?,
            sequencer: row.try_get("sequencer")?,
            time: optional_time(row.try_get("event_time")?)?,
        },
    };
    let only_at = row.try_get::<Option<String>, _>("distributions")?;
    let only_at = only_at.map(|ids| serde_json::from_str(&ids).map_err(decode));
    Ok(ChangeStory {
        id: row.try_get("seq")?,
        source,
        bucket: text(row, "bucket")?,
        key: text(row, "object_key")?,
        accepted_at: time(row.try_get("accepted_at")?)?,
        only_at: only_at.transpose()?,
        unseen: row.try_get::<i64, _>("state")? == 0,
        waits: Vec::new(),
        ends: Vec::new(),
        skipped: Vec::new(),
    })
}

fn target(row: &SqliteRow) -> sqlx::Result<TargetEnd> {
    let invalidation = match row.try_get::<Option<String>, _>("batch_id")? {
        Some(id) => Some(Covering {
            id: uuid(&id)?,
            status: parsed(row.try_get("status")?)?,
            cloudfront_id: row.try_get("cloudfront_id")?,
            submitted_at: optional_time(row.try_get("submitted_at")?)?,
            completed_at: optional_time(row.try_get("completed_at")?)?,
            covered_by: row.try_get("covered_by")?,
        }),
        None => None,
    };
    let dead_letter = match row.try_get("letter")? {
        Some(id) => Some(DeadEnd {
            id,
            why: row.try_get("letter_why")?,
        }),
        None => None,
    };
    Ok(TargetEnd {
        distribution_id: row.try_get("distribution_id")?,
        item: row.try_get("item")?,
        because: row.try_get("because")?,
        invalidation,
        dead_letter,
        failure: None,
    })
}

fn letter(row: &SqliteRow) -> sqlx::Result<TargetEnd> {
    Ok(TargetEnd {
        distribution_id: row.try_get("distribution_id")?,
        item: row.try_get("content")?,
        because: None,
        invalidation: None,
        dead_letter: Some(DeadEnd {
            id: row.try_get("seq")?,
            why: row.try_get("why")?,
        }),
        failure: None,
    })
}

/// What a dead letter left behind.
fn failure(row: &SqliteRow) -> sqlx::Result<TargetEnd> {
    Ok(TargetEnd {
        distribution_id: row.try_get("distribution_id")?,
        item: None,
        because: None,
        invalidation: None,
        dead_letter: None,
        failure: Some(row.try_get("why")?),
    })
}
