//! SQL for what merging did to batches.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::columns::{decode, micros, read_all};
use crate::{
    domain::{
        batch::{Batch, Merges},
        path::Item,
    },
    ports::StoreError,
};

pub(super) async fn insert(
    connection: &mut SqliteConnection,
    seq: i64,
    batch: &Batch,
    now: Timestamp,
) -> sqlx::Result<()> {
    if batch.merges.is_empty() {
        return Ok(());
    }
    let insert = "INSERT INTO batch_merges (batch, distribution_id, frozen_at, merges) \
                  VALUES (?, ?, ?, ?)";
    sqlx::query(insert)
        .bind(seq)
        .bind(&batch.distribution_id)
        .bind(micros(now))
        .bind(serde_json::to_string(&batch.merges).map_err(decode)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a column says: nothing was merged if it is NULL.
pub(super) fn merges(text: Option<&str>) -> sqlx::Result<Merges> {
    text.map_or_else(
        || Ok(Merges::default()),
        |text| serde_json::from_str(text).map_err(decode),
    )
}

pub(super) async fn of_batch(
    connection: &mut SqliteConnection,
    batch: i64,
) -> Result<Merges, StoreError> {
    let rows = sqlx::query("SELECT batch, merges FROM batch_merges WHERE batch = ?")
        .bind(batch)
        .fetch_all(connection)
        .await?;
    let found = read_all("batch_merges", "batch", &rows, |row| {
        merges(row.try_get("merges")?)
    })?;
    Ok(found.into_iter().next().unwrap_or_default())
}

pub(super) const MADE_SINCE: &str = "SELECT batch, merges FROM batch_merges \
    CROSS JOIN batches ON batches.seq = batch_merges.batch \
    WHERE batch_merges.distribution_id = ? AND frozen_at >= ? AND status <> 'replaced'";

pub(super) async fn made_since(
    readers: &SqlitePool,
    distribution_id: &str,
    since: Timestamp,
) -> Result<Vec<Item>, StoreError> {
    let rows = sqlx::query(MADE_SINCE)
        .bind(distribution_id)
        .bind(micros(since))
        .fetch_all(readers)
        .await?;
    let all = read_all("batch_merges", "batch", &rows, |row| {
        merges(row.try_get("merges")?)
    })?;
    let made = all.into_iter().flat_map(|one| one.made);
    Ok(made.map(|one| one.item).collect())
}
