//! SQL for the outcome of an attempt and the batch's next step, in one transaction.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{
    backlogs, batches,
    columns::{decode, micros},
    controls, ledger, notices,
};
use crate::domain::{
    batch::Batch,
    cdn::{CdnError, CreatedInvalidation},
    notice::NoticeKind,
    resolution::{NextStep, Resolution, Unresolved},
};

pub(super) async fn record(
    connection: &mut SqliteConnection,
    batch: Uuid,
    resolution: Resolution,
    now: Timestamp,
) -> sqlx::Result<()> {
    let select = "SELECT seq, distribution_id FROM batches WHERE id = ?";
    let row = sqlx::query(select)
        .bind(batch.to_string())
        .fetch_one(&mut *connection)
        .await?;
    let (seq, distribution_id): (i64, String) =
        (row.try_get("seq")?, row.try_get("distribution_id")?);
    match resolution {
        Resolution::Created {
            invalidation,
            poll_at,
        } => {
            end_attempt(connection, seq, "created", &invalidation.cloudfront_id, now).await?;
            created(connection, seq, &invalidation, poll_at, now).await?;
            ledger::forget_others(connection, &distribution_id, &invalidation.cloudfront_id)
                .await?;
            controls::forget_backoff(connection, &distribution_id).await?;
        }
        Resolution::Failed(failure) => {
            let error = &failure.error;
            end_attempt(connection, seq, error.label(), &error.to_string(), now).await?;
            if failure.next == NextStep::DeadLetter {
                controls::forget_backoff(connection, &distribution_id).await?;
            } else {
                controls::back_off(connection, &distribution_id, &failure).await?;
            }
            if failure.created_nothing() {
                controls::take_back(connection, seq).await?;
            }
            take_step(connection, seq, failure.next, &failure.error, now).await?;
        }
    }
    Ok(())
}

async fn end_attempt(
    connection: &mut SqliteConnection,
    batch: i64,
    outcome: &'static str,
    detail: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    let update = "UPDATE attempts SET finished_at = ?, outcome = ?, detail = ? \
                  WHERE seq = (SELECT max(seq) FROM attempts WHERE batch = ?)";
    sqlx::query(update)
        .bind(micros(now))
        .bind(outcome)
        .bind(detail)
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

async fn created(
    connection: &mut SqliteConnection,
    batch: i64,
    invalidation: &CreatedInvalidation,
    poll_at: Timestamp,
    now: Timestamp,
) -> sqlx::Result<()> {
    let update = "UPDATE batches SET status = ?, cloudfront_id = ?, submitted_at = ?, \
                  completed_at = ?, due_at = ? WHERE seq = ?";
    let done = invalidation.completed;
    sqlx::query(update)
        .bind(if done { "completed" } else { "in_progress" })
        .bind(&invalidation.cloudfront_id)
        .bind(micros(now))
        .bind(done.then(|| micros(now)))
        .bind(micros(poll_at))
        .bind(batch)
        .execute(&mut *connection)
        .await?;
    if done {
        notices::of_batch(connection, batch, NoticeKind::Completed, now).await?;
    }
    Ok(())
}

async fn take_step(
    connection: &mut SqliteConnection,
    batch: i64,
    next: NextStep,
    error: &CdnError,
    now: Timestamp,
) -> sqlx::Result<()> {
    match next {
        NextStep::Retry(again) | NextStep::NewReference(again) => {
            send_again(connection, batch, &again).await
        }
        NextStep::Requeue => {
            backlogs::give_back(connection, batch).await?;
            sqlx::query("UPDATE targets SET batch = NULL, position = NULL WHERE batch = ?")
                .bind(batch)
                .execute(&mut *connection)
                .await?;
            replaced(connection, batch).await
        }
        NextStep::Bisect(parts) => {
            let parts = parts.map(|part| part.batch);
            split(connection, batch, parts, now).await
        }
        NextStep::DeadLetter => {
            let insert = "INSERT INTO dead_letters \
                          (kind, why, content, distribution_id, batch, created_at) \
                          SELECT 'item', ?, item, distribution_id, batches.seq, ? FROM batches \
                          JOIN batch_items ON batch_items.batch = batches.seq \
                          WHERE batches.seq = ? ORDER BY position RETURNING seq";
            let letters: Vec<i64> = sqlx::query_scalar(insert)
                .bind(error.to_string())
                .bind(micros(now))
                .bind(batch)
                .fetch_all(&mut *connection)
                .await?;
            set_status(connection, batch, "failed").await?;
            notices::of_batch(connection, batch, NoticeKind::Failed, now).await?;
            notices::of_dead_letters(connection, &letters, now).await
        }
    }
}

async fn send_again(
    connection: &mut SqliteConnection,
    batch: i64,
    again: &Unresolved,
) -> sqlx::Result<()> {
    let update = "UPDATE batches SET caller_reference = ?, has_new_reference = ?, failures = ?, \
                  due_at = ? WHERE seq = ?";
    sqlx::query(update)
        .bind(&again.batch.caller_reference)
        .bind(again.has_new_reference)
        .bind(again.failures)
        .bind(micros(again.due_at))
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

async fn split(
    connection: &mut SqliteConnection,
    parent: i64,
    parts: [Batch; 2],
    now: Timestamp,
) -> sqlx::Result<()> {
    let positions = positions(connection, parent).await?;
    for part in parts {
        let seq = batches::insert(connection, &part, "pending", Some(parent), now).await?;
        let items = part.items.iter().enumerate();
        let moves = items.filter_map(|(to, item)| Some((positions.get(item.as_str())?, to)));
        let moves: Vec<_> = moves.collect();
        let hand_over = "UPDATE targets SET batch = ?, position = move.after \
                         FROM (SELECT value ->> 0 AS before, value ->> 1 AS after \
                         FROM json_each(?)) AS move \
                         WHERE targets.batch = ? AND targets.position = move.before";
        sqlx::query(hand_over)
            .bind(seq)
            .bind(serde_json::to_string(&moves).map_err(decode)?)
            .bind(parent)
            .execute(&mut *connection)
            .await?;
        batches::count_changes(connection, seq).await?;
    }
    replaced(connection, parent).await
}

/// The positions of a batch's items.
async fn positions(
    connection: &mut SqliteConnection,
    batch: i64,
) -> sqlx::Result<HashMap<String, i64>> {
    let items: Vec<(String, i64)> =
        sqlx::query_as("SELECT item, position FROM batch_items WHERE batch = ?")
            .bind(batch)
            .fetch_all(connection)
            .await?;
    Ok(items.into_iter().collect())
}

/// Ends a batch whose items are kept by those that take its place.
async fn replaced(connection: &mut SqliteConnection, batch: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM batch_items WHERE batch = ?")
        .bind(batch)
        .execute(&mut *connection)
        .await?;
    set_status(connection, batch, "replaced").await
}

async fn set_status(
    connection: &mut SqliteConnection,
    batch: i64,
    status: &'static str,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE batches SET status = ? WHERE seq = ?")
        .bind(status)
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}
