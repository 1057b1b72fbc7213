//! SQL for frozen batches, attempts, and invalidations in progress.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};
use uuid::Uuid;

use super::{
    backlogs,
    columns::{
        Text, count, decode, micros, number, optional_time, read_all, signed, text, texts, time,
    },
    controls, merges, notices, snapshot,
};
use crate::{
    domain::{
        batch::{Batch, Covered, DistributionUsage, RECENT, Usage},
        notice::NoticeKind,
        operations::day_of,
        path::Item,
        resolution::Unresolved,
        tracking::{StatusPoll, Tracked},
    },
    ports::StoreError,
};

/// Each of the lists is read once, and they are compared by hashes.
const TAKEN_BEFORE: &str = "WITH this AS (SELECT seq, distribution_id FROM batches WHERE id = $1), \
    recent AS MATERIALIZED (SELECT item FROM batch_items WHERE batch IN (SELECT seq FROM batches \
    WHERE distribution_id = (SELECT distribution_id FROM this) AND cloudfront_id IS NOT NULL \
    ORDER BY seq DESC LIMIT $2)) \
    SELECT batch, item FROM batch_items WHERE batch = (SELECT seq FROM this) \
    AND item IN (SELECT item FROM recent)";

pub(super) async fn taken_before(
    readers: &PgPool,
    batch: Uuid,
) -> Result<HashSet<Item>, StoreError> {
    let rows = sqlx::query(TAKEN_BEFORE)
        .bind(batch)
        .bind(signed(RECENT))
        .fetch_all(readers)
        .await?;
    let items = read_all("batch_items", "batch", &rows, item)?;
    Ok(items.into_iter().collect())
}

fn item(row: &PgRow) -> sqlx::Result<Item> {
    Item::try_from(text(row, "item")?).map_err(decode)
}

pub(super) async fn freeze(
    connection: &mut PgConnection,
    batch: Batch,
    covered: Vec<Covered>,
    shadow: bool,
    now: Timestamp,
) -> sqlx::Result<()> {
    let status = if shadow { "shadowed" } else { "pending" };
    let seq = insert(connection, &batch, status, None, now).await?;
    let (targets, positions): (Vec<_>, Vec<_>) = covered
        .iter()
        .map(|one| (one.target, signed(one.position)))
        .unzip();
    // For each element of the lists, the target is found by its primary key.
    let cover = "UPDATE targets SET batch = $1, position = covering.position \
                 FROM unnest($2::bigint[], $3::bigint[]) AS covering (seq, position) \
                 WHERE targets.seq = covering.seq";
    sqlx::query(cover)
        .bind(seq)
        .bind(targets)
        .bind(positions)
        .execute(&mut *connection)
        .await?;
    backlogs::take(connection, seq).await?;
    count_changes(connection, seq).await?;
    if shadow {
        return controls::forget_backoff(connection, &batch.distribution_id).await;
    }
    record_attempt(connection, batch.id, now).await
}

/// Inserts a batch and its items, and returns its number.
pub(super) async fn insert(
    connection: &mut PgConnection,
    batch: &Batch,
    status: &'static str,
    parent: Option<i64>,
    now: Timestamp,
) -> sqlx::Result<i64> {
    let insert = "INSERT INTO batches (id, distribution_id, caller_reference, status, parent, \
                  item_count, wildcard_count, manual_count, change_count, created_at, due_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $9) RETURNING seq";
    let seq: i64 = sqlx::query_scalar(insert)
        .bind(batch.id)
        .bind(Text::new(&batch.distribution_id))
        .bind(&batch.caller_reference)
        .bind(status)
        .bind(parent)
        .bind(signed(batch.items.len()))
        .bind(signed(batch.usage().wildcards))
        .bind(signed(batch.manual_items))
        .bind(micros(now))
        .fetch_one(&mut *connection)
        .await?;
    let insert = "INSERT INTO batch_items (batch, position, item) SELECT $1, nth - 1, item \
                  FROM unnest($2::text[]) WITH ORDINALITY AS items (item, nth)";
    sqlx::query(insert)
        .bind(seq)
        .bind(texts(batch.items.iter().map(Item::as_str)))
        .execute(&mut *connection)
        .await?;
    merges::insert(connection, seq, batch, now).await?;
    Ok(seq)
}

/// Counts the changes that a batch covers.
pub(super) async fn count_changes(connection: &mut PgConnection, seq: i64) -> sqlx::Result<()> {
    let count = "UPDATE batches SET change_count = \
                 (SELECT count(DISTINCT change) FROM targets WHERE batch = $1) WHERE seq = $1";
    sqlx::query(count).bind(seq).execute(connection).await?;
    Ok(())
}

const UNRESOLVED: &str = "SELECT seq, id, distribution_id, caller_reference, failures, created_at, due_at, \
    has_new_reference, manual_count, parent IS NOT NULL AS is_part, \
    (SELECT merges FROM batch_merges WHERE batch = batches.seq) AS merges, \
    EXISTS (SELECT 1 FROM attempts WHERE attempts.batch = batches.seq \
    AND (outcome IS NULL OR outcome = 'unknown')) AS in_doubt \
    FROM batches WHERE status = 'pending' ORDER BY seq";

const ITEMS_OF: &str =
    "SELECT batch, item FROM batch_items WHERE batch = ANY($1) ORDER BY batch, position";

pub(super) async fn unresolved(readers: &PgPool) -> Result<Vec<Unresolved>, StoreError> {
    let mut snapshot = snapshot(readers).await?;
    let batches = sqlx::query(UNRESOLVED).fetch_all(&mut *snapshot).await?;
    let numbers = read_all("batches", "seq", &batches, |row| {
        row.try_get::<i64, _>("seq")
    })?;
    let rows = sqlx::query(ITEMS_OF)
        .bind(numbers)
        .fetch_all(&mut *snapshot)
        .await?;
    let mut items: HashMap<i64, Vec<Item>> = HashMap::new();
    for (batch, item) in read_all("batch_items", "batch", &rows, |row| {
        Ok((row.try_get("batch")?, item(row)?))
    })? {
        items.entry(batch).or_default().push(item);
    }
    read_all("batches", "seq", &batches, |row| {
        let items = items.get(&row.try_get("seq")?);
        unresolved_batch(row, items.cloned().unwrap_or_default())
    })
}

fn unresolved_batch(row: &PgRow, items: Vec<Item>) -> sqlx::Result<Unresolved> {
    Ok(Unresolved {
        batch: Batch {
            id: row.try_get("id")?,
            distribution_id: text(row, "distribution_id")?,
            caller_reference: text(row, "caller_reference")?,
            items,
            manual_items: count(row, "manual_count")?,
            merges: merges::merges(row)?,
        },
        frozen_at: time(row.try_get("created_at")?)?,
        failures: number(row, "failures")?,
        in_doubt: row.try_get("in_doubt")?,
        is_part: row.try_get("is_part")?,
        has_new_reference: row.try_get("has_new_reference")?,
        missing_since: None,
        due_at: time(row.try_get("due_at")?)?,
    })
}

pub(super) async fn usages(readers: &PgPool) -> Result<Vec<DistributionUsage>, StoreError> {
    let select = "SELECT distribution_id, sum(item_count - wildcard_count)::bigint AS paths, \
                  sum(wildcard_count)::bigint AS wildcards FROM batches \
                  WHERE status IN ('pending', 'in_progress') GROUP BY distribution_id";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("batches", "distribution_id", &rows, |row| {
        Ok(DistributionUsage {
            distribution_id: text(row, "distribution_id")?,
            usage: usage(row)?,
        })
    })
}

fn usage(row: &PgRow) -> sqlx::Result<Usage> {
    Ok(Usage {
        paths: count(row, "paths")?,
        wildcards: count(row, "wildcards")?,
    })
}

pub(super) async fn record_attempt(
    connection: &mut PgConnection,
    batch: Uuid,
    now: Timestamp,
) -> sqlx::Result<()> {
    let count = "UPDATE batches SET counted_on = $1 WHERE id = $2 AND counted_on IS NULL \
                 RETURNING item_count";
    let counted: Option<i64> = sqlx::query_scalar(count)
        .bind(day_of(now).to_string())
        .bind(batch)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(items) = counted {
        controls::spend(connection, day_of(now), items).await?;
    }
    let insert =
        "INSERT INTO attempts (batch, started_at) SELECT seq, $1 FROM batches WHERE id = $2";
    sqlx::query(insert)
        .bind(micros(now))
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn in_progress(readers: &PgPool) -> Result<Vec<Tracked>, StoreError> {
    let select = "SELECT id, distribution_id, cloudfront_id, submitted_at, due_at, \
                  item_count - wildcard_count AS paths, wildcard_count AS wildcards FROM batches \
                  WHERE status = 'in_progress'";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("batches", "id", &rows, tracked)
}

fn tracked(row: &PgRow) -> sqlx::Result<Tracked> {
    Ok(Tracked {
        batch: row.try_get("id")?,
        distribution_id: text(row, "distribution_id")?,
        cloudfront_id: text(row, "cloudfront_id")?,
        submitted_at: time(row.try_get("submitted_at")?)?,
        due_at: time(row.try_get("due_at")?)?,
        usage: usage(row)?,
    })
}

pub(super) async fn oldest_change(
    readers: &PgPool,
    batch: Uuid,
) -> Result<Option<Timestamp>, StoreError> {
    let select = "SELECT min(accepted_at) FROM targets \
                  WHERE batch = (SELECT seq FROM batches WHERE id = $1)";
    let oldest = sqlx::query_scalar(select).bind(batch);
    Ok(optional_time(oldest.fetch_one(readers).await?)?)
}

pub(super) async fn is_ours(readers: &PgPool, cloudfront_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM batches WHERE cloudfront_id = $1)")
        .bind(Text::new(cloudfront_id))
        .fetch_one(readers)
        .await
}

pub(super) async fn record_poll(
    connection: &mut PgConnection,
    batch: Uuid,
    poll: StatusPoll,
    now: Timestamp,
) -> sqlx::Result<()> {
    match poll {
        StatusPoll::Completed => {
            // If an earlier write had an unknown outcome, it may be completed already.
            let update = "UPDATE batches SET status = 'completed', completed_at = $1 \
                          WHERE id = $2 AND status <> 'completed' RETURNING seq";
            let completed: Option<i64> = sqlx::query_scalar(update)
                .bind(micros(now))
                .bind(batch)
                .fetch_optional(&mut *connection)
                .await?;
            if let Some(seq) = completed {
                notices::of_batch(connection, seq, NoticeKind::Completed, now).await?;
            }
        }
        StatusPoll::Again(at) => {
            sqlx::query("UPDATE batches SET due_at = $1 WHERE id = $2")
                .bind(micros(at))
                .bind(batch)
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}
