//! SQL for dead letters and their replay.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection, SqlitePool, sqlite::SqliteRow};

use super::{
    backlogs::{self, Counts},
    columns::{micros, read_all, signed, time, unsigned},
};
use crate::{
    domain::{history::DeadLetter, s3_event::ObjectChange},
    ports::StoreError,
};

pub(super) async fn count(readers: &SqlitePool, most: usize) -> sqlx::Result<u64> {
    let count = "SELECT count(*) FROM (SELECT 1 FROM dead_letters LIMIT ?)";
    let count = sqlx::query_scalar(count).bind(signed(most));
    Ok(unsigned(count.fetch_one(readers).await?))
}

pub(super) async fn list(
    readers: &SqlitePool,
    before: i64,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let select = "SELECT dead_letters.*, changes.bucket, changes.object_key FROM dead_letters \
                  LEFT JOIN changes ON changes.seq = dead_letters.change \
                  WHERE dead_letters.seq < ? ORDER BY dead_letters.seq DESC LIMIT ?";
    let rows = sqlx::query(select).bind(before).bind(signed(limit));
    let rows = rows.fetch_all(readers).await?;
    read_all("dead_letters", "seq", &rows, dead_letter)
}

pub(super) async fn one(readers: &SqlitePool, id: i64) -> Result<Option<DeadLetter>, StoreError> {
    let newest = list(readers, id.saturating_add(1), 1).await?;
    Ok(newest.into_iter().find(|letter| letter.id == id))
}

fn dead_letter(row: &SqliteRow) -> sqlx::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.try_get("seq")?,
        kind: row.try_get("kind")?,
        why: row.try_get("why")?,
        content: row.try_get("content")?,
        distribution_id: row.try_get("distribution_id")?,
        bucket: row.try_get("bucket")?,
        key: row.try_get("object_key")?,
        created_at: time(row.try_get("created_at")?)?,
    })
}

/// If CloudFront rejected the item, it waits again for all its changes. If mapping could not produce
/// an item, the whole change is mapped again, unless it has items elsewhere.
pub(super) async fn replay_item(connection: &mut SqliteConnection, id: i64) -> sqlx::Result<bool> {
    let wait_again = "UPDATE targets SET batch = NULL, position = NULL \
                      WHERE (batch, position) IN (SELECT batch_items.batch, batch_items.position \
                      FROM dead_letters JOIN batch_items ON batch_items.batch = dead_letters.batch \
                      AND batch_items.item = dead_letters.content \
                      WHERE dead_letters.seq = ? AND kind = 'item') \
                      RETURNING distribution_id, wildcard, manual";
    let waiting = sqlx::query(wait_again)
        .bind(id)
        .fetch_all(&mut *connection)
        .await?;
    if !waiting.is_empty() {
        let mut counts = Counts::default();
        for row in &waiting {
            let id: String = row.try_get("distribution_id")?;
            counts.count(&id, row.try_get("wildcard")?, row.try_get("manual")?);
        }
        backlogs::add(connection, &counts).await?;
        return drop_one(connection, id).await;
    }
    let map_again = "UPDATE changes SET state = 0 WHERE seq = (SELECT change FROM dead_letters \
                     WHERE seq = ? AND kind = 'item') \
                     AND NOT EXISTS (SELECT 1 FROM targets WHERE targets.change = changes.seq) \
                     RETURNING seq";
    let change: Option<i64> = sqlx::query_scalar(map_again)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    // If nothing has changed, mapping creates them again, for every distribution.
    sqlx::query("DELETE FROM dead_letters WHERE change = ?")
        .bind(change)
        .execute(connection)
        .await?;
    Ok(change.is_some())
}

pub(super) async fn replay_record(
    connection: &mut SqliteConnection,
    id: i64,
    change: ObjectChange,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let insert = "INSERT INTO changes (message, bucket, object_key, event, event_time, accepted_at) \
                  SELECT message, ?, ?, ?, ?, ? FROM dead_letters WHERE seq = ? AND kind = 'record'";
    let inserted = sqlx::query(insert)
        .bind(change.bucket)
        .bind(change.key)
        .bind(change.event)
        .bind(change.time.map(micros))
        .bind(micros(now))
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let replayed = inserted.rows_affected() > 0;
    if replayed {
        drop_one(connection, id).await?;
    }
    Ok(replayed)
}

pub(super) async fn drop_one(connection: &mut SqliteConnection, id: i64) -> sqlx::Result<bool> {
    let delete = sqlx::query("DELETE FROM dead_letters WHERE seq = ?").bind(id);
    Ok(delete.execute(connection).await?.rows_affected() > 0)
}
