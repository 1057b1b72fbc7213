//! SQL of what waits, of frozen batches, of attempts, and of invalidations to follow.

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool, sqlite::SqliteRow};
use uuid::Uuid;

use super::columns::{count, decode, micros, signed, time, uuid};
use crate::{
    domain::{
        batch::{Backlog, Batch, Usage},
        consolidate::Waiting,
        path::Item,
    },
    ports::{Look, Looks, Tracked, Unresolved},
};

/// What waits, summed up; the rest of the statement says where.
const SUM_UP: &str = "SELECT distribution_id, count(*) AS items, \
     coalesce(sum(item LIKE '/%*'), 0) AS wildcards, \
     coalesce(sum(manual AND item NOT LIKE '/%*'), 0) AS manual_paths, \
     coalesce(sum(manual AND item LIKE '/%*'), 0) AS manual_wildcards, \
     min(accepted_at) AS oldest, max(accepted_at) AS newest FROM targets ";

pub(super) async fn backlogs(readers: &SqlitePool) -> sqlx::Result<Vec<(String, Backlog)>> {
    let mut select = QueryBuilder::<Sqlite>::new(SUM_UP);
    select.push("WHERE batch IS NULL GROUP BY distribution_id");
    let rows = select.build().fetch_all(readers).await?;
    let of_distribution = |row: &SqliteRow| Ok((row.try_get("distribution_id")?, backlog(row)?));
    rows.iter().map(of_distribution).collect()
}

pub(super) async fn backlog_of(readers: &SqlitePool, batch: Uuid) -> sqlx::Result<Option<Backlog>> {
    let mut select = QueryBuilder::<Sqlite>::new(SUM_UP);
    select
        .push("WHERE batch = (SELECT seq FROM batches WHERE id = ")
        .push_bind(batch.to_string())
        .push(") GROUP BY distribution_id");
    let row = select.build().fetch_optional(readers).await?;
    row.as_ref().map(backlog).transpose()
}

fn backlog(row: &SqliteRow) -> sqlx::Result<Backlog> {
    Ok(Backlog {
        items: count(row, "items")?,
        wildcards: count(row, "wildcards")?,
        manual_paths: count(row, "manual_paths")?,
        manual_wildcards: count(row, "manual_wildcards")?,
        oldest: time(row.try_get("oldest")?)?,
        newest: time(row.try_get("newest")?)?,
    })
}

pub(super) async fn waiting(
    readers: &SqlitePool,
    distribution_id: &str,
    limit: usize,
) -> sqlx::Result<Vec<Waiting>> {
    let select = "SELECT seq, item, manual, accepted_at FROM targets \
                  WHERE batch IS NULL AND distribution_id = ? \
                  ORDER BY manual DESC, seq LIMIT ?";
    // One by one: a row weighs far more than what is kept of it, and there may be many.
    let mut rows = sqlx::query(select)
        .bind(distribution_id)
        .bind(signed(limit))
        .fetch(readers);
    let mut waiting = Vec::new();
    while let Some(row) = rows.try_next().await? {
        waiting.push(Waiting {
            seq: row.try_get("seq")?,
            item: item(row.try_get("item")?)?,
            manual: row.try_get("manual")?,
            accepted_at: time(row.try_get("accepted_at")?)?,
        });
    }
    Ok(waiting)
}

fn item(text: String) -> sqlx::Result<Item> {
    Item::try_from(text).map_err(decode)
}

pub(super) async fn freeze(
    connection: &mut SqliteConnection,
    batch: Batch,
    covered: Vec<(i64, usize)>,
    shadow: bool,
    now: Timestamp,
) -> sqlx::Result<()> {
    let status = if shadow { "shadowed" } else { "pending" };
    let seq = insert(connection, &batch, status, None, now).await?;
    // The row of targets is found by its number, for each element of the list.
    let cover = "UPDATE targets SET batch = ?, position = covering.position \
                 FROM (SELECT value ->> 0 AS seq, value ->> 1 AS position FROM json_each(?)) \
                 AS covering WHERE targets.seq = covering.seq";
    sqlx::query(cover)
        .bind(seq)
        .bind(serde_json::to_string(&covered).map_err(decode)?)
        .execute(&mut *connection)
        .await?;
    count_changes(connection, seq).await?;
    if shadow {
        return Ok(());
    }
    let count = "INSERT INTO days (day, items) VALUES (?, ?) \
                 ON CONFLICT DO UPDATE SET items = items + excluded.items";
    sqlx::query(count)
        .bind(day(now))
        .bind(signed(batch.items.len()))
        .execute(&mut *connection)
        .await?;
    record_attempt(connection, batch.id, now).await
}

/// The day since 1970, in UTC.
pub(super) fn day(now: Timestamp) -> i64 {
    now.as_second().div_euclid(86_400)
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
                  item_count, wildcard_count, change_count, created_at, due_at) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, ?) RETURNING seq";
    let seq: i64 = sqlx::query_scalar(insert)
        .bind(batch.id.to_string())
        .bind(&batch.distribution_id)
        .bind(&batch.caller_reference)
        .bind(status)
        .bind(parent)
        .bind(signed(batch.items.len()))
        .bind(signed(batch.usage().wildcards))
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

pub(super) async fn unresolved(readers: &SqlitePool) -> sqlx::Result<Vec<Unresolved>> {
    let select = "SELECT seq, id, distribution_id, caller_reference, failures, due_at, renamed, \
                  EXISTS (SELECT 1 FROM attempts WHERE attempts.batch = batches.seq \
                  AND (outcome IS NULL OR outcome = 'unknown')) AS in_doubt FROM batches \
                  WHERE status = 'pending' AND status IN ('pending', 'in_progress') ORDER BY seq";
    let mut unresolved = Vec::new();
    for row in sqlx::query(select).fetch_all(readers).await? {
        let items = "SELECT item FROM batch_items WHERE batch = ? ORDER BY position";
        let items: Vec<String> = sqlx::query_scalar(items)
            .bind(row.try_get::<i64, _>("seq")?)
            .fetch_all(readers)
            .await?;
        unresolved.push(Unresolved {
            batch: Batch {
                id: uuid(row.try_get("id")?)?,
                distribution_id: row.try_get("distribution_id")?,
                caller_reference: row.try_get("caller_reference")?,
                items: items.into_iter().map(item).collect::<Result<_, _>>()?,
            },
            failures: row.try_get("failures")?,
            in_doubt: row.try_get("in_doubt")?,
            renamed: row.try_get("renamed")?,
            missing_since: None,
            due_at: time(row.try_get("due_at")?)?,
        });
    }
    Ok(unresolved)
}

pub(super) async fn usages(readers: &SqlitePool) -> sqlx::Result<Vec<(String, Usage)>> {
    let select = "SELECT distribution_id, sum(item_count - wildcard_count) AS paths, \
                  sum(wildcard_count) AS wildcards FROM batches \
                  WHERE status IN ('pending', 'in_progress') GROUP BY distribution_id";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    let of_distribution = |row: &SqliteRow| {
        let usage = Usage {
            paths: count(row, "paths")?,
            wildcards: count(row, "wildcards")?,
        };
        Ok((row.try_get("distribution_id")?, usage))
    };
    rows.iter().map(of_distribution).collect()
}

pub(super) async fn record_attempt(
    connection: &mut SqliteConnection,
    batch: Uuid,
    now: Timestamp,
) -> sqlx::Result<()> {
    let insert = "INSERT INTO attempts (batch, started_at) \
                  SELECT seq, ? FROM batches WHERE id = ?";
    sqlx::query(insert)
        .bind(micros(now))
        .bind(batch.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn due_looks(
    readers: &SqlitePool,
    now: Timestamp,
    limit: usize,
) -> sqlx::Result<Looks> {
    let select = "SELECT id, distribution_id, cloudfront_id, submitted_at, \
                  item_count - wildcard_count AS paths, wildcard_count AS wildcards, \
                  coalesce((SELECT min(accepted_at) FROM targets \
                  WHERE targets.batch = batches.seq), submitted_at) AS oldest FROM batches \
                  WHERE status = 'in_progress' AND status IN ('pending', 'in_progress') \
                  AND due_at <= ? ORDER BY due_at LIMIT ?";
    let rows = sqlx::query(select)
        .bind(micros(now))
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    let tracked = |row: &SqliteRow| {
        Ok(Tracked {
            batch: uuid(row.try_get("id")?)?,
            distribution_id: row.try_get("distribution_id")?,
            cloudfront_id: row.try_get("cloudfront_id")?,
            submitted_at: time(row.try_get("submitted_at")?)?,
            usage: Usage {
                paths: count(row, "paths")?,
                wildcards: count(row, "wildcards")?,
            },
            oldest: time(row.try_get("oldest")?)?,
        })
    };
    let next = "SELECT min(due_at) FROM batches \
                WHERE status = 'in_progress' AND status IN ('pending', 'in_progress') \
                AND due_at > ?";
    let next_at: Option<i64> = sqlx::query_scalar(next)
        .bind(micros(now))
        .fetch_one(readers)
        .await?;
    Ok(Looks {
        due: rows.iter().map(tracked).collect::<sqlx::Result<_>>()?,
        next_at: next_at.map(time).transpose()?,
    })
}

pub(super) async fn is_ours(readers: &SqlitePool, cloudfront_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM batches WHERE cloudfront_id = ?)")
        .bind(cloudfront_id)
        .fetch_one(readers)
        .await
}

pub(super) async fn record_look(
    connection: &mut SqliteConnection,
    batch: Uuid,
    look: Look,
    now: Timestamp,
) -> sqlx::Result<()> {
    match look {
        Look::Completed => {
            let update = "UPDATE batches SET status = 'completed', completed_at = ? WHERE id = ?";
            sqlx::query(update).bind(micros(now))
        }
        Look::Again(at) => {
            sqlx::query("UPDATE batches SET due_at = ? WHERE id = ?").bind(micros(at))
        }
    }
    .bind(batch.to_string())
    .execute(connection)
    .await?;
    Ok(())
}
