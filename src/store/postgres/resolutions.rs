//! SQL for the outcome of an attempt and the batch's next step, in one transaction.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::{
    backlogs, batches,
    columns::{Text, micros, signed, text},
    controls, ledger, notices,
};
use crate::domain::{
    batch::Batch,
    cdn::{CdnError, CreatedInvalidation},
    notice::NoticeKind,
    resolution::{NextStep, Resolution, Unresolved},
};

pub(super) async fn record(
    connection: &mut PgConnection,
    batch: Uuid,
    resolution: Resolution,
    now: Timestamp,
) -> sqlx::Result<()> {
    let select = "SELECT seq, distribution_id FROM batches WHERE id = $1";
    let row = sqlx::query(select)
        .bind(batch)
        .fetch_one(&mut *connection)
        .await?;
    let (seq, distribution_id): (i64, _) = (row.try_get("seq")?, text(&row, "distribution_id")?);
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
    connection: &mut PgConnection,
    batch: i64,
    outcome: &'static str,
    detail: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    let update = "UPDATE attempts SET finished_at = $1, outcome = $2, detail = $3 \
                  WHERE seq = (SELECT max(seq) FROM attempts WHERE batch = $4)";
    sqlx::query(update)
        .bind(micros(now))
        .bind(outcome)
        .bind(Text::new(detail))
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

async fn created(
    connection: &mut PgConnection,
    batch: i64,
    invalidation: &CreatedInvalidation,
    poll_at: Timestamp,
    now: Timestamp,
) -> sqlx::Result<()> {
    let update = "UPDATE batches SET status = $1, cloudfront_id = $2, submitted_at = $3, \
                  completed_at = $4, due_at = $5 WHERE seq = $6";
    let done = invalidation.completed;
    sqlx::query(update)
        .bind(if done { "completed" } else { "in_progress" })
        .bind(Text::new(&invalidation.cloudfront_id))
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
    connection: &mut PgConnection,
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
            sqlx::query("UPDATE targets SET batch = NULL, position = NULL WHERE batch = $1")
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
                          SELECT 'item', $1, item, distribution_id, batches.seq, $2 FROM batches \
                          JOIN batch_items ON batch_items.batch = batches.seq \
                          WHERE batches.seq = $3 ORDER BY position RETURNING seq";
            let letters: Vec<i64> = sqlx::query_scalar(insert)
                .bind(Text::from(error.to_string()))
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
    connection: &mut PgConnection,
    batch: i64,
    again: &Unresolved,
) -> sqlx::Result<()> {
    let update = "UPDATE batches SET caller_reference = $1, has_new_reference = $2, failures = $3, \
                  due_at = $4 WHERE seq = $5";
    sqlx::query(update)
        .bind(&again.batch.caller_reference)
        .bind(again.has_new_reference)
        .bind(i64::from(again.failures))
        .bind(micros(again.due_at))
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

async fn split(
    connection: &mut PgConnection,
    parent: i64,
    parts: [Batch; 2],
    now: Timestamp,
) -> sqlx::Result<()> {
    let positions = positions(connection, parent).await?;
    for part in parts {
        let seq = batches::insert(connection, &part, "pending", Some(parent), now).await?;
        let items = part.items.iter().enumerate();
        let moves =
            items.filter_map(|(to, item)| Some((*positions.get(item.as_str())?, signed(to))));
        let (before, after): (Vec<_>, Vec<_>) = moves.unzip();
        let hand_over = "UPDATE targets SET batch = $1, position = move.after \
                         FROM unnest($2::bigint[], $3::bigint[]) AS move (before, after) \
                         WHERE targets.batch = $4 AND targets.position = move.before";
        sqlx::query(hand_over)
            .bind(seq)
            .bind(before)
            .bind(after)
            .bind(parent)
            .execute(&mut *connection)
            .await?;
        batches::count_changes(connection, seq).await?;
    }
    replaced(connection, parent).await
}

/// The positions of a batch's items.
async fn positions(
    connection: &mut PgConnection,
    batch: i64,
) -> sqlx::Result<HashMap<String, i64>> {
    let items = sqlx::query("SELECT item, position FROM batch_items WHERE batch = $1")
        .bind(batch)
        .fetch_all(connection)
        .await?;
    let items = items.iter();
    items
        .map(|row| Ok((text(row, "item")?, row.try_get("position")?)))
        .collect()
}

/// Ends a batch whose items are kept by those that take its place.
async fn replaced(connection: &mut PgConnection, batch: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM batch_items WHERE batch = $1")
        .bind(batch)
        .execute(&mut *connection)
        .await?;
    set_status(connection, batch, "replaced").await
}

async fn set_status(
    connection: &mut PgConnection,
    batch: i64,
    status: &'static str,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE batches SET status = $1 WHERE seq = $2")
        .bind(status)
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}
