//! SQL for retention: deletes old history in small steps, but never unfinished work.

use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::columns::micros;

/// The most rows per table in one step: a step must not delay intake.
const STEP: i64 = 500;

/// A condition for rows older than `?1`. Row numbers grow with time, so the search ends at the first
/// row that is new enough, and is cheap if there is nothing to delete.
macro_rules! older {
    ($table:literal, $time:literal) => {
        concat!(
            $time,
            " < ?1 AND seq < coalesce((SELECT seq FROM ",
            $table,
            " WHERE ",
            $time,
            " >= ?1 ORDER BY seq LIMIT 1), 9223372036854775807) "
        )
    };
}

/// Deletes some rows older than `cutoff`, and returns whether there may be more. Rows are deleted
/// before those that they refer to. Dead letters and their changes stay until an operator drops
/// them.
pub(super) async fn prune(
    connection: &mut SqliteConnection,
    cutoff: Timestamp,
) -> sqlx::Result<bool> {
    let old_batches = concat!(
        "SELECT seq FROM batches WHERE ",
        older!("batches", "created_at"),
        "AND status NOT IN ('pending', 'in_progress') \
         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE batch = batches.seq) \
         ORDER BY seq LIMIT ?2"
    );
    let batches: Vec<i64> = sqlx::query_scalar(old_batches)
        .bind(micros(cutoff))
        .bind(STEP / 10)
        .fetch_all(&mut *connection)
        .await?;
    for batch in &batches {
        for delete in [
            "DELETE FROM targets WHERE batch = ?",
            "DELETE FROM attempts WHERE batch = ?",
            "DELETE FROM batch_items WHERE batch = ?",
            "UPDATE batches SET parent = NULL WHERE parent = ?",
            "DELETE FROM batches WHERE seq = ?",
        ] {
            sqlx::query(delete)
                .bind(batch)
                .execute(&mut *connection)
                .await?;
        }
    }
    let mut deleted = batches.len() as u64;
    for delete in [
        concat!(
            "DELETE FROM skips WHERE change IN (SELECT seq FROM changes WHERE ",
            older!("changes", "accepted_at"),
            "ORDER BY seq LIMIT ?2)"
        ),
        concat!(
            "DELETE FROM changes WHERE seq IN (SELECT seq FROM changes WHERE ",
            older!("changes", "accepted_at"),
            "AND state = 2 \
             AND NOT EXISTS (SELECT 1 FROM targets WHERE targets.change = changes.seq) \
             AND NOT EXISTS (SELECT 1 FROM skips WHERE skips.change = changes.seq) \
             AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.change = changes.seq) \
             ORDER BY seq LIMIT ?2)"
        ),
        concat!(
            "DELETE FROM messages WHERE seq IN (SELECT seq FROM messages WHERE ",
            older!("messages", "accepted_at"),
            "AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.message = messages.seq) \
             AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.message = messages.seq) \
             ORDER BY seq LIMIT ?2)"
        ),
        concat!(
            "DELETE FROM requests WHERE seq IN (SELECT seq FROM requests WHERE ",
            older!("requests", "accepted_at"),
            "AND NOT EXISTS (SELECT 1 FROM changes WHERE changes.request = requests.seq) \
             ORDER BY seq LIMIT ?2)"
        ),
    ] {
        let done = sqlx::query(delete).bind(micros(cutoff)).bind(STEP);
        deleted += done.execute(&mut *connection).await?.rows_affected();
    }
    Ok(deleted > 0)
}
