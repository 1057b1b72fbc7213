//! SQL for what became of an object's changes.

use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    columns::{
        Text, object_hash, optional_from_json, optional_text, optional_time, parsed, read_all,
        read_one, signed, text, time,
    },
    snapshot, waits,
};
use crate::{
    domain::{
        history::Skipped,
        story::{ChangeQuery, ChangeSource, ChangeStory, Covering, DeadEnd, StoryPage, TargetEnd},
    },
    ports::StoreError,
    store::story_pages::{self, ObjectChanges, Stories},
};

pub(super) async fn changes(
    readers: &PgPool,
    query: &ChangeQuery,
) -> Result<StoryPage, StoreError> {
    let mut snapshot = snapshot(readers).await?;
    let mut search = Search {
        snapshot: &mut snapshot,
        before: Some(query.before.unwrap_or(i64::MAX)),
    };
    story_pages::page(&mut search, query).await
}

/// Where in the journal the search for an object's changes is.
struct Search<'c> {
    snapshot: &'c mut PgConnection,
    /// What is left to search comes before this, if anything is left.
    before: Option<i64>,
}

/// The numbers of changes of the object $2, $3, whose hash is $1, before $4, newest first. They are a range of the
/// index on the hashes, so that no plan reads the journal backwards until it meets enough of an object that has few.
const NUMBERS: &str = "SELECT seq FROM changes \
    WHERE object_hash >= $1 AND (object_hash, seq) < ($1, $4) AND bucket = $2 AND object_key = $3 \
    ORDER BY object_hash DESC, seq DESC LIMIT $5";

/// The number of parts of each change that has some.
const COUNTS: &str = "SELECT change, sum(parts)::bigint FROM ( \
    SELECT change, count(*) AS parts FROM targets \
    WHERE change = ANY($1) GROUP BY change \
    UNION ALL SELECT change, count(*) FROM skips \
    WHERE change = ANY($1) GROUP BY change \
    UNION ALL SELECT change, count(*) FROM dead_letters \
    WHERE change = ANY($1) GROUP BY change \
    UNION ALL SELECT change, count(*) FROM change_waits \
    WHERE change = ANY($1) GROUP BY change) AS parts GROUP BY change";

const CHANGES: &str = "SELECT changes.*, messages.message_id, requests.id AS request_id, \
    requests.token, requests.reason, requests.distributions FROM changes \
    LEFT JOIN messages ON messages.seq = changes.message \
    LEFT JOIN requests ON requests.seq = changes.request \
    WHERE changes.seq = ANY($1)";

/// An account has some hundred distributions, and each needs a few items for a change.
const TARGETS: &str = "SELECT targets.*, batches.id AS batch_id, batches.status, \
    batches.cloudfront_id, batches.submitted_at, batches.completed_at, \
    nullif(batch_items.item, targets.item) AS covered_by, \
    dead_letters.seq AS letter, dead_letters.why AS letter_why FROM targets \
    LEFT JOIN batches ON batches.seq = targets.batch \
    LEFT JOIN batch_items ON batch_items.batch = targets.batch \
    AND batch_items.position = targets.position \
    LEFT JOIN dead_letters ON dead_letters.batch = targets.batch AND batches.status = 'failed' \
    AND left(dead_letters.content, 256) = left(batch_items.item, 256) \
    AND dead_letters.content = batch_items.item \
    WHERE targets.change = ANY($1) ORDER BY targets.seq";

const LETTERS: &str = "SELECT seq, change, distribution_id, content, why FROM dead_letters \
    WHERE change = ANY($1) ORDER BY seq";

const SKIPS: &str = "SELECT change, distribution_id, why, failed FROM skips \
    WHERE change = ANY($1) ORDER BY seq";

const WAITS: &str = "SELECT change, kind, distribution_id, name FROM change_waits \
    JOIN waits ON waits.seq = change_waits.wait \
    WHERE change = ANY($1) ORDER BY waits.seq";

impl ObjectChanges for Search<'_> {
    async fn numbers(&mut self, query: &ChangeQuery, most: usize) -> sqlx::Result<Vec<i64>> {
        let Some(before) = self.before else {
            return Ok(Vec::new());
        };
        let numbers: Vec<i64> = sqlx::query_scalar(NUMBERS)
            .bind(object_hash(&query.bucket, &query.key))
            .bind(Text::new(&query.bucket))
            .bind(Text::new(&query.key))
            .bind(before)
            .bind(signed(most))
            .fetch_all(&mut *self.snapshot)
            .await?;
        // There may be more before the last.
        self.before = numbers.last().copied().filter(|_| numbers.len() == most);
        Ok(numbers)
    }

    fn rest(&self) -> Option<i64> {
        self.before
    }

    async fn parts(&mut self, numbers: &[i64]) -> sqlx::Result<Vec<(i64, i64)>> {
        sqlx::query_as(COUNTS)
            .bind(numbers)
            .fetch_all(&mut *self.snapshot)
            .await
    }

    async fn stories(&mut self, numbers: &[i64]) -> Result<Stories, StoreError> {
        let rows = self.rows(CHANGES, numbers).await?;
        let mut stories = Stories::of(read_all("changes", "seq", &rows, story)?);
        for row in &self.rows(TARGETS, numbers).await? {
            let end = read_one("targets", "seq", row, target)?;
            stories.end(row.try_get("change")?, end);
        }
        for row in &self.rows(LETTERS, numbers).await? {
            let end = read_one("dead_letters", "seq", row, letter)?;
            stories.end(row.try_get("change")?, end);
        }
        for row in &self.rows(SKIPS, numbers).await? {
            let change = row.try_get("change")?;
            if row.try_get("failed")? {
                stories.end(change, failure(row)?);
            } else {
                let skip = Skipped {
                    distribution_id: optional_text(row, "distribution_id")?,
                    why: text(row, "why")?,
                };
                stories.skip(change, skip);
            }
        }
        for row in &self.rows(WAITS, numbers).await? {
            let wait = read_one("waits", "change", row, waits::wait)?;
            stories.wait(row.try_get("change")?, wait);
        }
        Ok(stories)
    }
}

impl Search<'_> {
    async fn rows(&mut self, select: &'static str, numbers: &[i64]) -> sqlx::Result<Vec<PgRow>> {
        let rows = sqlx::query(select).bind(numbers);
        rows.fetch_all(&mut *self.snapshot).await
    }
}

fn story(row: &PgRow) -> sqlx::Result<ChangeStory> {
    let source = match row.try_get("request_id")? {
        Some(request_id) => ChangeSource::Manual {
            request_id,
            token: text(row, "token")?,
            reason: optional_text(row, "reason")?,
        },
        None => ChangeSource::Event {
            event: text(row, "event")?,
            message_id: row.try_get("message_id")?,
            sequencer: optional_text(row, "sequencer")?,
            time: optional_time(row.try_get("event_time")?)?,
        },
    };
    Ok(ChangeStory {
        id: row.try_get("seq")?,
        source,
        bucket: text(row, "bucket")?,
        key: text(row, "object_key")?,
        accepted_at: time(row.try_get("accepted_at")?)?,
        only_at: optional_from_json(row, "distributions")?,
        unseen: row.try_get::<i16, _>("state")? == 0,
        waits: Vec::new(),
        ends: Vec::new(),
        skipped: Vec::new(),
    })
}

fn target(row: &PgRow) -> sqlx::Result<TargetEnd> {
    let invalidation = match row.try_get::<Option<Uuid>, _>("batch_id")? {
        Some(id) => Some(Covering {
            id,
            status: parsed(row.try_get("status")?)?,
            cloudfront_id: optional_text(row, "cloudfront_id")?,
            submitted_at: optional_time(row.try_get("submitted_at")?)?,
            completed_at: optional_time(row.try_get("completed_at")?)?,
            covered_by: optional_text(row, "covered_by")?,
        }),
        None => None,
    };
    let dead_letter = match row.try_get("letter")? {
        Some(id) => Some(DeadEnd {
            id,
            why: text(row, "letter_why")?,
        }),
        None => None,
    };
    Ok(TargetEnd {
        distribution_id: optional_text(row, "distribution_id")?,
        item: optional_text(row, "item")?,
        because: optional_text(row, "because")?,
        invalidation,
        dead_letter,
        failure: None,
    })
}

fn letter(row: &PgRow) -> sqlx::Result<TargetEnd> {
    Ok(TargetEnd {
        distribution_id: optional_text(row, "distribution_id")?,
        item: optional_text(row, "content")?,
        because: None,
        invalidation: None,
        dead_letter: Some(DeadEnd {
            id: row.try_get("seq")?,
            why: text(row, "why")?,
        }),
        failure: None,
    })
}

/// What a dead letter left behind.
fn failure(row: &PgRow) -> sqlx::Result<TargetEnd> {
    Ok(TargetEnd {
        distribution_id: optional_text(row, "distribution_id")?,
        item: None,
        because: None,
        invalidation: None,
        dead_letter: None,
        failure: Some(text(row, "why")?),
    })
}
