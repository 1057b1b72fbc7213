//! SQL for dead letters and their replay.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _, postgres::PgRow};

use super::{
    backlogs::{self, Counts},
    columns::{
        Text, micros, object_hash, optional, optional_text, read_all, signed, text, time, unsigned,
    },
    numbers::take_numbers,
    waits,
};
use crate::{
    domain::{history::DeadLetter, s3_event::ObjectChange, wait::Wait},
    ports::StoreError,
};

pub(super) async fn count(readers: &PgPool, most: usize) -> sqlx::Result<u64> {
    let count = "SELECT count(*) FROM (SELECT 1 FROM dead_letters LIMIT $1) AS found";
    let count = sqlx::query_scalar(count).bind(signed(most));
    Ok(unsigned(count.fetch_one(readers).await?))
}

/// Dead letters, each with the object of its change.
macro_rules! letters {
    () => {
        "SELECT dead_letters.*, changes.bucket, changes.object_key FROM dead_letters \
         LEFT JOIN changes ON changes.seq = dead_letters.change "
    };
}

pub(super) async fn list(
    readers: &PgPool,
    before: i64,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let select = concat!(
        letters!(),
        "WHERE dead_letters.seq < $1 ORDER BY dead_letters.seq DESC LIMIT $2"
    );
    let rows = sqlx::query(select).bind(before).bind(signed(limit));
    let rows = rows.fetch_all(readers).await?;
    read_all("dead_letters", "seq", &rows, dead_letter)
}

/// Those with exactly the reason $1 and a number below $2.
macro_rules! because {
    () => {
        "left(why, 256) = left($1, 256) AND why = $1 AND dead_letters.seq < $2"
    };
}

/// A page of those with exactly this reason.
pub(super) async fn because(
    readers: &PgPool,
    why: &str,
    before: i64,
    limit: usize,
) -> Result<Vec<DeadLetter>, StoreError> {
    let select = concat!(
        letters!(),
        "WHERE ",
        because!(),
        " ORDER BY dead_letters.seq DESC LIMIT $3"
    );
    let rows = sqlx::query(select).bind(Text::new(why)).bind(before);
    let rows = rows.bind(signed(limit)).fetch_all(readers).await?;
    read_all("dead_letters", "seq", &rows, dead_letter)
}

pub(super) async fn count_because(
    readers: &PgPool,
    why: &str,
    before: i64,
    most: usize,
) -> sqlx::Result<u64> {
    let count = concat!(
        "SELECT count(*) FROM (SELECT 1 FROM dead_letters WHERE ",
        because!(),
        " LIMIT $3) AS found"
    );
    let count = sqlx::query_scalar(count).bind(Text::new(why)).bind(before);
    Ok(unsigned(count.bind(signed(most)).fetch_one(readers).await?))
}

/// Those with these numbers.
pub(super) async fn with_numbers(
    connection: &mut PgConnection,
    numbers: &[i64],
) -> sqlx::Result<Vec<DeadLetter>> {
    let select = concat!(
        letters!(),
        "WHERE dead_letters.seq = ANY($1) ORDER BY dead_letters.seq"
    );
    let rows = sqlx::query(select)
        .bind(numbers)
        .fetch_all(connection)
        .await?;
    rows.iter().map(dead_letter).collect()
}

pub(super) async fn one(readers: &PgPool, id: i64) -> Result<Option<DeadLetter>, StoreError> {
    let newest = list(readers, id.saturating_add(1), 1).await?;
    Ok(newest.into_iter().find(|letter| letter.id == id))
}

fn dead_letter(row: &PgRow) -> sqlx::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.try_get("seq")?,
        kind: row.try_get("kind")?,
        why: text(row, "why")?,
        content: optional_text(row, "content")?,
        distribution_id: optional_text(row, "distribution_id")?,
        bucket: optional_text(row, "bucket")?,
        key: optional_text(row, "object_key")?,
        created_at: time(row.try_get("created_at")?)?,
    })
}

/// If CloudFront rejected the item, it waits again for all its changes. If mapping could not produce
/// an item, the change is mapped again.
pub(super) async fn replay_item(connection: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
    let select = "SELECT content, change, distribution_id, batch FROM dead_letters \
                  WHERE seq = $1 AND kind = 'item'";
    let Some(letter) = sqlx::query(select)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?
    else {
        return Ok(false);
    };
    match (letter.try_get("batch")?, letter.try_get("change")?) {
        (Some(batch), _) => {
            let item = optional_text(&letter, "content")?;
            wait_again(connection, id, batch, item.as_deref()).await
        }
        (None, Some(change)) => {
            let distribution_id = optional_text(&letter, "distribution_id")?;
            map_again(connection, id, change, distribution_id).await
        }
        (None, None) => Ok(false),
    }
}

const WAIT_AGAIN: &str = "UPDATE targets SET batch = NULL, position = NULL WHERE batch = $1 \
                          AND position IN (SELECT position FROM batch_items \
                          WHERE batch_items.batch = $1 AND item = $2) \
                          RETURNING distribution_id, wildcard, manual";

async fn wait_again(
    connection: &mut PgConnection,
    id: i64,
    batch: i64,
    item: Option<&str>,
) -> sqlx::Result<bool> {
    let waiting = sqlx::query(WAIT_AGAIN)
        .bind(batch)
        .bind(optional(item))
        .fetch_all(&mut *connection)
        .await?;
    if waiting.is_empty() {
        return Ok(false);
    }
    let mut counts = Counts::default();
    for row in &waiting {
        let id = text(row, "distribution_id")?;
        counts.count(&id, row.try_get("wildcard")?, row.try_get("manual")?);
    }
    backlogs::add(connection, &counts).await?;
    forget(connection, id).await
}

/// A change without items is mapped again for every distribution. If it has some, it is mapped again
/// only for the distribution of the dead letter.
async fn map_again(
    connection: &mut PgConnection,
    id: i64,
    change: i64,
    distribution_id: Option<String>,
) -> sqlx::Result<bool> {
    let select = "SELECT request IS NULL, \
                  EXISTS (SELECT 1 FROM targets WHERE targets.change = changes.seq) \
                  FROM changes WHERE seq = $1";
    let found = sqlx::query_as(select)
        .bind(change)
        .fetch_optional(&mut *connection)
        .await?;
    match (found, distribution_id) {
        (Some((_, false)), _) => {
            // If nothing has changed, mapping creates dead letters, skips and waits again.
            waits::delete(connection, &[change], None).await?;
            for statement in [
                "DELETE FROM dead_letters WHERE change = $1",
                "DELETE FROM skips WHERE change = $1",
                "UPDATE changes SET state = 0 WHERE seq = $1",
            ] {
                sqlx::query(statement)
                    .bind(change)
                    .execute(&mut *connection)
                    .await?;
            }
            Ok(true)
        }
        (Some((true, true)), Some(distribution_id)) => {
            waits::add(connection, &Wait::Again(distribution_id), change).await?;
            forget(connection, id).await
        }
        _ => Ok(false),
    }
}

pub(super) async fn replay_record(
    connection: &mut PgConnection,
    id: i64,
    change: ObjectChange,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let seq = take_numbers(connection, 1).await?;
    let insert = "INSERT INTO changes \
                  (seq, message, bucket, object_key, event, event_time, accepted_at, sequencer, \
                  object_hash) SELECT $1, message, $2, $3, $4, $5, $6, $7, $8 FROM dead_letters \
                  WHERE seq = $9 AND kind = 'record'";
    let hash = object_hash(&change.bucket, &change.key);
    let inserted = sqlx::query(insert)
        .bind(seq)
        .bind(Text::from(change.bucket))
        .bind(Text::from(change.key))
        .bind(Text::from(change.event))
        .bind(change.time.map(micros))
        .bind(micros(now))
        .bind(change.sequencer.map(Text::from))
        .bind(hash)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    let replayed = inserted.rows_affected() > 0;
    if replayed {
        forget(connection, id).await?;
    }
    Ok(replayed)
}

/// Deletes a dead letter that was replayed.
async fn forget(connection: &mut PgConnection, id: i64) -> sqlx::Result<bool> {
    let delete = sqlx::query("DELETE FROM dead_letters WHERE seq = $1").bind(id);
    Ok(delete.execute(connection).await?.rows_affected() > 0)
}

/// Deletes dead letters for good, by their numbers. That mapping failed stays known with the change: for
/// an item, its batch tells.
pub(super) async fn drop_all(connection: &mut PgConnection, ids: &[i64]) -> sqlx::Result<u64> {
    let keep = "INSERT INTO skips (change, distribution_id, why, failed) \
                SELECT change, distribution_id, why, true FROM dead_letters \
                WHERE seq = ANY($1) AND change IS NOT NULL AND batch IS NULL ORDER BY seq";
    sqlx::query(keep)
        .bind(ids)
        .execute(&mut *connection)
        .await?;
    let delete = "DELETE FROM dead_letters WHERE seq = ANY($1)";
    let deleted = sqlx::query(delete).bind(ids).execute(connection).await?;
    Ok(deleted.rows_affected())
}
