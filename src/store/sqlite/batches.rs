//! SQL for frozen batches, attempts, and invalidations in progress.

use std::collections::HashSet;

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::{
    backlogs,
    columns::{count, decode, micros, optional_time, read_all, read_one, signed, time, uuid},
    controls, merges, notices,
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

pub(super) async fn taken_before(
    readers: &SqlitePool,
    batch: Uuid,
) -> Result<HashSet<Item>, StoreError> {
    let select = "SELECT items.batch, items.item FROM batches AS this \
                  JOIN batch_items AS items ON items.batch = this.seq WHERE this.id = ?1 \
                  AND items.item IN (SELECT item FROM batch_items WHERE batch IN \
                  (SELECT seq FROM batches AS recent \
                  WHERE recent.distribution_id = this.distribution_id \
                  AND cloudfront_id IS NOT NULL ORDER BY seq DESC LIMIT ?2))";
    let rows = sqlx::query(select)
        .bind(batch.to_string())
        .bind(signed(RECENT))
        .fetch_all(readers)
        .await?;
    let items = read_all("batch_items", "batch", &rows, |row| {
        item(row.try_get("item")?)
    })?;
    Ok(items.into_iter().collect())
}

fn item(text: String) -> sqlx::Result<Item> {
    Item::try_from(text).map_err(decode)
}

pub(super) async fn freeze(
    connection: &mut SqliteConnection,
    batch: Batch,
    covered: Vec<Covered>,
    shadow: bool,
    now: Timestamp,
) -> sqlx::Result<()> {
    let status = if shadow { "shadowed" } else { "pending" };
    let seq = insert(connection, &batch, status, None, now).await?;
    let pairs = covered.iter().map(|one| (one.target, one.position));
    let pairs: Vec<_> = pairs.collect();
    // For each element of the list, the target is found by its primary key.
    let cover = "UPDATE targets SET batch = ?, position = covering.position \
                 FROM (SELECT value ->> 0 AS seq, value ->> 1 AS position FROM json_each(?)) \
                 AS covering WHERE targets.seq = covering.seq";
    sqlx::query(cover)
        .bind(seq)
        .bind(serde_json::to_string(&pairs).map_err(decode)?)
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
    connection: &mut SqliteConnection,
    batch: &Batch,
    status: &'static str,
    parent: Option<i64>,
    now: Timestamp,
) -> sqlx::Result<i64> {
    let insert = "INSERT INTO batches (id, distribution_id, caller_reference, status, parent, \
                  item_count, wildcard_count, manual_count, change_count, created_at, due_at) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?) RETURNING seq";
    let seq: i64 = sqlx::query_scalar(insert)
        .bind(batch.id.to_string())
        .bind(&batch.distribution_id)
        .bind(&batch.caller_reference)
        .bind(status)
        .bind(parent)
        .bind(signed(batch.items.len()))
        .bind(signed(batch.usage().wildcards))
        .bind(signed(batch.manual_items))
        .bind(micros(now))
        .bind(micros(now))
        .fetch_one(&mut *connection)
        .await?;
    let positioned: Vec<_> = batch.items.iter().enumerate().collect();
    for chunk in positioned.chunks(5_000) {
        let mut insert =
            QueryBuilder::<Sqlite>::new("INSERT INTO batch_items (batch, position, item) ");
        insert.push_values(chunk, |mut row, (position, item)| {
            row.push_bind(seq)
                .push_bind(signed(*position))
                .push_bind(item.as_str());
        });
        insert.build().execute(&mut *connection).await?;
    }
    merges::insert(connection, seq, batch, now).await?;
    Ok(seq)
}

/// Counts the changes that a batch covers.
pub(super) async fn count_changes(connection: &mut SqliteConnection, seq: i64) -> sqlx::Result<()> {
    let count = "UPDATE batches SET change_count = \
                 (SELECT count(DISTINCT change) FROM targets WHERE batch = batches.seq) \
                 WHERE seq = ?";
    sqlx::query(count).bind(seq).execute(connection).await?;
    Ok(())
}

pub(super) async fn unresolved(readers: &SqlitePool) -> Result<Vec<Unresolved>, StoreError> {
    let select = "SELECT seq, id, distribution_id, caller_reference, failures, created_at, due_at, \
                  has_new_reference, manual_count, parent IS NOT NULL AS is_part, \
    (SELECT merges FROM batch_merges WHERE batch = batches.seq) AS merges, EXISTS (SELECT 1 FROM attempts \
                  WHERE attempts.batch = batches.seq \
                  AND (outcome IS NULL OR outcome = 'unknown')) AS in_doubt FROM batches \
                  WHERE status = 'pending' AND status IN ('pending', 'in_progress') ORDER BY seq";
    let mut unresolved = Vec::new();
    for row in sqlx::query(select).fetch_all(readers).await? {
        let items = "SELECT batch, item FROM batch_items WHERE batch = ? ORDER BY position";
        let items = sqlx::query(items)
            .bind(row.try_get::<i64, _>("seq")?)
            .fetch_all(readers)
            .await?;
        let items = read_all("batch_items", "batch", &items, |row| {
            item(row.try_get("item")?)
        })?;
        unresolved.push(read_one("batches", "seq", &row, |row| {
            Ok(Unresolved {
                batch: Batch {
                    id: uuid(row.try_get("id")?)?,
                    distribution_id: row.try_get("distribution_id")?,
                    caller_reference: row.try_get("caller_reference")?,
                    items: items.clone(),
                    manual_items: count(row, "manual_count")?,
                    merges: merges::merges(row.try_get("merges")?)?,
                },
                frozen_at: time(row.try_get("created_at")?)?,
                failures: row.try_get("failures")?,
                in_doubt: row.try_get("in_doubt")?,
                is_part: row.try_get("is_part")?,
                has_new_reference: row.try_get("has_new_reference")?,
                missing_since: None,
                due_at: time(row.try_get("due_at")?)?,
            })
        })?);
    }
    Ok(unresolved)
}

pub(super) async fn usages(readers: &SqlitePool) -> Result<Vec<DistributionUsage>, StoreError> {
    let select = "SELECT distribution_id, sum(item_count - wildcard_count) AS paths, \
                  sum(wildcard_count) AS wildcards FROM batches \
                  WHERE status IN ('pending', 'in_progress') GROUP BY distribution_id";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("batches", "distribution_id", &rows, |row| {
        Ok(DistributionUsage {
            distribution_id: row.try_get("distribution_id")?,
            usage: usage(row)?,
        })
    })
}

fn usage(row: &SqliteRow) -> sqlx::Result<Usage> {
    Ok(Usage {
        paths: count(row, "paths")?,
        wildcards: count(row, "wildcards")?,
    })
}

pub(super) async fn record_attempt(
    connection: &mut SqliteConnection,
    batch: Uuid,
    now: Timestamp,
) -> sqlx::Result<()> {
    let count = "UPDATE batches SET counted_on = ? WHERE id = ? AND counted_on IS NULL \
                 RETURNING item_count";
    let counted: Option<i64> = sqlx::query_scalar(count)
        .bind(day_of(now).to_string())
        .bind(batch.to_string())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(items) = counted {
        controls::spend(connection, day_of(now), items).await?;
    }
    let insert = "INSERT INTO attempts (batch, started_at) \
                  SELECT seq, ? FROM batches WHERE id = ?";
    sqlx::query(insert)
        .bind(micros(now))
        .bind(batch.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn in_progress(readers: &SqlitePool) -> Result<Vec<Tracked>, StoreError> {
    // The second condition repeats that of the partial index.
    let select = "SELECT id, distribution_id, cloudfront_id, submitted_at, due_at, \
                  item_count - wildcard_count AS paths, wildcard_count AS wildcards FROM batches \
                  WHERE status = 'in_progress' AND status IN ('pending', 'in_progress')";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    read_all("batches", "id", &rows, tracked)
}

fn tracked(row: &SqliteRow) -> sqlx::Result<Tracked> {
    Ok(Tracked {
        batch: uuid(row.try_get("id")?)?,
        distribution_id: row.try_get("distribution_id")?,
        cloudfront_id: row.try_get("cloudfront_id")?,
        submitted_at: time(row.try_get("submitted_at")?)?,
        due_at: time(row.try_get("due_at")?)?,
        usage: usage(row)?,
    })
}

pub(super) async fn oldest_change(
    readers: &SqlitePool,
    batch: Uuid,
) -> Result<Option<Timestamp>, StoreError> {
    let select = "SELECT min(accepted_at) FROM targets \
                  WHERE batch = (SELECT seq FROM batches WHERE id = ?)";
    let oldest = sqlx::query_scalar(select).bind(batch.to_string());
    Ok(optional_time(oldest.fetch_one(readers).await?)?)
}

pub(super) async fn is_ours(readers: &SqlitePool, cloudfront_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM batches WHERE cloudfront_id = ?)")
        .bind(cloudfront_id)
        .fetch_one(readers)
        .await
}

pub(super) async fn record_poll(
    connection: &mut SqliteConnection,
    batch: Uuid,
    poll: StatusPoll,
    now: Timestamp,
) -> sqlx::Result<()> {
    match poll {
        StatusPoll::Completed => {
            // If an earlier write had an unknown outcome, it may be completed already.
            let update = "UPDATE batches SET status = 'completed', completed_at = ? \
                          WHERE id = ? AND status <> 'completed' RETURNING seq";
            let completed: Option<i64> = sqlx::query_scalar(update)
                .bind(micros(now))
                .bind(batch.to_string())
                .fetch_optional(&mut *connection)
                .await?;
            if let Some(seq) = completed {
                notices::of_batch(connection, seq, NoticeKind::Completed, now).await?;
            }
        }
        StatusPoll::Again(at) => {
            sqlx::query("UPDATE batches SET due_at = ? WHERE id = ?")
                .bind(micros(at))
                .bind(batch.to_string())
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}
