//! SQL of what waits, of frozen batches, of attempts, and of invalidations to follow.

use jiff::Timestamp;
use sqlx::{QueryBuilder, Row as _, Sqlite, SqliteConnection, SqlitePool};
use uuid::Uuid;

use super::columns::{decode, micros, parsed, signed, time, unsigned, uuid};
use crate::{
    domain::{
        batch::{Backlog, Batch},
        consolidate::Waiting,
        path::Item,
    },
    ports::{Answer, Look, Looks, Tracked, Unresolved, WaitingChange},
};

pub(super) async fn backlogs(readers: &SqlitePool) -> sqlx::Result<Vec<(String, Backlog)>> {
    let select = "SELECT distribution_id, count(*) AS items, min(accepted_at) AS oldest, \
                  max(accepted_at) AS newest, max(manual) AS manual \
                  FROM targets WHERE batch IS NULL GROUP BY distribution_id";
    let rows = sqlx::query(select).fetch_all(readers).await?;
    let backlog = |row: &sqlx::sqlite::SqliteRow| {
        Ok((
            row.try_get("distribution_id")?,
            Backlog {
                items: unsigned(row.try_get("items")?),
                oldest: time(row.try_get("oldest")?)?,
                newest: time(row.try_get("newest")?)?,
                manual: row.try_get("manual")?,
            },
        ))
    };
    rows.iter().map(backlog).collect()
}

pub(super) async fn waiting(
    readers: &SqlitePool,
    distribution_id: &str,
    limit: usize,
) -> sqlx::Result<Vec<WaitingChange>> {
    let select = "SELECT seq, item, accepted_at, manual FROM targets \
                  WHERE batch IS NULL AND distribution_id = ? \
                  ORDER BY manual DESC, seq LIMIT ?";
    let rows = sqlx::query(select)
        .bind(distribution_id)
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    let waiting = |row: &sqlx::sqlite::SqliteRow| {
        Ok(WaitingChange {
            waiting: Waiting {
                seq: row.try_get("seq")?,
                item: item(row.try_get("item")?)?,
            },
            accepted_at: time(row.try_get("accepted_at")?)?,
            manual: row.try_get("manual")?,
        })
    };
    rows.iter().map(waiting).collect()
}

fn item(text: String) -> sqlx::Result<Item> {
    Item::try_from(text).map_err(decode)
}

pub(super) async fn freeze(
    connection: &mut SqliteConnection,
    batch: Batch,
    covered: Vec<(i64, usize)>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let insert = "INSERT INTO batches (id, distribution_id, caller_reference, status, \
                  item_count, change_count, created_at, due_at) \
                  VALUES (?, ?, ?, 'pending', ?, 0, ?, ?) RETURNING seq";
    let seq: i64 = sqlx::query_scalar(insert)
        .bind(batch.id.to_string())
        .bind(&batch.distribution_id)
        .bind(&batch.caller_reference)
        .bind(signed(batch.items.len()))
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
    // The row of targets is found by its number, for each element of the list.
    let cover = "UPDATE targets SET batch = ?, position = covering.position \
                 FROM (SELECT value ->> 0 AS seq, value ->> 1 AS position FROM json_each(?)) \
                 AS covering WHERE targets.seq = covering.seq";
    sqlx::query(cover)
        .bind(seq)
        .bind(serde_json::to_string(&covered).map_err(decode)?)
        .execute(&mut *connection)
        .await?;
    let count = "UPDATE batches SET change_count = \
                 (SELECT count(DISTINCT change) FROM targets WHERE batch = batches.seq) \
                 WHERE seq = ?";
    sqlx::query(count)
        .bind(seq)
        .execute(&mut *connection)
        .await?;
    record_attempt(connection, batch.id, now).await
}

pub(super) async fn unresolved(readers: &SqlitePool) -> sqlx::Result<Vec<Unresolved>> {
    let select = "SELECT seq, id, distribution_id, caller_reference, failures, due_at \
                  FROM batches WHERE status = 'pending' AND status <> 'completed' ORDER BY seq";
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
            failures: parsed(&row.try_get::<i64, _>("failures")?.to_string())?,
            due_at: time(row.try_get("due_at")?)?,
        });
    }
    Ok(unresolved)
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

pub(super) async fn record_answer(
    connection: &mut SqliteConnection,
    batch: Uuid,
    answer: Answer,
    now: Timestamp,
) -> sqlx::Result<()> {
    let (outcome, detail) = match &answer {
        Answer::Created { invalidation, .. } => ("created", invalidation.cloudfront_id.clone()),
        Answer::Failed { error, .. } => (error.label(), error.to_string()),
    };
    let update = "UPDATE attempts SET finished_at = ?, outcome = ?, detail = ? WHERE seq = \
                  (SELECT max(attempts.seq) FROM attempts JOIN batches \
                   ON batches.seq = attempts.batch WHERE batches.id = ?)";
    sqlx::query(update)
        .bind(micros(now))
        .bind(outcome)
        .bind(detail)
        .bind(batch.to_string())
        .execute(&mut *connection)
        .await?;
    match answer {
        Answer::Created {
            invalidation,
            look_at,
        } => {
            let update = "UPDATE batches SET status = ?, cloudfront_id = ?, submitted_at = ?, \
                          completed_at = ?, due_at = ? WHERE id = ?";
            let done = invalidation.completed;
            sqlx::query(update)
                .bind(if done { "completed" } else { "in_progress" })
                .bind(&invalidation.cloudfront_id)
                .bind(micros(now))
                .bind(done.then(|| micros(now)))
                .bind(micros(look_at))
                .bind(batch.to_string())
                .execute(connection)
                .await?;
        }
        Answer::Failed {
            failures, due_at, ..
        } => {
            sqlx::query("UPDATE batches SET failures = ?, due_at = ? WHERE id = ?")
                .bind(failures)
                .bind(micros(due_at))
                .bind(batch.to_string())
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

pub(super) async fn due_looks(
    readers: &SqlitePool,
    now: Timestamp,
    limit: usize,
) -> sqlx::Result<Looks> {
    let select = "SELECT id, distribution_id, cloudfront_id, submitted_at FROM batches \
                  WHERE status = 'in_progress' AND status <> 'completed' AND due_at <= ? \
                  ORDER BY due_at LIMIT ?";
    let rows = sqlx::query(select)
        .bind(micros(now))
        .bind(signed(limit))
        .fetch_all(readers)
        .await?;
    let tracked = |row: &sqlx::sqlite::SqliteRow| {
        Ok(Tracked {
            batch: uuid(row.try_get("id")?)?,
            distribution_id: row.try_get("distribution_id")?,
            cloudfront_id: row.try_get("cloudfront_id")?,
            submitted_at: time(row.try_get("submitted_at")?)?,
        })
    };
    let next = "SELECT min(due_at) FROM batches \
                WHERE status = 'in_progress' AND status <> 'completed' AND due_at > ?";
    let next_at: Option<i64> = sqlx::query_scalar(next)
        .bind(micros(now))
        .fetch_one(readers)
        .await?;
    Ok(Looks {
        due: rows.iter().map(tracked).collect::<sqlx::Result<_>>()?,
        next_at: next_at.map(time).transpose()?,
    })
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
