//! SQL of what an attempt led to: the fate of its batch, in one transaction.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection};
use uuid::Uuid;

use super::{
    batches,
    columns::{micros, signed},
};
use crate::{
    domain::{batch::Batch, outcome::CdnError},
    ports::{Answer, CreatedInvalidation, Fate},
};

pub(super) async fn record(
    connection: &mut SqliteConnection,
    batch: Uuid,
    answer: Answer,
    now: Timestamp,
) -> sqlx::Result<()> {
    let select = "SELECT seq, distribution_id FROM batches WHERE id = ?";
    let row = sqlx::query(select)
        .bind(batch.to_string())
        .fetch_one(&mut *connection)
        .await?;
    let (seq, distribution_id): (i64, String) =
        (row.try_get("seq")?, row.try_get("distribution_id")?);
    match answer {
        Answer::Created {
            invalidation,
            look_at,
        } => {
            end_attempt(connection, seq, "created", &invalidation.cloudfront_id, now).await?;
            created(connection, seq, &invalidation, look_at, now).await?;
            sqlx::query("UPDATE brakes SET failures = 0, not_before = 0 WHERE distribution_id = ?")
                .bind(distribution_id)
                .execute(connection)
                .await?;
        }
        Answer::Refused {
            error,
            fate,
            failures,
            due_at,
        } => {
            end_attempt(connection, seq, error.label(), &error.to_string(), now).await?;
            let brake = "INSERT INTO brakes (distribution_id, failures, not_before) \
                         VALUES (?, ?, ?) ON CONFLICT DO UPDATE \
                         SET failures = excluded.failures, not_before = excluded.not_before";
            sqlx::query(brake)
                .bind(distribution_id)
                .bind(failures)
                .bind(micros(due_at))
                .execute(&mut *connection)
                .await?;
            sqlx::query("UPDATE batches SET failures = ?, due_at = ? WHERE seq = ?")
                .bind(failures)
                .bind(micros(due_at))
                .bind(seq)
                .execute(&mut *connection)
                .await?;
            meet(connection, seq, fate, &error, now).await?;
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
    look_at: Timestamp,
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
        .bind(micros(look_at))
        .bind(batch)
        .execute(connection)
        .await?;
    Ok(())
}

async fn meet(
    connection: &mut SqliteConnection,
    batch: i64,
    fate: Fate,
    error: &CdnError,
    now: Timestamp,
) -> sqlx::Result<()> {
    match fate {
        Fate::Kept => {}
        Fate::Renamed(reference) => {
            sqlx::query("UPDATE batches SET caller_reference = ?, renamed = 1 WHERE seq = ?")
                .bind(reference)
                .bind(batch)
                .execute(connection)
                .await?;
        }
        Fate::Dissolved => {
            sqlx::query("UPDATE targets SET batch = NULL, position = NULL WHERE batch = ?")
                .bind(batch)
                .execute(&mut *connection)
                .await?;
            set_status(connection, batch, "replaced").await?;
        }
        Fate::Split(children) => split(connection, batch, children, now).await?,
        Fate::Buried => {
            let bury = "INSERT INTO dead_letters \
                        (kind, why, content, distribution_id, batch, created_at) \
                        SELECT 'item', ?, item, distribution_id, batches.seq, ? FROM batches \
                        JOIN batch_items ON batch_items.batch = batches.seq \
                        WHERE batches.seq = ? ORDER BY position";
            sqlx::query(bury)
                .bind(error.to_string())
                .bind(micros(now))
                .bind(batch)
                .execute(&mut *connection)
                .await?;
            set_status(connection, batch, "failed").await?;
        }
    }
    Ok(())
}

async fn split(
    connection: &mut SqliteConnection,
    parent: i64,
    children: Vec<Batch>,
    now: Timestamp,
) -> sqlx::Result<()> {
    let mut begin = 0;
    for child in children {
        let end = begin + child.items.len();
        let seq = batches::insert(connection, &child, "pending", Some(parent), now).await?;
        let hand_over = "UPDATE targets SET batch = ?, position = position - ? \
                         WHERE batch = ? AND position >= ? AND position < ?";
        sqlx::query(hand_over)
            .bind(seq)
            .bind(signed(begin))
            .bind(parent)
            .bind(signed(begin))
            .bind(signed(end))
            .execute(&mut *connection)
            .await?;
        batches::count_changes(connection, seq).await?;
        begin = end;
    }
    set_status(connection, parent, "replaced").await
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
